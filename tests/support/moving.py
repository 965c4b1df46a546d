"""Lists that change while a plan reads them, without network and clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from math import inf
from random import Random

import numpy as np

from textlift.declare import Endpoint, Paging
from textlift.errors import ServiceError
from textlift.extract.density import Density, Sample
from textlift.extract.paging import EDGE_ROWS, PageMetadata, PageRequest, PageSize, Plan, plan_for
from textlift.mcommons.endpoints import ENDPOINTS as MCOMMONS
from textlift.mgage.endpoints import ENDPOINTS as MGAGE
from textlift.windows import Window

#: How a list can be sorted: by its cursor or by its ids, ascending or descending.
ORDERS = ("cursor", "-cursor", "id", "-id")
#: The endpoints with pages.
PAGED = [each for each in (*MCOMMONS, *MGAGE) if each.paging is not Paging.SINGLE]
_START = datetime(2025, 1, 1, tzinfo=timezone.utc)
#: Pages are shorter than at the services, so that tests can try many more readings.
_LIMIT, _MOST_ROWS = 50, 420
#: More responses than a reading of the short lists below can need.
FAR_TOO_MANY = 5000


@dataclass(frozen=True)
class Row:
    """A row. Its cursor is a number of seconds, or ``None`` for a row without a time."""

    id: int
    cursor: int | None

    @property
    def digest(self) -> int:
        """The value by which a plan compares rows."""
        return hash((self.id, self.cursor))


@dataclass
class Listing:
    """A sorted list of rows, served in pages.

    Attributes:
        rows: The rows of the window, sorted.
        order: The sort order.
        counted: Whether each page states the number of pages.
        totalled: Whether each page states the number of rows on all pages.
        linked: Whether each page names the next page.
        own_size: Rows on a page, if the list ignores the requested limit.
        cap: Maximum number of rows on a page.
        starts_as_asked: Whether a page begins behind as many rows as requested, not returned.
        hidden: Ids of rows that are removed from a page after the list is cut into pages.
    """

    rows: list[Row]
    order: str = "cursor"
    counted: bool = False
    totalled: bool = False
    linked: bool = False
    own_size: int | None = None
    cap: int | None = None
    starts_as_asked: bool = False
    hidden: frozenset[int] = frozenset()
    count: Callable[[int], int] = lambda count: count
    answers: list[PageRequest] = field(default_factory=list)
    changed: set[Row] = field(default_factory=set)
    _born: int = 10**9

    def __post_init__(self) -> None:
        self._sort()

    def _sort(self) -> None:
        def key(row: Row) -> tuple[int, int]:
            cursor = -1 if row.cursor is None else row.cursor
            return (cursor, row.id) if "cursor" in self.order else (row.id, cursor)

        self.rows.sort(key=key, reverse=self.order.startswith("-"))

    def answer(self, request: PageRequest, place: int) -> PageMetadata:
        """Return the metadata of a page in its current state."""
        self.answers.append(request)
        limit = self._limit(request)
        pages = -(-len(self.rows) // limit)
        return describe(
            self.shown(request),
            place,
            page_count=self.count(pages) if self.counted else None,
            total=len(self.rows) if self.totalled else None,
            next_link=f"?page={request.number + 1}"
            if self.linked and request.number < pages
            else None,
        )

    def shown(self, request: PageRequest) -> list[Row]:
        """Return the rows of a page in its current state."""
        limit = self._limit(request)
        step = request.limit if self.starts_as_asked and request.limit else limit
        first = (request.number - 1) * step
        rows = self.rows[first : first + limit]
        return [row for row in rows if row.id not in self.hidden]

    def _limit(self, request: PageRequest) -> int:
        return self.own_size or min(request.limit or 20, self.cap or 10**9)

    def leave(self, random: Random) -> None:
        """Remove a row, as if it was deleted or its cursor moved past the end of the window."""
        if self.rows:
            self.changed.add(self.rows.pop(random.randrange(len(self.rows))))

    def arrive(self, random: Random) -> None:
        """Add a row, either with the newest cursor or with any cursor."""
        self._born += 1
        newest = max((row.cursor or 0 for row in self.rows), default=0) + 1
        cursor = newest if random.random() < 0.5 else random.randrange(newest + 1)
        # The id is new, or that of an old row whose cursor was outside of the window.
        row_id = self._born if random.random() < 0.5 else random.randrange(10**6, 10**9)
        self.put(Row(row_id, cursor))

    def put(self, row: Row) -> None:
        """Add a row in its sorted position."""
        self.changed.add(row)
        self.rows.append(row)
        self._sort()

    def move(self, random: Random) -> None:
        """Give a row the newest cursor, or any cursor."""
        if self.rows:
            row = self.rows.pop(random.randrange(len(self.rows)))
            self.changed.add(row)
            newest = max((each.cursor or 0 for each in self.rows), default=0) + 1
            cursor = newest if random.random() < 0.5 else random.randrange(newest + 1)
            self.put(replace(row, cursor=cursor))


Change = Callable[[Listing, Random], None]
#: The changes of a list. A list that only grows has only the last one.
CHANGES: Sequence[Change] = (Listing.leave, Listing.move, Listing.arrive)


def describe(rows: Sequence[Row], place: int = 0, **known: object) -> PageMetadata:
    """Return the metadata of a page with these rows."""
    digests = tuple(row.digest for row in rows)
    page = PageMetadata(
        place=place,
        rows=len(rows),
        loaded=len(rows),
        fingerprint=repr(digests),
        head=digests[:EDGE_ROWS],
        tail=digests[-EDGE_ROWS:],
    )
    return replace(page, **known)  # type: ignore[arg-type]


@dataclass
class Reading:
    """The result of reading a list."""

    plan: Plan
    size: PageSize
    #: The rows that the plan kept, in order.
    found: list[Row]


def read(
    listing: Listing,
    make_plan: Callable[[], Plan],
    size: PageSize,
    random: Random | None = None,
    change: Callable[[int], None] = lambda answers: None,
) -> Reading:
    """Read a list to its end. Responses come in random order, with ``change`` before each."""
    plan, asked, pages = make_plan(), [], []  # type: ignore[var-annotated]
    asked += plan.first
    while not plan.ended:
        assert asked, "the plan has not ended, and asks for nothing"
        assert len(listing.answers) < FAR_TOO_MANY, "the plan goes on and on"
        change(len(listing.answers))
        request = asked.pop(random.randrange(len(asked)) if random else 0)
        version = size.version
        page = listing.answer(request, len(pages))
        if not request.probe:
            pages.append(listing.shown(request))
        asked += plan.receive(request, page)
        if size.version != version:
            plan, pages = make_plan(), []
            asked = list(plan.first)
    kept = plan.kept() if plan.done else ()
    return Reading(plan, size, [row for each in kept for row in pages[each.place][each.skip :]])


def readings_that_lose_a_row(
    endpoint: Endpoint, order: str, readings: int, totalled: bool = False
) -> list[int]:
    """Read lists as an endpoint declares them, with one to four changes during each reading.

    Args:
        endpoint: The endpoint.
        order: The order of the lists.
        readings: Number of readings.
        totalled: Whether a counted list states the number of rows instead of the number of pages.

    Returns:
        The numbers of the readings that lost a row that did not change, or that doubled such a row
        without a key.
    """
    bad = []
    for seed in range(readings):
        random = Random(f"{endpoint.name} {order} {seed}")
        count = random.randrange(_MOST_ROWS)
        rows = [Row(number * 7, random.randrange(1000)) for number in range(count)]
        listing = Listing(
            list(rows),
            order,
            counted=endpoint.paging is Paging.COUNTED and not totalled,
            totalled=endpoint.paging is Paging.COUNTED and totalled,
            linked=endpoint.paging is Paging.LINKED,
            own_size=None if endpoint.page_limit else _LIMIT,
        )
        windowed = endpoint.incremental and random.random() < 0.5
        window = Window(_START, _START + timedelta(days=30)) if windowed else None
        reading = _read_while_it_moves(endpoint, listing, window, random)
        if reading is None or not reading.plan.done:
            continue
        stayed = set(rows) - listing.changed
        found = [row for row in reading.found if row in stayed]
        if set(found) != stayed or (endpoint.identity and len(found) != len(stayed)):
            bad.append(seed)
    return bad


def _read_while_it_moves(
    endpoint: Endpoint, listing: Listing, window: Window | None, random: Random
) -> Reading | None:
    """Return the result, or ``None`` if the list changed so much that the resource fails."""
    size = PageSize(_LIMIT if endpoint.page_limit else None)
    density = None
    if window and random.random() < 0.5:
        nothing = [Sample(0, 1, np.empty(0))]
        density = Density(window, nothing, random.randrange(1, 12), True, wanted=4)
        density.doubt = random.choice([1.1, 4, inf])
    stated = random.choice([None, len(listing.rows), random.randrange(2 * _MOST_ROWS)])
    answers = 2 + 2 * len(listing.rows) // _LIMIT
    moments = sorted(random.randrange(answers) for _ in range(random.randrange(1, 5)))
    # A sent message keeps its date, and a click its place, so both lists only grow.
    only_grows = endpoint.settled or endpoint.paging is Paging.LINKED
    kinds = CHANGES[2:] if only_grows else CHANGES

    def change(answers: int) -> None:
        while moments and moments[0] <= answers:
            moments.pop(0)
            random.choice(kinds)(listing, random)

    try:
        return read(
            listing, lambda: plan_for(endpoint, size, window, density, stated), size, random, change
        )
    except ServiceError as error:
        if "keep changing" in str(error):
            return None
        raise
