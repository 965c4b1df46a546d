"""Keys as bytes: what a set of them says is what a dictionary of tuples would say."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textlift.arrow.keys import SeenKeys, is_last_of_its_key, packed_keys

TIME = st.none() | st.integers(0, 3)
NUMBER = st.sampled_from([0, 1, 2, 255, 256, -1, 2**63 - 1, -(2**63)])
TEXT = st.sampled_from(["", "0", "a", "a\0", "\0a", "ä"])


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    types = [pa.int64() if isinstance(value, int) else pa.string() for value in rows[0]]
    columns = [pa.array(values, kind) for values, kind in zip(zip(*rows), types)]
    return pa.table(columns, names=[f"k{n}" for n in range(len(columns))])


def packed(rows: list[tuple[Any, ...]]) -> np.ndarray:
    return packed_keys(table_of(rows), [f"k{n}" for n in range(len(rows[0]))])


@pytest.mark.parametrize(
    "row", [st.tuples(NUMBER), st.tuples(NUMBER, NUMBER), st.tuples(NUMBER, TEXT)]
)
def test_two_keys_are_equal_as_bytes_only_if_all_their_columns_are(row: Any) -> None:
    @given(st.lists(row, min_size=1, max_size=20))
    def holds(rows: list[tuple[Any, ...]]) -> None:
        keys = packed(rows).tolist()
        for one, key in zip(rows, keys):
            assert [key == other for other in keys] == [one == other for other in rows]

    holds()


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 30), TIME), min_size=1, max_size=20), max_size=20)
)
def test_a_set_of_keys_says_what_a_dictionary_would(
    pages: list[list[tuple[int, int | None]]],
) -> None:
    seen, known = SeenKeys(), dict[int, "int | None"]()
    for page in pages:
        keys = packed([(key,) for key, _ in page])
        assert seen.contains(keys).tolist() == [key in known for key, _ in page]
        new, changed = seen.add(
            keys, pa.chunked_array([pa.array([t for _, t in page], pa.int64())])
        )
        before, expected_new, expected_changed = dict(known), [], []
        for key, time in page:
            expected_new.append(key not in known)
            known.setdefault(key, time)
            if key in before and time is not None and time != before[key]:
                expected_changed.append(time)
        assert (new.tolist(), changed.tolist()) == (expected_new, expected_changed)


@given(st.lists(st.integers(0, 5), min_size=1))
def test_of_rows_with_the_same_key_the_last_one_counts(values: list[int]) -> None:
    last = {value: n for n, value in enumerate(values)}
    expected = [last[value] == n for n, value in enumerate(values)]
    assert is_last_of_its_key(packed([(value,) for value in values])).tolist() == expected


def test_a_key_takes_a_few_bytes() -> None:
    count, page = 200_000, 1000
    times = pa.chunked_array([pa.array(range(page), pa.int64())])
    seen = SeenKeys()
    tracemalloc.start()
    for first in range(0, count, page):
        seen.add(packed([(7, n) for n in range(first, first + page)]), times)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 32 * count
