"""Dagster as it is run: its command line, its daemon and processes, the sandbox as the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.conftest import PROJECT
from tests.conftest import Open as OpenAccount
from tests.support.accounts import TABLES
from tests.support.messages import assert_same as assert_same_messages
from tests.support.schedulers import (
    Environment,
    Open,
    assert_same_but_queries,
    complaints,
    cursors,
    documented,
    eventually,
    most_at_once,
)
from tests.support.warehouses import AnyWarehouse, PostgresWarehouse
from textlift.dictionary import SHARED_TABLES, all_tables
from textlift.registry import SERVICES, job_of
from textlift.tasks import TASKS, WITHOUT_RANGE

pytestmark = pytest.mark.real_clock
INSTANCE = """
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 3
"""
#: Not once an hour, but once a minute.
DEFINITIONS = documented("dagster").replace("15 * * * *", "* * * * *")
#: Prints for each line the runs, what each has materialized, and the checks that it has made.
SHOW = """
import json
import sys
from dagster import DagsterInstance
instance = DagsterInstance.get()
for _ in sys.stdin:
    shown = []
    for record in instance.get_run_records():
        run, events = record.dagster_run, instance.all_logs(record.dagster_run.run_id)
        events = [entry.dagster_event for entry in events if entry.dagster_event]
        shown.append({
            "job": run.job_name,
            "state": run.status.value,
            "tags": run.tags,
            "start_date": record.start_time,
            "end_date": record.end_time,
            "rows": {
                event.asset_key.path[-1]: event.materialization.metadata["rows_loaded"].value
                for event in events if event.is_step_materialization
            },
            "checks": [
                [check.asset_key.path[-1], check.check_name, check.passed]
                for event in events if event.event_type_value == "ASSET_CHECK_EVALUATION"
                for check in [event.asset_check_evaluation_data]
            ],
            "failures": [
                str(event.event_specific_data)[:3000] for event in events if event.is_step_failure
            ],
        })
    print(json.dumps(shown), flush=True)
"""


class Dagster:
    """An instance of Dagster with its own home."""

    def __init__(
        self, environment: Open, folder: Path, definitions: Path, settings: Mapping[str, str]
    ) -> None:
        home = folder / "dagster"
        home.mkdir()
        (home / "dagster.yaml").write_text(INSTANCE)
        self._here: Environment = environment(
            "dagster", {"DAGSTER_HOME": str(home), "PYTHONPATH": str(PROJECT), **settings}
        )
        self._file = str(definitions)
        # Makes the instance's database as well, which processes must not do at once.
        self._here.run("dagster", "instance", "concurrency", "set", "mcommons", "5")
        self.runs: Callable[[], list[dict[str, Any]]] = self._here.answering("python", "-c", SHOW)

    def run(self, *command: str) -> str:
        return self._here.run("dagster", *command[:2], "-f", self._file, *command[2:])

    def python(self, program: str) -> str:
        return self._here.run("python", "-c", program)

    def start(self) -> None:
        """Start what schedules and what works."""
        self._here.start("dagster-daemon", "run", "-f", self._file)

    def wait(self, job: str, count: int) -> list[dict[str, Any]]:
        """The runs of a job when there are so many and all have ended, and ended well."""
        found: list[dict[str, Any]] = []

        def ended() -> bool:
            found[:] = [run for run in self.runs() if run["job"] == job]
            assert [run["failures"] for run in found if run["failures"]] == []
            states = [run["state"] for run in found]
            assert not {"FAILURE", "CANCELED"} & set(states), found
            return len(states) >= count and set(states) == {"SUCCESS"}

        eventually(ended)
        return found


def failed(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Table and name of the checks that found something."""
    return sorted((table, name) for table, name, passed in run["checks"] if not passed)


def test_types_hold_beside_dagster() -> None:
    assert complaints("dagster") == []


def test_every_table_is_an_asset_that_has_to_be_fresh(environment: Open, tmp_path: Path) -> None:
    program = (
        "import json\n"
        "from dagster import FreshnessPolicy\n"
        "from pipelines.dagster_definitions import defs\n"
        "specs = defs.resolve_all_asset_specs()\n"
        "assert all(isinstance(spec.freshness_policy, FreshnessPolicy) for spec in specs)\n"
        "windowed = [spec.key.path for spec in specs if spec.partitions_def]\n"
        "print('shown', json.dumps([[spec.key.path for spec in specs], windowed]))"
    )
    here = environment("dagster", {"PYTHONPATH": str(PROJECT)})
    assets, windowed = json.loads(here.run("python", "-c", program).rpartition("shown ")[2])
    tables = [["mcommons", name] for name in sorted(TABLES) if name != "rejected_records"]
    tables += [
        [service, table.name]
        for service in SERVICES
        if service != "mcommons"
        for table in all_tables(job_of(service).endpoints)
        if table not in SHARED_TABLES
    ]
    assert sorted(assets) == sorted(tables)
    resources = {name for _, name in windowed if "__" not in name}
    assert resources == {name for tasks in TASKS.values() for name in tasks} - {*WITHOUT_RANGE}


