"""The dlt resources of webhooks: from the segments in a storage to load packages.

A segment is deleted only when the destination has the load package with its rows. The state of a
resource names the segments in its package::

    segments:  receiver → ranges of numbers

The next package deletes the segments that the committed state in the destination names, and reads
the others. So a run that is killed at any time loses nothing, and leaves nothing for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import dlt
from dlt.common import logger
from dlt.common.destination.client import WithStateSync
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.extract import DltResource
from dlt.pipeline.state_sync import load_pipeline_state_from_destination

from textlift import clock
from textlift.arrow.build import empty_page
from textlift.arrow.new_columns import NewColumns
from textlift.arrow.pages import Page
from textlift.declare import Endpoint
from textlift.destinations.stored import current_load_id
from textlift.errors import ConfigurationError, StorageFailed
from textlift.extract.erased import ErasedPeople
from textlift.extract.progress import Progress
from textlift.extract.settings import Settings
from textlift.extract.slicer import RetentionGap
from textlift.extract.slices import Slice, SliceRows
from textlift.extract.state import ACCOUNT_HINT, is_planning
from textlift.extract.sync import StreamPlan
from textlift.load.contract import declare
from textlift.load.cursors import resource_states
from textlift.load.package import Package
from textlift.load.rejects import Rejections, stored_rejects
from textlift.load.report import StreamReport, set_report
from textlift.load.resources import OPEN_REJECTS, batch_tables, failure
from textlift.privacy.pages import protection
from textlift.webhooks.events import Events
from textlift.webhooks.settings import SECTION, WebhookSettings, default_folder, open_storage
from textlift.webhooks.storage import Segments, Storage

#: Bodies that become one page, in packages that take so many.
PAGE_EVENTS = 20_000
_SEGMENTS = "segments"


def webhook_resources(
    service: str,
    endpoints: Iterable[Endpoint],
    webhooks: WebhookSettings,
    settings: Settings,
) -> list[DltResource]:
    """Return the dlt resources of the endpoints that a service posts.

    They load what is in the storage when the run begins, whatever range of time the settings have.

    Args:
        service: Name of the service.
        endpoints: Its endpoints; those without a ``webhook`` are ignored.
        webhooks: Its settings ``sources.<service>.webhooks``.
        settings: What to load.
    """
    inbox = _Inbox(service, webhooks, ErasedPeople(settings))
    return [_resource(inbox, each, settings) for each in endpoints if each.webhook]


@dataclass
class _Arrived:
    """The segments of one kind in one load package.

    Attributes:
        kind: The kind.
        waiting: Segments to read, oldest first.
        taken: Segments whose events are in the package.
        kept: Segments of earlier packages that could not be deleted.
        problem: Why they could not.
    """

    kind: str
    waiting: list[str]
    taken: list[str] = field(default_factory=list)
    kept: Sequence[str] = ()
    problem: StorageFailed | None = None


class _Inbox:
    """The storage of a service, as the resources of one source share it.

    It is opened when a resource is extracted, because not every run extracts one.

    Attributes:
        erased: People whose events are not loaded.
    """

    def __init__(self, service: str, webhooks: WebhookSettings, erased: ErasedPeople) -> None:
        self.erased = erased
        self._service = service
        self._url = webhooks.storage
        self._storage: Storage | None = None
        self._unfinished: dict[str, _Arrived] = {}

    @property
    def storage(self) -> Storage:
        """The storage."""
        if self._storage is None:
            self._storage = open_storage(self._service, self._url)
        return self._storage

    @property
    def unset(self) -> str | None:
        """The setting of the storage, if it is not set and nothing was received without it."""
        is_used = self._url is not None or default_folder(self._service).is_dir()
        return None if is_used else f"{SECTION}.storage"

    @property
    def note(self) -> str | None:
        """Why there is nothing to read, if the configured storage does not exist."""
        if self._url is None or not self.storage.is_missing:
            return None
        return f"no receiver has written to {self.storage.url}"

    def enter(self, endpoint: Endpoint, state: Mapping[str, Any]) -> _Arrived:
        """Delete what is committed, and return what waits."""
        kind = endpoint.name
        committed = _committed(kind) if state.get(_SEGMENTS) else Segments({})
        names = self.storage.names(kind)
        done = [name for name in names if name in committed]
        arrived = _Arrived(kind, [name for name in names if name not in committed])
        before = self._unfinished.pop(kind, None)
        if before and all(name in committed for name in before.taken):
            # The run ends with what was there when it began.
            arrived.waiting = before.waiting
        try:
            self.storage.delete(kind, done)
        except StorageFailed as error:
            logger.warning(f"{kind}: {error}")
            arrived.kept, arrived.problem = done, error
        return arrived

    def leave(self, arrived: _Arrived, unfinished: bool) -> None:
        """Keep what another package of the run goes on with."""
        if unfinished:
            self._unfinished[arrived.kind] = arrived


class _Stream:
    """The events of one load, for :class:`.Package`."""

    unwindowed = None, None

    def __init__(self, endpoint: Endpoint, progress: Progress) -> None:
        self.endpoint = endpoint
        self.new_columns = NewColumns(endpoint)
        self.gaps: list[RetentionGap] = []
        self._progress = progress

    def advance(self, rows: SliceRows, hold: datetime | None) -> None:
        """Count the rows."""
        self._progress.count_rows(rows.page.table.num_rows, None, rows.is_last)


def _resource(inbox: _Inbox, endpoint: Endpoint, settings: Settings) -> DltResource:
    """Return the dlt resource of a kind of webhooks. It yields Arrow tables, like all others."""

    def rows() -> Iterator[Any]:
        state = dlt.current.resource_state()
        this_resource = dlt.current.resource()
        declare(this_resource, endpoint)
        if is_planning():
            yield _plan(inbox, endpoint)
            return
        aging = settings.retention.get(endpoint.name)
        begun = StreamReport(unset=inbox.unset, aging=aging)
        set_report(this_resource, begun)
        open_rejects = dlt.current.source_state().setdefault(OPEN_REJECTS, {})
        rejections = Rejections(
            endpoint,
            clock.now(),
            open_rejects.get(endpoint.name, True),
            lambda: stored_rejects(endpoint.name),
        )
        package = Package(_Stream(endpoint, begun.progress), rejections, clock.now(), aging)
        empty, limit = empty_page(endpoint), settings.package_rows
        try:
            protected = protection(endpoint, settings.policy, inbox.erased.read())
            arrived = inbox.enter(endpoint, state)
            for page in _pages(
                inbox.storage, endpoint, arrived, min(PAGE_EVENTS, limit or PAGE_EVENTS)
            ):
                page = protected.page(page) if protected else page
                # An event is final: nothing that is not read again resolves a reject.
                package.add(SliceRows(Slice(), page, None, ends_partition=False, is_last=False))
                if package.is_full(limit):
                    break
                if package.has_batch:
                    yield from batch_tables(package, empty, last=False)
            yield from batch_tables(package, empty)
            taken = [*arrived.taken, *arrived.kept]
            if taken or _SEGMENTS in state:
                state[_SEGMENTS] = Segments.of(taken).ranges
            open_rejects[endpoint.name] = rejections.any_open
            # In a run of several packages, the next one deletes what this one commits.
            unfinished = limit is not None and bool(arrived.taken)
            inbox.leave(arrived, unfinished)
            report = replace(
                begun,
                rows=package.table_rows,
                rejected=len(rejections.keys),
                unfinished=unfinished,
                note=inbox.note,
                failed=str(arrived.problem) if arrived.problem and not unfinished else None,
            )
            set_report(this_resource, report)
        except Exception as error:
            if not settings.isolate_failures or isinstance(error, ConfigurationError):
                raise
            set_report(this_resource, replace(begun, failed=failure(endpoint, error)))

    resource: DltResource = dlt.resource(
        rows, name=endpoint.name, primary_key=list(endpoint.key), write_disposition="merge"
    )
    set_report(resource, StreamReport(unset=inbox.unset))
    resource.apply_hints(additional_table_hints={ACCOUNT_HINT: settings.account})
    return resource


def _pages(storage: Storage, endpoint: Endpoint, arrived: _Arrived, size: int) -> Iterator[Page]:
    """Yield the events of the segments that wait, and take these from ``arrived.waiting``.

    A page ends with the segment that brings it to ``size`` bodies.
    """
    events = Events(endpoint)
    lines: list[bytes] = []
    names: list[str] = []
    for name, content in storage.read(arrived.kind, list(arrived.waiting)):
        names.append(name)
        lines += content.splitlines()
        if len(lines) >= size:
            page = events.page(lines)
            _take(arrived, names)
            lines, names = [], []
            yield page
    if names:
        page = events.page(lines)
        _take(arrived, names)
        yield page
    arrived.waiting.clear()


def _take(arrived: _Arrived, names: Sequence[str]) -> None:
    arrived.taken += names
    arrived.waiting = [name for name in arrived.waiting if name > names[-1]]


def _committed(kind: str) -> Segments:
    """Return the segments that the last committed package of this pipeline had.

    Only the destination knows them: the local state can be that of a package that was not loaded.
    """
    if current_load_id() is None:
        return Segments({})
    pipeline = dlt.current.pipeline()
    source = dlt.current.source_schema().name
    with pipeline.destination_client() as client:
        if not isinstance(client, WithStateSync):
            return Segments({})
        try:
            state = load_pipeline_state_from_destination(pipeline.pipeline_name, client)
        except DestinationUndefinedEntity:
            return Segments({})
    return Segments(resource_states(state or {}, source).get(kind, {}).get(_SEGMENTS, {}))


def _plan(inbox: _Inbox, endpoint: Endpoint) -> StreamPlan:
    """Return the plan of a load that starts now."""
    count = len(inbox.storage.names(endpoint.name))
    return StreamPlan(endpoint.name, [], f"segments of webhooks: {count:,}")
