"""The load of a stream: which slices are read, and how far the cursors move.

A :class:`StreamSync` turns an endpoint, the settings and the state of earlier runs into slices for a
:class:`.Reader`, and moves the cursors over the rows that come back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dlt.common import logger

from textlift import clock
from textlift.arrow.keys import SeenKeys, packed_keys
from textlift.arrow.new_columns import NewColumns
from textlift.arrow.pages import (
    concat_pages,
    is_between,
    last_of_each_key,
    latest,
    lost_records,
)
from textlift.declare import ColumnType, Endpoint
from textlift.destinations.stored import Covered
from textlift.errors import ConfigurationError, ServiceError
from textlift.extract.erased import ErasedPeople
from textlift.extract.fetch import Service
from textlift.extract.progress import Progress
from textlift.extract.reader import Reader
from textlift.extract.settings import Settings
from textlift.extract.slicer import RetentionGap, Slicer
from textlift.extract.slices import Partition, Slice, SliceRows
from textlift.extract.state import (
    CompleteRead,
    Positions,
    Refreshes,
    forget_partition,
    is_full_refresh,
)
from textlift.extract.workers import Workers
from textlift.privacy.erased import Erased
from textlift.privacy.pages import protection
from textlift.windows import SECOND, Window, format_time, parse_time

#: Readings of a sorted list whose rows are fewer than the service counts.
MAX_PASSES = 3


class SyncContext:
    """What the streams of one source share in a run: threads, settings, the lists of parents.

    Args:
        service: The service.
        settings: What to load.
        endpoints: All endpoints of the service.
    """

    def __init__(
        self, service: Service[Any], settings: Settings, endpoints: Iterable[Endpoint]
    ) -> None:
        self.service = service
        self.settings = settings
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._workers: Workers | None = None
        self._now: datetime | None = None
        self._unfinished: dict[str, StreamSync] = {}
        self._listings: dict[str, Reader] = {}
        self._listed: dict[str, SliceRows] = {}
        self._pieces: dict[str, list[SliceRows]] = {}
        self._failed_listings: dict[str, ServiceError] = {}
        self._erased = ErasedPeople(settings)
        self._active: set[str] = set()

    @property
    def now(self) -> datetime:
        """The end of the second in which this run began, so that rows of that second are read."""
        if self._now is None:
            self._now = clock.now() + SECOND
        return self._now

    @property
    def until(self) -> datetime:
        """The last second to load, the same for all resources."""
        return self.settings.until or self.now

    @property
    def erased(self) -> Erased | None:
        """The people who were erased before this load package."""
        return self._erased.read()

    def poll_listing(self, name: str, progress: Progress) -> SliceRows | None:
        """Return all rows of the snapshot ``name`` if they are there; it is read once in a run.

        The stream that needs it first counts its requests in ``progress``.
        """
        endpoint = self._endpoints[name]
        if name not in self._listings:
            self._listings[name] = self.reader(endpoint, _listing_slices(endpoint), progress)
        if name in self._failed_listings:
            raise self._failed_listings[name]
        if name not in self._listed:
            listing, pieces = self._listings[name], self._pieces.setdefault(name, [])
            try:
                rows = listing.poll()
            except ServiceError as error:
                # Every stream that waits for this list gets the error.
                self._failed_listings[name] = error
                raise
            pieces += [rows] if rows else []
            if not listing.finished:
                return None
            page = concat_pages([piece.page for piece in self._pieces.pop(name)])
            if endpoint.variants:
                page = last_of_each_key(page, endpoint.key)
            self._listed[name] = replace(pieces[-1], page=page)
        return self._listed[name]

    def reader(self, endpoint: Endpoint, slices: Iterable[Slice], progress: Progress) -> Reader:
        """Return a reader with the service, the page size and the threads of this run."""
        assert self._workers
        settings = self.settings
        protected = protection(endpoint, settings.policy, self.erased)
        return Reader(
            self.service, endpoint, slices, settings.page_size, progress, self._workers, protected
        )

    def enter(
        self, endpoint: Endpoint, state: Mapping[str, Any], load_id: str | None
    ) -> StreamSync:
        """Begin a resource's part in a package: continue an unfinished load, or start one."""
        if self._workers is None:
            self._workers = Workers(self.service.client.concurrency)
        self._active.add(endpoint.name)
        sync = self._unfinished.pop(endpoint.name, None)
        # Rows taken for a package that was not committed have to be read again, and so have rows of
        # people who were erased meanwhile.
        if (
            sync is None
            or sync.packages != state.get("packages")
            or not sync.fits(load_id)
            or sync.erased is not self.erased
        ):
            sync = StreamSync(self, endpoint, state, load_id)
        return sync

    def leave(self, sync: StreamSync, unfinished: bool, wait: bool) -> None:
        """End a resource's part in a package; an unfinished load continues in the next one."""
        self._active.discard(sync.endpoint.name)
        if unfinished:
            self._unfinished[sync.endpoint.name] = sync
        if self._active or self._unfinished or self._workers is None:
            return
        try:
            self._workers.close(wait)
        finally:
            self._workers = None
            self._now = None
            self._listings.clear()
            self._listed.clear()
            self._pieces.clear()
            self._failed_listings.clear()


