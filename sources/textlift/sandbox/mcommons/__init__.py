"""The Mobile Commons (Upland) API, as the vendor documents it.

`rows` declares the tables and how their rows are printed, `routes` the calls, and `faults` what can
go wrong. `account` invents what happens, from `samples.json`.
"""

from __future__ import annotations

from datetime import datetime

from textlift.sandbox.clock import seconds
from textlift.sandbox.mcommons import rows as shapes
from textlift.sandbox.mcommons.account import Invention
from textlift.sandbox.mcommons.answers import ERRORS, INVALID, error, failure
from textlift.sandbox.mcommons.faults import DAMAGE
from textlift.sandbox.mcommons.routes import LISTS, ROUTES
from textlift.sandbox.server import Response
from textlift.sandbox.service import Account, Failure, Query, basic
from textlift.sandbox.tables import Row

__all__ = ["ERRORS", "LISTS", "ORDERS", "ROUTES", "MobileCommons"]

ORDERS = ("id", "updated_at", "-updated_at")
"""The orders in which profiles can be listed."""


class MobileCommons(Account):
    """Speaks the Mobile Commons API about an invented account.

    The account is a function of `seed`, `profiles`, `start` and the clock. `put`, `update` and
    `delete` change it: a row that they touch stays as it is, whatever the clock does.
    """

    damage = DAMAGE
    routes = ROUTES

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
        empty: bool = False,
        concurrent_calls: int = 160,
        clicks_per_page: int = 500,
        columns: int | None = None,
    ) -> None:
        """Open an account.

        profiles: how many there are at the end of the first year; all else is in proportion.
        now: where the clock stands, until `advance` moves it; None for the real time.
        start: when the account begins.
        order: how profiles are listed: by `id`, `updated_at` or `-updated_at`.
        username, password: for HTTP Basic; token: for Bearer; company: the key of the one company.
        empty: leave out everything, also campaigns and groups.
        concurrent_calls: calls in progress beyond this number get error 27.
        clicks_per_page: the page size of `clicks`, which takes no limit.
        columns: how many custom columns there are at all times; None for 4 at the start and one
            more every hundred days.
        """
        if profiles < 0:
            raise ValueError(f"there cannot be {profiles} profiles")
        if columns is not None and columns < 1:
            raise ValueError(f"there cannot be {columns} custom columns")
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        super().__init__(now, (basic(username, password), f"Bearer {token}"), concurrent_calls)
        self.clicks_per_page = clicks_per_page
        self._company = company
        self.tables = shapes.tables(order)
        self._members: dict[int, set[int]] = {}
        if not empty:
            invention = Invention(
                self.tables, self._members, seed, profiles, seconds(start), columns
            )
            self.histories = invention.histories

    def failure(self, status: int) -> Response:
        """An HTML page."""
        return failure(status)

    def invalid(self, name: str, value: str) -> Failure:
        """The error id for a parameter."""
        return Failure(error(INVALID.get(name, 16)))

    def limited(self) -> Failure:
        """Error 27."""
        return Failure(error(27))

    def check(self, query: Query) -> None:
        """Every call can name the company."""
        if query.text("company") not in (None, self._company):
            raise Failure(error(4))

    # --- the truth -------------------------------------------------------------------------------

    def members(self, group: int | None) -> set[int]:
        """The ids of a group's profiles; some of them can have been deleted."""
        with self.lock:
            self.table("groups")
            return self._members.get(group or 0, set())

    def rows(self, kind: str) -> list[Row]:
        """All rows of a table as they are now, by id, for reading only."""
        with self.lock:
            return sorted(self.select(kind), key=lambda row: int(row["id"]))

    def truth(self, endpoint: str, **parent: int) -> list[Row]:
        """All rows that an endpoint lists, without windows and pages, by id.

        The parent is given by the parameter that names it: `truth("calls", mconnect_id=10)`.
        Without it, the rows of all parents are returned, except for `group_members`.
        """
        if endpoint == "group_members":
            members = self.members(parent["group_id"])
            return [row for row in self.rows("profiles") if row["id"] in members]
        table = LISTS[endpoint].table
        key = str(self.tables[table].parent).replace("tinyurl_id", "url_id")
        unknown = set(parent) - {key}
        if unknown:
            raise TypeError(f"{endpoint} has no parent {', '.join(sorted(unknown))}")
        with self.lock:
            rows = self.select(table, parent.get(key))
            return sorted(rows, key=lambda row: int(row["id"]))

    # --- changes ---------------------------------------------------------------------------------

    def put(self, kind: str, row: Row) -> None:
        """Insert a row, or replace the one with its id.

        A missing key is blank, a missing cursor is now. A time can be ISO-8601 text. A key that
        nobody declared is printed as an element, and with `@` in front as an attribute.
        """
        with self.lock:
            table = self.table(kind)
            if not isinstance(row.get("id"), int):
                raise TypeError(f"a row of {kind} needs an int as its id: {row!r}")
            if kind == "profiles" and row.get("created_at") is None:
                row = {**row, "created_at": row.get("updated_at") or self.now()}
            table.put(row["id"], row, self.now())

    def add_member(self, group_id: int, profile_id: int) -> None:
        """Put a profile into a group."""
        self._set_member(group_id, profile_id, True)

    def remove_member(self, group_id: int, profile_id: int) -> None:
        """Take a profile out of a group."""
        self._set_member(group_id, profile_id, False)

    def _set_member(self, group: int, profile: int, member: bool) -> None:
        with self.lock:
            groups = self._existing("groups", group)
            self._existing("profiles", profile)
            members = self._members.setdefault(group, set())
            (members.add if member else members.discard)(profile)
            size = len([id for id in members if self.get("profiles", id)])
            groups.update(group, {"size": size}, self.now())
