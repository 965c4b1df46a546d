"""The history of the sandbox's accounts: seasons, what follows a broadcast, growth, bad days."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from textlift.sandbox.mcommons import MobileCommons
from textlift.sandbox.messangi import Messangi
from textlift.sandbox.mgage import MGage
from textlift.sandbox.mobiniti import Mobiniti
from textlift.sandbox.tables import CROWDED_DAY

NOW = datetime.fromisoformat("2026-11-30T12:00:00+00:00")
START = datetime.fromisoformat("2024-01-01T00:00:00+00:00")
#: The first year has quiet months and a crowded day.
USUAL = START + timedelta(days=366)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CROWDED = (START + timedelta(days=CROWDED_DAY)).date()
#: After this time the counts of a broadcast do not rise any more.
SETTLED = NOW - timedelta(days=21)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def account() -> MobileCommons:
    return MobileCommons(profiles=2000, now=NOW)


@pytest.fixture(scope="module")
def broadcasts(account: MobileCommons) -> dict[int, dict[str, Any]]:
    """The broadcasts that are settled, by their ids."""
    rows = account.rows("broadcasts")
    return {row["id"]: row for row in rows if (row["delivery_time"] or NOW) < SETTLED}


@pytest.fixture(scope="module")
def sent(account: MobileCommons) -> dict[int, Rows]:
    """The messages of broadcasts, by the broadcasts' ids."""
    found = defaultdict(list)
    for row in account.rows("outgoing_messages"):
        if row["broadcast_id"]:
            found[row["broadcast_id"]].append(row)
    return found


@pytest.fixture(scope="module")
def answers(account: MobileCommons, sent: dict[int, Rows]) -> dict[int, list[tuple[Any, Any]]]:
    """The messages of broadcasts that were answered, with the answers, by the broadcasts' ids."""
    asked = {row["id"]: row for rows in sent.values() for row in rows}
    found = defaultdict(list)
    for answer in account.rows("incoming_messages"):
        if answer["previous_id"]:
            question = asked[answer["previous_id"]]
            found[question["broadcast_id"]].append((question, answer))
    return found


def messages_of_mgage() -> list[datetime]:
    account = MGage(messages=9000, now=NOW)
    return [row["date"] for program in account.programs for row in account.rows(program)]


@pytest.mark.parametrize(
    "times",
    [
        lambda: [row["sent_at"] for row in MobileCommons(now=NOW).rows("outgoing_messages")],
        lambda: [row["created_at"] for row in MobileCommons(2, 9000, now=NOW).rows("profiles")],
        lambda: [row["created_at"] for row in Mobiniti(contacts=900, now=NOW).rows("messages")],
        lambda: [row["date"] for row in Messangi(now=NOW).rows("messages").values()],
        messages_of_mgage,
    ],
    ids=["mcommons messages", "mcommons profiles", "mobiniti", "messangi", "mgage"],
)
def test_there_is_more_in_autumn_on_weekdays_and_by_day(
    times: Callable[[], Iterable[datetime]],
) -> None:
    usual = [time for time in times() if time >= USUAL]
    assert len(usual) > 100
    months = Counter(time.month for time in usual)
    assert months[10] + months[11] > 2 * (months[7] + months[8])
    weekdays = Counter(time.weekday() for time in usual)
    assert max(weekdays[day] for day in (5, 6)) < min(weekdays[day] for day in range(5))
    hours = Counter(time.hour for time in usual)
    assert sum(hours[hour] for hour in range(13, 24)) > 0.8 * len(usual)


def test_a_broadcast_sends_in_the_hour_after_its_delivery_to_each_subscriber_once(
    account: MobileCommons, broadcasts: dict[int, dict[str, Any]], sent: dict[int, Rows]
) -> None:
    subscribed = {
        (row["id"], each["campaign_id"]): each
        for row in account.rows("profiles")
        for each in row["subscriptions"]
    }
    repeated = 0
    for id, broadcast in broadcasts.items():
        delivery = broadcast["delivery_time"]
        rows = sent[id]
        assert len(rows) == broadcast["estimated_recipients_count"]
        latest = DAY if delivery.date() == CROWDED else HOUR
        assert all(delivery <= row["sent_at"] < delivery + latest for row in rows)
        assert {row["campaign"]["id"] for row in rows} == {broadcast["campaign"]["id"]}
        people = {row["profile_id"] for row in rows}
        repeated += len(rows) - len(people)
        for person in people:
            # Who dropped the campaign since is listed without it.
            found = subscribed.get((person, broadcast["campaign"]["id"]))
            if found and found["created_at"] <= delivery:
                assert (found["opted_out_at"] or NOW) >= delivery
    # Only a campaign with fewer subscribers than recipients repeats.
    assert repeated < 0.02 * sum(map(len, sent.values()))


