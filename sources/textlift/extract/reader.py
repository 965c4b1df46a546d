"""Windows to rows: plans, asks and puts together, many pages, windows and parents at a time.

A :class:`Reader` never waits. Its owner polls it; questions run in the threads of the client, and
what they bring is handled there and leads to the next question, also while the owner does something
else, until so much has been read ahead.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Generic

import numpy as np
import pyarrow as pa
from dlt.common import logger

from textlift.arrow.spool import Spool, Spooled
from textlift.arrow.tables import (
    ROW,
    Page,
    add_row_keys,
    build_page,
    clip_page,
    concat_pages,
    constant,
    empty_page,
    filter_page,
    join_pieces,
    row_digests,
    times,
    unreadable_page,
    without_repeats,
)
from textlift.codec.records import Codec, Reject
from textlift.declare import Endpoint, Paging
from textlift.errors import (
    ApiError,
    MalformedResponse,
    ResponseTimeout,
    ServiceError,
    TransientError,
    WindowTooLarge,
)
from textlift.extract.paging import (
    EDGE_ROWS,
    MIN_PAGE,
    UNKNOWN_PARTS,
    Budget,
    OverlapPlan,
    PageMetadata,
    PageRequest,
    PageSize,
    plan_for,
)
from textlift.http.client import Client, Content, parse_number
from textlift.windows import SECOND, Window

#: How often the same window is cut because the service does not answer, or refuses it.
MAX_CUTS = 5
#: Broken answers to ever shorter windows, and broken ones of ever smaller pages at a time; where there
#: are more, it is not single records that are broken.
MAX_MALFORMED = 64
MAX_MALFORMED_PIECES = 16
#: Rows of a larger read that are handed out at a time.
PIECE_ROWS = 20_000
#: Rows read ahead of those that are asked for; more would take more memory than they save time.
AHEAD_ROWS = 30_000
_CUT_OFF = "the service answers every page with the same rows, and there may be more"


@dataclass(frozen=True)
class Slice:
    """Something to read: all of a window, or all there is, of one parent or of the account.

    Attributes:
        window: The time to ask for; ``None`` asks for all rows.
        params: Further parameters.
        values: Column → value it has in every row: the key of the parent, or what is configured.
        cursor: Name of the cursor that these rows move.
        instead: The time to ask for if the service refuses the window.
    """

    window: Window | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, int | str] = field(default_factory=dict)
    cursor: str = ""
    fallback_window: Window | None = None

    def __str__(self) -> str:
        # A text that was asked for can be a person's; a number is an id.
        ids = [f"{name} {value}" for name, value in self.values.items() if isinstance(value, int)]
        return ", ".join([*ids, *([str(self.window)] if self.window else [])])


@dataclass(frozen=True)
class SliceRows:
    """All rows of one unit, or of one part of a unit that was cut; of many rows, a piece.

    Attributes:
        unit: What was read.
        page: Its rows.
        not_found: Why there are no rows, if the service says that what they belong to is not there.
        ends_parent: Whether what comes next belongs to another parent.
        is_last: Whether there is no further piece of these rows.
    """

    slice_: Slice
    page: Page
    not_found: str | None
    ends_parent: bool
    is_last: bool = True


@dataclass(frozen=True)
class Service(Generic[Content]):
    """How to talk to a service.

    Attributes:
        client: Asks.
        codec: Makes the codec of an endpoint.
        limit_param: Name of the parameter for the number of rows on a page.
        time_format: How times are written in parameters, for ``strftime``.
    """

    client: Client[Content]
    codec: Callable[[Endpoint], Codec]
    limit_param: str = "limit"
    time_format: str = "%Y-%m-%dT%H:%M:%SZ"


class _Read:
    """A unit that is being read."""

    def __init__(
        self,
        slice_: Slice,
        endpoint: Endpoint,
        size: PageSize,
        budget: Budget,
        cuts: int = 0,
        broken: bool = False,
        looks: Sequence[int] = (),
    ) -> None:
        self.slice_ = slice_
        self.budget = budget
        self.cuts = cuts
        #: Whether the window is a part of one whose answer is broken.
        self.broken = broken
        #: What was known of the pages' size when the reading began.
        self.version = size.version
        self.plan = plan_for(endpoint, size, slice_.window, looks)
        #: Pages that are to be asked for.
        self.wanted: deque[PageRequest] = deque()
        self.started = False
        self.replaced = False
        self.spool = Spool()
        self.pages: list[Spooled] = []
        #: Rows of the pages that have come so far.
        self.rows = 0
        self.not_found: str | None = None

    @property
    def done(self) -> bool:
        return self.plan.done or self.not_found is not None

    @property
    def splittable(self) -> bool:
        """Whether there is a window to ask for that can be cut."""
        return self.slice_.window is not None and self.slice_.window.splittable


class Reader:
    """Reads units of one endpoint and hands out their rows in the order of the units.

    Args:
        service: Whom to ask.
        endpoint: What to ask for.
        units: What to read.
        page_size: Rows wanted on a page; the endpoint's own limit is kept.

    Attributes:
        requests: Questions asked so far, repeated ones included.
    """

    def __init__(
        self, service: Service[Any], endpoint: Endpoint, slices: Iterable[Slice], page_size: int
    ) -> None:
        self.requests = 0
        self._service = service
        self._endpoint = endpoint
        self._codec = service.codec(endpoint)
        limit = min(page_size, endpoint.page_limit) if endpoint.page_limit else None
        self._size = PageSize(limit)
        self._lessons = 0
        self._pieces: Iterator[SliceRows] | None = None
        self._slices = iter(slices)
        self._order: list[_Read] = []
        self._lock = Lock()
        self._counting = Lock()
        self._under_way = 0
        self._session = 0
        self._failure: Exception | None = None
        self._not_found: set[str] = set()
        self._exhausted = False
        self._broken = 0
        self._undated: Counter[str] = Counter()
        self._most_unpaged = MIN_PAGE

    @property
    def finished(self) -> bool:
        """Whether every unit has been handed out."""
        return self._exhausted and not self._order and self._pieces is None

    def poll(self) -> SliceRows | None:
        """The next rows if they are there, without waiting.

        Raises:
            ServiceError: The service could not be read; the message says where.
        """
        if self._pieces is not None:
            return self._next_piece(self._pieces)
        with self._lock:
            self._session = self._service.client.session
            self._ask_on()
            if not self._order or not self._order[0].done:
                if self._failure:
                    raise self._failure
                return None
            read = self._order.pop(0)
            self._ask_on()
            ends_parent = not self._order or self._order[0].slice_.cursor != read.slice_.cursor
        pages = self._rows(read)
        self._pieces = self._cut_up(read, pages, ends_parent)
        return self._next_piece(self._pieces)

    def _next_piece(self, pieces: Iterator[SliceRows]) -> SliceRows:
        piece = next(pieces)
        if piece.is_last:
            self._pieces = None
        return piece

    def _cut_up(self, read: _Read, pages: Iterator[Page], ends_parent: bool) -> Iterator[SliceRows]:
        """The rows of a read, the last ones marked as that."""
        page = next(pages)
        for following in pages:
            yield SliceRows(read.slice_, page, read.not_found, ends_parent=False, is_last=False)
            page = following
        read.spool.close()
        yield SliceRows(read.slice_, page, read.not_found, ends_parent)

    def _ask_on(self) -> None:
        """Ask for as much as may be asked for at a time, until enough has been read ahead."""
        while not self._failure and self._under_way < self._service.client.concurrency:
            read = self._next_read()
            if read is None and not self._under_way and any(read.plan.held for read in self._order):
                # Nobody is left to wait for.
                self._size.forget_looks()
                self._resume()
                continue
            if read is None or not self._submit(read, read.wanted[0]):
                return
            read.wanted.popleft()
            self._under_way += 1

    def _next_read(self) -> _Read | None:
        """What to ask the next page of, if one may be asked for: what is handed out first."""
        held = sum(read.rows for read in self._order)
        for read in self._order if held < AHEAD_ROWS else self._order[:1]:
            if not read.started:
                read.started = True
                read.wanted.extend(read.plan.first)
            if read.wanted and not read.done:
                return read
        if held >= AHEAD_ROWS or len(self._order) >= 4 * self._service.client.concurrency:
            return None
        slice_ = next(self._slices, None)
        if slice_ is None:
            self._exhausted = True
            return None
        self._order.append(_Read(slice_, self._endpoint, self._size, Budget()))
        return self._next_read()

    def _submit(self, read: _Read, request: PageRequest) -> bool:
        """Ask for a page; false if the session is over."""
        question = self._service.client.submit(lambda: self._answer(read, request), self._session)
        return question is not None

    def _answer(self, read: _Read, request: PageRequest) -> None:
        """Read a page, and go on from it."""
        outcome: Page | Exception
        try:
            outcome = self._fetch(read, request)
        except Exception as error:  # noqa: BLE001 - raised where it is taken
            outcome = error
        with self._lock:
            self._under_way -= 1
            try:
                self._take(read, request, outcome)
                self._resume()
                self._ask_on()
            except Exception as error:  # noqa: BLE001 - raised by whoever polls
                self._failure = self._failure or error

    def _fetch(self, read: _Read, request: PageRequest) -> Page:
        """One page; one that stays broken, from smaller pages with the same rows."""
        once: list[type[TransientError]] = []
        if read.splittable and read.cuts < MAX_CUTS:
            # A long window that is too slow for an answer gets none the second time either.
            once.append(ResponseTimeout)
        if read.splittable and read.broken:
            once.append(MalformedResponse)
        try:
            return self._request(read, request, once)
        except MalformedResponse as error:
            if request.probe:
                return self._unreadable(error)
            if request.limit is None:
                raise
            logger.warning(f"{self._where(read, request)}: {error}; asking for smaller pages")
            return self._fetch_pieces(read, request, request.limit, error)

    def _fetch_pieces(
        self, read: _Read, request: PageRequest, limit: int, error: MalformedResponse
    ) -> Page:
        """The rows of a page from ever smaller pages, until what is broken stands alone."""
        linked = self._endpoint.paging is Paging.LINKED
        first, end = (request.number - 1) * limit, request.number * limit
        broken, counted = [(first, end)], None
        size = self._size.limit or limit
        pieces = {first: self._unreadable(error)} if limit == 1 else {}
        unreadable = len(pieces)
        while broken and limit > 1 and size > 1:
            size //= next(n for n in range(2, size + 1) if size % n == 0)
            # They lie on a grid, and reach over the ends of what is broken.
            numbers = {n for a, b in broken for n in range(a // size + 1, -(-b // size) + 1)}
            broken = []
            for number in sorted(numbers):
                start, stop = max(first, (number - 1) * size), min(end, number * size)
                try:
                    once = [MalformedResponse] if size > 1 else []
                    page = self._request(
                        read, PageRequest(number, size, request.index), once, by_number=True
                    )
                except MalformedResponse as still:
                    if size > 1:
                        broken.append((start, stop))
                        continue
                    page = self._unreadable(still)
                    unreadable += 1
                except ApiError:
                    if not linked:
                        raise
                    # Nobody has named this page; there may be none.
                    continue
                if (
                    linked
                    and page.next_link
                    and self._number_of(read, page.next_link) != number + 1
                ):
                    # Its pages cannot be asked for by their numbers.
                    raise error
                if page.page_count is not None:
                    counted = -(-page.page_count * size // limit)
                over = start - (number - 1) * size
                if (over or stop < number * size) and self._endpoint.identity:
                    if page.rows > page.table.num_rows:
                        # Nobody knows which of its rows are on the next page as well.
                        raise error
                    page = clip_page(page, over, stop - start)
                pieces[start] = page
            met = sum(page.rows > 0 for page in pieces.values())
            if len(broken) > MAX_MALFORMED_PIECES or (met > 1 and unreadable == met):
                raise ServiceError(f"{error}, also to smaller questions")
        joined = join_pieces(self._endpoint, [pieces[at] for at in sorted(pieces)], counted)
        last = pieces[max(pieces)]
        if linked and (last.next_link or last.rows > last.table.num_rows):
            return replace(joined, next_link=f"?page={request.number + 1}")
        return joined

    def _number_of(self, read: _Read, link: str) -> int | None:
        """Which page a link leads to, if it says so."""
        path = self._endpoint.path.format(**read.slice_.values)
        return parse_number(self._service.client.follow(path, link).get("page"))

    def _request(
        self,
        read: _Read,
        request: PageRequest,
        once: Sequence[type[TransientError]],
        by_number: bool = False,
    ) -> Page:
        """One page; one that has to be taken apart is asked for once more."""
        service, endpoint, window = self._service, self._endpoint, read.slice_.window
        path = endpoint.path.format(**read.slice_.values)
        params = {**endpoint.params, **read.slice_.params}
        if endpoint.window and window:
            params[endpoint.window.start] = window.start.strftime(service.time_format)
            params[endpoint.window.end] = window.end.strftime(service.time_format)
        if request.limit is not None:
            params[service.limit_param] = str(request.limit)
        if endpoint.paging is Paging.LINKED and not by_number:
            link = read.plan.link(request.index)
            # What a link leaves out is still what was asked for.
            params.update(service.client.follow(path, link) if link else {})
        elif request.limit is not None or request.number > 1:
            params["page"] = str(request.number)

        def get() -> Any:
            return service.client.get(path, params, tuple(once), on_request=self._count)

        def build(content: bytes) -> Page:
            return build_page(endpoint, self._codec.decode(content))

        def decode(content: bytes) -> Page:
            if request.limit == 1:
                # Not behind whole pages: others are asked for once it is known.
                return build(content)
            return service.client.compute(lambda: build(content))

        content, page = get(), None
        with suppress(MalformedResponse):
            page = decode(content)
            if not page.salvaged:
                return page
        logger.warning(f"{self._where(read, request)}: not well-formed; asking for it again")
        try:
            return decode(get())
        except MalformedResponse:
            if page is None:
                raise
            return page

    def _count(self) -> None:
        with self._counting:
            self.requests += 1

    def _take(self, read: _Read, request: PageRequest, outcome: Page | Exception) -> None:
        if read.done or read.replaced:
            return
        if read.version != self._size.version:
            self._begin_again(read)
            return
        try:
            if isinstance(outcome, WindowTooLarge):
                read.budget.spend(None)
            if isinstance(outcome, Exception):
                raise outcome
            page = outcome
            metadata = self._describe(page, len(read.pages), read.slice_.window)
            read.budget.spend(metadata)
            if not request.probe:
                read.pages.append(read.spool.put(page))
                read.rows += page.table.num_rows
            asked = read.plan.receive(request, metadata)
        except (WindowTooLarge, ResponseTimeout) as error:
            window = read.slice_.window
            # Whoever is silent whatever is asked is down, and not slow.
            silent = isinstance(error, ResponseTimeout) and read.cuts >= MAX_CUTS
            if window is None or not window.splittable or silent:
                raise self._located(error, read, request) from error
            logger.info(f"{self._where(read, request)}: {error}; asking for shorter windows")
            self._replace(read, window.split(UNKNOWN_PARTS), read.cuts + 1, read.broken)
            return
        except MalformedResponse as error:
            self._narrow(read, request, error)
            return
        except ServiceError as error:
            if isinstance(error, ApiError) and error.code in self._endpoint.not_found_codes:
                if read.slice_.cursor not in self._not_found:
                    logger.warning(f"{self._where(read, request)}: {error}; it has no rows to load")
                self._not_found.add(read.slice_.cursor)
                read.not_found = str(error)
            elif isinstance(error, ApiError) and read.slice_.fallback_window:
                logger.info(f"{self._where(read, request)}: {error}; asking for less")
                self._replace(read, [read.slice_.fallback_window])
            else:
                raise self._located(error, read, request) from error
            return
        read.wanted.extend(asked)
        self._follow(read)

    def _resume(self) -> None:
        """Let what waits go on if more is known of short pages."""
        if self._lessons == self._size.lessons:
            return
        self._lessons = self._size.lessons
        for read in [read for read in self._order if read.plan.held]:
            try:
                if read.version == self._size.version:
                    read.wanted.extend(read.plan.resume())
            except ServiceError as error:
                raise self._located(error, read, PageRequest(1, None, 1)) from error
            self._follow(read)
        if self._lessons != self._size.lessons:
            self._resume()

    def _follow(self, read: _Read) -> None:
        """Do what the plan of a read says beside what to ask for."""
        window = read.slice_.window
        if read.version != self._size.version:
            self._begin_again(read)
        elif read.plan.unpaged:
            self._judge_unpaged(read, window)
        elif read.plan.parts:
            assert window is not None
            parts, looks = window.split(read.plan.parts), read.plan.looks
            self._replace(read, parts, broken=read.broken, looks=looks)

    def _describe(self, page: Page, place: int, window: Window | None) -> PageMetadata:
        """What a plan may know of a page."""
        cursor = self._endpoint.window.cursor if self._endpoint.window else None
        dates = times(page.table, cursor) if cursor and window else []
        inside = [time for time in dates if window and window.start <= time < window.end + SECOND]
        return PageMetadata(
            place=place,
            rows=page.rows,
            loaded=page.table.num_rows,
            fingerprint=page.fingerprint,
            head=row_digests(page.table[:EDGE_ROWS]),
            tail=row_digests(page.table[-EDGE_ROWS:]),
            page_count=page.page_count,
            next_link=page.next_link,
            dated=len(dates),
            inside=len(inside),
            earliest=min(inside, default=None),
            latest=max(inside, default=None),
            salvaged=page.salvaged,
            pieced=page.pieced,
        )

    def _begin_again(self, read: _Read) -> None:
        """Read a unit anew, because pages turned out to have another size."""
        self._put_in_place_of(read, [read.slice_], read.cuts, read.broken, ())

    def _judge_unpaged(self, read: _Read, window: Window | None) -> None:
        """Tell whether the one answer that can be had is cut off; one with fewer rows is not."""
        page = read.spool.get(read.pages[read.plan.kept()[-1].place])
        if page.rows < self._most_unpaged:
            return
        if window is not None and window.splittable:
            self._most_unpaged = page.rows
            self._replace(read, window.split(UNKNOWN_PARTS))
        else:
            rows = f"{page.rows} rows, {read.slice_}"
            page.rejects.append(Reject(None, None, _CUT_OFF, rows))

    def _narrow(self, read: _Read, request: PageRequest, error: MalformedResponse) -> None:
        """Ask for shorter windows, where there are no smaller pages."""
        self._broken += 1
        if not read.splittable or self._broken > MAX_MALFORMED:
            raise self._located(error, read, request) from error
        assert read.slice_.window is not None
        logger.warning(f"{self._where(read, request)}: {error}; asking for shorter windows")
        parts = read.slice_.window.split(UNKNOWN_PARTS)
        self._replace(read, parts, read.cuts, broken=True)

    def _unreadable(self, error: MalformedResponse) -> Page:
        return unreadable_page(self._endpoint, f"{error}, also when asked for alone", error.body)

    def _replace(
        self,
        read: _Read,
        windows: Sequence[Window],
        cuts: int = 0,
        broken: bool = False,
        looks: Sequence[int] = (),
    ) -> None:
        """Read ``windows`` in the place of what was asked for."""
        slices = [replace(read.slice_, window=part, fallback_window=None) for part in windows]
        self._put_in_place_of(read, slices, cuts, broken, looks)

    def _put_in_place_of(
        self, read: _Read, slices: Sequence[Slice], cuts: int, broken: bool, looks: Sequence[int]
    ) -> None:
        read.replaced = True
        at = self._order.index(read)
        self._order[at : at + 1] = [
            _Read(slice_, self._endpoint, self._size, read.budget, cuts, broken, looks)
            for slice_ in slices
        ]

    def _rows(self, read: _Read) -> Iterator[Page]:
        """The rows of a read, in pieces if there are many."""
        endpoint, kept = self._endpoint, () if read.not_found else read.plan.kept()
        pages: Iterable[Page] = (
            clip_page(read.spool.get(read.pages[each.place]), each.skip) for each in kept
        )
        if not endpoint.identity or isinstance(read.plan, OverlapPlan):
            pages = without_repeats(pages)
        if not kept:
            yield empty_page(endpoint)
        elif endpoint.identity:
            # A row is numbered among all that are equal to it.
            page = concat_pages([_with_shared(page, read.slice_) for page in pages])
            cursor = endpoint.window.cursor if endpoint.window else None
            undated = {
                reject.row: reject.payload
                for reject in page.rejects
                if reject.row is not None and reject.column == cursor and not reject.table
            }
            table = add_row_keys(
                page.table, endpoint.key[0], endpoint.identity, undated, self._undated
            )
            yield replace(page, table=table)
        else:
            keys = () if endpoint.repeats else endpoint.record_key
            newest = (
                _newest(read.spool.get(read.pages[each.place]).table.select(keys) for each in kept)
                if keys
                else None
            )
            yield from _pieces((_with_shared(page, read.slice_) for page in pages), newest)

    def _where(self, read: _Read, request: PageRequest) -> str:
        parts = [self._endpoint.name, str(read.slice_), f"page {request.number}"]
        return ", ".join(part for part in parts if part)

    def _located(self, error: ServiceError, read: _Read, request: PageRequest) -> ServiceError:
        return ServiceError(f"{self._where(read, request)}: {error}")


def _with_shared(page: Page, slice_: Slice) -> Page:
    """The page with the columns that have one value in all of its rows."""
    table = page.table
    for column, value in reversed(list({**slice_.values, **page.shared}.items())):
        table = constant(table, column, value)
    return replace(page, table=table)


def _newest(keys: Iterable[pa.Table]) -> np.ndarray | None:
    """Of rows with the same key the last one: whether each row is that; ``None`` if all are."""
    table = pa.concat_tables(keys)
    numbered = table.append_column(ROW, pa.array(np.arange(table.num_rows)))
    last = numbered.group_by(table.column_names).aggregate([(ROW, "max")])[f"{ROW}_max"]
    if len(last) == table.num_rows:
        return None
    newest = np.zeros(table.num_rows, bool)
    newest[last.to_numpy()] = True
    return newest


def _pieces(pages: Iterable[Page], wanted: np.ndarray | None) -> Iterator[Page]:
    """The wanted rows of some pages and their rejects, so many at a time; one piece at least."""
    waiting: list[Page] = []
    rows = at = 0
    for page in pages:
        if waiting and rows + page.table.num_rows > PIECE_ROWS:
            yield concat_pages(waiting)
            waiting, rows = [], 0
        count = page.table.num_rows
        if wanted is not None and not wanted[at : at + count].all():
            keep = wanted[at : at + count].tolist()
            rejects = [one for one in page.rejects if one.row is None or keep[one.row]]
            page = filter_page(replace(page, rejects=rejects), keep)
        at += count
        waiting.append(page)
        rows += count
    yield concat_pages(waiting)
