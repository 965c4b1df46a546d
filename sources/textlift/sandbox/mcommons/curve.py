"""When things happen: an account's first year in outline, and a steady pace ever after.

The first year has quiet months in which nothing happens, and one crowded day with a fifth of the
year in it, part of that in one very second, as a bulk import leaves it behind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from math import inf
from random import Random

DAY = 86_400
YEAR = 365 * DAY

QUIET_DAYS = frozenset((*range(70, 131), *range(215, 246)))
"""Days of the first year on which nothing happens."""
CROWDED_DAY = 180
CROWDED_SHARE = 0.2
"""The share of the first year that falls on the crowded day."""
CROWDED_HOUR = 15
"""The hour of the crowded day whose first second takes the burst."""


class Curve:
    """Turns a share of the first year's volume into a time, and back.

    Share 0 is the start, share 1 the end of the first year. After it the share grows by `pace` a
    year, for ever.
    """

    def __init__(self, start: int, *, seed: int, burst: float, pace: float) -> None:
        """Lay out the first year from `start`, in seconds since 1970.

        burst: the share of the first year that falls into one second of the crowded day.
        """
        self._times, self._shares = _first_year(start, seed, burst)
        self._slopes = [
            (end - begin) / (high - low) if high > low else 0.0
            for begin, end, low, high in zip(
                self._times, self._times[1:], self._shares, self._shares[1:], strict=False
            )
        ]
        self._slopes.append(YEAR / pace)

    def segment(self, share: float) -> tuple[float, float, int, float]:
        """The straight piece around `share`: from which share to which, from what time, how steep.

        The time of a share is `begin + (share - low) * slope`.
        """
        # Where the share stands still, bisect_right takes the far side of the quiet.
        i = bisect_right(self._shares, share) - 1
        high = self._shares[i + 1] if i + 1 < len(self._shares) else inf
        return self._shares[i], high, self._times[i], self._slopes[i]

    def share(self, time: float) -> float:
        """The share of the first year's volume that has happened by `time`."""
        if time <= self._times[0]:
            return 0.0
        i = bisect_right(self._times, time) - 1
        slope = self._slopes[i]
        return self._shares[i] + ((time - self._times[i]) / slope if slope else 0.0)


def _first_year(start: int, seed: int, burst: float) -> tuple[list[int], list[float]]:
    """Points of the cumulative share, by time."""
    random = Random(f"{seed}/year")
    weights = [0.0 if day in QUIET_DAYS else random.uniform(0.3, 1.0) for day in range(365)]
    ordinary = sum(weights) - weights[CROWDED_DAY]
    times, shares = [start], [0.0]

    def pass_by(seconds: int, share: float) -> None:
        times.append(times[-1] + seconds)
        shares.append(shares[-1] + share)

    for day, weight in enumerate(weights):
        if day == CROWDED_DAY:
            before = CROWDED_HOUR * 3600
            spread = (CROWDED_SHARE - burst) / (DAY - 1)
            pass_by(before, spread * before)
            pass_by(1, burst)
            pass_by(DAY - before - 1, spread * (DAY - before - 1))
        else:
            pass_by(DAY, weight / ordinary * (1 - CROWDED_SHARE))
    shares[-1] = 1.0
    return times, shares


class Stream:
    """An endless numbered series of things, in the order of their times."""

    def __init__(self, curve: Curve, volume: int, seed: int) -> None:
        """`volume` things happen in the first year, and as many more as the curve's pace says."""
        self._curve = curve
        self.volume = volume
        self._stride = Random(f"{seed}/stride").randrange(2**31, 2**32) | 1

    def _share(self, number: int) -> float:
        # Each thing falls somewhere in its own slot, so the times are irregular but in order.
        return (number + (number * self._stride & 0xFFFFFFFF) / 2**32) / self.volume

    def time(self, number: int) -> int:
        """When it happens, in seconds since 1970."""
        share = self._share(number)
        low, _, begin, slope = self._curve.segment(share)
        return int(begin + (share - low) * slope)

    def times(self, first: int, last: int) -> Iterator[int]:
        """The times of the numbers from `first` up to, but not including, `last`."""
        stride, volume = self._stride, self.volume
        high = -inf
        for number in range(first, last):
            share = (number + (number * stride & 0xFFFFFFFF) / 2**32) / volume
            if share >= high:
                low, high, begin, slope = self._curve.segment(share)
            yield int(begin + (share - low) * slope)

    def count(self, until: int) -> int:
        """How many have happened by the end of the second `until`."""
        if not self.volume:
            return 0
        count = int(self._curve.share(until + 1) * self.volume)
        # The estimate is off by one at most, and by a rounding error.
        while self.time(count) <= until:
            count += 1
        while count and self.time(count - 1) > until:
            count -= 1
        return count
