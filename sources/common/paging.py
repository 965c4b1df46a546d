"""Which pages of a window to ask for, and when all of its rows have been seen: no network, no clock.

Pages drift. A row that leaves the window while its pages are read moves all rows behind it up by
one, and the row that crosses from an unread page onto a read one is seen by nobody. So:

1. Pages are read all at once, and then the last one again. Rows before it that left, or came, have
   changed it; if it is the same, nothing moved and the window is complete.
2. If it changed, the pages are read again one by one, from the last to the first. A row that leaves
   now only moves others onto pages that are yet to be read. Then the last page is confirmed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from .endpoints import Paging
from .tables import Page

#: Pages of one window; a window with more is cut, if it can be.
MAX_PAGES = 10
#: Readings of one window that changes all the time, before what all of them saw is taken.
MAX_READINGS = 5
#: Pages asked for at once where nobody knows how many there are.
MAX_WAVE = 32
#: Windows made of one with an unknown number of pages.
UNKNOWN_PARTS = 8
#: Most windows made of one.
MAX_PARTS = 64


class _Phase(Enum):
    FORWARD = auto()
    CONFIRM = auto()
    BACKWARD = auto()


class PagePlan:
    """The reading of one window, page by page.

    Call :meth:`receive` with every page that arrives; it returns the numbers of the pages to ask
    for next. The reading has ended when ``done`` or ``parts`` is set.

    Args:
        paging: How the endpoint pages.
        limit: Rows on a full page, if the service is known to keep to it.
        splittable: Whether the window can be cut into shorter ones.
        keyed: Whether rows can be told apart, so that two readings can be put together.

    Attributes:
        done: Every row has been seen; they are in :meth:`pages`.
        parts: Not 0 if the window holds too many pages: cut it into so many.
    """

    FIRST = (1,)

    def __init__(
        self, paging: Paging, limit: int | None, splittable: bool, keyed: bool = True
    ) -> None:
        self.done = False
        self.parts = 0
        self._paging = paging
        self._limit = limit
        self._splittable = splittable
        self._keyed = keyed
        self._phase = _Phase.FORWARD
        self._current: dict[int, Page] = {}
        self._earlier: list[Page] = []
        self._waiting = set(self.FIRST)
        self._top = 1
        self._last = 1
        self._readings = 1

    def pages(self) -> Sequence[Page]:
        """The pages whose rows make up the window; of a row met twice the later one is newer."""
        return [*(self._earlier if self._keyed else ()), *self._current.values()]

    def receive(self, number: int, page: Page) -> Sequence[int]:
        """Take page ``number`` and say which pages to ask for next."""
        if self._phase is _Phase.CONFIRM:
            return self._confirm(page)
        self._current[number] = page
        self._waiting.discard(number)
        if self._phase is _Phase.BACKWARD:
            return self._backward(number, page)
        return self._forward(number, page)

    def _ends(self, page: Page) -> bool:
        return page.rows == 0 or (self._limit is not None and page.rows < self._limit)

    def _ask(self, numbers: Sequence[int]) -> Sequence[int]:
        self._waiting.update(numbers)
        self._top = max(self._top, *numbers)
        return numbers

    def _forward(self, number: int, page: Page) -> Sequence[int]:
        if self._paging is Paging.SINGLE:
            self.done = True
            return ()
        if page.page_count is not None:
            if number == 1 and page.page_count > 1:
                if page.page_count > MAX_PAGES and self._splittable:
                    self.parts = min(MAX_PARTS, 2 * page.page_count // MAX_PAGES)
                    return ()
                return self._ask(range(2, page.page_count + 1))
            return () if self._waiting else self._seen_all(self._top)
        if number > MAX_PAGES and self._splittable and page.rows:
            self.parts = UNKNOWN_PARTS
            return ()
        if self._waiting:
            return ()
        ends = [n for n in sorted(self._current) if self._ends(self._current[n])]
        if ends and ends[0] <= len(self._current):
            return self._seen_all(max(1, ends[0] if self._current[ends[0]].rows else ends[0] - 1))
        return self._ask(self._next_wave())

    def _next_wave(self) -> Sequence[int]:
        read = next(n for n in range(1, self._top + 2) if n not in self._current) - 1
        wave = list(range(read + 1, read + 1 + min(read, MAX_WAVE)))
        if self._splittable:
            wave = [n for n in wave if n <= MAX_PAGES]
            if read == 2:
                # One look past the deepest page tells a crowded window before all of it is read.
                wave.append(MAX_PAGES + 1)
        return wave

    def _seen_all(self, last: int) -> Sequence[int]:
        self._last = last
        if last == 1:
            self.done = True
            return ()
        self._phase = _Phase.CONFIRM
        return (last,)

    def _confirm(self, page: Page) -> Sequence[int]:
        known = self._current[self._last]
        if (page.fingerprint, page.page_count) == (known.fingerprint, known.page_count):
            self.done = True
            return ()
        if self._readings == MAX_READINGS:
            self.done = True
            return ()
        self._readings += 1
        self._phase = _Phase.BACKWARD
        self._earlier += self._current.values()
        self._current = {self._last: page}
        self._top = self._last
        return self._backward(self._last, page)

    def _backward(self, number: int, page: Page) -> Sequence[int]:
        if number == self._top:
            if page.page_count is not None and page.page_count > number:
                self._top = page.page_count
                return (self._top,)
            if page.page_count is None and not self._ends(page):
                self._top = number + 1
                return (self._top,)
        below = next((n for n in range(number - 1, 0, -1) if n not in self._current), None)
        if number > 1 and below is not None:
            return (below,)
        return self._seen_all(max((n for n, page in self._current.items() if page.rows), default=1))
