"""Which slices of a partition a load reads. Pure: no requests, no state is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from textlift.declare import Endpoint, Incremental
from textlift.errors import ConfigurationError
from textlift.extract.settings import Settings
from textlift.extract.slices import Partition, Slice
from textlift.extract.sorted_list import ListPart, ListPosition
from textlift.windows import EPOCH, SECOND, Window, floor_time, format_time

#: Requested beyond the retention: a leap day, and clocks that differ.
RETENTION_MARGIN = timedelta(days=1)
#: The clocks of a service and of this machine differ by less.
CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True)
class RetentionGap:
    """Rows that the service dropped before they were read.

    Attributes:
        partition: Whose rows they were.
        window: From the last second that was read to the first that is still there.
    """

    partition: Partition
    window: Window

    def __str__(self) -> str:
        whose = f" of {self.partition}" if self.partition.values else ""
        return f"rows{whose} from {self.window} are not at the service any more and were never read"


class Slicer:
    """Chooses the slices of an endpoint's partitions.

    Args:
        endpoint: The endpoint.
        settings: What the run is asked to load.
        now: When the run began.
        until: The last second to load.
        began: When the first load began that was interrupted and is continued, if there is one.

    Attributes:
        first: Rows before this second are not loaded.
        oldest: First second that the service can still have.
        kept_since: First second that the service surely still has; ``None`` without a retention.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        now: datetime,
        until: datetime,
        began: datetime | None = None,
    ) -> None:
        kept = endpoint.incremental.retention if endpoint.incremental else None
        self._endpoint = endpoint
        self._settings = settings
        self._now = now
        self._until = until
        self._began = began
        self.kept_since = now - kept if kept else None
        self.oldest = self.kept_since - RETENTION_MARGIN if self.kept_since else EPOCH
        # A sorted list is read from its newest row on, whatever its oldest one is.
        start = None if endpoint.sorted_list else settings.start_date
        self.first = max(start or self.oldest, self.oldest)

    @property
    def reads_sets(self) -> bool:
        """Whether a complete read requests all rows of a parent in one slice."""
        return self._endpoint.full_read_every is not None and self._endpoint.parent is not None

    @property
    def _undated_params(self) -> Mapping[str, str]:
        return (self._endpoint.time_range and self._endpoint.time_range.undated) or {}

    @property
    def reads_undated(self) -> bool:
        """Whether rows without a time are requested apart."""
        return bool(self._undated_params)

    @property
    def incremental(self) -> Incremental:
        """How the endpoint is read by time; it must not be a snapshot."""
        assert self._endpoint.incremental
        return self._endpoint.incremental

    @property
    def end(self) -> datetime:
        """The last second to request."""
        return self._until + (timedelta(0) if self._settings.until else self.incremental.ahead)

    @property
    def moved_since(self) -> datetime:
        """From when on rows can have moved while they were read."""
        return self._now - max(self._lookback, CLOCKS_APART)

    @property
    def _lookback(self) -> timedelta:
        return self._settings.lookback.get(self._endpoint.name, self.incremental.lookback)

    def start(self, cursor: datetime | None) -> datetime:
        """Return the first second that a usual load requests."""
        if self._settings.since:
            return max(self._settings.since, self.oldest)
        if not cursor:
            return self.first
        again = cursor - self._lookback
        if self._began:
            # Rows that were old enough when the first load read them are not read again.
            again = max(again, min(cursor, self._began - self._lookback))
        return max(self.first, again)

    def usual(self, partition: Partition, cursor: datetime | None) -> Iterator[Slice]:
        """Yield what is new: from the cursor, minus the lookback, to the end."""
        if self._endpoint.incremental is None:
            yield Slice(partition)
            return
        if self.begins_with_set(cursor):
            yield Slice(partition)
            return
        if self._endpoint.sorted_list:
            yield Slice(partition, list_part=ListPart(self.start(cursor)))
            return
        yield from self._windows(partition, self.start(cursor), self.end)
        if not self._settings.is_range:
            yield from self._undated(partition)

    def begins_with_set(self, cursor: datetime | None) -> bool:
        """Return whether a usual load reads all rows of a partition in one slice."""
        # No window has rows without a time, or those that an earlier start date has loaded.
        return self.reads_sets and not cursor and self._settings.is_unlimited

    def complete(
        self,
        partition: Partition,
        cursor: datetime | None,
        position: ListPosition | None,
        refresh: bool,
    ) -> Iterator[Slice]:
        """Yield what a complete read requests, from where it has come."""
        if self._endpoint.sorted_list:
            yield Slice(partition, list_part=ListPart(start=position))
            return
        if self.reads_sets:
            # A set has no start date: rows that an earlier one has loaded would be taken for gone.
            yield Slice(partition)
            return
        first = self.first if refresh else self.oldest
        start = max(first, cursor - self._lookback) if cursor else first
        yield from self._windows(partition, start, self.end)

    def closing(self, partition: Partition, began: datetime) -> Iterator[Slice]:
        """Yield what may have moved since a complete read began."""
        if self._endpoint.sorted_list:
            moved_since = began - max(self._lookback, CLOCKS_APART)
            yield Slice(partition, list_part=ListPart(moved_since))
            return
        if self.reads_sets:
            return
        if self._endpoint.full_read_every:
            # Nothing moves out of the list of all rows, and rows without a time are in no window.
            yield Slice(partition)
            return
        yield from self._windows(partition, max(self.first, self.moved_since), self.end)
        yield from self._undated(partition)

    def _undated(self, partition: Partition) -> Iterator[Slice]:
        if self.reads_undated:
            yield Slice(partition, params=self._undated_params)

    def _windows(self, partition: Partition, start: datetime, end: datetime) -> Iterator[Slice]:
        if start > end:
            return
        declared = self._endpoint.time_range
        step = declared.resolution if declared else SECOND
        is_open = not self._settings.until and declared is not None and bool(declared.open_end)
        wanted = Window(floor_time(start, step), end, step, is_open)
        # A service that keeps a year may well answer for no more than a year at a time.
        kept = self.incremental.retention
        parts = (end - start) // kept + 1 if kept else 1
        for window in wanted.split(parts):
            yield Slice(partition, window, fallback_window=self._surely_kept(window))

    def _surely_kept(self, window: Window) -> Window | None:
        """Return the part of a window to request if the service refuses what lies before it."""
        if self.kept_since is None or window.start >= self.kept_since:
            return None
        start = min(self.kept_since + self.incremental.ahead, window.end)
        return replace(window, start=start)

    def gap(self, partition: Partition, known: datetime | None) -> RetentionGap | None:
        """Return the rows that the service dropped since a partition was read up to ``known``."""
        settings = self._settings
        if self.kept_since is None or known is None or settings.is_range:
            return None
        known = max(known, settings.start_date or known)
        end = min(self.kept_since, self.end)
        if known >= end or (settings.since and settings.since > known):
            return None
        return RetentionGap(partition, Window(known, end))

    def compare_with_retention(self, is_first_load: bool) -> str | None:
        """Return a warning if the service has dropped a part of what is wanted.

        Raises:
            ConfigurationError: Nothing of it is left.
        """
        settings, since = self._settings, self.kept_since
        if since is None:
            return None
        kept = f"{self._endpoint.name}: the service keeps rows since {format_time(since)}"
        if settings.until and settings.until < since:
            raise ConfigurationError(f"{kept}\nChoose an end after that.")
        wanted = settings.since or (settings.start_date if is_first_load else None)
        if wanted and wanted < since:
            return f"{kept}, and not since {format_time(wanted)}: loading those"
        return None

    def nothing_to_read(self, cursor: datetime | None) -> str | None:
        """Return why a usual load of a partition has nothing to read; ``None`` if it has."""
        if self.begins_with_set(cursor) or self.start(cursor) <= self.end:
            return None
        why = (
            f"all until {format_time(cursor)} was read before; with since it is read again"
            if cursor
            else f"a first load begins at {format_time(self.start(None))}, the start_date"
        )
        return f"nothing to read up to {format_time(self.end)}: {why}"

    def refreshed_window(self) -> Window | None:
        """Return the window in which a full refresh has to return all rows; ``None`` if empty."""
        # Rows that the service does not keep any more cannot be returned, and are no less true.
        kept = self.kept_since + RETENTION_MARGIN if self.kept_since else self.first
        start = max(self.first, kept)
        return Window(start, self.end) if start <= self.end else None
