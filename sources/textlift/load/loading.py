"""Runs a source through a dlt pipeline until it has nothing left, in packages of bounded size.

``pipeline.run(source)`` is all that is needed for a source without ``package_rows``. This is the
loop around it for the others, as the command line and the schedulers' definitions use it.
"""

from __future__ import annotations

import json
import logging
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
from dlt.common.pipeline import LoadInfo, TPipelineState
from dlt.common.schema import Schema
from dlt.common.schema.typing import C_DLT_LOAD_ID
from dlt.extract import DltSource
from dlt.pipeline.exceptions import PipelineStepFailed
from filelock import FileLock, Timeout

from textlift.destinations import checked, contents
from textlift.dlt_setup import set_up_dlt
from textlift.errors import AlreadyRunning, ConfigurationError, TextliftError, quote
from textlift.extract.state import ACCOUNT_HINT, has_cursors
from textlift.extract.state import full_refresh as full_refresh_of_loads
from textlift.load.rejects import REJECTED_RECORDS
from textlift.settings import host_of

#: Rows of one resource in one load package: a crash costs no more than reading these again.
PACKAGE_ROWS = 200_000


@dataclass
class Summary:
    """What a run did.

    Attributes:
        rows: Table → rows loaded.
        windows: Resource → first and last second read, ISO 8601.
        new_columns: Table that existed → columns it got.
        requests: Requests made, repeated ones included.
        rejections: Resource → rows for ``rejected_records``.
        removed: Resource → rows that are gone at the service, marked or deleted.
        holes: Rows that a service dropped before they were read, each as a sentence.
        missing: What is configured and not at the service, each with the reason.
        failed: Resource → why it could not be loaded.
        notes: What was not to be read, and why, each as a sentence.
        packages: Load packages committed.
        seconds: Time taken.
    """

    rows: dict[str, int] = field(default_factory=dict)
    windows: dict[str, tuple[str, str]] = field(default_factory=dict)
    new_columns: dict[str, list[str]] = field(default_factory=dict)
    requests: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    packages: int = 0
    seconds: float = 0.0

    @property
    def rejected(self) -> int:
        """Rows for ``rejected_records`` in all."""
        return sum(self.rejections.values())


def load(
    pipeline: Pipeline,
    source: DltSource,
    resources: Sequence[str] | None = None,
    full_refresh: bool = False,
) -> Summary:
    """Load all that is new.

    A resource that cannot be read is left where it was and named in the summary; the others go on.

    Args:
        pipeline: Where to load to.
        source: A source with ``package_rows`` and ``isolate_failures``.
        resources: Names of the resources to load; all of them if ``None``.
        full_refresh: Read these resources again from ``start_date``, and then delete what the
            service did not return of what it keeps. Interrupted, it changes nothing else, and the
            next full refresh goes on with it.

    Returns:
        What was done.

    Raises:
        AlreadyRunning: Another process, or another thread of this one, loads this pipeline.
        ConfigurationError: A setting is wrong, a resource is unknown, the dataset holds another
            account, or the service refuses the credentials. What was committed before stays.
        DestinationFailed: The destination cannot be reached or written to. Nothing was loaded.
        PipelineStepFailed: The destination could not be loaded. The next run tries again.
    """
    set_up_dlt()
    refreshing = full_refresh_of_loads() if full_refresh else nullcontext()
    with _alone(pipeline), _system_memory(), _rows_not_logged(), refreshing:
        return _load(pipeline, source, resources)


def _load(pipeline: Pipeline, source: DltSource, resources: Sequence[str] | None) -> Summary:
    started = time.monotonic()
    summary = Summary()
    require_known(resources or (), source.resources)
    remaining = list(dict.fromkeys(source.resources if resources is None else resources))
    _drop_local_state(pipeline)
    _start_from_destination(pipeline, source, remaining)
    while remaining:
        for resource in source.resources.values():
            resource.selected = resource.name in remaining
        try:
            info = pipeline.run(source)
        except PipelineStepFailed as error:
            own = own_error(error)
            if own is None:
                raise
            raise own from None
        _note_package(summary, info)
        remaining = _note_resources(summary, source, remaining)
    for resource in source.resources.values():
        summary.requests += resource.custom_metrics.get("requests", 0)
    summary.seconds = time.monotonic() - started
    return summary


@contextmanager
def _alone(pipeline: Pipeline) -> Iterator[None]:
    """Keep other runs of the pipeline out: two would drop one another's packages.

    The file lies beside the pipeline's folder, because that is removed when a run starts anew.
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
    """Let Arrow take its memory from the system's allocator.

    Its own gives pages back to the system at once and gets them again for the next answer, which
    costs a fifth of the time of a large load and a quarter of the memory.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


