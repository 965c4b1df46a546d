"""``textlift load``: load a service into a warehouse."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import dlt
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.providers.toml import SettingsTomlProvider
from dlt.common.configuration.specs import known_sections
from dlt.common.destination.exceptions import DestinationException, UnknownDestinationModule
from dlt.common.exceptions import SignalReceivedException
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.destinations import duckdb
from dlt.extract import DltSource
from dlt.pipeline.configuration import PipelineConfiguration
from dlt.pipeline.exceptions import PipelineStepFailed

from textlift.cli import exit_now, progress, report
from textlift.destinations import check, destination, is_locked, reason
from textlift.dlt_setup import set_up_dlt
from textlift.errors import ConfigurationError, CredentialsError, TextliftError, is_denied
from textlift.load.loading import (
    PACKAGE_ROWS,
    load,
    own_error,
    require_known,
    was_stopped,
)
from textlift.load.plan import plan_load
from textlift.load.report import report_of
from textlift.registry import SERVICES, Job, job_of
from textlift.settings import check_names
from textlift.tasks import TASKS, WITHOUT_RANGE
from textlift.windows import parse_time

LOADED = 0
FAILED = 1
UNUSABLE = 2
REJECTED = 3

#: Root of the clone. An installed package has no clone, and finds no settings there.
PROJECT = Path(__file__).resolve().parents[3]
#: Name of the DuckDB file for all services, without its suffix.
WAREHOUSE = "textlift"
#: DuckDB file for all sandboxes.
SANDBOX_FILE = f"{WAREHOUSE}_sandbox.duckdb"
#: The umask of a run: only the owner can read its files.
PRIVATE = 0o077


def main(argv: Sequence[str]) -> int:
    """Load a service.

    Args:
        argv: Arguments of ``textlift load``.

    Returns:
        The exit code: 0 loaded; 1 failed; 2 usage, configuration or credentials; 3 loaded, with
        rows in ``rejected_records``.
    """
    options = _parse(argv)
    job = job_of(options.service)
    os.umask(PRIVATE)
    use_own_settings()
    # Schedulers stop a run with SIGTERM. Handle it like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not options.sandbox:
            return _run(job, options, job.source)
        # Runs against a service do not wait for the sandbox to be imported.
        from textlift.cli.sandbox import sandbox_source

        name = f"{_pipeline_name(job.name, options)}_webhooks"
        storage = Path(_pipelines_dir(name), name)
        with sandbox_source(job, options.resources, storage) as source:
            return _run(job, options, source)
    except (SignalReceivedException, KeyboardInterrupt):
        _stop()
    except Exception as error:  # noqa: BLE001 (an unexpected error is raised again)
        if was_stopped(error):
            _stop()
        code, message = explain(error)
        print(message, file=sys.stderr)
        return code


def run_private(run: Callable[[], int]) -> int:
    """Run a command whose files only their owner can read, and return its exit code.

    A known error is printed as its message, and gives the code.
    """
    os.umask(PRIVATE)
    use_own_settings()
    try:
        return run()
    except Exception as error:  # noqa: BLE001 (an unexpected error is raised again)
        code, message = explain(error)
        print(message, file=sys.stderr)
        return code


def use_own_settings() -> None:
    """Use the settings of the clone in any working directory.

    Settings in a ``.dlt`` folder of the working directory have priority. Call this before a source
    reads its settings: meanwhile, dlt cannot add a provider.
    """
    own = PROJECT / ".dlt"
    file = own / "config.toml"
    if not Path(".dlt").is_dir() and own.is_dir():
        os.environ.setdefault("DLT_PROJECT_DIR", str(PROJECT))
    set_up_dlt()
    # dlt reads each setting from all providers, so do not register a file twice.
    read = [place for one in dlt.config.config_providers for place in one.present_locations]
    if file.is_file() and file.resolve() not in [Path(place).resolve() for place in read]:
        dlt.config.register_provider(
            SettingsTomlProvider("textlift", False, "config.toml", [str(own)])
        )


def _stop() -> NoReturn:
    """End the process without waiting for open requests."""
    print(_STOPPED, file=sys.stderr)
    exit_now(FAILED)


def explain(error: Exception) -> tuple[int, str]:
    """Return the exit code and the message for an error. Raise it again if it is unexpected."""
    cause: BaseException | None = own_error(error) or error
    while cause is not None:
        if isinstance(cause, ConfigurationError):
            return UNUSABLE, str(cause)
        if isinstance(cause, (ConfigurationException, UnknownDestinationModule)):
            wrong = str(cause).strip().splitlines()[0]
            where = "in .dlt/config.toml or .dlt/secrets.toml, or in the environment"
            return UNUSABLE, f"{wrong}\nSet it {where}."
        if isinstance(cause, TextliftError):
            return FAILED, str(cause)
        cause = cause.__cause__
    if isinstance(error, PipelineStepFailed):
        failed, where = error.exception, f"{error.step} failed: "
    elif isinstance(error, (DestinationException, OSError)):
        failed, where = error, ""
    else:
        raise error
    advice = "Close the file there, and run this again." if is_locked(failed) else _COMMITTED
    return FAILED, f"{where}{reason(failed)}\n{advice}"


_COMMITTED = "What was committed stays; the next run goes on from there."
_STOPPED = f"Stopped.\n{_COMMITTED}"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="textlift load",
        description="Load a service into a warehouse. Each run brings what is new.",
        epilog="exit codes: 0 loaded; 1 failed; 2 usage, configuration or credentials; "
        "3 loaded, with rows in rejected_records",
    )
    when = "ISO 8601, UTC unless it has an offset"
    add_target(parser)
    parser.add_argument(
        "--sandbox",
        action="store_true",
        help=f"load invented data from a local sandbox into {SANDBOX_FILE}",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="verify the credentials and the destination, say what account they see, and load "
        "nothing",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the partitions, windows and least number of requests; load nothing",
    )
    parser.add_argument(
        "--resources",
        metavar="A,B",
        type=_names,
        action="extend",
        help="load only these resources",
    )
    parser.add_argument(
        "--exclude",
        metavar="A,B",
        type=_names,
        action="extend",
        help="load all resources but these",
    )
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=_text,
        help=f"load from here on ({when}; a date alone is its first second)",
    )
    parser.add_argument(
        "--until",
        metavar="WHEN",
        type=_text,
        help="load up to here (a date alone is its last second); with --since exactly that range, "
        "and the cursors stay where they are",
    )
    parser.add_argument(
        "--full-refresh",
        action="store_true",
        help="load everything again from start_date, and then delete what the service does not "
        "list any more",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="do not ask before a full refresh of what the service keeps only for a time",
    )
    options = parser.parse_args(argv)
    if options.sandbox and options.destination not in (None, "duckdb"):
        parser.error("--sandbox loads into a DuckDB file of its own; leave --destination out")
    if options.resources and options.exclude:
        parser.error("--exclude leaves out of all resources; leave --resources out")
    if options.full_refresh and (options.since or options.until):
        parser.error("--full-refresh loads everything; leave --since and --until out")
    return options


def add_target(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add the arguments that name the service, which can be optional, and the destination."""
    parser.add_argument("service", choices=SERVICES, nargs="?" if optional else None)
    parser.add_argument(
        "--destination",
        metavar="NAME",
        type=_text,
        help="dlt destination, or delta or iceberg for tables of that format in dlt's filesystem "
        "(default: duckdb)",
    )
    parser.add_argument(
        "--dataset", metavar="NAME", type=_text, help="dataset (default: the name of the service)"
    )


