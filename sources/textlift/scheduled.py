"""Run one scheduler task: a subset of the resources of a service.

All tasks of a service load into the same dataset, and can run at the same time. Each task has its
own pipeline. The destination holds its cursors, so a task can run on any worker. A task with an
interval uses a separate pipeline: it loads exactly that interval and changes no cursor.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.common.versioned_state import decompress_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase, SqlJobClientWithStagingDataset
from dlt.destinations.sql_client import SqlClientBase
from dlt.extract import DltSource
from filelock import FileLock, Timeout

from textlift.cli import models, progress, report
from textlift.cli.command import (
    PRIVATE,
    UNUSABLE,
    explain,
    refuse_earlier_file,
    use_own_settings,
    warehouse,
)
from textlift.errors import ConfigurationError, DestinationFailed
from textlift.load.loading import PACKAGE_ROWS, Summary, load, own_error, was_stopped
from textlift.registry import job_of
from textlift.settings import check_names
from textlift.tasks import TASKS, WITHOUT_RANGE
from textlift.windows import parse_time

use_own_settings()

_PREFIX = "textlift-"


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Replace errors by ones with short messages.

    The full message of a destination can hold rows.
    """
    try:
        yield
    except Exception as error:
        if was_stopped(error):
            raise
        code, message = explain(error)
        known = ConfigurationError if code == UNUSABLE else DestinationFailed
        raise own_error(error) or known(message) from None


@contextmanager
def _private_files() -> Iterator[None]:
    """Create files in the block that only their owner can read."""
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


@_plain_errors()
@_private_files()
def run_task(
    service: str,
    task: str,
    *,
    since: str | None = None,
    until: str | None = None,
    resources: Sequence[str] = (),
    destination_name: str = "duckdb",
    concurrency: int | None = None,
) -> Summary:
    """Load the resources of a task, print the report, and append it to ``load_runs``.

    Args:
        service: Name of the service.
        task: Name of the task, see :data:`textlift.tasks.TASKS`.
        since: First second to load, in ISO 8601. The default is to continue from the cursors.
        until: Last second or last day to load. The default is now. With ``since`` and ``until``,
            exactly that range is loaded and the cursors do not change.
        resources: Resources of the task to load. The default is all of them.
        destination_name: Name of the destination, as on the command line.
        concurrency: Limit of concurrent requests. The default is the configured limit.

    Returns:
        The summary of the run, including failed resources.

    Raises:
        ConfigurationError: A setting is wrong, or the service rejects the credentials.
        DestinationFailed: The load into the destination failed. The next run tries again.
    """
    if task in WITHOUT_RANGE and (since or until):
        raise ConfigurationError(
            f"{service}: {task} are read as they are now, without a range.\n"
            "Leave since and until out."
        )
    check_names(
        service,
        job_of(service).source,
        [name for names in TASKS[service].values() for name in names],
    )
    name = f"{service}_{task}"
    if since and until:
        times = (parse_time(since, "since"), parse_time(until, "until", end=True))
        name += "".join(f"_{time:%Y%m%dt%H%M%S}" for time in times)
    given = {} if concurrency is None else {"concurrency": concurrency}
    source = job_of(service).source(
        since=since, until=until, package_rows=PACKAGE_ROWS, isolate_failures=True, **given
    )
    with _scratch() as folder:
        pipeline = dlt.pipeline(
            name,
            pipelines_dir=folder,
            destination=warehouse(
                destination_name,
                # Concurrent tasks stage the same tables. Long names are cut, so this is a hash.
                staging_dataset_name_layout=f"%s_staging_{_short_hash(name)}",
            ),
            dataset_name=service,
            progress=NULL_COLLECTOR,
        )
        refuse_earlier_file(pipeline, service)
        _recall_tables(pipeline, source)
        names = list(resources) or TASKS[service][task]
        with progress.shown(pipeline, source, names):
            summary = load(pipeline, source, names)
        report.show(pipeline, summary, problems_to=sys.stdout)
        # If the load fails, the next attempt drops the staging dataset.
        _drop_staging(pipeline)
        pipeline.deactivate()
    return summary


@_plain_errors()
@_private_files()
def run_models(*, destination_name: str = "duckdb") -> dict[str, int]:
    """Build the models for analysts from the tables of all loaded services, and test them.

    Args:
        destination_name: Name of the destination, as on the command line.

    Returns:
        Table with its schema → its rows.

    Raises:
        ConfigurationError: dbt is not installed, nothing is loaded, or dbt cannot build there.
        DestinationFailed: A model or a test failed.
    """
    with _scratch() as folder:
        pipeline = dlt.pipeline(
            "models",
            pipelines_dir=folder,
            destination=warehouse(destination_name),
            dataset_name=models.DATASET,
            progress=NULL_COLLECTOR,
        )
        built = models.build(pipeline)
        pipeline.deactivate()
    for line in (*built.warnings, *built.failed):
        print(line)
    if built.failed:
        raise DestinationFailed("\n".join(built.failed))
    return built.rows


@contextmanager
def open_warehouse(
    service: str, *, destination_name: str = "duckdb"
) -> Iterator[SqlClientBase[Any]]:
    """Yield an SQL client for the dataset of a service."""
    there = warehouse(destination_name)
    with _private_files(), dlt.dataset(there, service, schema=service) as opened:
        yield opened.sql_client


@contextmanager
def _scratch() -> Iterator[str]:
    """Yield a temporary folder for a pipeline, after removing the folders of killed tasks."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}????????"):
        _remove_left(folder)
    made = tempfile.TemporaryDirectory(prefix=_PREFIX)
    # While the lock is held, other tasks do not remove the folder.
    with FileLock(Path(made.name) / "task.lock"), made as name:
        yield name


def _remove_left(folder: Path) -> None:
    """Remove the folder of a killed task. Keep it if a process holds one of its locks."""
    locks = [FileLock(path, timeout=0) for path in folder.glob("*.lock")]
    # Without a pipeline folder, a task may have just started and not hold the lock yet.
    if not locks or not any(folder.glob("*/state.json")):
        return
    with ExitStack() as held, suppress(Timeout, OSError):
        for lock in locks:
            held.enter_context(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _recall_tables(pipeline: dlt.Pipeline, source: DltSource) -> None:
    """Add the tables of all stored schemas of the dataset to the schema of the source.

    dlt restores only the newest schema. A concurrent pipeline may have stored one without tables
    that another pipeline found. List entries are deleted only from tables in the schema.
    """
    with pipeline.destination_client() as client:
        for text in _stored_schemas(client, source.schema.name):
            for name, table in decompress_state(text)["tables"].items():
                if not name.startswith("_dlt"):
                    source.schema.update_table(table)


def _stored_schemas(client: Any, name: str) -> list[str]:
    if not isinstance(client, SqlJobClientBase):
        newest = client.get_stored_schema(name)
        return [newest.schema] if newest else []
    table = client.sql_client.make_qualified_table_name(client.schema.version_table_name)
    try:
        rows = client.sql_client.execute_sql(
            f"SELECT schema FROM {table} WHERE schema_name = %s", name
        )
    except DatabaseUndefinedRelation:
        return []
    return [schema for (schema,) in rows or ()]


def _drop_staging(pipeline: dlt.Pipeline) -> None:
    with pipeline.destination_client() as client:
        if isinstance(client, SqlJobClientWithStagingDataset):
            with client.with_staging_dataset():
                if client.is_storage_initialized():
                    client.sql_client.drop_dataset()
