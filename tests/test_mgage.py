"""mGage's messages are in the warehouse, each once, whatever the service does meanwhile."""

from __future__ import annotations

import json
import logging
import re
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import product
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import PASSWORD, TODAY, USERNAME, Open, Warehouse, slow_but
from tests.support.hooks import between_pages
from tests.support.messages import (
    COLUMNS,
    PROGRAM,
    PROGRAMS,
    TEXT,
    asked,
    assert_holds,
    assert_same,
    loaded,
    of_account,
    parsed,
    rewind,
    served,
    written,
)
from tests.support.truth import Row, comparable
from textlift.arrow.pages import add_row_keys
from textlift.errors import ConfigurationError
from textlift.sandbox import Request, Response
from textlift.sandbox.mgage import LINKS, ORDERS, failure

UTC = timezone.utc
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)
NOTHING = timedelta(0)

#: Columns that never change in a row.
IDENTITY = ("program_id", "type", "number", "body", "date")

every_order = pytest.mark.parametrize("order", ORDERS)


@pytest.fixture
def program(export: Open, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens an account with one program, in which is nothing yet."""
    monkeypatch.setenv("SOURCES__MGAGE__PROGRAMS", f"[{PROGRAM}]")

    def open_program(**options: Any) -> Warehouse:
        warehouse = export(empty=True, **options)
        warehouse.box.service.add_program(PROGRAM)
        return warehouse

    return open_program


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are cut after few pages."""
    monkeypatch.setattr("textlift.extract.paging.MAX_SEQUENCE", 3)
    monkeypatch.setattr("textlift.extract.paging.SEQUENCE_PART", 1)


def put(warehouse: Warehouse, age: timedelta = NOTHING, times: int = 1, **row: Any) -> None:
    """Put a message of that age, by the service's clock."""
    service = warehouse.box.service
    for _ in range(times):
        service.put(PROGRAM, {"date": service.now() - age, **row})


def put_numbered(warehouse: Warehouse, ages: Iterable[timedelta]) -> None:
    for number, age in enumerate(ages):
        put(warehouse, age, body=f"message {number}")


def bodies(warehouse: Warehouse) -> list[str]:
    return sorted(row["body"] for row in loaded(warehouse))


def counted(rows: Iterable[Row]) -> Counter[tuple[str, ...]]:
    """How often each row is there, whatever its key."""
    return Counter(comparable(rows, [name for name in COLUMNS if name != "message_key"]))


def state_of(warehouse: Warehouse) -> dict[str, Any]:
    return of_account(warehouse.pipeline().state)


@contextmanager
def rewritten(warehouse: Warehouse, rewrite: Callable[[bytes], bytes]) -> Iterator[None]:
    """Answers whose bodies are changed on their way."""

    def hook(request: Request, response: Response) -> Response:
        return Response(response.status, rewrite(response.body), dict(response.headers))

    warehouse.box.hooks.append(hook)
    yield
    warehouse.box.hooks.remove(hook)


@contextmanager
def failing(warehouse: Warehouse, response: Response, after: int = 0) -> Iterator[None]:
    """The service answers so, apart from the first questions."""
    lock, left = threading.Lock(), [after]

    def fault(request: Request) -> Response | None:
        with lock:
            left[0] -= 1
            return response if left[0] < 0 else None

    warehouse.box.faults.append(fault)
    yield
    warehouse.box.faults.remove(fault)


# The table


@every_order
@pytest.mark.parametrize("links", LINKS)
def test_every_message_of_the_year_is_there_as_the_service_sent_it(
    export: Open, order: str, links: str
) -> None:
    warehouse = export(messages=600, order=order, links=links)
    summary = warehouse.load(page_size=40)
    assert summary.failed == {}
    assert summary.rows == {"messages": len(served(warehouse))}
    assert_same(warehouse)


def test_a_crowded_hour_and_a_second_that_fills_pages_are_there_whole(export: Open) -> None:
    warehouse = export(messages=90_000, order="-date")
    seconds = Counter((row["program_id"], row["date"]) for row in served(warehouse))
    assert max(seconds.values()) > 500
    warehouse.load()
    assert_same(warehouse)


def test_the_table_has_the_columns_and_types_of_the_contract(export: Open) -> None:
    warehouse = export()
    warehouse.load()
    assert warehouse.tables() == {"messages", "rejected_records"}
    assert warehouse.columns("messages") == {**COLUMNS, "_dlt_load_id": TEXT}
    loads = warehouse.query(
        "SELECT count(*), count(message_key), count(DISTINCT message_key), count(_dlt_load_id) "
        "FROM messages WHERE _dlt_load_id IN (SELECT load_id FROM _dlt_loads)"
    )
    assert loads == [(len(served(warehouse)),) * 4]


def test_what_nobody_declared_becomes_text_columns_and_lists_become_tables(program: Open) -> None:
    warehouse = program()
    put(warehouse, HOUR, body="before")
    warehouse.load()
    foreseen = set(warehouse.columns("messages"))
    put(warehouse, body="after", segmentCount=2, keyword="JOIN", carrier={"code": 310, "note": ""})
    put(warehouse, body="listed", tags=["a", {"name": "b"}])
    summary = warehouse.load()
    new = {"segment_count", "keyword", "carrier__code", "carrier__note"}
    assert set(warehouse.columns("messages")) - foreseen == new
    assert {warehouse.columns("messages")[name] for name in new} == {TEXT}
    assert set(summary.new_columns["messages"]) == new
    assert_same(warehouse)
    listed = warehouse.query(
        "SELECT m.body, t.value, t.name FROM messages__tags t JOIN messages m USING (message_key) "
        "ORDER BY t.value, t.name"
    )
    assert listed == [("listed", "a", None), ("listed", None, "b")]


def test_text_arrives_verbatim_and_empty_is_null(program: Open) -> None:
    warehouse = program()
    texts = [
        "  two spaces ",
        "line\nline\r\n",
        "“quoted” – ‘it’s’",
        '"\\',
        "👍🏽 ñandú",
        " ",
        "null",
    ]
    for text in texts:
        put(warehouse, body=text)
    put(warehouse, body="", network="", number="0012025550100")
    warehouse.load()
    assert_same(warehouse)
    assert warehouse.query(
        "SELECT number FROM messages WHERE body IS NULL AND network IS NULL"
    ) == [("0012025550100",)]


def test_a_second_run_over_unchanged_data_changes_nothing_and_asks_each_program_once(
    export: Open,
) -> None:
    warehouse = export()
    warehouse.load()
    before = warehouse.everything()
    warehouse.box.requests.clear()
    warehouse.load()
    assert warehouse.everything() == before
    assert [len(asked(warehouse, id)) for id in PROGRAMS] == [1, 1, 1]
    assert len(warehouse.box.requests) == 3


# Keys


FIRST = datetime(2026, 1, 1, tzinfo=UTC)
#: Few values, so that rows are equal in some of them, or in all.
some_rows = st.lists(
    st.fixed_dictionaries(
        {
            "program_id": st.just(PROGRAM),
            "type": st.just("MO"),
            "number": st.sampled_from(["12025550100", "2025550100"]),
            "body": st.sampled_from([None, "null"]),
            "date": st.sampled_from([FIRST, FIRST + SECOND]),
            "delivery_status": st.sampled_from([None, "Queued", "Delivered"]),
            "network": st.sampled_from([None, "T-Mobile", "AT&T"]),
        }
    ),
    max_size=14,
)
SCHEMA = pa.schema(
    [
        ("program_id", pa.int64()),
        *((name, pa.string()) for name in ("type", "number", "body")),
        ("date", pa.timestamp("us", "UTC")),
        *((name, pa.string()) for name in ("delivery_status", "network")),
    ]
)


def keyed(rows: Sequence[Row]) -> list[Row]:
    table = pa.Table.from_pylist(list(rows), SCHEMA)
    with_keys: list[Row] = add_row_keys(table, "message_key", IDENTITY).to_pylist()
    return with_keys


def multiset(rows: Iterable[Row]) -> Counter[str]:
    return Counter(repr(sorted(row.items())) for row in rows)


def keys(rows: Sequence[Row]) -> list[str]:
    return [row["message_key"] for row in keyed(rows)]


@given(some_rows, st.randoms(use_true_random=False))
def test_the_same_rows_have_the_same_keys_in_whatever_order_they_are_listed(
    rows: list[Row], random: Random
) -> None:
    shuffled = random.sample(rows, len(rows))
    assert multiset(keyed(shuffled)) == multiset(keyed(rows))


@given(some_rows, st.data())
def test_a_row_has_the_same_key_in_every_window_that_holds_its_second(
    rows: list[Row], data: st.DataObject
) -> None:
    seconds = list({row["date"]: None for row in rows})
    chosen = data.draw(st.sets(st.sampled_from(seconds)) if seconds else st.just(set()))
    window = [row for row in rows if row["date"] in chosen]
    everything = [row for row in keyed(rows) if row["date"] in chosen]
    assert multiset(keyed(window)) == multiset(everything)


@given(some_rows)
def test_no_two_rows_have_the_same_key_however_equal_they_are(rows: list[Row]) -> None:
    assert len(set(keys(rows))) == len(rows)


@given(some_rows, st.data())
def test_a_status_that_moves_or_a_network_that_comes_leaves_the_keys_as_they_are(
    rows: list[Row], data: st.DataObject
) -> None:
    moved = [
        {
            **row,
            "delivery_status": data.draw(st.sampled_from(["Sent", "Undelivered"])),
            "network": data.draw(st.sampled_from([None, "Verizon"])),
        }
        for row in rows
    ]
    assert sorted(keys(moved)) == sorted(keys(rows))


@given(some_rows, st.integers(0, 13))
def test_one_more_row_adds_one_key_and_leaves_the_others(rows: list[Row], which: int) -> None:
    more = [*rows, rows[which % len(rows)]] if rows else rows
    assert set(keys(rows)) <= set(keys(more))
    assert len(set(keys(more))) == len(more)


def put_alike(warehouse: Warehouse) -> None:
    """Messages that are hard to tell apart: in one second, around it, and months away."""
    crowded, sent = 30 * DAY, {"type": "MT", "body": "Polls close at 8"}
    for status in ("Delivered", "Undelivered", "Sent"):
        put(warehouse, crowded, deliveryStatus=status, **sent)
    put(warehouse, crowded, 6, deliveryStatus="Delivered", **sent)
    for number in range(6):
        put(warehouse, crowded, number=f"1202555010{number}", **sent)
    for away in (-2, -1, 1, 2):
        put(warehouse, crowded + away * SECOND, 2, deliveryStatus="Delivered", **sent)
    for months in range(1, 10):
        put(warehouse, months * 30 * DAY + HOUR, 1 + months % 3, body="YES")


def read(warehouse: Warehouse, since: datetime, until: datetime, page_size: int) -> dict[str, Row]:
    """What a run over that range brings, by key."""
    rows: list[Row] = []
    limits = {"since": written(since), "until": written(until)}
    for table in warehouse.source(page_size=page_size, **limits).messages:
        if table is not None and "message_key" in table.column_names:
            rows += table.to_pylist()
    found = {row["message_key"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_keys_do_not_depend_on_pages_windows_or_the_order_of_listing(
    program: Open, short_windows: None
) -> None:
    opened = [program(order=order) for order in ORDERS]
    for warehouse in opened:
        put_alike(warehouse)
    known = read(opened[0], TODAY - 300 * DAY, TODAY, 500)
    assert len(known) == len(served(opened[0]))
    times = sorted({row["date"] for row in known.values()})

    @hypothesis_settings(max_examples=8, deadline=None)
    @given(
        warehouse=st.sampled_from(opened),
        page_size=st.integers(1, 12) | st.integers(1, 500),
        cuts=st.sets(st.sampled_from(times), max_size=2),
        again=st.tuples(st.sampled_from(times), st.sampled_from(times)).map(sorted),
        random=st.randoms(use_true_random=False),
    )
    def check(
        warehouse: Warehouse,
        page_size: int,
        cuts: set[datetime],
        again: list[datetime],
        random: Random,
    ) -> None:
        ends = [times[0], *sorted(cuts), times[-1]]
        windows = [*zip(ends, ends[1:]), again]
        found = {}
        for since, until in random.sample(windows, len(windows)):
            found.update(read(warehouse, since, until, page_size))
        assert found == known

    check()


def test_a_range_that_overlaps_and_small_packages_double_nothing(
    program: Open, short_windows: None
) -> None:
    warehouse = program()
    put_alike(warehouse)
    now = warehouse.box.service.now()
    part = {"since": written(now - 90 * DAY), "until": written(now - 10 * DAY)}
    assert warehouse.load(page_size=4, package_rows=12, **part).packages > 1
    assert warehouse.load(page_size=7, package_rows=20).packages > 1
    assert_same(warehouse)


# Rows that change, and rows that are equal


def test_a_status_that_moved_and_a_late_network_update_their_row(program: Open) -> None:
    warehouse = program()
    sent = {"type": "MT", "deliveryStatus": "Queued", "network": None}
    for minutes, body in product((0, 50), ("Hi Ana", "Hi Luz")):
        put(warehouse, minutes * MINUTE, body=body, **sent)
    warehouse.load()
    before = {row["message_key"]: row for row in loaded(warehouse)}
    warehouse.box.service.update(
        PROGRAM, lambda row: row["body"] == "Hi Ana", deliveryStatus="Delivered", network="AT&T"
    )
    warehouse.load()
    assert_same(warehouse)
    for row in loaded(warehouse):
        moved = {"delivery_status": "Delivered", "network": "AT&T"}
        changes = moved if row["body"] == "Hi Ana" else {}
        assert row == {**before[row["message_key"]], **changes}


def test_a_row_keeps_its_key_when_one_comes_that_is_nearly_equal(program: Open) -> None:
    warehouse = program()
    service = warehouse.box.service
    service.add_program(PROGRAM - 1)
    row = {"type": "MT", "number": "12025550150", "body": "b", "date": service.now() - HOUR}
    service.put(PROGRAM, row)
    warehouse.load(programs=[PROGRAM, PROGRAM - 1])
    ((key,),) = warehouse.query("SELECT message_key FROM messages")
    # Each would come before it, in whatever order rows are counted.
    service.put(PROGRAM - 1, row)
    lower = {"type": "MO", "number": "12025550149", "body": "a", "date": row["date"] - SECOND}
    for name, value in lower.items():
        service.put(PROGRAM, {**row, name: value})
    warehouse.load(programs=[PROGRAM, PROGRAM - 1])
    assert_same(warehouse)
    (kept,) = [one for one in loaded(warehouse) if one["message_key"] == key]
    assert kept["program_id"] == PROGRAM
    assert {name: kept[name] for name in row} == row


@pytest.mark.parametrize("times", [3, 1200])
def test_equal_messages_of_one_second_stay_as_many_as_the_service_sent(
    program: Open, times: int
) -> None:
    warehouse = program()
    put(warehouse, HOUR, times, body="YES")
    for more in (0, 0, 1):
        put(warehouse, HOUR, more, body="YES")
        warehouse.load(page_size=500)
        assert_same(warehouse)


def test_a_row_that_differs_in_its_status_only_is_no_repeat_of_the_other(program: Open) -> None:
    warehouse = program()
    for status in ("Delivered", "Undelivered"):
        put(warehouse, type="MT", body="Vote!", deliveryStatus=status)
    warehouse.load()
    # Each becomes what the other was.
    swapped = {"Delivered": "Undelivered", "Undelivered": "Delivered"}
    for place, row in enumerate(warehouse.box.service.rows(PROGRAM)):
        warehouse.box.service.update(PROGRAM, place, deliveryStatus=swapped[row["deliveryStatus"]])
    warehouse.load()
    assert_same(warehouse)


@pytest.mark.parametrize(
    ("chosen", "lookback"),
    [({}, 3 * DAY), ({"lookback_hours": {"messages": 5}}, 5 * HOUR)],
    ids=["default", "set"],
)
def test_what_lies_further_back_than_the_lookback_is_not_read_again(
    program: Open, chosen: dict[str, Any], lookback: timedelta
) -> None:
    warehouse = program()
    latest = 2 * HOUR
    put(warehouse, latest, body="latest")
    for age, body in ((lookback, "inside"), (lookback + SECOND, "outside")):
        put(warehouse, latest + age, body=body)
    warehouse.load(**chosen)
    warehouse.box.service.update(PROGRAM, lambda row: True, network="AT&T")
    warehouse.load(**chosen)
    known = {row["body"]: row["network"] for row in loaded(warehouse)}
    assert known == {"latest": "AT&T", "inside": "AT&T", "outside": None}


# The year


def test_every_question_names_both_ends_and_a_first_load_asks_for_the_whole_year(
    export: Open,
) -> None:
    # The links of this service name the page only.
    warehouse = export(messages=600, links="bare")
    warehouse.load(page_size=5)
    for id in PROGRAMS:
        pages = [params["page"] for params in asked(warehouse, id) if "page" in params]
        assert "2" in pages
        windows = [(params["startDate"], params["endDate"]) for params in asked(warehouse, id)]
        for time in {time for window in windows for time in window}:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", time)
        start, end = (parsed(limit(times)) for limit, times in zip((min, max), zip(*windows)))
        assert TODAY - YEAR - DAY <= start <= TODAY - YEAR
        # A run ends with the second in which it begins.
        assert TODAY <= end <= TODAY + 15 * MINUTE + SECOND


def test_a_service_that_refuses_what_lies_before_its_year_is_asked_for_what_it_keeps(
    program: Open,
) -> None:
    warehouse = program(refuses_old=True)
    put_numbered(warehouse, [YEAR - HOUR, YEAR / 2, MINUTE])
    assert not warehouse.load().failed
    assert_same(warehouse)


def test_no_question_spans_more_than_a_year(program: Open) -> None:
    warehouse = program()
    warehouse.load()
    for params in asked(warehouse):
        assert parsed(params["endDate"]) - parsed(params["startDate"]) <= YEAR


def test_a_start_date_before_what_is_kept_is_said_to_be_and_all_that_is_kept_loads(
    program: Open, log: pytest.LogCaptureFixture
) -> None:
    warehouse = program()
    put_numbered(warehouse, [YEAR - HOUR, 200 * DAY, NOTHING])
    warehouse.load(start_date="2019-05-01")
    assert_same(warehouse)
    (warning,) = [r.getMessage() for r in log.records if r.levelno == logging.WARNING]
    kept, wanted = map(parsed, re.findall(r"[\d-]+T[\d:]+Z", warning))
    assert kept == TODAY + SECOND - YEAR
    assert wanted == datetime(2019, 5, 1, tzinfo=UTC)
    log.clear()
    warehouse.load(start_date="2019-05-01")
    assert not [record for record in log.records if record.levelno >= logging.WARNING]


def test_a_start_date_within_what_is_kept_holds(
    program: Open, log: pytest.LogCaptureFixture
) -> None:
    warehouse = program()
    start = warehouse.box.service.now() - 100 * DAY
    put_numbered(warehouse, [101 * DAY, 100 * DAY + SECOND, 100 * DAY, 99 * DAY])
    for _ in range(2):
        warehouse.load(start_date=written(start))
        assert bodies(warehouse) == ["message 2", "message 3"]
    assert parsed(asked(warehouse)[0]["startDate"]) == start
    assert not [record for record in log.records if record.levelno >= logging.WARNING]


def test_messages_that_aged_out_unread_are_a_hole_and_reported_once(export: Open) -> None:
    warehouse = export(messages=600)
    warehouse.load()
    rewind(warehouse, cursors=TODAY - 420 * DAY, reached=TODAY - 400 * DAY)
    reached = parsed(state_of(warehouse)["reached"][str(PROGRAM)])
    warehouse.box.service.update(PROGRAM, lambda row: True, network="read again")
    summary = warehouse.load()
    gaps = warehouse.query(
        "SELECT row_key, resource, window_start, window_end, column_name, payload "
        "FROM rejected_records ORDER BY row_key"
    )
    assert [gap[0] for gap in gaps] == [str(id) for id in PROGRAMS]
    assert len({gap[1:] for gap in gaps}) == 1
    resource, start, end, column, payload = gaps[0][1:]
    assert (resource, start, column, payload) == ("messages", reached, None, None)
    assert end == TODAY + SECOND - YEAR
    assert len(summary.gaps) == summary.rejected == 3
    for id, gap in zip(PROGRAMS, summary.gaps):
        assert all(text in gap for text in (str(id), written(start), written(end)))
    assert_holds(warehouse, served(warehouse))
    assert warehouse.load().gaps == []
    assert len(warehouse.content("rejected_records")) == 3


def test_a_program_that_was_silent_for_more_than_a_year_has_no_hole(program: Open) -> None:
    warehouse = program()
    put(warehouse, HOUR, body="first")
    warehouse.load()
    rewind(warehouse, cursors=TODAY - 500 * DAY)
    put(warehouse, body="second")
    summary = warehouse.load()
    assert summary.gaps == []
    assert_same(warehouse)


def test_what_lies_before_the_start_date_is_no_hole(program: Open) -> None:
    warehouse = program()
    warehouse.load()
    long_ago = TODAY - 500 * DAY
    rewind(warehouse, reached=long_ago)
    wanted = TODAY - 400 * DAY
    (gap,) = warehouse.load(start_date=written(wanted)).gaps
    assert written(wanted) in gap
    rewind(warehouse, reached=long_ago)
    assert warehouse.load(start_date=written(TODAY - 300 * DAY)).gaps == []


def with_a_gap(program: Open, every: timedelta) -> Warehouse:
    """A first load, more than a year ago as far as the state knows, and thirty messages since."""
    warehouse = program()
    put_numbered(warehouse, [number * every for number in range(30)])
    warehouse.load()
    long_ago = TODAY - 400 * DAY
    rewind(warehouse, cursors=long_ago, reached=long_ago)
    return warehouse


def test_a_hole_that_was_reported_is_not_again_when_the_run_fails_afterwards(
    program: Open, short_windows: None
) -> None:
    warehouse = with_a_gap(program, 10 * DAY)
    with failing(warehouse, failure(500, "General server exception"), after=8):
        summary = warehouse.load(page_size=4, package_rows=1, concurrency=1)
    assert "General server exception" in summary.failed["messages"]
    assert summary.packages > 1
    assert len(summary.gaps) == 1
    again = warehouse.load()
    assert (again.failed, again.gaps) == ({}, [])
    assert len(warehouse.content("rejected_records")) == 1
    assert_holds(warehouse, served(warehouse))


@pytest.mark.parametrize("after", [0, 4])
def test_a_hole_is_reported_whole_and_once_though_the_run_that_finds_it_brings_no_row(
    program: Open, short_windows: None, after: int
) -> None:
    warehouse = with_a_gap(program, HOUR)
    reached = parsed(state_of(warehouse)["reached"][str(PROGRAM)])
    with failing(warehouse, failure(500, "General server exception"), after=after):
        failed = warehouse.load(page_size=4, concurrency=1)
    assert "General server exception" in failed.failed["messages"]
    assert failed.rows.get("messages", 0) == 0
    again = warehouse.load()
    assert again.failed == {}
    gaps = warehouse.query("SELECT window_start, window_end FROM rejected_records ORDER BY ALL")
    assert len(gaps) == len(failed.gaps) + len(again.gaps)
    assert [start for start, _ in gaps] == [reached, *(end for _, end in gaps[:-1])]
    assert_holds(warehouse, served(warehouse))


# Clocks that are apart


def test_nothing_is_lost_of_a_service_whose_clock_is_ahead(program: Open) -> None:
    warehouse = program(now=TODAY + 10 * MINUTE)
    put(warehouse, body="first")
    warehouse.load(lookback_hours={"messages": 0})
    assert_same(warehouse)
    # Dated before what is there already, but not read yet.
    put(warehouse, 5 * MINUTE, body="second")
    warehouse.load(lookback_hours={"messages": 0})
    assert_same(warehouse)


def test_nothing_is_lost_of_a_service_whose_clock_is_behind(program: Open) -> None:
    warehouse = program(now=TODAY - 10 * MINUTE)
    put(warehouse, MINUTE, body="first")
    warehouse.load(lookback_hours={"messages": 0})
    # Later than the last run by any clock, and dated before its end.
    warehouse.box.service.advance(20)
    put(warehouse, body="second")
    warehouse.load(lookback_hours={"messages": 0})
    assert_same(warehouse)


# The next page is where the last one was.


@pytest.mark.parametrize(
    "there",
    [
        "http://127.0.0.1:{other}/api/messages/program/121811?page=2",
        "http://localhost:{other}/api/messages/program/121811?page=2",
        "https://127.0.0.1:{same}/api/messages/program/121811?page=2",
        "http://127.0.0.1:{same}/api/messages/program/121812?page=2",
        "/api/messages/program/121811/../121812?page=2",
    ],
)
def test_a_next_page_in_another_place_is_not_followed(program: Open, there: str) -> None:
    warehouse, other = program(), program()
    for one in (warehouse, other):
        one.box.service.add_program(121812)
        put_numbered(one, [NOTHING] * 5)
    link = there.format(same=warehouse.box.port, other=other.box.port).encode()
    name = b'"nextPageUrl": '
    pattern = re.compile(name + rb'"[^"]*"')
    with rewritten(warehouse, lambda body: pattern.sub(name + b'"' + link + b'"', body)):
        summary = warehouse.load(page_size=3)
    assert "next page" in summary.failed["messages"]
    assert other.box.requests == []
    assert len(asked(warehouse)) == len(warehouse.box.requests)
    assert not [params for params in asked(warehouse) if "page" in params]
    assert loaded(warehouse) == []


# Failures


def test_a_program_that_is_not_there_is_named_once_and_the_others_load(
    program: Open, log: pytest.LogCaptureFixture
) -> None:
    warehouse = program()
    put_numbered(warehouse, [NOTHING, HOUR])
    summary = warehouse.load(programs=[PROGRAM, 999])
    assert summary.failed == {}
    (missing,) = summary.missing
    assert "999" in missing
    assert "not found" in missing
    assert log.text.count("it has no rows to load") == 1
    assert_same(warehouse)


def test_a_program_that_vanished_is_named_and_its_rows_stay(export: Open) -> None:
    warehouse = export(messages=600)
    warehouse.load()
    before = served(warehouse)
    service = warehouse.box.service
    service.delete_program(PROGRAM)
    service.put(PROGRAMS[1], {"body": "news"})
    summary = warehouse.load()
    assert summary.failed == {}
    assert [str(PROGRAM) in missing for missing in summary.missing] == [True]
    gone = [row for row in before if row["program_id"] == PROGRAM]
    assert gone
    assert_holds(warehouse, [*gone, *served(warehouse)])


def test_general_errors_that_pass_cost_nothing_but_time(program: Open) -> None:
    warehouse = program()
    put_numbered(warehouse, [NOTHING, HOUR])
    errors = warehouse.box.service.general_errors
    errors.append("The report is being prepared")
    with between_pages(warehouse, lambda count: errors.clear() if count == 3 else None):
        summary = warehouse.load(concurrency=1)
    assert (summary.failed, summary.rejected, errors) == ({}, 0, [])
    assert summary.requests == len(warehouse.box.requests)
    assert_same(warehouse)


REASON = "The report cannot be made"


@pytest.mark.parametrize(
    ("response", "tries"),
    [
        (failure(200, REASON), 3),
        (failure(500, REASON), 3),
        (failure(400, REASON), 1),
    ],
    ids=["generalErrors", "500", "400"],
)
def test_a_failure_that_stays_is_named_with_its_reason_and_the_next_run_goes_on(
    program: Open, monkeypatch: pytest.MonkeyPatch, response: Response, tries: int
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "3")
    warehouse = program()
    put_numbered(warehouse, [NOTHING, 100 * DAY])
    with failing(warehouse, response):
        summary = warehouse.load()
    assert REASON in summary.failed["messages"]
    assert str(PROGRAM) in summary.failed["messages"]
    assert summary.missing == []
    questions = Counter(str(params) for params in asked(warehouse))
    assert max(questions.values()) == tries
    assert warehouse.load().failed == {}
    assert_same(warehouse)


# Pages drift.


def put_a_year(warehouse: Warehouse) -> None:
    """Messages all over the year, as many in the last hour, and as many in one second of it."""
    ages = [(n + 1) * 14 * DAY for n in range(25)] + [n * 2 * MINUTE for n in range(25)]
    put_numbered(warehouse, [*ages, *[30 * MINUTE] * 25])


def drift(warehouse: Warehouse, where: str, random: Random) -> Callable[[int], None]:
    """One message more, sometimes equal to another, and news of one of the last hour."""
    ages: dict[str, Callable[[], timedelta]] = {
        "now": lambda: NOTHING,
        "minutes ago": lambda: random.randrange(50) * MINUTE,
        "in one second": lambda: 30 * MINUTE,
    }

    def change(count: int) -> None:
        put(warehouse, ages[where](), body=random.choice(["message 60", f"drift {count}"]))
        body = f"message {random.randrange(25, 75)}"
        changes = {"deliveryStatus": "Delivered", "network": "AT&T"}
        warehouse.box.service.update(PROGRAM, lambda row: row["body"] == body, **changes)

    return change


@every_order
@pytest.mark.parametrize(
    ("where", "drifts", "page_size"),
    slow_but(
        slice(2),
        [("now", 40, 7), ("in one second", 40, 7), ("now", 3, 40), ("minutes ago", 40, 7)],
    ),
)
def test_every_message_is_there_once_though_others_arrive_between_the_pages(
    program: Open, order: str, where: str, drifts: int, page_size: int
) -> None:
    warehouse = program(order=order)
    put_a_year(warehouse)
    change = drift(warehouse, where, Random(f"{order} {where} {drifts}"))
    with between_pages(warehouse, change, drifts):
        warehouse.load(page_size=page_size)
    assert len(served(warehouse)) > 75
    # Only the last days are read again: an old row that was lost or doubled would stay so.
    assert warehouse.load(page_size=page_size).failed == {}
    assert_same(warehouse)


def test_a_second_that_never_stands_still_is_whole_after_the_next_run(
    program: Open, short_windows: None
) -> None:
    warehouse = program(order="-date")
    put_a_year(warehouse)
    change = drift(warehouse, "in one second", Random(1))
    with between_pages(warehouse, change, where=asks_for_one_second):
        warehouse.load(page_size=7, concurrency=1)
    assert len(served(warehouse)) > 100
    assert warehouse.load(page_size=7).failed == {}
    assert_same(warehouse)


def asks_for_one_second(request: Request) -> bool:
    start, end = (parsed(request.params[name]) for name in ("startDate", "endDate"))
    return end - start <= SECOND


@every_order
def test_no_message_that_is_still_served_is_lost_though_the_oldest_age_out_between_the_pages(
    program: Open, order: str
) -> None:
    warehouse = program(order=order)
    put_numbered(warehouse, [YEAR - n * SECOND for n in range(30)])
    put_numbered(warehouse, [n * 9 * DAY for n in range(40)])
    before = counted(served(warehouse))
    with between_pages(warehouse, lambda count: warehouse.box.service.advance(2), 12):
        summary = warehouse.load(page_size=7)
    after = counted(served(warehouse))
    assert summary.failed == {}
    assert after.total() == before.total() - 24
    assert after <= counted(loaded(warehouse)) <= before


# One bad message does not cost the others.


def test_a_date_that_is_none_is_null_and_kept(program: Open) -> None:
    warehouse = program()
    put_numbered(warehouse, [HOUR, HOUR, HOUR])

    def spoil(body: bytes) -> bytes:
        document = json.loads(body)
        for message in document["data"]["messages"]:
            if message["body"] == "message 1":
                message["date"] = "yesterday at 5"
        return json.dumps(document).encode()

    with rewritten(warehouse, spoil):
        assert warehouse.load().rejected == 1
    rows = served(warehouse)
    rows[1]["date"] = None
    assert_holds(warehouse, rows)
    kept = warehouse.query(
        "SELECT m.body, r.resource, r.column_name, r.payload FROM rejected_records r "
        "JOIN messages m ON m.message_key = r.row_key"
    )
    assert kept == [("message 1", "messages", "date", "yesterday at 5")]


def test_half_an_emoji_costs_its_own_body_only(program: Open) -> None:
    warehouse = program()
    put_numbered(warehouse, [HOUR, HOUR])
    put(warehouse, HOUR, body="cut off \ud83d")
    put_numbered(warehouse, [NOTHING])
    for _ in range(2):
        assert warehouse.load().rejected == 1
    rows = served(warehouse)
    rows[2]["body"] = None
    assert_holds(warehouse, rows)
    kept = warehouse.query("SELECT column_name, payload FROM rejected_records")
    assert kept == [("body", "cut off \\ud83d")]


@pytest.mark.parametrize(
    "damage",
    [b'"message 4', b'"message 4"" ', b"message 4"],
    ids=["no end", "a quote", "no quotes"],
)
def test_a_message_that_is_no_json_is_kept_whole_and_the_others_load(
    program: Open, damage: bytes
) -> None:
    warehouse = program()
    put_numbered(warehouse, [HOUR] * 9)
    with rewritten(warehouse, lambda body: body.replace(b'"message 4"', damage)):
        summary = warehouse.load(page_size=3)
    assert (summary.failed, summary.rejected) == ({}, 1)
    assert_holds(warehouse, [row for row in served(warehouse) if row["body"] != "message 4"])
    ((resource, payload),) = warehouse.query("SELECT resource, payload FROM rejected_records")
    assert resource == "messages"
    assert payload.startswith('{"type": ')
    assert damage.decode() in payload
    # Sent whole, the message loads; what was rejected stays on record.
    assert warehouse.load(page_size=3).rejected == 0
    assert_holds(warehouse, served(warehouse))


# What is asked for


def test_one_type_is_loaded_alone_and_the_other_from_the_beginning_later(export: Open) -> None:
    warehouse = export(messages=600, links="bare")
    warehouse.load(message_type="MO", page_size=20)
    assert len(asked(warehouse)) > 2
    assert {request.params.get("messageType") for request in warehouse.box.requests} == {"MO"}
    rows = served(warehouse)
    incoming = [row for row in rows if row["type"] == "MO"]
    assert 0 < len(incoming) < len(rows)
    assert_holds(warehouse, incoming)
    warehouse.load(page_size=20)
    assert_same(warehouse)


def test_a_range_holds_its_first_and_last_second_and_leaves_the_cursors_alone(
    program: Open,
) -> None:
    warehouse = program()
    now = warehouse.box.service.now()
    put_numbered(warehouse, [HOUR + n * SECOND for n in range(5)])
    middle = {"since": written(now - HOUR - 3 * SECOND), "until": written(now - HOUR - SECOND)}
    warehouse.load(**middle)
    assert bodies(warehouse) == ["message 1", "message 2", "message 3"]
    warehouse.load()
    assert_same(warehouse)
    state = state_of(warehouse)
    put(warehouse, body="later")
    warehouse.load(since=written(now - DAY), until=written(now + SECOND))
    assert_same(warehouse)
    assert state_of(warehouse) == state != {}


@pytest.mark.parametrize("since", [{"since": "2019-05-01"}, {}], ids=["range", "end"])
def test_nothing_can_be_asked_for_that_lies_before_what_is_kept(
    program: Open, since: dict[str, str]
) -> None:
    warehouse = program()
    put(warehouse, HOUR)
    with pytest.raises(ConfigurationError, match="the service keeps rows since"):
        warehouse.load(until="2019-06-01", **since)
    assert warehouse.box.requests == []
    warehouse.load()
    assert_same(warehouse)


# Secrets and people


def test_no_password_and_no_phone_number_in_logs_errors_state_or_names(
    export: Open, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    warehouse = export(messages=600)
    put(warehouse, body="cut off \ud83d", number="12025550123")
    put(warehouse, body="broken", number="12025550124")
    numbers = {row["number"] for row in served(warehouse)}
    said = []
    with rewritten(warehouse, lambda body: body.replace(b'"broken"', b'"broken')):
        with failing(warehouse, failure(500, "General server exception"), after=2):
            said += warehouse.load(page_size=20).failed.values()
        summary = warehouse.load(page_size=20, programs=[*PROGRAMS, 999])
    said += summary.missing
    assert summary.rejected == 2
    elsewhere = f"https://example.org/{'/'.join(numbers)}"
    link = f'"nextPageUrl": "{elsewhere}", "was": '.encode()
    with (
        rewritten(warehouse, lambda body: body.replace(b'"nextPageUrl": ', link)),
        pytest.raises(PipelineStepFailed) as caught,
    ):
        # As a person would who uses the source alone.
        long_ago = written(warehouse.box.service.now() - 300 * DAY)
        warehouse.pipeline().run(warehouse.source(page_size=20, since=long_ago))
    said += [str(caught.value), repr(caught.value), log.text, str(warehouse.pipeline().state)]
    said += [path.name for path in warehouse.state.rglob("*")]
    assert "General server exception" in log.text
    assert "999" in log.text
    basic = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    # Also those that are printed without the code of the country.
    for secret in (PASSWORD, basic, *(number[-10:] for number in numbers)):
        assert not [text for text in said if secret in text]


def test_messages_whose_times_cannot_be_read_are_never_one(program: Open) -> None:
    warehouse = program()
    # Two in one window, and one like them in another.
    for age in (HOUR, HOUR, 300 * DAY):
        put(warehouse, age, body="STOP", number="15550100001", network="a")
    put(warehouse, HOUR, body="STOP", number="15550100001", network="b")

    def spoil(body: bytes) -> bytes:
        document = json.loads(body)
        for message in document["data"]["messages"]:
            message["date"] = "yesterday" if message["network"] == "a" else "today"
        return json.dumps(document).encode()

    with rewritten(warehouse, spoil):
        for _ in range(2):
            assert warehouse.load().rejected == 4
            assert sorted(row["network"] for row in loaded(warehouse)) == ["a", "a", "a", "b"]
            kept = warehouse.query("SELECT payload FROM rejected_records ORDER BY 1")
            assert kept == [("today",), *[("yesterday",)] * 3]
