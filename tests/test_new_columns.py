"""New columns of a stream: merged in the order of pages, and no more than a table can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from tests.conftest import Open
from tests.support.commands import REJECTED, run
from textlift.arrow import new_columns
from textlift.arrow.new_columns import NewColumns
from textlift.arrow.pages import ROW, Page, concat_pages
from textlift.codec.records import Reject
from textlift.declare import ChildList, Column, ColumnType, Endpoint

NAME = Column(ColumnType.TEXT, "a name")
PEOPLE = Endpoint(
    name="people",
    entity="person",
    meaning="A person.",
    path="people",
    rows="people/person",
    columns={"id": Column(ColumnType.BIGINT, "a number"), "name": NAME},
    lists={"pets": ChildList(item="pet", meaning="A pet.", columns={"name": NAME})},
)


def page_of(*records: Mapping[str, Any], **pets: Any) -> Page:
    names = dict.fromkeys(["id", *(name for record in records for name in record)])
    table = pa.table({name: [record.get(name) for record in records] for name in names})
    entries = pa.table({ROW: pa.array(pets.pop(ROW, []), pa.int64()), **pets})
    return Page(len(records), table, {"pets": entries}, [])


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> NewColumns:
    monkeypatch.setattr(new_columns, "MAX_NEW_COLUMNS", 2)
    return NewColumns(PEOPLE)


def test_what_is_declared_or_fits_is_left_as_it_is(two: NewColumns) -> None:
    first = page_of({"id": 1, "name": "Ana", "new": "x"}, {"id": 2, "other": "y"})
    second = page_of({"id": 3, "other": "y"})
    assert two.admit(first) == first
    assert two.admit(second) == second


def test_the_record_that_brings_one_too_many_is_rejected_whole(two: NewColumns) -> None:
    two.admit(page_of({"id": 1, "a": "x", "b": "x"}))
    page = page_of({"id": 2, "a": "x"}, {"id": 3, "a": "é", "c": "x"}, {"id": 4, "c": None})
    page.rejects.append(Reject("3", "name", "why", "what", row=1))
    page.rejects.append(Reject("4", "name", "why", "what", row=2))
    admitted = two.admit(page)
    assert admitted.table.to_pylist() == [{"id": 2, "a": "x"}, {"id": 4, "a": None}]
    assert admitted.rows == 3
    payload = '{"id": 3, "a": "é", "c": "x"}'
    assert admitted.rejects == [
        Reject("4", "name", "why", "what", row=1),
        Reject("3", None, "more columns than a table can take", payload),
    ]


def test_the_columns_of_lists_count_too_and_cost_the_record(two: NewColumns) -> None:
    pets = {ROW: [0, 1, 1], "a": ["x", "x", "x"], "b": ["x"] * 3, "c": [None, "x", "x"]}
    admitted = two.admit(page_of({"id": 1}, {"id": 2}, {"id": 3}, **pets))
    assert admitted.table["id"].to_pylist() == [1, 3]
    assert admitted.children["pets"].to_pylist() == [{ROW: 0, "a": "x", "b": "x"}]


def test_all_pages_of_a_stream_together_bring_no_more_columns_than_one_may(
    two: NewColumns,
) -> None:
    pages = [two.admit(page_of({"id": n}, {"id": -n, f"new{n}": "x"})) for n in range(1, 20)]
    together = concat_pages(pages)
    assert together.table.column_names == ["id", "new1", "new2"]
    assert together.table["id"].to_pylist() == [1, -1, 2, -2, *range(3, 20)]
    assert {one.row_key for one in together.rejects} == {str(-n) for n in range(3, 20)}


@pytest.mark.parametrize("page_size", [5, 100])
def test_a_record_with_too_many_new_columns_is_rejected_and_the_others_load(
    account: Open, page_size: int
) -> None:
    warehouse = account(profiles=30)
    people = warehouse.box.service.rows("profiles")
    for number, place in enumerate((3, 20)):
        new = {f"new{n}": "x" for n in range(600 * number, 600 * number + 600)}
        warehouse.box.service.update("profiles", people[place]["id"], **new)
    ended = run(warehouse, "--resources", "profiles", SOURCES__MCOMMONS__PAGE_SIZE=str(page_size))
    assert ended.code == REJECTED, ended.err
    (reject,) = warehouse.query(
        "SELECT row_key, column_name, reason, payload FROM rejected_records"
    )
    assert reject[1:3] == (None, "more columns than a table can take")
    assert "x" in reject[3]
    ids = {str(row["id"]) for row in people}
    loaded = {str(id) for (id,) in warehouse.query("SELECT id FROM profiles")}
    assert loaded == ids - {reject[0]}
