"""A large account at a service that fails every tenth time: not a row too few, none too many."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import PROJECT, Open, Warehouse
from tests.support.accounts import assert_same
from tests.support.messages import assert_same as assert_messages
from textlift.mcommons import mcommons_source
from textlift.sandbox import rehearse
from textlift.sandbox.mcommons import MobileCommons

NOW = "2025-06-01T12:00:00Z"


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "10")
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_RETRY_DELAY", "0.2")


@contextmanager
def elsewhere(*options: str) -> Iterator[str]:
    """A sandbox in a process of its own, as a user starts it; gives its URL."""
    command = [
        sys.executable,
        "-m",
        "textlift",
        "sandbox",
        "mcommons",
        "--port",
        "0",
        "--exit-with-stdin",
        *options,
    ]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        line = process.stdout.readline()
        yield line[line.index("http://") :].strip()
        process.stdin.close()


@pytest.mark.slow
def test_under_random_faults_a_load_of_200_000_profiles_is_whole(tmp_path: Path) -> None:
    account = ["--profiles", "200000", "--now", NOW]
    faults = ["--faults", "transient@10%", "--fault-seed", "7"]
    with elsewhere(*account, *faults) as url:
        # The same account, to compare with; its own service is asked nothing.
        box: Any = SimpleNamespace(url=url, service=MobileCommons(profiles=200_000, now=NOW))
        warehouse = Warehouse(box, tmp_path, "mcommons", mcommons_source)
        summary = warehouse.load("profiles", package_rows=100_000)
    assert summary.failed == {}
    assert summary.packages > 1
    assert warehouse.query("SELECT retries > 20 FROM load_runs") == [(True,)]
    assert_same(warehouse, "profiles", "profiles__subscriptions")
    assert warehouse.query("SELECT count(*) >= 200000 FROM profiles") == [(True,)]


def test_under_random_faults_a_load_of_many_messages_is_whole(export: Open) -> None:
    warehouse = export(messages=150_000)
    rehearse(warehouse.box, "transient@10%", seed=7)
    assert warehouse.load(package_rows=20_000).failed == {}
    assert_messages(warehouse)
