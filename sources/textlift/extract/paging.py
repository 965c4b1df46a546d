"""Which pages of a window to request, and when all of its rows were seen. No network, no clock.

Pages drift. If a row leaves the window while its pages are read, all rows behind it move up by one,
and a row can move from a page that was not read yet to one that was. Two plans detect that:

- :class:`OverlapPlan`, if the service returns as many rows as requested. Each page begins with the
  last rows of the page before it. To get that, each page is a few rows shorter than the one before:
  page 1 of 1,000 rows, page 2 of 998, page 3 of 997. A row on both pages has not moved, and rows that
  have not moved keep their order. So no such row lies between the two pages, whatever moved, and in
  whatever order the pages were read. Two pages without a common row are read again.
- :class:`SequencePlan`, if the service names the next page, or chooses the size of its pages. The
  pages are read one after the other; then all but the last are read again. If they are the same,
  nothing moved. That is certain if rows only arrive. If rows also leave, a list that moves up and
  down again between two responses can hide a row: once in 10,000 readings with up to four changes
  each. The lookback reads recent rows again.

A short page ends a list only if the service was seen to end lists so: see :class:`PageSize`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from math import ceil, inf

import numpy as np

from textlift.declare import Endpoint, Paging
from textlift.errors import ServiceError
from textlift.extract.density import Density, Sample, Seconds
from textlift.windows import Window

#: Most pages of a window. A window with more is cut into smaller ones if possible.
MAX_PAGES = 64
#: Pages that each part of such a window should have, as far as known. Pages overlap, so 23 hold a
#: few rows more than 22 full ones.
PART_PAGES = 22
#: The same two if pages are read one after the other.
MAX_SEQUENCE, SEQUENCE_PART = 32, 8
#: Most pages of a list that cannot be split. A longer one is taken for endless.
MAX_DEPTH = 20_000
#: Readings of a window that keeps changing, before it is split. If it cannot be split, the rows of
#: all readings are used.
MAX_READINGS = 5
#: Pages requested at a time after a full first page.
NEXT_PAGES = 3
#: Share of the pages that were full to request next, if there are more than were expected.
_MORE_BEYOND = 0.25
#: If a window may have this many times the pages expected, a probe tells whether it is too large.
_DOUBTFUL = 1.4
#: Pages of a counted list requested at a time before more are known to exist.
FIRST_PAGES = 16
#: Parts of a window in which it is not known how many rows there are.
UNKNOWN_PARTS = 4
#: If the first page has all rows of a shorter time than this share of its window, it is taken for a
#: burst that says nothing of the rest.
_SHORTEST_SHARE = 1 / 4096
#: No service has shorter pages, so fewer rows are never a full page.
MIN_PAGE = 20
#: Most consecutive requests for a slice without a new row.
MAX_EMPTY_REQUESTS = 1000

#: Least rows that a page has in common with the one before it; fewer if pages are short.
_OVERLAP = 4
#: Pages with a lower limit do not overlap: the overlap would be too large a part of them. A list that
#: cannot be split can be long, so its bound is higher.
_SHORTEST_OVERLAPPING, _SHORTEST_ANYWHERE = 10, 50
#: Rows at each end of a page that are compared with its neighbours.
EDGE_ROWS = 64
#: Page numbers to choose from for the page that reaches farthest.
_CHOICES = 40
_ENDLESS = "page follows page, and none is the last"
_UNPAGED = "the service answers every page with the same rows"
_MISSING = "the service counts more rows than its pages have"
_RESTLESS = "the rows keep changing while they are read; the next run reads them again"


@dataclass(frozen=True)
class PageRequest:
    """A request for a page.

    Attributes:
        number: Number of the page at the service, from 1.
        limit: Rows to request; ``None`` leaves that to the service.
        index: Number of the page in the plan, from 1.
        probe: Whether it only finds out if the page has rows.
    """

    number: int
    limit: int | None
    index: int
    probe: bool = False


@dataclass(frozen=True)
class PageMetadata:
    """What a plan sees of a page.

    Attributes:
        place: Where its rows are stored.
        rows: Records on the page, including those that cannot be loaded.
        loaded: Records that can be loaded.
        fingerprint: Equal for two responses with the same records.
        head: Digests of its first rows, up to ``EDGE_ROWS``.
        tail: Digests of its last rows, up to ``EDGE_ROWS``.
        page_count: Number of pages, if the service states it.
        total: Rows on all pages, if the service states them.
        next_link: URL of the next page, if the service names it.
        dated: Rows with a time.
        inside: Rows with a time in the requested window.
        earliest: The first of these times; of a sorted list, that of all rows.
        latest: The last of these times; of a sorted list, that of all rows.
        seconds: The times in the requested window, in seconds since 1970, in the order of the page.
        descends: Whether no row of the page has a later time than the one before it.
        salvaged: Whether records may be missing from the count.
        pieced: Whether it was made of several responses, between which rows may have moved.
    """

    place: int
    rows: int
    loaded: int
    fingerprint: str
    head: tuple[int, ...] = ()
    tail: tuple[int, ...] = ()
    page_count: int | None = None
    total: int | None = None
    next_link: str | None = None
    dated: int = 0
    inside: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None
    seconds: Seconds = field(default_factory=partial(np.empty, 0), compare=False, repr=False)
    descends: bool = True
    salvaged: bool = False
    pieced: bool = False


@dataclass(frozen=True)
class Kept:
    """A page whose rows are used.

    Attributes:
        place: Where its rows are stored.
        skip: Number of its first rows that are on the page before it as well.
    """

    place: int
    skip: int = 0


class PageSize:
    """What a run knows of the size of an endpoint's pages, shared by all of its windows.

    A page with fewer rows than requested can be the last one; or the service has a lower limit; or
    it filters rows after it has cut the page. So such a page ends a list only if a page at least as
    long was followed by an empty one before. Else the next page is requested.

    Args:
        limit: Rows to request; ``None`` if the service has no documented limit.
        is_fixed: Whether requests cannot choose the number of rows; ``limit`` is the service's.

    Attributes:
        limit: Rows to request now.
        is_kept: Whether the service returns no more rows than requested, as far as known.
        has_been_full: Whether a page had all the rows requested.
        was_capped: Whether the limit was lowered to what the service returns.
        version: Changes with ``limit`` and ``is_kept``; windows that are being read then begin again.
        lessons: Changes when more is known of short pages; plans that are ``held`` then continue.
    """

    def __init__(self, limit: int | None, is_fixed: bool = False) -> None:
        self.limit = limit
        self.is_fixed = is_fixed
        self.is_kept = limit is not None
        self.version = 0
        self.lessons = 0
        self._last = 0
        self._waiting_behind: dict[Plan, int] = {}
        self.has_been_full = False
        self.was_capped = False
        self._short_ends = True

    @property
    def knows_ends(self) -> bool:
        """Whether a short page was seen to end a list, and none was followed by more rows."""
        return self._short_ends and self._last > 0

    def ends(self, page: PageMetadata, limit: int | None) -> bool:
        """Return whether no page follows this one, which was requested with ``limit`` rows."""
        if not page.rows:
            return True
        if limit is None or not self.is_kept or page.salvaged or page.rows >= limit:
            return False
        # As long as the last page of another list: that can be the service's own limit.
        known = page.rows < self._last or (
            page.rows == self._last and (self.has_been_full or page.rows < MIN_PAGE)
        )
        return self._short_ends and known

    def saw(self, page: PageMetadata, request: PageRequest) -> None:
        """Learn from a page."""
        if request.limit is None or request.probe or page.pieced:
            return
        self.has_been_full = self.has_been_full or page.rows == request.limit
        if page.rows > request.limit and self.is_kept:
            self.is_kept = False
            self.version += 1
            self.stop_waiting()

    def may_request_next(self, page: PageMetadata, plan: Plan) -> bool:
        """Return whether to request the page behind a short one now, or to wait for another plan."""
        others = (
            rows
            for other, rows in self._waiting_behind.items()
            if other is not plan and not other.ended
        )
        if self._short_ends and any(rows >= page.rows for rows in others):
            return False
        self._waiting_behind[plan] = page.rows
        return True

    def saw_end(self, last: PageMetadata, plan: Plan) -> None:
        """Learn that an empty page follows ``last``."""
        self._last = max(self._last, last.rows)
        if self._waiting_behind.pop(plan, None) is not None:
            self.lessons += 1

    def saw_more(self) -> None:
        """Learn that more rows of the list followed a short page."""
        if self._short_ends:
            self._short_ends = False
            self.stop_waiting()

    def stop_waiting(self) -> None:
        """Stop waiting for the pages behind short ones."""
        self._waiting_behind.clear()
        self.lessons += 1

    def saw_cap(self, rows: int) -> None:
        """Learn that the service returns at most ``rows`` rows, whatever is requested."""
        if self.limit is not None and rows < self.limit:
            self.limit = rows
            self.was_capped = True
            self.version += 1
            self.stop_waiting()


class Plan(ABC):
    """The reading of one window, page by page.

    Pass each page to :meth:`receive`; it returns the next requests. The reading ends when ``done``,
    ``parts`` or ``density`` is set, or when the ``version`` of ``size`` changes.

    Args:
        paging: How the endpoint pages.
        size: What is known of its pages.
        window: The window; ``None`` if it has no bounds.
        keyed: Whether rows have keys, so that the rows of two readings can be merged.
        settled: Whether rows never leave a window.

    Attributes:
        done: Whether all rows were seen; they are on the pages of :meth:`kept`.
        parts: Number of parts to split the window into, because it cannot be read as it is; or 0.
        density: How to cut the window into smaller ones, because it has too many pages.
        unpaged: Whether every page has the same rows, and the size of a page is unknown.
        held: Whether it waits until more is known of short pages; :meth:`resume` continues it.
    """

    def __init__(
        self,
        paging: Paging,
        size: PageSize,
        window: Window | None = None,
        keyed: bool = True,
        settled: bool = False,
    ) -> None:
        self.done = False
        self.held = False
        self.parts = 0
        self.density: Density | None = None
        self._probed: dict[int, PageMetadata] = {}
        self.unpaged = False
        self._paging = paging
        self._size = size
        self._window = window
        self._splittable = window is not None and window.splittable
        self._keyed = keyed
        self._settled = settled
        self._current: dict[int, PageMetadata] = {}
        self._earlier: list[PageMetadata] = []
        self._readings = 1

    @property
    def ended(self) -> bool:
        """Whether all rows were seen, or the window is to be read in parts."""
        return self.done or self.parts > 0 or self.density is not None

    @property
    @abstractmethod
    def first(self) -> Sequence[PageRequest]:
        """The first requests."""

    @abstractmethod
    def receive(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        """Take the response to a request and return the next requests.

        Raises:
            ServiceError: The service ignores the page or the window requested, or the rows of a
                window that cannot be split keep changing.
        """

    @abstractmethod
    def resume(self) -> Sequence[PageRequest]:
        """Return the next requests, now that more is known of short pages."""

    @abstractmethod
    def kept(self) -> Sequence[Kept]:
        """Return the pages whose rows are used. Of rows with the same key the last one is the newest."""

    def link(self, index: int) -> str | None:
        """Return the link to a page that the page before it named, if any."""
        return None

    @property
    def extent(self) -> float:
        """Number of pages that were read, the last one as the part of a page that it is."""
        last = max(self._current)
        page, limit = self._current[last], self._size.limit
        return last - 1 + (page.rows / limit if limit else 1)

    def _split(self, parts: int) -> Sequence[PageRequest]:
        """Split the window."""
        _expect_inside(self._current.values())
        self.parts = parts
        return ()

    def _cut(self, total: float, is_exact: bool, wanted: float) -> Sequence[PageRequest]:
        """Cut the window, which has ``total`` pages, into windows of ``wanted`` pages."""
        _expect_inside(self._current.values())
        assert self._window is not None
        seen = {**self._probed, **self._current}
        samples = [self._sample(n, seen[n]) for n in sorted(seen)]
        self.density = Density(self._window, samples, total, is_exact, wanted)
        return ()

    def _sample(self, index: int, page: PageMetadata) -> Sample:
        """Return the times of a page with its place in the list."""
        return Sample(index - 1, 1, page.seconds)

    def _split_or_fail(self, reason: str) -> Sequence[PageRequest]:
        """Split the window, or raise ServiceError if it cannot be split."""
        if not self._splittable:
            raise ServiceError(reason)
        return self._split(UNKNOWN_PARTS)

    def _is_repeated(
        self, page: PageMetadata, limit: int | None, behind: PageMetadata | None
    ) -> bool:
        """Whether a short page is returned again as the next one: the service does not page."""
        is_short = limit is not None and self._size.is_kept and page.rows < limit
        if not is_short or behind is None or not behind.head:
            return False
        return page.head[: len(behind.head)] == behind.head

    def _end_repeated(self, page: PageMetadata) -> None:
        """End with a short page that was repeated. It has all rows, unless the service has a lower limit."""
        self._size.saw_end(page, self)
        self.unpaged = not self._size.has_been_full and page.rows >= MIN_PAGE

    def _rows_before(self, request: PageRequest) -> int:
        """Return the number of rows before a page."""
        return (request.number - 1) * (request.limit or 0)

    def _is_counted_last(self, request: PageRequest, page: PageMetadata) -> bool | None:
        """Whether this is the last page by the service's count; ``None`` if the count is unreliable.

        It is unreliable if it is lower than the number of a page with rows, or if the last page is
        full. If the service counts rows, a page is the last one only if all rows are there.
        """
        if self._has_more(request, page, page.total):
            return False
        count = _page_count(page, request.limit)
        if count is None or (page.rows and count < request.number):
            return None
        if count > request.number:
            return False
        return True if request.limit is None or page.rows < request.limit else None

    def _has_more(self, request: PageRequest, page: PageMetadata, total: int | None) -> bool:
        """Whether there are rows behind a page, if there are ``total`` rows."""
        if total is None or self._paging is not Paging.COUNTED:
            return False
        return self._rows_before(request) + page.rows < total


class OverlapPlan(Plan):
    """Reads pages that overlap, many at a time. The arguments and attributes are those of ``Plan``.

    Args:
        density: Of the larger window that the window is a part of.
        rows: Number of rows that there may be.
    """

    def __init__(
        self,
        paging: Paging,
        size: PageSize,
        window: Window | None = None,
        keyed: bool = True,
        settled: bool = False,
        density: Density | None = None,
        rows: int | None = None,
    ) -> None:
        super().__init__(paging, size, window, keyed, settled)
        assert size.limit is not None
        self._spans = _spans(size.limit)
        self._whole = density
        extent = density.expected(window) if density and window else (rows or 0) / size.limit
        self._expected = self._pages_in(extent)
        at_first = density.first_pages(window) if density and window else extent
        pages = self._with_end(self._pages_in(at_first))
        self._first = [self._request(n) for n in range(1, pages + 1)]
        self._waiting = set(self._first)

    @property
    def first(self) -> Sequence[PageRequest]:
        """The requests for the first pages."""
        return self._first

    @property
    def extent(self) -> float:
        """Number of pages that were read, without what they have in common."""
        last = max(n for n, page in self._current.items() if page.rows or n == 1)
        return (self._start(last) + self._current[last].rows) / self._limit(1)

    def kept(self) -> Sequence[Kept]:
        """Return all pages that were read; without keys, those that have each row once."""
        if self._keyed:
            return [Kept(at) for at in sorted(page.place for page in self._pages())]
        pages = [self._current[n] for n in sorted(self._current)]
        skips = [0, *(self._shared_rows(n) for n in range(1, len(pages)))]
        return [Kept(page.place, skip) for page, skip in zip(pages, skips)]

    def receive(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        """Continue when all responses are there."""
        self._waiting.discard(request)
        version = self._size.version
        self._size.saw(page, request)
        if request.probe:
            self._probed[request.index] = page
        else:
            if request.index in self._current:
                self._earlier.append(self._current[request.index])
            self._current[request.index] = page
        if self._waiting or self._size.version != version:
            return ()
        return self.resume()

    def resume(self) -> Sequence[PageRequest]:
        """Continue with the responses that are there."""
        self.held = False
        asked = self._continue()
        self._waiting.update(asked)
        return asked

    def _pages_in(self, extent: float) -> int:
        """Return the number of pages, at most ``MAX_PAGES``, that hold the rows of ``extent`` full ones."""
        ends = (self._spans[n][0] * self._spans[n][1] for n in range(1, MAX_PAGES))
        return 1 + sum(end < extent * self._limit(1) for end in ends)

    def _sample(self, index: int, page: PageMetadata) -> Sample:
        limit = self._limit(1)
        return Sample(self._start(index) / limit, len(page.seconds) / limit, page.seconds)

    def _pages(self) -> Iterable[PageMetadata]:
        return (*self._earlier, *self._current.values())

    def _request(self, index: int) -> PageRequest:
        return PageRequest(*self._spans[index], index)

    def _probe(self, index: int) -> PageRequest:
        """Return a request that finds out if a page has rows: for its first row."""
        number, limit = self._spans[index]
        return PageRequest((number - 1) * limit + 1, 1, index, probe=True)

    def _continue(self) -> Sequence[PageRequest]:
        if self._learn():
            return ()
        if self._repeats_itself():
            return self._split_or_fail(_UNPAGED)
        last = self._find_last()
        if last is None:
            return self._find_end()
        missing = [n for n in range(1, last) if n not in self._current]
        return [self._request(n) for n in missing] if missing else self._check(last)

    def _learn(self) -> bool:
        """Learn from short pages that others follow; whether the size of pages has changed."""
        current = self._current
        for n, page in current.items():
            behind = current.get(n + 1)
            if behind is None or page.rows >= self._limit(n) or not page.rows:
                continue
            if self._is_repeated(page, self._limit(n), behind):
                self._end_repeated(page)
                continue
            if behind.rows and not self._is_joined(n):
                self._size.saw_cap(page.rows)
                return True
            if n == 1 and not behind.rows and self._may_be_capped(behind.total):
                self._size.saw_cap(page.rows)
                return True
            if behind.loaded > self._shared_rows(n):
                self._size.saw_more()
            else:
                self._size.saw_end(page, self)
        return False

    def _may_be_capped(self, total: int | None) -> bool:
        """Whether the first page is short although rows follow, so that shorter pages may have them."""
        is_untried = not (self._size.has_been_full or self._size.was_capped)
        return is_untried and self._has_more(self._request(1), self._current[1], total)

    def _limit(self, index: int) -> int:
        return self._spans[index][1]

    def _find_last(self) -> int | None:
        """Return the last page that has rows, if it is known."""
        current = self._current
        full = max((n for n, page in current.items() if page.rows), default=0)
        seen = max((n for n, page in self._probed.items() if page.rows), default=0)
        for n in sorted(current):
            if not current[n].rows:
                return max(1, n - 1)
            if self._is_repeated(current[n], self._limit(n), current.get(n + 1)):
                return n
            # A page is more reliable than a probe.
            unsure = seen > n and n + 1 not in current
            if n == full and not unsure and self._is_last(n):
                return n
        return None

    def _repeats_itself(self) -> bool:
        """Whether all pages begin with the same rows."""
        pages = list(self._current.values())[:3]
        if len(pages) < 3:
            return False
        first, *others = (page.head[: MIN_PAGE if not self._keyed else 1] for page in pages)
        # Without keys, all rows of a page can be equal.
        distinct = self._keyed or len({*first}) > 1
        return bool(first) and distinct and all(other == first for other in others)

    def _is_last(self, index: int) -> bool:
        page = self._current[index]
        if self._paging is Paging.SINGLE:
            return True
        counted = self._is_counted_last(self._request(index), page)
        if page.salvaged or counted is None:
            return self._size.ends(page, self._limit(index))
        return counted

    def _find_end(self) -> Sequence[PageRequest]:
        """Return the requests that find the last page."""
        current, probes = self._current, self._probed
        newest = max(n for n, page in current.items() if page.rows)
        full = max([newest, *(n for n, page in probes.items() if page.rows)])
        if newest > MAX_DEPTH:
            raise ServiceError(_ENDLESS)
        number, limit = self._spans[newest]
        count = _page_count(current[newest], limit) or 0
        # If a part has as many pages as the whole, the service counts those of another window.
        is_counted = self._whole is None or count < self._whole.total
        if count > number and is_counted:
            return self._count_on(count, limit, newest)
        if self._splittable and full > MAX_PAGES:
            return self._cut(full, is_exact=False, wanted=PART_PAGES)
        if self._paging is not Paging.OPEN or not self._is_full(newest):
            if newest < full:
                # A probe has seen rows behind a short page.
                return [self._request(newest + 1)]
            self.held = not self._is_full(newest) and not self._size.may_request_next(
                current[newest], self
            )
            return () if self.held else (self._request(newest + 1),)
        if newest == 1 and self._splittable and self._expected == 1:
            pages = self._pages_like_the_first()
            if MAX_PAGES < pages < 1 / _SHORTEST_SHARE:
                return self._cut(pages, is_exact=False, wanted=PART_PAGES)
            probed = [self._probe(n) for n in (MAX_PAGES // 2, MAX_PAGES + 1)]
            return [*(self._request(n) for n in range(2, NEXT_PAGES + 2)), *probed]
        asked = [self._request(n) for n in range(newest + 1, self._next_end(newest, full) + 1)]
        if self._may_be_too_large(newest) and asked[-1].index <= MAX_PAGES:
            asked.append(self._probe(MAX_PAGES + 1))
        return asked

    def _next_end(self, newest: int, full: int) -> int:
        """Return the last page to request behind the newest one, which is full."""
        if newest < full:
            return full
        if newest < self._expected:
            end = min(2 * newest, self._expected)
        else:
            doubt = self._whole.doubt - 1 if self._whole else inf
            end = newest + min(ceil(newest * min(_MORE_BEYOND, doubt)), MAX_PAGES // 2)
        end = max(end, newest + NEXT_PAGES - 1)
        end = self._with_end(end)
        empty = min((n for n, page in self._probed.items() if not page.rows), default=end + 1)
        end = min(end, max(empty - 1, newest + 1))
        return min(end, MAX_PAGES + 1) if self._splittable else end

    def _with_end(self, pages: int) -> int:
        """Return how many pages to request of a part: one more if only that tells that it ends."""
        is_open = self._whole is not None and self._paging is Paging.OPEN
        return pages + (is_open and pages == self._expected and not self._size.knows_ends)

    def _may_be_too_large(self, newest: int) -> bool:
        """Whether to find out if a part of a larger window has too many pages."""
        if self._whole is None or not self._splittable or self._probed:
            return False
        more = newest / max(self._expected, NEXT_PAGES)
        return more >= 1 and more * self._whole.doubt >= _DOUBTFUL

    def _pages_like_the_first(self) -> float:
        """Return the number of pages of the window, if rows lie everywhere as on the first page."""
        assert self._window is not None
        first = self._current[1]
        if not first.earliest or not first.latest:
            return 0
        length = (self._window.end - self._window.start).total_seconds()
        return length / max((first.latest - first.earliest).total_seconds(), 1)

    def _is_full(self, index: int) -> bool:
        return self._current[index].rows >= self._limit(index)

    def _count_on(self, count: int, limit: int, full: int) -> Sequence[PageRequest]:
        """Request the pages that the service has counted, which may be too many."""
        first_is_full = self._is_full(1)
        if self._splittable and count > MAX_PAGES and first_is_full:
            return self._cut(count, is_exact=True, wanted=PART_PAGES)
        there = (count - 1) * limit
        last = full + 1
        while (
            last < max(FIRST_PAGES, 2 * full) and first_is_full and self._start(last + 1) <= there
        ):
            last += 1
        return [self._request(n) for n in range(1, last + 1) if n not in self._current]

    def _start(self, index: int) -> int:
        """Number of rows before a page."""
        number, limit = self._spans[index]
        return (number - 1) * limit

    def _check(self, last: int) -> Sequence[PageRequest]:
        """End, or read pages without a common row again; without keys, all pages."""
        pages = {n: self._current[n] for n in range(1, last + 1)}
        apart = [n for n in range(1, last) if not self._is_joined(n)]
        has_more = self._has_more_behind(last)
        if self._end_is_open(last) or has_more:
            apart.append(last)
        again = {m for n in apart for m in (n, n + 1)}
        again |= {n for n, page in pages.items() if page.pieced and not self._is_confirmed(n)}
        if not again:
            self._earlier += [page for n, page in self._current.items() if n > last]
            self._current = pages
            self.done = True
            return ()
        if self._readings > 1 and any(
            pages[n].head[:1] == pages[n + 1].head[:1] for n in apart if n < last
        ):
            return self._split_or_fail(_UNPAGED)
        if self._readings == MAX_READINGS:
            if self._splittable:
                # Only one part will keep changing.
                return self._split(UNKNOWN_PARTS)
            if not self._keyed or has_more:
                raise ServiceError(_MISSING if has_more else _RESTLESS)
            self.done = True
            return ()
        self._readings += 1
        if not self._keyed:
            again |= set(pages)
        return [self._request(n) for n in sorted(again)]

    def _has_more_behind(self, last: int) -> bool:
        """Whether the service counts rows behind the last page that has rows."""
        page, behind = self._current[last], self._current.get(last + 1)
        if behind is not None and page.rows:
            request = self._request(last + 1)
            return not behind.rows and self._has_more(request, behind, behind.total)
        newest = max(self._pages(), key=lambda page: page.place)
        return self._has_more(self._request(last), page, newest.total)

    def _end_is_open(self, last: int) -> bool:
        """Whether rows may have moved onto a full last page from the empty one behind it."""
        behind = self._current.get(last + 1)
        return behind is not None and not behind.rows and self._is_full(last)

    def _is_confirmed(self, index: int) -> bool:
        known = self._current[index].fingerprint
        return any(page.fingerprint == known for page in self._earlier)

    def _is_joined(self, index: int) -> bool:
        """Whether every row between a page and the next one has moved."""
        page, behind = self._current[index], self._current[index + 1]
        if self._keyed:
            moved_on = page.head[:1] != behind.head[:1]
            joined = moved_on and not set(page.tail).isdisjoint(behind.head)
        else:
            shared = self._shared_rows(index)
            joined = 0 < shared <= behind.loaded and page.tail[-shared:] == behind.head[:shared]
        # Records that cannot be loaded cannot be compared.
        complete = page.rows == page.loaded and behind.rows == behind.loaded
        return joined or (
            not complete and self._is_confirmed(index) and self._is_confirmed(index + 1)
        )

    def _shared_rows(self, index: int) -> int:
        """Number of rows that a page has in common with the next one, if nothing moves."""
        return max(0, self._start(index) + self._current[index].loaded - self._start(index + 1))


class SequencePlan(Plan):
    """Reads one page after the other, then all but the last again. The arguments are those of ``Plan``."""

    def __init__(
        self,
        paging: Paging,
        size: PageSize,
        window: Window | None = None,
        keyed: bool = True,
        settled: bool = False,
    ) -> None:
        super().__init__(paging, size, window, keyed, settled)
        self._checks: dict[int, PageMetadata] = {}
        self._links: set[str] = set()
        #: Number of pages that are being read again.
        self._unconfirmed = 0

    @property
    def first(self) -> Sequence[PageRequest]:
        """The request for the first page."""
        return (self._request(1),)

    def kept(self) -> Sequence[Kept]:
        """Return all pages that were read; without keys, those of one reading."""
        pages = (*(self._earlier if self._keyed else ()), *self._current.values())
        return [Kept(page.place) for page in pages]

    def link(self, index: int) -> str | None:
        """Return the link that the page before it named."""
        return self._current[index - 1].next_link if index > 1 else None

    def _request(self, index: int) -> PageRequest:
        return PageRequest(index, self._size.limit, index)

    def receive(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        """Continue with the next page, or confirm the pages read."""
        version = self._size.version
        self._size.saw(page, request)
        if self._size.version != version:
            return ()
        number = request.index
        if self._unconfirmed:
            self._checks[number] = page
            return () if len(self._checks) < self._unconfirmed else self._confirm()
        self._current[number] = page
        return self._continue(request, page)

    def resume(self) -> Sequence[PageRequest]:
        """Continue behind the last page."""
        self.held = False
        last = max(self._current)
        return self._continue(self._request(last), self._current[last])

    def _continue(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        number, before = request.index, self._current.get(request.index - 1)
        if not page.rows and self._has_more(request, page, page.total):
            return self._split_or_fail(_MISSING)
        if before is not None and self._is_repeated(before, request.limit, page):
            del self._current[number]
            self._end_repeated(before)
            return self._end(number - 1)
        if self._is_last(request, page):
            return self._end(number)
        if self._repeats_itself(page):
            self._current = {1: page}
            if self._size.is_kept:
                return self._split_or_fail(_UNPAGED)
            self.done = self.unpaged = True
            return ()
        count = _page_count(page, request.limit) or 0
        if self._splittable and count > MAX_SEQUENCE and number == 1 and page.rows == request.limit:
            return self._cut(count, is_exact=True, wanted=SEQUENCE_PART)
        if self._splittable and number >= MAX_SEQUENCE:
            if not any(page.rows for page in list(self._current.values())[-SEQUENCE_PART:]):
                raise ServiceError(_ENDLESS)
            return self._cut(number, is_exact=False, wanted=SEQUENCE_PART)
        known, link = len(self._links), page.next_link
        self._links.update([link] if link is not None else ())
        if link is not None and len(self._links) == known:
            # Splitting an empty window cannot help.
            if not any(page.rows for page in self._current.values()):
                raise ServiceError(_ENDLESS)
            return self._split_or_fail(_ENDLESS)
        if number >= MAX_DEPTH:
            raise ServiceError(_ENDLESS)
        short = self._size.is_kept and request.limit is not None and page.rows < request.limit
        self.held = short and not self._size.may_request_next(page, self)
        return () if self.held else (self._request(number + 1),)

    def _rows_before(self, request: PageRequest) -> int:
        return sum(page.rows for n, page in self._current.items() if n < request.index)

    def _is_last(self, request: PageRequest, page: PageMetadata) -> bool:
        if self._paging is Paging.LINKED:
            return page.next_link is None
        if self._paging is Paging.SINGLE or not page.rows:
            return True
        counted = self._is_counted_last(request, page)
        if counted is None or page.salvaged:
            return self._size.ends(page, request.limit)
        return counted

    def _repeats_itself(self, page: PageMetadata) -> bool:
        """Whether all pages have the same rows."""
        if self._paging is Paging.LINKED:
            return False
        alike = [_alike(self._current[n], page) for n in sorted(self._current)[:3]]
        # Without keys, all rows of a page can be equal.
        return len(alike) > 2 and all(alike) and (self._keyed or len({*page.head}) > 1)

    def _end(self, last: int) -> Sequence[PageRequest]:
        if self._paging is not Paging.LINKED:
            last = self._learn(last)
            if last > 1 and self._is_first_again(last):
                # The last counted page is the first one again.
                return self._split_or_fail(_UNPAGED)
        # A single response is consistent. If rows only arrive, one pass misses none.
        checked = [n for n in range(1, last + 1) if n < last or self._current[n].pieced]
        self.done = not checked or (self._settled and self._keyed)
        self._unconfirmed = len(checked)
        self._checks = {}
        return () if self.done else [self._request(n) for n in checked]

    def _learn(self, last: int) -> int:
        """Learn from short pages, drop an empty last one, and return the number of the last one."""
        limit, current = self._size.limit, self._current
        short = [n for n, page in current.items() if limit is not None and 0 < page.rows < limit]
        if last > 1 and not current[last].rows:
            del current[last]
            last -= 1
            if last in short:
                self._size.saw_end(current[last], self)
        if any(n < last for n in short):
            self._size.saw_more()
        return last

    def _is_first_again(self, last: int) -> bool:
        page = self._current[last]
        return _alike(page, self._current[1]) and (self._keyed or len({*page.head}) > 1)

    def _confirm(self) -> Sequence[PageRequest]:
        self._unconfirmed = 0
        if all(_same(page, self._current[n]) for n, page in self._checks.items()):
            self.done = True
        elif self._splittable:
            # Only one part will keep changing; the others are read once.
            return self._split(UNKNOWN_PARTS)
        elif self._readings < MAX_READINGS:
            self._readings += 1
            self._earlier += [*self._current.values(), *self._checks.values()]
            self._current = {}
            self._links.clear()
            return self.first
        elif self._keyed:
            self._earlier += self._checks.values()
            self.done = True
        else:
            raise ServiceError(_RESTLESS)
        return ()


class Budget:
    """Bounds the consecutive requests of a slice without a new row."""

    def __init__(self) -> None:
        self._empty_requests = 0
        self._seen: set[tuple[int, ...]] = set()

    def spend(self, page: PageMetadata | None) -> None:
        """Count a response.

        Args:
            page: The page; ``None`` if the service refused the window as too large.

        Raises:
            ServiceError: There were too many responses without a new row.
        """
        edges = (*page.head[:1], *page.tail[-1:]) if page else ()
        if edges and edges not in self._seen:
            self._seen.add(edges)
            self._empty_requests = 0
            return
        self._empty_requests += 1
        if self._empty_requests > MAX_EMPTY_REQUESTS:
            raise ServiceError(
                f"{MAX_EMPTY_REQUESTS} responses in a row brought no new row; the service counts more "
                "pages than there are, or ignores the window requested"
            )


def plan_for(
    endpoint: Endpoint,
    size: PageSize,
    window: Window | None,
    density: Density | None = None,
    rows: int | None = None,
) -> Plan:
    """Return the plan for a window of an endpoint.

    Args:
        endpoint: The endpoint.
        size: What is known of its pages.
        window: The window; ``None`` if it has no bounds.
        density: Of the larger window that this one is a part of.
        rows: Number of rows that there may be.
    """
    paging, keyed, settled = endpoint.paging, not endpoint.identity, endpoint.settled
    shortest = _SHORTEST_OVERLAPPING if window and window.splittable else _SHORTEST_ANYWHERE
    overlaps = size.is_kept and not size.is_fixed and (size.limit or 0) >= shortest
    if paging is Paging.LINKED or not overlaps:
        return SequencePlan(paging, size, window, keyed, settled)
    return OverlapPlan(paging, size, window, keyed, settled, density, rows)


class _Spans:
    """Page number and limit of each of the pages that overlap, of at most ``limit`` rows."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._overlap = min(_OVERLAP, limit // _SHORTEST_OVERLAPPING)
        self._spans = [(1, limit)]

    def __getitem__(self, index: int) -> tuple[int, int]:
        while len(self._spans) < index:
            number, limit = self._spans[-1]
            self._spans.append(self._next(number * limit - self._overlap))
        return self._spans[index - 1]

    def _next(self, start: int) -> tuple[int, int]:
        """Return the page that begins at or before a row and reaches farthest."""
        fewest = -(-start // self._limit)
        choices = range(fewest, min(start, fewest + max(_CHOICES, fewest // 4)) + 1)
        before = max(choices, key=lambda n: (n + 1) * (start // n))
        return before + 1, start // before


@lru_cache(maxsize=64)
def _spans(limit: int) -> _Spans:
    return _Spans(limit)


def _page_count(page: PageMetadata, limit: int | None) -> int | None:
    """Return the number of pages by the service's count; ``None`` if it states none."""
    if page.page_count is None and page.total is not None and limit:
        return -(-page.total // limit)
    return page.page_count


def _expect_inside(pages: Iterable[PageMetadata]) -> None:
    """Raise ServiceError if most rows lie outside the window: splitting it cannot help."""
    pages = list(pages)
    if 2 * sum(page.inside for page in pages) < sum(page.dated for page in pages):
        raise ServiceError("most rows lie outside the window requested")


def _alike(page: PageMetadata, other: PageMetadata) -> bool:
    return page.rows > 0 and page.fingerprint == other.fingerprint


def _same(page: PageMetadata, other: PageMetadata) -> bool:
    ends = page.next_link is None, other.next_link is None
    return page.fingerprint == other.fingerprint and ends[0] == ends[1]
