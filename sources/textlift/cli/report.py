"""What a run did, in lines for a person or a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dlt import Pipeline

from textlift.extract.sync import StreamPlan
from textlift.load.loading import Summary


def rows_of_tables(summary: Summary) -> list[tuple[str, str, str, str]]:
    """Table, rows loaded, window and new columns, a tuple for each table."""
    found = []
    for name, rows in sorted(summary.rows.items()):
        start, end = summary.windows.get(name, ("", ""))
        columns = ", ".join(summary.new_columns.get(name, ()))
        found.append((name, str(rows), f"{start} to {end}" if start else "", columns))
    return found


def plain(summary: Summary) -> list[str]:
    """A line for each table."""
    lines = []
    for name, rows, window, columns in rows_of_tables(summary):
        parts = [f"{name}: {rows} rows", window, columns and f"new columns: {columns}"]
        lines.append(", ".join(part for part in parts if part))
    return lines


def total(summary: Summary, pipeline: Pipeline) -> str:
    """What it came to, and where it is."""
    with pipeline.destination_client() as client:
        where = str(client.config)
    return (
        f"{sum(summary.rows.values())} rows, {summary.requests} requests, {summary.packages} "
        f"packages, {summary.seconds:.1f} s; dataset {pipeline.dataset_name} in {where}"
    )


def removed(summary: Summary) -> list[str]:
    """What is gone at the service, in a line if anything is."""
    if not summary.removed:
        return []
    rows = sum(summary.removed.values())
    where = ", ".join(f"{name} {count}" for name, count in summary.removed.items())
    return [f"{rows} rows are not at the service any more ({where}): marked as removed, or deleted"]


def rejected(summary: Summary) -> list[str]:
    """What went to ``rejected_records``, in a line if anything did."""
    if not summary.rejected:
        return []
    where = ", ".join(f"{name} {count}" for name, count in summary.rejections.items())
    return [f"{summary.rejected} values or records were rejected ({where}): see rejected_records"]


def problems(summary: Summary) -> list[str]:
    """What could not be loaded and fails a run, each with what to do."""
    missing = [f"{one}\nCorrect it in the configuration or take it out." for one in summary.missing]
    failed = [
        f"{name} failed and stays where it was: {reason}" for name, reason in summary.failed.items()
    ]
    return missing + failed


def plans(planned: Sequence[StreamPlan]) -> Iterator[str]:
    """What a load would read, in aligned lines: a line for each slice."""
    rows = []
    for plan in planned:
        for each in plan.slices:
            window = str(each.window) if each.window else "all rows"
            rows.append((plan.resource, str(replace(each, window=None)), window))
        if not plan.slices:
            rows.append((plan.resource, "", plan.note or "nothing to read"))
    yield from columns(("resource", "partition", "window"), rows)
    requests = sum(len(plan.slices) for plan in planned)
    yield f"At least {requests:,} requests: one for each line, and one for each further page."


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with aligned columns; columns that are empty in all rows are left out."""
    shown = [(head, *cells) for head, cells in zip(heads, zip(*rows)) if any(cells)]
    widths = [max(map(len, column)) for column in shown]
    for cells in zip(*shown):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
