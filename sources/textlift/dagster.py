"""Dagster definitions: an asset for each table, with daily partitions for resources with windows.

    from textlift.dagster import textlift_definitions

    defs = textlift_definitions(services=["mcommons"], destination="postgres")

This makes your own definitions. ``pipelines/dagster_definitions.py`` loads all services.

A scheduled run continues from the cursors and marks the partition of its day. Any other run loads
exactly the days of its partitions and does not change the cursors. A backfill of assets loads up to
a month in each run. A backfill of the job ``<service>_history`` loads a day in each run.

Each service has a pool with its name. Its slots times ``concurrency`` limit the concurrent
requests:

    dagster instance concurrency set mcommons 5
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from graphlib import TopologicalSorter
from typing import Any

import dlt
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    BackfillPolicy,
    DagsterRunStatus,
    DailyPartitionsDefinition,
    Definitions,
    ExecutorDefinition,
    Failure,
    FreshnessPolicy,
    MaterializeResult,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    TableColumn,
    TableSchema,
    define_asset_job,
    multi_asset,
    multi_asset_check,
    multiprocess_executor,
)
from dagster_dlt import DagsterDltTranslator, dlt_assets
from dagster_dlt.translator import DltResourceTranslatorData
from dlt.destinations.sql_client import SqlClientBase
from dlt.extract import DltSource

from textlift.cli import report
from textlift.cli.models import DATASET
from textlift.cli.tables import PACKAGE
from textlift.declare import Column, ColumnType, Endpoint
from textlift.destinations import destination as make_destination
from textlift.dictionary import LIST_INDEX, Table, tables_of
from textlift.errors import ConfigurationError
from textlift.load.rejects import REJECTED_RECORDS
from textlift.registry import SERVICES, job_of
from textlift.scheduled import open_warehouse, run_models, run_task
from textlift.tasks import TASKS, WITHOUT_RANGE

ENDPOINTS: Mapping[str, Mapping[str, Endpoint]] = {
    service: {endpoint.name: endpoint for endpoint in job_of(service).endpoints}
    for service in SERVICES
}
#: Tag of the runs that continue from the cursors.
CURRENT = "textlift/current"
SECOND = timedelta(seconds=1)
#: Forks the process of each step from one that has imported these definitions. To import them again
#: would take longer than a small step.
FORKED = multiprocess_executor.configured(
    {"start_method": {"forkserver": {"preload_modules": [__name__]}}}, "forked"
)
_UNDER_WAY = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
]


@dataclass(frozen=True)
class _Table:
    """A table, with the facts that its checks need.

    Attributes:
        resource: Name of the resource that loads it.
        key: Columns that identify a row. Empty if the rows have no key.
        declared: The meaning and the columns of the table.
    """

    resource: str
    key: tuple[str, ...]
    declared: Table

    @property
    def times(self) -> list[str]:
        """The names of the timestamp columns."""
        columns = self.declared.columns.items()
        return [name for name, column in columns if column.type is ColumnType.TIMESTAMP]

    @property
    def metadata(self) -> dict[str, Any]:
        """The columns, as asset metadata."""
        columns = [
            TableColumn(name, column.type.name, _description(column))
            for name, column in self.declared.columns.items()
        ]
        return {"dagster/column_schema": TableSchema(columns)}


def _description(column: Column) -> str:
    return (
        f"{column.meaning}; personal: {column.personal.value}"
        if column.personal
        else column.meaning
    )


def _tables(endpoint: Endpoint) -> dict[str, _Table]:
    """Return the table of an endpoint and the tables of its declared lists, by name."""

    def key(table: Table) -> tuple[str, ...]:
        if LIST_INDEX not in table.columns:
            return table.key
        # A service can repeat an entry in a list, so only the position is unique.
        keys = [name for name in endpoint.foreign_keys.values() if name in table.columns]
        return (*keys, LIST_INDEX)

    return {table.name: _Table(endpoint.name, key(table), table) for table in tables_of(endpoint)}


class _Translator(DagsterDltTranslator):
    def __init__(self, service: str, fresh: timedelta) -> None:
        self.service = service
        self.fresh = fresh
        self.tables = {
            name: table
            for endpoint in ENDPOINTS[service].values()
            for name, table in _tables(endpoint).items()
        }

    def get_asset_spec(self, data: DltResourceTranslatorData) -> AssetSpec:
        """Return an asset with the name of the table, under the service."""
        spec = super().get_asset_spec(data)
        table = self.tables[data.resource.name]
        return spec.replace_attributes(
            key=AssetKey([self.service, data.resource.name]),
            deps=[],
            description=table.declared.meaning,
            group_name=self.service,
            metadata={**spec.metadata, **table.metadata},
            freshness_policy=FreshnessPolicy.time_window(fail_window=self.fresh),
        )


def textlift_definitions(
    *,
    services: Sequence[str] = tuple(TASKS),
    schedule: str = "0 * * * *",
    destination: str = "duckdb",
    concurrency: int = 16,
    start: str = "2005-01-01",
    fresh: timedelta = timedelta(hours=3),
    models: str | None = None,
    executor: ExecutorDefinition | None = FORKED,
) -> Definitions:
    """Return definitions that load services into a warehouse.

    Args:
        services: Names of the services to load.
        schedule: Cron expression, in UTC.
        destination: Name of the destination, as on the command line.
        concurrency: Concurrent requests of one task. A task takes one slot of its pool.
        start: Day of the first partition.
        fresh: Greatest age of a table before its freshness check fails.
        models: Cron expression, in UTC, for the models for analysts. They need dbt. The default is
            no models.
        executor: Runs the steps of a job. ``None`` leaves that to other definitions that these are
            merged with.
    """
    # Scheduled runs load today's partition before the day is over.
    days = DailyPartitionsDefinition(start, end_offset=1)
    assets: list[AssetsDefinition] = []
    checks: list[AssetChecksDefinition] = []
    jobs: list[Any] = []
    schedules: list[ScheduleDefinition] = []
    for service in services:
        translator = _Translator(service, fresh)
        loads = {
            task: _task_assets(service, task, days, translator, destination, concurrency)
            for task in TASKS[service]
        }
        assets += loads.values()
        checks.append(_contract_checks(service, destination))
        job = define_asset_job(service, AssetSelection.groups(service))
        windowed = [load for task, load in loads.items() if task not in WITHOUT_RANGE]
        history = AssetSelection.assets(*windowed).without_checks()
        jobs += [job, define_asset_job(f"{service}_history", history)]
        schedules.append(_schedule(job, schedule))
    if models:
        assets.append(_model_assets(services, destination))
        job = define_asset_job("models", AssetSelection.groups(DATASET))
        jobs.append(job)
        schedules.append(
            ScheduleDefinition(job=job, cron_schedule=models, execution_timezone="UTC")
        )
    return Definitions(
        assets=assets, asset_checks=checks, jobs=jobs, schedules=schedules, executor=executor
    )


def _task_assets(
    service: str,
    task: str,
    days: DailyPartitionsDefinition,
    translator: _Translator,
    destination: str,
    concurrency: int,
) -> AssetsDefinition:
    """Return the assets of a task. One step loads them."""
    tables = {
        name: table
        for resource in TASKS[service][task]
        for name, table in _tables(ENDPOINTS[service][resource]).items()
    }
    windowed = task not in WITHOUT_RANGE

    @dlt_assets(
        dlt_source=_named(service, tables),
        dlt_pipeline=_named_pipeline(service, destination),
        name=f"{service}_{task}",
        dagster_dlt_translator=translator,
        partitions_def=days if windowed else None,
        backfill_policy=BackfillPolicy.multi_run(31) if windowed else None,
        pool=service,
    )
    def load(context: AssetExecutionContext) -> Iterator[MaterializeResult[Any]]:
        since, until = _interval(context) if windowed else (None, None)
        wanted = {key.path[-1] for key in context.selected_asset_keys}
        try:
            summary = run_task(
                service,
                task,
                since=since,
                until=until,
                resources=[
                    name
                    for name in TASKS[service][task]
                    if any(tables[table].resource == name for table in wanted)
                ],
                destination_name=destination,
                concurrency=concurrency,
            )
        except ConfigurationError as error:
            raise Failure(str(error), allow_retries=False) from error
        for name in sorted(wanted):
            resource = tables[name].resource
            if resource in summary.failed:
                continue
            start, end = summary.windows.get(resource, (None, None))
            facts = {
                "rows_loaded": summary.rows.get(name, 0),
                "window_start": start,
                "window_end": end,
                "new_columns": ", ".join(summary.new_columns.get(name, ())) or None,
            }
            yield MaterializeResult(
                asset_key=AssetKey([service, name]),
                metadata={fact: value for fact, value in facts.items() if value is not None},
            )
        problems = report.problems(summary)
        if problems:
            raise Failure("\n".join(problems))

    return load


def _model_assets(services: Sequence[str], destination: str) -> AssetsDefinition:
    """Return the models for analysts as assets that depend on the tables they are made from.

    dbt builds them all in one step. dagster-dbt is not used: it parses the package in each process
    that reads these definitions, and needs a file with the credentials to do so.
    """
    files = {path.stem: path.read_text() for path in PACKAGE.glob("models/*/*.sql")}
    upstream = {
        _model_key(name): _upstream(text, files, services)
        for name, text in files.items()
        if name.startswith(f"{DATASET}__")
    }
    specs = [
        AssetSpec(
            key,
            deps=sorted(deps),
            description=f"Model for analysts, see {'.'.join(key.path)} in docs/models.md",
            group_name=DATASET,
        )
        for key, deps in upstream.items()
    ]

    @multi_asset(name="models", specs=specs)
    def build() -> Iterator[MaterializeResult[Any]]:
        try:
            rows = run_models(destination_name=destination)
        except ConfigurationError as error:
            raise Failure(str(error), allow_retries=False) from error
        for key in TopologicalSorter(upstream).static_order():
            if key in upstream:
                number = rows[".".join(key.path)]
                yield MaterializeResult(asset_key=key, metadata={"rows": number})

    return build


def _model_key(name: str) -> AssetKey:
    return AssetKey([DATASET, name.partition("__")[2]])


def _upstream(text: str, files: Mapping[str, str], services: Sequence[str]) -> set[AssetKey]:
    """Return the assets that the SQL of a model reads: tables of the services, and other models."""
    tables = re.findall(r"rows_of\('(\w+)', '([a-z]\w*)'\)", text)
    found = {AssetKey(table) for table in tables if table[0] in services}
    for name in re.findall(r"ref\('(\w+)'\)", text):
        if name.startswith(f"{DATASET}__"):
            found.add(_model_key(name))
        else:
            found |= _upstream(files[name], files, services)
    return found


def _named(service: str, tables: Mapping[str, _Table]) -> DltSource:
    """Return a source with a resource for each table. It names the assets and is never read."""

    @dlt.source(name=service)
    def names() -> Any:
        return [dlt.resource([], name=name) for name in tables]

    return names()


def _named_pipeline(service: str, destination_name: str) -> dlt.Pipeline:
    """Return a pipeline that tells Dagster the destination and is never run.

    Its folder is removed, because processes that read these definitions at the same time would
    create the same folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            service,
            pipelines_dir=folder,
            destination=make_destination(destination_name),
            dataset_name=service,
        )
        pipeline.deactivate()
    return pipeline


