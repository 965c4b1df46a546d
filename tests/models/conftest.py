"""Warehouses of all services, in DuckDB and in PostgreSQL, with the models built in them.

What dbt builds is built in the time zone of Los Angeles, where a day is another one than in UTC.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb as duckdb_client
import psycopg2
import pytest
from psycopg2.extensions import parse_dsn as conninfo

from tests.conftest import PROJECT, TODAY
from tests.support.warehouses import query_postgres, running_server
from textlift.destinations import destination
from textlift.load.loading import load
from textlift.registry import SERVICES, job_of, sandbox_of
from textlift.sandbox import Sandbox
from textlift.sandbox.clock import Clock

DBT = Path(sys.executable).parent
ZONES = ("UTC", "America/Los_Angeles")
#: Sizes of the accounts.
ACCOUNTS: dict[str, dict[str, Any]] = {
    "mcommons": {"profiles": 300, "now": "2025-06-01T12:00:00Z"},
    "mgage": {"messages": 600, "now": TODAY},
    "mobiniti": {"contacts": 100, "requests_per_second": None, "now": TODAY},
    "messangi": {"messages": 200, "now": TODAY},
    "textme": {"people": 100, "now": TODAY},
}


@dataclass
class Ended:
    """How a process ended, and what it printed."""

    code: int
    out: str
    err: str


@dataclass
class Modelled:
    """A warehouse of all services. ``built`` is how ``textlift models`` ended."""

    kind: str
    credentials: str
    folder: Path
    boxes: Mapping[str, Sandbox]
    built: Ended | None = None

    def load(self, service: str) -> None:
        pipeline = dlt.pipeline(
            service,
            pipelines_dir=str(self.folder / "state"),
            destination=destination(self.kind, credentials=self.credentials),
            dataset_name=service,
        )
        source = job_of(service).sandbox_source(
            self.boxes[service].url, package_rows=10**6, isolate_failures=True
        )
        assert load(pipeline, source).failed == {}

    def copy(self, folder: Path) -> Modelled:
        """Return a copy that a test can change."""
        if self.kind == "duckdb":
            credentials = str(folder / "textlift.duckdb")
            shutil.copy(self.credentials, credentials)
        else:
            credentials = self.credentials.replace("/textlift?", "/copied?")
            assert credentials != self.credentials
            self.change("DROP DATABASE IF EXISTS copied", "postgres")
            self.change("CREATE DATABASE copied TEMPLATE textlift", "postgres")
        return Modelled(self.kind, credentials, folder, self.boxes)

    def change(self, sql: str, database: str | None = None) -> None:
        """Run a statement that changes the warehouse."""
        if self.kind == "duckdb":
            with duckdb_client.connect(self.credentials) as opened:
                opened.execute(sql)
            return
        connection = psycopg2.connect(
            self.credentials, **({"dbname": database} if database else {})
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            connection.close()

    def models(self, *options: str) -> Ended:
        """Run ``textlift models``."""
        return self.run("textlift", "models", "--destination", self.kind, *options)

    def dbt(self, *options: str) -> Ended:
        """Run dbt itself on the package."""
        connection = {"type": "duckdb", "schema": "main", "path": self.credentials}
        if self.kind == "postgres":
            connection = {
                **conninfo(self.credentials),
                "type": "postgres",
                "schema": "public",
                "port": 5432,
                "threads": 4,
            }
        profiles = {"textlift": {"target": "it", "outputs": {"it": connection}}}
        (self.folder / "profiles.yml").write_text(json.dumps(profiles))
        return self.run(
            *("dbt", *options, "--project-dir", str(PROJECT / "dbt")),
            *("--profiles-dir", str(self.folder), "--log-path", str(self.folder / "logs")),
            *("--target-path", str(self.folder / "target")),
        )

    def run(self, *command: str, **changes: str) -> Ended:
        done = subprocess.run(
            [str(DBT / command[0]), *command[1:]],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT / "sources"),
                f"DESTINATION__{self.kind.upper()}__CREDENTIALS": self.credentials,
                "PIPELINES_DIR": str(self.folder / "state"),
                "TZ": "America/Los_Angeles",
                "PGTZ": "America/Los_Angeles",
                **changes,
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=400,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def query(self, sql: str, zone: str = "UTC") -> list[tuple[Any, ...]]:
        if self.kind == "duckdb":
            with duckdb_client.connect(self.credentials, read_only=True) as opened:
                opened.execute(f"SET TimeZone = '{zone}'")
                return opened.execute(sql).fetchall()
        return query_postgres(self.credentials, sql, zone)

    def mart(self, name: str) -> list[dict[str, Any]]:
        """The rows of a mart, in the order of their keys."""
        columns = [
            column
            for (column,) in self.query(
                "SELECT column_name FROM information_schema.columns "
                f"WHERE table_schema = 'texting' AND table_name = '{name}' ORDER BY ordinal_position"
            )
        ]
        rows = self.query(f"SELECT {', '.join(columns)} FROM texting.{name} ORDER BY 1")
        return [dict(zip(columns, row)) for row in rows]


def _reply_at_once(service: Any) -> None:
    """Let somebody reply in the same second as a broadcast, and somebody else a second later."""
    talked = {row["profile_id"] for row in service.rows("incoming_messages")}
    sent = [
        row
        for row in service.rows("outgoing_messages")
        if row.get("broadcast_id") and row["profile_id"] not in talked
    ]
    for seconds, message in enumerate((sent[0], sent[-1])):
        reply = {
            **service.rows("incoming_messages")[-1],
            "id": 1 + max(row["id"] for row in service.rows("incoming_messages")),
            "type": "reply",
            "profile_id": message["profile_id"],
            "received_at": message["sent_at"] + timedelta(seconds=seconds),
        }
        service.put("incoming_messages", reply)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in ("duckdb", "postgres")
    ],
)
def modelled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Modelled]:
    """A warehouse with all services and the models, that tests only read."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as opened:
        credentials = str(folder / "textlift.duckdb")
        if request.param == "postgres":
            server = opened.enter_context(running_server())
            server.psql("CREATE DATABASE textlift")
            uri = server.get_uri(database="textlift")
            credentials = uri.replace("postgres:@/", "postgres:-@localhost/")
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("textlift.clock.now", Clock(TODAY).now)
        boxes = {
            name: opened.enter_context(Sandbox(sandbox_of(name).open(**ACCOUNTS[name])))
            for name in SERVICES
        }
        _reply_at_once(boxes["mcommons"].service)
        warehouse = Modelled(request.param, credentials, folder, boxes)
        for name in SERVICES:
            warehouse.load(name)
        warehouse.built = warehouse.models()
        yield warehouse
