"""Run the command line in a process, and read what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb as duckdb_client

from tests.conftest import PROJECT, Warehouse
from tests.support.forks import Fork, forked
from textlift.registry import SERVICES
from textlift.sandbox import Request, Sandbox

SCRIPTS = {name: PROJECT / "pipelines" / f"{name}.py" for name in SERVICES}
SCRIPT = SCRIPTS["mcommons"]
#: Longest wait for something that takes a moment, in seconds. Nothing waits once it has happened.
PATIENCE = 60.0
LOADED, FAILED, UNUSABLE, REJECTED = 0, 1, 2, 3
DATED = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it printed; the dated lines of its progress stand apart."""

    code: int
    out: str
    err: str
    progress: tuple[str, ...] = ()


def environment(warehouse: Warehouse, **changes: str | None) -> dict[str, str]:
    """The variables by which the command line fills ``warehouse``; ``None`` takes one away."""
    settings = {
        **os.environ,
        f"SOURCES__{warehouse.name.upper()}__BASE_URL": warehouse.box.url,
        "DESTINATION__DUCKDB__CREDENTIALS": str(warehouse.file),
        "PIPELINES_DIR": str(warehouse.state),
        "COLUMNS": "200",
        **changes,
    }
    return {name: value for name, value in settings.items() if value is not None}


def run(warehouse: Warehouse, *options: str, cwd: Path = PROJECT, **changes: str | None) -> Ended:
    """Run the command line to its end."""
    command = [str(SCRIPTS[warehouse.name]), *options]
    settings = environment(warehouse, **changes)
    # Only a new interpreter reads its own variables.
    runs = interpreted if any(name.startswith("PYTHON") for name in changes) else forked
    process = runs(command, cwd, settings, PATIENCE)
    lines = process.stdout.splitlines(keepends=True)
    dated = [line for line in lines if DATED.match(line)]
    out = "".join(line for line in lines if line not in dated)
    return Ended(process.returncode, out, process.stderr, tuple(dated))


def interpreted(
    command: list[str], cwd: Path, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, *command],
        check=False,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@contextmanager
def started(
    warehouse: Warehouse,
    *command: str,
    cwd: Path = PROJECT,
    stderr: IO[str] | int | None = subprocess.PIPE,
    **changes: str | None,
) -> Iterator[subprocess.Popen[str]]:
    """A script under way, or ``-c`` and code; whatever happens, it ends with the block."""
    process = Fork(
        [*command],
        cwd=cwd,
        env=environment(warehouse, **changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(
    condition: Callable[[], object], process: subprocess.Popen[str] | None = None
) -> None:
    """Wait for ``condition``; fail if it never comes, or cannot come any more."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"it ended too early: {process.communicate()}")
        if time.monotonic() > deadline:
            raise AssertionError("it never happened")
        time.sleep(0.002)


def rows_in(file: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb_client.connect(str(file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def two_lines(text: str) -> tuple[str, str]:
    """A message as it has to be: what is wrong, and what to do about it."""
    assert "Traceback" not in text
    first, second = text.splitlines()
    assert first.strip()
    assert second.strip()
    return first, second


def names_in(folder: Path) -> list[str]:
    """What a run leaves in a folder, but for the lock of a file."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def asked(box: Sandbox, endpoint: str) -> list[Request]:
    return [request for request in box.requests if request.endpoint == endpoint]
