"""Mobiniti: every table against the sandbox, and what is special about its API."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.conftest import TODAY, TOKEN, Open, Warehouse, leaks
from tests.support.truth import comparable, expected_of_mobiniti
from textlift.errors import (
    AccessDenied,
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TransientError,
)
from textlift.extract import sorted_list
from textlift.http.client import HttpResponse
from textlift.mobiniti.endpoints import REQUESTED
from textlift.mobiniti.errors import check
from textlift.mobiniti.job import JOB, describe_account
from textlift.mobiniti.source import MobinitiCredentials
from textlift.sandbox import Request, Response, rehearse
from textlift.sandbox.clock import Clock, parse_time
from textlift.sandbox.mobiniti import NESTED, SCHEDULES, SCOPES, Mobiniti

DAY = 86_400
LISTS = [endpoint.name for endpoint in REQUESTED if endpoint.incremental is None]


def assert_same(warehouse: Warehouse) -> None:
    """Compare every table with the account."""
    expected = expected_of_mobiniti(warehouse.box.service)
    with warehouse.reading():
        assert warehouse.tables() == {*expected, "rejected_records"}
        for table, rows in expected.items():
            columns = sorted(name for name in warehouse.columns(table) if name[0] != "_")
            found = [dict(zip(columns, row)) for row in warehouse.content(table)]
            assert comparable(found, columns) == comparable(rows, columns), table


def asked(warehouse: Warehouse, endpoint: str) -> list[dict[str, str]]:
    return [each.params for each in warehouse.box.requests if each.endpoint == endpoint]


# What is loaded


@pytest.mark.parametrize("nested", NESTED)
def test_nested_values_are_read_with_and_without_the_inner_data(
    contacts: Open, nested: str
) -> None:
    warehouse = contacts(nested=nested)
    assert warehouse.load().rejected == 0
    assert_same(warehouse)


def test_members_of_groups_are_replaced_as_a_set(contacts: Open, clock: Clock) -> None:
    warehouse = contacts()
    warehouse.load()
    service = warehouse.box.service
    first, second = (row["id"] for row in service.rows("groups")[:2])
    for key, row in list(service.table("contacts").rows.items()):
        groups = [each for each in row["groups"] if each["id"] != first]
        service.update("contacts", key, groups=groups, updated_at=row["updated_at"])
    warehouse.load("group_contacts")
    counts = dict(warehouse.query("SELECT group_id, count(*) FROM group_contacts GROUP BY ALL"))
    assert first not in counts
    assert counts[second] == len(service.members(second))


def test_custom_fields_are_loaded_once_for_each_contact(contacts: Open) -> None:
    warehouse = contacts(contacts=0)
    service = warehouse.box.service
    groups = [{"id": row["id"], "name": row["name"]} for row in service.rows("groups")]
    field = {"id": "f", "name": "Shirt size", "value": "L"}
    ana = service.put("contacts", 1, groups=groups[:3], fields=[field, {**field, "name": "Shoe"}])
    service.put("contacts", 2, groups=[], fields=[field])
    service.put("contacts", 3, groups=groups[:1], fields=[])
    warehouse.load("groups", "group_contacts")
    assert len(warehouse.content("group_contacts")) == 4
    found = warehouse.query("SELECT contact_id, name, value FROM contacts__fields ORDER BY ALL")
    assert found == [(ana, "Shirt size", "L"), (ana, "Shoe", "L")]
    assert "group_id" not in warehouse.columns("contacts__fields")
    service.update("contacts", 1, fields=[{**field, "value": "M"}])
    warehouse.load("groups", "group_contacts")
    found = warehouse.query("SELECT contact_id, name, value FROM contacts__fields")
    assert found == [(ana, "Shirt size", "M")]


def test_messages_are_read_in_windows_and_the_last_three_days_again(
    contacts: Open, clock: Clock
) -> None:
    warehouse = contacts()
    warehouse.load("messages")
    warehouse.box.requests.clear()
    clock.advance(DAY)
    warehouse.box.service.advance(DAY)
    warehouse.load("messages")
    params = asked(warehouse, "messages")
    newest = max(row["created_at"] for row in warehouse.box.service.rows("messages"))
    starts = [parse_time(each["created_at_min"]) for each in params]
    ends = [parse_time(each["created_at_max"]) for each in params]
    [(cursor,)] = warehouse.query("SELECT max(created_at) FROM messages")
    assert cursor == newest
    assert min(starts) <= (TODAY - timedelta(days=3)).timestamp()
    assert min(starts) > (TODAY - timedelta(days=60)).timestamp()
    assert max(ends) >= clock.now().timestamp()
    assert not [name for each in params for name in each if "filter" in name]


def test_contacts_are_read_newest_first_down_to_what_is_known(contacts: Open, clock: Clock) -> None:
    warehouse = contacts(contacts=400)
    warehouse.load("contacts")
    pages = len(asked(warehouse, "contacts"))
    assert {each["sort"] for each in asked(warehouse, "contacts")} == {"-updated_at"}
    service = warehouse.box.service
    clock.advance(3600)
    service.advance(3600)
    changed, gone = list(service.table("contacts").rows)[:2]
    service.update("contacts", changed, first_name="Changed")
    service.delete("contacts", gone)
    warehouse.box.requests.clear()
    warehouse.load("contacts")
    assert len(asked(warehouse, "contacts")) < pages
    names = warehouse.query("SELECT count(*) FROM contacts WHERE first_name = 'Changed'")
    assert names == [(1,)]
    assert warehouse.query("SELECT count(*) FROM contacts WHERE removed_at IS NOT NULL") == [(0,)]


def test_a_contact_that_is_gone_keeps_its_row(contacts: Open, clock: Clock) -> None:
    warehouse = contacts()
    warehouse.load("contacts")
    service = warehouse.box.service
    key = next(iter(service.table("contacts").rows))
    gone = service.get("contacts", key)["id"]
    service.delete("contacts", key)
    clock.advance(7 * DAY)
    service.advance(7 * DAY)
    warehouse.load("contacts")
    there = {row["id"] for row in service.rows("contacts")}
    removed = {id for (id,) in warehouse.query("SELECT id FROM contacts WHERE removed_at NOT NULL")}
    assert gone in removed
    assert {id for (id,) in warehouse.query("SELECT id FROM contacts")} == there | removed
    assert not there & removed


def pages(warehouse: Warehouse) -> list[int]:
    return [int(each["page"]) for each in asked(warehouse, "contacts")]


def ids(warehouse: Warehouse) -> set[str]:
    return {id for (id,) in warehouse.query("SELECT id FROM contacts WHERE removed_at IS NULL")}


def test_an_interrupted_first_load_of_contacts_continues_near_its_place(
    contacts: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_list, "PART_PAGES", 2)
    warehouse = contacts(contacts=200)
    service, few = warehouse.box.service, {"page_size": 10, "package_rows": 20}

    def too_deep(request: Request) -> Response | None:
        return Response(404) if int(request.params.get("page", 0)) > 12 else None

    warehouse.box.faults.append(too_deep)
    assert "contacts" in warehouse.load("contacts", **few).failed
    assert len(ids(warehouse)) == 120
    warehouse.box.faults.remove(too_deep)
    warehouse.box.requests.clear()
    # One that was loaded leaves, and one that was not moves to the front.
    newest_first = sorted(service.table("contacts").rows.items(), key=_updated_at, reverse=True)
    gone = service.get("contacts", newest_first[5][0])["id"]
    service.delete("contacts", newest_first[5][0])
    service.update("contacts", newest_first[150][0], first_name="Changed")
    assert not warehouse.load("contacts", **few).failed
    assert min(set(pages(warehouse)) - {1}) >= 11
    # What left after it was read is found by the next complete read.
    assert ids(warehouse) == {gone, *(row["id"] for row in service.rows("contacts"))}
    names = warehouse.query("SELECT count(*) FROM contacts WHERE first_name = 'Changed'")
    assert names == [(1,)]


def _updated_at(item: tuple[Any, Any]) -> Any:
    return item[1]["updated_at"]


@pytest.mark.parametrize(
    ("hidden", "requests", "removed"),
    [
        # The new ones, all of them, and the new ones once more: the total tells that one is missing.
        pytest.param([1, 1, 1], 5, 0, id="found by the second reading"),
        pytest.param([1] * 9, 5, 1, id="counted, and in no reading"),
        pytest.param([3, 3, 3, 2, 2, 1, 1], 7, 0, id="each reading finds others"),
    ],
)
def test_contacts_that_the_service_counts_and_does_not_list_are_looked_for(
    contacts: Open, clock: Clock, hidden: list[int], requests: int, removed: int
) -> None:
    warehouse = contacts(contacts=60)
    warehouse.load("contacts")
    everyone, left = ids(warehouse), list(hidden)

    def others_twice(request: Request, response: Response) -> Response | None:
        """List contacts twice and others not, as a service that shuffles rows of a time can."""
        if not left:
            return None
        found, count = json.loads(response.body), left.pop(0)
        found["data"][-count:] = found["data"][:count]
        return Response(response.status, json.dumps(found).encode(), dict(response.headers))

    warehouse.box.hooks.append(others_twice)
    clock.advance(8 * DAY)
    warehouse.box.requests.clear()
    warehouse.load("contacts")
    assert len(pages(warehouse)) == requests
    assert len(everyone - ids(warehouse)) == removed


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_scheduled_messages_are_found_at_either_path(contacts: Open, schedule: str) -> None:
    warehouse = contacts(schedule=schedule)
    assert warehouse.load("scheduled_messages").failed == {}
    assert len(warehouse.content("scheduled_messages")) == 5


# Scopes


def test_a_missing_scope_names_itself_and_costs_only_its_resources(contacts: Open) -> None:
    warehouse = contacts(scopes=set(SCOPES) - {"coupons.view", "groups.view"})
    summary = warehouse.load()
    without = {"coupons": "coupons.view", "coupon_templates": "coupons.view"}
    without |= {"groups": "groups.view", "group_contacts": "groups.view"}
    assert {
        name: scope in summary.failed[name] for name, scope in without.items()
    } == dict.fromkeys(without, True)
    assert set(summary.failed) == set(without)
    assert set(LISTS) - set(without) <= warehouse.tables()


def test_a_token_without_any_scope_is_refused(contacts: Open) -> None:
    warehouse = contacts(scopes=())
    with pytest.raises(CredentialsError, match=r"sources\.mobiniti\.credentials"):
        warehouse.load()
    with pytest.raises(CredentialsError, match=r"sources\.mobiniti\.credentials"):
        describe_account(warehouse.source)


def test_the_check_lists_what_the_token_can_read(contacts: Open) -> None:
    warehouse = contacts(scopes=set(SCOPES) - {"groups.view", "optins.view"})
    readable = ["contacts", "messages", "scheduled_messages", "campaigns", "campaign_templates"]
    readable += ["coupons", "coupon_templates", "carriers"]
    assert describe_account(warehouse.source) == [
        f"the token can read {', '.join(readable)}",
        "it cannot read groups: the scope groups.view is missing",
        "it cannot read group_contacts: the scope groups.view is missing",
        "it cannot read opt_ins: the scope optins.view is missing",
    ]


def test_a_long_token_is_sent_as_it_is(contacts: Open) -> None:
    token = "eyJ0eXAiOiJKV1Qi." + "A1b2_-" * 300
    warehouse = contacts(token=token)
    source = JOB.source(base_url=warehouse.box.url, credentials=MobinitiCredentials(token=token))
    table, *_ = source.carriers
    assert table.num_rows == 5


def test_a_missing_token_says_where_to_set_it() -> None:
    with pytest.raises(CredentialsError, match=r"sources\.mobiniti\.credentials\.token"):
        MobinitiCredentials().auth()


# Responses


def response(status: int, body: Any = b"", path: str = "contacts") -> HttpResponse:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, "application/json", text, path)


PAGINATION = {"pagination": {"total": 0, "total_pages": 1, "links": []}}
FAILURES = [
    (401, {"error": "access_denied"}, AccessDenied, "contacts.view"),
    (403, b"", AccessDenied, "contacts.view"),
    (404, b"", ApiError, "HTTP 404"),
    (400, {"status": 400, "message": "It is bad.", "errors": {}}, ApiError, r"says: It is bad\. "),
    (402, {"message": "You need to pay."}, ApiError, "You need to pay"),
    (405, {"message": "Method not allowed."}, ApiError, "not allowed"),
    (422, {"message": "No", "errors": {"sort": ["is odd"]}}, ApiError, "No; sort: is odd"),
    (429, b"", TransientError, "HTTP 429"),
    (500, b"", TransientError, "HTTP 500"),
    (503, b"<title>Maintenance</title>", TransientError, "Maintenance"),
    (501, b"", ServiceError, "HTTP 501"),
    (200, b"", TransientError, "empty"),
    (200, b"<h1>Sorry</h1>", TransientError, "a page instead of data: Sorry"),
    (200, {"data": []}, TransientError, "pagination"),
    (200, {"data": [], "meta": {}}, TransientError, "pagination"),
    (200, {"meta": PAGINATION}, TransientError, "list of data"),
    (200, {"data": {"id": "a"}, "meta": PAGINATION}, TransientError, "list of data"),
    (200, b'{"data": [{"id": "a"', MalformedResponse, "cut short"),
]


@pytest.mark.parametrize(("status", "body", "error", "reason"), FAILURES)
def test_a_failure_says_why(status: int, body: Any, error: type[ServiceError], reason: str) -> None:
    with pytest.raises(error, match=reason) as raised:
        check(response(status, body))
    assert type(raised.value) is error
    assert leaks(str(raised.value)) == []


def test_a_failure_names_the_request_that_support_asks_for(contacts: Open) -> None:
    warehouse = contacts()
    request_id = "0b0f8a6e-97f1-4c8e-8f6b-6f6f1f0c2a11"
    answers = iter([request_id, 'a"b 12025550123', ""])

    def bad(request: Request) -> Response:
        return Response(400, b"", {"X-Request-Id": next(answers)})

    warehouse.box.faults.append(bad)
    failed = [warehouse.load("carriers").failed["carriers"] for _ in range(3)]
    assert failed[0].endswith(f"HTTP 400 (request {request_id})")
    assert failed[1:] == [failed[0].removesuffix(f" (request {request_id})")] * 2


def test_a_scope_is_that_of_the_route() -> None:
    for path, scope in (
        ("messages/schedule", "message.schedule.view"),
        ("message/schedule", "message.schedule.view"),
        ("groups/4e4b3bda-e68b-4981-a5c6-2ddffd52d059/contacts", "groups.view"),
        ("opt-ins", "optins.view"),
    ):
        with pytest.raises(AccessDenied, match=f"scope {scope},"):
            check(response(401, b"", path))


@pytest.mark.parametrize("kind", ["no-pagination", "no-data"])
def test_a_response_without_its_list_or_its_pagination_empties_no_table(
    contacts: Open, kind: str
) -> None:
    warehouse = contacts()
    warehouse.load("carriers")
    before = warehouse.content("carriers")
    rehearse(warehouse.box, kind)
    assert set(warehouse.load("carriers").failed) == {"carriers"}
    assert warehouse.content("carriers") == before


def test_a_group_that_vanishes_is_no_failure(contacts: Open) -> None:
    warehouse = contacts()

    def vanish(request: Request, response: Response) -> None:
        if request.endpoint == "groups":
            warehouse.box.service.delete("groups", 0)
            warehouse.box.hooks.clear()

    warehouse.box.hooks.append(vanish)
    assert warehouse.load("groups", "group_contacts").failed == {}
    groups = {row["id"] for row in warehouse.box.service.rows("groups")}
    assert {id for (id,) in warehouse.query("SELECT group_id FROM group_contacts")} <= groups


# The sandbox


def call(warehouse: Warehouse, path: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return requests.get(warehouse.box.url + path, headers=headers, timeout=30)


def test_a_second_call_of_a_route_within_the_interval_is_refused(contacts: Open) -> None:
    warehouse = contacts(requests_per_second=0.001)
    first, second, other = (call(warehouse, path) for path in ("groups", "groups", "carriers"))
    assert (first.status_code, second.status_code, other.status_code) == (200, 429, 200)
    assert second.content == b""
    assert "Retry-After" not in second.headers
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining")
    assert [[each.headers[name] for name in names] for each in (first, second)] == [
        ["60", "59"],
        ["60", "0"],
    ]
    assert len({each.headers["X-Request-Id"] for each in (first, second, other)}) == 3
    members = [f"groups/{row['id']}/contacts" for row in warehouse.box.service.rows("groups")]
    assert [call(warehouse, path).status_code for path in members[:2]] == [200, 429]


def test_includes_are_printed_only_if_they_are_asked_for(contacts: Open) -> None:
    warehouse = contacts()
    group = warehouse.box.service.rows("groups")[0]["id"]

    def keys(path: str) -> set[str]:
        return {name for row in call(warehouse, path).json()["data"] for name in row}

    assert keys("contacts?include=carrier") - keys("contacts") == {"carrier"}
    assert keys("groups?include=keyword") - keys("groups") == {"keyword"}
    path = f"groups/{group}/contacts"
    more = keys(f"{path}?include[]=status&include[]=groups&include[]=fields") - keys(path)
    assert more == {"status", "groups", "fields"}
    path = "messages?include=receipt,contact.carrier, type"
    assert keys(path) - keys("messages") == {"receipt", "contact", "type"}
    assert keys("messages") - keys(path) == {"contact_id"}


def test_lists_are_sorted_filtered_and_paged(contacts: Open) -> None:
    warehouse = contacts()
    found = call(warehouse, "contacts?sort=-updated_at,first_name&limit=7&page=2").json()
    rows = sorted(warehouse.box.service.rows("contacts"), key=lambda row: row["updated_at"])
    assert [row["id"] for row in found["data"]] == [row["id"] for row in rows[::-1][7:14]]
    pagination = found["meta"]["pagination"]
    assert pagination.pop("links").keys() == {"next", "previous"}
    assert pagination == {
        "total": len(rows),
        "count": 7,
        "per_page": 7,
        "current_page": 2,
        "total_pages": -(-len(rows) // 7),
    }
    assert call(warehouse, "carriers").json()["meta"]["pagination"]["links"] == []
    points = call(warehouse, "contacts?filter[reward_points]=3").json()["data"]
    assert {row["reward_points"] for row in points} == {3}
    assert call(warehouse, "contacts?sort=size").status_code == 422


@pytest.mark.parametrize("form", ["{}", "filter[{}]"])
def test_both_ends_of_a_window_are_inclusive(contacts: Open, form: str) -> None:
    warehouse = contacts()
    rows = warehouse.box.service.rows("messages")
    first, last = (rows[place]["created_at"] for place in (3, 9))
    ends = {form.format("created_at_min"): first, form.format("created_at_max"): last}
    query = "&".join(f"{name}={time:%Y-%m-%dT%H:%M:%SZ}" for name, time in ends.items())
    found = [row["id"] for row in call(warehouse, f"messages?{query}").json()["data"]]
    assert found == [row["id"] for row in rows if first <= row["created_at"] <= last]


class Receiver(ThreadingHTTPServer):
    """Accepts webhooks, each only when it is posted for the second time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.posted: list[tuple[str, bytes]] = []
        self.accepted: list[tuple[str, dict[str, Any]]] = []


