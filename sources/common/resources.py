"""Endpoints to dlt resources: batches, tables and hints.

A resource yields a :class:`Batch` for some thousands of rows, table by table: the rows, the entries
of their lists and what was rejected. Then the cursor moves in the resource's state, so that dlt
commits both in the same package or neither.
"""

from __future__ import annotations

import hashlib
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
from dlt.common.schema.typing import TColumnSchema
from dlt.extract import DltResource

from .endpoints import Endpoint
from .errors import ConfigurationError, ServiceError
from .reading import Unit, WindowRows
from .runs import Load, Run
from .spool import Spool, Spooled
from .tables import (
    ROW,
    Page,
    Reject,
    concat_pages,
    empty_page,
    filter_page,
    key_values,
)
from .windows import Window, format_time

REJECTED_RECORDS = "rejected_records"
#: Marks a row that removes the rows with its merge key and is not loaded itself.
DELETED = "_deleted"
#: Position of an entry in its list, by dlt's name for it.
LIST_INDEX = "_dlt_list_idx"
#: A package is committed after so many seconds also if it is not full: a crash costs no more.
PACKAGE_SECONDS = 60
#: Rows handed to dlt at a time; handing over costs a millisecond for each table.
BATCH_ROWS = 10_000

_REJECTED_SCHEMA = pa.schema(
    [
        pa.field("rejection_key", pa.string(), nullable=False),
        ("resource", pa.string()),
        ("window_start", pa.timestamp("us", "UTC")),
        ("window_end", pa.timestamp("us", "UTC")),
        ("row_key", pa.string()),
        ("column_name", pa.string()),
        ("reason", pa.string()),
        ("payload", pa.string()),
        ("rejected_at", pa.timestamp("us", "UTC")),
    ]
)


@dataclass(frozen=True)
class Batch:
    """Rows that go to dlt together.

    Attributes:
        endpoint: Whose rows they are.
        page: The rows and the entries of their lists.
        rejected: Rows for ``rejected_records``.
        whole_parents: Parents of which these are all rows, to be replaced as a set; ``None`` if
            the rows are merged one by one.
    """

    endpoint: Endpoint
    page: Page
    rejected: Sequence[Mapping[str, Any]]
    whole_parents: Sequence[int] | None


