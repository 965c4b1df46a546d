"""Loads a source through a dlt pipeline, in load packages of bounded size.

A source with ``package_rows`` leaves rows for the next ``pipeline.run(source)``. This is the loop around
it that the command line and the schedulers use. A source without ``package_rows`` needs no loop.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from dlt import Pipeline
from dlt.common import logger
from dlt.common.exceptions import SignalReceivedException
from dlt.common.pipeline import LoadInfo
from dlt.common.schema import Schema
from dlt.common.schema.typing import C_DLT_LOAD_ID
from dlt.extract import DltResource, DltSource
from dlt.pipeline.exceptions import PipelineStepFailed
from filelock import FileLock, Timeout

from textlift import clock
from textlift.destinations import checked, contents, open_while_loading, reason
from textlift.dlt_setup import set_up_dlt
from textlift.errors import AlreadyRunning, ConfigurationError, CredentialsError, TextliftError
from textlift.extract.erased import Erasures, erasures_in, known_erasures
from textlift.extract.state import ACCOUNT_HINT, parts_of_accounts
from textlift.extract.state import full_refresh as full_refresh_of_loads
from textlift.load.cursors import forget_cursors, resource_states
from textlift.load.log import short_log
from textlift.load.rejects import REJECTED_RECORDS
from textlift.load.report import StreamReport, report_of
from textlift.load.retention import apply_retention
from textlift.load.runs import LOAD_RUNS, RunLog
from textlift.settings import host_of
from textlift.windows import format_time

#: Rows of one resource in one load package. After a crash, at most these are read again.
PACKAGE_ROWS = 200_000


@dataclass
class Summary:
    """What a run did.

    Attributes:
        rows: Table → rows loaded.
        windows: Resource → first and last second read, ISO 8601.
        new_columns: Table that existed → columns it got.
        requests: Requests sent, retries included.
        rejections: Resource → rows for ``rejected_records``.
        removed: Resource → rows that are gone at the service, marked or deleted.
        aged: Table → rows of which the retention has removed something.
        gaps: Rows that a service dropped before they were read, each as a sentence.
        missing: What is configured and not at the service, each with the reason.
        failed: Resource → why it could not be loaded.
        notes: Why nothing was read of a resource, each as a sentence.
        packages: Load packages committed.
        seconds: Time taken.
        location: Where the dataset is, without credentials.
    """

    rows: dict[str, int] = field(default_factory=dict)
    windows: dict[str, tuple[str, str]] = field(default_factory=dict)
    new_columns: dict[str, list[str]] = field(default_factory=dict)
    requests: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    aged: dict[str, int] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    packages: int = 0
    seconds: float = 0.0
    location: str = ""

    @property
    def rejected(self) -> int:
        """Total of rows for ``rejected_records``."""
        return sum(self.rejections.values())


def load(
    pipeline: Pipeline,
    source: DltSource,
    resources: Sequence[str] | None = None,
    full_refresh: bool = False,
) -> Summary:
    """Load all that is new, and append what was done to the table ``load_runs``.

    A resource that cannot be read is left where it was and named in the summary; the others go on.
    ``load_runs`` gets a row for each resource, also where this raises, unless the dataset cannot be
    used or the run is stopped. A bare ``pipeline.run(source)`` loads the same data and writes none.

    Args:
        pipeline: The pipeline to load with.
        source: A source with ``package_rows`` and ``isolate_failures``.
        resources: Names of the resources to load; by default, all of them.
        full_refresh: Read these resources again from ``start_date``, and then delete what the
            service did not return of what it keeps. Interrupted, it changes nothing else, and the
            next full refresh goes on with it.

    Returns:
        What was done.

    Raises:
        AlreadyRunning: Another process or thread runs this pipeline.
        ConfigurationError: A setting is wrong, a resource is unknown, the dataset holds another
            account, or the service refuses the credentials. What was committed before stays.
        DestinationFailed: The destination cannot be reached or written to. Nothing was loaded.
        PipelineStepFailed: The destination could not be loaded. The next run tries again.
    """
    set_up_dlt()
    refreshing = full_refresh_of_loads() if full_refresh else nullcontext()
    with alone(pipeline), _system_memory(), short_log(), refreshing:
        return _load(pipeline, source, resources)


def _load(pipeline: Pipeline, source: DltSource, resources: Sequence[str] | None) -> Summary:
    started = time.monotonic()
    require_known(resources or (), source.resources)
    names = list(dict.fromkeys(source.resources if resources is None else resources))
    runs = RunLog(pipeline, source, names)
    drop_local_state(pipeline)
    erasures = _start_from_destination(pipeline, source, names)
    summary = Summary()
    try:
        _load_packages(pipeline, source, names, erasures, summary, runs)
    except Exception as error:
        if not was_stopped(error):
            _write_failed(pipeline, runs, error)
        raise
    reports = [report_of(source.resources[name]) for name in names]
    agings = [report.aging for report in reports if report.aging]
    if agings:
        summary.aged = apply_retention(pipeline, source.schema.name, agings, clock.now())
    summary.requests = sum(report_of(each).progress.requests for each in source.resources.values())
    summary.seconds = time.monotonic() - started
    return summary


def _load_packages(
    pipeline: Pipeline,
    source: DltSource,
    names: Sequence[str],
    erasures: Erasures | None,
    summary: Summary,
    runs: RunLog,
) -> None:
    """Fill and load packages until no resource has anything left.

    The first one uses ``erasures``; the next ones read who was erased meanwhile.

    Raises:
        CredentialsError: The service permits to read none of the resources.
    """
    remaining = list(names)
    while remaining:
        for resource in source.resources.values():
            resource.selected = resource.name in remaining
        try:
            with open_while_loading(), known_erasures(erasures):
                info = pipeline.run([source, runs.of_package(remaining)])
            erasures = None
        except PipelineStepFailed as error:
            own = own_error(error)
            if own is None:
                raise
            raise own from None
        _note_package(summary, info)
        for name in remaining:
            report = report_of(source.resources[name])
            runs.add(name, report)
            _note_report(summary, name, report)
        remaining = [name for name in remaining if report_of(source.resources[name]).unfinished]
    reports = [report_of(source.resources[name]) for name in names]
    asked = [report for report in reports if report.progress.requests]
    if asked and all(report.denied for report in asked):
        raise CredentialsError(
            f"{asked[0].failed or asked[0].note}\n"
            "The service permits to read none of the resources: check "
            f"sources.{source.name}.credentials."
        )


def _write_failed(pipeline: Pipeline, runs: RunLog, error: Exception) -> None:
    """Write the rows of a run that ends with ``error``, if that is still possible."""
    own = own_error(error)
    cause = error.exception if isinstance(error, PipelineStepFailed) else error
    try:
        # What is left of the package that failed would be loaded along.
        _drop_files(pipeline)
        runs.write_failed(str(own) if own else reason(cause))
    except Exception as second:  # noqa: BLE001 (the first error is the one to raise)
        logger.warning(f"{LOAD_RUNS} cannot be written: {type(second).__name__}")


@contextmanager
def alone(pipeline: Pipeline) -> Iterator[None]:
    """Prevent concurrent runs of the pipeline, which would drop the packages of each other.

    The lock file lies beside the folder of the pipeline, because each run removes that folder.
    """
    path = Path(pipeline.pipelines_dir) / f"{pipeline.pipeline_name}.lock"
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunning(
            f"{pipeline.pipeline_name}: another run of this pipeline is under way "
            f"{_holder(path)}in {pipeline.pipelines_dir}. Nothing was loaded.\n"
            "Wait for it to end; schedule runs so that they do not overlap."
        ) from None
    try:
        path.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


@contextmanager
def _system_memory() -> Iterator[None]:
    """Let Arrow use the system's allocator.

    Arrow's own allocator returns memory to the system after each response. That costs a fifth of the
    time of a large load, and a quarter of the memory.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _holder(path: Path) -> str:
    try:
        return f"(process {int(path.read_text())}) "
    except (OSError, ValueError):
        return ""