class _Receive(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        again = self.server.posted[-1:] == [(self.path, body)]
        self.server.posted.append((self.path, body))
        if again:
            self.server.accepted.append((self.path, json.loads(body)))
        self.send_response(200 if again else 503)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def test_webhooks_are_posted_until_they_are_accepted(receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    service = Mobiniti(contacts=400, now="2024-06-01", webhooks=url)
    assert service.webhooks
    service.webhooks.pause = 0.01
    service.advance(30 * DAY)
    rows = service.rows("messages")
    since = parse_time("2024-05-02")
    incoming = [row for row in rows if row["type"] == "INCOMING"]
    expected = [row["message"] for row in incoming if row["created_at"].timestamp() >= since]
    done = threading.Event()
    for _ in range(600):
        kinds = Counter(path for path, _ in receiver.accepted)
        if kinds["/hook/inbound_messages"] == len(expected) and kinds["/hook/bounces"]:
            break
        done.wait(0.1)
    service.webhooks.close()
    accepted: dict[str, list[dict[str, Any]]] = {}
    for path, body in receiver.accepted:
        accepted.setdefault(path.removeprefix("/hook/"), []).append(body)
    assert [body["message"] for body in accepted["inbound_messages"]] == expected
    assert {kind: set(bodies[0]) for kind, bodies in accepted.items()} == PRINTED
    assert all(body["received_at"].endswith("Z") for body in accepted["inbound_messages"])
    for body in accepted["delivery_reports"]:
        assert body["total_messages"] == len(body["messages"]) == 1


_PERSON = {"id", "first_name", "last_name", "email", "phone_number", "created_at", "updated_at"}
#: The members of each webhook, as the vendor's page prints them.
PRINTED = {
    "inbound_messages": _PERSON | {"short_code", "message", "unsubscribed_at", "received_at"},
    "unsubscribes": _PERSON | {"to", "unsubscribed_at"},
    "delivery_reports": {"total_messages", "statuses", "messages"},
    "contact_status_changes": _PERSON | {"status"},
    "bounces": _PERSON | {"unsubscribed_at", "bounces"},
    "rejections": {"code", "message", "description"},
}
