"""What holds for every service. Registering one in ``textlift.registry`` is enough to test it here.

A load that was disturbed has to end with what an undisturbed one into an empty warehouse brings.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT, TODAY, Warehouse, slow_but
from tests.support.forks import Fork
from tests.support.services import warehouse_of
from textlift.declare import ColumnType, Endpoint, at_path
from textlift.errors import CredentialsError
from textlift.load.loading import Summary
from textlift.registry import SERVICES, endpoints_of, sandbox_of
from textlift.sandbox import Request, Response, Sandbox, rehearse
from textlift.sandbox.clock import Clock

DAY = 86_400
KINDS = {
    ColumnType.BIGINT: "BIGINT",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.DECIMAL: "DECIMAL(38,9)",
    ColumnType.DOUBLE: "DOUBLE",
    ColumnType.TEXT: "VARCHAR",
    ColumnType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
}
#: Smaller accounts than the sandboxes open by themselves, without limits: a load takes less time.
SMALL = {
    "mcommons": {"profiles": 40},
    "mgage": {"messages": 600},
    "mobiniti": {"contacts": 40, "requests_per_second": None},
    "textme": {"people": 100},
    "messangi": {"messages": 200},
}
#: ``-c LOAD service url folder``: loads from a sandbox into a DuckDB file, in small packages.
LOAD = """
import sys
from pathlib import Path
import textlift.clock
from tests.conftest import TODAY
from tests.support.services import load_from
service, url, folder = sys.argv[1:]
textlift.clock.now = lambda: TODAY
load_from(service, url, Path(folder))
"""


@contextmanager
def opened(service: str, folder: Path) -> Iterator[Warehouse]:
    """An account in the sandbox of a service, the same each time, and an empty warehouse for it."""
    with Sandbox(sandbox_of(service).open(now=TODAY, **SMALL.get(service, {}))) as box:
        yield warehouse_of(service, box, folder)


@pytest.fixture(params=SERVICES)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    with opened(request.param, tmp_path / "warehouse") as warehouse:
        yield warehouse


@dataclass(frozen=True)
class First:
    """A first load, and what it did."""

    warehouse: Warehouse
    summary: Summary
    requests: int


@pytest.fixture(scope="module")
def first_loads(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], First]:
    """Return a function that returns the first load of a service. No test changes its warehouse."""

    @cache
    def load(service: str) -> First:
        with opened(service, tmp_path_factory.mktemp(service) / "warehouse") as warehouse:
            summary = warehouse.load()
            return First(warehouse, summary, len(warehouse.box.requests))

    return load


@pytest.fixture
def first(first_loads: Callable[[str], First], warehouse: Warehouse) -> First:
    """The first load of the account of ``warehouse``, into another warehouse."""
    return first_loads(warehouse.name)


@pytest.fixture
def loaded(first: First, warehouse: Warehouse) -> Warehouse:
    """The warehouse with the rows of a first load."""
    shutil.copy(first.warehouse.file, warehouse.file)
    return warehouse


def rows(warehouse: Warehouse) -> dict[str, Counter[tuple[Any, ...]]]:
    """The rows of every table, without those that are gone at the service, or not kept there."""
    found = {}
    incremental = {each.name: each.incremental for each in endpoints_of(warehouse.name)}
    with warehouse.reading():
        for table in sorted(warehouse.tables() - {"load_runs", "rejected_records"}):
            columns = warehouse.columns(table)
            names = ", ".join(f'"{name}"' for name in sorted(columns) if name[0] != "_")
            there = "removed_at IS NULL" if "removed_at" in columns else "true"
            declared = incremental.get(table)
            if declared and declared.retention:
                since = warehouse.box.service.now() - declared.retention + timedelta(days=1)
                there += f" AND ifnull({declared.cursor} >= '{since.isoformat()}', true)"
            found[table] = Counter(warehouse.query(f"SELECT {names} FROM {table} WHERE {there}"))
    return found


def fresh(warehouse: Warehouse) -> Warehouse:
    """Another warehouse with what is at the service now."""
    other = warehouse_of(warehouse.name, warehouse.box, warehouse.folder.parent / "fresh")
    assert other.load().failed == {}
    return other


def assert_same(warehouse: Warehouse, other: Warehouse) -> None:
    expected = rows(other)
    assert rows(warehouse) == expected
    assert sum(map(len, expected.values())) > 0


def test_a_first_load_brings_every_resource_with_its_keys_and_types(first: First) -> None:
    warehouse, summary = first.warehouse, first.summary
    assert (summary.failed, summary.rejected) == ({}, 0)
    with warehouse.reading():
        for endpoint in endpoints_of(warehouse.name):
            if endpoint.name not in warehouse.tables():
                assert endpoint.setting, endpoint.name
                continue
            kinds = warehouse.columns(endpoint.name)
            declared = {name: KINDS[column.type] for name, column in endpoint.columns.items()}
            assert declared.items() <= kinds.items(), endpoint.name
            assert kinds["_dlt_load_id"] == "VARCHAR"
            if not endpoint.key:
                continue
            key = ", ".join(endpoint.key)
            missing = " OR ".join(f"{name} IS NULL" for name in endpoint.key)
            query = f"SELECT count(*), count(DISTINCT ({key})), count(*) FILTER ({missing})"
            [(count, different, null)] = warehouse.query(f"{query} FROM {endpoint.name}")
            assert (count, null) == (summary.rows[endpoint.name], 0), endpoint.name
            assert different == count or endpoint.repeats, endpoint.name


def test_a_second_run_changes_nothing(loaded: Warehouse) -> None:
    before = rows(loaded)
    summary = loaded.load()
    assert (summary.failed, summary.rejected) == ({}, 0)
    assert rows(loaded) == before


def test_what_changes_in_a_week_arrives_with_the_next_run(loaded: Warehouse, clock: Clock) -> None:
    before = rows(loaded)
    clock.advance(8 * DAY)
    loaded.box.service.advance(8 * DAY)
    assert loaded.load().failed == {}
    assert rows(loaded) != before
    assert_same(loaded, fresh(loaded))


def test_what_moves_between_pages_is_there_after_the_next_run(
    warehouse: Warehouse, clock: Clock
) -> None:
    def advance(request: Request, response: Response) -> None:
        clock.advance(900)
        warehouse.box.service.advance(900)

    warehouse.box.hooks.append(advance)
    warehouse.load(page_size=50)
    warehouse.box.hooks.clear()
    clock.advance(8 * DAY)
    warehouse.box.service.advance(8 * DAY)
    warehouse.load(page_size=50)
    assert_same(warehouse, fresh(warehouse))


@pytest.mark.parametrize("requests", slow_but(slice(1), [8, 3]))
def test_killed_while_it_reads_the_next_run_brings_everything_once(
    warehouse: Warehouse, first: First, requests: int
) -> None:
    command = ["-c", LOAD, warehouse.name, warehouse.box.url, str(warehouse.folder)]
    with Fork(command, cwd=PROJECT) as process:
        while len(warehouse.box.requests) < requests and process.poll() is None:
            time.sleep(0.002)
        process.kill()
    assert warehouse.load().failed == {}
    assert_same(warehouse, first.warehouse)


def test_faults_that_pass_cost_no_row(warehouse: Warehouse, first: First) -> None:
    rehearse(warehouse.box, "transient@20%")
    assert warehouse.load().failed == {}
    assert_same(warehouse, first.warehouse)


def test_a_service_that_is_down_fails_and_the_rows_stay(loaded: Warehouse) -> None:
    before = rows(loaded)
    rehearse(loaded.box, "503")
    summary = loaded.load()
    assert {name for name in summary.failed if "503" in summary.failed[name]} == set(summary.failed)
    assert summary.failed
    assert rows(loaded) == before


def test_refused_credentials_stop_the_run(warehouse: Warehouse) -> None:
    rehearse(warehouse.box, "401")
    with pytest.raises(CredentialsError, match=f"sources.{warehouse.name}.credentials"):
        warehouse.load()


def has_times(endpoint: Endpoint) -> bool:
    return any(column.type is ColumnType.TIMESTAMP for column in endpoint.columns.values())


def endpoint_of(endpoints: Sequence[Endpoint], path: str) -> Endpoint:
    """Return the endpoint of a request. A signed path has two more parts."""
    with suppress(LookupError):
        return at_path(endpoints, path)
    return at_path(endpoints, path.rsplit("/", 2)[0])


def test_a_value_that_does_not_fit_costs_itself_alone(warehouse: Warehouse, first: First) -> None:
    endpoints = endpoints_of(warehouse.name)
    endpoint = next(each for each in endpoints if has_times(each))
    asked = [request.endpoint for request in first.warehouse.box.requests]
    path = next(path for path in asked if endpoint_of(endpoints, path) is endpoint)
    rehearse(warehouse.box, f"bad-time@{warehouse.box.service.damage.name(path)}:1")
    table = endpoint.name
    summary = warehouse.load(table, concurrency=1)
    assert summary.failed == {}
    assert summary.rejected > 0
    assert rows(warehouse)[table].total() == rows(first.warehouse)[table].total()
    reasons = warehouse.query("SELECT DISTINCT resource, payload IS NULL FROM rejected_records")
    assert reasons == [(table, False)]


def test_each_run_notes_each_of_its_resources(loaded: Warehouse, first: First) -> None:
    names = [endpoint.name for endpoint in endpoints_of(loaded.name)]
    loaded.load(names[0])
    with loaded.reading():
        noted = loaded.query(
            "SELECT list(resource ORDER BY resource), sum(requests) FROM load_runs "
            "GROUP BY run_id ORDER BY min(_dlt_load_id)"
        )
    assert noted == [(sorted(names), first.requests), (names[:1], len(loaded.box.requests))]
