"""One DuckDB file for all services: what it holds, how runs share it, and how an earlier file moves in."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb as duckdb_client
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from filelock import FileLock

from tests.conftest import PROJECT, Open, Warehouse
from tests.support.accounts import assert_same
from tests.support.commands import (
    LOADED,
    PATIENCE,
    UNUSABLE,
    Ended,
    names_in,
    rows_in,
    run,
    started,
    two_lines,
)
from tests.support.forks import Fork
from textlift.cli.move import main as move

#: The command line, not patient with a file that anybody has open.
IMPATIENT = """
import sys
from textlift.destinations import _duckdb
from textlift.cli import end
from textlift.cli.command import main
_duckdb.LOCK_SECONDS = 0.2
end(main(["mgage"]))
"""
#: A run of ours that has the file open until its standard input is closed.
LOADING = """
import sys, dlt
from textlift.destinations import destination
pipeline = dlt.pipeline(
    "other", sys.argv[2], destination=destination("duckdb", credentials=sys.argv[1]), dataset_name="other"
)
with pipeline.destination_client(), pipeline.destination_client():
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "here"
    made.mkdir()
    return made


Services = Callable[..., Ended]


@pytest.fixture
def services(account: Open, export: Open, folder: Path) -> tuple[Services, Warehouse, Warehouse]:
    """Runs a service's command line in a folder without a configured file; and both services."""
    both = {"mcommons": account(), "mgage": export(messages=300)}

    def load(service: str, *options: str) -> Ended:
        return run(both[service], *options, cwd=folder, DESTINATION__DUCKDB__CREDENTIALS=None)

    return load, both["mcommons"], both["mgage"]


def earlier(file: Path, warehouse: Warehouse) -> None:
    """Fill a file as an earlier version did, with a dataset of the file's own name."""
    warehouse.file = file
    warehouse.load()
    shutil.rmtree(warehouse.state)


def begins(warehouse: Warehouse) -> str:
    """The first month that was asked for, of profiles or of a program's messages."""
    params = [request.params for request in warehouse.box.requests]
    if warehouse.name == "mcommons":
        params = [each for each in params if "from" in each]
    return min(each.get("from") or each["startDate"] for each in params)[:7]


def test_all_services_load_into_one_file_and_any_client_can_query_it(
    services: tuple[Services, Warehouse, Warehouse], folder: Path
) -> None:
    load, mcommons, _ = services
    for _ in range(2):
        for service in ("mcommons", "mgage"):
            ended = load(service)
            assert (ended.code, ended.err) == (LOADED, "")
    assert names_in(folder) == ["textlift.duckdb"]
    file = folder / "textlift.duckdb"
    profiles = len(mcommons.box.service.rows("profiles"))
    assert rows_in(file, "SELECT count(*) FROM mcommons.profiles") == [(profiles,)]
    assert rows_in(file, "SELECT count(*) > 0 FROM mgage.messages") == [(True,)]
    mcommons.file = file
    assert_same(mcommons)


def test_both_sandboxes_load_into_one_file(account: Open, export: Open, folder: Path) -> None:
    options = ("--sandbox", "--resources")
    assert run(account(empty=True), *options, "campaigns", cwd=folder).code == LOADED
    assert run(export(empty=True), *options, "messages", cwd=folder).code == LOADED
    assert names_in(folder) == ["textlift_sandbox.duckdb"]
    file = folder / "textlift_sandbox.duckdb"
    assert rows_in(file, "SELECT count(*) > 0 FROM mcommons.campaigns") == [(True,)]
    assert rows_in(file, "SELECT count(*) > 0 FROM mgage.messages") == [(True,)]


# Turns


