"""How a window with too many pages is cut: no network, except for the number of requests."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TODAY, Open
from textlift.extract.density import FIRST_PARTS, Density, Sample, Seconds
from textlift.extract.paging import MAX_PAGES
from textlift.windows import SECOND, Window

START = datetime(2015, 1, 1, tzinfo=timezone.utc)
DECADE = Window(START, START + timedelta(days=3650))
FIRST = START.timestamp()
#: Pages of each part.
WANTED = 20
times = st.lists(st.integers(0, 3650 * 86400), max_size=40)


def density(pages: list[Seconds], total: float, is_exact: bool = False) -> Density:
    samples = [Sample(n, 1, each) for n, each in enumerate(pages)]
    return Density(DECADE, samples, total, is_exact, WANTED)


def rows(first_day: float, last_day: float, count: int = 1000) -> Seconds:
    return FIRST + np.linspace(first_day * 86400, last_day * 86400, count)


@settings(max_examples=200, deadline=None)
@given(
    pages=st.lists(times, min_size=1, max_size=4),
    total=st.integers(2, 10**4),
    is_exact=st.booleans(),
    found=st.lists(st.floats(0, 100), min_size=1, max_size=30),
)
def test_the_parts_are_the_window_whatever_is_in_them(
    pages: list[list[int]], total: int, is_exact: bool, found: list[float]
) -> None:
    known = density([FIRST + np.array(each, float) for each in pages], total, is_exact)
    parts, rest = [], [DECADE]
    while rest and len(parts) < 200:
        part, *rest = known.cut(rest[0])
        parts.append(part)
        # Each part is read, and many before the first of them is.
        if len(parts) % 3 == 0:
            known.learn(parts[-1], found[len(parts) % len(found)])
    ends = [part.end for part in parts]
    assert [part.start for part in (*parts[1:], *rest)] == ends[: len(parts) - 1 + len(rest)]
    assert (parts[0].start, (*parts, *rest)[-1].end) == (DECADE.start, DECADE.end)
    assert all(part.end - part.start >= SECOND for part in parts)
    assert len(parts) > 1


@pytest.mark.parametrize("descending", [False, True])
def test_the_parts_of_a_sorted_list_have_as_many_pages_as_wanted(descending: bool) -> None:
    count = 4 * WANTED
    pages = [rows(n, n + 1) for n in range(count)]
    if descending:
        pages = [each[::-1] for each in pages[::-1]]
        window = Window(START, START + timedelta(days=count))
        samples = [Sample(n, 1, each) for n, each in enumerate(pages)]
        first = Density(window, samples, count, True, WANTED).cut(window)[0]
    else:
        first = density(pages, count).cut(DECADE)[0]
    assert (first.end - first.start) / timedelta(days=1) == pytest.approx(WANTED, abs=0.1)


def test_the_parts_are_equal_so_that_no_short_one_is_left() -> None:
    # Five parts of 21 pages, and not five of 20 and one of 5.
    known = density([rows(n, n + 3650 / 105) for n in np.arange(105) * 3650 / 105], 105, True)
    rest, lengths = [DECADE], []
    while rest:
        part, *rest = known.cut(rest[0])
        lengths.append((part.end - part.start) / timedelta(days=1))
    assert lengths == pytest.approx([730] * 5, abs=1)


def test_the_empty_years_before_the_first_row_of_a_sorted_list_are_one_part() -> None:
    first = density([rows(3000, 3001)], MAX_PAGES + 1).cut(DECADE)[0]
    assert (first.end - first.start).days >= 3000


def test_rows_that_are_not_sorted_say_where_the_others_are() -> None:
    # All are in the fifth year, and there are 160 pages of them.
    shuffled = np.random.default_rng(1).permutation(rows(1460, 1825))
    part, rest = density([shuffled], 160, is_exact=True).cut(DECADE)
    assert (part.end - part.start).days == pytest.approx(1460 + 365 / 8, abs=8)
    part, rest = density([shuffled], 160, is_exact=True).cut(rest)


def test_parts_grow_over_empty_years_and_shrink_where_rows_are_close() -> None:
    known = density([rows(0, 0.01)], MAX_PAGES + 1)
    part, rest = known.cut(DECADE)
    known.learn(part, WANTED)
    assert known.is_sure
    lengths = []
    for _ in range(3):
        part, rest = known.cut(rest)
        known.learn(part, 0)
        lengths.append((part.end - part.start).total_seconds())
    assert not known.is_sure
    assert all(after >= 2 * before for before, after in zip(lengths, lengths[1:]))
    part, rest = known.cut(rest)
    before = (part.end - part.start).total_seconds()
    known.learn(part, 10 * WANTED)
    part, rest = known.cut(rest)
    assert (part.end - part.start).total_seconds() < before / 4


def test_as_many_pages_are_requested_at_once_as_the_last_window_had_of_those_expected() -> None:
    known = density([rows(0, 1)], MAX_PAGES + 1)
    part, rest = known.cut(DECADE)
    known.learn(part, known.expected(part))
    for share, pages in ((1.2, WANTED), (1 / 4, WANTED / 4), (3, WANTED / 3), (0, 0.4)):
        part, rest = known.cut(rest)
        known.learn(part, share * known.expected(part))
        part, rest = known.cut(rest)
        # Windows are cut at whole seconds.
        assert known.first_pages(part) == pytest.approx(pages, abs=0.1)
        assert known.is_sure is (share == 1.2)
        known.learn(part, WANTED)
        part, rest = known.cut(rest)
        known.learn(part, known.expected(part))


def test_what_windows_have_by_chance_changes_nothing() -> None:
    known = density([rows(0, 1)], MAX_PAGES + 1)
    part, rest = known.cut(DECADE)
    known.learn(part, WANTED)
    part, rest = known.cut(rest)
    following = known.cut(rest)[0]
    for share in (0.99, 1.015):
        known.learn(part, share * known.expected(part))
        assert known.cut(rest)[0] == following
    known.learn(part, 1.05 * known.expected(part))
    assert known.cut(rest)[0] != following


def test_the_next_window_is_at_most_eight_times_as_long_whatever_the_rows_seen_say() -> None:
    # None was seen in the ten years between the first month and the last.
    seen = np.random.default_rng(1).permutation(np.append(rows(0, 30), rows(3620, 3650)))
    known = density([seen], MAX_PAGES + 1)
    part, rest = known.cut(DECADE)
    for _ in range(6):
        known.learn(part, 0)
        before = part.end - part.start
        part, rest = known.cut(rest)
        assert part.end - part.start <= 8 * before + 8 * SECOND


def test_the_years_before_the_rows_of_a_descending_list_are_not_taken_to_be_as_full() -> None:
    assert density([rows(3649, 3650)[::-1]], MAX_PAGES + 1).total <= 2 * (MAX_PAGES + 1)


def test_what_remains_is_expected_to_be_like_all_that_was_read() -> None:
    known = density([rows(0, 1)], MAX_PAGES + 1)
    part, rest = known.cut(DECADE)
    estimated = known.remaining(rest)
    assert estimated > 0
    known.learn(part, 3 * WANTED)
    assert known.remaining(rest) == pytest.approx(3 * estimated, rel=0.2)


def test_the_last_window_may_have_one_more_page_than_expected() -> None:
    known = density([rows(n, n + 1) for n in range(WANTED + 1)], MAX_PAGES + 1)
    part, rest = known.cut(DECADE)
    assert known.first_pages(part) == known.expected(part)
    assert known.first_pages(rest) > known.expected(rest)


def test_windows_that_were_cut_at_a_time_do_not_add_up_what_they_tell() -> None:
    known = density([rows(0, 1)], MAX_PAGES + 1)
    parts, rest = [], DECADE
    for _ in range(8):
        part, rest = known.cut(rest)
        parts.append(part)
    for part in parts:
        known.learn(part, 0)
    longer = known.cut(rest)[0]
    assert (longer.end - longer.start) < 100 * (parts[-1].end - parts[-1].start)


def test_a_list_of_unknown_order_and_length_is_cut_into_some_parts_first() -> None:
    known = density([np.random.default_rng(1).permutation(rows(0, 3650))], MAX_PAGES + 1)
    part = known.cut(DECADE)[0]
    assert (part.end - part.start) / (DECADE.end - DECADE.start) == pytest.approx(
        1 / FIRST_PARTS, rel=0.1
    )


@pytest.mark.parametrize("order", ["id", "updated_at", "-updated_at"])
def test_a_first_load_takes_few_more_requests_than_there_are_pages(
    account: Open, order: str
) -> None:
    count, page = 3000, 20
    warehouse = account(profiles=count, order=order, columns=1, start=TODAY - timedelta(days=365))
    warehouse.load("profiles", page_size=page, start_date="2015-01-01")
    requests = sum(request.endpoint == "profiles" for request in warehouse.box.requests)
    # Pages overlap by a tenth here, and by four thousandths with 1,000 rows.
    assert requests <= 1.5 * count / page


def test_a_first_load_takes_few_more_requests_though_half_the_rows_changed_last_month(
    account: Open,
) -> None:
    # The first pages of a list by id have the oldest rows, and those that changed.
    warehouse = account(empty=True)
    service, count, page = warehouse.box.service, 12000, 100
    for number in range(count):
        days = 3000 - 3000 * number / count if number % 2 else 30 * (number * 7 % count) / count
        row = {"id": number, "updated_at": TODAY - timedelta(days=days)}
        service.put("profiles", row)
    warehouse.load("profiles", page_size=page, start_date="2015-01-01")
    requests = [request for request in warehouse.box.requests if request.params.get("from")]
    assert warehouse.query("SELECT count(*) FROM profiles") == [(count,)]
    assert len(requests) <= 2 * count / page
