"""Check that a destination can be loaded: client library, address and permission to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from dlt import Pipeline
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import MissingDependencyException
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.load.exceptions import LoadClientJobException

from textlift.destinations._duckdb import is_locked
from textlift.errors import ConfigurationError, DestinationFailed, TextliftError, quote

_PROBE = "textlift_check"


class _Undo(Exception):
    """Raised to roll a transaction back."""


def check(pipeline: Pipeline) -> None:
    """Check that the pipeline's dataset can be written to, and leave nothing there.

    Raises:
        ConfigurationError: A setting or a Python package is missing.
        DestinationFailed: The destination cannot be reached or refuses access.
    """
    with checked(pipeline):
        pass


@contextmanager
def checked(pipeline: Pipeline) -> Iterator[Any]:
    """Yield an open client of a destination that can be written to.

    Raises:
        ConfigurationError, DestinationFailed: See :func:`check`.
    """
    with ExitStack() as opened:
        try:
            client = _open(pipeline, opened)
        except (TextliftError, ConfigurationException):
            raise
        except Exception as error:  # noqa: BLE001 (each destination has its own errors)
            name = pipeline.destination.destination_name
            advice = (
                "Close the file there, and run this again."
                if is_locked(error)
                else f"Correct what stands under [destination.{name}] in .dlt/secrets.toml or "
                f".dlt/config.toml, or DESTINATION__{name.upper()}__… in the environment."
            )
            raise DestinationFailed(
                f"The destination {name} cannot be used: {reason(error)}\n{advice}"
            ) from None
        yield client


def _open(pipeline: Pipeline, opened: ExitStack) -> Any:
    with installed(pipeline.destination.destination_name):
        client: Any = pipeline.destination_client()
        is_new = False
        if isinstance(client, DuckDbClient):
            file = Path(str(client.config.credentials.database))
            is_new = not file.exists()
        opened.enter_context(client)
        if isinstance(client, DuckDbClient):
            # A copy that textlift forget was making when it was killed.
            Path(f"{file}.new").unlink(missing_ok=True)
        if is_new:
            # Delete it while it is open: a run that waits for it then creates its own.
            opened.callback(file.unlink, missing_ok=True)
        # An open DuckDB file can be written to.
        if isinstance(client, SqlJobClientBase) and not isinstance(client, DuckDbClient):
            _check_database(client)
        elif isinstance(client, FilesystemClient):
            _check_files(client)
    return client


@contextmanager
def installed(name: str) -> Iterator[None]:
    """Raise a ConfigurationError that says what to install if a package is missing."""
    try:
        yield
    except MissingDependencyException as error:
        extras = [one.partition("[")[2].partition("]")[0] for one in error.dependencies]
        raise _not_installed(name, " or ".join(extras) or name) from None
    except ModuleNotFoundError as error:
        raise _not_installed(f"{name} ({error.name})", name) from None


def _not_installed(what: str, extra: str) -> ConfigurationError:
    return ConfigurationError(
        f"The destination {what} needs a Python package that is not installed.\n"
        f"Install it: pip install 'dlt[{extra}]'."
    )


def reason(error: BaseException) -> str:
    """Return the first line of the error's message, because later lines can hold rows."""
    if isinstance(error, DestinationConnectionError):
        error = error.inner_exc
    elif isinstance(error, LoadClientJobException):
        error = error.client_exception
    lines = str(error).strip().splitlines()
    return quote(lines[0].partition(" However, you would")[0]) if lines else type(error).__name__


def _check_database(client: Any) -> None:
    if not client.capabilities.supports_ddl_transactions:
        return
    sql = client.sql_client
    # Another run that creates the same dataset at once must not make this one fail.
    alone = getattr(client, "alone", nullcontext)
    with alone(), suppress(_Undo), sql.begin_transaction():
        if not client.is_storage_initialized():
            sql.create_dataset()
        sql.execute_sql(f"CREATE TABLE {sql.make_qualified_table_name(_PROBE)} (id INT)")
        # SQLite does not undo it.
        sql.execute_sql(f"DROP TABLE {sql.make_qualified_table_name(_PROBE)}")
        raise _Undo


def _check_files(client: FilesystemClient) -> None:
    table_format = client.capabilities.preferred_table_format
    if table_format == "delta":
        import dlt.common.libs.deltalake
    elif table_format == "iceberg":
        import dlt.common.libs.pyiceberg  # noqa: F401
    files, folder = client.fs_client, client.dataset_path
    is_new = not files.exists(folder)
    files.makedirs(folder, exist_ok=True)
    probe = client.pathlib.join(folder, _PROBE)
    files.write_text(probe, "", encoding="utf-8")
    files.rm(probe)
    if is_new and files.exists(folder):
        files.rmdir(folder)
