"""Hazard 5: killed anywhere, the next run goes on; nothing is lost, nothing doubled."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Open, Warehouse
from tests.test_command import (
    FAILED,
    LOADED,
    PATIENCE,
    SCRIPT,
    SCRIPTS,
    asked,
    environment,
    run,
    started,
    two_lines,
    wait_until,
)
from tests.test_contract import PROFILES, assert_same
from tests.test_mgage import assert_same as assert_same_messages
from textlift.sandbox import Request, Response, Sandbox

pytestmark = pytest.mark.real_clock
#: The command line with packages of another size: ``-c DRIVER <service> <rows> [<resource> …]``.
DRIVER = """
import sys
from importlib import import_module
import dlt
from textlift.destinations import destination
from textlift.load.loading import load
name, rows, *resources = sys.argv[1:]
make_source = getattr(import_module(f"textlift.{name}"), f"{name}_source")
pipeline = dlt.pipeline(name, destination=destination("duckdb"), dataset_name=name)
load(pipeline, make_source(package_rows=int(rows), isolate_failures=True), resources or None)
"""
#: Where a package is after each step.
STEPS = ("normalize/extracted", "load/normalized")
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
#: mGage keeps one year.
RECENT = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=200)
SAME = {"mcommons": assert_same, "mgage": assert_same_messages}


@dataclass(frozen=True)
class Table:
    """A table of a service, and how the service is asked for its rows."""

    service: str
    name: str
    column: str
    endpoint: str
    start: str
    lookback: timedelta


INCOMING = Table(
    "mcommons", "incoming_messages", "received_at", "messages", "start_time", timedelta(hours=1)
)
OUTGOING = Table(
    "mcommons", "outgoing_messages", "sent_at", "sent_messages", "start_time", timedelta(days=3)
)
MESSAGES = Table(
    "mgage", "messages", "date", "messages/program/121811", "startDate", timedelta(days=3)
)
hourly = pytest.mark.parametrize("table", [INCOMING, MESSAGES], ids=["mcommons", "mgage"])


class Gate:
    """Holds back the answers to some requests until it is opened."""

    def __init__(self, holds: Callable[[Request], bool]) -> None:
        self._holds = holds
        self._open = threading.Event()
        self.reached = threading.Event()

    def __call__(self, request: Request) -> Response | None:
        if not self._open.is_set() and self._holds(request):
            self.reached.set()
            self._open.wait()
        return None

    def open(self) -> None:
        self._open.set()


@contextmanager
def gate(box: Sandbox, holds: Callable[[Request], bool]) -> Iterator[Gate]:
    """Nothing passes for which ``holds`` is true, within the block."""
    closed = Gate(holds)
    box.faults.append(closed)
    try:
        yield closed
    finally:
        box.faults.remove(closed)
        closed.open()


def after(count: int) -> Callable[[Request], bool]:
    """Requests after the first ``count``."""
    lock, left = threading.Lock(), [count]

    def holds(request: Request) -> bool:
        with lock:
            left[0] -= 1
            return left[0] < 0

    return holds


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL


def driver(warehouse: Warehouse, rows: int, *resources: str) -> list[str]:
    return ["-c", DRIVER, warehouse.name, str(rows), *resources]


def drive(warehouse: Warehouse, rows: int, *resources: str, **changes: str) -> None:
    """Run the driver to its end."""
    subprocess.run(
        [sys.executable, *driver(warehouse, rows, *resources)],
        check=True,
        cwd=PROJECT,
        env=environment(warehouse, **changes),
        timeout=PATIENCE,
    )


def committed(warehouse: Warehouse) -> int:
    """How many packages are in the warehouse; asked of the files beside it, which are not locked."""
    return len(list((warehouse.state / warehouse.name / "load" / "loaded").glob("*")))


def found(folder: Path, pattern: str) -> Callable[[], object]:
    return lambda: next(folder.glob(pattern), None)


def put_messages(warehouse: Warehouse, count: int) -> dict[str, str]:
    """Put ``count`` messages, one an hour; gives settings that read just these, in small pages."""
    service, name = warehouse.box.service, warehouse.name
    first = START if name == "mcommons" else RECENT
    if name == "mgage":
        service.add_program(121811)
    for number in range(count):
        time = first + timedelta(hours=number)
        if name == "mcommons":
            service.put("incoming_messages", {"id": number, "received_at": time})
        else:
            service.put(121811, {"body": str(number), "date": time})
    end = first + timedelta(hours=count)
    return settings_of(name, PAGE_SIZE="5", START_DATE=f"{first}", UNTIL=f"{end}")


def settings_of(service: str, **settings: str) -> dict[str, str]:
    return {f"SOURCES__{service.upper()}__{name}": value for name, value in settings.items()}


def numbers(warehouse: Warehouse, table: Table) -> list[int]:
    """Which of the messages that were put are in the warehouse."""
    column = "id" if warehouse.name == "mcommons" else "body::BIGINT"
    return [
        number for (number,) in warehouse.query(f"SELECT {column} FROM {table.name} ORDER BY 1")
    ]


def latest(warehouse: Warehouse, table: str, column: str) -> datetime:
    ((value,),) = warehouse.query(f"SELECT max({column}) FROM {table}")
    assert isinstance(value, datetime)
    return value.astimezone(timezone.utc)


def starts(box: Sandbox, endpoint: str, parameter: str) -> set[datetime]:
    """From when on an endpoint was asked."""
    return {
        start_of(request, parameter)
        for request in asked(box, endpoint)
        if parameter in request.params
    }


def start_of(request: Request, parameter: str) -> datetime:
    time = datetime.fromisoformat(request.params[parameter].removesuffix("Z"))
    return time.replace(tzinfo=timezone.utc)


# The first load, killed once. The slow suite kills it at many more moments.


@pytest.mark.parametrize(("service", "requests"), [("mcommons", 12), ("mgage", 4)])
def test_killed_while_it_reads_the_next_run_brings_everything(
    opened: Callable[..., Warehouse], service: str, requests: int
) -> None:
    warehouse = opened(service)
    # With one question at a time, the answers before the one held back have been taken.
    with (
        gate(warehouse.box, after(requests)) as closed,
        started(warehouse, str(SCRIPTS[service]), SOURCES__MGAGE__CONCURRENCY="1") as process,
    ):
        wait_until(closed.reached.is_set, process)
        kill(process)
    assert run(warehouse).code == LOADED
    SAME[service](warehouse)


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
    with started(warehouse, str(SCRIPTS[service])) as process:
        wait_until(found(warehouse.state / service, pattern), process)
        kill(process)
    ended = run(warehouse)
    assert "Traceback" not in ended.err
    assert ended.code == LOADED
    SAME[service](warehouse)


def test_a_package_left_behind_is_read_again_from_the_committed_cursors(account: Open) -> None:
    warehouse = account(now="2025-03-01T00:00:00Z")
    warehouse.load()
    cursor = latest(warehouse, "profiles", "updated_at")
    warehouse.box.service.advance(20 * 3600)
    with started(warehouse, str(SCRIPT)) as process:
        partly = "load/normalized/*/completed_jobs/*"
        wait_until(found(warehouse.state / "mcommons", partly), process)
        kill(process)
    warehouse.box.requests.clear()
    assert run(warehouse, SOURCES__MCOMMONS__WHOLE_READ_DAYS="0").code == LOADED
    assert_same(warehouse)
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
    pipeline.extract(warehouse.source())
    shutil.copytree(extracted, warehouse.folder / "copy")
    pipeline.normalize()
    shutil.copytree(warehouse.folder / "copy", extracted, dirs_exist_ok=True)
    pipeline.deactivate()
    ended = run(warehouse)
    assert (ended.code, ended.err.count("Errno")) == (LOADED, 0)
    assert_same(warehouse)


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
    there = numbers(warehouse, table)
    assert 200 <= len(there) < 500
    assert there == list(range(len(there)))
    cursor = latest(warehouse, table.name, table.column)
    warehouse.box.requests.clear()
    drive(warehouse, 50, table.name, **small)
    assert numbers(warehouse, table) == list(range(600))
    assert min(starts(warehouse.box, table.endpoint, table.start)) == cursor - table.lookback


# Other machines, other destinations.


def test_a_machine_that_never_ran_takes_the_cursors_from_the_destination(account: Open) -> None:
    warehouse = account()
    warehouse.load()
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
    with started(warehouse, str(SCRIPT)) as process:
        pattern = "load/normalized/*/started_jobs/*"
        wait_until(found(warehouse.state / "mcommons", pattern), process)
        process.send_signal(signal.SIGTERM)
        assert_says_so(process)
    assert run(warehouse).code == LOADED
    assert_same(warehouse)
