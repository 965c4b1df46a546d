"""The sandbox prints as the service does, to the blank: samples in the style of recorded answers."""

from __future__ import annotations

import pytest
from lxml import etree

from tests.support.clients import Client, Open, service_of, time
from textlift.sandbox import rehearse

PERSON = {
    "id": 258600001,
    "first_name": "Nora",
    "last_name": "Example",
    "phone_number": "44202555128",
    "email": "nora@example.org",
    "status": "Undeliverable",
    "created_at": "2022-06-29T17:28:24Z",
    "updated_at": "2023-03-14T21:46:58Z",
    "opted_out_at": time("2022-09-16T01:07:50Z"),
    "opted_out_source": "Opt-out from API",
    "source": {
        "type": "Keyword",
        "name": "JOIN",
        "id": 12345,
        "opt_in_path_id": 22233,
        "message_id": 12345667,
    },
    "address": {"street1": "1 Example Ave", "city": "Albany", "state": "NY", "country": "US"},
    "last_saved_location": {
        "latitude": 42.000001,
        "longitude": -73.000001,
        "precision": "rooftop",
        "city": "Albany",
        "state": "NY",
        "postal_code": "12207",
        "country": "US",
    },
    "last_saved_districts": {
        "congressional_district": "NY-20",
        "state_upper_district": "NY-",
        "state_lower_district": "NY-",
        "split_district": "No",
    },
    "custom_columns": [
        {"name": "Birthday", "value": None},
        {
            "name": "ombid",
            "created_at": time("2022-07-01T15:19:18Z"),
            "updated_at": time("2022-07-02T15:19:18Z"),
            "value": "14121",
        },
    ],
    "subscriptions": [
        {
            "campaign_id": 22345,
            "campaign_name": "Rent & Repairs ",
            "campaign_description": "",
            "opt_in_path_id": 22233,
            "status": "Opted-Out",
            "opt_in_source": "JOIN",
            "created_at": time("2022-06-29T17:28:24Z"),
            "activated_at": time("2022-06-29T17:28:24Z"),
            "opted_out_at": time("2022-07-01T15:18:59Z"),
            "opt_out_source": "Texted a STOP word",
        }
    ],
    "integrations": [{"constituent_id": None, "type": "Salesforce", "synchronized_at": None}],
    "clicks": [
        {
            "id": 114680924,
            "created_at": time("2022-11-23T22:14:25Z"),
            "url": "https://example.org/act?a=1&b=2",
            "remote_addr": "192.0.2.1",
        }
    ],
}
PRINTED = """\
<profile id="258600001">
  <first_name>Nora</first_name>
  <last_name>Example</last_name>
  <phone_number>44202555128</phone_number>
  <email>nora@example.org</email>
  <status>Undeliverable</status>
  <created_at>2022-06-29 17:28:24 UTC</created_at>
  <updated_at>2023-03-14 21:46:58 UTC</updated_at>
  <opted_out_at>2022-09-16 01:07:50 UTC</opted_out_at>
  <opted_out_source>Opt-out from API</opted_out_source>
  <source type="Keyword" name="JOIN" id="12345" opt_in_path_id="22233" message_id="12345667"/>
  <address>
    <street1>1 Example Ave</street1>
    <street2/>
    <city>Albany</city>
    <state>NY</state>
    <postal_code/>
    <country>US</country>
  </address>
  <last_saved_location>
    <latitude>42.000001</latitude>
    <longitude>-73.000001</longitude>
    <precision>rooftop</precision>
    <city>Albany</city>
    <state>NY</state>
    <postal_code>12207</postal_code>
    <country>US</country>
  </last_saved_location>
  <last_saved_districts>
    <congressional_district>NY-20</congressional_district>
    <state_upper_district>NY-</state_upper_district>
    <state_lower_district>NY-</state_lower_district>
    <split_district>No</split_district>
  </last_saved_districts>
  <custom_columns>
    <custom_column name="Birthday"/>
    <custom_column name="ombid" created_at="2022-07-01T15:19:18Z" updated_at="2022-07-02T15:19:18Z">
14121    </custom_column>
  </custom_columns>
  <subscriptions>
    <subscription campaign_id="22345" campaign_name="Rent &amp; Repairs " campaign_description="" \
opt_in_path_id="22233" status="Opted-Out" opt_in_source="JOIN" created_at="2022-06-29T17:28:24Z" \
activated_at="2022-06-29T17:28:24Z" opted_out_at="2022-07-01T15:18:59Z" \
opt_out_source="Texted a STOP word"/>
  </subscriptions>
  <integrations>
    <integration constituent_id="" type="Salesforce" synchronized_at=""/>
  </integrations>
  <clicks>
    <click id="114680924">
      <created_at>2022-11-23 22:14:25 UTC</created_at>
      <url>https://example.org/act?a=1&amp;b=2</url>
      <remote_addr>192.0.2.1</remote_addr>
    </click>
  </clicks>
</profile>
"""
EMPTY_LISTS = """\
  <custom_columns>
  </custom_columns>
  <integrations>
  </integrations>
  <clicks>
  </clicks>
</profile>
"""
#: As all profiles were printed before 2019.
LOCATION = """\
  </address>
  <location>
    <latitude>{location[latitude]}</latitude>
    <longitude>{location[longitude]}</longitude>
    <precision>{location[precision]}</precision>
    <city>{location[city]}</city>
    <state>{location[state]}</state>
    <postal_code>{location[postal_code]}</postal_code>
    <country>US</country>
  </location>
  <districts>
    <congressional_district>{districts[congressional_district]}</congressional_district>
    <state_upper_district>{districts[state_upper_district]}</state_upper_district>
    <state_lower_district>{districts[state_lower_district]}</state_lower_district>
    <split_district>{districts[split_district]}</split_district>
  </districts>
  <custom_columns>
"""
NO_DISTRICTS = """\
  </last_saved_location>
  <last_saved_districts>
  </last_saved_districts>
  <custom_columns>
"""
DRAFT = """\
<broadcast id="2536296" status="draft">
  <name>Broadcast of April</name>
  <body>hi, what's your email?
    Msg&amp;DataRatesMayApply</body>
  <campaign id="228634" active="true">
    <name>Dogs</name>
  </campaign>
  <delivery_time/>
  <include_subscribers>true</include_subscribers>
  <throttled>false</throttled>
  <localtime>false</localtime>
  <automated>false</automated>
  <estimated_recipients_count/>
  <replies_count>0</replies_count>
  <opt_outs_count>0</opt_outs_count>
  <included_groups>
    <group name="testing" id="889110" type="UploadedGroup">
    </group>
  </included_groups>
  <excluded_groups>
  </excluded_groups>
  <tags>
    <tag>someone@example.org</tag>
  </tags>
</broadcast>
"""
GROUPS = """\
<groups>
<group id="14" type="FilteredGroup" status="active">
  <name>Group One</name>
  <size>2</size>
  <hint>Near &amp; far</hint>
</group>
<group id="91" type="UploadedGroup" status="inactive">
  <name>Group Two</name>
  <size>1</size>
</group>
</groups>
"""
SUBSCRIBER = """\
<sub>
  <id>4</id>
  <profile_id>258600001</profile_id>
  <phone_number>44202555128</phone_number>
  <activated_at>0000-00-00 00:00:00</activated_at>
  <opted_out_at>0000-00-00 00:00:00</opted_out_at>
</sub>
"""
ENTRY = """\
<entries>
<entry>
  <id>91001</id>
  <mdata_id>7</mdata_id>
  <created_at>2022-07-01 15:19:18 UTC</created_at>
  <input>rent</input>
  <output>Call us</output>
</entry>
</entries>
"""
TAG = """\
<tag id="31">
  <name>gotv</name>
  <taggable_object id="162" type="campaign"/>
</tag>
"""


