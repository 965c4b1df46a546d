"""A sandbox in a process of its own that answers from memory.

What is asked a second time is answered with the compressed bytes of the first: making a page of
profiles takes the sandbox longer than loading it should. Its process takes lines of JSON on its
standard input and answers each with one, see `Server`.
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
from textlift.sandbox.mcommons import LISTS, MobileCommons
from textlift.sandbox.server import Service
from textlift.sandbox.tables import DAY, Row
from textlift.sandbox.xml import MARK, Element, text

if TYPE_CHECKING:
    from typing_extensions import Self

PROJECT = Path(__file__).resolve().parents[1]
COMPANY, TOKEN = "COSANDBOX00000000000000000000000001", "sandbox-token"
#: Of the accounts whose clock stands still: their first year, to its last second.
START, NOW = "2024-01-01T00:00:00Z", "2024-12-30T23:59:59Z"
COLUMNS = 8
#: Of the account in which little happens.
EMPTY_START, EMPTY_NOW = "2010-01-01T00:00:00Z", "2025-01-01T00:00:00Z"
CROWDED_DAY = "2018-06-05T00:00:00Z"
SECOND = timedelta(seconds=1)
#: Profiles of the small account.
SAMPLES = 1000
#: Rows on a page, where nobody says so.
PAGE_ROWS = 1000
#: Parameters that say which part of a list is wanted.
_PLACE = frozenset({"page", "from", "to", "start_time", "end_time"})


class Remembered:
    """A service whose answers are made and compressed once. Its clock has to stand still."""

    prefix = MobileCommons.prefix
    damage = MobileCommons.damage

    def __init__(self, service: Service) -> None:
        self.made = 0
        self._service = service
        self._answers: dict[tuple[Any, ...], Response] = {}

    def answer(self, request: Request) -> Response:
        """Answer one call."""
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
    """An account with so many rows of one list, evenly in time, and nothing else.

    The rows are those of a small account, over and over, each with an id and a time of its own, so
    no size of the account costs memory.
    """

    def __init__(self, endpoint: str, count: int, begin: str, seconds: int) -> None:
        """`count` rows in so many seconds, the first one at `begin`."""
        small = MobileCommons(profiles=SAMPLES, columns=COLUMNS, start=START, now=NOW)
        listed = LISTS[endpoint]
        self._total, self._seconds = count, seconds
        self._begin = datetime.fromisoformat(begin.replace("Z", "+00:00"))
        cursor = str(small.tables[listed.table].cursor)
        samples = _Samples(small.rows(listed.table), listed.element, cursor, self._time)
        self.routes = {
            endpoint: replace(listed, element=samples, parent=None, keep=None, show=None)
        }
        super().__init__(empty=True, now=NOW)

    def select(
        self,
        name: str,
        parent: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Any:
        """The numbers of the rows in a window."""
        first = self._before(since) if since else 0
        return range(first, self._before(until + SECOND) if until else self._total)

    def _time(self, number: int) -> datetime:
        return self._begin + timedelta(seconds=number * self._seconds // self._total)

    def _before(self, time: datetime) -> int:
        """How many rows there are before a time."""
        elapsed = min(max(int((time - self._begin).total_seconds()), 0), self._seconds)
        return -(-elapsed * self._total // self._seconds)


class _Samples(Element):
    """Prints a row by its number: a sample, with another id and another time."""

    def __init__(
        self, rows: list[Row], element: Element, cursor: str, time: Callable[[int], datetime]
    ) -> None:
        super().__init__(element.name)
        self._time = time
        self._parts: list[list[str]] = []
        for row in rows:
            # Blanks that no text contains stand for the id and the time, whose order is known.
            printed = element({**row, "id": "\x01", cursor: "\x01"}).replace(MARK, "")
            self._parts.append(printed.split("\x01"))

    def __call__(self, number: Any) -> str:
        """The lines of a row."""
        start, middle, end = self._parts[number % len(self._parts)]
        return f"{start}{1 + number}{middle}{text(self._time(number))}{end}"


def _profiles(count: int) -> Service:
    return Remembered(Even("profiles", count, START, 364 * DAY))


def _messages(count: int) -> Service:
    return Remembered(Even("sent_messages", count, START, 364 * DAY))


def _crowded(count: int) -> Service:
    """So many messages sent on one day, and nothing else in 15 years."""
    return Even("sent_messages", count, CROWDED_DAY, DAY)


def _empty(count: int) -> Service:
    """An account with so many campaigns, groups, mConnects, tiny URLs and mDatas, and no more."""
    service = MobileCommons(empty=True, start=EMPTY_START, now=EMPTY_NOW)
    for kind in ("campaigns", "groups", "mconnects", "tinyurls", "mdatas"):
        for number in range(count):
            service.put(kind, {"id": 1 + number, "name": f"#{number}"})
    return service


def _living(count: int) -> Service:
    """An account that was in use until now."""
    now = datetime.now(timezone.utc).isoformat()
    return Remembered(MobileCommons(profiles=count, start=START, now=now))


ACCOUNTS: dict[str, Callable[[int], Service]] = {
    "profiles": _profiles,
    "outgoing_messages": _messages,
    "crowded": _crowded,
    "empty": _empty,
    "living": _living,
}


class Server:
    """The process of a sandbox, as the one that measures sees it. A context manager."""

    def __init__(self, account: str, size: int) -> None:
        """Start to serve one of `ACCOUNTS`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.server", account, str(size)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url: str = self._receive()

    def begin(self, latency: float) -> None:
        """Let each call take so many seconds, and count calls anew."""
        self._ask(latency)

    def calls(self) -> dict[str, Any]:
        """The calls since `begin`.

        `requests` by endpoint, `questions` by endpoint (requests that differ in more than window
        and page), the `deepest` page of 1,000 rows, and how many answers were `made` and not
        remembered.
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
            if latency is not None:
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
        "deepest": max(map(_depth, requests), default=0),
    }


def _depth(request: Request) -> int:
    """The page of 1,000 rows that the last row which was asked for would be on."""
    page, limit = int(request.params.get("page", 1)), int(request.params.get("limit", PAGE_ROWS))
    return -(-page * limit // PAGE_ROWS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
