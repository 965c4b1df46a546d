"""Which pages of a window to ask for, and when all of its rows have been seen: no network, no clock.

Pages drift. A row that leaves the window while its pages are read moves all rows behind it up by
one, and the row that crosses from an unread page onto a read one is seen by nobody. So:

1. The last page is found, where the size of a page is known by asking for first rows alone, and
   read: it tells how many rows there are.
2. The pages before it are read, all at once.
3. The last page is read again. Any row that left or came since step 1 has changed it. So is the
   first, where nobody says how many there are: a row that was changed may come to the front of the
   list, which moves only those that were before it. If both are the same, nothing moved and the
   window is complete.
4. If it changed, the pages are read one by one, from the last to the first. A row that leaves now
   only moves others onto pages that are yet to be read. Then it is confirmed again.
5. What never stands still is cut into shorter windows, down to one page, which is all of a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum, auto

from .endpoints import Paging
from .errors import ServiceError
from .tables import Page, superseded, times
from .windows import SECOND, Window

#: Pages of one window; a window with more is cut, if it can be.
MAX_PAGES = 32
#: Pages that each part of such a window should have, as far as that can be told.
PART_PAGES = 8
#: Pages of a list that cannot be cut; more of them have no end.
MAX_LINKS = 4000

#: Readings of one window that changes all the time, before it is cut; if it cannot be, all that any
#: of them saw is taken.
MAX_READINGS = 5
#: Pages by which a list may grow while its end is looked for again.
MAX_CLIMBS = 100
#: Pages that each part of a window should have whose pages are counted by their first rows.
WIDE_PART_PAGES = 16
#: First rows asked for at a time to find the last page.
MAX_PROBES = 3
#: Windows made of one with more pages than are looked at.
OPEN_PARTS = 16
#: Windows made of one with an unknown number of pages.
UNKNOWN_PARTS = 4
#: Most windows made of one.
MAX_PARTS = 64

#: Pages whose first rows are asked for at once in a part, after the first page's.
_LOOKS = (8, 16, MAX_PAGES + 1)
_ENDLESS = "page follows page, and none is the last"
_UNPAGED = "the service answers every page with the same rows"


class Probe(int):
    """The number of a page of which only the first row is asked for: to know whether it is there."""


class _Phase(Enum):
    SEARCH = auto()
    DESCEND = auto()
    READ = auto()
    BACKWARD = auto()
    CONFIRM = auto()


class PagePlan:
    """The reading of one window, page by page.

    Call :meth:`receive` with every page that arrives; it returns the numbers of the pages to ask
    for next, some of them as a :class:`Probe`. The reading has ended when ``done`` or ``parts`` is
    set.

    Args:
        paging: How the endpoint pages.
        limit: Rows on a full page, if the service is known to keep to it.
        window: What is read; ``None`` if it has no bounds.
        cursor: Column with the time of a row.
        keyed: Whether rows can be told apart, so that two readings can be put together.
        settled: Whether rows never leave a window once they are in it.
        looks: Pages whose first rows to ask for first; none to begin with all of the first page,
            which most windows end with.

    Attributes:
        first: What to ask for first.
        done: Every row has been seen; they are in :meth:`pages`.
        parts: Not 0 if the window holds too many pages: cut it into so many.
        looks: The same for each of these.
        unpaged: Every page has the same rows, and nobody knows how many rows fit a page.
    """

    def __init__(
        self,
        paging: Paging,
        limit: int | None,
        window: Window | None = None,
        cursor: str | None = None,
        keyed: bool = True,
        settled: bool = False,
        looks: Sequence[int] = (),
    ) -> None:
        looks = looks if limit is not None and paging is Paging.OPEN else ()
        self.first: Sequence[int] = [Probe(n) for n in looks] or (1,)
        self.done = False
        self.parts = 0
        self.looks: Sequence[int] = ()
        self.unpaged = False
        self._paging = paging
        self._limit = limit
        self._window = window
        self._splittable = window is not None and window.splittable
        self._cursor = cursor
        self._keyed = keyed
        self._settled = settled
        # Of parts there are others to be read meanwhile.
        self._at_once = 1 if looks else MAX_PROBES
        self._phase = _Phase.SEARCH
        self._current: dict[int, Page] = {}
        self._probes: dict[int, Page] = {}
        self._earlier: list[Page] = []
        self._checks: dict[int, Page] = {}
        self._first: Page | None = None
        self._waiting = set(self.first)
        self._last = 1
        self._readings = 1
        self._climbs = 0

    def pages(self) -> Sequence[Page]:
        """The pages whose rows make up the window; of a row met twice the later one is newer."""
        current = list(self._current.values())
        earlier = self._earlier if self._keyed else ()
        return [*(superseded(page, current) for page in earlier), *current]

    def receive(self, number: int, page: Page) -> Sequence[int]:
        """Take page ``number`` and say which pages to ask for next.

        Raises:
            ServiceError: The service does not heed the page, or the window, that was asked for.
        """
        self._waiting.discard(number)
        if self._phase is _Phase.CONFIRM:
            self._checks[number] = page
            asked = () if self._waiting else self._confirm()
        elif isinstance(number, Probe):
            self._probes[int(number)] = page
            asked = () if self._waiting else self._look_on()
        else:
            self._current[number] = page
            if self._phase is _Phase.SEARCH:
                counted = page.page_count is not None
                asked = self._count(number, page) if counted else self._search(number, page)
            elif self._phase is _Phase.DESCEND:
                asked = self._descend(number, page)
            elif self._phase is _Phase.READ:
                asked = () if self._waiting else self._ask_to_confirm(self._last)
            else:
                asked = self._backward(number, page)
        self._waiting.update(asked)
        return asked

    def _ends(self, page: Page) -> bool:
        """Whether no page comes after ``page``."""
        is_short = self._limit is not None and page.rows < self._limit
        return page.rows == 0 or (is_short and not page.salvaged)

    def _cut(self, parts: int) -> Sequence[int]:
        """Give up the window for shorter ones."""
        assert self._window is not None
        inside([*self._current.values(), *self._probes.values()], self._window, self._cursor)
        self.parts = parts
        return ()

    def _cut_or_fail(self) -> Sequence[int]:
        """Give up a window of which only the first page can be had."""
        if not self._splittable:
            raise ServiceError(_UNPAGED)
        return self._cut(UNKNOWN_PARTS)

    def _count(self, number: int, page: Page) -> Sequence[int]:
        """Find the last page where the service says how many there are."""
        count = page.page_count or 1
        if len(self._current) > MAX_CLIMBS:
            raise ServiceError("every page says that there are more pages than the last one said")
        if self._splittable and count > MAX_PAGES:
            return self._cut(min(MAX_PARTS, 2 * count // MAX_PAGES))
        return (count,) if count != number else self._read(number)

    def _search(self, number: int, page: Page) -> Sequence[int]:
        """Find the last page where nobody says how many there are."""
        if self._paging is Paging.SINGLE or (number == 1 and self._ends(page)):
            return self._read(1)
        first = self._current[1].fingerprint
        if [seen.fingerprint for seen in self._current.values()].count(first) == 3:
            if self._limit is not None:
                return self._cut_or_fail()
            self._current = {1: page}
            self.done = self.unpaged = True
            return ()
        if self._splittable and number > MAX_PAGES and page.rows and page.fingerprint != first:
            return self._cut(UNKNOWN_PARTS)
        return () if self._waiting else self._look_on()

    def _look_on(self) -> Sequence[int]:
        """Narrow down where the pages end."""
        seen, probes = self._current, self._probes
        found = [probe for probe in probes.values() if probe.rows]
        if len(found) > 2 and all(_alike(found[0], probe) for probe in found):
            return self._cut_or_fail()
        ended = {n for n, page in seen.items() if self._ends(page)}
        ended.update(n for n, probe in probes.items() if not probe.rows)
        full = max({*seen, *probes} - ended, default=0)
        end = min(ended, default=None)
        if self._splittable and full > MAX_PAGES:
            if end is None and full == MAX_PAGES + 1:
                # A look at a page is as deep as a page, which costs the service.
                return [Probe(2 * MAX_PAGES), Probe(3 * MAX_PAGES)]
            parts = OPEN_PARTS if end is None else full * 3 // 2 // WIDE_PART_PAGES
            # Without an end in sight most parts may well be empty.
            self.looks = (1,) if end is None else (1, *_LOOKS)
            return self._cut(max(UNKNOWN_PARTS, parts))
        if end is None:
            if full > MAX_LINKS:
                raise ServiceError(_ENDLESS)
            if full == 1 and 1 in probes and not seen:
                return [Probe(n) for n in _LOOKS]
            if full == 1:
                return (2,) if self._limit is None else (2, Probe(1))
            steps = [full * 2, full * 4, full * 8]
            if self._splittable:
                steps = [n for n in steps if n <= MAX_PAGES] + [MAX_PAGES + 1]
            return [self._look_at(n) for n in steps]
        # Rows may have left since the first looks, so that a later page was still full.
        if end > full + 1:
            between = min(end - full - 1, self._at_once if self._limit else 1)
            return [
                self._look_at(full + (end - full) * n // (between + 1))
                for n in range(1, between + 1)
            ]
        if end in seen:
            return self._found(end)
        if full in seen:
            return self._read(full)
        self._phase = _Phase.DESCEND
        return (max(full, 1),)

    def _look_at(self, number: int) -> int:
        """How to ask whether there is such a page: by its first row, if it is known which that is."""
        return number if self._limit is None else Probe(number)

    def _found(self, end: int) -> Sequence[int]:
        """No page comes after ``end``; an empty one tells nothing of those before it."""
        if self._current[end].rows or end == 1:
            return self._read(end)
        if self._settled and end == 2:
            return self._read(1)
        self._phase = _Phase.DESCEND
        return (end - 1,)

    def _descend(self, number: int, page: Page) -> Sequence[int]:
        """Every page after ``number`` is empty."""
        return self._read(number) if page.rows or number == 1 else (number - 1,)

    def _read(self, last: int) -> Sequence[int]:
        """The last page is there; read those before it, also the ones read before it was."""
        self._last = last
        # As it was before all others that count; a row that comes to the front is its first row.
        first = self._current.get(1) if self._limit is None else self._probes.get(1)
        self._first = None if self._settled or last == 1 else first
        self._current = {last: self._current[last]}
        if last == 1 and self._is_alone(self._current[1]):
            self.done = True
            return ()
        self._phase = _Phase.READ
        return range(1, last) or self._ask_to_confirm(last)

    def _is_alone(self, page: Page) -> bool:
        """Whether a first page is known to be the only one without asking for another again."""
        return not page.pieced and (
            self._paging is Paging.SINGLE
            or self._settled
            or page.page_count is not None
            or self._ends(page)
        )

    def _ask_to_confirm(self, last: int) -> Sequence[int]:
        self._last = last
        self._checks = {}
        self._phase = _Phase.CONFIRM
        known = self._current[last]
        # A full last page does not tell of rows that came behind it.
        if known.page_count is not None:
            return (last,)
        first = (self._look_at(1),) if self._first and last > 1 else ()
        return (*first, last) if self._ends(known) else (*first, last, last + 1)

    def _confirm(self) -> Sequence[int]:
        page, known = self._checks[self._last], self._current[self._last]
        same = (page.fingerprint, page.page_count) == (known.fingerprint, known.page_count)
        first = self._checks.get(1)
        if self._first and first:
            same = same and self._looks(first) == self._looks(self._first)
            self._first = first
        behind = self._checks.get(self._last + 1)
        if same and not (behind and behind.rows):
            if self._last > 1 and page.rows and page.fingerprint == self._current[1].fingerprint:
                # Nothing moved, and yet the first page is the last one.
                return self._cut_or_fail()
            self.done = True
            return ()
        if self._readings == MAX_READINGS:
            if self._splittable:
                # What moves is in one part, and one page is all of a piece.
                return self._cut(UNKNOWN_PARTS)
            self.done = True
            return ()
        self._readings += 1
        self._phase = _Phase.BACKWARD
        self._earlier += self._current.values()
        self._current = {self._last: page}
        return self._backward(self._last, page)

    def _looks(self, page: Page) -> tuple[str, list[datetime]]:
        """What changes when a row comes to the front, also if it was there before."""
        return page.fingerprint, times(page.table, self._cursor) if self._cursor else []

    def _backward(self, number: int, page: Page) -> Sequence[int]:
        """Read from the last page to the first, after going up to the last if there are more."""
        if number == max(self._current):
            counted = page.page_count is not None
            above = page.page_count or 0 if counted else number + (not self._ends(page))
            if above > number and self._climbs < MAX_CLIMBS:
                self._climbs += 1
                # A page counts only if it was read after those behind it.
                self._earlier += self._current.values()
                self._current = {}
                return (above,)
        below = next((n for n in range(number - 1, 0, -1) if n not in self._current), None)
        if below is not None:
            return (below,)
        return self._ask_to_confirm(
            max(n for n in self._current if n == 1 or self._current[n].rows)
        )


class LinkPlan:
    """The reading of one window whose pages name the next one.

    The pages are read one after the other. Then those before the last are read again, all at once:
    if they are the same, all pages are what they were when the last one was read, and the window
    is complete. Else it is cut and read anew, down to the second.

    Args:
        window: What is read; ``None`` if it has no bounds.
        cursor: Column with the time of a row.

    Attributes:
        done: Every row has been seen; they are in :meth:`pages`.
        parts: Not 0 if the window holds too many pages, or never stands still: cut it into so many.
    """

    first: Sequence[int] = (1,)

    def __init__(self, window: Window | None, cursor: str | None) -> None:
        self.done = False
        self.parts = 0
        self.looks: Sequence[int] = ()
        self._window = window
        self._splittable = window is not None and window.splittable
        self._cursor = cursor
        self._current: dict[int, Page] = {}
        self._checks: dict[int, Page] = {}
        self._confirming = False
        self._readings = 1

    def pages(self) -> Sequence[Page]:
        """The pages whose rows make up the window."""
        return list(self._current.values())

    def link(self, number: int) -> str | None:
        """The link to page ``number``, which the page before it named; none for the first."""
        return self._current[number - 1].next_link if number > 1 else None

    def receive(self, number: int, page: Page) -> Sequence[int]:
        """Take page ``number`` and say which pages to ask for next.

        Raises:
            ServiceError: The pages have no end, or a window that cannot be cut never stands still.
        """
        if self._confirming:
            self._checks[number] = page
            return () if len(self._checks) < len(self._current) - 1 else self._confirm()
        self._current[number] = page
        if page.next_link is None:
            return self._end(number)
        if self._splittable and number >= MAX_PAGES:
            self.parts = self._estimate_parts()
            return ()
        if any(page.next_link == self._current[n].next_link for n in range(1, number)):
            # A window that fits one page has no next one.
            return self._cut_or_fail()
        if number >= MAX_LINKS:
            raise ServiceError(_ENDLESS)
        return (number + 1,)

    def _cut_or_fail(self) -> Sequence[int]:
        # Of a window without rows no part has a last page either.
        empty = not any(page.rows for page in self.pages())
        if not self._splittable or self._window is None or empty:
            raise ServiceError(_ENDLESS)
        inside(self.pages(), self._window, self._cursor)
        self.parts = UNKNOWN_PARTS
        return ()

    def _end(self, last: int) -> Sequence[int]:
        # One answer is all of a piece.
        self.done = last == 1
        self._confirming = not self.done
        self._checks = {}
        return range(1, last)

    def _confirm(self) -> Sequence[int]:
        self._confirming = False
        if all(_same(page, self._current[n]) for n, page in self._checks.items()):
            self.done = True
        elif self._splittable:
            # What moves is in one part; the others are read once.
            self.parts = UNKNOWN_PARTS
        elif self._readings < MAX_READINGS:
            self._readings += 1
            self._current = {}
            return self.first
        else:
            raise ServiceError(
                "the rows of this second do not stand still while they are read; the next run "
                "reads them again"
            )
        return ()

    def _estimate_parts(self) -> int:
        """How many parts the window should have, if its other rows lie as close as those seen."""
        assert self._window is not None and self._cursor is not None
        pages = self.pages()
        if not any(page.rows for page in pages[-PART_PAGES:]):
            raise ServiceError(_ENDLESS)
        times_inside = inside(pages, self._window, self._cursor)
        if not times_inside:
            return UNKNOWN_PARTS
        length = self._window.end - self._window.start
        share = (max(times_inside) - min(times_inside)) / length
        wanted = len(pages) / max(share, 1e-9) / PART_PAGES
        return max(UNKNOWN_PARTS, min(MAX_PARTS, int(wanted)))


def inside(pages: Iterable[Page], window: Window, cursor: str | None) -> list[datetime]:
    """The times of rows that lie in the window that was asked for.

    Raises:
        ServiceError: Most do not: whoever does not heed the window answers no shorter one better.
    """
    seen = [time for page in pages for time in times(page.table, cursor)] if cursor else []
    found = [time for time in seen if window.start <= time < window.end + SECOND]
    if 2 * len(found) < len(seen):
        raise ServiceError("most rows lie outside the window that was asked for")
    return found


def _alike(page: Page, other: Page) -> bool:
    return page.fingerprint == other.fingerprint


def _same(page: Page, other: Page) -> bool:
    ends = page.next_link is None, other.next_link is None
    return _alike(page, other) and ends[0] == ends[1]
