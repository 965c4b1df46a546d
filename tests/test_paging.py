"""Plans against lists that change while they are read: no network, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.moving import (
    ORDERS,
    Listing,
    Reading,
    Row,
    describe,
    read,
    readings_that_lose_a_row,
)
from tests.support.moving import PAGED as DECLARED
from textlift.declare import Endpoint, Paging
from textlift.errors import ServiceError
from textlift.extract.density import Density, Sample
from textlift.extract.paging import (
    MAX_EMPTY_REQUESTS,
    MAX_PAGES,
    MAX_READINGS,
    MAX_SEQUENCE,
    PART_PAGES,
    Budget,
    OverlapPlan,
    PageRequest,
    PageSize,
    Plan,
    SequencePlan,
    plan_for,
)
from textlift.windows import Window

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_MIDNIGHT = datetime(2025, 1, 1, tzinfo=timezone.utc)
HOUR = Window(_MIDNIGHT, _MIDNIGHT + timedelta(hours=1))
#: Readings of each declared endpoint in each order; tests/chaos has many more.
READINGS = 60

#: Windows with shorter pages are read one page after the other.
MIN_OVERLAPPING = 10

COUNTED, OPEN = Paging.COUNTED, Paging.OPEN
randoms = st.randoms(use_true_random=False)


def rows(count: int) -> list[Row]:
    return [Row(number, number) for number in range(count)]


def endpoint(paging: Paging, limit: int | None = 1000, keyed: bool = True) -> Endpoint:
    identity = () if keyed else ("id",)
    return Endpoint(
        name="rows",
        entity="row",
        meaning="A row.",
        path="rows",
        rows="rows/row",
        columns={},
        identity=identity,
        paging=paging,
        page_limit=limit,
    )


def listing_of(size: int, paging: Paging, **known: object) -> Listing:
    return Listing(rows(size), counted=paging is COUNTED, **known)  # type: ignore[arg-type]


def read_rows(
    listing: Listing,
    paging: Paging,
    limit: int | None = 20,
    window: Window | None = HOUR,
    keyed: bool = True,
    size: PageSize | None = None,
    random: Random | None = None,
    change: Callable[[int], None] = lambda answers: None,
) -> Reading:
    """Read a list; pages have ``limit`` rows."""
    size = size or PageSize(limit)
    declared = endpoint(paging, limit, keyed)
    return read(listing, lambda: plan_for(declared, size, window), size, random, change)


every_paging = pytest.mark.parametrize("paging", [COUNTED, OPEN])
every_limit = pytest.mark.parametrize("limit", [3, 20, 60])


# Lists that rest


@every_paging
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("window", [HOUR, None])
@settings(max_examples=60)
@given(data=st.data(), random=randoms)
def test_a_list_that_rests_is_read_whole(
    paging: Paging, keyed: bool, window: Window | None, data: st.DataObject, random: Random
) -> None:
    limit = data.draw(st.sampled_from([1, 3, 10, 17, 50, 64]))
    count = data.draw(st.integers(0, limit * 9))
    reading = read_rows(listing_of(count, paging), paging, limit, window, keyed, random=random)
    found = [row.id for row in reading.found]
    assert reading.plan.done
    assert sorted(set(found) if keyed else found) == list(range(count))


@pytest.mark.parametrize("count", [0, 59, 60, 61, 200])
def test_pages_whose_size_no_request_can_choose_are_read_one_after_the_other(count: int) -> None:
    size = PageSize(60, is_fixed=True)
    reading = read_rows(listing_of(count, OPEN), OPEN, 60, None, keyed=False, size=size)
    assert sorted(row.id for row in reading.found) == list(range(count))
    assert isinstance(reading.plan, SequencePlan)
    assert {request.limit for request in reading.plan.first} == {60}


@pytest.mark.parametrize("limit", [10, 20, 100, 1000])
def test_pages_overlap_and_go_on(limit: int) -> None:
    plan = OverlapPlan(OPEN, PageSize(limit), HOUR)
    end = 0
    for index in range(1, MAX_PAGES + 1):
        request = plan._request(index)
        assert request.limit is not None
        assert request.limit <= limit
        assert (
            index == 1
            or (request.number - 1) * request.limit < end < request.number * request.limit
        )
        end = request.number * request.limit
    assert limit < 1000 or end > 0.96 * limit * MAX_PAGES


@pytest.mark.parametrize("pages", [40, 600])
def test_far_down_a_list_pages_still_bring_as_much(pages: int) -> None:
    listing = listing_of(1000 * pages, OPEN)
    reading = read_rows(listing, OPEN, 1000, None)
    assert len({row.id for row in reading.found}) == 1000 * pages
    assert len(listing.answers) < 1.1 * pages + 20


@every_paging
@every_limit
def test_an_empty_list_takes_one_question(paging: Paging, limit: int) -> None:
    listing = listing_of(0, paging)
    assert read_rows(listing, paging, limit).found == []
    assert len(listing.answers) == 1


def test_a_single_answer_takes_one_question() -> None:
    listing = Listing(rows(300), own_size=1000)
    assert len(read_rows(listing, Paging.SINGLE, None).found) == 300
    assert len(listing.answers) == 1


def test_a_counted_list_takes_a_question_for_each_page() -> None:
    listing = listing_of(990, COUNTED)
    read_rows(listing, COUNTED, 100, None)
    assert len(listing.answers) <= 12


# Short pages


@every_limit
def test_a_short_page_ends_a_list_once_a_longer_one_has_been_the_last(limit: int) -> None:
    size = PageSize(limit)
    for count, questions in ((2, 2), (2, 1), (1, 1), (0, 1)):
        listing = listing_of(count, OPEN)
        read_rows(listing, OPEN, limit, size=size)
        assert len(listing.answers) == questions, count


def test_how_often_a_stream_looks_behind_a_short_page_does_not_grow_with_its_windows() -> None:
    size, random, behind = PageSize(1000), Random(1), 0
    for _ in range(1000):
        listing = listing_of(random.randrange(1, 999), OPEN)
        read_rows(listing, OPEN, 1000, size=size)
        behind += len(listing.answers) - 1
    assert behind < 20


@pytest.mark.parametrize("limit", [20, 60])
def test_windows_read_at_a_time_wait_for_one_to_look_behind_its_short_page(limit: int) -> None:
    size = PageSize(limit)
    plans = [plan_for(endpoint(OPEN), size, HOUR) for _ in range(3)]
    asks = [plan.first[0] for plan in plans]
    (behind,) = plans[0].receive(asks[0], describe(rows(7)))
    assert plans[1].receive(asks[1], describe(rows(6))) == ()
    assert plans[1].held
    # A longer one tells more.
    assert plans[2].receive(asks[2], describe(rows(8)))
    lessons = size.lessons
    plans[0].receive(behind, describe([]))
    assert (plans[0].done, size.lessons > lessons) == (True, True)
    assert plans[1].resume() == ()
    assert (plans[1].done, plans[1].held) == (True, False)


@every_paging
@every_limit
@pytest.mark.parametrize("window", [HOUR, None])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_service_that_keeps_pages_shorter_than_asked_for_is_read_whole(
    paging: Paging, limit: int, window: Window | None, share: float
) -> None:
    cap = max(1, int(limit * share))
    for count in (cap - 1, cap, cap + 1, 2 * cap, limit, limit + 1, 7 * limit + 1):
        reading = read_rows(listing_of(count, paging, cap=cap), paging, limit, window)
        if not reading.plan.done:
            assert count > MAX_PAGES * cap // 2
        else:
            assert {row.id for row in reading.found} == set(range(count)), count


def test_pages_are_kept_short_in_the_next_windows_too() -> None:
    size = PageSize(1000)
    for count in (1800, 500, 501, 499, 1000, 20, 3000):
        listing = listing_of(count, OPEN, cap=500)
        found = {row.id for row in read_rows(listing, OPEN, 1000, size=size).found}
        assert found == set(range(count)), count
    assert size.limit == 500


@every_paging
@pytest.mark.parametrize("limit", [20, 60, 1000])
@pytest.mark.parametrize("own_size", [7, 20, 55, 3000])
def test_a_service_that_does_not_heed_the_limit_is_read_whole(
    paging: Paging, limit: int, own_size: int
) -> None:
    for count in (own_size, 3 * own_size, 3 * own_size + 1):
        listing = listing_of(count, paging, own_size=own_size)
        found = {row.id for row in read_rows(listing, paging, limit, None).found}
        assert found == set(range(count)), count


@every_limit
def test_rows_taken_out_of_a_page_do_not_make_it_the_last_one(limit: int) -> None:
    for hidden in ({0}, {limit - 1}, {1, limit + 1}, set(range(0, 10 * limit, limit))):
        for count in (limit, limit + 1, 3 * limit, 6 * limit + 2):
            listing = listing_of(count, OPEN, hidden=frozenset(hidden))
            found = {row.id for row in read_rows(listing, OPEN, limit).found}
            assert found == set(range(count)) - hidden, (hidden, count)


# Counts that are wrong


@every_limit
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("wrong", [lambda count: 0, lambda count: 1, lambda count: count - 1])
def test_rows_behind_a_count_that_is_too_small_are_read(
    limit: int, keyed: bool, wrong: Callable[[int], int]
) -> None:
    for count in (1, limit - 1, limit, limit + 1, 2 * limit, 5 * limit + 1):
        listing = listing_of(count, COUNTED, count=wrong)
        found = [row.id for row in read_rows(listing, COUNTED, limit, None, keyed).found]
        assert sorted(set(found) if keyed else found) == list(range(count)), count


@every_limit
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_count_that_is_not_of_the_window_cuts_none_that_fits_a_page(
    limit: int, count: int
) -> None:
    listing = listing_of(min(count, limit - 1), COUNTED, count=lambda _: 1000)
    reading = read_rows(listing, COUNTED, limit)
    assert reading.plan.done
    assert len(listing.answers) <= 2


@every_limit
def test_a_count_that_always_names_another_page_ends_where_the_rows_do(limit: int) -> None:
    listing = listing_of(3 * limit, COUNTED, count=lambda count: count + 3)
    assert len({row.id for row in read_rows(listing, COUNTED, limit, None).found}) == 3 * limit
    assert len(listing.answers) <= 20


# Counts of rows


def total_of(size: int, **known: object) -> Listing:
    return Listing(rows(size), totalled=True, **known)  # type: ignore[arg-type]


@every_limit
@pytest.mark.parametrize("starts_as_asked", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_page_shorter_than_requested_ends_no_list_that_states_its_rows(
    limit: int, share: float, starts_as_asked: bool
) -> None:
    cap = max(1, int(limit * share))
    for count in (cap - 1, cap, cap + 1, 2 * cap, limit - 1, limit, limit + 1, 7 * limit + 1):
        listing = total_of(count, cap=cap, starts_as_asked=starts_as_asked)
        try:
            reading = read_rows(listing, COUNTED, limit)
        except ServiceError as error:
            # Too short to overlap: what is missing is told, and not lost.
            assert limit < MIN_OVERLAPPING, error
            continue
        if reading.plan.done:
            assert {row.id for row in reading.found} == set(range(count)), count


@every_limit
def test_rows_that_are_counted_and_not_shown_end_a_list(limit: int) -> None:
    if limit < MIN_OVERLAPPING:
        return
    for hidden in ({0}, {limit - 1}, {1, limit + 1}, set(range(0, 10 * limit, limit))):
        for count in (limit, limit + 1, 3 * limit, 6 * limit + 2):
            listing = total_of(count, hidden=frozenset(hidden))
            found = {row.id for row in read_rows(listing, COUNTED, limit).found}
            assert found == set(range(count)) - hidden, (hidden, count)


def test_a_list_that_states_its_rows_takes_a_request_for_each_page() -> None:
    listing = total_of(995)
    read_rows(listing, COUNTED, 100, None)
    assert len(listing.answers) <= 12


@pytest.mark.parametrize("window", [HOUR, None])
def test_pages_that_begin_elsewhere_are_an_error_and_no_loss(window: Window | None) -> None:
    class FromZero(Listing):
        def shown(self, request: PageRequest) -> list[Row]:
            return super().shown(replace(request, number=request.number + 1))

    for count in (1, 60, 150, 400):
        listing = FromZero(rows(count), totalled=True)
        try:
            assert not read_rows(listing, COUNTED, 100, window).plan.done
        except ServiceError as error:
            assert "counts more rows" in str(error)


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize("order", ORDERS)
def test_a_row_that_arrives_behind_the_last_page_is_read(order: str, moment: int) -> None:
    listing = Listing(rows(450), order, totalled=True)

    def arrive(answers: int) -> None:
        if answers == moment:
            listing.put(Row(-1, -1) if order[0] == "-" else Row(450, 450))

    found = read_rows(listing, COUNTED, 100, None, change=arrive).found
    assert {*range(450)} <= {row.id for row in found}
    if len(listing.rows) > 450 and moment < 4:
        assert len({row.id for row in found}) == 451


# Lists that move


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.name)
def test_no_row_that_stays_is_lost_or_doubled_while_others_move(
    declared: Endpoint, order: str
) -> None:
    assert readings_that_lose_a_row(declared, order, READINGS) == []
    if declared.paging is COUNTED:
        assert readings_that_lose_a_row(declared, order, READINGS, totalled=True) == []


def reschedule(listing: Listing, row_id: int, moment: int, answers: int) -> None:
    if answers == moment:
        moved = next(row for row in listing.rows if row.id == row_id)
        listing.rows.remove(moved)
        listing.put(replace(moved, cursor=1000))


def remove_the_first(listing: Listing, moment: int, answers: int) -> None:
    if answers == moment:
        del listing.rows[:30]


@every_paging
@pytest.mark.parametrize("order", ORDERS)
def test_a_row_that_comes_to_the_front_costs_no_other(paging: Paging, order: str) -> None:
    """Of the newest first, any one is rescheduled before any answer."""
    for moment in range(8):
        for row in range(0, 250, 7):
            listing = replace(listing_of(250, paging), order=order)
            change = partial(reschedule, listing, row, moment)
            reading = read_rows(listing, paging, 60, change=change)
            found = {each.id for each in reading.found}
            assert found >= set(range(250)) - {row}, (moment, row)


@every_paging
@pytest.mark.parametrize("window", [HOUR, None])
@pytest.mark.parametrize("limit", [5, 60])
def test_a_window_that_never_stands_still_is_cut_if_it_can_be(
    paging: Paging, window: Window | None, limit: int
) -> None:
    listing = listing_of(6 * limit, paging)

    def churn(answers: int) -> None:
        for _ in range(limit // 3):
            listing.rows.pop(0)
            listing.rows.append(Row(1000 + len(listing.answers), 10**6))

    reading = read_rows(listing, paging, limit, window, change=churn)
    assert (reading.plan.done, reading.plan.parts > 1) == (not window, bool(window))


def test_rows_without_a_key_that_never_stand_still_are_an_error() -> None:
    listing = listing_of(6 * 60, COUNTED)

    def churn(answers: int) -> None:
        for _ in range(30):
            listing.rows.pop(0)
            listing.rows.append(Row(1000 + len(listing.answers), 10**6))

    with pytest.raises(ServiceError, match="keep changing"):
        read_rows(listing, COUNTED, 60, None, keyed=False, change=churn)


def test_pages_put_together_from_several_answers_are_read_until_two_are_the_same() -> None:
    size = PageSize(60)
    plan = plan_for(endpoint(OPEN), size, HOUR)
    first, other = (replace(describe(rows(count)), pieced=True) for count in (40, 39))
    request = plan.first[0]
    (behind,) = plan.receive(request, first)
    assert plan.receive(behind, describe([], 1)) == [request]
    assert plan.receive(request, replace(other, place=2)) == [request]
    assert not plan.done
    plan.receive(request, replace(other, place=3))
    assert plan.done


def test_records_that_cannot_be_loaded_do_not_keep_pages_from_being_read() -> None:
    size = PageSize(60)
    plan = plan_for(endpoint(COUNTED), size, None)
    listing, asked, answers = listing_of(150, COUNTED), list(plan.first), 0
    while not plan.done:
        request = asked.pop(0)
        page = listing.answer(request, answers)
        # What the first two pages have in common cannot be read.
        lost = 4 if page.rows == 60 or page.rows == 56 else 0
        page = replace(page, loaded=page.rows - lost)
        page = replace(page, tail=page.tail[:-lost]) if page.rows == 60 else page
        asked += plan.receive(request, page)
        answers += 1
        assert answers < 20


# Windows with many pages


@every_paging
@pytest.mark.parametrize("limit", [3, 20, 1000])
@pytest.mark.parametrize("beyond", [1, 40, 400])
def test_a_crowded_window_is_cut_after_a_few_questions(
    paging: Paging, limit: int, beyond: int
) -> None:
    listing = listing_of(limit * MAX_PAGES + limit * beyond, paging)
    reading = read_rows(listing, paging, limit, size=PageSize(limit))
    assert reading.plan.density
    assert not reading.plan.done
    assert len(listing.answers) <= (MAX_SEQUENCE if paging is OPEN and limit < 10 else 12)


@every_paging
@every_limit
def test_a_crowded_second_that_cannot_be_cut_is_read_to_its_end(paging: Paging, limit: int) -> None:
    listing = listing_of(limit * (3 * MAX_PAGES) + 1, paging)
    reading = read_rows(listing, paging, limit, None)
    assert {row.id for row in reading.found} == set(range(len(listing.rows)))


def test_a_window_is_not_cut_for_a_service_that_does_not_heed_it() -> None:
    plan = plan_for(endpoint(COUNTED), PageSize(60), HOUR)
    page = replace(describe(rows(60)), page_count=MAX_PAGES + 1, dated=60, inside=20)
    with pytest.raises(ServiceError, match="outside the window"):
        plan.receive(plan.first[0], page)


# Services that do not page


class SamePage(Listing):
    """A list of which every page is the first one."""

    def shown(self, request: PageRequest) -> list[Row]:
        return super().shown(replace(request, number=1))


@every_paging
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("limit", [2, 20, 60])
@pytest.mark.parametrize("count", [1, 2, 6, 300])
def test_of_a_service_that_does_not_page_shorter_windows_are_asked_for(
    paging: Paging, keyed: bool, limit: int, count: int
) -> None:
    listing = SamePage(rows(limit * count), counted=paging is COUNTED)
    reading = read_rows(listing, paging, limit, keyed=keyed)
    if count == 1:
        assert len({row.id for row in reading.found}) == limit or not reading.plan.done
        return
    assert not reading.plan.done
    with pytest.raises(ServiceError, match=r"every page with the same rows|keep changing"):
        read_rows(listing, paging, limit, None, keyed)


@every_paging
@every_limit
@pytest.mark.parametrize("keyed", [True, False])
def test_a_short_page_that_comes_again_is_all_there_is(
    paging: Paging, limit: int, keyed: bool
) -> None:
    listing = SamePage(rows(limit - 1), counted=paging is COUNTED)
    reading = read_rows(listing, paging, limit, None, keyed)
    assert [row.id for row in reading.found][: limit - 1] == list(range(limit - 1))
    assert (reading.plan.done, len(set(reading.found))) == (True, limit - 1)
    assert not reading.plan.unpaged


@pytest.mark.parametrize(("count", "doubtful"), [(19, False), (40, True)])
def test_a_short_page_that_comes_again_may_be_all_that_the_service_gives(
    count: int, doubtful: bool
) -> None:
    assert read_rows(SamePage(rows(count)), OPEN, 100).plan.unpaged == doubtful


def test_where_nobody_knows_how_many_rows_fit_a_page_one_that_does_not_page_is_told_apart() -> None:
    listing = SamePage(rows(2), own_size=2)
    reading = read_rows(listing, OPEN, None)
    assert (reading.plan.done, reading.plan.unpaged) == (True, True)
    assert len(reading.found) == 2


@pytest.mark.parametrize("count", [100, 199, 200, 201, 1000])
@pytest.mark.parametrize("limit", [7, 100])
def test_equal_rows_without_a_key_that_fill_pages_are_all_read(count: int, limit: int) -> None:
    listing = Listing([Row(1, 1)] * count, counted=True)
    assert len(read_rows(listing, COUNTED, limit, None, keyed=False).found) == count


# Requests that bring nothing


def test_answers_without_a_new_row_have_a_bound() -> None:
    budget, page = Budget(), describe(rows(3))
    budget.spend(page)
    for n in range(MAX_EMPTY_REQUESTS):
        budget.spend((page, describe([]), None)[n % 3])
    with pytest.raises(ServiceError, match="no new row"):
        budget.spend(page)


def test_a_new_row_gives_answers_without_one_another_chance() -> None:
    budget = Budget()
    for n in range(3):
        budget.spend(describe([Row(n, n)]))
        for _ in range(MAX_EMPTY_REQUESTS):
            budget.spend(describe([]))


@pytest.mark.parametrize("limit", [3, 60])
def test_a_list_of_which_every_page_is_new_has_an_end(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textlift.extract.paging.MAX_DEPTH", 100)
    size = PageSize(limit)
    plan: Plan = plan_for(endpoint(OPEN), size, None)
    asked: list[PageRequest] = list(plan.first)
    with pytest.raises(ServiceError, match="none is the last"):
        while asked:
            request = asked.pop(0)
            start = (request.number - 1) * (request.limit or 0)
            page = describe([Row(start + n, 0) for n in range(request.limit or 0)])
            asked += plan.receive(request, page)


def test_of_a_row_met_twice_the_newer_version_comes_last() -> None:
    for moments in range(1, 12):
        listing = listing_of(200, OPEN)
        reading = read_rows(listing, OPEN, 60, change=partial(remove_the_first, listing, moments))
        places = [kept.place for kept in reading.plan.kept()]
        assert places == sorted(places)


def test_a_list_with_keys_is_read_again_only_so_often() -> None:
    plan = SequencePlan(Paging.LINKED, PageSize(None), None, keyed=True)
    answers, asked = 0, list(plan.first)
    while not plan.done:
        request, answers = asked.pop(0), answers + 1
        page = replace(describe([Row(answers, 0)]), place=answers)
        asked += plan.receive(
            request, replace(page, next_link="?page=2" if request.number == 1 else None)
        )
        assert answers < 4 * MAX_READINGS
    assert len(plan.kept()) == answers


def test_a_probe_tells_that_a_part_has_too_many_pages_before_they_are_read() -> None:
    # Expected are three pages, and there are hundreds.
    nothing = [Sample(0, 1, np.empty(0))]
    known = Density(HOUR, nothing, MAX_PAGES + 1, is_exact=False, wanted=PART_PAGES)
    part, _ = known.cut(HOUR)
    known.learn(part, 3)
    listing, size = listing_of(1000 * 10 * MAX_PAGES, OPEN), PageSize(1000)
    plan = OverlapPlan(OPEN, size, part, density=known)
    reading = read(listing, lambda: plan, size, Random(1))
    assert reading.plan.density
    assert len(listing.answers) < MAX_PAGES / 2


def part_after(pages: float, found: float) -> tuple[Window, Density]:
    """A part that is expected to have ``found`` pages, as the last one had instead of ``pages``."""
    known = Density(HOUR, [Sample(0, 1, np.empty(0))], 10**4, is_exact=False, wanted=pages)
    part, rest = known.cut(HOUR)
    known.learn(part, pages)
    part, rest = known.cut(rest)
    known.learn(part, found)
    return known.cut(rest)[0], known


def pages_at_first(paging: Paging, size: PageSize) -> int:
    part, known = part_after(PART_PAGES, PART_PAGES)
    return len(OverlapPlan(paging, size, part, density=known).first)


def test_one_more_page_of_a_part_is_requested_while_it_is_unknown_how_lists_end() -> None:
    expected = pages_at_first(COUNTED, PageSize(1000))
    unknown, known = PageSize(1000), PageSize(1000)
    assert pages_at_first(OPEN, unknown) == expected + 1
    known.saw_end(describe(rows(500)), SequencePlan(OPEN, known))
    assert pages_at_first(OPEN, known) == expected
    known.saw_more()
    assert pages_at_first(OPEN, known) == expected + 1


def test_all_other_pages_expected_are_requested_at_once_when_half_of_them_were_full() -> None:
    part, known = part_after(PART_PAGES, PART_PAGES / 2)
    size, listing = PageSize(1000), listing_of(10**5, OPEN)
    plan = OverlapPlan(OPEN, size, part, density=known)
    asked = list(plan.first)
    assert len(asked) < PART_PAGES
    following = [plan.receive(each, listing.answer(each, n)) for n, each in enumerate(asked)][-1]
    last = pages_at_first(OPEN, size)
    assert [each.index for each in following] == [*range(len(asked) + 1, last + 1)]
