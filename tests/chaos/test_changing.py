"""Hazards 1 to 3, many times over: everything changes while it is read, and the next run has it all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest

from tests.conftest import TODAY, Open, Warehouse, slow_but
from tests.support.accounts import assert_same
from tests.support.hooks import between_pages
from tests.support.messages import PROGRAMS, assert_holds, served
from textlift.load.loading import Summary
from textlift.sandbox.mcommons import ORDERS as PROFILE_ORDERS
from textlift.sandbox.mgage import ORDERS as MESSAGE_ORDERS

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: How far the clock moves at most in all runs of a test, and how late a row reaches its list: less
#: than the shortest lookback together.
MOVES, LATE = 20, 30 * MINUTE
#: Where a clock can stand and be moved on, without overtaking the one that ends the windows.
AN_HOUR_AGO = TODAY - HOUR
Change = Callable[[], object]
#: The second asks one question at a time; the third loads in packages, and twice.
seeds = pytest.mark.parametrize("seed", slow_but(slice(1), range(3)))


def load_while_it_changes(
    warehouse: Warehouse, changes: list[Change], random: Random, seed: int
) -> int:
    """Load with a change before each answer is sent; says how many there were."""
    done = 0

    def change(_: int) -> None:
        nonlocal done
        random.choice(changes)()
        done += 1

    with between_pages(warehouse, change):
        load(warehouse, seed)
    return done


def load(warehouse: Warehouse, seed: int, **settings: Any) -> Summary:
    return warehouse.load(
        **settings,
        page_size=7,
        concurrency=(8, 1, 8)[seed],
        package_rows=(10**6, 10**6, 40)[seed],
    )


def moves(warehouse: Warehouse, random: Random) -> Change:
    """The clock's next second now and then: most changes share theirs with hundreds of others."""
    left = [MOVES]

    def move() -> None:
        if left[0] and random.random() < 0.05:
            left[0] -= 1
            warehouse.box.service.advance(random.choice([1, 1, 1, 60]))

    return move


def changes_of_an_account(warehouse: Warehouse, random: Random) -> list[Change]:
    """What happens to a Mobile Commons account, each within its lookback."""
    service, new = warehouse.box.service, count(10**9)
    ids = {
        kind: [row["id"] for row in service.rows(kind)]
        for kind in ("profiles", "mconnects", "tinyurls", "mdatas", "campaigns", "groups")
    }

    def late() -> datetime:
        now: datetime = service.now()
        return now - random.choice([0, 0, 0, 1]) * random.random() * LATE

    def recent(kind: str, column: str, age: timedelta) -> int | None:
        since = service.now() - age
        found = [row["id"] for row in service.rows(kind) if row[column] and row[column] > since]
        return random.choice(found) if found else None

    def update_profile() -> None:
        lists = {
            "subscriptions": [],
            "custom_columns": [{"name": "Shift", "value": str(random.random())}],
        }
        name = random.choice(list(lists))
        changes = {"first_name": f"name {random.random()}", name: lists[name]}
        service.update("profiles", random.choice(ids["profiles"]), **changes)

    def add_profile() -> None:
        ids["profiles"].append(next(new))
        service.put("profiles", {"id": ids["profiles"][-1], "phone_number": "12025550199"})

    def add(kind: str, column: str, parents: str = "", parent: str = "") -> Change:
        def change() -> None:
            row = {"id": next(new), column: late()}
            if parents:
                row[parent] = random.choice(ids[parents])
            service.put(kind, row)

        return change

    def move(kind: str, column: str, age: timedelta, name: str, values: list[object]) -> Change:
        def change() -> None:
            found = recent(kind, column, age)
            if found is not None:
                service.update(kind, found, **{name: random.choice(values)})

        return change

    def move_member() -> None:
        group, profile = random.choice(ids["groups"]), random.choice(ids["profiles"])
        random.choice([service.add_member, service.remove_member])(group, profile)

    return [
        *[update_profile] * 5,
        add_profile,
        add("incoming_messages", "received_at"),
        add("outgoing_messages", "sent_at"),
        *[move("outgoing_messages", "sent_at", 3 * DAY - HOUR, "status", ["sent", "failed"])] * 3,
        add("broadcasts", "delivery_time"),
        move("broadcasts", "delivery_time", 29 * DAY, "replies_count", list(range(999))),
        move("broadcasts", "delivery_time", 29 * DAY, "opt_outs_count", list(range(999))),
        add("calls", "end_time", "mconnects", "mconnect_id"),
        move("calls", "end_time", 23 * HOUR, "transcription", ["Hello", "We count on you"]),
        add("clicks", "created_at", "tinyurls", "tinyurl_id"),
        add("mdata_queries", "created_at", "mdatas", "mdata_id"),
        add("subscribers", "activated_at", "campaigns", "campaign_id"),
        move_member,
        moves(warehouse, random),
    ]


