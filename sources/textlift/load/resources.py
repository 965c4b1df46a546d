"""Build dlt resources from endpoints: batches, tables and hints.

A resource yields rows in batches of some thousands. A :class:`Batch` holds the rows, the entries of
their lists and the rejects. Its tables are yielded one by one. Then the cursor moves in the
resource's state, so dlt commits both in the same package or neither.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import dlt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common import logger
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.capabilities import adjust_schema_to_capabilities
from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns
from dlt.common.schema.schema import DEFAULT_SCHEMA_CONTRACT_MODE
from dlt.common.schema.typing import TColumnSchema, TSchemaContractDict
from dlt.common.schema.utils import is_complete_column
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from textlift import dictionary
from textlift.arrow.keys import SeenKeys, packed_keys
from textlift.arrow.spool import Spool, Spooled
from textlift.arrow.tables import (
    ROW,
    Page,
    concat_pages,
    empty_page,
    filter_page,
    split_page,
    with_column,
)
from textlift.declare import Endpoint
from textlift.destinations.stored import current_load_id, stored_rows
from textlift.dictionary import DELETED, LIST_INDEX
from textlift.errors import ConfigurationError, ServiceError
from textlift.extract.slices import SliceRows
from textlift.extract.state import ACCOUNT_HINT, account_state, is_planning
from textlift.extract.sync import StreamSync, SyncContext
from textlift.load.describe import describe
from textlift.load.rejects import REJECTED_RECORDS, SCHEMA, Rejections, disposition, stored_rejects
from textlift.load.report import StreamReport, set_report

#: Seconds after which a package is committed even if it is not full, so a crash costs no more.
PACKAGE_SECONDS = 60
#: Modes of a schema contract that discard new tables, columns or rows.
DISCARDS = ("discard_row", "discard_value")
#: Rows of all tables in one batch; each table of a batch costs a millisecond in dlt.
BATCH_ROWS = 50_000
#: Key in the source's state: resource → whether it has unresolved rejects. The resource's own state
#: cannot hold it, because dlt clears the state of a snapshot.
_OPEN_REJECTS = "open_rejects"


@dataclass(frozen=True)
class Batch:
    """Rows that go to dlt together.

    Attributes:
        endpoint: The endpoint of the rows.
        page: The rows and the entries of their lists.
        rejected: Rows of ``rejected_records``, if there are any.
        deletes: Whether the rows hold only keys, of rows to delete with the entries of their lists.
    """

    endpoint: Endpoint
    page: Page
    rejected: pa.Table | None = None
    deletes: bool = False


class _Package:
    """The part of one resource in a load package."""

    def __init__(self, sync: StreamSync, rejections: Rejections, until: datetime) -> None:
        self.rows = 0
        self.table_rows: dict[str, int] = {}
        self.rejections = rejections
        self.gaps: list[str] = []
        self.removed = 0
        self._sync = sync
        self.until = until
        self._seen = SeenKeys()
        self._spool = Spool()
        self._pages: list[Spooled] = []
        self._waiting = 0
        self._started = time.monotonic()

    @property
    def has_batch(self) -> bool:
        """Whether enough rows wait for a batch."""
        return self._waiting >= BATCH_ROWS

    def is_full(self, limit: int | None) -> bool:
        """Return whether to commit the package before more is read.

        It is full at ``limit`` rows or after ``PACKAGE_SECONDS``. Without a limit it is never full.
        """
        if limit is None:
            return False
        return self.rows >= limit or time.monotonic() - self._started >= PACKAGE_SECONDS

    def add(self, rows: SliceRows) -> None:
        """Add rows that were read; each key goes into a package once."""
        sync = self._sync
        rows = replace(rows, page=sync.new_columns.admit(rows.page))
        page = rows.page
        hold = None
        if sync.endpoint.incremental:
            if rows.slice_.window is None and sync.unwindowed_since:
                page = _from(sync.unwindowed_since, page, sync.endpoint.incremental.cursor)
            page, hold = self._unseen(page, sync.endpoint.key, sync.endpoint.incremental.cursor)
        sync.advance(rows, hold)
        self.rejections.add(rows.page, rows.slice_)
        if rows.not_found is None:
            self.rejections.add_loaded(rows.page, rows.slice_, rows.is_last)
        # Spool the parts one by one: a slice of a table keeps the whole table in memory.
        self._pages += map(self._spool.put, split_page(page, BATCH_ROWS))
        self.rows += page.table.num_rows
        self._waiting += page.num_rows

    def _take_gaps(self) -> None:
        """Note the retention gaps in the package that moves the cursor past them."""
        for gap in self._sync.gaps:
            reason = "the service dropped these rows before they were read"
            self.rejections.add_gap(gap.partition.name or None, reason, gap.window)
            self.gaps.append(str(gap))
        self._sync.gaps.clear()

    def _unseen(self, page: Page, key: Sequence[str], cursor: str) -> tuple[Page, datetime | None]:
        """Return the page without rows of this package, and the time that the cursor may not pass.

        Neighbouring windows share a second, so a row can come twice. If it has changed in between,
        it cannot go into the same package: the entries of its lists would be stored twice. The
        cursor stays at its time, so the next load reads it again. The time is ``None`` if no row
        has changed.
        """
        times = page.table[cursor].cast(pa.int64())
        new, changed = self._seen.add(packed_keys(page.table, key), times)
        hold = (
            datetime.fromtimestamp(changed.min() // 10**6, timezone.utc) if len(changed) else None
        )
        return (page if new.all() else filter_page(page, new.tolist())), hold

    def not_seen(self, table: pa.Table) -> pa.Table:
        """Return the stored rows in ``table`` that are not in this package."""
        keys = packed_keys(table, self._sync.endpoint.key)
        return table.filter(pa.array(~self._seen.contains(keys)))

    def _count(self, name: str, table: pa.Table) -> None:
        self.table_rows[name] = self.table_rows.get(name, 0) + table.num_rows

    def batches(self, empty: Page, last: bool = True) -> Iterator[Batch]:
        """Yield batches of the rows added since the last call; at least one.

        A batch has about ``BATCH_ROWS`` rows.

        Args:
            empty: A page with all known columns and lists.
            last: Whether no more rows follow; the last batch also has the resolved rejects.
        """
        pages, self._pages, self._waiting = self._pages, [], 0
        together: list[Page] = []
        for page in map(self._spool.get, pages):
            if sum(each.num_rows for each in [*together, page]) > BATCH_ROWS and together:
                yield self._batch([empty, *together], last=False)
                together = []
            together.append(page)
        self._spool.close()
        yield self._batch([empty, *together], last)

    def _batch(self, pages: Sequence[Page], last: bool) -> Batch:
        sync = self._sync
        self._take_gaps()
        page = _within_contract(sync.endpoint, concat_pages(pages))
        self._count(sync.endpoint.name, page.table)
        for suffix, entries in page.children.items():
            self._count(f"{sync.endpoint.name}__{suffix}", entries)
        return Batch(sync.endpoint, page, self.rejections.take(last))


def build_resource(context: SyncContext, endpoint: Endpoint) -> DltResource:
    """Return the dlt resource of an endpoint.

    It yields Arrow tables: one for the endpoint's rows, one for each of their lists, named
    ``<resource>__<list>``, and one for ``rejected_records``. Its report states what it did, see
    :func:`textlift.load.report.report_of`.

    Raises, when extracted:
        CredentialsError: The service refuses the credentials or the company.
        ServiceError: The service could not be read.
    """

    unset = None if context.settings.configured.get(endpoint.name) else endpoint.setting

    def rows() -> Iterator[Any]:
        state = dlt.current.resource_state()
        if endpoint.incremental:
            state = account_state(state, context.settings.account)
        this_resource = dlt.current.resource()
        lists = _known_lists(endpoint)
        _declare(this_resource, endpoint)
        if is_planning():
            yield from _plan(context, endpoint, state)
            return
        sync = context.enter(endpoint, state, current_load_id())
        begun = StreamReport(unset=unset, progress=sync.progress)
        set_report(this_resource, begun)
        open_rejects = dlt.current.source_state().setdefault(_OPEN_REJECTS, {})
        rejections = Rejections(
            endpoint,
            context.now,
            open_rejects.get(endpoint.name, True),
            lambda: stored_rejects(endpoint.name),
        )
        package = _Package(sync, rejections, context.now)
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
                    yield from _batch_tables(package, empty, last=False)
                    # Save only after dlt took the whole batch: a limit can cut it.
                    sync.save(state)
            yield from _batch_tables(package, empty)
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
            if not context.settings.isolate_failures or isinstance(error, ConfigurationError):
                raise
            if isinstance(error, ServiceError):
                failed = str(error)
            else:
                # Log the place and not the text: the text can hold personal data.
                frames = "".join(traceback.format_tb(error.__traceback__))
                logger.error(f"{endpoint.name}: unexpected {type(error).__name__}\n{frames}")
                failed = f"{endpoint.name}: unexpected {type(error).__name__}, see the log"
            if endpoint.incremental:
                # The windows before the failed one are complete.
                yield from _batch_tables(package, empty)
                sync.save(state)
                open_rejects[endpoint.name] = rejections.any_open
            else:
                # dlt empties the table of a selected snapshot that yields nothing.
                this_resource.selected = False
                package.table_rows.clear()
            report = _filled(begun, sync, package, unfinished=False)
            set_report(this_resource, replace(report, failed=failed))
        finally:
            context.leave(sync, unfinished, wait)

    resource: DltResource = dlt.resource(
        rows,
        name=endpoint.name,
        primary_key=list(endpoint.key),
        write_disposition="merge" if endpoint.incremental else "replace",
    )
    set_report(resource, StreamReport(unset=unset))
    resource.apply_hints(additional_table_hints={ACCOUNT_HINT: context.settings.account})
    return resource


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


def _not_returned(sync: StreamSync, package: _Package, empty: Page) -> Iterator[Any]:
    """Yield stored rows that a complete read did not return, marked as removed or deleted."""
    endpoint, covered = sync.endpoint, sync.covered()
    assert sync.complete
    if covered is None:
        return
    if sync.complete.unreadable:
        logger.warning(
            f"{endpoint.name}: no row is marked as removed, because records that could not be "
            "read may be among the rows that were not returned"
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
            yield _root_item(Batch(endpoint, replace(empty, table=table)))
        else:
            page = replace(empty, table=table.select(endpoint.key))
            yield from _tables(Batch(endpoint, page, deletes=True))
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
    begun: StreamReport, sync: StreamSync, package: _Package, unfinished: bool
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


def _from(first: datetime, page: Page, cursor: str) -> Page:
    """Return the page with the rows from a time on, and the rows without a time."""
    times = page.table[cursor]
    wanted = pc.fill_null(pc.greater_equal(times, pa.scalar(first, times.type)), True)
    return page if pc.all(wanted).as_py() is not False else filter_page(page, wanted.to_pylist())


def _known_lists(endpoint: Endpoint) -> list[str]:
    """Return lists of earlier runs: old entries are deleted even if no record has entries now."""
    prefix = f"{endpoint.name}__"
    tables = dlt.current.source_schema().tables
    return [name.removeprefix(prefix) for name in tables if name.startswith(prefix)]


def _contract(resource: DltResource) -> tuple[str, TSchemaContractDict]:
    """Return the name of a resource's table, and the schema contract of it and its list tables."""
    own = resource.compute_table_schema()
    name = str(own["name"])
    return name, dlt.current.source_schema().resolve_contract_settings_for_table(name, own)


