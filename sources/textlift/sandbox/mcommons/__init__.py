"""The Mobile Commons (Upland) API, as the vendor documents it.

`rows` declares the tables and how their rows are printed, this module the routes, and `account`
invents what happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http.client import responses

from textlift.sandbox.clock import seconds
from textlift.sandbox.damage import find_xml, xml_kinds
from textlift.sandbox.faults import Answer, Damage, Make
from textlift.sandbox.mcommons import rows as shapes
from textlift.sandbox.mcommons.account import FUNDRAISERS, MASTER_CAMPAIGN, Invention
from textlift.sandbox.page import page
from textlift.sandbox.server import Request, Response
from textlift.sandbox.service import Account, Failure, Paging, Query, Route, basic
from textlift.sandbox.tables import DAY, Row
from textlift.sandbox.xml import MARK, Element, attributes, listing, wrapped

ERRORS = dict(
    enumerate(
        (
            "Unknown error",
            "Invalid campaign id",
            "Invalid broadcast time",
            "Invalid message body",
            "Invalid company id",
            "Invalid phone number",
            "Invalid group id",
            "Invalid start time",
            "Invalid end time",
            "Invalid mData id",
            "Invalid Key",
            "Phone is not opted-in to this campaign",
            "Invalid fundraising id",
            "Invalid message template",
            "Phone is not textable",
            "Invalid mConnect id",
            "Invalid query parameters",
            "Too many messages",
            "Invalid name",
            "Invalid opt-in path",
            "Invalid URL",
            "Invalid attachment",
            "Invalid broadcast id",
            "Invalid broadcast state change",
            "Broadcast has not been sent. Can not retrieve recipients.",
            "Message Template was mdata_request but campaign is not an mData",
            "Invalid user id",
            "API rate limit exceeded",
            "Missing phone_number parameter",
            "Invalid profile item save behavior",
            "Invalid profile attributes",
            "Invalid previous id",
            "Invalid tag name",
            "Invalid tag parameters",
            "Invalid shortcode id",
            "Invalid date range",
            "Invalid scheduled_message_id",
            "Message has already been sent",
        )
    )
)
"""The vendor's error codes."""

ORDERS = ("id", "updated_at", "-updated_at")
"""The orders in which profiles can be listed."""

_INVALID = {
    "campaign_id": 1,
    "group_id": 6,
    "mdata_id": 9,
    "fundraising_id": 12,
    "mconnect_id": 15,
    "url_id": 20,
    "broadcast_id": 22,
    "from": 7,
    "start_time": 7,
    "to": 8,
    "end_time": 8,
    "window": 35,
}
"""The errors that say which parameter is invalid; of all others, 16."""
_PARENTS = {
    "campaign_id": "campaigns",
    "group_id": "groups",
    "mdata_id": "mdatas",
    "mconnect_id": "mconnects",
    "url_id": "tinyurls",
    "broadcast_id": "broadcasts",
}

FROM_TO, START_END = ("from", "to"), ("start_time", "end_time")
NUMBERED = ("num", "page")
COUNTED = ("page", "limit", "page_count")


def document(lines: Iterable[str]) -> Response:
    """An answer of XML."""
    # Encoded line by line: one emoji would make a string of the whole four times as wide.
    body = b"\n".join(
        [line.encode() for line in ('<?xml version="1.0" encoding="UTF-8"?>', *lines)]
    )
    return Response(200, body, {"Content-Type": "application/xml; charset=utf-8"})


def success(lines: Iterable[str]) -> Response:
    """An answer with data."""
    return document(wrapped("response", lines, {"success": "true"}))


def error(id: int) -> Response:
    """A failure that is reported by its id, with HTTP 200."""
    values = {"id": id, "message": ERRORS[id]}
    return document(wrapped("response", [f"  <error{attributes(values)}/>"], {"success": "false"}))


def bad_request(id: int) -> Response:
    """The same, with HTTP 400 and without an XML declaration."""
    response = error(id)
    return replace(response, status=400, body=response.body.partition(b"\n")[2] + b"\n")


