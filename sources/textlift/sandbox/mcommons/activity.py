"""Calls, mData queries and donations."""

from __future__ import annotations

from textlift.sandbox.clock import moment
from textlift.sandbox.dice import Dice, salt
from textlift.sandbox.mcommons import words
from textlift.sandbox.mcommons.curve import DAY
from textlift.sandbox.mcommons.fixed import FixedRows
from textlift.sandbox.mcommons.ids import IDS, phone_number, profile_id
from textlift.sandbox.mcommons.people import People
from textlift.sandbox.mcommons.words import KEYWORDS
from textlift.sandbox.mcommons.world import World
from textlift.sandbox.mcommons.xml import Row

_MCONNECTS = (0, 0, 1, 0, 2, 1, 0)
_MDATAS = (0, 0, 0, 1)
"""Whose the calls and the queries are, by number, over and over."""

FUNDRAISERS = {501: "Winter Appeal", 502: "Strike Fund & Friends"}


class Activity:
    """Rows of calls and mData queries, by their numbers, and sums of donations."""

    def __init__(self, world: World, fixed: FixedRows, people: People) -> None:
        self._world = world
        self._fixed = fixed
        self._people = people
        self._call_dice = Dice(world.seed, "call")
        self._query_dice = Dice(world.seed, "query")
        self._call_salt = salt(world.seed, "call")
        self._query_salt = salt(world.seed, "query")

    def mconnect(self, call: int) -> int:
        """Which mConnect a call went through."""
        return _MCONNECTS[call % len(_MCONNECTS)]

    def mdata(self, query: int) -> int:
        """Which mData a query was put to."""
        return _MDATAS[original(query) % len(_MDATAS)]

    def call(self, number: int) -> Row:
        """The row of a call."""
        world = self._world
        dice = self._call_dice.throw(number)
        end = world.calls.time(number)
        duration = dice[0] * (1 + dice[1] % 4)
        profile = world.somebody(number, self._call_salt, end) or 0
        person = self._people.person(profile)
        mconnect = self._fixed["mconnects"][self.mconnect(number)]
        recorded = mconnect["voicemail"] and dice[3] < 40
        status = "Active Subscriber" if dice[4] < 200 else "Opted-Out"
        legislator = None
        if dice[9] < 170:
            keys = ("first_name", "last_name", "party", "district", "state")
            values = words.LEGISLATORS[dice[2] % len(words.LEGISLATORS)]
            legislator = dict(zip(keys, (*values, person.place.state or "DC"), strict=True))
        return {
            "id": IDS["calls"][number],
            "start_time": moment(end - duration),
            "end_time": moment(end),
            "duration": duration,
            "call_status": words.CALL_STATUSES[dice[5] % len(words.CALL_STATUSES)],
            "connection_source": "web" if dice[6] < 80 else "sms",
            "email": person.email,
            "profile_status": status,
            "profile_status_at_call_time": "Active Subscriber" if dice[4] < 230 else status,
            "handset_number": phone_number(profile),
            "carrier_name": words.CARRIERS[dice[7] % len(words.CARRIERS)],
            "voip_number": mconnect["voip_number"],
            "destination_number": mconnect["destination_number"],
            "transcription": words.VOICEMAIL if recorded else None,
            "voicemail_duration": dice[8] if recorded else None,
            "voicemail": f"http://www.example.org/voicemails/{number}?as=mp3" if recorded else None,
            "mconnect_id": mconnect["id"],
            "profile": {
                "id": profile_id(profile),
                "email": person.email,
                "first_name": person.first_name,
                "last_name": person.last_name,
                "address": person.address(None),
            },
            "legislator": legislator,
        }

    def query(self, number: int) -> Row:
        """The row of an mData query."""
        world = self._world
        first = original(number)
        dice = self._query_dice.throw(first)
        time = world.queries.time(first)
        profile = world.somebody(first, self._query_salt, time) or 0
        person = self._people.person(profile)
        place = person.place
        found = dice[0] < 190
        question = dice[1] % len(words.MDATA_INPUTS)
        return {
            "id": IDS["mdata_queries"][number],
            "mdata_id": IDS["mdatas"][self.mdata(number)],
            "created_at": moment(time),
            "keyword": KEYWORDS[dice[2] % len(KEYWORDS)] if dice[2] < 128 else None,
            "input": words.MDATA_INPUTS[question],
            "output": words.MDATA_OUTPUTS[question] if found else words.MDATA_NOTHING,
            "result": "success_response" if found else "error_response",
            "error_log_body": None if dice[3] < 250 else "Timeout: <html>503 & bye</html>",
            "query_location": {
                "street1": None,
                "street2": None,
                "city": place.city,
                "state": place.state,
                "postal_code": place.postal_code,
                "country": place.country,
                "latitude": place.latitude,
                "longitude": place.longitude,
            },
            "profile": {
                "status": "Active Subscriber",
                "email": person.email,
                "first_name": person.first_name,
                "last_name": person.last_name,
                "source_type": "Keyword",
                "source_name": KEYWORDS[dice[4] % len(KEYWORDS)],
                "phone": {
                    "phone_number": phone_number(profile),
                    "carrier_name": words.CARRIERS[dice[5] % len(words.CARRIERS)],
                },
                "address": {
                    **person.address("US"),
                    "latitude": place.latitude,
                    "longitude": place.longitude,
                    "geocoded_city": place.city,
                    "geocoded_state": place.state,
                    "geocoded_postal_code": place.postal_code,
                    "geocoded_country": place.country,
                },
                "custom_columns": self._people.custom_columns(dice, time),
            },
        }

    def donations(self, fundraiser: int, since: int | None, until: int | None) -> Row:
        """The sums of a fundraiser's donations in a window; those of three days are pending."""
        stream, now = self._world.donations, self._world.now
        last = stream.count(now if until is None else min(until, now))
        first = 0 if since is None else stream.count(since - 1)
        settled = max(first, min(last, stream.count(now - 3 * DAY)))

        def total(first: int, last: int) -> Row:
            amounts = [
                5 * (1 + number % 20)
                for number in range(first, last)
                if list(FUNDRAISERS)[number % len(FUNDRAISERS)] == fundraiser
            ]
            return {"count": len(amounts), "amount": sum(amounts)}

        return {"accepted": total(first, settled), "pending": total(settled, last)}


def original(query: int) -> int:
    """Every twentieth query is the one before over again, equal in every field."""
    return query - 1 if query % 20 == 1 else query
