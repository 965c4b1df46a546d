"""Profiles and subscribers: who somebody was at first, and what their changes have made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from textlift.sandbox.clock import moment
from textlift.sandbox.dice import Dice
from textlift.sandbox.mcommons import words
from textlift.sandbox.mcommons.clicks import Clicks
from textlift.sandbox.mcommons.fixed import FixedRows, group_reference
from textlift.sandbox.mcommons.ids import IDS, SEATS, opt_in_paths, phone_number
from textlift.sandbox.mcommons.words import CAMPAIGNS, GROUPS, KEYWORDS, Place
from textlift.sandbox.mcommons.world import (
    ANSWER,
    BOUNCE,
    DROP,
    JOIN,
    MOVE,
    OPT_OUT,
    RENAME,
    STOP_ALL,
    World,
)
from textlift.sandbox.mcommons.xml import Row


@dataclass
class Person:
    """The part of a profile that people give away about themselves."""

    first_name: str | None
    last_name: str | None
    email: str | None
    street1: str | None
    street2: str | None
    place: Place

    def address(self, country: str | None) -> Row:
        """Where they live, as an element of a row."""
        return {
            "street1": self.street1,
            "street2": self.street2,
            "city": self.place.city,
            "state": self.place.state,
            "postal_code": self.place.postal_code,
            "country": country,
        }


@dataclass
class _Subscription:
    campaign: int
    created: int
    source: str
    opted_out: int | None = None
    opt_out_source: str | None = None

    def opt_out(self, time: int, source: str) -> None:
        if self.opted_out is None:
            self.opted_out, self.opt_out_source = time, source


@dataclass
class _State:
    person: Person
    answers: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Values of custom columns and when they were given, by the number of the column."""
    subscriptions: list[_Subscription] = field(default_factory=list)
    opted_out: int | None = None
    bounced: bool = False

    def status(self) -> str:
        if self.bounced:
            return "Undeliverable"
        if not self.subscriptions:
            return "Profiles with no Subscriptions"
        if all(subscription.opted_out is not None for subscription in self.subscriptions):
            return "Opted-Out"
        return "Active Subscriber"