def _interval(context: AssetExecutionContext) -> tuple[str | None, str | None]:
    """Return the first and the last second to load. ``None`` means: use the cursors."""
    if CURRENT in context.run.tags:
        return None, None
    window = context.partition_time_window
    # The end of a partition is the start of the next one.
    return window.start.isoformat(), (window.end - SECOND).isoformat()


def _schedule(job: Any, cron: str) -> ScheduleDefinition:
    def ask(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        before = RunsFilter(job_name=job.name, tags={CURRENT: "true"}, statuses=_UNDER_WAY)
        if context.instance.get_runs_count(before):
            return SkipReason("The run before is still under way; the next one goes on from there.")
        day: datetime = context.scheduled_execution_time
        return RunRequest(partition_key=f"{day:%Y-%m-%d}", tags={CURRENT: "true"})

    return ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        execution_fn=ask,
    )


def _doubled_keys(client: SqlClientBase[Any], name: str, table: _Table) -> int:
    columns = ", ".join(client.escape_column_name(column) for column in table.key)
    keys = f"SELECT {columns} FROM {client.make_qualified_table_name(name)} GROUP BY {columns}"
    rows = client.execute_sql(f"SELECT count(*) FROM ({keys} HAVING count(*) > 1) AS doubled")
    return int(rows[0][0]) if rows else 0


