"""A run among others: a second one, an analyst with the file open, a disk that is full."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import duckdb
import pytest

from tests.conftest import Open, Warehouse
from tests.support.accounts import assert_same
from tests.support.commands import (
    FAILED,
    LOADED,
    PATIENCE,
    SCRIPTS,
    environment,
    run,
    started,
    two_lines,
    wait_until,
)
from tests.support.kills import SAME, after, gate
from textlift.errors import AlreadyRunning, DestinationFailed

pytestmark = pytest.mark.real_clock
ONE_AT_A_TIME = {"SOURCES__MCOMMONS__CONCURRENCY": "1", "SOURCES__MGAGE__CONCURRENCY": "1"}
#: The command line, not patient with a file that is locked.
IMPATIENT = """
from textlift.destinations import _duckdb
from textlift.cli import end
from textlift.cli.command import main
_duckdb.LOCK_SECONDS = 0.2
end(main(["mcommons"]))
"""
READER = """
import sys, time, duckdb
connection = None
while connection is None:
    try:
        connection = duckdb.connect(sys.argv[1], read_only=True)
    except duckdb.IOException:
        # A run has it open for a moment.
        time.sleep(0.05)
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def analyst(warehouse: Warehouse) -> Iterator[subprocess.Popen[str]]:
    """Somebody who has the DuckDB file open; closing their standard input closes it."""
    command = [sys.executable, "-c", READER, str(warehouse.file)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "open\n"
        yield process
        process.stdin.close()


# Another run


@pytest.mark.parametrize("service", ["mcommons", "mgage"])
def test_of_two_runs_at_once_the_second_stops_and_says_why(opened: Open, service: str) -> None:
    warehouse = opened(service)
    with (
        gate(warehouse.box, after(3)) as closed,
        started(warehouse, str(SCRIPTS[service]), **ONE_AT_A_TIME) as first,
    ):
        wait_until(closed.reached.is_set, first)
        asked = len(warehouse.box.requests)
        for options in ([], ["--full-refresh", "--yes"]):
            second = run(warehouse, *options)
            assert (second.code, second.out) == (FAILED, "")
            what, advice = two_lines(second.err)
            assert f"another run of this pipeline is under way (process {first.pid})" in what
            assert "Wait for it to end" in advice
        assert len(warehouse.box.requests) == asked
        closed.open()
        first.communicate(timeout=PATIENCE)
        assert first.returncode == LOADED
    SAME[service](warehouse)
    assert run(warehouse).code == LOADED


def test_of_two_threads_of_a_process_the_second_stops_as_well(account: Open) -> None:
    warehouse = account()
    found: list[BaseException] = []

    def load_again() -> None:
        try:
            warehouse.load("keywords")
        except AlreadyRunning as error:
            found.append(error)

    with gate(warehouse.box, after(0)) as closed:
        first = threading.Thread(target=warehouse.load, args=("campaigns",))
        first.start()
        assert closed.reached.wait(PATIENCE)
        second = threading.Thread(target=load_again)
        second.start()
        second.join(PATIENCE)
    first.join(PATIENCE)
    assert len(found) == 1
    assert warehouse.content("campaigns")


# The file is open elsewhere


def test_a_file_that_is_open_for_a_moment_costs_a_moment(account: Open) -> None:
    warehouse = account()
    warehouse.load()
    with analyst(warehouse) as reader:
        assert reader.stdin

        def let_go(*_: object) -> None:
            reader.stdin.close()

        with started(warehouse, str(SCRIPTS["mcommons"])) as process:
            assert process.stderr
            lines: list[str] = []
            while "in use; waiting" not in "".join(lines):
                lines.append(process.stderr.readline())
            let_go()
            process.communicate(timeout=PATIENCE)
            assert process.returncode == LOADED
    assert_same(warehouse)


@pytest.mark.parametrize("requests", [0, 10], ids=["at the start", "at the load"])
def test_a_file_that_stays_open_fails_the_run_and_the_next_one_brings_everything(
    account: Open, requests: int
) -> None:
    warehouse = account()
    warehouse.load("keywords")
    with ExitStack() as stack:
        if not requests:
            reader = stack.enter_context(analyst(warehouse))
        closed = stack.enter_context(gate(warehouse.box, after(requests)))
        process = stack.enter_context(started(warehouse, "-c", IMPATIENT))
        if requests:
            wait_until(closed.reached.is_set, process)
            reader = stack.enter_context(analyst(warehouse))
        closed.open()
        _, shown = process.communicate(timeout=PATIENCE)
        assert process.returncode == FAILED
    *_, what, advice = shown.strip().splitlines()
    assert f"PID {reader.pid}" in what
    assert "Close the file there" in advice
    assert "credentials" not in shown
    assert run(warehouse).code == LOADED
    assert_same(warehouse)


# The file is not whole


@pytest.mark.parametrize("size", [0, 12, 4096, 10_000])
def test_a_file_whose_making_was_cut_off_is_made_anew(account: Open, size: int) -> None:
    warehouse = account()
    duckdb.connect(str(warehouse.file)).close()
    os.truncate(warehouse.file, size)
    warehouse.load("keywords")
    assert warehouse.content("keywords")


@pytest.mark.parametrize("content", [b"a letter to a friend", b"x" * 20_000])
def test_a_file_that_is_something_else_is_left_alone(account: Open, content: bytes) -> None:
    warehouse = account()
    warehouse.file.write_bytes(content)
    with pytest.raises(DestinationFailed, match="not a valid DuckDB database"):
        warehouse.load("keywords")
    assert warehouse.file.read_bytes() == content


# The disk is full


@pytest.mark.parametrize(
    ("service", "kilobytes", "next_step"),
    [
        ("mcommons", 10, "DESTINATION__DUCKDB__"),
        ("mcommons", 600, "the next run goes on from there"),
        ("mgage", 400, "the next run goes on from there"),
    ],
)
def test_on_a_full_disk_a_run_fails_and_the_next_one_brings_everything(
    opened: Open, service: str, kilobytes: int, next_step: str
) -> None:
    size = {"mcommons": {"profiles": 120}, "mgage": {"messages": 9000}}[service]
    warehouse = opened(service, **size)
    limit = kilobytes * 1024
    process = subprocess.run(
        [sys.executable, str(SCRIPTS[service])],
        check=False,
        env=environment(warehouse),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert process.returncode == FAILED
    *_, what, advice = process.stderr.strip().splitlines()
    assert "File too large" in what
    assert next_step in advice
    assert run(warehouse).code == LOADED
    SAME[service](warehouse)


def test_a_schedule_of_years_does_not_fill_the_disk(account: Open) -> None:
    warehouse = account()
    for _ in range(3):
        warehouse.load("keywords")
        assert len(warehouse.pipeline().list_completed_load_packages()) == 1
    assert not list(warehouse.state.rglob("*.parquet"))