def _text(value: str) -> str:
    """Return the value of an option. An empty value usually comes from an unset variable.

    Raises:
        ArgumentTypeError: The value is empty.
    """
    if not value.strip():
        raise argparse.ArgumentTypeError("the value is empty")
    return value


def _names(value: str) -> list[str]:
    return [_text(name).strip() for name in value.split(",")]


def _run(job: Job, options: argparse.Namespace, source: Callable[..., DltSource]) -> int:
    for name in ("since", "until"):
        if getattr(options, name):
            parse_time(getattr(options, name), f"--{name}")
    named = options.resources or ()
    every = [name for names in TASKS[job.name].values() for name in names]
    if not options.sandbox:
        check_names(job.name, job.source, every)
    if options.exclude:
        require_known(options.exclude, every)
        options.resources = [name for name in every if name not in options.exclude]
    without_range = _without_range(job, options)
    if options.check:
        for line in _describe(job, source):
            print(line)
        print(f"{job.title}: the credentials are accepted. Nothing was loaded.")
        pipeline = open_pipeline(job.name, options)
        check(pipeline)
        print(
            f"{pipeline.destination.destination_name}: {pipeline.dataset_name} can be written to."
        )
        return LOADED

    asks = options.full_refresh and not (options.yes or options.dry_run)
    if asks and not _confirmed(job, options.resources):
        print("Nothing was loaded.")
        return UNUSABLE
    wanted = source(
        since=options.since,
        until=options.until,
        package_rows=PACKAGE_ROWS,
        isolate_failures=True,
    )
    _require_settings(job, wanted, named)
    pipeline = open_pipeline(job.name, options)
    if options.dry_run:
        for line in report.plans(
            plan_load(pipeline, wanted, options.resources, options.full_refresh)
        ):
            print(line)
        return LOADED
    if options.sandbox:
        _mention_earlier_file(pipeline, job.name)
    else:
        refuse_earlier_file(pipeline, job.name)
    with progress.shown(pipeline, wanted, options.resources):
        summary = load(pipeline, wanted, options.resources, options.full_refresh)
    if without_range:
        summary.notes.append(f"read as they are now, without a range: {', '.join(without_range)}")
    report.show(pipeline, summary, sys.stderr)
    if report.problems(summary):
        return FAILED
    return REJECTED if summary.rejected else LOADED