@contextmanager
def loading(warehouse: Warehouse) -> Iterator[subprocess.Popen[str]]:
    """A run of ours that has the file open; closing its standard input ends it."""
    command = ["-c", LOADING, str(warehouse.file), str(warehouse.folder / "other")]
    with Fork(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "open\n"
        yield process
        process.stdin.close()


def test_a_run_waits_for_another_of_ours_as_long_as_it_takes(export: Open) -> None:
    warehouse = export(messages=300)
    with loading(warehouse) as other, started(warehouse, "-c", IMPATIENT) as process:
        assert process.stderr and other.stdin
        assert "Another run loads into" in process.stderr.readline()
        # It waits for nothing but that.
        other.stdin.close()
        _, shown = process.communicate(timeout=PATIENCE)
        assert (process.returncode, shown) == (LOADED, "")
    assert warehouse.content("messages")


def test_a_run_has_the_file_open_at_its_start_and_while_it_loads_a_package(
    export: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = export()
    turns: list[str] = []
    acquire = FileLock.acquire
    monkeypatch.setattr(
        FileLock,
        "acquire",
        lambda lock, *args, **options: (
            turns.append(lock.lock_file) or acquire(lock, *args, **options)
        ),
    )
    packages = warehouse.load(package_rows=300).packages
    assert packages > 1
    file = f"{warehouse.file}.lock"
    assert turns.count(file) == 1 + packages


def test_a_run_that_cannot_load_leaves_the_file_to_others(export: Open) -> None:
    warehouse = export(messages=100)
    warehouse.load()
    with duckdb_client.connect(str(warehouse.file)) as connection:
        connection.execute("ALTER TABLE mgage.messages RENAME COLUMN body TO text")
    with pytest.raises(PipelineStepFailed) as failed:
        warehouse.load()
    assert failed.value.step == "load"
    with FileLock(f"{warehouse.file}.lock", timeout=0):
        pass


def test_a_run_that_was_killed_leaves_the_file_to_the_next(export: Open) -> None:
    warehouse = export(messages=300)
    with loading(warehouse) as other:
        other.kill()
        other.wait(PATIENCE)
    assert run(warehouse).code == LOADED


# Files of an earlier version


@pytest.mark.real_clock
def test_a_file_of_an_earlier_version_is_named_and_moves_with_one_command(
    services: tuple[Services, Warehouse, Warehouse], folder: Path
) -> None:
    load, *both = services
    for warehouse in both:
        earlier(folder / f"{warehouse.name}.duckdb", warehouse)
    before = [warehouse.everything() for warehouse in both]
    first = {warehouse.name: begins(warehouse) for warehouse in both}
    for warehouse, content in zip(both, before):
        warehouse.box.requests.clear()
        ended = load(warehouse.name)
        what, advice = two_lines(ended.err)
        assert f"{warehouse.name}.duckdb is of an earlier version" in what
        assert (ended.code, ended.out, warehouse.box.requests) == (UNUSABLE, "", [])
        command = re.search(r"Move it there: (.*) \(or", advice)
        assert command
        done = subprocess.run(command[1], shell=True, check=True, cwd="/", stdout=subprocess.PIPE)
        assert warehouse.name in done.stdout.decode()
        warehouse.file = folder / "textlift.duckdb"
        assert warehouse.everything() == content
        # It goes on from the cursors that came along.
        ended = load(warehouse.name)
        assert (ended.code, ended.err) == (LOADED, "")
        assert begins(warehouse) > first[warehouse.name]
    assert names_in(folder) == ["textlift.duckdb"]
    assert_same(both[0])


def test_a_file_that_is_configured_stays_what_it_is(account: Open, folder: Path) -> None:
    warehouse = account()
    warehouse.file = folder / "mcommons.duckdb"
    for _ in range(2):
        assert run(warehouse, "--resources", "tags", cwd=folder).code == LOADED
    assert names_in(folder) == ["mcommons.duckdb"]


def test_an_earlier_file_of_the_sandbox_is_mentioned_once(account: Open, folder: Path) -> None:
    (folder / "mcommons_sandbox.duckdb").touch()
    said = "mcommons_sandbox.duckdb is of an earlier version and can be deleted."
    for number in range(2):
        ended = run(account(empty=True), "--sandbox", "--resources", "tags", cwd=folder)
        assert (ended.code, ended.err) == (LOADED, "")
        assert (said in ended.out) == (number == 0)


def test_what_cannot_be_moved_stays(account: Open, folder: Path) -> None:
    warehouse = account()
    old, new = folder / "it's.duckdb", folder / "textlift.duckdb"
    for file in (old, new):
        warehouse.file, warehouse.state = file, folder / file.stem
        warehouse.load("tags")
    assert move([str(old), str(new)]) == 1
    assert move([str(folder / "nowhere.duckdb"), str(new)]) == 1
    with duckdb_client.connect(str(new)):
        pass
    assert warehouse.content("tags")
    assert old.is_file()
    new.unlink()
    assert move([str(old), str(new)]) == 0
    assert warehouse.content("tags")
    assert not old.exists()
