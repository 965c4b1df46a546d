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
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest

from sandbox import Request, Response, Sandbox
from tests.conftest import PROJECT, Open, Warehouse
from tests.test_command import (
    FAILED,
    LOADED,
    PATIENCE,
    SCRIPT,
    asked,
    environment,
    run,
    started,
    two_lines,
    wait_until,
)
from tests.test_contract import assert_same

#: The command line with packages of another size: ``-c DRIVER <rows> [<resource> …]``.
DRIVER = """
import sys
import dlt
from sources.common.destinations import duckdb
from sources.common.loading import load
from sources.mcommons import mcommons_source
pipeline = dlt.pipeline("mcommons", destination=duckdb(), dataset_name="mcommons")
rows, resources = int(sys.argv[1]), sys.argv[2:]
load(pipeline, mcommons_source(package_rows=rows, isolate_failures=True), resources or None)
"""
#: Where a package is after each step.
STEPS = ("normalize/extracted", "load/normalized")
START = datetime(2024, 1, 1, tzinfo=timezone.utc)


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


def drive(warehouse: Warehouse, rows: int, *resources: str, **changes: str) -> None:
    """Run the driver to its end."""
    subprocess.run(
        [sys.executable, "-c", DRIVER, str(rows), *resources],
        check=True,
        cwd=PROJECT,
        env=environment(warehouse, **changes),
        timeout=PATIENCE,
    )


def committed(warehouse: Warehouse) -> int:
    """How many packages are in the warehouse; asked of the files beside it, which are not locked."""
    return len(list((warehouse.state / "mcommons" / "load" / "loaded").glob("*")))


def found(folder: Path, pattern: str) -> Callable[[], object]:
    return lambda: next(folder.glob(pattern), None)


def messages(warehouse: Warehouse, count: int) -> None:
    """An account with ``count`` incoming messages, one an hour from the first second on."""
    for number in range(count):
        row = {"id": number, "received_at": START + timedelta(hours=number)}
        warehouse.box.service.put("incoming_messages", row)


def ids(warehouse: Warehouse) -> list[int]:
    return [number for (number,) in warehouse.query("SELECT id FROM incoming_messages ORDER BY 1")]


def latest(warehouse: Warehouse, table: str, column: str) -> datetime:
    ((value,),) = warehouse.query(f"SELECT max({column}) FROM {table}")
    assert isinstance(value, datetime)
    return value.astimezone(timezone.utc)


def starts(box: Sandbox, endpoint: str, parameter: str) -> set[datetime]:
    """From when on an endpoint was asked."""
    return {
        datetime.fromisoformat(request.params[parameter].replace("Z", "+00:00"))
        for request in asked(box, endpoint)
        if parameter in request.params
    }


# The first load, killed once.


@pytest.mark.parametrize("requests", [0, 12, 40])
def test_killed_while_it_reads_the_next_run_brings_everything(account: Open, requests: int) -> None:
    warehouse = account()
    with (
        gate(warehouse.box, after(requests)) as closed,
        started(warehouse, str(SCRIPT)) as process,
    ):
        wait_until(closed.reached.is_set, process)
        kill(process)
    assert run(warehouse).code == LOADED
    assert_same(warehouse)


@pytest.mark.parametrize(
    "pattern",
    [
        "normalize/extracted/*",
        "load/normalized/*",
        "load/normalized/*/started_jobs/*",
        "load/normalized/*/.pending_transitions/*",
        "load/normalized/*/completed_jobs/profiles__*",
        "load/loaded/*",
    ],
    ids=["extracted", "normalized", "loading", "noted", "partly loaded", "loaded"],
)
def test_killed_while_it_loads_the_next_run_brings_everything(account: Open, pattern: str) -> None:
    warehouse = account()
    with started(warehouse, str(SCRIPT)) as process:
        wait_until(found(warehouse.state / "mcommons", pattern), process)
        kill(process)
    ended = run(warehouse)
    assert "Traceback" not in ended.err
    assert ended.code == LOADED
    assert_same(warehouse)


@pytest.mark.parametrize(
    "pattern",
    ["load/normalized/*", "load/normalized/*/completed_jobs/*"],
    ids=["nothing loaded", "partly loaded"],
)
def test_a_package_left_behind_is_read_again_from_the_committed_cursors(
    account: Open, pattern: str
) -> None:
    warehouse = account(now="2025-03-01T00:00:00Z")
    warehouse.load()
    cursor = latest(warehouse, "profiles", "updated_at")
    warehouse.box.service.advance(20 * 3600)
    with started(warehouse, str(SCRIPT)) as process:
        wait_until(found(warehouse.state / "mcommons", pattern), process)
        kill(process)
    warehouse.box.requests.clear()
    assert run(warehouse, SOURCES__MCOMMONS__WHOLE_READ_DAYS="0").code == LOADED
    assert_same(warehouse)
    assert starts(warehouse.box, "profiles", "from") == {cursor - timedelta(hours=1)}


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


