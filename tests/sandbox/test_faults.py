"""Every fault of the sandbox is what it says, on the wire, when it should be."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from lxml import etree

from tests.conftest import PROJECT
from textlift.sandbox import Faults, Request, Response, Sandbox, rehearse
from textlift.sandbox.faults import kinds
from textlift.sandbox.mcommons import MobileCommons
from textlift.sandbox.mgage import MGage

NOW = "2025-06-01T12:00:00Z"
BASIC = ("sandbox@example.org", "sandbox-password")
PROGRAM = "messages/program/121811"
SERVICES = {
    "mcommons": lambda: MobileCommons(profiles=60, now=NOW),
    "mgage": lambda: MGage(messages=300, now=NOW),
}
LIST = {"mcommons": "keywords", "mgage": f"{PROGRAM}?pageSize=20"}
"""An endpoint that answers with a few records."""
SMALL = {"mcommons": "call_count?mconnect_id=10", "mgage": f"{PROGRAM}?page=99"}
"""One that answers with little."""
both = pytest.mark.parametrize("name", SERVICES)


class Client:
    """Asks a sandbox, once for each connection, and keeps what it says without faults."""

    def __init__(self, name: str, box: Sandbox) -> None:
        self.name, self.box = name, box
        self.list, self.small = LIST[name], SMALL[name]

    def connect(self, path: str, *headers: str) -> socket.socket:
        """A connection on which a call has been made."""
        connection = socket.create_connection(("127.0.0.1", self.box.port), timeout=20)
        lines = [
            f"GET /api/{path} HTTP/1.1",
            "Host: sandbox",
            f"Authorization: Basic {b64encode(':'.join(BASIC).encode()).decode()}",
            *headers,
        ]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection

    def raw(self, path: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body as they come over the wire, up to the end of the connection."""
        with self.connect(path, "Connection: close", *headers) as connection:
            data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body

    def body(self, path: str) -> bytes:
        status, headers, body = self.raw(path)
        assert status == 200
        assert int(headers["Content-Length"]) == len(body)
        return body

    def statuses(self, path: str, count: int) -> list[int]:
        return [self.raw(path)[0] for _ in range(count)]

    def in_progress(self) -> int:
        """How many calls the sandbox is busy with, apart from the one that asks."""
        self.box.faults.clear()
        self.raw(self.small)
        return self.box.requests[-1].in_progress - 1


@contextmanager
def opened(name: str) -> Iterator[Client]:
    with Sandbox(SERVICES[name]()) as box:
        yield Client(name, box)


Open = Callable[[str], Client]


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[str, Client]]:
    with opened("mcommons") as one, opened("mgage") as other:
        yield {"mcommons": one, "mgage": other}


@pytest.fixture(name="client")
def client_fixture(boxes: dict[str, Client], name: str) -> Iterator[Client]:
    client = boxes[name]
    client.box.requests.clear()
    yield client
    client.box.faults.clear()


@pytest.fixture
def mcommons(boxes: dict[str, Client]) -> Iterator[Client]:
    yield boxes["mcommons"]
    boxes["mcommons"].box.faults.clear()


@pytest.fixture
def mgage(boxes: dict[str, Client]) -> Iterator[Client]:
    yield boxes["mgage"]
    boxes["mgage"].box.faults.clear()


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it did not come to pass")


def request(endpoint: str, *query: tuple[str, str]) -> Request:
    basic = f"Basic {b64encode(':'.join(BASIC).encode()).decode()}"
    return Request("GET", f"/api/{endpoint}", endpoint, [*query], {"authorization": basic}, 1)


# --- answers in place of the service's -----------------------------------------------------------


def assert_failure(name: str, headers: dict[str, str], body: bytes) -> None:
    """The error body of a service, as its clients expect it."""
    if name == "mcommons":
        assert headers["Content-Type"].startswith("text/html")
        assert re.search(rb"<h4>.+</h4><p>.+</p>", body)
    else:
        assert headers["Content-Type"].startswith("application/json")
        document = json.loads(body)
        assert document["data"] is None
        assert len(document["meta"]["generalErrors"]) == 1
        assert document["meta"]["generalErrors"][0]


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 499, 500, 502, 503, 504, 599])
def test_statuses(client: Client, status: int) -> None:
    rehearse(client.box, str(status))
    found, headers, body = client.raw(client.list)
    assert found == status
    assert "Retry-After" not in headers
    assert ("WWW-Authenticate" in headers) is (status == 401)
    assert_failure(client.name, headers, body)


