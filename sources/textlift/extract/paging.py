"""Which pages of a window to ask for, and when all of its rows have been seen: no network, no clock.

Pages drift. A row that leaves the window while its pages are read moves all rows behind it up by
one, and the row that crosses from an unread page onto a read one is seen by nobody. Two ways of
reading notice that:

- :class:`OverlapPlan`, where the service keeps to the number of rows asked for. Each page begins
  with the last rows of the page before it, which takes pages that grow shorter by a few rows: 1 of
  1,000, then 2 of 998, then 3 of 997. A row that is the same in both has not moved, and rows that
  have not moved keep their order. So none of those can lie between the two pages, whatever moved,
  whenever and in whichever order the pages were read. Only where two pages have no row in common
  both are read again.
- :class:`SequencePlan`, where the service names the next page, or its pages have a size of their
  own. One page is read after the other; then those before the last are read again. If they are the
  same, nothing moved. Where rows only come, late ones too, that is certain. Where they go as well, a
  list that moves up and then down again, between certain answers of both readings, can hide a row:
  in one of 10,000 readings with up to four changes each. The lookback reads recent rows again.

A short page ends a list only where that has been seen to be true: see :class:`PageSize`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from textlift.declare import Endpoint, Paging
from textlift.errors import ServiceError
from textlift.windows import Window

#: Pages of one window; a window with more is cut, if it can be.
MAX_PAGES = 32
#: Pages that each part of such a window should have, as far as that can be told.
PART_PAGES = 8
#: Pages of a list that cannot be cut; more of them have no end.
MAX_DEPTH = 20_000
#: Readings of one window that changes all the time, before it is cut; if it cannot be, all that any
#: of them saw is taken.
MAX_READINGS = 5
#: Pages that each part of a window should have whose pages are counted by their first rows.
WIDE_PART_PAGES = 16
#: First rows asked for at a time to find the last page.
MAX_PROBES = 3
#: Pages asked for at a time after a first one that is full.
NEXT_PAGES = 3
#: Pages asked for that may not be there, where it is not known which page is the last.
MAX_MISSES = 7
#: Pages of a counted list asked for at a time before more are known to be there.
FIRST_PAGES = 16
#: Windows made of one with more pages than are looked at.
OPEN_PARTS = 16
#: Windows made of one with an unknown number of pages.
UNKNOWN_PARTS = 4
#: Most windows made of one.
MAX_PARTS = 64
#: No service has shorter pages: fewer rows are not a full page.
MIN_PAGE = 20
#: Requests for one parent, or for the account, in which no new row comes.
MAX_EMPTY_REQUESTS = 1000

#: Rows that a page has in common with the one before it, at least; fewer where pages are short.
_OVERLAP = 4
#: Shorter pages have too much in common to go on; in a list that cannot be cut, and can be long, so
#: have longer ones.
_SHORTEST_OVERLAPPING, _SHORTEST_ANYWHERE = 10, 50
#: Rows at each end of a page by which it is compared with its neighbours.
EDGE_ROWS = 64
#: Numbers of pages to choose from for the page that goes farthest.
_CHOICES = 40
#: Pages whose first rows are asked for at once in a part of a window.
_LOOKS = (8, 16, MAX_PAGES + 1)
_ENDLESS = "page follows page, and none is the last"
_UNPAGED = "the service answers every page with the same rows"
_RESTLESS = (
    "the rows of this second do not stand still while they are read; the next run reads them again"
)


@dataclass(frozen=True)
class PageRequest:
    """A question for a page.

    Attributes:
        number: Number of the page at the service.
        limit: Rows to ask for; ``None`` to leave that to the service.
        index: Which page of the plan it is, from 1.
        probe: Whether it is only to tell if there are rows.
    """

    number: int
    limit: int | None
    index: int
    probe: bool = False


@dataclass(frozen=True)
class PageMetadata:
    """What a plan sees of a page.

    Attributes:
        place: Where its rows are kept.
        rows: Records the service put on the page, also those that cannot be loaded.
        loaded: Records that can be loaded.
        fingerprint: Equal for two answers with the same records.
        head: Digests of its first rows, up to ``EDGE_ROWS``.
        tail: Digests of its last rows, up to ``EDGE_ROWS``.
        page_count: How many pages there are, where the service says so.
        next_link: URL of the next page, where the service names it.
        dated: Rows that have a time.
        inside: How many of them lie in the window that was asked for.
        earliest: The first of these.
        latest: The last of these.
        salvaged: Whether records may not have been counted.
        pieced: Whether it was put together from several answers, between which rows may have moved.
    """

    place: int
    rows: int
    loaded: int
    fingerprint: str
    head: tuple[int, ...] = ()
    tail: tuple[int, ...] = ()
    page_count: int | None = None
    next_link: str | None = None
    dated: int = 0
    inside: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None
    salvaged: bool = False
    pieced: bool = False


@dataclass(frozen=True)
class Kept:
    """A page whose rows make up a window.

    Attributes:
        place: Where its rows are kept.
        skip: How many of its first rows are on the page before it as well.
    """

    place: int
    skip: int = 0


class PageSize:
    """What a run has learned of the size of an endpoint's pages, shared by all of its windows.

    A short page can be the last one, one that the service keeps shorter than it was asked to, or
    one from which rows were taken after it was cut out of the list. So a page shorter than asked
    for ends a list once a longer one has done so; else the page behind it is asked for.

    Args:
        limit: Rows to ask for; ``None`` where the service names no limit.

    Attributes:
        limit: Rows to ask for now.
        is_kept: Whether the service is known to keep to the number of rows asked for.
        has_been_full: Whether a page has had all the rows that were asked for.
        version: Changes whenever one of the first two does; what is being read then begins again.
        lessons: Changes whenever more is known of short pages; plans that are ``held`` go on.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.is_kept = limit is not None
        self.version = 0
        self.lessons = 0
        self._last = 0
        self._looking: dict[Plan, int] = {}
        self.has_been_full = False
        self._short_ends = True

    def ends(self, page: PageMetadata, limit: int | None) -> bool:
        """Whether no page comes after one that was asked for with ``limit`` rows."""
        if not page.rows:
            return True
        if limit is None or not self.is_kept or page.salvaged or page.rows >= limit:
            return False
        # A page as long as the last one of another list may be as long as the service makes it.
        known = page.rows < self._last or (
            page.rows == self._last and (self.has_been_full or page.rows < MIN_PAGE)
        )
        return self._short_ends and known

    def saw(self, page: PageMetadata, request: PageRequest) -> None:
        """Learn from a page that arrived."""
        if request.limit is None or request.probe or page.pieced:
            return
        self.has_been_full = self.has_been_full or page.rows == request.limit
        if page.rows > request.limit and self.is_kept:
            self.is_kept = False
            self.version += 1
            self.forget_looks()

    def may_look_behind(self, page: PageMetadata, plan: Plan) -> bool:
        """Whether to ask for the page behind a short one now, and not to wait for what another brings."""
        others = (
            rows
            for other, rows in self._looking.items()
            if other is not plan and not other.done and not other.parts
        )
        if self._short_ends and any(rows >= page.rows for rows in others):
            return False
        self._looking[plan] = page.rows
        return True

    def saw_end(self, last: PageMetadata, plan: Plan) -> None:
        """Learn that an empty page follows ``last``."""
        self._last = max(self._last, last.rows)
        if self._looking.pop(plan, None) is not None:
            self.lessons += 1

    def saw_more(self) -> None:
        """Learn that a short page was followed by further rows of the same list."""
        if self._short_ends:
            self._short_ends = False
            self.forget_looks()

    def forget_looks(self) -> None:
        """Do not wait any longer for the pages behind short ones that were asked for."""
        self._looking.clear()
        self.lessons += 1

    def saw_cap(self, rows: int) -> None:
        """Learn that the service keeps its pages to ``rows``, whatever it is asked for."""
        if self.limit is not None and rows < self.limit:
            self.limit = rows
            self.version += 1
            self.forget_looks()