def _declare(resource: DltResource, endpoint: Endpoint) -> None:
    """Add the declarations of the endpoint to the schema.

    These are the meanings of tables and columns. The columns themselves are added if a contract
    would reject them: a contract applies to undeclared tables and columns only, also in the first
    load.
    """
    tables = [*dictionary.tables_of(endpoint), dictionary.REJECTED_RECORDS]
    describe(dlt.current.source_schema(), tables)
    root, contract = _contract(resource)
    if contract == DEFAULT_SCHEMA_CONTRACT_MODE:
        return
    container = Container()
    capabilities = (
        container[DestinationCapabilitiesContext]
        if DestinationCapabilitiesContext in container
        else DestinationCapabilitiesContext.generic_capabilities()
    )
    for item in _tables(Batch(endpoint, empty_page(endpoint), SCHEMA.empty_table())):
        name, table = root, item
        if isinstance(item, DataItemWithMeta):
            name, table = item.meta.hints["table_name"], item.data
        known = _known_columns(name)
        columns = adjust_schema_to_capabilities(
            py_arrow_to_table_schema_columns(table.schema), capabilities
        )
        new = {column: hints for column, hints in columns.items() if column not in known}
        dlt.current.source_schema().update_table({"name": name, "columns": new})


def _known_columns(table: str) -> set[str]:
    """Return the columns that a table has in the schema; none for an unknown table."""
    found = dlt.current.source_schema().tables.get(table)
    columns = found["columns"] if found else {}
    return {name for name, column in columns.items() if is_complete_column(column)}


