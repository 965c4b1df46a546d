"""Show progress and results on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dlt.common import logger
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from textlift.cli.progress import Run, described


def print_grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a grid of the rows, without the columns that are empty in all rows."""
    table = Table()
    shown = [(head, cells) for head, cells in zip(heads, zip(*rows)) if any(cells)]
    for head, _ in shown:
        table.add_column(head, justify="right" if head == "rows loaded" else "left")
    for row in zip(*(cells for _, cells in shown)):
        table.add_row(*map(escape, row))
    Console().print(table)


class _Bars(Progress):
    """A line for the run and a bar for each resource that is being read."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._bars: dict[str, TaskID] = {}
        text = TextColumn("{task.description}", markup=False)
        facts = TextColumn("{task.fields[facts]}", markup=False)
        super().__init__(text, BarColumn(20), facts, console=Console(stderr=True), transient=True)
        self._bars = {
            name: self.add_task(name, total=1.0, visible=False, facts="") for name in run.reports()
        }

    def get_renderables(self) -> Iterator[RenderableType]:
        """Update the bars. rich calls this at each refresh."""
        yield self._run.total()
        reading = self._run.reading()
        for name, bar in self._bars.items():
            report = reading.get(name)
            if report:
                share, facts = report.progress.share, described(report)
                self.update(bar, completed=share, facts=facts, visible=True)
            else:
                self.update(bar, visible=False)
        yield from super().get_renderables()


@contextmanager
def bars(run: Run) -> Iterator[None]:
    """Show the progress of a run until the block ends."""
    handlers = [one for one in logger.LOGGER.handlers if isinstance(one, logging.StreamHandler)]
    streams = [handler.stream for handler in handlers]
    with _Bars(run):
        # rich has replaced sys.stderr: log lines now appear above the bars.
        for handler in handlers:
            handler.setStream(sys.stderr)
        try:
            yield
        finally:
            for handler, stream in zip(handlers, streams):
                handler.setStream(stream)