def _describe(job: Job, source: Callable[..., DltSource]) -> list[str]:
    """Return lines that describe the account.

    Raises:
        CredentialsError: The service denies access to the account.
    """
    try:
        return job.describe_account(source)
    except Exception as error:
        own = own_error(error)
        if own and is_denied(own):
            advice = f"Check sources.{job.name}.credentials."
            raise CredentialsError(f"{own}\n{advice}") from None
        raise


def _confirmed(job: Job, resources: Sequence[str] | None) -> bool:
    """Return whether the user confirms a full refresh of resources with a retention.

    Return true without a prompt if no resource has one.

    Raises:
        ConfigurationError: There is no terminal for the prompt.
    """
    which = ", ".join(
        f"{one.name} for {one.incremental.retention.days} days"
        for one in job.endpoints
        if one.incremental
        and one.incremental.retention
        and (resources is None or one.name in resources)
    )
    if not which:
        return True
    what = (
        f"{job.title} keeps {which}. A full refresh replaces what is loaded of that time; "
        "older rows cannot be read again and stay as they are."
    )
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise ConfigurationError(f"{what}\nSay --yes to do it.")
    print(what)
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _without_range(job: Job, options: argparse.Namespace) -> list[str]:
    """Return the resources that ignore the given range, or nothing without a range.

    Raises:
        ConfigurationError: All named resources ignore it.
    """
    if not options.since and not options.until:
        return []
    lists = [name for task in WITHOUT_RANGE for name in TASKS[job.name].get(task, ())]
    found = [name for name in options.resources or lists if name in lists]
    if options.resources and len(found) == len(options.resources):
        raise ConfigurationError(
            f"Read as they are now, without a range: {', '.join(found)}\n"
            "Leave --since and --until out, or name resources that are read by time."
        )
    return found


