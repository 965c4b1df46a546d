"""One dashboard and one browser for all tests, and the warehouses that it shows.

The dashboard opens its file for each query, so another warehouse takes the place of its file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dlt
import duckdb as duckdb_client
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import PROJECT, TODAY
from tests.dashboard.reading import Figure, read_figures
from textlift.destinations import destination
from textlift.load.loading import load
from textlift.registry import SERVICES, job_of, sandbox_of
from textlift.sandbox import Sandbox
from textlift.sandbox.clock import Clock

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
#: Days in which all of the accounts have something.
DAYS = {"from": "2025-03-01", "to": "2026-02-28"}
MODELS = ("audience_by_day", "broadcasts", "contacts", "daily_activity", "messages")
#: Most milliseconds to wait for what takes a moment; nothing waits once it is there.
PATIENCE = 60_000
ACCOUNTS: dict[str, dict[str, Any]] = {
    "mcommons": {"profiles": 300, "now": "2025-06-01T12:00:00Z"},
    "mgage": {"messages": 600, "now": TODAY},
    "mobiniti": {"contacts": 100, "requests_per_second": None, "now": TODAY},
    "messangi": {"messages": 200, "now": TODAY},
    "textme": {"people": 100, "now": TODAY},
}
#: A failed run, a reject, and a broadcast whose name is markup and cannot be cut from SQL.
_ADDED = """
INSERT INTO mgage.load_runs
SELECT * REPLACE ('failing' AS run_id, 'failed' AS outcome, 'Status 503 from the service' AS message,
    TIMESTAMPTZ '2025-12-24 10:00:00+00' AS started_at,
    TIMESTAMPTZ '2025-12-24 10:00:05+00' AS ended_at, 0 AS "rows")
FROM mgage.load_runs LIMIT 1;
INSERT INTO mgage.rejected_records BY NAME
SELECT 'one' AS rejection_key, 'messages' AS resource, 'date' AS column_name,
    'no time of the declared form' AS reason, 'written by a person' AS payload,
    TIMESTAMPTZ '2025-12-24 10:00:00+00' AS rejected_at, 'x' AS _dlt_load_id;
UPDATE texting.broadcasts SET name = '<b>O''Hara</b>'
WHERE broadcast_key = (SELECT max_by(broadcast_key, replies) FROM texting.broadcasts);
"""


@dataclass(frozen=True)
class Files:
    """Warehouses: of all services, of one, with models without rows, without models, and new."""

    full: Path
    single: Path
    without_rows: Path
    without_models: Path
    new: Path

    def query(self, sql: str, file: Path | None = None) -> list[tuple[Any, ...]]:
        with duckdb_client.connect(str(file or self.full), read_only=True) as opened:
            opened.execute("SET TimeZone = 'America/Los_Angeles'")
            return opened.execute(sql).fetchall()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("warehouses")
    full = folder / "full.duckdb"
    with ExitStack() as opened:
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("textlift.clock.now", Clock(TODAY).now)
        for name in SERVICES:
            box = opened.enter_context(Sandbox(sandbox_of(name).open(**ACCOUNTS[name])))
            pipeline = dlt.pipeline(
                name,
                pipelines_dir=str(folder / "state"),
                destination=destination("duckdb", credentials=str(full)),
                dataset_name=name,
            )
            assert load(pipeline, job_of(name).sandbox_source(box.url)).failed == {}
    built = subprocess.run(
        [sys.executable, "-m", "textlift", "models"],
        cwd=folder,
        env=environment(folder, full),
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr

    def changed(name: str, sql: str) -> Path:
        file = folder / f"{name}.duckdb"
        shutil.copy(full, file)
        with duckdb_client.connect(str(file)) as connection:
            connection.execute(sql)
        return file

    others = [name for name in SERVICES if name != "mgage"]
    single = [f"DELETE FROM texting.{name} WHERE service <> 'mgage'" for name in MODELS]
    single += [f"DROP SCHEMA {name} CASCADE" for name in others]
    emptied = [f"DELETE FROM texting.{name}" for name in MODELS]
    emptied += [f"DELETE FROM {name}.load_runs" for name in SERVICES]
    new = folder / "new.duckdb"
    duckdb_client.connect(str(new)).close()
    return Files(
        full=changed("all", _ADDED),
        single=changed("single", ";".join(single)),
        without_rows=changed("without_rows", ";".join(emptied)),
        without_models=changed("without_models", f"{_ADDED}; DROP SCHEMA texting CASCADE"),
        new=new,
    )


def environment(folder: Path, file: Path, **changes: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(PROJECT / "sources"),
        "DESTINATION__DUCKDB__CREDENTIALS": str(file),
        "PIPELINES_DIR": str(folder / "state"),
        "HOME": str(folder),
        **changes,
    }


#: Notes each address outside of this machine that the process connects to.
_AUDIT = """
import sys
def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        place = args[1] if event == "socket.connect" else args
        host = place[0] if isinstance(place, tuple) else place
        if str(host) not in ("127.0.0.1", "localhost", "::1"):
            print("CONNECTS TO", place, file=sys.stderr, flush=True)
