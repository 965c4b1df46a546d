"""DuckDB, also where the file and the dataset have the same name, or somebody has the file open.

DuckDB calls a file's catalog by the file's name. In ``mcommons.duckdb``, ``mcommons.profiles`` can
then mean the catalog or the dataset of that name, and DuckDB refuses to choose. So the catalog is
named as well.

A file that is open in another process, even to read it, cannot be opened to write. All services load
into one file, so runs take turns with it: each holds a lock beside the file while it has it open, which
is while it loads a package, and the others wait for it. A query that takes a moment should not cost a run
either, so opening waits a while for anybody else. And a file whose making was cut off, by a kill or a
full disk, cannot be opened ever again. There is nothing in it, so it is made anew.

dlt stages rows in tables, and merges them from there. Here they are merged straight from their Parquet
files, which takes two thirds of the time and half of the memory. Of rows with the same key dlt keeps
one, which it finds by numbering all rows with all of their columns; grouping their keys takes a tenth
of both. And what a list's entries replace is found by the key of their record alone, without a scan of
the whole table. All that with little memory: with as much as there is, DuckDB would be no quicker.
"""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable, Collection, Sequence
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
from dlt.destinations.sql_jobs import SqlMergeFollowupJob
from filelock import FileLock, Timeout

from textlift.destinations._comments import WithComments

#: A new file has three headers of 4 KiB, the first with this mark.
_HEADERS, _MARK = 3 * 4096, b"DUCK"
#: Seconds to wait for another process to close the file, if it is none of our runs.
LOCK_SECONDS = 60.0
#: Of DuckDB while it loads, if the credentials' ``global_config`` has no other ``memory_limit``.
MEMORY_LIMIT = "150MB"
#: Stands for the folder of a package's files in the SQL of a merge.
_FOLDER = "{completed_jobs}"
#: Tells the rows that a merge reads from one another.
_ROW = "_merged_row"
#: DuckDB's name for the number of a row in a Parquet file.
_FILE_ROW = "file_row_number"


def is_locked(error: BaseException) -> bool:
    """Whether a DuckDB file cannot be opened because another process has it open."""
    return (
        isinstance(error, DestinationConnectionError)
        and isinstance(error.inner_exc, duckdb_client.IOException)
        and "set lock on file" in str(error.inner_exc)
    )


class _Turn:
    """A turn with a file, shared by all connections of this process."""

    _all_guard = threading.Lock()
    _all: dict[str, _Turn] = {}  # noqa: RUF012 (one for each file, as long as the process lives)

    def __init__(self, file: str) -> None:
        self._file = file
        self._lock = FileLock(f"{file}.lock", thread_local=False)
        self._guard = threading.Lock()
        self._connections = 0

    @classmethod
    def with_file(cls, file: str) -> _Turn:
        """The turn with a file, by whatever path it is opened."""
        path = os.path.realpath(file)
        with cls._all_guard:
            return cls._all.setdefault(path, cls(path))

    def begin(self) -> None:
        """Wait, as long as it takes, until no other run has the file open."""
        # Whoever waits here has no connection that another thread could have to close.
        with self._guard:
            if not self._connections:
                try:
                    self._lock.acquire(timeout=LOCK_SECONDS)
                except Timeout:
                    logger.warning(f"Another run loads into {self._file}; waiting until it is done")
                    self._lock.acquire()
            self._connections += 1

    def end(self) -> None:
        """Let the others have the file, if this was the last connection."""
        with self._guard:
            self._connections -= 1
            if not self._connections:
                self._lock.release()


class _SqlClient(DuckDbSqlClient):
    _turn: _Turn | None = None

    def open_connection(self) -> duckdb_client.DuckDBPyConnection:
        turn = self._file_turn()
        if turn:
            turn.begin()
        try:
            opened = self._open_file()
            if "memory_limit" not in (self.credentials.global_config or {}):
                # Also for the checkpoint when the file is closed.
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
        """The turn to wait for; none where nothing is written to a file."""
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
        """Nothing to warn of: every name is qualified."""


