"""The HTTP client against real servers on this machine: patience, limits, and who sees a secret."""

from __future__ import annotations

import base64
import gzip
import logging
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import trustme
from dlt.common import logger
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase, HTTPBasicAuth

from textlift.errors import (
    ConfigurationError,
    CredentialsError,
    ResponseTimeout,
    ServiceError,
    TextliftError,
    TransientError,
)
from textlift.extract.workers import Workers, most_under_way
from textlift.http.client import MAX_CONCURRENCY, Client, HttpResponse, Retries
from textlift.http.urls import check_base_url, link_params
from textlift.mcommons import MobileCommonsCredentials
from textlift.mcommons.errors import check
from textlift.sandbox import Sandbox, rehearse
from textlift.sandbox.mcommons import MobileCommons

GOOD = b'<response success="true"><groups/></response>'
USERNAME = "ada@example.org"
PASSWORD = "s3cret-pässword"
COMPANY = "CO5550100"
PHONE = "15550123"
BASIC = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
QUICK = Retries(attempts=4, backoff=0.01, timeout=5)
#: Seconds after which a test that waits for something has failed.
LONG = 20

Handle = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request, and the means to answer it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.record(self)
        self.server.handle(self)

    do_CONNECT = do_GET

    def answer(self, code: int = 200, body: bytes = GOOD, cut: int = 0, **headers: str) -> None:
        """Answer; with ``cut``, promise so many bytes more than follow."""
        self.send_response(code)
        self.send_header("Content-Length", str(len(body) + cut))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        if cut:
            self.close_connection = True

    def hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server that notes what it is asked, and answers as ``handle`` says."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.handle: Handle = lambda request: request.answer()
        self.url = f"http://127.0.0.1:{self.server_port}/api/"
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()

    def record(self, request: Request) -> None:
        with self._lock:
            self.paths.append(request.path)
            self.headers.append(dict(request.headers.items()))
            self.times.append(time.time())

    def in_turn(self, *handles: Handle) -> None:
        """Answer the first requests with ``handles``, one each, and all others well."""
        waiting = list(handles)

        def handle(request: Request) -> None:
            with self._lock:
                turn = waiting.pop(0) if waiting else Request.answer
            turn(request)

        self.handle = handle

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no failure of the test."""


@pytest.fixture
def start() -> Iterator[Callable[[], Server]]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def start_one() -> Server:
        server = Server()
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield start_one
    for server in servers:
        server.stopped.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(start: Callable[[], Server]) -> Server:
    return start()


@pytest.fixture
def connect(server: Server) -> Callable[..., Client]:
    """Makes clients of the server."""

    def make(base_url: str = "", auth: AuthBase | None = None, **options: Any) -> Client:
        options.setdefault("retries", QUICK)
        options.setdefault("params", {"company": COMPANY})
        options.setdefault("check", check)
        auth = auth or HTTPBasicAuth(USERNAME.encode(), PASSWORD.encode())
        return Client(base_url or server.url, auth, **options)

    return make


@pytest.fixture
def begin() -> Iterator[Callable[[int], Workers]]:
    """Begins runs with so many threads; they end with the test."""
    begun: list[Workers] = []

    def make(concurrency: int = 16) -> Workers:
        begun.append(Workers(concurrency))
        return begun[-1]

    yield make
    for workers in begun:
        workers.close()


def get_in(workers: Workers, client: Client, path: str = "groups", **params: str) -> Future[Any]:
    """Send a request in a thread of a run."""
    future: Future[Any] = Future()

    def get() -> None:
        try:
            future.set_result(client.get(path, params, stop=workers.stop))
        except TextliftError as error:
            future.set_exception(error)

    assert workers.submit(get)
    return future


@pytest.fixture
def log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> pytest.LogCaptureFixture:
    """What is logged; dlt's own logger keeps its lines to itself, if it is there at all."""
    monkeypatch.setattr(logger, "LOGGER", logging.getLogger("textlift.test"))
    caplog.set_level(logging.DEBUG)
    return caplog


Connect = Callable[..., Client]
Begin = Callable[..., Workers]


def status(code: int, body: bytes = b"", **headers: str) -> Handle:
    return lambda request: request.answer(code, body, 0, **headers)