@both
def test_retry_after(client: Client) -> None:
    rehearse(client.box, "503=2@1", "429=0@2", "503=date@3")
    assert client.raw(client.list)[1]["Retry-After"] == "2"
    assert client.raw(client.list)[1]["Retry-After"] == "0"
    before = datetime.now(timezone.utc)
    status, headers, body = client.raw(client.list)
    assert status == 503
    assert_failure(client.name, headers, body)
    time = parsedate_to_datetime(headers["Retry-After"])
    two, second = timedelta(seconds=2), timedelta(seconds=1)  # such a date has whole seconds
    assert before + two - second < time <= datetime.now(timezone.utc) + two


def test_error_ids(mcommons: Client) -> None:
    known = {0: "Unknown error", 17: "Too many messages", 27: "API rate limit exceeded"}
    known |= {3: "Invalid message body", 37: "Message has already been sent"}
    for id in range(38):
        faults = rehearse(mcommons.box, f"error={id}")
        root = etree.fromstring(mcommons.body("keywords"))
        assert (root.tag, dict(root.attrib), len(root)) == ("response", {"success": "false"}, 1)
        assert (root[0].tag, root[0].get("id")) == ("error", str(id))
        assert root[0].get("message")
        assert root[0].get("message") == known.get(id, root[0].get("message"))
        mcommons.box.faults.remove(faults)


def test_general_errors(mgage: Client) -> None:
    rehearse(mgage.box, "general-errors")
    document = json.loads(mgage.body(PROGRAM))
    assert document["data"] is None
    assert document["meta"]["generalErrors"]


@both
def test_html_in_place_of_data(client: Client) -> None:
    rehearse(client.box, "html")
    status, headers, body = client.raw(client.list)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert re.search(rb"<h4>.+</h4><p>.+</p>", body)


@both
def test_redirect(client: Client) -> None:
    rehearse(client.box, "redirect")
    status, headers, _ = client.raw(client.list)
    assert status == 302
    assert headers["Location"].startswith("https://example.org/api/")


NO_DATA = {
    "text": (200, b'<response success="true">hurray!</response>'),
    "bare": (200, b"<response/>"),
    "body": (200, b"<body>Well, this is unexpected!</body>"),
    "heading": (200, b"<h1>Error</h1>"),
    "maintenance": (503, b"<title>Site Maintenance</title><p>"),
    "maintenance-200": (200, b"<title>Site Maintenance</title><p>"),
    "heavy-load": (503, b"<h2>This website is under heavy load (queue full)</h2><p>"),
}


@pytest.mark.parametrize("kind", NO_DATA)
def test_answers_without_data(mcommons: Client, kind: str) -> None:
    rehearse(mcommons.box, kind)
    for path in ("keywords", "call_count?mconnect_id=10"):
        status, _, body = mcommons.raw(path)
        assert status == NO_DATA[kind][0]
        assert body.startswith(NO_DATA[kind][1])


def test_answers_of_the_export_without_messages(mgage: Client) -> None:
    rehearse(mgage.box, "plain@1", "no-messages@2")
    status, headers, body = mgage.raw(PROGRAM)
    assert (status, headers["Content-Type"]) == (500, "text/plain")
    assert body == b"The export is not available at the moment."
    assert json.loads(mgage.body(PROGRAM))["data"] == {}


@pytest.mark.parametrize("path", ["profiles?limit=5", "mdata_queries?mdata_id=4667&limit=5"])
def test_lists_that_are_others(mcommons: Client, path: str) -> None:
    container, row = ("profiles", "profile") if path[0] == "p" else ("queries", "query")
    kinds = ["other-list", "other-rows", "two-lists", "comment", "bad-count"]
    found = {}
    for kind in kinds:
        faults = rehearse(mcommons.box, kind)
        found[kind] = etree.fromstring(mcommons.body(path))
        mcommons.box.faults.remove(faults)
    lists = {kind: root.findall(f".//{container}") for kind, root in found.items()}
    assert [len(lists[kind]) for kind in kinds] == [0, 1, 2, 1, 1]
    assert [child.tag for child in lists["other-rows"][0]] == ["person"] * 5
    assert lists["comment"][0].findall(row) == []
    numbers = [lists["bad-count"][0].get(name) for name in ("num", "page_count")]
    assert "\u00b2" in numbers


def test_a_list_that_is_short(mcommons: Client) -> None:
    rehearse(mcommons.box, "short-list")
    (people,) = etree.fromstring(mcommons.body("profiles?limit=5"))
    assert (people.get("num"), len(people)) == ("6", 5)


@pytest.mark.parametrize("kind", ["utf-16", "iso-8859-1", "end-blank"])
def test_xml_that_is_only_unusual(mcommons: Client, kind: str) -> None:
    path = "messages?limit=50"
    whole = mcommons.body(path)
    rehearse(mcommons.box, kind)
    other = mcommons.body(path)
    assert other != whole
    written = [etree.tostring(etree.fromstring(body), method="c14n") for body in (whole, other)]
    assert written[0] == written[1]


