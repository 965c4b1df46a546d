"""DuckDB as this project has it: the rows of dlt's own destination, for less."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dlt
import duckdb as duckdb_client
import pyarrow as pa
import pytest
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.pipeline.exceptions import PipelineStepFailed

from tests.conftest import PROJECT, Open, slow_but
from tests.support.accounts import assert_same
from tests.support.commands import PATIENCE
from textlift.destinations import _duckdb_jobs
from textlift.destinations._duckdb import duckdb

Rows = list[dict[str, Any]]

FIRST: Rows = [
    {"id": 1, "part": 1, "text": "stays", "stamp": 1, "gone": None},
    {"id": 2, "part": 1, "text": "is replaced", "stamp": 1, "gone": None},
    {"id": 3, "part": 1, "text": "goes", "stamp": 1, "gone": None},
    {"id": 3, "part": 2, "text": "of the same id", "stamp": 1, "gone": None},
    {"id": 5, "part": 1, "text": "goes too", "stamp": 1, "gone": None},
]
SECOND: Rows = [
    {"id": 2, "part": 1, "text": "new", "stamp": 2, "gone": None},
    {"id": 3, "part": 1, "text": None, "stamp": 2, "gone": True},
    {"id": 4, "part": 1, "text": "one", "stamp": 2, "gone": None},
    {"id": 4, "part": 2, "text": "two", "stamp": 2, "gone": None},
    {"id": 5, "part": 1, "text": "goes too", "stamp": 1, "gone": True},
]


def load(destination: Any, folder: Path, batches: list[list[Rows]], **hints: Any) -> Rows:
    """Load each batch in a package of its own, and return the rows of the table."""
    file = folder / "warehouse.duckdb"
    pipeline = dlt.pipeline(
        "rows", destination=destination(str(file)), dataset_name="rows", pipelines_dir=str(folder)
    )
    columns: Any = {"gone": {"hard_delete": True, "data_type": "bool"}, **hints}
    for batch in batches:
        things = dlt.resource(
            [pa.Table.from_pylist(rows, SCHEMA) for rows in batch],
            name="things",
            primary_key=["id", "part"],
            write_disposition="merge",
            columns=columns,
        )
        pipeline.run(things)
    with duckdb_client.connect(str(file)) as connection:
        found = connection.execute("SELECT id, part, text, stamp FROM rows.things ORDER BY ALL")
        return [dict(zip(("id", "part", "text", "stamp"), row)) for row in found.fetchall()]


SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("part", pa.int64()),
        ("text", pa.string()),
        ("stamp", pa.int64()),
        ("gone", pa.bool_()),
    ]
)


def test_the_place_of_a_file_is_printed_as_dlt_prints_it(tmp_path: Path) -> None:
    pipelines = [
        dlt.pipeline("rows", destination=each(str(tmp_path / "a file.duckdb")))
        for each in (duckdb, dlt.destinations.duckdb)
    ]
    own, dlts = [str(each.destination_client().config) for each in pipelines]
    assert own == dlts == f"duckdb:///{tmp_path}/a file.duckdb"


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge each stored row in a part of its own, as merges into large tables are divided."""
    for name, value in (("_VECTOR", 1), ("_PART_VECTORS", 1), ("_FEW_VECTORS", 0)):
        monkeypatch.setattr(_duckdb_jobs, name, value)