@seeds
@pytest.mark.parametrize("order", PROFILE_ORDERS)
def test_an_account_that_changes_while_it_is_read_is_whole_after_the_next_run(
    account: Open, order: str, seed: int
) -> None:
    warehouse = account(
        profiles=40,
        now=AN_HOUR_AGO,
        start=AN_HOUR_AGO - 300 * DAY,
        order=order,
        clicks_per_page=7,
    )
    random = Random(f"{order} {seed}")
    changes = changes_of_an_account(warehouse, random)
    assert load_while_it_changes(warehouse, changes, random, seed) > 150
    if seed == 2:
        assert load_while_it_changes(warehouse, changes, random, seed) > 20
    # As many members may have left a group as joined it, which only a complete read finds.
    assert load(warehouse, seed, refresh_hours={"group_members": 0}).failed == {}
    assert_same(warehouse)


def changes_of_messages(warehouse: Warehouse, random: Random) -> list[Change]:
    """What happens to the messages of mGage within three days."""
    service = warehouse.box.service

    def age() -> timedelta:
        return random.choice([0, 0, 0, 1]) * random.random() * (3 * DAY - HOUR)

    def add(kind: str) -> Change:
        def change() -> None:
            body = random.choice(["YES", "Polls close at 8", f"text {random.random()}"])
            row = {"type": kind, "body": body, "date": service.now() - age()}
            service.put(random.choice(PROGRAMS), row)

        return change

    def move() -> None:
        program, since = random.choice(PROGRAMS), service.now() - 3 * DAY + HOUR
        rows = service.rows(program)
        places = [place for place, row in enumerate(rows) if row["date"] > since]
        news = {"deliveryStatus": random.choice(["Delivered", "Undelivered"]), "network": "AT&T"}
        service.update(program, random.choice(places), **news)

    return [add("MO"), add("MT"), *[move] * 4, moves(warehouse, random)]


@seeds
@pytest.mark.parametrize("order", MESSAGE_ORDERS)
def test_messages_that_change_while_they_are_read_are_whole_after_the_next_run(
    export: Open, order: str, seed: int
) -> None:
    warehouse = export(empty=True, order=order, now=AN_HOUR_AGO)
    service, random = warehouse.box.service, Random(f"{order} {seed}")
    for program in PROGRAMS:
        service.add_program(program)
        for number in range(200):
            age = random.choice([300 * DAY, 3 * DAY, 0 * DAY]) * random.random()
            service.put(program, {"body": f"message {number}", "date": service.now() - age})
    changes = changes_of_messages(warehouse, random)
    assert load_while_it_changes(warehouse, changes, random, seed) > 200
    if seed == 2:
        assert load_while_it_changes(warehouse, changes, random, seed) > 20
    assert load(warehouse, seed).failed == {}
    assert_holds(warehouse, served(warehouse))
    assert warehouse.content("rejected_records") == []
