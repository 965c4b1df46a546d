"""The TextMe API as Rails prints it, about three invented accounts.

Campaigns of each type that has a call of its own gain and lose people and votes as time goes by.
Elements are printed as in the vendor's samples: wide ones take several lines, and the calls differ
in how they print times and names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from random import Random
from typing import Any

from textlift.sandbox.clock import moment, seconds
from textlift.sandbox.damage import find_xml, xml_kinds
from textlift.sandbox.faults import Answer, Damage
from textlift.sandbox.server import Request, Response
from textlift.sandbox.service import (
    Account,
    Failure,
    Option,
    Paging,
    Query,
    Route,
    SandboxSpec,
    basic,
)
from textlift.sandbox.tables import DAY, History, Row, Table, stream, times
from textlift.sandbox.xml import text

ORDERS = ("created_at", "-created_at")
"""The orders in which participants can be listed."""
STATUSES = ("active", "future", "past", "deleted")
TYPES = (
    *("SUB", "INFO", "VOTE", "CONTEST", "CHAT", "AUC", "TRIVIA", "REQUEST", "SURVEY", "TIMED"),
    "INSTWIN",
)
PAGING = Paging(250, 250, size="")
PRIMARY = 10
"""The account of the login."""
WIDTH = 80
"""A wider element is printed on several lines."""


# --- how answers are printed ---------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """How a call prints its rows."""

    described: bool = True
    """With dashes in names, and with attributes that say what a value is."""
    time: str = "%Y-%m-%d %H:%M:%S UTC"


RAILS = Style()
RUBY_TIMES = Style(time="%a %b %d %H:%M:%S UTC %Y")
PLAIN = Style(described=False)
ITEMS = {"vote_campaign_options": "vote_campaign_option", "option_aliases": "option_alias"}
"""The entries of lists inside rows."""


def printed(style: Style, key: str, value: Any, indent: str = "") -> Iterator[str]:
    """The lines of an element."""
    name = key.replace("_", "-") if style.described else key
    if isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else ((ITEMS[key], item) for item in value)
        yield f"{indent}<{name}>"
        for below, item in pairs:
            yield from printed(style, below, item, indent + "  ")
        yield f"{indent}</{name}>"
        return
    content = value.strftime(style.time) if isinstance(value, datetime) else text(value)
    start = f"{name}{_attributes(key, value)}" if style.described else name
    line = f"{indent}<{start}>{content}</{name}>" if content else f"{indent}<{start}/>"
    if len(line) > WIDTH and content:
        line = f"{indent}<{start}>\n{indent}  {content}\n{indent}</{name}>"
    yield line


def _attributes(key: str, value: Any) -> str:
    kind = "boolean" if isinstance(value, bool) else _KINDS.get(key.rpartition("_")[2], "")
    return (f' type="{kind}"' if kind else "") + (' nil="true"' if value is None else "")


_KINDS = {"id": "integer", "at": "timestamp", "on": "date"}
"""The type of a value, by the end of its key."""


def document(lines: Iterable[str], status: int = 200) -> Response:
    """An answer of XML."""
    body = "\n".join(('<?xml version="1.0" encoding="UTF-8"?>', *lines)).encode()
    return Response(status, body, {"Content-Type": "application/xml; charset=utf-8"})


def failure(status: int, message: str = "", path: str = "") -> Response:
    """An answer that tells the call and the reason."""
    error = {"request": path, "message": message or _REASONS.get(status, "Something went wrong")}
    response = document(printed(PLAIN, "error", error), status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="TextMe"'
    return response


_REASONS = {
    400: "Bad request",
    401: "You do not have permission to access this data",
    403: "API tokens are accepted over https only",
    404: "Not found",
    405: "Method not allowed",
    422: "The request could not be processed",
}


# --- calls ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A call that returns a list, or a single row if it has no list."""

    table: str
    list: str
    row: str
    style: Style = RAILS
    type: str = ""
    """The type of the campaigns that can be asked for."""

    def __call__(self, account: TextMe, query: Query) -> Response:
        """The rows of the table, or those of the campaign in the path."""
        campaign = account.campaign(query, self.type) if self.type else None
        rows: Any = account.select(self.table, campaign)
        if self.table == "campaigns":
            rows = [{**row, "campaign_type": {"code": row["campaign_type"]}} for row in rows]
            rows = _filtered(account, query, rows)
        if self.table == "participants":
            rows = query.page(rows, PAGING).rows
        if not self.list:
            return document(printed(self.style, self.row, rows[0]))
        if self.type:
            rows = [{key: row[key] for key in row if key != "campaign_id"} for row in rows]
        name = self.list.replace("_", "-")
        if self.style is RUBY_TIMES:
            head = f"<{name}>"
        elif rows:
            head = f'<{name} type="array">'
        else:
            return document(['<nil-classes type="array"/>'])
        lines = (line for row in rows for line in printed(self.style, self.row, row, "  "))
        return document([head, *lines, f"</{name}>"])


