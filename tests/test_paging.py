"""Page plans against a service whose list changes while it is read: no network, no clock."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import combinations_with_replacement, product
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.common.endpoints import Paging
from sources.common.errors import ServiceError
from sources.common.paging import MAX_PAGES, PagePlan, Probe
from sources.common.tables import Page
from sources.common.windows import Window

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_MIDNIGHT = datetime(2025, 1, 1, tzinfo=timezone.utc)
HOUR = Window(_MIDNIGHT, _MIDNIGHT + timedelta(hours=1))
#: More questions than any reading of the short lists below can need.
FAR_TOO_MANY = 3000


@dataclass(frozen=True)
class Shape:
    """A way to page: what the endpoint declares, and what is known of its limit."""

    paging: Paging
    limit_known: bool
    looks: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.paging is Paging.OPEN:
            looks = f", {len(self.looks)} looks" if self.looks else ""
            return f"open, limit {'known' if self.limit_known else 'unknown'}{looks}"
        return self.paging.name.lower()


COUNTED = Shape(Paging.COUNTED, True)
OPEN = Shape(Paging.OPEN, True)
OPEN_WITHOUT_LIMIT = Shape(Paging.OPEN, False)
#: Parts of a window that was cut, where the end was not in sight and where it was.
PART = Shape(Paging.OPEN, True, looks=(1,))
WIDE = Shape(Paging.OPEN, True, looks=(1, 8, 16, MAX_PAGES + 1))
SINGLE = Shape(Paging.SINGLE, False)
PAGED = (COUNTED, OPEN, OPEN_WITHOUT_LIMIT, PART, WIDE)

every_paged_shape = pytest.mark.parametrize("shape", PAGED, ids=str)
every_shape = pytest.mark.parametrize("shape", (*PAGED, SINGLE), ids=str)


def make_page(ids: Sequence[int], page_count: int | None = None) -> Page:
    return Page(
        rows=len(ids),
        table=pa.table({"id": pa.array(ids, pa.int64())}),
        children={},
        rejects=[],
        page_count=page_count,
        fingerprint=hashlib.sha256(repr(ids).encode()).hexdigest(),
    )


@dataclass
class Service:
    """An ordered list of ids, served in pages, and what became of it."""

    shape: Shape
    size: int
    rows: list[int]
    questions: Counter[int] = field(default_factory=Counter)
    probes: Counter[int] = field(default_factory=Counter)
    states: list[list[int]] = field(default_factory=list)
    born: int = 1_000_000

    def __post_init__(self) -> None:
        self.states.append(list(self.rows))

    def page(self, number: int) -> Page:
        if self.shape is SINGLE:
            return make_page(self.rows)
        if isinstance(number, Probe):
            at = (number - 1) * self.size
            return make_page(self.rows[at : at + 1])
        rows = self.rows[(number - 1) * self.size : number * self.size]
        counted = self.shape.paging is Paging.COUNTED
        return make_page(rows, -(-len(self.rows) // self.size) if counted else None)

    def leave(self, random: Random) -> None:
        if self.rows:
            self._change(random.randrange(len(self.rows)), leaving=True)

    def arrive(self, random: Random, anywhere: bool) -> None:
        self._change(random.randrange(len(self.rows) + 1) if anywhere else len(self.rows))

    def leave_first(self) -> None:
        self._change(0, leaving=True)

    def arrive_first(self) -> None:
        self._change(0)

    def promote(self, at: int) -> None:
        self.rows.insert(0, self.rows.pop(at))
        self.states.append(list(self.rows))

    def _change(self, at: int, leaving: bool = False) -> None:
        self.born += 1
        self.rows[at : at + leaving] = [] if leaving else [self.born]
        self.states.append(list(self.rows))

    @property
    def stayed(self) -> set[int]:
        """Rows that were there from the first question to the last answer."""
        return set.intersection(*(set(state) for state in self.states))


def plan_for(service: Service, splittable: bool = False, keyed: bool = True) -> PagePlan:
    limit = service.size if service.shape.limit_known else None
    window, looks = HOUR if splittable else None, service.shape.looks
    return PagePlan(service.shape.paging, limit, window, keyed=keyed, looks=looks)


def run(
    plan: PagePlan,
    service: Service,
    random: Random,
    leaving: int = 0,
    arriving: int = 0,
    anywhere: bool = False,
) -> PagePlan:
    """Read to the end: questions are answered, and answers arrive, in any order.

    At most one row leaves or arrives between two things that happen.
    """
    asked: list[int] = []
    answered: list[tuple[int, Page]] = []

    def ask(numbers: Sequence[int]) -> None:
        asked.extend(numbers)
        for number in numbers:
            counter = service.probes if isinstance(number, Probe) else service.questions
            counter[int(number)] += 1
        asked_so_far = service.questions.total() + service.probes.total()
        assert asked_so_far < FAR_TOO_MANY, "the plan goes on and on"

    ask(plan.first)
    while not (plan.done or plan.parts):
        assert asked or answered, "the plan has not ended, and asks for nothing"
        if leaving and random.random() < 0.3:
            leaving -= 1
            service.leave(random)
        elif arriving and random.random() < 0.3:
            arriving -= 1
            service.arrive(random, anywhere)
        if asked and (not answered or random.random() < 0.5):
            number = asked.pop(random.randrange(len(asked)))
            answered.append((number, service.page(number)))
        else:
            ask(plan.receive(*answered.pop(random.randrange(len(answered)))))
    return plan


def ids(plan: PagePlan) -> list[int]:
    return [row for page in plan.pages() for row in page.table["id"].to_pylist()]


@st.composite
def services(draw: st.DrawFn, shape: Shape, most_pages: int = 9, least_size: int = 1) -> Service:
    size = draw(st.integers(least_size, 5))
    count = draw(st.integers(0, size * most_pages))
    return Service(shape, size, list(range(count)))


randoms = st.randoms(use_true_random=False)
few = st.integers(1, 6)


@every_shape
@given(data=st.data(), random=randoms, splittable=st.booleans(), keyed=st.booleans())
def test_a_list_that_rests_is_read_whole(
    shape: Shape, data: st.DataObject, random: Random, splittable: bool, keyed: bool
) -> None:
    service = data.draw(services(shape))
    plan = run(plan_for(service, splittable, keyed), service, random)
    assert plan.done
    assert not plan.parts
    assert sorted(set(ids(plan)) if keyed else ids(plan)) == service.rows


@pytest.mark.parametrize("shape", (OPEN, PART, WIDE), ids=str)
@given(data=st.data(), random=randoms)
def test_a_look_that_tells_something_wrong_costs_no_row(
    shape: Shape, data: st.DataObject, random: Random
) -> None:
    service = data.draw(services(shape, least_size=2))
    plan = plan_for(service)
    asked = list(plan.first)
    while not plan.done:
        number = asked.pop(random.randrange(len(asked)))
        page = service.page(number)
        if isinstance(number, Probe):
            # As from a service that does not know of such short pages.
            there = number < 40 and random.random() < 0.5
            page = make_page([-number] if there else [])
        asked += plan.receive(number, page)
    assert sorted(set(ids(plan))) == service.rows


@every_shape
@given(data=st.data(), random=randoms)
def test_a_list_that_rests_is_asked_for_a_page_to_find_the_end_to_read_and_to_confirm(
    shape: Shape, data: st.DataObject, random: Random
) -> None:
    service = data.draw(services(shape))
    run(plan_for(service), service, random)
    assert max(service.questions.values()) <= (2 if shape is COUNTED else 3)
    assert max(service.probes.values(), default=0) <= 2


@every_shape
def test_an_empty_list_takes_one_question(shape: Shape) -> None:
    service = Service(shape, 5, [])
    plan = run(plan_for(service, splittable=True), service, Random(0))
    assert plan.done
    assert ids(plan) == []
    assert service.questions == {1: 1}


@pytest.mark.parametrize("shape", (COUNTED, OPEN, SINGLE), ids=str)
def test_a_page_that_is_known_to_be_the_only_one_takes_one_question(shape: Shape) -> None:
    service = Service(shape, 5, [1, 2, 3])
    run(plan_for(service, splittable=True), service, Random(0))
    assert service.questions == {1: 1}


@given(random=randoms, size=st.integers(1, 5), arriving=st.integers(0, 3))
def test_a_page_before_an_empty_one_is_all_there_is_where_rows_never_leave(
    random: Random, size: int, arriving: int
) -> None:
    service = Service(OPEN_WITHOUT_LIMIT, size, list(range(size)))
    plan = PagePlan(Paging.OPEN, None, HOUR, settled=True)
    run(plan, service, random, arriving=arriving)
    assert service.stayed <= set(ids(plan))
    assert arriving or service.questions == {1: 1, 2: 1}


@given(data=st.data(), random=randoms)
def test_no_page_is_asked_for_that_the_service_has_not_counted(
    data: st.DataObject, random: Random
) -> None:
    service = data.draw(services(COUNTED))
    run(plan_for(service), service, random)
    assert set(service.questions) == set(
        range(1, max(1, -(-len(service.rows) // service.size)) + 1)
    )


@every_paged_shape
@settings(max_examples=100)
@given(data=st.data(), random=randoms, leaving=few)
def test_a_row_that_stays_is_seen_whichever_rows_leave(
    shape: Shape, data: st.DataObject, random: Random, leaving: int
) -> None:
    service = data.draw(services(shape))
    plan = run(plan_for(service), service, random, leaving=leaving)
    assert plan.done
    assert service.stayed <= set(ids(plan))


@every_paged_shape
@settings(max_examples=100)
@given(data=st.data(), random=randoms, leaving=few, arriving=few)
def test_a_row_that_stays_is_seen_also_when_others_arrive_at_the_end(
    shape: Shape, data: st.DataObject, random: Random, leaving: int, arriving: int
) -> None:
    service = data.draw(services(shape))
    plan = run(plan_for(service), service, random, leaving=leaving, arriving=arriving)
    assert plan.done
    assert service.stayed <= set(ids(plan))


@every_paged_shape
@settings(max_examples=100)
@given(data=st.data(), random=randoms, arriving=st.integers(1, 3))
def test_a_row_that_stays_is_seen_also_when_a_few_arrive_anywhere(
    shape: Shape, data: st.DataObject, random: Random, arriving: int
) -> None:
    # With one row to a page, rows that arrive look like a service that does not page.
    service = data.draw(services(shape, least_size=2))
    plan = run(plan_for(service), service, random, arriving=arriving, anywhere=True)
    assert plan.done
    assert service.stayed <= set(ids(plan))


@every_paged_shape
@settings(max_examples=100)
@given(data=st.data(), random=randoms, leaving=st.integers(0, 2), arriving=st.integers(0, 1))
def test_rows_without_a_key_come_from_one_consistent_reading(
    shape: Shape, data: st.DataObject, random: Random, leaving: int, arriving: int
) -> None:
    service = data.draw(services(shape))
    plan = run(plan_for(service, keyed=False), service, random, leaving, arriving)
    assert sorted(ids(plan)) in [sorted(state) for state in service.states]


def read_with_changes(
    service: Service, keyed: bool, newest_first: bool, change: Callable[[], None], moments: set[int]
) -> tuple[PagePlan, int]:
    """Read to the end, with ``change`` before the answers whose numbers are ``moments``."""
    plan = plan_for(service, keyed=keyed)
    asked, answers = list(plan.first), 0
    while not plan.done:
        assert answers < FAR_TOO_MANY, "the plan goes on and on"
        if answers in moments:
            change()
        number = asked.pop(-1 if newest_first else 0)
        asked += plan.receive(number, service.page(number))
        answers += 1
    return plan, answers


@every_paged_shape
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("leaving", [True, False], ids=["leaving", "arriving"])
def test_a_change_of_the_first_rows_between_any_two_answers_costs_no_other_row(
    shape: Shape, keyed: bool, newest_first: bool, leaving: bool
) -> None:
    # With one row to a page, rows that arrive look like a service that does not page.
    for size, count in product((2, 3), range(1, 8)):
        moments: Iterator[tuple[int, int]] = combinations_with_replacement(range(24), 2)
        for first, second in moments:
            service = Service(shape, size, list(range(count)))

            change = service.leave_first if leaving else service.arrive_first
            plan, answers = read_with_changes(service, keyed, newest_first, change, {first, second})
            found = ids(plan)
            where = f"{count} rows, {size} on a page, changes before answers {first} and {second}"
            assert service.stayed <= set(found), where
            if not keyed:
                assert sorted(found) in [sorted(state) for state in service.states], where
            if first >= answers:
                break


@every_paged_shape
@given(size=st.integers(1, 5), beyond=st.integers(1, 400), random=randoms)
def test_a_crowded_window_is_cut_after_a_few_questions(
    shape: Shape, size: int, beyond: int, random: Random
) -> None:
    service = Service(shape, size, list(range(size * MAX_PAGES + beyond)))
    plan = run(plan_for(service, splittable=True), service, random)
    assert plan.parts >= 2
    assert not plan.done
    assert service.questions.total() <= 8
    assert service.probes.total() <= 13


@every_paged_shape
@given(random=randoms)
def test_a_window_of_as_many_pages_as_are_allowed_is_read_and_not_cut(
    shape: Shape, random: Random
) -> None:
    service = Service(shape, 2, list(range(2 * MAX_PAGES)))
    plan = run(plan_for(service, splittable=True), service, random)
    assert not plan.parts
    assert set(ids(plan)) == set(service.rows)


@every_paged_shape
@settings(max_examples=20)
@given(random=randoms, beyond=st.integers(1, 3 * MAX_PAGES))
def test_a_crowded_second_that_cannot_be_cut_is_read_to_its_end(
    shape: Shape, random: Random, beyond: int
) -> None:
    service = Service(shape, 2, list(range(2 * MAX_PAGES + beyond)))
    plan = run(plan_for(service, splittable=False), service, random)
    assert plan.done
    assert set(ids(plan)) == set(service.rows)


@every_paged_shape
@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(3, 5),
    count=st.integers(0, 40),
    leaving=st.sampled_from([0, 10**6]),
    keyed=st.booleans(),
    splittable=st.booleans(),
)
def test_a_plan_ends_however_much_leaves_and_arrives(
    shape: Shape, seed: int, size: int, count: int, leaving: int, keyed: bool, splittable: bool
) -> None:
    service = Service(shape, size, list(range(count)))
    plan = plan_for(service, splittable, keyed)
    run(plan, service, Random(seed), leaving=leaving, arriving=10**6, anywhere=True)
    assert plan.done or plan.parts


@every_paged_shape
def test_what_any_reading_saw_is_handed_out_where_no_reading_is_like_another(shape: Shape) -> None:
    # A row arrives in front of the others before every answer: each reading misses some of them.
    for count in range(4, 12):
        service = Service(shape, 3, list(range(count)))
        plan, _ = read_with_changes(
            service, True, False, service.arrive_first, set(range(FAR_TOO_MANY))
        )
        assert service.stayed <= set(ids(plan)), f"{count} rows"


@given(st.sets(st.integers(1, 25), min_size=1, max_size=4))
@settings(max_examples=300)
def test_of_a_row_met_twice_the_newer_version_comes_last(moments: set[int]) -> None:
    service = Service(COUNTED, 2, list(range(7)))
    plan = plan_for(service)
    asked, answers = list(plan.first), 0
    while not plan.done:
        number = asked.pop(0)
        page = service.page(number)
        # The version of a row is how many answers came before it.
        page.table = page.table.append_column("version", pa.array([answers] * len(page.table)))
        asked += plan.receive(number, page)
        answers += 1
        if answers in moments:
            service.leave_first()
    met = [(row["id"], row["version"]) for page in plan.pages() for row in page.table.to_pylist()]
    newest = dict(met)
    assert all(version <= newest[row] for row, version in met)


@pytest.mark.parametrize("shape", (OPEN, OPEN_WITHOUT_LIMIT), ids=str)
@settings(max_examples=1000)
@given(data=st.data(), random=randoms, at=st.integers(0, 100), moment=st.integers(0, 30))
def test_no_row_is_missed_while_another_comes_to_the_front(
    shape: Shape, data: st.DataObject, random: Random, at: int, moment: int
) -> None:
    service = data.draw(services(shape).filter(lambda service: service.rows))
    plan, asked, things = plan_for(service), [1], 0
    answered: list[tuple[int, Page]] = []
    while not plan.done:
        if things == moment:
            service.promote(at % len(service.rows))
        things += 1
        if asked and (not answered or random.random() < 0.5):
            number = asked.pop(random.randrange(len(asked)))
            answered.append((number, service.page(number)))
        else:
            asked += plan.receive(*answered.pop(random.randrange(len(answered))))
    assert set(ids(plan)) == set(service.rows)


@every_paged_shape
@pytest.mark.parametrize("splittable", [True, False])
def test_a_window_that_never_stands_still_is_cut_if_it_can_be(
    shape: Shape, splittable: bool
) -> None:
    service = Service(shape, 5, list(range(30)))
    plan = plan_for(service, splittable)
    asked = list(plan.first)
    while asked and not (plan.done or plan.parts):
        asked += plan.receive(asked[0], service.page(asked.pop(0)))
        service.leave_first()
        service.arrive(Random(0), anywhere=False)
    assert (plan.done, plan.parts > 1) == (not splittable, splittable)


def ask_one_that_does_not_page(plan: PagePlan, page: Page) -> None:
    """Answer every question with ``page``."""
    asked, questions = list(plan.first), 0
    while asked and not plan.done and not plan.parts:
        questions += 1
        assert questions < FAR_TOO_MANY
        asked += plan.receive(asked.pop(0), page)


@pytest.mark.parametrize("page_count", [2, 3, 30, None])
@pytest.mark.parametrize("keyed", [True, False])
def test_of_a_service_that_does_not_page_shorter_windows_are_asked_for(
    page_count: int | None, keyed: bool
) -> None:
    paging = Paging.COUNTED if page_count else Paging.OPEN
    page = make_page([1, 2], page_count)
    plan = PagePlan(paging, 2, HOUR, keyed=keyed)
    ask_one_that_does_not_page(plan, page)
    assert (plan.parts > 1, plan.done) == (True, False)
    with pytest.raises(ServiceError, match="every page with the same rows"):
        ask_one_that_does_not_page(PagePlan(paging, 2, keyed=keyed), page)


def test_where_nobody_knows_how_many_rows_fit_a_page_one_that_does_not_page_is_told_apart() -> None:
    plan = PagePlan(Paging.OPEN, None)
    ask_one_that_does_not_page(plan, make_page([1, 2]))
    assert (plan.done, plan.unpaged, ids(plan)) == (True, True, [1, 2])


@pytest.mark.parametrize("page_count", [MAX_PAGES + 1, None])
def test_a_window_is_not_cut_for_a_service_that_does_not_heed_it(page_count: int | None) -> None:
    late = datetime(2025, 1, 1, 5, tzinfo=timezone.utc)
    pages = [make_page([number], page_count) for number in range(100)]
    for page in pages:
        page.table = page.table.append_column("at", pa.array([late], pa.timestamp("us", "UTC")))
    plan = PagePlan(Paging.COUNTED if page_count else Paging.OPEN, 1, HOUR, "at")
    asked = list(plan.first)
    with pytest.raises(ServiceError, match="outside the window"):
        while asked:
            number = asked.pop(0)
            asked += plan.receive(number, pages[number])


def test_a_count_that_always_names_another_page_has_an_end() -> None:
    plan, asked = PagePlan(Paging.COUNTED, 2), [1]
    with pytest.raises(ServiceError, match="more pages than the last one said"):
        while len(asked) < FAR_TOO_MANY:
            number = asked[-1]
            asked += plan.receive(number, make_page([number], number + 1))


def test_a_list_of_which_every_page_is_full_has_an_end() -> None:
    plan, asked = PagePlan(Paging.OPEN, 2), [1]
    with pytest.raises(ServiceError, match="none is the last"):
        while asked:
            # Beyond the end comes the last page, over and over.
            number = asked.pop(0)
            asked += plan.receive(number, make_page([number, 0] if number < 3 else [3, 3]))
