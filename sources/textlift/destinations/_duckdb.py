"""DuckDB, with changes to names, to the sharing of a file, and to its jobs.

Names: DuckDB names the catalog of a file after the file. In ``mcommons.duckdb``,
``mcommons.profiles`` can mean the catalog or the dataset of that name, and DuckDB refuses to
choose. So names include the catalog if both have the same name.

Sharing: a file that another process has open, even for reading, cannot be opened for writing. All
services load into one file, so runs take turns. A run holds a lock beside the file while it has the
file open, which is while it loads a package. Other runs wait for the lock. A short query by another
process must not fail a run, so opening the file is retried for ``LOCK_SECONDS``. A file whose
creation was interrupted, by a kill or a full disk, can never be opened. It holds no data, so it is
created again.

Jobs: see :mod:`textlift.destinations._duckdb_jobs`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import dlt
import duckdb as duckdb_client
import tenacity
from dlt.common import logger
from dlt.common.configuration import configspec
from dlt.common.configuration.specs.base_configuration import NotResolved
from dlt.common.destination import DestinationCapabilitiesContext, PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, LoadJob
from dlt.common.schema import Schema
from dlt.common.schema.typing import TSchemaTables
from dlt.common.storages import ParsedLoadJobFileName
from dlt.common.storages.load_package import LoadJobInfo
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.duckdb.configuration import (
    NON_ATTACHABLE_LOCATIONS,
    DuckDbClientConfiguration,
)
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.job_client_impl import SqlLoadJob
from filelock import FileLock, Timeout

from textlift.destinations._capabilities import FixedCapabilities
from textlift.destinations._comments import WithComments
from textlift.destinations._duckdb_jobs import (
    CopyJob,
    FileJob,
    MergeJob,
    MergeSql,
    has_own_limit,
    is_parquet,
    limit_memory,
)

#: Size of the three headers of a new file, 4 KiB each, and the mark in the first one.
_HEADERS, _MARK = 3 * 4096, b"DUCK"
#: Seconds to wait for a process that is not one of our runs to close the file.
LOCK_SECONDS = 60.0


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
            if not (self.credentials.read_only or has_own_limit(self.credentials)):
                limit_memory(opened)
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
            file = Path(str(self.credentials.database))
            if self.credentials.read_only or not _remove_unfinished(file):
                raise
            return super().open_connection()

    def catalog_name(self, quote: bool = True, casefold: bool = True) -> str | None:
        catalog = Path(str(self.credentials.database)).name.split(".")[0]
        if catalog.lower() != self.dataset_name.lower():
            return None
        return self.capabilities.escape_identifier(catalog) if quote else catalog

    def warn_if_catalog_equals_dataset_name(self) -> None:
        """Do nothing: every name is qualified."""


class _HeldOpen:
    """A connection that keeps a file open, so that the next ones need not open it again."""

    def __init__(self) -> None:
        self._client: _SqlClient | None = None

    def begin(self, like: DuckDbSqlClient) -> None:
        """Open a connection like that of a client, if there is none."""
        if self._client is None:
            names = (like.dataset_name, like.staging_dataset_name)
            client = _SqlClient(*names, like.credentials, like.capabilities)
            client.open_connection()
            self._client = client

    def end(self) -> None:
        """Close it if it is open."""
        client, self._client = self._client, None
        if client:
            client.close_connection()


_held_open: ContextVar[_HeldOpen | None] = ContextVar("held_open", default=None)


@contextmanager
def open_while_loading() -> Iterator[None]:
    """Within the block, keep a file open from the first step of a package to its commit.

    Opening a file takes longer than loading a few rows, and dlt opens it for each step.
    """
    held = _HeldOpen()
    token = _held_open.set(held)
    try:
        yield
    finally:
        _held_open.reset(token)
        held.end()


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

    def update_stored_schema(self, *args: Any, **options: Any) -> TSchemaTables | None:
        """Create and change tables, which begins the load of a package."""
        if held := _held_open.get():
            held.begin(self.sql_client)
        return super().update_stored_schema(*args, **options)

    def complete_load(self, load_id: str) -> None:
        """Commit a package."""
        super().complete_load(load_id)
        if held := _held_open.get():
            held.end()

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Return a job for one file of a package."""
        if table["write_disposition"] == "merge":
            if SqlLoadJob.is_sql_job(file_path):
                return MergeJob(file_path)
            if is_parquet(ParsedLoadJobFileName.parse(file_path)):
                return FileJob(file_path)
        if is_parquet(ParsedLoadJobFileName.parse(file_path)):
            return CopyJob(file_path)
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
        merge = MergeSql.of([file for file in files if is_parquet(file)])
        return [merge.from_table_chain(table_chain, self.sql_client)]


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    default_name: Annotated[str | None, NotResolved()] = None

    def make_default_location(self, default_location_pat: str) -> str:
        if self.default_name:
            return default_location_pat % self.default_name
        return super().make_default_location(default_location_pat)

    def __str__(self) -> str:
        # dlt imports SQLAlchemy to print the path, which takes an eighth of a run with no new rows.
        return f"{self.credentials.drivername}:///{self.credentials.database}"


class duckdb(FixedCapabilities, dlt.destinations.duckdb):
    """dlt's ``duckdb`` destination, with the changes that this module describes.

    ``default_name`` is the file's name without suffix, used if the configuration names no file.
    """

    spec: Any = _Configuration

    @property
    def client_class(self) -> type[Any]:
        """The client with these changes."""
        return _Client
