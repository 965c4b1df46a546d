"""Airflow 3 DAGs: a task group for each service, a task for each resource with windows.

    from textlift.airflow import textlift_dag

    textlift = textlift_dag(services=["mcommons"], schedule="15 * * * *", destination="postgres")

Put this into a file in your DAGs folder to define your own DAG. ``pipelines/airflow_dag.py`` loads
all services. Each service needs a pool with its name. The slots of the pool limit the concurrent
requests of all workers together:

    airflow pools set mcommons 80 "calls to Mobile Commons"

A scheduled run continues from the cursors. A cleared run, a backfill run, and a run triggered with
``since`` and ``until`` load exactly their interval and do not change the cursors.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param, TaskGroup, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from textlift.tasks import TASKS, WITHOUT_RANGE

SECOND = timedelta(seconds=1)


def textlift_dag(
    dag_id: str = "textlift",
    *,
    services: Sequence[str] = tuple(TASKS),
    schedule: str = "@hourly",
    destination: str = "duckdb",
    concurrency: int = 16,
    exact: bool = False,
    models: bool = False,
    **settings: Any,
) -> DAG:
    """Return a DAG that loads services into a warehouse.

    Args:
        dag_id: Name of the DAG.
        services: Names of the services to load.
        schedule: Cron expression, in UTC. The data interval of a run ends at the scheduled time.
        destination: Name of the destination, as on the command line.
        concurrency: Concurrent requests of one task, and the pool slots that it takes.
        exact: Whether scheduled runs also load exactly their data interval.
        models: Whether a task after the loads builds the models for analysts. It needs dbt.
        settings: Other arguments of the DAG.
    """
    when: dict[str, Any] = {"type": ["null", "string"], "format": "date-time"}
    settings = {
        # Scheduled runs continue from each other. Exact runs are independent.
        "max_active_runs": 16 if exact else 1,
        "tags": ["textlift"],
        "doc_md": __doc__,
        **settings,
        "default_args": {
            "retries": 3,
            "retry_delay": timedelta(minutes=5),
            **settings.get("default_args", {}),
        },
    }
    with DAG(
        dag_id,
        schedule=CronDataIntervalTimetable(schedule, timezone="UTC"),
        start_date=datetime(2005, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        # Importing a module that calls this must not register its DAGs.
        auto_register=False,
        params={
            "since": Param(None, description="First second to load", **when),
            "until": Param(None, description="Last second to load", **when),
        },
        **settings,
    ) as dag:
        groups = [TaskGroup(service) for service in services]
        for service, group in zip(services, groups):
            with group:
                for name, resources in TASKS[service].items():
                    load_task.override(
                        task_id=name,
                        pool=service,
                        pool_slots=concurrency,
                        outlets=[Asset(f"{service}.{resource}") for resource in resources],
                    )(service, name, destination, concurrency, exact)
        if models:
            # A run of an interval skips lists and webhooks.
            built = models_task.override(
                task_id="models", trigger_rule="none_failed", outlets=[Asset("texting")]
            )(destination)
            for group in groups:
                group >> built
    return dag


@task
def models_task(destination: str) -> dict[str, int]:
    """Build the models for analysts, and return their rows."""
    from textlift.errors import ConfigurationError
    from textlift.scheduled import run_models

    try:
        return run_models(destination_name=destination)
    except ConfigurationError as error:
        # A retry cannot help.
        raise AirflowFailException(str(error)) from error


@task
def load_task(
    service: str,
    name: str,
    destination: str,
    concurrency: int,
    exact: bool,
    **context: Any,
) -> dict[str, Any]:
    """Load the resources of one task, and return the counts of the run."""
    from textlift.cli import report
    from textlift.errors import ConfigurationError
    from textlift.scheduled import run_task

    since, until = _interval(exact, context)
    if (since or until) and name in WITHOUT_RANGE:
        raise AirflowSkipException("Lists and webhooks are of now and have no interval.")
    try:
        summary = run_task(
            service,
            name,
            since=since,
            until=until,
            destination_name=destination,
            concurrency=concurrency,
        )
    except ConfigurationError as error:
        # A retry cannot help.
        raise AirflowFailException(str(error)) from error
    problems = report.problems(summary)
    if problems:
        raise AirflowException("\n".join(problems))
    for asset in context["task"].outlets:
        table = asset.name.partition(".")[2]
        context["outlet_events"][asset].extra = {"rows": summary.rows.get(table, 0)}
    return {
        "rows": summary.rows,
        "windows": summary.windows,
        "requests": summary.requests,
        "rejected": summary.rejections,
    }


def _interval(exact: bool, context: Any) -> tuple[str | None, str | None]:
    """Return the first and the last second to load. ``None`` means: use the cursors or now."""
    params, run = context["params"], context["dag_run"]
    if params["since"] or params["until"]:
        return params["since"], params["until"]
    again = run.run_type == "backfill" or bool(run.clear_number)
    if not exact and not again:
        return None, None
    if run.data_interval_start is None:
        raise AirflowFailException("The run has no data interval; trigger it with since and until.")
    # The end of an interval is the start of the next one.
    return run.data_interval_start.isoformat(), (run.data_interval_end - SECOND).isoformat()
