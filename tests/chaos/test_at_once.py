"""Runs that load the same tables at the same time bring every row once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.warehouses import AnyWarehouse, LakeWarehouse, assert_same


@pytest.mark.parametrize(
    ("open_service", "name"),
    [("delta", "delta"), ("postgres", "postgres")],
    indirect=["open_service"],
)
def test_runs_at_the_same_time_merge_into_the_same_table(
    elsewhere: AnyWarehouse,
    name: str,
) -> None:
    warehouse = elsewhere(profiles=300)
    if isinstance(warehouse, LakeWarehouse):
        there = {"DESTINATION__FILESYSTEM__BUCKET_URL": str(warehouse.lake)}
    else:
        there = {"DESTINATION__POSTGRES__CREDENTIALS": warehouse.uri}
    program = (
        "import sys; from textlift.scheduled import run_task\n"
        "summary = run_task('mcommons', 'profiles', since='2024-01-01', until=sys.argv[1],"
        " destination_name=sys.argv[2])\n"
        "assert not summary.failed"
    )
    settings = {**os.environ, **there, "SOURCES__MCOMMONS__BASE_URL": warehouse.box.url}
    running = [
        subprocess.Popen([sys.executable, "-c", program, until, name], env=settings)
        for until in ("2024-12-31", "2025-03-01", "2025-06-01", "2025-06-02")
    ]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert_same(warehouse, "profiles", "profiles__subscriptions")