class _FirstLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Leave of an exception its type and first line, without numbers of people."""
        error = record.exc_info[1] if record.exc_info else None
        message, traced, _ = record.getMessage().partition("Traceback (most recent call last)")
        if error:
            lines = str(error).strip().splitlines() or [""]
            message += f": {type(error).__name__}: {quote(lines[0])}"
        if error or traced:
            record.msg, record.args, record.exc_info, record.exc_text = message, None, None, None
        return True


@contextmanager
def _rows_not_logged() -> Iterator[None]:
    """Keep rows out of the log: destinations quote them in their errors, and dlt logs those whole."""
    shortened = _FirstLine()
    log: logging.Logger = logger.LOGGER
    log.addFilter(shortened)
    try:
        yield
    finally:
        log.removeFilter(shortened)


def _holder(path: Path) -> str:
    try:
        return f"(process {int(path.read_text())}) "
    except (OSError, ValueError):
        return ""


def require_known(names: Iterable[str], every: Iterable[str]) -> None:
    """Raise ConfigurationError if a name is none of ``every`` resource."""
    unknown = [name for name in names if name not in every]
    if unknown:
        raise ConfigurationError(
            f"Unknown resource: {', '.join(unknown)}\nChoose from {', '.join(sorted(every))}."
        )


def _drop_local_state(pipeline: Pipeline) -> None:
    """Remove all that earlier runs have left on this machine; the destination's state counts.

    The state here is newer than that of a destination that was restored from a backup. Files of a
    run that was killed hold people's messages. And a package that a crash left unloaded cannot be
    loaded again: dlt would load all of its files, also those that were loaded.
    """
    if pipeline.has_pending_data:
        logger.warning("The last run ended before its package was loaded: reading it again")
    # Paths of a local destination are relative to the folder of the first run.
    folder = pipeline.get_local_state_val("initial_cwd")
    pipeline.drop()
    pipeline.set_local_state_val("initial_cwd", folder)


def _start_from_destination(pipeline: Pipeline, source: DltSource, names: Sequence[str]) -> None:
    """Compare what the destination's schema and state say with what is there.

    A table that somebody dropped is made anew. A resource that has lost a table, or all of its rows,
    is loaded as for the first time.

    Raises:
        ConfigurationError: The dataset holds another account, or a package is not installed.
        DestinationFailed: The destination cannot be reached, or refuses.
    """
    with checked(pipeline) as client:
        # dlt destinations without a stored state, such as a function, have no such method.
        stored = getattr(client, "get_stored_schema", lambda _: None)(source.schema.name)
        if stored is None:
            return
        # As dlt wrote it; to check it all again takes longer than the queries.
        schema = Schema.from_dict(
            json.loads(stored.schema), bump_version=False, validate_schema=False
        )
        _require_own_account(schema, source, pipeline.dataset_name)
        shared = {REJECTED_RECORDS, *schema.dlt_table_names()}
        tables = {
            str(table["name"]): table
            for table in (*schema.data_tables(seen_data_only=True), *schema.dlt_tables())
            if table.get("resource") in names or table["name"] in shared
        }
        client.schema = schema
        missing, empty = contents(client, tables)
    # A list without entries is as it may be, and a snapshot is loaded whole anyway.
    roots = {source.resources[name].table_name: name for name in names}
    read_by_time = {
        name for name, table in tables.items() if table["write_disposition"] != "replace"
    }
    lost = {roots[table] for table in read_by_time.intersection(roots, empty)}
    lost |= {
        str(tables[table]["resource"]) for table in read_by_time.intersection(missing) - shared
    }
    # Before the tables are made: a run that is killed in between finds the same.
    _drop_cursors(pipeline, source.name, lost)
    if missing:
        logger.warning(f"Tables that are not there any more are made anew: {', '.join(missing)}")
        with pipeline.destination_client() as client:
            client.schema = schema
            # dlt makes tables only for a schema that it has not stored.
            client.update_stored_schema(only_tables=missing, force=True)


def _require_own_account(schema: Schema, source: DltSource, dataset: str) -> None:
    """Raises ConfigurationError if the dataset holds the rows of another account."""
    own = {
        account
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
    """Forget how far resources were read, here and in the destination."""
    if not names:
        return
    pipeline.sync_destination()
    known = _resource_states(pipeline.state, source)
    lost = sorted(name for name in names if has_cursors(known.get(name, {})))
    if not lost:
        return
    logger.warning(f"Rows were removed from the destination; loading again: {', '.join(lost)}")
    with pipeline.managed_state(extract_state=True) as state:
        for name in lost:
            del _resource_states(state, source)[name]
    pipeline.normalize()
    pipeline.load()


def _resource_states(state: TPipelineState, source: str) -> dict[str, Any]:
    found: dict[str, Any] = state.get("sources", {}).get(source, {}).get("resources", {})
    return found


def own_error(error: BaseException) -> TextliftError | None:
    """The error of this project that made dlt fail with ``error``, if one did."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TextliftError):
        cause = cause.__cause__
    return cause


def _note_package(summary: Summary, info: LoadInfo) -> None:
    summary.packages += len(info.loads_ids)
    for package in info.load_packages:
        for name, table in package.schema_update.items():
            columns = list(table.get("columns", {}))
            if C_DLT_LOAD_ID not in columns and not name.startswith("_dlt"):
                summary.new_columns.setdefault(name, []).extend(columns)


def _note_resources(summary: Summary, source: DltSource, names: Iterable[str]) -> list[str]:
    """Add up what the resources say of the package; return those that another one goes on with."""
    left = []
    for name in names:
        metrics = source.resources[name].custom_metrics
        for table, rows in metrics.get("rows", {}).items():
            summary.rows[table] = summary.rows.get(table, 0) + rows
        if metrics.get("rejected"):
            summary.rejections[name] = summary.rejections.get(name, 0) + metrics["rejected"]
        if metrics.get("removed"):
            summary.removed[name] = summary.removed.get(name, 0) + metrics["removed"]
        summary.gaps += [f"{name}: {gap}" for gap in metrics.get("holes", ())]
        # Of a load in several packages each names all that was missing so far.
        summary.missing += [one for one in metrics.get("missing", ()) if one not in summary.missing]
        if metrics.get("failed"):
            summary.failed[name] = metrics["failed"]
            logger.error(metrics["failed"])
        if metrics.get("note"):
            summary.notes.append(f"{name}: {metrics['note']}")
        if metrics.get("window_start"):
            summary.windows[name] = (metrics["window_start"], metrics["window_end"])
        if metrics.get("unfinished"):
            left.append(name)
    return left
