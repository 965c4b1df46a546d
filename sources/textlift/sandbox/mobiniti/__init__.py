"""The Mobiniti API, as the vendor documents it.

`world` invents what happens. What the vendor's page leaves open is an argument of `Mobiniti`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from textlift.sandbox.clock import seconds
from textlift.sandbox.damage import find_json, json_kinds
from textlift.sandbox.faults import Answer, Damage
from textlift.sandbox.json import json_answer
from textlift.sandbox.mobiniti.world import World, tables, uuid_of
from textlift.sandbox.server import Request, Response
from textlift.sandbox.service import (
    Account,
    Failure,
    Option,
    Page,
    Paging,
    Query,
    Route,
    SandboxSpec,
)
from textlift.sandbox.tables import DAY, LONG_AGO, Row
from textlift.sandbox.webhooks import Webhooks

NESTED = ("mixed", "wrapped", "bare")
"""Which nested values are printed inside of `data`: what `include` brings, all of them, or none."""
SCHEDULES = ("message/schedule", "messages/schedule")
"""Where scheduled messages are: by the vendor's page, and by its own client."""
WINDOW = ("created_at_min", "created_at_max")
_PAGING = Paging(100, 100)
_RECENT = 30 * DAY
"""Webhooks are posted of what has happened this long before the account was opened, and since."""
_FILTER = re.compile(r"filter\[(\w+)\]")
_MESSAGES = {
    400: "An error has occurred with your request and is unable to be processed.",
    402: "You need to pay for campaign or contact messages.",
    405: "Method not allowed.",
    422: "A validation error occurred",
}


def failure(status: int, **errors: list[str]) -> Response:
    """An answer without data; most statuses have no body."""
    if status == 401:
        return json_answer(401, {"error": "access_denied"})
    if status in (402, 405):
        return json_answer(status, {"message": _MESSAGES[status]})
    if status in _MESSAGES:
        return json_answer(
            status, {"status": status, "message": _MESSAGES[status], "errors": errors}
        )
    return Response(status)


@dataclass(frozen=True)
class Listing:
    """A list of rows.

    Attributes:
        table: The table of the rows.
        scope: The scope that a token needs.
        includes: Keys that are printed only if `include` names them.
        hidden: Keys that are not printed.
        windowed: Whether `created_at_min` and `created_at_max` select rows.
    """

    table: str
    scope: str
    includes: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    windowed: bool = False

    def __call__(self, account: Mobiniti, query: Query) -> Response:
        """Answer a call."""
        if self.scope not in account.scopes:
            raise Failure(failure(401))
        rows = self._rows(account, query)
        for name, value in query.request.query:
            match = _FILTER.fullmatch(name)
            if match and match[1] not in WINDOW:
                rows = [row for row in rows if str(row.get(match[1])) == value]
        for field in reversed(query.texts("sort")):
            rows = _sorted(account, rows, field.strip())
        page = query.page(rows, _PAGING)
        asked = [name.strip() for name in query.texts("include")]
        data = [account.printed(self, row, asked) for row in page.rows]
        return json_answer(200, {"data": data, "meta": _meta(query.request, page, len(rows))})

    def _rows(self, account: Mobiniti, query: Query) -> Sequence[Row]:
        if not self.windowed:
            return account.select(self.table)
        since, until = query.window(*WINDOW)
        if not (since or until):
            since, until = query.window(*(f"filter[{name}]" for name in WINDOW))
        return account.select(self.table, None, since, until)


@dataclass(frozen=True)
class GroupContacts(Listing):
    """The contacts of a group."""

    def _rows(self, account: Mobiniti, query: Query) -> Sequence[Row]:
        group = query.path["id"]
        if group not in {row["id"] for row in account.select("groups")}:
            raise Failure(failure(404))
        return account.members(group)


def _printed(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}+0000"
    if isinstance(value, dict):
        return {name: _printed(each) for name, each in value.items()}
    return value


def _sorted(account: Mobiniti, rows: Sequence[Row], field: str) -> Sequence[Row]:
    name = field.removeprefix("-")
    if rows and name not in rows[0]:
        raise account.invalid("sort", name)

    def value(row: Row) -> Any:
        found = row[name]
        return (found is not None, found if found is not None else LONG_AGO)

    return sorted(rows, key=value, reverse=field.startswith("-"))


