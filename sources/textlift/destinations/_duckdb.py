"""DuckDB, with changes to names, to the sharing of a file, and to merges.

Names: DuckDB names the catalog of a file after the file. In ``mcommons.duckdb``,
``mcommons.profiles`` can mean the catalog or the dataset of that name, and DuckDB refuses to
choose. So names include the catalog if both have the same name.

Sharing: a file that another process has open, even for reading, cannot be opened for writing. All
services load into one file, so runs take turns. A run holds a lock beside the file while it has the
file open, which is while it loads a package. Other runs wait for the lock. A short query by another
process must not fail a run, so opening the file is retried for ``LOCK_SECONDS``. A file whose
creation was interrupted, by a kill or a full disk, can never be opened. It holds no data, so it is
created again.

Merges: dlt loads rows into staging tables and merges them from there. Here they are merged directly
from their Parquet files, which takes two thirds of the time and half of the memory. Of rows with
the same key dlt keeps one, and numbers all rows with all of their columns to find it. Grouping the
keys takes a tenth of the time and of the memory. The old entries of a list are found by the key of
their record alone, without a scan of the whole table. The memory limit is low, because DuckDB is no
faster with more memory.
"""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import dlt
import duckdb as duckdb_client
import tenacity
from dlt.common import logger
from dlt.common.configuration import configspec
from dlt.common.configuration.specs.base_configuration import NotResolved
from dlt.common.destination import DestinationCapabilitiesContext, PreparedTableSchema
from dlt.common.destination.client import (
    FollowupJobRequest,
    HasFollowupJobs,
    LoadJob,
    RunnableLoadJob,
)
from dlt.common.schema import Schema
from dlt.common.storages import ParsedLoadJobFileName
from dlt.common.storages.load_package import LoadJobInfo, PackageStorage
from dlt.destinations.exceptions import DatabaseException, DestinationConnectionError
from dlt.destinations.impl.duckdb.configuration import (
    NON_ATTACHABLE_LOCATIONS,
    DuckDbClientConfiguration,
)
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.job_client_impl import SqlLoadJob
from dlt.destinations.sql_client import SqlClientBase
from filelock import FileLock, Timeout

from textlift.destinations._capabilities import FixedCapabilities
from textlift.destinations._comments import WithComments
from textlift.destinations._lookups import LookupMerge

#: Size of the three headers of a new file, 4 KiB each, and the mark in the first one.
_HEADERS, _MARK = 3 * 4096, b"DUCK"
#: Seconds to wait for a process that is not one of our runs to close the file.
LOCK_SECONDS = 60.0
#: DuckDB's limit while it loads, unless the credentials' ``global_config`` sets ``memory_limit``.
MEMORY_LIMIT = "150MB"
#: Placeholder for the folder of a package's files in the SQL of a merge.
_FOLDER = "{completed_jobs}"
#: Column with a different number for each row that a merge reads.
_ROW = "_merged_row"
#: DuckDB's column with the number of a row in a Parquet file.
_FILE_ROW = "file_row_number"


def is_locked(error: BaseException) -> bool:
    """Return whether a DuckDB file cannot be opened because another process has it open."""
    return (
        isinstance(error, DestinationConnectionError)
        and isinstance(error.inner_exc, duckdb_client.IOException)
        and "set lock on file" in str(error.inner_exc)
    )


class _Turn:
    """The right to open a file, shared by all connections of this process."""

    _all_guard = threading.Lock()
    _all: dict[str, _Turn] = {}  # noqa: RUF012 (one for each file, until the process ends)

    def __init__(self, file: str) -> None:
        self._file = file
        self._lock = FileLock(f"{file}.lock", thread_local=False)
        self._guard = threading.Lock()
        self._connections = 0

    @classmethod
    def with_file(cls, file: str) -> _Turn:
        """Return the turn of a file; all paths to the file have the same one."""
        path = os.path.realpath(file)
        with cls._all_guard:
            return cls._all.setdefault(path, cls(path))

    def begin(self) -> None:
        """Wait without limit until no other run has the file open."""
        # Waiting with the guard blocks no thread: the process has no connection to close yet.
        with self._guard:
            if not self._connections:
                try:
                    self._lock.acquire(timeout=LOCK_SECONDS)
                except Timeout:
                    logger.warning(f"Another run loads into {self._file}; waiting until it is done")
                    self._lock.acquire()
            self._connections += 1

    def end(self) -> None:
        """Release the file to other runs if this was the last connection."""
        with self._guard:
            self._connections -= 1
            if not self._connections:
                self._lock.release()


