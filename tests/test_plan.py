"""``textlift load --dry-run``: what a load would read, found with the lists of partitions alone."""

from __future__ import annotations

import pytest

from tests.conftest import TODAY, Open, Warehouse
from tests.support.commands import FAILED, LOADED, run
from textlift.extract.sync import StreamPlan
from textlift.load.plan import plan_load
from textlift.sandbox import Response
from textlift.sandbox.clock import Clock
from textlift.windows import format_time


def planned(
    warehouse: Warehouse, *resources: str, full_refresh: bool = False, **settings: str
) -> dict[str, StreamPlan]:
    source = warehouse.source(isolate_failures=True, **settings)
    plans = plan_load(warehouse.pipeline(), source, resources or None, full_refresh)
    return {plan.resource: plan for plan in plans}


def test_it_requests_each_list_of_partitions_once_and_loads_nothing(account: Open) -> None:
    warehouse = account()
    plans = planned(warehouse)
    assert set(plans) == set(warehouse.source().resources)
    requested = [
        (request.endpoint, request.params.get("page")) for request in warehouse.box.requests
    ]
    assert {name for name, _ in requested} == {
        "campaigns",
        "groups",
        "mconnects",
        "mdatas",
        "tinyurls",
    }
    assert len(requested) == len(set(requested))
    assert not warehouse.file.exists()
    assert warehouse.pipeline().first_run


@pytest.mark.parametrize("is_second", [False, True], ids=["first load", "second load"])
def test_a_load_starts_with_the_windows_that_were_planned(
    account: Open, clock: Clock, is_second: bool
) -> None:
    warehouse = account()
    only = ("profiles", "calls", "incoming_messages")
    if is_second:
        warehouse.load(*only)
        # The cursors come from the destination, also on a machine that never loaded.
        warehouse.state = warehouse.folder / "another machine"
    before = warehouse.everything() if is_second else {}
    plans = planned(warehouse, *only)
    assert before == (warehouse.everything() if is_second else {})
    warehouse.box.requests.clear()
    summary = warehouse.load(*only)
    for name in only:
        windows = [each.window for each in plans[name].slices if each.window]
        start, end = summary.windows[name]
        assert (format_time(min(w.start for w in windows)), format_time(windows[-1].end)) == (
            start,
            end,
        )
    partitions = {each.partition.values["mconnect_id"] for each in plans["calls"].slices}
    assert partitions == {row["id"] for row in warehouse.box.service.rows("mconnects")}
    assert sum(len(plan.slices) for plan in plans.values()) <= len(warehouse.box.requests)


def test_a_complete_read_that_is_due_is_in_the_plan(account: Open, clock: Clock) -> None:
    warehouse = account(now=TODAY)
    warehouse.load("profiles")
    assert len(planned(warehouse, "profiles")["profiles"].slices) == 1
    clock.advance(8 * 24 * 3600)
    usual, *complete = planned(warehouse, "profiles")["profiles"].slices
    assert usual.window
    assert complete


def test_a_full_refresh_is_planned_from_the_start_date(account: Open) -> None:
    warehouse = account()
    warehouse.load("calls")
    for plan in planned(warehouse, "calls", full_refresh=True).values():
        assert plan.slices[0].window
        assert format_time(plan.slices[0].window.start) == "2024-01-01T00:00:00Z"


def test_a_plan_without_slices_says_why(account: Open) -> None:
    warehouse = account()
    plans = planned(warehouse, "profiles", "mdata_entries", until="2023-05-01")
    assert plans["profiles"].slices == plans["mdata_entries"].slices == []
    assert "start_date" in str(plans["profiles"].note)


@pytest.mark.real_clock
def test_the_command_prints_a_line_for_each_slice(account: Open) -> None:
    warehouse = account()
    ended = run(warehouse, "--dry-run", "--resources", "calls,campaigns,mdata_queries")
    assert (ended.code, ended.err) == (LOADED, "")
    head, *lines, total = ended.out.splitlines()
    assert head.split() == ["resource", "partition", "window"]
    for mconnect in warehouse.box.service.rows("mconnects"):
        assert any(
            line.split()[:4]
            == ["calls", "mconnect_id", str(mconnect["id"]), "2024-01-01T00:00:00Z"]
            for line in lines
        )
    assert f"At least {len(lines)} requests" in total
    assert not warehouse.file.exists()


@pytest.mark.real_clock
def test_a_list_of_partitions_that_cannot_be_read_fails_the_command(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(lambda request: Response(400, b"<h1>no</h1>"))
    ended = run(warehouse, "--dry-run", "--resources", "calls")
    assert ended.code == FAILED
    assert "mconnects" in ended.err
    assert "Traceback" not in ended.err
