"""The endpoints of Mobile Commons: every readable one, and the table it fills.

Vendor page: "Mobile Commons REST API", the section named beside each endpoint. Columns that its
printed samples lack are those that clients of the API have met.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from textlift.codec.xml_tree import XmlDialect
from textlift.declare import ChildList, ColumnType, Endpoint, Paging, Parent, WindowParams

BIGINT = ColumnType.BIGINT
BOOLEAN = ColumnType.BOOLEAN
DECIMAL = ColumnType.DECIMAL
DOUBLE = ColumnType.DOUBLE
TEXT = ColumnType.TEXT
TIMESTAMP = ColumnType.TIMESTAMP

#: Calls can come without the envelope.
DIALECT = XmlDialect(envelope="response", count="num", page_count="page_count")

INVALID_CAMPAIGN = 1
INVALID_GROUP = 6
INVALID_MDATA = 9
INVALID_FUNDRAISING = 12
INVALID_MCONNECT = 15
INVALID_URL = 20

_ADDRESS = {
    "street1": TEXT,
    "street2": TEXT,
    "city": TEXT,
    "state": TEXT,
    "postal_code": TEXT,
    "country": TEXT,
}
_LOCATION = {
    "latitude": DOUBLE,
    "longitude": DOUBLE,
    "precision": TEXT,
    "city": TEXT,
    "state": TEXT,
    "postal_code": TEXT,
    "country": TEXT,
}
_DISTRICTS = (
    "congressional_district",
    "state_upper_district",
    "state_lower_district",
    "split_district",
)
_PROFILE = {
    "first_name": TEXT,
    "last_name": TEXT,
    "phone_number": TEXT,
    "email": TEXT,
    "status": TEXT,
    "created_at": TIMESTAMP,
    "updated_at": TIMESTAMP,
    "opted_out_at": TIMESTAMP,
    "opted_out_source": TEXT,
    "source__type": TEXT,
    "source__name": TEXT,
    "source__email": TEXT,
    "source__id": BIGINT,
    "source__opt_in_path_id": BIGINT,
    "source__message_id": BIGINT,
    **{f"address__{name}": text for name, text in _ADDRESS.items()},
    # Profiles of before 2019 have the shorter names.
    **{
        f"{prefix}location__{name}": kind
        for prefix in ("last_saved_", "")
        for name, kind in _LOCATION.items()
    },
    **{f"{prefix}districts__{name}": TEXT for prefix in ("last_saved_", "") for name in _DISTRICTS},
}
_CLICK = {
    "id": BIGINT,
    "created_at": TIMESTAMP,
    "url": TEXT,
    "clicked_url": TEXT,
    "remote_addr": TEXT,
    "http_referer": TEXT,
    "user_agent": TEXT,
}
_SUBSCRIPTIONS = ChildList(
    item="subscription",
    columns={
        "campaign_id": BIGINT,
        "campaign_name": TEXT,
        "campaign_description": TEXT,
        "opt_in_path_id": BIGINT,
        "status": TEXT,
        "opt_in_source": TEXT,
        "created_at": TIMESTAMP,
        "activated_at": TIMESTAMP,
        "opted_out_at": TIMESTAMP,
        "opt_out_source": TEXT,
    },
)
# The values are printed between blanks and line breaks, and an empty one without times.
_CUSTOM_COLUMNS = ChildList(
    item="custom_column",
    columns={"name": TEXT, "value": TEXT, "created_at": TIMESTAMP, "updated_at": TIMESTAMP},
    text="value",
    padded=True,
)
_INTEGRATIONS = ChildList(
    item="integration",
    columns={"type": TEXT, "constituent_id": TEXT, "synchronized_at": TIMESTAMP},
)
_TAGS = ChildList(item="tag", columns={"tag": TEXT}, text="tag")
_GROUPS = ChildList(
    item="group",
    columns={"group_id": BIGINT, "name": TEXT, "type": TEXT},
    aliases={"id": "group_id"},
)
_MESSAGE = {
    "phone_number": TEXT,
    "profile_id": BIGINT,
    "body": TEXT,
    "message_template_id": BIGINT,
    "mms": BOOLEAN,
    "multipart": BOOLEAN,
    "previous_id": BIGINT,
    "next_id": BIGINT,
    "campaign_id": BIGINT,
    "campaign__name": TEXT,
    "campaign__active": BOOLEAN,
}
_MESSAGE_ALIASES = {
    "profile": "profile_id",
    "profile__id": "profile_id",
    "campaign__id": "campaign_id",
    "previous_id__id": "previous_id",
    "next_id__id": "next_id",
}

ENDPOINTS = (
    # List All Profiles. A change of name, e-mail, address, custom columns or subscription status
    # moves updated_at, and the window finds it. A click, an integration, a saved location or a status
    # that a carrier sets need not, and who is merged away or deleted is in no window: all profiles
    # are read at an interval. The lists of a profile come with it and are replaced as sets.
    Endpoint(
        name="profiles",
        path="profiles",
        rows="profiles/profile",
        columns={"id": BIGINT, **_PROFILE, "removed_at": TIMESTAMP},
        lists={
            "subscriptions": _SUBSCRIPTIONS,
            "custom_columns": _CUSTOM_COLUMNS,
            "clicks": ChildList(item="click", columns=_CLICK),
            "integrations": _INTEGRATIONS,
        },
        paging=Paging.OPEN,
        page_limit=1000,
        window=WindowParams("from", "to", cursor="updated_at", lookback=timedelta(hours=1)),
        full_read_every=timedelta(days=7),
        removed_column="removed_at",
    ),
    # List Incoming Messages. Received once and not changed afterwards; the lookback is for those
    # that reach the list late. The whole profile is not asked for: profiles has it.
    Endpoint(
        name="incoming_messages",
        path="messages",
        rows="messages/message",
        columns={
            "id": BIGINT,
            "type": TEXT,
            "approved": BOOLEAN,
            "carrier_name": TEXT,
            **_MESSAGE,
            "keyword_id": BIGINT,
            "keyword__name": TEXT,
            "keyword__opt_in_path_id": BIGINT,
            "received_at": TIMESTAMP,
        },
        aliases={**_MESSAGE_ALIASES, "keyword__id": "keyword_id"},
        skip=frozenset({"profile"}),
        params={"include_profile": "false"},
        paging=Paging.COUNTED,
        page_limit=1000,
        window=WindowParams(
            "start_time", "end_time", cursor="received_at", lookback=timedelta(hours=1)
        ),
    ),
    # List Outgoing Messages. The status moves for days after sent_at.
    Endpoint(
        name="outgoing_messages",
        path="sent_messages",
        rows="messages/message",
        columns={
            "id": BIGINT,
            "type": TEXT,
            "status": TEXT,
            **_MESSAGE,
            "broadcast_id": BIGINT,
            "sent_at": TIMESTAMP,
        },
        aliases={**_MESSAGE_ALIASES, "broadcast__id": "broadcast_id"},
        skip=frozenset({"profile"}),
        params={"include_profile": "false"},
        paging=Paging.COUNTED,
        page_limit=1000,
        window=WindowParams("start_time", "end_time", cursor="sent_at", lookback=timedelta(days=3)),
    ),
    # List Broadcasts. Counts rise for weeks after the delivery; scheduled ones lie in the future,
    # and drafts may have no time at all, so they are asked for beside the window.
    Endpoint(
        name="broadcasts",
        path="broadcasts",
        rows="broadcasts/broadcast",
        columns={
            "id": BIGINT,
            "name": TEXT,
            "body": TEXT,
            "status": TEXT,
            "campaign_id": BIGINT,
            "campaign__name": TEXT,
            "campaign__active": BOOLEAN,
            "delivery_time": TIMESTAMP,
            "include_subscribers": BOOLEAN,
            "throttled": BOOLEAN,
            "localtime": BOOLEAN,
            "automated": BOOLEAN,
            "estimated_recipients_count": BIGINT,
            "replies_count": BIGINT,
            "opt_outs_count": BIGINT,
        },
        aliases={"campaign__id": "campaign_id"},
        lists={"included_groups": _GROUPS, "excluded_groups": _GROUPS, "tags": _TAGS},
        paging=Paging.COUNTED,
        page_limit=1000,
        window=WindowParams(
            "start_time",
            "end_time",
            cursor="delivery_time",
            lookback=timedelta(days=30),
            ahead=timedelta(days=5 * 365),
            undated={"status": "draft"},
        ),
    ),
    # List Calls, for each mConnect. A call is listed by its end; recordings and transcriptions
    # follow later.
    Endpoint(
        name="calls",
        path="calls",
        rows="calls/call",
        columns={
            "id": BIGINT,
            "mconnect_id": BIGINT,
            "profile_id": BIGINT,
            "start_time": TIMESTAMP,
            "end_time": TIMESTAMP,
            "duration": BIGINT,
            "call_status": TEXT,
            "connection_source": TEXT,
            "email": TEXT,
            "profile_status": TEXT,
            "profile_status_at_call_time": TEXT,
            "handset_number": TEXT,
            "carrier_name": TEXT,
            "voip_number": TEXT,
            "destination_number": TEXT,
            "transcription": TEXT,
            "voicemail_duration": BIGINT,
            "voicemail": TEXT,
            "legislator__first_name": TEXT,
            "legislator__last_name": TEXT,
            "legislator__party": TEXT,
            "legislator__district": TEXT,
            "legislator__state": TEXT,
        },
        aliases={
            "mconnect__id": "mconnect_id",
            "profile": "profile_id",
            "profile__id": "profile_id",
        },
        params={"include_profile": "true", "include_profile_id_only": "true"},
        paging=Paging.OPEN,
        page_limit=1000,
        window=WindowParams("from", "to", cursor="end_time", lookback=timedelta(days=1)),
        parent=Parent("mconnects", param="mconnect_id", column="mconnect_id"),
        not_found_codes=frozenset({INVALID_MCONNECT}),
    ),
    # List Web Clicks, for each tiny URL. The page prints no limit, so only an empty page is the
    # end; a click stays where it is, so the full page before it is not read again.
    Endpoint(
        name="clicks",
        path="clicks",
        rows="clicks/click",
        columns={"tinyurl_id": BIGINT, "profile_id": BIGINT, **_CLICK},
        aliases={"profile": "profile_id", "profile__id": "profile_id"},
        paging=Paging.OPEN,
        settled=True,
        window=WindowParams("from", "to", cursor="created_at", lookback=timedelta(hours=1)),
        parent=Parent("tinyurls", param="url_id", column="tinyurl_id"),
        not_found_codes=frozenset({INVALID_URL}),
    ),
    # List mData Queries, for each mData. Rows have no id: what was asked, when and by whom never
    # changes; the profile beside it does.
    Endpoint(
        name="mdata_queries",
        path="mdata_queries",
        rows="mdata/queries/query",
        columns={
            "mdata_id": BIGINT,
            "created_at": TIMESTAMP,
            "keyword": TEXT,
            "input": TEXT,
            "output": TEXT,
            "result": TEXT,
            "error_log_body": TEXT,
            "query_location__street1": TEXT,
            "query_location__street2": TEXT,
            "query_location__city": TEXT,
            "query_location__state": TEXT,
            "query_location__postal_code": TEXT,
            "query_location__country": TEXT,
            "query_location__latitude": DOUBLE,
            "query_location__longitude": DOUBLE,
            "profile__status": TEXT,
            "profile__email": TEXT,
            "profile__first_name": TEXT,
            "profile__last_name": TEXT,
            "profile__source_type": TEXT,
            "profile__source_name": TEXT,
            "profile__phone__phone_number": TEXT,
            "profile__phone__carrier_name": TEXT,
            **{f"profile__address__{name}": text for name, text in _ADDRESS.items()},
            "profile__address__latitude": DOUBLE,
            "profile__address__longitude": DOUBLE,
            "profile__address__geocoded_city": TEXT,
            "profile__address__geocoded_state": TEXT,
            "profile__address__geocoded_postal_code": TEXT,
            "profile__address__geocoded_country": TEXT,
        },
        key=("query_key",),
        identity=("mdata_id", "created_at", "keyword", "input", "profile__phone__phone_number"),
        lists={"profile__custom_columns": replace(_CUSTOM_COLUMNS, table="custom_columns")},
        paging=Paging.COUNTED,
        page_limit=100,
        window=WindowParams("from", "to", cursor="created_at", lookback=timedelta(hours=1)),
        parent=Parent("mdatas", param="mdata_id", column="mdata_id"),
        not_found_codes=frozenset({INVALID_MDATA}),
    ),
    # List Campaigns.
    Endpoint(
        name="campaigns",
        path="campaigns",
        rows="campaigns/campaign",
        columns={"id": BIGINT, "name": TEXT, "active": BOOLEAN, "description": TEXT},
        lists={
            "opt_in_paths": ChildList(
                item="opt_in_path",
                columns={"id": BIGINT, "name": TEXT, "active": BOOLEAN},
                lists={"tags": _TAGS},
                id_column="opt_in_path_id",
            ),
            "tags": _TAGS,
        },
        params={"include_opt_in_paths": "1"},
    ),
    # List Campaign Subscribers, for each campaign. An opt-out does not move activated_at, so it
    # does not come back into a window: all subscribers of a campaign are read at an interval.
    Endpoint(
        name="campaign_subscribers",
        path="campaign_subscribers",
        rows="subscriptions/sub",
        columns={
            "campaign_id": BIGINT,
            "id": BIGINT,
            "profile_id": BIGINT,
            "phone_number": TEXT,
            "activated_at": TIMESTAMP,
            "opted_out_at": TIMESTAMP,
        },
        key=("campaign_id", "id"),
        paging=Paging.OPEN,
        page_limit=1000,
        window=WindowParams("from", "to", cursor="activated_at", lookback=timedelta(days=1)),
        parent=Parent("campaigns", param="campaign_id", column="campaign_id"),
        not_found_codes=frozenset({INVALID_CAMPAIGN}),
        full_read_every=timedelta(days=7),
    ),
    # List Group Members, for each group. Who left is in no window, so every group is read whole.
    # A member is a whole profile; its lists are in the tables of profiles.
    Endpoint(
        name="group_members",
        path="group_members",
        rows="group/profile",
        columns={"group_id": BIGINT, "profile_id": BIGINT, **_PROFILE},
        key=("group_id", "profile_id"),
        aliases={"id": "profile_id"},
        skip=frozenset({"subscriptions", "custom_columns", "clicks", "integrations"}),
        paging=Paging.OPEN,
        page_limit=1000,
        parent=Parent("groups", param="group_id", column="group_id"),
        not_found_codes=frozenset({INVALID_GROUP}),
    ),
    # List Groups.
    Endpoint(
        name="groups",
        path="groups",
        rows="groups/group",
        columns={
            "id": BIGINT,
            "name": TEXT,
            "type": TEXT,
            "status": TEXT,
            "size": BIGINT,
            "hint": TEXT,
        },
        paging=Paging.OPEN,
        page_limit=1000,
    ),
    # List Keywords.
    Endpoint(
        name="keywords",
        path="keywords",
        rows="keywords/keyword",
        columns={
            "id": BIGINT,
            "name": TEXT,
            "active": BOOLEAN,
            "opt_in_path_id": BIGINT,
            "ended_at": TIMESTAMP,
            "created_at": TIMESTAMP,
            "updated_at": TIMESTAMP,
        },
        aliases={"opt_in_path__id": "opt_in_path_id"},
    ),
    # List mConnects.
    Endpoint(
        name="mconnects",
        path="mconnects",
        rows="mconnects/mconnect",
        columns={
            "id": BIGINT,
            "name": TEXT,
            "active": BOOLEAN,
            "destination_number": TEXT,
            "destination_description": TEXT,
            "voip_number": TEXT,
            "call_type": TEXT,
            "autoroute": BOOLEAN,
            "subscriber_follow_up": TEXT,
            "nonsubscriber_follow_up": TEXT,
            "call_timeout": BIGINT,
            "failover_number": TEXT,
            "failover_text": TEXT,
            "voicemail": BOOLEAN,
            "transcribe": BOOLEAN,
            "shortcode": TEXT,
            "crm_alert_id": BIGINT,
        },
        lists={"tags": _TAGS},
    ),
    # List Tinyurls.
    Endpoint(
        name="tinyurls",
        path="tinyurls",
        rows="tinyurls/tinyurl",
        columns={
            "id": BIGINT,
            "created_at": TIMESTAMP,
            "name": TEXT,
            "mode": TEXT,
            "url": TEXT,
            "host": TEXT,
            "description": TEXT,
            "key": TEXT,
        },
    ),
    # List mData.
    Endpoint(
        name="mdatas",
        path="mdatas",
        rows="mdatas/mdata",
        columns={"id": BIGINT, "name": TEXT, "type": TEXT, "uuid": TEXT},
    ),
    # List Tags. A tag that is listed for several objects stays so.
    Endpoint(
        name="tags",
        path="tags",
        rows="tags/tag",
        columns={
            "id": BIGINT,
            "name": TEXT,
            "taggable_object__id": BIGINT,
            "taggable_object__type": TEXT,
        },
        repeats=True,
    ),
    # Attachments.
    Endpoint(
        name="attachments",
        path="attachments",
        rows="attachments/attachment",
        columns={"id": BIGINT, "name": TEXT, "thumbnail_link": TEXT},
    ),
    # Count the number of mConnect Calls.
    Endpoint(
        name="call_counts",
        path="call_count",
        rows=".",
        columns={"mconnect_id": BIGINT, "call_count": BIGINT},
        key=("mconnect_id",),
        content=("call_count",),
        skip=frozenset({"success"}),
        parent=Parent("mconnects", param="mconnect_id", column="mconnect_id"),
        not_found_codes=frozenset({INVALID_MCONNECT}),
    ),
    # Donation Summary, for each configured fundraising campaign.
    Endpoint(
        name="donation_summaries",
        path="donation_summary",
        rows="donation_summary",
        columns={
            "fundraising_id": BIGINT,
            "name": TEXT,
            "start_time": TIMESTAMP,
            "end_time": TIMESTAMP,
            "accepted__count": BIGINT,
            "accepted__amount": DECIMAL,
            "pending__count": BIGINT,
            "pending__amount": DECIMAL,
        },
        key=("fundraising_id",),
        content=("accepted", "pending"),
        configured=("fundraising_id",),
        setting="fundraising_ids",
        not_found_codes=frozenset({INVALID_FUNDRAISING}),
    ),
    # mData Entries, for each configured pair of an mData and an input.
    Endpoint(
        name="mdata_entries",
        path="mdata_entries",
        rows="mdata/entries/entry",
        columns={
            "id": BIGINT,
            "mdata_id": BIGINT,
            "created_at": TIMESTAMP,
            "input": TEXT,
            "output": TEXT,
        },
        key=(),
        configured=("mdata_id", "input"),
        setting="mdata_entries",
        not_found_codes=frozenset({INVALID_MDATA}),
    ),
)
