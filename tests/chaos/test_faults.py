"""Every fault a service can show, and what becomes of it: as docs/failures.md says, for each service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.conftest import Open, Warehouse
from tests.support.accounts import assert_same as assert_same_account
from tests.support.messages import assert_same as assert_same_messages
from textlift.errors import CredentialsError
from textlift.load.loading import Summary
from textlift.sandbox import Request, Response, rehearse
from textlift.sandbox.mcommons import ERRORS

TABLES = ("profiles", "profiles__subscriptions", "incoming_messages", "calls", "keywords")
RESOURCES = ("profiles", "incoming_messages", "calls", "keywords")
PASSED = (0, 0, [], {})
#: Where the record stands that the sandbox damages, and what it is called.
ENDPOINT = {"mcommons": "profiles", "mgage": "messages/program/121811"}
TABLE = {"mcommons": "profiles", "mgage": "messages"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "30")
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_RETRY_DELAY", "0.2")


@pytest.fixture(params=["mcommons", "mgage"])
def warehouse(request: pytest.FixtureRequest, account: Open, export: Open) -> Warehouse:
    if request.param == "mcommons":
        return account()
    return export(messages=900)


mcommons_only = pytest.mark.parametrize("warehouse", ["mcommons"], indirect=True)


def load(warehouse: Warehouse, **settings: Any) -> Summary:
    resources = RESOURCES if warehouse.name == "mcommons" else ()
    return warehouse.load(*resources, **{"page_size": 20, "concurrency": 4, **settings})


def assert_same(warehouse: Warehouse) -> None:
    if warehouse.name == "mcommons":
        assert_same_account(warehouse, *TABLES)
    else:
        assert_same_messages(warehouse)
    assert warehouse.content("rejected_records") == []


def outcome(summary: Summary) -> tuple[int, int, list[str], dict[str, str]]:
    return summary.rejected, len(summary.gaps), summary.missing, summary.failed


# What passes


BOTH = ["429", "429=0", "429=date", "500", "502", "503", "503=0", "503=date", "504", "408", "html"]
BOTH += ["empty", "cut", "truncated", "reset", "drop", "hang", "drip", "drip-head", "transient"]
SILENT = ("hang", "drip", "drip-head")
PASSING = [(service, kind) for service in ENDPOINT for kind in BOTH]
PASSING += [("mcommons", "error=0"), ("mcommons", "error=27"), ("mgage", "general-errors")]


@pytest.mark.parametrize(("warehouse", "kind"), PASSING, indirect=["warehouse"])
def test_a_fault_that_passes_costs_time_and_nothing_else(
    warehouse: Warehouse, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind in SILENT:
        monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.5")
    rehearse(warehouse.box, f"{kind}@2", f"{kind}@{ENDPOINT[warehouse.name]}:2-3")
    assert outcome(load(warehouse)) == PASSED
    assert_same(warehouse)


@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_an_answer_without_measure_fails_its_resource_before_it_fills_the_memory(
    warehouse: Warehouse, kind: str
) -> None:
    faults = rehearse(warehouse.box, f"{kind}@{ENDPOINT[warehouse.name]}:1")
    failed = load(warehouse).failed
    assert list(failed) == [TABLE[warehouse.name]]
    assert "larger than 134217728 bytes" in failed[TABLE[warehouse.name]]
    warehouse.box.faults.remove(faults)
    assert outcome(load(warehouse)) == PASSED
    assert_same(warehouse)


# What does not pass


LASTING = {
    **{str(status): f"HTTP {status}" for status in (500, 502, 503, 504, 429, 501, 410)},
    "html": "a page instead of data",
    "empty": "the response is empty",
    "cut": "the response is",
    "truncated": "the connection failed",
    "reset": "the connection failed",
    "drop": "the connection failed",
    "redirect": "the service redirects",
    "hang": "no complete response",
    "drip-head": "no complete response",
}


@pytest.mark.parametrize("kind", LASTING)
def test_a_fault_that_does_not_pass_fails_its_resource_and_the_next_run_brings_all(
    warehouse: Warehouse, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.1" if kind in SILENT else "30")
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
    faults = rehearse(warehouse.box, f"{kind}@{ENDPOINT[warehouse.name]}")
    summary = load(warehouse, concurrency=16)
    assert [*summary.failed] == [TABLE[warehouse.name]]
    said = summary.failed[TABLE[warehouse.name]]
    assert said.startswith(f"{TABLE[warehouse.name]}, ")
    assert LASTING[kind] in said
    assert len(warehouse.box.requests) < 600
    warehouse.box.faults.remove(faults)
    assert outcome(load(warehouse)) == PASSED
    assert_same(warehouse)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_end_the_run(warehouse: Warehouse, status: int) -> None:
    rehearse(warehouse.box, f"{status}@5-")
    with pytest.raises(CredentialsError, match=rf"HTTP {status}(.|\n)*credentials"):
        load(warehouse, concurrency=1)
    assert len(warehouse.box.requests) == 5


#: Errors of the vendor's list that mean something else than "cannot be read" to a list of messages.
MEANINGS = {0: "passes", 4: "company", 17: "too many", 27: "passes"}


@mcommons_only
@pytest.mark.parametrize("error_id", sorted(ERRORS))
def test_every_error_of_the_vendors_list_has_an_outcome(
    warehouse: Warehouse, error_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "3")
    rehearse(warehouse.box, f"error={error_id}@messages")
    meaning = MEANINGS.get(error_id, "fails")
    if meaning == "company":
        with pytest.raises(CredentialsError, match=r"sources\.mcommons\.company"):
            load(warehouse)
        return
    summary = load(warehouse)
    assert [*summary.failed] == ["incoming_messages"]
    assert f"(error {error_id})" in summary.failed["incoming_messages"]
    asked = [request for request in warehouse.box.requests if request.endpoint == "messages"]
    if meaning == "too many":
        # Down to the second, and no further.
        assert 10 < len(asked) < 300
    else:
        assert len(asked) == (3 if meaning == "passes" else 1)
    assert_same_account(warehouse, "profiles", "calls", "keywords")


NOT_THERE = {"mcommons": "calls:1", "mgage": ENDPOINT["mgage"]}


@pytest.mark.parametrize("kind", ["404", "vanish"])
def test_what_is_not_there_is_named(warehouse: Warehouse, kind: str) -> None:
    rehearse(warehouse.box, f"{kind}@{NOT_THERE[warehouse.name]}")
    summary = load(warehouse)
    if warehouse.name == "mgage":
        (missing,) = summary.missing
        assert missing.startswith("messages, program_id 121811: ")
        assert summary.failed == {}
    elif kind == "404":
        assert "HTTP 404" in summary.failed["calls"]
    else:
        # A parent that is gone is none that is missing.
        assert outcome(summary) == PASSED


# A service that does not do as it is asked


@pytest.mark.parametrize("kind", ["same-page", "any-window"])
def test_pages_or_windows_that_are_ignored_lose_and_double_nothing(
    warehouse: Warehouse, kind: str
) -> None:
    rehearse(warehouse.box, kind)
    assert outcome(load(warehouse)) == PASSED
    assert_same(warehouse)


@pytest.mark.parametrize("kinds", [["any-window"], ["any-window", "same-page"]], ids=len)
def test_a_window_that_is_ignored_is_not_cut_for_ever(
    warehouse: Warehouse, kinds: list[str]
) -> None:
    rehearse(warehouse.box, *kinds)
    summary = load(warehouse, page_size=1)
    failed = {"profiles", "incoming_messages"} if warehouse.name == "mcommons" else {"messages"}
    assert failed <= set(summary.failed)
    assert len(warehouse.box.requests) < 600


@mcommons_only
def test_queries_without_an_id_are_not_doubled_by_pages_that_are_ignored(
    warehouse: Warehouse,
) -> None:
    rehearse(warehouse.box, "same-page@mdata_queries")
    assert outcome(warehouse.load("mdata_queries", page_size=3)) == PASSED
    assert_same_account(warehouse, "mdata_queries", "mdata_queries__custom_columns")


# Bad records


WHOLE = ["control", "ampersand", "invalid-utf8", "no-id", "same-id", "broken", "external-entity"]
WHOLE += ["entity-expansion", "deep", "huge-attribute"]
REJECTED = [("mcommons", kind, None) for kind in WHOLE]
REJECTED += [("mcommons", "nested", ""), ("mcommons", "bad-number", "source__id")]
REJECTED += [("mcommons", "bad-time", "created_at")]
REJECTED += [("mgage", "broken", None), ("mgage", "invalid-utf8", "body")]
REJECTED += [("mgage", "bad-time", "date"), ("mgage", "nested", "message")]


@pytest.mark.parametrize(("warehouse", "kind", "column"), REJECTED, indirect=["warehouse"], ids=str)
def test_a_bad_record_is_kept_whole_and_the_others_load(
    warehouse: Warehouse, kind: str, column: str | None
) -> None:
    table, endpoint = TABLE[warehouse.name], ENDPOINT[warehouse.name]
    settings = {"page_size": 1000} if warehouse.name == "mcommons" else {"programs": [121811]}
    undisturbed = replace_folder(warehouse)
    load(undisturbed, **settings)
    truth = undisturbed.content(table)
    bodies = caught(warehouse, kind, endpoint)
    summary = load(warehouse, **settings)
    assert summary.failed == {}
    pages = {body for body in bodies if body}
    assert summary.rejected == len(pages) >= 1
    rejected = warehouse.query("SELECT column_name, payload, reason, row_key FROM rejected_records")
    assert {name for name, *_ in rejected} == {column or None}
    loaded = warehouse.content(table)
    lost = 1 if column is None else 0
    assert len(loaded) == len(truth) - lost * len(pages)
    same = [row for row in loaded if row in truth]
    # Of two records with one id nobody knows which one it belongs to.
    assert len(same) >= len(truth) - len(pages) * (2 if kind == "same-id" else 1)
    for _, payload, reason, row_key in rejected:
        assert reason
        assert payload
        assert "root:" not in payload
        if column is None and kind not in ("no-id", "invalid-utf8"):
            assert any(payload[:200] in body for body in pages)
        assert row_key or kind in ("no-id", "nested", "broken")


def replace_folder(warehouse: Warehouse) -> Warehouse:
    """Another warehouse for the same service."""
    folder = warehouse.folder / "undisturbed"
    folder.mkdir()
    return Warehouse(warehouse.box, folder, warehouse.name, warehouse._make_source)


def caught(warehouse: Warehouse, kind: str, endpoint: str) -> list[str]:
    """Damage every answer of an endpoint; gives those with whole pages as they are sent."""
    bodies: list[str] = []
    lock = threading.Lock()
    rehearse(warehouse.box, f"{kind}@{endpoint}")

    def keep(request: Request, response: Response) -> None:
        sound = warehouse.box.service.answer(request).body
        whole = request.params.get("limit") != "1"
        if request.endpoint == endpoint and whole and response.body != sound:
            with lock:
                bodies.append(response.body.decode("utf-8", "backslashreplace"))

    warehouse.box.hooks.append(keep)
    return bodies


UNUSUAL = [("mcommons", "megabyte", "a" * 2**20), ("mgage", "megabyte", "a" * 2**20)]
UNUSUAL += [("mgage", "control", "\x07")]


@pytest.mark.parametrize(
    ("warehouse", "kind", "end"), UNUSUAL, indirect=["warehouse"], ids=["xml", "json", "control"]
)
def test_what_is_only_unusual_is_loaded_byte_for_byte(
    warehouse: Warehouse, kind: str, end: str
) -> None:
    endpoint, table = {
        "mcommons": ("messages", "incoming_messages"),
        "mgage": (ENDPOINT["mgage"], "messages"),
    }[warehouse.name]
    rehearse(warehouse.box, f"{kind}@{endpoint}")
    assert outcome(load(warehouse)) == PASSED
    ((found,),) = warehouse.query(f"SELECT count(*) FROM {table} WHERE ends_with(body, '{end}')")
    assert found


# A record that breaks the answer it is in


def cut_at(mark: bytes) -> Callable[[Request, Response], Response | None]:
    """The service stumbles over a record, whenever it has to print it."""

    def cut(request: Request, response: Response) -> Response | None:
        at = response.body.find(mark)
        return replace(response, body=response.body[:at]) if at >= 0 else None

    return cut


@mcommons_only
@pytest.mark.parametrize("bad", [[7], [1], [60], [3, 4, 41]], ids=str)
@pytest.mark.parametrize("page_size", [1000, 25, 7])
def test_a_record_that_cuts_its_page_short_is_found_and_the_others_load(
    warehouse: Warehouse, bad: list[int], page_size: int
) -> None:
    people = warehouse.box.service.rows("profiles")
    ids = [people[number - 1]["id"] for number in bad]
    for row_id in ids:
        warehouse.box.hooks.append(cut_at(f'<profile id="{row_id}">'.encode()))
    summary = load(warehouse, page_size=page_size)
    assert summary.failed == {}
    assert summary.rejected == len(bad)
    loaded = [row_id for (row_id,) in warehouse.query("SELECT id FROM profiles ORDER BY id")]
    assert loaded == [row["id"] for row in people if row["id"] not in ids]
    reasons = warehouse.query("SELECT reason FROM rejected_records")
    assert {reason for (reason,) in reasons} == {
        "the response is cut short, also when requested alone"
    }


@mcommons_only
@pytest.mark.parametrize(("records", "fails"), [(1, False), (3, True)])
def test_a_list_of_which_no_record_can_be_read_fails_unless_it_is_the_only_one(
    warehouse: Warehouse, records: int, fails: bool
) -> None:
    for row in warehouse.box.service.rows("profiles")[records:]:
        warehouse.box.service.delete("profiles", row["id"])
    warehouse.box.hooks.append(cut_at(b"<profile id="))
    summary = warehouse.load("profiles", page_size=20)
    assert list(summary.failed) == ["profiles"] * fails
    assert summary.rejected == (not fails)


def garble(mark: bytes, tag: bytes) -> Callable[[Request, Response], Response | None]:
    """A record arrives as something in which nobody sees a record any more."""

    def change(request: Request, response: Response) -> Response | None:
        start = response.body.find(b"<" + tag + mark)
        if start < 0:
            return None
        end = response.body.index(b"</" + tag + b">", start) + len(tag) + 3
        record = response.body[start:end].replace(tag, b"&" + tag)
        return replace(response, body=response.body[:start] + record + response.body[end:])

    return change


@mcommons_only
@pytest.mark.parametrize(
    ("resource", "tag"), [("profiles", b"profile"), ("incoming_messages", b"message")]
)
@pytest.mark.parametrize("page_size", [1000, 20])
@pytest.mark.parametrize("place", [0, 19, 30, -1])
def test_a_record_that_is_none_any_more_ends_no_list_and_is_kept(
    warehouse: Warehouse, resource: str, tag: bytes, page_size: int, place: int
) -> None:
    ids = [row["id"] for row in warehouse.box.service.rows(resource)]
    lost = ids.pop(place)
    warehouse.box.hooks.append(garble(f' id="{lost}"'.encode(), tag))
    summary = warehouse.load(resource, page_size=page_size)
    assert (summary.failed, summary.rejected) == ({}, 1)
    assert [found for (found,) in warehouse.query(f"SELECT id FROM {resource} ORDER BY id")] == ids
    ((payload,),) = warehouse.query("SELECT payload FROM rejected_records")
    assert f'id="{lost}"' in payload


mgage_only = pytest.mark.parametrize("warehouse", ["mgage"], indirect=True)


@mgage_only
@pytest.mark.parametrize("page_size", [500, 20, 7])
@pytest.mark.parametrize("bad", [{0}, {11}, {3, 4, 26}], ids=str)
def test_a_message_that_cuts_its_page_short_is_found_and_the_others_load(
    warehouse: Warehouse, bad: set[int], page_size: int
) -> None:
    service = warehouse.box.service
    service.add_program(7)
    # All in one second, which no window can cut.
    date = service.now() - timedelta(days=5)
    for number in range(40):
        service.put(7, {"body": f"text {number}.", "date": date})
    for number in bad:
        warehouse.box.hooks.append(cut_at(f"text {number}.".encode()))
    summary = warehouse.load(programs=[7], page_size=page_size)
    assert summary.failed == {}
    assert summary.rejected == len(bad)
    loaded = {body for (body,) in warehouse.query("SELECT body FROM messages")}
    assert loaded == {f"text {number}." for number in range(40) if number not in bad}
    assert warehouse.query("SELECT count(DISTINCT program_name) FROM messages") == [(1,)]


@mgage_only
def test_where_pages_have_no_numbers_a_page_that_stays_cut_short_fails_its_resource(
    warehouse: Warehouse,
) -> None:
    body = json.dumps(warehouse.box.service.served(121811)[10]["body"], ensure_ascii=False)
    warehouse.box.hooks.append(cut_at(body[1:-1].encode()))

    def rename(request: Request, response: Response) -> Response:
        # The service names its pages otherwise, and knows no "page".
        return replace(response, body=response.body.replace(b"page=", b"token="))

    warehouse.box.hooks.append(rename)
    rehearse(warehouse.box, "same-page")
    assert [*load(warehouse, page_size=500).failed] == ["messages"]


@mcommons_only
def test_a_record_inside_of_another_does_not_make_its_page_the_last(warehouse: Warehouse) -> None:
    def nest(request: Request, response: Response) -> Response | None:
        """The second record of the first page stands in the first."""
        whole = request.params["limit"] != "1"
        if request.endpoint != "profiles" or request.params["page"] != "1" or not whole:
            return None
        first, second, rest = response.body.split(b"</profile>\n", 2)
        return replace(response, body=b"".join([first, second, b"</profile></profile>\n", rest]))

    warehouse.box.hooks.append(nest)
    summary = warehouse.load("profiles", page_size=20)
    assert (summary.failed, summary.rejected) == ({}, 1)
    people = [row["id"] for row in warehouse.box.service.rows("profiles")]
    found = [found for (found,) in warehouse.query("SELECT id FROM profiles ORDER BY id")]
    assert found == [people[0], *people[2:]]


@mcommons_only
def test_rows_that_move_between_the_pieces_of_a_page_are_not_lost(warehouse: Warehouse) -> None:
    service = warehouse.box.service
    ids = [row["id"] for row in service.rows("profiles")]
    warehouse.box.hooks.append(cut_at(f'<profile id="{ids[54]}">'.encode()))
    moved: list[int] = []

    def move(request: Request) -> None:
        if (request.params.get("limit"), request.params.get("page")) == ("50", "2") and not moved:
            moved.append(ids[2])
            service.advance(3 * 24 * 3600)
            service.update("profiles", ids[2])

    warehouse.box.faults.append(move)
    warehouse.load("profiles", page_size=100, until=service.now().isoformat())
    warehouse.load("profiles", page_size=100)
    assert moved
    loaded = {found for (found,) in warehouse.query("SELECT id FROM profiles")}
    assert set(ids) - loaded == {ids[54]}


@mcommons_only
def test_a_list_that_is_garbled_once_is_asked_for_again(warehouse: Warehouse) -> None:
    left = [1]

    def change(request: Request, response: Response) -> Response | None:
        if request.endpoint != "campaigns" or not left:
            return None
        left.pop()
        start, end = response.body.index(b"<campaign "), response.body.rindex(b"</campaign>")
        body = response.body[:start] + response.body[end:].replace(b"</campaign>", b"")
        return replace(response, body=body.replace(b"</campaigns>", b"</campaign s>"))

    warehouse.box.hooks.append(change)
    assert outcome(warehouse.load("campaigns", "campaign_subscribers")) == PASSED
    assert_same_account(warehouse, "campaigns", "campaign_subscribers")


def test_a_crowded_second_of_which_only_one_page_can_be_had_is_noted(account: Open) -> None:
    warehouse = account(clicks_per_page=25)
    service = warehouse.box.service
    link, click = service.rows("tinyurls")[0]["id"], service.rows("clicks")[0]
    for number in range(40):
        row = {**click, "id": 10**6 + number, "tinyurl_id": link}
        service.put("clicks", {**row, "created_at": "2025-03-01T10:00:00Z"})
    rehearse(warehouse.box, "same-page@clicks")
    summary = warehouse.load("clicks")
    assert summary.failed == {}
    second = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
    noted = warehouse.query("SELECT window_start, window_end, reason FROM rejected_records")
    # Windows share their edges.
    assert 1 <= len(noted) == summary.rejected <= 2
    for start, end, reason in noted:
        assert start <= second <= end <= start + timedelta(seconds=1)
        assert "there may be more" in reason
    ((loaded,),) = warehouse.query("SELECT count(*) FROM clicks")
    assert loaded == len(service.rows("clicks")) - 15


# Limits held


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_no_fault_makes_more_calls_at_a_time_than_allowed(
    warehouse: Warehouse, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.5")
    rehearse(warehouse.box, "transient@20%", "hang@5%")
    warehouse.box.latency = 0.01
    summary = warehouse.load(concurrency=concurrency, page_size=10)
    assert summary.requests == len(warehouse.box.requests)
    assert warehouse.box.peak <= concurrency