def failure(status: int) -> Response:
    """A failure that is reported by an HTML page."""
    title = responses.get(status, f"Error {status}")
    text, headers = f"The server answered with the status {status}.", {}
    if status == 401:
        title = "Access denied"
        text = "HTTP Basic: Access denied. Check the username and password, or the token."
        headers = {"WWW-Authenticate": 'Basic realm="Mobile Commons"'}
    elif status == 404:
        title, text = "Page not found", "The page you were looking for doesn't exist."
    elif status == 405:
        headers = {"Allow": "GET"}
    return page(status, title, text, **headers)


# --- what calls ask for --------------------------------------------------------------------------

Parent = Callable[["MobileCommons", Query], "int | None"]
Keep = Callable[["MobileCommons", Query, Sequence[Row]], Sequence[Row]]
Show = Callable[["MobileCommons", Query, Row], Row]


def named(parameter: str) -> Parent:
    """The id that a parameter holds; its error if there is no such row."""

    def find(account: MobileCommons, query: Query) -> int:
        id = query.number(parameter)
        if id is None or account.get(_PARENTS[parameter], id) is None:
            raise account.invalid(parameter, "")
        return id

    return find


def _campaign(account: MobileCommons, query: Query) -> int | None:
    """The campaign to filter by. The Master Campaign repeats the messages of all others."""
    if query.text("campaign_id") is None:
        return None
    id = named("campaign_id")(account, query)
    return None if id == MASTER_CAMPAIGN else id


def _with_numbers(account: MobileCommons, query: Query, rows: Sequence[Row]) -> Sequence[Row]:
    texts = query.texts("phone_number")
    if not texts:
        return rows
    numbers = {re.sub(r"\D", "", text) for text in texts}
    if not all(len(number) in (10, 11, 12) for number in numbers):
        raise Failure(error(5))
    wanted = {f"1{number}" if len(number) == 10 else number for number in numbers}
    return [row for row in rows if row["phone_number"] in wanted]


def _with_status(account: MobileCommons, query: Query, rows: Sequence[Row]) -> Sequence[Row]:
    status = query.text("status")
    if status not in (None, "draft", "scheduled", "generated"):
        raise Failure(error(16))
    return [row for row in rows if status in (None, row["status"])]


def _members(account: MobileCommons, query: Query, rows: Sequence[Row]) -> Sequence[Row]:
    members = account.members(query.number("group_id"))
    return [row for row in rows if row["id"] in members]


def _without(row: Row, *keys: str) -> Row:
    return {key: value for key, value in row.items() if key not in keys}


def _parts(account: MobileCommons, query: Query, row: Row) -> Row:
    parts = {
        "include_custom_columns": "custom_columns",
        "include_subscriptions": "subscriptions",
        "include_clicks": "clicks",
        "include_members": "integrations",
    }
    return _without(row, *(key for name, key in parts.items() if not query.flag(name, True)))


def _with_profile(default: bool) -> Show:
    def show(account: MobileCommons, query: Query, row: Row) -> Row:
        if not query.flag("include_profile", default):
            return row
        id = row["profile_id"] if "profile_id" in row else (row["profile"] or {}).get("id")
        profile = account.get("profiles", id)
        return {**row, "profile": _without(profile, "subscriptions")} if profile else row

    return show


def _call(account: MobileCommons, query: Query, row: Row) -> Row:
    if query.flag("include_profile_id_only", False):
        return {**row, "profile": row["profile"] and {"id": row["profile"]["id"]}}
    return _with_profile(False)(account, query, row)


def _query(account: MobileCommons, query: Query, row: Row) -> Row:
    if query.flag("include_custom_columns", True):
        return row
    return {**row, "profile": _without(row["profile"], "custom_columns")}


def _without_integrations(account: MobileCommons, query: Query, row: Row) -> Row:
    return _without(row, "integrations")


def _opt_in_paths(account: MobileCommons, query: Query, row: Row) -> Row:
    return row if query.flag("include_opt_in_paths", False) else _without(row, "opt_in_paths")


