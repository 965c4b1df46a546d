"""How densely the rows of a window lie in time, and where to cut it into windows of some pages each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textlift.windows import Window

#: Windows to cut first if only the least number of pages is known.
FIRST_PARTS = 16
#: Largest change of the estimate by one window that was read. Rows come in bursts.
_MOST_LESS, _MOST_MORE = 1 / 4, 16.0
#: An estimate that was wrong by less than this stays, so that equal readings request equal windows.
_RIGHT = 0.1
#: An estimate that was wrong by more than this is not relied on.
_WRONG = 2.0
#: A rest of up to this many times the pages wanted is not cut any more.
_LAST = 1.25

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

    If the rows seen are in the order of time, the list is taken to be sorted: then it is known how
    many rows lie between two of them, and beyond the last one they are expected to be as close as
    before. If they are not, they are taken for a random sample. Each window that was read corrects
    the estimate.

    Args:
        window: The window.
        samples: Rows seen, in the order of the list.
        total: Pages of the window.
        is_exact: Whether there are no more than ``total``.
        wanted: Pages that the parts of the window should have.

    Attributes:
        total: Pages of the window, or the least number of them.
        is_sure: Whether the estimate was right for the window that was read last.
        trusted: Pages to request at a time before they are known to exist, if it is not sure.
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
        self._window = window
        self._is_bound = not is_exact
        if _rises(seconds):
            self._is_bound = False
            self._seconds, self._pages = _rising(start, end, seconds, places, total, is_exact)
        elif _rises(-seconds):
            back, pages = _rising(-end, -start, -seconds, places, total, is_exact)
            self._seconds, self._pages = -back[::-1], pages[-1] - pages[::-1]
        else:
            shares = (np.arange(len(seconds)) + 0.5) / max(len(seconds), 1)
            self._seconds = np.array([start, *np.sort(seconds), end])
            self._pages = total * np.array([0.0, *shares, 1.0])
        self._scale = 1.0
        self._is_sparse = False
        self._cuts: dict[Window, float] = {}
        self._wanted = wanted
        self.total = float(self._pages[-1])
        self.is_sure = False
        self.trusted = 2

    def expected(self, window: Window) -> float:
        """Return the number of pages that a window is expected to have."""
        first, last = np.interp(_ends(window), self._seconds, self._pages)
        return self._scale * float(last - first)

    def cut(self, rest: Window) -> Sequence[Window]:
        """Return the first part of a window, and the rest of it, if any."""
        wanted = self.total / FIRST_PARTS if self._is_bound else self._wanted
        if self._is_sparse:
            self._scale *= _MOST_LESS
        start, end = _ends(rest)
        if not rest.splittable:
            parts: Sequence[Window] = [rest]
        elif self.expected(rest) > wanted * _LAST:
            before = float(np.interp(start, self._seconds, self._pages))
            at = float(np.interp(before + wanted / self._scale, self._pages, self._seconds))
            parts = rest.cut(at - start)
        else:
            # A whole window with too many pages is cut, whatever is expected of it.
            parts = rest.cut((end - start) / 2) if rest == self._window else [rest]
        self._cuts[parts[0]] = self._scale
        return parts

    def learn(self, window: Window, pages: float) -> None:
        """Correct the estimate by the pages that a part of the window has."""
        scale = self._cuts.pop(window, self._scale)
        if self._is_bound and pages < 1:
            return
        first, last = np.interp(_ends(window), self._seconds, self._pages)
        expected = scale * float(last - first)
        more = pages / expected if expected else _MOST_MORE
        if abs(more - 1) > _RIGHT:
            scale *= min(max(more, _MOST_LESS), _MOST_MORE)
        self._scale = scale
        self._is_bound = False
        self._is_sparse = more * _WRONG < 1
        self.is_sure = 1 / _WRONG <= more <= _WRONG
        self.trusted = max(1, int(2 * pages))


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
