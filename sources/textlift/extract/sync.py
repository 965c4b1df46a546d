"""What a run reads: the windows of each parent, and how far each has been read.

A :class:`StreamSync` turns an endpoint, the settings and the cursors of earlier runs into units for a
:class:`Reader`, and moves the cursors over the rows that come back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from enum import Enum, auto
from typing import Any

from dlt.common import logger

from textlift import clock
from textlift.arrow.new_columns import NewColumns
from textlift.arrow.tables import concat_pages, latest, lost_records
from textlift.declare import Endpoint, WindowParams
from textlift.destinations.stored import Covered
from textlift.errors import ConfigurationError, ServiceError
from textlift.extract.reader import Reader, Service, Slice, SliceRows
from textlift.windows import SECOND, Window, format_time, parse_time

#: Asked for beyond what a service keeps: a leap day, and clocks that are apart.
KEPT_MARGIN = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: A complete read that was interrupted longer ago begins anew: what was deleted since would stay.
MAX_COMPLETE_AGE = timedelta(days=7)
#: Clocks of a service and of this machine are apart by less.
CLOCKS_APART = timedelta(hours=1)

_refreshing: ContextVar[bool] = ContextVar("refreshing", default=False)


@contextmanager
def full_refresh() -> Iterator[None]:
    """Loads that begin within the block are full refreshes."""
    token = _refreshing.set(True)
    try:
        yield
    finally:
        _refreshing.reset(token)


#: Hint of a table: the account whose rows it holds.
ACCOUNT_HINT = "x-account"
#: What a resource's state says of an account; before there were several, of the only one.
_OF_ACCOUNT = ("cursors", "reached", "whole_at", "packages")


@dataclass(frozen=True)
class Settings:
    """What a run is asked to load.

    Attributes:
        start_date: First second of a first load; ``None`` for all there is.
        since: Load from here, instead of from the cursor.
        until: Load up to here, instead of up to now.
        page_size: Rows wanted on a page.
        lookback: Resource → how far before its cursor to read again; the endpoint's own if absent.
        whole_every: How often resources whose old rows change unseen are read completely; the
            endpoint's own if ``None``.
        configured: Resource → the sets of parameters it is asked for.
        account: Whose rows these are, see :func:`.settings.account_name`; another account has other cursors.
        scope: What the cursors belong to besides their parent; another scope has others.
        only: Column → the one value that it has in all rows which the service is asked for.
        package_rows: About how many rows of a resource go into one load package; ``None`` for all.
        isolate_failures: Whether a resource that cannot be read ends with its custom metric
            ``failed``, and does not end the run.
    """

    start_date: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    page_size: int = 1000
    lookback: Mapping[str, timedelta] = field(default_factory=dict)
    full_read_every: timedelta | None = None
    configured: Mapping[str, Sequence[Mapping[str, int | str]]] = field(default_factory=dict)
    account: str = ""
    scope: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    package_rows: int | None = None
    isolate_failures: bool = False

    @property
    def is_range(self) -> bool:
        """Whether exactly one range is wanted, which leaves the cursors alone."""
        return self.since is not None and self.until is not None


class SyncContext:
    """What the resources of one source share: the service, the settings, the lists of parents."""

    def __init__(
        self, service: Service[Any], settings: Settings, endpoints: Iterable[Endpoint]
    ) -> None:
        self.service = service
        self.settings = settings
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._now: datetime | None = None
        self._unfinished: dict[str, StreamSync] = {}
        self._listings: dict[str, Reader] = {}
        self._listed: dict[str, SliceRows] = {}
        self._pieces: dict[str, list[SliceRows]] = {}
        self._askers: dict[str, str] = {}
        self._failed_listings: dict[str, ServiceError] = {}
        self._active: set[str] = set()
        self._counts: dict[str, tuple[StreamSync, MutableMapping[str, Any]]] = {}

    @property
    def now(self) -> datetime:
        """The end of the second in which this run began: what was stamped in it is read too."""
        if self._now is None:
            self._now = clock.now() + SECOND
        return self._now

    @property
    def until(self) -> datetime:
        """The last second to load, the same for all resources."""
        return self.settings.until or self.now

    def poll_listing(self, name: str, asker: Endpoint) -> SliceRows | None:
        """All rows of the snapshot ``name`` if they are there; it is asked for once in a run."""
        if name not in self._listings:
            self._listings[name] = self.reader(self._endpoints[name], [Slice()])
            self._askers[name] = asker.name
        if name in self._failed_listings:
            raise self._failed_listings[name]
        if name not in self._listed:
            try:
                rows = self._listings[name].poll()
            except ServiceError as error:
                # Everyone who waits for this list has to hear of it.
                self._failed_listings[name] = error
                raise
            if rows is None:
                return None
            pieces = self._pieces.setdefault(name, [])
            pieces.append(rows)
            if not rows.is_last:
                return None
            page = concat_pages([piece.page for piece in self._pieces.pop(name)])
            self._listed[name] = replace(rows, page=page)
        return self._listed[name]

    def listing_requests(self, asker: Endpoint) -> int:
        """Requests made so far for snapshots that ``asker`` was the first to ask for."""
        return sum(
            listing.requests
            for name, listing in self._listings.items()
            if self._askers[name] == asker.name
        )

    def reader(self, endpoint: Endpoint, slices: Iterable[Slice]) -> Reader:
        """A reader with this run's service and page size."""
        return Reader(self.service, endpoint, slices, self.settings.page_size)

    def enter(
        self,
        endpoint: Endpoint,
        state: Mapping[str, Any],
        metrics: MutableMapping[str, Any],
        load_id: str | None,
    ) -> StreamSync:
        """Begin a resource's part in a package: go on with an unfinished load, or start one.

        The load's ``requests`` are noted in ``metrics`` when all resources have ended.
        """
        self._active.add(endpoint.name)
        load = self._unfinished.pop(endpoint.name, None)
        if load is None or load.packages != state.get("packages") or not load.fits(load_id):
            # Rows taken for a package that was not committed have to be read again.
            load = StreamSync(self, endpoint, state, load_id)
        self._counts[endpoint.name] = (load, metrics)
        return load

    def leave(self, load: StreamSync, unfinished: bool, wait: bool) -> None:
        """End a resource's part in a package; an unfinished load goes on in the next one."""
        self._active.discard(load.endpoint.name)
        if unfinished:
            self._unfinished[load.endpoint.name] = load
        if self._active or self._unfinished:
            return
        try:
            self.service.client.close(wait)
            # Not sooner: what a resource that failed had asked for was tried again meanwhile.
            for each, metrics in self._counts.values():
                metrics["requests"] = each.requests
        finally:
            self._counts.clear()
            self._now = None
            self._listings.clear()
            self._listed.clear()
            self._pieces.clear()
            self._failed_listings.clear()