def nobody() -> str:
    """A URL on this machine that nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/api/"


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


# Questions and answers


def test_a_question_goes_below_the_base_url_with_its_own_and_the_clients_parameters(
    server: Server, connect: Connect
) -> None:
    assert connect().get("groups", {"page": "2", "from": "2024-01-31T00:00:00Z"}) == GOOD
    (asked,) = server.paths
    assert urlsplit(asked).path == "/api/groups"
    assert parse_qs(urlsplit(asked).query) == {
        "company": [COMPANY],
        "page": ["2"],
        "from": ["2024-01-31T00:00:00Z"],
    }
    assert server.headers[0]["Authorization"] == BASIC


def test_a_parameter_that_the_path_names_goes_there_and_not_into_the_query(
    server: Server, connect: Connect
) -> None:
    params = {"group_id": "a b/é?", "page": "2"}
    assert connect().get("groups/{group_id}/members/{company}", params) == GOOD
    (asked,) = server.paths
    assert urlsplit(asked).path == f"/api/groups/a%20b%2F%C3%A9%3F/members/{COMPANY}"
    assert parse_qs(urlsplit(asked).query) == {"page": ["2"]}


def test_an_answer_is_unpacked(server: Server, connect: Connect) -> None:
    server.handle = status(200, gzip.compress(GOOD), Content_Encoding="gzip")
    assert connect().get("groups", {}) == GOOD


# Patience


@pytest.mark.parametrize(
    "failing",
    [
        status(500),
        status(502, b"<html><h4>Bad gateway</h4></html>"),
        status(429),
        status(200, b""),
        status(200, b"<html><p>Please wait</p></html>"),
        status(200, GOOD[:-5]),
        status(200, b'<response success="false"><error id="27" message="slow down"/></response>'),
        lambda request: request.answer(cut=10),
        lambda request: request.hang_up(),
        status(200, b"this is not gzip", Content_Encoding="gzip"),
    ],
    ids=[
        "500",
        "502",
        "429",
        "empty",
        "HTML",
        "cut short",
        "rate limit",
        "shorter than promised",
        "hung up",
        "not gzip",
    ],
)
def test_a_failure_that_may_pass_is_tried_again_until_it_has(
    server: Server, connect: Connect, failing: Handle
) -> None:
    server.in_turn(failing, failing)
    asked: list[int] = []
    assert connect().get("groups", {}, on_request=lambda: asked.append(1)) == GOOD
    assert len(server.paths) == len(asked) == 3


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_failure_that_does_not_pass_is_given_up_after_the_configured_tries(
    server: Server, connect: Connect, attempts: int
) -> None:
    server.handle = status(503, b"<html><h4>Down for maintenance</h4></html>")
    client = connect(retries=Retries(attempts=attempts, backoff=0.01))
    with pytest.raises(TransientError, match="Down for maintenance"):
        client.get("groups", {})
    assert len(server.paths) == attempts


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        (status(404, b"<html><h4>No such page</h4></html>"), ServiceError),
        (status(400), ServiceError),
        (status(401), CredentialsError),
        (status(403), CredentialsError),
        (status(200, b'<response success="false"><error id="4"/></response>'), CredentialsError),
        (status(200, b'<response success="false"><error id="7"/></response>'), ServiceError),
    ],
    ids=["404", "400", "401", "403", "company", "start time"],
)
def test_a_failure_that_will_not_pass_is_not_tried_again(
    server: Server, connect: Connect, failing: Handle, error: type[Exception]
) -> None:
    server.handle = failing
    with pytest.raises(error) as raised:
        connect().get("groups", {})
    assert not isinstance(raised.value, TransientError)
    assert len(server.paths) == 1


def test_a_connection_that_is_refused_is_tried_again(connect: Connect) -> None:
    asked: list[int] = []
    url = nobody()
    with pytest.raises(TransientError) as raised:
        connect(url).get("groups", {"phone_number": PHONE}, on_request=lambda: asked.append(1))
    assert str(raised.value) == f"the connection failed: {urlsplit(url).netloc} refuses it"
    assert len(asked) == QUICK.attempts


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("reset", "closed it before the answer was complete"),
        ("drop", "closed it before the answer was complete"),
        ("truncated", "closed it before the answer was complete"),
    ],
)
def test_a_connection_that_fails_names_the_host_and_the_cause(
    connect: Connect, fault: str, cause: str
) -> None:
    with Sandbox(MobileCommons(profiles=5, now="2025-06-01T12:00:00Z")) as box:
        rehearse(box, fault)
        with pytest.raises(TransientError) as raised:
            connect(box.url).get("keywords", {"phone_number": PHONE})
        assert str(raised.value) == f"the connection failed: 127.0.0.1:{box.port} {cause}"


def test_a_host_without_an_address_is_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    # A name that nobody may ever have.
    with pytest.raises(TransientError) as raised:
        connect("https://sms.invalid/api/").get("keywords", {"phone_number": PHONE})
    assert str(raised.value) == "the connection failed: sms.invalid was not found in DNS"


def test_an_answer_that_cannot_be_unpacked_names_the_host_and_the_cause(
    server: Server, connect: Connect
) -> None:
    server.handle = status(200, b"no gzip", Content_Encoding="gzip")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+ sent what cannot be unpacked"):
        connect().get("groups", {})


def test_a_service_that_speaks_no_tls_is_named(server: Server, connect: Connect) -> None:
    url = server.url.replace("http://", "https://")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+ does not agree on TLS"):
        connect(url).get("groups", {})


def test_a_proxy_that_is_not_there_is_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", nobody())
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(TransientError) as raised:
        connect("https://sms.invalid/api/").get("groups", {})
    said = "the connection failed: the proxy on the way to sms.invalid refuses it"
    assert str(raised.value) == said


@pytest.mark.parametrize("code", [429, 503])
def test_a_pause_the_service_asks_for_in_seconds_is_kept(
    server: Server, connect: Connect, code: int
) -> None:
    server.in_turn(status(code, Retry_After="0.4"))
    assert connect().get("groups", {}) == GOOD
    assert server.times[1] - server.times[0] >= 0.39


def test_a_pause_the_service_asks_for_until_a_time_is_kept(
    server: Server, connect: Connect
) -> None:
    then = (datetime.now(timezone.utc) + timedelta(seconds=2)).replace(microsecond=0)
    server.in_turn(status(429, Retry_After=format_datetime(then, usegmt=True)))
    assert connect().get("groups", {}) == GOOD
    assert server.times[1] >= then.timestamp() - 0.01


def test_a_pause_the_service_asks_for_once_is_kept_by_every_question(
    server: Server, connect: Connect, begin: Begin
) -> None:
    client = connect(retries=Retries(attempts=1))
    server.in_turn(status(429, Retry_After="0.4"))
    with pytest.raises(TransientError):
        client.get("first", {})
    workers = begin()
    others = [get_in(workers, client, "other") for _ in range(3)]
    assert [future.result(LONG) for future in others] == [GOOD] * 3
    assert min(server.times[1:]) - server.times[0] >= 0.39


@pytest.mark.parametrize(
    "header",
    [
        "3600",
        "Fri, 31 Dec 2100 23:59:59 GMT",
        "inf",
        "nan",
        "-5",
        "soon",
        "",
        "Fri, 31 Dec 2100 23:59:59",
        "Fri, 31 Dec 2100 23:59:59 -0000",
        "Fri, 31 Dec 99999 23:59:59 GMT",
    ],
)
def test_no_pause_is_longer_than_allowed_whatever_the_service_asks_for(
    server: Server, connect: Connect, begin: Begin, header: str
) -> None:
    server.in_turn(status(503, Retry_After=header))
    client = connect(retries=Retries(attempts=2, backoff=0.01, max_pause=0.05))
    assert get_in(begin(), client).result(LONG) == GOOD


def stall(after: bytes) -> Handle:
    """Send ``after``, then nothing for long, then the rest."""

    def handle(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(GOOD)))
        if after:
            request.end_headers()
            request.wfile.write(after)
        if not request.server.stopped.wait(2):
            if not after:
                request.end_headers()
            request.wfile.write(GOOD[len(after) :])

    return handle


@pytest.mark.parametrize("after", [b"", GOOD[:20]], ids=["no answer", "half an answer"])
@pytest.mark.parametrize(("once", "asked"), [((), 2), ((ResponseTimeout,), 1)])
def test_an_answer_that_does_not_come_in_time_is_asked_for_again_only_if_wanted(
    server: Server,
    connect: Connect,
    after: bytes,
    once: tuple[type[ResponseTimeout], ...],
    asked: int,
) -> None:
    server.handle = stall(after)
    client = connect(retries=Retries(attempts=2, backoff=0.01, timeout=0.2))
    with pytest.raises(ResponseTimeout):
        client.get("groups", {}, once=once)
    assert len(server.paths) == asked


def trickle(head: bytes, body: bytes = b"") -> Handle:
    """Send ``head`` at once and what follows a byte at a time, without an end."""

    def handle(request: Request) -> None:
        request.wfile.write(head)
        request.close_connection = True
        with suppress(OSError):
            for byte in body or cycle([ord(" ")]):
                request.wfile.write(bytes([byte]))
                if request.server.stopped.wait(0.02):
                    return

    return handle


STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKS = STATUS + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "handle",
    [
        trickle(STATUS + b"Content-Length: 1000\r\n\r\n"),
        trickle(b"", STATUS + b"X-Long: " + b"x" * 5000),
        trickle(CHUNKS, b"1\r\nx\r\n" * 1000),
    ],
    ids=["body", "head", "chunks"],
)
def test_an_answer_that_comes_byte_by_byte_is_given_up(
    server: Server, connect: Connect, handle: Handle
) -> None:
    server.handle = handle
    client = connect(retries=Retries(attempts=2, backoff=0.01, timeout=0.3))
    with pytest.raises(ResponseTimeout, match=r"not ended|no complete response"):
        client.get("groups", {})
    assert len(server.paths) == 2


def test_an_answer_that_has_no_end_is_given_up_however_fast_it_comes(
    server: Server, connect: Connect
) -> None:
    def handle(request: Request) -> None:
        request.wfile.write(CHUNKS)
        request.close_connection = True
        with suppress(OSError):
            while not request.server.stopped.wait(0.01):
                request.wfile.write(b"3e8\r\n" + b" " * 1000 + b"\r\n")

    server.handle = handle
    with pytest.raises(ResponseTimeout, match="not ended"):
        connect(retries=Retries(attempts=1, timeout=0.1)).get("groups", {})
    with pytest.raises(ServiceError, match="larger than 5000 bytes"):
        connect(max_bytes=5000).get("groups", {})


def test_an_answer_that_takes_its_time_is_read_to_its_end(server: Server, connect: Connect) -> None:
    body = GOOD + b" " * 30_000

    def handle(request: Request) -> None:
        request.wfile.write(STATUS + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 5000):
            request.server.stopped.wait(0.1)
            request.wfile.write(body[at : at + 5000])

    server.handle = handle
    assert connect(retries=Retries(attempts=1, timeout=0.2)).get("groups", {}) == body


@pytest.mark.parametrize("code", [301, 302, 307])
def test_what_comes_with_a_redirect_is_not_read_to_its_end(
    server: Server, connect: Connect, code: int
) -> None:
    sent = 0

    def handle(request: Request) -> None:
        nonlocal sent
        request.wfile.write(b"HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\n" % code)
        request.wfile.write(b"Transfer-Encoding: chunked\r\n\r\n")
        request.close_connection = True
        with suppress(OSError):
            while not request.server.stopped.is_set() and sent < 2**28:
                request.wfile.write(b"10000\r\n" + b" " * 2**16 + b"\r\n")
                sent += 2**16

    server.handle = handle
    with pytest.raises(ServiceError):
        connect(max_bytes=2**20).get("groups", {})
    assert sent < 2**26


# Who answers


@pytest.fixture
def untrusted(server: Server) -> str:
    """The server's base URL, with a certificate of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return f"https://localhost:{server.server_port}/api/"