def _filtered(account: TextMe, query: Query, rows: list[Row]) -> list[Row]:
    """The campaigns of the accounts, the status and the type that a call asks for."""
    status, type = query.text("status"), query.text("type")
    if status not in (None, *STATUSES):
        raise account.invalid("status", str(status))
    if type not in (None, *TYPES):
        raise account.invalid("type", str(type))
    accounts = {*query.texts("accounts")} or {str(PRIMARY)}
    if not accounts <= {str(row["id"]) for row in account.select("accounts")}:
        raise Failure(failure(401, path=query.request.path))
    statuses = (status,) if status else ("active", "future", "past")
    return [
        row
        for row in rows
        if str(row["account_id"]) in accounts
        and row["status"] in statuses
        and type in (None, row["campaign_type"]["code"])
    ]


def _carriers(account: TextMe, query: Query) -> Response:
    if not account.has_carriers:
        raise Failure(failure(401, path=query.request.path))
    return CARRIERS(account, query)


CARRIERS = Call("carriers", "carriers", "carrier")
CALLS = {
    "api/accounts.xml": Call("accounts", "accounts", "account"),
    "api/campaigns.xml": Call("campaigns", "campaigns", "campaign"),
    "api/timed_campaigns/{id}.xml": Call("timed_campaigns", "", "timed_campaign", RAILS, "TIMED"),
    "api/timed_campaigns/{id}/participants.xml": Call(
        "participants", "timed_campaign_users", "timed_campaign_user", RAILS, "TIMED"
    ),
    "api/subscription_campaigns/{id}/subscriptions.xml": Call(
        "subscriptions", "subscriptions", "subscription", RUBY_TIMES, "SUB"
    ),
    "api/vote_campaigns/{id}.xml": Call("vote_campaigns", "", "vote_campaign", PLAIN, "VOTE"),
    "app/carriers.xml": CARRIERS,
}
ROUTES: dict[str, Route] = {**CALLS, "app/carriers.xml": _carriers}


# --- faults --------------------------------------------------------------------------------------


def _call_at(endpoint: str) -> Call | None:
    path = re.sub(r"/[0-9]+(?=[/.])", "/{id}", endpoint)
    return CALLS.get(path)


def _names(endpoint: str) -> tuple[str, str] | None:
    call = _call_at(endpoint)
    if call is None:
        return None
    names = (call.list, call.row)
    return (
        names if call.style is PLAIN else (call.list.replace("_", "-"), call.row.replace("_", "-"))
    )


def _vanish(request: Request, answer: Answer) -> Response:
    """The failure of a campaign that is not there."""
    call = _call_at(request.endpoint)
    return failure(404, path=request.path) if call and call.type else answer(request)


_KINDS_OF_XML = (
    *("control", "ampersand", "invalid-utf8", "bad-time", "nested", "megabyte", "broken", "deep"),
    *("other-list", "other-rows", "two-lists", "comment", "utf-16", "iso-8859-1", "end-blank"),
    *("external-entity", "entity-expansion"),
)
_XML = xml_kinds(_names)
DAMAGE = Damage(
    failure=failure,
    is_endpoint=lambda endpoint: _call_at(endpoint) is not None,
    record=find_xml(_names),
    between=b"\n  ",
    window=frozenset(),
    kinds={
        **{kind: _XML[kind] for kind in _KINDS_OF_XML},
        "vanish": _vanish,
        "error-200": lambda request, _: failure(200, "Something went wrong", request.path),
    },
    transient=("error-200",),
)


# --- the account ---------------------------------------------------------------------------------