@dataclass(frozen=True)
class RetentionGap:
    """Rows that the service dropped before they were read.

    Attributes:
        whole: Whose rows they were.
        window: Between the last second that was read and the first that is still there.
    """

    partition: Slice
    window: Window

    def __str__(self) -> str:
        whose = f" of {self.partition}" if self.partition.values else ""
        return f"rows{whose} from {self.window} are not at the service any more and were never read"


class _Phase(Enum):
    USUAL = auto()
    COMPLETE = auto()
    CLOSING = auto()


@dataclass
class CompleteRead:
    """A reading of all rows again, in one run or several, that tells which are gone at the service.

    First all windows are read. Then what may have moved from one that had not been read into one
    that had.

    Attributes:
        since: Id of its first load package: rows of older ones were not returned.
        cursors: How far it has come, as the cursors of a usual load.
        reached: Up to where it has read, likewise.
        done: Parents of which all rows have been read at once.
        unreadable: Whether it met records that cannot be told: any row may be one of them.
    """

    since: str
    cursors: dict[str, datetime] = field(default_factory=dict)
    reached: dict[str, datetime] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    unreadable: bool = False

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> CompleteRead:
        """One that an earlier package has left unfinished."""
        return cls(
            state["since"],
            _parse_times(state["cursors"]),
            _parse_times(state["reached"]),
            list(state["done"]),
            state["unreadable"],
        )

    def state(self) -> dict[str, Any]:
        """What another package needs to go on."""
        return {
            "since": self.since,
            "cursors": _format_times(self.cursors),
            "reached": _format_times(self.reached),
            "done": list(self.done),
            "unreadable": self.unreadable,
        }


