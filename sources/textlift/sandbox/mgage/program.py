"""A program's messages as they are now: its history, and over it what tests have changed."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from textlift.sandbox.clock import moment, seconds
from textlift.sandbox.mgage.history import YEAR, History, Message

KEPT = 3 * YEAR
"""How far back `Program.rows` looks."""

_INSERTED, _REMOVED = 0, 1
_Change = tuple[int, int, int, int]
"""Before which number of the history, what, in which second, which of those laid over."""
_CACHED = 16


class Program:
    """Messages in the order of their dates, by reference.

    A reference is a message's number in the history or, if it is negative, stands for one that was
    put or changed: -1 for the first of these. Not thread-safe.
    """

    def __init__(self, info: dict[str, str], history: History, descending: bool) -> None:
        """`info` is what answers say about the program; `descending` lists the latest first."""
        self.info = info
        self._history = history
        self._descending = descending
        self._laid_over: list[Message] = []
        self._places: list[_Change] = []
        self._changes: list[_Change] = []
        self._cache: dict[tuple[Any, ...], Sequence[int]] = {}

    def select(
        self, type: str | None, since: int | None, until: int | None, now: int
    ) -> Sequence[int]:
        """References to the messages of a type in a window, in the order they are listed.

        Both ends are inclusive, in seconds since 1970.
        """
        references = self._ascending(type, since, until, now)
        return references[::-1] if self._descending else references

    def message(self, reference: int, now: int) -> Message:
        """The message as it is now."""
        if reference < 0:
            return dict(self._laid_over[-reference - 1])
        return self._history.message(reference, now)

    def rows(self, now: int) -> list[Message]:
        """All messages of the last three years, and all laid over, in the order they are listed."""
        return [self.message(reference, now) for reference in self._all(now)]

    def put(self, row: Message, now: int) -> None:
        """Add a message; what is missing in it is filled in."""
        type = row.get("type", "MO")
        status = "Received" if type == "MO" else "Sent"
        blank = {"type": type, "deliveryStatus": status, "number": "12025550100", "body": ""}
        self._lay_over({**blank, "date": moment(now), "network": None, **row}, None)

    def update(
        self, which: int | Callable[[Message], bool], changes: dict[str, Any], now: int
    ) -> int:
        """Change messages, by place in `rows` or by what they are. Returns how many."""
        references = self._all(now)
        if isinstance(which, int):
            chosen = [references[which]]
        else:
            chosen = [item for item in references if which(self.message(item, now))]
        if not chosen:
            raise LookupError("no message is like that")
        for reference in chosen:
            self._lay_over({**self.message(reference, now), **changes}, reference)
        return len(chosen)

    def _all(self, now: int) -> Sequence[int]:
        first = self._history.count(now - KEPT - 1)
        references = self._merged(None, first, self._history.count(now), None, None)
        return references[::-1] if self._descending else references

    def _ascending(
        self, type: str | None, since: int | None, until: int | None, now: int
    ) -> Sequence[int]:
        first = 0 if since is None else self._history.count(since - 1)
        last = self._history.count(now if until is None else min(until, now))
        if not self._changes:
            return self._history.numbers(type, first, max(first, last))
        key = (type, first, last, since, until)
        if key not in self._cache:
            while len(self._cache) >= _CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = self._merged(type, first, max(first, last), since, until)
        return self._cache[key]

    def _merged(
        self, type: str | None, first: int, last: int, since: int | None, until: int | None
    ) -> Sequence[int]:
        numbers = self._history.numbers(type, first, last)
        if not self._changes:
            return numbers
        merged, done = array("q"), 0
        for number, what, second, serial in self._changes:
            place = max(done, bisect_left(numbers, number))
            merged.extend(numbers[done:place])
            done = place
            if what == _REMOVED:
                done += place < len(numbers) and numbers[place] == number
            elif (
                (type is None or self._laid_over[serial - 1]["type"] == type)
                and (since is None or since <= second)
                and (until is None or second <= until)
            ):
                merged.append(-serial)
        merged.extend(numbers[done:])
        return merged

    def _lay_over(self, row: Message, old: int | None) -> None:
        """Add a message, or put it in the place of an old one."""
        if not isinstance(row["date"], (str, datetime)):
            raise TypeError(f"a message needs a date: {row!r}")
        second = seconds(row["date"])
        row["date"] = moment(second)
        if old is None or old >= 0:
            self._laid_over.append(row)
            serial = len(self._laid_over)
            self._places.append((self._history.count(second), _INSERTED, second, serial))
        else:
            serial = -old
            self._laid_over[serial - 1] = row
            place = self._places[serial - 1]
            self._changes.remove(place)
            if place[2] != second:
                place = (self._history.count(second), _INSERTED, second, serial)
                self._places[serial - 1] = place
        if old is not None and old >= 0:
            insort(self._changes, (old, _REMOVED, 0, 0))
            if self._history.time(old) == second:
                self._places[serial - 1] = (old, _INSERTED, second, serial)
        insort(self._changes, self._places[serial - 1])
        self._cache.clear()
