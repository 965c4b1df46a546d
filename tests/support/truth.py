"""Compute the rows that the warehouse must have from the rows of the sandbox.

This is a second, independent implementation. It uses nothing of the sources. The names and types
follow the documented tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any

from textlift.sandbox.mcommons import MobileCommons
from textlift.sandbox.mgage import MGage
from textlift.sandbox.mobiniti import Mobiniti

Row = dict[str, Any]

FOREIGN_KEYS = {
    "campaign__id": "campaign_id",
    "keyword__id": "keyword_id",
    "mconnect__id": "mconnect_id",
    "profile__id": "profile_id",
}


def flatten(value: Mapping[str, Any], prefix: str = "") -> Row:
    """Return a row with nested objects joined by ``__``, without lists. Empty text is NULL."""
    row: Row = {}
    for name, item in value.items():
        path = prefix + name.lstrip("@")
        if isinstance(item, Mapping):
            row.update(flatten(item, f"{path}__"))
        elif not isinstance(item, list):
            row[FOREIGN_KEYS.get(path, path)] = None if item == "" else item
    return row


def _flatten_all(rows: Iterable[Row]) -> list[Row]:
    rows = list(rows)
    objects = {name for row in rows for name, value in row.items() if isinstance(value, Mapping)}
    # In a small account there may be no call with one.
    objects.add("legislator")
    # A missing object has no column.
    return [
        flatten({k: v for k, v in row.items() if v is not None or k not in objects}) for row in rows
    ]


def _children(rows: Iterable[Row], name: str, key: str) -> list[Row]:
    return [
        {**flatten(entry if isinstance(entry, Mapping) else {"tag": entry}), key: row["id"]}
        for row in rows
        for entry in row.get(name) or ()
    ]


def _columns(rows: Iterable[Row], key: str = "") -> list[Row]:
    """Return the custom columns, without the blanks around their values."""
    return [
        {
            **flatten({**column, "value": (column["value"] or "").strip()}),
            **({key: row["id"]} if key else {}),
        }
        for row in rows
        for column in row.get("custom_columns") or ()
    ]


def _groups(rows: Iterable[Row], name: str) -> list[Row]:
    return [
        {"broadcast_id": row["id"], "group_id": group["id"], **_without(group, "id")}
        for row in rows
        for group in row.get(name) or ()
    ]


def _without(row: Mapping[str, Any], *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def _profile_id_only(row: Row) -> Row:
    profile = row.get("profile")
    return {**row, "profile": {"id": profile["id"]}} if isinstance(profile, Mapping) else row


def _members(service: MobileCommons) -> list[Row]:
    return [
        {"group_id": group["id"], **{("profile_id" if k == "id" else k): v for k, v in row.items()}}
        for group in service.rows("groups")
        for row in map(flatten, service.truth("group_members", group_id=group["id"]))
    ]


def expected(service: MobileCommons, *tables: str) -> dict[str, list[Row]]:
    """Return table → rows, of all tables or of some. Computed keys of rows are left out."""
    rows = cache(service.rows)

    def queries() -> list[Row]:
        return [_without(row, "id") for row in rows("mdata_queries")]

    def children(kind: str, name: str, key: str) -> Callable[[], list[Row]]:
        return lambda: _children(rows(kind), name, key)

    def flat(found: Callable[[], list[Row]]) -> Callable[[], list[Row]]:
        return lambda: _flatten_all(found())

    makes: dict[str, Callable[[], list[Row]]] = {
        **{
            name: flat(partial(rows, name))
            for name in (
                *("profiles", "incoming_messages", "outgoing_messages", "broadcasts", "clicks"),
                *("campaigns", "groups", "keywords", "mconnects", "tinyurls", "mdatas"),
                *("attachments", "tags"),
            )
        },
        "calls": flat(lambda: [_profile_id_only(row) for row in rows("calls")]),
        "mdata_queries": flat(queries),
        "campaign_subscribers": flat(
            lambda: [_without(row, "opt_in_path_id") for row in rows("subscribers")]
        ),
        "profiles__subscriptions": children("profiles", "subscriptions", "profile_id"),
        "profiles__custom_columns": lambda: _columns(rows("profiles"), "profile_id"),
        "profiles__clicks": lambda: [
            _without(row, "tinyurl_id")
            for row in _children(rows("profiles"), "clicks", "profile_id")
        ],
        "profiles__integrations": children("profiles", "integrations", "profile_id"),
        "broadcasts__included_groups": lambda: _groups(rows("broadcasts"), "included_groups"),
        "broadcasts__excluded_groups": lambda: _groups(rows("broadcasts"), "excluded_groups"),
        "broadcasts__tags": children("broadcasts", "tags", "broadcast_id"),
        "campaigns__opt_in_paths": children("campaigns", "opt_in_paths", "campaign_id"),
        "campaigns__tags": children("campaigns", "tags", "campaign_id"),
        "mconnects__tags": children("mconnects", "tags", "mconnect_id"),
        "mdata_queries__custom_columns": lambda: _columns(
            row.get("profile") or {} for row in queries()
        ),
        "group_members": lambda: _members(service),
    }
    return {name: makes[name]() for name in tables or makes}


def comparable(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> list[tuple[str, ...]]:
    """Return rows as sorted tuples of text, so that NULL, numbers and times can be compared."""
    return sorted(tuple(_plain(row.get(name)) for name in columns) for row in rows)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return str(int(value.timestamp()))
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return f"{Decimal(str(value)).normalize():f}"
    return repr(value)


def expected_messages(service: MGage) -> list[Row]:
    """Return the rows of the table of mGage, without their computed keys."""
    return [
        {"program_id": id, **_snake_case(info), **_snake_case(message)}
        for id, info in service.programs.items()
        for message in service.served(id)
    ]


def _snake_case(value: Mapping[str, Any]) -> Row:
    return {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): _text(item)
        for name, item in flatten(value).items()
    }


def _text(value: Any) -> Any:
    """Return booleans and numbers as text, and other values unchanged."""
    return json.dumps(value) if isinstance(value, (bool, int, float)) else value


WEBHOOKS = (
    "inbound_messages",
    "unsubscribes",
    "delivery_reports",
    "delivery_report_recipients",
    "delivery_report_messages",
    "delivery_report_messages__metadata",
    "contact_status_changes",
    "bounces",
    "rejections",
)


def expected_of_mobiniti(service: Mobiniti) -> dict[str, Sequence[Row]]:
    """Return table → rows, of all tables of a Mobiniti account."""
    tables = {name: [flatten(row) for row in service.rows(name)] for name in service.tables}
    contacts, groups = service.rows("contacts"), service.rows("groups")
    for row in tables["contacts"]:
        row["carrier_id"] = row.pop("carrier__id", None)
        row["birth_date"] = date.fromisoformat(row["birth_date"]) if row["birth_date"] else None
    for row in tables["groups"]:
        row["optin_id"] = row.pop("optin__id")
        row["keyword__id"] = row.pop("keyword_id", None)
    for row in tables["messages"]:
        row["carrier_id"] = row.pop("contact__carrier__id", None)
    return {
        **tables,
        "groups__emails": [
            {"group_id": row["id"], "email": email} for row in groups for email in row["emails"]
        ],
        "group_contacts": [
            {"group_id": group["id"], "contact_id": row["id"], "status": row["status"]}
            for group in groups
            for row in service.members(group["id"])
        ],
        "contacts__fields": [
            {"contact_id": row["id"], **flatten(each)}
            for row in contacts
            if row["groups"]
            for each in row["fields"]
        ],
        # Nothing was posted.
        **dict.fromkeys(WEBHOOKS, ()),
    }