@pytest.fixture
def client(sandbox: Open) -> Client:
    """An account with nothing in it yet."""
    return sandbox(empty=True)


def printed(client: Client, endpoint: str, **params: object) -> str:
    return client.get(endpoint, **params).text


def test_a_profile(client: Client) -> None:
    service_of(client).put("profiles", PERSON)
    assert printed(client, "profiles") == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<response success="true">\n'
        f'<profiles num="1" page="1">\n{PRINTED}</profiles>\n</response>'
    )


def test_a_profile_without_lists(client: Client) -> None:
    service_of(client).put("profiles", {"id": 1})
    text = printed(client, "profiles")
    assert text.endswith(f"  </last_saved_location>\n{EMPTY_LISTS}</profiles>\n</response>")


def test_a_member_of_a_group(client: Client) -> None:
    service = service_of(client)
    service.put("profiles", PERSON)
    service.put("groups", {"id": 14, "name": "Group One", "type": "FilteredGroup"})
    service.add_member(14, PERSON["id"])
    start, end = PRINTED.index("  <integrations>"), PRINTED.index("  <clicks>")
    assert printed(client, "group_members", group_id=14) == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<response success="true">\n'
        '<group name="Group One" id="14" type="FilteredGroup">\n'
        f"{PRINTED[:start]}{PRINTED[end:]}</group>\n</response>"
    )


