"""Show the progress of a run: bars on a terminal, otherwise lines with a time.

The lines are JSON if dlt's log format is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from dlt import Pipeline
from dlt.common import logger
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.common.runtime.collector import NullCollector
from dlt.extract import DltSource

from textlift import clock
from textlift.load.report import StreamReport, report_of
from textlift.windows import format_time

#: Seconds between two lines without a terminal.
INTERVAL = 30.0


def is_json() -> bool:
    """Return whether lines are JSON."""
    return logger.is_json_logging(resolve_configuration(RuntimeConfiguration()).log_format)


def emit(event: str, text: str, facts: Mapping[str, Any]) -> None:
    """Print a line with the time and the text, or the facts as JSON."""
    now = format_time(clock.now())
    if is_json():
        print(json.dumps({"time": now, "event": event, **facts}), flush=True)
    else:
        print(f"{now} {text}", flush=True)


@contextmanager
def shown(pipeline: Pipeline, source: DltSource, names: Sequence[str] | None) -> Iterator[None]:
    """Show the progress of the run in the block, over all its load packages.

    Args:
        pipeline: The pipeline that runs.
        source: The source that it loads.
        names: Names of the resources to load. ``None`` means all of them.
    """
    run = Run(source, names or list(source.resources))
    pipeline.collector = run
    if sys.stderr and sys.stderr.isatty():
        # Runs of a scheduler do not wait for rich to be imported.
        from textlift.cli.terminal import bars

        display = bars(run)
    else:
        display = _lines(run)
    with display:
        yield


class Run(NullCollector):
    """The current run. dlt sets the step. The report of each resource holds its progress."""

    def __init__(self, source: DltSource, names: Sequence[str]) -> None:
        self.step = "Start"
        self.service = source.name
        self._source = source
        # The load itself raises an error for unknown names.
        self._names = [name for name in names if name in source.resources]
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def reports(self) -> dict[str, StreamReport]:
        """Return the report of each resource, by name."""
        return {name: report_of(self._source.resources[name]) for name in self._names}

    def total(self) -> str:
        """Return a line with the current step and the totals of the run."""
        reports = self.reports().values()
        done = sum(map(_is_done, reports))
        rows = sum(report.progress.rows for report in reports)
        requests = sum(report.progress.requests for report in reports)
        # dlt sets a step such as "Normalize mcommons in 1748779200.1".
        step = self.step.partition(" ")[0].lower()
        return (
            f"{self.service}: {step}, {done} of {len(self._names)} resources read, {rows:,} rows, "
            f"{requests:,} requests, {timedelta(seconds=int(self.seconds))}"
        )

    def reading(self) -> dict[str, StreamReport]:
        """Return the reports of the resources that are being read, by name."""
        return {
            name: report
            for name, report in self.reports().items()
            if report.progress.slices and not _is_done(report)
        }


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, such as ``1 row`` and ``2,190 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _is_done(report: StreamReport) -> bool:
    """Return whether nothing is left to read of a resource, or it is not read at all."""
    return bool(report.progress.is_done or report.failed or report.note or report.unset)


def described(report: StreamReport) -> str:
    """Return the progress of a resource and the estimated time left."""
    progress = report.progress
    if not progress.rows:
        return f"{progress.share:.0%}, {progress.requests:,} requests"
    slices = f"{progress.slices_done:.0f} of {progress.slices:,} slices, " * (progress.slices > 1)
    text = (
        f"{progress.share:.0%}, {slices}{progress.rows:,} rows, {progress.rows_per_second:,.0f}/s"
    )
    left = progress.seconds_left
    return text if left is None else f"{text}, {timedelta(seconds=int(left))} left"


@contextmanager
def _lines(run: Run) -> Iterator[None]:
    def tick() -> None:
        reading = {name: described(report) for name, report in run.reading().items()}
        parts = [run.total(), *(f"{name} {text}" for name, text in reading.items())]
        facts = {"step": run.step, "reading": reading, "seconds": round(run.seconds, 1)}
        emit("progress", "; ".join(parts), {"service": run.service, **facts})

    def tick_until_ended() -> None:
        while not ended.wait(INTERVAL):
            tick()

    ended = Event()
    resources = list(run.reports())
    start = f"{run.service}: loading {counted(len(resources), 'resource')}"
    emit("start", start, {"service": run.service, "resources": resources})
    Thread(target=tick_until_ended, name="textlift-progress", daemon=True).start()
    outcome = "failed"
    try:
        yield
        outcome = "ended"
    finally:
        ended.set()
        seconds = round(run.seconds, 1)
        end = f"{run.service}: {outcome} after {seconds:,} s"
        emit("end", end, {"service": run.service, "outcome": outcome, "seconds": seconds})
