"""The mGage (Communicate Pro) message export, as the vendor documents it.

Each program is a table. Its messages go back for ever, as many in each year, of which three years
are invented and one is served. Each year has quiet weeks, and a crowded hour with many messages in
one second. A year is 365 days here, counted from 1970.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from urllib.parse import urlencode

from textlift.sandbox.clock import moment, seconds
from textlift.sandbox.damage import find_json, json_kinds
from textlift.sandbox.faults import Answer, Damage
from textlift.sandbox.json import json_answer
from textlift.sandbox.people import BROADCASTS, NAMES, REPLIES
from textlift.sandbox.server import Request, Response
from textlift.sandbox.service import (
    Account,
    Failure,
    Option,
    Paging,
    Query,
    Route,
    SandboxSpec,
    basic,
)
from textlift.sandbox.tables import DAY, YEAR, History, Row, Stream, Table, seasonal, stream

ORDERS = ("date", "-date")
"""The orders in which messages can be listed."""
LINKS = ("absolute", "relative", "bare")
"""The ways to print the URL of the next page."""
PROGRAMS = {
    121811: ("Default Campaign", "Members & Friends", "Text to Join"),
    121812: ("Spring Drive", "“Fair Deal” Pledge", "Info Request"),
    121813: ("Default Campaign", "Rent hotline / Línea de renta", "Text to Vote"),
}
"""Campaign name, program name and program type."""
PAGING = Paging(50, 500, size="pageSize")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")


def answer(status: int, errors: Iterable[str], next_page: str | None, data: Row | None) -> Response:
    """An answer of JSON."""
    meta = {"generalErrors": list(errors), "nextPageUrl": next_page}
    return json_answer(status, {"meta": meta, "data": data})


def failure(status: int, *reasons: str, **headers: str) -> Response:
    """An answer without data, with its reasons where the service puts them.

    For `Sandbox.faults`: `failure(500, "General server exception")`, or, as a failure that hides
    behind a success, `failure(200, "Program 121811 could not be read")`.
    """
    if not reasons:
        other = "General server exception" if status >= 500 else "The request could not be served"
        reasons = (_REASONS.get(status, other),)
    response = answer(status, reasons, None, None)
    response.headers.update({**_HEADERS.get(status, {}), **headers})
    return response


_REASONS = {
    401: "Authentication failed: check the username and password",
    404: "Resource not found",
    405: "Method not allowed",
}
_HEADERS = {401: {"WWW-Authenticate": 'Basic realm="mGage"'}, 405: {"Allow": "GET"}}


def _unknown(id: str) -> Response:
    return failure(404, f"Program {id} not found")


def _vanish(request: Request, answer: Answer) -> Response:
    return _unknown(request.endpoint.rpartition("/")[2])


DAMAGE = Damage(
    failure=failure,
    is_endpoint=lambda endpoint: re.fullmatch(r"messages/program/[^/]+", endpoint) is not None,
    record=find_json("messages"),
    between=b", ",
    window=frozenset(("startDate", "endDate")),
    kinds={
        **json_kinds("messages", text="body", time="date"),
        "vanish": _vanish,
        "plain": lambda request, _: Response(
            500, b"The export is not available at the moment.", {"Content-Type": "text/plain"}
        ),
        "no-messages": lambda request, _: answer(200, [], None, {}),
        "general-errors": lambda request, _: failure(200, "The messages could not be read"),
    },
    transient=("general-errors", "plain", "no-messages"),
)
"""The faults of this service."""


def _messages(account: MGage, query: Query) -> Response:
    """One page of a program's messages of the last year."""
    id = query.path["id"]
    if not re.fullmatch(r"[0-9]{1,18}", id):
        raise Failure(failure(400, f"Invalid program id: {id}"))
    type = query.text("messageType")
    if type not in (None, "MO", "MT"):
        raise account.invalid("messageType", str(type))
    since, until = query.window("startDate", "endDate")
    query.page((), PAGING)  # what is wrong with the parameters comes before an unknown program
    if int(id) not in account.tables:
        raise Failure(_unknown(id))
    first = account.now() - timedelta(seconds=YEAR)
    if account.refuses_old and since and since < first:
        raise Failure(failure(400, "startDate is more than a year ago"))
    rows = account.select(int(id), None, max(since or first, first), until)
    page = query.page([row for row in rows if type in (None, row["type"])], PAGING)
    following = account.link(query.request, page.number + 1) if page.number < page.count else None
    messages = [
        {**row, "date": f"{row['date'].replace(tzinfo=None).isoformat()}.00"} for row in page.rows
    ]
    data = {**account.programs[int(id)], "messages": messages}
    return answer(200, account.general_errors, following, data)


