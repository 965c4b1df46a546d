"""Hazard 5, at many moments: a first load is killed anywhere, and the next run makes it whole."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest

from tests.conftest import PROJECT, Open, Warehouse, slow_but
from tests.support.accounts import TABLES
from tests.support.commands import FAILED, LOADED, PATIENCE, environment, run, started, wait_until
from tests.support.kills import (
    DRIVER,
    MESSAGES,
    OUTGOING,
    SAME,
    START,
    Table,
    after,
    committed,
    drive,
    driver,
    found,
    gate,
    hourly,
    kill,
    latest,
    numbers,
    put_messages,
    settings_of,
    starts,
)
from tests.support.truth import comparable
from textlift.sandbox import Request, Response

pytestmark = pytest.mark.real_clock
#: The driver with windows that are cut after a few pages: many windows cost few requests.
SHORT_WINDOWS = f"""
from textlift.extract import paging
paging.MAX_PAGES, paging.PART_PAGES = 3, 1
paging.MAX_SEQUENCE, paging.SEQUENCE_PART = 3, 1
{DRIVER}"""
#: Few at a time, so that a later package still has to ask for its rows.
SETTINGS = {"PAGE_SIZE": "8", "CONCURRENCY": "2"}
PACKAGE_ROWS = "20"
#: Parameters by which the endpoints of both services are asked for a window.
STARTS, ENDS = ("from", "start_time", "startDate"), ("to", "end_time", "endDate")

STEPS = {
    "extracted": "normalize/extracted/*",
    "normalizing": "load/new/*",
    "normalized": "load/normalized/*",
    "loading": "load/normalized/*/started_jobs/*",
    "noted": "load/normalized/*/.pending_transitions/*",
    "partly loaded": "load/normalized/*/completed_jobs/*",
    "merging": "load/normalized/*/started_jobs/*.sql",
    "loaded": "load/loaded/*",
}
#: Packages committed before a moment; the load has more.
PACKAGES = (0, 1, 2)


@dataclass(frozen=True)
class Moment:
    """When a load is killed.

    That is when it asks for answer number ``request``, or, with ``packages`` committed, takes
    ``step`` with the next one; and ``pause`` seconds later.
    """

    request: int | None = None
    step: str = ""
    packages: int = 0
    pause: float = 0.0

    def __str__(self) -> str:
        if self.request is not None:
            return f"request {self.request}"
        later = f" and {self.pause:.3f} s" if self.pause else ""
        return f"package {self.packages + 1} {self.step}{later}"


def moments(service: str) -> list[Moment]:
    random = Random(service)
    # Up to the last packages of the load.
    every = 11 if service == "mcommons" else 6
    return [
        *(Moment(request=number * every) for number in range(14)),
        *(Moment(step=step, packages=count) for step in STEPS for count in PACKAGES),
        *(
            Moment(step=step, packages=count, pause=random.uniform(0, 0.6))
            for step in ("extracted", "normalized", "loading", "loaded")
            for count in PACKAGES
        ),
    ]


MOMENTS = {service: moments(service) for service in SAME}
AGAIN = {service: set(MOMENTS[service][::10]) for service in SAME}
DOWN = [
    Moment(step="extracted", packages=1),
    Moment(step="merging", packages=2),
    Moment(step="loaded", packages=1),
]


@pytest.fixture
def account_of(
    account: Open, export: Open, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Warehouse]:
    """Opens a small account of the service with that name, and an empty warehouse for it."""
    monkeypatch.setenv("SOURCES__MCOMMONS__FUNDRAISING_IDS", "[501, 502]")

    def open_account(service: str) -> Warehouse:
        if service == "mgage":
            return export(messages=900)
        return account(profiles=60, start="2024-10-01T00:00:00Z")

    return open_account


def command(warehouse: Warehouse) -> list[str]:
    return ["-c", SHORT_WINDOWS, warehouse.name, PACKAGE_ROWS]


def kill_at(warehouse: Warehouse, moment: Moment) -> None:
    """Start a first load and kill it then, certainly before its end."""

    def one_too_many(request: Request) -> bool:
        """What is asked for when all packages are committed that a moment may come after."""
        return committed(warehouse) > max(PACKAGES)

    held = after(moment.request) if moment.request is not None else one_too_many
    folder = warehouse.state / warehouse.name
    with (
        gate(warehouse.box, held) as closed,
        started(
            warehouse,
            *command(warehouse),
            # A pipe that nobody reads fills up.
            stderr=subprocess.DEVNULL,
            **settings_of(warehouse.name, **SETTINGS),
        ) as process,
    ):
        if moment.request is not None:
            wait_until(closed.reached.is_set, process)
        elif moment.step == "loaded":
            wait_until(lambda: committed(warehouse) > moment.packages, process)
        else:
            wait_until(lambda: committed(warehouse) >= moment.packages, process)
            wait_until(found(folder, STEPS[moment.step]), process)
        time.sleep(moment.pause)
        kill(process)


def assert_whole(warehouse: Warehouse) -> None:
    """Every table is what the service holds, also those without a key, and those of few rows."""
    SAME[warehouse.name](warehouse)
    if warehouse.name == "mgage":
        return
    service = warehouse.box.service
    assert warehouse.tables() == set(TABLES)
    calls = Counter(row["mconnect_id"] for row in service.rows("calls"))
    assert warehouse.query("SELECT mconnect_id, call_count FROM call_counts ORDER BY 1") == [
        (row["id"], calls[row["id"]]) for row in service.rows("mconnects")
    ]
    tags: list[dict[str, Any]] = [
        {"campaign_id": campaign["id"], "opt_in_path_id": path["id"], "tag": tag}
        for campaign in service.rows("campaigns")
        for path in campaign["opt_in_paths"]
        for tag in path.get("tags") or ()
    ]
    columns = ["campaign_id", "opt_in_path_id", "tag"]
    loaded = warehouse.query(f"SELECT {', '.join(columns)} FROM campaigns__opt_in_paths__tags")
    assert comparable([dict(zip(columns, row)) for row in loaded], columns) == comparable(
        tags, columns
    )
    donations = warehouse.query("SELECT fundraising_id FROM donation_summaries ORDER BY 1")
    assert donations == [(501,), (502,)]


def run_again(warehouse: Warehouse) -> None:
    """The next run, as it is scheduled: with the settings as they come, in one package."""
    ended = run(warehouse)
    assert (ended.code, "Traceback" in ended.err) == (LOADED, False), ended.err
    assert_whole(warehouse)


def windows(warehouse: Warehouse) -> set[tuple[str | None, ...]]:
    """The windows that were asked for, those of all parents and endpoints counted once."""
    asked = [request.params for request in warehouse.box.requests]
    return {
        tuple(next((params[name] for name in names if name in params), None) for names in bounds)
        for params in asked
        if any(name in params for name in STARTS)
        for bounds in [(STARTS, ENDS)]
    }


@pytest.mark.parametrize("service", SAME)
def test_uninterrupted_it_has_many_windows_and_packages(
    account_of: Callable[[str], Warehouse], service: str
) -> None:
    warehouse = account_of(service)
    subprocess.run(
        [sys.executable, *command(warehouse)],
        check=True,
        cwd=PROJECT,
        env=environment(warehouse, **settings_of(service, **SETTINGS)),
        timeout=PATIENCE,
    )
    assert_whole(warehouse)
    assert len(windows(warehouse)) >= 30
    assert committed(warehouse) > max(PACKAGES) + 1
    assert len(warehouse.box.requests) > max(each.request or 0 for each in MOMENTS[service])
    assert len(set(MOMENTS[service])) == 50


@pytest.mark.parametrize(
    ("service", "moment"),
    slow_but(
        slice(None, None, 5), [(service, moment) for service in SAME for moment in MOMENTS[service]]
    ),
    ids=str,
)
def test_killed_at_any_moment_the_next_run_makes_it_whole(
    account_of: Callable[[str], Warehouse], service: str, moment: Moment
) -> None:
    warehouse = account_of(service)
    kill_at(warehouse, moment)
    run_again(warehouse)
    if moment in AGAIN[service]:
        before = warehouse.everything()
        run_again(warehouse)
        assert warehouse.everything() == before


@pytest.mark.parametrize("service", SAME)
@pytest.mark.parametrize("moment", DOWN, ids=str)
def test_what_was_committed_stays_though_the_next_run_fails_at_once(
    account_of: Callable[[str], Warehouse], service: str, moment: Moment
) -> None:
    warehouse = account_of(service)
    kill_at(warehouse, moment)
    before = warehouse.everything()
    messages = "messages" if service == "mgage" else "outgoing_messages"
    assert before[messages]
    warehouse.box.faults.append(lambda request: Response(500, b"down"))
    assert run(warehouse, RUNTIME__REQUEST_MAX_ATTEMPTS="1").code == FAILED
    assert warehouse.everything() == before
    warehouse.box.faults.clear()
    run_again(warehouse)


# With windows as they are, and packages of another size: what is committed stays.


@pytest.mark.parametrize(
    ("table", "rows", "pages", "late"),
    [
        pytest.param(
            OUTGOING,
            20,
            {"PAGE_SIZE": "2", "UNTIL": "2026-01-01", "CONCURRENCY": "40"},
            lambda request: (
                request.endpoint == "sent_messages" and request.params["start_time"] > "2024-10"
            ),
            id="mcommons",
        ),
        pytest.param(
            MESSAGES,
            100,
            {"PAGE_SIZE": "10"},
            lambda request: request.endpoint == "messages/program/121812",
            id="mgage",
        ),
    ],
)
def test_killed_between_packages_of_a_whole_account_everything_is_there_once(
    opened: Callable[..., Warehouse],
    table: Table,
    rows: int,
    pages: dict[str, str],
    late: Callable[[Request], bool],
) -> None:
    warehouse = opened(table.service)
    small = settings_of(table.service, **pages)
    with (
        gate(warehouse.box, late) as closed,
        started(warehouse, *driver(warehouse, rows), **small) as process,
    ):
        wait_until(lambda: closed.reached.is_set() and committed(warehouse) >= 2, process)
        kill(process)
    cursor = latest(warehouse, table.name, table.column)
    assert cursor > START
    warehouse.box.requests.clear()
    drive(warehouse, rows, **small)
    SAME[table.service](warehouse)
    # The messages are older than the lookback, so those that were read had settled.
    assert min(starts(warehouse.box, table.endpoint, table.start)) == cursor


@hourly
def test_killed_after_every_package_it_still_comes_to_the_end(
    opened: Callable[..., Warehouse], table: Table
) -> None:
    warehouse = opened(table.service, empty=True)
    small = put_messages(warehouse, 600)

    def ended_or_past(process: subprocess.Popen[str], packages: int) -> bool:
        return process.poll() is not None or committed(warehouse) > packages

    killed = 0
    for _ in range(10):
        before = committed(warehouse)
        with started(warehouse, *driver(warehouse, 150, table.name), **small) as process:
            wait_until(partial(ended_or_past, process, before))
            process.send_signal(signal.SIGKILL)
            if process.wait(PATIENCE) == 0:
                break
        killed += 1
        there = numbers(warehouse, table)
        assert there == list(range(len(there)))
    assert killed >= 2
    assert numbers(warehouse, table) == list(range(600))
