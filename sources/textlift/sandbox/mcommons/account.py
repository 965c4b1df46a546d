"""An invented account: what there is from the start, and what happens as time goes by.

In the first year of an account of N profiles, N profiles are made and N changed, 3 N messages go
out and N come in, N/50 broadcasts (80 to 5000) are delivered, tiny URLs are clicked N/2 times,
groups are joined and left N/5 times, N/10 calls and N/10 mData queries are made, and N/50 donations
given. After that, N/20 profiles are made in a year, and half as much of the rest happens.

Two thirds of the outgoing messages are those of broadcasts, the others are replies to incoming ones.
Two fifths of the incoming messages answer a broadcast, and half of the clicks follow one.

The rows are those of `samples.json`, over and over, with ids, times and references of their own.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

from textlift.sandbox.clock import moment, seconds
from textlift.sandbox.mcommons import rows as shapes
from textlift.sandbox.mcommons.broadcasts import (
    ANSWERED,
    FAILING,
    Broadcast,
    Reaction,
    planned,
)
from textlift.sandbox.people import phone_number
from textlift.sandbox.tables import (
    CROWDED_DAY,
    DAY,
    Event,
    History,
    Row,
    Table,
    completed,
    follow_ups,
    stream,
    times,
    years,
)

MASTER_CAMPAIGN = 162_600
FUNDRAISERS = {501: "Winter Appeal", 502: "Strike Fund & Friends"}

_FIXED = (
    "campaigns",
    "groups",
    "keywords",
    "mconnects",
    "tinyurls",
    "mdatas",
    "tags",
    "attachments",
)
"""Tables whose rows are there from the start."""
_COLUMNS = (
    *("Age", "Favorite animal", "Yes/NO", "Language", "Volunteer's shift", "Issue: rent & wages"),
)
_FIRST_COLUMNS, _COLUMN_EVERY = 4, 100 * DAY
_LEAD = 40 * DAY
"""How long before its delivery a broadcast can be seen."""
_SETTLED = 2 * DAY
"""A message this old does not change any more."""
_AUDIENCES = {162_603: 10, 162_606: 8, 162_609: 6, 162_612: 4, 162_615: 2}
"""How many people the broadcasts of each campaign reach, in proportion."""
_REPLIES = {"opt_out": "opt_out_receipt", "help_request": "help_response"}
"""The types of replies to incoming messages of some types."""
_SEGMENT = 160
"""The characters that are one SMS."""
_SEATS = 13
"""Ids of subscribers for each profile, more than there are campaigns."""


def profile_id(number: int) -> int:
    """The id of a profile."""
    return 300_000_007 + 7 * number


@cache
def _samples() -> dict[str, list[Row]]:
    """Sample rows by table, with all keys.

    `replies` are outgoing messages as well; `answers` and `stops` are the incoming messages.
    """

    def timed(row: Row) -> Row:
        return {k: moment(seconds(v)) if v and k.endswith("_at") else v for k, v in row.items()}

    file = Path(__file__).with_name("samples.json")
    samples = json.loads(file.read_text(encoding="utf-8"), object_hook=timed)
    tables = shapes.tables("id")
    tables["replies"] = tables["outgoing_messages"]
    found = {
        kind: [completed(tables[kind].blank, row) for row in samples[kind]] for kind in samples
    }
    for kind, stops in (("answers", False), ("stops", True)):
        found[kind] = [
            row for row in found["incoming_messages"] if (row["type"] == "opt_out") == stops
        ]
    for row in found["profiles"]:
        if "location" in row:  # as all had it before 2019
            del row["last_saved_location"]
    return found


class Invention:
    """Fills tables. `histories` says what has to happen before each of them is read."""

    def __init__(
        self,
        tables: Mapping[str, Table],
        members: dict[int, set[int]],
        seed: int,
        size: int,
        start: int,
        columns: int | None,
    ) -> None:
        """Put what is there from the start into `tables`.

        members: the ids of profiles by group, to be filled as well.
        size: how many profiles are made in the first year, which begins at `start`.
        columns: how many custom columns there are at all times; None for some that become more.
        """
        self._tables, self._members = tables, members
        self._start, self._size = start, size
        self._columns = columns
        self._samples = _samples()
        for kind in _FIXED:
            for row in self._samples[kind]:
                tables[kind].add(row["id"], row)
        members.update({group["id"]: set() for group in self._samples["groups"]})
        self._random = Random(f"{seed}/people")
        self._joined: list[int] = []
        """When each profile was made."""
        self._active: list[int] = []
        """The numbers of those that can change: who came by the import is never heard of again."""
        self._audiences: dict[int, tuple[list[int], list[int]]] = {
            campaign: ([], []) for campaign in _AUDIENCES
        }
        """When people subscribed to a campaign, and their ids."""
        self._left: dict[tuple[int, int], int] = {}
        """When people left a campaign for the first time, by their ids and its own."""
        self._clicks = self._queries = self._sent = self._received = 0
        self._asked: dict[tuple[int, int], Row] = {}
        """Messages that will be answered, by the number of the broadcast and the recipient."""
        self._random_talk = Random(f"{seed}/talk")
        broadcasts = min(max(80, size // 50), 5000) if size else 0
        self._unplanned = planned(
            f"{seed}/plan",
            start,
            years(f"{seed}/broadcasts", start, broadcasts, broadcasts / 2),
            lambda year: size if year else 2 * size,
            [_AUDIENCES[row["campaign"]["id"]] for row in self._samples["broadcasts"]],
        )
        self._planned: list[Broadcast] = []

        def happening(name: str, first_year: int, yearly: float) -> Iterator[int]:
            return times(f"{seed}/{name}", start, first_year, yearly)

        people = History(
            stream(happening("profiles", size, size / 20), self._join),
            stream(happening("changes", size, size / 2), self._change),
            follow_ups((each.time, self._reactions(each)) for each in self._plan()),
            stream(happening("clicks", size // 4, size / 8), self._click_alone),
            stream(happening("moves", size // 5, size / 10), self._move),
            stream(happening("calls", size // 10, size / 20), self._call),
            stream(happening("queries", size // 10, size / 20), self._query),
            stream(happening("donations", size // 50, size / 100), self._donate),
        )
        alone = size - int(2 * size * ANSWERED)
        self._talk = talk = History(
            (
                (max(start, each.time - _LEAD), partial(self._announce, each))
                for each in self._plan()
            ),
            follow_ups((each.time, self._messages(each)) for each in self._plan()),
            stream(happening("asked", alone, alone / 2), self._hear),
        )
        messages = ("broadcasts", "outgoing_messages", "incoming_messages")
        self.histories: dict[str, Sequence[History]] = {
            **dict.fromkeys(tables, (people,)),
            **dict.fromkeys(messages, (people, talk)),
        }

    def _plan(self) -> Iterator[Broadcast]:
        """All broadcasts, each planned once."""
        for number in count():
            if number == len(self._planned):
                self._planned.extend(islice(self._unplanned, 1))
            if number == len(self._planned):
                return
            yield self._planned[number]

    def _sample(self, kind: str, number: int) -> Row:
        samples = self._samples[kind]
        return samples[number % len(samples)]

    def _add(self, kind: str, number: int, **values: Any) -> None:
        """Insert a sample with some values of its own."""
        self._tables[kind].add(values["id"], {**self._sample(kind, number), **values})

    def _somebody(self, numbers: Sequence[int]) -> Row | None:
        """One of some profiles, if it is there, by its number.

        The later ones are the likelier, or the first ones would collect everything.
        """
        if not numbers:
            return None
        number = numbers[int(len(numbers) * self._random.random() ** 0.5)]
        return self._tables["profiles"].own(profile_id(number))

    def _anybody(self) -> Row | None:
        return self._somebody(range(len(self._joined)))

    # --- profiles --------------------------------------------------------------------------------

    def _join(self, number: int, time: int) -> None:
        random = self._random.random
        id, now = profile_id(number), moment(time)
        self._joined.append(time)
        row = {
            **self._sample("profiles", number),
            "id": id,
            "phone_number": phone_number(number),
            "created_at": now,
            "updated_at": now,
        }
        if not 0 <= time - self._start - CROWDED_DAY * DAY < DAY:
            self._active.append(number)
        else:
            group = self._samples["groups"][0]
            row["source"] = {"type": "Uploaded Group", "name": group["name"], "id": group["id"]}
        if row["email"]:
            row["email"] = f"person{number}@example.org"
        values = row["custom_columns"]
        row["custom_columns"] = [
            _column(name, values[place % len(values)], now, now)
            for place, name in enumerate(self._names(time))
        ]
        row["integrations"] = [
            {**each, "synchronized_at": now if number % 2 else None} for each in row["integrations"]
        ]
        self._tables["profiles"].add(id, row)
        for group in self._samples["groups"]:
            if random() < 0.25:
                self._set_member(group["id"], id, True)
        for _ in range(int(random() * 2.3 + 0.7)):
            self._subscribe(id, now, row["source"]["name"])

    def _names(self, time: int) -> list[str]:
        """The names of the custom columns there were at a time."""
        count = self._columns or _FIRST_COLUMNS + (time - self._start) // _COLUMN_EVERY
        surveys = range(1, count - len(_COLUMNS) + 1)
        return [*_COLUMNS[:count], *(f"Survey {number}" for number in surveys)]

    def _change(self, number: int, time: int) -> None:
        """A new name, address or answer; a subscription more or less; or the end of all."""
        row = self._somebody(self._active)
        if row is None:
            return
        random, now, id = self._random.random, moment(time), row["id"]
        known = {column["name"]: column for column in row["custom_columns"]}
        columns = [known.get(name) or _column(name, None, now, now) for name in self._names(time)]
        changes: Row = {"updated_at": now, "custom_columns": columns}
        what = random()
        subscribed = [each["campaign_id"] for each in row["subscriptions"]]
        if what < 0.30:
            changes["first_name"] = self._sample("profiles", number)["first_name"]
            changes["email"] = f"person{id}.{number}@example.org"
        elif what < 0.50:
            changes["address"] = self._sample("profiles", number)["address"]
        elif what < 0.70:
            place = int(random() * len(columns))
            first = columns[place].get("created_at", now)
            answer = str(int(random() * 100))
            columns[place] = _column(columns[place]["name"], answer, first, now)
        elif what < 0.87 or (what < 0.99 and not subscribed):
            self._subscribe(id, now, "web form")
        elif what < 0.93:
            self._opt_out(id, subscribed[:1], now, "Texted a STOP word")
        elif what < 0.97:
            self._leave(id, subscribed[-1], time)
            self._tables["subscribers"].remove(_subscriber_id(id, subscribed[-1]))
            self._set_subscriptions(id, row["subscriptions"][:-1])
        elif what < 0.99:
            self._opt_out(id, subscribed, now, "Opt-out from API")
            changes |= {"opted_out_at": now, "opted_out_source": "Texted a STOP word"}
        else:
            changes["status"] = "Undeliverable"
        self._tables["profiles"].change(id, **changes)

    def _subscribe(self, id: int, now: datetime, source: str) -> None:
        """To any campaign but the Master Campaign, the first ones first; or to none again."""
        random, campaigns = self._random.random, self._samples["campaigns"]
        campaign = campaigns[1 + int(random() * random() * (len(campaigns) - 1))]
        subscriptions = self._tables["profiles"].rows[id]["subscriptions"]
        if campaign["id"] in [each["campaign_id"] for each in subscriptions]:
            return
        paths = [path["id"] for path in campaign["opt_in_paths"]]
        subscription = {
            "campaign_id": campaign["id"],
            "campaign_name": campaign["name"],
            "campaign_description": campaign["description"] or "",
            "opt_in_path_id": self._random.choice([*paths, None]),
            "status": "Active",
            "opt_in_source": source,
            "created_at": now,
            "activated_at": now,
            "opted_out_at": None,
            "opt_out_source": None,
        }
        self._set_subscriptions(id, [*subscriptions, subscription])
        key, table = _subscriber_id(id, campaign["id"]), self._tables["subscribers"]
        row = self._tables["profiles"].rows[id]
        known = {"id": key, "profile_id": id, "phone_number": row["phone_number"]}
        same = _some(subscription, "activated_at", "campaign_id", "opt_in_path_id")
        table.add(key, {**table.blank, **known, **same})
        times, ids = self._audiences[campaign["id"]]
        times.append(seconds(now))
        ids.append(id)

    def _opt_out(self, id: int, campaigns: list[int], now: datetime, source: str) -> None:
        end = {"status": "Opted-Out", "opted_out_at": now, "opt_out_source": source}
        subscriptions = list(self._tables["profiles"].rows[id]["subscriptions"])
        for place, each in enumerate(subscriptions):
            if each["campaign_id"] in campaigns and each["opted_out_at"] is None:
                subscriptions[place] = {**each, **end}
                key = _subscriber_id(id, each["campaign_id"])
                self._tables["subscribers"].change(key, opted_out_at=now)
                self._leave(id, each["campaign_id"], seconds(now))
        self._set_subscriptions(id, subscriptions)

    def _leave(self, id: int, campaign: int, time: int) -> None:
        self._left.setdefault((id, campaign), time)

    def _set_subscriptions(self, id: int, subscriptions: list[Row]) -> None:
        status = "Opted-Out" if subscriptions else "Profiles with no Subscriptions"
        if self._tables["profiles"].rows[id]["status"] == "Undeliverable":
            status = "Undeliverable"
        elif any(each["opted_out_at"] is None for each in subscriptions):
            status = "Active Subscriber"
        self._tables["profiles"].change(id, subscriptions=subscriptions, status=status)

    def _move(self, number: int, time: int) -> None:
        """Somebody joins a group or leaves it."""
        row, group = self._anybody(), self._sample("groups", number)["id"]
        if row:
            self._set_member(group, row["id"], row["id"] not in self._members[group])

    def _set_member(self, group: int, id: int, member: bool) -> None:
        members = self._members[group]
        (members.add if member else members.discard)(id)
        self._tables["groups"].change(group, size=len(members))

    # --- clicks, calls, queries, donations -------------------------------------------------------

    def _click_alone(self, number: int, time: int) -> None:
        self._click(self._anybody() if number % 5 else None, time)

    def _click(self, row: Row | None, time: int) -> None:
        number, self._clicks = self._clicks, self._clicks + 1
        own = {"id": 70_000_123 + 4 * number, "created_at": moment(time)}
        self._add("clicks", number, **own, profile_id=row and row["id"])
        if row:
            click = {**self._sample("clicks", number), **own}
            del click["profile_id"]
            # This does not move updated_at.
            self._tables["profiles"].change(row["id"], clicks=[*row["clicks"], click])

    def _call(self, number: int, time: int) -> None:
        row, sample = self._anybody(), self._sample("calls", number)
        if row:
            self._add(
                "calls",
                number,
                id=11_765_581 + number,
                start_time=moment(time - sample["duration"]),
                end_time=moment(time),
                handset_number=row["phone_number"],
                profile={"id": row["id"], **sample["profile"]},
            )

    def _query(self, number: int, time: int) -> None:
        """Every twentieth is asked twice, equal in every field."""
        for _ in range(2 if number % 20 == 0 else 1):
            self._queries += 1
            self._add("mdata_queries", number, id=self._queries, created_at=moment(time))

    def _donate(self, number: int, time: int) -> None:
        self._tables["donations"].add(
            1 + number,
            {
                "id": 1 + number,
                "fundraising_id": list(FUNDRAISERS)[number % len(FUNDRAISERS)],
                "created_at": moment(time),
                "amount": 5 * (1 + number % 20),
            },
        )

    # --- broadcasts ------------------------------------------------------------------------------

    def _announce(self, broadcast: Broadcast) -> None:
        """A broadcast is there to see; one that is far ahead can be a draft without a time."""
        later, number, delivery = self._talk.later, broadcast.number, broadcast.time
        ready = delivery - 7 * DAY if number % 2 else 0

        def rising(stops: bool) -> Any:
            after = sorted(each.after for each in broadcast.answers if each.stops == stops)
            hours = (1, 24, 96, 240, 480)
            return later(0, *((delivery + h * 3600, bisect_right(after, h * 3600)) for h in hours))

        campaign = self._sample("broadcasts", number)["campaign"]["name"]
        self._add(
            "broadcasts",
            number,
            id=_broadcast_id(number),
            status=later("draft", (ready, "scheduled"), (delivery, "generated")),
            name=None if number == 7 else f"{campaign} #{number + 1}",
            delivery_time=later(None, (ready, moment(delivery))),
            estimated_recipients_count=later(None, (ready, len(broadcast.sent))),
            replies_count=rising(stops=False),
            opt_outs_count=rising(stops=True),
        )

    def _messages(self, broadcast: Broadcast) -> Iterator[Event]:
        """What a broadcast sends, and what comes back."""
        answering = {each.place for each in broadcast.answers}
        for place, after in enumerate(broadcast.sent):
            time = broadcast.time + after
            yield time, partial(self._send, broadcast, place, place in answering, time)
        for each in broadcast.answers:
            time = broadcast.time + each.after
            yield time, partial(self._answer, broadcast.number, each, time)

    def _reactions(self, broadcast: Broadcast) -> Iterator[Event]:
        """Clicks after a broadcast, and opt-outs by STOP."""
        stops = (each for each in broadcast.answers if each.stops)
        for happen, reactions in ((self._click_after, broadcast.clicks), (self._stop, stops)):
            for each in reactions:
                time = broadcast.time + each.after
                yield time, partial(happen, broadcast, each.place, time)

    def _recipient(self, broadcast: Broadcast, place: int) -> int:
        """The id of somebody who was subscribed to the campaign when the broadcast was delivered.

        It is the same however long ago that is.
        """
        time, campaign = broadcast.time, self._campaign(broadcast)["id"]
        subscribed, ids = self._audiences[campaign]
        size = bisect_right(subscribed, time)
        first = int(size * broadcast.first) + place * max(1, size // len(broadcast.sent))
        found = (ids[(first + further) % size] for further in range(size))
        # If there is nobody, it is the first of all.
        return next(
            (id for id in found if self._left.get((id, campaign), time) >= time), profile_id(0)
        )

    def _campaign(self, broadcast: Broadcast) -> Row:
        campaign: Row = self._sample("broadcasts", broadcast.number)["campaign"]
        return campaign

    def _click_after(self, broadcast: Broadcast, place: int, time: int) -> None:
        self._click(self._tables["profiles"].own(self._recipient(broadcast, place)), time)

    def _stop(self, broadcast: Broadcast, place: int, time: int) -> None:
        id, now = self._recipient(broadcast, place), moment(time)
        if self._tables["profiles"].own(id):
            self._opt_out(id, [self._campaign(broadcast)["id"]], now, "Texted a STOP word")
            self._tables["profiles"].change(id, updated_at=now)

    # --- messages --------------------------------------------------------------------------------

    def _send(self, broadcast: Broadcast, place: int, answered: bool, time: int) -> None:
        """A message of a broadcast."""
        number, id = broadcast.number, self._recipient(broadcast, place)
        name = self._sample("profiles", _profile_number(id))["first_name"] or "friend"
        body = self._sample("broadcasts", number)["body"].replace("[[first_name]]", name)
        row = self._outgoing(
            self._sample("outgoing_messages", number),
            id,
            time,
            0 if answered else broadcast.failing,
            body=body,
            multipart=len(body) > _SEGMENT,
            broadcast_id=_broadcast_id(number),
            campaign=self._campaign(broadcast),
        )
        if answered:
            self._asked[number, place] = row

    def _answer(self, broadcast: int, reaction: Reaction, time: int) -> None:
        """A recipient of a broadcast answers."""
        asked = self._asked.pop((broadcast, reaction.place))
        kind = "stops" if reaction.stops else "answers"
        answer = self._receive(kind, asked["profile_id"], time, asked["campaign"], asked["id"])
        if time - seconds(asked["sent_at"]) < _SETTLED:
            self._tables["outgoing_messages"].change(asked["id"], next_id=answer)

    def _hear(self, number: int, time: int) -> None:
        """Somebody writes without having been asked."""
        # The later the likelier, as in _somebody.
        who = int(bisect_right(self._joined, time) * self._random_talk.random() ** 0.5)
        campaign = self._sample("broadcasts", number)["campaign"]
        self._receive("answers", profile_id(who), time, campaign, None)

    def _receive(
        self, kind: str, profile: int, time: int, campaign: Row, previous: int | None
    ) -> int:
        """Insert an incoming message and the reply to it, and return the id of the former."""
        number, self._received = self._received, self._received + 1
        id, sample = _incoming_id(number), self._sample(kind, number)
        samples = self._samples["replies"]
        fitting = next(
            (row for row in samples if row["type"] == _REPLIES.get(sample["type"])), samples[-1]
        )
        reply = self._outgoing(fitting, profile, time, FAILING, campaign=campaign, previous_id=id)
        row = {
            **sample,
            "id": id,
            "phone_number": reply["phone_number"],
            "profile_id": profile,
            "message_template_id": 37_000_000 + number % 100 if number % 5 else None,
            "received_at": moment(time),
            "previous_id": previous,
            "next_id": reply["id"],
            "campaign": campaign,
        }
        self._tables["incoming_messages"].add(id, row)
        return id

    def _outgoing(self, sample: Row, profile: int, time: int, failing: float, **values: Any) -> Row:
        """Insert an outgoing message, and return it."""
        number, self._sent = self._sent, self._sent + 1
        random = self._random_talk.random
        wait = int(random() * (_SETTLED if number % 9 == 4 else 600))
        end = "sent"
        if random() < failing:
            end = "undeliverable" if number % 2 else "failed permanently"
        status = (time + min(wait, 20), "queued"), (time + wait, end)
        row = {
            **sample,
            "id": _outgoing_id(number),
            "status": self._talk.later("initial", *status),
            "phone_number": phone_number(_profile_number(profile)),
            "profile_id": profile,
            "sent_at": moment(time),
            "message_template_id": 37_100_000 + number % 100,
            "mms": number % 20 == 3,
            **values,
        }
        self._tables["outgoing_messages"].add(row["id"], row)
        return row


def _column(name: str, value: str | None, created: datetime, updated: datetime) -> Row:
    times = {"created_at": created, "updated_at": updated} if value else {}
    return {"name": name, **times, "value": value}


def _some(row: Row, *keys: str) -> Row:
    return {key: row[key] for key in keys}


def _profile_number(id: int) -> int:
    return (id - profile_id(0)) // 7


def _subscriber_id(profile: int, campaign: int) -> int:
    return 50_000_000 + _SEATS * _profile_number(profile) + (campaign - MASTER_CAMPAIGN) // 3


def _broadcast_id(number: int) -> int:
    return 123_456 + 5 * number


def _outgoing_id(number: int) -> int:
    return 6_480_000_000 + 2 * number


def _incoming_id(number: int) -> int:
    return 1_290_000_001 + 3 * number
