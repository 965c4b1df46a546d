"""``textlift state``: cursors and runs from the destination, on a machine that never ran the pipeline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Open, Warehouse
from textlift.cli import state
from textlift.cli.command import LOADED, UNUSABLE
from textlift.sandbox import Response
from textlift.scheduled import run_task


@pytest.fixture
def warehouse(account: Open, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    opened = account()
    monkeypatch.setenv("SOURCES__MCOMMONS__BASE_URL", opened.box.url)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(opened.file))
    return opened


def lines(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """What ``textlift state`` prints, with one blank between columns."""
    capsys.readouterr()
    assert state.main(["mcommons", *options]) == LOADED
    return [re.sub(" +", " ", line) for line in capsys.readouterr().out.splitlines()]


def starts(warehouse: Warehouse, parameter: str) -> dict[str, str]:
    """Partition → first second that was requested of it since the requests were cleared."""
    found: dict[str, str] = {}
    for request in warehouse.box.requests:
        if "from" in request.params:
            key = request.params.get(parameter, "")
            found[key] = min(request.params["from"], found.get(key, "9"))
    return found


def test_it_lists_cursors_and_runs(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.load("profiles", "calls", "campaigns")
    warehouse.box.faults.append(lambda request: Response(400, b"<h1>Down</h1>"))
    summary = warehouse.load("profiles")
    found = lines(capsys)
    newest = max(row["updated_at"] for row in warehouse.box.service.rows("profiles"))
    assert any(line.startswith(f"profiles {newest:%Y-%m-%dT%H:%M}") for line in found)
    mconnect = warehouse.box.service.rows("mconnects")[0]["id"]
    assert any(line.startswith(f"calls {mconnect} 20") for line in found)
    runs = found[found.index("") + 1 :]
    assert runs[0].startswith("run time resources failed rows requests")
    failed, loaded, message = runs[1:]
    assert failed.startswith("2026-06-01T12:00:00Z 0 s 1 1 0 ")
    assert loaded.startswith("2026-06-01T12:00:00Z 0 s 3 ")
    assert message == f"2026-06-01T12:00:00Z profiles: {summary.failed['profiles']}"


def test_of_a_destination_without_data_there_is_nothing(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(capsys)[-1] == "No runs."
    assert not warehouse.file.exists()


def test_a_resource_that_was_reset_is_read_from_the_start_date(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.load("profiles", "calls")
    before = warehouse.everything()
    lines(capsys, "--reset", "calls", "--yes")
    assert not any(line.startswith("calls") for line in lines(capsys))
    warehouse.box.requests.clear()
    warehouse.load("profiles", "calls")
    read = starts(warehouse, "mconnect_id")
    assert read.pop("") > "2025"
    assert set(read.values()) == {"2024-01-01T00:00:00Z"}
    assert warehouse.everything() == before


def test_a_partition_that_was_reset_is_read_alone_from_the_start_date(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.load("calls")
    first, *others = (str(row["id"]) for row in warehouse.box.service.rows("mconnects"))
    lines(capsys, "--reset", "calls", "--partition", first, "--yes")
    warehouse.box.requests.clear()
    warehouse.load("calls")
    read = starts(warehouse, "mconnect_id")
    assert read[first] == "2024-01-01T00:00:00Z"
    assert all(read[other] > "2024-01-01T00:00:00Z" for other in others)


def test_the_cursors_of_scheduled_tasks_are_listed_and_reset(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    run_task("mcommons", "profiles")
    (line,) = (line for line in lines(capsys) if line.startswith("profiles "))
    assert line.endswith(" mcommons_profiles")
    lines(capsys, "--reset", "profiles", "--yes")
    warehouse.box.requests.clear()
    run_task("mcommons", "profiles")
    assert starts(warehouse, "")[""] == "2024-01-01T00:00:00Z"


def test_a_reset_has_to_be_confirmed(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.load("profiles")
    before = lines(capsys)
    assert state.main(["mcommons", "--reset", "profiles"]) == UNUSABLE
    assert "--yes" in capsys.readouterr().err
    assert lines(capsys) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--reset", "nosuch"), "Unknown resource: nosuch"),
        (("--reset", "campaigns"), "no cursor of campaigns"),
        (("--reset", "profiles", "--partition", "7"), "no cursor of profiles, partition 7"),
    ],
    ids=["no resource", "a list", "no partition"],
)
def test_what_has_no_cursor_is_not_reset(
    warehouse: Warehouse,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: tuple[str, ...],
    named: str,
) -> None:
    warehouse.load("profiles", "campaigns")
    assert state.main(["mcommons", *options, "--yes"]) == UNUSABLE
    assert named in capsys.readouterr().err