@contextmanager
def turn(file: str) -> Iterator[None]:
    """Hold the right to open a DuckDB file, for another process that this one starts."""
    held = _Turn.with_file(file)
    held.begin()
    try:
        yield
    finally:
        held.end()


class _SqlClient(DuckDbSqlClient):
    _turn: _Turn | None = None

    def open_connection(self) -> duckdb_client.DuckDBPyConnection:
        turn = self._file_turn()
        if turn:
            turn.begin()
        try:
            opened = self._open_file()
            if "memory_limit" not in (self.credentials.global_config or {}):
                # Global, so it also limits the checkpoint when the file is closed.
                opened.execute(f"SET GLOBAL memory_limit = '{MEMORY_LIMIT}'")
        except BaseException:
            if turn:
                turn.end()
            raise
        self._turn = turn
        return opened

    def close_connection(self) -> None:
        super().close_connection()
        if self._turn:
            self._turn.end()
            self._turn = None

    def _file_turn(self) -> _Turn | None:
        """Return the turn to wait for; ``None`` if nothing is written to a file."""
        credentials, file = self.credentials, str(self.credentials.database)
        is_file = file not in NON_ATTACHABLE_LOCATIONS and not credentials.external_conn()
        if not is_file or credentials.read_only or not Path(file).parent.is_dir():
            return None
        return _Turn.with_file(file)

    def _open_file(self) -> duckdb_client.DuckDBPyConnection:
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_locked),
            stop=tenacity.stop_after_delay(LOCK_SECONDS),
            wait=tenacity.wait_fixed(0.5),
            before_sleep=_say_once,
            reraise=True,
        )
        try:
            return waiting(super().open_connection)
        except DestinationConnectionError:
            if not _remove_unfinished(Path(str(self.credentials.database))):
                raise
            return super().open_connection()

    def catalog_name(self, quote: bool = True, casefold: bool = True) -> str | None:
        catalog = Path(str(self.credentials.database)).name.split(".")[0]
        if catalog.lower() != self.dataset_name.lower():
            return None
        return self.capabilities.escape_identifier(catalog) if quote else catalog

    def warn_if_catalog_equals_dataset_name(self) -> None:
        """Do nothing: every name is qualified."""


def _remove_unfinished(file: Path) -> bool:
    """Delete a file whose creation DuckDB did not finish; return whether it was one."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        start = opened.read(_HEADERS)
    unfinished = len(start) < _HEADERS and (not start or start[8:12] == _MARK)
    if unfinished:
        logger.warning(f"{file} was never finished; creating it again")
        file.unlink()
    return unfinished


def _say_once(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1:
        logger.warning(f"The DuckDB file is in use; waiting up to {LOCK_SECONDS:g} s for it")


def _quoted(path: str) -> str:
    """Return a path escaped for a DuckDB SQL string that holds a file pattern."""
    return glob.escape(path).replace("'", "''")


#: Limits the jobs at a time: more of them take more memory and save no time.
_TURNS = threading.BoundedSemaphore(2)
_ALONE = threading.Lock()


def _run_with_enough_memory(client: Any, work: Callable[[], Any]) -> None:
    """Run ``work``, again with DuckDB's default limit if ``MEMORY_LIMIT`` is not enough.

    The limit applies to all connections to a file, so a job that needs more memory runs alone.
    """
    try:
        with _TURNS:
            work()
    except DatabaseException as error:
        short = isinstance(error.__cause__, duckdb_client.OutOfMemoryException)
        if not short or "memory_limit" in (client.credentials.global_config or {}):
            raise
        logger.info(f"{MEMORY_LIMIT} are not enough for DuckDB; loading with its default limit")
        with _ALONE, _TURNS, _TURNS:
            # Before version 2, RESET does not restore the default.
            default = duckdb_client.connect().execute("SELECT current_setting('memory_limit')")
            client.execute_sql("SET GLOBAL memory_limit = %s", default.fetchall()[0][0])
            work()


class _CopyJob(DuckDbCopyJob):
    """dlt's copy job, for files in a folder of any name."""

    def run(self) -> None:
        """Load one Parquet file."""
        client: Any = self._job_client.sql_client
        table = client.make_qualified_table_name(self.load_table_name)
        file = f"read_parquet('{_quoted(self._file_path)}', union_by_name = true)"
        insert = f"INSERT INTO {table} BY NAME SELECT * FROM {file}"
        _run_with_enough_memory(client, lambda: client.execute_sql(insert))