def require_known(names: Iterable[str], every: Iterable[str]) -> None:
    """Raise ConfigurationError if a name is not in ``every``."""
    unknown = [name for name in names if name not in every]
    if unknown:
        raise ConfigurationError(
            f"Unknown resource: {', '.join(unknown)}\nChoose from {', '.join(sorted(every))}."
        )


def drop_local_state(pipeline: Pipeline) -> None:
    """Remove what earlier runs left on this machine; the state in the destination counts.

    After a restore from a backup, the local state would be newer than the destination. Files of a killed
    run hold people's messages. A package that a crash left cannot be loaded: dlt would load all of its
    files again, also those that were loaded.
    """
    if pipeline.has_pending_data:
        logger.warning("The last run ended before its package was loaded: reading it again")
    _drop_files(pipeline)


def _drop_files(pipeline: Pipeline) -> None:
    """Remove the files and the local state of a pipeline."""
    # Paths of a local destination are relative to the folder of the first run.
    folder = pipeline.get_local_state_val("initial_cwd")
    pipeline.drop()
    pipeline.set_local_state_val("initial_cwd", folder)


def _start_from_destination(
    pipeline: Pipeline, source: DltSource, names: Sequence[str]
) -> Erasures:
    """Take the state from the destination, and compare it with the tables that exist there.

    A table that was dropped is created again. A resource that has lost a table, or all of its rows, is
    loaded from the start date, unless a retention deletes its rows.

    Returns:
        The rows of ``erasures``.

    Raises:
        ConfigurationError: The dataset holds another account, or a package is not installed.
        DestinationFailed: The destination cannot be reached, or refuses access.
    """
    with checked(pipeline) as client:
        if pipeline.config.restore_from_destination:
            pipeline.sync_destination()
            # pipeline.run would do it again, over other connections.
            pipeline._state_restored = True
        erasures = erasures_in(client)
        # A destination without a stored state, such as a function, has no such method.
        stored = getattr(client, "get_stored_schema", lambda _: None)(source.schema.name)
        if stored is None:
            return erasures
        # dlt wrote the schema, and validating it takes longer than the queries.
        schema = Schema.from_dict(
            json.loads(stored.schema), bump_version=False, validate_schema=False
        )
        _require_own_account(schema, source, pipeline.dataset_name)
        shared = {REJECTED_RECORDS, LOAD_RUNS, *schema.dlt_table_names()}
        tables = {
            str(table["name"]): table
            for table in (*schema.data_tables(seen_data_only=True), *schema.dlt_tables())
            if table.get("resource") in names or table["name"] in shared
        }
        client.schema = schema
        missing, empty = contents(client, tables)
    # An empty table of a list is normal, and a snapshot is replaced in each load.
    roots = {source.resources[name].table_name: name for name in names}
    aging = {name for name in names if _rows_are_deleted(source.resources[name])}
    read_by_time = {
        name for name, table in tables.items() if table["write_disposition"] != "replace"
    }
    lost = {roots[table] for table in read_by_time.intersection(roots, empty)} - aging
    lost |= {
        str(tables[table]["resource"]) for table in read_by_time.intersection(missing) - shared
    }
    # First the cursors: if the run is killed in between, the next one sees the same tables missing.
    _drop_cursors(pipeline, source.name, lost)
    if missing:
        logger.warning(f"Tables that are not there any more are made anew: {', '.join(missing)}")
        with pipeline.destination_client() as client:
            client.schema = schema
            # dlt creates tables only for a schema that is not stored, unless it is forced.
            client.update_stored_schema(only_tables=missing, force=True)
    return erasures


