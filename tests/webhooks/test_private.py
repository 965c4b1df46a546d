"""With a secret key, nobody else can read what was received until it is loaded."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.conftest import PROJECT, readable_by_others
from tests.support.webhooks import command, environment, put, receiving, segments, warehouse_of
from textlift.errors import StorageFailed
from textlift.webhooks.settings import open_storage

AT = datetime(2026, 6, 1, 11, 30, tzinfo=timezone.utc)
KEY = "an-invented-key-of-more-than-32-characters"
BODY = {"id": "c1", "phone_number": "+12025550143", "message": "Hi!", "received_at": "2026-05-31"}


def test_what_is_received_is_encrypted_until_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "storage"
    put(storage, "inbound_messages", {**BODY, "id": "c0"}, received_at=AT)
    monkeypatch.setenv("SOURCES__PRIVACY_KEY", KEY)
    monkeypatch.setenv("SOURCES__MOBINITI__PRIVACY", '{"free_text": "drop"}')
    with receiving(storage) as receiver:
        assert receiver.post("inbound_messages", BODY) == 200
        receiver.kill()
    clear, sealed = sorted(
        segments(storage), key=lambda path: b"2025550143" not in path.read_bytes()
    )
    assert b"2025550143" in clear.read_bytes()
    assert [each for each in (b"2025550143", b"Hi!", b"c1") if each in sealed.read_bytes()] == []
    assert readable_by_others(storage) == []
    warehouse = warehouse_of(storage, tmp_path)
    events = "SELECT contact_id, event_id FROM inbound_messages ORDER BY 1"
    # With another key, nothing is lost.
    monkeypatch.setenv("SOURCES__PRIVACY_KEY", KEY[::-1])
    failed = warehouse.load("inbound_messages").failed
    assert "earlier_privacy_keys" in failed["inbound_messages"]
    monkeypatch.setenv("SOURCES__EARLIER_PRIVACY_KEYS", f'["{KEY}"]')
    assert warehouse.load("inbound_messages").failed == {}
    before = warehouse.query(events)
    assert [contact for contact, _ in before] == ["c0", "c1"]
    assert segments(storage) == []
    # The same body, in clear, is the same event.
    monkeypatch.delenv("SOURCES__EARLIER_PRIVACY_KEYS")
    monkeypatch.delenv("SOURCES__PRIVACY_KEY")
    put(storage, "inbound_messages", BODY, received_at=AT)
    warehouse.load("inbound_messages")
    assert warehouse.query(events) == before


def test_a_segment_that_was_changed_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "storage"
    monkeypatch.setenv("SOURCES__PRIVACY_KEY", KEY)
    put(storage, "inbound_messages", BODY, received_at=AT)
    (segment,) = segments(storage)
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    warehouse = warehouse_of(storage, tmp_path)
    assert "is damaged" in warehouse.load("inbound_messages").failed["inbound_messages"]
    assert segments(storage) == [segment]
    # Neither is one of another kind or name.
    data[-1] ^= 1
    other = storage / "unsubscribes"
    other.mkdir()
    (other / segment.name).write_bytes(data)
    opened = open_storage("mobiniti", str(storage))
    with pytest.raises(StorageFailed, match="is damaged"):
        list(opened.read("unsubscribes", [segment.name]))


def test_a_receiver_with_a_policy_needs_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__MOBINITI__PRIVACY", '{"free_text": "drop"}')
    ended = subprocess.run(
        command(tmp_path),
        check=False,
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "privacy_key is missing" in ended.stderr
