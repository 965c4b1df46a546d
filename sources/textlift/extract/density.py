"""How densely the rows of a window lie in time, and where to cut it into windows of some pages each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

import numpy as np
import numpy.typing as npt

from textlift.windows import Window

#: Windows to cut first if only the least number of pages is known.
FIRST_PARTS = 16
#: Windows to read at a time while the estimate is not sure.
MAX_UNSURE = 3
#: How many times as many pages as the window read last the next one may be expected to have; it is
#: no more times as long. Rows come in bursts, and where none was seen, there may be many.
_MOST_LESS, _MOST_MORE = 1 / 32, 8.0
#: The estimate is sure if windows had at most so many times more or fewer pages than expected.
_SURE = 2.0
#: Up to this much doubt, the next windows are as long as before. Rows arrive by chance, and requests
#: must not depend on the order of the responses.
_CHANCE = 1.02
#: Up to this much doubt, all pages expected of a window are requested at once. It is this much before
#: a window was read, if enough rows of a sorted list were seen.
_LITTLE = 1.3
#: Full pages to request at first if nothing is known of a window: pages overlap, so these are two.
_FIRST_PAGES = 1.5
#: Full pages to request of the last window beyond those expected.
_LAST_PAGES = 0.5
#: A rest of up to this many times the next window is not cut any more.
_LAST = 1.25
#: Fewest pages that a window counts for, so that the next ones are not expected to have none.
_FEWEST = 0.05

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Times of rows that were seen, in the order of the list.

    Attributes:
        place: Pages in front of them.
        share: The part of a page that they are.
        seconds: Their times, in seconds since 1970.
    """

    place: float
    share: float
    seconds: Seconds