class TextMe(Account):
    """Speaks the TextMe API about invented accounts.

    Who takes part and how people vote is a function of `seed`, `people` and the clock.
    """

    prefix = "/"
    damage = DAMAGE
    routes = ROUTES

    def __init__(
        self,
        seed: int = 1,
        people: int = 400,
        now: str | datetime | None = None,
        start: str | datetime = "2024-01-01T00:00:00Z",
        order: str = "created_at",
        username: str = "sandbox@example.org",
        password: str = "sandbox-password",
        token: str = "sandbox-token",
        has_carriers: bool = True,
        requires_https: bool = False,
        empty: bool = False,
    ) -> None:
        """Open an account.

        people: how many subscribe in the first year, and how many join timed campaigns.
        now: where the clock stands, until `advance` moves it; None for the real time.
        start: when the account begins.
        order: how participants are listed: by `created_at` or `-created_at`.
        username, password: for HTTP Basic; token: for the header `api_token`.
        has_carriers: whether the account has the carrier feature; else carriers answer 401.
        requires_https: answer 403 to a token that does not come over https. This server speaks plain
            http, so https is what the header X-Forwarded-Proto of a proxy says.
        empty: leave out all but the accounts and carriers.
        """
        if people < 0:
            raise ValueError(f"there cannot be {people} people")
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        super().__init__(now, [basic(username, password)])
        self.has_carriers = has_carriers
        self._token, self._requires_https = token, requires_https
        self._keys = count(10**12)  # behind all invented rows
        self.tables = _tables(order)
        for table, rows in {"accounts": ACCOUNTS, "carriers": _CARRIER_ROWS}.items():
            for row in rows:
                self.tables[table].add(row["id"], row)
        if not empty:
            self.histories |= _Invention(self.tables, seed, people, seconds(start)).histories

    def failure(self, status: int) -> Response:
        """The reason in XML."""
        return failure(status)

    def invalid(self, name: str, value: str) -> Failure:
        """A 400 with the reason."""
        return Failure(failure(400, f"Invalid {name}: {value}"))

    def admit(self, request: Request, path: Mapping[str, str]) -> None:
        """Let in a login or a token."""
        token = request.headers.get("api_token")
        if token is None:
            super().admit(request, path)
            return
        if self._requires_https and request.headers.get("x-forwarded-proto") != "https":
            raise Failure(failure(403, path=request.path))
        if token != self._token:
            raise Failure(failure(401, path=request.path))

    def campaign(self, query: Query, type: str) -> int:
        """The id in the path, if it is that of a campaign of the type that is not deleted."""
        id, path = query.path["id"], query.request.path
        row = self.get("campaigns", int(id)) if id.isdecimal() else None
        if row is None:
            raise Failure(failure(404, f"No campaign {id}", path))
        if row["campaign_type"] != type or row["status"] == "deleted":
            raise Failure(failure(422, f"Campaign {id} is not a campaign of type {type}", path))
        return int(id)

    def rows(self, kind: str) -> dict[int, Row]:
        """All rows of a table as they are now, by key, for reading only."""
        with self.lock:
            return self.table(kind).listed(self.second())

    def put(self, kind: str, row: Row) -> int:
        """Insert a row, or replace the one with its id; returns its key.

        A missing key is blank. A time can be ISO-8601 text. A key that nobody declared is printed.
        """
        with self.lock:
            key = row["campaign_id"] if kind.endswith("_campaigns") else row.get("id")
            key = next(self._keys) if key is None else key
            self.table(kind).put(key, row, self.now())
            return int(key)


def _tables(order: str) -> dict[Any, Table]:
    """The tables, with the keys of their rows as they are printed."""
    user = dict.fromkeys(
        ("birthday_on", "carrier_id", "email", "first_name", "gender", "last_name", "mobile_phone")
    )
    people = {"user": {**user, "postal_code": None, "timezone_id": None}}
    timed = ("campaign_id", "created_at", "id", "opt_in_sms_message", "opt_out_sms_message")
    vote = ("campaign_id", "vote_campaign_id", "description", "start_at", "end_at", "question")
    part = ("campaign_id", "created_at", "timing_sequence_end_at", "timing_sequence_start_at")
    return {
        "accounts": Table(dict.fromkeys(("active", "id", "managed_by_account_id", "name"))),
        "carriers": Table(dict.fromkeys(("id", "name"))),
        "campaigns": Table(
            {"description": None, "id": None, "keyword": None, "account_id": PRIMARY}
            | {"status": "active", "campaign_type": "INFO"}
        ),
        "timed_campaigns": Table(
            dict.fromkeys((*timed, "subsequent_opt_in_attempt_sms_message", "updated_at")),
            parent="campaign_id",
        ),
        "participants": Table(
            {**dict.fromkeys(part), "user": {"mobile_phone": None}},
            parent="campaign_id",
            order=order,
        ),
        "subscriptions": Table(
            {**dict.fromkeys(("campaign_id", "confirmed_at", "opt_in_at")), **people},
            parent="campaign_id",
        ),
        "vote_campaigns": Table(
            {**dict.fromkeys(vote), "vote_campaign_options": []}, parent="campaign_id"
        ),
    }


