"""The things of a `World` by their ids: which there are, and what they look like.

Every row is worked out anew from its number, so a world costs no memory for its rows. A row only
depends on the clock where the service's own rows do: statuses of messages and broadcasts, counts
of broadcasts, and whatever a profile's changes have done to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textlift.sandbox.mcommons.activity import Activity, original
from textlift.sandbox.mcommons.clicks import Clicks
from textlift.sandbox.mcommons.curve import Stream
from textlift.sandbox.mcommons.fixed import fixed_rows
from textlift.sandbox.mcommons.ids import IDS, SEATS, number_of, profile_with
from textlift.sandbox.mcommons.messages import Messages
from textlift.sandbox.mcommons.people import People
from textlift.sandbox.mcommons.world import World
from textlift.sandbox.mcommons.xml import Row

_MASTER_CAMPAIGN = 0


@dataclass(frozen=True)
class _Series:
    """How to get from the numbers of a stream to rows and to parents."""

    stream: Stream
    row: Callable[[int], Row]
    parents: str
    parent: Callable[[int], int]
    original: Callable[[int], int] = int

    def count(self, time: int) -> int:
        """How many rows there are up to a time; one that repeats the one before has its time."""
        count = self.stream.count(time)
        return count + (count > 0 and self.original(count) == count - 1)


class Rows:
    """Ids and rows of everything in a world."""

    def __init__(self, world: World, *, advocacy: bool, empty: bool) -> None:
        """Look at a world.

        advocacy: whether profiles carry the districts of their legislators.
        empty: there are no campaigns, groups and the like either.
        """
        self._world = world
        self._fixed = fixed_rows(world)
        if empty:
            self._fixed = {kind: [] for kind in self._fixed}
        clicks = Clicks(world, self._fixed)
        self._people = People(world, self._fixed, clicks, advocacy)
        self._messages = messages = Messages(world, self._fixed, self._people)
        activity = Activity(world, self._fixed, self._people)
        self.donations = activity.donations
        self._series = {
            "incoming_messages": _Series(
                world.incoming, messages.incoming, "campaigns", messages.campaign_of_incoming
            ),
            "outgoing_messages": _Series(
                world.outgoing, messages.outgoing, "campaigns", messages.campaign_of_outgoing
            ),
            "broadcasts": _Series(
                world.broadcasts, messages.broadcast, "campaigns", messages.campaign_of_broadcast
            ),
            "calls": _Series(world.calls, activity.call, "mconnects", activity.mconnect),
            "clicks": _Series(world.clicks, clicks.click, "tinyurls", clicks.tinyurl),
            "mdata_queries": _Series(
                world.queries, activity.query, "mdatas", activity.mdata, original
            ),
        }

    def row(self, kind: str, id: int) -> Row:
        """The row of that id. Raises KeyError if there is none by now."""
        number = number_of(kind, id)
        if kind in self._fixed:
            return self._fixed_row(kind, number, id)
        if kind in ("profiles", "subscribers"):
            profile = number if kind == "profiles" else number // SEATS
            if profile >= len(self._world.created):
                raise KeyError(id)
            people = self._people
            return people.profile(number) if kind == "profiles" else people.subscriber(number)
        series = self._series[kind]
        if number >= series.count(self._world.now) and not (
            kind == "broadcasts" and self._messages.is_announced(number)
        ):
            raise KeyError(id)
        return series.row(number)

    def ids(
        self, kind: str, parent: int | None, since: int | None, until: int | None
    ) -> Sequence[int]:
        """Ids of a kind in a window, both ends inclusive; of one parent, if given by its id.

        In the order of the numbers; profiles in a window in that of their last changes.
        """
        ids = IDS[kind]
        if kind in self._fixed:
            return ids[: len(self._fixed[kind])]
        if kind == "profiles":
            if since is None and until is None:
                return ids[: len(self._world.created)]
            return [ids[number] for number in self._world.profiles_by_update(since, until)]
        if kind == "subscribers":
            return self._subscribers(parent, since, until)
        series, now = self._series[kind], self._world.now
        first = 0 if since is None else series.count(since - 1)
        last = max(first, series.count(now if until is None else min(until, now)))
        if kind != "broadcasts" and parent is None:
            return ids[first:last]
        numbers: Sequence[int] = range(first, last)
        if kind == "broadcasts":
            numbers = [*numbers, *self._messages.announced(since, until)]
        if parent is not None:
            numbers = self._of_parent(kind, parent, numbers)
        return [ids[number] for number in numbers]

    def members(self, group: int) -> list[int]:
        """Ids of the profiles in the group of that id; nobody is in an unknown one."""
        ids = IDS["profiles"]
        groups = IDS["groups"][: len(self._fixed["groups"])]
        if group not in groups:
            return []
        return [ids[profile] for profile in self._world.members(groups.index(group))]

    def updated(self, profile: int) -> int:
        """When the profile of that id last changed, in seconds since 1970."""
        return self._world.updated[number_of("profiles", profile)]

    def profile_with(self, phone_number: str) -> int | None:
        """The id of the profile with that number, digits only."""
        profile = profile_with(phone_number)
        if profile is None or profile >= len(self._world.created):
            return None
        return IDS["profiles"][profile]

    def _fixed_row(self, kind: str, number: int, id: int) -> Row:
        rows = self._fixed[kind]
        if number >= len(rows):
            raise KeyError(id)
        if kind == "groups":
            return {**rows[number], "size": self._world.group_size(number)}
        return rows[number]

    def _subscribers(self, parent: int | None, since: int | None, until: int | None) -> list[int]:
        ids = IDS["subscribers"]
        return [
            ids[profile * SEATS + campaign]
            for campaign in range(len(self._world.campaigns))
            if parent is None or IDS["campaigns"][campaign] == parent
            for profile in self._world.subscribers(campaign, since, until)
        ]

    def _of_parent(self, kind: str, parent: int, numbers: Sequence[int]) -> Sequence[int]:
        series = self._series[kind]
        parents = IDS[series.parents]
        if parent not in parents:
            return []
        wanted = parents.index(parent)
        if series.parents == "campaigns" and wanted == _MASTER_CAMPAIGN:
            return numbers  # it repeats every other campaign's
        parent_of = series.parent
        return [number for number in numbers if parent_of(number) == wanted]
