"""Hazard 17: what a killed run has left on the disk is gone when the next one has started."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import PHONE, Open, Warehouse, slow_but
from tests.support.accounts import PROFILES, assert_same
from tests.support.commands import LOADED, SCRIPT, UNUSABLE, run, started, wait_until
from tests.support.kills import found, gate, kill
from textlift.sandbox import Request

#: Every batch is a file at once.
AT_ONCE = {"DATA_WRITER__BUFFER_MAX_ITEMS": "1", "DATA_WRITER__FILE_MAX_ITEMS": "1"}
ONLY = ("--resources", "profiles,broadcasts")
TASK = "from textlift.scheduled import run_task; run_task('mcommons', {!r}, resources={!r})"


def broadcasts(request: Request) -> bool:
    return request.endpoint == "broadcasts"


def numbers(folder: Path) -> list[Path]:
    """Files that hold a person's number."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if PHONE.search(_text(path))]


def _text(path: Path) -> str:
    if path.suffix == ".parquet":
        with suppress(pa.ArrowInvalid):  # it can be cut short
            return str(pq.read_table(path).to_pylist())
    return path.read_bytes().decode(errors="replace")


def test_killed_while_it_extracts(account: Open) -> None:
    warehouse = account()
    with (
        gate(warehouse.box, broadcasts) as closed,
        started(warehouse, str(SCRIPT), *ONLY, **AT_ONCE) as process,
    ):
        pattern = "normalize/**/profiles.*.parquet"
        wait_until(found(warehouse.state / "mcommons", pattern), process)
        wait_until(closed.reached.is_set, process)
        kill(process)
    assert_next_start_removes_it(warehouse)


@pytest.mark.parametrize(
    "pattern",
    slow_but(
        slice(1),
        [
            "load/normalized/*/started_jobs/*",
            "load/new/*/new_jobs/*",
            "normalize/extracted/*/new_jobs/*",
        ],
    ),
    ids=["loading", "normalizing", "extracted"],
)
def test_killed_after_that(account: Open, pattern: str) -> None:
    warehouse = account()
    with started(warehouse, str(SCRIPT), *ONLY, **AT_ONCE) as process:
        wait_until(found(warehouse.state / "mcommons", pattern), process)
        kill(process)
    assert_next_start_removes_it(warehouse)


def assert_next_start_removes_it(warehouse: Warehouse) -> None:
    assert list(warehouse.state.rglob("*.parquet")) != []
    # Also a start that comes no further.
    password = {"SOURCES__MCOMMONS__CREDENTIALS__PASSWORD": "wrong"}
    assert run(warehouse, *ONLY, **password).code == UNUSABLE
    assert list(warehouse.state.rglob("*.parquet")) == []
    assert numbers(warehouse.state) == []
    assert run(warehouse, *ONLY).code == LOADED
    assert_same(warehouse, *PROFILES, "broadcasts")
    assert numbers(warehouse.state) == []


def test_a_file_of_no_known_kind_goes_too(account: Open) -> None:
    warehouse = account()
    warehouse.load("keywords")
    for name in ("normalize/x/y.parquet", "load/normalized/broken/new_jobs/a", "load/z.tmp"):
        path = warehouse.state / "mcommons" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12025550123")
    warehouse.load("keywords")
    assert numbers(warehouse.state) == []


def test_a_task_removes_what_killed_tasks_have_left_and_nothing_of_the_living(
    account: Open, tmp_path: Path
) -> None:
    warehouse = account()
    temporary = tmp_path / "tmp"
    # Whose folder this is, nobody knows.
    (temporary / "textlift-postgres").mkdir(parents=True)
    (temporary / "textlift-postgres" / "rows.parquet").write_text("12025550123")
    settings = {**AT_ONCE, "TMPDIR": str(temporary)}

    def task(resource: str) -> list[str]:
        return ["-c", TASK.format("profiles", [resource])]

    with (
        gate(warehouse.box, lambda request: request.endpoint == "profiles") as closed,
        started(warehouse, *task("profiles"), **settings) as killed,
        started(warehouse, *task("profiles"), **settings) as living,
    ):
        wait_until(lambda: len(list(temporary.glob("*/*/state.json"))) == 2, living)
        wait_until(lambda: len(warehouse.box.requests) == 2, killed)
        kill(killed)
        left = [folder for folder in temporary.iterdir() if "postgres" not in folder.name]
        assert len(left) == 2
        for folder in left:
            (folder / "mcommons_profiles" / "rows.parquet").write_text("12025550123")
        with started(
            warehouse, "-c", TASK.format("snapshots", ["keywords"]), **settings
        ) as process:
            _, err = process.communicate()
            assert process.returncode == 0, err
        (kept,) = [folder for folder in temporary.iterdir() if "postgres" not in folder.name]
        assert living.poll() is None
        closed.open()
        _, err = living.communicate()
        assert living.returncode == 0, err
    assert not kept.exists()
    assert [path.name for path in temporary.rglob("*.parquet")] == ["rows.parquet"]
    assert_same(warehouse, *PROFILES)
