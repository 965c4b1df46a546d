"""What a run reads: the windows of each parent, and how far each has been read.

A :class:`Load` turns an endpoint, the settings and the cursors of earlier runs into units for a
:class:`Reader`, and moves the cursors over the rows that come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from dlt.common import logger

from .endpoints import Endpoint, WindowParams
from .errors import ConfigurationError, ServiceError
from .reading import Reader, Service, Unit, WindowRows
from .tables import concat_pages, latest
from .windows import SECOND, Window, format_time, parse_time

#: Asked for beyond what a service keeps: a leap day, and clocks that are apart.
KEPT_MARGIN = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Settings:
    """What a run is asked to load.

    Attributes:
        start_date: First second of a first load; ``None`` for all there is.
        since: Load from here, instead of from the cursor.
        until: Load up to here, instead of up to now.
        page_size: Rows wanted on a page.
        lookback: Resource → how far before its cursor to read again; the endpoint's own if absent.
        whole_every: How often resources whose old rows change unseen are read whole; the endpoint's
            own if ``None``.
        configured: Resource → the sets of parameters it is asked for.
        scope: What the cursors belong to besides their parent; another scope has others.
        package_rows: About how many rows of a resource go into one load package; ``None`` for all.
        isolate_failures: Whether a resource that cannot be read ends with its custom metric
            ``failed``, and does not end the run.
    """

    start_date: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    page_size: int = 1000
    lookback: Mapping[str, timedelta] = field(default_factory=dict)
    whole_every: timedelta | None = None
    configured: Mapping[str, Sequence[Mapping[str, int | str]]] = field(default_factory=dict)
    scope: str = ""
    package_rows: int | None = None
    isolate_failures: bool = False

    @property
    def is_range(self) -> bool:
        """Whether exactly one range is wanted, which leaves the cursors alone."""
        return self.since is not None and self.until is not None


class Run:
    """What the resources of one source share: the service, the settings, the lists of parents."""

    def __init__(
        self, service: Service[Any], settings: Settings, endpoints: Iterable[Endpoint]
    ) -> None:
        self.service = service
        self.settings = settings
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._now: datetime | None = None
        self._unfinished: dict[str, Load] = {}
        self._listings: dict[str, Reader] = {}
        self._listed: dict[str, WindowRows] = {}
        self._pieces: dict[str, list[WindowRows]] = {}
        self._askers: dict[str, str] = {}
        self._failed_listings: dict[str, ServiceError] = {}
        self._active: set[str] = set()
        self._counts: dict[str, tuple[Load, MutableMapping[str, Any]]] = {}

    @property
    def now(self) -> datetime:
        """The end of the second in which this run began: what was stamped in it is read too."""
        if self._now is None:
            self._now = datetime.now(timezone.utc).replace(microsecond=0) + SECOND
        return self._now

    @property
    def until(self) -> datetime:
        """The last second to load, the same for all resources."""
        return self.settings.until or self.now

    def poll_listing(self, name: str, asker: Endpoint) -> WindowRows | None:
        """All rows of the snapshot ``name`` if they are there; it is asked for once in a run."""
        if name not in self._listings:
            self._listings[name] = self.reader(self._endpoints[name], [Unit()])
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

    def reader(self, endpoint: Endpoint, units: Iterable[Unit]) -> Reader:
        """A reader with this run's service and page size."""
        return Reader(self.service, endpoint, units, self.settings.page_size)

    def enter(
        self, endpoint: Endpoint, state: Mapping[str, Any], metrics: MutableMapping[str, Any]
    ) -> Load:
        """Begin a resource's part in a package: go on with an unfinished load, or start one.

        The load's ``requests`` are noted in ``metrics`` when all resources have ended.
        """
        self._active.add(endpoint.name)
        load = self._unfinished.pop(endpoint.name, None)
        if load is None or load.packages != state.get("packages"):
            # Rows taken for a package that was not committed have to be read again.
            load = Load(self, endpoint, state)
        self._counts[endpoint.name] = (load, metrics)
        return load

    def leave(self, load: Load, unfinished: bool, wait: bool) -> None:
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
class Hole:
    """Rows that the service dropped before they were read.

    Attributes:
        whole: Whose rows they were.
        window: Between the last second that was read and the first that is still there.
    """

    whole: Unit
    window: Window

    def __str__(self) -> str:
        whose = f" of {self.whole}" if self.whole.values else ""
        return f"rows{whose} from {self.window} are not at the service any more and were never read"


