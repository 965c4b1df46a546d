"""Pages on disk: as they were put, nowhere to be found, and in pieces to the warehouse."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from tests.conftest import Open, slow_but
from tests.support.accounts import assert_same
from textlift.arrow import spool
from textlift.arrow.pages import ROW, Page
from textlift.arrow.spool import Spool
from textlift.codec.records import Reject
from textlift.extract import assemble
from textlift.load import package
from textlift.sandbox import Request, Response, rehearse

MEGABYTE = 2**20


def page_of(count: int, text: str = "x") -> Page:
    table = pa.table({"id": pa.array(range(count), pa.int64()), "body": [text] * count})
    entries = pa.table({ROW: pa.array(range(count), pa.int64()), "tag": [text] * count})
    return Page(count, table, {"tags": entries}, [Reject("1", None, "why", "what", row=0)], 7)


@pytest.fixture
def nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MEMORY", 0)
    monkeypatch.setattr(assemble, "PIECE_ROWS", 7)
    monkeypatch.setattr(package, "BATCH_ROWS", 10)


@pytest.mark.usefixtures("nothing_in_memory")
def test_a_page_comes_back_as_it_was_put() -> None:
    kept, pages = Spool(), [page_of(count, f"text {count}") for count in (3, 0, 5)]
    spooled = [kept.put(page) for page in pages]
    assert [kept.get(each) for each in reversed(spooled)] == pages[::-1]


@pytest.mark.usefixtures("nothing_in_memory")
def test_what_is_on_disk_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = Spool()
    kept.put(page_of(1000))
    assert list(tmp_path.iterdir()) == []
    kept.close()


def test_pages_take_no_more_memory_than_they_may() -> None:
    before, kept = pa.total_allocated_bytes(), Spool()
    spooled = [kept.put(page_of(1000, "x" * 1000)) for _ in range(100)]
    assert len(spooled) == 100
    assert pa.total_allocated_bytes() - before < spool.MEMORY + 8 * MEGABYTE
    assert kept.get(spooled[-1]) == page_of(1000, "x" * 1000)


@pytest.mark.usefixtures("nothing_in_memory")
@pytest.mark.parametrize("page_size", slow_but(slice(1), [50, 7]))
def test_rows_that_come_in_pieces_are_all_loaded(account: Open, page_size: int) -> None:
    warehouse = account()
    warehouse.load(page_size=page_size)
    assert_same(warehouse)
    warehouse.load(page_size=page_size, whole_read_days=0)
    assert_same(warehouse)


def test_a_page_with_long_lists_is_handed_out_in_pieces(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "BATCH_ROWS", 50)
    warehouse = account(profiles=40)
    profiles = warehouse.box.service.rows("profiles")
    lists = ("subscriptions", "custom_columns", "clicks", "integrations")
    longest = max(1 + sum(len(row[name] or ()) for name in lists) for row in profiles)
    found = [getattr(item, "data", item) for item in warehouse.source().profiles]
    rows = [table.num_rows for table in found if "phone_number" in table.column_names]
    assert sum(rows) == len(profiles)
    # Beside its entries, a list has a mark for each record without any.
    assert max(table.num_rows for table in found) <= 50 + longest + max(rows)
    assert len([count for count in rows if count]) > 5


@pytest.mark.usefixtures("nothing_in_memory")
def test_of_a_snapshot_that_fails_midway_nothing_is_loaded(account: Open) -> None:
    warehouse = account(profiles=120)
    warehouse.load("group_members", page_size=50)
    before = warehouse.content("group_members")
    groups = [row["id"] for row in warehouse.box.service.rows("groups")]

    def refuse(request: Request) -> Response | None:
        last = request.params.get("group_id") == str(groups[-1])
        return Response(404, b"", {}) if last else None

    warehouse.box.faults.append(refuse)
    service = warehouse.box.service
    service.remove_member(groups[0], service.truth("group_members", group_id=groups[0])[0]["id"])
    assert set(warehouse.load("group_members", page_size=50).failed) == {"group_members"}
    assert warehouse.content("group_members") == before


@pytest.mark.usefixtures("nothing_in_memory")
def test_the_cursor_waits_for_the_last_piece(account: Open) -> None:
    warehouse = account(profiles=120, order="-updated_at")
    rehearse(warehouse.box, "503@profiles:9-")
    warehouse.load("profiles", page_size=20)
    warehouse.box.faults.clear()
    warehouse.load("profiles", page_size=20)
    assert_same(warehouse, "profiles")
