"""The service: who may ask, for what, where the clock stands, and what tests can change."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from textlift.sandbox.clock import Clock, seconds
from textlift.sandbox.mgage.answers import PATH, answer, denied, failure, unknown_program
from textlift.sandbox.mgage.damage import DAMAGE
from textlift.sandbox.mgage.history import YEAR, History, Message
from textlift.sandbox.mgage.program import Program
from textlift.sandbox.mgage.words import PROGRAMS
from textlift.sandbox.server import Request, Response

ORDERS = ("date", "-date")
"""The orders in which messages can be listed."""
LINKS = ("absolute", "relative", "bare")
"""The ways to print the URL of the next page."""
PROGRAM_IDS = (121811, 121812, 121813)

_ID = re.compile(r"[0-9]{1,18}")
_COUNT = re.compile(r"0*[1-9][0-9]{0,8}")
_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})")
_DEFAULT_SIZE, _LARGEST_SIZE = 50, 500


class _BadRequest(Exception):
    """A call that the service answers with 400 and the reason."""


class MGage:
    """Speaks the message export of mGage about invented programs.

    What they sent and received is a pure function of `seed`, `messages`, `programs` and the clock;
    `put` and `update` lay changes over it. Thread-safe.
    """

    prefix = "/api/"
    damage = DAMAGE

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

        messages: how many there are in three years, of all programs together. A year of them is
            served. The first program has most, each further one fewer.
        now: where the clock stands, until `advance` moves it; None for the real time.
        programs: their ids; None for three.
        username, password: for HTTP Basic.
        order: how messages are listed: by `date` or `-date`.
        links: how nextPageUrl is printed: `absolute`, `relative` (without scheme and host), or
            `bare`, with nothing but the page, as in the vendor's sample of a call with filters.
        refuses_old: answer 400 to a startDate before the year that is served, instead of cutting it.
        empty: leave out everything; `messages` and `programs` do not matter then.
        as_of: what has happened is what had by this time, moved to end now, so that it is the same
            whatever the time is; None for now.
        """
        if messages < 0:
            raise ValueError(f"there cannot be {messages} messages")
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        if links not in LINKS:
            raise ValueError(f"no links {links!r}; there are {', '.join(LINKS)}")
        self.general_errors: list[str] = []
        """Printed in the meta of each answer that has data, until they are taken out again."""
        self._lock = threading.RLock()
        self._clock = Clock(now)
        self._shift = 0 if as_of is None else self._second() - seconds(as_of)
        self._basic = f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
        self._descending = order == "-date"
        self._links = links
        self._refuses_old = refuses_old
        self._seed = seed
        self._programs: dict[int, Program] = {}
        ids = [] if empty else list(PROGRAM_IDS if programs is None else programs)
        shares = [1 / (place + 1) ** 2 for place in range(len(ids))]
        for place, id in enumerate(ids):
            yearly = round(messages / 3 * shares[place] / sum(shares))
            self._open(id, yearly, PROGRAMS[place % len(PROGRAMS)])

    # --- the clock -------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time by the service's clock, in UTC and whole seconds."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Move a clock that was set by `now=` forward."""
        with self._lock:
            self._clock.advance(seconds)

    def _second(self) -> int:
        return int(self.now().timestamp())

    # --- calls -----------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Answer one call."""
        match = PATH.fullmatch(request.endpoint)
        if match is None or not request.path.startswith(self.prefix):
            return failure(404, "Resource not found")
        if request.method != "GET":
            return failure(405, "Method not allowed", Allow="GET")
        if request.headers.get("authorization") != self._basic:
            return denied()
        try:
            with self._lock:
                return self._page(match[1], request)
        except _BadRequest as error:
            return failure(400, str(error))

    def _page(self, id: str, request: Request) -> Response:
        if not _ID.fullmatch(id):
            raise _BadRequest(f"Invalid program id: {id}")
        program = self._programs.get(int(id))
        now = self._second()
        params = request.params
        type = params.get("messageType")
        if type not in (None, "MO", "MT"):
            raise _BadRequest(f"Invalid messageType: {type}")
        since, until = _time(params, "startDate"), _time(params, "endDate")
        if since is not None and until is not None and since > until:
            raise _BadRequest("startDate is after endDate")
        size = min(_count(params, "pageSize", _DEFAULT_SIZE), _LARGEST_SIZE)
        page = _count(params, "page", 1)
        if program is None:
            return unknown_program(id)
        served_since = now - YEAR
        if self._refuses_old and since is not None and since < served_since:
            raise _BadRequest("startDate is more than a year ago")
        references = program.select(type, max(since or 0, served_since), until, now)
        first = (page - 1) * size
        messages = [
            program.message(reference, now) for reference in references[first : first + size]
        ]
        data = {**program.info, "messages": [_printed(message) for message in messages]}
        next_page = self._url(request, page + 1) if first + size < len(references) else None
        return answer(200, self.general_errors, next_page, data)

    def _url(self, request: Request, page: int) -> str:
        bare = self._links == "bare"
        query = [pair for pair in request.query if pair[0] != "page" and not bare]
        host = request.headers.get("host")
        root = "" if self._links == "relative" or not host else f"http://{host}"
        return f"{root}{request.path}?{urlencode([*query, ('page', page)])}"

    # --- the truth -------------------------------------------------------------------------------

    @property
    def programs(self) -> dict[int, dict[str, str]]:
        """The campaignName, programName and programType of each program, by its id."""
        with self._lock:
            return {id: dict(program.info) for id, program in self._programs.items()}

    def rows(self, program_id: int) -> list[Message]:
        """A program's messages of the last three years as they are now, in the order of listing.

        Messages that were put or updated stay, however old they are. Raises KeyError.
        """
        with self._lock:
            return self._program(program_id).rows(self._second())

    def served(self, program_id: int) -> list[Message]:
        """Those of `rows` that are young enough for the service to list."""
        with self._lock:
            program, now = self._program(program_id), self._second()
            references = program.select(None, now - YEAR, None, now)
            return [program.message(reference, now) for reference in references]

    # --- changes ---------------------------------------------------------------------------------

    def put(self, program_id: int, row: Message) -> None:
        """Add a message, behind those of the same second; equal ones stay separate.

        Keys the row lacks are filled in: `type` with MO, `date` with now. The date can be ISO-8601
        text. Keys nobody foresaw are printed too.
        """
        with self._lock:
            self._program(program_id).put(row, self._second())

    def update(
        self, program_id: int, which: int | Callable[[Message], bool], **changes: Any
    ) -> int:
        """Change some values of messages. Returns of how many.

        which: a place in `rows`, or what is true of the messages that are meant.
        Raises IndexError or LookupError if there is none.
        """
        with self._lock:
            return self._program(program_id).update(which, changes, self._second())

    def add_program(
        self,
        id: int,
        campaignName: str = "Default Campaign",
        programName: str = "Program Name",
        programType: str = "Text to Join",
    ) -> None:
        """Open a program without messages."""
        with self._lock:
            if id in self._programs:
                raise ValueError(f"there is a program {id} already")
            self._open(id, 0, (campaignName, programName, programType))

    def delete_program(self, id: int) -> None:
        """Take a program away; calls for it get a 404. Raises KeyError."""
        with self._lock:
            self._program(id)
            del self._programs[id]

    def _open(self, id: int, yearly: int, names: tuple[str, str, str]) -> None:
        info = dict(zip(("campaignName", "programName", "programType"), names, strict=True))
        history = History(self._seed, id, yearly, self._shift)
        self._programs[id] = Program(info, history, self._descending)

    def _program(self, id: int) -> Program:
        try:
            return self._programs[id]
        except KeyError:
            raise KeyError(f"no program {id}") from None


def _time(params: dict[str, str], name: str) -> int | None:
    """A time in GMT, in seconds since 1970; None if absent. An offset is refused, as documented."""
    text = params.get(name)
    if text is None:
        return None
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        year, month, day, hour, minute, second = map(int, match.groups())
        time = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        raise _BadRequest(f"Invalid {name}: {text}; expected YYYY-MM-DDTHH:MM:SS") from None
    return int(time.timestamp())


def _count(params: dict[str, str], name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not _COUNT.fullmatch(text):
        raise _BadRequest(f"Invalid {name}: {text}")
    return int(text)


def _printed(message: Message) -> Message:
    return {**message, "date": f"{message['date'].replace(tzinfo=None).isoformat()}.00"}
