"""Rejects over several runs: each is there once, and says when its record loaded well after all."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.faults import rehearse
from tests.conftest import Open, Warehouse

SHOWN = "SELECT row_key, column_name, payload, resolved_at IS NOT NULL FROM rejected_records"


def shown(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return sorted(warehouse.query(SHOWN), key=repr)


def times(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT rejected_at, resolved_at FROM rejected_records")


def test_a_value_that_loads_well_later_is_resolved_and_one_that_does_not_stays(
    account: Open,
) -> None:
    warehouse = account(empty=True)
    for id in (1, 2):
        warehouse.box.service.put("broadcasts", {"id": id})
        warehouse.box.service.update("broadcasts", id, replies_count="many", throttled="perhaps")
    assert warehouse.load("broadcasts").rejected == 4
    noted = times(warehouse)
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


def test_a_value_that_is_rejected_again_after_it_was_resolved_is_open_again(account: Open) -> None:
    warehouse = account(empty=True)
    warehouse.box.service.put("broadcasts", {"id": 1})
    noted = []
    for count in ("many", 5, "many"):
        warehouse.box.service.update("broadcasts", 1, replies_count=count)
        warehouse.load("broadcasts")
        noted += times(warehouse)
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
