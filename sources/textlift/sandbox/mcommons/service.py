"""The service: who may ask, where the clock stands, and what tests can change."""

from __future__ import annotations

import threading
from base64 import b64encode
from datetime import datetime
from typing import Any

from textlift.sandbox.clock import Clock, seconds
from textlift.sandbox.mcommons.answers import denied, document, refusal
from textlift.sandbox.mcommons.damage import DAMAGE
from textlift.sandbox.mcommons.endpoints import ENDPOINTS, WITHOUT_ENVELOPE, Context
from textlift.sandbox.mcommons.kinds import kind_named
from textlift.sandbox.mcommons.parameters import Query, ServiceError
from textlift.sandbox.mcommons.rows import Rows
from textlift.sandbox.mcommons.store import Store
from textlift.sandbox.mcommons.world import World
from textlift.sandbox.mcommons.xml import Row
from textlift.sandbox.page import page
from textlift.sandbox.server import Request, Response

_KIND_OF = {
    "messages": "incoming_messages",
    "sent_messages": "outgoing_messages",
    "campaign_subscribers": "subscribers",
}
_PARENT_PARAMETER = {
    "calls": "mconnect_id",
    "clicks": "url_id",
    "mdata_queries": "mdata_id",
    "campaign_subscribers": "campaign_id",
}


class MobileCommons:
    """Speaks the Mobile Commons API about an invented account.

    The account is a pure function of `seed`, `profiles`, `start` and the clock; `put`, `update`
    and `delete` lay changes over it. Thread-safe.
    """

    prefix = "/api/"
    damage = DAMAGE

    def __init__(
        self,
        seed: int = 1,
        profiles: int = 200,
        now: str | datetime | None = None,
        start: str | datetime = "2024-01-01T00:00:00Z",
        order: str = "id",
        username: str = "sandbox@example.org",
        password: str = "sandbox-password",
        token: str = "sandbox-token",
        company: str = "COSANDBOX00000000000000000000000001",
        advocacy: bool = True,
        empty: bool = False,
        concurrent_calls: int = 160,
        clicks_per_page: int = 500,
        columns: int | None = None,
    ) -> None:
        """Open an account.

        profiles: how many there are at the end of the first year; `world` says what goes with them.
        now: where the clock stands, until `advance` moves it; None for the real time.
        start: when the account begins. Nothing happened before.
        order: how profiles are listed: by `id`, `updated_at` or `-updated_at`.
        username, password: for HTTP Basic; token: for Bearer; company: the key of the one company.
        advocacy: whether profiles carry `last_saved_districts`.
        empty: leave out everything; `profiles` does not matter then.
        concurrent_calls: calls in progress beyond this number are refused with error 27.
        clicks_per_page: the page size of `clicks`, which takes no limit.
        columns: how many custom columns there are at all times; None for 4 at the start and one
            more every hundred days.
        """
        if profiles < 0:
            raise ValueError(f"there cannot be {profiles} profiles")
        if columns is not None and columns < 1:
            raise ValueError(f"there cannot be {columns} custom columns")
        self._lock = threading.RLock()
        self._clock = Clock(now)
        self._basic = f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
        self._bearer = f"Bearer {token}"
        self._company = company
        self._concurrent_calls = concurrent_calls
        self._world = World(seed, 0 if empty else profiles, seconds(start), columns)
        rows = Rows(self._world, advocacy=advocacy, empty=empty)
        self._store = Store(self._world, rows, order)
        self._context = Context(self._store, rows, clicks_per_page)
        self._catch_up()

    # --- the clock -------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time by the service's clock, in UTC and whole seconds."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Move a clock that was set by `now=` forward."""
        with self._lock:
            self._clock.advance(seconds)
            self._catch_up()

    def _catch_up(self) -> None:
        self._world.catch_up(int(self.now().timestamp()))

    # --- calls -----------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Answer one call."""
        endpoint = ENDPOINTS.get(request.endpoint)
        if endpoint is None or not request.path.startswith(self.prefix):
            return page(404, "Page not found", "The page you were looking for doesn't exist.")
        if request.method != "GET":
            return page(405, "Method not allowed", "The sandbox only answers GET.", Allow="GET")
        if request.headers.get("authorization") not in (self._basic, self._bearer):
            return denied()
        query = Query(request.query)
        try:
            if request.in_progress > self._concurrent_calls:
                raise ServiceError(27)
            if query.text("company") not in (None, self._company):
                raise ServiceError(4)
            with self._lock:
                self._catch_up()
                lines = endpoint(self._context, query)
        except ServiceError as error:
            return refusal(error)
        if request.endpoint not in WITHOUT_ENVELOPE:
            lines = ['<response success="true">', *lines, "</response>"]
        return document(lines)

    # --- the truth -------------------------------------------------------------------------------

    def rows(self, kind: str) -> list[Row]:
        """All rows of a kind as they are now, by id, for reading only. `kinds` lists the kinds."""
        kind_named(kind)
        with self._lock:
            self._catch_up()
            return [self._store.row(kind, id) for id in sorted(self._store.ids(kind))]

    def truth(self, endpoint: str, **parent: int) -> list[Row]:
        """All rows that an endpoint would list, were there no windows and no pages, by id.

        The parent is given by the parameter that names it: `truth("calls", mconnect_id=10)`.
        Without it come the rows of all parents, except for `group_members`, which needs it.
        """
        with self._lock:
            self._catch_up()
            if endpoint == "group_members":
                members = sorted(self._store.members(parent["group_id"]))
                return [self._store.row("profiles", id) for id in members]
            kind = _KIND_OF.get(endpoint, endpoint)
            kind_named(kind)
            parameter = _PARENT_PARAMETER.get(endpoint)
            unknown = set(parent) - {parameter}
            if unknown:
                raise TypeError(f"{endpoint} has no parent {', '.join(sorted(unknown))}")
            ids = self._store.ids(kind, parent.get(str(parameter)))
            return [self._store.row(kind, id) for id in sorted(ids)]

    # --- changes ---------------------------------------------------------------------------------

    def put(self, kind: str, row: Row) -> None:
        """Insert a row, or replace the one of the same id.

        Keys the row lacks are filled in: blank, its time with now. Times can be ISO-8601 text.
        Keys nobody foresaw are printed as elements, those that begin with `@` as attributes.
        """
        with self._lock:
            self._store.put(kind, row, self.now())

    def update(self, kind: str, id: int, **changes: Any) -> None:
        """Change some values of a row; `address__city="X"` reaches into a nested one.

        A profile's updated_at becomes now, unless it is among the changes.
        """
        with self._lock:
            self._catch_up()
            self._store.update(kind, id, changes, self.now())

    def delete(self, kind: str, id: int) -> None:
        """Take a row away; calls that name it get its error id. Nothing else goes with it."""
        with self._lock:
            self._catch_up()
            self._store.delete(kind, id)

    def add_member(self, group_id: int, profile_id: int) -> None:
        """Put a profile into a group."""
        with self._lock:
            self._catch_up()
            self._store.set_member(group_id, profile_id, True)

    def remove_member(self, group_id: int, profile_id: int) -> None:
        """Take a profile out of a group."""
        with self._lock:
            self._catch_up()
            self._store.set_member(group_id, profile_id, False)
