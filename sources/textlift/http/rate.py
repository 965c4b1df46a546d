"""The rate of a route: how soon the next request may be sent.

The limit is the service's, so it holds for the whole process: sources that run at the same time and
have the same base URL share the rate of each route.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock

from textlift.http.stop import StopSignal

TOO_MANY_REQUESTS = 429
#: Most times the interval between two requests after responses with status 429.
_SLOWEST = 64.0
#: Share of the slowdown that a response without status 429 leaves.
_RECOVERY = 0.8
#: At or below this share of the requests that the service allows, the rate is halved.
_SCARCE = 0.1


class Route:
    """Spaces the requests of one route.

    A request is sent one interval after the response to the one before began. Only then is it sure
    to arrive an interval later, whatever the network does. If that response takes longer than an
    interval, the request before has arrived long ago, and the next is sent after two intervals.

    Attributes:
        interval: Seconds between two requests.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._slowdown = 1.0
        self._sent = 0
        self._next = 0.0
        self._lock = Lock()

    def wait(self, stop: StopSignal) -> int:
        """Wait until a request may be sent, and return its number.

        Raises:
            TextliftError: The run was stopped.
        """
        while True:
            stop.raise_if_set()
            with self._lock:
                pause = self._next - time.monotonic()
                if pause <= 0:
                    self._sent += 1
                    self._next = time.monotonic() + 2 * self.interval * self._slowdown
                    return self._sent
            stop.pause(pause)

    def answered(self, number: int, status: int, headers: Mapping[str, str]) -> None:
        """Note that the response to a request has begun.

        Args:
            number: What :meth:`wait` returned.
            status: HTTP status.
            headers: Headers; ``X-RateLimit-Limit`` and ``X-RateLimit-Remaining`` are the requests
                that the service allows and those of them that are left.
        """
        with self._lock:
            if status == TOO_MANY_REQUESTS:
                self._slowdown = min(2 * self._slowdown, _SLOWEST)
            else:
                self._slowdown = max(1.0, self._slowdown * _RECOVERY)
            if number == self._sent:
                pause = self.interval * max(self._slowdown, _scarcity(headers))
                self._next = time.monotonic() + pause


def _scarcity(headers: Mapping[str, str]) -> float:
    """Return how many intervals to leave between two requests, by what the service has left."""
    try:
        limit = int(headers["X-RateLimit-Limit"])
        remaining = int(headers["X-RateLimit-Remaining"])
    except (KeyError, ValueError):
        return 1.0
    if remaining > limit * _SCARCE:
        return 1.0
    # Another program uses the limit too. With nothing left, wait for a tenth of it to come back.
    return max(1.0, limit * _SCARCE) if remaining <= 0 else 2.0


_routes: dict[tuple[str, str], Route] = {}
_registering = Lock()


def route_of(base_url: str, path: str, requests_per_second: float) -> Route:
    """Return the route ``path`` of a service, the same one for the whole process.

    The lowest rate that any source asks for holds.
    """
    interval = 1 / requests_per_second
    with _registering:
        route = _routes.setdefault((base_url, path), Route(interval))
        route.interval = max(route.interval, interval)
    return route