def _within_contract(endpoint: Endpoint, page: Page) -> Page:
    """Return the page without what a schema contract discards.

    dlt does not do this, because it would search the list tables for the discarded columns of their
    records.
    """
    root, contract = _contract(dlt.current.resource())
    tables, columns = contract["tables"], contract["columns"]
    kept = {
        suffix: entries
        for suffix, entries in page.children.items()
        if tables not in DISCARDS or _known_columns(f"{endpoint.name}__{suffix}")
    }
    page = replace(page, children=kept)
    if columns not in DISCARDS:
        return page
    keep, table = _without_new(page.table, root, columns)
    page = filter_page(replace(page, table=table), keep) if keep else replace(page, table=table)
    children = {}
    for suffix, entries in page.children.items():
        keep, table = _without_new(entries, f"{endpoint.name}__{suffix}", columns)
        children[suffix] = table.filter(keep) if keep else table
    return replace(page, children=children)


def _without_new(table: pa.Table, name: str, mode: str) -> tuple[list[bool] | None, pa.Table]:
    """Return which rows to keep, ``None`` for all, and the table without new columns.

    A column is new if it is not in the schema. ``discard_row`` keeps rows that have none of them.
    """
    known = _known_columns(name)
    new = [column for column in table.column_names if known and column not in known | {ROW}]
    keep = None
    if new and mode == "discard_row":
        keep = np.all([table[column].is_null().to_numpy() for column in new], axis=0).tolist()
    return keep, table.drop_columns(new)


