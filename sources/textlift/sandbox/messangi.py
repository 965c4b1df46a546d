"""The REST API of Messangi, as the vendor's pages and recorded answers print it.

An instance has broadcasts, some of them still to come, the messages of these and others, and the
short codes of its users. All parameters are in the path, with a public key and a signature behind.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

from textlift.sandbox.clock import moment, seconds
from textlift.sandbox.faults import Answer, Damage, at_end_of, damaged, instead_of
from textlift.sandbox.server import Request, Response
from textlift.sandbox.service import Account, Failure, Option, Query, Route, SandboxSpec
from textlift.sandbox.tables import DAY, History, Row, Table, stream, times
from textlift.sandbox.xml import text

USERS: Mapping[str, tuple[str, ...]] = {
    "sandbox": ("98765", "12025550100"),
    "outreach": ("98765",),
    "nobody": (),
}
"""The short codes of each user."""
BEGINNING = seconds("2024-06-01")
"""When the first message was sent."""
ZONE = timezone(timedelta(hours=-4, minutes=-30))
"""The service's time zone."""
METHODS = ("broadcasts", "getBroadcasts", "getShortcodes", "tools/messageReport")
_RECORD = re.compile(rb"<(message|broadcast|shortcode)>.*?</\1>", re.DOTALL)


def envelope(method: str, result: str = "", status: str = "OK", said: str = "Completed") -> str:
    """The elements of an answer, without a root."""
    head = f"<input>{method}</input>\n<status>{status}</status>\n<description>{said}</description>"
    return f"{head}\n<result>\n{result}</result>\n" if result else f"{head}\n"


def _listing(name: str, rows: Iterable[Row], count: int | None = None) -> str:
    record = name.removesuffix("s")
    lines = [f"\t<{name}>\n"]
    lines += [f"\t\t<records>{count}</records>\n"] if count is not None else []
    for row in rows:
        fields = "".join(
            f"\t\t\t<{key}>{text(_printed(row, value))}</{key}>\n"
            for key, value in row.items()
            if value is not None and key[0] != "_"
        )
        lines.append(f"\t\t<{record}>\n{fields}\t\t</{record}>\n")
    return "".join([*lines, f"\t</{name}>\n"])


