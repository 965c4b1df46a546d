"""The kinds of rows, and what a row of each looks like.

A row is a dict of str, int, float, bool, datetime (aware, UTC, whole seconds), None, and nested
dicts and lists of these. `Kind.blank` is a row with nothing in it, its keys in the order in which
the service prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from textlift.sandbox.clock import moment, parse_time
from textlift.sandbox.mcommons.xml import Row

ADDRESS: Row = dict.fromkeys(("street1", "street2", "city", "state", "postal_code", "country"))
LOCATION: Row = dict.fromkeys(
    ("latitude", "longitude", "precision", "city", "state", "postal_code", "country")
)


@dataclass(frozen=True)
class Kind:
    """One kind of row."""

    cursor: str | None = None
    """The time that windows filter on."""
    parent: str | None = None
    """Where the id of the row's parent is, nested keys joined by `__`."""
    blank: Mapping[str, Any] = field(default_factory=dict)


KINDS: dict[str, Kind] = {
    "profiles": Kind(
        cursor="updated_at",
        blank={
            "id": None,
            "first_name": None,
            "last_name": None,
            "phone_number": None,
            "email": None,
            "status": "Profiles with no Subscriptions",
            "created_at": None,
            "updated_at": None,
            "opted_out_at": None,
            "opted_out_source": None,
            "source": {"type": None, "name": None},
            "address": ADDRESS,
            "last_saved_location": LOCATION,
            "custom_columns": [],
            "subscriptions": [],
            "integrations": [],
            "clicks": [],
        },
    ),
    "incoming_messages": Kind(
        cursor="received_at",
        parent="campaign__id",
        blank={
            "id": None,
            "type": "unknown",
            "approved": False,
            "phone_number": None,
            "carrier_name": None,
            "profile_id": None,
            "body": None,
            "message_template_id": None,
            "mms": False,
            "multipart": False,
            "keyword": None,
            "received_at": None,
            "previous_id": None,
            "next_id": None,
            "campaign": None,
        },
    ),
    "outgoing_messages": Kind(
        cursor="sent_at",
        parent="campaign__id",
        blank={
            "id": None,
            "type": "regular_text",
            "status": "sent",
            "phone_number": None,
            "profile_id": None,
            "body": None,
            "sent_at": None,
            "message_template_id": None,
            "broadcast_id": None,
            "mms": False,
            "multipart": False,
            "campaign": None,
            "previous_id": None,
            "next_id": None,
        },
    ),
    "broadcasts": Kind(
        cursor="delivery_time",
        parent="campaign__id",
        blank={
            "id": None,
            "status": "generated",
            "name": None,
            "body": None,
            "campaign": None,
            "delivery_time": None,
            "include_subscribers": True,
            "throttled": False,
            "localtime": False,
            "automated": False,
            "estimated_recipients_count": 0,
            "replies_count": 0,
            "opt_outs_count": 0,
            "included_groups": [],
            "excluded_groups": [],
            "tags": [],
        },
    ),
    "calls": Kind(
        cursor="end_time",
        parent="mconnect_id",
        blank={
            "id": None,
            "start_time": None,
            "end_time": None,
            "duration": 0,
            "call_status": None,
            "connection_source": None,
            "email": None,
            "profile_status": None,
            "profile_status_at_call_time": None,
            "handset_number": None,
            "carrier_name": None,
            "voip_number": None,
            "destination_number": None,
            "transcription": None,
            "voicemail_duration": None,
            "voicemail": None,
            "mconnect_id": None,
            "profile": None,
            "legislator": None,
        },
    ),
    "clicks": Kind(
        cursor="created_at",
        parent="tinyurl_id",
        blank={
            "id": None,
            "created_at": None,
            "url": None,
            "clicked_url": None,
            "remote_addr": None,
            "http_referer": None,
            "user_agent": None,
            "profile_id": None,
            "tinyurl_id": None,
        },
    ),
    "mdata_queries": Kind(
        cursor="created_at",
        parent="mdata_id",
        blank={
            "id": None,
            "mdata_id": None,
            "created_at": None,
            "keyword": None,
            "input": None,
            "output": None,
            "result": None,
            "error_log_body": None,
            "query_location": {**ADDRESS, "latitude": None, "longitude": None},
            "profile": {
                "status": None,
                "email": None,
                "first_name": None,
                "last_name": None,
                "source_type": None,
                "source_name": None,
                "phone": {"phone_number": None, "carrier_name": None},
                "address": {
                    **ADDRESS,
                    "latitude": None,
                    "longitude": None,
                    "geocoded_city": None,
                    "geocoded_state": None,
                    "geocoded_postal_code": None,
                    "geocoded_country": None,
                },
                "custom_columns": [],
            },
        },
    ),
    "subscribers": Kind(
        cursor="activated_at",
        parent="campaign_id",
        blank={
            "id": None,
            "profile_id": None,
            "phone_number": None,
            "activated_at": None,
            "opted_out_at": None,
            "campaign_id": None,
            "opt_in_path_id": None,
        },
    ),
    "campaigns": Kind(
        blank={
            "id": None,
            "active": True,
            "name": None,
            "description": None,
            "tags": [],
            "opt_in_paths": [],
        }
    ),
    "groups": Kind(
        blank={"name": None, "id": None, "type": "UploadedGroup", "status": "active", "size": 0}
    ),
    "keywords": Kind(
        blank={
            "id": None,
            "active": True,
            "name": None,
            "opt_in_path_id": None,
            "ended_at": None,
            "created_at": None,
            "updated_at": None,
        }
    ),
    "mconnects": Kind(
        blank={
            "id": None,
            "active": True,
            "name": None,
            "destination_number": None,
            "destination_description": None,
            "voip_number": None,
            "call_type": None,
            "autoroute": False,
            "subscriber_follow_up": None,
            "nonsubscriber_follow_up": None,
            "call_timeout": None,
            "failover_number": None,
            "failover_text": None,
            "voicemail": False,
            "transcribe": False,
            "shortcode": None,
            "crm_alert_id": None,
            "tags": [],
        }
    ),
    "tinyurls": Kind(
        blank={
            "id": None,
            "created_at": None,
            "name": None,
            "mode": None,
            "url": None,
            "host": None,
            "description": None,
            "key": None,
        }
    ),
    "mdatas": Kind(
        blank={"id": None, "name": None, "type": "database", "uuid": None, "entries": []}
    ),
    "tags": Kind(blank={"id": None, "name": None, "taggable_object": None}),
    "attachments": Kind(blank={"id": None, "name": None, "thumbnail_link": None}),
}