def _rows_are_deleted(resource: DltResource) -> bool:
    """Whether a retention deletes the rows of a resource when they are old."""
    aging = report_of(resource).aging
    return aging is not None and aging.endpoint.name in aging.rows


def _require_own_account(schema: Schema, source: DltSource, dataset: str) -> None:
    """Raise ConfigurationError if the dataset holds rows of another account."""
    own = {
        str(account)
        for resource in source.resources.values()
        if (account := resource.compute_table_schema().get(ACCOUNT_HINT))
    }
    hints: list[Mapping[str, Any]] = list(schema.tables.values())
    there = {str(table[ACCOUNT_HINT]) for table in hints if ACCOUNT_HINT in table}
    for account in sorted(there - own if own else ()):
        raise ConfigurationError(
            f"The dataset {dataset} holds rows of another account at {host_of(account)}.\n"
            "Load this one into a dataset of its own (--dataset), or correct the base_url and the "
            f"company of sources.{source.name}: two accounts can have the same ids."
        )


def _drop_cursors(pipeline: Pipeline, source: str, names: Iterable[str]) -> None:
    """Forget the cursors of resources that have lost rows in the destination."""
    if not names:
        return
    known = resource_states(pipeline.state, source)
    lost = sorted(name for name in names if any(parts_of_accounts(known.get(name, {}))))
    if not lost:
        return
    logger.warning(f"Rows were removed from the destination; loading again: {', '.join(lost)}")
    forget_cursors(pipeline, source, lost)


def was_stopped(error: BaseException | None) -> bool:
    """Whether a signal stopped the run."""
    while error is not None:
        if isinstance(error, (SignalReceivedException, KeyboardInterrupt)):
            return True
        error = error.__cause__
    return False


def own_error(error: BaseException) -> TextliftError | None:
    """The error of this project that caused ``error``, if there is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TextliftError):
        cause = cause.__cause__
    return cause


def _note_package(summary: Summary, info: LoadInfo) -> None:
    summary.packages += len(info.loads_ids)
    summary.location = info.destination_displayable_credentials
    for package in info.load_packages:
        for name, table in package.schema_update.items():
            columns = list(table.get("columns", {}))
            if C_DLT_LOAD_ID not in columns and not name.startswith("_dlt"):
                summary.new_columns.setdefault(name, []).extend(columns)


def _note_report(summary: Summary, name: str, report: StreamReport) -> None:
    """Add what a resource did in a package."""
    for table, rows in report.rows.items():
        summary.rows[table] = summary.rows.get(table, 0) + rows
    if report.rejected:
        summary.rejections[name] = summary.rejections.get(name, 0) + report.rejected
    if report.removed:
        summary.removed[name] = summary.removed.get(name, 0) + report.removed
    summary.gaps += [f"{name}: {gap}" for gap in report.gaps]
    # Of a load in several packages each names all that was missing so far.
    summary.missing += [one for one in report.missing if one not in summary.missing]
    if report.failed:
        summary.failed[name] = report.failed
    if report.note:
        summary.notes.append(f"{name}: {report.note}")
    if report.window:
        start, end = report.window
        summary.windows[name] = (format_time(start), format_time(end))
