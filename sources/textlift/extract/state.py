"""The state of a stream: how far each of its partitions was read.

It lies in the state of the dlt resource, so it is committed with the load package whose rows it
describes::

    accounts:
      <account>:
        cursors:   partition → time of its latest row
        reached:   partition → up to when it was read, with rows or without
        whole_at:  when all rows were read last
        refreshed: partition → the same, if each partition is read completely for itself
        due:       partition → when it is to be read completely, if that is before the interval ends
        sizes:     partition → number of rows that its parent stated then
        packages:  number of packages of an unfinished load
        began:     when it began, if it is a first load
        complete:  an unfinished complete read
        refresh:   an unfinished full refresh

Times are UTC in whole seconds, ISO 8601.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from textlift.extract.sorted_list import ListPosition
from textlift.windows import SECOND, format_time, parse_time

#: Hint of a table: the account whose rows it holds.
ACCOUNT_HINT = "x-account"
#: A complete read that was interrupted longer ago begins anew: it would miss what was deleted since.
MAX_COMPLETE_AGE = timedelta(days=7)
#: Keys of an account's state. Versions that knew of one account only had them at the top.
_OF_ACCOUNT = ("cursors", "reached", "whole_at", "packages")
#: Share of an interval by which neighbouring partitions are apart: the golden ratio spreads any
#: number of them evenly.
_APART = 0.618034

_ROUND_UP = SECOND - timedelta(microseconds=1)

_refreshing: ContextVar[bool] = ContextVar("refreshing", default=False)
_planning: ContextVar[bool] = ContextVar("planning", default=False)


@contextmanager
def full_refresh() -> Iterator[None]:
    """Make full refreshes of the loads that begin within the block."""
    token = _refreshing.set(True)
    try:
        yield
    finally:
        _refreshing.reset(token)


def is_full_refresh() -> bool:
    """Return whether loads that begin now are full refreshes."""
    return _refreshing.get()


@contextmanager
def planning() -> Iterator[None]:
    """Make resources that are read within the block yield a :class:`.StreamPlan` and no rows."""
    token = _planning.set(True)
    try:
        yield
    finally:
        _planning.reset(token)


def is_planning() -> bool:
    """Return whether resources yield plans."""
    return _planning.get()


@dataclass
class Positions:
    """How far partitions were read.

    Attributes:
        cursors: Partition → time of its latest row.
        reached: Partition → up to when it was read, whether or not there were rows.
    """

    cursors: dict[str, datetime] = field(default_factory=dict)
    reached: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Positions:
        """Return the positions in a state."""
        return cls(_parse_times(state.get("cursors", {})), _parse_times(state.get("reached", {})))

    def known_until(self, partition: str) -> datetime | None:
        """Return the last second up to which a partition was read."""
        known = (self.cursors.get(partition), self.reached.get(partition))
        return max((time for time in known if time), default=None)

    def state(self) -> dict[str, dict[str, str]]:
        """Return the positions as they are stored."""
        return {"cursors": _format_times(self.cursors), "reached": _format_times(self.reached)}


@dataclass
class CompleteRead:
    """A reading of all rows, in one run or several, that tells which are gone at the service.

    First all windows are read. Then the rows are read that may have moved from a window that was
    not read yet into one that was.

    Attributes:
        since: Id of its first load package; rows of older packages were not returned.
        began: When it began.
        positions: How far it has read.
        done: Partitions of which all rows were read in one slice.
        unreadable: Whether it met records without a usable key: any row can be one of them.
        lists: Partition → how far its sorted list was read.
        returned: Rows of sorted lists that earlier packages hold.
    """

    since: str
    began: datetime
    positions: Positions = field(default_factory=Positions)
    done: list[str] = field(default_factory=list)
    unreadable: bool = False
    lists: dict[str, ListPosition] = field(default_factory=dict)
    returned: int = 0

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> CompleteRead:
        """Return one that an earlier package left unfinished."""
        # Versions that stored no beginning have the time of the first package.
        began = datetime.fromtimestamp(float(state["since"]), timezone.utc)
        return cls(
            state["since"],
            parse_time(state.get("began", began), "began"),
            Positions.of(state),
            list(state["done"]),
            state["unreadable"],
            {
                name: ListPosition(found["rows"], parse_time(found["time"], "time"))
                for name, found in state.get("lists", {}).items()
            },
            state.get("returned", 0),
        )

    def state(self) -> dict[str, Any]:
        """Return what the next package needs to continue."""
        return {
            "since": self.since,
            "began": format_time(self.began),
            **self.positions.state(),
            "done": list(self.done),
            "unreadable": self.unreadable,
            "lists": {
                # Rounded up to whole seconds: rows with later times were read for sure.
                name: {"rows": found.rows, "time": format_time(found.time + _ROUND_UP)}
                for name, found in self.lists.items()
            },
            "returned": self.returned,
        }

    def is_outdated(self, now: datetime) -> bool:
        """Return whether it began too long ago to continue."""
        return now - self.began >= MAX_COMPLETE_AGE


@dataclass
class Refreshes:
    """When each partition was read completely.

    Attributes:
        every: Interval between two complete reads of a partition.
        times: Partition → when it was read completely last.
        due: Partition → when it is to be read again, if that is before the interval ends.
        sizes: Partition → number of rows that its parent stated then.
        before: When all partitions were read, for versions that stored one time for all.
    """

    every: timedelta
    times: dict[str, datetime] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    before: datetime | None = None

    @classmethod
    def of(cls, state: Mapping[str, Any], every: timedelta) -> Refreshes:
        """Return those that a state holds."""
        before = parse_time(state["whole_at"], "whole_at") if "whole_at" in state else None
        times, due = (_parse_times(state.get(name, {})) for name in ("refreshed", "due"))
        return cls(every, times, due, dict(state.get("sizes", {})), before)

    def state(self) -> dict[str, Any]:
        """Return them as they are stored."""
        times = {"refreshed": _format_times(self.times), "due": _format_times(self.due)}
        return {**times, "sizes": dict(self.sizes)}

    def is_due(self, partition: str, size: int | None, now: datetime) -> bool:
        """Return whether to read a partition completely, whose parent states ``size`` rows."""
        last = self.times.get(partition, self.before)
        if last is None or self.sizes.get(partition, size) != size:
            return True
        return now >= min(last + self.every, self.due.get(partition, now + self.every))

    def forget(self, partition: str) -> None:
        """Forget a partition."""
        self.times.pop(partition, None)
        self.due.pop(partition, None)
        self.sizes.pop(partition, None)

    def note(self, partition: str, size: int | None, number: int, now: datetime) -> None:
        """Note that a partition was read completely.

        Args:
            partition: The partition.
            size: Number of rows that its parent states.
            number: Its place in the list of parents.
            now: When it was read.
        """
        self.due.pop(partition, None)
        if partition not in self.times:
            # After a first load, the next reads would all be due in the same run.
            self.due[partition] = now + self.every * (1 - number * _APART % 1)
        self.times[partition] = now
        if size is not None:
            self.sizes[partition] = size


def account_state(state: dict[str, Any], account: str) -> dict[str, Any]:
    """Return the part of a resource's state that belongs to an account.

    What a version without accounts has stored becomes this account's.
    """
    accounts = state.setdefault("accounts", {})
    if account not in accounts:
        accounts[account] = {name: state.pop(name) for name in _OF_ACCOUNT if name in state}
    found: dict[str, Any] = accounts[account]
    return found


def parts_of_accounts(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a resource's state that hold cursors: one for each account.

    In older versions it is the state itself.
    """
    every = (state, *state.get("accounts", {}).values())
    yield from (part for part in every if part.get("cursors"))


def forget_partition(state: Mapping[str, Any], partition: str) -> None:
    """Remove a partition from a resource's state, so that it is read from the start date again."""
    for part in parts_of_accounts(state):
        for read in (part, *(part[kind] for kind in ("complete", "refresh") if kind in part)):
            for name in ("cursors", "reached", "lists", "refreshed", "due", "sizes"):
                read.get(name, {}).pop(partition, None)
            if partition in read.get("done", ()):
                read["done"].remove(partition)


def _format_times(times: Mapping[str, datetime]) -> dict[str, str]:
    return {name: format_time(time) for name, time in times.items()}


def _parse_times(texts: Mapping[str, str]) -> dict[str, datetime]:
    return {name: parse_time(text, "cursor") for name, text in texts.items()}