def test_the_counts_of_a_broadcast_are_those_of_its_answers(
    broadcasts: dict[int, dict[str, Any]], answers: dict[int, list[tuple[Any, Any]]]
) -> None:
    for id, broadcast in broadcasts.items():
        types = Counter(answer["type"] == "opt_out" for _, answer in answers[id])
        assert (broadcast["replies_count"], broadcast["opt_outs_count"]) == (
            types[False],
            types[True],
        )


def test_most_answers_come_within_the_hour_and_the_last_ones_after_days(
    answers: dict[int, list[tuple[Any, Any]]],
) -> None:
    waited = [
        answer["received_at"] - question["sent_at"]
        for pairs in answers.values()
        for question, answer in pairs
    ]
    assert min(waited) >= timedelta(seconds=20)
    assert median(waited) < HOUR / 2
    assert 0.7 < sum(wait < HOUR for wait in waited) / len(waited) < 0.9
    assert 0.05 < sum(wait > DAY for wait in waited) / len(waited) < 0.15
    assert timedelta(days=10) < max(waited) < timedelta(days=21)


def test_who_is_asked_and_answers_is_linked_both_ways(
    account: MobileCommons, answers: dict[int, list[tuple[Any, Any]]]
) -> None:
    replies = {row["id"]: row for row in account.rows("outgoing_messages")}
    for question, answer in (pair for pairs in answers.values() for pair in pairs):
        assert question["status"] in ("initial", "queued", "sent")
        assert question["profile_id"] == answer["profile_id"]
        # A message that old does not change any more.
        soon = answer["received_at"] - question["sent_at"] < 2 * DAY
        assert question["next_id"] == (answer["id"] if soon else None)
    for answer in account.rows("incoming_messages"):
        reply = replies[answer["next_id"]]
        assert (reply["previous_id"], reply["sent_at"]) == (answer["id"], answer["received_at"])
        assert reply["broadcast_id"] is None


def test_broadcasts_differ(
    broadcasts: dict[int, dict[str, Any]], account: MobileCommons, sent: dict[int, Rows]
) -> None:
    large = [row for row in broadcasts.values() if row["estimated_recipients_count"] >= 40]
    for count, least in (("replies_count", 0.3), ("opt_outs_count", 0.05)):
        rates = sorted(row[count] / row["estimated_recipients_count"] for row in large)
        assert rates[-1] > least
        assert rates[len(rates) // 2] < least / 2


def test_who_answers_stop_leaves_the_campaign(
    account: MobileCommons, answers: dict[int, list[tuple[Any, Any]]]
) -> None:
    profiles = {row["id"]: row for row in account.rows("profiles")}
    left = 0
    stops = [
        answer for pairs in answers.values() for _, answer in pairs if answer["type"] == "opt_out"
    ]
    for stop in stops:
        profile = profiles[stop["profile_id"]]
        assert profile["updated_at"] >= stop["received_at"]
        for each in profile["subscriptions"]:
            if each["campaign_id"] == stop["campaign"]["id"] and (
                each["created_at"] < stop["received_at"]
            ):
                assert each["opted_out_at"] <= stop["received_at"]
                left += each["opted_out_at"] == stop["received_at"]
    assert left > 0.8 * len(stops) > 50


def test_half_of_the_clicks_follow_a_broadcast(
    account: MobileCommons, sent: dict[int, Rows]
) -> None:
    received = defaultdict(list)
    for row in (row for rows in sent.values() for row in rows):
        received[row["profile_id"]].append(row["sent_at"])
    clicks = [row for row in account.rows("clicks") if row["created_at"] >= USUAL]
    followed = sum(
        any(time < row["created_at"] < time + DAY for time in received[row["profile_id"]])
        for row in clicks
    )
    assert 0.35 < followed / len(clicks) < 0.6


def test_two_days_a_year_are_bad(account: MobileCommons) -> None:
    days: dict[date, Counter[bool]] = defaultdict(Counter)
    for row in account.rows("outgoing_messages"):
        failed = row["status"] in ("undeliverable", "failed permanently")
        days[row["sent_at"].date()][failed] += 1
    bad = sorted(day for day, count in days.items() if count[True] > max(20, count[False]))
    assert [day.year for day in bad] == [2024, 2024, 2025, 2025, 2026, 2026]
    assert max(later - day for day, later in pairwise(bad)) < timedelta(days=250)
    others = [count for day, count in days.items() if day not in bad and count.total() > 20]
    assert max(count[True] / count.total() for count in others) < 0.2


def test_the_subscribers_become_more(account: MobileCommons) -> None:
    lists = [each for row in account.rows("profiles") for each in row["subscriptions"]]
    times = [START + timedelta(days=91 * quarter) for quarter in range(1, 12)]
    active = [
        sum(each["created_at"] <= time < (each["opted_out_at"] or NOW) for each in lists)
        for time in times
    ]
    assert active == sorted(active)
    assert sum(each["opted_out_at"] is not None for each in lists) > 100
