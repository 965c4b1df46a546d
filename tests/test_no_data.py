"""Answers with HTTP 200 that are no data: tried again, then a failure; no table loses a row to them."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from tests.conftest import Open, Warehouse, slow_but
from tests.support.accounts import assert_same
from tests.support.commands import FAILED, LOADED, run
from textlift.mcommons.endpoints import ENDPOINTS
from textlift.sandbox import rehearse

CONFIGURED: dict[str, Any] = {
    "fundraising_ids": [501, 502],
    "mdata_entries": [{"mdata_id": 4667, "input": "94401"}],
}
#: What is asked for once, and what is asked for each of the rows of these.
ALONE = {endpoint.name: endpoint.path for endpoint in ENDPOINTS if not endpoint.parent}
CHILDREN = {endpoint.name: endpoint.path for endpoint in ENDPOINTS if endpoint.parent}
#: Only these say how many rows a page has, so that one that is missing can be noticed.
NUMBERED = {"profiles", "calls", "clicks", "campaign_subscribers"}
SINGLE = {"call_counts", "donation_summaries"}

NO_DATA = ["text", "empty", "bare", "body", "heading", "maintenance-200"]
NO_LIST = ["short-list", "other-rows", "other-list", "two-lists", "comment"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")


@pytest.fixture
def warehouse(filled: Open) -> Warehouse:
    return filled(CONFIGURED)


def rows(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of all tables but what is noted of rejects."""
    found = warehouse.everything()
    return {table: found[table] for table in found if table != "rejected_records"}


@pytest.mark.parametrize("kind", [*slow_but(slice(1), NO_DATA), *slow_but(slice(1), NO_LIST)])
def test_no_table_loses_a_row_to_an_answer_without_its_list(
    warehouse: Warehouse, kind: str
) -> None:
    before = rows(warehouse)
    assert min(len(before[name]) for name in [*ALONE, *CHILDREN]) > 0
    for group in (ALONE, CHILDREN):
        affected = {name for name in group if kind in NO_DATA or name not in SINGLE}
        affected = affected & NUMBERED if kind == "short-list" else affected
        faults = rehearse(warehouse.box, *(f"{kind}@{group[name]}" for name in affected))
        assert {*warehouse.load(*affected, **CONFIGURED).failed} == affected
        warehouse.box.faults.remove(faults)
        assert rows(warehouse) == before
    assert warehouse.load(**CONFIGURED).failed == {}
    assert rows(warehouse) == before


def test_an_answer_without_data_that_passes_costs_nothing_but_time(account: Open) -> None:
    warehouse = account()
    kinds = zip({**ALONE, **CHILDREN}.values(), cycle([*NO_DATA, *NO_LIST]))
    rehearse(warehouse.box, *(f"{kind}@{path}:1" for path, kind in kinds))
    summary = warehouse.load(**CONFIGURED)
    assert (summary.failed, summary.rejected) == ({}, 0)
    assert_same(warehouse)


@pytest.mark.parametrize("kind", slow_but(slice(2), ["text", *NO_LIST]))
@pytest.mark.parametrize("resource", ["profiles", "clicks"])
def test_a_first_load_of_no_lists_fails_and_asks_for_no_end_of_pieces(
    account: Open, kind: str, resource: str
) -> None:
    warehouse = account()
    rehearse(warehouse.box, f"{kind}@{resource}")
    summary = warehouse.load(resource, page_size=50)
    assert list(summary.failed) == [resource]
    assert resource not in warehouse.tables() or warehouse.content(resource) == []
    assert len(warehouse.box.requests) < 400


@pytest.mark.parametrize(
    "kind", slow_but(slice(2), ["utf-16", "bad-count", "iso-8859-1", "end-blank"])
)
def test_answers_that_are_only_unusual_load(account: Open, kind: str) -> None:
    warehouse = account()
    rehearse(warehouse.box, kind)
    summary = warehouse.load(page_size=20, **CONFIGURED)
    assert (summary.failed, summary.rejected) == ({}, 0)
    assert_same(warehouse)


def test_the_command_line_fails_and_the_tables_stay(warehouse: Warehouse) -> None:
    before = rows(warehouse)
    faults = rehearse(warehouse.box, "text@groups")
    ended = run(warehouse, "--resources", "groups,keywords")
    assert ended.code == FAILED
    assert "<response> holds nothing, where groups/group should be once" in ended.out + ended.err
    warehouse.box.faults.remove(faults)
    rehearse(warehouse.box, "heavy-load@groups", "maintenance-200@keywords")
    ended = run(warehouse, "--resources", "groups,keywords")
    assert ended.code == FAILED
    assert "HTTP 503: This website is under heavy load (queue full)" in ended.out + ended.err
    assert "a page instead of data: Site Maintenance" in ended.out + ended.err
    assert rows(warehouse) == before
    warehouse.box.faults.clear()
    assert run(warehouse, "--resources", "groups,keywords").code == LOADED


@pytest.mark.parametrize("kind", ["no-messages", "plain", "empty"])
def test_no_messages_are_no_end_of_the_list(export: Open, kind: str) -> None:
    warehouse = export(messages=300)
    warehouse.load()
    before = rows(warehouse)
    rehearse(warehouse.box, kind)
    summary = warehouse.load()
    assert list(summary.failed) == ["messages"]
    assert rows(warehouse) == before
    if kind == "plain":
        said = "the service says: The export is not available at the moment. (HTTP 500)"
        assert said in summary.failed["messages"]