ROUTES: dict[str, Route] = {"messages/program/{id}": _messages}


class MGage(Account):
    """Speaks the message export of mGage about invented programs.

    What they sent and received is a function of `seed`, `messages`, `programs` and the clock; `put`
    and `update` change it.
    """

    damage = DAMAGE
    routes = ROUTES
    keeps_blank_parameters = True

    def __init__(
        self,
        seed: int = 1,
        messages: int = 2000,
        now: str | datetime | None = None,
        programs: Iterable[int] | None = None,
        username: str = "sandbox@example.org",
        password: str = "sandbox-password",
        order: str = "date",
        links: str = "absolute",
        refuses_old: bool = False,
        empty: bool = False,
        as_of: str | datetime | None = None,
    ) -> None:
        """Open an account.

        messages: how many there are in three years, in all programs. The first program has most,
            each further one fewer.
        now: where the clock stands, until `advance` moves it; None for the real time.
        programs: their ids; None for three.
        username, password: for HTTP Basic.
        order: how messages are listed: by `date` or `-date`.
        links: how nextPageUrl is printed: `absolute`, `relative` (without scheme and host), or
            `bare`, with nothing but the page, as in the vendor's sample of a call with filters.
        refuses_old: answer 400 to a startDate before the year that is served, and do not cut it.
        empty: leave out all programs.
        as_of: what has happened is what had by this time, moved to end now; None for now.
        """
        if messages < 0:
            raise ValueError(f"there cannot be {messages} messages")
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        if links not in LINKS:
            raise ValueError(f"no links {links!r}; there are {', '.join(LINKS)}")
        super().__init__(now, [basic(username, password)])
        self.general_errors: list[str] = []
        """Printed in the meta of each answer that has data."""
        self.programs: dict[int, dict[str, str]] = {}
        """The campaignName, programName and programType of each program, by its id."""
        self.refuses_old = refuses_old
        self._links, self._order = links, order
        self._puts = count(10**12)  # behind all invented messages of the same second
        ids = [] if empty else list(PROGRAMS if programs is None else programs)
        shares = [1 / (place + 1) ** 2 for place in range(len(ids))]
        shift = 0 if as_of is None else self.second() - seconds(as_of)
        for place, id in enumerate(ids):
            self.add_program(id, *list(PROGRAMS.values())[place % len(PROGRAMS)])
            yearly = round(messages / 3 * shares[place] / sum(shares))
            if yearly:
                past = self.second() - shift - 3 * YEAR
                invention = _Invention(self.tables[id], f"{seed}/{id}", yearly, shift, past)
                self.histories[id] = [invention.history]

    def failure(self, status: int) -> Response:
        """A reason under `meta`."""
        return failure(status)

    def invalid(self, name: str, value: str) -> Failure:
        """A 400 with the reason."""
        return Failure(failure(400, value if name == "window" else f"Invalid {name}: {value}"))

    def parse_time(self, text: str) -> datetime:
        """A time in GMT. An offset is refused, as documented."""
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        return moment(seconds(text))

    def link(self, request: Request, page: int) -> str:
        """The URL of another page, on the host that was asked."""
        bare = self._links == "bare"
        query = [pair for pair in request.query if pair[0] != "page" and not bare]
        host = request.headers.get("host")
        root = "" if self._links == "relative" or not host else f"http://{host}"
        return f"{root}{request.path}?{urlencode([*query, ('page', page)])}"

    # --- the truth -------------------------------------------------------------------------------

    def rows(self, program_id: int) -> list[Row]:
        """A program's messages of three years as they are now, in the order of listing.

        Raises KeyError.
        """
        return list(self._last(program_id, 3).values())

    def served(self, program_id: int) -> list[Row]:
        """Those of the last year."""
        return list(self._last(program_id, 1).values())

    def _last(self, program: int, years: int) -> dict[int, Row]:
        with self.lock:
            self._known(program)
            now = self.now()
            rows = self.table(program).listed(int(now.timestamp()))
            since = now - timedelta(seconds=years * YEAR)
            return {key: row for key, row in rows.items() if row["date"] >= since}

    # --- changes ---------------------------------------------------------------------------------

    def put(self, program_id: int, row: Row) -> None:
        """Add a message, behind those of the same second; equal ones stay separate.

        A missing `type` is MO, a missing `date` now. The date can be ISO-8601 text. A key that
        nobody declared is printed too.
        """
        with self.lock:
            self._known(program_id)
            status = "Received" if row.get("type", "MO") == "MO" else "Sent"
            row = {"type": "MO", "deliveryStatus": status, "date": self.now(), **row}
            self.tables[program_id].put(next(self._puts), _dated(row), self.now())

    def update(self, name: int, which: int | Callable[[Row], bool], /, **changes: Any) -> int:
        """Change values of a program's messages. Returns how many have changed.

        which: a place in `rows`, or what is true of the messages that are meant.
        Raises IndexError or LookupError if there is none.
        """
        with self.lock:
            rows = self._last(name, 3)
            if isinstance(which, int):
                chosen = [list(rows)[which]]
            else:
                chosen = [key for key, row in rows.items() if which(row)]
            if not chosen:
                raise LookupError("no message is like that")
            for key in chosen:
                self.tables[name].update(key, _dated(changes), self.now())
            return len(chosen)

    def add_program(
        self,
        id: int,
        campaignName: str = "Default Campaign",
        programName: str = "Program Name",
        programType: str = "Text to Join",
    ) -> None:
        """Open a program without messages."""
        with self.lock:
            if id in self.tables:
                raise ValueError(f"there is a program {id} already")
            self.programs[id] = {
                "campaignName": campaignName,
                "programName": programName,
                "programType": programType,
            }
            self.tables[id] = Table(
                {
                    "type": "MO",
                    "deliveryStatus": "Received",
                    "number": "12025550100",
                    "body": "",
                    "date": None,
                    "network": None,
                },
                cursor="date",
                order=self._order,
            )

    def delete_program(self, id: int) -> None:
        """Remove a program; calls for it get a 404. Raises KeyError."""
        with self.lock:
            self._known(id)
            del self.tables[id], self.programs[id]
            self.histories.pop(id, None)

    def _known(self, program: int) -> None:
        if program not in self.tables:
            raise KeyError(f"no program {program}")


