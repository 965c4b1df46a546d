"""Jobs that load Parquet files into DuckDB in little memory.

dlt loads rows into staging tables and merges them from there. Here they are merged directly from
their Parquet files, which takes two thirds of the time and half of the memory. Of rows with the
same key dlt keeps one, and numbers all rows with all of their columns to find it. Grouping the keys
takes a tenth of the time and of the memory.

The memory limit is low, because DuckDB is no faster with more memory. It needs more only to delete
rows all over a large table, so such a merge runs in parts, each of which deletes in few places. The
rows of a key are deleted and inserted in one transaction. One job runs at a time: DuckDB uses all
cores for it, and two of them would have to share the memory.

A merge writes what changes: a list whose entries are all the same stays as it is. Reading a list
takes a fifth of the time of writing it.
"""

from __future__ import annotations

import glob
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import duckdb as duckdb_client
from dlt.common import logger
from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import HasFollowupJobs, RunnableLoadJob
from dlt.common.schema.typing import C_DLT_LOAD_ID, TTableSchema
from dlt.common.schema.utils import get_columns_names_with_prop
from dlt.common.storages import ParsedLoadJobFileName
from dlt.common.storages.load_package import PackageStorage
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.duckdb.configuration import DuckDbBaseCredentials
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
from dlt.destinations.job_client_impl import SqlLoadJob
from dlt.destinations.sql_client import SqlClientBase

from textlift.destinations._lookups import LookupMerge, lookups_of

#: DuckDB's limit while it loads, unless the credentials' ``global_config`` sets ``memory_limit``.
MEMORY_LIMIT = "100MB"
#: The same while a merge runs that deletes at many places.
LARGE_MERGE_LIMIT = "250MB"
#: Placeholder for the folder of a package's files in the SQL of a merge.
_FOLDER = "{completed_jobs}"
#: Column with a different number for each row that a merge reads.
_ROW = "_merged_row"
#: Table with the staged keys and the place of their stored rows: the vectors that are deleted from,
#: counted from 0. It is NULL if the stored rows are the same, and 0 if there are none.
_KEYS = "temp.main._merged_keys"
#: Placeholder for the number of a part in the SQL of a merge.
_PART = "{part}"
#: Rows in a vector, for which DuckDB keeps 20 KB in memory once it has deleted one of them.
_VECTOR = 2048
#: Vectors that a merge deletes from, at most, to need no more memory than others.
_FEW_VECTORS = 1500
#: Vectors that a part of a larger merge deletes from.
_PART_VECTORS = 5000
#: DuckDB's column with the number of a row in a Parquet file.
_FILE_ROW = "file_row_number"


def _quoted(path: str) -> str:
    """Return a path escaped for a DuckDB SQL string that holds a file pattern."""
    return glob.escape(path).replace("'", "''")


#: Held by the job that runs, from its first statement to its last.
_TURN = threading.RLock()


class _Memory:
    """The limit that holds now. All connections to a file have the same one."""

    limit = MEMORY_LIMIT


def has_own_limit(credentials: DuckDbBaseCredentials) -> bool:
    """Return whether the user has set a memory limit."""
    return "memory_limit" in (credentials.global_config or {})


def limit_memory(connection: duckdb_client.DuckDBPyConnection) -> None:
    """Set the limit that holds now; it also limits the checkpoint when the file is closed."""
    # DuckDB refuses a limit below what it holds.
    with suppress(duckdb_client.OutOfMemoryException):
        connection.execute(f"SET GLOBAL memory_limit = '{_Memory.limit}'")


def _run_with_enough_memory(client: Any, work: Callable[[], Any], is_large: bool = False) -> None:
    """Run ``work``, again with DuckDB's default limit if its limit is not enough."""
    try:
        with _TURN:
            if is_large:
                _run_with_limit(client, work, LARGE_MERGE_LIMIT)
            else:
                work()
    except DatabaseException as error:
        short = isinstance(error.__cause__, duckdb_client.OutOfMemoryException)
        if not short or has_own_limit(client.credentials):
            raise
        logger.info("The memory limit is not enough for DuckDB; loading with its default limit")
        # Before version 2, RESET does not restore the default.
        default = duckdb_client.connect().execute("SELECT current_setting('memory_limit')")
        with _TURN:
            _run_with_limit(client, work, default.fetchall()[0][0])


def _run_with_limit(client: Any, work: Callable[[], Any], limit: str) -> None:
    """Run ``work`` with a limit of its own if the user has set none."""
    if has_own_limit(client.credentials):
        work()
        return
    usual, _Memory.limit = _Memory.limit, limit
    limit_memory(client.native_connection)
    try:
        work()
    finally:
        _Memory.limit = usual
        limit_memory(client.native_connection)