class Density:
    """The pages that parts of a window have, as far as known.

    The rows seen give a first estimate. If they are in the order of time, the list is taken to be
    sorted: then it is known how many rows lie between two of them. If they are not, they are taken
    for a random sample, which they are often not: lists are sorted by id, and new rows change more
    than old ones. So the window that was read last decides how much of the estimate, and how much
    time, the next one spans.

    Args:
        window: The window.
        samples: Rows seen, in the order of the list.
        total: Pages of the window.
        is_exact: Whether there are no more than ``total``.
        wanted: Pages that the parts of the window should have.

    Attributes:
        total: Pages of the window, or the least number of them.
        doubt: How many times more or fewer pages than expected the part read last had; infinite if
            that is not known.
    """

    def __init__(
        self,
        window: Window,
        samples: Sequence[Sample],
        total: float,
        is_exact: bool,
        wanted: float,
    ) -> None:
        start, end = _ends(window)
        seconds = np.clip(np.concatenate([each.seconds for each in samples]), start, end)
        places = np.round(np.concatenate([_places(each) for each in samples]), 6)
        # Pages overlap.
        order = np.argsort(places, kind="stable")
        seconds, places = seconds[order], places[order]
        self.doubt = _LITTLE if is_exact else inf
        if _rises(seconds):
            self._seconds, self._pages = _rising(start, end, seconds, places, total, is_exact)
            if not is_exact:
                self.doubt = _LITTLE if places[-1] >= wanted else _SURE
        elif _rises(-seconds):
            back, pages = _rising(-end, -start, -seconds, places, total, is_exact)
            if not is_exact:
                # Not as close as the last rows: the first windows perhaps lie in years without any.
                most = min(pages[-1], 2 * max(places[-1], total))
                back, pages = np.delete(back, -2), np.append(pages[:-2], most)
            self._seconds, self._pages = -back[::-1], pages[-1] - pages[::-1]
        else:
            shares = (np.arange(len(seconds)) + 0.5) / max(len(seconds), 1)
            self._seconds = np.array([start, *np.sort(seconds), end])
            self._pages = total * np.array([0.0, *shares, 1.0])
        self._window = window
        self._wanted = wanted
        self.total = float(self._pages[-1])
        self._first = float(seconds.min()) if len(seconds) else start
        #: Pages in a part of the window for each that was estimated at first.
        self._scale = 1.0
        #: Pages, as estimated at first, and seconds that the next window may span.
        self._next = self.total / FIRST_PARTS if self.doubt == inf else wanted
        self._length = inf
        #: Pages that were read, and those estimated at first for the same windows.
        self._read = self._estimated = 1.0

    @property
    def is_sure(self) -> bool:
        """Whether windows have about as many pages as expected."""
        return self.doubt <= _SURE

    def expected(self, window: Window) -> float:
        """Return the number of pages that the next window is expected to have."""
        return self._scale * self._estimate(window)

    def first_pages(self, window: Window) -> float:
        """Return how many full pages of the next window to request at first."""
        expected = self.expected(window)
        if self.doubt == inf:
            return min(expected, _FIRST_PAGES)
        if self.doubt > _LITTLE:
            return expected / self.doubt
        # No other window would be requested while one more page of the last one is.
        return expected + (_LAST_PAGES if window.end == self._window.end else 0)

    def remaining(self, window: Window) -> float:
        """Return the number of pages of a rest, if it is like all that was read."""
        return self._estimate(window) * self._read / self._estimated

    def cut(self, rest: Window) -> Sequence[Window]:
        """Return the first part of a window, and the rest of it, if any."""
        start, end = _ends(rest)
        if not rest.splittable:
            return [rest]
        pages = self._estimate(rest)
        # Equal parts: a short last one would take a request more.
        parts = max(ceil(pages / self._next - (_LAST - 1)), 1)
        before = float(np.interp(start, self._seconds, self._pages))
        at = end
        if parts > 1:
            at = float(np.interp(before + pages / parts, self._pages, self._seconds))
        # The time before the first row that was seen says nothing.
        first = max(start, self._first)
        if end - first > self._length * _LAST:
            at = min(at, first + self._length)
        if at < end:
            return rest.cut(at - start)
        # A whole window with too many pages is cut, whatever is expected of it.
        return rest.cut((end - start) / 2) if rest == self._window else [rest]

    def learn(self, window: Window, pages: float) -> None:
        """Correct the estimate by the pages that a part of the window has."""
        estimate, expected = self._estimate(window), self.expected(window)
        start, end = _ends(window)
        # A window without a full page does not say how wrong the estimate is.
        self.doubt = max(pages / expected, expected / pages) if pages >= 1 else inf
        self._read += pages
        self._estimated += estimate
        if self.doubt <= _CHANCE:
            return
        change = min(max(self._wanted / max(pages, _FEWEST), _MOST_LESS), _MOST_MORE)
        self._scale = max(pages, _FEWEST) / estimate
        self._next = estimate * change
        length = max(end - max(start, self._first), (end - start) / FIRST_PARTS)
        self._length = _MOST_MORE * length

    def _estimate(self, window: Window) -> float:
        """Return the pages that a part of the window was estimated to have at first; not 0."""
        first, last = np.interp(_ends(window), self._seconds, self._pages)
        return max(float(last - first), 1e-9)


def _ends(window: Window) -> tuple[float, float]:
    """Return when a window begins, and when the second behind it does."""
    return window.start.timestamp(), window.end.timestamp() + 1


def _places(sample: Sample) -> Seconds:
    """Return the number of pages in front of each row of a sample."""
    count = len(sample.seconds)
    return sample.place + sample.share * np.arange(count) / max(count, 1)


def _rises(seconds: Seconds) -> bool:
    """Return whether the rows of a list are in the order of time, as far as seen."""
    return bool(len(seconds) > 1 and seconds[-1] > seconds[0] and (np.diff(seconds) >= 0).all())


def _rising(
    start: float, end: float, seconds: Seconds, places: Seconds, total: float, is_exact: bool
) -> tuple[Seconds, Seconds]:
    """Return times, and the number of pages before each of them, of a list that rises.

    Args:
        start: Where the window begins.
        end: Where it ends.
        seconds: The times of the rows seen.
        places: The number of pages before each of them.
        total: The number of pages, or the least one.
        is_exact: Which of the two it is.
    """
    rate = (places[-1] - places[0]) / (seconds[-1] - seconds[0])
    beyond = 0.0 if is_exact else rate * (end - seconds[-1])
    pages = max(total, places[-1] + beyond)
    # Rows lie as close as before until there are no more.
    reach = min(end, seconds[-1] + (pages - places[-1]) / rate)
    return np.array([start, *seconds, reach, end]), np.array([0.0, *places, pages, pages])