# --- the service's answers, not quite ------------------------------------------------------------


@both
def test_empty_cut_and_truncated(client: Client) -> None:
    whole = client.body(client.list)
    rehearse(client.box, "empty@1,cut@2,truncated@3")
    assert client.body(client.list) == b""
    assert client.body(client.list) == whole[: len(whole) // 2]
    status, headers, body = client.raw(client.list)
    assert (status, int(headers["Content-Length"])) == (200, len(whole))
    assert body == whole[: len(whole) // 2]
    assert client.body(client.list) == whole


@both
def test_reset_and_drop(client: Client) -> None:
    rehearse(client.box, "reset@1", "drop@2")
    with client.connect(client.list) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    with client.connect(client.list) as connection:
        assert connection.recv(1) == b""
    assert [call.status for call in client.box.requests] == [0, 0]
    assert client.statuses(client.list, 1) == [200]


@both
def test_drip(client: Client) -> None:
    whole = client.body(client.small)
    rehearse(client.box, "drip=0@1", "drip-head=0@2")
    for _ in range(2):
        status, headers, body = client.raw(client.small)
        assert (status, headers["Connection"], body) == (200, "close", whole)


def arrives_in_time(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return False


@both
def test_drip_is_slow_from_the_first_byte_of_the_body(client: Client) -> None:
    rehearse(client.box, "drip=600")
    with client.connect(client.small) as connection:
        data = b""
        while not data.partition(b"\r\n\r\n")[2]:
            data += connection.recv(1)
        assert len(data.partition(b"\r\n\r\n")[2]) == 1
        assert not arrives_in_time(connection)
        assert client.in_progress() == 1
    wait_until(lambda: client.in_progress() == 0)


@both
def test_drip_head_is_slow_from_the_very_first_byte(client: Client) -> None:
    rehearse(client.box, "drip-head=600")
    with client.connect(client.small) as connection:
        assert connection.recv(100) == b"H"
        assert not arrives_in_time(connection)
    wait_until(lambda: client.in_progress() == 0)


@both
def test_a_hanging_call_is_in_progress_until_the_client_goes_away(client: Client) -> None:
    rehearse(client.box, "hang")
    with client.connect(client.list) as connection:
        assert not arrives_in_time(connection)
        client.box.reset_peak()
        assert client.in_progress() == 1
        assert client.box.peak == 2
        assert client.box.requests[0].status == 0
    wait_until(lambda: client.in_progress() == 0)


def handlers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "process_request" in thread.name}


@both
@pytest.mark.parametrize("kind", ["hang", "drip=600", "drip-head=600", "endless"])
def test_closing_the_sandbox_ends_what_takes_for_ever(name: str, kind: str) -> None:
    before = handlers()
    with opened(name) as client:
        rehearse(client.box, kind)
        connection = client.connect(client.list)
        wait_until(lambda: bool(client.box.requests))
        (handler,) = handlers() - before
        client.box.close()
        handler.join(20)
        assert not handler.is_alive()
        # What was sent before, and then the end.
        try:
            while connection.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        connection.close()


@both
def test_bomb(client: Client) -> None:
    whole = client.body(client.list)
    rehearse(client.box, "bomb")
    status, headers, body = client.raw(client.list)
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert len(body) == int(headers["Content-Length"]) < 4_000_000
    first, second = zlib.decompressobj(31), zlib.decompressobj(31)
    beginning = first.decompress(body)
    assert whole.startswith(beginning)
    assert len(beginning) > len(whole) // 20
    blanks = second.decompress(first.unused_data)
    assert not blanks.strip(b" ")
    member = first.unused_data.removesuffix(second.unused_data)
    assert first.unused_data == member * (2**31 // len(blanks))


@both
def test_endless(client: Client) -> None:
    whole = client.body(client.list)
    rehearse(client.box, "endless")
    url = client.box.url + client.list
    got = bytearray()
    with requests.get(url, auth=BASIC, stream=True, timeout=20) as response:
        assert (response.status_code, response.headers["Transfer-Encoding"]) == (200, "chunked")
        for chunk in response.iter_content(1 << 14):
            got += chunk
            if len(got) > 500_000:
                break
    record = {"mcommons": b"<keyword id=", "mgage": b'{"type": '}[client.name]
    assert got.count(record) > 1000
    if client.name == "mgage":
        head, _, _ = bytes(got).rpartition(b', {"type": ')
        messages = json.loads(head + b"]}}")["data"]["messages"]
        assert all(message == messages[0] for message in messages)
        assert messages[0] == json.loads(whole)["data"]["messages"][0]
    else:
        head, _, _ = bytes(got).rpartition(b"\n<keyword id=")
        rows = etree.fromstring(head + b"</keywords></response>")[0]
        assert {etree.tostring(row).strip() for row in rows[:-1]} == {
            etree.tostring(etree.fromstring(whole)[0][0]).strip()
        }
    wait_until(lambda: client.in_progress() == 0)


def test_faults_of_pages_without_records_do_what_they_can(mcommons: Client) -> None:
    path = SMALL["mcommons"]
    whole = mcommons.body(path)
    rehearse(mcommons.box, "control@1,no-id@2,entity-expansion@3,endless@4,bomb@5")
    assert [mcommons.body(path) for _ in range(3)] == [whole] * 3
    with requests.get(mcommons.box.url + path, auth=BASIC, stream=True, timeout=20) as response:
        got = response.raw.read(100_000)
    assert got.rstrip() == whole[: len(whole) // 2].rstrip()
    unpacked = zlib.decompressobj(31).decompress(mcommons.body(path), 1 << 20)
    assert unpacked.rstrip() == whole[: len(whole) // 2].rstrip()


# --- parameters that count for nothing -----------------------------------------------------------


def test_same_page(mcommons: Client, mgage: Client) -> None:
    for client, path, page in (
        (mcommons, "profiles?limit=5", "page"),
        (mgage, f"{PROGRAM}?pageSize=5", "page"),
    ):
        first, second = client.body(path), client.body(f"{path}&{page}=2")
        assert first != second
        rehearse(client.box, "same-page")
        assert client.body(f"{path}&{page}=2") == first


def test_page_cap(mcommons: Client) -> None:
    three, first = mcommons.body("profiles?limit=3"), mcommons.body("messages?limit=2")
    rehearse(mcommons.box, "page-cap=3")
    assert mcommons.body("profiles?limit=500") == three
    assert mcommons.body("messages?limit=2") == first


def test_page_count(mcommons: Client) -> None:
    rehearse(mcommons.box, "page-count=1000")
    assert b'page_count="1000"' in mcommons.body("messages?limit=2")
    assert b"page_count" not in mcommons.body("profiles?limit=2")


def test_filtered(mcommons: Client) -> None:
    path = "profiles?limit=4"
    whole = re.findall(rb"<profile [^<>]*id=\"([0-9]+)\"", mcommons.body(path))
    rehearse(mcommons.box, "filtered")
    body = mcommons.body(path)
    assert re.findall(rb"<profile [^<>]*id=\"([0-9]+)\"", body) == whole[1:]
    assert b'num="3"' in body
    assert mcommons.body(f"{path}&page=100000").count(b"<profile ") == 0


@pytest.mark.parametrize("spec", ["page-cap", "page-cap=0", "page-count=many"])
def test_faults_of_pages_need_a_number(mcommons: Client, spec: str) -> None:
    with pytest.raises(ValueError, match="needs a number"):
        rehearse(mcommons.box, spec)


def test_any_window(mcommons: Client, mgage: Client) -> None:
    profiles, program = "profiles?limit=500", f"{PROGRAM}?pageSize=5&messageType=MO"
    messages, since = "messages?limit=500", "2025-05-25T00:00:00"
    for client, path, window in (
        (mcommons, profiles, f"from={since}Z&to=2025-06-01T00:00:00Z"),
        (mcommons, messages, f"start_time={since}Z&end_time=2025-06-01T00:00:00Z"),
        (mgage, program, f"startDate={since}&endDate=2025-06-01T00:00:00"),
    ):
        everything = client.body(path)
        assert client.body(f"{path}&{window}") != everything
        faults = rehearse(client.box, "any-window")
        assert client.body(f"{path}&{window}") == everything
        client.box.faults.remove(faults)


@pytest.mark.parametrize(
    ("path", "id", "message"),
    [
        ("messages?campaign_id=162600", 1, "Invalid campaign id"),
        ("group_members?group_id=402704", 6, "Invalid group id"),
        ("mdata_queries?mdata_id=4667", 9, "Invalid mData id"),
        ("donation_summary?fundraising_id=901", 12, "Invalid fundraising id"),
        ("call_count?mconnect_id=10", 15, "Invalid mConnect id"),
        ("clicks?url_id=8101", 20, "Invalid URL"),
    ],
)
def test_parents_vanish(mcommons: Client, path: str, id: int, message: str) -> None:
    rehearse(mcommons.box, "vanish")
    root = etree.fromstring(mcommons.body(path))
    assert root.get("success") == "false"
    assert dict(root[0].attrib) == {"id": str(id), "message": message}
    assert etree.fromstring(mcommons.body("profiles")).get("success") == "true"


def test_programs_vanish(mgage: Client) -> None:
    unknown, program = mgage.raw("messages/program/404"), mgage.raw(PROGRAM)
    assert (unknown[0], program[0]) == (404, 200)
    rehearse(mgage.box, "vanish")
    status, _, body = mgage.raw(PROGRAM)
    assert (status, body) == (404, unknown[2].replace(b"404", b"121811"))


# --- records -------------------------------------------------------------------------------------


def damaged_keywords(mcommons: Client, kind: str) -> tuple[bytes, bytes, bytes]:
    """The first keyword as it should be and as it is, and the whole answer."""
    end = b"</keyword>\n"
    before = mcommons.body("keywords").split(end)
    rehearse(mcommons.box, kind)
    body = mcommons.body("keywords")
    after = body.split(end)
    assert len(after) == len(before) > 6
    (row,) = (place for place, text in enumerate(before) if text != after[place])
    # A second id can only be wrong in a second row.
    assert row == (1 if kind == "same-id" else 0)
    return before[row], after[row], body


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("control", b"JOIN</name>", b"JOIN\x07</name>"),
        ("ampersand", b"JOIN</name>", b"JOIN & </name>"),
        ("invalid-utf8", b"JOIN</name>", b"JOIN\xe9</name>"),
        ("bad-number", b"_id>25000<", b"_id>many<"),
        ("bad-time", b"<created_at>2024-01-01 00:00:00 UTC<", b"<created_at>yesterday<"),
        ("no-id", b'<keyword id="763101" ', b"<keyword "),
        ("same-id", b'id="763103"', b'id="763101"'),
        ("broken", b"JOIN</name>", b"JOIN"),
    ],
)
def test_bad_records(mcommons: Client, kind: str, old: bytes, new: bytes) -> None:
    before, after, body = damaged_keywords(mcommons, kind)
    assert before.count(old) == 1
    assert after == before.replace(old, new)
    if kind in ("control", "ampersand", "invalid-utf8", "broken"):
        with pytest.raises(etree.XMLSyntaxError):
            etree.fromstring(body)
    else:
        etree.fromstring(body)


def test_megabytes(mcommons: Client) -> None:
    before, after, _ = damaged_keywords(mcommons, "megabyte")
    remarks = b"<remarks>" + b"a" * 2**20 + b"</remarks>"
    assert after == before + remarks
    (row, *_) = etree.fromstring(mcommons.body("sent_messages"))[0]
    assert len(row.findtext("body")) > 2**20


def rows_of(body: bytes) -> list[Any]:
    """The elements of the rows, whatever they are in."""
    root = etree.fromstring(body)
    while root.tag not in ROWS or len(root) == 0:
        (root,) = root
    return list(root)


ROWS = {
    *("profiles", "messages", "broadcasts", "calls", "clicks", "queries", "subscriptions"),
    *("group", "groups", "campaigns", "tags", "keywords", "mconnects", "tinyurls", "mdatas"),
    "attachments",
}
PATHS = [
    *("profiles", "messages", "sent_messages", "broadcasts", "calls?mconnect_id=10"),
    *("clicks?url_id=8101&include_profile=1", "mdata_queries?mdata_id=4667"),
    *("campaign_subscribers?campaign_id=162603", "group_members?group_id=402704", "groups"),
    *("campaigns?include_opt_in_paths=1", "tags", "keywords", "mconnects", "tinyurls", "mdatas"),
    "attachments",
]


def printed(rows: list[Any]) -> list[bytes]:
    return [etree.tostring(row) for row in rows]


def row_id(row: Any) -> str | None:
    id: str | None = row.get("id") or row.findtext("id")
    return id


@pytest.mark.parametrize("path", PATHS)
def test_the_first_record_of_any_page_is_found(mcommons: Client, path: str) -> None:
    whole = mcommons.body(path)
    rows = rows_of(whole)
    assert len(rows) > 1
    rehearse(mcommons.box, "nested@1,no-id@2,same-id@3,control@4,bad-time@5,deep@6")
    nested = rows_of(mcommons.body(path))
    assert printed([nested[0][-1]])[0].strip() == printed(rows)[0].strip()
    nested[0].remove(nested[0][-1])
    assert printed(nested)[1:] == printed(rows)[1:]
    assert printed(nested)[0].split(b">")[0] == printed(rows)[0].split(b">")[0]
    no_id, same_id = rows_of(mcommons.body(path)), rows_of(mcommons.body(path))
    if not path.startswith("mdata_queries"):
        assert (row_id(rows[0]), row_id(no_id[0])) != (None, None)
        assert row_id(no_id[0]) is None
        ids = [row_id(row) for row in rows]
        assert [row_id(row) for row in same_id] == [ids[0], ids[0], *ids[2:]]
    assert printed(no_id)[1:] == printed(rows)[1:]
    assert printed(same_id)[2:] == printed(rows)[2:]
    control = mcommons.body(path)
    place = control.index(b"\x07")
    assert control[:place] + control[place + 1 :] == whole
    bad_time, deep = mcommons.body(path), mcommons.body(path)
    if has_time := re.search(rb">[0-9-]{10} [0-9:]{8} UTC<", printed(rows)[0]):
        assert bad_time == whole.replace(has_time[0], b">yesterday<", 1)
    else:
        assert bad_time == whole
    assert deep.replace(b"<deep>", b"").replace(b"</deep>", b"") == whole
    assert deep.count(b"<deep>") == 100_000


@pytest.mark.parametrize("path", PATHS)
def test_a_number_is_none_where_there_is_one(mcommons: Client, path: str) -> None:
    rows = rows_of(mcommons.body(path))
    rehearse(mcommons.box, "bad-number")
    damaged = rows_of(mcommons.body(path))
    assert [row_id(row) for row in damaged] == [row_id(row) for row in rows]
    assert printed(damaged)[1:] == printed(rows)[1:]
    without = {"clicks", "mdata_queries", "mdatas", "tinyurls", "attachments"}
    if path.partition("?")[0] in without:
        return
    assert printed(damaged)[0].replace(b"many", b"") != printed(rows)[0]
    assert printed(damaged)[0].count(b"many") == 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("control", lambda row: {**row, "body": row["body"] + "\x07"}),
        ("invalid-utf8", lambda row: {**row, "body": row["body"] + "\udce9"}),
        ("bad-time", lambda row: {**row, "date": "yesterday"}),
        ("nested", lambda row: {**row, "message": row}),
        ("megabyte", lambda row: {**row, "body": row["body"] + "a" * 2**20}),
    ],
)
def test_bad_messages(
    mgage: Client, kind: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    whole = mgage.body(LIST["mgage"])
    rehearse(mgage.box, kind)
    body = mgage.body(LIST["mgage"])
    wanted = json.loads(whole)
    first = wanted["data"]["messages"][0] = change(wanted["data"]["messages"][0])
    assert len(wanted["data"]["messages"]) == 20
    assert json.loads(body.decode(errors="surrogateescape"), strict=False) == wanted
    if kind == "control":
        assert b"\x07" in body
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
    if kind == "invalid-utf8":
        with pytest.raises(UnicodeDecodeError):
            body.decode()
    # Byte for byte the same behind the first message.
    rest = whole[whole.index(b'}, {"type"') :]
    assert body.endswith(rest)
    assert json.dumps(first["type"]).encode() in body


def test_broken_and_deep_messages(mgage: Client) -> None:
    whole = mgage.body(LIST["mgage"])
    rehearse(mgage.box, "broken@1,deep@2")
    broken, deep = mgage.body(LIST["mgage"]), mgage.body(LIST["mgage"])
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    assert broken.replace(b' "now""', b'"') == whole
    assert deep.replace(b', "deep": ' + b"[" * 100_000 + b"]" * 100_000, b"") == whole != deep


# --- hostile answers -----------------------------------------------------------------------------


def test_external_entities(mcommons: Client) -> None:
    rehearse(mcommons.box, "external-entity")
    safe = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    root = etree.fromstring(mcommons.body("keywords"), safe)
    (entity,) = root.getroottree().docinfo.internalDTD.entities()
    assert (entity.name, entity.system_url) == ("secret", "file:///etc/passwd")
    (used,) = root.iter(etree.Entity)
    assert used.getparent().tag == "name"


def test_entity_expansion(mcommons: Client) -> None:
    rehearse(mcommons.box, "entity-expansion")
    for path in ("keywords", "calls?mconnect_id=10"):
        body = mcommons.body(path)
        entities = dict(re.findall(rb'<!ENTITY (\w+) "([^"]*)">', body))
        root, (used,) = re.findall(rb"<(\w+)", body)[0], re.findall(rb"&(laugh\d+);</", body)
        assert b"<!DOCTYPE %b [" % root in body

        def length(name: bytes, entities: dict[bytes, bytes] = entities) -> int:
            inner = re.findall(rb"&(\w+);", entities[name])
            if not inner:
                return len(entities[name])
            return len(inner) * length(inner[0])

        assert length(used) >= 10**9


def test_huge_attributes(mcommons: Client) -> None:
    before, after, _ = damaged_keywords(mcommons, "huge-attribute")
    (attribute,) = re.findall(rb' remarks="a*"', after)
    assert len(attribute) >= 20_000_000
    assert after.replace(attribute, b"") == before


# --- which calls ---------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("when", "hit"),
    [("", {1, 2, 3, 4, 5}), ("@2", {2}), ("@2-3", {2, 3}), ("@4-", {4, 5}), ("@100%", {*range(6)})],
)
def test_the_nth_call(client: Client, when: str, hit: set[int]) -> None:
    rehearse(client.box, f"503{when}")
    wanted = [503 if number in hit else 200 for number in range(1, 6)]
    assert client.statuses(client.small, 5) == wanted


def test_the_nth_call_of_an_endpoint(mcommons: Client, mgage: Client) -> None:
    rehearse(mcommons.box, "503@tags:2", "500@groups", "502@6")
    paths = ["tags", "keywords", "groups", "tags?type=campaign", "tags", "keywords"]
    assert [mcommons.raw(path)[0] for path in paths] == [200, 200, 500, 503, 200, 502]
    rehearse(mgage.box, f"503@{PROGRAM}:2,404@messages/program/121812")
    paths = [PROGRAM, "messages/program/121812", PROGRAM, PROGRAM]
    assert [mgage.raw(path)[0] for path in paths] == [200, 404, 503, 200]


def test_several_faults_in_one_call(mcommons: Client) -> None:
    first = mcommons.body("profiles?limit=5")
    rehearse(mcommons.box, "cut@2", "same-page", "503@2")
    assert mcommons.body("profiles?limit=5&page=2") == first
    # The first fault is the outermost: what it cuts is the failure that the third one makes.
    status, headers, body = mcommons.raw("profiles?limit=5&page=2")
    assert (status, len(body)) == (503, int(headers["Content-Length"]))
    assert body.startswith(b"<!DOCTYPE")
    assert b"</html>" not in body


def test_faults_end_and_hooks_see_them(mcommons: Client) -> None:
    seen: list[int] = []
    mcommons.box.hooks.append(lambda request, response: seen.append(response.status))
    faults = rehearse(mcommons.box, "503")
    mcommons.raw("tags")
    mcommons.box.faults.remove(faults)
    mcommons.raw("tags")
    mcommons.box.hooks.clear()
    assert seen == [503, 200]


QUESTIONS = [(number, asked) for number in range(500) for asked in range(4)]
Outcome = dict[tuple[int, int], str]


def outcomes(specs: list[str], seed: int, questions: list[tuple[int, int]]) -> Outcome:
    """What becomes of each question, each asked several times."""
    faults = Faults(MobileCommons(empty=True, now=NOW), specs, seed)
    found: Outcome = {}
    asked: dict[int, int] = {}
    for number, _ in questions:
        query = [("page", "1"), ("from", str(number))]
        random.Random(len(found)).shuffle(query)  # the order of parameters means nothing
        response = faults(request("tags", *query))
        found[number, asked.setdefault(number, 0)] = what(response)
        asked[number] += 1
    return found


def what(response: Response | None) -> str:
    if response is None:
        return "pass"
    texts = [str(response.status), response.headers.get("Retry-After", "")]
    texts += [name for name in ("drop", "reset", "hang") if getattr(response, name)]
    return " ".join([*texts, str(response.truncate), str(response.body)])


def test_random_faults_are_the_same_whatever_the_order_of_questions() -> None:
    specs = ["transient@10%"]
    found = outcomes(specs, 1, QUESTIONS)
    shuffled = list(QUESTIONS)
    random.Random(7).shuffle(shuffled)
    assert outcomes(specs, 1, shuffled) == found
    assert outcomes(specs, 2, QUESTIONS) != found
    # A question that met a fault does not meet it for ever, nor is one that did not safe.
    hit = {question for question, outcome in found.items() if outcome != "pass"}
    assert {number for number, asked in hit if asked == 0} != {
        number for number, asked in hit if asked == 1
    }


@pytest.mark.parametrize(
    ("share", "least", "most"), [(10, 160, 240), (50, 920, 1080), (2.5, 30, 70)]
)
def test_random_faults_come_as_often_as_they_should(share: float, least: int, most: int) -> None:
    found = outcomes([f"503@{share}%"], 1, QUESTIONS)
    assert least <= sum(outcome != "pass" for outcome in found.values()) <= most
    both_ = outcomes([f"503@{share}%", f"500@{share}%"], 1, QUESTIONS)
    # Each has dice of its own, and the first is not changed by the second.
    assert [outcome[:3] == "503" for outcome in both_.values()] == [
        outcome[:3] == "503" for outcome in found.values()
    ]
    assert any(outcome[:3] == "500" for outcome in both_.values())


@both
def test_transient_is_everything_a_client_should_survive(name: str) -> None:
    service = SERVICES[name]()
    own = ["general-errors", "plain", "no-messages"]
    if name == "mcommons":
        own = ["error=27", "error=0", *NO_DATA]
    common = ["429", "429=0", "503", "500", "502", "504", "html", "empty", "cut", "truncated"]
    endpoint = "tags" if name == "mcommons" else PROGRAM
    call = request(endpoint, ("page", "1"))
    wanted = {what(Faults(service, [kind])(call)) for kind in [*common, "reset", "drop", *own]}
    faults = Faults(service, ["transient"])
    assert {what(faults(call)) for _ in range(400)} == wanted


# --- wrong specs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spec", "text"),
    [
        ("mcommons", "teapot", "no fault 'teapot' here; there are 400-599"),
        ("mcommons", "teapot=1", "no fault 'teapot'"),
        ("mcommons", "general-errors", "no fault 'general-errors' here"),
        ("mgage", "error=27", "no fault 'error' here"),
        ("mgage", "no-id", "no fault 'no-id' here"),
        ("mgage", "entity-expansion", "no fault 'entity-expansion' here"),
        ("mcommons", "200", "no fault '200'"),
        ("mcommons", "600", "no fault '600'"),
        ("mcommons", "", "not a fault: ''"),
        ("mcommons", "503,", "not a fault: ''"),
        ("mcommons", "503@", "not a fault: '503@'"),
        ("mcommons", "503=", "not a fault: '503='"),
        ("mcommons", "503@3@4", "not a fault"),
        ("mcommons", "503=soon", "not a Retry-After for the fault 503: 'soon'"),
        ("mcommons", "503=-1", "not a Retry-After"),
        ("mcommons", "html=1", "the fault 'html' takes no value, not '1'"),
        ("mcommons", "transient=1", "takes no value"),
        ("mcommons", "drip=inf", "not a number of seconds for the fault 'drip': 'inf'"),
        ("mcommons", "drip-head=-1", "not a number of seconds"),
        ("mcommons", "error", "needs one of the error ids 0 to 37"),
        ("mcommons", "error=38", "needs one of the error ids 0 to 37"),
        ("mcommons", "error=x", "needs one of the error ids 0 to 37"),
        ("mcommons", "503@0", "not a time for the fault '503@0': '0'; expected 7"),
        ("mcommons", "503@9-7", "not a time"),
        ("mcommons", "503@-7", "not a time"),
        ("mcommons", "503@0%", "not a time"),
        ("mcommons", "503@101%", "not a time"),
        ("mcommons", "503@1.5", "not a time"),
        ("mcommons", "503@tags:", "not a time"),
        ("mcommons", "503@tags:often", "not a time"),
        ("mcommons", "503@:3", "no endpoint ''"),
        ("mcommons", "503@profile", "no endpoint 'profile' for the fault '503@profile'"),
        ("mgage", "503@profiles:1", "no endpoint 'profiles'"),
    ],
)
def test_wrong_specs_are_refused(name: str, spec: str, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Faults(SERVICES[name](), [spec])


@both
def test_every_kind_that_is_listed_is_there(name: str) -> None:
    service = SERVICES[name]()
    listed = kinds(service.damage)
    assert len(set(listed)) == len(listed) > 20
    for kind in listed:
        Faults(service, [re.sub(r"-599.*|\[.*", "", re.sub("=(ID|ROWS|PAGES)", "=1", kind))])


# --- the command ---------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "textlift", "sandbox", *arguments, "--port", "0"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_rehearses() -> None:
    faults = ["--faults", "503=2@2,html@tags", "--faults", "transient@30%", "--fault-seed", "5"]
    with run("mcommons", "--profiles", "20", "--now", NOW, *faults) as process:
        assert process.stdout
        url = process.stdout.readline().strip().partition(": ")[2]
        assert requests.get(url + "tags", auth=BASIC, timeout=20).text.startswith("<!DOCTYPE")
        second = requests.get(url + "keywords", auth=BASIC, timeout=20)
        assert (second.status_code, second.headers["Retry-After"]) == (503, "2")
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["mcommons", "--faults", "teapot"], "no fault 'teapot' here; there are 400-599"),
        (["mgage", "--faults", "503@1,no-id"], "no fault 'no-id' here"),
    ],
)
def test_the_command_says_which_spec_is_wrong(arguments: list[str], text: str) -> None:
    with run(*arguments) as process:
        assert process.wait(20) == 2
        assert process.stderr
        assert text in process.stderr.read()
