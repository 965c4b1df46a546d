"""The reading of a list with the newest rows first, for services without windows.

Pages are read one after the other. A row that changes moves to the front of the list, and the rows
before its old place move down: at worst, they are read twice. A row that is deleted moves the rows
behind it up, and one of them from a page that was not read yet to one that was. Then the total that
the service states has become smaller: rows move up only if more rows were deleted than came to the
front. So if the total is smaller than it was on the page before, the reading goes back, to a page
that shares a row with what was read or begins with a later time than that ended with.

A long list is read in parts, and each part is handed out when it was read. A reading of the front of
the list, down to a time, is repeated from the front to the row that came first before, until the first
page is as it was: then nothing came to the front meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from textlift.declare import Paging
from textlift.errors import ServiceError
from textlift.extract.paging import (
    MAX_DEPTH,
    MAX_READINGS,
    MIN_PAGE,
    Kept,
    PageMetadata,
    PageRequest,
    PageSize,
    Plan,
)

#: Pages that are handed out together.
PART_PAGES = 16
#: Pages in a row that begin with the same row, before the service is taken not to page.
_MAX_UNMOVED = 3
_ENDLESS = "page follows page, and none is the last"
_UNPAGED = "the service answers every page with the same rows"
_UNCOUNTED = "the service does not state how many rows the list has"


@dataclass(frozen=True)
class ListPosition:
    """A place in a list.

    Attributes:
        rows: Rows in front of it, as the service counts them.
        time: Time of the row in front of it. All rows with later times lie in front as well.
    """

    rows: int
    time: datetime


@dataclass(frozen=True)
class ListPart:
    """A part of a list with the newest rows first.

    Attributes:
        oldest: Time of the oldest rows that are wanted; ``None`` for the whole list.
        start: Where the part begins; ``None`` for the front of the list.
        newest: Time of the row that was at the front when the reading began.
        front: Digests of the rows that were at the front then.
        before: Those of the reading before.
        readings: How often the front of the list has been read.
    """

    oldest: datetime | None = None
    start: ListPosition | None = None
    newest: datetime | None = None
    front: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    readings: int = 1

    def __str__(self) -> str:
        ends = [
            f"from row {self.start.rows + 1} on" if self.start else "",
            f"down to {self.oldest:%Y-%m-%dT%H:%M:%SZ}" if self.oldest else "",
        ]
        return " ".join(filter(None, ends))


class SortedPlan(Plan):
    """Reads one part of a sorted list.

    Args:
        paging: How the endpoint pages.
        size: What is known of its pages; its limit is not ``None``.
        part: What to read.
        before: The page in front of the part, if this run has read it.

    Attributes:
        following: What to read next; ``None`` if the reading is complete.
        last: The last page that was read without a gap.
    """

    def __init__(
        self, paging: Paging, size: PageSize, part: ListPart, before: PageMetadata | None
    ) -> None:
        super().__init__(paging, size)
        self.following: ListPart | None = None
        self.last = before
        self._part = part
        self._position = part.start
        self._newest = part.newest
        self._front = part.front
        self._pages: list[PageMetadata] = []
        self._index = 0
        self._back = 0
        self._unmoved = 0
        self._is_sorted = True
        self._first = (self._next(),)

    @property
    def first(self) -> Sequence[PageRequest]:
        """The request for the first page."""
        return self._first

    def kept(self) -> Sequence[Kept]:
        """Return all pages that were read."""
        return [Kept(page.place) for page in self._pages]

    def resume(self) -> Sequence[PageRequest]:
        """Return nothing: the plan never waits."""
        return ()

    def receive(self, request: PageRequest, page: PageMetadata) -> Sequence[PageRequest]:
        """Continue behind the page, or go back if rows may lie in front of it."""
        version = self._size.version
        self._size.saw(page, request)
        is_last = self._is_last(request, page)
        is_short = MIN_PAGE <= page.rows < (request.limit or 0)
        if is_short and not is_last and not self._size.has_been_full:
            self._size.saw_cap(page.rows)
        if self._size.version != version:
            return ()
        if page.total is None:
            raise ServiceError(_UNCOUNTED)
        self._pages.append(page)
        self._is_sorted = self._is_sorted and page.descends
        if request.number == 1:
            self._newest, self._front = self._newest or page.latest, self._front or page.head
            if page.head and page.head == self._part.before:
                self.done = True
                return ()
        elif not self._is_joined(page, page.total):
            self._back = max(1, 2 * self._back)
            return (self._next(),)
        if not self._back:
            self._check_moved(page)
        self._back = 0
        self.last = page
        time = page.earliest or (self._position and self._position.time)
        if time:
            self._position = ListPosition(request.number * (request.limit or 0), time)
        if is_last or self._is_older(page):
            return self._end()
        if len(self._pages) >= PART_PAGES and self._position:
            self.following = replace(
                self._part, start=self._position, newest=self._newest, front=self._front
            )
            self.done = True
            return ()
        if request.number >= MAX_DEPTH:
            raise ServiceError(_ENDLESS)
        return (self._next(),)

    def _next(self) -> PageRequest:
        """Return the request for the page behind the position, or for one in front of that."""
        limit, self._index = self._size.limit, self._index + 1
        assert limit is not None
        before = self._position.rows // limit if self._position else 0
        return PageRequest(max(1, before + 1 - self._back), limit, self._index)

    def _is_joined(self, page: PageMetadata, total: int) -> bool:
        """Return whether no row can lie between what was read and this page."""
        last = self.last
        if last and not self._back and total >= (last.total or 0):
            return True
        if last and not set(last.tail).isdisjoint(page.head):
            return True
        if not self._is_sorted or not self._position or not page.latest:
            return False
        return page.latest > self._position.time

    def _check_moved(self, page: PageMetadata) -> None:
        """Raise ServiceError if page after page begins with the same row."""
        moved = not self.last or page.head[:1] != self.last.head[:1]
        self._unmoved = 0 if moved else self._unmoved + 1
        if self._unmoved >= _MAX_UNMOVED:
            raise ServiceError(_UNPAGED)

    def _is_older(self, page: PageMetadata) -> bool:
        """Return whether all rows behind the page are older than wanted."""
        oldest = self._part.oldest
        return bool(oldest and self._is_sorted and page.earliest and page.earliest < oldest)

    def _is_last(self, request: PageRequest, page: PageMetadata) -> bool:
        counted = self._is_counted_last(request, page)
        return self._size.ends(page, request.limit) if counted is None else counted

    def _end(self) -> Sequence[PageRequest]:
        """End the reading, or read again what may have come to the front meanwhile."""
        self.done = True
        part, several = self._part, self._part.start is not None or len(self._pages) > 1
        if part.oldest and several and self._is_sorted and part.readings < MAX_READINGS:
            self.following = ListPart(self._newest, before=self._front, readings=part.readings + 1)
        return ()