def _times_without_zone(client: SqlClientBase[Any], name: str, table: _Table) -> int:
    newest = ", ".join(f"max({client.escape_column_name(column)})" for column in table.times)
    rows = client.execute_sql(f"SELECT {newest} FROM {client.make_qualified_table_name(name)}")
    return sum(time is not None and time.tzinfo is None for row in rows or () for time in row)


def _rejected(client: SqlClientBase[Any], name: str, table: _Table) -> int:
    rejected = client.make_qualified_table_name(REJECTED_RECORDS)
    open_ = f"SELECT count(*) FROM {rejected} WHERE resource = %s AND resolved_at IS NULL"
    rows = client.execute_sql(open_, name)
    return int(rows[0][0]) if rows else 0


#: Name of a check → the function that counts its violations.
_CHECKS = {
    "keys_are_unique": _doubled_keys,
    "times_are_in_utc": _times_without_zone,
    "nothing_is_rejected": _rejected,
}


def _contract_checks(service: str, destination: str) -> Any:
    """Return the checks of the documented guarantees, for all tables of a service."""
    tables = {
        name: table
        for endpoint in ENDPOINTS[service].values()
        for name, table in _tables(endpoint).items()
    }
    specs = []
    for name, table in tables.items():
        asset = AssetKey([service, name])
        if table.key:
            specs.append(AssetCheckSpec("keys_are_unique", asset=asset))
        if table.times:
            specs.append(AssetCheckSpec("times_are_in_utc", asset=asset))
        if name == table.resource:
            specs.append(AssetCheckSpec("nothing_is_rejected", asset=asset))

    @multi_asset_check(name=f"{service}_contract", specs=specs, can_subset=True)
    def contract(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        with open_warehouse(service, destination_name=destination) as client:
            for key in sorted(context.selected_asset_check_keys, key=str):
                name = key.asset_key.path[-1]
                found = _CHECKS[key.name](client, name, tables[name])
                yield AssetCheckResult(
                    passed=not found,
                    asset_key=key.asset_key,
                    check_name=key.name,
                    metadata={"found": found},
                )

    return contract
