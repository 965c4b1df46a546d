"""The warehouse holds what the service holds: every table, every row, every value, in its type."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import TODAY, Open
from tests.support.accounts import PROFILES, TABLES, assert_same
from tests.support.truth import comparable


def test_a_first_load_brings_every_row_of_every_table(account: Open) -> None:
    warehouse = account(profiles=300)
    summary = warehouse.load(fundraising_ids=[501, 502])
    assert summary.failed == {}
    assert warehouse.tables() == set(TABLES)
    assert_same(warehouse)
    assert warehouse.query("SELECT count(*) FROM donation_summaries") == [(2,)]
    calls = dict(warehouse.query("SELECT mconnect_id, count(*) FROM calls GROUP BY 1"))
    assert dict(warehouse.query("SELECT mconnect_id, call_count FROM call_counts")) == calls


def test_columns_have_the_types_of_the_contract(filled: Open) -> None:
    warehouse = filled({"fundraising_ids": [501]}, profiles=150)
    time, text, flag = "TIMESTAMP WITH TIME ZONE", "VARCHAR", "BOOLEAN"
    for table, key in TABLES.items():
        columns = warehouse.columns(table)
        keyed_by_text = key in ("query_key", "rejection_key")
        assert columns[key] == (text if keyed_by_text else "BIGINT"), table
        assert columns["_dlt_load_id"] == text, table
    for table, name, kind in [
        ("profiles", "updated_at", time),
        ("profiles", "phone_number", text),
        ("profiles", "address__postal_code", text),
        ("profiles", "last_saved_location__latitude", "DOUBLE"),
        ("profiles", "last_saved_districts__congressional_district", text),
        ("profiles__subscriptions", "campaign_id", "BIGINT"),
        ("profiles__subscriptions", "activated_at", time),
        ("incoming_messages", "approved", flag),
        ("incoming_messages", "campaign__active", flag),
        ("incoming_messages", "previous_id", "BIGINT"),
        ("outgoing_messages", "broadcast_id", "BIGINT"),
        ("broadcasts", "replies_count", "BIGINT"),
        ("broadcasts", "throttled", flag),
        ("calls", "duration", "BIGINT"),
        ("clicks", "tinyurl_id", "BIGINT"),
        ("campaigns", "active", flag),
        ("call_counts", "call_count", "BIGINT"),
        ("donation_summaries", "start_time", time),
        ("donation_summaries", "accepted__count", "BIGINT"),
        ("rejected_records", "window_start", time),
    ]:
        assert warehouse.columns(table)[name] == kind, (table, name)


def test_a_second_run_over_unchanged_data_changes_nothing(filled: Open) -> None:
    warehouse = filled({"fundraising_ids": [501]}, profiles=150)
    before = warehouse.everything()
    warehouse.load(fundraising_ids=[501])
    assert warehouse.everything() == before


def test_a_second_run_asks_once_for_each_window_and_parent(filled: Open) -> None:
    warehouse = filled({"fundraising_ids": [501]}, profiles=150)
    warehouse.load()
    service = warehouse.box.service
    asked = [request.endpoint for request in warehouse.box.requests]
    once = ["messages", "sent_messages", "campaigns", "keywords"]
    once += ["mconnects", "tinyurls", "mdatas", "tags", "attachments"]
    assert [asked.count(name) for name in once] == [1] * len(once)
    # A window, and the drafts that have no time yet.
    assert asked.count("broadcasts") == 2
    assert asked.count("call_count") == len(service.rows("mconnects"))
    assert asked.count("mdata_queries") == len(service.rows("mdatas"))
    # A short page that is the longest so far is followed by one more question.
    assert [asked.count("profiles"), asked.count("groups")] == [2, 2]
    for name, parents in (
        ("calls", "mconnects"),
        ("campaign_subscribers", "campaigns"),
        ("group_members", "groups"),
    ):
        count = len(service.rows(parents))
        assert count < asked.count(name) <= 2 * count, name
    # Clicks name no limit: rows are followed by one more question, which finds the end.
    assert asked.count("clicks") <= 2 * len(service.rows("tinyurls"))


def test_time_passes_and_the_next_run_brings_what_changed(account: Open) -> None:
    warehouse = account(profiles=200, now="2025-03-01T00:00:00Z")
    warehouse.load()
    for _ in range(2):
        warehouse.box.service.advance(20 * 3600)
        warehouse.load(whole_read_days=0)
        assert_same(warehouse)


def test_the_last_entry_of_a_list_goes_as_well(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    service = warehouse.box.service
    profile = next(row for row in service.rows("profiles") if row["subscriptions"])
    service.update("profiles", profile["id"], subscriptions=[], custom_columns=[], clicks=[])
    warehouse.load("profiles")
    for table in ("subscriptions", "custom_columns", "clicks"):
        sql = f"SELECT count(*) FROM profiles__{table} WHERE profile_id = {profile['id']}"
        assert warehouse.query(sql) == [(0,)], table
    assert_same(warehouse, *PROFILES)


def test_a_member_who_left_is_gone_also_the_last_one(account: Open) -> None:
    warehouse = account()
    warehouse.load("groups", "group_members")
    service = warehouse.box.service
    emptied, shrunk, *_ = service.rows("groups")
    members = service.truth("group_members", group_id=emptied["id"])
    for member in members:
        service.remove_member(emptied["id"], member["id"])
    service.remove_member(
        shrunk["id"], service.truth("group_members", group_id=shrunk["id"])[0]["id"]
    )
    assert members
    warehouse.load("groups", "group_members")
    assert_same(warehouse, "groups", "group_members")


def test_a_snapshot_is_what_the_service_lists_now_even_if_that_is_nothing(account: Open) -> None:
    warehouse = account()
    warehouse.load("tags", "campaigns")
    service = warehouse.box.service
    for tag in service.rows("tags"):
        service.delete("tags", tag["id"])
    for campaign in service.rows("campaigns"):
        service.update("campaigns", campaign["id"], tags=[])
    warehouse.load("tags", "campaigns")
    assert warehouse.content("tags") == []
    assert warehouse.content("campaigns__tags") == []
    assert warehouse.content("campaigns") != []


def test_an_opt_out_reaches_old_subscribers_when_the_campaign_is_read_whole(account: Open) -> None:
    warehouse = account()
    warehouse.load("campaign_subscribers")
    service = warehouse.box.service
    subscriber, gone, *_ = (row for row in service.rows("subscribers") if not row["opted_out_at"])
    service.update("subscribers", subscriber["id"], opted_out_at=service.now())
    service.delete("subscribers", gone["id"])
    opted_out = f"SELECT opted_out_at FROM campaign_subscribers WHERE id = {subscriber['id']}"
    warehouse.load("campaign_subscribers", whole_read_days=1000)
    assert warehouse.query(opted_out) == [(None,)]
    warehouse.load("campaign_subscribers", whole_read_days=0)
    assert warehouse.query(opted_out) != [(None,)]
    columns = ["campaign_id", "id", "opted_out_at"]
    loaded = warehouse.query("SELECT campaign_id, id, opted_out_at FROM campaign_subscribers")
    assert comparable([dict(zip(columns, row)) for row in loaded], columns) == comparable(
        service.rows("subscribers"), columns
    )


def test_a_whole_read_has_no_start_date_and_drops_nothing_that_is_there(account: Open) -> None:
    warehouse = account()
    warehouse.load("campaign_subscribers")
    everyone = warehouse.content("campaign_subscribers")
    assert len(everyone) == len(warehouse.box.service.rows("subscribers")) > 10
    for _ in range(2):
        warehouse.load("campaign_subscribers", start_date="2025-05-01", whole_read_days=0)
        assert warehouse.content("campaign_subscribers") == everyone
    warehouse.file.unlink()
    warehouse.load("campaign_subscribers", start_date="2025-05-01")
    assert warehouse.content("campaign_subscribers") == everyone


def test_a_campaign_that_lost_its_last_subscriber_is_empty_after_a_whole_read(
    account: Open,
) -> None:
    warehouse = account()
    warehouse.load("campaign_subscribers")
    service = warehouse.box.service
    campaign = service.rows("subscribers")[0]["campaign_id"]
    for row in service.rows("subscribers"):
        if row["campaign_id"] == campaign:
            service.delete("subscribers", row["id"])
    warehouse.load("campaign_subscribers", whole_read_days=0)
    sql = f"SELECT count(*) FROM campaign_subscribers WHERE campaign_id = {campaign}"
    assert warehouse.query(sql) == [(0,)]
    assert warehouse.query("SELECT count(*) FROM campaign_subscribers") != [(0,)]


@pytest.mark.parametrize(
    ("resource", "kind", "age", "changes"),
    [
        ("outgoing_messages", "outgoing_messages", timedelta(days=2), {"status": "undeliverable"}),
        ("broadcasts", "broadcasts", timedelta(days=25), {"replies_count": 777}),
        ("calls", "calls", timedelta(hours=20), {"transcription": "We count on you"}),
    ],
)
def test_rows_that_change_after_their_cursor_are_read_again(
    account: Open, resource: str, kind: str, age: timedelta, changes: dict[str, Any]
) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    now = service.now()
    times = {"outgoing_messages": "sent_at", "broadcasts": "delivery_time", "calls": "end_time"}
    service.put("mconnects", {"id": 10, "name": "Call", "active": True})
    for row_id, time in ((1, now - age), (2, now)):
        service.put(kind, {"id": row_id, "mconnect_id": 10, times[kind]: time})
    warehouse.load(resource)
    service.update(kind, 1, **changes)
    warehouse.load(resource)
    ((name, value),) = changes.items()
    assert warehouse.query(f"SELECT {name} FROM {resource} WHERE id = 1") == [(value,)]


def test_broadcasts_scheduled_ahead_and_drafts_without_a_time_are_there(account: Open) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    ahead = TODAY + timedelta(days=200)
    service.put("broadcasts", {"id": 1, "status": "scheduled", "delivery_time": ahead})
    service.put("broadcasts", {"id": 2, "status": "draft"})
    service.update("broadcasts", 2, delivery_time=None)
    warehouse.load("broadcasts")
    service.update("broadcasts", 1, delivery_time=ahead + timedelta(days=1))
    warehouse.load("broadcasts")
    sql = "SELECT id, delivery_time FROM broadcasts ORDER BY id"
    (first, second) = warehouse.query(sql)
    assert first[1] == ahead + timedelta(days=1)
    assert second == (2, None)


def test_text_arrives_verbatim(account: Open) -> None:
    warehouse = account(empty=True)
    bodies = [
        "  two spaces ",
        "line\nline",
        "a & b < c > d",
        "“quoted” – ‘it’s’",
        "👍🏽 ñandú",
        " ",
    ]
    for number, body in enumerate(bodies, 1):
        warehouse.box.service.put(
            "incoming_messages",
            {"id": number, "body": body, "received_at": warehouse.box.service.now()},
        )
    warehouse.load("incoming_messages")
    loaded = warehouse.query("SELECT body FROM incoming_messages ORDER BY id")
    assert [body for (body,) in loaded] == bodies


def test_equal_queries_of_one_second_stay_as_many_and_keep_their_keys(account: Open) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    service.put("mdatas", {"id": 4667, "name": "Lookup", "type": "database"})
    query = {
        "mdata_id": 4667,
        "created_at": service.now(),
        "input": "11222",
        "profile": {"status": "Active Subscriber", "phone": {"phone_number": "12025550100"}},
    }
    for number in (1, 2, 3):
        service.put("mdata_queries", {**query, "id": number})
    warehouse.load("mdata_queries")
    keys = warehouse.query("SELECT query_key FROM mdata_queries ORDER BY 1")
    assert len(keys) == 3
    changed = {**query["profile"], "status": "Undeliverable"}
    service.update("mdata_queries", 2, profile=changed)
    service.put("mdata_queries", {**query, "id": 4, "created_at": service.now()})
    warehouse.load("mdata_queries")
    after = warehouse.query("SELECT query_key FROM mdata_queries ORDER BY 1")
    assert len(after) == 4
    assert set(keys) < set(after)
    status = "SELECT count(*) FROM mdata_queries WHERE profile__status = 'Undeliverable'"
    assert warehouse.query(status) == [(1,)]