def _account(id: int, manager: int, name: str, zone: str) -> Row:
    row = {"active": id != 12, "id": id, "managed_by_account_id": manager, "name": name}
    return {**row, "timezone": {"code": zone}}


ACCOUNTS = (
    _account(PRIMARY, 1, "Tenants & Neighbors", "CST"),
    _account(11, PRIMARY, "Volunteers “North”", "CST"),
    _account(12, PRIMARY, "Youth", "EST"),
)
_CARRIERS_BY_ID = dict(enumerate(("Alltel", "Bell Mobility", "AT&T", "U.S. Cellular"), 1))
_CARRIER_ROWS = [{"id": id, "name": name} for id, name in _CARRIERS_BY_ID.items()]

CAMPAIGNS = (
    (1, PRIMARY, "INFO", "active", "FIRSTINFO", "My first info campaign"),
    (2, PRIMARY, "CHAT", "future", "FIRSTCHAT", "My first chat campaign"),
    (3, PRIMARY, "SUB", "active", "RENT", "Rent strike & news"),
    (4, PRIMARY, "SUB", "past", "WINTER", "Winter drive"),
    (5, PRIMARY, "TIMED", "active", "WELCOME", "Welcome series"),
    (6, PRIMARY, "TIMED", "future", "VOTE26", "Countdown to the election “26”"),
    (7, PRIMARY, "VOTE", "active", "COLOR", "Color of the banner"),
    (8, PRIMARY, "INFO", "deleted", "OLD", "Old news"),
    (9, 11, "SUB", "active", "NORTH", "Volunteers, north"),
    (10, 11, "TIMED", "active", "TRAIN", "Training, step by step"),
    (11, 11, "VOTE", "past", "DAY", "Which day?"),
    (12, 12, "SUB", "active", "YOUTH", "Youth"),
    (13, 12, "SUB", "deleted", "CAMP", "Summer camp"),
)
"""Id, account, type, status, keyword and description."""
OPTIONS = {
    7: (("blue", "BLUE", ["B", "BLU"]), ("green", "GREEN", ["G"]), ("red", "RED", [])),
    11: (("Saturday", "SAT", ["6"]), ("Sunday & holidays", "SUN", [])),
}
"""Name, keyword and aliases of the options of each vote campaign."""