sys.addaudithook(note)
"""


class Dashboard:
    """``textlift dashboard`` in a process, and what browsers show of it."""

    def __init__(self, folder: Path, browser: Browser) -> None:
        self.folder = folder
        self.file = folder / "shown.duckdb"
        self.requested: set[str] = set()
        self._browser = browser
        self._contexts: dict[str, BrowserContext] = {}
        self._log = folder / "log.txt"

    @contextmanager
    def running(self) -> Iterator[None]:
        duckdb_client.connect(str(self.file)).close()
        (self.folder / "sitecustomize.py").write_text(_AUDIT)
        paths = f"{self.folder}{os.pathsep}{PROJECT / 'sources'}"
        process = subprocess.Popen(
            [sys.executable, "-m", "textlift", "dashboard", "--port", "0"],
            cwd=self.folder,
            env=environment(self.folder, self.file, PYTHONPATH=paths, TZ="America/Los_Angeles"),
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
        )
        assert process.stdout
        first = process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/\?access_token=(\S+)", first)
        assert found, first + self.log
        self.url, self.token = found.groups()
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def show(self, file: Path) -> None:
        """Let the dashboard show another warehouse from now on."""
        copy = self.file.with_suffix(".next")
        shutil.copy(file, copy)
        copy.replace(self.file)

    def open(self, page: str, theme: str = "light", wait: bool = True, **query: str) -> Page:
        """Open a page; by default, wait until it shows its figures."""
        if theme not in self._contexts:
            context = self._browser.new_context(
                color_scheme=theme,  # type: ignore[arg-type]
                viewport={"width": 1280, "height": 1000},
                timezone_id="Asia/Tokyo",
                locale="en-US",
            )
            context.set_default_timeout(PATIENCE)
            context.on("request", lambda request: self.requested.add(request.url))
            self._contexts[theme] = context
        opened = self._contexts[theme].new_page()
        address = {"access_token": self.token, "page": page, **DAYS, **query}
        opened.goto(f"{self.url}/?{urlencode(address)}")
        if wait:
            opened.wait_for_selector(".textlift-read-at")
        return opened

    def figures(self, page: str, theme: str = "light", **query: str) -> dict[str, Figure]:
        """Return the figures of a page."""
        opened = self.open(page, theme, **query)
        try:
            return read_figures(opened)
        finally:
            opened.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Dashboard]:
    dashboard = Dashboard(tmp_path_factory.mktemp("dashboard"), browser)
    with dashboard.running():
        yield dashboard


@pytest.fixture
def dashboard(running: Dashboard, files: Files) -> Dashboard:
    """The dashboard, which shows the warehouse of all services."""
    running.show(files.full)
    return running


@pytest.fixture
def query(files: Files) -> Callable[[str], list[tuple[Any, ...]]]:
    """Run SQL in the warehouse of all services."""
    return files.query
