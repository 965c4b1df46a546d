"""Reading ahead: how far a reader goes on while nobody takes what it has read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial

import pytest
import requests.auth

from textlift.codec.records import Decoded
from textlift.codec.xml import XmlCodec
from textlift.errors import ServiceError
from textlift.extract import reader as reader_module
from textlift.extract.fetch import Service
from textlift.extract.progress import Progress
from textlift.extract.reader import Reader
from textlift.extract.slices import Slice, SliceRows
from textlift.extract.workers import Workers
from textlift.http.client import Client
from textlift.mcommons.endpoints import DIALECT, ENDPOINTS
from textlift.mcommons.errors import check
from textlift.sandbox import Sandbox
from textlift.sandbox.mcommons import MobileCommons
from textlift.windows import Window

PROFILES = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "profiles")
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
NOW = datetime(2025, 6, 1, tzinfo=timezone.utc)
COUNT, PAGE, WINDOWS, AHEAD, CONCURRENCY = 2000, 20, 20, 300, 4


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(MobileCommons(profiles=COUNT, now=NOW)) as box:
        yield box


@pytest.fixture
def reader(box: Sandbox) -> Iterator[Reader]:
    with reader_of(box, XmlCodec) as reader:
        yield reader


@contextmanager
def reader_of(box: Sandbox, codec: Callable[..., XmlCodec]) -> Iterator[Reader]:
    """A reader of all profiles, in windows of which none is too large."""
    login = requests.auth.HTTPBasicAuth("sandbox@example.org", "sandbox-password")
    client = Client(box.url, login, check, concurrency=CONCURRENCY)
    slices = [Slice(window=window) for window in Window(START, NOW).split(WINDOWS)]
    workers = Workers(CONCURRENCY)
    service = Service(client, partial(codec, dialect=DIALECT))
    try:
        yield Reader(service, PROFILES, slices, PAGE, Progress(), workers)
    finally:
        workers.close()


def rest(box: Sandbox) -> int:
    """How many requests have been made when no more are."""
    before = -1
    while before != len(box.requests):
        before = len(box.requests)
        time.sleep(0.3)
    return before


def rows_of(reader: Reader) -> list[SliceRows]:
    taken = []
    while not reader.finished:
        found = reader.poll()
        taken += [found] if found else []
        time.sleep(0.001)
    return taken


def test_reading_goes_on_while_nobody_asks_and_ends_when_enough_is_ahead(
    box: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "AHEAD_ROWS", AHEAD)
    while (first := reader.poll()) is None:
        time.sleep(0.001)
    rest(box)
    held = sum(read.rows for read in reader._order)
    assert AHEAD <= held <= AHEAD + CONCURRENCY * PAGE
    taken = [first, *rows_of(reader)]
    found = [row for rows in taken for row in rows.page.table["id"].to_pylist()]
    # Neighbouring windows share a second.
    assert set(found) == {row["id"] for row in box.service.rows("profiles")}


def test_what_comes_next_waits_for_nothing_that_was_read_ahead(
    box: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "AHEAD_ROWS", 1)
    starts = [rows.slice_.window.start for rows in rows_of(reader) if rows.slice_.window]
    assert starts == sorted(starts)
    assert len(starts) >= WINDOWS


def test_a_failure_comes_after_the_windows_that_were_complete_before_it(
    box: Sandbox, reader: Reader
) -> None:
    late = "2025-01-01"
    box.hooks.append(
        lambda request, response: (
            box.service.answer(request.__class__("GET", "/api/none", "none", [], {}, 1))
            if request.params["from"] > late
            else None
        )
    )
    ends = []
    with pytest.raises(ServiceError, match="HTTP 404"):
        while True:
            found = reader.poll()
            if found and found.slice_.window:
                ends.append(found.slice_.window.end)
            time.sleep(0.001)
    windows = Window(START, NOW).split(WINDOWS)
    complete = [window.end for window in windows if window.start.isoformat() <= late]
    assert ends == complete[: len(ends)]
    assert ends


def test_the_rows_still_to_come_are_known_while_a_window_is_cut(box: Sandbox) -> None:
    login = requests.auth.HTTPBasicAuth("sandbox@example.org", "sandbox-password")
    service = Service(Client(box.url, login, check), partial(XmlCodec, dialect=DIALECT))
    window, progress, workers = Window(START, NOW), Progress(), Workers(CONCURRENCY)
    progress.expect([window])
    reader = Reader(service, PROFILES, [Slice(window=window)], PAGE, progress, workers)
    rows, shares = 0, []
    for found in rows_of(reader):
        rows += found.page.table.num_rows
        assert found.slice_.window
        progress.count_rows(found.page.table.num_rows, found.slice_.window, found.is_last)
        shares.append((rows / COUNT, progress.share))
    workers.close()
    assert len(shares) > 2
    # Pages of 20 rows overlap by a tenth, and more so where windows are short.
    assert all(0.7 * read <= shown <= 1.1 * read for read, shown in shares)


def test_the_service_does_not_wait_until_pages_are_decoded(box: Sandbox) -> None:
    decoding_during = []

    class Waiting(XmlCodec):
        def decode(self, body: bytes) -> Decoded:
            """Decode a page once the service has more requests than it is sent at a time."""
            deadline = time.monotonic() + 30
            while len(box.requests) <= CONCURRENCY and time.monotonic() < deadline:
                time.sleep(0.001)
            decoding_during.append(len(box.requests))
            return super().decode(body)

    with reader_of(box, Waiting) as reader:
        found = {row for rows in rows_of(reader) for row in rows.page.table["id"].to_pylist()}
    assert decoding_during[0] > CONCURRENCY
    assert box.peak <= CONCURRENCY
    assert found == {row["id"] for row in box.service.rows("profiles")}