class CopyJob(DuckDbCopyJob):
    """dlt's copy job, for files in a folder of any name."""

    def run(self) -> None:
        """Load one Parquet file."""
        client: Any = self._job_client.sql_client
        table = client.make_qualified_table_name(self.load_table_name)
        file = f"read_parquet('{_quoted(self._file_path)}', union_by_name = true)"
        insert = f"INSERT INTO {table} BY NAME SELECT * FROM {file}"
        _run_with_enough_memory(client, lambda: client.execute_sql(insert))


class FileJob(RunnableLoadJob, HasFollowupJobs):
    """A file that waits for the other files of its table; the merge reads them together."""

    def run(self) -> None:
        """Do nothing: the merge loads the file."""


class MergeJob(SqlLoadJob):
    def run(self) -> None:
        """Merge the files of a table."""
        sql = Path(self._file_path).read_text(encoding="utf-8")
        folder = Path(self._file_path).parents[1] / PackageStorage.COMPLETED_JOBS_FOLDER
        client: Any = self._job_client.sql_client
        # The name of the folder can hold what ends a statement.
        fragments = self._split_fragments(sql)
        statements = [each.replace(_FOLDER, _quoted(str(folder))) for each in fragments]
        if _PART in sql:
            with _TURN:
                self._merge_in_parts(client, statements)
        else:
            _run_with_enough_memory(client, lambda: _execute(client, statements))

    @staticmethod
    def _merge_in_parts(client: Any, statements: Sequence[str]) -> None:
        stored, find, delete, insert_part, insert_all, clear = statements
        if client.execute_sql(stored) == [(0,)]:
            _run_with_enough_memory(client, lambda: _execute(client, [insert_all, clear]))
            return
        _run_with_enough_memory(client, lambda: client.execute_sql(find))
        found = f"SELECT count(*), count(place), coalesce(max(place), 0) FROM {_KEYS}"
        ((keys, changed, places),) = client.execute_sql(found)
        # If nothing has changed, a part would read the whole table to find nothing to delete.
        count = places // _PART_VECTORS + 1 if changed else 0
        insert = insert_all if changed == keys and count == 1 else insert_part
        parts = [
            [each.replace(_PART, str(part)) for each in (delete, insert)] for part in range(count)
        ]

        def merge() -> None:
            for part in parts[:-1]:
                _execute(client, part)
                # This frees the memory that deleted rows take.
                client.execute_sql("CHECKPOINT")
            _execute(client, [*(parts[-1] if parts else ()), clear])
            if places >= _FEW_VECTORS:
                client.execute_sql("CHECKPOINT")

        _run_with_enough_memory(client, merge, is_large=places >= _FEW_VECTORS)
        client.execute_sql(f"DROP TABLE {_KEYS}")


def _execute(client: Any, statements: Sequence[str]) -> None:
    with client.begin_transaction():
        client.execute_many(statements)


