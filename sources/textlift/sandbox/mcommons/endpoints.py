"""The calls the service answers, each a function from its parameters to the lines of a body.

Each follows the page of the same name in the vendor's "Mobile Commons REST API".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from textlift.sandbox.mcommons import shapes
from textlift.sandbox.mcommons.activity import FUNDRAISERS
from textlift.sandbox.mcommons.parameters import Page, Query, ServiceError
from textlift.sandbox.mcommons.rows import Rows
from textlift.sandbox.mcommons.store import Store
from textlift.sandbox.mcommons.xml import MARK, Element, Row, attributes


@dataclass(frozen=True)
class Context:
    """What the endpoints answer from."""

    store: Store
    rows: Rows
    clicks_per_page: int


Lines = list[str]
Endpoint = Callable[[Context, Query], Lines]


def profiles(context: Context, query: Query) -> Lines:
    """List All Profiles."""
    store = context.store
    since, until = query.window("from", "to")
    numbers = [_phone_number(text) for text in query.texts("phone_number")]
    ids: Sequence[int] = store.ids("profiles", None, since, until)
    if numbers:
        found = store.profiles_with(numbers)
        within = set(ids) if since is not None or until is not None else None
        ids = [id for id in found if within is None or id in within]
    page = query.page(ids, 1000, 1000)
    excluded = {
        key
        for key, parameter in (
            ("custom_columns", "include_custom_columns"),
            ("subscriptions", "include_subscriptions"),
            ("clicks", "include_clicks"),
            ("integrations", "include_members"),
        )
        if not query.flag(parameter, True)
    }
    rows = (_without(store.row("profiles", id), excluded) for id in page.ids)
    return _numbered("profiles", shapes.PROFILE, rows, page)


def messages(context: Context, query: Query) -> Lines:
    """List Incoming Messages."""
    return _messages(context, query, "incoming_messages", shapes.INCOMING_MESSAGE, True)


def sent_messages(context: Context, query: Query) -> Lines:
    """List Outgoing Messages."""
    return _messages(context, query, "outgoing_messages", shapes.OUTGOING_MESSAGE, False)


def _messages(
    context: Context, query: Query, kind: str, write: Element, include_profile: bool
) -> Lines:
    store = context.store
    since, until = query.window("start_time", "end_time")
    campaign = _campaign(store, query)
    page = query.page(store.ids(kind, campaign, since, until), 20, 1000)
    rows: Iterable[Row] = (store.row(kind, id) for id in page.ids)
    if query.flag("include_profile", include_profile):
        rows = (_with_profile(store, row) for row in rows)
    return _counted("messages", write, rows, page)


def broadcasts(context: Context, query: Query) -> Lines:
    """List Broadcasts."""
    store = context.store
    since, until = query.window("start_time", "end_time")
    campaign = _campaign(store, query)
    ids = store.ids("broadcasts", campaign, since, until)
    status = query.text("status")
    if status is not None:
        if status not in ("draft", "scheduled", "generated"):
            raise ServiceError(16)
        ids = [id for id in ids if store.row("broadcasts", id)["status"] == status]
    page = query.page(ids, 20, 1000)
    rows = (store.row("broadcasts", id) for id in page.ids)
    return _counted("broadcasts", shapes.BROADCAST, rows, page)


def broadcast(context: Context, query: Query) -> Lines:
    """List Broadcast."""
    id = _parent(context.store, query, "broadcasts", "broadcast_id", 22)
    return [_printed(shapes.BROADCAST, context.store.row("broadcasts", id))]


def calls(context: Context, query: Query) -> Lines:
    """List Calls. Its sample has no `response` around it."""
    store = context.store
    mconnect = _parent(store, query, "mconnects", "mconnect_id", 15)
    since, until = query.window("from", "to")
    page = query.page(store.ids("calls", mconnect, since, until), 1000, 1000)
    rows: Iterable[Row] = (store.row("calls", id) for id in page.ids)
    if query.flag("include_profile_id_only", False):
        rows = ({**row, "profile": _only_id(row["profile"])} for row in rows)
    elif query.flag("include_profile", False):
        rows = (_with_profile(store, row) for row in rows)
    return _numbered("calls", shapes.CALL, rows, page)


def call_count(context: Context, query: Query) -> Lines:
    """Count the number of mConnect Calls."""
    mconnect = _parent(context.store, query, "mconnects", "mconnect_id", 15)
    return [f"<call_count>{len(context.store.ids('calls', mconnect))}</call_count>"]


def donation_summary(context: Context, query: Query) -> Lines:
    """Donation Summary."""
    fundraiser = query.id("fundraising_id", 12)
    if fundraiser not in FUNDRAISERS:
        raise ServiceError(12)
    since, until = query.window("start_time", "end_time")
    head = {
        "name": FUNDRAISERS[fundraiser],
        "start_time": query.text("start_time"),
        "end_time": query.text("end_time"),
    }
    totals = context.rows.donations(fundraiser, since, until)
    parts = "".join(f"<{name}{attributes(total)}/>" for name, total in totals.items())
    return [f"<donation_summary{attributes(head)}>{parts}</donation_summary>"]


def clicks(context: Context, query: Query) -> Lines:
    """List Web Clicks. There is no limit to ask for."""
    store = context.store
    tinyurl = _tinyurl(store, query)
    since, until = query.window("from", "to")
    ids = store.ids("clicks", tinyurl, since, until)
    if query.flag("total_link_clicks", False):
        rows = [store.row("clicks", id) for id in ids]
        head = {"total_link_clicks": len(rows), "unique": _people(rows)}
        return _around("clicks", head, [])
    page = query.page_of(ids, context.clicks_per_page)
    rows = [store.row("clicks", id) for id in page.ids]
    head = {"num": len(rows), "unique": _people(rows), "page": page.number}
    write = shapes.CLICK
    if query.flag("include_profile", False):
        rows = [_with_profile(store, row) for row in rows]
        write = shapes.CLICK_WITH_PROFILE
    return _list("clicks", write, rows, head)


def mdata_queries(context: Context, query: Query) -> Lines:
    """List mData Queries."""
    store = context.store
    mdata = _parent(store, query, "mdatas", "mdata_id", 9)
    since, until = query.window("from", "to")
    page = query.page(store.ids("mdata_queries", mdata, since, until), 100, 100)
    rows: Iterable[Row] = (store.row("mdata_queries", id) for id in page.ids)
    if not query.flag("include_custom_columns", True):
        rows = ({**row, "profile": _without(row["profile"], {"custom_columns"})} for row in rows)
    queries = _counted("queries", shapes.MDATA_QUERY, rows, page)
    return _around("mdata", _name_id_type(store.row("mdatas", mdata)), queries)


def mdata_entries(context: Context, query: Query) -> Lines:
    """mData Entries: those whose input is exactly the one asked for."""
    mdata = context.store.row("mdatas", _parent(context.store, query, "mdatas", "mdata_id", 9))
    wanted = query.text("input")
    if wanted is None:
        raise ServiceError(16)
    entries = [entry for entry in mdata["entries"] if entry["input"] == wanted]
    return _around("mdata", _name_id_type(mdata), _list("entries", shapes.MDATA_ENTRY, entries, {}))


def campaign_subscribers(context: Context, query: Query) -> Lines:
    """List Campaign Subscribers."""
    store = context.store
    campaign = _parent(store, query, "campaigns", "campaign_id", 1)
    since, until = query.window("from", "to")
    ids = store.ids("subscribers", campaign, since, until)
    path = query.id("opt_in_path_id", 19)
    if path is not None:
        if path not in (row["id"] for row in store.row("campaigns", campaign)["opt_in_paths"]):
            raise ServiceError(19)
        ids = [id for id in ids if store.row("subscribers", id)["opt_in_path_id"] == path]
    page = query.page(ids, 1000, 1000)
    rows = (store.row("subscribers", id) for id in page.ids)
    return _numbered("subscriptions", shapes.SUBSCRIBER, rows, page)


def group_members(context: Context, query: Query) -> Lines:
    """List Group Members. Its sample tells neither the page nor the number of rows."""
    store = context.store
    group = _parent(store, query, "groups", "group_id", 6)
    since, until = query.window("from", "to")
    page = query.page(store.members(group, since, until), 1000, 1000)
    rows = (_without(store.row("profiles", id), {"integrations"}) for id in page.ids)
    return _list("group", shapes.PROFILE, rows, _name_id_type(store.row("groups", group)))


def groups(context: Context, query: Query) -> Lines:
    """List Groups."""
    store = context.store
    page = query.page(store.ids("groups"), 1000, 1000)
    return _list("groups", shapes.GROUP, (store.row("groups", id) for id in page.ids), {})


def campaigns(context: Context, query: Query) -> Lines:
    """List Campaigns."""
    rows = _all(context.store, "campaigns")
    one = query.text("campaign_id")
    if any(str(row["id"]) == one for row in rows):
        rows = [row for row in rows if str(row["id"]) == one]
    status = query.text("status")
    if status is not None:
        if status not in ("active", "ended"):
            raise ServiceError(16)
        rows = [row for row in rows if row["active"] == (status == "active")]
    sort = query.text("sort")
    if sort not in (None, "asc", "desc"):
        raise ServiceError(16)
    rows.sort(key=lambda row: int(row["id"]), reverse=sort == "desc")
    if not query.flag("include_opt_in_paths", False):
        rows = [_without(row, {"opt_in_paths"}) for row in rows]
    return _list("campaigns", shapes.CAMPAIGN, rows, {})


def tags(context: Context, query: Query) -> Lines:
    """List Tags."""
    rows = _all(context.store, "tags")

    def keep(key: str, wanted: Any) -> None:
        rows[:] = [row for row in rows if (row["taggable_object"] or {}).get(key) == wanted]

    kind = query.text("type")
    if kind is not None:
        keep("type", kind)
    for kind, error in (("campaign", 1), ("broadcast", 22), ("opt_in_path", 19), ("mconnect", 15)):
        id = query.id(f"{kind}_id", error)
        if id is not None:
            keep("type", kind)
            keep("id", id)
    tag_id, tag = query.id("tag_id", 16), query.text("tag")
    rows = [row for row in rows if tag_id in (None, row["id"]) and tag in (None, row["name"])]
    return _list("tags", shapes.TAG, rows, {})


def _single(kind: str, write: Element) -> Endpoint:
    def endpoint(context: Context, query: Query) -> Lines:
        return _list(kind, write, _all(context.store, kind), {})

    return endpoint


ENDPOINTS: dict[str, Endpoint] = {
    "profiles": profiles,
    "messages": messages,
    "sent_messages": sent_messages,
    "broadcasts": broadcasts,
    "broadcast": broadcast,
    "calls": calls,
    "call_count": call_count,
    "donation_summary": donation_summary,
    "clicks": clicks,
    "mdata_queries": mdata_queries,
    "mdata_entries": mdata_entries,
    "campaign_subscribers": campaign_subscribers,
    "group_members": group_members,
    "groups": groups,
    "campaigns": campaigns,
    "tags": tags,
    "keywords": _single("keywords", shapes.KEYWORD),
    "mconnects": _single("mconnects", shapes.MCONNECT),
    "tinyurls": _single("tinyurls", shapes.TINYURL),
    "mdatas": _single("mdatas", shapes.MDATA),
    "attachments": _single("attachments", shapes.ATTACHMENT),
}

WITHOUT_ENVELOPE = frozenset(("calls",))
"""Endpoints whose answers have no `response` element around them."""


# --- parameters that name something --------------------------------------------------------------


def _parent(store: Store, query: Query, kind: str, parameter: str, error: int) -> int:
    id = query.id(parameter, error)
    if id is None or not store.has(kind, id):
        raise ServiceError(error)
    return id


def _campaign(store: Store, query: Query) -> int | None:
    if query.text("campaign_id") is None:
        return None
    return _parent(store, query, "campaigns", "campaign_id", 1)


def _tinyurl(store: Store, query: Query) -> int:
    url = query.text("url")
    if url is None:
        return _parent(store, query, "tinyurls", "url_id", 20)
    short = re.sub(r"^https?://", "", url)
    for row in _all(store, "tinyurls"):
        if f"{row['host']}/{row['key']}" == short:
            return int(row["id"])
    raise ServiceError(20)


def _phone_number(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    if len(digits) not in (10, 11, 12):
        raise ServiceError(5)
    return f"1{digits}" if len(digits) == 10 else digits


# --- rows ----------------------------------------------------------------------------------------


def _all(store: Store, kind: str) -> list[Row]:
    return [store.row(kind, id) for id in store.ids(kind)]


def _without(row: Row, keys: set[str]) -> Row:
    return {key: value for key, value in row.items() if key not in keys} if keys else row


def _with_profile(store: Store, row: Row) -> Row:
    id = row["profile_id"] if "profile_id" in row else (row["profile"] or {}).get("id")
    if id is None or not store.has("profiles", id):
        return row
    return {**row, "profile": _without(store.row("profiles", id), {"subscriptions"})}


def _only_id(profile: Row | None) -> Row | None:
    return profile and {"id": profile["id"]}


def _people(clicks: Iterable[Row]) -> int:
    return len({row["profile_id"] or row["remote_addr"] for row in clicks})


# --- lists ---------------------------------------------------------------------------------------


def _around(name: str, head: Row, lines: Lines) -> Lines:
    return [f"<{name}{attributes(head)}>", *lines, f"</{name}>"]


def _list(name: str, write: Element, rows: Iterable[Row], head: Row) -> Lines:
    return _around(name, head, [_printed(write, row) for row in rows])


def _printed(write: Element, row: Row) -> str:
    """A row that begins where its line does, as those of broadcasts do; its parts are indented."""
    return write(row).replace(MARK, "")


def _counted(name: str, write: Element, rows: Iterable[Row], page: Page) -> Lines:
    head = {"page": page.number, "limit": page.limit, "page_count": page.count}
    return _list(name, write, rows, head)


def _numbered(name: str, write: Element, rows: Iterable[Row], page: Page) -> Lines:
    return _list(name, write, rows, {"num": len(page.ids), "page": page.number})


def _name_id_type(row: Row) -> Row:
    return {key: row[key] for key in ("name", "id", "type")}