class Load:
    """One load of a resource, in one package or several.

    Attributes:
        packages: How many packages have been filled so far, as the resource's state has it.
        start: First second asked for.
        first: Rows from before this second are not loaded.
        whole: Whether all rows of each parent are read and replaced as a set.
        holes: Holes found so far, in front of rows that were handed out.
        missing: What is configured but not there, each with the reason.
        about: Cursor → column → what the service said of all its rows at once.
    """

    def __init__(self, run: Run, endpoint: Endpoint, state: Mapping[str, Any]) -> None:
        self.endpoint = endpoint
        self.packages: int | None = None
        self.start: datetime | None = None
        self.holes: list[Hole] = []
        self.missing: dict[str, str] = {}
        self.about: dict[str, Mapping[str, str | None]] = {}
        self._run = run
        self._reader: Reader | None = None
        self._listed = False
        self._cursors = _parse_times(state.get("cursors", {}))
        self._reached = _parse_times(state.get("reached", {}))
        self._holds: dict[str, datetime] = {}
        self._newest: datetime | None = None
        self._holes: dict[str, Hole] = {}
        self._whole_at = state.get("whole_at")
        kept = endpoint.window.kept if endpoint.window else None
        self._kept_since = run.now - kept if kept else None
        self._oldest = self._kept_since - KEPT_MARGIN if self._kept_since else _EPOCH
        self.first = max(run.settings.start_date or self._oldest, self._oldest)
        self.whole = self._whole_is_due()

    def _whole_is_due(self) -> bool:
        settings, every = self._run.settings, self.endpoint.whole_every
        if every is None or self._whole_at is None or settings.since or settings.until:
            return False
        if settings.whole_every is not None:
            every = settings.whole_every
        return self._run.until - parse_time(self._whole_at, "whole_at") >= every

    @property
    def requests(self) -> int:
        """Requests made so far."""
        own = self._reader.requests if self._reader else 0
        return own + self._run.listing_requests(self.endpoint)

    @property
    def finished(self) -> bool:
        """Whether all rows have been handed out."""
        return self._listed if self._is_listing else bool(self._reader and self._reader.finished)

    @property
    def _is_listing(self) -> bool:
        endpoint = self.endpoint
        return not (endpoint.window or endpoint.parent or endpoint.configured)

    def poll(self) -> WindowRows | None:
        """The next rows if they are there, without waiting.

        Raises:
            ConfigurationError: The service keeps nothing of the range that is asked for.
            ServiceError: The service could not be read.
        """
        if self._is_listing:
            rows = self._run.poll_listing(self.endpoint.name, self.endpoint)
            self._listed = rows is not None
            return rows
        if self._reader is None:
            wholes = self._find_wholes()
            if wholes is None:
                return None
            self._compare_with_what_is_kept()
            units = [unit for whole in wholes for unit in self._units_of(whole)]
            self._reader = self._run.reader(self.endpoint, units)
        return self._reader.poll()

    def _find_wholes(self) -> Sequence[Unit] | None:
        """A unit for each parent, each configured set of parameters, or the account."""
        endpoint, scope = self.endpoint, self._run.settings.scope
        if endpoint.configured:
            return [
                Unit(
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
            return [Unit(cursor=_cursor_name(scope))]
        parents = self._run.poll_listing(endpoint.parent.endpoint, endpoint)
        if parents is None:
            return None
        return [
            Unit(
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

    def _units_of(self, whole: Unit) -> Iterator[Unit]:
        """What to read of one parent, or of the account."""
        settings, asked = self._run.settings, self.endpoint.window
        if asked is None:
            yield whole
            return
        end = self._run.until + (timedelta(0) if settings.until else asked.ahead)
        cursor = self._cursors.get(whole.cursor)
        unlimited = not settings.since and not settings.until
        if self.whole or (self.endpoint.whole_every and not cursor and unlimited):
            # In no window are rows without a time, and those that an earlier start date has loaded.
            yield whole
            return
        self._look_for_hole(whole, end)
        if settings.since:
            start = max(settings.since, self._oldest)
        elif cursor:
            lookback = settings.lookback.get(self.endpoint.name, asked.lookback)
            start = max(self.first, cursor - lookback)
        else:
            start = self.first
        if start <= end:
            self.start = min(start, self.start or start)
            # A service that keeps a year may well answer for no more than a year at a time.
            parts = (end - start) // asked.kept + 1 if asked.kept else 1
            for window in Window(start, end).split(parts):
                yield replace(whole, window=window, instead=self._surely_kept(window, asked))
        if asked.undated and not settings.is_range:
            yield replace(whole, params={**whole.params, **asked.undated})

    def _surely_kept(self, window: Window, asked: WindowParams) -> Window | None:
        """What is left of a window if the service refuses to look beyond what it keeps."""
        if self._kept_since is None or window.start >= self._kept_since:
            return None
        return Window(min(self._kept_since + asked.ahead, window.end), window.end)

    def _known_until(self, cursor: str) -> datetime | None:
        """The last second up to which everything has been read, by the state of earlier runs."""
        known = (self._cursors.get(cursor), self._reached.get(cursor))
        return max((time for time in known if time), default=None)

    def _look_for_hole(self, whole: Unit, end: datetime) -> None:
        """Note the rows that the service has dropped since they could have been read."""
        settings, known = self._run.settings, self._known_until(whole.cursor)
        if self._kept_since is None or known is None or settings.is_range:
            return
        known = max(known, settings.start_date or known)
        hole_end = min(self._kept_since, end)
        if known < hole_end and not (settings.since and settings.since > known):
            hole = self._holes[whole.cursor] = Hole(whole, Window(known, hole_end))
            logger.error(f"{self.endpoint.name}: {hole}")

    def advance(self, rows: WindowRows, hold: datetime | None) -> None:
        """Move the cursor over rows that go into the package.

        Args:
            rows: The rows, all up to the end of their window.
            hold: A time the cursor may not pass, because a row of that time has to come again.
        """
        unit, window = rows.unit, self.endpoint.window
        if rows.gone is not None and self.endpoint.configured:
            where = f"{self.endpoint.name}, {replace(unit, window=None)}"
            self.missing[where] = rows.gone
        elif rows.page.shared:
            self.about[unit.cursor] = rows.page.shared
        if window is None or rows.gone is not None:
            return
        times = (latest(rows.page.table, window.cursor), self._newest)
        self._newest = newest = max((time for time in times if time), default=None)
        if hold is not None:
            self._holds[unit.cursor] = min(hold, self._holds.get(unit.cursor, hold))
        if not rows.is_last:
            # Rows that are still to come can be older.
            return
        self._newest = None
        cursor = self._cursors.get(unit.cursor)
        if newest is not None:
            # A row from the future must not take the cursor past what is there to be read now.
            newest = min(newest.replace(microsecond=0), self._run.until, self._run.now)
            cursor = max(newest, cursor or newest)
        if cursor is not None:
            self._cursors[unit.cursor] = min(cursor, self._holds.get(unit.cursor, cursor))
        if window.kept and unit.window:
            self._reach(unit.cursor, unit.window)

    def _reach(self, cursor: str, window: Window) -> None:
        """Note up to where everything has been read, whether or not there were rows."""
        hole = self._holes.pop(cursor, None)
        if hole:
            # In the same package as what lies behind it: it is reported once.
            self.holes.append(hole)
        end = min(window.end, self._run.until, self._run.now)
        ends = (end, self._reached.get(cursor), hole.window.end if hole else None)
        self._reached[cursor] = max(time for time in ends if time)

    def save(self, state: dict[str, Any]) -> None:
        """Write the cursors into the resource's state, for the package that is being filled."""
        settings = self._run.settings
        if self.endpoint.window is None or settings.is_range:
            return
        for name, positions in (("cursors", self._cursors), ("reached", self._reached)):
            before = state.get(name, {})
            now = {cursor: format_time(time) for cursor, time in positions.items()}
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
        was_whole = self.whole or self._whole_at is None
        if self.endpoint.whole_every and was_whole and self.finished:
            state["whole_at"] = format_time(self._run.until)

    def end_package(self, state: dict[str, Any]) -> None:
        """Note in the state whether another package goes on with this load."""
        if self.finished:
            self.packages = None
            state.pop("packages", None)
        else:
            self.packages = state["packages"] = (self.packages or 0) + 1


def _parse_times(texts: Mapping[str, str]) -> dict[str, datetime]:
    return {name: parse_time(text, "cursor") for name, text in texts.items()}


def _cursor_name(*parts: int | str) -> str:
    return "/".join(str(part) for part in parts if part != "")
