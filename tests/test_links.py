"""Link plans against a service whose list changes while it is read: no network, no clock."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import combinations_with_replacement, product
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import slow_but
from textlift.arrow.pages import Page
from textlift.declare import Paging
from textlift.errors import ServiceError
from textlift.extract.density import FIRST_PARTS, Density
from textlift.extract.paging import (
    MAX_DEPTH,
    MAX_READINGS,
    MAX_SEQUENCE,
    SEQUENCE_PART,
    PageMetadata,
    PageRequest,
    PageSize,
    SequencePlan,
)
from textlift.windows import SECOND, Window

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

#: More questions than any reading of the short lists below can need.
FAR_TOO_MANY = 3000
START = datetime(2024, 3, 1, tzinfo=timezone.utc)
MONTH = Window(START, START + timedelta(days=30))
A_SECOND = Window(START, START + SECOND)

randoms = st.randoms(use_true_random=False)


def make_page(ids: Sequence[int]) -> Page:
    return Page(
        rows=len(ids),
        table=pa.table({"id": pa.array(ids, pa.int64())}),
        children={},
        rejects=[],
        fingerprint=hashlib.sha256(repr(ids).encode()).hexdigest(),
    )


cached_page = lru_cache(maxsize=None)(make_page)


class Plan:
    """The plan of a list whose rows have no key, and the pages that it was given."""

    first: Sequence[int] = (1,)

    def __init__(self, window: Window | None, cursor: str | None) -> None:
        self._plan = SequencePlan(Paging.LINKED, PageSize(None), window, keyed=False)
        self._window, self._cursor = window, cursor
        self._pages: list[Page] = []

    @property
    def done(self) -> bool:
        return self._plan.done

    @property
    def ended(self) -> bool:
        return self._plan.ended

    @property
    def density(self) -> Density | None:
        return self._plan.density

    def link(self, number: int) -> str | None:
        return self._plan.link(number)

    def receive(self, number: int, page: Page) -> Sequence[int]:
        self._pages.append(page)
        window, dates = self._window, []
        if self._cursor in page.table.column_names:
            dates = [date for date in page.table[self._cursor].to_pylist() if date]
        inside = [date for date in dates if window and window.start <= date < window.end + SECOND]
        metadata = PageMetadata(
            place=len(self._pages) - 1,
            rows=page.rows,
            loaded=page.table.num_rows,
            fingerprint=page.fingerprint,
            next_link=page.next_link,
            dated=len(dates),
            inside=len(inside),
            earliest=min(inside, default=None),
            latest=max(inside, default=None),
            seconds=np.array([date.timestamp() for date in inside]),
        )
        return [
            ask.index for ask in self._plan.receive(PageRequest(number, None, number), metadata)
        ]

    def pages(self) -> Sequence[Page]:
        return [self._pages[kept.place] for kept in self._plan.kept()]


def ids(plan: Plan) -> list[int]:
    return [row for page in plan.pages() for row in page.table["id"].to_pylist()]


@dataclass
class Linked:
    """An ordered list of ids, served in pages of which each names the next."""

    size: int = 2
    rows: list[int] = field(default_factory=list)
    questions: Counter[int] = field(default_factory=Counter)
    states: list[list[int]] = field(default_factory=list)
    born: int = 1_000_000

    def __post_init__(self) -> None:
        self.states.append(list(self.rows))

    def answer(self, link: str | None) -> Page:
        number = int(link.removeprefix("?page=")) if link else 1
        self.questions[number] += 1
        rows = self.rows[(number - 1) * self.size : number * self.size]
        more = number * self.size < len(self.rows)
        return replace(cached_page(tuple(rows)), next_link=link_to(number + 1) if more else None)

    def arrive_first(self) -> None:
        self._change(0)

    def arrive_at(self, at: int) -> None:
        self._change(min(at, len(self.rows)))

    def leave_at(self, at: int) -> None:
        # A row that has just arrived stays.
        old = [n for n, row in enumerate(self.rows) if row < FAR_TOO_MANY]
        if old:
            self._change(old[min(at, len(old) - 1)], leaving=True)

    def _change(self, at: int, leaving: bool = False) -> None:
        self.born += 1
        self.rows[at : at + leaving] = [] if leaving else [self.born]
        self.states.append(list(self.rows))


Change = Callable[[Linked], None]


def link_to(number: int) -> str:
    return f"?page={number}"


def service_of(pages: int, size: int = 2, last: int | None = None) -> Linked:
    """A list of so many pages, with ``last`` rows on the last one."""
    return Linked(size=size, rows=list(range((pages - 1) * size + (last or size))))


def unbounded() -> Plan:
    return Plan(None, None)


def of_a_month() -> Plan:
    return Plan(MONTH, "date")


every_window = pytest.mark.parametrize("make_plan", [unbounded, of_a_month])


def read(
    plan: Plan,
    answer: Callable[[str | None], Page],
    before: Callable[[int], None] = lambda answers: None,
    newest_first: bool = False,
) -> int:
    """Read to the end, with ``before`` called before each answer; how many there were."""
    asked, answers = list(plan.first), 0
    while not plan.ended:
        assert answers < 2 * FAR_TOO_MANY, "the plan goes on and on"
        assert asked, "the plan has not ended, and asks for nothing"
        before(answers)
        number = asked.pop(-1 if newest_first else 0)
        asked += plan.receive(number, answer(plan.link(number)))
        answers += 1
    return answers


def read_with_changes(
    service: Linked, changes: Sequence[tuple[int, Change]], newest_first: bool
) -> tuple[Plan, int]:
    """Read to the end, with changes before the answers with their numbers."""
    plan = unbounded()

    def change(answers: int) -> None:
        for moment, change in changes:
            if moment == answers:
                change(service)

    return plan, read(plan, service.answer, change, newest_first)


def run(
    plan: Plan, service: Linked, random: Random, changes: Sequence[Change], at_once: bool = False
) -> None:
    """Read to the end: questions are answered, and answers arrive, in any order.

    One change at most comes between two things that happen; with ``at_once``, none comes between
    the answers to questions that were asked together.
    """
    waiting = list(changes)
    asked: list[int] = list(plan.first)
    answered: list[tuple[int, Page]] = []
    while not plan.ended:
        assert asked or answered, "the plan has not ended, and asks for nothing"
        assert sum(service.questions.values()) < FAR_TOO_MANY, "the plan goes on and on"
        if waiting and random.random() < 0.3:
            waiting.pop()(service)
        if asked and (not answered or random.random() < 0.5):
            for _ in range(len(asked) if at_once else 1):
                number = asked.pop(random.randrange(len(asked)))
                answered.append((number, service.answer(plan.link(number))))
        else:
            asked += plan.receive(*answered.pop(random.randrange(len(answered))))


def arrive(at: int) -> Change:
    return lambda service: service.arrive_at(at)


def leave(at: int) -> Change:
    return lambda service: service.leave_at(at)


def leave_the_last(service: Linked) -> None:
    service.leave_at(len(service.rows))


def arrive_at_the_end(service: Linked) -> None:
    service.arrive_at(len(service.rows))


services = st.builds(
    lambda size, count: Linked(size=size, rows=list(range(count))),
    st.integers(1, 4),
    st.integers(0, 25),
)
places = st.integers(0, 25)


# A list that rests


@every_window
@pytest.mark.parametrize("last", [1, 2, 3])
@pytest.mark.parametrize("pages", [1, 2, 3, 7, MAX_SEQUENCE])
def test_a_list_that_rests_costs_a_question_for_each_page_and_one_more_for_each_before_the_last(
    make_plan: Callable[[], Plan], pages: int, last: int
) -> None:
    service, plan = service_of(pages, 3, last), make_plan()
    assert read(plan, service.answer) == 2 * pages - 1
    assert plan.done
    assert ids(plan) == service.rows
    assert service.questions[pages] == 1


def test_an_empty_list_takes_one_question() -> None:
    service, plan = Linked(), of_a_month()
    assert read(plan, service.answer) == 1
    assert plan.done
    assert ids(plan) == []


@pytest.mark.parametrize("pages", [2, 3, 20])
def test_the_pages_before_the_last_are_confirmed_all_at_once(pages: int) -> None:
    service, plan = service_of(pages), of_a_month()
    asked: list[Sequence[int]] = [plan.first]
    for number in range(1, pages + 1):
        assert list(asked[-1]) == [number]
        asked.append(plan.receive(number, service.answer(plan.link(number))))
    assert sorted(asked[-1]) == list(range(1, pages))
    assert not plan.done


@given(service=services, random=randoms)
def test_answers_may_come_in_any_order(service: Linked, random: Random) -> None:
    plan = unbounded()
    run(plan, service, random, [])
    assert ids(plan) == service.rows


@given(service=services, random=randoms)
def test_a_status_that_moves_while_the_pages_are_read_is_no_change(
    service: Linked, random: Random
) -> None:
    plan, pages = unbounded(), max(1, -(-len(service.rows) // service.size))
    answers = 0

    def answer(link: str | None) -> Page:
        nonlocal answers
        answers += 1
        page = service.answer(link)
        status = pa.array([f"status {answers}"] * page.rows, pa.string())
        return replace(page, table=page.table.append_column("status", status))

    assert read(plan, answer) == 2 * pages - 1
    assert ids(plan) == service.rows


# A list that changes


def assert_of_one_moment(plan: Plan, service: Linked, where: str = "") -> None:
    assert plan.done
    assert ids(plan) in service.states, where


def moments_of(answers: int, count: int) -> Iterator[tuple[int, ...]]:
    return combinations_with_replacement(range(answers), count)


@pytest.mark.parametrize("newest_first", slow_but(slice(1), [False, True]))
@pytest.mark.parametrize("change", [arrive, leave])
def test_two_changes_at_any_two_places_and_moments_leave_rows_of_one_moment(
    change: Callable[[int], Change], newest_first: bool
) -> None:
    for size, count in product((1, 2, 3), range(1, 6)):
        quiet = 2 * -(-count // size) - 1
        for first, second in product(range(count + 1), repeat=2):
            # A change makes the reading begin again, so that the second can come later.
            for moments in moments_of(2 * quiet + 2, 2):
                service = Linked(size=size, rows=list(range(count)))
                changes = list(zip(moments, (change(first), change(second))))
                plan, _ = read_with_changes(service, changes, newest_first)
                where = f"{count} rows, {size} on a page, places {first}, {second}, at {moments}"
                assert_of_one_moment(plan, service, where)


@pytest.mark.parametrize("newest_first", slow_but(slice(1), [True, False]))
@pytest.mark.parametrize(
    ("arriving", "leaving"),
    [(arrive_at_the_end, leave(0)), (arrive(0), leave_the_last)],
    ids=["oldest first", "newest first"],
)
def test_rows_may_arrive_at_one_end_and_leave_at_the_other_at_any_moments(
    arriving: Change, leaving: Change, newest_first: bool
) -> None:
    for size, count in product((1, 2, 3), range(1, 7)):
        quiet = 2 * -(-count // size) - 1
        for order in product((arriving, leaving), repeat=3):
            for moments in moments_of(quiet + 4, 3):
                service = Linked(size=size, rows=list(range(count)))
                plan, _ = read_with_changes(service, list(zip(moments, order)), newest_first)
                where = f"{count} rows, {size} on a page, at {moments}"
                assert_of_one_moment(plan, service, where)


@settings(max_examples=300)
@given(service=services, random=randoms, at=st.lists(places, max_size=4))
@pytest.mark.parametrize("change", [arrive, leave])
def test_rows_that_arrive_and_rows_that_leave_anywhere_leave_rows_of_one_moment(
    change: Callable[[int], Change], service: Linked, random: Random, at: list[int]
) -> None:
    plan = unbounded()
    run(plan, service, random, [change(place) for place in at])
    assert_of_one_moment(plan, service)


@settings(max_examples=300)
@given(
    service=services,
    random=randoms,
    changes=st.lists(st.builds(leave, places) | st.just(arrive_at_the_end), max_size=4),
)
def test_rows_may_leave_anywhere_while_others_arrive_at_the_end(
    service: Linked, random: Random, changes: list[Change]
) -> None:
    plan = unbounded()
    run(plan, service, random, changes)
    assert_of_one_moment(plan, service)


@settings(max_examples=300)
@given(
    service=services,
    random=randoms,
    changes=st.lists(st.builds(leave, places) | st.builds(arrive, places), max_size=4),
)
def test_rows_may_leave_and_arrive_anywhere_but_while_the_pages_are_confirmed(
    service: Linked, random: Random, changes: list[Change]
) -> None:
    plan = unbounded()
    run(plan, service, random, changes, at_once=True)
    assert_of_one_moment(plan, service)


def restless(service: Linked, changes: int) -> Callable[[str | None], Page]:
    """Answers after which the list changes, each time that its last page has been read."""
    left = changes

    def answer(link: str | None) -> Page:
        nonlocal left
        page = service.answer(link)
        if page.next_link is None and left:
            left -= 1
            service.arrive_first()
        return page

    return answer


@pytest.mark.parametrize("changes", range(MAX_READINGS))
@pytest.mark.parametrize("pages", [2, 5])
def test_a_list_that_comes_to_rest_is_read_in_the_end(pages: int, changes: int) -> None:
    service, plan = service_of(pages, last=1), unbounded()
    read(plan, restless(service, changes))
    assert plan.done
    assert ids(plan) == service.states[changes] == service.rows


@pytest.mark.parametrize("pages", [2, 5])
def test_a_window_that_never_stands_still_is_cut_if_it_can_be(pages: int) -> None:
    plan = of_a_month()
    read(plan, restless(service_of(pages), FAR_TOO_MANY))
    assert plan.ended
    assert not plan.done


@pytest.mark.parametrize("window", [None, A_SECOND])
@pytest.mark.parametrize("pages", [2, 5])
def test_a_window_that_never_stands_still_and_cannot_be_cut_is_an_error(
    pages: int, window: Window | None
) -> None:
    plan = Plan(window, "date")
    with pytest.raises(ServiceError, match="keep changing"):
        read(plan, restless(service_of(pages), FAR_TOO_MANY))
    assert not plan.done


# Windows with many pages


def dated(
    service: Linked, first: float, last: float, window: Window = MONTH
) -> Callable[[str | None], Page]:
    """Answers whose rows lie evenly between two parts of the window."""
    length, count = window.end - window.start, len(service.rows)

    def answer(link: str | None) -> Page:
        page = service.answer(link)
        shares = [first + (last - first) * row / count for row in page.table["id"].to_pylist()]
        return with_dates(page, [window.start + share * length for share in shares])

    return answer


def with_dates(page: Page, dates: Sequence[datetime | None]) -> Page:
    return replace(
        page, table=page.table.append_column("date", pa.array(dates, pa.timestamp("us", "UTC")))
    )


def windows_of(plan: Plan) -> list[Window]:
    """The windows that the month of a plan is cut into, while nothing more is learned."""
    assert plan.density
    windows = [MONTH]
    while len(parts := plan.density.cut(windows[-1])) > 1:
        windows[-1:] = parts
    return windows


@given(
    size=st.integers(1, 5),
    beyond=st.integers(1, 200),
    first=st.floats(0, 1),
    last=st.floats(0, 1),
)
def test_a_crowded_window_is_cut_after_as_many_pages_as_it_may_have(
    size: int, beyond: int, first: float, last: float
) -> None:
    plan, service = of_a_month(), service_of(MAX_SEQUENCE + beyond, size)
    assert read(plan, dated(service, first, last)) == MAX_SEQUENCE
    assert len(windows_of(plan)) > 1
    assert not plan.done


def test_rows_of_one_second_do_not_keep_a_window_from_being_cut() -> None:
    plan = of_a_month()
    read(plan, dated(service_of(MAX_SEQUENCE + 1), 0.5, 0.5))
    assert len(windows_of(plan)) > 1


@pytest.mark.parametrize("descending", [False, True])
def test_a_window_is_cut_into_more_parts_the_smaller_the_part_of_it_with_the_rows_seen(
    descending: bool,
) -> None:
    parts = []
    for pages in (MAX_SEQUENCE + 1, 2 * MAX_SEQUENCE, 4 * MAX_SEQUENCE, 1000 * MAX_SEQUENCE):
        plan = of_a_month()
        read(plan, dated(service_of(pages), *((1, 0) if descending else (0, 1))))
        parts.append(len(windows_of(plan)))
    if descending:
        # Nothing is known of the rows before those seen.
        assert set(parts) == {FIRST_PARTS}
    else:
        assert parts == sorted(set(parts))


@dataclass
class Archive:
    """Rows by time, of which those in a window are listed."""

    dates: list[datetime]
    size: int = 2
    questions: int = 0

    def read(self, window: Window) -> Iterator[tuple[int, ...]]:
        """All rows in a window, as often as it takes, with what is cut."""
        rows = [n for n, date in enumerate(self.dates) if window.start <= date <= window.end]
        service = Linked(size=self.size, rows=rows)
        plan = Plan(window, "date")

        def answer(link: str | None) -> Page:
            page = service.answer(link)
            return with_dates(page, [self.dates[row] for row in page.table["id"].to_pylist()])

        self.questions += read(plan, answer)
        if plan.done:
            yield tuple(ids(plan))
        rest = [] if plan.done else [window]
        while rest:
            assert plan.density
            part, *rest = plan.density.cut(rest[0])
            yield from self.read(part)


@settings(max_examples=30)
@given(
    crowds=st.lists(st.tuples(st.integers(0, 86400), st.integers(1, 150)), min_size=1, max_size=6),
    spread=st.sampled_from([0, 1, 90, 10**4]),
)
def test_all_rows_are_found_however_often_a_window_is_cut(
    crowds: list[tuple[int, int]], spread: int
) -> None:
    seconds = sorted(
        min(start + n * spread, 86400) for start, count in crowds for n in range(count)
    )
    archive = Archive([START + second * SECOND for second in seconds])
    # A month would be cut into thousands of windows without rows.
    day = Window(START, START + timedelta(days=1))
    found = [row for rows in archive.read(day) for row in rows]
    assert sorted(set(found)) == list(range(len(seconds)))


@pytest.mark.parametrize("window", [None, A_SECOND])
@pytest.mark.parametrize("pages", [MAX_SEQUENCE + 1, 5 * MAX_SEQUENCE])
def test_a_crowded_second_that_cannot_be_cut_is_read_to_its_end(
    pages: int, window: Window | None
) -> None:
    plan, service = Plan(window, "date"), service_of(pages)
    assert read(plan, service.answer) == 2 * pages - 1
    assert ids(plan) == service.rows


# A service that leads astray


def linked(
    next_number: Callable[[int], int], dates: Sequence[datetime | None] = (START,)
) -> Callable[[str | None], Page]:
    """Answers with a row for each date, and with links wherever ``next_number`` says."""

    def answer(link: str | None) -> Page:
        number = int(link.removeprefix("?page=")) if link else 1
        rows = tuple(number * len(dates) + n for n in range(len(dates)))
        page = replace(cached_page(rows), next_link=link_to(next_number(number)))
        return with_dates(page, dates)

    return answer


@pytest.mark.parametrize("length", [1, 2, 3, 10])
@pytest.mark.parametrize("before", [0, 1, 5])
def test_links_that_go_in_a_circle_end_after_one_round(before: int, length: int) -> None:
    asked = 0

    def count(answers: int) -> None:
        nonlocal asked
        asked = answers + 1

    last = before + length
    circle = linked(lambda n: n + 1 if n < last else before + 1)
    with pytest.raises(ServiceError, match="none is the last"):
        read(unbounded(), circle, count)
    assert asked <= last + 1
    # What fits one page has no next one.
    plan = of_a_month()
    read(plan, circle, count)
    assert asked <= last + 1
    assert (plan.ended, plan.done) == (True, False)


def test_links_that_never_end_are_an_error_where_the_window_cannot_be_cut() -> None:
    plan, asked = unbounded(), [1]
    answer = linked(lambda n: n + 1)
    with pytest.raises(ServiceError, match="none is the last"):
        while len(asked) <= MAX_DEPTH:
            asked += plan.receive(asked[-1], answer(plan.link(asked[-1])))
    assert len(asked) == MAX_DEPTH


@pytest.mark.parametrize("full", [0, 1, MAX_SEQUENCE - SEQUENCE_PART])
def test_empty_pages_that_name_one_more_for_ever_are_an_error_and_no_reason_to_cut(
    full: int,
) -> None:
    plan, filled, empty = of_a_month(), linked(lambda n: n + 1), linked(lambda n: n + 1, [])
    asked = 0

    def answer(link: str | None) -> Page:
        nonlocal asked
        asked += 1
        return filled(link) if asked <= full else empty(link)

    with pytest.raises(ServiceError, match="none is the last"):
        read(plan, answer)
    assert not plan.ended


def test_rows_whose_times_nobody_can_read_do_not_keep_a_window_from_being_cut() -> None:
    plan = of_a_month()
    read(plan, linked(lambda n: n + 1, [None, None]))
    assert len(windows_of(plan)) > 1


OUTSIDE = (START - SECOND, MONTH.end + SECOND, START - timedelta(days=365))


@given(dates=st.lists(st.sampled_from(OUTSIDE), min_size=1, max_size=4), inside=st.integers(0, 4))
def test_a_service_that_ignores_the_window_is_an_error_and_no_reason_to_cut(
    dates: list[datetime], inside: int
) -> None:
    plan = of_a_month()
    answer = linked(lambda n: n + 1, [*dates, *[START] * inside])
    if len(dates) <= inside:
        read(plan, answer)
        assert plan.ended
    else:
        with pytest.raises(ServiceError, match="outside the window"):
            read(plan, answer)
        assert not plan.ended
