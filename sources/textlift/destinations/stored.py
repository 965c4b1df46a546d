"""Read rows back from the destination, to mark, delete or resolve them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.destination.client import SupportsOpenTables
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.typing import C_DLT_LOAD_ID, TTableSchemaColumns
from dlt.common.schema.utils import new_table
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.storages.load_package import load_package_state
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from sqlglot import exp, select
from sqlglot.expressions import Condition, Select

from textlift.windows import SECOND, Window

#: Rows read at a time.
STORED_ROWS = 10_000
#: Takes a function that writes column names as the destination does; returns a condition on rows.
Wanted = Callable[[Callable[[str], str]], Condition]


@dataclass(frozen=True)
class Covered:
    """Which rows of a table were requested from the service.

    Attributes:
        before: Load id; the rows were loaded in packages with smaller ids.
        cursor: Column with the time of a row.
        window: The window that was requested; ``None`` for any time.
        undated: Whether rows without a time belong to the window.
        values: Column → values that it can have in these rows.
    """

    before: str
    cursor: str
    window: Window | None
    undated: bool
    values: Mapping[str, Sequence[int | str]] = field(default_factory=dict)

    def condition(self, fold: Callable[[str], str]) -> Condition:
        """Return the SQL condition; ``fold`` writes column names as the destination does."""
        load_id, time = _column(fold(C_DLT_LOAD_ID)), _column(fold(self.cursor))
        terms: list[Condition] = [load_id < exp.Literal.string(self.before)]
        if self.window:
            inside = exp.and_(
                time >= _moment(self.window.start), time < _moment(self.window.end + SECOND)
            )
            terms.append(exp.or_(inside, time.is_(exp.null())) if self.undated else inside)
        for name, values in self.values.items():
            terms.append(_column(fold(name)).isin(*values) if values else exp.false())
        return exp.and_(*terms)


def every(fold: Callable[[str], str]) -> Condition:
    """Return a condition for all rows."""
    return exp.true()


def having(column: str, value: str) -> Wanted:
    """Return a condition for the rows that have a value in a column."""
    return lambda fold: _column(fold(column)).eq(value)


def _column(name: str) -> exp.Column:
    return exp.column(name, quoted=True)


def _moment(time: Any) -> exp.Cast:
    return exp.cast(exp.Literal.string(time.isoformat(sep=" ")), exp.DataType.Type.TIMESTAMPTZ)


def current_load_id() -> str | None:
    """Return the id of the load package that is being filled; ``None`` outside a pipeline."""
    try:
        return load_package_state()["load_id"]
    except CurrentLoadPackageStateNotAvailable:
        return None


def stored_rows(
    table: str, key: Sequence[str], wanted: Wanted, declared: TTableSchemaColumns | None = None
) -> Iterator[pa.Table]:
    """Yield rows from the running pipeline's destination in its types, some thousands at a time.

    Args:
        table: Name of the table; a missing table has no rows.
        key: Columns that identify a row.
        wanted: Condition that the rows meet.
        declared: Columns of a table that can exist though the schema of this pipeline lacks it.
    """
    schema = dlt.current.source_schema()
    known = declared or schema.tables.get(table, {}).get("columns", {})
    if not declared and C_DLT_LOAD_ID not in known:
        return
    pipeline = dlt.current.pipeline()
    # A pipeline that never ran has no schema, but other pipelines can have created tables.
    stored_as: Any = schema.name if schema.name in pipeline.schema_names else None
    try:
        client: Any
        with pipeline.destination_client(stored_as) as client:
            if declared:
                client.schema = client.schema.clone()
                added = new_table(table, write_disposition="append")
                client.schema.update_table({**added, "columns": declared})
            batches = (
                open_batches(client, table) if isinstance(client, SupportsOpenTables) else None
            )
            if batches is not None:
                yield from _of_batches(batches, wanted)
                return
            if declared and isinstance(client, FilesystemClient):
                # dlt queries only tables in the schema that it loaded itself.
                for file in client.list_table_files(table):
                    with client.fs_client.open(file, "rb") as opened:
                        rows = pq.read_table(opened)
                    yield from _of_batches(rows.to_reader(), wanted)
                return
            appends = isinstance(client, SupportsOpenTables)
            if isinstance(client, SqlJobClientBase):
                own = client.sql_client
                yield from _of_database(own, table, key, wanted, list(known), appends)
                return
        with pipeline.sql_client(stored_as) as client:
            yield from _of_database(client, table, key, wanted, list(known), appends)
    except DestinationUndefinedEntity:
        return


def _of_database(
    client: Any,
    table: str,
    key: Sequence[str],
    wanted: Wanted,
    known: Sequence[str],
    appends: bool,
) -> Iterator[pa.Table]:
    dialect, fold = client.capabilities.sqlglot_dialect, client.capabilities.casefold_identifier
    names = {fold(column): column for column in known}
    name = exp.maybe_parse(client.make_qualified_table_name(table), into=exp.Table, dialect=dialect)
    query = select("*").from_(name)
    if appends or not client.capabilities.supported_merge_strategies:
        # Each load of a row is stored here as another row, and the last one counts.
        number = exp.Window(
            this=exp.RowNumber(),
            partition_by=[_column(fold(column)) for column in key],
            order=exp.Order(expressions=[_column(fold(C_DLT_LOAD_ID)).desc()]),
        )
        numbered = select("*", number.as_("_version")).from_(name).subquery("versions")
        query = select("*").from_(numbered).where(exp.column("_version").eq(1))
    query = query.where(wanted(fold))
    # Read in several queries: PostgreSQL's client keeps all rows of a query in memory.
    query = query.order_by(*(_column(fold(column)) for column in key)).limit(STORED_ROWS)
    for page in count():
        rows = 0
        sql = query.offset(page * STORED_ROWS).sql(dialect)
        with client.execute_query(sql) as cursor, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Arrow output on a DB-API result")
            for found in cursor.iter_arrow(chunk_size=STORED_ROWS):
                rows += found.num_rows
                yield found.rename_columns([names.get(n, n) for n in found.column_names])
        if rows < STORED_ROWS:
            return


def open_batches(client: SupportsOpenTables, table: str) -> pa.RecordBatchReader | None:
    """Return all rows of a Delta or Iceberg table; ``None`` if it is neither."""
    if client.is_open_table("delta", table):
        rows = client.load_open_table("delta", table).to_pyarrow_dataset()
        return pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches())
    if client.is_open_table("iceberg", table):
        return client.load_open_table("iceberg", table).scan().to_arrow_batch_reader()
    return None


def _of_batches(batches: pa.RecordBatchReader, wanted: Wanted) -> Iterator[pa.Table]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("stored", batches)
        query: Select = select("*").from_("stored").where(wanted(str))
        for found in connection.sql(query.sql("duckdb")).to_arrow_reader(STORED_ROWS):
            yield pa.Table.from_batches([found])
