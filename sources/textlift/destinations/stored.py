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


def _stored_schema() -> Any:
    """Return the name of the source's schema; ``None`` if the running pipeline has not stored it."""
    name = dlt.current.source_schema().name
    return name if name in dlt.current.pipeline().schema_names else None


def open_client() -> Any:
    """Return a client of the running pipeline's destination, to open with ``with``."""
    # A pipeline that never ran has no schema, but other pipelines can have created tables.
    return dlt.current.pipeline().destination_client(_stored_schema())


def stored_rows(table: str, key: Sequence[str], wanted: Wanted) -> Iterator[pa.Table]:
    """Yield rows from the running pipeline's destination in its types, some thousands at a time.

    Args:
        table: Name of the table; a missing table has no rows.
        key: Columns that identify a row.
        wanted: Condition that the rows meet.
    """
    schema = dlt.current.source_schema()
    known = schema.tables.get(table, {}).get("columns", {})
    if C_DLT_LOAD_ID not in known:
        return
    pipeline = dlt.current.pipeline()
    try:
        with open_client() as client:
            found = _of_client(client, table, key, wanted, list(known))
            if found is not None:
                yield from found
                return
            appends = isinstance(client, SupportsOpenTables)
        with pipeline.sql_client(_stored_schema()) as client:
            yield from _of_database(client, table, key, wanted, list(known), appends)
    except DestinationUndefinedEntity:
        return


def declared_rows(
    client: Any, table: str, key: Sequence[str], columns: TTableSchemaColumns
) -> Iterator[pa.Table]:
    """Yield all rows of a table that another pipeline may have written.

    Args:
        client: An open client of the destination. Its schema gets the table.
        table: Name of the table; a missing table has no rows.
        key: Columns that identify a row.
        columns: Its columns.
    """
    client.schema = client.schema.clone()
    added = new_table(table, write_disposition="append")
    client.schema.update_table({**added, "columns": columns})
    try:
        found = _of_client(client, table, key, every, list(columns))
        if found is not None:
            yield from found
        elif isinstance(client, FilesystemClient):
            # dlt queries only tables in the schema that it loaded itself.
            for file in client.list_table_files(table):
                with client.fs_client.open(file, "rb") as opened:
                    rows = pq.read_table(opened)
                yield from _of_batches(rows.to_reader(), every)
    except DestinationUndefinedEntity:
        return


def _of_client(
    client: Any, table: str, key: Sequence[str], wanted: Wanted, known: Sequence[str]
) -> Iterator[pa.Table] | None:
    """Return the rows of a lake's or a database's table; ``None`` if it is neither."""
    appends = isinstance(client, SupportsOpenTables)
    batches = open_batches(client, table) if appends else None
    if batches is not None:
        return _of_batches(batches, wanted)
    if isinstance(client, SqlJobClientBase):
        return _of_database(client.sql_client, table, key, wanted, known, appends)
    return None


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
