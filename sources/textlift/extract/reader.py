"""Reads slices: many pages, windows and partitions at a time, handed out in order.

A :class:`Reader` never waits. Its owner polls it. Requests run in the threads of the run; each
response is handled there and leads to the next requests, until enough rows are read ahead.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from dlt.common import logger

from textlift.arrow.build import empty_page
from textlift.arrow.keys import packed_keys
from textlift.arrow.pages import Page, clip_page, microseconds, row_digests
from textlift.arrow.spool import Spool, Spooled
from textlift.codec.records import Reject
from textlift.declare import Endpoint
from textlift.errors import (
    ApiError,
    MalformedResponse,
    ResponseTimeout,
    ServiceError,
    TransientError,
    WindowTooLarge,
)
from textlift.extract.assemble import assemble
from textlift.extract.density import MAX_UNSURE, Density
from textlift.extract.fetch import Fetcher, Service, where
from textlift.extract.paging import (
    EDGE_ROWS,
    MIN_PAGE,
    UNKNOWN_PARTS,
    Budget,
    Kept,
    OverlapPlan,
    PageMetadata,
    PageRequest,
    PageSize,
    Plan,
    plan_for,
)
from textlift.extract.progress import Progress
from textlift.extract.slices import Slice, SliceRows
from textlift.extract.sorted_list import SortedPlan
from textlift.extract.workers import Workers, most_under_way
from textlift.privacy.pages import Protection
from textlift.windows import EPOCH, MICROSECOND, Window

#: How often a window is split because the service does not respond, or refuses it.
MAX_SPLITS = 5
#: Malformed responses to ever shorter windows. Where there are more, it is not single records.
MAX_MALFORMED = 64
#: Rows read ahead of those that are handed out. More take more memory than they save time.
AHEAD_ROWS = 60_000
_CUT_OFF = "the service answers every page with the same rows, and there may be more"


class _SliceRead:
    """A slice that is being read.

    Attributes:
        budget: Bounds the requests without new rows; shared by the parts of a slice.
        density: Of the larger window that its window is a part of.
        uncut: Of its own window, if that is too large and to be cut before it is read.
        splits: How often its window was split because of timeouts or refusals.
        malformed: Whether its window is a part of one whose response is malformed.
        number: Number of the slice, of which it can be a part, in the order of the slices to read.
        is_part: Whether it is a part of the slice.
        version: Version of the page size when the reading began.
        wanted: Pages to request.
        pages: Pages received, in the order of their ``place``.
        keys: The keys of the rows of each page, if rows have keys that are not repeated.
        rows: Rows of these pages.
        total: Rows of the slice, if the service states them.
        rejects: What is to be rejected beside what the pages say.
        not_found: Why there are no rows, if the partition does not exist.
        replaced: Whether other reads have taken its place.
    """

    def __init__(
        self,
        slice_: Slice,
        endpoint: Endpoint,
        size: PageSize,
        budget: Budget,
        splits: int = 0,
        malformed: bool = False,
        density: Density | None = None,
        uncut: Density | None = None,
        number: int = 0,
        is_part: bool = True,
        before: PageMetadata | None = None,
    ) -> None:
        self.slice_ = slice_
        self.number = number
        self.is_part = is_part
        self.density = density
        self.uncut = uncut
        self.budget = budget
        self.splits = splits
        self.malformed = malformed
        self.version = size.version
        self.plan = _plan_of(slice_, endpoint, size, density, before)
        self.wanted: deque[PageRequest] = deque()
        self.started = False
        self.replaced = False
        self.spool = Spool()
        self.pages: list[Spooled] = []
        self.keys: list[np.ndarray] = []
        self.rows = 0
        self.total: int | None = None
        self.rejects: list[Reject] = []
        self.not_found: str | None = None

    @property
    def done(self) -> bool:
        return self.plan.done or self.not_found is not None

    @property
    def splittable(self) -> bool:
        return self.slice_.window is not None and self.slice_.window.splittable

    @property
    def sorted_plan(self) -> SortedPlan | None:
        return self.plan if isinstance(self.plan, SortedPlan) else None

    def once(self) -> list[type[TransientError]]:
        """Return the failures that are not retried, because shorter windows are requested instead."""
        once: list[type[TransientError]] = []
        if self.splittable and self.splits < MAX_SPLITS:
            once.append(ResponseTimeout)
        if self.splittable and self.malformed:
            once.append(MalformedResponse)
        return once


def _plan_of(
    slice_: Slice,
    endpoint: Endpoint,
    size: PageSize,
    density: Density | None,
    before: PageMetadata | None,
) -> Plan:
    # If pages have another size than requested, no place in the list is known: all of it is read.
    if slice_.list_part and size.is_kept:
        return SortedPlan(endpoint.paging, size, slice_.list_part, before)
    return plan_for(endpoint, size, slice_.window, density, slice_.size)


def _kept_pages(read: _SliceRead, kept: Sequence[Kept]) -> Iterator[Page]:
    """Yield the pages that make up a slice, read from the spool."""
    for number, one in enumerate(kept, 1):
        page = clip_page(read.spool.get(read.pages[one.place]), one.skip)
        if number == len(kept) and read.rejects:
            page = replace(page, rejects=[*page.rejects, *read.rejects])
        yield page


class Reader:
    """Reads slices of one endpoint and hands out their rows in the order of the slices.

    Args:
        service: The service.
        endpoint: The endpoint.
        slices: What to read.
        page_size: Rows wanted on a page; the endpoint's own limit is kept.
        progress: Where requests are counted.
        workers: The threads of the run.
        protection: Protects personal data; ``None`` if all of it is kept.
    """

    def __init__(
        self,
        service: Service[Any],
        endpoint: Endpoint,
        slices: Iterable[Slice],
        page_size: int,
        progress: Progress,
        workers: Workers,
        protection: Protection | None = None,
    ) -> None:
        limit = min(page_size, endpoint.page_limit) if endpoint.page_limit else None
        self._endpoint = endpoint
        self._key = () if endpoint.identity or endpoint.repeats else endpoint.record_key
        self._workers = workers
        self._protection = protection
        self._size = PageSize(limit, is_fixed=service.limit_param is None)
        self._fetcher = Fetcher(service, endpoint, self._size, progress, workers)
        self._progress = progress
        self._most_requests = service.client.route_concurrency
        # Windows are handed out in order, and requests for the next ones must not wait for that.
        self._requested_rows = 2 * most_under_way(self._most_requests) * (limit or 0)
        self._begun = 0
        self._slices = iter(slices)
        self._order: list[_SliceRead] = []
        self._pieces: Iterator[SliceRows] | None = None
        self._lock = Lock()
        self._under_way = 0
        #: Those under way that have no response yet.
        self._unanswered: set[tuple[_SliceRead, PageRequest]] = set()
        self._lessons = 0
        self._failure: Exception | None = None
        self._not_found: set[str] = set()
        self._exhausted = False
        self._malformed = 0
        self._undated: Counter[str] = Counter()
        self._handed_out: Counter[int] = Counter()
        self._most_unpaged = MIN_PAGE

    @property
    def finished(self) -> bool:
        """Whether every slice has been handed out."""
        return self._exhausted and not self._order and self._pieces is None

    # Handing out

    def poll(self) -> SliceRows | None:
        """Return the next rows if they are there, without waiting.

        Raises:
            ServiceError: The service could not be read; the message says where.
        """
        if self._pieces is None:
            with self._lock:
                self._send_requests()
                if not self._order or not self._order[0].done:
                    if self._failure:
                        raise self._failure
                    return None
                read = self._order.pop(0)
                self._handed_out[read.number] += read.rows
                self._send_requests()
                following = self._order[0].slice_.partition if self._order else None
            self._pieces = self._rows(read, following != read.slice_.partition)
        piece = next(self._pieces)
        if piece.is_last:
            self._pieces = None
        return piece

    def _rows(self, read: _SliceRead, ends_partition: bool) -> Iterator[SliceRows]:
        """Yield the rows of a read; the last ones are marked."""
        slice_, pages = read.slice_, iter((empty_page(self._endpoint),))
        if not read.not_found and (kept := read.plan.kept()):
            found = _kept_pages(read, kept)
            keys = [read.keys[one.place] for one in kept] if self._key else []
            repeating = not self._endpoint.identity or isinstance(read.plan, OverlapPlan)
            pages = assemble(self._endpoint, slice_, found, keys, repeating, self._undated)
        page = next(pages)
        for following in pages:
            yield SliceRows(slice_, page, read.not_found, ends_partition=False, is_last=False)
            page = following
        read.spool.close()
        part = read.sorted_plan.following if read.sorted_plan else None
        yield SliceRows(
            slice_, page, read.not_found, ends_partition, following=part, total=read.total
        )

    # Requests

    def _send_requests(self) -> None:
        """Send as many requests as may be under way, until enough rows are read ahead."""
        while not self._failure and self._may_send():
            read = self._next_read()
            if read is None and not self._under_way and any(read.plan.held for read in self._order):
                # No response can come that the held plans wait for.
                self._size.stop_waiting()
                self._resume_held()
                continue
            if read is None:
                return
            request = read.wanted[0]
            if not self._workers.submit(partial(self._run, read, request)):
                return
            read.wanted.popleft()
            self._unanswered.add((read, request))
            self._under_way += 1

    def _may_send(self) -> bool:
        """Whether another request may be sent: the service does not wait until pages are decoded."""
        most = self._most_requests
        return len(self._unanswered) < most and self._under_way < most_under_way(most)

    def _next_read(self) -> _SliceRead | None:
        """Return the first read with a page to request, or ``None`` if enough is read ahead."""
        decoding = (self._under_way - len(self._unanswered)) * (self._size.limit or 0)
        held = decoding + sum(read.rows for read in self._order)
        most = max(AHEAD_ROWS, self._requested_rows)
        for read in self._order if held < most else self._order[:1]:
            if read.uncut:
                if self._waits_for_parts(read.uncut):
                    continue
                read = self._cut(read, read.uncut)
            if not read.started:
                read.started = True
                read.wanted.extend(read.plan.first)
            if read.wanted and not read.done:
                return read
        if held >= most or len(self._order) >= 4 * self._most_requests:
            return None
        slice_ = next(self._slices, None)
        if slice_ is None:
            self._exhausted = True
            return None
        self._order.append(
            _SliceRead(
                slice_, self._endpoint, self._size, Budget(), number=self._begun, is_part=False
            )
        )
        self._begun += 1
        return self._next_read()

    def _waits_for_parts(self, density: Density) -> bool:
        """Whether the next part is cut only when one of those under way has been read."""
        if density.is_sure:
            return False
        return sum(read.density is density and not read.done for read in self._order) >= MAX_UNSURE

    def _cut(self, read: _SliceRead, density: Density) -> _SliceRead:
        """Cut the first part off a window that is too large, and return it."""
        window = read.slice_.window
        assert window is not None
        front, *rest = density.cut(window)
        reads = [self._part(read, front, density=density)]
        reads += [self._part(read, each, uncut=density) for each in rest]
        at = self._order.index(read)
        self._order[at : at + 1] = reads
        return reads[0]

    def _part(
        self,
        read: _SliceRead,
        window: Window,
        density: Density | None = None,
        uncut: Density | None = None,
    ) -> _SliceRead:
        slice_ = replace(read.slice_, window=window, fallback_window=None)
        kept = read.budget, read.splits, read.malformed
        return _SliceRead(
            slice_, self._endpoint, self._size, *kept, density, uncut, number=read.number
        )

    def _run(self, read: _SliceRead, request: PageRequest) -> None:
        """Fetch a page, handle it, and send the requests that follow from it. In a request thread."""
        outcome: tuple[Page, Page] | Exception
        answered = partial(self._unanswered.discard, (read, request))
        try:
            link = read.plan.link(request.index)
            page = self._fetcher.fetch(
                *(read.slice_, request, link, read.once()), partial(self._send_after, answered)
            )
            protected = page
            if self._protection and not request.probe:
                protected = self._workers.decode(partial(self._protection.page, page))
            outcome = page, protected
        except Exception as error:  # noqa: BLE001 - handled by _handle
            outcome = error

        def handle() -> None:
            answered()
            self._under_way -= 1
            self._handle(read, request, outcome)
            self._resume_held()

        self._send_after(handle)

    def _send_after(self, function: Callable[[], None]) -> None:
        """Call a function that changes which requests may be sent, and send them."""
        with self._lock:
            try:
                function()
                self._send_requests()
            except Exception as error:  # noqa: BLE001 - raised by poll
                self._failure = self._failure or error

    # Outcomes

    def _handle(
        self, read: _SliceRead, request: PageRequest, outcome: tuple[Page, Page] | Exception
    ) -> None:
        if read.done or read.replaced:
            return
        if read.version != self._size.version:
            self._read_again(read)
            return
        try:
            if isinstance(outcome, Exception):
                self._recover(read, request, outcome)
            else:
                self._accept(read, request, *outcome)
        except ServiceError as error:
            raise self._located(error, read, request) from error

    def _accept(self, read: _SliceRead, request: PageRequest, page: Page, protected: Page) -> None:
        """Give a page to its plan, and do what the plan says.

        The plan compares rows as the service sent them. What is kept of them is protected.
        """
        metadata = _metadata(self._endpoint, page, len(read.pages), read.slice_.window)
        read.budget.spend(metadata)
        read.total = page.total
        part = read.slice_.list_part
        # How many rows of a list are newer than a time is not known.
        if not read.is_part and page.total is not None and not (part and part.oldest):
            done = part.start.rows if part and part.start else 0
            self._progress.expect_rows(read.number, page.total - done)
        if not request.probe:
            read.pages.append(read.spool.put(protected))
            if self._key:
                read.keys.append(packed_keys(protected.table, self._key))
            read.rows += protected.table.num_rows
        read.wanted.extend(read.plan.receive(request, metadata))
        self._follow_plan(read)

    def _recover(self, read: _SliceRead, request: PageRequest, error: Exception) -> None:
        """Request shorter windows, or end the read, where that helps; else raise the error."""
        window, place = read.slice_.window, where(self._endpoint, read.slice_, request)
        if isinstance(error, WindowTooLarge):
            read.budget.spend(None)
        if isinstance(error, (WindowTooLarge, ResponseTimeout)):
            # If shorter windows also time out, the service is down.
            down = isinstance(error, ResponseTimeout) and read.splits >= MAX_SPLITS
            if window is None or not window.splittable or down:
                raise error
            logger.info(f"{place}: {error}; requesting shorter windows")
            self._replace(read, window.split(UNKNOWN_PARTS), read.splits + 1, read.malformed)
        elif isinstance(error, MalformedResponse):
            self._malformed += 1
            if window is None or not window.splittable or self._malformed > MAX_MALFORMED:
                raise error
            logger.warning(f"{place}: {error}; requesting shorter windows")
            self._replace(read, window.split(UNKNOWN_PARTS), read.splits, malformed=True)
        elif isinstance(error, ApiError) and error.code in self._endpoint.not_found_codes:
            if read.slice_.partition.name not in self._not_found:
                logger.warning(f"{place}: {error}; it has no rows to load")
            self._not_found.add(read.slice_.partition.name)
            read.not_found = str(error)
        elif isinstance(error, ApiError) and read.slice_.fallback_window:
            logger.info(f"{place}: {error}; requesting a shorter window")
            self._replace(read, [read.slice_.fallback_window])
        else:
            raise error

    def _resume_held(self) -> None:
        """Continue the plans that wait until more is known of short pages."""
        while self._lessons != self._size.lessons:
            self._lessons = self._size.lessons
            for read in [read for read in self._order if read.plan.held]:
                try:
                    if read.version == self._size.version:
                        read.wanted.extend(read.plan.resume())
                except ServiceError as error:
                    raise self._located(error, read, PageRequest(1, None, 1)) from error
                self._follow_plan(read)

    def _follow_plan(self, read: _SliceRead) -> None:
        window, plan = read.slice_.window, read.sorted_plan
        crowded = read.plan.density
        if window and read.density and (read.plan.done or crowded):
            read.density.learn(window, crowded.total if crowded else read.plan.extent)
            self._expect_rows(read.number)
        if read.version != self._size.version:
            self._read_again(read)
        elif plan and plan.done and plan.following:
            following = replace(read.slice_, list_part=plan.following)
            before = plan.last if plan.following.start else None
            at = self._order.index(read) + 1
            self._order.insert(
                at,
                _SliceRead(
                    following,
                    self._endpoint,
                    self._size,
                    read.budget,
                    number=read.number,
                    before=before,
                ),
            )
        elif read.plan.unpaged:
            self._judge_unpaged(read, window)
        elif read.plan.parts:
            assert window is not None
            self._replace(read, window.split(read.plan.parts), malformed=read.malformed)
        elif read.plan.density:
            assert window is not None
            read.replaced = True
            at = self._order.index(read)
            self._order[at] = self._part(read, window, uncut=read.plan.density)

    def _expect_rows(self, number: int) -> None:
        """Note how many rows a slice has, as far as known: those seen, and those expected."""
        parts = [read for read in self._order if read.number == number]
        rows = self._handed_out[number] + sum(map(self._rows_in, parts))
        self._progress.expect_rows(number, int(rows))

    def _rows_in(self, read: _SliceRead) -> float:
        window, limit = read.slice_.window, self._size.limit or 0
        if window and read.uncut:
            return read.uncut.remaining(window) * limit
        if read.done or read.density is None or window is None:
            return read.rows
        return max(read.rows, read.density.expected(window) * limit)

    def _judge_unpaged(self, read: _SliceRead, window: Window | None) -> None:
        """Split the window of a single response that may be cut off; reject what cannot be split."""
        rows = read.spool.get(read.pages[read.plan.kept()[-1].place]).rows
        if rows < self._most_unpaged:
            return
        if window is not None and window.splittable:
            self._most_unpaged = rows
            self._replace(read, window.split(UNKNOWN_PARTS))
        else:
            read.rejects.append(Reject(None, None, _CUT_OFF, f"{rows} rows, {read.slice_}"))

    def _read_again(self, read: _SliceRead) -> None:
        """Read a slice anew, because pages turned out to have another size."""
        self._put_in_place_of(read, [read.slice_], read.splits, read.malformed, read.density)

    def _replace(
        self,
        read: _SliceRead,
        windows: Sequence[Window],
        splits: int = 0,
        malformed: bool = False,
    ) -> None:
        """Read ``windows`` in place of the window of ``read``."""
        slices = [replace(read.slice_, window=part, fallback_window=None) for part in windows]
        self._put_in_place_of(read, slices, splits, malformed)

    def _put_in_place_of(
        self,
        read: _SliceRead,
        slices: Sequence[Slice],
        splits: int,
        malformed: bool,
        density: Density | None = None,
    ) -> None:
        read.replaced = True
        at = self._order.index(read)
        self._order[at : at + 1] = [
            _SliceRead(
                slice_,
                self._endpoint,
                self._size,
                *(read.budget, splits, malformed, density),
                number=read.number,
            )
            for slice_ in slices
        ]

    def _located(self, error: ServiceError, read: _SliceRead, request: PageRequest) -> ServiceError:
        return ServiceError(f"{where(self._endpoint, read.slice_, request)}: {error}")


def _metadata(endpoint: Endpoint, page: Page, place: int, window: Window | None) -> PageMetadata:
    """Return what a plan may know of a page."""
    cursor = endpoint.incremental.cursor if endpoint.incremental else None
    if window and endpoint.time_range:
        window = window.widened(endpoint.time_range.margin)
    times = np.array([], np.int64)
    if cursor and (window or endpoint.sorted_list):
        times = microseconds(page.table, cursor)
    inside = times[window.contains(times)] if window else times
    return PageMetadata(
        place=place,
        rows=page.rows,
        loaded=page.table.num_rows,
        fingerprint=page.fingerprint,
        head=row_digests(page.table[:EDGE_ROWS]),
        tail=row_digests(page.table[-EDGE_ROWS:]),
        page_count=page.page_count,
        total=page.total,
        next_link=page.next_link,
        dated=len(times),
        inside=len(inside),
        earliest=_time(inside.min()) if len(inside) else None,
        latest=_time(inside.max()) if len(inside) else None,
        seconds=inside / 1e6,
        descends=bool((np.diff(times) <= 0).all()),
        salvaged=page.salvaged,
        pieced=page.pieced,
    )


def _time(microseconds: np.int64) -> datetime:
    return EPOCH + int(microseconds) * MICROSECOND