class People:
    """Rows of profiles and subscribers, by their numbers."""

    def __init__(self, world: World, fixed: FixedRows, clicks: Clicks, advocacy: bool) -> None:
        """`advocacy`: whether profiles carry the districts of their legislators."""
        self._world = world
        self._fixed = fixed
        self._clicks = clicks
        self._advocacy = advocacy
        self._dice = Dice(world.seed, "profile")

    def person(self, profile: int) -> Person:
        """Somebody as they signed up."""
        return self._person(profile, self._dice.throw(profile))

    def profile(self, number: int) -> Row:
        """The row of a profile."""
        world = self._world
        dice = self._dice.throw(number)
        state = self._state(number, dice)
        person, place = state.person, state.person.place
        located = place.city is not None and dice[20] < 220
        opted_out = _moment(state.opted_out)
        updated = world.updated[number]
        row: Row = {
            "id": IDS["profiles"][number],
            "first_name": person.first_name,
            "last_name": person.last_name,
            "phone_number": phone_number(number),
            "email": person.email,
            "status": state.status(),
            "created_at": moment(world.created[number]),
            "updated_at": moment(updated),
            "opted_out_at": opted_out,
            "opted_out_source": opted_out and "Texted a STOP word",
            "source": self._source(number, dice),
            "address": person.address("US"),
            **self._location(place if located else words.NOWHERE, dice),
            "custom_columns": self.custom_columns(
                dice, updated, state.answers, world.created[number]
            ),
            "subscriptions": [self._subscription(each, dice) for each in state.subscriptions],
            "integrations": self._integrations(number, dice),
            "clicks": self._clicks.of_profile(number),
        }
        return row

    def _location(self, place: Place, dice: bytes) -> Row:
        """Where somebody was when last saved; some are printed as all were before 2019."""
        prefix = "" if dice[25] < 20 else "last_saved_"
        parts: Row = {
            f"{prefix}location": {
                "latitude": place.latitude,
                "longitude": place.longitude,
                "precision": words.PRECISIONS[dice[21] % 5] if place.city else None,
                "city": place.city,
                "state": place.state,
                "postal_code": place.postal_code,
                "country": place.country,
            }
        }
        if self._advocacy:
            parts[f"{prefix}districts"] = self._districts(place, dice) if place.city else {}
        return parts

    def _districts(self, place: Place, dice: bytes) -> Row:
        upper, lower = ("", "") if dice[22] < 60 else (dice[22] % 40, dice[23] % 120)
        return {
            "congressional_district": place.district,
            "state_upper_district": f"{place.state}-{upper}",
            "state_lower_district": f"{place.state}-{lower}",
            "split_district": "Yes" if dice[24] < 16 else "No",
        }

    def subscriber(self, number: int) -> Row:
        """The row of a subscriber. Raises KeyError if the subscription is gone, or never was."""
        profile, campaign = divmod(number, SEATS)
        dice = self._dice.throw(profile)
        for subscription in self._state(profile, dice).subscriptions:
            if subscription.campaign == campaign:
                return {
                    "id": IDS["subscribers"][number],
                    "profile_id": IDS["profiles"][profile],
                    "phone_number": phone_number(profile),
                    "activated_at": moment(subscription.created),
                    "opted_out_at": _moment(subscription.opted_out),
                    "campaign_id": IDS["campaigns"][campaign],
                    "opt_in_path_id": _opt_in_path(campaign, dice),
                }
        raise KeyError(IDS["subscribers"][number])

    def custom_columns(
        self,
        dice: bytes,
        time: int,
        answers: dict[int, tuple[str, int]] | None = None,
        signed_up: int | None = None,
    ) -> list[Row]:
        """The custom columns there were at a time, `answers` over random values.

        A profile shows those there were when it was last saved: a column that is new to the
        account shows from the next change on. `signed_up` is when the random values were given;
        None prints no times.
        """
        columns = []
        for number, name in enumerate(self._world.columns_at(time)):
            column: Row = {"name": name, "value": None}
            value, when = answers.get(number, ("", None)) if answers else ("", None)
            chance, first = dice[number % len(dice)], when
            if chance < 140:
                values = words.COLUMNS[number % len(words.COLUMNS)][1]
                given = values[chance % len(values)]
                value, first = value or given, signed_up if given else when
            if value:
                column["value"] = value
                if signed_up is not None:
                    column["created_at"] = _moment(first)
                    column["updated_at"] = _moment(when or first)
            columns.append(column)
        return columns

    def _person(self, profile: int, dice: bytes) -> Person:
        named, housed = dice[0] < 235, dice[6] < 128
        domain = "org" if dice[3] & 1 else "com"
        return Person(
            first_name=words.FIRST_NAMES[dice[1] % len(words.FIRST_NAMES)] if named else None,
            last_name=words.LAST_NAMES[dice[2] % len(words.LAST_NAMES)] if named else None,
            email=f"person{profile}@example.{domain}" if dice[4] < 150 else None,
            street1=words.STREETS[dice[5] % len(words.STREETS)] if housed else None,
            street2=words.STREETS_2[dice[7] % len(words.STREETS_2)] if housed else None,
            place=words.PLACES[dice[8] % len(words.PLACES)] if dice[9] < 200 else words.NOWHERE,
        )

    def _state(self, profile: int, dice: bytes) -> _State:
        """What has become of somebody by now."""
        world = self._world
        state = _State(self._person(profile, dice))
        person = state.person
        first, second, third = world.campaigns_of(profile)
        source = str(self._source(profile, dice)["name"])
        subscriptions = {
            campaign: _Subscription(campaign, world.created[profile], source)
            for campaign in (first, second)
            if campaign is not None
        }
        for number in world.changes_of(profile):
            what, when, bits = world.change(number)
            if what == RENAME:
                person.first_name = words.FIRST_NAMES[bits % len(words.FIRST_NAMES)]
                person.email = f"person{profile}.{number}@example.org"
            elif what == MOVE:
                person.street1 = words.STREETS[bits % len(words.STREETS)]
                person.street2 = words.STREETS_2[(bits >> 8) % len(words.STREETS_2)]
                person.place = words.PLACES[(bits >> 16) % len(words.PLACES)]
            elif what == ANSWER:
                column = bits % len(world.columns_at(when))
                state.answers[column] = str((bits >> 16) % 100), when
            elif what == JOIN:
                subscriptions.setdefault(third, _Subscription(third, when, "web form"))
            elif what == OPT_OUT and first is not None:
                subscriptions[first].opt_out(when, "Texted a STOP word")
            elif what == DROP and second is not None:
                subscriptions.pop(second, None)
            elif what == STOP_ALL:
                state.opted_out = state.opted_out or when
                for subscription in subscriptions.values():
                    subscription.opt_out(when, "Opt-out from API")
            elif what == BOUNCE:
                state.bounced = True
        state.subscriptions = list(subscriptions.values())
        return state

    def _subscription(self, subscription: _Subscription, dice: bytes) -> Row:
        campaign = CAMPAIGNS[subscription.campaign]
        created = moment(subscription.created)
        return {
            "campaign_id": IDS["campaigns"][subscription.campaign],
            "campaign_name": campaign.name,
            "campaign_description": campaign.description,
            "opt_in_path_id": _opt_in_path(subscription.campaign, dice),
            "status": "Active" if subscription.opted_out is None else "Opted-Out",
            "opt_in_source": subscription.source,
            "created_at": created,
            "activated_at": created,
            "opted_out_at": _moment(subscription.opted_out),
            "opt_out_source": subscription.opt_out_source,
        }

    def _source(self, profile: int, dice: bytes) -> Row:
        if self._world.imported(profile):
            return _group_source(0)
        if dice[12] < 90:
            return {"type": "API", "name": "User1", "email": "user1@example.com"}
        if dice[12] < 180:
            keyword = self._fixed["keywords"][dice[13] % len(KEYWORDS)]
            return {
                "type": "Keyword",
                "name": keyword["name"],
                "id": keyword["id"],
                "opt_in_path_id": keyword["opt_in_path_id"],
                "message_id": IDS["incoming_messages"][profile],
            }
        return _group_source(dice[13] % len(GROUPS))

    def _integrations(self, profile: int, dice: bytes) -> list[Row]:
        if dice[14] >= 40:
            return []
        synchronized = moment(self._world.created[profile]) if dice[15] < 200 else None
        row: dict[str, Any] = {
            "constituent_id": f"{profile:09d}C" if dice[15] < 230 else None,
            "type": ("Salesforce", "ActionKit")[dice[14] & 1],
            "synchronized_at": synchronized,
        }
        return [row] if dice[14] >= 8 else [row, {**row, "type": "NationBuilder"}]


def _moment(time: int | None) -> Any:
    return None if time is None else moment(time)


def _opt_in_path(campaign: int, dice: bytes) -> int | None:
    paths = opt_in_paths(campaign)
    return paths[dice[10] % len(paths)] if dice[11] < 190 else None


def _group_source(group: int) -> Row:
    reference = group_reference(group)
    return {"type": "Uploaded Group", "name": reference["name"], "id": reference["id"]}