def _with_lists(page: Page, lists: Iterable[str]) -> Page:
    """Return the page with at least an empty table for each of ``lists``."""
    nothing = pa.table({ROW: pa.array([], pa.int64())})
    return replace(page, children={**dict.fromkeys(lists, nothing), **page.children})


def _batch_tables(package: _Package, empty: Page, last: bool = True) -> Iterator[Any]:
    for batch in package.batches(empty, last):
        yield from _tables(batch)


def _tables(batch: Batch) -> Iterator[Any]:
    """Yield the Arrow tables of a batch, each with the name and the hints of its dlt table."""
    endpoint, page = batch.endpoint, batch.page
    yield _root_item(batch)
    for suffix, entries in page.children.items():
        yield _child_item(endpoint, suffix, page.table, entries)
    if batch.rejected is None:
        return
    hints = dlt.mark.make_hints(
        table_name=REJECTED_RECORDS,
        write_disposition=disposition(_merge_strategies()),
        primary_key="rejection_key",
    )
    yield dlt.mark.with_hints(batch.rejected, hints, create_table_variant=True)


def _merge_strategies() -> Sequence[str]:
    """Return the merge strategies of the destination."""
    container = Container()
    if DestinationCapabilitiesContext not in container:
        return ()
    return container[DestinationCapabilitiesContext].supported_merge_strategies or ()