def _remove_unfinished(file: Path) -> bool:
    """Remove a file that DuckDB had not finished making, if it is one."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        start = opened.read(_HEADERS)
    unfinished = len(start) < _HEADERS and (not start or start[8:12] == _MARK)
    if unfinished:
        logger.warning(f"{file} was never finished; making it anew")
        file.unlink()
    return unfinished


def _say_once(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1:
        logger.warning(f"The DuckDB file is in use; waiting up to {LOCK_SECONDS:g} s for it")


def _quoted(path: str) -> str:
    """A path as it stands in a string of DuckDB's SQL that names files by a pattern."""
    return glob.escape(path).replace("'", "''")


#: More jobs at a time would take more memory, and no less time.
_TURNS = threading.BoundedSemaphore(2)
_ALONE = threading.Lock()


def _run_with_enough_memory(client: Any, work: Callable[[], Any]) -> None:
    """Run ``work``; with DuckDB's default limit if ``MEMORY_LIMIT`` is not enough.

    The limit holds for all connections to a file, so that a job that needs more runs alone.
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
            # RESET does not restore it before version 2.
            default = duckdb_client.connect().execute("SELECT current_setting('memory_limit')")
            client.execute_sql("SET GLOBAL memory_limit = %s", default.fetchall()[0][0])
            work()


class _CopyJob(DuckDbCopyJob):
    """dlt's own, for files in a folder of any name."""

    def run(self) -> None:
        """Load one Parquet file."""
        client: Any = self._job_client.sql_client
        table = client.make_qualified_table_name(self.load_table_name)
        file = f"read_parquet('{_quoted(self._file_path)}', union_by_name = true)"
        insert = f"INSERT INTO {table} BY NAME SELECT * FROM {file}"
        _run_with_enough_memory(client, lambda: client.execute_sql(insert))


class _FileJob(RunnableLoadJob, HasFollowupJobs):
    """A file that waits for the others of its table; the merge reads it."""

    def run(self) -> None:
        """Nothing yet."""


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


class _MergeSql(SqlMergeFollowupJob):
    files: Sequence[ParsedLoadJobFileName] = ()

    @classmethod
    def of(cls, files: Sequence[ParsedLoadJobFileName]) -> type[_MergeSql]:
        """The same for some files."""
        return type(cls.__name__, (cls,), {"files": files})

    @classmethod
    def generate_sql(
        cls, table_chain: Sequence[PreparedTableSchema], sql_client: SqlClientBase[Any]
    ) -> list[str]:
        """Merge what is in the files, and what is staged: files of other formats are."""
        statements = super().generate_sql(table_chain, sql_client)
        for table in table_chain:
            name = str(table["name"])
            staged = sql_client.get_qualified_table_names(name)[1]
            columns = {column.lower() for column in table["columns"]}
            # It has the types of the columns, and what came in files of other formats.
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
    def _gen_key_table_clauses(
        cls, primary_keys: Sequence[str], merge_keys: Sequence[str]
    ) -> list[str]:
        # A row that has the whole key has the part as well. With both, joined by OR, DuckDB scans
        # the whole table; with one it skips what lies outside of the keys that were staged.
        implied = bool(merge_keys) and set(merge_keys) <= set(primary_keys)
        return super()._gen_key_table_clauses([] if implied else primary_keys, merge_keys)

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
        """Select one row of each key, and of those the ones that meet the condition."""
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
    """DuckDB's own number of a row, or one that takes longer where a column hides it."""
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
        """A job for one file of a package."""
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
        """The merge of what has been loaded of a table and those below it."""
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


class duckdb(dlt.destinations.duckdb):
    """dlt's own ``duckdb`` destination, with what is said above.

    ``default_name`` names the file, without its suffix, where the configuration names none.
    """

    spec: Any = _Configuration

    @property
    def client_class(self) -> type[Any]:
        """The client that does it."""
        return _Client
