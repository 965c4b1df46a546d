"""Tests for a warehouse of any kind. A test module collects them by importing them."""

from __future__ import annotations

from tests.support.accounts import TABLES
from tests.support.messages import COLUMNS, PROGRAM, asked
from tests.support.messages import assert_same as assert_same_messages
from tests.support.warehouses import AnyWarehouse, assert_same


def test_a_first_load_and_the_next_ones_bring_every_row_of_every_table(
    account: AnyWarehouse,
) -> None:
    warehouse = account(profiles=100, now="2025-03-01T00:00:00Z")
    summary = warehouse.load(fundraising_ids=[501, 502])
    assert summary.failed == {}
    assert warehouse.tables() == set(TABLES)
    assert_same(warehouse)
    before = warehouse.everything()
    warehouse.load(fundraising_ids=[501, 502])
    assert warehouse.everything() == before
    warehouse.box.service.advance(20 * 3600)
    warehouse.load(whole_read_days=0)
    assert_same(warehouse)


def test_columns_have_the_types_of_the_contract(account: AnyWarehouse) -> None:
    warehouse = account(profiles=10)
    warehouse.load(fundraising_ids=[501])
    for table, name, kind in [
        ("profiles", "id", "BIGINT"),
        ("profiles", "updated_at", "TIMESTAMP"),
        ("profiles", "phone_number", "TEXT"),
        ("profiles", "last_saved_location__latitude", "DOUBLE"),
        ("profiles__subscriptions", "campaign_id", "BIGINT"),
        ("profiles__subscriptions", "activated_at", "TIMESTAMP"),
        ("incoming_messages", "approved", "BOOLEAN"),
        ("outgoing_messages", "broadcast_id", "BIGINT"),
        ("broadcasts", "replies_count", "BIGINT"),
        ("campaigns", "active", "BOOLEAN"),
        ("calls", "duration", "BIGINT"),
        ("mdata_queries", "query_key", "TEXT"),
        ("donation_summaries", "accepted__amount", "DECIMAL"),
        ("rejected_records", "rejected_at", "TIMESTAMP"),
    ]:
        assert warehouse.columns(table)[name] == warehouse.kinds[kind], (table, name)


def test_text_arrives_verbatim_and_nothing_is_null(account: AnyWarehouse) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    bodies = [
        "  two spaces ",
        "line\nline",
        "it's 100% \\n \\N",
        "👍🏽 ñandú ‘quoted’",
        "a\ttab",
        None,
    ]
    for number, body in enumerate(bodies):
        row = {"id": number, "body": body, "received_at": service.now()}
        service.put("incoming_messages", row)
    warehouse.load("incoming_messages")
    loaded = warehouse.query(
        "SELECT body, keyword_id, campaign_id FROM incoming_messages ORDER BY id"
    )
    assert loaded == [(body, None, None) for body in bodies]


def test_a_row_that_is_replaced_keeps_nothing(account: AnyWarehouse) -> None:
    warehouse = account()
    service = warehouse.box.service
    first = service.rows("profiles")[0]["id"]
    service.update("profiles", first, shoe_size="44")
    warehouse.load("profiles")
    del service.rows("profiles")[0]["shoe_size"]
    service.update("profiles", first, first_name="Zoë")
    warehouse.load("profiles")
    loaded = warehouse.query(f"SELECT first_name, shoe_size FROM profiles WHERE id = {first}")
    assert loaded == [("Zoë", None)]


def test_a_first_load_brings_every_message_and_a_second_one_changes_nothing(
    export: AnyWarehouse,
) -> None:
    warehouse = export()
    assert warehouse.load(page_size=100).failed == {}
    assert warehouse.tables() == {"messages", "rejected_records"}
    assert_same_messages(warehouse)
    before = warehouse.everything()
    warehouse.load()
    assert warehouse.everything() == before


def test_messages_have_the_columns_and_types_of_the_contract(export: AnyWarehouse) -> None:
    warehouse = export()
    warehouse.load()
    kinds = warehouse.kinds
    types = {"program_id": kinds["BIGINT"], "date": kinds["TIMESTAMP"]}
    assert warehouse.columns("messages") == {
        **dict.fromkeys(COLUMNS, kinds["TEXT"]),
        **types,
        "_dlt_load_id": kinds["TEXT"],
    }


def test_a_status_that_moved_updates_its_row_and_keeps_its_key(export: AnyWarehouse) -> None:
    warehouse = export()
    warehouse.load()
    keys = "SELECT message_key FROM messages ORDER BY 1"
    before = warehouse.query(keys)
    service = warehouse.box.service
    service.update(PROGRAM, -1, deliveryStatus="Undelivered", network="it’s \\N 100%")
    warehouse.load()
    assert warehouse.query(keys) == before
    assert_same_messages(warehouse)


def test_messages_are_read_from_the_cursors_in_the_destination(export: AnyWarehouse) -> None:
    warehouse = export()
    warehouse.load()
    before = warehouse.everything()
    warehouse.state = warehouse.folder / "another machine"
    warehouse.box.requests.clear()
    warehouse.load()
    assert warehouse.everything() == before
    for program in warehouse.box.service.programs:
        sql = f"SELECT max(date) - INTERVAL '3 days' FROM messages WHERE program_id = {program}"
        ((start,),) = warehouse.query(sql)
        (question,) = asked(warehouse, program)
        assert question["startDate"] == start.strftime("%Y-%m-%dT%H:%M:%S")
