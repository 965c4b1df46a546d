"""Windows: no second, and no fraction of one, falls between two of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlift.errors import ConfigurationError
from textlift.windows import EPOCH, SECOND, Window, floor_time, format_time, parse_time

UTC = timezone.utc

seconds = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
lengths = st.one_of(st.integers(0, 20), st.integers(0, 10**9))
windows = st.builds(
    lambda start, length: Window(start, start + length * SECOND), start=seconds, length=lengths
)
parts = st.integers(1, 200)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(windows, parts)
def test_the_first_part_begins_and_the_last_part_ends_where_the_window_does(
    window: Window, wanted: int
) -> None:
    split = window.split(wanted)
    assert split[0].start == window.start
    assert split[-1].end == window.end


@given(windows, parts)
def test_neighbours_share_the_second_at_which_they_meet(window: Window, wanted: int) -> None:
    split = window.split(wanted)
    assert [part.end for part in split[:-1]] == [part.start for part in split[1:]]


@given(windows, parts, st.floats(0, 1))
def test_a_time_between_two_whole_seconds_lies_in_a_part(
    window: Window, wanted: int, share: float
) -> None:
    time = window.start + (window.end - window.start) * share
    assert any(part.start <= time <= part.end for part in window.split(wanted))


@given(windows, parts)
def test_a_window_is_cut_into_as_many_parts_as_wanted_unless_it_has_fewer_seconds(
    window: Window, wanted: int
) -> None:
    length = int((window.end - window.start).total_seconds())
    assert len(window.split(wanted)) == max(1, min(wanted, length))


@given(windows, parts)
def test_parts_are_whole_seconds_and_differ_by_one_at_most(window: Window, wanted: int) -> None:
    split = window.split(wanted)
    assert all(part.start.microsecond == part.end.microsecond == 0 for part in split)
    found = [part.end - part.start for part in split]
    assert max(found) - min(found) <= SECOND


@given(windows, st.integers(2, 200))
def test_every_part_of_a_splittable_window_is_shorter_so_cutting_ends(
    window: Window, wanted: int
) -> None:
    partition = window.end - window.start
    shorter = all(part.end - part.start < partition for part in window.split(wanted))
    assert shorter is window.splittable


@pytest.mark.parametrize(("length", "splittable"), [(0, False), (1, False), (2, True)])
def test_a_window_can_be_cut_only_at_a_second_inside_it(length: int, splittable: bool) -> None:
    start = datetime(2024, 1, 31, tzinfo=UTC)
    assert Window(start, start + length * SECOND).splittable is splittable


DAY = timedelta(days=1)
day_windows = st.builds(
    lambda start, length: Window(
        floor_time(start, DAY), start + length * SECOND, DAY, is_open=True
    ),
    start=seconds,
    length=lengths,
)


@given(day_windows, parts)
def test_days_are_split_at_whole_days_and_never_below_a_day(window: Window, wanted: int) -> None:
    split = window.split(wanted)
    assert (split[0].start, split[-1].end) == (window.start, window.end)
    assert [part.end for part in split[:-1]] == [part.start for part in split[1:]]
    assert all(part.start == floor_time(part.start, DAY) for part in split)
    assert len(split) == 1 or min(part.end - part.start for part in split) >= DAY
    assert window.splittable is (len(window.split(2)) > 1)


@given(day_windows, parts)
def test_only_the_last_part_of_an_open_window_is_open(window: Window, wanted: int) -> None:
    assert [part.is_open for part in window.split(wanted)].index(True) == len(
        window.split(wanted)
    ) - 1
    later = (window.end + 400 * DAY - EPOCH) // timedelta(microseconds=1)
    assert window.contains(np.array([later])).all()


def test_a_window_cannot_end_before_it_starts() -> None:
    start = datetime(2024, 1, 31, tzinfo=UTC)
    with pytest.raises(ValueError, match="cannot end before it starts"):
        Window(start, start - SECOND)


def test_a_window_is_printed_with_both_ends() -> None:
    window = Window(datetime(2024, 1, 31, tzinfo=UTC), datetime(2024, 2, 1, 0, 0, 5, tzinfo=UTC))
    assert str(window) == "2024-01-31T00:00:00Z to 2024-02-01T00:00:05Z"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-01-31", datetime(2024, 1, 31, tzinfo=UTC)),
        ("2024-01-31T12:00:00", datetime(2024, 1, 31, 12, tzinfo=UTC)),
        ("2024-01-31 12:00:00", datetime(2024, 1, 31, 12, tzinfo=UTC)),
        ("2024-01-31T12:00:00Z", datetime(2024, 1, 31, 12, tzinfo=UTC)),
        ("2024-01-31T12:00:00-05:00", datetime(2024, 1, 31, 17, tzinfo=UTC)),
        ("2024-01-31T12:00:00+05:30", datetime(2024, 1, 31, 6, 30, tzinfo=UTC)),
        ("2024-01-31T23:59:59.999Z", datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_where_it_has_no_offset_and_a_date_is_its_first_second(
    written: str, meant: datetime
) -> None:
    assert parse_time(written, "since") == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-10-31", datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)),
        ("20261031", datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2024", datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-W44", datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC)),
        ("2024-305", datetime(2024, 10, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-10-31T00:00", datetime(2026, 10, 31, tzinfo=UTC)),
        ("2026-10-31T12:00:00-05:00", datetime(2026, 10, 31, 17, tzinfo=UTC)),
    ],
)
def test_a_date_alone_is_its_last_second_where_something_ends(
    written: str, meant: datetime
) -> None:
    assert parse_time(written, "until", end=True) == meant


@given(seconds, offsets)
def test_a_time_is_the_same_instant_in_whatever_offset_it_is_written(
    time: datetime, offset: timezone
) -> None:
    for written in (time.astimezone(offset), time.astimezone(offset).isoformat()):
        parsed = parse_time(written, "since")
        assert parsed == time
        assert parsed.utcoffset() == timedelta(0)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))
def test_a_time_without_an_offset_is_the_second_in_utc_that_it_falls_in(naive: datetime) -> None:
    assert parse_time(naive, "since") == naive.replace(microsecond=0, tzinfo=UTC)


@given(seconds)
def test_a_time_that_was_formatted_is_read_back_as_itself(time: datetime) -> None:
    assert parse_time(format_time(time), "cursor") == time


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "rubbish",
        "2024-02-30",
        "2024-13-01",
        "2024-01-31T25:00:00Z",
        "31/01/2024",
        "P1D",
        "2024-01-01/2024-02-01",
        "0000-00-00 00:00:00",
        # In UTC these lie outside the years that a calendar has.
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_what_is_no_time_is_refused_with_the_name_of_the_setting(rubbish: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_time(rubbish, "start_date")
    assert str(refused.value).startswith(f"start_date is not a time: {rubbish!r}")
