"""Lists with the newest rows first, read in parts while rows change, leave and arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.moving import Listing, Row
from textlift.declare import Paging
from textlift.errors import ServiceError
from textlift.extract.paging import PageMetadata, PageRequest, PageSize
from textlift.extract.sorted_list import ListPart, SortedPlan

START = datetime(2025, 1, 1, tzinfo=timezone.utc)
LIMIT = 20
Change = Callable[[int], None]


def moment(cursor: int) -> datetime:
    return START + timedelta(seconds=cursor)


class Newest(Listing):
    """A list with the newest rows first, which states the number of its pages."""

    def __init__(self, rows: list[Row], **known: object) -> None:
        super().__init__(rows, "-cursor", counted=True, **known)  # type: ignore[arg-type]

    @property
    def newest(self) -> int:
        return max((row.cursor or 0 for row in self.rows), default=0)

    def answer(self, request: PageRequest, place: int) -> PageMetadata:
        """Return the metadata of a page, with the times of its rows."""
        page, shown = super().answer(request, place), self.shown(request)
        dates = [moment(row.cursor) for row in shown if row.cursor is not None]
        return replace(
            page,
            total=len(self.rows),
            earliest=min(dates, default=None),
            latest=max(dates, default=None),
            descends=dates == sorted(dates, reverse=True),
        )

    def change(self, random: Random) -> None:
        """Change a row: it moves to the front."""
        if self.rows:
            row = self.rows.pop(random.randrange(len(self.rows)))
            self.put(replace(row, cursor=self.newest + 1))

    def join(self, random: Random) -> None:
        """Add a new row at the front."""
        self._born += 1
        self.put(Row(self._born, self.newest + 1))


def read_parts(
    listing: Newest,
    part: ListPart | None,
    size: PageSize,
    change: Change = lambda answers: None,
) -> Iterator[tuple[list[Row], ListPart | None]]:
    """Yield the rows of each part and what follows, as the reader does."""
    before = None
    while part is not None:
        plan, pages = SortedPlan(Paging.COUNTED, size, part, before), []
        asked, version = list(plan.first), size.version
        while not plan.done:
            (request,) = asked
            change(len(listing.answers))
            page = listing.answer(request, len(pages))
            pages.append(listing.shown(request))
            asked = list(plan.receive(request, page))
            if size.version != version:
                plan, pages = SortedPlan(Paging.COUNTED, size, part, before), []
                asked, version = list(plan.first), size.version
        yield [row for kept in plan.kept() for row in pages[kept.place]], plan.following
        part = plan.following
        before = plan.last if part and part.start else None


def read_all(listing: Newest, part: ListPart, change: Change = lambda answers: None) -> set[Row]:
    parts = read_parts(listing, part, PageSize(LIMIT), change)
    return {row for rows, _ in parts for row in rows}


def old_list(count: int, random: Random, ties: int = 1) -> Newest:
    return Newest([Row(n, random.randrange(1 + count // ties)) for n in range(count)])


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 900), ties=st.sampled_from([1, 5, 1000]), seed=st.integers(0, 10**6))
def test_a_list_that_rests_is_read_whole(count: int, ties: int, seed: int) -> None:
    listing = old_list(count, Random(seed), ties)
    assert read_all(listing, ListPart()) == set(listing.rows)
    assert len(listing.answers) <= 2 + count / LIMIT


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 900), seed=st.integers(0, 10**6), data=st.data())
def test_only_the_newest_rows_are_read_down_to_a_time(
    count: int, seed: int, data: st.DataObject
) -> None:
    listing = old_list(count, Random(seed))
    oldest = data.draw(st.integers(0, listing.newest))
    wanted = {row for row in listing.rows if (row.cursor or 0) >= oldest}
    assert read_all(listing, ListPart(moment(oldest))) >= wanted
    assert len(listing.answers) <= 4 + len(wanted) / LIMIT


def changing(listing: Newest, random: Random, moments: list[int]) -> Change:
    """Return a change of the list at each of the moments, counted in responses."""

    def change(answers: int) -> None:
        while moments and moments[0] <= answers:
            moments.pop(0)
            kinds = (Newest.change, Newest.change, Newest.join, Newest.leave)
            random.choice(kinds)(listing, random)

    return change


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(0, 700),
    ties=st.sampled_from([1, 5, 100]),
    seed=st.integers(0, 10**6),
    many=st.sampled_from([3, 30, 300]),
)
def test_no_row_is_missed_while_rows_change_leave_and_arrive(
    count: int, ties: int, seed: int, many: int
) -> None:
    random = Random(seed)
    listing = old_list(count, random, ties)
    began = listing.newest
    answers = 5 + count // 10
    change = changing(listing, random, sorted(random.randrange(answers) for _ in range(many)))
    found = read_all(listing, ListPart(), change)
    found |= read_all(listing, ListPart(moment(began)), change)
    # What came to the front after its last reading is new to the next run.
    newest = max((row.cursor or 0 for row in found), default=-1)
    ids = {row.id for row in found}
    assert all((row.cursor or 0) > newest for row in listing.rows if row.id not in ids)
    assert {row for row in listing.rows if row not in found} <= set(listing.rows[:many])


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(400, 900),
    ties=st.sampled_from([1, 5, 400]),
    seed=st.integers(0, 10**6),
    between=st.integers(0, 60),
    data=st.data(),
)
def test_an_interrupted_reading_continues_near_its_place(
    count: int, ties: int, seed: int, between: int, data: st.DataObject
) -> None:
    random = Random(seed)
    listing = old_list(count, random, ties)
    began = listing.newest
    size = PageSize(LIMIT)
    rows, following = next(read_parts(listing, ListPart(), size))
    assert following and following.start
    found, asked = set(rows), len(listing.answers)
    for _ in range(between):
        random.choice((Newest.change, Newest.join, Newest.leave))(listing, random)
    for rows, _ in read_parts(listing, ListPart(start=following.start), PageSize(LIMIT)):
        found |= set(rows)
    left = count + between - following.start.rows
    if ties == 1:
        assert len(listing.answers) - asked <= 8 + (left + 2 * between) / LIMIT
    found |= read_all(listing, ListPart(moment(began)))
    assert {row.id for row in found} >= {row.id for row in listing.rows}


def test_a_service_that_does_not_sort_is_read_to_its_end() -> None:
    listing = Newest([Row(number, number) for number in range(300)])
    Random(1).shuffle(listing.rows)
    assert read_all(listing, ListPart(moment(290))) == set(listing.rows)


def test_a_service_that_answers_every_page_with_the_same_rows_is_an_error() -> None:
    listing = Newest([Row(number, number) for number in range(300)])
    plan = SortedPlan(Paging.COUNTED, PageSize(LIMIT), ListPart(), None)
    request = plan.first[0]
    with pytest.raises(ServiceError, match="every page with the same rows"):
        for place in range(10):
            page = listing.answer(PageRequest(1, request.limit, 1), place)
            (request,) = plan.receive(request, page)


def test_a_service_with_a_lower_limit_is_read_whole() -> None:
    listing = Newest([Row(number, number) for number in range(900)], cap=50)
    size = PageSize(100)
    found = {row for rows, _ in read_parts(listing, ListPart(), size) for row in rows}
    assert found == set(listing.rows)
    assert size.limit == 50


def test_pages_from_which_rows_are_taken_do_not_end_the_list() -> None:
    hidden = frozenset(range(0, 900, 7))
    listing = Newest([Row(number, number) for number in range(900)], hidden=hidden)
    found = {row.id for row in read_all(listing, ListPart())}
    assert found == set(range(900)) - hidden