class MergeSql(LookupMerge):
    files: Sequence[ParsedLoadJobFileName] = ()

    @classmethod
    def of(cls, files: Sequence[ParsedLoadJobFileName]) -> type[MergeSql]:
        """Return a subclass that merges ``files``."""
        return type(cls.__name__, (cls,), {"files": files})

    @classmethod
    def generate_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Return SQL that merges the Parquet files and the staged rows of other formats.

        See :meth:`gen_merge_sql` for a merge in parts.
        """
        statements = super().generate_sql(table_chain, sql_client)
        clear = []
        for table in table_chain:
            staged = sql_client.get_qualified_table_names(str(table["name"]))[1]
            rows = cls._rows(table, staged)
            statements = [statement.replace(staged, rows) for statement in statements]
            clear.append(f"DELETE FROM {staged} WHERE 1 = 1")
        return statements + clear

    @classmethod
    def gen_merge_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Return SQL that deletes stored rows and inserts staged ones, in parts if possible.

        In parts, these are statements that count stored rows, find the parts, delete a part, insert a
        part, and insert all rows.
        """
        statements = super().gen_merge_sql(table_chain, sql_client)
        root = table_chain[0]
        own, staged = sql_client.get_qualified_table_names(str(root["name"]))
        primary = get_columns_names_with_prop(cast(TTableSchema, root), "primary_key")
        keys = lookups_of(root)
        conditions = any(cls.get_merge_conditions(root, sql_client))
        # Where a stored row lies cannot be read if a column has the name of DuckDB's own.
        is_hidden = "rowid" in {column.lower() for column in root["columns"]}
        # A column of the primary key is never NULL, so each row is in one part.
        has_key = len(keys) == 1 and set(keys[0]) <= set(primary)
        if len(table_chain) > 1 or conditions or is_hidden or not has_key:
            return statements
        delete, insert = statements
        key = ", ".join(map(sql_client.escape_column_name, keys[0]))
        part = f"(SELECT {key} FROM {_KEYS} WHERE place // {_PART_VECTORS} = {_PART})"
        rows = f"(SELECT * FROM {staged} SEMI JOIN {part} USING ({key}))"
        return [
            f"SELECT count(*) FROM {own}",
            cls._find_sql(root, sql_client, key),
            delete.replace(staged, part),
            insert.replace(staged, rows),
            insert,
        ]

    @classmethod
    def _find_sql(cls, table: PreparedTableSchema, client: SqlClientBase[Any], key: str) -> str:
        """Return SQL that creates ``_KEYS``."""
        hints = cast(TTableSchema, table)
        own, staged = client.get_qualified_table_names(str(table["name"]))
        staged_rows = stored_rows = "NULL"
        # The load id of a record says when it was last read, so a record is always written.
        same = "false"
        if get_columns_names_with_prop(hints, "merge_key"):
            compared = sorted(set(get_columns_names_with_prop(hints, "name")) - {C_DLT_LOAD_ID})
            stored_rows = f"sum(hash({', '.join(map(client.escape_column_name, compared))}))"
            # A row that only deletes is not stored.
            marks = get_columns_names_with_prop(hints, "hard_delete")
            is_bool = {mark: hints["columns"][mark]["data_type"] == "bool" for mark in marks}
            is_stored = [
                f"{client.escape_column_name(mark)} IS {'NOT TRUE' if is_bool[mark] else 'NULL'}"
                for mark in marks
            ]
            staged_rows = f"{stored_rows} FILTER ({' AND '.join(is_stored or ['true'])})"
            same = "coalesce(staged.rows, 0) = coalesce(stored.rows, 0)"
        # Stored rows that lie together are deleted together.
        place = f"dense_rank() OVER (PARTITION BY same ORDER BY place // {_VECTOR}) - 1"
        return (
            f"CREATE OR REPLACE TEMP TABLE {_KEYS} AS "
            f"WITH staged AS (SELECT {key}, {staged_rows} AS rows FROM {staged} GROUP BY {key}), "
            f"stored AS (SELECT {key}, {stored_rows} AS rows, min(d.rowid) AS place FROM {own} AS d "
            f"SEMI JOIN (SELECT DISTINCT {key} FROM {staged}) USING ({key}) GROUP BY {key}), "
            f"compared AS (SELECT {key}, place, {same} AS same "
            f"FROM staged LEFT JOIN stored USING ({key})) "
            f"SELECT {key}, if(same, NULL, {place}) AS place FROM compared"
        )

    @classmethod
    def _rows(cls, table: PreparedTableSchema, staged: str) -> str:
        """Return SQL for all staged rows of a table, with their number."""
        columns = {column.lower() for column in table["columns"]}
        # The staging table has the column types, and the rows from files of other formats.
        row = _number("rowid", columns)
        sources = [f"SELECT *, {row} AS {_ROW} FROM {staged}"]
        row = _number(_FILE_ROW, columns)
        option = f", {_FILE_ROW} = true" if row == _FILE_ROW else ""
        for number, file in enumerate(cls.files, 1):
            if file.table_name == table["name"]:
                sources.append(
                    f"SELECT *, {number << 40} + {row} AS {_ROW} FROM "
                    f"read_parquet('{_FOLDER}/{file.file_name()}'{option})"
                )
        return f"({' UNION ALL BY NAME '.join(sources)})"

    @classmethod
    def gen_select_from_dedup_sql(
        cls,
        table_name: str,
        primary_keys: Sequence[str],
        columns: Sequence[str],
        dedup_sort: Any = None,
        condition: Any = None,
        condition_columns: Any = None,
        skip_dedup: bool = False,
    ) -> str:
        """Return SQL that selects one row of each key, if that row meets the condition."""
        if dedup_sort is not None or skip_dedup:
            usual: str = super().gen_select_from_dedup_sql(
                table_name,
                primary_keys,
                columns,
                dedup_sort,
                condition,
                condition_columns,
                skip_dedup,
            )
            return usual
        keys = ", ".join(primary_keys)
        return (
            f"SELECT {', '.join(columns)} FROM {table_name} WHERE ({condition or '1 = 1'}) "
            f"AND {_ROW} IN (SELECT min({_ROW}) FROM {table_name} GROUP BY {keys})"
        )


def _number(own: str, columns: Collection[str]) -> str:
    """Return DuckDB's own row number ``own``, or a slower one if a column has that name."""
    return "row_number() OVER ()" if own in columns else own


def is_parquet(file: ParsedLoadJobFileName) -> bool:
    return file.file_format == "parquet"
