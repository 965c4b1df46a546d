"""The history of an invented account: a pure function of seed, size and clock.

What happens is a handful of `Stream`s (people join, profiles change, messages go out, …), each an
endless numbered series. Nothing is stored about the things themselves; `rows` works out what they
look like from their numbers. Stored are only compact arrays: when each profile was made and last
changed, which changes and clicks are whose, and indexes for the windows.

In the first year there are, for each profile: 1 change, 3 outgoing messages, 1 incoming message,
0.5 clicks, 0.2 joinings or leavings of a group, 0.1 calls, 0.1 mData queries, 0.02 donations; and
a broadcast for each 50, but 80 at least and 5000 at most. After it, profiles grow by a twentieth
of `size` a year and everything else goes on at half the first year's rate.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import chain, repeat

from textlift.sandbox.dice import mix, pick, salt
from textlift.sandbox.mcommons.curve import CROWDED_DAY, DAY, Curve, Stream
from textlift.sandbox.mcommons.words import CAMPAIGNS, COLUMNS, GROUPS

RENAME, MOVE, ANSWER, JOIN, OPT_OUT, DROP, STOP_ALL, BOUNCE = range(8)
"""What a change does to a profile: a name; an address; a custom column; a subscription more, one
opted out of, one gone without trace; all opted out of; a number that no longer takes texts."""
_CHANGES = bytes(
    [RENAME] * 30 + [MOVE] * 20 + [ANSWER] * 25 + [JOIN] * 10
    + [OPT_OUT] * 8 + [DROP] * 4 + [STOP_ALL] * 2 + [BOUNCE]
)  # fmt: skip

FIRST_COLUMNS = 4
COLUMN_EVERY = 100 * DAY
"""A new custom column appears whenever so much time has passed."""


class TimeIndex:
    """Numbers sorted by a time, for a window to bisect. Put in order when it is asked."""

    _BULK = 500

    def __init__(self) -> None:
        # A key sorts by time, then by number.
        self._keys = array("q")
        self._added: list[int] = []
        self._removed: list[int] = []

    def add(self, time: int, number: int) -> None:
        """Take in a number below 2**32 that is not there at that time."""
        self._added.append(time << 32 | number)

    def remove(self, time: int, number: int) -> None:
        """Let go of a number that is there at that time."""
        self._removed.append(time << 32 | number)

    def numbers(self, since: int | None, until: int | None) -> Iterator[int]:
        """The numbers whose times lie between two, both inclusive, in order."""
        self._settle()
        first = 0 if since is None else bisect_left(self._keys, since << 32)
        last = len(self._keys) if until is None else bisect_left(self._keys, (until + 1) << 32)
        return (key & 0xFFFFFFFF for key in self._keys[first:last])

    def _settle(self) -> None:
        if len(self._added) + len(self._removed) > self._BULK:
            removed = set(self._removed)
            kept = (key for key in chain(self._keys, self._added) if key not in removed)
            self._keys = array("q", sorted(kept))
        else:
            for key in self._added:
                insort(self._keys, key)
            for key in self._removed:
                del self._keys[bisect_left(self._keys, key)]
        self._added.clear()
        self._removed.clear()


class World:
    """Everything that has happened by `now`. Time only moves forward, by `catch_up`."""

    def __init__(self, seed: int, size: int, start: int, columns: int | None = None) -> None:
        """An account of about `size` profiles that begins at `start`, in seconds since 1970.

        columns: how many custom columns there are at all times; None for some that become more.
        """
        self.seed = seed
        self.size = size
        self.start = start
        self.columns = columns
        self.now = start - 1
        self.revision = 0
        """Grows whenever something stored here changes."""

        self.campaigns = CAMPAIGNS[: min(len(CAMPAIGNS), 5 + size // 400)]
        self.created = array("I")
        """By profile: when it was made."""
        self.updated = array("I")
        """By profile: when it last changed."""
        self.groups = bytearray()
        """By profile: one bit for each group it is in."""

        burst = min(0.05, 300 / size) if size else 0.0
        growth = Curve(start, seed=seed, burst=burst, pace=0.05)
        activity = Curve(start, seed=seed, burst=burst, pace=0.5)
        self._people = Stream(growth, size, seed)
        self._changes = Stream(activity, size, seed)
        self._moves = Stream(activity, size // 5, seed)
        self.outgoing = Stream(activity, size * 3, seed)
        self.incoming = Stream(activity, size, seed)
        self.broadcasts = Stream(activity, min(max(80, size // 50), 5000) if size else 0, seed)
        self.clicks = Stream(activity, size // 2, seed)
        self.calls = Stream(activity, size // 10, seed)
        self.queries = Stream(activity, size // 10, seed)
        self.donations = Stream(activity, size // 50, seed)

        # The crowded day is an import, and whoever came by it is never heard of again: so a fifth
        # of all profiles keeps an updated_at on that one day.
        crowded = start + CROWDED_DAY * DAY
        self._imported_first = self._people.count(crowded - 1)
        self._imported_last = self._people.count(crowded + DAY - 1)

        self._by_update = TimeIndex()
        self._subscribers = [TimeIndex() for _ in self.campaigns]
        self._last_change = array("i")
        self._change_before = array("i")
        self._last_click = array("i")
        self._click_before = array("i")
        self._moved = 0
        self._joined: set[int] = set()
        self._dropped: set[int] = set()
        self._salts = {name: salt(seed, name) for name in ("profile", "change", "move", "click")}

    # --- what there is ---------------------------------------------------------------------------

    def profiles_at(self, time: int) -> int:
        """How many profiles there were."""
        return bisect_right(self.created, time)

    def somebody(self, number: int, purpose: int, time: int) -> int | None:
        """One of the profiles there were at that time, None if there were none."""
        population = self.profiles_at(time)
        return pick(mix(number, purpose), population) if population else None

    def imported(self, profile: int) -> bool:
        """Whether a profile came by the import on the crowded day."""
        return self._imported_first <= profile < self._imported_last

    def profiles_by_update(self, since: int | None, until: int | None) -> Iterator[int]:
        """Profiles whose last change lies between two times, in its order."""
        return self._by_update.numbers(since, until)

    def subscribers(self, campaign: int, since: int | None, until: int | None) -> Iterator[int]:
        """Profiles that subscribed to a campaign between two times, in the order of that."""
        return self._subscribers[campaign].numbers(since, until)

    def members(self, group: int) -> list[int]:
        """The profiles in a group."""
        bit = 1 << group
        return [profile for profile, mask in enumerate(self.groups) if mask & bit]

    def group_size(self, group: int) -> int:
        """How many profiles are in a group."""
        return self.groups.translate(bytes(mask >> group & 1 for mask in range(256))).count(1)

    def changes_of(self, profile: int) -> list[int]:
        """The changes a profile has gone through, in order."""
        return _chain(self._last_change, self._change_before, profile)

    def clicks_of(self, profile: int) -> list[int]:
        """The clicks of a profile, in order."""
        return _chain(self._last_click, self._click_before, profile)

    def clicker(self, number: int) -> int | None:
        """The profile that clicked, None if the service cannot tell."""
        return self._clicker(number, self.profiles_at(self.clicks.time(number)))

    def change(self, number: int) -> tuple[int, int, int]:
        """What a change does, when, and random bits to do it with."""
        bits = mix(number, self._salts["change"])
        return _CHANGES[bits % 100], self._changes.time(number), bits >> 8

    def campaigns_of(self, profile: int) -> tuple[int | None, int | None, int]:
        """The campaigns a profile can subscribe to: two from the start, if at all, one later."""
        return self._campaigns_by(mix(profile, self._salts["profile"]))

    def _campaigns_by(self, traits: int) -> tuple[int | None, int | None, int]:
        spread = len(self.campaigns) - 1  # nobody subscribes to the Master Campaign
        first = (traits & 0xFFFF) * (traits >> 16 & 0xFFFF) * spread >> 32
        step = traits >> 32 & 0xFF
        second_step = 1 + step % (spread - 1)
        third_step = 1 + (step + 1 + (traits >> 40 & 0xFF) % (spread - 2)) % (spread - 1)
        subscribes = traits >> 48 & 0x1F != 0
        doubly = subscribes and traits >> 53 & 0xF < 6
        return (
            1 + first if subscribes else None,
            1 + (first + second_step) % spread if doubly else None,
            1 + (first + third_step) % spread,
        )

    def columns_at(self, time: int) -> list[str]:
        """The names of the custom columns there were."""
        count = self.columns
        if count is None:
            count = FIRST_COLUMNS + max(0, time - self.start) // COLUMN_EVERY
        names = [name for name, _ in COLUMNS[:count]]
        return names + [f"Survey {number}" for number in range(1, count - len(COLUMNS) + 1)]

    # --- how it comes about ----------------------------------------------------------------------

    def catch_up(self, now: int) -> None:
        """Let happen what happens up to `now`."""
        if now <= self.now:
            return
        self.now = now
        known = len(self.created)
        self._make_profiles(known, self._people.count(now))
        updated_before = self._change_profiles(known, self._changes.count(now))
        for profile, time in updated_before.items():
            self._by_update.remove(time, profile)
            self._by_update.add(self.updated[profile], profile)
        for profile in range(known, len(self.created)):
            self._by_update.add(self.updated[profile], profile)
        self._click(self.clicks.count(now))
        self._move(self._moves.count(now))

    def _make_profiles(self, first: int, last: int) -> None:
        if first == last:
            return
        self.revision += 1
        self.created.extend(self._people.times(first, last))
        self.updated.extend(self.created[first:])
        self._last_change.extend(repeat(-1, last - first))
        self._last_click.extend(repeat(-1, last - first))
        purpose = self._salts["profile"]
        for profile in range(first, last):
            traits = mix(profile, purpose)
            self.groups.append(traits >> 3 & traits >> 19 & 0xFF)
            one, two, _ = self._campaigns_by(traits)
            if one is not None:
                self._subscribers[one].add(self.created[profile], profile)
            if two is not None:
                self._subscribers[two].add(self.created[profile], profile)

    def _change_profiles(self, known: int, last: int) -> dict[int, int]:
        """Make the changes up to the number `last`.

        Returns when the profiles that did had changed before, of those below `known`.
        """
        first = len(self._change_before)
        if first == last:
            return {}
        self.revision += 1
        before: dict[int, int] = {}
        purpose = self._salts["change"]
        for number, time, population in self._with_population(self._changes, first, last):
            bits = mix(number, purpose)
            # The imported are passed over: see above.
            profile = pick(bits, population - self._imported_by(population))
            if profile >= self._imported_first:
                profile += self._imported_by(population)
            if profile < known:
                before.setdefault(profile, self.updated[profile])
            self.updated[profile] = time
            self._change_before.append(self._last_change[profile])
            self._last_change[profile] = number
            what = _CHANGES[bits % 100]
            if what == JOIN and profile not in self._joined:
                self._joined.add(profile)
                _, _, third = self.campaigns_of(profile)
                self._subscribers[third].add(time, profile)
            elif what == DROP and profile not in self._dropped:
                self._dropped.add(profile)
                _, second, _ = self.campaigns_of(profile)
                if second is not None:
                    self._subscribers[second].remove(self.created[profile], profile)
        return {profile: time for profile, time in before.items() if self.updated[profile] != time}

    def _imported_by(self, population: int) -> int:
        """How many of the first so many profiles were imported."""
        if population <= self._imported_first:
            return 0
        return min(population, self._imported_last) - self._imported_first

    def _click(self, last: int) -> None:
        first = len(self._click_before)
        for number, _, population in self._with_population(self.clicks, first, last):
            profile = self._clicker(number, population)
            if profile is None:
                self._click_before.append(-1)
            else:
                self._click_before.append(self._last_click[profile])
                self._last_click[profile] = number

    def _clicker(self, number: int, population: int) -> int | None:
        bits = mix(number, self._salts["click"])
        return pick(bits, population) if bits & 0xFF >= 40 else None

    def _move(self, last: int) -> None:
        first, self._moved = self._moved, last
        if first == last:
            return
        self.revision += 1
        for number, _, population in self._with_population(self._moves, first, last):
            bits = mix(number, self._salts["move"])
            self.groups[pick(bits, population)] ^= 1 << bits % len(GROUPS)

    def _with_population(
        self, stream: Stream, first: int, last: int
    ) -> Iterator[tuple[int, int, int]]:
        """Numbers, times, and how many profiles there were then."""
        created = self.created
        population = 0
        for number, time in enumerate(stream.times(first, last), first):
            if not population:
                population = bisect_right(created, time)
            while population < len(created) and created[population] <= time:
                population += 1
            yield number, time, population


def _chain(last: array[int], before: array[int], profile: int) -> list[int]:
    numbers = []
    number = last[profile]
    while number >= 0:
        numbers.append(number)
        number = before[number]
    numbers.reverse()
    return numbers
