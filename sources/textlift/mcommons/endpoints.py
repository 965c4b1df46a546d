"""The endpoints of Mobile Commons, and the tables that they load.

Source: the vendor's page "Mobile Commons REST API". The comment above each endpoint begins with the
title of its section there. Columns that the page does not mention were seen in responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from textlift.codec.dialects import XmlDialect
from textlift.declare import (
    ChildList,
    Column,
    Columns,
    ColumnType,
    Endpoint,
    Incremental,
    Paging,
    Parent,
    Personal,
    TimeRange,
)

BIGINT = ColumnType.BIGINT
BOOLEAN = ColumnType.BOOLEAN
DECIMAL = ColumnType.DECIMAL
DOUBLE = ColumnType.DOUBLE
TEXT = ColumnType.TEXT
TIMESTAMP = ColumnType.TIMESTAMP

NAME = Personal.NAME
PHONE = Personal.PHONE
EMAIL = Personal.EMAIL
ADDRESS = Personal.ADDRESS
LOCATION = Personal.LOCATION
NETWORK_ADDRESS = Personal.NETWORK_ADDRESS
FREE_TEXT = Personal.FREE_TEXT
IDENTIFIER = Personal.IDENTIFIER

#: Responses of the calls endpoint can lack the envelope.
DIALECT = XmlDialect(envelope="response", count="num", page_count="page_count")

INVALID_CAMPAIGN = 1
INVALID_GROUP = 6
INVALID_MDATA = 9
INVALID_FUNDRAISING = 12
INVALID_MCONNECT = 15
INVALID_URL = 20


def _below(prefix: str, columns: Columns) -> dict[str, Column]:
    """Return the columns of a nested object, with the prefix of its path."""
    return {f"{prefix}__{name}": column for name, column in columns.items()}


def _with_note(note: str, columns: Columns) -> Mapping[str, Column]:
    """Return the columns with a note after each meaning."""
    return {
        name: replace(column, meaning=f"{column.meaning}; {note}")
        for name, column in columns.items()
    }


_ADDRESS = {
    "street1": Column(TEXT, "Street and number of the person", ADDRESS),
    "street2": Column(TEXT, "Second line of the street", ADDRESS),
    "city": Column(TEXT, "City of the person", ADDRESS),
    "state": Column(TEXT, "State of the person, abbreviated", ADDRESS),
    "postal_code": Column(TEXT, "Postal code of the person", ADDRESS),
    "country": Column(TEXT, "Country of the person, two letters", ADDRESS),
}
_LOCATION = {
    "latitude": Column(DOUBLE, "Latitude of the last saved location, in degrees", LOCATION),
    "longitude": Column(DOUBLE, "Longitude of the last saved location, in degrees", LOCATION),
    "precision": Column(TEXT, "How exact the location is, for example rooftop, place or state"),
    "city": Column(TEXT, "City of the last saved location", LOCATION),
    "state": Column(TEXT, "State of the last saved location, abbreviated", LOCATION),
    "postal_code": Column(TEXT, "Postal code of the last saved location", LOCATION),
    "country": Column(TEXT, "Country of the last saved location, two letters", LOCATION),
}
_DISTRICTS = {
    "congressional_district": Column(
        TEXT, "District of the location in Congress, for example DC-1", LOCATION
    ),
    "state_upper_district": Column(
        TEXT, "District of the location in the state's upper house", LOCATION
    ),
    "state_lower_district": Column(
        TEXT, "District of the location in the state's lower house", LOCATION
    ),
    "split_district": Column(TEXT, "Yes or No: whether the location is in a split district"),
}
_BEFORE_2019 = "filled for some profiles from before 2019"
_PROFILE = {
    "first_name": Column(TEXT, "First name", NAME),
    "last_name": Column(TEXT, "Last name", NAME),
    "phone_number": Column(TEXT, "Phone number with country code, digits only", PHONE),
    "email": Column(TEXT, "E-mail address", EMAIL),
    "status": Column(
        TEXT,
        "Status over all campaigns, for example Active Subscriber, Undeliverable or Profiles with "
        "no Subscriptions",
    ),
    "created_at": Column(TIMESTAMP, "When the profile was created, UTC"),
    "updated_at": Column(
        TIMESTAMP,
        "When the name, e-mail, address, custom columns or a subscription last changed, UTC; a "
        "click, an integration or a saved location does not have to move it",
    ),
    "opted_out_at": Column(TIMESTAMP, "When the person opted out, UTC"),
    "opted_out_source": Column(
        TEXT, "How the person opted out, for example Texted a STOP word or Opt-out from API"
    ),
    "source__type": Column(
        TEXT, "What created the profile, for example Keyword, API, mConnect or Uploaded Group"
    ),
    "source__name": Column(
        TEXT, "Name of the keyword, mConnect, group or user that created the profile", NAME
    ),
    "source__email": Column(TEXT, "E-mail address of the user who created the profile", EMAIL),
    "source__id": Column(BIGINT, "Id of the keyword, mConnect or group that created the profile"),
    "source__opt_in_path_id": Column(
        BIGINT, "Opt-in path that the person came through: campaigns__opt_in_paths.id"
    ),
    "source__message_id": Column(BIGINT, "Id of the message that the person came with"),
    **_below("address", _ADDRESS),
    **_below("last_saved_location", _LOCATION),
    **_below("location", _with_note(_BEFORE_2019, _LOCATION)),
    **_below("last_saved_districts", _DISTRICTS),
    **_below("districts", _with_note(_BEFORE_2019, _DISTRICTS)),
}
_CLICK = {
    "id": Column(BIGINT, "Id of the click at Mobile Commons"),
    "created_at": Column(TIMESTAMP, "When the link was clicked, UTC"),
    "url": Column(TEXT, "Page that the link leads to"),
    "clicked_url": Column(TEXT, "Short link that was clicked"),
    "remote_addr": Column(TEXT, "IP address that the click came from", NETWORK_ADDRESS),
    "http_referer": Column(TEXT, "Where the browser came from, as it says itself", NETWORK_ADDRESS),
    "user_agent": Column(TEXT, "Browser and device, as they name themselves", IDENTIFIER),
}
_SUBSCRIPTIONS = ChildList(
    item="subscription",
    meaning=(
        "One subscription of a profile to a campaign. An opt-out of today is here after the next "
        "run; campaign_subscribers shows it only after the next complete read of its campaign."
    ),
    columns={
        "campaign_id": Column(BIGINT, "Campaign: campaigns.id"),
        "campaign_name": Column(TEXT, "Name of the campaign"),
        "campaign_description": Column(TEXT, "Description of the campaign"),
        "opt_in_path_id": Column(
            BIGINT, "Opt-in path that the person came through: campaigns__opt_in_paths.id"
        ),
        "status": Column(TEXT, "Status of the subscription, for example Active or Opted-Out"),
        "opt_in_source": Column(
            TEXT, "What opted the person in: a keyword, a user of the account or another", NAME
        ),
        "created_at": Column(TIMESTAMP, "When the subscription was created, UTC"),
        "activated_at": Column(TIMESTAMP, "When the subscription became active, UTC"),
        "opted_out_at": Column(TIMESTAMP, "When the person opted out of the campaign, UTC"),
        "opt_out_source": Column(TEXT, "How the person opted out, for example Opt-out from API"),
    },
)
# The service prints blanks and line breaks around a value, and no times for an empty value.
_CUSTOM_COLUMNS = ChildList(
    item="custom_column",
    meaning=(
        "The value of one custom column of a profile. The account defines the columns; a column "
        "without a value has a row with NULL."
    ),
    columns={
        "name": Column(TEXT, "Name of the custom column"),
        "value": Column(TEXT, "Its value for this profile", FREE_TEXT),
        "created_at": Column(TIMESTAMP, "When the value was created, UTC"),
        "updated_at": Column(TIMESTAMP, "When the value last changed, UTC"),
    },
    key=("name",),
    text="value",
    padded=True,
)
_INTEGRATIONS = ChildList(
    item="integration",
    meaning="One record of a profile in another system that the account is connected to.",
    columns={
        "type": Column(TEXT, "The other system, for example Salesforce"),
        "constituent_id": Column(TEXT, "Id of the person in the other system", IDENTIFIER),
        "synchronized_at": Column(TIMESTAMP, "When the two were last synchronized, UTC"),
    },
)
_CLICKS = ChildList(
    item="click",
    meaning=(
        "One click of a profile, as its profile lists it. The table clicks has the clicks of each "
        "tiny URL, also those without a profile; the same click can be in both."
    ),
    columns=_CLICK,
    key=("id",),
)


def _tags(of: str) -> ChildList:
    return ChildList(
        item="tag",
        meaning=f"One tag of {of}.",
        columns={"tag": Column(TEXT, "The tag; some accounts use e-mail addresses", FREE_TEXT)},
        key=("tag",),
        text="tag",
    )


def _groups(meaning: str) -> ChildList:
    return ChildList(
        item="group",
        meaning=meaning,
        columns={
            "group_id": Column(BIGINT, "Group: groups.id"),
            "name": Column(TEXT, "Name of the group"),
            "type": Column(TEXT, "Kind of group: UploadedGroup or FilteredGroup"),
        },
        key=("group_id",),
        aliases={"id": "group_id"},
    )


_CAMPAIGN_OF_ROW = {
    "campaign_id": Column(BIGINT, "Campaign: campaigns.id"),
    "campaign__name": Column(TEXT, "Name of the campaign"),
    "campaign__active": Column(BOOLEAN, "Whether the campaign was active when this was loaded"),
}
_MESSAGE = {
    "phone_number": Column(TEXT, "Phone number of the person with country code", PHONE),
    "profile_id": Column(BIGINT, "Profile of the person: profiles.id", IDENTIFIER),
    "body": Column(TEXT, "Text of the message, verbatim", FREE_TEXT),
    "message_template_id": Column(BIGINT, "Id of the message template, which no table lists"),
    "mms": Column(BOOLEAN, "Whether the message is an MMS"),
    "multipart": Column(BOOLEAN, "Whether the message has several parts"),
    "previous_id": Column(BIGINT, "Id of the message before it in the conversation"),
    "next_id": Column(BIGINT, "Id of the message after it in the conversation"),
    **_CAMPAIGN_OF_ROW,
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
    # moves updated_at, so a window finds it. Other changes may not move it, and a merged or deleted
    # profile is in no window. So all profiles are read again at an interval.
    Endpoint(
        name="profiles",
        entity="profile",
        meaning=(
            "One person with a phone number that the account knows. A profile that is gone at the "
            "service keeps its row and gets removed_at."
        ),
        path="profiles",
        rows="profiles/profile",
        columns={
            "id": Column(BIGINT, "Id of the profile at Mobile Commons", IDENTIFIER),
            **_PROFILE,
            "removed_at": Column(
                TIMESTAMP,
                "When a complete read no longer returned the profile, UTC; NULL while it is listed",
            ),
        },
        lists={
            "subscriptions": _SUBSCRIPTIONS,
            "custom_columns": _CUSTOM_COLUMNS,
            "clicks": _CLICKS,
            "integrations": _INTEGRATIONS,
        },
        paging=Paging.OPEN,
        page_limit=1000,
        incremental=Incremental("updated_at", lookback=timedelta(hours=1)),
        time_range=TimeRange("from", "to"),
        full_read_every=timedelta(days=7),
        removed_column="removed_at",
    ),
    # List Incoming Messages. A received message does not change. The lookback is for messages that
    # reach the list late. The nested profile is skipped, because profiles has it.
    Endpoint(
        name="incoming_messages",
        entity="incoming_message",
        meaning="One message that a person sent to the account.",
        path="messages",
        rows="messages/message",
        columns={
            "id": Column(BIGINT, "Id of the message at Mobile Commons"),
            "type": Column(
                TEXT, "What the service took the message for, for example opt_in, opt_out or reply"
            ),
            "approved": Column(BOOLEAN, "Printed by the service and not explained by the vendor"),
            "carrier_name": Column(TEXT, "Mobile carrier of the phone number"),
            **_MESSAGE,
            "keyword_id": Column(BIGINT, "Keyword that the person texted: keywords.id"),
            "keyword__name": Column(TEXT, "Name of the keyword"),
            "keyword__opt_in_path_id": Column(
                BIGINT, "Opt-in path of the keyword: campaigns__opt_in_paths.id"
            ),
            "received_at": Column(TIMESTAMP, "When the message was received, UTC"),
        },
        aliases={**_MESSAGE_ALIASES, "keyword__id": "keyword_id"},
        skip=frozenset({"profile"}),
        params={"include_profile": "false"},
        paging=Paging.COUNTED,
        page_limit=1000,
        incremental=Incremental("received_at", lookback=timedelta(hours=1)),
        time_range=TimeRange("start_time", "end_time"),
    ),
    # List Outgoing Messages. The status changes for days after sent_at.
    Endpoint(
        name="outgoing_messages",
        entity="outgoing_message",
        meaning="One message that the account sent to one person.",
        path="sent_messages",
        rows="messages/message",
        columns={
            "id": Column(BIGINT, "Id of the message at Mobile Commons"),
            "type": Column(
                TEXT, "What the message is for, for example regular_text or opt_in_request"
            ),
            "status": Column(
                TEXT,
                "Delivery status: initial, queued, sent (delivered to the phone), undeliverable or "
                "failed permanently; it can change for days",
            ),
            **_MESSAGE,
            "broadcast_id": Column(
                BIGINT, "Broadcast that the message belongs to, if any: broadcasts.id"
            ),
            "sent_at": Column(TIMESTAMP, "When the message was sent, UTC"),
        },
        aliases={**_MESSAGE_ALIASES, "broadcast__id": "broadcast_id"},
        skip=frozenset({"profile"}),
        params={"include_profile": "false"},
        paging=Paging.COUNTED,
        page_limit=1000,
        incremental=Incremental("sent_at", lookback=timedelta(days=3)),
        time_range=TimeRange("start_time", "end_time"),
    ),
    # List Broadcasts. Counts rise for weeks after the delivery. A scheduled broadcast has a time in
    # the future. A draft can have no time, so an additional request reads the drafts.
    Endpoint(
        name="broadcasts",
        entity="broadcast",
        meaning="One text that is or was to be sent to many people at once.",
        path="broadcasts",
        rows="broadcasts/broadcast",
        columns={
            "id": Column(BIGINT, "Id of the broadcast at Mobile Commons"),
            "name": Column(TEXT, "Name of the broadcast"),
            "body": Column(TEXT, "Text with its merge fields, for example {{first_name}}"),
            "status": Column(TEXT, "Status: draft, scheduled or generated"),
            **_CAMPAIGN_OF_ROW,
            "delivery_time": Column(
                TIMESTAMP, "When the broadcast is or was sent, UTC; NULL for some drafts"
            ),
            "include_subscribers": Column(
                BOOLEAN, "Whether the service marks it as including the campaign's subscribers"
            ),
            "throttled": Column(BOOLEAN, "Whether the service marks it as throttled"),
            "localtime": Column(BOOLEAN, "Whether the service marks it as sent by local time"),
            "automated": Column(BOOLEAN, "Whether the service marks it as automated"),
            "estimated_recipients_count": Column(BIGINT, "Number of recipients, estimated"),
            "replies_count": Column(BIGINT, "Number of replies; it rises after the delivery"),
            "opt_outs_count": Column(BIGINT, "Number of opt-outs; it rises after the delivery"),
        },
        aliases={"campaign__id": "campaign_id"},
        lists={
            "included_groups": _groups("One group that a broadcast is sent to."),
            "excluded_groups": _groups("One group that a broadcast is not sent to."),
            "tags": _tags("a broadcast"),
        },
        paging=Paging.COUNTED,
        page_limit=1000,
        incremental=Incremental(
            "delivery_time", lookback=timedelta(days=30), ahead=timedelta(days=5 * 365)
        ),
        time_range=TimeRange("start_time", "end_time", undated={"status": "draft"}),
    ),
    # List Calls, for each mConnect. The window selects by the end of a call. Recordings and
    # transcriptions arrive later.
    Endpoint(
        name="calls",
        entity="call",
        meaning="One phone call that an mConnect connected.",
        path="calls",
        rows="calls/call",
        columns={
            "id": Column(BIGINT, "Id of the call at Mobile Commons"),
            "mconnect_id": Column(BIGINT, "mConnect: mconnects.id"),
            "profile_id": Column(BIGINT, "Profile of the caller: profiles.id", IDENTIFIER),
            "start_time": Column(TIMESTAMP, "When the call began, UTC"),
            "end_time": Column(TIMESTAMP, "When the call ended, UTC"),
            "duration": Column(
                BIGINT, "Length of the call; in seconds, judging by the vendor's sample"
            ),
            "call_status": Column(TEXT, "How the call ended, for example no answer"),
            "connection_source": Column(TEXT, "Where the call came from, for example web"),
            "email": Column(TEXT, "E-mail address of the caller", EMAIL),
            "profile_status": Column(TEXT, "Status of the profile when this was loaded"),
            "profile_status_at_call_time": Column(TEXT, "Status of the profile during the call"),
            "handset_number": Column(TEXT, "Phone number of the caller", PHONE),
            "carrier_name": Column(TEXT, "Mobile carrier of the caller"),
            "voip_number": Column(TEXT, "Phone number of the mConnect"),
            "destination_number": Column(TEXT, "Phone number that was called", PHONE),
            "transcription": Column(TEXT, "Transcription, where there is one", FREE_TEXT),
            "voicemail_duration": Column(
                BIGINT, "Length of the voicemail; the vendor does not state the unit"
            ),
            "voicemail": Column(TEXT, "Voicemail, as the service prints it", FREE_TEXT),
            "legislator__first_name": Column(TEXT, "First name of the called legislator", NAME),
            "legislator__last_name": Column(TEXT, "Last name of the called legislator", NAME),
            "legislator__party": Column(TEXT, "Party of the called legislator"),
            "legislator__district": Column(
                TEXT, "District or seat of the called legislator, for example Junior Seat"
            ),
            "legislator__state": Column(TEXT, "State of the called legislator, abbreviated"),
        },
        aliases={
            "mconnect__id": "mconnect_id",
            "profile": "profile_id",
            "profile__id": "profile_id",
        },
        params={"include_profile": "true", "include_profile_id_only": "true"},
        paging=Paging.OPEN,
        page_limit=1000,
        incremental=Incremental("end_time", lookback=timedelta(days=1)),
        time_range=TimeRange("from", "to"),
        parent=Parent("mconnects", param="mconnect_id", column="mconnect_id"),
        not_found_codes=frozenset({INVALID_MCONNECT}),
    ),
    # List Web Clicks, for each tiny URL. The vendor states no page size, so only an empty page ends
    # the list. A click never leaves its window, so the page before the empty one is not read again.
    Endpoint(
        name="clicks",
        entity="click",
        meaning=(
            "One click on a tiny URL, with or without a known profile. profiles__clicks has the "
            "clicks that a profile lists; the same click can be in both."
        ),
        path="clicks",
        rows="clicks/click",
        columns={
            "tinyurl_id": Column(BIGINT, "Tiny URL: tinyurls.id"),
            "profile_id": Column(BIGINT, "Profile, where it is known: profiles.id", IDENTIFIER),
            **_CLICK,
        },
        aliases={"profile": "profile_id", "profile__id": "profile_id"},
        paging=Paging.OPEN,
        settled=True,
        incremental=Incremental("created_at", lookback=timedelta(hours=1)),
        time_range=TimeRange("from", "to"),
        parent=Parent("tinyurls", param="url_id", column="tinyurl_id"),
        not_found_codes=frozenset({INVALID_URL}),
    ),
    # List mData Queries, for each mData. Rows have no id. The input, the time and the person of a
    # query never change. The nested profile does.
    Endpoint(
        name="mdata_queries",
        entity="mdata_query",
        meaning="One question that a person texted to an mData, and what it returned.",
        path="mdata_queries",
        rows="mdata/queries/query",
        columns={
            "mdata_id": Column(BIGINT, "mData: mdatas.id"),
            "created_at": Column(TIMESTAMP, "When the question was asked, UTC"),
            "keyword": Column(TEXT, "Keyword that the person texted, if any"),
            "input": Column(TEXT, "Text that the person asked with", FREE_TEXT),
            "output": Column(TEXT, "Text that the mData returned", FREE_TEXT),
            "result": Column(TEXT, "Kind of result, for example error_response"),
            "error_log_body": Column(TEXT, "Text of the error log, if any", FREE_TEXT),
            "query_location__street1": Column(TEXT, "Street of the place asked about", LOCATION),
            "query_location__street2": Column(TEXT, "Second line of the street", LOCATION),
            "query_location__city": Column(TEXT, "City of the place asked about", LOCATION),
            "query_location__state": Column(TEXT, "State of the place asked about", LOCATION),
            "query_location__postal_code": Column(
                TEXT, "Postal code of the place asked about", LOCATION
            ),
            "query_location__country": Column(TEXT, "Country of the place asked about", LOCATION),
            "query_location__latitude": Column(
                DOUBLE, "Latitude of the place asked about, in degrees", LOCATION
            ),
            "query_location__longitude": Column(
                DOUBLE, "Longitude of the place asked about, in degrees", LOCATION
            ),
            "profile__status": Column(TEXT, "Status of the profile when this was loaded"),
            "profile__email": Column(TEXT, "E-mail address of the person", EMAIL),
            "profile__first_name": Column(TEXT, "First name of the person", NAME),
            "profile__last_name": Column(TEXT, "Last name of the person", NAME),
            "profile__source_type": Column(TEXT, "What created the profile, for example Keyword"),
            "profile__source_name": Column(
                TEXT, "Name of the keyword, group or user that created the profile", NAME
            ),
            "profile__phone__phone_number": Column(
                TEXT, "Phone number of the person with country code", PHONE
            ),
            "profile__phone__carrier_name": Column(TEXT, "Mobile carrier of the person"),
            **_below("profile__address", _ADDRESS),
            "profile__address__latitude": Column(
                DOUBLE, "Latitude of the person's address, in degrees", LOCATION
            ),
            "profile__address__longitude": Column(
                DOUBLE, "Longitude of the person's address, in degrees", LOCATION
            ),
            "profile__address__geocoded_city": Column(
                TEXT, "City that the service found for the address", LOCATION
            ),
            "profile__address__geocoded_state": Column(
                TEXT, "State that the service found for the address", LOCATION
            ),
            "profile__address__geocoded_postal_code": Column(
                TEXT, "Postal code that the service found for the address", LOCATION
            ),
            "profile__address__geocoded_country": Column(
                TEXT, "Country that the service found for the address", LOCATION
            ),
        },
        key=("query_key",),
        identity=("mdata_id", "created_at", "keyword", "input", "profile__phone__phone_number"),
        lists={
            "profile__custom_columns": replace(
                _CUSTOM_COLUMNS,
                table="custom_columns",
                meaning=(
                    "The value of one custom column of the person who asked, as the service prints "
                    "it with the question. profiles__custom_columns has the current values."
                ),
            )
        },
        paging=Paging.COUNTED,
        page_limit=100,
        incremental=Incremental("created_at", lookback=timedelta(hours=1)),
        time_range=TimeRange("from", "to"),
        parent=Parent("mdatas", param="mdata_id", column="mdata_id"),
        not_found_codes=frozenset({INVALID_MDATA}),
    ),
    # List Campaigns.
    Endpoint(
        name="campaigns",
        entity="campaign",
        meaning=(
            "One campaign: what people subscribe to. The Master Campaign of an account repeats the "
            "outgoing messages of the others."
        ),
        path="campaigns",
        rows="campaigns/campaign",
        columns={
            "id": Column(BIGINT, "Id of the campaign at Mobile Commons"),
            "name": Column(TEXT, "Name of the campaign"),
            "active": Column(BOOLEAN, "Whether the campaign is active; if not, it has ended"),
            "description": Column(TEXT, "Description of the campaign"),
        },
        lists={
            "opt_in_paths": ChildList(
                item="opt_in_path",
                meaning="One opt-in path: a way into a campaign.",
                columns={
                    "id": Column(BIGINT, "Id of the opt-in path at Mobile Commons"),
                    "name": Column(TEXT, "Name of the opt-in path"),
                    "active": Column(BOOLEAN, "Whether the opt-in path is active"),
                },
                key=("id",),
                lists={"tags": _tags("an opt-in path")},
            ),
            "tags": _tags("a campaign"),
        },
        params={"include_opt_in_paths": "1"},
    ),
    # List Campaign Subscribers, for each campaign. An opt-out does not move activated_at, so no
    # window finds it. So all subscribers of a campaign are read again at an interval.
    Endpoint(
        name="campaign_subscribers",
        entity="campaign_subscriber",
        meaning=(
            "One subscriber of a campaign, also one who opted out. opted_out_at can be up to 7 days "
            "late here; profiles__subscriptions has the opt-outs of the day."
        ),
        path="campaign_subscribers",
        rows="subscriptions/sub",
        columns={
            "campaign_id": Column(BIGINT, "Campaign: campaigns.id"),
            "id": Column(BIGINT, "Id of the subscriber in the list of the campaign", IDENTIFIER),
            "profile_id": Column(BIGINT, "Profile of the subscriber: profiles.id", IDENTIFIER),
            "phone_number": Column(TEXT, "Phone number of the subscriber", PHONE),
            "activated_at": Column(TIMESTAMP, "When the subscription became active, UTC"),
            "opted_out_at": Column(TIMESTAMP, "When the subscriber opted out, UTC"),
        },
        key=("campaign_id", "id"),
        paging=Paging.OPEN,
        page_limit=1000,
        incremental=Incremental("activated_at", lookback=timedelta(days=1)),
        time_range=TimeRange("from", "to"),
        parent=Parent("campaigns", param="campaign_id", column="campaign_id"),
        not_found_codes=frozenset({INVALID_CAMPAIGN}),
        full_read_every=timedelta(days=7),
    ),
    # List Group Members, for each group. A member who left is in no window, so each group is also read
    # completely, at an interval and when its size has changed. The lists of a member are skipped,
    # because the tables of profiles have them.
    Endpoint(
        name="group_members",
        entity="group_member",
        meaning=(
            "One profile in one group. A member who left the group has no row. If as many left as "
            "joined, the table shows it up to a day late. The columns repeat those of profiles; join on "
            "profile_id for the lists of a profile."
        ),
        path="group_members",
        rows="group/profile",
        columns={
            "group_id": Column(BIGINT, "Group: groups.id"),
            "profile_id": Column(BIGINT, "Profile of the member: profiles.id", IDENTIFIER),
            **_PROFILE,
        },
        key=("group_id", "profile_id"),
        aliases={"id": "profile_id"},
        skip=frozenset({"subscriptions", "custom_columns", "clicks", "integrations"}),
        paging=Paging.OPEN,
        page_limit=1000,
        incremental=Incremental("updated_at", lookback=timedelta(hours=1)),
        time_range=TimeRange("from", "to"),
        parent=Parent("groups", param="group_id", column="group_id", size="size", owns_rows=True),
        full_read_every=timedelta(days=1),
        not_found_codes=frozenset({INVALID_GROUP}),
    ),
    # List Groups.
    Endpoint(
        name="groups",
        entity="group",
        meaning="One group of profiles. group_members has the profiles in it.",
        path="groups",
        rows="groups/group",
        columns={
            "id": Column(BIGINT, "Id of the group at Mobile Commons"),
            "name": Column(TEXT, "Name of the group"),
            "type": Column(TEXT, "Kind of group: UploadedGroup or FilteredGroup"),
            "status": Column(TEXT, "Status: active or inactive"),
            "size": Column(BIGINT, "Number of members, as the service counts them"),
            "hint": Column(TEXT, "Printed for some groups and not explained by the vendor"),
        },
        paging=Paging.OPEN,
        page_limit=1000,
    ),
    # List Keywords.
    Endpoint(
        name="keywords",
        entity="keyword",
        meaning="One word that people can text to the account.",
        path="keywords",
        rows="keywords/keyword",
        columns={
            "id": Column(BIGINT, "Id of the keyword at Mobile Commons"),
            "name": Column(TEXT, "The keyword"),
            "active": Column(BOOLEAN, "Whether the keyword is active"),
            "opt_in_path_id": Column(
                BIGINT, "Opt-in path that the keyword leads to: campaigns__opt_in_paths.id"
            ),
            "ended_at": Column(TIMESTAMP, "When the keyword ended, UTC"),
            "created_at": Column(TIMESTAMP, "When the keyword was created, UTC"),
            "updated_at": Column(TIMESTAMP, "When the keyword last changed, UTC"),
        },
        aliases={"opt_in_path__id": "opt_in_path_id"},
    ),
    # List mConnects.
    Endpoint(
        name="mconnects",
        entity="mconnect",
        meaning="One mConnect: a line that connects people to a phone number by a call.",
        path="mconnects",
        rows="mconnects/mconnect",
        columns={
            "id": Column(BIGINT, "Id of the mConnect at Mobile Commons"),
            "name": Column(TEXT, "Name of the mConnect"),
            "active": Column(BOOLEAN, "Whether the mConnect is active"),
            "destination_number": Column(TEXT, "Phone number that callers are sent to", PHONE),
            "destination_description": Column(TEXT, "Description of that phone number"),
            "voip_number": Column(TEXT, "Phone number of the mConnect"),
            "call_type": Column(TEXT, "Kind of call"),
            "autoroute": Column(BOOLEAN, "Whether the service marks it as routed by itself"),
            "subscriber_follow_up": Column(TEXT, "Follow-up for callers who are subscribers"),
            "nonsubscriber_follow_up": Column(TEXT, "Follow-up for all other callers"),
            "call_timeout": Column(
                BIGINT, "How long a call may ring; the vendor does not state the unit"
            ),
            "failover_number": Column(TEXT, "Phone number that is called otherwise", PHONE),
            "failover_text": Column(TEXT, "Text that is used otherwise"),
            "voicemail": Column(BOOLEAN, "Whether a voicemail can be left"),
            "transcribe": Column(BOOLEAN, "Whether voicemails are transcribed"),
            "shortcode": Column(TEXT, "Short code of the mConnect"),
            "crm_alert_id": Column(BIGINT, "Id of an alert, which no table lists"),
        },
        lists={"tags": _tags("an mConnect")},
    ),
    # List Tinyurls.
    Endpoint(
        name="tinyurls",
        entity="tinyurl",
        meaning="One short link. clicks has the clicks on it.",
        path="tinyurls",
        rows="tinyurls/tinyurl",
        columns={
            "id": Column(BIGINT, "Id of the tiny URL at Mobile Commons"),
            "created_at": Column(TIMESTAMP, "When the short link was created, UTC"),
            "name": Column(TEXT, "Name of the short link"),
            "mode": Column(TEXT, "Printed by the service and not explained by the vendor"),
            "url": Column(TEXT, "Page that the short link leads to"),
            "host": Column(TEXT, "Host of the short link"),
            "description": Column(TEXT, "Description of the short link"),
            "key": Column(TEXT, "What follows the host in the short link"),
        },
    ),
    # List mData.
    Endpoint(
        name="mdatas",
        entity="mdata",
        meaning=(
            "One mData: a collection of texts, or a web service, that people can ask by a text."
        ),
        path="mdatas",
        rows="mdatas/mdata",
        columns={
            "id": Column(BIGINT, "Id of the mData at Mobile Commons"),
            "name": Column(TEXT, "Name of the mData"),
            "type": Column(TEXT, "Kind of mData, for example database or web_service"),
            "uuid": Column(TEXT, "Second id of the mData at Mobile Commons"),
        },
    ),
    # List Tags. The service lists a tag once for each object that has it. All these rows are kept.
    Endpoint(
        name="tags",
        entity="tag",
        meaning=(
            "One tag on one object. A tag on several objects has several rows with the same id."
        ),
        path="tags",
        rows="tags/tag",
        columns={
            "id": Column(BIGINT, "Id of the tag at Mobile Commons"),
            "name": Column(TEXT, "The tag; some accounts use e-mail addresses", FREE_TEXT),
            "taggable_object__id": Column(BIGINT, "Id of the object that has the tag"),
            "taggable_object__type": Column(
                TEXT, "What the object is: a campaign, broadcast, opt-in path or mConnect"
            ),
        },
        repeats=True,
    ),
    # Attachments.
    Endpoint(
        name="attachments",
        entity="attachment",
        meaning="One file that messages can carry.",
        path="attachments",
        rows="attachments/attachment",
        columns={
            "id": Column(BIGINT, "Id of the attachment at Mobile Commons"),
            "name": Column(TEXT, "Name of the attachment"),
            "thumbnail_link": Column(TEXT, "Address of a small picture of it"),
        },
    ),
    # Count the number of mConnect Calls.
    Endpoint(
        name="call_counts",
        entity="call_count",
        meaning="The number of calls of one mConnect, as of the last run.",
        path="call_count",
        rows=".",
        columns={
            "mconnect_id": Column(BIGINT, "mConnect: mconnects.id"),
            "call_count": Column(BIGINT, "Number of calls, as the service counts them"),
        },
        key=("mconnect_id",),
        content=("call_count",),
        skip=frozenset({"success"}),
        parent=Parent("mconnects", param="mconnect_id", column="mconnect_id"),
        not_found_codes=frozenset({INVALID_MCONNECT}),
    ),
    # Donation Summary, for each configured fundraising campaign.
    Endpoint(
        name="donation_summaries",
        entity="donation_summary",
        meaning="The donations to one configured fundraising campaign, as of the last run.",
        path="donation_summary",
        rows="donation_summary",
        columns={
            "fundraising_id": Column(BIGINT, "Id of the fundraising campaign, as configured"),
            "name": Column(TEXT, "Name of the fundraising campaign"),
            "start_time": Column(TIMESTAMP, "Start of the time that the sums are of, UTC"),
            "end_time": Column(TIMESTAMP, "End of the time that the sums are of, UTC"),
            "accepted__count": Column(BIGINT, "Number of accepted donations"),
            "accepted__amount": Column(
                DECIMAL, "Sum of accepted donations; the service prints no currency"
            ),
            "pending__count": Column(BIGINT, "Number of pending donations"),
            "pending__amount": Column(
                DECIMAL, "Sum of pending donations; the service prints no currency"
            ),
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
        entity="mdata_entry",
        meaning="One entry of an mData for one configured input.",
        path="mdata_entries",
        rows="mdata/entries/entry",
        columns={
            "id": Column(BIGINT, "Id of the entry at Mobile Commons"),
            "mdata_id": Column(BIGINT, "mData: mdatas.id"),
            "created_at": Column(TIMESTAMP, "When the entry was created, UTC"),
            "input": Column(TEXT, "Text that the entry is for, as configured", FREE_TEXT),
            "output": Column(TEXT, "Text that the entry returns", FREE_TEXT),
        },
        key=(),
        configured=("mdata_id", "input"),
        setting="mdata_entries",
        not_found_codes=frozenset({INVALID_MDATA}),
    ),
)