def _root_item(batch: Batch) -> Any:
    endpoint, table = batch.endpoint, _require(batch.page.table, batch.endpoint.key)
    columns: list[TColumnSchema] = []
    if batch.deletes:
        columns.append({"name": DELETED, "data_type": "bool", "hard_delete": True})
        table = table.append_column(DELETED, pa.repeat(pa.scalar(True), table.num_rows))
    if endpoint.full_read_every and endpoint.parent:
        # Version 0.1.0 replaced the rows of each parent as a set; its schema has the merge key.
        columns.append({"name": endpoint.parent.column, "merge_key": False})
    if not columns:
        return table
    # Use a table variant: hints on the resource itself would also apply to its list tables.
    hints = dlt.mark.make_hints(
        table_name=endpoint.name,
        write_disposition="merge",
        primary_key=list(endpoint.key),
        columns=columns,
        # The column that marks deletions is ours, so a contract must not discard it.
        schema_contract="evolve" if batch.deletes else None,
    )
    return dlt.mark.with_hints(table, hints, create_table_variant=True)


def _child_item(endpoint: Endpoint, suffix: str, roots: pa.Table, entries: pa.Table) -> Any:
    """Return the entries of a list with the keys of their records.

    Entries are replaced as a set for each record. A record without entries gets a row that deletes
    its earlier entries.
    """
    merge = endpoint.incremental is not None
    keys = {
        name: roots[key] for key, name in endpoint.foreign_keys.items() if key in roots.schema.names
    }
    rows = entries[ROW]
    table = entries.drop_columns([ROW])
    for name, values in reversed(keys.items()):
        table = with_column(table, name, values.take(rows))
    table = table.append_column(LIST_INDEX, _positions(rows))
    if merge:
        table = table.append_column(DELETED, pa.nulls(table.num_rows, pa.bool_()))
        bare = pc.invert(pc.is_in(pa.array(range(roots.num_rows), pa.int64()), rows))
        marks = pa.table({name: values.filter(bare) for name, values in keys.items()})
        marks = marks.append_column(DELETED, pa.array([True] * marks.num_rows, pa.bool_()))
        marks = marks.append_column(LIST_INDEX, pa.array([0] * marks.num_rows, pa.int64()))
        table = pa.concat_tables([table, _conform(marks, table.schema)])
    hints = dlt.mark.make_hints(
        table_name=f"{endpoint.name}__{suffix}",
        write_disposition="merge" if merge else "replace",
        # After a crash dlt can load a file twice; it drops the second copy by the primary key.
        primary_key=[*keys, LIST_INDEX],
        merge_key=list(keys) if merge else (),
        columns=[{"name": DELETED, "data_type": "bool", "hard_delete": True}] if merge else None,
    )
    table = _require(table, [*keys, LIST_INDEX])
    return dlt.mark.with_hints(table, hints, create_table_variant=True)


def _positions(rows: pa.ChunkedArray) -> pa.Array:
    """Return the position of each entry in the list of its record."""
    numbers = rows.to_numpy()
    count = np.arange(len(numbers))
    starts = np.concatenate([[True], numbers[1:] != numbers[:-1]])[: len(numbers)]
    return pa.array(count - np.maximum.accumulate(np.where(starts, count, 0)))


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with the columns of ``schema``; missing columns are NULL."""
    arrays = [
        table[field.name].cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema)


def _require(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return the table with the columns ``names`` not nullable, as dlt declares keys."""
    fields = [
        field.with_nullable(False) if field.name in set(names) else field for field in table.schema
    ]
    return table.cast(pa.schema(fields))
