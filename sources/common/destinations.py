"""DuckDB, also where the file and the dataset have the same name, or somebody has the file open.

DuckDB calls a file's catalog by the file's name. In ``mcommons.duckdb``, ``mcommons.profiles`` can
then mean the catalog or the dataset of that name, and DuckDB refuses to choose. So the catalog is
named as well.

A file that is open in another process, even to read it, cannot be opened to write. A query that
takes a moment should not cost a run, so opening waits for a while. And a file whose making was cut
off, by a kill or a full disk, cannot be opened ever again. There is nothing in it, so it is made anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import duckdb as duckdb_client
import tenacity
from dlt.common import logger
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

#: A new file has three headers of 4 KiB, the first with this mark.
_HEADERS, _MARK = 3 * 4096, b"DUCK"
#: Seconds to wait for another process to close the file.
LOCK_SECONDS = 60.0


def is_locked(error: BaseException) -> bool:
    """Whether a DuckDB file cannot be opened because another process has it open."""
    return (
        isinstance(error, DestinationConnectionError)
        and isinstance(error.inner_exc, duckdb_client.IOException)
        and "set lock on file" in str(error.inner_exc)
    )


class _SqlClient(DuckDbSqlClient):
    def open_connection(self) -> duckdb_client.DuckDBPyConnection:
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


class _Client(DuckDbClient):
    def __init__(
        self,
        schema: Schema,
        config: DuckDbClientConfiguration,
        capabilities: DestinationCapabilitiesContext,
    ) -> None:
        super().__init__(schema, config, capabilities)
        names = self.create_dataset_names(schema, config)
        self.sql_client: DuckDbSqlClient = _SqlClient(*names, config.credentials, capabilities)


class duckdb(dlt.destinations.duckdb):
    """dlt's own ``duckdb`` destination, with the catalog named where that is needed."""

    @property
    def client_class(self) -> type[Any]:
        """The client that names the catalog."""
        return _Client