def test_killed_between_packages_it_goes_on_from_the_committed_cursor(account: Open) -> None:
    warehouse = account(empty=True)
    messages(warehouse, 600)
    # 120 pages: seven windows of three or four days, each a package.
    settings = {"PAGE_SIZE": "5", "UNTIL": "2024-01-26"}
    small = {f"SOURCES__MCOMMONS__{name}": value for name, value in settings.items()}
    with (
        gate(warehouse.box, lambda request: request.params["start_time"] > "2024-01-13") as closed,
        started(warehouse, "-c", DRIVER, "50", "incoming_messages", **small) as process,
    ):
        wait_until(lambda: closed.reached.is_set() and committed(warehouse) >= 3, process)
        kill(process)
    there = ids(warehouse)
    assert 200 <= len(there) < 500
    assert there == list(range(len(there)))
    cursor = latest(warehouse, "incoming_messages", "received_at")
    warehouse.box.requests.clear()
    drive(warehouse, 50, "incoming_messages", **small)
    assert ids(warehouse) == list(range(600))
    assert min(starts(warehouse.box, "messages", "start_time")) == cursor - timedelta(hours=1)


def test_killed_between_packages_of_a_whole_account_everything_is_there_once(
    account: Open,
) -> None:
    warehouse = account()
    settings = {"PAGE_SIZE": "2", "UNTIL": "2026-01-01", "CONCURRENCY": "40"}
    small = {f"SOURCES__MCOMMONS__{name}": value for name, value in settings.items()}

    def late(request: Request) -> bool:
        return request.endpoint == "sent_messages" and request.params["start_time"] > "2024-10"

    with (
        gate(warehouse.box, late) as closed,
        started(warehouse, "-c", DRIVER, "20", **small) as process,
    ):
        wait_until(lambda: closed.reached.is_set() and committed(warehouse) >= 2, process)
        kill(process)
    cursor = latest(warehouse, "outgoing_messages", "sent_at")
    assert cursor > START
    warehouse.box.requests.clear()
    drive(warehouse, 20, **small)
    assert_same(warehouse)
    read = starts(warehouse.box, "sent_messages", "start_time")
    assert min(read) == cursor - timedelta(days=3)


def test_killed_after_every_package_it_still_comes_to_the_end(account: Open) -> None:
    warehouse = account(empty=True)
    messages(warehouse, 600)
    settings = {"PAGE_SIZE": "5", "UNTIL": "2024-01-26"}
    small = {f"SOURCES__MCOMMONS__{name}": value for name, value in settings.items()}

    def ended_or_past(process: subprocess.Popen[str], packages: int) -> bool:
        return process.poll() is not None or committed(warehouse) > packages

    killed = 0
    for _ in range(10):
        before = committed(warehouse)
        with started(warehouse, "-c", DRIVER, "150", "incoming_messages", **small) as process:
            wait_until(partial(ended_or_past, process, before))
            process.send_signal(signal.SIGKILL)
            if process.wait(PATIENCE) == 0:
                break
        killed += 1
        there = ids(warehouse)
        assert there == list(range(len(there)))
    assert killed >= 2
    assert ids(warehouse) == list(range(600))


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

STOPS = pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


def assert_says_so(process: subprocess.Popen[str]) -> None:
    """It ends with code 1 and two lines, whatever the log says before them."""
    _, err = process.communicate(timeout=PATIENCE)
    said = [line for line in err.splitlines() if not re.match(r"\d{4}-\d\d-\d\d .*\|", line)]
    first, second = two_lines("\n".join(said))
    assert "Stopped" in first
    assert "the next run goes on" in second
    assert process.returncode == FAILED


@STOPS
def test_told_to_stop_while_it_reads_it_says_so_and_the_next_run_goes_on(
    account: Open, stop: signal.Signals
) -> None:
    warehouse = account()
    with gate(warehouse.box, after(20)) as closed, started(warehouse, str(SCRIPT)) as process:
        wait_until(closed.reached.is_set, process)
        process.send_signal(stop)
        closed.open()
        assert_says_so(process)
    assert run(warehouse).code == LOADED
    assert_same(warehouse)


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
