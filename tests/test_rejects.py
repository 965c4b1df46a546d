"""Rejects over several runs: each is there once, and says when its record loaded well after all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.conftest import Open, Warehouse
from tests.support.hooks import corrupted
from textlift.arrow.build import empty_page
from textlift.arrow.pages import without_repeats
from textlift.codec.records import Reject
from textlift.extract.slices import Partition, Slice
from textlift.load import resources
from textlift.load.rejects import SCHEMA, Rejections
from textlift.mcommons.endpoints import ENDPOINTS
from textlift.sandbox.clock import Clock
from textlift.sandbox.faults import rehearse
from textlift.windows import Window

GROUPS = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "groups")
CALLS = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "calls")

SHOWN = "SELECT row_key, column_name, payload, resolved_at IS NOT NULL FROM rejected_records"


def shown(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return sorted(warehouse.query(SHOWN), key=repr)


def times(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT rejected_at, resolved_at FROM rejected_records")


def test_a_value_that_loads_well_later_is_resolved_and_one_that_does_not_stays(
    account: Open, clock: Clock
) -> None:
    warehouse = account(empty=True)
    for id in (1, 2):
        warehouse.box.service.put("broadcasts", {"id": id})
        warehouse.box.service.update("broadcasts", id, replies_count="many", throttled="perhaps")
    assert warehouse.load("broadcasts").rejected == 4
    noted = times(warehouse)
    clock.advance(60)
    warehouse.box.service.update("broadcasts", 1, replies_count=5)
    assert warehouse.load("broadcasts").rejected == 3
    assert shown(warehouse) == [
        ("1", "replies_count", "many", True),
        ("1", "throttled", "perhaps", False),
        ("2", "replies_count", "many", False),
        ("2", "throttled", "perhaps", False),
    ]
    assert sorted(at for at, _ in times(warehouse)) == sorted(at for at, _ in noted)
    for id in (1, 2):
        warehouse.box.service.update("broadcasts", id, replies_count=5, throttled=True)
    assert warehouse.load("broadcasts").rejected == 0
    assert {row[3] for row in shown(warehouse)} == {True}
    resolved = times(warehouse)
    assert all(before < after for before, after in resolved)
    # Later runs change nothing, and ask the destination for nothing.
    warehouse.load("broadcasts")
    assert times(warehouse) == resolved


def test_a_value_that_is_rejected_again_after_it_was_resolved_is_open_again(
    account: Open, clock: Clock
) -> None:
    warehouse = account(empty=True)
    warehouse.box.service.put("broadcasts", {"id": 1})
    noted = []
    for count in ("many", 5, "many"):
        warehouse.box.service.update("broadcasts", 1, replies_count=count)
        warehouse.load("broadcasts")
        noted += times(warehouse)
        clock.advance(60)
    (first, never), (_, resolved), (again, open_) = noted
    assert (first, never, open_) == (again, None, None)
    assert resolved > first


def test_a_value_that_is_bad_in_another_way_is_not_resolved(account: Open) -> None:
    warehouse = account(empty=True)
    warehouse.box.service.put("broadcasts", {"id": 1})
    for count in ("many", "lots"):
        warehouse.box.service.update("broadcasts", 1, replies_count=count)
        warehouse.load("broadcasts")
    assert [row[2:] for row in shown(warehouse)] == [("lots", False), ("many", False)]


@pytest.mark.parametrize("resource", ["profiles", "campaigns", "group_members"])
def test_an_unreadable_record_is_resolved_when_what_it_was_in_is_read_without_it(
    account: Open, resource: str
) -> None:
    warehouse = account(profiles=30)
    faults = rehearse(warehouse.box, f"broken@{resource}")
    warehouse.load(resource)
    rejected = shown(warehouse)
    assert rejected
    assert not any(row[3] for row in rejected)
    warehouse.box.faults.remove(faults)
    warehouse.load(resource, since="2000-01-01")
    assert all(row[3] for row in shown(warehouse))


def test_each_of_equal_bad_records_is_a_reject_and_stays_one(account: Open) -> None:
    warehouse = account(empty=True)
    for id in range(1, 7):
        warehouse.box.service.put("keywords", {"id": id, "name": "x"})
    whole = b'<keyword id="%d" active="true">'
    with (
        corrupted(warehouse, "keywords", whole % 2, b"<keyword>"),
        corrupted(warehouse, "keywords", whole % 3, b"<keyword>"),
        corrupted(warehouse, "keywords", whole % 5, b"<keyword>"),
    ):
        for _ in range(2):
            assert warehouse.load("keywords").rejected == 3
            assert len(shown(warehouse)) == 3
            assert not any(row[3] for row in shown(warehouse))
    assert warehouse.load("keywords").rejected == 0
    assert [row[3] for row in shown(warehouse)] == [True] * 3
    assert warehouse.query("SELECT count(*) FROM keywords") == [(6,)]


def test_an_unreadable_record_that_is_on_two_pages_is_one_reject(account: Open) -> None:
    warehouse = account(profiles=120)
    listed = warehouse.box.service.rows("profiles")
    # Neighbouring pages share the rows at their edges.
    whole = f'<profile id="{listed[48]["id"]}"'.encode()
    with corrupted(warehouse, "profiles", whole, b'<profile id=""'):
        assert warehouse.load("profiles", page_size=50).rejected == 1
    assert warehouse.query("SELECT count(*) FROM profiles") == [(len(listed) - 1,)]


def test_each_of_equal_bad_entries_is_a_reject(account: Open) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    service.put("profiles", {"id": 1})
    entry = b'<subscriptions><subscription campaign_id="no"/><subscription campaign_id="no"/>'
    with corrupted(warehouse, "profiles", b"</profile>", entry + b"</subscriptions></profile>"):
        assert warehouse.load("profiles").rejected == 2
    expected = ("1", "subscriptions__campaign_id", "no")
    assert shown(warehouse) == [(*expected, False)] * 2
    warehouse.load("profiles", since="2000-01-01")
    assert shown(warehouse) == [(*expected, True)] * 2


def test_a_bad_record_that_two_windows_or_two_readings_met_is_one_reject() -> None:
    now = datetime(2025, 6, 1, tzinfo=timezone.utc)
    bad = Reject(None, None, "not well-formed", "<group")
    good = empty_page(GROUPS)
    once, twice = replace(good, rejects=[bad]), replace(good, rejects=[bad, bad])
    rejections = Rejections(GROUPS, now, False, list)
    for page in (once, twice, once):
        rejections.add(page, Slice())
    assert rejections.take(last=True).num_rows == len(rejections.keys) == 2
    assert list(without_repeats([once, twice]))[1].rejects == []
    assert list(without_repeats([good, twice]))[1].rejects == [bad, bad]


def test_a_snapshot_without_rejects_asks_the_destination_for_none(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = account()
    warehouse.load("tags")
    asked: list[str] = []
    monkeypatch.setattr(resources, "stored_rejects", asked.append)
    warehouse.load("tags")
    assert asked == []


def test_the_state_says_of_rejects_only_whether_there_are_any(account: Open) -> None:
    warehouse = account(empty=True)
    warehouse.box.service.put("broadcasts", {"id": 1})
    states = []
    for count in ("many", 5):
        warehouse.box.service.update("broadcasts", 1, replies_count=count)
        warehouse.load("broadcasts")
        states.append(warehouse.pipeline().state["sources"]["mcommons"])
    assert [state["open_rejects"] for state in states] == [
        {"broadcasts": True},
        {"broadcasts": False},
    ]
    assert "many" not in repr(states)


# What a record of another window, parent or run says of a reject

UTC = timezone.utc
RUN, BEFORE = datetime(2025, 6, 2, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)


def hour(number: int) -> datetime:
    return datetime(2025, 5, 1, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row_key", "column", "windows", "resolved"),
    [
        ("10", None, [(10, (1, 4))], True),
        ("10", None, [(10, (1, 2)), (10, (2, 3))], True),
        ("10", None, [(10, (1, 2))], False),
        ("10", None, [(10, (1, 2)), (10, (3, 4))], False),
        ("10", None, [(11, (1, 4))], False),
        ("10", None, [(10, None)], True),
        ("10", None, [(11, None)], False),
        ("10/garbled", None, [(10, (1, 4))], True),
        ("101/garbled", None, [(10, (1, 4))], False),
        ("7", "duration", [(10, (1, 4))], False),
    ],
)
def test_an_unreadable_record_is_resolved_by_its_own_window_only(
    row_key: str,
    column: str | None,
    windows: list[tuple[int, tuple[int, int] | None]],
    resolved: bool,
) -> None:
    stored = {
        **dict.fromkeys(SCHEMA.names),
        "rejection_key": "k",
        "resource": "calls",
        "row_key": row_key,
        "column_name": column,
        "window_start": hour(1),
        "window_end": hour(3),
        "payload": "<call",
        "rejected_at": BEFORE,
    }
    rejections = Rejections(CALLS, RUN, True, lambda: [stored])
    for parent, hours in windows:
        window = Window(*map(hour, hours)) if hours else None
        unit = Slice(Partition(values={"mconnect_id": parent}), window)
        rejections.add_loaded(empty_page(CALLS), unit, is_last=True)
    expected = [{**stored, "resolved_at": RUN}] if resolved else []
    assert rejections.take(last=True).to_pylist() == expected
    assert rejections.any_open is not resolved
