"""The environments of the schedulers, and checks of their runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlt.common.versioned_state import decompress_state

from tests.conftest import PROJECT
from tests.support.documents import fences, page
from tests.support.truth import expected
from tests.support.warehouses import PostgresWarehouse, assert_same


class Environment:
    """A scheduler's own virtual environment, and settings for what runs in it."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.bin = PROJECT / f".venv-{name}" / "bin"
        self.folder = folder
        # Its tasks find the services and the warehouse where a user would have put them.
        self.settings = {**os.environ, **settings}
        self._running: list[subprocess.Popen[str]] = []

    def run(self, *command: str) -> str:
        """Run a command to its end, and return what it prints."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            env=self.settings,
            cwd=self.folder,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=400,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def start(self, *command: str) -> None:
        """Start what runs until the end."""
        with (self.folder / f"{'-'.join(command[:2])}.log").open("w") as log:
            self._running.append(
                subprocess.Popen(
                    [str(self.bin / command[0]), *command[1:]],
                    env=self.settings,
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            )

    def answering(self, *command: str) -> Callable[[], Any]:
        """Start what prints JSON for each line of its input, and return a function that asks it.

        A scheduler's modules take seconds to import, and a test asks again and again.
        """
        process = subprocess.Popen(
            [str(self.bin / command[0]), *command[1:]],
            env=self.settings,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._running.append(process)

        def ask() -> Any:
            assert process.stdin and process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        return ask

    def close(self) -> None:
        """Stop all of it."""
        for process in self._running:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def documented(module: str) -> str:
    """The documentation's example of what a scheduler reads."""
    examples = fences(page("docs/schedulers.md"), "python")
    [found] = [block for block in examples if f"textlift.{module}" in block]
    return found


def complaints(name: str) -> list[str]:
    """What mypy says of the module for a scheduler where that is installed."""
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--cache-dir", f".mypy_cache/{name}"),
            *("--python-executable", str(PROJECT / f".venv-{name}" / "bin" / "python")),
            *("-m", f"textlift.{name}"),
        ],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
    )
    return [
        line
        for line in checked.stdout.splitlines()
        if line.startswith(f"sources/textlift/{name}.py")
    ]


def eventually(there: Callable[[], bool], seconds: float = 400) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it never came"
        time.sleep(2)


def assert_same_but_queries(warehouse: PostgresWarehouse) -> None:
    """A query's old rows change with the profile beside them, which is not read again."""
    service = warehouse.box.service
    others = [name for name in expected(service) if not name.startswith("mdata_queries")]
    assert_same(warehouse, *others)
    queries = warehouse.query("SELECT count(*), count(DISTINCT query_key) FROM mdata_queries")
    assert queries == [(len(service.rows("mdata_queries")),) * 2]


def most_at_once(runs: Sequence[Mapping[str, Any]]) -> int:
    """How many of the runs were under way at the same time."""
    return max(
        sum(other["start_date"] <= run["start_date"] < other["end_date"] for other in runs)
        for run in runs
    )


def cursors(warehouse: PostgresWarehouse) -> list[tuple[str, str]]:
    """The newest state of each pipeline that goes on from its cursors."""
    rows = warehouse.query(
        "SELECT DISTINCT ON (pipeline_name) pipeline_name, state FROM _dlt_pipeline_state "
        "ORDER BY pipeline_name, version DESC"
    )
    return [
        (name, json.dumps(decompress_state(state)["sources"], sort_keys=True))
        for name, state in rows
        if not name[-1].isdigit()
    ]


Open = Callable[[str, Mapping[str, str]], Environment]
