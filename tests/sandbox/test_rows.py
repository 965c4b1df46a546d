"""The sandbox prints each kind of row as the samples do."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from tests.support.clients import MASTER_CAMPAIGN, Client, Open, row_id, service_of, time, written
from textlift.sandbox import Sandbox
from textlift.sandbox.mcommons import MobileCommons


def test_a_profile_is_printed_as_in_the_sample(sandbox: Open) -> None:
    client = sandbox(empty=True)
    service_of(client).put(
        "profiles",
        {
            "id": 3470000001,
            "first_name": "Joe & “Jo”",
            "last_name": "O'Neil <3",
            "phone_number": "12025551234",
            "created_at": "2019-06-21T14:49:40Z",
            "updated_at": "2019-06-25T19:33:38Z",
            "source": {"type": "API", "name": "User1", "email": "user1@example.com"},
            "address": {"city": " Brooklyn\r\nNY "},
            "last_saved_location": {"latitude": 38.906639, "state": "DC"},
            "custom_columns": [{"name": "Age", "value": "34"}, {"name": "A & B", "value": None}],
            "subscriptions": [
                {
                    "campaign_id": 162,
                    "campaign_name": 'The "Fund" & more',
                    "campaign_description": "",
                    "opt_in_path_id": None,
                    "status": "Active",
                    "created_at": time("2019-06-21T14:49:40Z"),
                    "opted_out_at": None,
                }
            ],
            "integrations": [
                {"type": "Salesforce", "constituent_id": "C1", "synchronized_at": None}
            ],
            "clicks": [],
        },
    )
    (profile,) = client.listing("profiles")
    assert dict(profile.attrib) == {"id": "3470000001"}
    assert [child.tag for child in profile] == [
        "first_name", "last_name", "phone_number", "email", "status", "created_at", "updated_at",
        "opted_out_at", "opted_out_source", "source", "address", "last_saved_location",
        "custom_columns", "subscriptions", "integrations", "clicks",
    ]  # fmt: skip
    assert profile.findtext("first_name") == "Joe & “Jo”"
    assert profile.findtext("last_name") == "O'Neil <3"
    assert profile.findtext("email") == ""
    assert profile.findtext("created_at") == "2019-06-21 14:49:40 UTC"
    source = {"type": "API", "name": "User1", "email": "user1@example.com"}
    assert dict(profile.find("source").attrib) == source
    assert profile.findtext("address/city") == " Brooklyn\r\nNY "
    assert [child.tag for child in profile.find("address")] == [
        "street1", "street2", "city", "state", "postal_code", "country",
    ]  # fmt: skip
    assert profile.findtext("last_saved_location/latitude") == "38.906639"
    columns = [(each.get("name"), each.text) for each in profile.find("custom_columns")]
    assert columns == [("Age", "\n34    "), ("A & B", None)]
    (subscription,) = profile.find("subscriptions")
    assert dict(subscription.attrib) == {
        "campaign_id": "162",
        "campaign_name": 'The "Fund" & more',
        "campaign_description": "",
        "opt_in_path_id": "",
        "status": "Active",
        "created_at": "2019-06-21T14:49:40Z",
        "opted_out_at": "",
    }
    (integration,) = profile.find("integrations")
    assert integration.get("constituent_id") == "C1"


def test_all_profiles_are_what_the_truth_says(world: Client, service: MobileCommons) -> None:
    for row, element in zip(service.rows("profiles"), world.listing("profiles"), strict=True):
        assert element.findtext("first_name") == (row["first_name"] or "")
        assert element.findtext("updated_at") == written(row["updated_at"])
        assert element.findtext("address/street1") == (row["address"]["street1"] or "")
        assert [child.get("campaign_id") for child in element.iterfind("subscriptions/*")] == [
            str(subscription["campaign_id"]) for subscription in row["subscriptions"]
        ]
        assert {child.get("name"): child.text for child in element.find("custom_columns")} == {
            column["name"]: column["value"] and f"\n{column['value']}    "
            for column in row["custom_columns"]
        }


def test_profiles_by_phone_number(world: Client, service: MobileCommons) -> None:
    one, two, *_ = service.rows("profiles")
    numbers = one["phone_number"], two["phone_number"]
    assert world.ids("profiles", phone_number=",".join(numbers)) == [one["id"], two["id"]]
    as_array = {"phone_number[]": [f"({numbers[0][1:4]}) {numbers[0][4:7]}-{numbers[0][7:]}"]}
    assert world.ids("profiles", **as_array) == [one["id"]]
    assert world.ids("profiles", phone_number="19995550000") == []
    assert world.error("profiles", phone_number="nobody") == (5, "Invalid phone number")


def test_an_incoming_message_holds_its_profile_twice(world: Client, service: MobileCommons) -> None:
    (message,) = world.listing("messages", limit=1)
    row = service.rows("incoming_messages")[0]
    assert list(message.attrib) == ["id", "type", "approved"]
    assert [child.tag for child in message] == [
        "phone_number", "carrier_name", "profile", "body", "message_template_id", "mms",
        "multipart", "keyword", "received_at", "previous_id", "next_id", "campaign", "profile",
    ]  # fmt: skip
    by_id, whole = message.findall("profile")
    assert by_id.text == whole.get("id") == str(row["profile_id"])
    assert whole.findtext("phone_number") == row["phone_number"]
    assert whole.find("custom_columns") is not None
    assert whole.find("subscriptions") is None
    assert message.get("approved") == str(row["approved"]).lower()
    assert dict(message.find("previous_id").attrib) == {"id": str(row["previous_id"] or "")}
    assert list(message.find("campaign").attrib) == ["id", "active"]
    assert message.findtext("campaign/name") == row["campaign"]["name"]
    (message,) = world.listing("messages", limit=1, include_profile="false")
    (by_id,) = message.findall("profile")
    assert by_id.text == str(row["profile_id"])


def test_an_outgoing_message(world: Client, service: MobileCommons) -> None:
    rows = {row["id"]: row for row in service.rows("outgoing_messages")}
    messages = world.listing("sent_messages", limit=50)
    for message in messages:
        row = rows[row_id(message)]
        assert list(message.attrib) == ["id", "type", "status"]
        assert message.findtext("body") == row["body"]
        assert message.findtext("profile") == str(row["profile_id"])
        broadcast = row["broadcast_id"]
        assert message.findtext("broadcast_id") == (None if broadcast is None else str(broadcast))
    assert {message.find("broadcast_id") is None for message in messages} == {True, False}
    (message,) = world.listing("sent_messages", limit=1, include_profile="true")
    assert len(message.findall("profile")) == 2


def test_keywords_of_messages(world: Client, service: MobileCommons) -> None:
    with_keyword = [row for row in service.rows("incoming_messages") if row["keyword"]]
    at = with_keyword[0]["received_at"].isoformat()
    (message,) = world.listing("messages", start_time=at, end_time=at)
    keyword = message.find("keyword")
    assert keyword.get("id") == str(with_keyword[0]["keyword"]["id"])
    assert [child.tag for child in keyword] == ["name", "opt_in_path_id"]


def test_messages_of_a_campaign_and_of_the_master_campaign(
    world: Client, service: MobileCommons
) -> None:
    for endpoint in ("messages", "sent_messages", "broadcasts"):
        rows = service.truth(endpoint)
        mine = [row["id"] for row in rows if row["campaign"]["id"] == 162606]
        assert world.all_ids(endpoint, campaign_id=162606, limit=1000) == mine != []
        # The Master Campaign repeats the messages of all others.
        everything = world.all_ids(endpoint, campaign_id=MASTER_CAMPAIGN, limit=1000)
        assert everything == [row["id"] for row in rows]


def test_broadcasts(world: Client, service: MobileCommons) -> None:
    rows = service.rows("broadcasts")
    broadcasts = world.listing("broadcasts", limit=1000)
    for row, broadcast in zip(rows, broadcasts, strict=True):
        assert dict(broadcast.attrib) == {"id": str(row["id"]), "status": row["status"]}
        assert broadcast.findtext("replies_count") == str(row["replies_count"])
        assert [tag.text for tag in broadcast.find("tags")] == row["tags"]
        for group in broadcast.find("included_groups"):
            assert list(group.attrib) == ["name", "id", "type"]
    for status in ("scheduled", "generated"):
        found = world.all_ids("broadcasts", status=status)
        assert found == [row["id"] for row in rows if row["status"] == status] != []
    assert world.error("broadcasts", status="lost") == (16, "Invalid query parameters")


def test_calls(world: Client, service: MobileCommons) -> None:
    row = service.truth("calls", mconnect_id=11)[0]
    call = world.root("calls", mconnect_id=11)[0]
    assert dict(call.attrib) == {"id": str(row["id"])}
    assert call.findtext("end_time") == written(row["end_time"])
    assert dict(call.find("mconnect").attrib) == {"id": "11"}
    assert call.find("profile").get("id") == str(row["profile"]["id"])
    assert [child.tag for child in call.find("profile")] == [
        "email", "first_name", "last_name", "address",
    ]  # fmt: skip
    call = world.root("calls", mconnect_id=11, include_profile_id_only="true")[0]
    assert call.find("profile").get("id") == str(row["profile"]["id"])
    assert len(call.find("profile")) == 0
    call = world.root("calls", mconnect_id=11, include_profile="true")[0]
    assert call.find("profile/custom_columns") is not None


def test_call_count(world: Client, service: MobileCommons) -> None:
    root = world.root("call_count", mconnect_id=10)
    assert root.findtext("call_count") == str(len(service.truth("calls", mconnect_id=10)))


def test_clicks(world: Client, service: MobileCommons) -> None:
    rows = service.truth("clicks", url_id=8101)
    place, row = next((place, row) for place, row in enumerate(rows) if row["profile_id"])
    click = world.listing("clicks", url_id=8101)[place]
    assert [child.tag for child in click] == [
        "created_at", "url", "clicked_url", "remote_addr", "http_referer", "user_agent",
        "profile_id",
    ]  # fmt: skip
    assert click.findtext("profile_id") == str(row["profile_id"])


def test_mdata_queries(world: Client, service: MobileCommons) -> None:
    row = service.truth("mdata_queries", mdata_id=4667)[0]
    query = world.listing("mdata_queries", mdata_id=4667)[0][0]
    assert query.tag == "query"
    assert dict(query.attrib) == {}
    assert [child.tag for child in query] == [
        "created_at", "keyword", "input", "output", "result", "error_log_body",
        "query_location", "profile",
    ]  # fmt: skip
    assert dict(query.find("profile").attrib) == {}
    assert query.findtext("profile/phone/phone_number") == (row["profile"]["phone"]["phone_number"])
    # As in the sample: blanks around the values of this endpoint's custom columns.
    values = {each.get("name"): each.text for each in query.find("profile/custom_columns")}
    assert values == {
        column["name"]: f" {column['value']} " if column["value"] else " "
        for column in row["profile"]["custom_columns"]
    }


def test_some_queries_are_equal_in_every_field(service: MobileCommons) -> None:
    rows = service.truth("mdata_queries", mdata_id=4667)
    contents = [repr({**row, "id": None}) for row in rows]
    assert any(count == 2 for count in Counter(contents).values())


def test_a_query_that_is_equal_to_another_lies_in_the_same_windows() -> None:
    service = MobileCommons(now="2025-06-01T12:00:00Z", profiles=60)
    asked = [row["created_at"] for row in service.truth("mdata_queries", mdata_id=4667)]
    assert asked[0] == asked[1] < asked[2]
    numbers = []
    with Sandbox(service) as box:
        for window in ({"to": asked[1]}, {"from": asked[1] + timedelta(seconds=1)}):
            times = {name: time.isoformat() for name, time in window.items()}
            listing = Client(box).listing("mdata_queries", mdata_id=4667, **times)
            numbers.append(len(listing[0]))
    assert numbers == [2, len(asked) - 2]


def test_mdata_entries(world: Client) -> None:
    mdata = world.listing("mdata_entries", mdata_id=4667, input="rent")
    assert dict(mdata.attrib) == {"name": "Polling places", "id": "4667", "type": "database"}
    (entry,) = mdata.find("entries")
    assert entry.findtext("input") == "rent"
    assert entry.findtext("output")
    assert len(world.listing("mdata_entries", mdata_id=4667, input="Rent").find("entries")) == 0
    assert world.error("mdata_entries", mdata_id=4667) == (16, "Invalid query parameters")


def test_subscribers_agree_with_the_subscriptions_of_profiles(
    world: Client, service: MobileCommons
) -> None:
    profiles = service.rows("profiles")
    for campaign in service.rows("campaigns"):
        expected = [
            (row["id"], subscription["activated_at"], subscription["opted_out_at"])
            for row in profiles
            for subscription in row["subscriptions"]
            if subscription["campaign_id"] == campaign["id"]
        ]
        rows = service.truth("campaign_subscribers", campaign_id=campaign["id"])
        found = [(row["profile_id"], row["activated_at"], row["opted_out_at"]) for row in rows]
        assert found == expected
    (sub,) = world.listing("campaign_subscribers", campaign_id=162603, limit=1)
    assert [child.tag for child in sub] == [
        "id", "profile_id", "phone_number", "activated_at", "opted_out_at",
    ]  # fmt: skip


def test_no_time_is_printed_in_two_ways(world: Client) -> None:
    rows = world.listing("campaign_subscribers", campaign_id=162603)
    printed = {row.findtext("opted_out_at") for row in rows}
    assert {"", "0000-00-00 00:00:00"} <= printed


def test_group_members_are_whole_profiles(world: Client) -> None:
    profile = world.listing("group_members", group_id=402704)[0]
    assert profile.find("subscriptions") is not None
    assert profile.find("integrations") is None


def test_campaigns(world: Client, service: MobileCommons) -> None:
    rows = service.rows("campaigns")
    campaigns = world.listing("campaigns")
    assert [list(campaign.attrib) for campaign in campaigns] == [["id", "active"]] * len(rows)
    assert campaigns[1].findtext("name") == "Members & Friends"
    assert campaigns.find("campaign/opt_in_paths") is None
    with_paths = world.listing("campaigns", include_opt_in_paths=1)
    paths = with_paths[1].find("opt_in_paths")
    assert [list(path.attrib) for path in paths] == [["id", "active"]] * 2
    assert paths[0].findtext("name")


def test_donation_summary(world: Client, sandbox: Open) -> None:
    start = "2024-01-01T00:00:00Z"
    client = sandbox(profiles=3000)
    summary = client.listing("donation_summary", fundraising_id=502, start_time=start)
    assert summary.tag == "donation_summary"
    assert dict(summary.attrib) == {
        "name": "Strike Fund & Friends",
        "start_time": start,
        "end_time": "",
    }
    accepted, pending = summary
    assert (accepted.tag, pending.tag) == ("accepted", "pending")
    assert int(accepted.get("count")) > 0
    assert int(accepted.get("amount")) > 0
    later = client.listing("donation_summary", fundraising_id=502, start_time="2025-01-01")
    assert 0 < int(later[0].get("count")) < int(accepted.get("count"))


def test_ids_are_attributes_or_elements_as_printed(world: Client) -> None:
    for endpoint in ("campaigns", "groups", "keywords", "mconnects", "tags"):
        assert all(row.get("id") and row.find("id") is None for row in world.listing(endpoint))
    for endpoint in ("tinyurls", "mdatas", "attachments"):
        assert all(row.findtext("id") and not row.attrib for row in world.listing(endpoint))
    assert world.listing("mdatas").find("mdata/entries") is None