def _meta(request: Request, page: Page, total: int) -> Row:
    pages = max(page.count, 1)

    def url(number: int) -> str:
        query = [pair for pair in request.query if pair[0] != "page"]
        host = request.headers.get("host")
        return f"http://{host}{request.path}?{urlencode([*query, ('page', number)])}"

    links = {}
    if page.number > 1:
        links["previous"] = url(page.number - 1)
    if page.number < pages:
        links["next"] = url(page.number + 1)
    return {
        "pagination": {
            "total": total,
            "count": len(page.rows),
            "per_page": page.limit,
            "current_page": page.number,
            "total_pages": pages,
            # PHP prints an empty array as a list.
            "links": links or [],
        }
    }


_CONTACT = frozenset({"groups", "fields"})
ROUTES: dict[str, Route] = {
    "contacts": Listing("contacts", "contacts.view", frozenset({"carrier"}), _CONTACT),
    "groups": Listing("groups", "groups.view", frozenset({"keyword"})),
    "groups/{id}/contacts": GroupContacts(
        "contacts", "groups.view", _CONTACT | {"status"}, frozenset({"carrier"})
    ),
    "messages": Listing(
        "messages",
        "messages.view",
        frozenset({"receipt", "contact", "type"}),
        windowed=True,
    ),
    **{path: Listing("scheduled_messages", "message.schedule.view") for path in SCHEDULES},
    "campaigns": Listing("campaigns", "campaigns.view"),
    "campaigns/templates": Listing("campaign_templates", "campaigns.view"),
    "coupons": Listing("coupons", "coupons.view"),
    "coupon_templates": Listing("coupon_templates", "coupons.view"),
    "carriers": Listing("carriers", "carriers.view"),
    "opt-ins": Listing("opt_ins", "optins.view"),
}
SCOPES = tuple(
    dict.fromkeys(route.scope for route in ROUTES.values() if isinstance(route, Listing))
)
"""The scopes for all routes."""
_NESTED_CONTACT = Listing("contacts", "contacts.view", frozenset({"carrier"}))


def _without(name: str) -> Callable[[Request, Answer], Response]:
    """Answers without a member of the document."""

    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        body = re.sub(rb'"%b": ' % name.encode(), rb'"other": ', response.body, count=1)
        return replace(response, body=body)

    return make


DAMAGE = Damage(
    failure=failure,
    is_endpoint=lambda endpoint: (
        endpoint in ROUTES or re.fullmatch(r"groups/[^/]+/contacts", endpoint) is not None
    ),
    record=find_json("data"),
    between=b", ",
    window=frozenset(WINDOW),
    kinds={
        **json_kinds("data", text="phone_number", time="updated_at"),
        "vanish": lambda request, _: failure(404),
        "no-data": _without("data"),
        "no-pagination": _without("pagination"),
    },
    transient=("no-data", "no-pagination"),
)
"""The faults of this service."""


