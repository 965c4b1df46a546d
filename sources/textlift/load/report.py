"""What a resource did in one load package, in dlt's custom metrics of the resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dlt.extract import DltResource

from textlift.extract.progress import Progress
from textlift.privacy.retention import Aging

_KEY = "textlift"


@dataclass(frozen=True)
class StreamReport:
    """What a resource did in one load package.

    Attributes:
        unset: Setting without which the resource reads nothing, if it is not set.
        rows: Table → rows in the package.
        rejected: Rows for ``rejected_records`` in the package.
        removed: Rows that are gone at the service, marked or deleted.
        window: First and last second that the stream reads; ``None`` without a window.
        unfinished: Whether another package goes on with the stream.
        gaps: Rows that the service dropped before they were read, each as a sentence.
        missing: What is configured and not at the service so far, each with the reason.
        envelope_columns: Cursor → column → value that the service gave for all rows at once.
        note: Why nothing was to be read, if nothing was.
        failed: Why the resource was not loaded, where failures are isolated.
        denied: Whether that is because the credentials do not permit to read it.
        aging: How the rows of the resource age, if they do not stay for ever.
        progress: Counts of the whole stream, up to date at any time.
    """

    unset: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    rejected: int = 0
    removed: int = 0
    window: tuple[datetime, datetime] | None = None
    unfinished: bool = False
    gaps: Sequence[str] = ()
    missing: Sequence[str] = ()
    envelope_columns: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    note: str | None = None
    failed: str | None = None
    denied: bool = False
    aging: Aging | None = None
    progress: Progress = field(default_factory=Progress)


def report_of(resource: DltResource) -> StreamReport:
    """The report of the package that the resource filled last, or fills now."""
    report: StreamReport = resource.custom_metrics.get(_KEY) or StreamReport()
    return report


def set_report(resource: DltResource, report: StreamReport) -> None:
    """Keep a report with its resource; dlt puts it into the trace of the run."""
    resource.custom_metrics[_KEY] = report