def _dated(row: Row) -> Row:
    """A row whose date, if it has one, is a time."""
    if "date" not in row:
        return row
    if not isinstance(row["date"], (str, datetime)):
        raise TypeError(f"a message needs a date: {row!r}")
    return {**row, "date": moment(seconds(row["date"]))}


# --- the invented messages -----------------------------------------------------------------------

NEWS = "BREAKING: the strike is over. We won! ✊🏿 Details: http://lil.example.org/won"
"""What goes out to so many in one second."""
NETWORKS = ("T-Mobile", "Verizon Wireless", "AT&T", "T-Mobile", "U.S. Cellular", "AT&T", None)
"""Some people's network never becomes known."""

QUIET_DAYS = frozenset((*range(40, 61), *range(250, 264)))


class _Invention:
    """The messages of one program, as many in each year."""

    def __init__(self, table: Table, seed: str, yearly: int, shift: int, past: int) -> None:
        """Invent from a time in the past on, and let everything happen `shift` seconds later."""
        self._table, self._seed, self._yearly, self._shift = table, seed, yearly, shift
        outline = Random(f"{seed}/outline")
        self._crowded = outline.randrange(100, 240) * DAY + outline.randrange(14, 22) * 3600
        # Some of them are in the sandboxes of other services too.
        self._first_person = outline.randrange(1500)
        self._year = past // YEAR
        self._row: Row = {}
        self.history = History(self._stream())

    def _stream(self) -> Stream:
        for year in count(self._year):
            self._random = Random(f"{self._seed}/{year}")
            yield from stream(self._times(year), self._happen, first=year * self._yearly)

    def _times(self, year: int) -> list[int]:
        random, crowd = self._random, round(self._yearly * 0.15)
        burst = min(600, self._yearly // 20)
        closed = QUIET_DAYS | {self._crowded // DAY}
        times = seasonal(random, year * YEAR, self._yearly - crowd, closed)
        crowded = year * YEAR + self._crowded
        times += [crowded] * burst
        times += [crowded + int(random.random() * 3600) for _ in range(crowd - burst)]
        times = [self._shift + time for time in sorted(times)]
        for number in range(1, len(times)):
            if self._relation(number):
                times[number] = times[number - 1]
        return times

    @staticmethod
    def _relation(number: int) -> str:
        """How a message is like the one before it, by its number in the year."""
        return {11: "equal", 29: "retry", 41: "twin"}.get(number % 60, "")

    def _happen(self, number: int, time: int) -> None:
        random, relation = self._random.random, self._relation(number % self._yearly)
        row = dict(self._row)
        news = (time - self._shift) % YEAR == self._crowded
        if not relation:
            type = "MO" if random() < 0.3 and not news else "MT"
            row = {"type": type, "deliveryStatus": "Received", "number": None, "body": NEWS}
            row |= {"date": moment(time), "network": None}
        if relation in ("", "twin"):
            person = int(random() * max(10, self._yearly // 4))
            row |= {"number": self._number(person), "network": NETWORKS[person % len(NETWORKS)]}
            if person % 3 == 1:
                known = time + 3600 * (1 + person % 12)
                row["network"] = self.history.later(None, (known, row["network"]))
            if not relation and row["type"] == "MO":
                row["body"] = REPLIES[int(random() * len(REPLIES))]
            elif not relation and not news:
                text = BROADCASTS[(time - self._shift) // (14 * DAY) % len(BROADCASTS)]
                row["body"] = text.format(name=NAMES[person % len(NAMES)])
        if relation != "equal" and row["type"] == "MT":
            sent = time + 1 + int(random() * (30 if random() < 0.9 else 3600))
            end = sent + 1 + int(random() * (600 if random() < 0.6 else 2 * DAY - 7200))
            fate = "Delivered" if random() < 0.9 else "Undelivered"
            row["deliveryStatus"] = self.history.later("Queued", (sent, "Sent"), (end, fate))
        self._row = row
        self._table.add(number, row)

    def _number(self, person: int) -> str:
        area, line = divmod(self._first_person + person, 10_000)
        # Scattered by a factor that shares no divisor with ten thousand.
        number = f"{202 + area % 788}555{line * 7919 % 10_000:04d}"
        # As in the vendor's sample: most with the country code, some without.
        return number if person % 9 == 4 else f"1{number}"


SANDBOX = SandboxSpec(
    title="mGage",
    open=MGage,
    login="username sandbox@example.org, password sandbox-password",
    options={
        "messages": Option("how many in three years, of which one is served (default: 2000)", int),
        "order": Option(f"order of messages: {', '.join(ORDERS)} (default: the first)"),
    },
    damage=MGage.damage,
    describe=lambda account: f"programs {', '.join(map(str, account.programs))}; ",
)
