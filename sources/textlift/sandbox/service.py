"""What all services have in common: a clock, tables, routes, logins, limits, and how calls ask.

A service is an `Account` that declares its `routes`. A route is a path and a function from a
`Query` to a `Response`. Everything a service can refuse is a `Failure`.
"""

from __future__ import annotations

import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from textlift.sandbox.clock import Clock, moment, seconds
from textlift.sandbox.faults import Damage
from textlift.sandbox.server import Request, Response
from textlift.sandbox.tables import History, Row, Table
from textlift.sandbox.webhooks import Webhooks

_NUMBER = re.compile(r"[0-9]{1,18}")


class Failure(Exception):
    """A call that is answered with `response` in place of data."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True)
class Paging:
    """How a list is paged: by a page number, counted from 1, and a size."""

    default: int
    maximum: int
    """Rows on a page; a larger size means this one."""
    size: str = "limit"
    """The parameter of the size; empty if there is none."""
    number: str = "page"


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    rows: Sequence[Row]
    number: int
    limit: int
    count: int
    """How many pages the list has; 0 if it is empty."""


class Query:
    """The parameters of a call. One that cannot be understood raises the service's `Failure`."""

    def __init__(self, account: Account, request: Request, path: Mapping[str, str]) -> None:
        """Of repeated parameters, the last counts. `path` holds the parameters in the path."""
        self.request = request
        self.path = path
        self._account = account
        self._values = {
            name: value
            for name, value in request.query
            if account.keeps_blank_parameters or value.strip()
        }
        self._values.update(path)

    def text(self, name: str) -> str | None:
        """A value as it came; None if absent."""
        return self._values.get(name)

    def texts(self, name: str) -> list[str]:
        """The values of a comma-separated list, or of an array `name[]`."""
        values = self._values.get(name, "").split(",")
        values += [value for key, value in self.request.query if key == f"{name}[]"]
        return [value for value in values if value.strip()]

    def flag(self, name: str, default: bool) -> bool:
        """False for `false` and `0`, True for any other value."""
        value = self._values.get(name)
        return default if value is None else value.lower() not in ("false", "0")

    def number(self, name: str, least: int = 0) -> int | None:
        """A decimal number; None if absent."""
        value = self._values.get(name)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value) or int(value) < least:
            raise self._account.invalid(name, value)
        return int(value)

    def window(self, start: str, end: str) -> tuple[datetime | None, datetime | None]:
        """Two times, both inclusive, None where absent."""
        since, until = self._time(start), self._time(end)
        if since is not None and until is not None and since > until:
            raise self._account.invalid("window", f"{start} is after {end}")
        return since, until

    def page(self, rows: Sequence[Any], paging: Paging) -> Page:
        """The page of a list that the call asks for."""
        number = self.number(paging.number, least=1) or 1
        limit = min(self.number(paging.size, least=1) or paging.default, paging.maximum)
        first = (number - 1) * limit
        return Page(rows[first : first + limit], number, limit, -(-len(rows) // limit))

    def _time(self, name: str) -> datetime | None:
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return self._account.parse_time(value)
        except ValueError:
            raise self._account.invalid(name, value) from None


Route = Callable[[Any, Query], Response]
"""Answers the calls of one path, from the account and the parameters."""


class Account:
    """A service with an invented account. Thread-safe."""

    prefix: str = "/api/"
    damage: Damage
    keeps_blank_parameters = False
    """Whether an empty parameter has a value; otherwise it counts as absent."""
    routes: Mapping[str, Route]
    """By path below the prefix; `{name}` in a path stands for a parameter."""
    webhooks: Webhooks | None = None
    """What posts what happens, where a receiver was named."""

    def __init__(
        self,
        now: str | datetime | None,
        logins: Iterable[str],
        concurrent_calls: int | None = None,
        requests_per_second: float | None = None,
    ) -> None:
        """Open an account without tables.

        now: where the clock stands, until `advance` moves it; None for the real time.
        logins: the values of the header Authorization that are let in.
        concurrent_calls: calls in progress beyond this number are refused.
        requests_per_second: calls of a route beyond this rate are refused.
        """
        self.tables: dict[Any, Table] = {}
        self.histories: dict[Any, Sequence[History]] = {}
        """What fills each table, in the order in which it has to happen."""
        self.lock = threading.RLock()
        self._clock = Clock(now)
        self._logins = frozenset(logins)
        self._concurrent_calls = concurrent_calls
        self._requests_per_second = requests_per_second
        self._free_at: dict[str, float] = {}
        self._patterns = [
            (path, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))) for path in self.routes
        ]

    # --- what a service declares -----------------------------------------------------------------

    def failure(self, status: int) -> Response:
        """The answer with an HTTP status that tells a failure."""
        raise NotImplementedError

    def invalid(self, name: str, value: str) -> Failure:
        """The refusal of a parameter; of the name `window` if an end lies before its start."""
        raise NotImplementedError

    def limited(self) -> Failure:
        """The refusal of a call that is one too many."""
        return Failure(self.failure(429))

    def admit(self, request: Request, path: Mapping[str, str]) -> None:
        """Raise the failure of a call with wrong credentials. `path` has its parameters."""
        if request.headers.get("authorization") not in self._logins:
            raise Failure(self.failure(401))

    def check(self, query: Query) -> None:
        """Raise the failure of a parameter that every call can have."""

    def parse_time(self, text: str) -> datetime:
        """A time in a parameter. Raises ValueError."""
        return moment(seconds(text))

    # --- calls -----------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Answer one call."""
        path, parameters = self._find(request)
        if path is None:
            return self.failure(404)
        if request.method != "GET":
            return self.failure(405)
        try:
            self.admit(request, parameters)
            with self.lock:
                self._limit(path, request)
                query = Query(self, request, parameters)
                self.check(query)
                return self.routes[path](self, query)
        except Failure as failure:
            return failure.response

    def _find(self, request: Request) -> tuple[str | None, dict[str, str]]:
        for path, pattern in self._patterns:
            match = pattern.fullmatch(request.endpoint)
            if match and request.path.startswith(self.prefix):
                return path, {name: unquote(text) for name, text in match.groupdict().items()}
        return None, {}

    def _limit(self, path: str, request: Request) -> None:
        if self._concurrent_calls is not None and request.in_progress > self._concurrent_calls:
            raise self.limited()
        if self._requests_per_second is not None:
            now = time.monotonic()
            if now < self._free_at.get(path, now):
                raise self.limited()
            self._free_at[path] = now + 1 / self._requests_per_second

    # --- the clock -------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time by the service's clock, in UTC and whole seconds."""
        return self._clock.now()

    def second(self) -> int:
        """The same in seconds since 1970."""
        return int(self.now().timestamp())

    def advance(self, seconds: float) -> None:
        """Move a clock that was set by `now=` forward."""
        with self.lock:
            self._clock.advance(seconds)

    # --- rows ------------------------------------------------------------------------------------

    def table(self, name: Any) -> Table:
        """A table in which everything has happened by now. Raises KeyError."""
        if name not in self.tables:
            raise KeyError(f"no table {name!r}; there are {', '.join(map(str, self.tables))}")
        for history in self.histories.get(name, ()):
            history.catch_up(self.second())
        return self.tables[name]

    def select(
        self,
        name: Any,
        parent: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Row]:
        """The rows of a parent in a window, both ends inclusive, in the order of listing."""
        return self.table(name).select(self.second(), parent, since, until)

    def get(self, name: Any, key: int | None) -> Row | None:
        """The row of a key, None if there is none."""
        return self.table(name).get(key, self.second())

    # --- changes ---------------------------------------------------------------------------------

    def update(self, name: Any, which: Any, /, **changes: Any) -> int:
        """Change values of the row with a key; `address__city="X"` names a nested one.

        Returns how many rows have changed. A time that tells when a row was updated becomes now,
        unless it is among the changes. Raises KeyError.
        """
        with self.lock:
            self._existing(name, which).update(which, changes, self.now())
            return 1

    def delete(self, name: Any, key: int) -> None:
        """Remove a row. Nothing else goes with it. Raises KeyError."""
        with self.lock:
            self._existing(name, key).delete(key)

    def _existing(self, name: Any, key: int) -> Table:
        if self.get(name, key) is None:
            raise KeyError(f"{name} has no row {key}")
        return self.tables[name]


@dataclass(frozen=True)
class Option:
    """An option of the command ``textlift sandbox``, by its name with underscores."""

    help: str
    type: Callable[[str], Any] = str


def flag(option: str) -> str:
    """The name of an option on the command line."""
    return f"--{option.replace('_', '-')}"


@dataclass(frozen=True)
class SandboxSpec:
    """What the command and the tests need to know of a service's sandbox."""

    title: str
    open: Callable[..., Account]
    """Opens an account; takes `seed`, `now`, and the options by their names."""
    login: str
    """How to log in, for a person."""
    options: Mapping[str, Option]
    """Among them `webhooks`, the URL of a receiver, if what happens can be posted."""
    damage: Damage
    """How its responses can go wrong."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `open` that the command sets where nothing else is said."""
    hurried: Mapping[str, Any] = field(default_factory=dict)
    """Options of the command for ``textlift load --sandbox``, where nobody wants to wait."""
    describe: Callable[[Any], str] = lambda account: ""
    """What to know of an account that was opened."""


def basic(username: str, password: str) -> str:
    """The header Authorization of HTTP Basic."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