class Mobiniti(Account):
    """Speaks the Mobiniti API about an invented account.

    The account is a function of `seed`, `contacts`, `start` and the clock. `put`, `update` and
    `delete` change it: a row that they touch stays as it is, whatever the clock does.
    """

    prefix = "/v1/"
    damage = DAMAGE

    def __init__(
        self,
        seed: int = 1,
        contacts: int = 200,
        now: str | datetime | None = None,
        start: str | datetime = "2024-01-01T00:00:00Z",
        token: str = "sandbox-token",
        scopes: Iterable[str] = SCOPES,
        requests_per_second: float | None = 1.0,
        nested: str = "mixed",
        schedule: str = SCHEDULES[0],
        webhooks: str | None = None,
        empty: bool = False,
    ) -> None:
        """Open an account.

        contacts: how many join in the first year; all else is in proportion.
        now: where the clock stands, until `advance` moves it; None for the real time.
        start: when the account begins.
        token: for Bearer; scopes: what it may read.
        requests_per_second: a call of a route sooner after the one before it gets a 429; None or 0
            for no limit.
        nested: which nested values are printed inside of `data`: `mixed`, `wrapped` or `bare`.
        schedule: the path of scheduled messages; the other one answers 404.
        webhooks: the receiver of what happens, and has happened in the last 30 days.
        empty: leave out everything, also groups and carriers.
        """
        if contacts < 0:
            raise ValueError(f"there cannot be {contacts} contacts")
        for name, value, values in (
            ("nested", nested, NESTED),
            ("schedule", schedule, SCHEDULES),
            *(("scope", scope, SCOPES) for scope in scopes),
        ):
            if value not in values:
                raise ValueError(f"no {name} {value!r}; there are {', '.join(values)}")
        other = SCHEDULES[1 - SCHEDULES.index(schedule)]
        self.routes = {path: route for path, route in ROUTES.items() if path != other}
        logins = [f"Bearer {token}"]
        super().__init__(now, logins, requests_per_second=requests_per_second or None)
        self.scopes = frozenset(scopes)
        self.tables = tables()
        self._nested = nested
        self._posts_since = self.second() - _RECENT
        if not empty:
            world = World(self.tables, seed, contacts, seconds(start), self._happened)
            self.histories = dict.fromkeys(self.tables, (world.history,))
        if webhooks:
            self.webhooks = Webhooks(webhooks)
            self.webhooks.start(lambda: self.rows("messages"))

    def failure(self, status: int) -> Response:
        """An error in JSON, or nothing but the status."""
        return failure(status)

    def invalid(self, name: str, value: str) -> Failure:
        """A validation error."""
        return Failure(failure(422, **{name: [f"The {name} is invalid: {value}"]}))

    def answer(self, request: Request) -> Response:
        """Answer one call, with the headers that every answer has."""
        response = super().answer(request)
        headers = {
            "X-RateLimit-Limit": "60",
            "X-RateLimit-Remaining": "0" if response.status == 429 else "59",
            "X-Request-Id": str(uuid4()),
        }
        return replace(response, headers={**response.headers, **headers})

    def printed(self, listing: Listing, row: Row, asked: Sequence[str]) -> Row:
        """A row as an answer has it, with the includes that are asked for."""
        below: dict[str, list[str]] = {}
        for path in asked:
            name, _, rest = path.partition(".")
            below.setdefault(name, []).append(rest)
        shown = {}
        for name, value in row.items():
            is_include = name in listing.includes
            if name in listing.hidden or (is_include and name not in below):
                continue
            if name == "contact_id" and "contact" in below:
                continue
            if name == "contact" and value:
                shown[name] = self._wrap(self.printed(_NESTED_CONTACT, value, below[name]), True)
            else:
                shown[name] = self._wrap(_printed(value), is_include)
        return shown

    def _wrap(self, value: Any, is_include: bool) -> Any:
        wraps = self._nested == "wrapped" or (self._nested == "mixed" and is_include)
        return {"data": value} if wraps and isinstance(value, (dict, list)) else value

    def _happened(self, kind: str, time: int, body: Mapping[str, Any]) -> None:
        if self.webhooks and time >= self._posts_since:
            self.webhooks.post(kind, body)

    # --- the truth -------------------------------------------------------------------------------

    def rows(self, name: str) -> list[Row]:
        """All rows of a table as they are now, in the order of listing, for reading only."""
        with self.lock:
            return self.select(name)

    def members(self, group: str) -> list[Row]:
        """The contacts of a group, by its id."""
        contacts = self.rows("contacts")
        return [row for row in contacts if group in {each["id"] for each in row["groups"]}]

    # --- changes ---------------------------------------------------------------------------------

    def put(self, name: str, key: int, /, **values: Any) -> str:
        """Insert a row, or replace the one with its key. Returns its id.

        A missing key of the row is blank; missing times are now.
        """
        with self.lock:
            now = self.now()
            row = {"id": uuid_of(name, key), "created_at": now, "updated_at": now, **values}
            self.table(name).put(key, row, now)
            return str(row["id"])


SANDBOX = SandboxSpec(
    title="Mobiniti",
    open=Mobiniti,
    login="token sandbox-token",
    options={
        "contacts": Option("size of the account; all else is in proportion (default: 2000)", int),
        "start": Option("when the account begins (default: 2024-01-01T00:00:00Z)"),
        "requests_per_second": Option(
            "how often each route can be called; 0 means no limit (default: 1)", float
        ),
        "scopes": Option(
            f"what the token may read, with commas: {', '.join(SCOPES)} (default: all)",
            lambda text: text.split(","),
        ),
        "nested": Option(
            f"which nested values are in `data`: {', '.join(NESTED)} (default: mixed)"
        ),
        "schedule": Option(f"where scheduled messages are: {' or '.join(SCHEDULES)}"),
        "webhooks": Option("post webhooks to this URL, of the last 30 days and of what happens"),
    },
    damage=DAMAGE,
    defaults={"contacts": 2000},
    hurried={"requests_per_second": 0},
)
