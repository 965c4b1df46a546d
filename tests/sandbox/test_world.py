"""The sandbox's account: the same for ever, and going on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.clients import KINDS, NOW, Open, everything, service_of
from textlift.sandbox.mcommons import MobileCommons


def test_the_same_seed_makes_the_same_world() -> None:
    one, two = MobileCommons(profiles=80, now=NOW), MobileCommons(profiles=80, now=NOW)
    assert everything(one) == everything(two)
    assert everything(one) != everything(MobileCommons(profiles=80, now=NOW, seed=2))


def test_a_restart_later_is_the_same_as_having_waited() -> None:
    waited = MobileCommons(profiles=150, now="2024-06-20T00:00:00Z")
    for days in (0.5, 1, 9.2, 30, 100):
        waited.advance(days * 86400)
    restarted = MobileCommons(profiles=150, now=waited.now())
    assert everything(waited) == everything(restarted)


def test_windows_stay_right_while_the_clock_moves(sandbox: Open) -> None:
    client = sandbox(profiles=600, now="2024-05-01T00:00:00Z")
    service = service_of(client)
    for days in (0.1, 40, 1, 1, 60, 200, 5, 5):
        before = service.now()
        assert client.ids("profiles", to=before.isoformat()) == [
            row["id"] for row in service.rows("profiles")
        ]
        service.advance(days * 86400)
        changed = [row["id"] for row in service.rows("profiles") if row["updated_at"] > before]
        since = (before + timedelta(seconds=1)).isoformat()
        assert client.ids("profiles", from_=since) == changed
        for campaign in (162603, 162606):
            rows = service.truth("campaign_subscribers", campaign_id=campaign)
            new = [row["id"] for row in rows if row["activated_at"] > before]
            found = client.ids("campaign_subscribers", campaign_id=campaign, from_=since)
            assert found == new


def test_history_stays_and_goes_on() -> None:
    service = MobileCommons(profiles=2000, now="2025-03-01T00:00:00Z")
    before = everything(service)
    service.advance(20 * 86400)
    after = everything(service)
    for kind in ("incoming_messages", "clicks", "calls", "mdata_queries"):
        assert after[kind][: len(before[kind])] == before[kind]
        assert len(after[kind]) > len(before[kind])
    assert len(after["profiles"]) > len(before["profiles"])
    for kind in ("campaigns", "keywords", "mconnects", "tinyurls", "mdatas", "tags"):
        assert after[kind] == before[kind]
    now = service.now()
    for kind, cursor in (
        ("profiles", "updated_at"),
        ("outgoing_messages", "sent_at"),
        ("subscribers", "activated_at"),
    ):
        assert max(row[cursor] for row in after[kind]) <= now


def test_a_profile_changes_when_updated_at_says_so() -> None:
    service = MobileCommons(profiles=2000, now="2025-01-01T00:00:00Z")
    before = {row["id"]: row for row in service.rows("profiles")}
    changed_at = service.now()
    service.advance(60 * 86400)
    changed = dropped = opted_out = 0
    for row in service.rows("profiles"):
        old = before.get(row["id"])
        if old is None:
            continue
        if row["updated_at"] == old["updated_at"]:
            # A click is no change of the profile.
            assert {**row, "clicks": None} == {**old, "clicks": None}
            continue
        assert row["updated_at"] > changed_at
        changed += 1
        dropped += len(row["subscriptions"]) < len(old["subscriptions"])
        outs = [sum(s["status"] == "Opted-Out" for s in r["subscriptions"]) for r in (old, row)]
        opted_out += outs[0] < outs[1]
    assert changed > 10
    assert dropped
    assert opted_out


def test_outgoing_messages_settle_within_two_days() -> None:
    service = MobileCommons(profiles=3000, now="2024-10-17T20:00:00Z")
    settled = {"sent", "undeliverable", "failed permanently"}
    old = service.now() - timedelta(days=2)
    rows = service.rows("outgoing_messages")
    assert {row["status"] for row in rows if row["sent_at"] <= old} == settled
    moving = [row["id"] for row in rows if row["status"] in ("initial", "queued")]
    assert moving
    service.advance(2 * 86400)
    now_settled = {row["id"]: row["status"] for row in service.rows("outgoing_messages")}
    assert {now_settled[id] for id in moving} <= settled


def test_broadcasts_rise_for_three_weeks_and_are_scheduled_ahead() -> None:
    service = MobileCommons(profiles=2000, now="2025-03-01T00:00:00Z")
    before = {row["id"]: row for row in service.rows("broadcasts")}
    drafts = [row for row in before.values() if row["status"] == "draft"]
    # Which have no time yet.
    assert drafts == [row for row in before.values() if row["delivery_time"] is None] != []
    dated = [row for row in before.values() if row["delivery_time"]]
    ahead = [row for row in dated if row["delivery_time"] > service.now()]
    assert {row["status"] for row in ahead} == {"scheduled"}
    assert all(row["replies_count"] == 0 for row in (*ahead, *drafts))
    asked_at = service.now()
    service.advance(10 * 86400)
    risen = 0
    for row in service.rows("broadcasts"):
        old = before.get(row["id"])
        if old is None:
            continue
        if old["delivery_time"] and old["delivery_time"] < asked_at - timedelta(days=21):
            assert row == old
        risen += row["replies_count"] > old["replies_count"]
    assert risen


def test_members_join_and_leave_and_columns_appear() -> None:
    service = MobileCommons(profiles=300, now="2025-01-15T00:00:00Z")

    def members() -> set[tuple[int, int]]:
        return {
            (group["id"], row["id"])
            for group in service.rows("groups")
            for row in service.truth("group_members", group_id=group["id"])
        }

    def columns() -> set[str]:
        return {
            column["name"] for row in service.rows("profiles") for column in row["custom_columns"]
        }

    members_before, columns_before = members(), columns()
    service.advance(120 * 86400)
    assert members() - members_before
    assert members_before - members()
    assert columns() > columns_before


def test_columns_stay_as_many_as_one_asks_for() -> None:
    service = MobileCommons(profiles=300, now="2024-02-01T00:00:00Z", columns=8)
    for days in (0, 200, 800):
        service.advance(days * 86400)
        assert {len(row["custom_columns"]) for row in service.rows("profiles")} == {8}
    with pytest.raises(ValueError, match="cannot be 0 custom columns"):
        MobileCommons(columns=0)


def test_there_are_quiet_months_and_a_crowded_day() -> None:
    service = MobileCommons(profiles=2000, now="2026-01-01T00:00:00Z")
    for kind, cursor in (("profiles", "updated_at"), ("outgoing_messages", "sent_at")):
        rows = service.rows(kind)
        months = {(row[cursor].year, row[cursor].month) for row in rows}
        assert (2024, 4) not in months
        days = Counter(row[cursor].date() for row in rows)
        (_, crowd), (_, second) = days.most_common(2)
        assert crowd > 0.12 * len(rows)
        assert second < crowd / 4
        (_, burst), *_ = Counter(row[cursor] for row in rows).most_common(1)
        assert burst >= 80


def test_sizes_follow_the_number_of_profiles() -> None:
    service = MobileCommons(profiles=1000, now="2024-12-31T00:00:00Z")
    counts = {kind: len(service.rows(kind)) for kind in KINDS}
    for kind, ratio in (
        ("profiles", 1),
        ("outgoing_messages", 3),
        ("incoming_messages", 1),
        ("clicks", 0.5),
        ("calls", 0.1),
        ("mdata_queries", 0.1),
    ):
        assert counts[kind] == pytest.approx(1000 * ratio, rel=0.05)
    fixed = {"campaigns": 6, "groups": 6, "keywords": 7, "mconnects": 3, "tinyurls": 4, "mdatas": 2}
    assert {kind: counts[kind] for kind in fixed} == fixed


def test_everything_refers_to_something(service: MobileCommons) -> None:
    ids = {kind: {row["id"] for row in service.rows(kind)} for kind in KINDS}
    for message in service.rows("outgoing_messages"):
        assert message["profile_id"] in ids["profiles"]
        assert message["campaign"]["id"] in ids["campaigns"]
        assert message["broadcast_id"] is None or message["broadcast_id"] in ids["broadcasts"]
    for message in service.rows("incoming_messages"):
        assert message["profile_id"] in ids["profiles"]
        assert message["keyword"] is None or message["keyword"]["id"] in ids["keywords"]
    clicked: set[int] = set()
    for profile in service.rows("profiles"):
        clicked.update(click["id"] for click in profile["clicks"])
    assert clicked == {row["id"] for row in service.rows("clicks") if row["profile_id"]}


def test_everybody_has_a_number_of_their_own(service: MobileCommons) -> None:
    numbers = [row["phone_number"] for row in service.rows("profiles")]
    assert len(set(numbers)) == len(numbers)
    # Most have one and ten digits.
    assert {re.sub(r"\d{4}$", "", number) for number in numbers} == {"1202555", "44202555"}


def test_before_the_start_there_is_nothing() -> None:
    service = MobileCommons(profiles=100, now="2023-12-31T00:00:00Z")
    assert service.rows("profiles") == service.rows("outgoing_messages") == []


def test_the_real_clock_is_the_default_and_stands_by_itself() -> None:
    service = MobileCommons(profiles=10)
    assert abs(service.now() - datetime.now(timezone.utc)) < timedelta(minutes=1)
    with pytest.raises(ValueError, match="now="):
        service.advance(1)


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="forward"):
        MobileCommons(profiles=1, now=NOW).advance(-1)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("id", lambda row: row["id"]),
        ("updated_at", lambda row: (row["updated_at"], row["id"])),
        ("-updated_at", lambda row: (row["updated_at"], row["id"])),
    ],
)
@pytest.mark.parametrize("touched", [False, True])
def test_orders_of_profiles(
    sandbox: Open, order: str, key: Callable[[Any], Any], touched: bool
) -> None:
    client = sandbox(profiles=50, order=order)
    service = service_of(client)
    if touched:
        service.update("profiles", service.rows("profiles")[9]["id"], first_name="Touched")
    rows = sorted(service.rows("profiles"), key=key, reverse=order.startswith("-"))
    assert client.all_ids("profiles", limit=9) == [row["id"] for row in rows]
    since = sorted(row["updated_at"] for row in rows)[20]
    expected = [row["id"] for row in rows if row["updated_at"] >= since]
    assert client.all_ids("profiles", limit=9, from_=since.isoformat()) == expected


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="-updated_at"):
        MobileCommons(profiles=1, order="name")