def test_an_asset_shows_its_columns_and_what_they_mean(environment: Open) -> None:
    program = (
        "import json\n"
        "from pipelines.dagster_definitions import defs\n"
        "[spec] = [s for s in defs.resolve_all_asset_specs() if s.key.path[0] == 'mgage']\n"
        "columns = spec.metadata['dagster/column_schema'].columns\n"
        "shown = {column.name: [column.type, column.description] for column in columns}\n"
        "print('shown', json.dumps([spec.description, shown]))"
    )
    here = environment("dagster", {"PYTHONPATH": str(PROJECT)})
    meaning, columns = json.loads(here.run("python", "-c", program).rpartition("shown ")[2])
    messages, *_ = all_tables(job_of("mgage").endpoints)
    assert meaning == messages.meaning
    assert list(columns) == list(messages.columns)
    assert columns["number"] == ["TEXT", "Mobile number of the person; personal: phone"]


#: Prints what the schedule asks for: before a run, beside one of an interval, and beside one of its own.
ASK = """
import json
from datetime import datetime, timezone
from dagster import DagsterInstance, DagsterRunStatus, build_schedule_context
from pipelines.dagster_definitions import defs
from textlift.dagster import CURRENT
schedule = defs.resolve_schedule_def("mcommons_schedule")
shown = []
with DagsterInstance.local_temp() as instance:
    for tags in ({}, {"dagster/partition": "2025-05-01"}, {CURRENT: "true"}):
        if tags:
            job = defs.resolve_job_def("mcommons")
            instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED)
        time = datetime(2025, 6, 1, 12, 15, tzinfo=timezone.utc)
        context = build_schedule_context(
            instance, scheduled_execution_time=time, repository_def=defs.get_repository_def()
        )
        asked = schedule.evaluate_tick(context)
        shown.append([[run.partition_key for run in asked.run_requests], asked.skip_message])
print("shown", json.dumps(shown))
"""


def test_the_schedule_waits_for_its_run_before_and_for_no_other(environment: Open) -> None:
    here = environment("dagster", {"PYTHONPATH": str(PROJECT)})
    first, beside, waits = json.loads(here.run("python", "-c", ASK).rpartition("shown ")[2])
    assert first == beside == [["2025-06-01"], None]
    assert waits[0] == []
    assert "still under way" in waits[1]


#: What runs the steps of a job, as it is and as others' definitions have it.
EXECUTORS = """
import json
from dagster import Definitions, in_process_executor
from textlift.dagster import textlift_definitions

def name_in(*definitions):
    return Definitions.merge(*definitions).resolve_job_def("mgage").executor_def.name

others = Definitions(executor=in_process_executor)
print("shown", json.dumps([
    name_in(textlift_definitions(services=["mgage"])),
    name_in(textlift_definitions(services=["mgage"], executor=None), others),
]))
"""


def test_steps_are_forked_unless_definitions_beside_them_say_how_to_run(
    environment: Open,
) -> None:
    here = environment("dagster", {"PYTHONPATH": str(PROJECT)})
    names = json.loads(here.run("python", "-c", EXECUTORS).rpartition("shown ")[2])
    assert names == ["forked", "in_process"]


def test_a_materialization_brings_every_message(
    export: OpenAccount, environment: Open, tmp_path: Path
) -> None:
    warehouse = export(messages=600)
    settings = {
        "SOURCES__MGAGE__BASE_URL": warehouse.box.url,
        "DESTINATION__DUCKDB__CREDENTIALS": str(warehouse.file),
    }
    definitions = PROJECT / "pipelines" / "dagster_definitions.py"
    dagster = Dagster(environment, tmp_path, definitions, settings)
    day = f"{warehouse.box.service.now():%Y-%m-%d}"
    dagster.run(
        *("job", "execute", "-j", "mgage"),
        *("--tags", json.dumps({"textlift/current": "true", "dagster/partition": day})),
    )
    assert_same_messages(warehouse)
    [run] = dagster.runs()
    assert run["rows"] == {"messages": len(warehouse.content("messages"))}
    assert {name for _, name, _ in run["checks"]} == {
        "keys_are_unique",
        "times_are_in_utc",
        "nothing_is_rejected",
    }
    assert failed(run) == []