class _Invention:
    """What happens to the campaigns of an account."""

    def __init__(self, tables: Mapping[str, Table], seed: int, people: int, start: int) -> None:
        self._tables, self._seed, self._people, self._start = tables, seed, people, start
        for id, account, type, status, keyword, description in CAMPAIGNS:
            row = {"description": description, "id": id, "keyword": keyword}
            row |= {"account_id": account, "status": status, "campaign_type": type}
            tables["campaigns"].add(id, row)
        self._timed_campaigns()
        self.histories = {
            "subscriptions": [self._history("subscriptions", self._subscribe, 20)],
            "participants": [self._history("participants", self._join, 45)],
            "vote_campaigns": [History(stream(self._times("votes"), self._vote))],
        }
        for id, options in OPTIONS.items():
            vote: Row = {"campaign_id": id, "vote_campaign_id": 700 + id, "description": None}
            vote |= {"start_at": moment(start), "end_at": moment(start + 3650 * DAY)}
            vote |= {"question": f"Which one?\nText {options[0][1]} or …"}
            tables["vote_campaigns"].add(
                id, {**vote, "vote_campaign_options": _counted(options, {})}
            )

    def _times(self, name: str) -> Iterator[int]:
        return times(f"{self._seed}/{name}", self._start, self._people, self._people)

    def _history(self, table: str, happen: Any, days: int) -> History:
        """A history in which people come, and one in six leaves after some days."""

        def leave(number: int, time: int) -> None:
            if number % 6 == 5:
                self._tables[table].remove(number)

        left = (time + days * DAY for time in self._times(table))
        return History(stream(self._times(table), happen), stream(left, leave))

    def _timed_campaigns(self) -> None:
        for id, _, type, _, keyword, _ in CAMPAIGNS:
            if type == "TIMED":
                row = {"campaign_id": id, "created_at": moment(self._start), "id": 500 + id}
                row |= {"opt_in_sms_message": f"Welcome to {keyword} & thank you!"}
                row |= {"opt_out_sms_message": None}
                row |= {"subsequent_opt_in_attempt_sms_message": "You are in already. <3"}
                self._tables["timed_campaigns"].add(
                    id, {**row, "updated_at": moment(self._start + id * DAY)}
                )

    def _phone(self, random: Random) -> str:
        person = int(random.random() * max(10, self._people))
        return f"{202 + person // 10_000 % 788}555{person * 7919 % 10_000:04d}"

    def _subscribe(self, number: int, time: int) -> None:
        random = Random(f"{self._seed}/subscription/{number}")
        before = self._tables["subscriptions"].rows.get(number - 1)
        if number % 40 == 11 and before:
            # Equal to the one before it in all that identifies it.
            self._tables["subscriptions"].add(number, {**before, "confirmed_at": None})
            return
        user: Row = dict.fromkeys(
            ("birthday_on", "carrier_id", "email", "first_name", "gender", "last_name")
        )
        user |= {"mobile_phone": self._phone(random), "postal_code": None, "timezone_id": None}
        if number % 2:
            first, last, gender = PEOPLE[number // 2 % len(PEOPLE)]
            user |= {"birthday_on": f"19{50 + number % 50}-0{1 + number % 9}-28"}
            user |= {"carrier_id": 1 + number % 4, "email": f"person{number}@example.org"}
            user |= {"first_name": first, "gender": gender, "last_name": last}
            user |= {"postal_code": f"0{2100 + number % 90}", "timezone_id": 6}
        row: Row = {"campaign_id": (3, 9, 3, 4, 12)[number % 5], "confirmed_at": None}
        row |= {"opt_in_at": moment(time), "user": user}
        if number % 5:
            confirmed = time + 60 + int(random.random() * DAY)
            row["confirmed_at"] = self.histories["subscriptions"][0].later(
                None, (confirmed, moment(confirmed))
            )
        self._tables["subscriptions"].add(number, row)

    def _join(self, number: int, time: int) -> None:
        random = Random(f"{self._seed}/participant/{number}")
        before = self._tables["participants"].rows.get(number - 1)
        if number % 40 == 11 and before:
            self._tables["participants"].add(number, dict(before))
            return
        row: Row = {"campaign_id": (5, 5, 10, 5)[number % 4], "created_at": moment(time)}
        row["timing_sequence_end_at"] = moment(time - time % DAY + DAY + 2 * 3600 + 15 * 60)
        row["timing_sequence_start_at"] = moment(time)
        self._tables["participants"].add(
            number, {**row, "user": {"mobile_phone": self._phone(random)}}
        )

    def _vote(self, number: int, time: int) -> None:
        id = 7 if number % 3 else 11
        row = self._tables["vote_campaigns"].own(id)
        if row is None:
            return
        votes = {
            each["option_keyword"]: each["option_vote_count"]
            for each in row["vote_campaign_options"]
        }
        votes[OPTIONS[id][number * 7 // 3 % len(OPTIONS[id])][1]] += 1
        self._tables["vote_campaigns"].change(
            id, vote_campaign_options=_counted(OPTIONS[id], votes)
        )


def _counted(options: Iterable[tuple[str, str, list[str]]], votes: Mapping[str, int]) -> list[Row]:
    """The options of a vote campaign with their votes. Without aliases there is no list of them."""
    return [
        {"option_name": name, "option_keyword": keyword}
        | {"option_vote_count": votes.get(keyword, 0)}
        | ({"option_aliases": aliases} if aliases else {})
        for name, keyword, aliases in options
    ]


PEOPLE = (
    *(("Ana", "Núñez", "F"), ("D’Andre", "O'Neil", "M"), ("李", "Wei", None)),
    *(("Zoë", "Smith & Sons", "F"), ("Łukasz", "Kowalski", "M")),
)
"""First name, last name and gender."""


SANDBOX = SandboxSpec(
    title="TextMe",
    open=TextMe,
    login="username sandbox@example.org, password sandbox-password; or token sandbox-token",
    options={
        "people": Option("how many subscribe in a year, and how many join (default: 2000)", int),
        "order": Option(f"order of participants: {', '.join(ORDERS)} (default: the first)"),
    },
    damage=DAMAGE,
    defaults={"people": 2000},
)
