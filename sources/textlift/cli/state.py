"""``textlift state``: print the cursors and recent runs of a service, or reset a cursor.

Both come from the destination.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, islice

from textlift.cli import command, report
from textlift.destinations import checked
from textlift.errors import ConfigurationError
from textlift.load.cursors import Cursor, forget_cursors, stored_cursors
from textlift.load.loading import alone, require_known
from textlift.load.plan import twin
from textlift.load.runs import FAILED, LoadRun, recent_runs
from textlift.tasks import TASKS
from textlift.windows import format_time

#: Number of listed runs.
RECENT_RUNS = 10


def main(argv: Sequence[str]) -> int:
    """Print the state of a service, or reset a cursor, and return the exit code."""
    options = _parse(argv)
    return command.run_private(lambda: _run(options))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="textlift state",
        description="List up to where each resource has been read, and the recent runs. Both come "
        "from the destination.",
        epilog="exit codes: 0 done; 1 failed; 2 usage or configuration",
    )
    command.add_target(parser)
    parser.add_argument("--sandbox", action="store_true", help="state of the sandbox's data")
    parser.add_argument(
        "--reset",
        metavar="RESOURCE",
        help="forget the cursor, so that the next load reads from the start date",
    )
    parser.add_argument("--partition", metavar="ID", help="with --reset: only this partition")
    parser.add_argument("--yes", action="store_true", help="reset without asking")
    options = parser.parse_args(argv)
    if options.partition and not options.reset:
        parser.error("--partition needs --reset")
    return options


def _run(options: argparse.Namespace) -> int:
    service = options.service
    pipeline = command.open_pipeline(service, options)
    if options.reset:
        require_known(
            [options.reset], [name for names in TASKS[service].values() for name in names]
        )
    with checked(pipeline) as client:
        names = [pipeline.pipeline_name, *(f"{service}_{task}" for task in TASKS[service])]
        cursors = [cursor for name in names for cursor in stored_cursors(client, name, service)]
        if not options.reset:
            runs = recent_runs(pipeline, service)
            for line in [*_list_cursors(cursors), "", *_list_runs(runs)]:
                print(line)
            return command.LOADED
    chosen = _chosen(cursors, options.reset, options.partition)
    for line in _list_cursors(chosen):
        print(line)
    if not options.yes and not _confirmed():
        print("Nothing was reset.")
        return command.UNUSABLE
    with alone(pipeline):
        for name in sorted({cursor.pipeline for cursor in chosen}):
            with twin(pipeline, name) as owner:
                forget_cursors(owner, service, [options.reset], options.partition)
    print("Reset. The next load reads from the start date.")
    return command.LOADED


def _chosen(cursors: Sequence[Cursor], resource: str, partition: str | None) -> list[Cursor]:
    """Return the cursors to reset.

    Raises:
        ConfigurationError: There is no such cursor.
    """
    found = [
        cursor
        for cursor in cursors
        if cursor.resource == resource and partition in (None, cursor.partition)
    ]
    if not found:
        which = resource if partition is None else f"{resource}, partition {partition}"
        raise ConfigurationError(
            f"The destination has no cursor of {which}.\n"
            "Choose one that textlift state lists without --reset."
        )
    return found


def _confirmed() -> bool:
    """Return whether the user confirms the reset.

    Raises:
        ConfigurationError: There is no terminal for the prompt.
    """
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise ConfigurationError("A reset must be confirmed.\nAdd --yes to do it.")
    return input("Reset these cursors? [y/N] ").strip().lower() in ("y", "yes")


def _list_cursors(cursors: Sequence[Cursor]) -> Iterator[str]:
    if not cursors:
        yield "No cursors: nothing was loaded, or by full lists only."
        return
    rows = [
        (one.resource, one.partition, one.time, one.read_completely_at or "", one.pipeline)
        for one in cursors
    ]
    yield from report.columns(
        ("resource", "partition", "read up to", "all read at", "pipeline"), rows
    )


def _list_runs(runs: Sequence[LoadRun]) -> Iterator[str]:
    if not runs:
        yield "No runs."
        return
    rows, failures = [], []
    groups = groupby(runs, key=lambda run: run.run_id)
    for _, group in islice(groups, RECENT_RUNS):
        of_run = list(group)
        first, failed = of_run[0], [run for run in of_run if run.outcome == FAILED]
        seconds = (first.ended_at - first.started_at).total_seconds()
        rows.append(
            (
                format_time(first.started_at),
                f"{seconds:,.0f} s",
                f"{len(of_run)}",
                _number(len(failed)),
                f"{sum(run.rows for run in of_run):,}",
                f"{sum(run.requests for run in of_run):,}",
                _number(sum(run.retries for run in of_run)),
                _number(sum(run.rejected for run in of_run)),
            )
        )
        failures += [
            f"{format_time(run.started_at)} {run.resource}: {run.message}" for run in failed
        ]
    heads = ("run", "time", "resources", "failed", "rows", "requests", "retries", "rejected")
    yield from report.columns(heads, rows)
    yield from failures


def _number(value: int) -> str:
    return f"{value:,}" if value else ""