def test_partitions_at_once_and_the_schedule_after_them_leave_no_gap(
    elsewhere: AnyWarehouse,
    environment: Open,
    tmp_path: Path,
) -> None:
    warehouse = elsewhere(start="2025-03-01", profiles=500)
    assert isinstance(warehouse, PostgresWarehouse)
    service = warehouse.box.service
    definitions = tmp_path / "texting.py"
    definitions.write_text(DEFINITIONS)
    settings = {
        "SOURCES__MCOMMONS__BASE_URL": warehouse.box.url,
        "SOURCES__MCOMMONS__START_DATE": "2025-05-31",
        "SOURCES__MCOMMONS__FUNDRAISING_IDS": "[501, 502]",
        "DESTINATION__POSTGRES__CREDENTIALS": warehouse.uri,
    }
    dagster = Dagster(environment, tmp_path, definitions, settings)
    dagster.start()
    dagster.run(
        *("job", "backfill", "-j", "mcommons_history", "--noprompt"),
        *("--from", "2025-05-30", "--to", "2025-05-31"),
    )
    for first, last in (("2025-03-01", "2025-04-15"), ("2025-04-16", "2025-05-29")):
        # As a backfill of assets asks for several days in a run.
        days = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        dagster.run("job", "launch", "-j", "mcommons_history", "--tags", json.dumps(days))
    assert most_at_once(dagster.wait("mcommons_history", 4)) > 1
    assert cursors(warehouse) == []
    asked = {
        (request.params["start_time"], request.params["end_time"])
        for request in warehouse.box.requests
        if request.endpoint == "messages"
    }
    # Exactly the days of each run.
    assert asked == {
        (f"{first}T00:00:00Z", f"{last}T23:59:59Z")
        for first, last in (
            ("2025-03-01", "2025-04-15"),
            ("2025-04-16", "2025-05-29"),
            ("2025-05-30", "2025-05-30"),
            ("2025-05-31", "2025-05-31"),
        )
    }

    # The schedule takes over: what changed meanwhile, the last days, and the lists.
    service.advance(3600)
    dagster.run("schedule", "start", "mcommons_schedule")
    eventually(lambda: any(run["job"] == "mcommons" for run in dagster.runs()))
    dagster.run("schedule", "stop", "mcommons_schedule")
    run = dagster.wait("mcommons", 1)[0]
    assert warehouse.tables() == set(TABLES)
    assert_same_but_queries(warehouse)
    assert set(run["rows"]) == set(TABLES) - {"rejected_records"}
    assert failed(run) == []

    # The checks find what breaks the contract.
    service.put("broadcasts", {"id": 1, "delivery_time": service.now()})
    service.update("broadcasts", 1, replies_count="many")
    with psycopg2.connect(warehouse.uri) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO mcommons.clicks SELECT * FROM mcommons.clicks LIMIT 1")
        cursor.execute(
            "ALTER TABLE mcommons.calls ALTER COLUMN end_time TYPE timestamp without time zone"
        )
    dagster.run(
        *("job", "launch", "-j", "mcommons"),
        *("--tags", json.dumps({"textlift/current": "true", "dagster/partition": "2025-06-01"})),
    )
    newest = max(dagster.wait("mcommons", 2), key=lambda run: run["start_date"])
    assert failed(newest) == [
        ("broadcasts", "nothing_is_rejected"),
        ("calls", "times_are_in_utc"),
        ("clicks", "keys_are_unique"),
    ]


#: Definitions with the models, and how their assets depend on others.
MODELS = """
from textlift.dagster import textlift_definitions

defs = textlift_definitions(services=["mgage"], models="45 * * * *")
"""
GRAPH = """
import json
from modelled import defs
graph = {spec.key.path[-1]: [list(dep.asset_key.path) for dep in spec.deps]
    for spec in defs.resolve_all_asset_specs() if spec.key.path[0] == "texting"}
print("shown", json.dumps(graph))
"""


def test_the_models_are_assets_behind_the_tables(
    export: OpenAccount, environment: Open, tmp_path: Path
) -> None:
    warehouse = export(messages=600)
    definitions = tmp_path / "modelled.py"
    definitions.write_text(MODELS)
    settings = {
        "SOURCES__MGAGE__BASE_URL": warehouse.box.url,
        "DESTINATION__DUCKDB__CREDENTIALS": str(warehouse.file),
        "PYTHONPATH": str(tmp_path),
    }
    dagster = Dagster(environment, tmp_path, definitions, settings)
    graph = json.loads(dagster.python(GRAPH).rpartition("shown ")[2])
    assert graph["messages"] == [["mgage", "messages"]]
    assert ["texting", "messages"] in graph["broadcasts"]
    day = f"{warehouse.box.service.now():%Y-%m-%d}"
    dagster.run(
        *("job", "execute", "-j", "mgage"),
        *("--tags", json.dumps({"textlift/current": "true", "dagster/partition": day})),
    )
    dagster.run("job", "execute", "-j", "models")
    messages = len(warehouse.content("messages"))
    assert warehouse.query("SELECT count(*) FROM texting.messages") == [(messages,)]
