"""Segments to tables: each event once, and no segment deleted before its rows are committed."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT, Warehouse
from tests.support.commands import PATIENCE
from tests.support.forks import forked
from tests.support.webhooks import put, segments, warehouse_of, webhooks_source
from textlift.load.loading import load
from textlift.load.plan import plan_load
from textlift.mobiniti.webhooks import DELIVERY_CODES, WEBHOOKS
from textlift.webhooks.settings import open_storage
from textlift.webhooks.storage import Names, new_receiver

AT = datetime(2026, 6, 1, 11, 30, tzinfo=timezone.utc)
CONTACT = {
    "id": "f82e541a-a4b1-11e8-a85f-127fd0971098",
    "first_name": None,
    "last_name": None,
    "email": None,
    "phone_number": "+12025550143",
    "created_at": "2016-07-01T15:11:09.553Z",
    "updated_at": "2016-07-01T15:11:09.553Z",
}
TIME = "2016-07-01T15:11:09.553Z"
#: As the vendor's page prints them.
BODIES: dict[str, dict[str, Any]] = {
    "inbound_messages": {
        **CONTACT,
        "short_code": "64600",
        "message": "This is an example message",
        "unsubscribed_at": None,
        "received_at": TIME,
    },
    "unsubscribes": {**CONTACT, "to": "64600", "unsubscribed_at": TIME},
    "delivery_reports": {
        "total_messages": 1,
        "statuses": [
            {
                "code": "100",
                "status": "The message delivered successfully.",
                "count": 1,
                "recipients": ["12025550143"],
                "success": True,
                "bounce": False,
            }
        ],
        "messages": [
            {
                "id": "a8a2b40a-86ae-4a91-a61d-7b7ccfc4b148",
                "from": "+12025550100",
                "message": "This is an example message",
                "phone_number": "2025550143",
                "metadata": [],
            }
        ],
    },
    "contact_status_changes": {**CONTACT, "status": "deactivated"},
    "bounces": {**CONTACT, "unsubscribed_at": TIME, "bounces": 2},
    "rejections": {"code": "", "message": "", "description": "Unsubscribed"},
}
#: ``-c RUN storage folder action``: loads, and is killed when it is about to do what ``action`` says.
RUN = """
import os, signal, sys
from pathlib import Path
from tests.support.webhooks import warehouse_of, webhooks_source
from textlift.webhooks.storage import Storage
storage, folder, action = sys.argv[1:]
def killed(*arguments):
    if arguments[-1]:
        os.kill(os.getpid(), signal.SIGKILL)
if action == "delete":
    Storage.delete = killed
warehouse = warehouse_of(storage, Path(folder))
if action == "commit":
    pipeline = warehouse.pipeline()
    pipeline.extract(warehouse.source())
    pipeline.normalize()
    killed(action)
