"""The server under the sandbox, and its command."""

from __future__ import annotations

import gzip
import http.client
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.clients import BASIC, NOW, Client, Open
from textlift.sandbox import Request, Response


def test_requests_are_recorded_in_order(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    client.get("profiles", limit=2, from_="2024-01-01T00:00:00+00:00")
    client.get("nosuch")
    first, second = client.box.requests
    assert (first.method, first.path, first.endpoint) == ("GET", "/api/profiles", "profiles")
    assert first.params == {"limit": "2", "from": "2024-01-01T00:00:00+00:00"}
    assert first.headers["authorization"].startswith("Basic ")
    assert (first.status, second.status) == (200, 404)
    client.box.requests.clear()
    assert client.box.requests == []


def test_gzip_for_those_who_accept_it(world: Client) -> None:
    url = world.box.url + "profiles"
    plain = world.session.get(url, headers={"Accept-Encoding": "identity"}, timeout=30)
    assert "Content-Encoding" not in plain.headers
    packed = world.session.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=30)
    assert packed.headers["Content-Encoding"] == "gzip"
    raw = packed.raw.read(decode_content=False)
    assert len(raw) == int(packed.headers["Content-Length"]) < len(plain.content) // 3
    assert gzip.decompress(raw) == plain.content


def test_connections_are_kept_alive(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    connection = http.client.HTTPConnection("127.0.0.1", client.box.port, timeout=30)
    headers = {"Authorization": "Bearer sandbox-token"}
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/api/keywords", headers=headers)
        response = connection.getresponse()
        assert (response.status, response.version) == (200, 11)
        assert response.read()
        sockets.add(connection.sock)
    assert len(sockets) == 1
    assert None not in sockets
    connection.close()


def test_faults_answer_before_the_service_and_the_first_one_wins(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    client.box.faults.append(lambda request: None)
    client.box.faults.append(lambda request: Response(503, b"one", {"Retry-After": "1"}))
    client.box.faults.append(lambda request: Response(503, b"two"))
    response = client.get("profiles")
    assert (response.status_code, response.content) == (503, b"one")
    assert response.headers["Retry-After"] == "1"
    assert client.box.requests[0].status == 503
    client.box.faults.clear()
    assert client.get("profiles").status_code == 200


def test_hooks_see_and_replace_answers(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    seen: list[tuple[str, int]] = []

    def watch(request: Request, response: Response) -> None:
        seen.append((request.endpoint, response.status))

    def corrupt(request: Request, response: Response) -> Response:
        return Response(response.status, response.body + b"&", response.headers)

    client.box.hooks += [watch, corrupt]
    assert client.get("keywords").content.endswith(b"</response>&")
    assert seen == [("keywords", 200)]


def test_truncated_answers(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    client.box.faults.append(lambda request: Response(200, b"x" * 1000, truncate=100))
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.get("profiles")
    plain = client.session.get(
        client.box.url, headers={"Accept-Encoding": "identity"}, stream=True, timeout=30
    )
    assert plain.headers["Content-Length"] == "1000"
    assert plain.raw.read(100) == b"x" * 100


def test_dropped_connections(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    client.box.faults.append(lambda request: Response(drop=True))
    with pytest.raises(requests.ConnectionError):
        client.get("profiles")
    assert [request.status for request in client.box.requests] == [0]
    client.box.faults.clear()
    assert client.get("profiles").status_code == 200


def test_a_failing_hook_is_a_500(sandbox: Open, caplog: pytest.LogCaptureFixture) -> None:
    client = sandbox(profiles=5)

    def fail(request: Request, response: Response) -> None:
        raise RuntimeError("a bug in a test")

    client.box.hooks.append(fail)
    assert client.get("profiles").status_code == 500
    assert "a bug in a test" in caplog.text


class Gate:
    """Holds calls back until so many are in progress."""

    def __init__(self, calls: int) -> None:
        self.barrier = threading.Barrier(calls, timeout=60)

    def __call__(self, request: Request, response: Response) -> None:
        self.barrier.wait()


def test_peak_counts_calls_in_progress(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    client.box.hooks.append(Gate(5))
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: Client(client.box).get("keywords"), range(5)))
    assert client.box.peak == 5
    client.box.hooks.clear()
    client.box.reset_peak()
    for _ in range(3):
        client.get("keywords")
    assert client.box.peak == 1


@pytest.mark.parametrize(("limit", "calls"), [(None, 163), (4, 6)])
def test_more_calls_at_once_than_allowed(sandbox: Open, limit: int | None, calls: int) -> None:
    options = {} if limit is None else {"concurrent_calls": limit}
    client = sandbox(profiles=5, **options)
    client.box.hooks.append(Gate(calls))
    with ThreadPoolExecutor(calls) as pool:
        roots = list(pool.map(lambda _: Client(client.box).root("keywords"), range(calls)))
    refused = [root for root in roots if root.get("success") == "false"]
    assert len(refused) == calls - (limit or 160)
    assert dict(refused[0][0].attrib) == {"id": "27", "message": "API rate limit exceeded"}


def test_close_closes_connections_and_the_port(sandbox: Open) -> None:
    client = sandbox(profiles=5)
    assert client.get("keywords").status_code == 200
    client.box.close()
    with pytest.raises(requests.ConnectionError):
        client.get("keywords")


def test_it_listens_on_loopback_only(world: Client) -> None:
    assert world.box.url == f"http://127.0.0.1:{world.box.port}/api/"
    with socket.create_connection(("127.0.0.1", world.box.port), timeout=5) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "textlift",
            "sandbox",
            "mcommons",
            "--port",
            "0",
            "--profiles",
            "20",
            *arguments,
        ],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    with run("--now", NOW) as process:
        assert process.stdout
        name, _, url = process.stdout.readline().strip().partition(": ")
        assert name == "Mobile Commons sandbox"
        credentials = process.stdout.readline()
        assert all(word in credentials for word in (*BASIC, "sandbox-token"))
        assert requests.get(url + "profiles", auth=BASIC, timeout=30).status_code == 200
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_the_command_ends_with_standard_input() -> None:
    with run("--exit-with-stdin") as process:
        assert process.stdin
        assert process.stdout
        assert "http://" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(30) == 0


def test_the_command_says_what_is_wrong() -> None:
    with run("--now", "tomorrow") as process:
        assert process.wait(30) == 2
        assert process.stderr
        assert "not an ISO-8601 time: 'tomorrow'" in process.stderr.read()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        run("--port", str(taken.getsockname()[1])) as process,
    ):
        assert process.wait(30) == 1
        assert process.stderr
        assert "--port 0" in process.stderr.read()
