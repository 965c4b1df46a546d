"""What goes over the wire for each resource, and what becomes of what comes back.

A cassette is played back in place of the network: a request that is not on it, or one on it that is
not made, fails the test. ``python cassettes/record.py`` records them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dlt
import duckdb as duckdb_client
import pytest
import yaml

from cassettes import record
from textlift.mcommons.endpoints import ENDPOINTS

CASSETTES = list(record.TAPES)
Row = dict[str, Any]
Tables = dict[str, list[Row]]

# Requests: the path and the query, without the company.

WINDOW = {"from": "2024-01-01T00:00:00Z", "to": "2025-06-01T12:00:00Z"}
TIMES = {"start_time": WINDOW["from"], "end_time": WINDOW["to"]}
FULL = {"limit": "1000", "page": "1"}
#: Behind the first short page, which would be there if pages were shorter than asked for.
BEHIND = {"limit": "996", "page": "2"}
CAMPAIGNS = ("campaigns", {"include_opt_in_paths": "1"})
CALL = {**WINDOW, **FULL, "include_profile": "true", "include_profile_id_only": "true"}
QUERY = {**WINDOW, "limit": "100", "page": "1"}
MESSAGE = {**TIMES, **FULL, "include_profile": "false"}
REQUESTS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "profiles": [("profiles", {**WINDOW, **page}) for page in (FULL, BEHIND)],
    "incoming_messages": [("messages", MESSAGE)],
    "outgoing_messages": [("sent_messages", MESSAGE)],
    "broadcasts": [
        ("broadcasts", {**TIMES, **FULL}),
        ("broadcasts", {"status": "draft", **FULL}),
    ],
    "calls": [
        ("mconnects", {}),
        ("calls", {"mconnect_id": "10", **CALL}),
        ("calls", {"mconnect_id": "10", **CALL, **BEHIND}),
        ("calls", {"mconnect_id": "11", **CALL}),
    ],
    "clicks": [
        ("tinyurls", {}),
        ("clicks", {"url_id": "8101", **WINDOW}),
        ("clicks", {"url_id": "8101", **WINDOW, "page": "2"}),
        ("clicks", {"url_id": "8103", **WINDOW}),
        ("clicks", {"url_id": "8103", **WINDOW, "page": "2"}),
    ],
    "mdata_queries": [
        ("mdatas", {}),
        ("mdata_queries", {"mdata_id": "4667", **QUERY}),
        ("mdata_queries", {"mdata_id": "4680", **QUERY}),
    ],
    "campaigns": [CAMPAIGNS],
    "campaign_subscribers": [
        CAMPAIGNS,
        ("campaign_subscribers", {"campaign_id": "162603", **WINDOW, **FULL}),
        ("campaign_subscribers", {"campaign_id": "162603", **WINDOW, **BEHIND}),
        ("campaign_subscribers", {"campaign_id": "162606", **WINDOW, **FULL}),
    ],
    "group_members": [
        ("groups", FULL),
        ("groups", BEHIND),
        ("group_members", {"group_id": "402704", **WINDOW, **FULL}),
        ("group_members", {"group_id": "402704", **WINDOW, **BEHIND}),
        ("group_members", {"group_id": "402781", **WINDOW, **FULL}),
    ],
    "groups": [("groups", FULL), ("groups", BEHIND)],
    "keywords": [("keywords", {})],
    "mconnects": [("mconnects", {})],
    "tinyurls": [("tinyurls", {})],
    "mdatas": [("mdatas", {})],
    "tags": [("tags", {})],
    "attachments": [("attachments", {})],
    "call_counts": [
        ("mconnects", {}),
        ("call_count", {"mconnect_id": "10"}),
        ("call_count", {"mconnect_id": "11"}),
    ],
    "donation_summaries": [("donation_summary", {"fundraising_id": "501"})],
    "mdata_entries": [("mdata_entries", {"mdata_id": "4667", "input": "94401"})],
}

# Times have no offset. The end lies a quarter of an hour ahead; all that is kept is two windows.
FIRST, SECOND, UNKNOWN = (f"messages/program/{id}" for id in (121811, 121812, 121899))
START, MIDDLE, END = "2024-05-31T12:00:00", "2024-11-30T12:07:30", "2025-06-01T12:15:00"
PAGE = {"startDate": "2025-02-01T05:00:00", "endDate": END, "pageSize": "2"}
EARLIER, LATER = (
    {"messageType": "MO", "startDate": start, "endDate": end, "pageSize": "500"}
    for start, end in ((START, MIDDLE), (MIDDLE, END))
)
DAY = {"startDate": "2025-05-31T00:00:00", "endDate": "2025-06-01T23:59:59", "pageSize": "500"}
REQUESTS |= {
    "mgage_messages": [
        (FIRST, PAGE),
        (FIRST, {**PAGE, "page": "2"}),
        (FIRST, {**PAGE, "page": "3"}),
        (FIRST, PAGE),
        (FIRST, {**PAGE, "page": "2"}),
        (SECOND, PAGE),
    ],
    "mgage_unknown_program": [
        (UNKNOWN, EARLIER),
        (UNKNOWN, LATER),
        (SECOND, EARLIER),
        (SECOND, LATER),
    ],
    "mgage_failures": [(SECOND, DAY)] * 3,
}
MEMBERS_ID, RENT_ID = "0ff8f4b3-b0ab-538c-8ea6-25fba4b1140b", "5cd337bb-58e5-5d80-870c-6faab84c52b6"
HUNDRED = {"limit": "100", "page": "1"}
NEWEST = {"include": "carrier", "sort": "-updated_at", **HUNDRED}
WITH_FIELDS = {"include": "status,fields", **HUNDRED}
REQUESTS |= {
    # The second time, to see that nothing has come to the front meanwhile.
    "mobiniti_contacts": [("contacts", NEWEST)] * 2,
    "mobiniti_group_contacts": [
        ("groups", {"include": "keyword", **HUNDRED}),
        (f"groups/{MEMBERS_ID}/contacts", WITH_FIELDS),
        (f"groups/{RENT_ID}/contacts", WITH_FIELDS),
    ],
    "mobiniti_messages": [
        (
            "messages",
            {
                "include": "receipt,contact.carrier,type",
                "created_at_min": "2025-01-01T00:00:00Z",
                "created_at_max": "2025-06-01T12:00:00Z",
                **HUNDRED,
            },
        )
    ],
    "mobiniti_scheduled_messages": [
        ("messages/schedule", HUNDRED),
        ("message/schedule", HUNDRED),
    ],
}

# The campaigns of all statuses come first, because their types decide which calls follow.
ACCOUNTS = {"accounts": "10,11"}
LISTED = [("api/campaigns.xml", ACCOUNTS), ("api/campaigns.xml", {**ACCOUNTS, "status": "deleted"})]
REQUESTS |= {
    "textme_accounts": [("api/accounts.xml", {})],
    "textme_carriers": [("app/carriers.xml", {})],
    "textme_campaigns": LISTED,
    "textme_timed_campaigns": [
        *LISTED,
        ("api/timed_campaigns/1.xml", {}),
        ("api/timed_campaigns/5.xml", {}),
    ],
    "textme_timed_campaign_participants": [
        *LISTED,
        ("api/timed_campaigns/1/participants.xml", {"page": "1"}),
        ("api/timed_campaigns/1/participants.xml", {"page": "2"}),
        ("api/timed_campaigns/5/participants.xml", {"page": "1"}),
    ],
    "textme_subscriptions": [*LISTED, ("api/subscription_campaigns/2/subscriptions.xml", {})],
    "textme_vote_campaigns": [*LISTED, ("api/vote_campaigns/3.xml", {})],
}

# Windows and pages are in the path; the keys behind them are filtered out.
SIGNED = "FILTERED/FILTERED"
REPORT, RANGE = (
    f"rest/api/tools/messageReport/7/{start}/{end}"
    for start, end in ((1735689600000, 1748780100999), (1748649600000, 1748735999999))
)
BROADCAST = "7/null/31-12-2024/null/null"
REQUESTS |= {
    "messangi_messages": [(f"{REPORT}/{page}/2/null/{SIGNED}", {}) for page in (1, 2, 1)],
    "messangi_broadcasts": [
        (f"rest/api/broadcasts/{BROADCAST}/{SIGNED}", {}),
        (f"rest/api/getBroadcasts/{BROADCAST}/{SIGNED}", {}),
    ],
    "messangi_shortcodes": [(f"rest/api/getShortcodes/7/sandbox/{SIGNED}", {})],
    "messangi_failures": [(f"{RANGE}/1/500/null/{SIGNED}", {})] * 3,
}

# Rows: all of each table, without the columns that are NULL.

_SIGNED_UP = {"created_at": "2024-01-13T01:54:01Z", "updated_at": "2024-01-13T01:54:01Z"}
EXPECTED: Tables = {
    "profiles": [
        {
            "id": 300000049,
            "first_name": "Søren",
            "last_name": "Yıldız",
            "phone_number": "12025557514",
            "email": "person6.6@example.org",
            "status": "Opted-Out",
            "created_at": "2024-01-13T01:54:01Z",
            "updated_at": "2024-01-17T15:00:34Z",
            "opted_out_at": "2024-01-16T19:00:37Z",
            "opted_out_source": "Texted a STOP word",
            "source__type": "API",
            "source__name": "User1",
            "source__email": "user1@example.com",
            "address__street1": "12 Elm St",
            "address__street2": "c/o Local 32",
            "address__city": "Cañon City",
            "address__state": "CO",
            "address__postal_code": "81212",
            "address__country": "US",
            "last_saved_location__latitude": 38.44098,
            "last_saved_location__longitude": -105.24245,
            "last_saved_location__precision": "street",
            "last_saved_location__city": "Cañon City",
            "last_saved_location__state": "CO",
            "last_saved_location__postal_code": "81212",
            "last_saved_location__country": "US",
            "last_saved_districts__congressional_district": "CO-5",
            "last_saved_districts__state_upper_district": "CO-",
            "last_saved_districts__state_lower_district": "CO-",
            "last_saved_districts__split_district": "No",
        },
        {
            "id": 300000371,
            "first_name": "Łukasz",
            "last_name": "O'Neil",
            "phone_number": "12025551788",
            "email": "person52@example.org",
            "status": "Active Subscriber",
            "created_at": "2024-05-30T01:13:41Z",
            "updated_at": "2024-06-29T15:00:00Z",
            "source__type": "Uploaded Group",
            "source__name": "Speaks Español",
            "source__id": 402737,
            "address__city": "O'Fallon",
            "address__state": "MO",
            "address__postal_code": "63366",
            "address__country": "US",
            "last_saved_location__latitude": 38.810608,
            "last_saved_location__longitude": -90.699848,
            "last_saved_location__precision": "street",
            "last_saved_location__city": "O'Fallon",
            "last_saved_location__state": "MO",
            "last_saved_location__postal_code": "63366",
            "last_saved_location__country": "US",
            "last_saved_districts__congressional_district": "MO-3",
            "last_saved_districts__state_upper_district": "MO-32",
            "last_saved_districts__state_lower_district": "MO-6",
            "last_saved_districts__split_district": "No",
        },
    ],
    "profiles__clicks": [
        {
            "profile_id": 300000371,
            "id": 70000319,
            "created_at": "2024-06-29T15:36:02Z",
            "url": "http://www.example.org/rent",
            "clicked_url": "http://lil.example.org/rent",
            "remote_addr": "192.0.2.9",
            "http_referer": "http://www.example.org/?q=183&r=sms",
        },
        {
            "profile_id": 300000371,
            "id": 70000415,
            "created_at": "2024-10-02T22:28:27Z",
            "url": "http://www.example.org/petition?lang=en&src=sms",
            "clicked_url": "http://lil.example.org/petition",
            "remote_addr": "192.0.2.43",
            "user_agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36",
        },
    ],
    "profiles__custom_columns": [
        {"profile_id": 300000049, "name": "Age", "value": "34", **_SIGNED_UP},
        {"profile_id": 300000049, "name": "Favorite animal", "value": "dog & cat", **_SIGNED_UP},
        {"profile_id": 300000049, "name": "Language"},
        {"profile_id": 300000049, "name": "Yes/NO", "value": "yes", **_SIGNED_UP},
        {"profile_id": 300000371, "name": "Age"},
        {"profile_id": 300000371, "name": "Favorite animal"},
        {"profile_id": 300000371, "name": "Language"},
        {"profile_id": 300000371, "name": "T-shirt size"},
        {"profile_id": 300000371, "name": "Yes/NO"},
    ],
    "profiles__integrations": [
        {
            "profile_id": 300000371,
            "type": "Salesforce",
            "constituent_id": "000000052C",
            "synchronized_at": "2024-05-30T01:13:41Z",
        }
    ],
    "profiles__subscriptions": [
        {
            "profile_id": 300000049,
            "campaign_id": 162609,
            "campaign_name": "Rapid Response",
            "status": "Opted-Out",
            "opt_in_source": "User1",
            "created_at": "2024-01-13T01:54:01Z",
            "activated_at": "2024-01-13T01:54:01Z",
            "opted_out_at": "2024-01-16T19:00:37Z",
            "opt_out_source": "Opt-out from API",
        },
        {
            "profile_id": 300000371,
            "campaign_id": 162603,
            "campaign_name": "Members & Friends",
            "campaign_description": "Everyone on our list",
            "opt_in_path_id": 25010,
            "status": "Active",
            "opt_in_source": "Speaks Español",
            "created_at": "2024-05-30T01:13:41Z",
            "activated_at": "2024-05-30T01:13:41Z",
        },
        {
            "profile_id": 300000371,
            "campaign_id": 162609,
            "campaign_name": "Rapid Response",
            "opt_in_path_id": 25030,
            "status": "Opted-Out",
            "opt_in_source": "Speaks Español",
            "created_at": "2024-05-30T01:13:41Z",
            "activated_at": "2024-05-30T01:13:41Z",
            "opted_out_at": "2024-06-29T15:00:00Z",
            "opt_out_source": "Texted a STOP word",
        },
    ],
    "incoming_messages": [
        {
            "id": 1290000007,
            "type": "reply",
            "approved": False,
            "carrier_name": "Verizon Wireless",
            "phone_number": "12025550000",
            "profile_id": 300000007,
            "body": "👍",
            "message_template_id": 37000112,
            "mms": False,
            "multipart": False,
            "previous_id": 6480000010,
            "next_id": 6480000012,
            "campaign_id": 162603,
            "campaign__name": "Members & Friends",
            "campaign__active": True,
            "received_at": "2024-01-04T16:23:51Z",
        },
        {
            "id": 1290000013,
            "type": "opt_in",
            "approved": False,
            "carrier_name": "T-Mobile",
            "phone_number": "12025557919",
            "profile_id": 300000014,
            "body": "JOIN",
            "message_template_id": 37000133,
            "mms": False,
            "multipart": False,
            "previous_id": 6480000022,
            "next_id": 6480000024,
            "campaign_id": 162603,
            "campaign__name": "Members & Friends",
            "campaign__active": True,
            "keyword_id": 763113,
            "keyword__name": "READ",
            "keyword__opt_in_path_id": 25010,
            "received_at": "2024-01-08T18:04:46Z",
        },
        {
            "id": 1290000028,
            "type": "reply",
            "approved": True,
            "phone_number": "12025553352",
            "profile_id": 300000063,
            "body": " yes ",
            "message_template_id": 37000124,
            "mms": False,
            "multipart": False,
            "previous_id": 6480000052,
            "next_id": 6480000054,
            "campaign_id": 162603,
            "campaign__name": "Members & Friends",
            "campaign__active": True,
            "received_at": "2024-01-16T19:00:37Z",
        },
    ],
    "outgoing_messages": [
        {
            "id": 6480000000,
            "type": "help_response",
            "status": "sent",
            "phone_number": "12025550000",
            "profile_id": 300000007,
            "body": "Help: example.org/help or 1-202-555-0100. Msg&data rates may apply.",
            "message_template_id": 37100000,
            "mms": False,
            "multipart": False,
            "previous_id": 1290000001,
            "campaign_id": 162603,
            "campaign__name": "Members & Friends",
            "campaign__active": True,
            "sent_at": "2024-01-01T00:00:00Z",
        },
        {
            "id": 6480000002,
            "type": "regular_text",
            "status": "undeliverable",
            "phone_number": "12025550000",
            "profile_id": 300000007,
            "body": "Hi Zoë! Can you make it on Saturday? Reply YES or NO. 🙌",
            "message_template_id": 37100000,
            "mms": False,
            "multipart": False,
            "next_id": 1290000001,
            "campaign_id": 162603,
            "campaign__name": "Members & Friends",
            "campaign__active": True,
            "broadcast_id": 123456,
            "sent_at": "2024-01-01T21:50:28Z",
        },
    ],
    "broadcasts": [
        {
            "id": 123506,
            "name": "Rapid Response #11",
            "body": "Hi [[first_name]]! Can you make it on Saturday? Reply YES or NO. 🙌",
            "status": "generated",
            "campaign_id": 162609,
            "campaign__name": "Rapid Response",
            "campaign__active": True,
            "delivery_time": "2024-02-15T00:35:46Z",
            "include_subscribers": True,
            "throttled": False,
            "localtime": False,
            "automated": False,
            "estimated_recipients_count": 25,
            "replies_count": 5,
            "opt_outs_count": 1,
        },
        {
            "id": 123551,
            "name": "Strike Fund #20",
            "body": " Doors open at 6. ",
            "status": "generated",
            "campaign_id": 162606,
            "campaign__name": "Strike Fund",
            "campaign__active": True,
            "delivery_time": "2024-05-23T04:21:59Z",
            "include_subscribers": False,
            "throttled": True,
            "localtime": False,
            "automated": False,
            "estimated_recipients_count": 97,
            "replies_count": 10,
            "opt_outs_count": 1,
        },
        {
            "id": 200001,
            "name": "Not sent yet",
            "status": "draft",
            "include_subscribers": True,
            "throttled": False,
            "localtime": False,
            "automated": False,
            "estimated_recipients_count": 0,
            "replies_count": 0,
            "opt_outs_count": 0,
        },
    ],
    "broadcasts__excluded_groups": [
        {
            "broadcast_id": 123506,
            "group_id": 402715,
            "name": "Donors & Pledgers",
            "type": "FilteredGroup",
        },
        {"broadcast_id": 123551, "group_id": 402770, "name": "East side", "type": "FilteredGroup"},
    ],
    "broadcasts__included_groups": [
        {"broadcast_id": 123506, "group_id": 402770, "name": "East side", "type": "FilteredGroup"},
        {
            "broadcast_id": 123551,
            "group_id": 402737,
            "name": "Speaks Español",
            "type": "FilteredGroup",
        },
    ],
    "broadcasts__tags": [
        {"broadcast_id": 123506, "tag": "actions"},
        {"broadcast_id": 123506, "tag": "gotv"},
        {"broadcast_id": 123551, "tag": "labor"},
    ],
    "calls": [
        {
            "id": 11765582,
            "mconnect_id": 10,
            "profile_id": 300000063,
            "start_time": "2024-01-27T23:57:27Z",
            "end_time": "2024-01-28T00:03:15Z",
            "duration": 348,
            "call_status": "busy",
            "connection_source": "sms",
            "email": "person8@example.com",
            "profile_status": "Opted-Out",
            "profile_status_at_call_time": "Active Subscriber",
            "handset_number": "12025553352",
            "carrier_name": "U.S. Cellular",
            "voip_number": "18005550100",
            "destination_number": "12025550200",
            "legislator__first_name": "María",
            "legislator__last_name": "O'Hara",
            "legislator__party": "republican",
            "legislator__district": "Senior Seat",
            "legislator__state": "CA",
        },
        {
            "id": 11765586,
            "mconnect_id": 11,
            "profile_id": 300000182,
            "start_time": "2024-05-31T00:19:09Z",
            "end_time": "2024-05-31T00:22:59Z",
            "duration": 230,
            "call_status": "completed",
            "connection_source": "sms",
            "profile_status": "Opted-Out",
            "profile_status_at_call_time": "Opted-Out",
            "handset_number": "12025557975",
            "carrier_name": "AT&T",
            "voip_number": "18005550101",
            "destination_number": "12025550201",
            "transcription": "Hi, it's about the rent & heat…\nPlease call back.",
            "voicemail_duration": 183,
            "voicemail": "http://www.example.org/voicemails/5?as=mp3",
            "legislator__first_name": "María",
            "legislator__last_name": "O'Hara",
            "legislator__party": "republican",
            "legislator__district": "Senior Seat",
            "legislator__state": "NY",
        },
    ],
    "clicks": [
        {
            "tinyurl_id": 8101,
            "profile_id": 300000021,
            "id": 70000127,
            "created_at": "2024-01-06T02:45:41Z",
            "url": "http://www.example.org/petition?lang=en&src=sms",
            "clicked_url": "http://lil.example.org/petition",
            "remote_addr": "192.0.2.106",
            "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
            "AppleWebKit/605.1.15",
        },
        {
            "tinyurl_id": 8101,
            "id": 70000123,
            "created_at": "2024-01-01T00:00:00Z",
            "url": "http://www.example.org/petition?lang=en&src=sms",
            "clicked_url": "http://lil.example.org/petition",
            "remote_addr": "192.0.2.11",
            "user_agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36",
        },
        {
            "tinyurl_id": 8103,
            "profile_id": 300000056,
            "id": 70000139,
            "created_at": "2024-01-15T22:25:38Z",
            "url": "https://give.example.org/winter?amount=5&amp=1",
            "clicked_url": "http://lil.example.org/give",
            "remote_addr": "192.0.2.191",
            "user_agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36",
        },
    ],
    "mdata_queries": [
        {
            "query_key": "9aed7c85c7ac837df88fa330cf35a026",
            "mdata_id": 4667,
            "created_at": "2024-01-01T00:00:00Z",
            "keyword": "GIVE",
            "input": "11222",
            "output": "Polling place: “Old Mill” School",
            "result": "success_response",
            "query_location__city": "Seattle",
            "query_location__state": "WA",
            "query_location__postal_code": "98103",
            "query_location__country": "US",
            "query_location__latitude": 47.671346,
            "query_location__longitude": -122.341432,
            "profile__status": "Active Subscriber",
            "profile__email": "person0@example.org",
            "profile__first_name": "Zoë",
            "profile__last_name": "Ó Briain",
            "profile__source_type": "Keyword",
            "profile__source_name": "RENT",
            "profile__phone__phone_number": "12025550000",
            "profile__phone__carrier_name": "T-Mobile",
            "profile__address__city": "Seattle",
            "profile__address__state": "WA",
            "profile__address__postal_code": "98103",
            "profile__address__country": "US",
            "profile__address__latitude": 47.671346,
            "profile__address__longitude": -122.341432,
            "profile__address__geocoded_city": "Seattle",
            "profile__address__geocoded_state": "WA",
            "profile__address__geocoded_postal_code": "98103",
            "profile__address__geocoded_country": "US",
        },
        {
            "query_key": "f8081e5228d00be767436150b762695f",
            "mdata_id": 4667,
            "created_at": "2024-02-08T09:12:53Z",
            "keyword": "SHIFT",
            "input": "shift & ride",
            "output": "Saturday 9:00, bus at 8:15",
            "result": "success_response",
            "query_location__city": "Fort Worth",
            "query_location__state": "TX",
            "query_location__postal_code": "76104",
            "query_location__country": "US",
            "query_location__latitude": 32.735247,
            "query_location__longitude": -97.324103,
            "profile__status": "Active Subscriber",
            "profile__email": "person23@example.com",
            "profile__first_name": "Chloë",
            "profile__last_name": "Ó Briain",
            "profile__source_type": "Keyword",
            "profile__source_name": "READ",
            "profile__phone__phone_number": "12025552137",
            "profile__phone__carrier_name": "Sprint (Sprint PCS)",
            "profile__address__city": "Fort Worth",
            "profile__address__state": "TX",
            "profile__address__postal_code": "76104",
            "profile__address__country": "US",
            "profile__address__latitude": 32.735247,
            "profile__address__longitude": -97.324103,
            "profile__address__geocoded_city": "Fort Worth",
            "profile__address__geocoded_state": "TX",
            "profile__address__geocoded_postal_code": "76104",
            "profile__address__geocoded_country": "US",
        },
    ],
    "mdata_queries__custom_columns": [
        {"query_key": "9aed7c85c7ac837df88fa330cf35a026", "name": "Age"},
        {
            "query_key": "9aed7c85c7ac837df88fa330cf35a026",
            "name": "Favorite animal",
            "value": "dog & cat",
        },
        {"query_key": "9aed7c85c7ac837df88fa330cf35a026", "name": "Language", "value": "English"},
        {"query_key": "9aed7c85c7ac837df88fa330cf35a026", "name": "Yes/NO", "value": "y"},
        {"query_key": "f8081e5228d00be767436150b762695f", "name": "Age"},
        {"query_key": "f8081e5228d00be767436150b762695f", "name": "Favorite animal"},
        {"query_key": "f8081e5228d00be767436150b762695f", "name": "Language"},
        {"query_key": "f8081e5228d00be767436150b762695f", "name": "Yes/NO", "value": "no"},
    ],
    "campaigns": [
        {
            "id": 162603,
            "name": "Members & Friends",
            "active": True,
            "description": "Everyone on our list",
        },
        {
            "id": 162606,
            "name": "Strike Fund",
            "active": True,
            "description": "Updates on the “Fair Deal” strike",
        },
    ],
    "campaigns__opt_in_paths": [
        {"campaign_id": 162603, "id": 25010, "name": "Members & Friends / path 1", "active": True},
        {"campaign_id": 162603, "id": 25011, "name": "Members & Friends / path 2", "active": True},
        {"campaign_id": 162606, "id": 25020, "name": "Strike Fund / path 1", "active": True},
        {"campaign_id": 162606, "id": 25021, "name": "Strike Fund / path 2", "active": True},
        {"campaign_id": 162606, "id": 25022, "name": "Strike Fund / path 3", "active": False},
    ],
    "campaigns__opt_in_paths__tags": [
        {"campaign_id": 162603, "opt_in_path_id": 25011, "tag": "web"},
        {"campaign_id": 162606, "opt_in_path_id": 25021, "tag": "web"},
    ],
    "campaigns__tags": [
        {"campaign_id": 162603, "tag": "gotv"},
        {"campaign_id": 162603, "tag": "members"},
        {"campaign_id": 162606, "tag": "labor"},
    ],
    "campaign_subscribers": [
        {
            "campaign_id": 162603,
            "id": 50000014,
            "profile_id": 300000014,
            "phone_number": "12025557919",
            "activated_at": "2024-01-03T10:07:23Z",
        },
        {
            "campaign_id": 162603,
            "id": 50000040,
            "profile_id": 300000028,
            "phone_number": "12025553757",
            "activated_at": "2024-01-14T15:17:03Z",
        },
        {
            "campaign_id": 162606,
            "id": 50000041,
            "profile_id": 300000028,
            "phone_number": "12025553757",
            "activated_at": "2024-01-07T11:39:32Z",
            "opted_out_at": "2024-01-10T02:03:27Z",
        },
    ],
    "groups": [
        {
            "id": 402704,
            "name": "Import of June",
            "type": "UploadedGroup",
            "status": "active",
            "size": 2,
        },
        {"id": 402781, "name": "Staff", "type": "UploadedGroup", "status": "inactive", "size": 2},
    ],
    "keywords": [
        {
            "id": 763101,
            "name": "JOIN",
            "active": True,
            "opt_in_path_id": 25000,
            "created_at": "2024-01-01T00:00:00Z",
            "updated_at": "2024-01-11T00:00:00Z",
        },
        {
            "id": 763113,
            "name": "READ",
            "active": True,
            "opt_in_path_id": 25010,
            "created_at": "2024-01-01T06:00:00Z",
            "updated_at": "2024-01-17T00:00:00Z",
        },
    ],
    "mconnects": [
        {
            "id": 10,
            "name": "Call your senator",
            "active": True,
            "destination_number": "12025550200",
            "voip_number": "18005550100",
            "call_type": "legislator",
            "autoroute": True,
            "subscriber_follow_up": "Thanks for calling! How did it go?",
            "call_timeout": 30,
            "voicemail": False,
            "transcribe": False,
            "shortcode": "55555",
        },
        {
            "id": 11,
            "name": "Ask the hotline",
            "active": True,
            "destination_number": "12025550201",
            "destination_description": "Front desk",
            "voip_number": "18005550101",
            "call_type": "single number",
            "autoroute": False,
            "subscriber_follow_up": "Thanks for calling! How did it go?",
            "call_timeout": 60,
            "failover_number": "12025550199",
            "failover_text": "All lines are busy & we're sorry",
            "voicemail": True,
            "transcribe": True,
            "shortcode": "55555",
        },
    ],
    "mconnects__tags": [
        {"mconnect_id": 10, "tag": "actions"},
        {"mconnect_id": 10, "tag": "calls"},
        {"mconnect_id": 11, "tag": "actions"},
    ],
    "tinyurls": [
        {
            "id": 8101,
            "created_at": "2024-01-01T00:00:00Z",
            "name": "Petition",
            "mode": "interstitial",
            "url": "http://www.example.org/petition?lang=en&src=sms",
            "host": "lil.example.org",
            "key": "petition",
        },
        {
            "id": 8103,
            "created_at": "2024-01-01T00:00:00Z",
            "name": "Donate",
            "mode": "interstitial",
            "url": "https://give.example.org/winter?amount=5&amp=1",
            "host": "lil.example.org",
            "key": "give",
        },
    ],
    "mdatas": [
        {
            "id": 4667,
            "name": "Polling places",
            "type": "database",
            "uuid": "MD8C3C00000000000000000000000000001",
        },
        {
            "id": 4680,
            "name": "Web lookup",
            "type": "web_service",
            "uuid": "MDAC9F00000000000000000000000000002",
        },
    ],
    "tags": [
        {
            "id": 31,
            "name": "gotv",
            "taggable_object__type": "campaign",
            "taggable_object__id": 162603,
        },
        {
            "id": 39,
            "name": "actions",
            "taggable_object__type": "mconnect",
            "taggable_object__id": 10,
        },
    ],
    "attachments": [
        {
            "id": 143543,
            "name": "diag",
            "thumbnail_link": "http://www.example.org/attachments/0/display?size=small",
        },
        {
            "id": 143560,
            "name": "Sunrise & sea",
            "thumbnail_link": "http://www.example.org/attachments/1/display?size=small",
        },
    ],
    "call_counts": [{"mconnect_id": 10, "call_count": 1}, {"mconnect_id": 11, "call_count": 1}],
    "donation_summaries": [
        {
            "fundraising_id": 501,
            "name": "Winter Appeal",
            "accepted__count": 3,
            "accepted__amount": 45.0,
            "pending__count": 0,
            "pending__amount": 0.0,
        }
    ],
    "mdata_entries": [
        {
            "id": 91000,
            "mdata_id": 4667,
            "created_at": "2024-01-01T00:00:00Z",
            "input": "94401",
            "output": "Your polling place: City Hall, 1 Main St",
        }
    ],
}

EXPECTED["group_members"] = [
    {"group_id": group, "profile_id": row["id"], **{k: v for k, v in row.items() if k != "id"}}
    for group in (402704, 402781)
    for row in EXPECTED["profiles"]
]


MEMBERS = {
    "program_id": 121811,
    "campaign_name": "Default Campaign",
    "program_name": "Members & Friends",
    "program_type": "Text to Join",
}
NEWS = {
    **MEMBERS,
    "type": "MT",
    "number": "2025550124",
    "body": "Hi Zoë!\nReply “YES” & we’ll call. 🙌",
    "date": "2025-02-28T23:59:59Z",
    "network": "AT&T",
}
PLEDGE = {
    "message_key": "634b962e8d5925d565e3614ccdcf190a",
    "program_id": 121812,
    "campaign_name": "Spring Drive",
    "program_name": "“Fair Deal” Pledge",
    "program_type": "Info Request",
    "type": "MO",
    "delivery_status": "Received",
    "number": "12025550199",
    "body": "3",
    "date": "2025-05-31T00:00:00Z",
}
MESSAGES: Tables = {
    "mgage_messages": [
        {
            **MEMBERS,
            "message_key": "eb42314c0eadb4d8c7111a4dbaf4393e",
            "type": "MO",
            "delivery_status": "Received",
            "number": "12025550123",
            "body": "JOIN",
            "date": "2025-02-03T08:00:00Z",
            "network": "T-Mobile",
        },
        {**NEWS, "message_key": "dc187ff88543b06f867f3b201ac029e1", "delivery_status": "Delivered"},
        {**NEWS, "message_key": "d496b617e222d1d0d648eeb797e74094", "delivery_status": "Delivered"},
        {
            **NEWS,
            "message_key": "81e09c573530b9a7b691fa38985fd195",
            "delivery_status": "Undelivered",
        },
        {
            **MEMBERS,
            "message_key": "825a2c4a75386737edac5a5a57635919",
            "type": "MO",
            "delivery_status": "Received",
            "number": "12025550124",
            "body": " ",
            "date": "2025-06-01T11:59:58Z",
        },
        {
            **MEMBERS,
            "message_key": "afa0c2a44f570a4b1ceaf6b541b3e265",
            "type": "MT",
            "delivery_status": "Queued",
            "number": "12025550124",
            "date": "2025-06-01T12:00:00Z",
        },
        PLEDGE,
    ],
    "mgage_unknown_program": [PLEDGE],
    "mgage_failures": [PLEDGE],
}

PUSH = {
    "id": "2758ebc5-1db5-4822-a5ed-36121e0674a6",
    "type": "PUSH",
    "from": "Inbox",
    "to": "12025550124",
    "subject": "News",
    "text": "🙌",
    "status": "SENT_TO_CARRIER",
    "date": "2025-05-31T23:59:59.999999Z",
    "client_id": "client1",
    "app_name": "Inbox",
    "platform": "IOS",
}
INVITATION = {"text": "Polls close at 8 pm.\nBring ID & a friend."}
TABLES: dict[str, Tables] = {
    **{name: {"messages": rows} for name, rows in MESSAGES.items()},
    "messangi_messages": {
        "messages": [
            {
                **INVITATION,
                "id": "-6710228708174720670",
                "broadcast_id": "-2490820026197535447",
                "type": "SMS",
                "carrier": "Movistar",
                "from": "98765",
                "to": "12025550123",
                "status": "FINISHED",
                "encoding": "UTF-8",
                "date": "2025-05-20T15:10:15.571000Z",
                "timezone": "America/Caracas",
            },
            PUSH,
            {
                "id": "7",
                "type": "SMS",
                "to": "12025550125",
                "status": "QUEUE",
                "date": "2025-06-01T11:59:58Z",
            },
        ]
    },
    "messangi_broadcasts": {
        "broadcasts": [
            {
                **INVITATION,
                "id": "-2490820026197535447",
                "start_date": "2025-05-20T15:10:14Z",
                "end_date": "2025-05-20T16:00:00Z",
                "expected_messages": 2,
                "sent_messages": 2,
                "status": "2",
                "shortcode": "98765",
            },
            {
                "id": "18",
                "text": "Doors open at 6.",
                "start_date": "2025-07-01T22:00:00Z",
                "expected_messages": 40,
                "sent_messages": 0,
                "status_description": "SCHEDULED",
                "shortcode": "98765",
            },
        ]
    },
    "messangi_shortcodes": {
        "shortcodes": [
            {"user_name": "sandbox", "shortcode": code} for code in ("98765", "12025550100")
        ]
    },
    "messangi_failures": {"messages": [PUSH]},
}


ANA, CARRIER = "d72bbd83-0d01-5cf3-93a3-ef65bc42dbad", "8386ec1b-174c-5af2-aed4-567b08dfe788"
_MADE = {"created_at": "2025-01-13T01:54:01Z", "updated_at": "2025-05-31T23:59:59Z"}
_TEXT = {
    **_MADE,
    "phone_number": "+12025550123",
    "read": False,
    "contact_id": ANA,
    "carrier_id": CARRIER,
}
MOBINITI: dict[str, Tables] = {
    "mobiniti_contacts": {
        "contacts": [
            {
                **_MADE,
                "id": ANA,
                "first_name": "Ana",
                "birth_date": "1980-02-29",
                "phone_number": "+12025550123",
                "reward_points": 3,
                "status": "active",
                "carrier_id": CARRIER,
                "carrier__name": "T-Mobile",
            },
            {
                **_MADE,
                "id": "9913f6fe-c933-54ae-aa9d-981be901ed54",
                "phone_number": "+12025550124",
                "status": "active",
            },
        ]
    },
    "mobiniti_group_contacts": {
        "group_contacts": [
            {"group_id": group, "contact_id": ANA, "status": "active"}
            for group in (MEMBERS_ID, RENT_ID)
        ],
        "contacts__fields": [
            {
                "contact_id": ANA,
                "id": "3f0e6c4e-0f4b-4a3e-9d5c-2f1f7f8f2a10",
                "name": "Shirt size",
                "value": "L",
            }
        ],
    },
    "mobiniti_messages": {
        "messages": [
            {
                **_TEXT,
                "id": "d9c49c80-ca71-5903-a3a9-ba8eadbedc00",
                "message": "Hi Zoë! 🙌",
                "type": "OUTGOING",
                "receipt__code": "100",
                "receipt__status": "The message delivered successfully",
                "receipt__success": True,
            },
            {
                **_TEXT,
                "id": "fde916cc-a601-5d84-b1f8-7b9a3dbd6024",
                "message": "YES",
                "type": "INCOMING",
            },
        ]
    },
    "mobiniti_scheduled_messages": {
        "scheduled_messages": [
            {
                **_MADE,
                "id": "ae8f876d-7103-5c15-8fe4-cce4dff549f4",
                "message": "Soon",
                "send_date": "2025-06-02T00:00:00Z",
            }
        ]
    },
}

OPT_IN = "2008-10-01T04:19:17Z"
JOINED = {
    "campaign_id": 1,
    "created_at": "2008-12-19T19:59:28Z",
    "timing_sequence_start_at": "2008-12-19T19:59:28Z",
    "timing_sequence_end_at": "2008-12-20T02:15:00Z",
}
PRIMARY = {"id": 10, "active": True, "managed_by_account_id": 1}
TEXTME: dict[str, Tables] = {
    "textme_accounts": {
        "accounts": [
            {**PRIMARY, "name": "Tenants & Neighbors", "timezone__code": "CST"},
            {**PRIMARY, "id": 11, "managed_by_account_id": 10, "name": "Volunteers “North”"}
            | {"timezone__code": "CST"},
            {"id": 12, "active": False, "managed_by_account_id": 10, "name": "Youth"}
            | {"timezone__code": "EST"},
        ]
    },
    "textme_carriers": {
        "carriers": [
            {"id": 1, "name": "Alltel"},
            {"id": 2, "name": "Bell Mobility"},
            {"id": 3, "name": "AT&T"},
            {"id": 4, "name": "U.S. Cellular"},
        ]
    },
    "textme_campaigns": {
        "campaigns": [
            {"id": 1, "description": "Welcome", "keyword": "WELCOME", "account_id": 10}
            | {"status": "active", "campaign_type": "TIMED"},
            {"id": 2, "description": "Rent & news", "keyword": "RENT", "account_id": 10}
            | {"status": "active", "campaign_type": "SUB"},
            {"id": 3, "keyword": "COLOR", "account_id": 10}
            | {"status": "past", "campaign_type": "VOTE"},
            {"id": 5, "keyword": "NORTH", "account_id": 11}
            | {"status": "active", "campaign_type": "TIMED"},
            {"id": 4, "keyword": "OLD", "account_id": 10}
            | {"status": "deleted", "campaign_type": "INFO"},
        ]
    },
    "textme_timed_campaigns": {
        "timed_campaigns": [
            {
                "id": 12,
                "campaign_id": 1,
                "created_at": "2008-12-19T19:52:00Z",
                "updated_at": "2008-12-29T19:53:53Z",
                "opt_in_sms_message": "This is your opt-in message",
                "subsequent_opt_in_attempt_sms_message": "This is your subsequent message ✊🏿",
            },
            {"id": 13, "campaign_id": 5},
        ]
    },
    "textme_timed_campaign_participants": {
        "timed_campaign_participants": [
            {**JOINED, "participant_key": key, "mobile_phone": phone}
            for key, phone in (
                ("b09e34ec9cf452afa7d72c927a8b07bd", "2025550101"),
                ("3727fdedc68b2a32d5944574e0533c8c", "2025550102"),
                ("d75cf18813b235ac3bc08534d5a424ab", "2025550102"),
            )
        ]
    },
    "textme_subscriptions": {
        "subscriptions": [
            {
                "subscription_key": "bb9687a5b8265e358f006fc9a7f27656",
                "campaign_id": 2,
                "opt_in_at": OPT_IN,
                "mobile_phone": "2025550103",
            },
            {
                "subscription_key": "e4dcaa97bcb820c571ebeef27131ab70",
                "campaign_id": 2,
                "opt_in_at": OPT_IN,
                "confirmed_at": "2008-10-01T04:20:00Z",
                "mobile_phone": "2025550104",
                "birthday_on": "1980-02-29",
                "carrier_id": 1,
                "email": "person4@example.org",
                "first_name": "Zoë",
                "gender": "F",
                "last_name": "Smith & Sons",
                "postal_code": "02109",
                "timezone_id": 6,
            },
        ]
    },
    "textme_vote_campaigns": {
        "vote_campaigns": [
            {
                "id": 786,
                "campaign_id": 3,
                "question": "What is your favorite color?",
                "start_at": "2010-02-16T17:17:00Z",
                "end_at": "2010-03-31T16:18:00Z",
            }
        ],
        "vote_campaigns__options": [
            {"vote_campaign_id": 786, "option_name": "blue", "option_keyword": "BLUE"}
            | {"option_vote_count": 1},
            {"vote_campaign_id": 786, "option_name": "red", "option_keyword": "RED"}
            | {"option_vote_count": 2},
        ],
        "vote_campaigns__options__aliases": [
            {"vote_campaign_id": 786, "option_keyword": "BLUE", "alias": "B"},
            {"vote_campaign_id": 786, "option_keyword": "BLUE", "alias": "BLU"},
        ],
    },
}
TABLES |= {**MOBINITI, **TEXTME}


def wanted(name: str) -> Tables:
    """The tables that come out of a cassette."""
    return TABLES.get(name) or {
        table: rows
        for table, rows in EXPECTED.items()
        if table == name or table.startswith(f"{name}__")
    }


@pytest.fixture
def play(tmp_path: Path) -> Callable[[str], Tables]:
    """Loads what is on a cassette and returns its tables."""

    def load(name: str) -> Tables:
        tape = record.TAPES[name]
        file = tmp_path / "cassette.duckdb"
        pipeline = dlt.pipeline(
            "cassettes",
            pipelines_dir=str(tmp_path / "state"),
            destination=dlt.destinations.duckdb(str(file)),
            dataset_name="played",
        )
        player = record.recorder(tape.root).use_cassette(
            str(record.cassette_file(name)), record_mode="none"
        )
        with record.stopped_clock(), player as cassette:
            # While one thread connects, vcrpy lets another through to the network.
            source = tape.make_source(
                base_url=tape.root,
                credentials=tape.credentials,
                concurrency=1,
                **tape.settings,
            )
            pipeline.run(source.with_resources(tape.resource))
            # Every request on it was made, and, or there would have been an error, no other.
            assert cassette.all_played
        with duckdb_client.connect(str(file), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'; USE played")
            tables = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'played'"
            ).fetchall()
            return {
                table: _rows(connection, table)
                for (table,) in tables
                if not table.startswith("_dlt")
            }

    return load


def _rows(connection: duckdb_client.DuckDBPyConnection, table: str) -> list[Row]:
    answer = connection.execute(f"SELECT * FROM {table} ORDER BY ALL")
    names = [column[0] for column in answer.description]
    return [
        {
            name: _plain(value)
            for name, value in zip(names, row)
            if value is not None and not name.startswith("_")
        }
        for row in answer.fetchall()
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime(f"%Y-%m-%dT%H:%M:%S{'.%f' if value.microsecond else ''}Z")
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def cassette(name: str) -> list[dict[str, Any]]:
    """Requests and answers as the file has them."""
    text = record.cassette_file(name).read_text(encoding="utf-8")
    interactions: list[dict[str, Any]] = yaml.safe_load(text)["interactions"]
    return interactions


def in_any_order(rows: list[Row]) -> list[list[tuple[str, Any]]]:
    return sorted(sorted(row.items()) for row in rows)


@pytest.mark.parametrize("name", CASSETTES)
def test_the_rows_of_a_resource_come_out_of_its_answers(
    play: Callable[[str], Tables], name: str
) -> None:
    loaded = play(name)
    assert loaded.pop("rejected_records") == []
    assert set(loaded) == set(wanted(name))
    for table, rows in wanted(name).items():
        assert in_any_order(loaded[table]) == in_any_order(rows), table


@pytest.mark.parametrize("name", CASSETTES)
def test_a_resource_asks_for_this_and_nothing_else(name: str) -> None:
    root, asked = record.TAPES[name].root, []
    for request in (interaction["request"] for interaction in cassette(name)):
        url = urlsplit(request["uri"])
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        assert (request["method"], request["body"]) == ("GET", None)
        assert request["uri"].startswith(root)
        company = "FILTERED" if record.TAPES[name].settings.get("company") else None
        assert query.pop("company", None) == company
        asked.append((url.path.removeprefix(urlsplit(root).path), query))
    assert asked == REQUESTS[name]


def test_every_next_page_is_at_the_address_that_is_asked_for_next() -> None:
    interactions = cassette("mgage_messages")
    links = [
        json.loads(interaction["response"]["body"]["string"])["meta"]["nextPageUrl"]
        for interaction in interactions
    ]
    asked = [interaction["request"]["uri"] for interaction in interactions]
    assert links[:3] == [*asked[1:3], None]
    # Read again, the pages name the same.
    assert links[3:5] == links[:2]


def test_every_resource_has_a_cassette_and_every_cassette_a_resource() -> None:
    folder = Path(record.__file__).parent
    resources = {endpoint.name for endpoint in ENDPOINTS}
    files = {file.stem for file in folder.glob("*.yaml") if file != record.ACCOUNT}
    assert files == set(CASSETTES)
    assert set(TABLES) == set(CASSETTES) - resources


@pytest.mark.parametrize("name", CASSETTES)
def test_a_request_says_what_it_accepts_and_a_cassette_not_who_asked(name: str) -> None:
    for interaction in cassette(name):
        headers = interaction["request"]["headers"]
        assert {name.lower() for name in headers} == {"accept", "accept-encoding"}
        assert "gzip" in headers["Accept-Encoding"][0]
        answer = interaction["response"]
        kept = {"content-type"} if answer["body"]["string"] else set()
        assert {name.lower() for name in answer["headers"]} == kept
    text = record.cassette_file(name).read_text(encoding="utf-8").lower()
    keys = ("sandbox-public-key", "sandbox-private-key")
    for secret in ("authorization", "basic ", "bearer", "password", record.COMPANY.lower(), *keys):
        assert secret not in text


@pytest.mark.parametrize("name", CASSETTES)
def test_a_cassette_holds_invented_people_only(name: str) -> None:
    text = record.cassette_file(name).read_text(encoding="utf-8")
    for number in re.findall(r"(?<![\w/.])1?-?(\d{3}-?\d{3}-?\d{4})(?![\w-])", text):
        digits = number.replace("-", "")
        # Ids are as long as numbers; they stand in attributes and elements of their own.
        if re.search(rf"<(?:\w*_)?id[ >][^<]*{number}|id=\"{number}\"", text):
            continue
        assert digits[3:6] == "555", number
    for host in re.findall(r"@([\w.-]+)|https?://([\w.-]+)", text):
        roots = [re.escape(urlsplit(tape.root).netloc) for tape in record.TAPES.values()]
        assert re.search(rf"(^|\.)(example\.(org|com|net)|{'|'.join(roots)})$", "".join(host))


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (
            (
                '<profile id="6480000002"><phone_number>12125550123</phone_number>'
                "<handset_number>+1 (212) 867-5309</handset_number></profile>"
            ),
            r"<handset_number>1202555\d{4}</handset_number>",
        ),
        (
            '[{"id": "6480000002", "number": "12125550123"}, {"number": "12128675309"}]',
            r'{"number": "1202555\d{4}"}\]',
        ),
        (
            '[{"id": 6480000002, "number": 12125550123}, {"number":12128675309}]',
            r'{"number":1202555\d{4}}\]',
        ),
    ],
    ids=["XML", "JSON, text", "JSON, number"],
)
def test_recording_replaces_phone_numbers_that_are_not_invented(body: str, number: str) -> None:
    answer = {"headers": {"Set-Cookie": ["a"]}, "body": {"string": body.encode()}}
    filtered = record._without_people(answer)
    text = filtered["body"]["string"].decode()
    assert "8675309" not in re.sub(r"\D", "", text)
    assert re.search(number, text)
    assert "6480000002" in text
    assert "12125550123" in text
    assert filtered["headers"] == {}
