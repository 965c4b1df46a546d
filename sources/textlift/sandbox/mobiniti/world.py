"""An invented account: what there is from the start, and what happens as time goes by.

In the first year of an account of N contacts, N contacts join and N change, groups are joined and
left N/5 times, and 3 N messages go out or come in. After that, N/20 contacts join in a year, and
half as much of the rest happens. Some contacts are deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from textlift.sandbox.clock import moment
from textlift.sandbox.people import BROADCASTS, NAMES, REPLIES, phone_number
from textlift.sandbox.tables import DAY, History, Row, Table, stream, times

CARRIERS = ("T-Mobile", "Verizon Wireless", "AT&T", "U.S. Cellular", "Télébec")
GROUPS = ("Members & Friends", "Spring Drive", "Línea de renta", "VIP 🌟", "Staff", "Nobody yet")
FIELDS = ("Favorite store", "Shirt size", "Notes: rent & wages")
STATUSES = ("suspended", "deactivated", "resumed", "transferred")
"""What carriers report of a number."""
OUTCOMES = {
    "100": "The message delivered successfully",
    "101": "The MSISDN is inactive or no longer active.",
    "110": "Subscriber handset is not logged onto the network due to it being turned off or out of "
    "coverage. Likely to have been unavailable for 12 hours or more.",
    "120": "Generic delivery failure",
}
SHORT_CODE = "64600"
_SWITCHES = (
    *("one_time_message", "always_send_join", "always_send_optin"),
    *("social_profiling", "email_new_contact"),
)
_REPORT_AFTER = 6 * 3600
"""A message is read, or its receipt arrives, after this many seconds."""
_SCHEDULED_AHEAD = 3 * DAY

Happened = Callable[[str, int, Row], None]
"""Takes the kind of a webhook, its time in seconds since 1970, and its body."""


def uuid_of(kind: str, number: int) -> str:
    """The id of a row, by its table and its key there."""
    return str(uuid5(NAMESPACE_URL, f"{kind}/{number}"))


def _blank(keys: str, **values: Any) -> Row:
    return {**dict.fromkeys(keys.split()), **values, "created_at": None, "updated_at": None}


def tables() -> dict[str, Table]:
    """The empty tables by name. The keys of a row are those of its printed form."""
    campaign = _blank("id name to message", message_pending_contacts=False, send_date=None)
    return {
        "contacts": Table(
            _blank(
                "id first_name last_name gender birth_date phone_number email reward_points"
                " country_code status unsubscribed_at carrier",
                groups=[],
                fields=[],
            ),
            updated="updated_at",
        ),
        "groups": Table(
            _blank(
                "id name join_message one_time_message always_send_join always_send_optin"
                " social_profiling email_new_contact emails keyword optin"
            ),
            updated="updated_at",
        ),
        "messages": Table(
            _blank("id message phone_number type read contact_id contact receipt"),
            cursor="created_at",
            updated="updated_at",
        ),
        "scheduled_messages": Table(_blank("id message phone_number send_date")),
        "campaigns": Table(campaign),
        "campaign_templates": Table(campaign),
        "coupons": Table(
            _blank(
                "id name offer gender start end max_redemptions upc terms mobile_wallets"
                " accent_color company_name phone_number address1 address2 template"
            )
        ),
        "coupon_templates": Table(_blank("id name")),
        "carriers": Table(_blank("id name")),
        "opt_ins": Table({**dict.fromkeys(("id", "name", "description")), "enabled": True}),
    }


class World:
    """Fills tables. `history` says what has to happen before any of them is read."""

    def __init__(
        self,
        tables: dict[str, Table],
        seed: int,
        size: int,
        start: int,
        happened: Happened,
    ) -> None:
        """Put what is there from the start into `tables`.

        size: how many contacts join in the first year, which begins at `start`.
        happened: called for each webhook.
        """
        self._tables, self._happened = tables, happened
        self._random = Random(f"{seed}/people").random
        self._joined = 0
        self._bounces: Counter[int] = Counter()
        self._written_to: dict[int, int] = {}
        self._add_fixed(start)

        def happening(name: str, first_year: int, yearly: float) -> Iterator[int]:
            return times(f"{seed}/{name}", start, first_year, yearly)

        sent, reported = (happening("messages", 3 * size, 3 * size / 2) for _ in range(2))
        self.history = History(
            stream(happening("contacts", size, size / 20), self._join),
            stream(happening("changes", size, size / 2), self._change),
            stream(happening("moves", size // 5, size / 10), self._move),
            stream(sent, self._message),
            stream((time + _REPORT_AFTER for time in reported), self._report),
            stream(happening("campaigns", 24, 24), self._campaign),
            stream(happening("scheduled", 40, 40), self._schedule),
        )

    def _add(self, kind: str, number: int, time: int, **values: Any) -> None:
        table, now = self._tables[kind], moment(time)
        row = {"id": uuid_of(kind, number), "created_at": now, "updated_at": now, **values}
        table.add(number, {key: row.get(key, blank) for key, blank in table.blank.items()})

    def _add_fixed(self, start: int) -> None:
        for number, name in enumerate(CARRIERS):
            self._add("carriers", number, start, name=name)
        for number, name in enumerate(("Reply", "Email", "Birthday")):
            description = f"Text {name} to confirm"
            self._add("opt_ins", number, start, name=name, description=description)
        opt_ins = self._tables["opt_ins"].rows
        for number, name in enumerate(GROUPS):
            keyword = {"id": uuid_of("keywords", number), "name": f"JOIN{number}"}
            self._add(
                "groups",
                number,
                start,
                name=name,
                join_message=f"Welcome to {name}!\nReply STOP to quit.",
                **{switch: (number + place) % 3 == 0 for place, switch in enumerate(_SWITCHES)},
                emails=[f"group{number}.{place}@example.org" for place in range(number % 3)],
                keyword=None if number % 3 == 2 else keyword,
                optin=opt_ins[number % len(opt_ins)],
            )
        for number, text in enumerate(BROADCASTS[:3]):
            self._add("campaign_templates", number, start, name=f"Template {number}", message=text)
            self._add("coupon_templates", number, start, name=f"Design {number}")
            self._add(
                "coupons",
                number,
                start,
                name=f"Coupon {number}",
                offer="2 for 1 🍎" if number else "10 % off",
                gender=("male", "female", None)[number],
                start=moment(start),
                end=moment(start + 900 * DAY) if number else None,
                max_redemptions=100 * number,
                upc=f"00{number}2345678905",
                terms="One for each person.",
                mobile_wallets=number == 1,
                accent_color="#ff8800",
                company_name="The co-op",
                phone_number=f"+{phone_number(900_000 + number)}",
                address1="218 Elm St",
                template=uuid_of("coupon_templates", number),
            )

    # --- contacts --------------------------------------------------------------------------------

    def _somebody(self) -> tuple[int, Row] | None:
        """A contact, if it is still there. The later ones are the likelier."""
        number = int(self._joined * self._random() ** 0.5)
        row = self._tables["contacts"].own(number)
        return None if row is None else (number, row)

    def _join(self, number: int, time: int) -> None:
        self._joined += 1
        phone, carrier = phone_number(number), number % (len(CARRIERS) + 1)
        named = [{"id": uuid_of("groups", n), "name": name} for n, name in enumerate(GROUPS[:-1])]
        values = ("Elm St, Apt #3", "", None, f"line\n{number}")
        self._add(
            "contacts",
            number,
            time,
            first_name=NAMES[number % len(NAMES)] if number % 4 else None,
            last_name=f"No. {number}" if number % 5 else None,
            gender=("female", "male", None)[number % 3],
            birth_date=f"{1940 + number % 70}-02-{1 + number % 28:02d}" if number % 3 else None,
            phone_number=f"+{phone}",
            email=f"person{number}@example.org" if number % 2 else None,
            reward_points=number % 7,
            country_code="GB" if phone.startswith("44") else "US",
            status="active",
            carrier={"id": uuid_of("carriers", carrier), "name": CARRIERS[carrier]}
            if carrier < len(CARRIERS)
            else None,
            groups=[group for group in named if self._random() < 0.4],
            fields=[
                {
                    "id": uuid_of("fields", place),
                    "name": name,
                    "value": values[(number + place) % 4],
                }
                for place, name in enumerate(FIELDS)
                if number % 4
            ],
        )

    def _change(self, number: int, time: int) -> None:
        """A new name, other points, another answer, a report of the carrier, or the end."""
        found, what = self._somebody(), self._random()
        if found is None:
            return
        contact, row = found
        table = self._tables["contacts"]
        if what < 0.05:
            table.remove(contact)
            return
        changes: Row = {"updated_at": moment(time)}
        if what < 0.35:
            changes["first_name"] = NAMES[number % len(NAMES)]
        elif what < 0.60:
            changes["reward_points"] = row["reward_points"] + 10
        elif what < 0.80:
            changes["fields"] = [{**each, "value": f"answer {number}"} for each in row["fields"]]
        else:
            changes["status"] = status = STATUSES[number % len(STATUSES)]
            if status == "transferred":
                changes["phone_number"] = f"+{phone_number(500_000 + number)}"
        table.change(contact, **changes)
        if "status" in changes:
            body = _about(table.rows[contact], "status")
            if "phone_number" in changes:
                body["previous_phone_number"] = row["phone_number"]
            self._happened("contact_status_changes", time, body)

    def _move(self, number: int, time: int) -> None:
        """Somebody joins a group or leaves it. This does not move `updated_at`."""
        found = self._somebody()
        if found is None:
            return
        contact, row = found
        place = number % (len(GROUPS) - 1)
        group = {"id": uuid_of("groups", place), "name": GROUPS[place]}
        without = [each for each in row["groups"] if each != group]
        groups = without if group in row["groups"] else [*without, group]
        self._tables["contacts"].change(contact, groups=groups)

    # --- messages --------------------------------------------------------------------------------

    def _message(self, number: int, time: int) -> None:
        found = self._somebody()
        if found is None:
            return
        contact, row = found
        incoming = number % 3 == 0
        if incoming:
            text = REPLIES[int(self._random() * len(REPLIES))]
        else:
            text = BROADCASTS[number % len(BROADCASTS)].format(name=row["first_name"] or "friend")
        if not incoming and row["unsubscribed_at"]:
            body = {"code": "", "message": text, "description": "Unsubscribed"}
            self._happened("rejections", time, body)
            return
        self._add(
            "messages",
            number,
            time,
            message=text,
            phone_number=row["phone_number"],
            type="INCOMING" if incoming else "OUTGOING",
            read=False,
            contact_id=row["id"],
            contact={key: row[key] for key in ("id", "first_name", "phone_number", "carrier")},
        )
        if not incoming:
            self._written_to[number] = contact
            return
        about = _about(row, "unsubscribed_at")
        body = {**about, "short_code": SHORT_CODE, "message": text, "received_at": _precise(time)}
        self._happened("inbound_messages", time, body)
        if text == "STOP":
            now = moment(time)
            changes = {"unsubscribed_at": now, "status": "unsubscribed", "updated_at": now}
            self._tables["contacts"].change(contact, **changes)
            about = _about({**row, **changes}, "unsubscribed_at")
            self._happened("unsubscribes", time, {**about, "to": SHORT_CODE})

    def _report(self, number: int, time: int) -> None:
        """An incoming message is read, and the receipt of an outgoing one arrives."""
        table = self._tables["messages"]
        row = table.own(number)
        if row is None:
            return
        now, chance = moment(time), self._random()
        if row["type"] == "INCOMING":
            table.change(number, read=chance < 0.7, updated_at=now)
            return
        code = "100" if chance < 0.9 else list(OUTCOMES)[1 + number // 3 % 3]
        bounce = code == "101"
        outcome = {"code": code, "status": OUTCOMES[code], "success": code == "100"}
        receipt = {**outcome, "bounce": bounce, "created_at": now}
        table.change(number, receipt=receipt, updated_at=now)
        recipient = row["phone_number"].removeprefix("+")
        body = {
            "total_messages": 1,
            "statuses": [{**outcome, "count": 1, "recipients": [recipient], "bounce": bounce}],
            "messages": [
                {
                    "id": row["id"],
                    "from": f"+{SHORT_CODE}",
                    "message": row["message"],
                    "phone_number": recipient[-10:],
                    "metadata": [],
                }
            ],
        }
        self._happened("delivery_reports", time, body)
        contact = self._written_to[number]
        person = self._tables["contacts"].own(contact)
        if bounce and person:
            self._bounces[contact] += 1
            about = _about(person, "unsubscribed_at")
            self._happened("bounces", time, {**about, "bounces": self._bounces[contact]})

    def _campaign(self, number: int, time: int) -> None:
        self._add(
            "campaigns",
            number,
            time,
            name=f"Campaign {number}",
            to=GROUPS[number % len(GROUPS)],
            message=BROADCASTS[number % len(BROADCASTS)],
            message_pending_contacts=number % 4 == 0,
            send_date=moment(time + DAY) if number % 5 else None,
        )

    def _schedule(self, number: int, time: int) -> None:
        """A message is scheduled; the fifth before it has gone out."""
        self._add(
            "scheduled_messages",
            number,
            time,
            message=BROADCASTS[number % len(BROADCASTS)],
            phone_number=f"+{phone_number(number)}",
            send_date=moment(time + _SCHEDULED_AHEAD),
        )
        self._tables["scheduled_messages"].remove(number - 5)


def _about(contact: Row, *more: str) -> Row:
    """What a webhook says of a contact."""
    keys = ("id", "first_name", "last_name", "email", "phone_number", *more)
    keys += ("created_at", "updated_at")
    values = {key: contact[key] for key in keys}
    return {
        key: _precise(int(value.timestamp())) if value and key.endswith("_at") else value
        for key, value in values.items()
    }


def _precise(time: int) -> str:
    """A time as webhooks have it, with milliseconds."""
    return f"{moment(time):%Y-%m-%dT%H:%M:%S}.{time % 1000:03d}Z"
