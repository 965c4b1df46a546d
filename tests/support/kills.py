"""Gates that hold responses back, kills, and the state after a kill."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Warehouse
from tests.support.accounts import assert_same
from tests.support.commands import PATIENCE, asked, environment
from tests.support.forks import forked
from tests.support.messages import assert_same as assert_same_messages
from textlift.sandbox import Request, Response, Sandbox

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
    forked(
        driver(warehouse, rows, *resources), PROJECT, environment(warehouse, **changes), PATIENCE
    ).check_returncode()


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
