"""Print the summary of a run, for people or for a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from dlt import Pipeline

from textlift.cli import progress
from textlift.extract.sync import StreamPlan
from textlift.load.loading import Summary


def show(pipeline: Pipeline, summary: Summary, problems_to: TextIO) -> None:
    """Print a summary: a grid on a terminal, otherwise a line for each table, or JSON.

    Args:
        pipeline: The pipeline that ran.
        summary: The summary of the run.
        problems_to: The stream for gaps and failures.
    """
    if progress.is_json():
        progress.emit("summary", "", asdict(summary))
        return
    if sys.stdout and sys.stdout.isatty():
        from textlift.cli.terminal import print_grid

        print_grid(("table", "rows loaded", "window", "new columns"), _rows(summary))
    else:
        for row in _rows(summary):
            print(_line(*row))
    for line in [
        *summary.notes,
        _total(summary, pipeline.dataset_name),
        *_removed(summary),
        *_aged(summary),
        *_rejected(summary),
    ]:
        print(line)
    for line in [*summary.gaps, *problems(summary)]:
        print(line, file=problems_to)


_Row = tuple[str, str, str, str]


def _rows(summary: Summary) -> list[_Row]:
    """Return the table name, rows loaded, window and new columns of each table."""
    found = []
    for name, rows in sorted(summary.rows.items()):
        start, end = summary.windows.get(name, ("", ""))
        window = f"{start} to {end}" if start and name not in summary.failed else ""
        columns = ", ".join(summary.new_columns.get(name, ()))
        found.append((name, f"{rows:,}", window, columns))
    return found


def _line(name: str, rows: str, window: str, columns: str) -> str:
    parts = [f"{name}: {rows} rows", window, columns and f"new columns: {columns}"]
    return ", ".join(part for part in parts if part)


def _total(summary: Summary, dataset: str) -> str:
    """Return the totals of the run and the location of the dataset."""
    return (
        f"{progress.counted(sum(summary.rows.values()), 'row')}, {progress.counted(summary.requests, 'request')}, "
        f"{progress.counted(summary.packages, 'package')}, {summary.seconds:,.1f} s; "
        f"dataset {dataset} in {summary.location}"
    )


def _removed(summary: Summary) -> list[str]:
    """Return a line on the rows that the service has deleted, or nothing."""
    if not summary.removed:
        return []
    rows = sum(summary.removed.values())
    where = _counts(summary.removed)
    return [
        f"{rows:,} rows are not at the service any more ({where}): marked as removed, or deleted"
    ]


def _aged(summary: Summary) -> list[str]:
    """Return a line on what the retention has removed, or nothing."""
    if not summary.aged:
        return []
    return [f"Emptied or deleted after retention_days: rows of {_counts(summary.aged)}"]


def _rejected(summary: Summary) -> list[str]:
    """Return a line on the rejects in ``rejected_records``, or nothing."""
    if not summary.rejected:
        return []
    where = _counts(summary.rejections)
    return [f"{summary.rejected:,} values or records were rejected ({where}): see rejected_records"]


def _counts(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in rows.items())


def problems(summary: Summary) -> list[str]:
    """Return the reasons why the run failed, each with advice."""
    missing = [f"{one}\nCorrect it in the configuration or take it out." for one in summary.missing]
    return missing + _failures(summary.failed)


def _failures(failed: Mapping[str, str]) -> list[str]:
    """Return a line for each reason. A reason shared by several resources names no page."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in failed.items():
        by_reason.setdefault(reason.partition(": ")[2] or reason, []).append(name)
    lines = []
    for reason, names in by_reason.items():
        if len(names) == 1:
            lines.append(f"{names[0]} failed and stays where it was: {failed[names[0]]}")
        else:
            lines.append(f"{', '.join(names)} failed and stay where they were: {reason}")
    return lines


def plans(planned: Sequence[StreamPlan]) -> Iterator[str]:
    """Yield the slices that a load would read, one aligned line for each."""
    rows = []
    for plan in planned:
        for each in plan.slices:
            window = str(each.window) if each.window else "all rows"
            rows.append((plan.resource, str(each.partition), window))
        if not plan.slices:
            rows.append((plan.resource, "", plan.note or "nothing to read"))
    yield from columns(("resource", "partition", "window"), rows)
    requests = sum(len(plan.slices) for plan in planned)
    yield f"At least {requests:,} requests: one for each line, and one for each further page."


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines with aligned columns, without the columns that are empty in all rows."""
    shown = [(head, *cells) for head, cells in zip(heads, zip(*rows)) if any(cells)]
    widths = [max(map(len, column)) for column in shown]
    for cells in zip(*shown):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