def kind_named(name: str) -> Kind:
    """The kind of that name. Raises KeyError with the names there are."""
    try:
        return KINDS[name]
    except KeyError:
        raise KeyError(f"no kind {name!r}; there are {', '.join(KINDS)}") from None


def complete(kind: str, row: Row) -> Row:
    """A copy of `row` with all keys of its kind, the missing ones blank.

    A key that is not of its kind stays behind the one that is before it.
    """
    return _over(KINDS[kind].blank, row)


def normal(kind: str, row: Row) -> Row:
    """A copy of `row` with all times in UTC and whole seconds.

    Its own times can be ISO-8601 text; other text there stays what it is.
    """
    row = {key: _normal(value) for key, value in row.items()}
    for key in KINDS[kind].blank:
        value = row.get(key)
        if isinstance(value, str) and key.endswith(("_at", "_time")):
            with suppress(ValueError):
                row[key] = moment(parse_time(value))
    return row


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc).replace(microsecond=0)
    return value


def _over(blank: Mapping[str, Any], row: Row) -> Row:
    keys, before = list(blank), ""
    for key in row:
        if key not in blank:
            keys.insert(keys.index(before) + 1 if before else len(keys), key)
        before = key
    values = {**blank, **row}
    result = {key: deepcopy(values[key]) for key in keys}
    for key, value in blank.items():
        if isinstance(value, Mapping) and isinstance(row.get(key), dict):
            result[key] = _over(value, row[key])
    return result


def value_at(row: Row, path: str) -> Any:
    """The value under `a__b`, None if there is no such place."""
    value: Any = row
    for key in path.split("__"):
        value = value.get(key) if isinstance(value, dict) else None
    return value