@dataclass(frozen=True)
class StreamPlan:
    """What a load of a resource would read.

    Attributes:
        resource: Name of the resource.
        slices: What would be requested, in order; each takes one request or more.
        note: Why nothing would be read, if nothing would.
    """

    resource: str
    slices: Sequence[Slice]
    note: str | None


class _Phase(Enum):
    USUAL = auto()
    COMPLETE = auto()
    CLOSING = auto()


class StreamSync:
    """One load of a resource, in one package or several.

    If a complete read is due, all rows are read again after the new ones, because reading old rows
    can fail. A full refresh is a complete read alone.

    Attributes:
        erased: People whose rows it skips.
        packages: Packages filled so far, as in the resource's state.
        progress: Counts of what was done so far.
        start: First second requested.
        refresh: Whether this is a full refresh.
        complete: The complete read that is under way.
        gaps: Retention gaps found so far, in front of rows that were handed out.
        missing: What is configured but not at the service, each with the reason.
        envelope_columns: Partition → columns from the response envelope, constant for all its rows.
        note: Why there was nothing to read, if there was not.
    """

    def __init__(
        self,
        context: SyncContext,
        endpoint: Endpoint,
        state: Mapping[str, Any],
        load_id: str | None,
    ) -> None:
        self.endpoint = endpoint
        self.erased = context.erased
        self.packages: int | None = None
        self.progress = Progress()
        self.start: datetime | None = None
        self.new_columns = NewColumns(endpoint)
        self.gaps: list[RetentionGap] = []
        self.missing: dict[str, str] = {}
        self.envelope_columns: dict[str, Mapping[str, str | None]] = {}
        self._context = context
        self._settings = context.settings
        began = parse_time(state["began"], "began") if "began" in state else None
        self._slicer = Slicer(endpoint, context.settings, context.now, context.until, began)
        self._reader: Reader | None = None
        self._partitions: Sequence[Partition] | None = None
        self._listed = False
        self._positions = Positions.of(state)
        self._holds: dict[str, datetime] = {}
        self._newest: datetime | None = None
        self._gaps: dict[str, RetentionGap] = {}
        self._not_found: set[str] = set()
        self._too_early: str | None = None
        self._first_load = not self._positions.cursors
        # All rows up to the cursors of a first load were read since it began. Those up to the
        # cursors of any other load may have been read long before.
        self._began = context.now if self._first_load else began
        self._every = self._interval()
        self._refreshes = Refreshes.of(state, self._every)
        self._sizes: dict[str, tuple[int, int | None]] = {}
        self._gone: dict[str, int | str] = {}
        self._returned = SeenKeys()
        self._passes = 1
        self._found_more = True
        self.refresh = is_full_refresh() and endpoint.incremental is not None
        self.complete = self._find_complete(state, load_id)
        self._resumed = dict(self.complete.lists) if self.complete else {}
        # The first load of a sorted list is a complete read, which another run can continue.
        only_complete = self.refresh or (self._first_load and self.complete is not None)
        phases = [] if only_complete else [_Phase.USUAL]
        if self.complete:
            phases += [_Phase.COMPLETE, _Phase.CLOSING]
        self._phases = deque(phases)
        self._phase = phases[0]

    def fits(self, load_id: str | None) -> bool:
        """Return whether it can continue in the package with this id."""
        if self.refresh != (is_full_refresh() and self.endpoint.incremental is not None):
            return False
        return self.complete is None or (load_id is not None and self.complete.since <= load_id)

    @property
    def _kind(self) -> str:
        """Key of the complete read in the state."""
        return "refresh" if self.refresh else "complete"

    def _find_complete(self, state: Mapping[str, Any], load_id: str | None) -> CompleteRead | None:
        if self.refresh and not self._settings.is_unlimited:
            raise ConfigurationError(
                "A full refresh loads everything from start_date on.\nLeave since and until out."
            )
        if load_id is None or not (self.refresh or self._complete_is_due(state.get("whole_at"))):
            return None
        found = state.get(self._kind)
        # In a package older than the first one, rows would be taken for not returned.
        if found and found["since"] <= load_id:
            read = CompleteRead.of(found)
            if not read.is_outdated(self._context.now):
                return read
        return CompleteRead(load_id, self._context.now)

    def _interval(self) -> timedelta:
        """Return the time between two complete reads."""
        own, settings = self.endpoint.full_read_every or timedelta(0), self._settings
        usual = own if settings.full_read_every is None else settings.full_read_every
        return settings.refresh.get(self.endpoint.name, usual)

    def _complete_is_due(self, last: str | None) -> bool:
        if not self._settings.is_unlimited:
            return False
        if self._first_load and self.endpoint.sorted_list:
            return True
        # The first load is a complete read itself.
        if self.endpoint.full_read_every is None or self._first_load:
            return False
        if self._slicer.reads_sets:
            # Each partition has its own time; they are not known yet.
            return True
        return last is None or self._context.until - parse_time(last, "whole_at") >= self._every

    @property
    def window(self) -> tuple[datetime, datetime] | None:
        """First and last second that it reads; ``None`` if it reads no window."""
        return (self.start, self._context.until) if self.start else None

    @property
    def note(self) -> str | None:
        """Why there was nothing to read, if there was not."""
        return None if self.start else self._too_early

    @property
    def finished(self) -> bool:
        """Whether all rows have been handed out."""
        if self._is_listing:
            return self._listed
        return not self._phases and self._reader is not None and self._reader.finished

    @property
    def _is_listing(self) -> bool:
        endpoint = self.endpoint
        return not (endpoint.incremental or endpoint.parent or endpoint.configured)

    def poll(self) -> SliceRows | None:
        """Return the next rows if they are there, without waiting.

        Raises:
            ConfigurationError: The service keeps nothing of the range that is wanted.
            ServiceError: The service could not be read.
        """
        if self._is_listing:
            if not self.progress.slices:
                self.progress.expect([None])
            rows = self._context.poll_listing(self.endpoint.name, self.progress)
            self._listed = rows is not None
            return rows
        if self._reader is None or (self._reader.finished and self._phases):
            if self._partitions is None:
                self._partitions = self._find_partitions()
                if self._partitions is None:
                    return None
                self._compare_with_retention()
            slices = self._begin_phase(self._phases.popleft(), self._partitions)
            self.progress.expect(each.window for each in slices)
            self._reader = self._context.reader(self.endpoint, slices, self.progress)
        return self._reader.poll()

    def plan(self) -> StreamPlan | None:
        """Return what would be read, or ``None`` until the list of partitions is there.

        Raises:
            ConfigurationError: The service keeps nothing of the range that is wanted.
            ServiceError: The list of partitions could not be read.
        """
        if self._is_listing:
            return StreamPlan(self.endpoint.name, _listing_slices(self.endpoint), None)
        partitions = self._find_partitions()
        if partitions is None:
            return None
        self._compare_with_retention()
        slices = [each for phase in self._phases for each in self._begin_phase(phase, partitions)]
        return StreamPlan(self.endpoint.name, slices, self.note)

    def _begin_phase(self, phase: _Phase, partitions: Sequence[Partition]) -> Sequence[Slice]:
        self._phase = phase
        slices = [self._sized(each) for one in partitions for each in self._slices_of(one)]
        starts = [each.window.start for each in slices if each.window]
        self.start = min([*starts, *([self.start] if self.start else [])], default=None)
        return slices

    def _sized(self, slice_: Slice) -> Slice:
        """Return a slice with the number of rows that its parent states for all of its rows."""
        _, size = self._sizes.get(slice_.partition.name, (0, None))
        return slice_ if slice_.window or size is None else replace(slice_, size=size)

    def _compare_with_retention(self) -> None:
        never_read = not (self._positions.cursors or self._positions.reached)
        warning = self._slicer.compare_with_retention(never_read)
        if warning:
            logger.warning(warning)

    def _find_partitions(self) -> Sequence[Partition] | None:
        """Return the partitions if they are known: parents, configured parameters, or the account."""
        endpoint, scope = self.endpoint, self._settings.scope
        if endpoint.configured:
            return [
                Partition.of(endpoint, values, scope, **{n: str(v) for n, v in values.items()})
                for values in self._settings.configured.get(endpoint.name, ())
            ]
        parent = endpoint.parent
        if parent is None:
            return [Partition.of(endpoint, {}, scope)]
        listed = self._context.poll_listing(parent.endpoint, self.progress)
        if listed is None:
            return None
        rows, param = listed.page.table, parent.param or parent.column
        if parent.where:
            column, value = parent.where
            rows = rows.filter(pc.equal(rows[column], value))
        sizes = rows[parent.size].to_pylist() if parent.size else [None] * rows.num_rows
        found = {
            key: Partition.of(endpoint, {parent.column: key}, scope, **{param: str(key)})
            for key in rows[parent.key].to_pylist()
        }
        for number, (key, size) in enumerate(zip(rows[parent.key].to_pylist(), sizes)):
            self._sizes[found[key].name] = (number, size)
        if parent.owns_rows:
            self._gone = self._partitions_without_parent(parent.column)
        return list(found.values())

    def _partitions_without_parent(self, column: str) -> dict[str, int | str]:
        """Return partition → key of the parent, for parents that the service no longer lists."""
        is_number = self.endpoint.columns[column].type is ColumnType.BIGINT
        names = {*self._positions.cursors, *self._refreshes.times} - self._sizes.keys()
        return {name: int(name) if is_number else name for name in names}

    def _slices_of(self, partition: Partition) -> Iterator[Slice]:
        """Yield what to read of a partition in the phase that begins."""
        slicer, name = self._slicer, partition.name
        if self._phase is _Phase.USUAL:
            cursor = self._positions.cursors.get(name)
            if self.endpoint.incremental:
                self._too_early = slicer.nothing_to_read(cursor) or self._too_early
                if not slicer.begins_with_set(cursor):
                    self._look_for_gap(partition)
            yield from slicer.usual(partition, cursor)
            return
        assert self.complete
        if self._phase is _Phase.CLOSING:
            yield from slicer.closing(partition, self.complete.began)
        elif not slicer.reads_sets:
            self._look_for_gap(partition)
            cursor = self.complete.positions.cursors.get(name)
            position = self.complete.lists.get(name)
            yield from slicer.complete(partition, cursor, position, self.refresh)
        elif name not in self.complete.done and self._is_due(name):
            yield from slicer.complete(partition, None, None, self.refresh)

    def _is_due(self, partition: str) -> bool:
        """Return whether a partition is to be read completely."""
        _, size = self._sizes.get(partition, (0, None))
        # Without a size, nothing says that rows have left.
        unknown = size is None and self.endpoint.parent and self.endpoint.parent.size
        is_due = self._refreshes.is_due(partition, size, self._context.until)
        return bool(self.refresh or unknown or is_due)

    def _look_for_gap(self, partition: Partition) -> None:
        known = [self._positions.known_until(partition.name)]
        if self.complete:
            known.append(self.complete.positions.known_until(partition.name))
        gap = self._slicer.gap(partition, max((time for time in known if time), default=None))
        if gap:
            self._gaps[partition.name] = gap
            logger.error(f"{self.endpoint.name}: {gap}")

    @property
    def unwindowed(self) -> tuple[datetime | None, datetime | None]:
        """First and last second of the rows to load that are read without a window."""
        if self._slicer.reads_sets:
            return None, None
        if self.endpoint.sorted_list:
            return self._settings.since, self._settings.until
        if self._phase is _Phase.CLOSING:
            return max(self._slicer.first, self._slicer.moved_since), None
        return self._slicer.first, None

    def advance(self, rows: SliceRows, hold: datetime | None) -> None:
        """Move the cursor over rows that go into the package.

        Args:
            rows: The rows, all up to the end of their window.
            hold: A time the cursor may not pass, because a row of that time has to come again.
        """
        partition, incremental = rows.slice_.partition, self.endpoint.incremental
        is_end = rows.is_last and rows.following is None
        self.progress.count_rows(rows.page.table.num_rows, rows.slice_.window, is_end)
        if rows.not_found is not None:
            self._not_found.add(partition.name)
            if self.endpoint.configured:
                self.missing[f"{self.endpoint.name}, {partition}"] = rows.not_found
            return
        if rows.page.shared:
            self.envelope_columns[partition.name] = rows.page.shared
        if incremental is None:
            return
        positions, complete = self._positions, None
        if self._phase is not _Phase.USUAL and self.complete:
            complete, positions = self.complete, self.complete.positions
            complete.unreadable |= lost_records(rows.page, self.endpoint)
            if self.endpoint.sorted_list:
                self._compare_with_total(complete, rows)
        times = (latest(rows.page.table, incremental.cursor), self._newest)
        self._newest = newest = max((time for time in times if time), default=None)
        if hold is not None:
            self._holds[partition.name] = min(hold, self._holds.get(partition.name, hold))
        if not (rows.is_last if complete else is_end):
            # Rows that are still to come can be older.
            return
        self._newest = None
        if self._slicer.reads_sets and rows.slice_.window is None and rows.ends_partition:
            number, size = self._sizes.get(partition.name, (0, None))
            self._refreshes.note(partition.name, size, number, self._context.until)
            if complete:
                complete.done.append(partition.name)
        cursor = positions.cursors.get(partition.name)
        if newest is not None:
            # A row from the future must not move the cursor past rows that can be read now.
            newest = min(newest.replace(microsecond=0), self._context.until, self._context.now)
            cursor = max(newest, cursor or newest)
        if cursor is not None:
            positions.cursors[partition.name] = min(cursor, self._holds.get(partition.name, cursor))
        if incremental.retention and rows.slice_.window:
            self._reach(positions.reached, partition.name, rows.slice_.window)

    def _compare_with_total(self, complete: CompleteRead, rows: SliceRows) -> None:
        """Count the rows of a sorted list, and read it again if the service states more.

        Rows with the same time can change places between two pages without a trace.
        """
        assert self.endpoint.incremental
        table, name = rows.page.table, rows.slice_.partition.name
        resumed = self._resumed.get(name) if self._phase is _Phase.COMPLETE else None
        if resumed:
            # Rows in front were counted by the run that was interrupted.
            behind = is_between(table, self.endpoint.incremental.cursor, None, resumed.time)
            table = table.filter(pa.array(behind, pa.bool_()))
        times = table[self.endpoint.incremental.cursor].cast(pa.int64())
        new, _ = self._returned.add(packed_keys(table, self.endpoint.key), times)
        complete.returned += int(new.sum())
        self._found_more |= bool(new.any())
        following = rows.following if rows.is_last else None
        if self._phase is _Phase.COMPLETE and following and following.start:
            complete.lists[name] = following.start
        if self._phase is _Phase.COMPLETE or not rows.is_last or following or complete.unreadable:
            return
        missing = (rows.total or 0) - complete.returned
        if missing <= 0:
            return
        counted = f"{self.endpoint.name}: the service counts {rows.total:,} rows"
        if not self._found_more:
            logger.warning(f"{counted}, and lists {missing:,} of them in no reading")
        elif self._passes < MAX_PASSES:
            logger.info(f"{counted}, and {missing:,} were not on its pages; reading all again")
            self._passes, self._found_more = self._passes + 1, False
            self._resumed.clear()
            complete.lists.clear()
            self._phases.extend((_Phase.COMPLETE, _Phase.CLOSING))
        else:
            logger.warning(f"{counted}, and {missing:,} of them were on no page of any reading")
            complete.unreadable = True

    def _reach(self, reached: dict[str, datetime], partition: str, window: Window) -> None:
        """Note up to when a partition was read, whether or not there were rows."""
        gap = self._gaps.pop(partition, None)
        if gap:
            # In the same package as the rows behind it, so it is reported once.
            self.gaps.append(gap)
        end = min(window.end, self._context.until, self._context.now)
        ends = (end, reached.get(partition), gap.window.end if gap else None)
        reached[partition] = max(time for time in ends if time)

    def covered(self) -> Covered | None:
        """Return which stored rows a complete read returns if they are still at the service."""
        assert self.complete and self.endpoint.incremental
        incremental, window, undated = self.endpoint.incremental, None, True
        if self.refresh and not self._slicer.reads_sets:
            window = self._slicer.refreshed_window()
            if window is None:
                return None
            undated = bool(self._slicer.reads_undated or self.endpoint.full_read_every)
        values: dict[str, list[Any]] = {name: [only] for name, only in self._settings.only.items()}
        parent = self.endpoint.parent
        if self.endpoint.configured or (parent and not self.refresh):
            read = self.complete.done if self._slicer.reads_sets else None
            for partition in self._partitions or ():
                if partition.name not in self._not_found and (
                    read is None or partition.name in read
                ):
                    for name, value in partition.values.items():
                        values.setdefault(name, []).append(value)
            if parent:
                values.setdefault(parent.column, []).extend(self._gone.values())
                if not values[parent.column]:
                    return None
        return Covered(self.complete.since, incremental.cursor, window, undated, values)

    # State

    def save(self, state: dict[str, Any]) -> None:
        """Write the cursors into the resource's state, for the package that is being filled."""
        settings = self._settings
        if self.endpoint.incremental is None or settings.is_range:
            return
        for name, now in self._positions.state().items():
            before = state.get(name, {})
            if settings.since:
                # A cursor past rows that were left out would leave a gap for good.
                since, first = format_time(settings.since), format_time(self._slicer.first)
                now = {
                    partition: time
                    for partition, time in now.items()
                    if since <= before.get(partition, first)
                }
            if now:
                state[name] = {**before, **now}
        if self._slicer.reads_sets and settings.is_unlimited:
            state.update(self._refreshes.state())
        if self.complete:
            state[self._kind] = self.complete.state()
        elif self._has_one_time and self._first_load and settings.is_unlimited:
            state.setdefault("whole_at", format_time(self._context.until))

    @property
    def _has_one_time(self) -> bool:
        """Whether all partitions are read completely at the same time."""
        return self.endpoint.full_read_every is not None and not self._slicer.reads_sets

    def end_package(self, state: dict[str, Any]) -> None:
        """Note in the state whether another package continues this load."""
        if not self.finished:
            self.packages = state["packages"] = (self.packages or 0) + 1
            if self._began:
                state["began"] = format_time(self._began)
            return
        self.packages = None
        state.pop("packages", None)
        state.pop("began", None)
        if self.complete:
            self._end_complete(self.complete, state)

    def _end_complete(self, complete: CompleteRead, state: dict[str, Any]) -> None:
        """Let the usual cursors continue from where the complete read has come."""
        cursors, reached = self._positions.cursors, self._positions.reached
        for name, time in complete.positions.cursors.items():
            time = max(time, cursors.get(name, time))
            cursors[name] = min(time, self._holds.get(name, time))
        for name, time in complete.positions.reached.items():
            reached[name] = max(time, reached.get(name, time))
        self.complete = None
        state.pop(self._kind, None)
        if self._has_one_time:
            state["whole_at"] = format_time(self._context.until)
        for name in self._gone:
            self._refreshes.forget(name)
            cursors.pop(name, None)
            forget_partition(state, name)
        self.save(state)


def _listing_slices(endpoint: Endpoint) -> list[Slice]:
    """Return the slices that together are the list of a snapshot."""
    return [Slice(params=params) for params in endpoint.variants or ({},)]
