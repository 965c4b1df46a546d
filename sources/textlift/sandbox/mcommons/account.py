"""An invented account: what there is from the start, and what happens as time goes by.

In the first year of an account of N profiles, N profiles are made and N changed, 3 N messages go
out and N come in, N/50 broadcasts (80 at least, 5000 at most) are delivered, tiny URLs are clicked
N/2 times, groups are joined and left N/5 times, N/10 calls and N/10 mData queries are made, and
N/50 donations given. Later, N/20 profiles are made in a year, and half as much of the rest happens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from random import Random
from typing import Any

from textlift.sandbox.clock import moment
from textlift.sandbox.mcommons import words
from textlift.sandbox.mcommons.words import CAMPAIGNS, GROUPS, KEYWORDS, NOWHERE, PLACES
from textlift.sandbox.tables import CROWDED_DAY, DAY, History, Row, Table, stream, times

MASTER_CAMPAIGN = 162_600
FUNDRAISERS = {501: "Winter Appeal", 502: "Strike Fund & Friends"}

_SEATS = 13
"""Numbers of subscriptions for each profile, more than there are campaigns."""
_LEAD = 40 * DAY
"""How long before its delivery a broadcast can be seen."""
_SETTLED = 2 * DAY
"""A message this old does not change any more."""
_FIRST_COLUMNS, _COLUMN_EVERY = 4, 100 * DAY


def profile_id(number: int) -> int:
    """The id of a profile."""
    return 300_000_007 + 7 * number


def phone_number(number: int) -> str:
    """The phone number of a profile, with country code; of some with another."""
    area, line = divmod(number, 10_000)
    code = "44" if number % 50 == 17 else "1"
    # Scattered by a factor that shares no divisor with ten thousand.
    return f"{code}{202 + area % 788}555{line * 7919 % 10_000:04d}"


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
        advocacy: bool,
    ) -> None:
        """Put what is there from the start into `tables`, and into `members` who is in a group.

        size: how many profiles are made in the first year, which begins at `start`.
        columns: how many custom columns there are at all times; None for some that become more.
        advocacy: whether profiles have districts.
        """
        self._tables, self._members = tables, members
        self._start, self._size = start, size
        self._columns, self._advocacy = columns, advocacy
        self._fixed = {
            kind: [self._add(kind, **row) for row in rows] for kind, rows in _fixed(start).items()
        }
        members.update({group["id"]: set() for group in self._fixed["groups"]})
        self._people = Random(f"{seed}/people")
        self._talk = Random(f"{seed}/talk")
        self._joined: list[int] = []
        """When each profile was made."""
        self._active: list[int] = []
        """The numbers of those that can change: who came by the import is never heard of again."""
        self._queries = self._delivered = self._recipient = 0
        self._asked: deque[tuple[int, Row]] = deque()
        """Profiles that have not answered yet, and the campaigns of the questions."""

        def happening(name: str, first_year: int, yearly: float) -> Iterator[int]:
            return times(f"{seed}/{name}", start, first_year, yearly)

        broadcasts = min(max(80, size // 50), 5000) if size else 0
        people = History(
            stream(happening("profiles", size, size / 20), self._join),
            stream(happening("changes", size, size / 2), self._change),
            stream(happening("clicks", size // 2, size / 4), self._click),
            stream(happening("moves", size // 5, size / 10), self._move),
            stream(happening("calls", size // 10, size / 20), self._call),
            stream(happening("queries", size // 10, size / 20), self._query),
            stream(happening("donations", size // 50, size / 100), self._donate),
        )
        self._deliveries, announced, delivered = (
            happening("broadcasts", broadcasts, broadcasts / 2) for _ in range(3)
        )
        sent, asked = (happening("messages", 3 * size, 3 * size / 2) for _ in range(2))
        self._talking = History(
            stream((max(start, time - _LEAD) for time in announced), self._announce),
            stream(delivered, self._deliver),
            stream(sent, self._send),
            # Who answers does so after 40 seconds.
            stream((time + 40 for time in islice(asked, 1, None, 3)), self._receive),
        )
        self.histories: dict[str, Sequence[History]] = {
            **dict.fromkeys(tables, (people,)),
            **dict.fromkeys(
                ("broadcasts", "outgoing_messages", "incoming_messages"), (people, self._talking)
            ),
        }

    # --- profiles --------------------------------------------------------------------------------

    def _join(self, number: int, time: int) -> None:
        random, pick = self._people.random, self._people.choice
        id, now = profile_id(number), moment(time)
        imported = 0 <= time - self._start - CROWDED_DAY * DAY < DAY
        self._joined.append(time)
        if not imported:
            self._active.append(number)
        place = pick(PLACES) if random() < 0.8 else NOWHERE
        source = self._source(number, imported)
        location = place if place.city and random() < 0.85 else NOWHERE
        prefix = "" if number % 13 == 5 else "last_saved_"
        row: Row = {
            "id": id,
            "first_name": pick(words.FIRST_NAMES) if random() < 0.92 else None,
            "last_name": pick(words.LAST_NAMES) if random() < 0.92 else None,
            "phone_number": phone_number(number),
            "email": f"person{number}@example.{pick(('org', 'com'))}" if random() < 0.6 else None,
            "status": "Profiles with no Subscriptions",
            "created_at": now,
            "updated_at": now,
            "opted_out_at": None,
            "opted_out_source": None,
            "source": source,
            "address": _address(place, *self._street()),
            f"{prefix}location": {
                "latitude": location.latitude,
                "longitude": location.longitude,
                "precision": pick(words.PRECISIONS) if location.city else None,
                **_city(location, location.country),
            },
            **({f"{prefix}districts": self._districts(location)} if self._advocacy else {}),
            "custom_columns": self._filled_columns(time),
            "subscriptions": [],
            "integrations": self._integrations(number, now),
            "clicks": [],
        }
        self._tables["profiles"].add(id, row)
        mask = int(random() * 256) & int(random() * 256)
        for place_, group in enumerate(self._fixed["groups"]):
            if mask >> place_ & 1:
                self._set_member(group["id"], id, True)
        if random() < 0.97:
            for _ in range(1 if random() < 0.63 else 2):
                self._subscribe(number, now, str(source["name"]))

    def _change(self, number: int, time: int) -> None:
        """A new name, address or answer; a subscription more or less; or the end of all."""
        profile = self._somebody(self._active)
        row = self._profile(profile)
        if profile is None or row is None:
            return
        random, pick, now = self._people.random, self._people.choice, moment(time)
        known = {column["name"]: column for column in row["custom_columns"]}
        columns = [known.get(name) or {"name": name, "value": None} for name in self._names(time)]
        changes: Row = {"updated_at": now, "custom_columns": columns}
        what = random()
        if what < 0.30:
            changes["first_name"] = pick(words.FIRST_NAMES)
            changes["email"] = f"person{profile}.{number}@example.org"
        elif what < 0.50:
            changes["address"] = _address(pick(PLACES), pick(words.STREETS), pick(words.STREETS_2))
        elif what < 0.75:
            place = int(random() * len(columns))
            columns[place] = {
                "name": columns[place]["name"],
                "created_at": columns[place].get("created_at") or now,
                "updated_at": now,
                "value": str(int(random() * 100)),
            }
        elif what < 0.99:
            subscribed = [each["campaign_id"] for each in row["subscriptions"]]
            if what < 0.85 or not subscribed:
                self._subscribe(profile, now, "web form")
            elif what < 0.93:
                self._opt_out(profile, subscribed[:1], now, "Texted a STOP word")
            elif what < 0.97:
                self._unsubscribe(profile, subscribed[-1])
            else:
                self._opt_out(profile, subscribed, now, "Opt-out from API")
                changes |= {"opted_out_at": now, "opted_out_source": "Texted a STOP word"}
        else:
            changes["status"] = "Undeliverable"
        self._tables["profiles"].change(row["id"], **changes)

    def _somebody(self, numbers: Sequence[int]) -> int | None:
        """One of some numbers, the later the likelier, or the first would collect everything."""
        return numbers[int(len(numbers) * self._people.random() ** 0.5)] if numbers else None

    def _profile(self, number: int | None) -> Row | None:
        return None if number is None else self._tables["profiles"].own(profile_id(number))

    def _street(self) -> tuple[str | None, str | None]:
        pick = self._people.choice
        return (pick(words.STREETS), pick(words.STREETS_2)) if pick((True, False)) else (None, None)

    def _source(self, number: int, imported: bool) -> Row:
        kind = self._people.random()
        if imported or kind > 0.7:
            group = self._fixed["groups"][0 if imported else number % len(GROUPS)]
            return {"type": "Uploaded Group", "name": group["name"], "id": group["id"]}
        if kind < 0.35:
            return {"type": "API", "name": "User1", "email": "user1@example.com"}
        keyword = self._people.choice(self._fixed["keywords"])
        return {
            "type": "Keyword",
            "name": keyword["name"],
            "id": keyword["id"],
            "opt_in_path_id": keyword["opt_in_path_id"],
            "message_id": _incoming_id(number),
        }

    def _districts(self, place: words.Place) -> Row:
        if not place.city:
            return {}
        upper, lower = self._people.choice((("", ""), (7, 19), (21, 112), (38, 4)))
        return {
            "congressional_district": place.district,
            "state_upper_district": f"{place.state}-{upper}",
            "state_lower_district": f"{place.state}-{lower}",
            "split_district": self._people.choice(("No", "No", "No", "Yes")),
        }

    def _integrations(self, number: int, now: datetime) -> list[Row]:
        if number % 6 != 1:
            return []
        row = {
            "constituent_id": f"{number:09d}C" if number % 5 else None,
            "type": ("Salesforce", "ActionKit")[number & 1],
            "synchronized_at": now if number % 4 else None,
        }
        return [row] if number % 4 else [row, {**row, "type": "NationBuilder"}]

    def _names(self, time: int) -> list[str]:
        """The names of the custom columns there were at a time."""
        count = self._columns or _FIRST_COLUMNS + (time - self._start) // _COLUMN_EVERY
        names = [name for name, _ in words.COLUMNS[:count]]
        return names + [f"Survey {number}" for number in range(1, count - len(names) + 1)]

    def _filled_columns(self, time: int) -> list[Row]:
        columns: list[Row] = []
        now = moment(time)
        for number, name in enumerate(self._names(time)):
            values = words.COLUMNS[number % len(words.COLUMNS)][1]
            value = self._people.choice(values) if self._people.random() < 0.55 else ""
            given = {"created_at": now, "updated_at": now} if value else {}
            columns.append({"name": name, **given, "value": value or None})
        return columns

    # --- subscriptions and groups ----------------------------------------------------------------

    def _subscribe(self, profile: int, now: datetime, source: str) -> None:
        """To any campaign, but the Master Campaign, that they are not subscribed to; or to none."""
        row = self._profile(profile)
        choice = self._people.random() * self._people.random()
        place = 1 + int(choice * (len(self._fixed["campaigns"]) - 1))
        campaign = self._fixed["campaigns"][place]
        if row is None or campaign["id"] in [each["campaign_id"] for each in row["subscriptions"]]:
            return
        paths = campaign["opt_in_paths"]
        path = self._people.choice(paths)["id"] if self._people.random() < 0.75 else None
        subscription = {
            "campaign_id": campaign["id"],
            "campaign_name": campaign["name"],
            "campaign_description": CAMPAIGNS[place].description,
            "opt_in_path_id": path,
            "status": "Active",
            "opt_in_source": source,
            "created_at": now,
            "activated_at": now,
            "opted_out_at": None,
            "opt_out_source": None,
        }
        self._add(
            "subscribers",
            id=_subscriber_id(profile, campaign["id"]),
            profile_id=row["id"],
            phone_number=row["phone_number"],
            **_some(subscription, "activated_at", "campaign_id", "opt_in_path_id"),
        )
        self._set_subscriptions(row, [*row["subscriptions"], subscription])

    def _opt_out(self, profile: int, campaigns: list[int], now: datetime, source: str) -> None:
        row = self._tables["profiles"].rows[profile_id(profile)]
        end = {"status": "Opted-Out", "opted_out_at": now, "opt_out_source": source}
        subscriptions = list(row["subscriptions"])
        for place, each in enumerate(subscriptions):
            if each["campaign_id"] in campaigns and each["opted_out_at"] is None:
                subscriptions[place] = {**each, **end}
                key = _subscriber_id(profile, each["campaign_id"])
                self._tables["subscribers"].change(key, opted_out_at=now)
        self._set_subscriptions(row, subscriptions)

    def _unsubscribe(self, profile: int, campaign: int) -> None:
        """Without a trace."""
        row = self._tables["profiles"].rows[profile_id(profile)]
        self._tables["subscribers"].remove(_subscriber_id(profile, campaign))
        left = [each for each in row["subscriptions"] if each["campaign_id"] != campaign]
        self._set_subscriptions(row, left)

    def _set_subscriptions(self, row: Row, subscriptions: list[Row]) -> None:
        status = "Opted-Out" if subscriptions else "Profiles with no Subscriptions"
        if row["status"] == "Undeliverable":
            status = "Undeliverable"
        elif any(each["opted_out_at"] is None for each in subscriptions):
            status = "Active Subscriber"
        self._tables["profiles"].change(row["id"], subscriptions=subscriptions, status=status)

    def _move(self, number: int, time: int) -> None:
        """Somebody joins a group or leaves it."""
        profile = self._somebody(range(len(self._joined)))
        if profile is not None:
            group, id = self._people.choice(self._fixed["groups"])["id"], profile_id(profile)
            self._set_member(group, id, id not in self._members[group])

    def _set_member(self, group: int, id: int, member: bool) -> None:
        members = self._members[group]
        (members.add if member else members.discard)(id)
        self._tables["groups"].change(group, size=len(members))

    # --- clicks, calls, queries, donations -------------------------------------------------------

    def _click(self, number: int, time: int) -> None:
        tinyurl = self._fixed["tinyurls"][(0, 0, 1, 0, 2, 1, 3)[number % 7]]
        profile = self._somebody(range(len(self._joined))) if number % 5 else None
        row = self._profile(profile)
        click = {
            "id": 70_000_123 + 4 * number,
            "created_at": moment(time),
            "url": tinyurl["url"],
            "clicked_url": f"http://{tinyurl['host']}/{tinyurl['key']}",
            "remote_addr": f"192.0.2.{number % 256}",
            "http_referer": f"http://www.example.org/?q={number}&r=sms"
            if number % 4 == 1
            else None,
            "user_agent": words.AGENTS[number % len(words.AGENTS)],
        }
        self._add("clicks", **click, profile_id=row and row["id"], tinyurl_id=tinyurl["id"])
        if row:
            # This does not move updated_at.
            self._tables["profiles"].change(row["id"], clicks=[*row["clicks"], click])

    def _call(self, number: int, time: int) -> None:
        random, pick = self._people.random, self._people.choice
        caller = self._profile(self._somebody(range(len(self._joined))))
        if caller is None:
            return
        mconnect = self._fixed["mconnects"][(0, 0, 1, 0, 2, 1, 0)[number % 7]]
        duration = int(random() ** 3 * 1000)
        recorded: Row = {}
        if mconnect["voicemail"] and number % 3 == 0:
            voicemail = f"http://www.example.org/voicemails/{number}?as=mp3"
            recorded = {"transcription": words.VOICEMAIL, "voicemail_duration": number % 90}
            recorded["voicemail"] = voicemail
        legislator = None
        if random() < 0.7:
            keys = ("first_name", "last_name", "party", "district", "state")
            values = (*pick(words.LEGISLATORS), caller["address"]["state"] or "DC")
            legislator = dict(zip(keys, values, strict=True))
        self._add(
            "calls",
            id=11_765_581 + number,
            start_time=moment(time - duration),
            end_time=moment(time),
            duration=duration,
            call_status=pick(("completed", "no answer", "busy", "failed")),
            connection_source=pick(("web", "sms")),
            email=caller["email"],
            profile_status=caller["status"],
            profile_status_at_call_time="Active Subscriber",
            handset_number=caller["phone_number"],
            carrier_name=pick(words.CARRIERS),
            **_some(mconnect, "voip_number", "destination_number"),
            **recorded,
            mconnect_id=mconnect["id"],
            profile={
                **_some(caller, "id", "email", "first_name", "last_name"),
                "address": {**caller["address"], "country": None},
            },
            legislator=legislator,
        )

    def _query(self, number: int, time: int) -> None:
        """Every twentieth is asked twice, equal in every field."""
        pick = self._people.choice
        profile = self._profile(self._somebody(range(len(self._joined))))
        if profile is None:
            return
        place = pick((*PLACES, NOWHERE))
        where = {"latitude": place.latitude, "longitude": place.longitude}
        geocoded = {f"geocoded_{key}": value for key, value in _city(place, place.country).items()}
        asked, answer = pick(list(words.MDATA_ANSWERS.items()))
        found = number % 4 != 1
        for _ in range(2 if number % 20 == 0 else 1):
            self._queries += 1
            self._add(
                "mdata_queries",
                id=self._queries,
                mdata_id=self._fixed["mdatas"][number % 4 == 3]["id"],
                created_at=moment(time),
                keyword=KEYWORDS[number % len(KEYWORDS)] if number % 2 else None,
                input=asked,
                output=answer if found else "There were no results for your search",
                result="success_response" if found else "error_response",
                error_log_body="Timeout: <html>503 & bye</html>" if number % 40 == 7 else None,
                query_location={**_address(place), "country": place.country, **where},
                profile={
                    "status": "Active Subscriber",
                    **_some(profile, "email", "first_name", "last_name"),
                    "source_type": "Keyword",
                    "source_name": KEYWORDS[number % len(KEYWORDS)],
                    "phone": {
                        "phone_number": profile["phone_number"],
                        "carrier_name": words.CARRIERS[number % len(words.CARRIERS)],
                    },
                    "address": {**profile["address"], **where, **geocoded},
                    "custom_columns": [
                        _some(column, "name", "value") for column in profile["custom_columns"]
                    ],
                },
            )

    def _donate(self, number: int, time: int) -> None:
        fundraiser = list(FUNDRAISERS)[number % len(FUNDRAISERS)]
        amount = 5 * (1 + number % 20)
        self._add(
            "donations",
            id=1 + number,
            fundraising_id=fundraiser,
            created_at=moment(time),
            amount=amount,
        )

    # --- messages --------------------------------------------------------------------------------

    def _announce(self, number: int, _: int) -> None:
        """A broadcast is there to see; one that is far ahead can be a draft without a time."""
        later, pick = self._talking.later, self._talk.choice
        delivery = next(self._deliveries)
        campaign = self._campaign_of(number)
        ready = delivery - 7 * DAY if number % 2 else 0
        recipients = 1 + int(self._size * self._talk.random())
        included, excluded = (
            _some(group, "name", "id", "type")
            for group in self._talk.sample(self._fixed["groups"], 2)
        )

        def count(most: int) -> Any:
            hours = ((1, 0.2), (24, 0.5), (96, 0.75), (240, 0.9), (480, 1))
            return later(0, *((delivery + h * 3600, int(most * part)) for h, part in hours))

        self._add(
            "broadcasts",
            id=_broadcast_id(number),
            status=later("draft", (ready, "scheduled"), (delivery, "generated")),
            name=None if number == 7 else f"{campaign['name']} #{number + 1}",
            body=words.BODIES[number % len(words.BODIES)].format(name="[[first_name]]"),
            campaign=_some(campaign, "id", "active", "name"),
            delivery_time=later(None, (ready, moment(delivery))),
            include_subscribers=pick((True, False)),
            throttled=number % 9 == 4,
            localtime=number % 9 == 5,
            automated=number % 12 == 6,
            estimated_recipients_count=later(None, (ready, recipients)),
            replies_count=count(3 + recipients // 10),
            opt_outs_count=count(1 + recipients // 100),
            included_groups=[included] * pick((1, 1, 0)),
            excluded_groups=[excluded] * pick((1, 0, 0)),
            tags=[*campaign["tags"], *(["q&a"] if number % 6 == 1 else [])],
        )

    def _deliver(self, number: int, time: int) -> None:
        self._delivered = number

    def _send(self, number: int, time: int) -> None:
        """In threes: one to anybody, a question, and the reply to the answer to that."""
        random, place = self._talk.random, number % 3
        if place < 2:
            # The later the likelier, as in _somebody.
            self._recipient = int(bisect_right(self._joined, time) * random() ** 0.5)
        broadcast = None if place == 2 else self._delivered
        if broadcast is None:
            type, body = self._talk.choice(words.REPLIES)
        else:
            type = words.TYPES[broadcast % len(words.TYPES)]
            name = words.FIRST_NAMES[self._recipient % len(words.FIRST_NAMES)]
            body = words.BODIES[broadcast % len(words.BODIES)].format(name=name)
        campaign = _some(self._campaign_of(self._delivered), "id", "active", "name")
        wait = int(random() * (_SETTLED if number % 9 == 4 else 600))
        queued, end = time + min(wait, 20), self._talk.choice(words.FATES)
        self._add(
            "outgoing_messages",
            id=_outgoing_id(number),
            type=type,
            status=self._talking.later("initial", (queued, "queued"), (time + wait, end)),
            phone_number=phone_number(self._recipient),
            profile_id=profile_id(self._recipient),
            body=body,
            sent_at=moment(time),
            message_template_id=37_100_000 + (broadcast or 0),
            broadcast_id=None if broadcast is None else _broadcast_id(broadcast),
            mms=number % 20 == 3,
            multipart=len(body) > 160,
            campaign=campaign,
            previous_id=_incoming_id(number // 3) if place == 2 else None,
            next_id=_incoming_id(number // 3) if place == 1 else None,
        )
        if place == 1:
            self._asked.append((self._recipient, campaign))

    def _receive(self, number: int, time: int) -> None:
        """The answer to a question."""
        pick = self._talk.choice
        profile, campaign = self._asked.popleft()
        type, bodies = pick(words.INCOMING)
        keyword = pick(self._fixed["keywords"]) if type == "opt_in" else None
        self._add(
            "incoming_messages",
            id=_incoming_id(number),
            type=type,
            approved=number % 4 == 1,
            phone_number=phone_number(profile),
            carrier_name=words.CARRIERS[profile % len(words.CARRIERS)],
            profile_id=profile_id(profile),
            body=pick(bodies) or None,
            message_template_id=37_000_000 + number % 256 if number % 5 else None,
            mms=number % 20 == 3,
            keyword=keyword and _some(keyword, "id", "name", "opt_in_path_id"),
            received_at=moment(time),
            previous_id=_outgoing_id(3 * number + 1),
            next_id=_outgoing_id(3 * number + 2),
            campaign=campaign,
        )

    def _campaign_of(self, broadcast: int) -> Row:
        """Any but the Master Campaign."""
        campaigns = self._fixed["campaigns"]
        return campaigns[1 + broadcast % (len(campaigns) - 1)]

    def _add(self, kind: str, **values: Any) -> Row:
        """Insert a row; what is not said is blank."""
        row = {**self._tables[kind].blank, **values}
        self._tables[kind].add(row["id"], row)
        return row


def _subscriber_id(profile: int, campaign: int) -> int:
    return 50_000_000 + _SEATS * profile + (campaign - MASTER_CAMPAIGN) // 3


def _broadcast_id(number: int) -> int:
    return 123_456 + 5 * number


def _outgoing_id(number: int) -> int:
    return 6_480_000_000 + 2 * number


def _incoming_id(number: int) -> int:
    return 1_290_000_001 + 3 * number


def _some(row: Row, *keys: str) -> Row:
    return {key: row[key] for key in keys}


def _city(place: words.Place, country: str | None) -> Row:
    return {
        "city": place.city,
        "state": place.state,
        "postal_code": place.postal_code,
        "country": country,
    }


def _address(place: words.Place, street1: str | None = None, street2: str | None = None) -> Row:
    return {"street1": street1, "street2": street2, **_city(place, "US")}


def _fixed(start: int) -> dict[str, list[Row]]:
    """What there is from the start."""
    rows: dict[str, list[Row]] = {
        "campaigns": [
            {
                "id": MASTER_CAMPAIGN + 3 * n,
                "active": n < len(CAMPAIGNS) - 1,
                "name": campaign.name,
                "description": campaign.description or None,
                "tags": list(campaign.tags),
                "opt_in_paths": [
                    {
                        "id": 25_000 + 10 * n + place,
                        "active": place < 2,
                        "name": f"{campaign.name} / path {place + 1}",
                        "tags": ["web"] if place == 1 else [],
                    }
                    for place in range(1 + n % 3)
                ],
            }
            for n, campaign in enumerate(CAMPAIGNS)
        ],
        "groups": [
            {
                "id": 402_704 + 11 * n,
                "name": name,
                "type": type,
                "status": "inactive" if name == "Staff" else "active",
                **({"hint": hint} if hint else {}),
            }
            for n, (name, type, hint) in enumerate(GROUPS)
        ],
        "keywords": [
            {
                "id": 763_101 + 2 * n,
                "active": n != 4,
                "name": name,
                "opt_in_path_id": 25_000 + 10 * (n % len(CAMPAIGNS)),
                "ended_at": moment(start + 14 * DAY) if n == 4 else None,
                "created_at": moment(start + n * 3600),
                "updated_at": moment(start + (n + 10) * DAY),
            }
            for n, name in enumerate(KEYWORDS)
        ],
        "mconnects": [
            {
                "id": 10 + n,
                "active": n != 2,
                "name": name,
                "destination_number": f"120255502{n:02d}",
                "destination_description": "Front desk" if n else None,
                "voip_number": f"180055501{n:02d}",
                "call_type": ("legislator", "single number", "round robin")[n],
                "autoroute": n == 0,
                "subscriber_follow_up": "Thanks for calling! How did it go?",
                "call_timeout": 30 * (n + 1),
                "failover_number": "12025550199" if n == 1 else None,
                "failover_text": "All lines are busy & we're sorry" if n == 1 else None,
                "voicemail": n == 1,
                "transcribe": n == 1,
                "shortcode": "55555",
                "tags": ["actions", "calls"][: 2 - n],
            }
            for n, name in enumerate(words.MCONNECTS)
        ],
        "tinyurls": [
            {
                "id": 8_101 + n,
                "created_at": moment(start),
                "name": name,
                "mode": "direct" if n % 2 else "interstitial",
                "url": url,
                "host": "lil.example.org",
                "description": "For the 2nd & 3rd broadcast" if n == 1 else None,
                "key": key,
            }
            for n, (name, url, key) in enumerate(words.TINYURLS)
        ],
        "mdatas": [
            {
                "id": 4_667,
                "name": "Polling places",
                "uuid": "MD8C3C00000000000000000000000000001",
                "entries": [
                    {
                        "id": 91_000 + n,
                        "mdata_id": 4_667,
                        "created_at": moment(start + n * 3600),
                        "input": input,
                        "output": output,
                    }
                    for n, (input, output) in enumerate(words.MDATA_ANSWERS.items())
                ],
            },
            {"id": 4_680, "name": "Web lookup", "type": "web_service"},
        ],
        "attachments": [
            {
                "id": 143_543 + 17 * n,
                "name": name,
                "thumbnail_link": f"http://www.example.org/attachments/{n}/display?size=small",
            }
            for n, name in enumerate(words.ATTACHMENTS)
        ],
    }
    # One row for each tag of each thing. Tags of broadcasts are not among them.
    tagged = {
        "campaign": rows["campaigns"],
        "opt_in_path": [path for row in rows["campaigns"] for path in row["opt_in_paths"]],
        "mconnect": rows["mconnects"],
    }
    pairs = [(tag, kind, row) for kind, of in tagged.items() for row in of for tag in row["tags"]]
    rows["tags"] = [
        {"id": 31 + n, "name": tag, "taggable_object": {"id": row["id"], "type": kind}}
        for n, (tag, kind, row) in enumerate(pairs)
    ]
    return rows
