"""How the service prints each kind of row: which keys are attributes, which are elements.

Follows the sample responses of the vendor's "Mobile Commons REST API" page. Where a sample is
lost in print, ids are attributes for campaigns, opt-in paths, groups, mConnects and tags, and
elements for tiny URLs, attachments and mDatas.
"""

from __future__ import annotations

from textlift.sandbox.mcommons.xml import (
    MARK,
    Element,
    Printer,
    content,
    hidden,
    items,
    leaf,
    nested,
    optional,
    reference,
)


def _custom_columns(value: Printer) -> Printer:
    attributes = ("name", "created_at", "updated_at")
    column = Element("custom_column", attributes=attributes, content={"value": value})
    return items("custom_columns", nested(column))


_TAGS = items("tags", leaf("tag"))
_CAMPAIGN = nested(Element("campaign", attributes=("id", "active")))
_GROUP = nested(Element("group", attributes=("name", "id", "type"), closes=True))


def _part(name: str) -> Printer:
    return nested(Element(name, closes=True))


CLICK = Element("click", attributes=("id",), children={"tinyurl_id": hidden()})

PROFILE = Element(
    "profile",
    attributes=("id",),
    zero_times=("opted_out_at",),
    children={
        "source": nested(
            Element(
                "source",
                attributes=("type", "name", "email", "id", "opt_in_path_id", "message_id"),
            )
        ),
        "location": _part("location"),
        "districts": _part("districts"),
        "last_saved_location": _part("last_saved_location"),
        "last_saved_districts": _part("last_saved_districts"),
        "custom_columns": _custom_columns(content("\n", MARK, "")),
        "subscriptions": optional(
            items(
                "subscriptions",
                nested(
                    Element(
                        "subscription",
                        attributes=(
                            "campaign_id",
                            "campaign_name",
                            "campaign_description",
                            "opt_in_path_id",
                            "status",
                            "opt_in_source",
                            "created_at",
                            "activated_at",
                            "opted_out_at",
                            "opt_out_source",
                        ),
                    )
                ),
            )
        ),
        "integrations": items(
            "integrations",
            nested(
                Element("integration", attributes=("constituent_id", "type", "synchronized_at"))
            ),
        ),
        "clicks": items("clicks", nested(CLICK)),
    },
)

CLICK_WITH_PROFILE = Element(
    "click", attributes=("id",), children={"tinyurl_id": hidden(), "profile": nested(PROFILE)}
)

INCOMING_MESSAGE = Element(
    "message",
    attributes=("id", "type", "approved"),
    children={
        "profile_id": leaf("profile"),
        "keyword": nested(Element("keyword", attributes=("id",))),
        "previous_id": reference("previous_id"),
        "next_id": reference("next_id"),
        "campaign": _CAMPAIGN,
        "profile": nested(PROFILE),
    },
)

OUTGOING_MESSAGE = Element(
    "message",
    attributes=("id", "type", "status"),
    children={
        "profile_id": leaf("profile"),
        "broadcast_id": optional(leaf("broadcast_id")),
        "previous_id": reference("previous_id"),
        "next_id": reference("next_id"),
        "campaign": _CAMPAIGN,
        "profile": nested(PROFILE),
    },
)

BROADCAST = Element(
    "broadcast",
    attributes=("id", "status"),
    children={
        "campaign": _CAMPAIGN,
        "included_groups": items("included_groups", _GROUP),
        "excluded_groups": items("excluded_groups", _GROUP),
        "tags": _TAGS,
    },
)

CALL = Element(
    "call",
    attributes=("id",),
    children={"mconnect_id": reference("mconnect"), "profile": nested(PROFILE)},
)

MDATA_QUERY = Element(
    "query",
    children={
        # A query has no id in print. Here it has one, for `put` and `delete` to name it by.
        "id": hidden(),
        "mdata_id": hidden(),
        "profile": nested(
            Element(
                "profile",
                # This endpoint alone prints blanks around the values, and for no value a blank.
                children={"custom_columns": _custom_columns(content(" ", " ", " "))},
            )
        ),
    },
)

MDATA_ENTRY = Element("entry")

SUBSCRIBER = Element(
    "sub",
    children={"campaign_id": hidden(), "opt_in_path_id": hidden()},
    zero_times=("activated_at", "opted_out_at"),
)

CAMPAIGN = Element(
    "campaign",
    attributes=("id", "active"),
    children={
        "tags": _TAGS,
        "opt_in_paths": items(
            "opt_in_paths",
            nested(Element("opt_in_path", attributes=("id", "active"), children={"tags": _TAGS})),
        ),
    },
)

GROUP = Element("group", attributes=("id", "type", "status"))
KEYWORD = Element("keyword", attributes=("id", "active"))
MCONNECT = Element("mconnect", attributes=("id", "active"), children={"tags": _TAGS})
TINYURL = Element("tinyurl")
MDATA = Element("mdata", children={"entries": hidden()})
TAG = Element(
    "tag",
    attributes=("id",),
    children={"taggable_object": nested(Element("taggable_object", attributes=("id", "type")))},
)
ATTACHMENT = Element("attachment")
