"""Incoming and outgoing messages, and broadcasts.

Outgoing messages come in threes: the last of one three goes out with a broadcast, somebody answers
it (an incoming message), and the first of the next three answers that.
"""

from __future__ import annotations

from textlift.sandbox.clock import moment
from textlift.sandbox.dice import Dice, salt
from textlift.sandbox.mcommons import words
from textlift.sandbox.mcommons.curve import DAY
from textlift.sandbox.mcommons.fixed import FixedRows, group_reference
from textlift.sandbox.mcommons.ids import IDS, phone_number, profile_id
from textlift.sandbox.mcommons.people import People
from textlift.sandbox.mcommons.words import CAMPAIGNS, GROUPS, KEYWORDS
from textlift.sandbox.mcommons.world import World
from textlift.sandbox.mcommons.xml import Row

_CAMPAIGNS = (1, 2, 1, 3, 1, 2, 4, 1, 5, 2, 3, 6, 1, 7, 8, 9, 2, 10)
"""Which campaign a broadcast belongs to, by number, over and over."""
_LONGEST_LEAD = 40 * DAY
"""How long before its delivery a broadcast can show up."""
_RIPE = 21 * DAY
"""How long the counts of a broadcast go on rising."""


class Messages:
    """Rows of messages and broadcasts, by their numbers."""

    def __init__(self, world: World, fixed: FixedRows, people: People) -> None:
        self._world = world
        self._fixed = fixed
        self._people = people
        self._incoming_dice = Dice(world.seed, "incoming")
        self._outgoing_dice = Dice(world.seed, "outgoing")
        self._broadcast_dice = Dice(world.seed, "broadcast")
        self._salt = salt(world.seed, "talk")

    def incoming(self, number: int) -> Row:
        """The row of an incoming message."""
        dice = self._incoming_dice.throw(number)
        asked = _asked(number)
        profile = self._recipient(asked)
        type, bodies = self._answer(number)
        keyword = None
        if type == "opt_in":
            row = self._fixed["keywords"][dice[1] % len(KEYWORDS)]
            keyword = {key: row[key] for key in ("id", "name", "opt_in_path_id")}
        return {
            "id": IDS["incoming_messages"][number],
            "type": type,
            "approved": dice[2] < 60,
            "phone_number": phone_number(profile),
            "carrier_name": words.CARRIERS[dice[3] % len(words.CARRIERS)],
            "profile_id": profile_id(profile),
            "body": bodies[dice[4] % len(bodies)] or None,
            "message_template_id": 37_000_000 + dice[5] if dice[6] < 200 else None,
            "mms": dice[7] < 12,
            "multipart": False,
            "keyword": keyword,
            "received_at": moment(self._world.incoming.time(number)),
            "previous_id": IDS["outgoing_messages"][asked],
            "next_id": IDS["outgoing_messages"][3 * number],
            "campaign": self._campaign_reference(self.campaign_of_incoming(number)),
        }

    def outgoing(self, number: int) -> Row:
        """The row of an outgoing message."""
        dice = self._outgoing_dice.throw(number)
        profile = self._recipient(number)
        sent = self._world.outgoing.time(number)
        answered = broadcast = None
        if number % 3 == 0:
            answered = number // 3
            asked_for, _ = self._answer(answered)
            type, body = words.REPLIES.get(asked_for, words.THANKS)
        else:
            broadcast = self._broadcast_before(number)
            type = words.OUTGOING_TYPES[broadcast % len(words.OUTGOING_TYPES)]
            name = profile is not None and self._people.person(profile).first_name
            body = words.OUTGOING_BODIES[broadcast % len(words.OUTGOING_BODIES)]
            body = body.format(name=name or "friend")
        return {
            "id": IDS["outgoing_messages"][number],
            "type": type,
            "status": _status(dice, self._world.now - sent),
            "phone_number": phone_number(profile),
            "profile_id": profile_id(profile),
            "body": body,
            "sent_at": moment(sent),
            "message_template_id": 37_100_000 + (broadcast or 0),
            "broadcast_id": None if broadcast is None else IDS["broadcasts"][broadcast],
            "mms": dice[1] < 12,
            "multipart": len(body) > 160,
            "campaign": self._campaign_reference(self.campaign_of_outgoing(number)),
            "previous_id": None if answered is None else IDS["incoming_messages"][answered],
            "next_id": IDS["incoming_messages"][number // 3] if number % 3 == 1 else None,
        }

    def broadcast(self, number: int) -> Row:
        """The row of a broadcast."""
        world = self._world
        dice = self._broadcast_dice.throw(number)
        delivery = world.broadcasts.time(number)
        campaign = self.campaign_of_broadcast(number)
        recipients = 1 + world.size * dice[0] // 300
        ripeness = min(1.0, max(0.0, (world.now - delivery) / _RIPE))
        draft = self._is_draft(number)
        status = "draft" if draft else "generated" if delivery <= world.now else "scheduled"
        group = dice[2] % len(GROUPS)
        other_group = (group + 1 + dice[3] % (len(GROUPS) - 1)) % len(GROUPS)
        body = words.OUTGOING_BODIES[number % len(words.OUTGOING_BODIES)]
        return {
            "id": IDS["broadcasts"][number],
            "status": status,
            "name": f"{CAMPAIGNS[campaign].name} #{number + 1}" if dice[4] < 240 else None,
            "body": body.format(name="[[first_name]]"),
            "campaign": self._campaign_reference(campaign),
            "delivery_time": None if draft else moment(delivery),
            "include_subscribers": dice[5] < 128,
            "throttled": dice[6] < 30,
            "localtime": dice[7] < 30,
            "automated": dice[8] < 20,
            "estimated_recipients_count": None if draft else recipients,
            "replies_count": int(ripeness * (3 + recipients * dice[9] // 2000)),
            "opt_outs_count": int(ripeness * (1 + recipients * dice[10] // 20000)),
            "included_groups": [group_reference(group)] if dice[11] < 160 else [],
            "excluded_groups": [group_reference(other_group)] if dice[11] < 60 else [],
            "tags": [*CAMPAIGNS[campaign].tags, *(["q&a"] if dice[12] < 40 else [])],
        }

    def campaign_of_incoming(self, number: int) -> int:
        """The campaign of the message it answers."""
        return self.campaign_of_outgoing(_asked(number))

    def campaign_of_outgoing(self, number: int) -> int:
        """The campaign of its broadcast, or of the broadcast that began the conversation."""
        asked = max(0, number - 1) if number % 3 == 0 else number
        return self.campaign_of_broadcast(self._broadcast_before(asked))

    def campaign_of_broadcast(self, number: int) -> int:
        """The campaign a broadcast belongs to."""
        return 1 + (_CAMPAIGNS[number % len(_CAMPAIGNS)] - 1) % (len(self._world.campaigns) - 1)

    def announced(self, since: int | None, until: int | None) -> list[int]:
        """Broadcasts to be delivered in a window and after now that are there to see already.

        Drafts have no time yet, and are in no window.
        """
        windowed = since is not None or until is not None
        stream, now = self._world.broadcasts, self._world.now
        return [
            number
            for number in range(stream.count(now), stream.count(now + _LONGEST_LEAD))
            if self.is_announced(number)
            and not (windowed and self._is_draft(number))
            and (since is None or stream.time(number) >= since)
            and (until is None or stream.time(number) <= until)
        ]

    def is_announced(self, number: int) -> bool:
        """Whether a broadcast is there to see, delivered or not."""
        stream = self._world.broadcasts
        bits = int.from_bytes(self._broadcast_dice.throw(number)[28:], "little")
        lead = 3600 + bits % (_LONGEST_LEAD - 3600)
        return stream.volume > 0 and stream.time(number) - lead <= self._world.now

    def _is_draft(self, number: int) -> bool:
        early = self._world.broadcasts.time(number) - self._world.now > 7 * DAY
        return early and self._broadcast_dice.throw(number)[1] < 90

    def _answer(self, incoming: int) -> tuple[str, tuple[str, ...]]:
        dice = self._incoming_dice.throw(incoming)
        return words.INCOMING[dice[0] % len(words.INCOMING)]

    def _recipient(self, outgoing: int) -> int | None:
        asked = outgoing if outgoing % 3 == 1 else _asked((outgoing + 1) // 3)
        return self._world.somebody(asked, self._salt, self._world.outgoing.time(asked))

    def _broadcast_before(self, outgoing: int) -> int:
        # Both series follow the same curve, so the place in one tells the place in the other.
        world = self._world
        return max(0, outgoing * world.broadcasts.volume // world.outgoing.volume - 1)

    def _campaign_reference(self, campaign: int) -> Row:
        row = self._fixed["campaigns"][campaign]
        return {key: row[key] for key in ("id", "active", "name")}


def _asked(incoming: int) -> int:
    """The outgoing message that an incoming one answers."""
    return max(0, 3 * incoming - 1)


def _status(dice: bytes, age: int) -> str:
    """The status of an outgoing message so many seconds old: settled within two days."""
    patience = int.from_bytes(dice[2:5], "little")
    settled = patience % (2 * DAY) if dice[5] < 30 else patience % 600
    if age < min(settled, 20):
        return "initial"
    if age < settled:
        return "queued"
    if dice[6] < 236:
        return "sent"
    return "undeliverable" if dice[6] < 250 else "failed permanently"