def _printed(row: Row, value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    fraction = row.get("_fraction")
    local = value.astimezone(ZONE).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{local}{f'.{fraction}' if fraction else ''}-04:30"


def _find(endpoint: str, body: bytes) -> tuple[int, int] | None:
    found = _RECORD.search(body)
    return found.span() if found else None


def _method(endpoint: str) -> str:
    """The method that a path calls."""
    path = endpoint.removeprefix("rest/api/")
    return next((name for name in METHODS if path.startswith(f"{name}/")), path)


def _stating(status: str) -> Any:
    """A fault: HTTP 200 with another status."""

    def make(request: Request, answer: Answer) -> Response:
        return Response(200, envelope(_method(request.endpoint), status=status).encode())

    return make


DAMAGE = Damage(
    failure=Response,
    is_endpoint=METHODS.__contains__,
    record=_find,
    between=b"\n",
    window=frozenset(),
    kinds={
        "bad-time": damaged(_find, instead_of(r"<(?:date|startDate)>([^<]*)", b"yesterday")),
        "broken": damaged(_find, instead_of(r"<text>[^<]*(</text>)", b"")),
        "control": damaged(_find, at_end_of(r"<text>([^<]*)", b"\x07")),
        "error": _stating("ERROR"),
        "bad-signature": _stating("BAD_SIGNATURE"),
        "no-list": _stating("OK"),
    },
    transient=("error", "no-list"),
    name=_method,
)
"""The faults of this service."""


def _broadcasts(account: Messangi, query: Query) -> Response:
    """Those that begin on some days of the service's time zone."""
    since, until = _day(account, query, "initialDate"), _day(account, query, "finalDate")
    end = until and until + timedelta(days=1, seconds=-1)
    wanted = query.path["type"]
    rows = account.select("broadcasts", None, since, end)
    rows = [row for row in rows if wanted in ("null", row["_type"])]
    return account.respond("getBroadcasts", _listing("broadcasts", rows))


def _former(account: Messangi, query: Query) -> Response:
    if not account.former:
        raise Failure(account.failure(404))
    return _broadcasts(account, query)


def _present(account: Messangi, query: Query) -> Response:
    if account.former:
        raise Failure(account.failure(404))
    return _broadcasts(account, query)


def _day(account: Messangi, query: Query, name: str) -> datetime | None:
    value = query.path[name]
    if value == "null":
        return None
    try:
        return datetime.strptime(value, "%d-%m-%Y").replace(tzinfo=ZONE)
    except ValueError:
        raise account.invalid(name, value) from None


def _report(account: Messangi, query: Query) -> Response:
    """A page of the messages between two times in milliseconds."""
    since, until = query.number("initialDate"), query.number("finalDate")
    page = (query.number("page") or 0) - account.first_page
    wanted = query.number("resultsPerPage", least=1)
    if since is None or until is None or wanted is None or page < 0:
        raise account.invalid("page", query.path["page"])
    limit = min(wanted, account.page_rows or wanted)
    found = account.select("messages", None, moment(since // 1000), moment(until // 1000))
    rows = [row for row in found if since <= _milliseconds(row) <= until]
    shown = rows[page * limit : (page + 1) * limit]
    return account.respond("messageReport", _listing("messages", shown, len(rows)))


def _milliseconds(row: Row) -> int:
    return int(row["date"].timestamp()) * 1000 + int(f"{row['_fraction']}000"[:3])


def _shortcodes(account: Messangi, query: Query) -> Response:
    codes = account.users.get(query.path["userName"])
    if codes is None:
        raise account.invalid("userName", "unknown user")
    return account.respond(
        "getShortcodes", _listing("shortcodes", [{"sc": code} for code in codes])
    )


_KEYS = "{publicKey}/{signature}"
_LIST = "{instanceId}/{type}/{initialDate}/{finalDate}/{text}"
ROUTES: dict[str, Route] = {
    f"rest/api/broadcasts/{_LIST}/{_KEYS}": _present,
    f"rest/api/getBroadcasts/{_LIST}/{_KEYS}": _former,
    f"rest/api/getShortcodes/{{instanceId}}/{{userName}}/{_KEYS}": _shortcodes,
    "rest/api/tools/messageReport/{instanceId}/{initialDate}/{finalDate}/{page}/{resultsPerPage}/"
    f"{{parameters}}/{_KEYS}": _report,
}


class Messangi(Account):
    """Speaks the REST API of Messangi about an invented instance.

    What was sent is a function of `seed`, `messages` and the clock; `put`, `update` and `delete`
    change it.
    """

    prefix = "/mmc/"
    damage = DAMAGE
    routes = ROUTES

    def __init__(
        self,
        seed: int = 1,
        messages: int = 600,
        now: str | datetime | None = None,
        instance_id: str = "7",
        public_key: str = "sandbox-public-key",
        private_key: str = "sandbox-private-key",
        rooted: bool = False,
        former: bool = False,
        first_page: int = 1,
        page_rows: int | None = None,
        order: str = "date",
        empty: bool = False,
    ) -> None:
        """Open an instance.

        messages: how many there are in the first year; later years have half as many.
        now: where the clock stands, until `advance` moves it; None for the real time.
        instance_id, public_key, private_key: what a call has to name and to be signed with.
        rooted: print one root, `response`, as clients have recorded it; else none, as documented.
        former: have `getBroadcasts`, as older platforms, and not `broadcasts`.
        first_page: the number of the first page of the report.
        page_rows: most messages on a page, whatever is asked for.
        order: how messages are listed: by `date` or `-date`.
        empty: leave out all broadcasts and messages.
        """
        super().__init__(now, [])
        self.instance_id, self.rooted, self.former = instance_id, rooted, former
        self.first_page, self.page_rows = first_page, page_rows
        self.users: dict[str, tuple[str, ...]] = dict(USERS)
        self._public_key, self._private_key = public_key, private_key
        self._puts = count(10**12)  # behind all that is invented
        self.tables = {
            "broadcasts": Table(dict.fromkeys(_BROADCAST), cursor="startDate", order="startDate"),
            "messages": Table(
                {**dict.fromkeys(_MESSAGE), "type": "SMS", "_fraction": ""},
                cursor="date",
                order=order,
            ),
        }
        if not empty:
            invention = _Invention(self.tables, seed, messages)
            self.histories = {name: [invention.history] for name in self.tables}

    def failure(self, status: int) -> Response:
        """An answer without a body."""
        return Response(status)

    def invalid(self, name: str, value: str) -> Failure:
        """HTTP 200 with `ERROR`."""
        said = f"Invalid {name}: {value}"
        return Failure(self.respond("error", status="ERROR", said=said))

    def respond(self, method: str, result: str = "", **more: str) -> Response:
        """An answer, with a root if the instance prints one."""
        body = envelope(method, result, **more)
        body = f"<response>{body}</response>" if self.rooted else body
        return Response(200, body.encode(), {"Content-Type": "application/xml;charset=UTF-8"})

    def admit(self, request: Request, path: Mapping[str, str]) -> None:
        """Raise HTTP 200 with `BAD_SIGNATURE` or `ERROR` if the call is not signed well."""
        *values, public_key, signature = path.values()
        key, signed = self._private_key.encode(), "/".join(values).encode()
        right = hmac.new(key, signed, hashlib.sha256).hexdigest()
        if (public_key, signature) != (self._public_key, right):
            said = f"The signature of {public_key} does not fit {request.path}"
            method = _method(request.endpoint)
            raise Failure(self.respond(method, status="BAD_SIGNATURE", said=said))
        if path["instanceId"] != self.instance_id:
            raise self.invalid("instanceId", "unknown instance")

    # --- the truth and its changes ---------------------------------------------------------------

    def rows(self, name: str) -> dict[int, Row]:
        """The broadcasts or the messages as they are now, by key. Raises KeyError."""
        with self.lock:
            return dict(self.table(name).listed(self.second()))

    def put(self, name: str, row: Row) -> int:
        """Add a broadcast or a message, and return its key. A time can be ISO-8601 text."""
        with self.lock:
            key = next(self._puts)
            cursor = str(self.tables[name].cursor)
            if cursor in row:
                row = {**row, cursor: moment(seconds(row[cursor]))}
            self.tables[name].put(key, {"id": str(key), **row}, self.now())
            return key


# --- the invented broadcasts and messages --------------------------------------------------------

_BROADCAST = (
    *("id", "text", "startDate", "endDate", "expectedMessages", "sentMessages"),
    *("status", "statusDescription", "shortcode", "_type"),
)
_MESSAGE = (
    *("blastId", "id", "type", "carrier", "from", "to", "subject", "text", "status"),
    *("statusDescription", "encoding", "date", "timezone", "clientId", "appName", "platform"),
)
TEXTS = (
    "Hi! Can you make it on Saturday? Reply YES or NO. 🙌",
    "Polls close at 8 pm.\nBring ID & a friend.",
    'Rent due in < 5 days? http://lil.example.org/rent?a=1&b="2"',
    "Recordatorio: mañana a las 6 pm, calle Ocho. ¡Nos vemos! 👋🏽",
    " Doors open at 6. ",
)
CARRIERS = ("Movistar", "Digitel", "T-Mobile", None)


class _Invention:
    """A broadcast every nine days, and messages."""

    def __init__(self, tables: Mapping[str, Table], seed: int, messages: int) -> None:
        self._tables, self._seed = tables, seed
        self._begun: list[tuple[int, str]] = []
        self._random = Random(f"{seed}/messages")
        self.history = History(
            stream((BEGINNING + 9 * DAY * n for n in count()), self._broadcast, first=1),
            stream(
                times(f"{seed}/times", BEGINNING, messages, messages / 2), self._message, first=1
            ),
        )

    def _broadcast(self, number: int, time: int) -> None:
        """Scheduled three days before it begins."""
        random, later = Random(f"{self._seed}/{number}"), self.history.later
        begin, expected = time + 3 * DAY, random.randrange(50, 500)
        end = begin + random.randrange(600, 7200)
        id = str(-random.getrandbits(62) if number % 2 else number)
        self._begun.append((begin, id))
        row: Row = {
            "id": id,
            "text": TEXTS[number % len(TEXTS)],
            "startDate": moment(begin),
            "endDate": later(None, (end, moment(end))),
            "expectedMessages": expected,
            "sentMessages": later(
                0, (begin, expected // 3), (end, expected - 5), (end + 9 * DAY, expected)
            ),
            "status": later(None, (begin, "1"), (end, "2")),
            "statusDescription": later("SCHEDULED", (begin, "SENDING"), (end, "DONE")),
            "shortcode": "98765",
            "_type": str(1 + number % 3),
        }
        self._tables["broadcasts"].add(number, row)

    def _message(self, number: int, time: int) -> None:
        random, later = self._random, self.history.later
        id = UUID(int=random.getrandbits(128)) if number % 2 else random.getrandbits(64) - 2**63
        person = int(random.random() * 5000)
        carried, ended = time + 5, time + 60 + int(random.random() * 2 * DAY)
        end = ("BLACKLISTED", "Blacklisted") if number % 11 == 0 else ("FINISHED", "Finished")
        is_push = number % 13 == 0
        digits = f"{random.randrange(10**9):09d}"
        begun = [id for begin, id in self._begun if begin <= time]
        row: Row = {
            "blastId": begun[-1] if begun and number % 4 else None,
            "id": str(id),
            "type": "PUSH" if is_push else "SMS",
            "carrier": None if is_push else CARRIERS[person % len(CARRIERS)],
            "from": "Inbox" if is_push else "98765",
            "to": f"1202555{person:04d}",
            "subject": "News" if is_push else None,
            "text": TEXTS[number % len(TEXTS)],
            "status": later("QUEUE", (carried, "SENT_TO_CARRIER"), (ended, end[0])),
            "statusDescription": later("Queued", (carried, "Sent to Carrier"), (ended, end[1])),
            "encoding": None if is_push else "UTF-8",
            "date": moment(time),
            "timezone": "America/Caracas",
            "clientId": f"client{person}",
            "appName": "Inbox" if is_push else None,
            "platform": "IOS" if is_push else None,
            "_fraction": digits[: (3, 9, 0, 3)[number % 4]],
        }
        self._tables["messages"].add(number, row)


SANDBOX = SandboxSpec(
    title="Messangi",
    open=Messangi,
    login="public key sandbox-public-key, private key sandbox-private-key",
    options={
        "messages": Option("how many in the first year (default: 600)", int),
        "rooted": Option("1 to print answers with the root <response>", int),
        "former": Option("1 to have getBroadcasts and not broadcasts, as older platforms", int),
        "first_page": Option("number of the first page (default: 1)", int),
        "page_rows": Option("most messages on a page, whatever is asked for", int),
    },
    damage=Messangi.damage,
    describe=lambda account: f"instance {account.instance_id}; ",
)
