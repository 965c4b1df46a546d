"""Build dlt resources from endpoints: batches, tables and hints.

A resource yields rows in batches of some thousands. A :class:`Batch` holds the rows, the entries of
their lists and the rejects. Its tables are yielded one by one. Then the cursor moves in the
resource's state, so dlt commits both in the same package or neither.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common import logger
from dlt.extract import DltResource

from textlift.arrow.build import empty_page
from textlift.arrow.pages import ROW, Page
from textlift.declare import Endpoint
from textlift.destinations.stored import current_load_id, stored_rows
from textlift.dictionary import DELETED
from textlift.errors import ConfigurationError, ServiceError, is_denied
from textlift.extract.fetch import Service
from textlift.extract.settings import Settings
from textlift.extract.state import ACCOUNT_HINT, account_state, is_planning
from textlift.extract.sync import StreamSync, SyncContext
from textlift.load.contract import declare
from textlift.load.items import Batch, root_item, tables_of
from textlift.load.package import Package
from textlift.load.rejects import Rejections, stored_rejects
from textlift.load.report import StreamReport, set_report
from textlift.settings import apply_contract

#: Key in the source's state: resource → whether it has unresolved rejects. The resource's own state
#: cannot hold it, because dlt clears the state of a snapshot.
OPEN_REJECTS = "open_rejects"


def build_resources(
    service: Service[Any],
    settings: Settings,
    endpoints: Sequence[Endpoint],
    schema_contract: str | Mapping[str, str] | None,
    others: Iterable[DltResource] = (),
) -> list[DltResource]:
    """Return the dlt resources of a source: one for each endpoint, and ``others``.

    Args:
        service: The service.
        settings: What to load.
        endpoints: The endpoints.
        schema_contract: A schema contract of dlt, see :func:`.apply_contract`.
        others: Resources whose rows are not requested.
    """
    context = SyncContext(service, settings, endpoints)
    resources = [*(build_resource(context, endpoint) for endpoint in endpoints), *others]
    if schema_contract is not None:
        apply_contract(resources, schema_contract)
    return resources


def build_resource(context: SyncContext, endpoint: Endpoint) -> DltResource:
    """Return the dlt resource of an endpoint.

    It yields Arrow tables: one for the endpoint's rows, one for each of their lists, named
    ``<resource>__<list>``, and one for ``rejected_records``. Its report states what it did, see
    :func:`textlift.load.report.report_of`.

    Raises, when extracted:
        CredentialsError: The service refuses the credentials or the company.
        ServiceError: The service could not be read.
    """

    aging = context.settings.retention.get(endpoint.name)
    unset = None if context.settings.configured.get(endpoint.name) else endpoint.setting
    initial = StreamReport(unset=unset, aging=aging)

    def rows() -> Iterator[Any]:
        state = dlt.current.resource_state()
        if endpoint.incremental:
            state = account_state(state, context.settings.account)
        this_resource = dlt.current.resource()
        lists = _known_lists(endpoint)
        declare(this_resource, endpoint)
        if is_planning():
            yield from _plan(context, endpoint, state)
            return
        sync = context.enter(endpoint, state, current_load_id())
        begun = replace(initial, progress=sync.progress)
        set_report(this_resource, begun)
        open_rejects = dlt.current.source_state().setdefault(OPEN_REJECTS, {})
        rejections = Rejections(
            endpoint,
            context.now,
            open_rejects.get(endpoint.name, True),
            lambda: stored_rejects(endpoint.name),
        )
        package = Package(sync, rejections, context.now, aging)
        empty = _with_lists(empty_page(endpoint), lists)
        unfinished, wait = False, True
        try:
            while not sync.finished:
                found = sync.poll()
                if found is None:
                    # No rows are ready: dlt turns to the other resources and comes back.
                    yield None
                    continue
                package.add(found)
                # A snapshot goes into one package, and only when it is complete. So does a window.
                if not endpoint.incremental or not found.is_last:
                    continue
                if package.is_full(context.settings.package_rows) and not sync.finished:
                    break
                if package.has_batch:
                    yield from batch_tables(package, empty, last=False)
                    # Save only after dlt took the whole batch: a limit can cut it.
                    sync.save(state)
            yield from batch_tables(package, empty)
            if sync.complete and sync.finished:
                yield from _not_returned(sync, package, empty)
            sync.save(state)
            sync.end_package(state)
            open_rejects[endpoint.name] = rejections.any_open
            # Arrow keeps freed memory otherwise, and the destination needs memory next.
            pa.default_memory_pool().release_unused()
            unfinished = not sync.finished
            set_report(this_resource, _filled(begun, sync, package, unfinished))
        except (GeneratorExit, KeyboardInterrupt):
            wait = False
            raise
        except Exception as error:
            is_absent = endpoint.optional and is_denied(error)
            is_isolated = context.settings.isolate_failures or is_absent
            if not is_isolated or isinstance(error, ConfigurationError):
                raise
            failed = failure(endpoint, error)
            if endpoint.incremental:
                # The windows before the failed one are complete.
                yield from batch_tables(package, empty)
                sync.save(state)
                open_rejects[endpoint.name] = rejections.any_open
            else:
                # dlt empties the table of a selected snapshot that yields nothing.
                this_resource.selected = False
                package.table_rows.clear()
            report = _filled(begun, sync, package, unfinished=False)
            if is_absent:
                report = replace(report, note=f"the account does not have it: {failed}")
            else:
                report = replace(report, failed=failed)
            set_report(this_resource, replace(report, denied=is_denied(error)))
        finally:
            context.leave(sync, unfinished, wait)

    resource: DltResource = dlt.resource(
        rows,
        name=endpoint.name,
        primary_key=list(endpoint.key),
        write_disposition="merge" if endpoint.incremental else "replace",
    )
    set_report(resource, initial)
    resource.apply_hints(additional_table_hints={ACCOUNT_HINT: context.settings.account})
    return resource


def failure(endpoint: Endpoint, error: Exception) -> str:
    """Return why a resource failed, without personal data. The log gets the place of a mistake."""
    if isinstance(error, ServiceError):
        return str(error)
    # Log the place and not the text: the text can hold personal data.
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error(f"{endpoint.name}: unexpected {type(error).__name__}\n{frames}")
    return f"{endpoint.name}: unexpected {type(error).__name__}, see the log"


def _plan(context: SyncContext, endpoint: Endpoint, state: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the plan of a load that starts now, and no rows."""
    # No load package is open. The time replaces its id, to find whether a complete read is due.
    sync = context.enter(endpoint, state, str(context.now.timestamp()))
    try:
        while (plan := sync.plan()) is None:
            yield None
        yield plan
    finally:
        context.leave(sync, unfinished=False, wait=True)


