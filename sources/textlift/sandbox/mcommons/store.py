"""All rows as they are now: those of the world, and over them what tests have changed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from textlift.sandbox.mcommons.kinds import KINDS, complete, kind_named, normal, value_at
from textlift.sandbox.mcommons.rows import Rows
from textlift.sandbox.mcommons.world import World
from textlift.sandbox.mcommons.xml import Row

ORDERS = ("id", "updated_at", "-updated_at")
"""The orders in which profiles can be listed."""

_INDEXED = frozenset(("profiles", "subscribers"))
"""Kinds whose ids change only with the world's revision."""
_CACHED = 16


class Store:
    """Finds ids by kind, parent and window, and rows by id. Not thread-safe."""

    def __init__(self, world: World, rows: Rows, order: str) -> None:
        """`order` is that of profiles, one of `ORDERS`; everything else is listed by id."""
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        self._world = world
        self._rows = rows
        self._order = order
        self._changed: dict[str, dict[int, Row | None]] = {kind: {} for kind in KINDS}
        self._memberships: dict[int, dict[int, bool]] = {}
        self._revision = 0
        self._cache: dict[tuple[Any, ...], Sequence[int]] = {}

    # --- reading ---------------------------------------------------------------------------------

    def has(self, kind: str, id: int) -> bool:
        """Whether there is such a row."""
        try:
            self.row(kind, id)
        except KeyError:
            return False
        return True

    def row(self, kind: str, id: int) -> Row:
        """The row of that id, for reading only. Raises KeyError."""
        changed = self._changed[kind]
        row = changed[id] if id in changed else self._rows.row(kind, id)
        if row is None:
            raise KeyError(id)
        if kind == "groups" and id in self._memberships:
            row = {**row, "size": len(self.members(id))}
        return row

    def ids(
        self,
        kind: str,
        parent: int | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> Sequence[int]:
        """Ids of a kind, of one parent, in a window whose ends are both inclusive."""
        if kind == "broadcasts" or KINDS[kind].cursor is None:
            return self._find(kind, parent, since, until)
        now = self._world.now
        horizon = None if kind in _INDEXED else now if until is None else min(until, now)
        return self._cached(
            (kind, parent, since, until, horizon), lambda: self._find(kind, parent, since, until)
        )

    def members(
        self, group: int, since: int | None = None, until: int | None = None
    ) -> Sequence[int]:
        """Ids of a group's profiles, last changed in a window."""

        def find() -> Sequence[int]:
            members = set(self._rows.members(group))
            for profile, is_member in self._memberships.get(group, {}).items():
                (members.add if is_member else members.discard)(profile)
            return [id for id in self.ids("profiles", None, since, until) if id in members]

        return self._cached(("members", group, since, until), find)

    def _cached(self, what: tuple[Any, ...], find: Callable[[], Sequence[int]]) -> Sequence[int]:
        key = (*what, self._world.revision, self._revision)
        ids = self._cache.get(key)
        if ids is None:
            ids = find()
            if not isinstance(ids, range):
                ids = array("q", ids)
            while len(self._cache) >= _CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = ids
        return ids

    def profiles_with(self, phone_numbers: Sequence[str]) -> list[int]:
        """Ids of the profiles with one of those numbers, digits only."""
        wanted = set(phone_numbers)
        changed = self._changed["profiles"]
        found = [self._rows.profile_with(number) for number in wanted]
        ids = {id for id in found if id is not None and id not in changed}
        ids.update(id for id, row in changed.items() if row and row["phone_number"] in wanted)
        return sorted(ids)

    def _find(
        self, kind: str, parent: int | None, since: int | None, until: int | None
    ) -> Sequence[int]:
        by_update = kind == "profiles" and self._order != "id"
        changed = self._changed[kind]
        # In a window, be it since 1970, profiles come in the order of their updates.
        from_1970 = 0 if by_update and since is None else since
        ids: Sequence[int] = self._rows.ids(kind, parent, from_1970, until)
        if changed:
            ids = [id for id in ids if id not in changed]
            ids += [
                id
                for id, row in changed.items()
                if row is not None and self._matches(kind, row, parent, since, until)
            ]
        if by_update:
            ids = sorted(ids, key=self._last_change) if changed else list(ids)
            return ids[::-1] if self._order.startswith("-") else ids
        return ids if isinstance(ids, range) else sorted(ids)

    def _last_change(self, profile: int) -> tuple[int, int]:
        row = self._changed["profiles"].get(profile)
        return self._rows.updated(profile) if row is None else _cursor("profiles", row), profile

    def _matches(
        self, kind: str, row: Row, parent: int | None, since: int | None, until: int | None
    ) -> bool:
        if parent is not None and value_at(row, str(KINDS[kind].parent)) != parent:
            return False
        if since is None and until is None:
            return True
        second = _cursor(kind, row)
        return second >= 0 and (since or 0) <= second and (until is None or second <= until)

    # --- changing --------------------------------------------------------------------------------

    def put(self, kind: str, row: Row, now: datetime) -> None:
        """Insert a row or replace the one of the same id; what is missing is blank, times now."""
        declared = kind_named(kind)
        if not isinstance(row.get("id"), int):
            raise TypeError(f"a row of {kind} needs an int as its id: {row!r}")
        row = normal(kind, complete(kind, row))
        if declared.cursor is not None and row[declared.cursor] is None:
            row[declared.cursor] = now
        if kind == "profiles" and row["created_at"] is None:
            row["created_at"] = row["updated_at"]
        self._changed[kind][row["id"]] = row
        self._revision += 1

    def update(self, kind: str, id: int, changes: dict[str, Any], now: datetime) -> None:
        """Change some values of a row; `a__b` names a nested one."""
        kind_named(kind)
        try:
            row = deepcopy(self.row(kind, id))
        except KeyError:
            raise KeyError(f"{kind} has no row {id}") from None
        if kind == "profiles":
            row["updated_at"] = now
        for path, value in changes.items():
            *parents, key = path.split("__")
            place = row
            for parent in parents:
                if not isinstance(place.get(parent), dict):
                    place[parent] = {}
                place = place[parent]
            place[key] = value
        self._changed[kind][id] = normal(kind, row)
        self._revision += 1

    def delete(self, kind: str, id: int) -> None:
        """Take a row away."""
        kind_named(kind)
        if not self.has(kind, id):
            raise KeyError(f"{kind} has no row {id}")
        self._changed[kind][id] = None
        self._revision += 1

    def set_member(self, group: int, profile: int, is_member: bool) -> None:
        """Put a profile into a group, or take it out."""
        for kind, id in (("groups", group), ("profiles", profile)):
            if not self.has(kind, id):
                raise KeyError(f"{kind} has no row {id}")
        self._memberships.setdefault(group, {})[profile] = is_member
        self._revision += 1


def _cursor(kind: str, row: Row) -> int:
    """The time windows filter on, in seconds since 1970; -1 if there is none."""
    time = row[str(KINDS[kind].cursor)]
    return int(time.timestamp()) if isinstance(time, datetime) else -1
