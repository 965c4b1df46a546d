"""Retention: what is too old is removed in every run, and what the service lists does not come back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TODAY, Open, Warehouse, slow_but
from tests.support import webhooks as hooks
from tests.support.hooks import corrupted
from textlift.errors import ConfigurationError
from textlift.mobiniti.endpoints import ENDPOINTS
from textlift.privacy.retention import read_retention
from textlift.registry import SERVICES, endpoints_of
from textlift.sandbox.clock import Clock

RULES = {"free_text": 30, "incoming_messages": 60, "name": 90}
MESSAGES = "SELECT id, body FROM incoming_messages ORDER BY id"
PROFILES = "SELECT id, first_name FROM profiles ORDER BY id"
FIELDS = "SELECT profile_id, value FROM profiles__custom_columns ORDER BY profile_id"
REJECTS = "SELECT row_key FROM rejected_records ORDER BY row_key"


def put_two(warehouse: Any) -> None:
    """Put two messages and two profiles, the first ones older by 40 days."""
    service = warehouse.box.service
    for id, days in ((1, 50), (2, 10)):
        time = service.now() - timedelta(days=days)
        fields = [{"name": "Size", "value": f"size {id}"}]
        service.put("incoming_messages", {"id": id, "received_at": time, "body": f"text {id}"})
        service.put("profiles", {"id": id, "first_name": "Jo", "updated_at": time})
        service.update("profiles", id, custom_columns=fields, updated_at=time)


@pytest.fixture
def two(account: Open, clock: Clock) -> Warehouse:
    warehouse = account(empty=True, now=TODAY)
    put_two(warehouse)
    return warehouse


def test_columns_are_emptied_and_rows_deleted_by_each_run_and_do_not_come_back(
    two: Warehouse, clock: Clock
) -> None:
    two.load("profiles", "incoming_messages")
    summary = two.load("profiles", "incoming_messages", retention_days=RULES)
    assert summary.aged == {"incoming_messages": 1, "profiles__custom_columns": 1}
    assert two.query(MESSAGES) == [(1, None), (2, "text 2")]
    assert two.query(FIELDS) == [(1, None), (2, "size 2")]
    assert two.query(PROFILES) == [(1, "Jo"), (2, "Jo")]
    clock.advance(21 * 86400)
    summary = two.load("profiles", "incoming_messages", retention_days=RULES)
    # The second message and profile were read again, and are stored without their texts.
    assert summary.aged == {"incoming_messages": 1}
    for settings in ({}, {"whole_read_days": 0}, {"full_refresh": True}):
        assert two.query(MESSAGES) == [(2, None)]
        assert two.query(FIELDS) == [(1, None), (2, None)]
        assert two.query(PROFILES) == [(1, "Jo"), (2, "Jo")]
        summary = two.load("profiles", "incoming_messages", retention_days=RULES, **settings)
        assert (summary.aged, summary.removed, summary.failed) == ({}, {}, {})


def test_a_table_whose_rows_are_all_too_old_is_not_read_from_the_start(
    two: Warehouse, clock: Clock
) -> None:
    settings = {"retention_days": RULES, "start_date": "2024-01-01"}
    two.load("incoming_messages", **settings)
    clock.advance(60 * 86400)
    two.load("incoming_messages", **settings)
    assert two.query(MESSAGES) == []
    two.box.requests.clear()
    two.load("incoming_messages", **settings)
    assert min(request.params["start_time"] for request in two.box.requests) > "2026-05"
    # Without such a rule, the rows of an empty table were lost.
    two.load("incoming_messages", start_date="2024-01-01")
    assert [id for id, _ in two.query(MESSAGES)] == [1, 2]


def test_undeclared_text_and_rejects_age_too(two: Warehouse, clock: Clock) -> None:
    for id in (1, 2):
        two.box.service.update("incoming_messages", id, mms="perhaps")
    shown = "SELECT id, news FROM incoming_messages ORDER BY id"
    with corrupted(two, "messages", b"<body>", b"<news>a secret</news><body>"):
        two.load("incoming_messages", retention_days=RULES)
        assert two.query(shown) == [(1, None), (2, "a secret")]
        # The reject of the first message is as old as the message.
        assert two.query(REJECTS) == [("2",)]
        clock.advance(31 * 86400)
        two.load("incoming_messages", retention_days=RULES, full_refresh=True)
        assert two.query(shown) == [(2, None)]
        assert two.query(REJECTS) == []


def test_a_row_keeps_its_key_though_what_it_is_computed_from_is_emptied(export: Open) -> None:
    warehouse = export(messages=300)
    keys = "SELECT message_key FROM messages ORDER BY 1"
    warehouse.load()
    before = warehouse.query(keys)
    rules = {"phone": 100, "free_text": 100}
    warehouse.load(retention_days=rules, full_refresh=True)
    assert warehouse.query(keys) == before
    ((count, left),) = warehouse.query("SELECT count(*), count(number) FROM messages")
    assert 0 < left < count


def test_webhooks_age_from_their_receipt(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    settings = {"retention": read_retention(ENDPOINTS, {"delivery_reports": 30, "free_text": 10})}
    report = {"statuses": [{"code": "1", "recipients": ["12025550101"]}], "messages": []}
    for days in (40, 5):
        body = {"code": str(days), "message": "Hi", "description": ""}
        hooks.put(storage, "rejections", body, received_at=TODAY - timedelta(days=days))
        hooks.put(
            storage,
            "delivery_reports",
            {**report, "messages": [{"id": days}]},
            received_at=TODAY - timedelta(days=days),
        )
    warehouse = hooks.warehouse_of(storage, tmp_path)
    warehouse.load("rejections", "delivery_reports", **settings)
    found = warehouse.query("SELECT code, message FROM rejections ORDER BY received_at")
    assert found == [("40", None), ("5", "Hi")]
    for table in ("delivery_reports", "delivery_report_recipients"):
        assert len(warehouse.content(table)) == 1


@pytest.mark.parametrize(
    "open_service", slow_but(slice(1), ["postgres", "delta", "iceberg"]), indirect=True
)
def test_other_destinations(elsewhere: Callable[..., Any], clock: Clock) -> None:
    warehouse = elsewhere(empty=True, now=TODAY)
    put_two(warehouse)
    warehouse.load("profiles", "incoming_messages")
    for days in (0, 21):
        clock.advance(days * 86400)
        warehouse.load("profiles", "incoming_messages", retention_days=RULES)
    assert warehouse.query(MESSAGES) == [(2, None)]
    assert warehouse.query(FIELDS) == [(1, None), (2, None)]
    assert warehouse.query(PROFILES) == [(1, "Jo"), (2, "Jo")]


# Settings


@pytest.mark.parametrize("service", SERVICES)
def test_numbers_can_age_at_every_service(service: str) -> None:
    for endpoint in read_retention(endpoints_of(service), {"phone": 30}).values():
        assert endpoint.time in endpoint.endpoint.columns


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"mesages": 30}, "Do you mean messages"),
        ({"messages": 0}, "a number of days"),
        ({"messages": "a year"}, "a number of days"),
        ({"shortcodes": 30}, "no time"),
        ({"email": 30}, "names no column"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_an_error(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_retention(endpoints_of("messangi"), rules)