def _not_returned(sync: StreamSync, package: Package, empty: Page) -> Iterator[Any]:
    """Yield stored rows that a complete read did not return, marked as removed or deleted."""
    endpoint, covered = sync.endpoint, sync.covered()
    assert sync.complete
    if covered is None:
        return
    if sync.complete.unreadable:
        logger.warning(
            f"{endpoint.name}: no row is marked as removed, because rows that the service has "
            "may be among those that could not be read"
        )
        return
    mark = None if sync.refresh else endpoint.removed_column
    for found in stored_rows(endpoint.name, endpoint.key, covered.condition):
        table = package.not_seen(_as_loaded(found, empty.table.schema))
        if mark:
            if mark in table.column_names:
                table = table.filter(pc.is_null(table[mark])).drop_columns([mark])
            now = pa.scalar(package.until, empty.table.schema.field(mark).type)
            table = table.append_column(mark, pa.repeat(now, table.num_rows))
            yield root_item(Batch(endpoint, replace(empty, table=table)))
        else:
            page = replace(empty, table=table.select(endpoint.key))
            yield from tables_of(Batch(endpoint, page, deletes=True))
        package.removed += table.num_rows


def _as_loaded(table: pa.Table, declared: pa.Schema) -> pa.Table:
    """Return rows read from the destination, in the types in which they were loaded."""
    if DELETED in table.column_names:
        # An append-only destination also stores the rows that delete others.
        table = table.filter(pc.invert(pc.fill_null(table[DELETED], False)))
    kept = table.select([name for name in table.column_names if not name.startswith("_")])
    fields = [
        declared.field(name) if name in declared.names else pa.field(name, pa.string())
        for name in kept.column_names
    ]
    return kept.cast(pa.schema([field.with_nullable(True) for field in fields]))


def _filled(
    begun: StreamReport, sync: StreamSync, package: Package, unfinished: bool
) -> StreamReport:
    """Return the report of a resource that has filled its part of a package."""
    return replace(
        begun,
        rows=package.table_rows,
        rejected=len(package.rejections.keys),
        removed=package.removed,
        window=sync.window,
        unfinished=unfinished,
        gaps=package.gaps,
        missing=[f"{where}: {reason}" for where, reason in sync.missing.items()],
        envelope_columns=sync.envelope_columns,
        note=sync.note,
    )


def _known_lists(endpoint: Endpoint) -> list[str]:
    """Return lists of earlier runs: old entries are deleted even if no record has entries now."""
    prefix = f"{endpoint.name}__"
    tables = dlt.current.source_schema().tables.items()
    return [
        name.removeprefix(prefix)
        for name, table in tables
        if name.startswith(prefix) and table.get("resource") == endpoint.name
    ]


def _with_lists(page: Page, lists: Iterable[str]) -> Page:
    """Return the page with at least an empty table for each of ``lists``."""
    nothing = pa.table({ROW: pa.array([], pa.int64())})
    return replace(page, children={**dict.fromkeys(lists, nothing), **page.children})


def batch_tables(package: Package, empty: Page, last: bool = True) -> Iterator[Any]:
    """Yield the tables of the rows that wait in a package, for :meth:`.Package.batches`."""
    for batch in package.batches(empty, last):
        yield from tables_of(batch)