def _require_settings(job: Job, source: DltSource, named: Sequence[str]) -> None:
    """Raise ConfigurationError if a resource named by the user lacks its setting."""
    for name in named:
        resource = source.resources.get(name)
        setting = report_of(resource).unset if resource else None
        if setting:
            raise ConfigurationError(
                f"{name} reads what sources.{job.name}.{setting} lists, and that is not set.\n"
                f"Set {setting} under [sources.{job.name}] in .dlt/config.toml, or in the "
                "environment."
            )


def open_pipeline(service: str, options: argparse.Namespace) -> dlt.Pipeline:
    """Return the pipeline for the target that the options name."""
    name = _pipeline_name(service, options)
    return dlt.pipeline(
        pipeline_name=name,
        pipelines_dir=_pipelines_dir(name),
        destination=_target(options),
        dataset_name=options.dataset or service,
        progress=NULL_COLLECTOR,
    )


def _pipeline_name(service: str, options: argparse.Namespace) -> str:
    return f"{service}_sandbox" if options.sandbox else service


def _target(options: argparse.Namespace) -> Any:
    if options.sandbox:
        # Explicit, so that configured credentials cannot lead to real data.
        return warehouse("duckdb", credentials=SANDBOX_FILE)
    return warehouse(options.destination or "duckdb")


def warehouse(name: str, **settings: Any) -> Any:
    """Return the destination of that name.

    DuckDB uses one file for all services, unless another file is configured.
    """
    if name == "duckdb":
        settings["default_name"] = WAREHOUSE
        # Use the current working directory. dlt would use that of the first run.
        settings["local_dir"] = str(Path(dlt.current.run_context().local_dir).resolve())
    return destination(name, **settings)


def _pipelines_dir(pipeline: str) -> str:
    """Return the working folder of dlt. It is beside the settings, so clones do not share it.

    Raises:
        ConfigurationError: The folder cannot be created.
    """
    sections = (known_sections.PIPELINES, pipeline)
    configured = resolve_configuration(PipelineConfiguration(), sections=sections).pipelines_dir
    if configured:
        return configured
    folder = Path(dlt.current.run_context().settings_dir).resolve() / "pipelines"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be made: {error.strerror}\n"
            "Set PIPELINES_DIR to a folder that can be written to."
        ) from None
    return str(folder)


def refuse_earlier_file(pipeline: dlt.Pipeline, service: str) -> None:
    """Check that no file of an earlier version has to be moved first.

    Earlier versions used one file for each service.

    Raises:
        ConfigurationError: There is such a file, and the warehouse does not hold its data.
    """
    files = _earlier_file(pipeline, service)
    if files:
        earlier, now = files
        move = [sys.executable, "-m", "textlift", "move", str(earlier), str(now)]
        raise ConfigurationError(
            f"{earlier} is of an earlier version, with a file for each service; {now.name} is for "
            "all of them, and has nothing of it yet. Nothing was loaded.\n"
            f"Move it there: {shlex.join(move)} (or rename it, to load everything anew)."
        )


def _mention_earlier_file(pipeline: dlt.Pipeline, service: str) -> None:
    files = _earlier_file(pipeline, service)
    if files:
        print(f"{files[0].name} is of an earlier version and can be deleted.")


def _earlier_file(pipeline: dlt.Pipeline, service: str) -> tuple[Path, Path] | None:
    """Return the file of an earlier version and the file that replaces it.

    Return ``None`` if no file has to be moved.
    """
    if not isinstance(pipeline.destination, duckdb):
        return None
    client: Any = pipeline.destination_client()
    now = Path(str(client.config.credentials.database))
    earlier = now.with_name(now.name.replace(WAREHOUSE, service, 1))
    ours = now.name in (f"{WAREHOUSE}.duckdb", SANDBOX_FILE)
    if not ours or not earlier.is_file():
        return None
    if now.is_file():
        with client:
            if client.is_storage_initialized():
                return None
    return earlier, now
