"""What a program sent and received: a pure function of seed, size and clock.

It goes back for ever, and as it does every year: quiet weeks, and one crowded hour with a burst in
one second of it. A year is 365 days here, counted from 1970. Messages are numbered from there in
the order of their times, as many to each year, so that any of them is worked out by its number
alone; nothing is stored but, for calls that ask for one type, which numbers are of that type.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Any

from textlift.sandbox.clock import moment
from textlift.sandbox.dice import Dice, mix, salt
from textlift.sandbox.mgage import words

Message = dict[str, Any]
"""The six documented keys; `date` is a datetime in UTC and whole seconds."""

DAY = 86_400
YEAR = 365 * DAY

QUIET_DAYS = frozenset((*range(40, 61), *range(250, 264)))
"""Days of each year on which nothing happens."""
CROWDED_SHARE = 0.15
"""The share of a year that falls into its crowded hour."""
BURST = 600
"""So many messages leave in the first second of the crowded hour; fewer in small programs."""
SETTLED = 2 * DAY
"""A message this old does not change any more."""

_AFRESH, _REPEAT, _RETRY, _TWIN = range(4)
"""How a message relates to the one before it: not at all; equal to it in everything; the same, but
with a status of its own; the same text from or to somebody else. Never in another second."""
_RELATIONS = (_REPEAT, _REPEAT, _RETRY, _TWIN, _TWIN)
_ONE_IN = 150


class History:
    """The messages of one program, by number."""

    def __init__(self, seed: int, program_id: int, yearly: int, shift: int = 0) -> None:
        """`yearly` messages happen in each year, all of them `shift` seconds later."""
        self._yearly = yearly
        self._shift = shift
        name = f"mgage/{program_id}"
        outline = Random(f"{seed}/{name}/year")
        self._crowded = outline.randrange(100, 240) * DAY + outline.randrange(14, 22) * 3600
        self._times, self._shares = _year(outline, self._crowded, BURST / max(yearly, 12_000))
        self._people = max(10, yearly // 4)
        self._first_person = outline.randrange(700) * 10_000
        self._jitter, self._person, self._relation, self._type = (
            salt(seed, f"{name}/{use}") for use in ("jitter", "person", "relation", "type")
        )
        self._dice = Dice(seed, name)
        self._fates = Dice(seed, f"{name}/fate")
        self._numbers = {"MO": array("q"), "MT": array("q")}
        self._sorted: tuple[int, int] | None = None

    def count(self, until: int) -> int:
        """How many have happened by the end of the second `until`, since 1970."""
        if not self._yearly or until < self._shift:
            return 0
        # No year's messages fall into another, and within one they are in order.
        low = (until - self._shift) // YEAR * self._yearly
        high = low + self._yearly
        while low < high:
            middle = (low + high) // 2
            if self.time(middle) <= until:
                low = middle + 1
            else:
                high = middle
        return low

    def time(self, number: int) -> int:
        """When it was sent or received, in seconds since 1970."""
        return self._time_of(self._origins(number)[0]) + self._shift

    def numbers(self, type: str | None, first: int, last: int) -> Sequence[int]:
        """The numbers of a type, or all, from `first` up to, but not including, `last`."""
        if type is None:
            return range(first, last)
        self._sort_out(first, last)
        numbers = self._numbers[type]
        return numbers[bisect_left(numbers, first) : bisect_left(numbers, last)]

    def message(self, number: int, now: int) -> Message:
        """The message as it is at a time, both statuses and networks being late."""
        origin, speaker, fated = self._origins(number)
        time = self._time_of(origin)
        dice, fate = self._dice.throw(origin), self._fates.throw(fated)
        person, age = self._person_of(speaker), now - time - self._shift
        type = self._type_of(origin, time)
        if type == "MO":
            body = words.REPLIES[dice[0] % len(words.REPLIES)]
            status = "Received"
        else:
            body = self._broadcast(origin, time, person)
            status = _status(fate, age)
        return {
            "type": type,
            "deliveryStatus": status,
            "number": self._phone_number(person),
            "body": body,
            "date": moment(time + self._shift),
            "network": _network(person, fate, age),
        }

    def _origins(self, number: int) -> tuple[int, int, int]:
        """The messages whose second and text, whose person, and whose fate it shares."""
        speaker = fated = -1
        while True:
            bits = mix(number, self._relation) % _ONE_IN
            # The first of a year is always afresh: see `count`.
            afresh = bits >= len(_RELATIONS) or number % self._yearly == 0
            relation = _AFRESH if afresh else _RELATIONS[bits]
            if fated < 0 and relation != _REPEAT:
                fated = number
            if speaker < 0 and relation in (_AFRESH, _TWIN):
                speaker = number
            if relation == _AFRESH:
                return number, speaker, fated
            number -= 1

    def _time_of(self, origin: int) -> int:
        year, place = divmod(origin, self._yearly)
        # Each falls somewhere in its own slot, so the times are irregular but in order.
        share = (place + (mix(origin, self._jitter) & 0xFFFFFFFF) / 2**32) / self._yearly
        # Where the share stands still, bisect_right takes the far side of the quiet.
        i = min(bisect_right(self._shares, share), len(self._shares) - 1) - 1
        low, high = self._shares[i], self._shares[i + 1]
        begin, end = self._times[i], self._times[i + 1]
        within = int((share - low) / (high - low) * (end - begin))
        return year * YEAR + min(begin + within, end - 1)

    def _type_of(self, origin: int, time: int) -> str:
        if time % YEAR == self._crowded:
            return "MT"
        return "MO" if mix(origin, self._type) % 10 < 3 else "MT"

    def _sort_out(self, first: int, last: int) -> None:
        """Have the types of those numbers at hand."""
        begin, end = self._sorted or (first, first)
        if first < begin:
            for numbers in self._numbers.values():
                del numbers[:]
            begin = end = first
        for number in range(end, last):
            origin = self._origins(number)[0]
            self._numbers[self._type_of(origin, self._time_of(origin))].append(number)
        self._sorted = begin, max(end, last)

    def _person_of(self, speaker: int) -> int:
        return self._first_person + mix(speaker, self._person) % self._people

    def _broadcast(self, origin: int, time: int, person: int) -> str:
        if time % YEAR == self._crowded:
            return words.NEWS
        # One a fortnight.
        body = words.BROADCASTS[time // (14 * DAY) % len(words.BROADCASTS)]
        return body.format(name=words.NAMES[person % len(words.NAMES)])

    def _phone_number(self, person: int) -> str:
        area, line = divmod(person, 10_000)
        # Scattered by a factor that shares no divisor with ten thousand.
        number = f"{202 + area % 788}555{line * 7919 % 10_000:04d}"
        # As the vendor's sample has it: most with the country code, some without.
        return number if person % 9 == 4 else f"1{number}"


def _year(random: Random, crowded: int, burst: float) -> tuple[list[int], list[float]]:
    """Points of a year, in seconds, and of the cumulative share of its messages.

    crowded: where the crowded hour begins; burst: the share of its first second.
    """
    weights = [0.0 if day in QUIET_DAYS else random.uniform(0.3, 1.0) for day in range(365)]
    day, hour = divmod(crowded, DAY)
    ordinary = sum(weights) - weights[day]
    pieces = [(DAY, weight / ordinary * (1 - CROWDED_SHARE)) for weight in weights]
    pieces[day : day + 1] = [
        (hour, 0.0),
        (1, burst),
        (3599, CROWDED_SHARE - burst),
        (DAY - hour - 3600, 0.0),
    ]
    times = [0, *accumulate(length for length, _ in pieces)]
    shares = [0.0, *accumulate(share for _, share in pieces)]
    shares[-1] = 1.0
    return times, shares


def _status(fate: bytes, age: int) -> str:
    """The status of an outgoing message so many seconds old: settled within two days."""
    sent = 1 + (fate[0] % 30 if fate[1] < 230 else int.from_bytes(fate[2:4], "little") % 3600)
    patience = 600 if fate[4] < 160 else SETTLED - 2 * 3600
    if age < sent:
        return "Queued"
    if age < sent + 1 + int.from_bytes(fate[5:8], "little") % patience:
        return "Sent"
    return "Delivered" if fate[8] < 236 else "Undelivered"


def _network(person: int, fate: bytes, age: int) -> str | None:
    """The network of somebody, known at once or some hours later, or never."""
    hours = 1 + fate[9] % 12 if fate[10] < 80 else 0
    return words.NETWORKS[person % len(words.NETWORKS)] if age >= hours * 3600 else None
