"""The command ``textlift`` and what it leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import PROJECT, Open
from tests.support.commands import (
    LOADED,
    PATIENCE,
    SCRIPTS,
    UNUSABLE,
    Ended,
    environment,
    names_in,
    rows_in,
    run,
)
from tests.support.forks import forked
from textlift.cli import demo
from textlift.registry import SERVICES, job_of
from textlift.tasks import TASKS

pytestmark = pytest.mark.real_clock


def textlift(*arguments: str, cwd: Path, **settings: str) -> Ended:
    # The processes that it starts need the package, too.
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT / "sources"), **settings}
    process = forked(["-m", "textlift", *arguments], cwd, env, PATIENCE)
    return Ended(process.returncode, process.stdout, process.stderr)


@pytest.mark.parametrize("arguments", [(), ("--help",)], ids=["none", "help"])
def test_it_lists_its_commands(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = textlift(*arguments, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    for command in ("demo", "load", "check", "state", "sandbox", "move"):
        assert f"\n  {command} " in ended.out
        listed = textlift(command, "--help", cwd=tmp_path)
        assert listed.out.startswith(f"usage: textlift {command} ")


def test_a_command_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    ended = textlift("laod", cwd=tmp_path)
    assert "'laod'" in ended.err
    assert ended.code == UNUSABLE


def test_the_demo_loads_every_service_into_the_directory_and_shows_queries(tmp_path: Path) -> None:
    state = tmp_path / "state"
    here = tmp_path / "here"
    here.mkdir()
    ended = textlift("demo", cwd=here, PIPELINES_DIR=str(state), HOME=str(tmp_path))
    assert (ended.code, ended.err) == (LOADED, "")
    assert names_in(here) == ["textlift_sandbox.duckdb"]
    file = here / "textlift_sandbox.duckdb"
    for query in (*(job_of(service).example for service in SERVICES), demo.ACROSS):
        assert query in ended.out
        assert rows_in(file, query)
    several = {name for services, *_ in rows_in(file, demo.ACROSS) for name in services.split(", ")}
    assert several == {*SERVICES}
    posted = [
        f"{service}.{endpoint.name}"
        for service in SERVICES
        for endpoint in job_of(service).endpoints
        if endpoint.webhook
    ]
    assert posted
    for table in posted:
        assert rows_in(file, f"SELECT count(*) > 0 FROM {table}") == [(True,)], table
    assert {name.partition("_sandbox")[2] for name in names_in(state)} <= {"", ".lock"}
    assert "Next steps" in ended.out


def test_check_and_load_do_what_the_pipelines_files_do(account: Open) -> None:
    warehouse = account()
    settings = environment(warehouse, PYTHONPATH=str(PROJECT / "sources"))
    checked = textlift("check", "mcommons", cwd=warehouse.folder, **settings)
    assert (checked.code, checked.err) == (LOADED, "")
    assert checked.out == run(warehouse, "--check").out
    assert not warehouse.file.exists()
    options = ("--resources", "tags")
    assert textlift("load", "mcommons", *options, cwd=warehouse.folder, **settings).code == LOADED
    loaded = warehouse.content("tags")
    assert loaded
    assert run(warehouse, *options).code == LOADED
    assert warehouse.content("tags") == loaded


def test_a_service_is_in_the_registry_with_all_of_its_resources() -> None:
    assert {*SERVICES} == {*SCRIPTS}
    for service in SERVICES:
        job = job_of(service)
        assert job.name == service
        tasks = [name for names in TASKS[service].values() for name in names]
        assert sorted(tasks) == sorted(endpoint.name for endpoint in job.endpoints)