class _FileJob(RunnableLoadJob, HasFollowupJobs):
    """A file that waits for the other files of its table; the merge reads them together."""

    def run(self) -> None:
        """Do nothing: the merge loads the file."""


class _MergeJob(SqlLoadJob):
    def run(self) -> None:
        """Merge the files of a table."""
        sql = Path(self._file_path).read_text(encoding="utf-8")
        folder = Path(self._file_path).parents[1] / PackageStorage.COMPLETED_JOBS_FOLDER
        client: Any = self._job_client.sql_client
        statements = [
            statement.replace(_FOLDER, _quoted(str(folder)))
            for statement in self._split_fragments(sql)
        ]

        def merge() -> None:
            with client.begin_transaction():
                for statement in statements:
                    client.execute_sql(statement)

        _run_with_enough_memory(client, merge)


class _MergeSql(LookupMerge):
    files: Sequence[ParsedLoadJobFileName] = ()

    @classmethod
    def of(cls, files: Sequence[ParsedLoadJobFileName]) -> type[_MergeSql]:
        """Return a subclass that merges ``files``."""
        return type(cls.__name__, (cls,), {"files": files})

    @classmethod
    def generate_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Return SQL that merges the Parquet files and the staged rows of other formats."""
        statements = super().generate_sql(table_chain, sql_client)
        for table in table_chain:
            name = str(table["name"])
            staged = sql_client.get_qualified_table_names(name)[1]
            columns = {column.lower() for column in table["columns"]}
            # The staging table has the column types, and the rows from files of other formats.
            row = _number("rowid", columns)
            sources = [f"SELECT *, {row} AS {_ROW} FROM {staged}"]
            row = _number(_FILE_ROW, columns)
            option = f", {_FILE_ROW} = true" if row == _FILE_ROW else ""
            for number, file in enumerate(cls.files, 1):
                if file.table_name == name:
                    sources.append(
                        f"SELECT *, {number << 40} + {row} AS {_ROW} FROM "
                        f"read_parquet('{_FOLDER}/{file.file_name()}'{option})"
                    )
            rows = f"({' UNION ALL BY NAME '.join(sources)})"
            statements = [statement.replace(staged, rows) for statement in statements]
            statements.append(f"DELETE FROM {staged} WHERE 1 = 1")
        return statements

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


class _Client(WithComments, DuckDbClient):
    comments_query = (
        "SELECT table_name, column_name, comment FROM ("
        "SELECT database_name, schema_name, table_name, column_name, comment FROM duckdb_columns() "
        "UNION ALL "
        "SELECT database_name, schema_name, table_name, NULL, comment FROM duckdb_tables()) "
        "WHERE database_name = current_database() AND schema_name = %s AND comment IS NOT NULL"
    )

    def __init__(
        self,
        schema: Schema,
        config: DuckDbClientConfiguration,
        capabilities: DestinationCapabilitiesContext,
    ) -> None:
        super().__init__(schema, config, capabilities)
        names = self.create_dataset_names(schema, config)
        self.sql_client: DuckDbSqlClient = _SqlClient(*names, config.credentials, capabilities)

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Return a job for one file of a package."""
        if table["write_disposition"] == "merge":
            if SqlLoadJob.is_sql_job(file_path):
                return _MergeJob(file_path)
            if _is_parquet(ParsedLoadJobFileName.parse(file_path)):
                return _FileJob(file_path)
        if _is_parquet(ParsedLoadJobFileName.parse(file_path)):
            return _CopyJob(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Return the merge of the loaded files of a table and its child tables."""
        if table_chain[0]["write_disposition"] != "merge":
            return super().create_table_chain_completed_followup_jobs(
                table_chain, completed_table_chain_jobs
            )
        files = [job.job_file_info for job in completed_table_chain_jobs or ()]
        merge = _MergeSql.of([file for file in files if _is_parquet(file)])
        return [merge.from_table_chain(table_chain, self.sql_client)]


def _is_parquet(file: ParsedLoadJobFileName) -> bool:
    return file.file_format == "parquet"


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    default_name: Annotated[str | None, NotResolved()] = None

    def make_default_location(self, default_location_pat: str) -> str:
        if self.default_name:
            return default_location_pat % self.default_name
        return super().make_default_location(default_location_pat)


class duckdb(FixedCapabilities, dlt.destinations.duckdb):
    """dlt's ``duckdb`` destination, with the changes that this module describes.

    ``default_name`` is the file's name without suffix, used if the configuration names no file.
    """

    spec: Any = _Configuration

    @property
    def client_class(self) -> type[Any]:
        """The client with these changes."""
        return _Client