class Plan(ABC):
    """The reading of one window, page by page.

    Call :meth:`receive` with every page that arrives; it returns what to ask for next. The reading
    has ended when ``done`` or ``parts`` is set, or when the ``version`` of ``size`` is another one.

    Args:
        paging: How the endpoint pages.
        size: What is known of its pages.
        window: What is read; ``None`` if it has no bounds.
        keyed: Whether rows can be told apart, so that two readings can be put together.
        settled: Whether rows never leave a window once they are in it.

    Attributes:
        done: Every row has been seen; they are on the pages of :meth:`kept`.
        parts: Not 0 if the window holds too many pages: cut it into so many.
        looks: Pages to look for first in each of these.
        unpaged: Every page has the same rows, and nobody knows how many rows fit a page.
        held: It waits until more is known of short pages; :meth:`resume` lets it go on.
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
        self.looks: Sequence[int] = ()
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
    @abstractmethod
    def first(self) -> Sequence[PageRequest]:
        """What to ask for first."""

    @abstractmethod
    def receive(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        """Take the answer to a question and say what to ask for next.

        Raises:
            ServiceError: The service does not heed the page, or the window, that was asked for, or
                the rows of a window that cannot be cut never stand still.
        """

    @abstractmethod
    def resume(self) -> Sequence[PageRequest]:
        """Say what to ask for next, now that more is known of short pages."""

    @abstractmethod
    def kept(self) -> Sequence[Kept]:
        """The pages whose rows make up the window; of a row met twice the later one is newer."""

    def link(self, index: int) -> str | None:
        """The link to a page, which the page before it named; none for the first."""
        return None

    def _cut(self, parts: int, looks: Sequence[int] = ()) -> Sequence[PageRequest]:
        """Give up the window for shorter ones."""
        _expect_inside(self._current.values())
        self.parts, self.looks = parts, looks
        return ()

    def _cut_or_fail(self, reason: str) -> Sequence[PageRequest]:
        """Give up a window that cannot be read as it is."""
        if not self._splittable:
            raise ServiceError(reason)
        return self._cut(UNKNOWN_PARTS)

    def _is_repeated(
        self, page: PageMetadata, limit: int | None, behind: PageMetadata | None
    ) -> bool:
        """Whether a short page comes again in the place of the next one: the service does not page."""
        is_short = limit is not None and self._size.is_kept and page.rows < limit
        if not is_short or behind is None or not behind.head:
            return False
        return page.head[: len(behind.head)] == behind.head

    def _end_repeated(self, page: PageMetadata) -> None:
        """End with a short page that came again; all rows are on it, unless pages are kept short."""
        self._size.saw_end(page, self)
        self.unpaged = not self._size.has_been_full and page.rows >= MIN_PAGE

    def _is_counted_last(self, request: PageRequest, page: PageMetadata) -> bool | None:
        """Whether the service's count says that this is the last page; ``None`` if it says nothing.

        A count that leaves out a page that is there says nothing, nor does a full last page tell
        that the count was right.
        """
        if page.page_count is None or (page.rows and page.page_count < request.number):
            return None
        if page.page_count > request.number:
            return False
        return True if request.limit is None or page.rows < request.limit else None


class OverlapPlan(Plan):
    """Reads pages that overlap, many at a time. The arguments and attributes are those of ``Plan``.

    Args:
        looks: Pages to look for first, beside the first one.
    """

    def __init__(
        self,
        paging: Paging,
        size: PageSize,
        window: Window | None = None,
        keyed: bool = True,
        settled: bool = False,
        looks: Sequence[int] = (),
    ) -> None:
        super().__init__(paging, size, window, keyed, settled)
        assert size.limit is not None
        self._spans = _spans(size.limit)
        self._probes: dict[int, PageMetadata] = {}
        self._first = (self._request(1), *map(self._look_at, looks))
        self._waiting = set(self._first)

    @property
    def first(self) -> Sequence[PageRequest]:
        """The first page, and those to look for."""
        return self._first

    def kept(self) -> Sequence[Kept]:
        """All pages that were read; where rows have no key, each row once."""
        if self._keyed:
            return [Kept(at) for at in sorted(page.place for page in self._pages())]
        pages = [self._current[n] for n in sorted(self._current)]
        skips = [0, *(self._shared_rows(n) for n in range(1, len(pages)))]
        return [Kept(page.place, skip) for page, skip in zip(pages, skips)]

    def receive(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        """Go on when all answers are there."""
        self._waiting.discard(request)
        version = self._size.version
        self._size.saw(page, request)
        if request.probe:
            self._probes[request.index] = page
        else:
            if request.index in self._current:
                self._earlier.append(self._current[request.index])
            self._current[request.index] = page
        if self._waiting or self._size.version != version:
            return ()
        return self.resume()

    def resume(self) -> Sequence[PageRequest]:
        """Go on with the answers that are there."""
        self.held = False
        asked = self._go_on()
        self._waiting.update(asked)
        return asked

    def _pages(self) -> Iterable[PageMetadata]:
        return (*self._earlier, *self._current.values())

    def _request(self, index: int) -> PageRequest:
        return PageRequest(*self._spans[index], index)

    def _look_at(self, index: int) -> PageRequest:
        """How to ask whether there is such a page: by its first row."""
        number, limit = self._spans[index]
        return PageRequest((number - 1) * limit + 1, 1, index, probe=True)

    def _go_on(self) -> Sequence[PageRequest]:
        if self._learn():
            return ()
        if self._repeats_itself():
            return self._cut_or_fail(_UNPAGED)
        last = self._find_last()
        if last is None:
            return self._look_on()
        missing = [n for n in range(1, last) if n not in self._current]
        return [self._request(n) for n in missing] if missing else self._check(last)

    def _learn(self) -> bool:
        """Whether short pages that others follow tell that pages have another size."""
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
            if behind.loaded > self._shared_rows(n):
                self._size.saw_more()
            else:
                self._size.saw_end(page, self)
        return False

    def _limit(self, index: int) -> int:
        return self._spans[index][1]

    def _find_last(self) -> int | None:
        """The last page that has rows, if that is known."""
        current = self._current
        full = max((n for n, page in current.items() if page.rows), default=0)
        seen = max((n for n, page in self._probes.items() if page.rows), default=0)
        for n in sorted(current):
            if not current[n].rows:
                return max(1, n - 1)
            if self._is_repeated(current[n], self._limit(n), current.get(n + 1)):
                return n
            # What a page says counts for more than what a first row does.
            unsure = seen > n and n + 1 not in current
            if n == full and not unsure and self._is_last(n):
                return n
        return None

    def _repeats_itself(self) -> bool:
        """Whether page after page begins with the same rows."""
        pages = list(self._current.values())[:3]
        if len(pages) < 3:
            return False
        first, *others = (page.head[: MIN_PAGE if not self._keyed else 1] for page in pages)
        # Rows without a key can be equal, all of a page as well.
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

    def _look_on(self) -> Sequence[PageRequest]:
        """Narrow down where the pages end."""
        current, probes = self._current, self._probes
        found = [page for page in probes.values() if page.rows]
        if self._keyed and len(found) > 2 and len({page.fingerprint for page in found}) == 1:
            return self._cut_or_fail(_UNPAGED)
        there = {n for n, page in current.items() if page.rows}
        full = max(there | {n for n, page in probes.items() if page.rows})
        if full > MAX_DEPTH:
            raise ServiceError(_ENDLESS)
        end = min((n for n, page in probes.items() if n > full and not page.rows), default=None)
        if self._splittable and full > MAX_PAGES:
            if end is None and full == MAX_PAGES + 1:
                # A look at a page is as deep as a page, which costs the service.
                return [self._look_at(2 * MAX_PAGES), self._look_at(3 * MAX_PAGES)]
            parts = OPEN_PARTS if end is None else full * 3 // 2 // WIDE_PART_PAGES
            return self._cut(max(UNKNOWN_PARTS, parts), () if end is None else _LOOKS)
        newest = max(there)
        uncounted = self._paging is Paging.OPEN
        count = current[newest].page_count or 0
        number, limit = self._spans[newest]
        if count > number:
            return self._count_on(count, limit, full)
        if full == newest and (not uncounted or not self._is_full(full)):
            self.held = not self._is_full(full) and not self._size.may_look_behind(
                current[full], self
            )
            return () if self.held else (self._request(full + 1),)
        if end is None:
            if full == 1:
                return [self._request(n) for n in range(2, NEXT_PAGES + 2)]
            steps = [full * 2, full * 4, full * 8]
            if self._splittable:
                steps = [n for n in steps if n <= MAX_PAGES] + [MAX_PAGES + 1]
            return [self._look_at(n) for n in steps]
        missing = [n for n in range(1, end) if n not in current]
        if end - full - 1 <= MAX_MISSES:
            return [self._request(n) for n in missing or (end,)]
        # A look costs a request, and so does a page too many, which may be there after all.
        places = {full + (end - full) * n // (MAX_PROBES + 1) for n in range(1, MAX_PROBES + 1)}
        return [self._look_at(n) for n in sorted(places)]

    def _is_full(self, index: int) -> bool:
        return self._current[index].rows >= self._limit(index)

    def _count_on(self, count: int, limit: int, full: int) -> Sequence[PageRequest]:
        """Ask for the pages that the service has counted, which may be too many."""
        first_is_full = self._is_full(1)
        if self._splittable and count > MAX_PAGES and first_is_full:
            return self._cut(_parts_of(count))
        there = (count - 1) * limit
        last = full + 1
        while (
            last < max(FIRST_PAGES, 2 * full) and first_is_full and self._start(last + 1) <= there
        ):
            last += 1
        return [self._request(n) for n in range(1, last + 1) if n not in self._current]

    def _start(self, index: int) -> int:
        """How many rows come before a page."""
        number, limit = self._spans[index]
        return (number - 1) * limit

    def _check(self, last: int) -> Sequence[PageRequest]:
        """Read again where two pages have nothing in common; all of it, where rows have no key."""
        pages = {n: self._current[n] for n in range(1, last + 1)}
        apart = [n for n in range(1, last) if not self._is_joined(n)]
        if self._end_is_open(last):
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
            return self._cut_or_fail(_UNPAGED)
        if self._readings == MAX_READINGS:
            if self._splittable:
                # What moves is in one part.
                return self._cut(UNKNOWN_PARTS)
            if not self._keyed:
                raise ServiceError(_RESTLESS)
            self.done = True
            return ()
        self._readings += 1
        if not self._keyed:
            again |= set(pages)
        return [self._request(n) for n in sorted(again)]

    def _end_is_open(self, last: int) -> bool:
        """Whether rows behind a full last page may have come before it while both were read."""
        behind = self._current.get(last + 1)
        return behind is not None and not behind.rows and self._is_full(last)

    def _is_confirmed(self, index: int) -> bool:
        known = self._current[index].fingerprint
        return any(page.fingerprint == known for page in self._earlier)

    def _is_joined(self, index: int) -> bool:
        """Whether no row that has not moved lies between a page and the next one."""
        page, behind = self._current[index], self._current[index + 1]
        if self._keyed:
            moved_on = page.head[:1] != behind.head[:1]
            joined = moved_on and not set(page.tail).isdisjoint(behind.head)
        else:
            shared = self._shared_rows(index)
            joined = 0 < shared <= behind.loaded and page.tail[-shared:] == behind.head[:shared]
        # What cannot be loaded cannot be compared either.
        complete = page.rows == page.loaded and behind.rows == behind.loaded
        return joined or (
            not complete and self._is_confirmed(index) and self._is_confirmed(index + 1)
        )

    def _shared_rows(self, index: int) -> int:
        """How many of its last rows a page has in common with the next one, if nothing moves."""
        return max(0, self._start(index) + self._current[index].loaded - self._start(index + 1))


class SequencePlan(Plan):
    """Reads one page after the other, and those before the last once more."""

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
        #: Pages that are being read again.
        self._unconfirmed = 0

    @property
    def first(self) -> Sequence[PageRequest]:
        """The first page."""
        return (self._request(1),)

    def kept(self) -> Sequence[Kept]:
        """All pages that were read; where rows have no key, those of one reading."""
        pages = (*(self._earlier if self._keyed else ()), *self._current.values())
        return [Kept(page.place) for page in pages]

    def link(self, index: int) -> str | None:
        """What the page before it named."""
        return self._current[index - 1].next_link if index > 1 else None

    def _request(self, index: int) -> PageRequest:
        return PageRequest(index, self._size.limit, index)

    def receive(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        """Go on to the next page, or back to the first."""
        version = self._size.version
        self._size.saw(page, request)
        if self._size.version != version:
            return ()
        number = request.index
        if self._unconfirmed:
            self._checks[number] = page
            return () if len(self._checks) < self._unconfirmed else self._confirm()
        self._current[number] = page
        return self._go_on(request, page)

    def resume(self) -> Sequence[PageRequest]:
        """Go on behind the last page."""
        self.held = False
        last = max(self._current)
        return self._go_on(self._request(last), self._current[last])

    def _go_on(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        number, before = request.index, self._current.get(request.index - 1)
        if before is not None and self._is_repeated(before, request.limit, page):
            del self._current[number]
            self._end_repeated(before)
            return self._end(number - 1)
        if self._is_last(request, page):
            return self._end(number)
        if self._repeats_itself(page):
            self._current = {1: page}
            if self._size.is_kept:
                return self._cut_or_fail(_UNPAGED)
            self.done = self.unpaged = True
            return ()
        count = page.page_count or 0
        if self._splittable and count > MAX_PAGES and number == 1 and page.rows == request.limit:
            return self._cut(_parts_of(count))
        if self._splittable and number >= MAX_PAGES:
            return self._cut(self._estimate_parts())
        known, link = len(self._links), page.next_link
        self._links.update([link] if link is not None else ())
        if link is not None and len(self._links) == known:
            # A window that fits one page has no next one. Splitting an empty one cannot help.
            if not any(page.rows for page in self._current.values()):
                raise ServiceError(_ENDLESS)
            return self._cut_or_fail(_ENDLESS)
        if number >= MAX_DEPTH:
            raise ServiceError(_ENDLESS)
        short = self._size.is_kept and request.limit is not None and page.rows < request.limit
        self.held = short and not self._size.may_look_behind(page, self)
        return () if self.held else (self._request(number + 1),)

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
        """Whether the service answers page after page with the same rows."""
        if self._paging is Paging.LINKED:
            return False
        alike = [_alike(self._current[n], page) for n in sorted(self._current)[:3]]
        # Rows without a key can be equal, all of a page as well.
        return len(alike) > 2 and all(alike) and (self._keyed or len({*page.head}) > 1)

    def _end(self, last: int) -> Sequence[PageRequest]:
        if self._paging is not Paging.LINKED:
            last = self._learn(last)
            if last > 1 and self._is_first_again(last):
                # A page that is counted, and is the first one again.
                return self._cut_or_fail(_UNPAGED)
        # One answer is all of a piece; where rows only come, one page after the other misses none.
        checked = [n for n in range(1, last + 1) if n < last or self._current[n].pieced]
        self.done = not checked or (self._settled and self._keyed)
        self._unconfirmed = len(checked)
        self._checks = {}
        return () if self.done else [self._request(n) for n in checked]

    def _learn(self, last: int) -> int:
        """Learn from short pages, and forget an empty one at the end; the number of the last one."""
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
            # What moves is in one part; the others are read once.
            return self._cut(UNKNOWN_PARTS)
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

    def _estimate_parts(self) -> int:
        """How many parts the window should have, if its other rows lie as close as those seen."""
        assert self._window is not None
        pages = list(self._current.values())
        if not any(page.rows for page in pages[-PART_PAGES:]):
            raise ServiceError(_ENDLESS)
        times = [time for page in pages for time in (page.earliest, page.latest) if time]
        if not times:
            return UNKNOWN_PARTS
        share = (max(times) - min(times)) / (self._window.end - self._window.start)
        wanted = len(pages) / max(share, 1e-9) / PART_PAGES
        return max(UNKNOWN_PARTS, min(MAX_PARTS, int(wanted)))


class Budget:
    """Bounds the requests for one parent, or for the account, in which no new row comes."""

    def __init__(self) -> None:
        self._empty_requests = 0
        self._seen: set[tuple[int, ...]] = set()

    def spend(self, page: PageMetadata | None) -> None:
        """Count an answer; one without a page is a refusal of so large a window.

        Raises:
            ServiceError: There were too many answers without a new row.
        """
        edges = (*page.head[:1], *page.tail[-1:]) if page else ()
        if edges and edges not in self._seen:
            self._seen.add(edges)
            self._empty_requests = 0
            return
        self._empty_requests += 1
        if self._empty_requests > MAX_EMPTY_REQUESTS:
            raise ServiceError(
                f"{MAX_EMPTY_REQUESTS} answers in a row brought no new row; the service names more "
                "pages than there are, or does not heed the window that is asked for"
            )


def plan_for(
    endpoint: Endpoint, size: PageSize, window: Window | None, looks: Sequence[int] = ()
) -> Plan:
    """The plan by which a window of an endpoint is read."""
    paging, keyed, settled = endpoint.paging, not endpoint.identity, endpoint.settled
    shortest = _SHORTEST_OVERLAPPING if window and window.splittable else _SHORTEST_ANYWHERE
    overlaps = size.is_kept and (size.limit or 0) >= shortest
    if paging is Paging.LINKED or not overlaps:
        return SequencePlan(paging, size, window, keyed, settled)
    looks = looks if paging is Paging.OPEN else ()
    return OverlapPlan(paging, size, window, keyed, settled, looks)


class _Spans:
    """Pages of at most ``limit`` rows that overlap: the number and the limit of each."""

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
        """The page that begins at or before a row and goes farthest."""
        fewest = -(-start // self._limit)
        choices = range(fewest, min(start, fewest + max(_CHOICES, fewest // 4)) + 1)
        before = max(choices, key=lambda n: (n + 1) * (start // n))
        return before + 1, start // before


@lru_cache(maxsize=64)
def _spans(limit: int) -> _Spans:
    return _Spans(limit)


def _parts_of(count: int) -> int:
    """How many parts a window of so many pages should have."""
    return min(MAX_PARTS, 2 * count // MAX_PAGES)


def _expect_inside(pages: Iterable[PageMetadata]) -> None:
    """Raise if most rows lie outside the window: no shorter one would be heeded either."""
    pages = list(pages)
    if 2 * sum(page.inside for page in pages) < sum(page.dated for page in pages):
        raise ServiceError("most rows lie outside the window that was asked for")


def _alike(page: PageMetadata, other: PageMetadata) -> bool:
    return page.rows > 0 and page.fingerprint == other.fingerprint


def _same(page: PageMetadata, other: PageMetadata) -> bool:
    ends = page.next_link is None, other.next_link is None
    return page.fingerprint == other.fingerprint and ends[0] == ends[1]
