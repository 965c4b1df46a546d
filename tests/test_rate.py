"""The limit of requests per second of each route, against a real server that notes arrivals."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from requests.auth import HTTPBasicAuth

from textlift.errors import ConfigurationError, ServiceError, TransientError
from textlift.http.client import Client, HttpResponse, Retries
from textlift.http.rate import Route
from textlift.http.stop import StopSignal

INTERVAL = 0.1
Arrivals = dict[str, list[float]]


class Service(ThreadingHTTPServer):
    """Notes when requests arrive, and answers 429 without a body to the first ``refused``."""

    request_queue_size = 64

    def __init__(self) -> None:
        self.arrivals: Arrivals = defaultdict(list)
        self.pause = 0.0
        self.refused = 0
        super().__init__(("127.0.0.1", 0), _Request)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Request(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        """Note the arrival, and answer after a pause."""
        route = self.path.partition("?")[0].split("/")[1]
        self.server.arrivals[route].append(time.monotonic())
        time.sleep(self.server.pause)
        refused, self.server.refused = self.server.refused > 0, self.server.refused - 1
        self.send_response(429 if refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def check(response: HttpResponse) -> bytes:
    if response.status == 429:
        raise TransientError("HTTP 429")
    return response.body


def client_of(service: Service, rate: float | None = 1 / INTERVAL) -> Client[bytes]:
    retries = Retries(attempts=5, backoff=0.001)
    return Client(
        service.url, HTTPBasicAuth("a", "b"), check, requests_per_second=rate, retries=retries
    )


def run(calls: Sequence[Callable[[], object]]) -> None:
    with ThreadPoolExecutor(len(calls)) as threads:
        for call in [threads.submit(call) for call in calls]:
            call.result()


def gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(sorted(times))]


@pytest.mark.parametrize(
    ("interval", "pause", "times"),
    # The last service answers so late that the next request is sent before.
    [(0.1, 0.0, 3), (0.1, 0.05, 3), (0.5, 1.25, 1)],
)
def test_a_route_gets_no_request_too_soon_whoever_sends_it(
    service: Service, interval: float, pause: float, times: int
) -> None:
    service.pause = pause
    calls = [
        lambda client=client, path=path, params=params: client.get(path, params)
        for client in (client_of(service, 1 / interval), client_of(service, 1 / interval))
        for path, params in [("a/{id}", {"id": "1"}), ("a/{id}", {"id": "2"}), ("b", {})] * times
    ]
    run(calls)
    assert {route: len(times) for route, times in service.arrivals.items()} == {
        "a": 4 * times,
        "b": 2 * times,
    }
    for arrivals in service.arrivals.values():
        assert min(gaps(arrivals)) >= interval


def test_routes_do_not_wait_for_each_other(service: Service) -> None:
    client = client_of(service, 1)
    run([lambda route=route: client.get(route, {}) for route in "abcdef" * 2])
    spans = [(min(times), max(times)) for times in service.arrivals.values()]
    assert max(start for start, _ in spans) < min(end for _, end in spans)


def test_a_service_that_refuses_is_asked_more_slowly(service: Service) -> None:
    service.refused = 3
    client_of(service).get("a", {})
    first, second, third = gaps(service.arrivals["a"])
    assert first >= 2 * INTERVAL
    assert second >= 4 * INTERVAL
    assert third >= 8 * INTERVAL


@pytest.mark.parametrize(
    ("limit", "remaining", "intervals"),
    [("60", "30", 1), ("60", "6", 2), ("60", "0", 6), ("1", "0", 1), ("many", "0", 1)],
)
def test_a_route_slows_down_when_little_of_the_limit_is_left(
    limit: str, remaining: str, intervals: int
) -> None:
    route, stop = Route(0.05), StopSignal()
    headers = {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": remaining}
    route.answered(route.wait(stop), 200, headers)
    started = time.monotonic()
    route.wait(stop)
    assert time.monotonic() - started >= 0.99 * 0.05 * intervals


def test_the_end_of_a_run_ends_the_wait(service: Service) -> None:
    route, stop = Route(3600), StopSignal()
    route.wait(stop)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(ServiceError, match="stopped"):
        route.wait(stop)


def test_a_rate_of_nothing_is_refused(service: Service) -> None:
    with pytest.raises(ConfigurationError, match="requests_per_second is 0"):
        client_of(service, 0)


def test_a_reader_has_no_more_requests_than_its_route_can_take(service: Service) -> None:
    assert client_of(service, 1).route_concurrency == 2
    assert client_of(service, None).route_concurrency == 16
