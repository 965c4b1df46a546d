"""The calls that Mobile Commons answers.

Each follows the page of the same name in the vendor's "Mobile Commons REST API".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from textlift.sandbox.clock import seconds
from textlift.sandbox.mcommons import rows as shapes
from textlift.sandbox.mcommons.account import FUNDRAISERS, MASTER_CAMPAIGN
from textlift.sandbox.mcommons.answers import document, error, success
from textlift.sandbox.server import Response
from textlift.sandbox.service import Failure, Paging, Query, Route
from textlift.sandbox.tables import DAY, Row
from textlift.sandbox.xml import Element, attributes, listing, wrapped

if TYPE_CHECKING:
    from textlift.sandbox.mcommons import MobileCommons

PARENTS = {
    "campaign_id": "campaigns",
    "group_id": "groups",
    "mdata_id": "mdatas",
    "mconnect_id": "mconnects",
    "url_id": "tinyurls",
}
"""The tables of parents, by the parameter that names one."""

FROM_TO, START_END = ("from", "to"), ("start_time", "end_time")

Parent = Callable[["MobileCommons", Query], "int | None"]
Keep = Callable[["MobileCommons", Query, Sequence[Row]], Sequence[Row]]
Show = Callable[["MobileCommons", Query, Row], Row]


def named(parameter: str) -> Parent:
    """The id that a parameter holds; its error if there is no such row."""

    def find(account: MobileCommons, query: Query) -> int:
        id = query.number(parameter)
        if id is None or account.get(PARENTS[parameter], id) is None:
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
        envelope: Whether `response` is around the answer.
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


_THOUSAND = Paging(1000, 1000)
_numbered = partial(Listing, head=("num", "page"), window=FROM_TO, paging=_THOUSAND)
_counted = partial(
    Listing, head=("page", "limit", "page_count"), window=START_END, paging=Paging(20, 1000)
)
LISTS: dict[str, Listing] = {
    "profiles": _numbered("profiles", "profiles", shapes.PROFILE, keep=_with_numbers),
    "messages": _counted(
        "incoming_messages",
        "messages",
        shapes.INCOMING_MESSAGE,
        parent=_campaign,
        show=_with_profile(True),
    ),
    "sent_messages": _counted(
        "outgoing_messages",
        "messages",
        shapes.OUTGOING_MESSAGE,
        parent=_campaign,
        show=_with_profile(False),
    ),
    "broadcasts": _counted(
        "broadcasts", "broadcasts", shapes.BROADCAST, parent=_campaign, keep=_with_status
    ),
    # Its sample has no `response` around it.
    "calls": _numbered(
        "calls", "calls", shapes.CALL, parent=named("mconnect_id"), show=_call, envelope=False
    ),
    "clicks": Listing(
        "clicks",
        "clicks",
        shapes.CLICK,
        head=("num", "unique", "page"),
        window=FROM_TO,
        parent=named("url_id"),
    ),
    "mdata_queries": _counted(
        "mdata_queries",
        "queries",
        shapes.MDATA_QUERY,
        window=FROM_TO,
        paging=Paging(100, 100),
        parent=named("mdata_id"),
        titled="mdatas",
        wrap="mdata",
    ),
    "campaign_subscribers": _numbered(
        "subscribers", "subscriptions", shapes.SUBSCRIBER, parent=named("campaign_id")
    ),
    # Its sample has neither the page nor the number of rows.
    "group_members": _numbered(
        "profiles",
        "group",
        shapes.PROFILE,
        head=(),
        parent=named("group_id"),
        titled="groups",
        keep=_members,
        show=_without_integrations,
    ),
    "groups": Listing("groups", "groups", shapes.GROUP, paging=_THOUSAND),
    "campaigns": Listing("campaigns", "campaigns", shapes.CAMPAIGN, show=_opt_in_paths),
    "keywords": Listing("keywords", "keywords", shapes.KEYWORD),
    "mconnects": Listing("mconnects", "mconnects", shapes.MCONNECT),
    "tinyurls": Listing("tinyurls", "tinyurls", shapes.TINYURL),
    "mdatas": Listing("mdatas", "mdatas", shapes.MDATA),
    "tags": Listing("tags", "tags", shapes.TAG),
    "attachments": Listing("attachments", "attachments", shapes.ATTACHMENT),
}
ROUTES: dict[str, Route] = {
    **LISTS,
    "call_count": _call_count,
    "clicks": _clicks,
    "donation_summary": _donation_summary,
    "mdata_entries": _mdata_entries,
}
