"""A sandbox in a separate process that serves responses from memory.

A repeated request gets the compressed bytes of the first response, because the sandbox takes longer
to create a page of profiles than textlift should take to load it. The process reads lines of JSON
from standard input, and replies to each with a line of JSON, see `Server`.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from textlift.sandbox import Request, Response, Sandbox
from textlift.sandbox.clock import Clock
from textlift.sandbox.mcommons import LISTS, MobileCommons
from textlift.sandbox.server import Service
from textlift.sandbox.service import Route
from textlift.sandbox.tables import DAY, Row
from textlift.sandbox.xml import MARK, Element, text

if TYPE_CHECKING:
    from typing_extensions import Self

PROJECT = Path(__file__).resolve().parents[1]
COMPANY, TOKEN = "COSANDBOX00000000000000000000000001", "sandbox-token"
#: First and last second of the accounts with a fixed clock: one year.
START, NOW = "2024-01-01T00:00:00Z", "2024-12-30T23:59:59Z"
COLUMNS = 8
#: Start and end of the accounts with few rows.
EMPTY_START, EMPTY_NOW = "2010-01-01T00:00:00Z", "2025-01-01T00:00:00Z"
CROWDED_DAY = "2018-06-05T00:00:00Z"
#: Groups of the account for hourly runs, and profiles that change between two of them.
GROUPS, CHANGED = 50, 500
SECOND = timedelta(seconds=1)
#: Profiles of the account that sample rows come from.
SAMPLES = 1000
#: Rows on a page of a request without a limit.
PAGE_ROWS = 1000
#: Parameters that select a part of a list.
_PLACE = frozenset({"page", "from", "to", "start_time", "end_time"})


class Remembered:
    """A service that creates and compresses each response once. Its clock must be fixed."""

    prefix = MobileCommons.prefix
    damage = MobileCommons.damage

    def __init__(self, service: Service) -> None:
        self.made = 0
        self._service = service
        self._answers: dict[tuple[Any, ...], Response] = {}

    def answer(self, request: Request) -> Response:
        """Return the response to a request."""
        question = (request.endpoint, *sorted(request.query))
        response = self._answers.get(question)
        if response is None:
            self.made += 1
            response = self._service.answer(request)
            response = replace(
                response,
                body=gzip.compress(response.body, compresslevel=1),  # as the sandbox does
                headers={**response.headers, "Content-Encoding": "gzip"},
            )
            if response.status == 200:
                self._answers[question] = response
        return response


class Even(MobileCommons):
    """An account with only one list, whose rows are spread evenly over time.

    The rows repeat those of a small account, each with its own id and time. So the memory does not
    depend on the number of rows.
    """

    def __init__(self, endpoint: str, count: int, begin: str, seconds: int) -> None:
        """Create `count` rows spread over `seconds`, the first one at `begin`."""
        small = MobileCommons(profiles=SAMPLES, columns=COLUMNS, start=START, now=NOW)
        listed = LISTS[endpoint]
        self._total, self._seconds = count, seconds
        self._begin = datetime.fromisoformat(begin.replace("Z", "+00:00"))
        cursor = str(small.tables[listed.table].cursor)
        samples = _Samples(small.rows(listed.table), listed.element, cursor, self._row)
        self.routes = self._routes(endpoint, samples)
        super().__init__(empty=True, now=NOW)

    def select(
        self,
        name: str,
        parent: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Any:
        """Return the numbers of the rows in a window."""
        first = self._before(since) if since else 0
        return range(first, self._before(until + SECOND) if until else self._total)

    def _routes(self, endpoint: str, element: Element) -> dict[str, Route]:
        listed = LISTS[endpoint]
        return {endpoint: replace(listed, element=element, parent=None, keep=None, show=None)}

    def _row(self, number: int) -> tuple[int, datetime]:
        """Return the id and the time of a row."""
        return 1 + number, self._begin + timedelta(seconds=number * self._seconds // self._total)

    def _before(self, time: datetime) -> int:
        """Return the number of rows before a time."""
        elapsed = min(max(int((time - self._begin).total_seconds()), 0), self._seconds)
        return -(-elapsed * self._total // self._seconds)


class Hourly(Even):
    """Profiles up to now, and groups that have each of them once. Some profiles change later."""

    def __init__(self, count: int) -> None:
        """Create `count` profiles, spread evenly over a year."""
        begin = datetime.now(timezone.utc) - timedelta(days=365)
        super().__init__("profiles", count, begin.isoformat(), 364 * DAY)
        self._clock = Clock(None)
        self._changed: datetime | None = None
        for number in range(GROUPS):
            self.put("groups", {"id": 1 + number, "name": "#", "size": count // GROUPS})

    def _routes(self, endpoint: str, element: Element) -> dict[str, Route]:
        members = replace(LISTS["group_members"], element=element, keep=None, show=None)
        others = {"groups": LISTS["groups"], "group_members": members}
        return {**super()._routes(endpoint, element), **others}

    def change(self) -> None:
        """Change some profiles; they are listed with their new times too."""
        self._changed = self.now()

    def select(
        self,
        name: str,
        parent: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Any:
        """Return the numbers of the profiles in a window, or in a group."""
        if name != "profiles":
            return MobileCommons.select(self, name, parent, since, until)
        rows = super().select(name, None, since, until)
        if self._changed and since and (until is None or since <= self._changed <= until):
            rows = [*rows, *range(self._total, self._total + CHANGED)]
        return [row for row in rows if row % GROUPS == parent - 1] if parent else rows

    def _row(self, number: int) -> tuple[int, datetime]:
        if number < self._total:
            return super()._row(number)
        assert self._changed
        return 1 + (number - self._total) * (self._total // CHANGED), self._changed


class _Samples(Element):
    """An element that prints a row by its number: a sample row with a new id and time."""

    def __init__(
        self,
        rows: list[Row],
        element: Element,
        cursor: str,
        of: Callable[[int], tuple[int, datetime]],
    ) -> None:
        super().__init__(element.name)
        self._of = of
        self._parts: list[list[str]] = []
        for row in rows:
            # No text contains \x01 or a number this large, so they mark the time and the id. Their
            # order is fixed. An element can depend on the last two bits of an id.
            place = 10**18 + row["id"] % 4
            printed = element({**row, "id": place, cursor: "\x01"}).replace(MARK, "")
            self._parts.append(printed.replace(str(place), "\x01").split("\x01"))

    def __call__(self, number: Any) -> str:
        """Return the text of a row."""
        start, middle, end = self._parts[number % len(self._parts)]
        key, time = self._of(number)
        return f"{start}{key}{middle}{text(time)}{end}"


def _profiles(count: int) -> Service:
    return Remembered(Even("profiles", count, START, 364 * DAY))


def _messages(count: int) -> Service:
    return Remembered(Even("sent_messages", count, START, 364 * DAY))


def _crowded(count: int) -> Service:
    """Return an account with `count` messages on one day, and no other rows in 15 years."""
    return Even("sent_messages", count, CROWDED_DAY, DAY)


def _empty(count: int) -> Service:
    """Return an account with `count` campaigns, groups, mConnects, tiny URLs and mDatas each.

    It has no other rows.
    """
    service = MobileCommons(empty=True, start=EMPTY_START, now=EMPTY_NOW)
    for kind in ("campaigns", "groups", "mconnects", "tinyurls", "mdatas"):
        for number in range(count):
            service.put(kind, {"id": 1 + number, "name": f"#{number}"})
    return service


def _living(count: int) -> Service:
    """Return an account with rows up to now."""
    now = datetime.now(timezone.utc).isoformat()
    return Remembered(MobileCommons(profiles=count, start=START, now=now))


def _hourly(count: int) -> Service:
    return Hourly(count)


ACCOUNTS: dict[str, Callable[[int], Service]] = {
    "profiles": _profiles,
    "outgoing_messages": _messages,
    "crowded": _crowded,
    "empty": _empty,
    "living": _living,
    "hourly": _hourly,
}


class Server:
    """A client for the process of a sandbox. It is a context manager."""

    def __init__(self, account: str, size: int) -> None:
        """Start a process that serves one of `ACCOUNTS`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.server", account, str(size)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url: str = self._receive()

    def begin(self, latency: float) -> None:
        """Set the latency of each request in seconds, and reset the counts of requests."""
        self._ask(latency)

    def change(self) -> None:
        """Change some profiles of the account for hourly runs."""
        self._ask("change")

    def calls(self) -> dict[str, Any]:
        """Return the counts since `begin`.

        These are `requests` by endpoint, `probes` (requests for one row), `questions` by endpoint (distinct requests, ignoring
        window and page), the `deepest` page of 1,000 rows, and the number of responses that were
        `made` and not served from memory.
        """
        answer: dict[str, Any] = self._ask(None)
        return answer

    def _ask(self, what: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._receive()

    def _receive(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main(account: str, size: int) -> None:
    """Serve until standard input ends."""
    service = ACCOUNTS[account](size)
    made = 0
    with Sandbox(service) as box:
        print(json.dumps(box.url), flush=True)
        for line in sys.stdin:
            latency = json.loads(line)
            if latency == "change":
                assert isinstance(service, Hourly)
                service.change()
                print("null", flush=True)
            elif latency is not None:
                box.latency = latency
                box.requests.clear()
                made = getattr(service, "made", 0)
                print("null", flush=True)
            else:
                calls = _calls(list(box.requests))
                calls["made"] = getattr(service, "made", 0) - made
                print(json.dumps(calls), flush=True)


def _calls(requests: list[Request]) -> dict[str, Any]:
    questions = {
        (request.endpoint, *(item for item in request.query if item[0] not in _PLACE))
        for request in requests
    }
    return {
        "requests": Counter(request.endpoint for request in requests),
        "questions": Counter(endpoint for endpoint, *_ in questions),
        "probes": sum(request.params.get("limit") == "1" for request in requests),
        "deepest": max(map(_depth, requests), default=0),
    }


def _depth(request: Request) -> int:
    """Return the number of the page of 1,000 rows that contains the last requested row."""
    page, limit = int(request.params.get("page", 1)), int(request.params.get("limit", PAGE_ROWS))
    return -(-page * limit // PAGE_ROWS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
