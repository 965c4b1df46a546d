"""A busy minute of webhooks, with a receiver that is killed again and again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.webhooks import KINDS, post_and_kill, segments, warehouse_of

POSTS, RATE, KILLS, CONNECTIONS = 120_000, 2_000, 10, 200
TIME = "2026-06-01T11:00:00.000Z"


@pytest.mark.real_clock
@pytest.mark.slow
def test_what_is_acknowledged_in_a_busy_minute_is_in_the_warehouse_once(tmp_path: Path) -> None:
    def body(number: int) -> bytes:
        contact = {"id": f"contact-{number}", "created_at": TIME, "updated_at": TIME}
        events = [
            {**contact, "received_at": TIME, "message": "STOP", "short_code": "64600"},
            {**contact, "to": "64600", "unsubscribed_at": TIME},
            {
                "total_messages": 1,
                "statuses": [{"code": "100", "count": 1, "recipients": [f"{number:011d}"]}],
                "messages": [{"id": f"message-{number}", "message": "Hello", "metadata": []}],
            },
            {**contact, "status": "resumed"},
            {**contact, "bounces": 1},
            {"code": "", "message": f"{number}", "description": "Unsubscribed"},
        ]
        return json.dumps(events[number % len(KINDS)]).encode()

    storage = tmp_path / "storage"
    posts = [(KINDS[number % len(KINDS)], body(number)) for number in range(POSTS)]
    assert post_and_kill(storage, posts, KILLS, RATE, CONNECTIONS) == POSTS
    warehouse = warehouse_of(storage, tmp_path)
    summary = warehouse.load()
    assert (summary.failed, summary.rejected) == ({}, 0)
    each = POSTS // len(KINDS)
    with warehouse.reading():
        for table, column in {
            **dict.fromkeys(KINDS, "contact_id"),
            "delivery_reports": "event_id",
            "delivery_report_recipients": "recipient",
            "delivery_report_messages": "message_id",
        }.items():
            if table != "rejections":
                query = f"SELECT count(*), count(DISTINCT {column}) FROM {table}"
                assert warehouse.query(query) == [(each, each)], table
        # Posts of the last hour and of this one can be two rows: a rejection has no time.
        [(rows, messages)] = warehouse.query(
            "SELECT count(*), count(DISTINCT message) FROM rejections"
        )
    assert messages == each
    assert rows - each < CONNECTIONS * KILLS
    assert segments(storage) == []
