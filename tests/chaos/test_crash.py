"""Hazard 5: killed anywhere, the next run goes on; nothing is lost, nothing doubled."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone

import pytest

from tests.conftest import Open, Warehouse
from tests.support.accounts import PROFILES, assert_same
from tests.support.commands import (
    FAILED,
    LOADED,
    PATIENCE,
    SCRIPT,
    SCRIPTS,
    run,
    started,
    two_lines,
    wait_until,
)
from tests.support.kills import (
    INCOMING,
    RECENT,
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
    start_of,
    starts,
)
from textlift.load.runs import recent_runs
from textlift.sandbox import Request

pytestmark = pytest.mark.real_clock
#: A list with lists, messages, rows of parents, sets and a snapshot. The loads that the chaos suite kills
#: have all resources.
RESOURCES = [
    "profiles",
    "incoming_messages",
    "calls",
    "campaign_subscribers",
    "group_members",
    "campaigns",
]
SOME = ("--resources", ",".join(RESOURCES))
TABLES = [*PROFILES, *RESOURCES[1:], "campaigns__opt_in_paths", "campaigns__tags"]
#: Options for a load, and the tables that it fills.
LOADS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "mcommons": (SOME, TABLES),
    "mgage": ((), ()),
}
#: Where a package is after each step.
STEPS = ("normalize/extracted", "load/normalized")


# The first load, killed once. The slow suite kills it at many more moments.


@pytest.mark.parametrize(("service", "requests"), [("mcommons", 12), ("mgage", 4)])
def test_killed_while_it_reads_the_next_run_brings_everything(
    opened: Callable[..., Warehouse], service: str, requests: int
) -> None:
    warehouse = opened(service)
    options, tables = LOADS[service]
    # With one question at a time, the answers before the one held back have been taken.
    with (
        gate(warehouse.box, after(requests)) as closed,
        started(
            warehouse, str(SCRIPTS[service]), *options, SOURCES__MGAGE__CONCURRENCY="1"
        ) as process,
    ):
        wait_until(closed.reached.is_set, process)
        kill(process)
    assert run(warehouse, *options).code == LOADED
    SAME[service](warehouse, *tables)


@pytest.mark.parametrize(
    ("service", "pattern"),
    [
        pytest.param("mcommons", "load/normalized/*/started_jobs/*", id="loading"),
        pytest.param(
            "mcommons", "load/normalized/*/completed_jobs/profiles__*", id="partly loaded"
        ),
        pytest.param("mgage", "load/normalized/*/started_jobs/*", id="mgage, loading"),
    ],
)
def test_killed_while_it_loads_the_next_run_brings_everything(
    opened: Callable[..., Warehouse], service: str, pattern: str
) -> None:
    warehouse = opened(service)
    options, tables = LOADS[service]
    with started(warehouse, str(SCRIPTS[service]), *options) as process:
        wait_until(found(warehouse.state / service, pattern), process)
        kill(process)
    ended = run(warehouse, *options)
    assert "Traceback" not in ended.err
    assert ended.code == LOADED
    SAME[service](warehouse, *tables)


def test_a_package_left_behind_is_read_again_from_the_committed_cursors(account: Open) -> None:
    warehouse = account(now="2025-03-01T00:00:00Z")
    warehouse.load(*RESOURCES)
    cursor = latest(warehouse, "profiles", "updated_at")
    warehouse.box.service.advance(20 * 3600)
    with started(warehouse, str(SCRIPT), *SOME) as process:
        partly = "load/normalized/*/completed_jobs/*"
        wait_until(found(warehouse.state / "mcommons", partly), process)
        kill(process)
    warehouse.box.requests.clear()
    assert run(warehouse, *SOME, SOURCES__MCOMMONS__WHOLE_READ_DAYS="0").code == LOADED
    assert_same(warehouse, *TABLES)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    # What is new, and then all profiles.
    assert starts(warehouse.box, "profiles", "from") == {cursor - timedelta(hours=1), epoch}


def test_killed_between_two_steps_of_a_package_the_next_run_goes_on(account: Open) -> None:
    warehouse = account()
    warehouse.load("keywords")
    # The package is moved on, and then what it was made from is removed. A kill between the two
    # leaves both behind.
    pipeline = warehouse.pipeline()
    extracted = warehouse.state / "mcommons" / STEPS[0]
    pipeline.extract(warehouse.source().with_resources(*RESOURCES))
    shutil.copytree(extracted, warehouse.folder / "copy")
    pipeline.normalize()
    shutil.copytree(warehouse.folder / "copy", extracted, dirs_exist_ok=True)
    pipeline.deactivate()
    ended = run(warehouse, *SOME)
    assert (ended.code, ended.err.count("Errno")) == (LOADED, 0)
    assert_same(warehouse, *TABLES)


# Packages: what is committed stays.


@hourly
def test_killed_between_packages_it_goes_on_from_the_committed_cursor(
    opened: Callable[..., Warehouse], table: Table
) -> None:
    warehouse = opened(table.service, empty=True)
    # 120 pages: many windows of some days, and a package for each one or two.
    small = put_messages(warehouse, 600)
    first = START if table is INCOMING else RECENT

    def late(request: Request) -> bool:
        return start_of(request, table.start) > first + timedelta(days=12)

    with (
        gate(warehouse.box, late) as closed,
        started(warehouse, *driver(warehouse, 50, table.name), **small) as process,
    ):
        wait_until(lambda: closed.reached.is_set() and committed(warehouse) >= 3, process)
        kill(process)
    assert recent_runs(warehouse.pipeline(), table.service) == []
    there = numbers(warehouse, table)
    assert 200 <= len(there) < 500
    assert there == list(range(len(there)))
    cursor = latest(warehouse, table.name, table.column)
    warehouse.box.requests.clear()
    drive(warehouse, 50, table.name, **small)
    assert numbers(warehouse, table) == list(range(600))
    # The messages are older than the lookback, so those that were read had settled.
    assert min(starts(warehouse.box, table.endpoint, table.start)) == cursor


# Other machines, other destinations.


def test_a_machine_that_never_ran_takes_the_cursors_from_the_destination(filled: Open) -> None:
    warehouse = filled()
    before = warehouse.everything()
    warehouse.state = warehouse.folder / "another machine"
    warehouse.box.requests.clear()
    assert run(warehouse).code == LOADED
    assert warehouse.everything() == before
    for endpoint, parameter, table, column, lookback in [
        ("profiles", "from", "profiles", "updated_at", timedelta(hours=1)),
        ("messages", "start_time", "incoming_messages", "received_at", timedelta(hours=1)),
        ("sent_messages", "start_time", "outgoing_messages", "sent_at", timedelta(days=3)),
    ]:
        cursor = latest(warehouse, table, column)
        assert starts(warehouse.box, endpoint, parameter) == {cursor - lookback}, endpoint
    for endpoint in ("calls", "clicks", "mdata_queries", "campaign_subscribers"):
        per_parent = starts(warehouse.box, endpoint, "from")
        assert per_parent
        # A parent without rows has no cursor to start from.
        assert len(per_parent - {START}) > 0, endpoint


def test_another_destination_is_filled_from_the_start(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    first, warehouse.file = warehouse.file, warehouse.folder / "second.duckdb"
    warehouse.box.requests.clear()
    assert run(warehouse, "--resources", "profiles").code == LOADED
    assert starts(warehouse.box, "profiles", "from") == {START}
    second = warehouse.content("profiles")
    warehouse.file = first
    assert warehouse.content("profiles") == second
    # And back: the first one still knows how far it is.
    warehouse.box.requests.clear()
    assert run(warehouse, "--resources", "profiles").code == LOADED
    assert START not in starts(warehouse.box, "profiles", "from")


# Told to stop.


@pytest.fixture
def attentive() -> Iterator[None]:
    """What is started from the background ignores SIGINT, and hands that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