# --- routes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """A route that lists the rows of a table.

    Attributes:
        table: Its name.
        list: The element of the list.
        element: How a row is printed.
        head: The attributes of the list.
        window: The parameters of the first and of the last second.
        paging: None for a list in one answer.
        parent: Finds the parent; only its rows are listed.
        titled: The table of the parent, whose name, id and type are attributes of the list.
        wrap: An element around the list, which has these attributes instead.
        keep: The rows that further parameters leave.
        show: A row as further parameters want it.
        envelope: Whether `response` is around the answer. In the sample of calls it is not.
    """

    table: str
    list: str
    element: Element
    head: tuple[str, ...] = ()
    window: tuple[str, str] | None = None
    paging: Paging | None = None
    parent: Parent | None = None
    titled: str = ""
    wrap: str = ""
    keep: Keep | None = None
    show: Show | None = None
    envelope: bool = True

    def __call__(self, account: MobileCommons, query: Query) -> Response:
        """Answer a call."""
        parent = self.parent(account, query) if self.parent else None
        rows: Sequence[Row] = account.select(
            self.table, parent, *(query.window(*self.window) if self.window else ())
        )
        if self.keep:
            rows = self.keep(account, query, rows)
        values: Row = {}
        if self.paging:
            page = query.page(rows, self.paging)
            rows = page.rows
            values = {"page": page.number, "limit": page.limit, "page_count": page.count}
        values["num"] = len(rows)
        if "unique" in self.head:
            values["unique"] = _people(rows)
        title = _title(account, self.titled, parent)
        head = {**({} if self.wrap else title), **{key: values[key] for key in self.head}}
        shown = [self.show(account, query, row) for row in rows] if self.show else rows
        lines = listing(self.list, self.element, shown, head)
        if self.wrap:
            lines = wrapped(self.wrap, lines, title)
        return success(lines) if self.envelope else document(lines)


def _people(rows: Iterable[Row]) -> int:
    return len({row.get("profile_id") or row.get("remote_addr") for row in rows})


def _title(account: MobileCommons, table: str, id: int | None) -> Row:
    row = account.get(table, id) if table else None
    return {key: row[key] for key in ("name", "id", "type")} if row else {}


def _broadcast(account: MobileCommons, query: Query) -> Response:
    row = account.get("broadcasts", named("broadcast_id")(account, query))
    return success([shapes.BROADCAST(row).replace(MARK, "")])


def _call_count(account: MobileCommons, query: Query) -> Response:
    calls = account.select("calls", named("mconnect_id")(account, query))
    return success([f"<call_count>{len(calls)}</call_count>"])


def _clicks(account: MobileCommons, query: Query) -> Response:
    """A call takes no limit; the account has one."""
    size = account.clicks_per_page
    return replace(LISTS["clicks"], paging=Paging(size, size, size=""))(account, query)


def _mdata_entries(account: MobileCommons, query: Query) -> Response:
    """Those whose input is exactly the one asked for."""
    id = named("mdata_id")(account, query)
    wanted = query.text("input")
    if wanted is None:
        raise Failure(error(16))
    entries = [
        row for row in (account.get("mdatas", id) or {})["entries"] if row["input"] == wanted
    ]
    lines = listing("entries", shapes.MDATA_ENTRY, entries, {})
    return success(wrapped("mdata", lines, _title(account, "mdatas", id)))


def _donation_summary(account: MobileCommons, query: Query) -> Response:
    """Donations of the last three days are pending."""
    fundraiser = query.number("fundraising_id")
    if fundraiser not in FUNDRAISERS:
        raise Failure(error(12))
    donations = account.select("donations", fundraiser, *query.window(*START_END))
    settled = account.second() - 3 * DAY
    parts = ""
    for name, pending in (("accepted", False), ("pending", True)):
        amounts = [
            row["amount"] for row in donations if (seconds(row["created_at"]) >= settled) is pending
        ]
        parts += f"<{name}{attributes({'count': len(amounts), 'amount': sum(amounts)})}/>"
    head = {
        "name": FUNDRAISERS[fundraiser],
        "start_time": query.text("start_time"),
        "end_time": query.text("end_time"),
    }
    return success([f"<donation_summary{attributes(head)}>{parts}</donation_summary>"])


THOUSAND = Paging(1000, 1000)
MESSAGES = Paging(20, 1000)
LISTS: dict[str, Listing] = {
    "profiles": Listing(
        *("profiles", "profiles", shapes.PROFILE, NUMBERED, FROM_TO, THOUSAND),
        keep=_with_numbers,
        show=_parts,
    ),
    "messages": Listing(
        *("incoming_messages", "messages", shapes.INCOMING_MESSAGE, COUNTED, START_END, MESSAGES),
        parent=_campaign,
        show=_with_profile(True),
    ),
    "sent_messages": Listing(
        *("outgoing_messages", "messages", shapes.OUTGOING_MESSAGE, COUNTED, START_END, MESSAGES),
        parent=_campaign,
        show=_with_profile(False),
    ),
    "broadcasts": Listing(
        *("broadcasts", "broadcasts", shapes.BROADCAST, COUNTED, START_END, MESSAGES),
        parent=_campaign,
        keep=_with_status,
    ),
    "calls": Listing(
        *("calls", "calls", shapes.CALL, NUMBERED, FROM_TO, THOUSAND),
        parent=named("mconnect_id"),
        show=_call,
        envelope=False,
    ),
    "clicks": Listing(
        *("clicks", "clicks", shapes.CLICK, ("num", "unique", "page"), FROM_TO),
        parent=named("url_id"),
        show=_with_profile(False),
    ),
    "mdata_queries": Listing(
        *("mdata_queries", "queries", shapes.MDATA_QUERY, COUNTED, FROM_TO, Paging(100, 100)),
        parent=named("mdata_id"),
        titled="mdatas",
        wrap="mdata",
        show=_query,
    ),
    "campaign_subscribers": Listing(
        *("subscribers", "subscriptions", shapes.SUBSCRIBER, NUMBERED, FROM_TO, THOUSAND),
        parent=named("campaign_id"),
    ),
    # Its sample has neither the page nor the number of rows.
    "group_members": Listing(
        *("profiles", "group", shapes.PROFILE, (), FROM_TO, THOUSAND),
        parent=named("group_id"),
        titled="groups",
        keep=_members,
        show=_without_integrations,
    ),
    "groups": Listing("groups", "groups", shapes.GROUP, paging=THOUSAND),
    "campaigns": Listing("campaigns", "campaigns", shapes.CAMPAIGN, show=_opt_in_paths),
    "tags": Listing("tags", "tags", shapes.TAG),
    "keywords": Listing("keywords", "keywords", shapes.KEYWORD),
    "mconnects": Listing("mconnects", "mconnects", shapes.MCONNECT),
    "tinyurls": Listing("tinyurls", "tinyurls", shapes.TINYURL),
    "mdatas": Listing("mdatas", "mdatas", shapes.MDATA),
    "attachments": Listing("attachments", "attachments", shapes.ATTACHMENT),
}
ROUTES: dict[str, Route] = {
    **LISTS,
    "broadcast": _broadcast,
    "call_count": _call_count,
    "clicks": _clicks,
    "donation_summary": _donation_summary,
    "mdata_entries": _mdata_entries,
}

# --- faults --------------------------------------------------------------------------------------


def _fixed(status: int, body: bytes) -> Make:
    """One answer in the place of all."""
    kind = "application/xml" if status == 200 else "text/html"
    response = Response(status, body, {"Content-Type": f"{kind}; charset=utf-8"})
    return lambda request, answer: response


def _error(kind: str, respond: Callable[[int], Response]) -> Callable[[str | None], Make]:
    def make(value: str | None) -> Make:
        if value is None or not value.isdecimal() or int(value) not in ERRORS:
            raise ValueError(f"the fault '{kind}' needs one of the error ids 0 to {max(ERRORS)}")
        response = respond(int(value))
        return lambda request, answer: response

    return make


def _number(name: str, value: str | None, least: int) -> int:
    if value is None or not value.isdecimal() or int(value) < least:
        raise ValueError(f"the fault {name!r} needs a number from {least} on")
    return int(value)


def _page_cap(value: str | None) -> Make:
    """Pages of at most so many rows, whatever the limit is."""
    cap = _number("page-cap", value, 1)

    def make(request: Request, answer: Answer) -> Response:
        def capped(name: str, text: str) -> str:
            return str(min(cap, int(text))) if name == "limit" and text.isdecimal() else text

        query = [(name, capped(name, text)) for name, text in request.query]
        return answer(replace(request, query=query))

    return make


def _page_count(value: str | None) -> Make:
    """The same count of pages for every window."""
    count = b'page_count="%d"' % _number("page-count", value, 0)

    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        return replace(response, body=re.sub(rb'page_count="[0-9]*"', count, response.body))

    return make


def _vanish(request: Request, answer: Answer) -> Response:
    """The error of a parent that is not there."""
    for name in request.params:
        if name in _PARENTS or name == "fundraising_id":
            return error(_INVALID[name])
    return answer(request)


_NO_DATA = {
    "text": _fixed(200, b'<response success="true">hurray!</response>'),
    "bare": _fixed(200, b"<response/>"),
    "body": _fixed(200, b"<body>Well, this is unexpected!</body>"),
    "heading": _fixed(200, b"<h1>Error</h1>"),
    "maintenance": _fixed(
        503,
        b"<title>Site Maintenance</title><p>Sorry for the inconvenience but we're performing some "
        b"maintenance at the moment.</p>",
    ),
    "maintenance-200": _fixed(200, b"<title>Site Maintenance</title><p>Sorry.</p>"),
    "heavy-load": _fixed(
        503,
        b"<h2>This website is under heavy load (queue full)</h2><p>We're sorry, too many people "
        b"are accessing this website at the same time.</p>",
    ),
}
"""Answers without data, as recorded."""

_RECORDS = {
    **{path: (route.list, route.element.name) for path, route in LISTS.items()},
    "broadcast": ("response", "broadcast"),
    "mdata_entries": ("entries", "entry"),
}
DAMAGE = Damage(
    failure=failure,
    is_endpoint=ROUTES.__contains__,
    record=find_xml(_RECORDS),
    between=b"\n",
    window=frozenset((*FROM_TO, *START_END)),
    kinds={**xml_kinds(_RECORDS), **_NO_DATA, "vanish": _vanish},
    valued={
        "error=ID": _error("error", error),
        "error-400=ID": _error("error-400", bad_request),
        "page-cap=ROWS": _page_cap,
        "page-count=PAGES": _page_count,
    },
    transient=("error=27", "error=0", *_NO_DATA),
)


class MobileCommons(Account):
    """Speaks the Mobile Commons API about an invented account.

    The account is a function of `seed`, `profiles`, `start` and the clock. `put`, `update` and
    `delete` change it: a row that they touch stays as it is, whatever the clock does.
    """

    damage = DAMAGE
    routes = ROUTES

    def __init__(
        self,
        seed: int = 1,
        profiles: int = 200,
        now: str | datetime | None = None,
        start: str | datetime = "2024-01-01T00:00:00Z",
        order: str = "id",
        username: str = "sandbox@example.org",
        password: str = "sandbox-password",
        token: str = "sandbox-token",
        company: str = "COSANDBOX00000000000000000000000001",
        advocacy: bool = True,
        empty: bool = False,
        concurrent_calls: int = 160,
        clicks_per_page: int = 500,
        columns: int | None = None,
    ) -> None:
        """Open an account.

        profiles: how many there are at the end of the first year; all else is in proportion.
        now: where the clock stands, until `advance` moves it; None for the real time.
        start: when the account begins.
        order: how profiles are listed: by `id`, `updated_at` or `-updated_at`.
        username, password: for HTTP Basic; token: for Bearer; company: the key of the one company.
        advocacy: whether profiles carry `last_saved_districts`.
        empty: leave out everything, also campaigns and groups.
        concurrent_calls: calls in progress beyond this number get error 27.
        clicks_per_page: the page size of `clicks`, which takes no limit.
        columns: how many custom columns there are at all times; None for 4 at the start and one
            more every hundred days.
        """
        if profiles < 0:
            raise ValueError(f"there cannot be {profiles} profiles")
        if columns is not None and columns < 1:
            raise ValueError(f"there cannot be {columns} custom columns")
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        super().__init__(now, (basic(username, password), f"Bearer {token}"), concurrent_calls)
        self.clicks_per_page = clicks_per_page
        self._company = company
        self.tables = shapes.tables(order)
        self._members: dict[int, set[int]] = {}
        if not empty:
            invention = Invention(
                self.tables, self._members, seed, profiles, seconds(start), columns, advocacy
            )
            self.histories = invention.histories

    def failure(self, status: int) -> Response:
        """An HTML page."""
        return failure(status)

    def invalid(self, name: str, value: str) -> Failure:
        """The error id for a parameter."""
        return Failure(error(_INVALID.get(name, 16)))

    def limited(self) -> Failure:
        """Error 27."""
        return Failure(error(27))

    def check(self, query: Query) -> None:
        """Every call can name the company."""
        if query.text("company") not in (None, self._company):
            raise Failure(error(4))

    # --- the truth -------------------------------------------------------------------------------

    def members(self, group: int | None) -> set[int]:
        """The ids of a group's profiles; some of them can have been deleted."""
        self.table("groups")
        return self._members.get(group or 0, set())

    def rows(self, kind: str) -> list[Row]:
        """All rows of a table as they are now, by id, for reading only."""
        with self.lock:
            return sorted(self.select(kind), key=lambda row: int(row["id"]))

    def truth(self, endpoint: str, **parent: int) -> list[Row]:
        """All rows that an endpoint lists, without windows and pages, by id.

        The parent is given by the parameter that names it: `truth("calls", mconnect_id=10)`.
        Without it, the rows of all parents are returned, except for `group_members`.
        """
        if endpoint == "group_members":
            members = self.members(parent["group_id"])
            return [row for row in self.rows("profiles") if row["id"] in members]
        table = LISTS[endpoint].table
        key = str(self.tables[table].parent).replace("tinyurl_id", "url_id")
        unknown = set(parent) - {key}
        if unknown:
            raise TypeError(f"{endpoint} has no parent {', '.join(sorted(unknown))}")
        with self.lock:
            rows = self.select(table, parent.get(key))
            return sorted(rows, key=lambda row: int(row["id"]))

    # --- changes ---------------------------------------------------------------------------------

    def put(self, kind: str, row: Row) -> None:
        """Insert a row, or replace the one with its id.

        A missing key is blank, a missing cursor is now. A time can be ISO-8601 text. A key that
        nobody declared is printed as an element, and with `@` in front as an attribute.
        """
        with self.lock:
            table = self.table(kind)
            if not isinstance(row.get("id"), int):
                raise TypeError(f"a row of {kind} needs an int as its id: {row!r}")
            if kind == "profiles" and row.get("created_at") is None:
                row = {**row, "created_at": row.get("updated_at") or self.now()}
            table.put(row["id"], row, self.now())

    def add_member(self, group_id: int, profile_id: int) -> None:
        """Put a profile into a group."""
        self._set_member(group_id, profile_id, True)

    def remove_member(self, group_id: int, profile_id: int) -> None:
        """Take a profile out of a group."""
        self._set_member(group_id, profile_id, False)

    def _set_member(self, group: int, profile: int, member: bool) -> None:
        with self.lock:
            groups = self._existing("groups", group)
            self._existing("profiles", profile)
            members = self._members.setdefault(group, set())
            (members.add if member else members.discard)(profile)
            size = len([id for id in members if self.get("profiles", id)])
            groups.update(group, {"size": size}, self.now())
