"""The table ``load_runs``: what each run did with each resource, also when it failed.

:func:`textlift.load.loading.load` writes it, with the last load package of the data. The rows of a
run that fails go into a package of their own. A bare ``pipeline.run(source)`` writes none, and
neither does a run that is killed before its last package.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa
from dlt import Pipeline
from dlt.common.destination.client import SupportsOpenTables
from dlt.common.schema import Schema
from dlt.common.schema.typing import C_DLT_LOAD_ID
from dlt.extract import DltSource

from textlift import __version__, clock, dictionary
from textlift.arrow.types import schema_of
from textlift.destinations import checked
from textlift.destinations.stored import open_batches
from textlift.load.describe import describe
from textlift.load.report import StreamReport, report_of

LOAD_RUNS = dictionary.LOAD_RUNS.name
LOADED, FAILED, SKIPPED = "loaded", "failed", "skipped"

#: Rows that are read back at most.
RECENT_ROWS = 1000

_SCHEMA = schema_of(dictionary.LOAD_RUNS)


@dataclass(frozen=True)
class LoadRun:
    """What a run did with one resource: a row of ``load_runs``."""

    run_id: str
    resource: str
    started_at: datetime
    ended_at: datetime
    version: str
    rows: int
    requests: int
    retries: int
    rejected: int
    window_start: datetime | None
    window_end: datetime | None
    outcome: str
    message: str | None


def recent_runs(pipeline: Pipeline, schema: str) -> list[LoadRun]:
    """The newest rows that the destination holds, by run, the newest run first.

    Args:
        pipeline: A pipeline for the dataset; it may never have run here.
        schema: Name of the schema, which is that of the source.

    Raises:
        ConfigurationError, DestinationFailed: The destination cannot be used.
    """
    assert pipeline.destination
    with checked(pipeline) as client:
        stored = client.get_stored_schema(schema)
        if stored is None:
            return []
        client.schema = Schema.from_dict(json.loads(stored.schema))
        # Before the first run has ended, the schema has a table that the dataset does not have.
        if LOAD_RUNS not in client.schema.data_table_names(seen_data_only=True):
            return []
        # A run writes its rows in one package, and ids of packages ascend.
        batches = (
            open_batches(client, LOAD_RUNS) if isinstance(client, SupportsOpenTables) else None
        )
        if batches is not None:
            newest = batches.read_all().sort_by([(C_DLT_LOAD_ID, "descending")])
            rows = newest.slice(0, RECENT_ROWS).to_pylist()
        else:
            dataset = dlt.dataset(pipeline.destination, pipeline.dataset_name, schema=client.schema)
            found = dataset.table(LOAD_RUNS).order_by(C_DLT_LOAD_ID, "desc").limit(RECENT_ROWS)
            rows = [dict(zip(found.columns, row)) for row in found.fetchall()]
    return [LoadRun(**{name: row[name] for name in _SCHEMA.names}) for row in rows]


class RunLog:
    """The rows of ``load_runs`` of a run.

    Args:
        pipeline: The pipeline of the run.
        source: What it loads.
        names: The resources that it loads.
    """

    def __init__(self, pipeline: Pipeline, source: DltSource, names: Sequence[str]) -> None:
        self._pipeline = pipeline
        self._source = source
        # As it is now: a package that fails leaves tables in it that are not there.
        self._schema = source.schema.clone()
        describe(self._schema, [dictionary.LOAD_RUNS])
        self._started_at = clock.now()
        self._loaded: dict[str, list[StreamReport]] = {name: [] for name in names}

    def add(self, name: str, report: StreamReport) -> None:
        """Take the report of a resource in a package that was loaded."""
        self._loaded[name].append(report)

    def of_package(self, names: Collection[str]) -> DltSource:
        """Return a source of the rows, if the package ends the run; else of none.

        Args:
            names: The resources of the package. dlt must extract them first.
        """

        def rows() -> Iterator[pa.Table]:
            last = {name: report_of(self._source.resources[name]) for name in names}
            if not any(report.unfinished for report in last.values()):
                yield self._rows(
                    {
                        name: [*reports, last[name]] if name in last else reports
                        for name, reports in self._loaded.items()
                    }
                )

        return self._to_load(rows)

    def write_failed(self, failure: str) -> None:
        """Append the rows of a run that ended before all resources were loaded, all or none.

        Args:
            failure: Why it ended.

        Raises:
            PipelineStepFailed: The destination could not be loaded.
        """
        self._pipeline.run(self._to_load([self._rows(self._loaded, failure)]))

    def _to_load(self, rows: Any) -> DltSource:
        resource = dlt.resource(rows, name=LOAD_RUNS, write_disposition="append")
        return DltSource(self._schema.clone(), self._source.section, [resource])

    def _rows(
        self, loaded: Mapping[str, Sequence[StreamReport]], failure: str | None = None
    ) -> pa.Table:
        run_id, ended_at = uuid.uuid4().hex, clock.now()
        runs = [
            self._run_of(name, reports, run_id, ended_at, failure)
            for name, reports in loaded.items()
        ]
        return pa.Table.from_pylist([asdict(run) for run in runs], _SCHEMA)

    def _run_of(
        self,
        name: str,
        reports: Sequence[StreamReport],
        run_id: str,
        ended_at: datetime,
        failure: str | None,
    ) -> LoadRun:
        last = reports[-1] if reports else StreamReport(unfinished=True)
        reasons = [last.failed, failure if last.unfinished else None, *last.missing]
        failures = [reason for reason in reasons if reason]
        skipped = [f"{last.unset} is not set"] if last.unset else []
        skipped += [last.note] if last.note else []
        gaps = [gap for report in reports for gap in report.gaps]
        start, end = (None, None) if failures or not last.window else last.window
        progress = report_of(self._source.resources[name]).progress
        return LoadRun(
            run_id=run_id,
            resource=name,
            started_at=self._started_at,
            ended_at=ended_at,
            version=__version__,
            rows=sum(report.rows.get(name, 0) for report in reports),
            requests=progress.requests,
            retries=progress.retries,
            rejected=sum(report.rejected for report in reports),
            window_start=start,
            window_end=end,
            outcome=FAILED if failures else SKIPPED if skipped else LOADED,
            message="\n".join([*failures, *skipped, *gaps]) or None,
        )