STOPS = pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
attentively = pytest.mark.usefixtures("attentive")


def assert_says_so(process: subprocess.Popen[str]) -> None:
    """It ends with code 1 and two lines, whatever the log says before them."""
    _, err = process.communicate(timeout=PATIENCE)
    said = [line for line in err.splitlines() if not re.match(r"\d{4}-\d\d-\d\d .*\|", line)]
    first, second = two_lines("\n".join(said))
    assert "Stopped" in first
    assert "the next run goes on" in second
    assert process.returncode == FAILED


@attentively
@STOPS
def test_told_to_stop_while_it_reads_it_says_so_and_the_next_run_goes_on(
    account: Open, stop: signal.Signals
) -> None:
    warehouse = account()
    only = ("--resources", "profiles,clicks")
    with gate(warehouse.box, after(3)) as closed, started(warehouse, str(SCRIPT), *only) as process:
        wait_until(closed.reached.is_set, process)
        process.send_signal(stop)
        closed.open()
        assert_says_so(process)
    assert run(warehouse, *only).code == LOADED
    assert_same(warehouse, *PROFILES, "clicks")


@attentively
@STOPS
def test_told_to_stop_while_the_service_is_silent_it_does_not_wait_for_it(
    account: Open, stop: signal.Signals
) -> None:
    warehouse = account(empty=True)
    only = ("--resources", "profiles")
    with (
        gate(warehouse.box, after(0)) as closed,
        started(warehouse, str(SCRIPT), *only, RUNTIME__REQUEST_TIMEOUT="1000") as process,
    ):
        wait_until(closed.reached.is_set, process)
        process.send_signal(stop)
        assert_says_so(process)


def test_told_to_stop_while_it_loads_it_says_so_and_the_next_run_goes_on(account: Open) -> None:
    warehouse = account()
    with started(warehouse, str(SCRIPT), *SOME) as process:
        pattern = "load/normalized/*/started_jobs/*"
        wait_until(found(warehouse.state / "mcommons", pattern), process)
        process.send_signal(signal.SIGTERM)
        assert_says_so(process)
    assert run(warehouse, *SOME).code == LOADED
    assert_same(warehouse, *TABLES)