warehouse.load()
"""


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def warehouse(storage: Path, tmp_path: Path) -> Warehouse:
    return warehouse_of(storage, tmp_path)


def numbered(number: int) -> dict[str, Any]:
    return {**BODIES["unsubscribes"], "id": f"contact-{number}"}


def contacts(warehouse: Warehouse) -> list[str]:
    return [str(id) for (id,) in warehouse.query("SELECT contact_id FROM unsubscribes ORDER BY 1")]


def test_each_kind_becomes_a_table_with_what_the_service_posted(
    storage: Path, warehouse: Warehouse
) -> None:
    for kind, body in BODIES.items():
        put(storage, kind, body, received_at=AT)
    summary = warehouse.load()
    assert (summary.failed, summary.rejected) == ({}, 0)
    with warehouse.reading():
        for endpoint in WEBHOOKS:
            assert warehouse.query(f"SELECT count(*) FROM {endpoint.name}") == [(1,)]
            assert warehouse.columns(endpoint.name).keys() == {*endpoint.columns, "_dlt_load_id"}
        assert warehouse.query(
            'SELECT contact_id, phone_number, "to", unsubscribed_at::VARCHAR, received_at '
            "FROM unsubscribes"
        ) == [(CONTACT["id"], "+12025550143", "64600", "2016-07-01 15:11:09.553+00", AT)]
        # The service says when it received a message; of all else we know only when it came.
        assert warehouse.query("SELECT received_at::VARCHAR FROM inbound_messages") == [
            ("2016-07-01 15:11:09.553+00",)
        ]
        assert warehouse.query("SELECT bounces FROM bounces") == [(2,)]
        assert warehouse.query("SELECT code, description FROM rejections") == [
            (None, "Unsubscribed")
        ]


def test_each_status_of_a_report_is_a_row_and_nothing_of_the_report_is_lost(
    storage: Path, warehouse: Warehouse
) -> None:
    [status], [message] = (BODIES["delivery_reports"][name] for name in ("statuses", "messages"))
    bounced = {**status, "code": "214", "recipients": ["12025550144", "12025550145"], "count": 2}
    unknown = {**status, "code": "999", "recipients": []}
    messages = [message, {**message, "id": "m2", "metadata": [{"order": "7"}]}]
    report = {"total_messages": 3, "statuses": [status, bounced, unknown], "messages": messages}
    put(storage, "delivery_reports", report, received_at=AT)
    warehouse.load("delivery_reports")
    with warehouse.reading():
        rows = warehouse.query(
            "SELECT code, code_meaning, count, success, bounce, total_messages "
            "FROM delivery_reports ORDER BY code"
        )
        assert rows == [
            ("100", DELIVERY_CODES["100"], 1, True, False, 3),
            ("214", DELIVERY_CODES["214"], 2, True, False, 3),
            ("999", None, 1, True, False, 3),
        ]
        recipients = warehouse.query(
            "SELECT code, recipient FROM delivery_report_recipients "
            "JOIN delivery_reports USING (event_id) ORDER BY ALL"
        )
        assert recipients == [
            ("100", "12025550143"),
            ("214", "12025550144"),
            ("214", "12025550145"),
        ]
        sent = warehouse.query(
            'SELECT DISTINCT message_id, "from", m.message, phone_number '
            "FROM delivery_report_messages m "
            "JOIN delivery_reports r ON r.report_id = m.event_id ORDER BY 1"
        )
        assert [row[0] for row in sent] == [message["id"], "m2"]
        assert warehouse.query("SELECT count(*) FROM delivery_report_messages") == [(2,)]
        metadata = 'SELECT message_id, "order" FROM delivery_report_messages__metadata'
        assert warehouse.query(metadata) == [("m2", "7")]


@pytest.mark.parametrize("apart", [False, True], ids=["in one segment", "in two runs"])
def test_a_body_that_is_posted_twice_is_one_row(
    storage: Path, warehouse: Warehouse, apart: bool
) -> None:
    shuffled = {kind: dict(reversed(body.items())) for kind, body in BODIES.items()}
    for kind, body in BODIES.items():
        put(storage, kind, *([body] if apart else [body, shuffled[kind], body]), received_at=AT)
    warehouse.load()
    if apart:
        for kind, body in shuffled.items():
            put(storage, kind, json.dumps(body, indent=1), received_at=AT + timedelta(minutes=20))
        warehouse.load()
    with warehouse.reading():
        for table in (*BODIES, "delivery_report_recipients", "delivery_report_messages"):
            assert warehouse.query(f"SELECT count(*) FROM {table}") == [(1,)], table


def test_equal_bodies_without_a_time_are_two_rows_in_different_hours(
    storage: Path, warehouse: Warehouse
) -> None:
    for hours in (0, 1):
        for kind in ("rejections", "unsubscribes"):
            put(storage, kind, BODIES[kind], received_at=AT + timedelta(hours=hours))
    warehouse.load()
    assert warehouse.query("SELECT count(*) FROM rejections") == [(2,)]
    assert warehouse.query("SELECT count(*) FROM unsubscribes") == [(1,)]


@pytest.mark.parametrize(
    "body",
    [
        {**CONTACT},
        {**CONTACT, "to": None},
        {**CONTACT, "to": {"number": "64600"}},
        [numbered(1)],
        "a text",
    ],
    ids=["a field is missing", "null", "an object for a value", "an array", "a text"],
)
def test_a_body_of_another_kind_is_rejected_whole_and_once(
    storage: Path, warehouse: Warehouse, body: Any
) -> None:
    text = json.dumps(body)
    put(storage, "unsubscribes", text, numbered(0), text, received_at=AT)
    put(storage, "unsubscribes", text, received_at=AT)
    summary = warehouse.load("unsubscribes")
    assert (summary.rejected, contacts(warehouse)) == (1, ["contact-0"])
    put(storage, "unsubscribes", text, received_at=AT)
    warehouse.load("unsubscribes")
    found = warehouse.query("SELECT resource, payload, resolved_at FROM rejected_records")
    assert found == [("unsubscribes", text, None)]
    assert segments(storage) == []


@pytest.mark.parametrize("statuses", [[], None, {}, ["delivered"], "delivered"])
def test_a_report_without_statuses_is_rejected(
    storage: Path, warehouse: Warehouse, statuses: Any
) -> None:
    report = {**BODIES["delivery_reports"], "statuses": statuses}
    put(storage, "delivery_reports", report, received_at=AT)
    assert warehouse.load("delivery_reports").rejections == {"delivery_reports": 1}
    assert warehouse.query("SELECT payload FROM rejected_records") == [(json.dumps(report),)]


def test_a_line_that_is_damaged_costs_itself_alone(storage: Path, warehouse: Warehouse) -> None:
    put(storage, "unsubscribes", numbered(0), "[" * 50_000, numbered(1), received_at=AT)
    [segment] = segments(storage)
    segment.write_bytes(b'{"received_at": "2026-06-01\n' + segment.read_bytes() + b"\xff\n")
    assert warehouse.load("unsubscribes").rejected == 3
    assert contacts(warehouse) == ["contact-0", "contact-1"]


def test_undeclared_fields_become_columns_and_hide_nothing(
    storage: Path, warehouse: Warehouse
) -> None:
    body = {**numbered(0), "event_id": "theirs", "reason": "STOP", "tags": ["a"], "at": {"zip": 1}}
    put(storage, "unsubscribes", body, received_at=AT)
    assert warehouse.load("unsubscribes").rejected == 0
    columns = "event_id_sent, reason, at__zip, received_at"
    assert warehouse.query(f"SELECT {columns} FROM unsubscribes") == [("theirs", "STOP", "1", AT)]
    assert warehouse.query("SELECT value FROM unsubscribes__tags") == [("a",)]


def test_a_run_loads_what_is_there_when_it_starts_in_packages(
    storage: Path, warehouse: Warehouse
) -> None:
    names = Names(new_receiver())
    for number in range(40):
        put(storage, "unsubscribes", numbered(number), received_at=AT, names=names)
    summary = warehouse.load("unsubscribes", package_rows=16)
    assert summary.packages > 2
    assert len(contacts(warehouse)) == 40
    assert segments(storage) == []


def test_other_kinds_stay_until_they_are_loaded(storage: Path, warehouse: Warehouse) -> None:
    put(storage, "unsubscribes", numbered(0), received_at=AT)
    put(storage, "bounces", BODIES["bounces"], received_at=AT)
    warehouse.load("unsubscribes")
    assert [path.parent.name for path in segments(storage)] == ["bounces"]
    warehouse.load()
    assert warehouse.query("SELECT count(*) FROM bounces") == [(1,)]


@pytest.mark.real_clock
@pytest.mark.parametrize("action", ["commit", "delete"])
def test_killed_before_it_commits_or_deletes_the_next_run_ends_it(
    storage: Path, warehouse: Warehouse, action: str
) -> None:
    for number in range(3):
        put(storage, "unsubscribes", numbered(number), received_at=AT)
    command = ["-c", RUN, str(storage), str(warehouse.folder), action]
    ended = forked(command, PROJECT, dict(os.environ), PATIENCE)
    assert ended.returncode == -signal.SIGKILL
    assert len(segments(storage)) == 3
    if action == "delete":
        assert len(contacts(warehouse)) == 3
    put(storage, "unsubscribes", numbered(3), received_at=AT)
    summary = warehouse.load("unsubscribes")
    assert summary.rows["unsubscribes"] == (1 if action == "delete" else 4)
    assert len(contacts(warehouse)) == 4
    assert segments(storage) == []


def test_a_segment_of_a_package_that_is_not_loaded_is_not_deleted(
    storage: Path, warehouse: Warehouse
) -> None:
    put(storage, "unsubscribes", numbered(0), received_at=AT)
    pipeline = warehouse.pipeline()
    for _ in range(2):
        # Then the state on this machine names the segment, and that in the destination does not.
        pipeline.extract(warehouse.source().with_resources("unsubscribes"))
    assert len(segments(storage)) == 1
    warehouse.load("unsubscribes")
    assert contacts(warehouse) == ["contact-0"]
    assert segments(storage) == []


def test_without_our_loop_the_next_run_deletes(storage: Path, warehouse: Warehouse) -> None:
    pipeline = warehouse.pipeline()
    put(storage, "unsubscribes", numbered(0), received_at=AT)
    pipeline.run(warehouse.source())
    assert contacts(warehouse) == ["contact-0"]
    put(storage, "unsubscribes", numbered(1), received_at=AT)
    pipeline.run(warehouse.source())
    assert contacts(warehouse) == ["contact-0", "contact-1"]
    assert len(segments(storage)) == 1
    pipeline.run(warehouse.source())
    assert segments(storage) == []


def test_what_cannot_be_deleted_fails_the_resource_and_is_not_read_again(
    storage: Path, warehouse: Warehouse
) -> None:
    name = put(storage, "unsubscribes", numbered(0), received_at=AT)
    kind = storage / "unsubscribes"

    def replace_by_folder() -> None:
        # Nobody can unlink a folder, not even root.
        content = (kind / name).read_bytes()
        (kind / name).unlink()
        (kind / name).mkdir()
        (kind / name / "content").write_bytes(content)

    pipeline, source = warehouse.pipeline(), warehouse.source(isolate_failures=True)
    pipeline.run(source)
    replace_by_folder()
    summary = load(warehouse.pipeline(), warehouse.source(package_rows=10, isolate_failures=True))
    assert "cannot be deleted" in summary.failed["unsubscribes"]
    assert contacts(warehouse) == ["contact-0"]
    put(storage, "unsubscribes", numbered(1), received_at=AT)
    assert set(warehouse.load("unsubscribes").failed) == {"unsubscribes"}
    assert contacts(warehouse) == ["contact-0", "contact-1"]


def test_a_storage_that_cannot_be_read_costs_nothing_else(
    storage: Path, warehouse: Warehouse
) -> None:
    put(storage, "bounces", BODIES["bounces"], received_at=AT)
    (storage / "unsubscribes").write_text("not a folder")
    put(storage, "unsubscribes.txt", numbered(0), received_at=AT)
    (storage / "rejections").mkdir()
    name = Names(new_receiver()).next()
    (storage / "rejections" / name).mkdir()
    summary = warehouse.load()
    assert set(summary.failed) == {"rejections"}
    assert str(storage) in summary.failed["rejections"]
    assert warehouse.query("SELECT count(*) FROM bounces") == [(1,)]


def test_a_half_written_file_is_removed_and_never_read(storage: Path, warehouse: Warehouse) -> None:
    name = put(storage, "unsubscribes", numbered(0), received_at=AT)
    torn = storage / "unsubscribes" / f"{name[:-14]}00000002.jsonl.part"
    torn.write_text('{"received_at": "2026-06-01T00:00:00+00:00", "body": "{}"}')
    assert warehouse.load("unsubscribes").rejected == 0
    assert contacts(warehouse) == ["contact-0"]
    assert not torn.exists()


def test_what_another_load_has_deleted_meanwhile_is_left_out(
    storage: Path, warehouse: Warehouse
) -> None:
    put(storage, "unsubscribes", numbered(0), received_at=AT)
    opened = open_storage("mobiniti", str(storage))
    names = opened.names("unsubscribes")
    warehouse.load("unsubscribes")
    assert list(opened.read("unsubscribes", names)) == []
    opened.delete("unsubscribes", names)


def test_a_dry_run_counts_segments_and_changes_nothing(storage: Path, warehouse: Warehouse) -> None:
    put(storage, "unsubscribes", numbered(0), received_at=AT)
    plans = {plan.resource: plan for plan in plan_load(warehouse.pipeline(), warehouse.source())}
    assert plans["unsubscribes"].note == "segments of webhooks: 1"
    assert plans["bounces"].slices == []
    assert len(segments(storage)) == 1


def test_a_bucket_is_loaded_and_emptied_like_a_folder(tmp_path: Path) -> None:
    warehouse = warehouse_of("memory://webhooks", tmp_path)
    for number in range(3):
        put("memory://webhooks", "unsubscribes", numbered(number), received_at=AT)
    warehouse.load("unsubscribes")
    assert len(contacts(warehouse)) == 3
    put("memory://webhooks", "unsubscribes", numbered(3), received_at=AT)
    assert warehouse.load("unsubscribes").rows["unsubscribes"] == 1
    assert len(contacts(warehouse)) == 4


def test_no_storage_is_a_setting_that_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    warehouse = warehouse_of("unused", tmp_path)
    summary = load(warehouse.pipeline(), webhooks_source(package_rows=10, isolate_failures=True))
    assert summary.failed == {}
    assert summary.notes == []
    found = warehouse.query("SELECT DISTINCT outcome, message FROM load_runs")
    assert found == [("skipped", "webhooks.storage is not set")]


def test_a_storage_that_nobody_writes_to_is_noted(storage: Path, warehouse: Warehouse) -> None:
    summary = warehouse.load("unsubscribes")
    [note] = summary.notes
    assert note.startswith("unsubscribes: no receiver has written to")
    assert os.path.basename(storage) in note