class StreamSync:
    """One load of a resource, in one package or several.

    A load that is due for it reads all rows again, after what is new: what is old may fail. A full
    refresh reads them alone.

    Attributes:
        packages: How many packages have been filled so far, as the resource's state has it.
        start: First second asked for.
        first: Rows from before this second are not loaded.
        refresh: Whether this is a full refresh.
        complete: The complete read that it goes on with, if any.
        holes: Holes found so far, in front of rows that were handed out.
        missing: What is configured but not there, each with the reason.
        about: Cursor → column → what the service said of all its rows at once.
    """

    _too_early: str | None = None

    def __init__(
        self, run: SyncContext, endpoint: Endpoint, state: Mapping[str, Any], load_id: str | None
    ) -> None:
        self.endpoint = endpoint
        self.packages: int | None = None
        self.start: datetime | None = None
        self.new_columns = NewColumns(endpoint)
        self.gaps: list[RetentionGap] = []
        self.missing: dict[str, str] = {}
        self.envelope_columns: dict[str, Mapping[str, str | None]] = {}
        self._run = run
        self._reader: Reader | None = None
        self._partitions: Sequence[Slice] | None = None
        self._listed = False
        self._cursors = _parse_times(state.get("cursors", {}))
        self._reached = _parse_times(state.get("reached", {}))
        self._holds: dict[str, datetime] = {}
        self._newest: datetime | None = None
        self._gaps: dict[str, RetentionGap] = {}
        self._not_found: set[str] = set()
        self._earlier_requests = 0
        kept = endpoint.window.kept if endpoint.window else None
        self._kept_since = run.now - kept if kept else None
        self._oldest = self._kept_since - KEPT_MARGIN if self._kept_since else _EPOCH
        self.first = max(run.settings.start_date or self._oldest, self._oldest)
        self._first_load = not self._cursors
        self.refresh = _refreshing.get() and endpoint.window is not None
        self.complete = self._find_complete(state, load_id)
        phases = [] if self.refresh else [_Phase.USUAL]
        if self.complete:
            phases += [_Phase.COMPLETE, _Phase.CLOSING]
        self._phases = deque(phases)
        self._phase = phases[0]

    def fits(self, load_id: str | None) -> bool:
        """Whether it can go on in a package with this id, in the run that is under way."""
        if self.refresh != (_refreshing.get() and self.endpoint.window is not None):
            return False
        return self.complete is None or (load_id is not None and self.complete.since <= load_id)

    @property
    def _unlimited(self) -> bool:
        return self._run.settings.since is None and self._run.settings.until is None

    @property
    def _kind(self) -> str:
        """Where the state has the complete read."""
        return "refresh" if self.refresh else "complete"

    def _find_complete(self, state: Mapping[str, Any], load_id: str | None) -> CompleteRead | None:
        if self.refresh and not self._unlimited:
            raise ConfigurationError(
                "A full refresh loads everything from start_date on.\nLeave since and until out."
            )
        if load_id is None or not (self.refresh or self._complete_is_due(state.get("whole_at"))):
            return None
        found = state.get(self._kind)
        # Rows that go into an older package than the first one would pass for not returned.
        if found and found["since"] <= load_id:
            begun = datetime.fromtimestamp(float(found["since"]), timezone.utc)
            if self._run.now - begun < MAX_COMPLETE_AGE:
                return CompleteRead.of(found)
        return CompleteRead(load_id)

    def _complete_is_due(self, last: str | None) -> bool:
        every = self.endpoint.full_read_every
        # The first load is a complete read itself.
        if every is None or self._first_load or not self._unlimited:
            return False
        if self._run.settings.full_read_every is not None:
            every = self._run.settings.full_read_every
        return last is None or self._run.until - parse_time(last, "whole_at") >= every

    @property
    def requests(self) -> int:
        """Requests made so far."""
        own = self._earlier_requests + (self._reader.requests if self._reader else 0)
        return own + self._run.listing_requests(self.endpoint)

    @property
    def note(self) -> str | None:
        """Why nothing was to be read, if nothing was."""
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
        return not (endpoint.window or endpoint.parent or endpoint.configured)

    @property
    def _reads_sets(self) -> bool:
        """Whether a complete read asks for all rows of a parent at once."""
        return self.endpoint.full_read_every is not None and self.endpoint.parent is not None

    def poll(self) -> SliceRows | None:
        """The next rows if they are there, without waiting.

        Raises:
            ConfigurationError: The service keeps nothing of the range that is asked for.
            ServiceError: The service could not be read.
        """
        if self._is_listing:
            rows = self._run.poll_listing(self.endpoint.name, self.endpoint)
            self._listed = rows is not None
            return rows
        if self._reader is None or (self._reader.finished and self._phases):
            if self._partitions is None:
                self._partitions = self._find_partitions()
                if self._partitions is None:
                    return None
                self._compare_with_what_is_kept()
            self._phase = self._phases.popleft()
            self._earlier_requests += self._reader.requests if self._reader else 0
            slices = [
                slice_ for partition in self._partitions for slice_ in self._slices_of(partition)
            ]
            self._reader = self._run.reader(self.endpoint, slices)
        return self._reader.poll()

    def _find_partitions(self) -> Sequence[Slice] | None:
        """A unit for each parent, each configured set of parameters, or the account."""
        endpoint, scope = self.endpoint, self._run.settings.scope
        if endpoint.configured:
            return [
                Slice(
                    params={
                        name: str(value)
                        for name, value in values.items()
                        if f"{{{name}}}" not in endpoint.path
                    },
                    values=values,
                    cursor=_cursor_name(*values.values(), scope),
                )
                for values in self._run.settings.configured.get(endpoint.name, ())
            ]
        if endpoint.parent is None:
            return [Slice(cursor=_cursor_name(scope))]
        parents = self._run.poll_listing(endpoint.parent.endpoint, endpoint)
        if parents is None:
            return None
        return [
            Slice(
                params={endpoint.parent.param: str(parent)},
                values={endpoint.parent.column: parent},
                cursor=_cursor_name(parent, scope),
            )
            for parent in dict.fromkeys(parents.page.table["id"].to_pylist())
        ]

    def _compare_with_what_is_kept(self) -> None:
        """Say what of the range that is asked for the service does not keep.

        Raises:
            ConfigurationError: Nothing of it is left.
        """
        settings, since = self._run.settings, self._kept_since
        if since is None:
            return
        name, kept = self.endpoint.name, f"the service keeps rows since {format_time(since)}"
        if settings.until and settings.until < since:
            raise ConfigurationError(f"{name}: {kept}\nChoose an end after that.")
        first_load = not self._cursors and not self._reached
        wanted = settings.since or (settings.start_date if first_load else None)
        if wanted and wanted < since:
            logger.warning(f"{name}: {kept}, and not since {format_time(wanted)}: loading those")

    def _slices_of(self, partition: Slice) -> Iterator[Slice]:
        """What to read of one parent, or of the account, in the phase that begins."""
        settings, asked = self._run.settings, self.endpoint.window
        if asked is None:
            yield partition
            return
        end = self._end(asked)
        if self._phase is not _Phase.USUAL:
            yield from self._slices_again(partition, asked, end)
            return
        cursor = self._cursors.get(partition.cursor)
        if self._reads_sets and not cursor and self._unlimited:
            # In no window are rows without a time, and those that an earlier start date has loaded.
            yield partition
            return
        self._look_for_gap(partition, end)
        if settings.since:
            start = max(settings.since, self._oldest)
        elif cursor:
            start = max(self.first, cursor - self._lookback(asked))
        else:
            start = self.first
        if start > end:
            self._too_early = f"nothing to read up to {format_time(end)}: " + (
                f"all until {format_time(cursor)} was read before; with since it is read again"
                if cursor
                else f"a first load begins at {format_time(start)}, the start_date"
            )
        yield from self._windows(partition, asked, start, end)
        if asked.undated and not settings.is_range:
            yield replace(partition, params={**partition.params, **asked.undated})

    def _slices_again(
        self, partition: Slice, asked: WindowParams, end: datetime
    ) -> Iterator[Slice]:
        """What a complete read asks for, and what it closes with."""
        assert self.complete
        closing = self._phase is _Phase.CLOSING
        if self._reads_sets:
            if not closing and partition.cursor not in self.complete.done:
                # A set has no start date: what an earlier one has loaded would go.
                yield partition
        elif not closing:
            cursor = self.complete.cursors.get(partition.cursor)
            first = self.first if self.refresh else self._oldest
            start = max(first, cursor - self._lookback(asked)) if cursor else first
            self._look_for_gap(partition, end)
            yield from self._windows(partition, asked, start, end)
        elif self.endpoint.full_read_every:
            # Nothing moves out of the list of all, and rows without a time are in no window.
            yield partition
        else:
            yield from self._windows(
                partition, asked, max(self.first, self._moved_since(asked)), end
            )
            if asked.undated:
                yield replace(partition, params={**partition.params, **asked.undated})

    def _windows(
        self, partition: Slice, asked: WindowParams, start: datetime, end: datetime
    ) -> Iterator[Slice]:
        if start > end:
            return
        self.start = min(start, self.start or start)
        # A service that keeps a year may well answer for no more than a year at a time.
        parts = (end - start) // asked.kept + 1 if asked.kept else 1
        for window in Window(start, end).split(parts):
            yield replace(
                partition, window=window, fallback_window=self._surely_kept(window, asked)
            )

    def _end(self, asked: WindowParams) -> datetime:
        """The last second to ask for."""
        ahead = timedelta(0) if self._run.settings.until else asked.ahead
        return self._run.until + ahead

    def _lookback(self, asked: WindowParams) -> timedelta:
        return self._run.settings.lookback.get(self.endpoint.name, asked.lookback)

    def _moved_since(self, asked: WindowParams) -> datetime:
        """From when on rows may have moved while they were read."""
        return self._run.now - max(self._lookback(asked), CLOCKS_APART)

    @property
    def unwindowed_since(self) -> datetime | None:
        """From when on rows count that are read without a window; ``None`` for all of them."""
        if self._reads_sets or self.endpoint.window is None:
            return None
        if self._phase is _Phase.CLOSING:
            return max(self.first, self._moved_since(self.endpoint.window))
        return self.first

    def _surely_kept(self, window: Window, asked: WindowParams) -> Window | None:
        """What is left of a window if the service refuses to look beyond what it keeps."""
        if self._kept_since is None or window.start >= self._kept_since:
            return None
        return Window(min(self._kept_since + asked.ahead, window.end), window.end)

    def _known_until(self, cursor: str) -> datetime | None:
        """The last second up to which everything has been read, by the state of earlier runs."""
        known = [self._cursors.get(cursor), self._reached.get(cursor)]
        if self.complete:
            known += [self.complete.cursors.get(cursor), self.complete.reached.get(cursor)]
        return max((time for time in known if time), default=None)

    def _look_for_gap(self, partition: Slice, end: datetime) -> None:
        """Note the rows that the service has dropped since they could have been read."""
        settings, known = self._run.settings, self._known_until(partition.cursor)
        if self._kept_since is None or known is None or settings.is_range:
            return
        known = max(known, settings.start_date or known)
        gap_end = min(self._kept_since, end)
        if known < gap_end and not (settings.since and settings.since > known):
            gap = self._gaps[partition.cursor] = RetentionGap(partition, Window(known, gap_end))
            logger.error(f"{self.endpoint.name}: {gap}")

    def advance(self, rows: SliceRows, hold: datetime | None) -> None:
        """Move the cursor over rows that go into the package.

        Args:
            rows: The rows, all up to the end of their window.
            hold: A time the cursor may not pass, because a row of that time has to come again.
        """
        slice_, window = rows.slice_, self.endpoint.window
        if rows.not_found is not None and self.endpoint.configured:
            where = f"{self.endpoint.name}, {replace(slice_, window=None)}"
            self.missing[where] = rows.not_found
        elif rows.page.shared:
            self.envelope_columns[slice_.cursor] = rows.page.shared
        if rows.not_found is not None:
            self._not_found.add(slice_.cursor)
        if window is None or rows.not_found is not None:
            return
        cursors, reached = self._cursors, self._reached
        again = None if self._phase is _Phase.USUAL else self.complete
        if again:
            cursors, reached = again.cursors, again.reached
            again.unreadable |= lost_records(rows.page, self.endpoint)
        times = (latest(rows.page.table, window.cursor), self._newest)
        self._newest = newest = max((time for time in times if time), default=None)
        if hold is not None:
            self._holds[slice_.cursor] = min(hold, self._holds.get(slice_.cursor, hold))
        if not rows.is_last:
            # Rows that are still to come can be older.
            return
        self._newest = None
        if again and self._reads_sets and rows.ends_parent:
            again.done.append(slice_.cursor)
        cursor = cursors.get(slice_.cursor)
        if newest is not None:
            # A row from the future must not take the cursor past what is there to be read now.
            newest = min(newest.replace(microsecond=0), self._run.until, self._run.now)
            cursor = max(newest, cursor or newest)
        if cursor is not None:
            cursors[slice_.cursor] = min(cursor, self._holds.get(slice_.cursor, cursor))
        if window.kept and slice_.window:
            self._reach(reached, slice_.cursor, slice_.window)

    def _reach(self, reached: dict[str, datetime], cursor: str, window: Window) -> None:
        """Note up to where everything has been read, whether or not there were rows."""
        gap = self._gaps.pop(cursor, None)
        if gap:
            # In the same package as what lies behind it: it is reported once.
            self.gaps.append(gap)
        end = min(window.end, self._run.until, self._run.now)
        ends = (end, reached.get(cursor), gap.window.end if gap else None)
        reached[cursor] = max(time for time in ends if time)

    def covered(self) -> Covered | None:
        """Which stored rows the complete read has to return, if they are still at the service."""
        assert self.complete and self.endpoint.window
        asked, window, undated = self.endpoint.window, None, True
        if self.refresh and not self._reads_sets:
            # What the service does not keep any more cannot come, and is no less true for that.
            kept = self._kept_since + KEPT_MARGIN if self._kept_since else self.first
            start, end = max(self.first, kept), self._end(asked)
            if start > end:
                return None
            window = Window(start, end)
            undated = bool(asked.undated or self.endpoint.full_read_every)
        values: dict[str, list[Any]] = {
            name: [only] for name, only in self._run.settings.only.items()
        }
        if self.endpoint.configured or (self.endpoint.parent and not self.refresh):
            for partition in self._partitions or ():
                if partition.cursor not in self._not_found:
                    for name, value in partition.values.items():
                        values.setdefault(name, []).append(value)
        return Covered(self.complete.since, asked.cursor, window, undated, values)

    def save(self, state: dict[str, Any]) -> None:
        """Write the cursors into the resource's state, for the package that is being filled."""
        settings = self._run.settings
        if self.endpoint.window is None or settings.is_range:
            return
        for name, positions in (("cursors", self._cursors), ("reached", self._reached)):
            before = state.get(name, {})
            now = _format_times(positions)
            if settings.since:
                # A cursor behind rows that were left out would leave a hole for good.
                since, first = format_time(settings.since), format_time(self.first)
                now = {
                    cursor: time
                    for cursor, time in now.items()
                    if since <= before.get(cursor, first)
                }
            if now:
                state[name] = {**before, **now}
        if self.complete:
            state[self._kind] = self.complete.state()
        elif self.endpoint.full_read_every and self._first_load and self._unlimited:
            state.setdefault("whole_at", format_time(self._run.until))

    def end_package(self, state: dict[str, Any]) -> None:
        """Note in the state whether another package goes on with this load."""
        if not self.finished:
            self.packages = state["packages"] = (self.packages or 0) + 1
            return
        self.packages = None
        state.pop("packages", None)
        if self.complete:
            self._end_complete(self.complete, state)

    def _end_complete(self, complete: CompleteRead, state: dict[str, Any]) -> None:
        """Let the usual cursors go on from where the complete read has come."""
        for name, time in complete.cursors.items():
            time = max(time, self._cursors.get(name, time))
            self._cursors[name] = min(time, self._holds.get(name, time))
        for name, time in complete.reached.items():
            self._reached[name] = max(time, self._reached.get(name, time))
        self.complete = None
        state.pop(self._kind, None)
        if self.endpoint.full_read_every:
            state["whole_at"] = format_time(self._run.until)
        self.save(state)


def _format_times(times: Mapping[str, datetime]) -> dict[str, str]:
    return {name: format_time(time) for name, time in times.items()}


def account_state(state: dict[str, Any], account: str) -> dict[str, Any]:
    """The part of a resource's state that is the account's.

    What is noted without an account, by a version that knew of none, is this account's.
    """
    accounts = state.setdefault("accounts", {})
    if account not in accounts:
        accounts[account] = {name: state.pop(name) for name in _OF_ACCOUNT if name in state}
    found: dict[str, Any] = accounts[account]
    return found


def has_cursors(state: Mapping[str, Any]) -> bool:
    """Whether a resource's state says of any account that rows were loaded."""
    return any(part.get("cursors") for part in (state, *state.get("accounts", {}).values()))


def _parse_times(texts: Mapping[str, str]) -> dict[str, datetime]:
    return {name: parse_time(text, "cursor") for name, text in texts.items()}


def _cursor_name(*parts: int | str) -> str:
    return "/".join(str(part) for part in parts if part != "")
