"""Tables of rows, and the history that fills them.

A row is a dict of str, int, float, bool, datetime (aware, UTC, whole seconds), None, and nested
dicts and lists of these. A value that changes by itself as time passes is a `Later`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache, partial
from heapq import heappop, heappush, merge
from itertools import accumulate, chain, count
from operator import itemgetter
from random import Random
from typing import Any

from textlift.sandbox.clock import moment, seconds

Row = dict[str, Any]

DAY = 86_400
YEAR = 365 * DAY
_REMEMBERED = 64
"""How many answers of `Table.select` are kept."""
LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Later:
    """A value that changes at known times, each in seconds since 1970, ascending."""

    first: Any
    steps: tuple[tuple[int, Any], ...]

    def at(self, now: int) -> Any:
        """The value at a time."""
        value = self.first
        for time, later in self.steps:
            if time <= now:
                value = later
        return value


class Table:
    """Rows by key. `put`, `update` and `delete` are for tests; `add` and `change` for histories.

    A history leaves alone what a test has put, updated or deleted. Not thread-safe.
    """

    def __init__(
        self,
        blank: Mapping[str, Any],
        *,
        cursor: str | None = None,
        parent: str | None = None,
        order: str = "",
        updated: str = "",
    ) -> None:
        """Declare a table.

        blank: a row without values, its keys in the order in which they are printed.
        cursor: the key of the time that windows look at.
        parent: the key of the parent's id, nested keys joined by `__`.
        order: the key that rows are listed by, with a `-` in front for descending; equal ones, and
            by default all, by their keys in the table.
        updated: the key of the time that becomes now in each `update`.
        """
        self.blank, self.cursor, self.parent = blank, cursor, parent
        self._updated = updated
        self._order = order
        self.rows: dict[int, Row] = {}
        """By their keys, with `Later` values as they are, for reading only."""
        self._touched: set[int] = set()
        self._changing: set[int] = set()
        """Keys of the rows that hold a `Later`."""
        self._now = 0
        self._listed: dict[int, Row] | None = None
        self._selected: dict[tuple[Any, ...], list[Row]] = {}

    # --- reading ---------------------------------------------------------------------------------

    def listed(self, now: int) -> dict[int, Row]:
        """All rows at a time by their keys, in the order of listing, for reading only."""
        if self._listed is None or (self._changing and now != self._now):
            self._now, self._selected = now, {}
            changing = {key: _at(self.rows[key], now) for key in self._changing}
            rows = sorted({**self.rows, **changing}.items())
            if self._order:
                key = self._order.removeprefix("-")
                rows.sort(key=lambda item: _time(item[1][key]))
                if self._order[0] == "-":
                    rows.reverse()
            self._listed = dict(rows)
        return self._listed

    def get(self, key: int | None, now: int) -> Row | None:
        """The row of a key at a time, for reading only; None if there is none."""
        row = None if key is None else self.rows.get(key)
        return _at(row, now) if row is not None and key in self._changing else row

    def select(
        self,
        now: int,
        parent: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Row]:
        """The rows of a parent in a window, both ends inclusive, in the order of listing."""
        rows = self.listed(now).values()
        key = (parent, since, until)
        found = self._selected.get(key)
        if found is None:
            found = [row for row in rows if self._matches(row, parent, since, until)]
            if len(self._selected) >= _REMEMBERED:
                self._selected.clear()
            self._selected[key] = found
        return found

    def _matches(
        self, row: Row, parent: int | None, since: datetime | None, until: datetime | None
    ) -> bool:
        if parent is not None and self.parent and value_at(row, self.parent) != parent:
            return False
        if since is None and until is None:
            return True
        time = row[str(self.cursor)]
        return (
            isinstance(time, datetime)
            and (since is None or since <= time)
            and (until is None or time <= until)
        )

    # --- histories -------------------------------------------------------------------------------

    def own(self, key: int) -> Row | None:
        """A row that can be changed, its `Later` values as they are; None if there is none."""
        return None if key in self._touched else self.rows.get(key)

    def add(self, key: int, row: Row) -> None:
        """Insert a row."""
        if key not in self._touched:
            self._store(key, row)

    def change(self, key: int, **values: Any) -> None:
        """Change values of a row, if it is still there."""
        if key in self.rows and key not in self._touched:
            self._store(key, {**self.rows[key], **values})

    def remove(self, key: int) -> None:
        """Remove a row, if it is still there."""
        if key in self.rows and key not in self._touched:
            self._drop(key)

    # --- tests -----------------------------------------------------------------------------------

    def put(self, key: int, row: Row, now: datetime) -> None:
        """Insert or replace a row. A missing key is blank; a missing cursor is now."""
        row = normal(completed(self.blank, row), self.blank)
        if self.cursor and row[self.cursor] is None:
            row[self.cursor] = now
        self._touched.add(key)
        self._store(key, row)

    def update(self, key: int, changes: Mapping[str, Any], now: datetime) -> None:
        """Change values of a row; `address__city` names a nested one. Raises KeyError."""
        row = deepcopy(self.get(key, int(now.timestamp())))
        if row is None:
            raise KeyError(key)
        if self._updated:
            row[self._updated] = now
        for path, value in changes.items():
            *parents, name = path.split("__")
            place = row
            for parent in parents:
                if not isinstance(place.get(parent), dict):
                    place[parent] = {}
                place = place[parent]
            place[name] = value
        self._touched.add(key)
        self._store(key, normal(row, self.blank))

    def delete(self, key: int) -> None:
        """Remove a row. Raises KeyError."""
        self._touched.add(key)
        self._drop(key)

    def _store(self, key: int, row: Row) -> None:
        self.rows[key] = row
        if Later in map(type, row.values()):
            self._changing.add(key)
        else:
            self._changing.discard(key)
        self._listed = None

    def _drop(self, key: int) -> None:
        del self.rows[key]
        self._changing.discard(key)
        self._listed = None


def _at(row: Row, now: int) -> Row:
    return {key: value.at(now) if type(value) is Later else value for key, value in row.items()}


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else LONG_AGO


def value_at(row: Row, path: str) -> Any:
    """The value under `a__b`, None if there is no such place."""
    value: Any = row
    for key in path.split("__"):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def normal(row: Row, blank: Mapping[str, Any]) -> Row:
    """A copy with all times in UTC and whole seconds; a time of its own can be ISO-8601 text."""
    row = {key: _normal(value) for key, value in row.items()}
    for key in blank:
        value = row.get(key)
        if isinstance(value, str) and key.endswith(("_at", "_time")):
            with suppress(ValueError):
                row[key] = moment(seconds(value))
    return row


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return moment(seconds(value)) if isinstance(value, datetime) else value


def completed(blank: Mapping[str, Any], row: Row) -> Row:
    """A row with all keys of `blank`; a key that is not among them stays behind the one before."""
    keys, before = list(blank), ""
    for key in row:
        if key not in blank:
            keys.insert(keys.index(before) + 1 if before else len(keys), key)
        before = key
    values = {**blank, **row}
    result = {key: deepcopy(values[key]) for key in keys}
    for key, value in blank.items():
        if isinstance(value, Mapping) and isinstance(row.get(key), dict):
            result[key] = completed(value, row[key])
    return result


# --- histories -----------------------------------------------------------------------------------

Event = tuple[int, Callable[[], None]]
"""What happens, and when, in seconds since 1970."""
Stream = Iterator[Event]
"""What happens, in the order of time. It can be endless."""


class History:
    """Lets things happen once their time has come.

    The same streams make the same rows, whether the clock moves in one step or in many.
    """

    def __init__(self, *streams: Stream) -> None:
        self._ahead = merge(*streams, key=itemgetter(0))
        self._next = next(self._ahead, None)
        self.now = 0
        """Up to when it has been asked to catch up."""

    def catch_up(self, now: int) -> None:
        """Let happen everything up to a time."""
        self.now = now
        while self._next is not None and self._next[0] <= now:
            self._next[1]()
            self._next = next(self._ahead, None)

    def later(self, first: Any, *steps: tuple[int, Any]) -> Any:
        """A value that changes at those times; the last one if they have all passed."""
        return steps[-1][1] if steps[-1][0] <= self.now else Later(first, steps)


def stream(times: Iterable[int], happen: Callable[[int, int], None], first: int = 0) -> Stream:
    """Calls `happen` with a number, counted from `first`, and each time."""
    for number, time in enumerate(times, first):
        yield time, partial(happen, number, time)


def follow_ups(begins: Iterable[tuple[int, Iterable[Event]]]) -> Stream:
    """What follows from each of endless beginnings, in the order of time.

    begins: times, ascending, and what happens from then on.
    """
    ahead: list[tuple[int, int, Callable[[], None]]] = []
    order = count()
    for begin, follows in begins:
        while ahead and ahead[0][0] < begin:
            time, _, happen = heappop(ahead)
            yield time, happen
        for time, happen in follows:
            heappush(ahead, (time, next(order), happen))


QUIET_DAYS = frozenset((*range(70, 131), *range(215, 246)))
CROWDED_DAY = 180
CROWDED_HOUR = 15
MONTHS = (70, 75, 95, 90, 95, 80, 45, 40, 100, 170, 140, 125)
"""How much happens in each month: most in the weeks before elections and holidays."""
WEEKDAYS = (100, 125, 125, 120, 90, 30, 20)
"""How much happens on each weekday, from Monday on."""
HOURS = (20, 9, 4, 2, 1, 1, 1, 1, 1, 2, 5, 10, 25, 45, 70, 85, 90, 85, 85, 80, 75, 70, 55, 35)
"""How much happens in each hour, in UTC. The people are in America."""


def times(seed: str, start: int, first_year: int, yearly: float) -> Iterator[int]:
    """Endless ascending times, in seconds since 1970: those of `years`."""
    return chain.from_iterable(years(seed, start, first_year, yearly))


def years(seed: str, start: int, first_year: int, yearly: float) -> Iterator[list[int]]:
    """The times of each year, ascending, in seconds since 1970.

    The first year has quiet months, and a crowded day with a fifth of the year, part of that in
    one second, as a bulk import leaves it behind. Each later year has `yearly` times. Apart from
    the crowded day, they follow the seasons.
    """
    random = Random(seed)
    crowd = first_year // 5
    burst = min(300, first_year // 20)
    crowded = start + CROWDED_DAY * DAY
    found = seasonal(random, start, first_year - crowd, QUIET_DAYS | {CROWDED_DAY})
    found += [crowded + CROWDED_HOUR * 3600] * burst
    found += [crowded + int(random.random() * DAY) for _ in range(crowd - burst)]
    yield sorted(found)
    if not yearly:
        return
    for year in count(1):
        number = int(year * yearly) - int((year - 1) * yearly)
        yield sorted(seasonal(random, start + year * YEAR, number))


def seasonal(
    random: Random, begin: int, number: int, closed: frozenset[int] = frozenset()
) -> list[int]:
    """Times in the year from `begin` on, more of them where there is more to do.

    closed: days of the year without any.
    """
    sums = _days(begin // DAY, closed) if number else []
    hours = random.choices(range(24), HOURS, k=number)
    days = (
        bisect_right(sums, sums[-1] * (place + random.random()) / number, hi=364)
        for place in range(number)
    )
    return [
        begin + day * DAY + hour * 3600 + int(random.random() * 3600)
        for day, hour in zip(days, hours, strict=True)
    ]


@cache
def _days(first: int, closed: frozenset[int]) -> list[int]:
    """What the days of a year weigh, summed up, from a day since 1970 on."""
    dates = [moment((first + day) * DAY) for day in range(365)]
    return list(
        accumulate(
            0 if day in closed else MONTHS[date.month - 1] * WEEKDAYS[date.weekday()]
            for day, date in enumerate(dates)
        )
    )