class _Package:
    """The part of a load that goes into one load package."""

    def __init__(self, load: Load, until: datetime) -> None:
        self.rows = 0
        self.table_rows: dict[str, int] = {}
        self.rejected: set[str] = set()
        self.holes: list[str] = []
        self._load = load
        self._until = until
        self._seen: dict[Any, int | None] = {}
        self._spool = Spool()
        self._pages: list[Spooled] = []
        self._rejects: dict[str, dict[str, Any]] = {}
        self._whole_parents: list[Any] = []
        self._waiting = 0
        self._started = time.monotonic()

    @property
    def has_batch(self) -> bool:
        """Whether there is enough for a batch."""
        return self._waiting >= BATCH_ROWS

    def is_full(self, limit: int | None) -> bool:
        """Whether a package of ``limit`` rows should be committed before more is read."""
        if limit is None:
            return False
        return self.rows >= limit or time.monotonic() - self._started >= PACKAGE_SECONDS

    def add(self, rows: WindowRows) -> None:
        """Take rows that were read; each key goes into a package once."""
        load, page = self._load, rows.page
        hold = None
        if load.endpoint.window:
            if rows.unit.window is None and not load.endpoint.whole_every:
                page = self._from_start_date(page, load.endpoint.window.cursor)
            page, hold = self._unseen(page, load.endpoint.key, load.endpoint.window.cursor)
        load.advance(rows, hold)
        if load.whole and load.endpoint.parent and rows.gone is None and rows.is_last:
            self._whole_parents.append(rows.unit.values[load.endpoint.parent.column])
        for reject in rows.page.rejects:
            self._reject(reject, rows.unit, rows.page.table)
        self._pages.append(self._spool.put(page))
        self.rows += page.table.num_rows
        self._waiting += page.table.num_rows

    def _take_holes(self) -> None:
        """Note the holes that were found, in the package that moves the cursor past them."""
        for hole in self._load.holes:
            reason = "the service dropped these rows before they were read"
            self._note(hole.whole.cursor or None, None, reason, None, hole.window)
            self.holes.append(str(hole))
        self._load.holes.clear()

    def _from_start_date(self, page: Page, cursor: str) -> Page:
        """Rows read without a window reach back before the start date."""
        times = page.table[cursor]
        wanted = pc.fill_null(
            pc.greater_equal(times, pa.scalar(self._load.first, times.type)), True
        )
        return (
            page if pc.all(wanted).as_py() is not False else filter_page(page, wanted.to_pylist())
        )

    def _unseen(self, page: Page, key: Sequence[str], cursor: str) -> tuple[Page, datetime | None]:
        """Without the rows this package has already, and the time to come back to.

        Neighbouring windows share a second, so the same row comes twice. A row that comes back
        changed cannot go into the same package: the entries of its lists would be there twice.
        """
        times = page.table[cursor].cast(pa.int64()).to_pylist()
        keep, changed = [], []
        for value, stamp in zip(key_values(page.table, key), times):
            new = value not in self._seen
            keep.append(new)
            if new:
                self._seen[value] = stamp
            elif stamp is not None and stamp != self._seen[value]:
                changed.append(stamp)
        hold = datetime.fromtimestamp(min(changed) // 10**6, timezone.utc) if changed else None
        return (page if all(keep) else filter_page(page, keep)), hold

    def _reject(self, reject: Reject, unit: Unit, table: pa.Table) -> None:
        column = reject.column
        if column and reject.table:
            column = f"{reject.table}__{column}"
        if reject.row is not None:
            parts = [table[key][reject.row].as_py() for key in self._load.endpoint.key]
        else:
            parts = [*unit.values.values(), reject.row_key]
        row_key = "/".join(str(part) for part in parts if part is not None) or None
        self._note(row_key, column, reject.reason, reject.payload, unit.window)

    def _note(
        self,
        row_key: str | None,
        column: str | None,
        reason: str,
        payload: str | None,
        window: Window | None,
    ) -> None:
        name = self._load.endpoint.name
        what = str(window) if payload is None else payload
        identity = "\0".join([name, row_key or "", column or "", what])
        key = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self.rejected.add(key)
        self._rejects[key] = {
            "rejection_key": key,
            "resource": name,
            "window_start": window.start if window else None,
            "window_end": window.end if window else None,
            "row_key": row_key,
            "column_name": column,
            "reason": reason,
            "payload": payload,
            "rejected_at": self._until,
        }

    def _count(self, name: str, table: pa.Table) -> None:
        self.table_rows[name] = self.table_rows.get(name, 0) + table.num_rows

    def batches(self, empty: Page) -> Iterator[Batch]:
        """What was added since the last batch, so many rows at a time; one batch at least."""
        pages, self._pages, self._waiting = self._pages, [], 0
        together: list[Page] = []
        for page in map(self._spool.get, pages):
            if together and sum(each.table.num_rows for each in together) >= BATCH_ROWS:
                yield self._batch([empty, *together])
                together = []
            together.append(page)
        self._spool.close()
        yield self._batch([empty, *together])

    def _batch(self, pages: Sequence[Page]) -> Batch:
        load = self._load
        self._take_holes()
        page = concat_pages(pages)
        self._count(load.endpoint.name, page.table)
        for suffix, entries in page.children.items():
            self._count(f"{load.endpoint.name}__{suffix}", entries)
        batch = Batch(
            load.endpoint,
            page,
            list(self._rejects.values()),
            list(dict.fromkeys(self._whole_parents)) if load.whole else None,
        )
        self._rejects, self._whole_parents = {}, []
        return batch


def build_resource(run: Run, endpoint: Endpoint) -> DltResource:
    """The dlt resource of an endpoint.

    It yields Arrow tables, one for the endpoint's rows and one for each of their lists, named
    ``<resource>__<list>``; and one for ``rejected_records``. Its custom metrics are ``rows`` (for
    each table) and ``rejected`` (rows) of this package, ``requests`` of the whole load,
    ``window_start`` and ``window_end`` (ISO 8601), ``unfinished`` (whether another run goes on with
    what this one left), ``holes`` and ``missing`` (what the service dropped unread, what is
    configured and not there; each for a person), ``about`` (what the service says of all rows of a
    cursor at once) and, where failures are isolated, ``failed`` (why).

    Raises, when extracted:
        CredentialsError: The service refuses the credentials or the company.
        ServiceError: The service could not be read.
    """

    def rows() -> Iterator[Any]:
        state = dlt.current.resource_state()
        metrics = dlt.current.resource_metrics()
        this_resource = dlt.current.resource()
        lists = _known_lists(endpoint)
        load = run.enter(endpoint, state, metrics)
        package = _Package(load, run.now)
        empty = _with_lists(empty_page(endpoint), lists)
        unfinished, wait = False, True
        metrics["failed"] = None
        try:
            while not load.finished:
                found = load.poll()
                if found is None:
                    # Nothing is there yet: dlt asks the other resources and comes back.
                    yield None
                    continue
                package.add(found)
                # What is replaced as a set goes into one package, and only when it is complete.
                divisible = endpoint.window and (found.ends_parent or not load.whole)
                divisible = divisible and found.is_last
                if not divisible:
                    continue
                if package.is_full(run.settings.package_rows) and not load.finished:
                    break
                if package.has_batch:
                    yield from _batch_tables(package, empty)
                    # Saved when dlt has taken all of the batch, and not where a limit cuts it.
                    load.save(state)
            yield from _batch_tables(package, empty)
            load.save(state)
            load.end_package(state)
            # What is free now would else be kept beside what the destination needs.
            pa.default_memory_pool().release_unused()
            unfinished = not load.finished
            metrics.update(_metrics(load, package, run, unfinished))
        except (GeneratorExit, KeyboardInterrupt):
            wait = False
            raise
        except Exception as error:
            if not run.settings.isolate_failures or isinstance(error, ConfigurationError):
                raise
            if isinstance(error, ServiceError):
                metrics["failed"] = str(error)
            else:
                # Where, but not the text: it can hold what somebody wrote.
                frames = "".join(traceback.format_tb(error.__traceback__))
                logger.error(f"{endpoint.name}: unexpected {type(error).__name__}\n{frames}")
                metrics["failed"] = (
                    f"{endpoint.name}: unexpected {type(error).__name__}, see the log"
                )
            if endpoint.window and not load.whole:
                # The windows before the one that failed are complete.
                yield from _batch_tables(package, empty)
                load.save(state)
            else:
                # dlt empties the table of a snapshot that brought nothing, if it was selected.
                this_resource.selected = False
                package.table_rows.clear()
            metrics.update(_metrics(load, package, run, False))
        finally:
            run.leave(load, unfinished, wait)

    resource: DltResource = dlt.resource(
        rows,
        name=endpoint.name,
        primary_key=list(endpoint.key),
        write_disposition="merge" if endpoint.window else "replace",
    )
    return resource


def _metrics(load: Load, package: _Package, run: Run, unfinished: bool) -> dict[str, Any]:
    windowed = load.endpoint.window is not None
    return {
        "rows": dict(package.table_rows),
        "rejected": len(package.rejected),
        "window_start": format_time(load.start) if windowed and load.start else None,
        "window_end": format_time(run.until) if windowed else None,
        "unfinished": unfinished,
        "holes": package.holes,
        "missing": [f"{where}: {reason}" for where, reason in load.missing.items()],
        "about": load.about,
    }


def _known_lists(endpoint: Endpoint) -> list[str]:
    """Lists seen in earlier runs: their old entries must go also if no record has any now."""
    prefix = f"{endpoint.name}__"
    tables = dlt.current.source_schema().tables
    return [name.removeprefix(prefix) for name in tables if name.startswith(prefix)]


def _with_lists(page: Page, lists: Iterable[str]) -> Page:
    """The page with at least an empty table for each of ``lists``."""
    nothing = pa.table({ROW: pa.array([], pa.int64())})
    return replace(page, children={**dict.fromkeys(lists, nothing), **page.children})


def _batch_tables(package: _Package, empty: Page) -> Iterator[Any]:
    for batch in package.batches(empty):
        yield from _tables(batch)


def _tables(batch: Batch) -> Iterator[Any]:
    """The Arrow tables of a batch, each with the name and the hints of its dlt table."""
    endpoint, page = batch.endpoint, batch.page
    yield _root_item(batch)
    for suffix, entries in page.children.items():
        yield _child_item(endpoint, suffix, page.table, entries)
    rejected = pa.Table.from_pylist([dict(row) for row in batch.rejected], _REJECTED_SCHEMA)
    hints = dlt.mark.make_hints(
        table_name=REJECTED_RECORDS,
        write_disposition=_rejection_disposition(),
        primary_key="rejection_key",
    )
    yield dlt.mark.with_hints(rejected, hints, create_table_variant=True)


def _rejection_disposition() -> Any:
    """A record that is rejected again keeps the time of the first, if the destination can do that."""
    container = Container()
    if DestinationCapabilitiesContext in container:
        capabilities = container[DestinationCapabilitiesContext]
        if "insert-only" not in (capabilities.supported_merge_strategies or ()):
            return "merge"
    return {"disposition": "merge", "strategy": "insert-only"}


def _root_item(batch: Batch) -> Any:
    endpoint, table = batch.endpoint, _require(batch.page.table, batch.endpoint.key)
    if not endpoint.whole_every or not endpoint.parent:
        return table
    table = table.append_column(DELETED, pa.nulls(table.num_rows, pa.bool_()))
    whole = batch.whole_parents is not None
    if batch.whole_parents:
        marks = {
            endpoint.parent.column: list(batch.whole_parents),
            **{key: [0] * len(batch.whole_parents) for key in endpoint.key[1:]},
            DELETED: [True] * len(batch.whole_parents),
        }
        table = pa.concat_tables([table, _conform(pa.table(marks), table.schema)])
    columns: dict[str, TColumnSchema] = {
        endpoint.parent.column: {"name": endpoint.parent.column, "merge_key": whole},
        DELETED: {"name": DELETED, "data_type": "bool", "hard_delete": True},
    }
    # A variant of its own: hints of the resource itself would go to the tables of its lists too.
    hints = dlt.mark.make_hints(
        table_name=endpoint.name,
        write_disposition="merge",
        primary_key=list(endpoint.key),
        columns=columns,
    )
    return dlt.mark.with_hints(_require(table, endpoint.key), hints, create_table_variant=True)


def _child_item(endpoint: Endpoint, suffix: str, roots: pa.Table, entries: pa.Table) -> Any:
    """The entries of a list with the keys of their records.

    Entries are replaced as a set for each record. A record without entries gets a row that removes
    the ones it had.
    """
    merge = endpoint.window is not None
    keys = {
        endpoint.child_key(key): roots[key] for key in endpoint.key if key in roots.schema.names
    }
    rows = entries[ROW]
    table = entries.drop_columns([ROW])
    # A list under its record's own key, such as the clicks of a profile, keeps its own value.
    table = table.drop_columns([key for key in keys if key in table.schema.names])
    for position, (name, values) in enumerate(keys.items()):
        table = table.add_column(position, name, values.take(rows))
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
        # dlt can load a file twice after a crash, and drops the second copy by its primary key.
        primary_key=[*keys, LIST_INDEX],
        merge_key=list(keys) if merge else (),
        columns=[{"name": DELETED, "data_type": "bool", "hard_delete": True}] if merge else None,
    )
    table = _require(table, [*keys, LIST_INDEX])
    return dlt.mark.with_hints(table, hints, create_table_variant=True)


def _positions(rows: pa.ChunkedArray) -> pa.Array:
    """The position of each entry in the list of its record."""
    numbers = rows.to_numpy()
    count = np.arange(len(numbers))
    starts = np.concatenate([[True], numbers[1:] != numbers[:-1]])[: len(numbers)]
    return pa.array(count - np.maximum.accumulate(np.where(starts, count, 0)))


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of ``schema``, NULL where it has none."""
    arrays = [
        table[field.name].cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema)


def _require(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """The table with the columns ``names`` declared as never NULL, as dlt declares keys."""
    fields = [
        field.with_nullable(False) if field.name in set(names) else field for field in table.schema
    ]
    return table.cast(pa.schema(fields))