@pytest.mark.parametrize(
    ("parts", "merge_key"),
    slow_but(slice(1), [(True, True), (True, False), (False, True), (False, False)]),
)
@pytest.mark.parametrize(
    "batches",
    [
        [[FIRST]],
        [[FIRST], [SECOND]],
        [[FIRST, FIRST], [SECOND, SECOND]],
        [[FIRST[:2], FIRST[2:]], [SECOND[:1], SECOND[1:]]],
        [[FIRST], [[]], [SECOND]],
    ],
    ids=["once", "merged", "each file twice", "two files", "nothing between"],
)
def test_merging_gives_the_rows_of_dlts_own_destination(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batches: list[list[Rows]],
    parts: bool,
    merge_key: bool,
) -> None:
    if parts:
        request.getfixturevalue("in_parts")
    monkeypatch.setenv("DATA_WRITER__FILE_MAX_ITEMS", "1")
    hints = {"id": {"merge_key": merge_key}}
    usual = load(dlt.destinations.duckdb, tmp_path / "usual", batches, **hints)
    assert load(duckdb, tmp_path / "ours", batches, **hints) == usual
    assert len({(row["id"], row["part"]) for row in usual}) == len(usual)


def test_a_merge_that_ends_between_two_parts_leaves_each_row_once(
    tmp_path: Path, in_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: Rows = [{**FIRST[0], "id": n} for n in range(20)]
    newer: Rows = [{**row, "text": "newer"} for row in rows]
    load(duckdb, tmp_path, [[rows]])
    execute, merged = _duckdb_jobs._execute, []

    def killed(client: Any, statements: Any) -> None:
        if len(merged) == 7:
            raise DatabaseTerminalException(ValueError("killed"))
        merged.append(statements)
        execute(client, statements)

    with monkeypatch.context() as patched:
        patched.setattr(_duckdb_jobs, "_execute", killed)
        with pytest.raises(PipelineStepFailed):
            load(duckdb, tmp_path, [[newer]])
    with duckdb_client.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        stored = "SELECT text, count(*), count(DISTINCT id) FROM rows.things GROUP BY 1 ORDER BY 1"
        assert connection.execute(stored).fetchall() == [("newer", 7, 7), ("stays", 13, 13)]
    assert {row["text"] for row in load(duckdb, tmp_path, [[newer]])} == {"newer"}


def test_a_list_is_written_only_if_one_of_its_entries_changed(filled: Open) -> None:
    warehouse = filled()
    service = warehouse.box.service
    written = "SELECT profile_id, _dlt_load_id FROM profiles__custom_columns GROUP BY ALL"
    before = dict(warehouse.query(written))
    listed = {row["id"]: row for row in service.rows("profiles") if row["custom_columns"]}
    changed, *others = list(listed)[:3]
    values = [{**listed[changed]["custom_columns"][0], "value": "another"}]
    service.update("profiles", changed, custom_columns=values)
    for id in others:
        service.update("profiles", id, first_name="Zoë")
    warehouse.load("profiles", whole_read_days=0)
    after = dict(warehouse.query(written))
    assert {id for id in after if after[id] != before[id]} == {changed}
    # The load id of a record says when it was last read.
    read = warehouse.query("SELECT DISTINCT _dlt_load_id FROM profiles")
    assert read == [(after[changed],)]
    assert_same(warehouse, "profiles", "profiles__custom_columns")


def test_lists_without_a_change_are_not_searched_for_rows_to_delete(
    filled: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = filled()
    profiles = warehouse.box.service.rows("profiles")
    # All have custom columns, and few have integrations.
    bare = next(row["id"] for row in profiles if not row["integrations"])
    warehouse.box.service.update("profiles", bare, first_name="Zoë")
    execute, executed = _duckdb_jobs._execute, []

    def seen(client: Any, statements: Any) -> None:
        executed.extend(statements)
        execute(client, statements)

    monkeypatch.setattr(_duckdb_jobs, "_execute", seen)
    warehouse.load("profiles", whole_read_days=0)
    changed = [re.findall(r'"(\w+)"', each)[1] for each in executed if "_staging" not in each]
    assert {*changed} == {"profiles"}
    assert_same(warehouse, "profiles", "profiles__custom_columns")


def test_another_connection_takes_no_memory_from_a_merge(tmp_path: Path) -> None:
    pipeline = dlt.pipeline(
        "rows", destination=duckdb(str(tmp_path / "rows.duckdb")), pipelines_dir=str(tmp_path)
    )
    pipeline.run(FIRST, table_name="things")
    seen = []

    def see() -> None:
        with pipeline.sql_client() as other:
            seen.extend(other.execute_sql("SELECT current_setting('memory_limit')") or ())

    with pipeline.sql_client() as merging:
        see()
        _duckdb_jobs._run_with_limit(merging, see, "1GiB")
        see()
    assert [limit for (limit,) in seen] == ["95.3 MiB", "1.0 GiB", "95.3 MiB"]


def test_a_column_that_says_which_row_stays_is_heeded(tmp_path: Path) -> None:
    newer = [{**row, "text": "newer", "stamp": 9} for row in FIRST]
    loaded = load(duckdb, tmp_path, [[newer, FIRST]], stamp={"dedup_sort": "desc"})
    assert {row["text"] for row in loaded} == {"newer"}


def test_no_staged_row_stays_behind(filled: Open) -> None:
    warehouse = filled()
    staged = [
        name
        for (name,) in warehouse.query(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'mcommons_staging' AND NOT starts_with(table_name, '_dlt')"
        )
    ]
    assert "profiles" in staged
    for name in staged:
        assert warehouse.query(f"SELECT count(*) FROM mcommons_staging.{name}") == [(0,)], name


def test_arrow_takes_memory_from_the_system_while_a_run_loads_and_only_then(account: Open) -> None:
    warehouse, during = account(profiles=5), []
    before = pa.default_memory_pool().backend_name
    warehouse.box.hooks.append(
        lambda request, response: during.append(pa.default_memory_pool().backend_name)
    )
    warehouse.load("campaigns")
    assert set(during) == {"system"}
    assert pa.default_memory_pool().backend_name == before


def test_a_command_takes_all_memory_of_arrow_from_the_system(tmp_path: Path) -> None:
    # What writes Parquet does not follow a pool that is set later.
    script = (
        "from textlift.cli import main; main(['tables', 'mgage'])\n"
        "import pyarrow, sys; print(pyarrow.default_memory_pool().backend_name, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT / "sources")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stderr.splitlines()[-1] == "system"


def test_a_merge_that_needs_more_memory_than_usual_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_duckdb_jobs._Memory, "limit", "8MB")
    rows: Rows = [{**FIRST[0], "id": n, "text": f"{n:0200}"} for n in range(50_000)]
    assert len(load(duckdb, tmp_path, [[rows]])) == len(rows)
    assert "with its default limit" in log.text


def test_a_merge_takes_the_memory_that_a_user_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[str] = []
    run = _duckdb_jobs._run_with_enough_memory

    def watched(client: Any, *work: Any) -> None:
        ((limit,),) = client.execute_sql("SELECT current_setting('memory_limit')")
        limits.append(limit)
        run(client, *work)

    monkeypatch.setattr(_duckdb_jobs, "_run_with_enough_memory", watched)
    load(duckdb, tmp_path / "usual", [[FIRST]])
    file = str(tmp_path / "own.duckdb")
    own = DuckDbCredentials(file, global_config={"memory_limit": "64MiB"})
    things = dlt.resource(
        [pa.Table.from_pylist(FIRST, SCHEMA)],
        name="things",
        primary_key=["id", "part"],
        write_disposition="merge",
    )
    dlt.pipeline("own", destination=duckdb(own), pipelines_dir=str(tmp_path)).run(things)
    assert set(limits[:1]) == {"95.3 MiB"} and limits[-1] == "64.0 MiB"


@pytest.mark.parametrize(
    "name", slow_but(slice(1), ["it's [a] *st?ate", "50%", "a%sb%%", '"two" {words}; more'])
)
def test_the_working_folder_can_have_any_name(account: Open, name: str) -> None:
    warehouse = account()
    warehouse.state = warehouse.folder / name
    for _ in range(2):
        warehouse.load()
        assert_same(warehouse)