def test_a_part_in_a_message_is_indented(client: Client) -> None:
    service = service_of(client)
    service.put("profiles", PERSON)
    service.put("incoming_messages", {"id": 1, "profile_id": PERSON["id"], "body": "a\nb"})
    text = printed(client, "messages")
    assert "\n  <body>a\nb</body>\n" in text
    assert "\n14121      </custom_column>\n    </custom_columns>\n    <integrations>\n" in text
    assert text.endswith("    </clicks>\n  </profile>\n</message>\n</messages>\n</response>")


def test_profiles_of_long_ago_and_districts_without_values(sandbox: Open) -> None:
    client = sandbox(profiles=300)
    text = printed(client, "profiles")
    old = [row for row in service_of(client).rows("profiles") if row.get("districts")]
    assert old
    for row in old:
        assert LOCATION.format(**row) in text
    assert NO_DISTRICTS in text
    assert "<state_upper_district>NY-</state_upper_district>" in text
    assert "</profile>\n<profile " in text


def test_groups(client: Client) -> None:
    service = service_of(client)
    one = {"id": 14, "name": "Group One", "type": "FilteredGroup", "size": 2, "hint": "Near & far"}
    service.put("groups", one)
    service.put("groups", {"id": 91, "name": "Group Two", "size": 1, "status": "inactive"})
    assert GROUPS in printed(client, "groups")


def test_a_draft(client: Client) -> None:
    service = service_of(client)
    draft = {
        "id": 2536296,
        "status": "draft",
        "name": "Broadcast of April",
        "body": "hi, what's your email?\n    Msg&DataRatesMayApply",
        "campaign": {"id": 228634, "active": True, "name": "Dogs"},
        "estimated_recipients_count": None,
        "included_groups": [{"name": "testing", "id": 889110, "type": "UploadedGroup"}],
        "tags": ["someone@example.org"],
    }
    service.put("broadcasts", draft)
    service.update("broadcasts", draft["id"], delivery_time=None)
    assert DRAFT in printed(client, "broadcasts")


def test_a_subscriber_without_times(client: Client) -> None:
    service = service_of(client)
    service.put("campaigns", {"id": 162})
    person = {key: PERSON[key] for key in ("phone_number",)}
    service.put("subscribers", {"id": 4, "campaign_id": 162, "profile_id": PERSON["id"], **person})
    service.update("subscribers", 4, activated_at=None)
    assert SUBSCRIBER in printed(client, "campaign_subscribers", campaign_id=162)


def test_an_entry_and_a_tag(client: Client) -> None:
    service = service_of(client)
    entry = {
        "id": 91001,
        "mdata_id": 7,
        "created_at": time("2022-07-01T15:19:18Z"),
        "input": "rent",
        "output": "Call us",
    }
    service.put("mdatas", {"id": 7, "name": "Rent", "entries": [entry]})
    assert ENTRY in printed(client, "mdata_entries", mdata_id=7, input="rent")
    service.put(
        "tags", {"id": 31, "name": "gotv", "taggable_object": {"id": 162, "type": "campaign"}}
    )
    assert TAG in printed(client, "tags")


def test_errors(client: Client) -> None:
    error = '<response success="false">\n  <error id="6" message="Invalid group id"/>\n</response>'
    answer = client.get("group_members", group_id=5)
    assert answer.status_code == 200
    assert answer.text == f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
    rehearse(client.box, "error-400=6")
    answer = client.get("groups")
    assert (answer.status_code, answer.text) == (400, f"{error}\n")
    assert etree.fromstring(answer.content).find("error").get("id") == "6"
