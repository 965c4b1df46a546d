"""The tables of Mobile Commons, and how the service prints a row of each.

This follows the samples of the vendor's "Mobile Commons REST API" page. Where a sample is lost in
print, ids are attributes of campaigns, opt-in paths, groups, mConnects and tags, and elements of
tiny URLs, attachments and mDatas.
"""

from __future__ import annotations

from typing import Any

from textlift.sandbox.tables import Row, Table
from textlift.sandbox.xml import (
    MARK,
    Element,
    Writer,
    content,
    hidden,
    items,
    leaf,
    optional,
    reference,
)


def _blank(keys: str, **values: Any) -> Row:
    """Keys in their order, each None or with a value; further values behind them."""
    return {**dict.fromkeys(keys.split()), **values}


_ADDRESS = _blank("street1 street2 city state postal_code country")
_PLACE = {**_ADDRESS, **_blank("latitude longitude")}
_GEOCODED = _blank("geocoded_city geocoded_state geocoded_postal_code geocoded_country")


def tables(order: str) -> dict[str, Table]:
    """The empty tables by name. `order` is that of profiles: `id`, or a key of theirs."""
    yes, no = True, False
    profile = _blank(
        "id first_name last_name phone_number email status created_at updated_at opted_out_at"
        " opted_out_source",
        status="Profiles with no Subscriptions",
        source=_blank("type name"),
        address=_ADDRESS,
        last_saved_location=_blank("latitude longitude precision city state postal_code country"),
        **{name: [] for name in ("custom_columns", "subscriptions", "integrations", "clicks")},
    )
    incoming = _blank(
        "id type approved phone_number carrier_name profile_id body message_template_id mms"
        " multipart keyword received_at previous_id next_id campaign",
        type="unknown",
        approved=no,
        mms=no,
        multipart=no,
    )
    outgoing = _blank(
        "id type status phone_number profile_id body sent_at message_template_id broadcast_id mms"
        " multipart campaign previous_id next_id",
        type="regular_text",
        status="sent",
        mms=no,
        multipart=no,
    )
    broadcast = _blank(
        "id status name body campaign delivery_time",
        status="generated",
        include_subscribers=yes,
        **dict.fromkeys(("throttled", "localtime", "automated"), no),
        **dict.fromkeys(("estimated_recipients_count", "replies_count", "opt_outs_count"), 0),
        **{name: [] for name in ("included_groups", "excluded_groups", "tags")},
    )
    call = _blank(
        "id start_time end_time duration call_status connection_source email profile_status"
        " profile_status_at_call_time handset_number carrier_name voip_number destination_number"
        " transcription voicemail_duration voicemail mconnect_id profile legislator",
        duration=0,
    )
    click = _blank(
        "id created_at url clicked_url remote_addr http_referer user_agent profile_id tinyurl_id"
    )
    query = _blank(
        "id mdata_id created_at keyword input output result error_log_body",
        query_location=_PLACE,
        profile=_blank(
            "status email first_name last_name source_type source_name",
            phone=_blank("phone_number carrier_name"),
            address={**_PLACE, **_GEOCODED},
            custom_columns=[],
        ),
    )
    subscriber = _blank(
        "id profile_id phone_number activated_at opted_out_at campaign_id opt_in_path_id"
    )
    mconnect = _blank(
        "id active name destination_number destination_description voip_number call_type autoroute"
        " subscriber_follow_up nonsubscriber_follow_up call_timeout failover_number failover_text"
        " voicemail transcribe shortcode crm_alert_id",
        active=yes,
        autoroute=no,
        voicemail=no,
        transcribe=no,
        tags=[],
    )
    campaign = _blank("id active name description", active=yes, tags=[], opt_in_paths=[])
    group = _blank("name id type status size", type="UploadedGroup", status="active", size=0)
    keyword = _blank("id active name opt_in_path_id ended_at created_at updated_at", active=yes)
    by_campaign = "campaign__id"
    return {
        "profiles": Table(
            profile,
            cursor="updated_at",
            order="" if order == "id" else order,
            updated="updated_at",
        ),
        "incoming_messages": Table(incoming, cursor="received_at", parent=by_campaign),
        "outgoing_messages": Table(outgoing, cursor="sent_at", parent=by_campaign),
        "broadcasts": Table(broadcast, cursor="delivery_time", parent=by_campaign),
        "calls": Table(call, cursor="end_time", parent="mconnect_id"),
        "clicks": Table(click, cursor="created_at", parent="tinyurl_id"),
        "mdata_queries": Table(query, cursor="created_at", parent="mdata_id"),
        "subscribers": Table(subscriber, cursor="activated_at", parent="campaign_id"),
        "campaigns": Table(campaign),
        "groups": Table(group),
        "keywords": Table(keyword),
        "mconnects": Table(mconnect),
        "tinyurls": Table(_blank("id created_at name mode url host description key")),
        "mdatas": Table(_blank("id name type uuid", type="database", entries=[])),
        "tags": Table(_blank("id name taggable_object")),
        "attachments": Table(_blank("id name thumbnail_link")),
        "donations": Table(
            _blank("id fundraising_id created_at amount"),
            cursor="created_at",
            parent="fundraising_id",
        ),
    }


