"""What must hold when the service, the network or the data is not as one would like."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from tests.conftest import Open, Warehouse, slow_but
from tests.support.accounts import PROFILES, assert_same
from tests.support.hooks import corrupted
from textlift.codec.records import Decoded
from textlift.codec.xml import XmlCodec
from textlift.errors import ConfigurationError, CredentialsError
from textlift.extract import paging
from textlift.sandbox import Request, Response, rehearse
from textlift.sandbox.clock import Clock
from textlift.windows import format_time

REFUSED = '<?xml version="1.0"?><response success="false"><error id="{}" message="{}"/></response>'
PAGE = b"<!DOCTYPE html><html><body><h4>Sorry</h4><p>We are down for repairs.</p></body></html>"


def ids(warehouse: Warehouse, table: str) -> list[int]:
    return [row_id for (row_id,) in warehouse.query(f"SELECT id FROM {table} ORDER BY id")]


def refused(error_id: int, message: str) -> Response:
    return Response(200, REFUSED.format(error_id, message).encode(), {})


def first_times(
    count: int, endpoint: str, response: Callable[[], Response]
) -> Callable[[Request], Response | None]:
    """A fault that answers the first ``count`` questions to ``endpoint``."""
    left = [count]
    lock = threading.Lock()

    def fault(request: Request) -> Response | None:
        with lock:
            if request.endpoint != endpoint or not left[0]:
                return None
            left[0] -= 1
        return response()

    return fault


# Hazard 1: pages drift.


@pytest.mark.parametrize("order", ["id", "updated_at", "-updated_at"])
@pytest.mark.parametrize("drifts", slow_but(slice(1, None), [1, 3, 40]))
def test_no_profile_is_lost_while_others_move_between_pages(
    account: Open, order: str, drifts: int
) -> None:
    warehouse = account(profiles=120, order=order)
    service = warehouse.box.service
    left = [drifts]
    lock = threading.Lock()

    def drift(request: Request, response: Response) -> None:
        if request.endpoint == "profiles" and response.body.count(b"<profile "):
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
                rows = service.rows("profiles")
                moved = rows[left[0] % 20]
                service.update("profiles", moved["id"], updated_at=service.now())

    warehouse.box.hooks.append(drift)
    # 14 to a page and 9 pages, all in one window, which ends before the moved rows' new times.
    warehouse.load("profiles", page_size=14, until="2025-06-01T11:59:59Z")
    warehouse.box.hooks.clear()
    warehouse.load("profiles", page_size=14)
    assert ids(warehouse, "profiles") == sorted(row["id"] for row in service.rows("profiles"))


@pytest.mark.parametrize("order", ["id", "updated_at", "-updated_at"])
def test_no_profile_is_lost_that_another_passes_by_on_its_way_to_the_front(
    account: Open, order: str
) -> None:
    warehouse = account(empty=True, order=order)
    service = warehouse.box.service
    now = service.now()
    for number in range(1, 27):
        service.put("profiles", {"id": number, "updated_at": now - timedelta(days=number)})
    seen: list[str] = []
    second = threading.Event()
    moved: list[int] = []

    def overtake(request: Request) -> None:
        """The first page is answered after the second, and a profile changes between the two."""
        if request.params["limit"] == "7":
            seen.append(request.params["page"])
            if seen[-1] == "1" and seen.count("1") == 2 and second.wait(30):
                service.update("profiles", 16)
                moved.append(16)

    def answered(request: Request, response: Response) -> None:
        if (request.params["limit"], request.params["page"]) == ("7", "2") and "4" in seen:
            second.set()

    warehouse.box.faults.append(overtake)
    warehouse.box.hooks.append(answered)
    warehouse.load("profiles", page_size=7)
    warehouse.box.faults.clear()
    warehouse.load("profiles", page_size=7)
    assert moved == [16]
    assert warehouse.query("SELECT id FROM profiles ORDER BY id") == [(n,) for n in range(1, 27)]


def test_no_member_is_lost_while_others_leave_the_group(account: Open) -> None:
    warehouse = account(profiles=150)
    service = warehouse.box.service
    group = max(service.rows("groups"), key=lambda row: row["size"] or 0)["id"]
    before = [row["id"] for row in service.truth("group_members", group_id=group)]
    leaving = before[:2]

    def leave(request: Request, response: Response) -> None:
        if request.params.get("group_id") == str(group) and leaving:
            service.remove_member(group, leaving.pop())

    warehouse.box.hooks.append(leave)
    warehouse.load("group_members", page_size=7)
    sql = f"SELECT profile_id FROM group_members WHERE group_id = {group}"
    assert {member for (member,) in warehouse.query(sql)} >= set(before[2:])


# Pages are not as long as they are asked to be, or not as many as the service says.


@pytest.mark.parametrize("resource", ["profiles", "group_members", "broadcasts"])
@pytest.mark.parametrize("page_size", [20, 100])
def test_a_service_that_keeps_pages_shorter_than_asked_for_is_read_whole(
    account: Open, resource: str, page_size: int
) -> None:
    warehouse = account(profiles=180)
    rehearse(warehouse.box, f"page-cap={page_size // 2}")
    warehouse.load(resource, page_size=page_size)
    assert_same(warehouse, resource)


def test_a_page_from_which_a_row_was_taken_is_not_the_last_one(account: Open) -> None:
    warehouse = account(profiles=180, order="id")
    everyone = [row["id"] for row in warehouse.box.service.rows("profiles")]
    rehearse(warehouse.box, "filtered")
    warehouse.load("profiles", page_size=60)
    # Each page but the first begins with rows that the page before it has as well.
    assert ids(warehouse, "profiles") == sorted(everyone)[1:]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("page_size", [20, 60])
def test_rows_behind_a_count_of_pages_that_is_too_small_are_loaded(
    account: Open, count: int, page_size: int
) -> None:
    warehouse = account(profiles=60)
    rehearse(warehouse.box, f"page-count={count}")
    warehouse.load("incoming_messages", page_size=page_size)
    assert len(warehouse.box.service.rows("incoming_messages")) > page_size
    assert_same(warehouse, "incoming_messages")


def test_a_count_of_pages_that_is_not_of_the_window_costs_a_few_requests(account: Open) -> None:
    warehouse = account(profiles=60)
    rehearse(warehouse.box, "page-count=1000")
    warehouse.load("incoming_messages", "broadcasts", page_size=60)
    assert_same(warehouse, "incoming_messages", "broadcasts")
    assert len(warehouse.box.requests) < 600


def test_a_service_that_only_asks_for_shorter_windows_is_given_up(account: Open) -> None:
    warehouse = account(empty=True)
    rehearse(warehouse.box, "error=17@messages")
    failed = warehouse.load("incoming_messages", start_date="2005-01-01").failed
    assert "incoming_messages, 2005-01-01" in failed["incoming_messages"]
    assert len(warehouse.box.requests) < 1200


@pytest.mark.parametrize("page_size", [7, 20, 60])
def test_subscribers_without_a_time_are_loaded_however_many_there_are(
    account: Open, page_size: int
) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    service.put("campaigns", {"id": 7})
    start = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for number in range(40 * page_size):
        activated_at = start + timedelta(minutes=number) if number % 10 else None
        service.put("subscribers", {"id": number, "campaign_id": 7, "activated_at": activated_at})
    warehouse.load("campaign_subscribers", page_size=page_size)
    assert ids(warehouse, "campaign_subscribers") == list(range(40 * page_size))


@pytest.mark.parametrize("count", [100, 200, 350])
def test_equal_queries_of_one_second_that_fill_pages_are_all_loaded(
    account: Open, count: int
) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    service.put("mdatas", {"id": 7})
    moment = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for number in range(count):
        query = {"mdata_id": 7, "created_at": moment, "input": "94401", "keyword": "VOTE"}
        service.put("mdata_queries", {"id": number, **query})
    warehouse.load("mdata_queries")
    assert warehouse.query("SELECT count(*), count(DISTINCT query_key) FROM mdata_queries") == [
        (count, count)
    ]


# Hazard 2: window edges.


def test_rows_on_the_edges_of_windows_are_there_once(account: Open) -> None:
    warehouse = account(empty=True)
    start = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for number in range(400):
        received_at = start + timedelta(seconds=number // 2)
        warehouse.box.service.put("incoming_messages", {"id": number, "received_at": received_at})
    # Three to a page force windows of a few seconds, each sharing its edges with the next.
    warehouse.load("incoming_messages", page_size=3)
    assert ids(warehouse, "incoming_messages") == list(range(400))


def test_since_and_until_are_inclusive_and_leave_the_cursors_alone(account: Open) -> None:
    warehouse = account(empty=True)
    start = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for number in range(100):
        received_at = start + timedelta(minutes=number)
        warehouse.box.service.put("incoming_messages", {"id": number, "received_at": received_at})
    exactly = {"since": "2025-01-01T00:10:00Z", "until": "2025-01-01T00:20:00Z"}
    warehouse.load("incoming_messages", **exactly)
    assert ids(warehouse, "incoming_messages") == list(range(10, 21))
    warehouse.load("incoming_messages")
    assert ids(warehouse, "incoming_messages") == list(range(100))


def test_a_range_before_the_start_date_is_loaded_all_the_same(account: Open) -> None:
    warehouse = account()
    since, until = (
        datetime(2024, 3, 1, tzinfo=timezone.utc),
        datetime(2024, 6, 1, tzinfo=timezone.utc),
    )
    warehouse.load("incoming_messages", start_date="2025-01-01", since=f"{since}", until=f"{until}")
    rows = warehouse.box.service.rows("incoming_messages")
    wanted = sorted(row["id"] for row in rows if since <= row["received_at"] <= until)
    assert wanted
    assert ids(warehouse, "incoming_messages") == wanted


def test_since_after_the_cursor_leaves_no_hole(account: Open) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    start = datetime(2025, 1, 1, tzinfo=timezone.utc)
    service.put("incoming_messages", {"id": 0, "received_at": start})
    warehouse.load("incoming_messages")
    for number in (1, 2, 3):
        received_at = start + timedelta(days=number)
        service.put("incoming_messages", {"id": number, "received_at": received_at})
    warehouse.load("incoming_messages", since="2025-01-03")
    assert ids(warehouse, "incoming_messages") == [0, 2, 3]
    warehouse.load("incoming_messages")
    assert ids(warehouse, "incoming_messages") == [0, 1, 2, 3]


# Hazard 3 is in test_contract. Hazard 4: quiet years and crowded days.


def test_an_empty_decade_costs_one_question(account: Open) -> None:
    warehouse = account(empty=True)
    warehouse.load("incoming_messages", "profiles", start_date="2005-01-01")
    assert len(warehouse.box.requests) == 2


@pytest.mark.parametrize(
    ("resource", "kind", "cursor"),
    [
        ("incoming_messages", "incoming_messages", "received_at"),
        ("profiles", "profiles", "updated_at"),
    ],
)
def test_a_crowded_day_after_a_quiet_decade_is_split(
    account: Open, resource: str, kind: str, cursor: str
) -> None:
    warehouse = account(empty=True)
    start = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for number in range(600):
        row = {"id": number, cursor: start + timedelta(minutes=number)}
        warehouse.box.service.put(kind, row)
    warehouse.load(resource, page_size=10, start_date="2005-01-01")
    assert ids(warehouse, resource) == list(range(600))
    asked = [request.params for request in warehouse.box.requests]
    deepest = max(int(params.get("page", 1)) * int(params["limit"]) for params in asked)
    assert deepest <= 100 * 10
    # 60 pages hold the rows; finding them must not cost many times that.
    assert sum(params["limit"] == "10" for params in asked) < 150
    assert len(asked) < 300


def test_a_crowded_second_is_paged_through(account: Open) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    second = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for number in range(300):
        service.put("profiles", {"id": number, "updated_at": second})
    warehouse.load("profiles", page_size=10)
    assert ids(warehouse, "profiles") == list(range(300))


# Hazard 6: success is not HTTP 200.


@pytest.mark.parametrize(
    "response",
    [
        lambda: Response(200, PAGE, {"Content-Type": "text/html"}),
        lambda: Response(200, b"", {}),
        lambda: Response(200, b'<?xml version="1.0"?><response success="true"><profiles num="', {}),
        lambda: Response(200, b"<response success='true'>" + b" " * 500, {}, truncate=100),
        lambda: Response(500, PAGE, {"Content-Type": "text/html"}),
        lambda: Response(429, b"", {"Retry-After": "0"}),
        lambda: refused(0, "Unknown error"),
        lambda: refused(27, "API rate limit exceeded"),
    ],
    ids=["page", "empty", "cut", "truncated", "500", "429", "unknown", "rate limit"],
)
def test_a_failure_that_passes_costs_nothing_but_time(
    account: Open, response: Callable[[], Response]
) -> None:
    warehouse = account()
    warehouse.box.faults.append(first_times(3, "profiles", response))
    summary = warehouse.load("profiles", "clicks")
    assert summary.failed == {}
    assert summary.rejected == 0
    assert_same(warehouse, *PROFILES, "clicks")


def test_a_resource_that_cannot_be_read_stays_where_it_was_and_the_others_load(
    account: Open,
) -> None:
    warehouse = account()
    down = first_times(10**6, "sent_messages", lambda: Response(500, PAGE, {}))
    warehouse.box.faults.append(down)
    summary = warehouse.load()
    assert list(summary.failed) == ["outgoing_messages"]
    assert "HTTP 500" in summary.failed["outgoing_messages"]
    assert ids(warehouse, "incoming_messages") == [
        row["id"] for row in warehouse.box.service.rows("incoming_messages")
    ]
    warehouse.box.faults.clear()
    warehouse.load()
    assert_same(warehouse)


def test_what_nobody_foresaw_fails_the_resource_too_and_the_others_load(
    account: Open, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    number = "12025550123"

    decode = XmlCodec.decode

    def broken(codec: XmlCodec, body: bytes) -> Decoded:
        if b"<calls" in body:
            raise ValueError(f"{number} is no number")
        return decode(codec, body)

    monkeypatch.setattr(XmlCodec, "decode", broken)
    summary = account().load("calls", "keywords")
    assert summary.failed == {"calls": "calls: unexpected ValueError, see the log"}
    assert summary.rows["keywords"]
    # The log says where, and not what somebody wrote.
    assert "in broken" in log.text
    assert number not in log.text


def test_a_snapshot_that_fails_half_way_replaces_nothing(account: Open) -> None:
    warehouse = account(profiles=150)
    warehouse.load("group_members")
    before = warehouse.content("group_members")

    def last_group_fails(request: Request) -> Response | None:
        last = warehouse.box.service.rows("groups")[-1]["id"]
        if request.params.get("group_id") == str(last):
            return Response(500, PAGE, {})
        return None

    warehouse.box.faults.append(last_group_fails)
    summary = warehouse.load("group_members")
    assert list(summary.failed) == ["group_members"]
    assert warehouse.content("group_members") == before != []


def test_what_a_failed_resource_still_asks_for_is_counted(account: Open) -> None:
    warehouse = account(profiles=150)
    first, second = (str(row["id"]) for row in warehouse.box.service.rows("groups")[:2])
    asked, again = threading.Event(), threading.Event()

    def failing(request: Request) -> Response | None:
        """One group is refused while the other has to be asked for again; the calls wait for it."""
        group = request.params.get("group_id")
        if group == first:
            asked.wait(30)
            return refused(1, "Missing group")
        if group == second:
            (again if asked.is_set() else asked).set()
            return Response(503, PAGE, {})
        if request.endpoint == "calls":
            again.wait(30)
        return None

    warehouse.box.faults.append(failing)
    summary = warehouse.load("group_members", "calls")
    assert list(summary.failed) == ["group_members"]
    assert again.is_set()
    assert summary.requests == len(warehouse.box.requests)


@pytest.mark.parametrize(
    "response",
    [lambda: Response(401, PAGE, {}), lambda: refused(4, "Invalid company id")],
    ids=["credentials", "company"],
)
def test_refused_credentials_stop_the_run_at_once(
    account: Open, response: Callable[[], Response]
) -> None:
    warehouse = account()
    warehouse.box.faults.append(lambda request: response())
    with pytest.raises(CredentialsError, match=r"sources\.mcommons\.(credentials|company)"):
        warehouse.load("profiles")
    assert len(warehouse.box.requests) == 1


def test_too_many_messages_asks_for_shorter_windows(account: Open) -> None:
    warehouse = account(profiles=150)

    def too_many(request: Request) -> Response | None:
        if request.endpoint != "sent_messages":
            return None
        start, end = (request.params[name][:10] for name in ("start_time", "end_time"))
        days = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).days
        return refused(17, "Too many messages") if days > 40 else None

    warehouse.box.faults.append(too_many)
    assert warehouse.load("outgoing_messages").failed == {}
    rows = warehouse.box.service.rows("outgoing_messages")
    assert ids(warehouse, "outgoing_messages") == sorted(row["id"] for row in rows)


def test_a_service_that_never_answers_fails_and_is_not_asked_for_ever(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.05")
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
    warehouse = account(empty=True)
    warehouse.box.latency = 0.5
    summary = warehouse.load("outgoing_messages", concurrency=4)
    assert "no complete response" in summary.failed["outgoing_messages"]
    # It is not split down to windows of a second, each with a timeout of its own.
    assert len(warehouse.box.requests) < 50


# Hazard 7: a parent can vanish.


@pytest.mark.parametrize(
    ("resource", "kind", "param", "error_id"),
    [
        ("campaign_subscribers", "campaigns", "campaign_id", 1),
        ("group_members", "groups", "group_id", 6),
        ("mdata_queries", "mdatas", "mdata_id", 9),
        ("calls", "mconnects", "mconnect_id", 15),
        ("clicks", "tinyurls", "url_id", 20),
    ],
)
def test_a_parent_that_vanishes_is_a_warning(
    account: Open, resource: str, kind: str, param: str, error_id: int
) -> None:
    warehouse = account(profiles=150)
    vanished = str(warehouse.box.service.rows(kind)[0]["id"])

    def vanish(request: Request) -> Response | None:
        return refused(error_id, "Invalid id") if request.params.get(param) == vanished else None

    warehouse.box.faults.append(vanish)
    summary = warehouse.load(resource)
    assert summary.failed == {}
    assert summary.rejected == 0
    column = {"url_id": "tinyurl_id"}.get(param, param)
    parents = {str(row[0]) for row in warehouse.query(f"SELECT DISTINCT {column} FROM {resource}")}
    assert parents
    assert vanished not in parents


def test_what_is_configured_and_not_there_is_named_and_the_rest_loads(account: Open) -> None:
    summary = account().load("donation_summaries", fundraising_ids=[501, 999999])
    assert summary.missing == [
        "donation_summaries, fundraising_id 999999: the service says: Invalid fundraising id (error 12)"
    ]
    assert summary.rows["donation_summaries"] == 1
    assert not summary.failed


# Hazard 8: one bad record must not cost its page.


@pytest.mark.parametrize(
    "bad",
    [b"Fish & Chips", b"bell\x07", b"\xff\xfe", b"<b>open", b"&nosuch;"],
    ids=["ampersand", "control character", "invalid UTF-8", "lost end tag", "unknown entity"],
)
def test_a_record_that_is_no_xml_is_kept_whole_and_the_others_load(
    account: Open, bad: bytes
) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    for number in range(1, 6):
        service.put("profiles", {"id": number, "first_name": f"name{number}"})
    with corrupted(warehouse, "profiles", b"name3", bad):
        summary = warehouse.load("profiles")
    assert summary.rejected == 1
    assert ids(warehouse, "profiles") == [1, 2, 4, 5]
    sql = "SELECT resource, row_key, column_name, payload FROM rejected_records"
    ((resource, row_key, column, payload),) = warehouse.query(sql)
    assert (resource, row_key, column) == ("profiles", "3", None)
    assert payload.startswith("<profile ")
    assert payload.endswith("</profile>")
    # Set right at the service, the record loads; what was rejected stays on record.
    service.update("profiles", 3, updated_at=service.now())
    assert warehouse.load("profiles").rejected == 0
    assert ids(warehouse, "profiles") == [1, 2, 3, 4, 5]


def test_a_value_that_does_not_fit_is_null_and_kept(account: Open) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    service.put("broadcasts", {"id": 1})
    service.update("broadcasts", 1, replies_count="many", throttled="perhaps", tags=["a"])
    for _ in range(2):
        assert warehouse.load("broadcasts").rejected == 2
    rows = warehouse.query("SELECT id, replies_count, throttled FROM broadcasts")
    assert rows == [(1, None, None)]
    kept = warehouse.query(
        "SELECT row_key, column_name, payload FROM rejected_records ORDER BY column_name"
    )
    assert kept == [("1", "replies_count", "many"), ("1", "throttled", "perhaps")]


def test_a_record_without_a_key_is_kept_whole(account: Open) -> None:
    warehouse = account(empty=True)
    for number in (1, 2):
        warehouse.box.service.put("profiles", {"id": number})
    with corrupted(warehouse, "profiles", b'id="2"', b'id=""'):
        assert warehouse.load("profiles").rejected == 1
    assert ids(warehouse, "profiles") == [1]
    ((payload,),) = warehouse.query("SELECT payload FROM rejected_records")
    assert payload.startswith("<profile id=")


# Hazard 11: XML is hostile.


def test_entities_are_never_expanded(account: Open) -> None:
    warehouse = account(empty=True)
    for number in (1, 2):
        warehouse.box.service.put("profiles", {"id": number, "first_name": f"name{number}"})
    prolog = b'<?xml version="1.0" encoding="UTF-8"?>'
    hostile = prolog + b'<!DOCTYPE response [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    with (
        corrupted(warehouse, "profiles", prolog, hostile),
        corrupted(warehouse, "profiles", b"name2", b"before &x; after"),
    ):
        assert warehouse.load("profiles").rejected == 1
    assert ids(warehouse, "profiles") == [1]
    ((payload,),) = warehouse.query("SELECT payload FROM rejected_records")
    assert "before &x; after" in payload


# Hazard 13: one limit for the whole run.


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_calls_at_a_time_reach_the_limit_and_stay_below_it(account: Open, concurrency: int) -> None:
    warehouse = account(profiles=150)
    warehouse.box.latency = 0.006 * concurrency
    messages = ("incoming_messages", "outgoing_messages")
    warehouse.load("profiles", *messages, concurrency=concurrency, page_size=20)
    assert warehouse.box.peak == concurrency


def test_more_calls_than_the_vendor_allows_cannot_be_configured(account: Open) -> None:
    with pytest.raises(ConfigurationError, match="between 1 and 160"):
        account(empty=True).load(concurrency=161)


def test_the_cursor_does_not_pass_a_row_that_came_back_changed(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MAX_SEQUENCE", 4)
    monkeypatch.setattr(paging, "SEQUENCE_PART", 2)
    warehouse = account()
    service = warehouse.box.service
    rows = sorted(service.rows("profiles"), key=lambda row: row["updated_at"])
    first, later = rows[0], rows[-10]["updated_at"]
    changes: list[str] = []

    def change(request: Request, response: Response) -> None:
        # The first window was read, and this one holds the row again.
        if not changes and request.params.get("from", "") > format_time(rows[20]["updated_at"]):
            changes.append(first["id"])
            service.update("profiles", first["id"], first_name="Zoë", updated_at=later)

    warehouse.box.hooks.append(change)
    settings = {"lookback_hours": {"profiles": 0}, "page_size": 8, "concurrency": 1}
    warehouse.load("profiles", **settings)
    assert changes == [first["id"]]
    warehouse.load("profiles", **settings)
    assert_same(warehouse, "profiles")


def test_an_interrupted_run_after_the_first_load_keeps_its_lookback(
    account: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many windows, with a package for each.
    monkeypatch.setattr(paging, "MAX_SEQUENCE", 2)
    warehouse = account(empty=True)
    service = warehouse.box.service
    for hours in range(120):
        sent = service.now() - timedelta(hours=hours)
        row = {"id": hours + 1, "sent_at": sent, "status": "queued"}
        service.put("outgoing_messages", row)
    warehouse.load("outgoing_messages")
    (cursor,) = warehouse.query("SELECT max(sent_at) FROM outgoing_messages")[0]
    # The next run loads the first packages of what it reads again, and then it fails.
    clock.advance(2 * 86_400)
    service.advance(2 * 86_400)
    few = {"page_size": 5, "package_rows": 1, "concurrency": 1}

    def late(request: Request) -> Response | None:
        start = datetime.fromisoformat(request.params["start_time"].replace("Z", "+00:00"))
        return Response(404) if start > cursor - timedelta(hours=60) else None

    warehouse.box.faults.append(late)
    assert warehouse.load("outgoing_messages", **few).failed
    warehouse.box.faults.remove(late)
    moved = 1 + 58
    service.update("outgoing_messages", moved, status="sent")
    warehouse.load("outgoing_messages")
    [(status,)] = warehouse.query(f"SELECT status FROM outgoing_messages WHERE id = {moved}")
    assert status == "sent"