AUTHORITY = trustme.CA()
#: What some programs take for a wish to verify nothing.
NO_WISH = {"CURL_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "", "PYTHONHTTPSVERIFY": "0"}


@pytest.mark.parametrize("environment", [{}, NO_WISH], ids=["plain", "empty bundles"])
def test_a_service_that_cannot_prove_who_it_is_hears_nothing(
    server: Server,
    connect: Connect,
    untrusted: str,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="certificate of localhost cannot be trusted"):
        connect(untrusted).get("groups", {})
    assert server.paths == []


def test_an_authority_of_ones_own_can_be_named(
    server: Server,
    connect: Connect,
    untrusted: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    assert connect(untrusted).get("groups", {}) == GOOD


def test_once_the_credentials_are_refused_nobody_else_asks_and_everybody_is_told_why(
    server: Server, connect: Connect, begin: Begin
) -> None:
    server.handle = status(401)
    client, workers = connect(concurrency=1), begin(5)
    asking = [get_in(workers, client) for _ in range(5)]
    for future in asking:
        with pytest.raises(CredentialsError, match="HTTP 401"):
            future.result(LONG)
    assert len(server.paths) == 1
    server.handle = Request.answer
    assert get_in(begin(), client).result(LONG) == GOOD


def test_nothing_is_sent_until_a_failure_was_checked(
    server: Server, connect: Connect, begin: Begin
) -> None:
    server.handle = status(401)

    def check_late(response: HttpResponse) -> bytes:
        """Give the others time to send what they must not."""
        end = time.monotonic() + 0.3
        while len(server.paths) == 1 and time.monotonic() < end:
            time.sleep(0.001)
        return check(response)

    client, workers = connect(check=check_late, concurrency=1), begin(4)
    for future in [get_in(workers, client) for _ in range(4)]:
        with pytest.raises(CredentialsError):
            future.result(LONG)
    assert len(server.paths) == 1


@pytest.mark.parametrize("code", [200, 401, 404])
def test_others_may_send_only_while_a_success_is_decoded(
    server: Server, connect: Connect, code: int
) -> None:
    server.handle = status(code, GOOD)
    decoded = []

    def run(function: Callable[[], bytes]) -> bytes:
        decoded.append(code)
        return function()

    with suppress(TextliftError):
        connect().get("groups", {}, run=run)
    assert decoded == [200] * (code == 200)


# Limits


@pytest.mark.parametrize("limit", [1, 3, 16])
def test_as_many_questions_as_allowed_are_under_way_and_never_one_more(
    server: Server, connect: Connect, begin: Begin, limit: int
) -> None:
    under_way, most = 0, 0
    changed = threading.Condition()

    def handle(request: Request) -> None:
        nonlocal under_way, most
        with changed:
            under_way += 1
            most = max(most, under_way)
            changed.notify_all()
            # The first ones wait for one another.
            changed.wait_for(lambda: most >= limit, LONG)
        time.sleep(0.002)
        with changed:
            under_way -= 1
        request.answer()

    server.handle = handle
    client, workers = connect(concurrency=limit), begin(limit)
    futures = [get_in(workers, client) for _ in range(4 * limit)]
    assert [future.result(LONG) for future in futures] == [GOOD] * (4 * limit)
    assert most == limit


@pytest.mark.parametrize("concurrency", [0, -1, MAX_CONCURRENCY + 1])
def test_the_vendors_limit_cannot_be_exceeded(connect: Connect, concurrency: int) -> None:
    with pytest.raises(ConfigurationError, match=f"concurrency is {concurrency}"):
        connect(concurrency=concurrency)


def test_the_vendors_limit_can_be_used_up(connect: Connect) -> None:
    assert connect(concurrency=MAX_CONCURRENCY).concurrency == 160


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_larger_than_allowed_is_refused_and_not_asked_for_again(
    server: Server, connect: Connect, packed: bool
) -> None:
    body = b"<response>" + b" " * 2000 + b"<groups/></response>"
    server.handle = status(200, body)
    if packed:
        server.handle = status(200, gzip.compress(body), Content_Encoding="gzip")
    assert connect(max_bytes=len(body)).get("groups", {}) == body
    with pytest.raises(ServiceError, match="larger than") as raised:
        connect(max_bytes=len(body) - 1).get("groups", {})
    assert not isinstance(raised.value, TransientError)
    assert len(server.paths) == 2


def test_a_packed_answer_that_comes_in_chunks_is_unpacked(server: Server, connect: Connect) -> None:
    packed = gzip.compress(GOOD)

    def handle(request: Request) -> None:
        request.wfile.write(
            STATUS + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for at in range(0, len(packed), 7):
            chunk = packed[at : at + 7]
            request.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        request.wfile.write(b"0\r\n\r\n")

    server.handle = handle
    assert connect().get("groups", {}) == GOOD


def test_a_bomb_is_refused_before_it_fills_the_memory(server: Server, connect: Connect) -> None:
    million = 10**6
    bomb = gzip.compress(bytes(200 * million), 9)
    assert len(bomb) < million
    server.handle = status(200, bomb, Content_Encoding="gzip")
    client = connect(max_bytes=2 * million)
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError, match="larger than"):
            client.get("groups", {})
        assert tracemalloc.get_traced_memory()[1] < 20 * million
    finally:
        tracemalloc.stop()


# Secrets


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_other_host_hears_nothing(
    server: Server, start: Callable[[], Server], connect: Connect, code: int
) -> None:
    other = start()
    for target in (other.url + "groups", server.url + "elsewhere"):
        server.paths.clear()
        server.handle = status(code, Location=target)
        with pytest.raises(ServiceError, match="redirects are not followed") as raised:
            connect().get("groups", {})
        assert not isinstance(raised.value, TransientError)
        assert len(server.paths) == 1
    assert other.paths == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_does_not_get_what_is_meant_for_this_machine(
    server: Server,
    start: Callable[[], Server],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    proxy = start()
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, proxy.url)
    assert connect().get("groups", {}) == GOOD
    assert proxy.headers == []
    assert len(server.paths) == 1


CREDENTIALS = {
    "basic": ({"username": USERNAME, "password": PASSWORD}, BASIC),
    "bearer": ({"token": "t0ken"}, "Bearer t0ken"),
}


@pytest.mark.parametrize(("given", "sent"), CREDENTIALS.values(), ids=list(CREDENTIALS))
def test_neither_cookies_nor_netrc_replace_the_credentials(
    server: Server,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: dict[str, str],
    sent: str,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.handle = status(200, GOOD, Set_Cookie="session=other; Path=/")
    credentials = MobileCommonsCredentials()
    credentials.update(given)
    client = connect(auth=credentials.auth())
    for _ in range(2):
        client.get("groups", {})
    assert [headers["Authorization"] for headers in server.headers] == [sent, sent]


SECRETS = (
    PASSWORD,
    "p%C3%A4ssword",
    USERNAME,
    BASIC.removeprefix("Basic "),
    COMPANY,
    "company=",
    PHONE,
    "phone_number=",
)
FAILURES: dict[str, Handle | None] = {
    "nobody there": None,
    "500": status(500),
    "404": status(404, b"<html><h4>Not here</h4></html>"),
    "401": status(401),
    "redirect": status(302, Location="/api/login"),
    "refusal": status(200, b'<response success="false"><error id="16" message="no"/></response>'),
    "too large": status(200, GOOD * 100),
    "hung up": lambda request: request.hang_up(),
    "shorter than promised": lambda request: request.answer(cut=10),
    "not gzip": status(200, b"this is not gzip", Content_Encoding="gzip"),
    "no answer": stall(b""),
    "half an answer": stall(GOOD[:20]),
    "a head that is none": lambda request: request.wfile.write(
        b"HTTP/1.1 500 Down\r\nContent-Length: 0\r\nno header at all\r\n\r\n"
    ),
}


@pytest.mark.parametrize("failing", FAILURES.values(), ids=list(FAILURES))
def test_no_error_and_no_log_line_carries_a_credential_or_the_query(
    server: Server,
    connect: Connect,
    begin: Begin,
    log: pytest.LogCaptureFixture,
    failing: Handle | None,
) -> None:
    server.handle = failing or Request.answer
    client = connect(
        server.url if failing else nobody(),
        retries=Retries(attempts=2, backoff=0.01, timeout=0.2),
        max_bytes=1000,
    )
    asking = get_in(begin(), client, phone_number=PHONE)
    with pytest.raises(TextliftError) as raised:
        asking.result(LONG)
    shown = "".join(traceback.format_exception(raised.value)) + log.text
    assert [secret for secret in SECRETS if secret in shown] == []
    if isinstance(raised.value, TransientError):
        assert "trying again" in log.text


@pytest.mark.parametrize(
    "url",
    [
        "https://secure.mcommons.com/api",
        "https://secure.mcommons.com/api/",
        "http://127.0.0.1:8080/api",
        "http://127.8.9.10/api",
        "http://localhost:8080/api",
        "http://LOCALHOST/api",
        "http://[::1]:8080/api",
    ],
)
def test_a_base_url_may_be_https_or_this_machine_and_ends_with_a_slash(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/") + "/"


@pytest.mark.parametrize(
    "url",
    [
        "http://secure.mcommons.com/api/",
        "http://10.0.0.1/api/",
        "http://0.0.0.0/api/",
        "http://[::2]/api/",
        "http://localhost.example.org/api/",
        "http://127.0.0.1.example.org/api/",
        "http://127.0.0.1@example.org/api/",
        "http://example.org#@127.0.0.1/api/",
        "http://example.org\\@127.0.0.1/api/",
    ],
)
def test_a_base_url_that_would_send_credentials_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        check_base_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "secure.mcommons.com/api", "https://", "ftp://example.org", "file:///api", "https://[::1"],
)
def test_what_is_no_url_is_refused_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url"):
        check_base_url(url)


@pytest.mark.parametrize("scheme", ["", "ftp://", "http://"])
def test_a_base_url_that_holds_a_password_is_refused_without_showing_it(scheme: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_base_url(f"{scheme}ada:{PASSWORD}@example.org/api/")
    assert PASSWORD not in str(raised.value)


# Next links

EXPORT = "https://export.example.org/api/"
MESSAGES = "messages/program/121811"
HERE = EXPORT + MESSAGES


@pytest.mark.parametrize(
    "link",
    [
        f"{HERE}?page=2",
        f"/api/{MESSAGES}?page=2",
        "?page=2",
        f"//export.example.org/api/{MESSAGES}?page=2",
        "121811?page=2",
        f"https://export.example.org:443/api/{MESSAGES}?page=2",
        f"https://export.example.org:0443/api/{MESSAGES}?page=2",
        f"HTTPS://EXPORT.Example.ORG/api/{MESSAGES}?page=2",
        f"{HERE}?page=2#top",
    ],
)
def test_a_next_link_to_the_same_place_is_followed_however_it_is_written(
    connect: Connect, link: str
) -> None:
    assert link_params(EXPORT + MESSAGES, link) == {"page": "2"}


@pytest.mark.parametrize("written", ["http://127.0.0.1:80/api/", "http://127.0.0.1/api/"])
@pytest.mark.parametrize("base_url", ["http://127.0.0.1:80/api/", "http://127.0.0.1/api/"])
def test_a_default_port_is_the_same_place_whichever_side_leaves_it_out(
    connect: Connect, base_url: str, written: str
) -> None:
    link = f"{written}{MESSAGES}?page=2"
    assert link_params(base_url + MESSAGES, link) == {"page": "2"}


texts = st.text(max_size=10)


def test_the_parameters_of_a_next_link_are_taken_from_it_as_they_are(connect: Connect) -> None:
    client = connect(EXPORT)

    @given(st.dictionaries(texts, texts, max_size=5))
    def check_parameters(params: dict[str, str]) -> None:
        assert link_params(client.base_url + MESSAGES, f"{HERE}?{urlencode(params)}") == params

    check_parameters()


SECRET = "s3cret"
QUERY = f"?page=2&number={PHONE}&token={SECRET}"
ELSEWHERE = {
    "another host": f"https://other.example.org/api/{MESSAGES}",
    "a host below": f"https://export.example.org.example.com/api/{MESSAGES}",
    "a host above": f"https://example.org/api/{MESSAGES}",
    "a host with a dot behind it": f"https://export.example.org./api/{MESSAGES}",
    "another port": f"https://export.example.org:8443/api/{MESSAGES}",
    "the port of another scheme": f"https://export.example.org:80/api/{MESSAGES}",
    "plain http": f"http://export.example.org/api/{MESSAGES}",
    "plain http to the port of https": f"http://export.example.org:443/api/{MESSAGES}",
    "a scheme that is none of HTTP": f"ftp://export.example.org/api/{MESSAGES}",
    "a script": "javascript:alert(1)",
    "data": f"data:text/plain,{SECRET}",
    "a file": "file:///etc/passwd",
    "a user": f"https://ada@export.example.org/api/{MESSAGES}",
    "a user and a password": f"https://ada:{SECRET}@export.example.org/api/{MESSAGES}",
    "an empty user": f"https://@export.example.org/api/{MESSAGES}",
    "a host as the user": f"https://export.example.org:443@other.example.org/api/{MESSAGES}",
    "no scheme": f"//other.example.org/api/{MESSAGES}",
    "no scheme and no path": "//other.example.org",
    "a backslash before the host": f"\\\\other.example.org/api/{MESSAGES}",
    "a slash and a backslash": f"/\\other.example.org/api/{MESSAGES}",
    "backslashes after the scheme": f"https:\\\\other.example.org/api/{MESSAGES}",
    "a backslash and a user": f"https://other.example.org\\@export.example.org/api/{MESSAGES}",
    "a backslash after the host": f"https://export.example.org\\@other.example.org/{MESSAGES}",
    "another program": "https://export.example.org/api/messages/program/121812",
    "another program, relative": "121812",
    "a path below": f"{HERE}/delete",
    "a path above": "https://export.example.org/api/messages/program",
    "the root": "/",
    "a slash behind the path": f"{HERE}/",
    "two slashes": f"https://export.example.org//api/{MESSAGES}",
    "a path in capitals": f"https://export.example.org/API/{MESSAGES}",
    "a parameter of the path": f"{HERE};v=1",
    "dots to the path above": "../program",
    "dots within the path": "https://export.example.org/api/messages/program/../program/121811",
    "dots to another program": f"/api/{MESSAGES}/../121812",
    "more dots than there are folders": "../../../../../etc/passwd",
    "encoded dots": "https://export.example.org/api/messages/program/%2e%2e/program/121811",
    "an encoded slash": "https://export.example.org/api/messages/program%2F121811",
    "encoded digits": "https://export.example.org/api/messages/program/%31%32%31%38%31%31",
    "no URL at all": "page two",
    "a port that is no number": f"https://export.example.org:next/api/{MESSAGES}",
    "a port that is too large": f"https://export.example.org:65536/api/{MESSAGES}",
    "a negative port": f"https://export.example.org:-443/api/{MESSAGES}",
    "a port and no host": f"https://:443/api/{MESSAGES}",
    "no host": f"https:///{MESSAGES}",
    "half an IPv6 address": f"https://[::1/api/{MESSAGES}",
    "brackets around a name": f"https://[export.example.org]/api/{MESSAGES}",
    "an empty IPv6 address": f"https://[]/api/{MESSAGES}",
    "brackets in the wrong place": f"https://export.example.org]:443[/api/{MESSAGES}",
}


@pytest.mark.parametrize("link", ELSEWHERE.values(), ids=list(ELSEWHERE))
def test_a_next_link_to_anywhere_else_is_refused_without_its_query_or_a_login(
    connect: Connect, link: str
) -> None:
    for written in (link, link + QUERY, f"{link}#{SECRET}"):
        with pytest.raises(ServiceError, match="next page") as raised:
            link_params(EXPORT + MESSAGES, written)
        assert not isinstance(raised.value, TransientError)
        shown = "".join(traceback.format_exception(raised.value))
        assert [secret for secret in (SECRET, PHONE, "token=", "ada") if secret in shown] == []


@pytest.mark.parametrize(
    "link",
    [
        "{other}messages/program/121811?page=2",
        "//{other_host}/api/messages/program/121811?page=2",
        "http://{host}@{other_host}/api/messages/program/121811?page=2",
        "http://ada:s3cret@{other_host}/api/messages/program/121811?page=2",
        "http://{other_host}\\@{host}/api/messages/program/121811?page=2",
        "http://{host}\\@{other_host}/api/messages/program/121811?page=2",
        "\\\\{other_host}\\api\\messages\\program\\121811?page=2",
        "http://LOCALHOST:{other_port}/api/messages/program/121811?page=2",
        "/api/messages/program/121811/../../../elsewhere?page=2",
        "?page=2&next={other}",
        "?page=2&page=http://{other_host}/",
        "#{other}",
    ],
)
def test_whatever_a_next_link_says_no_other_server_and_no_other_path_is_asked(
    server: Server, start: Callable[[], Server], connect: Connect, link: str
) -> None:
    other, client = start(), connect()
    places = {
        "host": urlsplit(server.url).netloc,
        "other": other.url,
        "other_host": urlsplit(other.url).netloc,
        "other_port": other.server_port,
    }
    client.get(MESSAGES, {})
    # Where it is followed, the question is what tells.
    with suppress(ServiceError):
        client.get(MESSAGES, link_params(client.base_url + MESSAGES, link.format(**places)))
    assert other.paths == []
    assert {urlsplit(path).path for path in server.paths} == {f"/api/{MESSAGES}"}


marks = st.sampled_from("/\\@:?#[].%&;=+\t\n\0 ")
words = st.sampled_from(
    [
        *("http:", "https:", "HTTP:", "//", "..", "%2e%2e", "%2F", "127.0.0.1", "localhost", "::1"),
        *("api", "messages", "program", "121811", "page=2", "80", f"/api/{MESSAGES}", "SERVER"),
        f"SERVER/api/{MESSAGES}",
    ]
)


def test_a_next_link_is_refused_or_gives_parameters_for_the_place_that_was_asked(
    server: Server, connect: Connect
) -> None:
    client, host = connect(retries=Retries(attempts=1)), urlsplit(server.url).netloc

    @settings(deadline=None, max_examples=400)
    @given(st.lists(words | marks | st.text(max_size=3), max_size=8).map("".join))
    def check_link(link: str) -> None:
        try:
            params = link_params(
                client.base_url + MESSAGES, link.replace("SERVER", f"http://{host}")
            )
        except ServiceError:
            return
        server.paths.clear()
        assert client.get(MESSAGES, params) == GOOD
        (asked,) = server.paths
        assert urlsplit(asked).path == f"/api/{MESSAGES}"
        sent = parse_qs(urlsplit(asked).query, keep_blank_values=True)
        assert sent == {"company": [COMPANY], **{name: [value] for name, value in params.items()}}

    check_link()


# The end


def test_the_end_of_a_run_ends_all_pauses_and_drops_what_was_not_begun(
    server: Server, connect: Connect, begin: Begin, log: pytest.LogCaptureFixture
) -> None:
    server.handle = status(429, Retry_After="60")
    retries = Retries(attempts=5, backoff=0.01)
    client, workers = connect(retries=retries, concurrency=2), begin(2)
    futures = [get_in(workers, client) for _ in range(6)]
    wait_for(lambda: "trying again" in log.text)
    workers.close()
    begun = [future for future in futures if future.done()]
    assert len(begun) == most_under_way(2)
    assert all(isinstance(future.exception(), ServiceError) for future in begun)
    assert len(server.paths) <= 2


def test_what_has_ended_stays_so_when_the_next_run_begins_at_once(
    server: Server, connect: Connect, begin: Begin, log: pytest.LogCaptureFixture
) -> None:
    server.handle = lambda request: request.answer(500 if "old" in request.path else 200)
    client = connect(retries=Retries(attempts=50, backoff=LONG, max_pause=LONG))
    workers = begin(8)
    old = [get_in(workers, client, "old") for _ in range(8)]
    wait_for(lambda: log.text.count("trying again") == len(old))
    workers.close(wait=False)
    assert get_in(begin(), client, "new").result(LONG) == GOOD
    for future in old:
        assert isinstance(future.exception(LONG), ServiceError)
    assert len(server.paths) == len(old) + 1


@pytest.mark.parametrize(
    "link", ["?page=\ud83d", "?\udcff=2", "https://export.example.org:0/api/x"]
)
def test_a_next_link_that_no_request_can_carry_is_refused(link: str) -> None:
    with pytest.raises(ServiceError, match="next page"):
        link_params("https://export.example.org/api/x", link)


def test_nothing_begins_in_a_run_that_has_ended(begin: Begin) -> None:
    workers, begun = begin(), []
    assert workers.decode(lambda: "decoded") == "decoded"
    workers.close()
    assert not workers.submit(lambda: begun.append(True))
    with pytest.raises(ServiceError, match="stopped"):
        workers.decode(lambda: "decoded")
    assert begun == []