def _custom_columns(value: Writer) -> Writer:
    column = Element("custom_column", "name created_at updated_at", content={"value": value})
    return items("custom_columns", column)


_TAGS = items("tags", leaf("tag"))
_CAMPAIGN = Element("campaign", "id active")
_GROUP = Element("group", "name id type", closes=True)
CLICK = Element("click", "id", children={"tinyurl_id": hidden})
_SUBSCRIPTION = Element(
    "subscription",
    "campaign_id campaign_name campaign_description opt_in_path_id status opt_in_source created_at"
    " activated_at opted_out_at opt_out_source",
)

PROFILE = Element(
    "profile",
    "id",
    zero_times=("opted_out_at",),
    children={
        "source": Element("source", "type name email id opt_in_path_id message_id"),
        **{
            name: Element(name, closes=True)
            for name in ("location", "districts", "last_saved_location", "last_saved_districts")
        },
        "custom_columns": _custom_columns(content("\n", MARK, "")),
        "subscriptions": optional(items("subscriptions", _SUBSCRIPTION)),
        "integrations": items(
            "integrations", Element("integration", "constituent_id type synchronized_at")
        ),
        "clicks": items("clicks", CLICK),
    },
)

_MESSAGE: dict[str, Writer] = {
    "profile_id": leaf("profile"),
    "previous_id": reference("previous_id"),
    "next_id": reference("next_id"),
    "campaign": _CAMPAIGN,
    "profile": PROFILE,
}
INCOMING_MESSAGE = Element(
    "message", "id type approved", children={**_MESSAGE, "keyword": Element("keyword", "id")}
)
OUTGOING_MESSAGE = Element(
    "message",
    "id type status",
    children={**_MESSAGE, "broadcast_id": optional(leaf("broadcast_id"))},
)
BROADCAST = Element(
    "broadcast",
    "id status",
    children={
        "campaign": _CAMPAIGN,
        "included_groups": items("included_groups", _GROUP),
        "excluded_groups": items("excluded_groups", _GROUP),
        "tags": _TAGS,
    },
)
CALL = Element("call", "id", children={"mconnect_id": reference("mconnect"), "profile": PROFILE})
MDATA_QUERY = Element(
    "query",
    children={
        # The service prints no id. Here a row has one, so that tests can name it.
        "id": hidden,
        "mdata_id": hidden,
        # Only this endpoint prints blanks around the values, and one for no value.
        "profile": Element(
            "profile", children={"custom_columns": _custom_columns(content(" ", " ", " "))}
        ),
    },
)
MDATA_ENTRY = Element("entry")
SUBSCRIBER = Element(
    "sub",
    children={"campaign_id": hidden, "opt_in_path_id": hidden},
    zero_times=("activated_at", "opted_out_at"),
)
CAMPAIGN = Element(
    "campaign",
    "id active",
    children={
        "tags": _TAGS,
        "opt_in_paths": items(
            "opt_in_paths", Element("opt_in_path", "id active", children={"tags": _TAGS})
        ),
    },
)
GROUP = Element("group", "id type status")
KEYWORD = Element("keyword", "id active")
MCONNECT = Element("mconnect", "id active", children={"tags": _TAGS})
TINYURL = Element("tinyurl")
MDATA = Element("mdata", children={"entries": hidden})
TAG = Element("tag", "id", children={"taggable_object": Element("taggable_object", "id type")})
ATTACHMENT = Element("attachment")
