"""The same warehouse elsewhere: a real PostgreSQL server, Delta and Iceberg tables on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dlt
import duckdb as duckdb_client
import psycopg2
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from dlt.common.versioned_state import decompress_state

from tests.conftest import slow_but
from tests.support.any_warehouse import (  # noqa: F401 (collected here, and for lakes in chaos)
    test_a_first_load_and_the_next_ones_bring_every_row_of_every_table,
    test_a_first_load_brings_every_message_and_a_second_one_changes_nothing,
    test_a_row_that_is_replaced_keeps_nothing,
    test_a_status_that_moved_updates_its_row_and_keeps_its_key,
    test_columns_have_the_types_of_the_contract,
    test_messages_are_read_from_the_cursors_in_the_destination,
    test_messages_have_the_columns_and_types_of_the_contract,
    test_text_arrives_verbatim_and_nothing_is_null,
)
from tests.support.documents import fences, page
from tests.support.hooks import corrupted
from tests.support.messages import PROGRAM
from tests.support.truth import comparable, expected
from tests.support.warehouses import AnyWarehouse, LakeWarehouse, PostgresWarehouse, assert_same
from textlift.destinations import checked
from textlift.destinations._lakes import _as_in
from textlift.errors import ConfigurationError, DestinationFailed
from textlift.load import package
from textlift.load.cursors import forget_cursors, stored_cursors
from textlift.load.loading import load
from textlift.load.runs import recent_runs
from textlift.mcommons import mcommons_source
from textlift.sandbox import Sandbox
from textlift.sandbox.clock import Clock
from textlift.sandbox.mcommons import MobileCommons

#: What a lake does differently from a database; the slow suite tries the rest there.
everywhere = pytest.mark.parametrize(
    "open_service", slow_but(slice(2), ["postgres", "delta", "iceberg"]), indirect=True
)
anywhere = pytest.mark.parametrize(
    "open_service",
    slow_but(slice(3), ["duckdb", "postgres", "iceberg", "delta"]),
    indirect=True,
)


@pytest.fixture
def account(elsewhere: AnyWarehouse) -> AnyWarehouse:
    return elsewhere


@pytest.fixture
def export(export_elsewhere: AnyWarehouse) -> AnyWarehouse:
    return export_elsewhere


@everywhere
def test_runs_and_cursors_come_back_from_the_destination(account: AnyWarehouse) -> None:
    warehouse = account()
    warehouse.load("profiles", "calls")
    warehouse.load("calls")
    warehouse.state = warehouse.folder / "another machine"
    pipeline = warehouse.pipeline()
    newest, *runs = recent_runs(pipeline, "mcommons")
    assert newest.resource == "calls"
    assert {run.resource for run in runs} == {"profiles", "calls"}
    assert {run.run_id for run in runs} != {newest.run_id}
    assert all(run.started_at.tzinfo for run in (newest, *runs))
    with checked(pipeline) as client:
        cursors = stored_cursors(client, "mcommons", "mcommons")
    assert {cursor.resource for cursor in cursors} == {"profiles", "calls"}
    forget_cursors(pipeline, "mcommons", ["calls"])
    with checked(pipeline) as client:
        kept = stored_cursors(client, "mcommons", "mcommons")
    assert kept == [cursor for cursor in cursors if cursor.resource == "profiles"]


@everywhere
def test_an_update_replaces_the_row_and_the_last_entry_of_a_list_goes(
    account: AnyWarehouse,
) -> None:
    warehouse = account()
    warehouse.load("profiles")
    service = warehouse.box.service
    profile = next(
        row for row in service.rows("profiles") if row["subscriptions"] and row["custom_columns"]
    )
    service.update("profiles", profile["id"], first_name="Zoë", subscriptions=[], shoe_size="44")
    warehouse.load("profiles")
    same = f"WHERE id = {profile['id']}"
    assert warehouse.query(f"SELECT first_name, shoe_size FROM profiles {same}") == [("Zoë", "44")]
    assert warehouse.query("SELECT count(*) FROM profiles WHERE shoe_size IS NULL") == [
        (len(service.rows("profiles")) - 1,)
    ]
    theirs = f"WHERE profile_id = {profile['id']}"
    assert warehouse.query(f"SELECT count(*) FROM profiles__subscriptions {theirs}") == [(0,)]
    assert warehouse.query(f"SELECT count(*) FROM profiles__custom_columns {theirs}") == [
        (len(profile["custom_columns"]),)
    ]


@everywhere
def test_a_column_that_turns_up_within_a_package_is_not_lost(
    account: AnyWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "BATCH_ROWS", 10)
    monkeypatch.setenv("DATA_WRITER__BUFFER_MAX_ITEMS", "1")
    warehouse = account()
    service = warehouse.box.service
    last = service.rows("profiles")[-1]["id"]
    service.update("profiles", last, shoe_size="44")
    warehouse.load("profiles", page_size=10)
    loaded = warehouse.query("SELECT id, shoe_size FROM profiles ORDER BY id")
    assert len(loaded) == len(service.rows("profiles"))
    assert [row for row in loaded if row[1]] == [(last, "44")]


@everywhere
def test_campaigns_are_replaced_as_sets_of_subscribers(account: AnyWarehouse) -> None:
    warehouse = account()
    warehouse.load("campaign_subscribers")
    service = warehouse.box.service
    first = service.rows("subscribers")[0]
    for row in service.rows("subscribers"):
        if row["campaign_id"] == first["campaign_id"]:
            service.delete("subscribers", row["id"])
    warehouse.load("campaign_subscribers", whole_read_days=0)
    loaded = warehouse.query("SELECT id FROM campaign_subscribers ORDER BY id")
    assert loaded == [(row["id"],) for row in service.rows("subscribers")] != []


@everywhere
def test_what_does_not_fit_is_null_and_kept_in_rejected_records(
    account: AnyWarehouse, clock: Clock
) -> None:
    warehouse = account(empty=True)
    warehouse.box.service.put("broadcasts", {"id": 1})
    warehouse.box.service.update("broadcasts", 1, replies_count="many 👍", throttled="perhaps")
    noted = []
    for _ in range(2):
        assert warehouse.load("broadcasts").rejected == 2
        noted.append(warehouse.query("SELECT rejected_at FROM rejected_records ORDER BY 1"))
    assert noted[0] == noted[1]
    assert warehouse.query("SELECT id, replies_count, throttled FROM broadcasts") == [
        (1, None, None)
    ]
    kept = "SELECT row_key, column_name, payload FROM rejected_records ORDER BY column_name"
    assert warehouse.query(kept) == [
        ("1", "replies_count", "many 👍"),
        ("1", "throttled", "perhaps"),
    ]
    warehouse.box.service.update("broadcasts", 1, replies_count=5)
    clock.advance(1)
    warehouse.load("broadcasts")
    kept = "SELECT column_name, payload, resolved_at > rejected_at FROM rejected_records ORDER BY 1"
    assert warehouse.query(kept) == [
        ("replies_count", "many 👍", True),
        ("throttled", "perhaps", None),
    ]


@anywhere
def test_new_elements_and_lists_load_whatever_they_are_called(account: AnyWarehouse) -> None:
    warehouse = account(empty=True)
    for id in (1, 2):
        warehouse.box.service.put("profiles", {"id": id})
    names = ["file_row_number", "rowid", "filename", "xmin", "select", "rejection_key"]
    values = "".join(f"<{name}>{name} of it</{name}>" for name in names)
    long = "n" * 300
    lists = f"<{long}><b>x</b><b>y</b></{long}><{long}s><b>z</b><b>w</b></{long}s>"
    new = f"{values}<{long}x>long</{long}x>{lists}</profile>".encode()
    with corrupted(warehouse, "profiles", b"</profile>", new):
        for _ in range(2):
            assert warehouse.load("profiles", since="2000-01-01").failed == {}
    columns = ", ".join(f'"x_{name}"' if name == "xmin" else f'"{name}"' for name in names)
    rows = warehouse.query(f"SELECT id, {columns} FROM profiles ORDER BY id")
    assert rows == [(id, *(f"{name} of it" for name in names)) for id in (1, 2)]
    ((column,),) = {(name,) for name in warehouse.columns("profiles") if name.startswith("nnn")}
    assert warehouse.query(f"SELECT DISTINCT {column} FROM profiles") == [("long",)]
    tables = sorted(name for name in warehouse.tables() if name.startswith("profiles__nnn"))
    kept = [warehouse.query(f"SELECT profile_id, b FROM {table} ORDER BY 1, 2") for table in tables]
    assert sorted(kept) == [
        [(1, "w"), (1, "z"), (2, "w"), (2, "z")],
        [(1, "x"), (1, "y"), (2, "x"), (2, "y")],
    ]
    # Gone at the service, the entries are gone.
    warehouse.load("profiles", since="2000-01-01")
    assert [warehouse.query(f"SELECT * FROM {table}") for table in tables] == [[], []]


@everywhere
def test_a_machine_that_never_ran_takes_the_cursors_from_the_destination(
    account: AnyWarehouse,
) -> None:
    warehouse = account()
    warehouse.load("profiles", "keywords")
    before = warehouse.everything()
    warehouse.state = warehouse.folder / "another machine"
    warehouse.box.requests.clear()
    warehouse.load("profiles", "keywords")
    froms = [r.params["from"] for r in warehouse.box.requests if r.endpoint == "profiles"]
    assert froms
    assert min(froms) > "2024-12"
    assert warehouse.everything() == before


@everywhere
def test_who_is_gone_is_marked_by_a_complete_read_and_deleted_by_a_full_refresh(
    account: AnyWarehouse,
) -> None:
    warehouse = account()
    warehouse.load("profiles", "incoming_messages")
    service = warehouse.box.service
    gone = next(
        row for row in service.rows("profiles") if row["subscriptions"] and row["custom_columns"]
    )
    message = service.rows("incoming_messages")[0]["id"]
    columns = [name for name in warehouse.columns("profiles") if name[0] != "_"]
    columns.remove("removed_at")
    row = f"SELECT {', '.join(columns)} FROM profiles WHERE id = {gone['id']}"
    lists = f"SELECT count(*) FROM profiles__custom_columns WHERE profile_id = {gone['id']}"
    removed = "SELECT id FROM profiles WHERE removed_at IS NOT NULL"
    before = warehouse.query(row)
    service.delete("profiles", gone["id"])
    service.delete("incoming_messages", message)
    warehouse.load("profiles", "incoming_messages", whole_read_days=0)
    assert warehouse.query(removed) == [(gone["id"],)]
    assert warehouse.query(row) == before
    assert warehouse.query(lists) == [(len(gone["custom_columns"]),)]
    service.put("profiles", gone)
    warehouse.load("profiles", whole_read_days=0)
    assert warehouse.query(removed) == []
    service.delete("profiles", gone["id"])
    warehouse.load("profiles", "incoming_messages", full_refresh=True)
    assert warehouse.query(row) == []
    assert warehouse.query(lists) == [(0,)]
    assert_same(warehouse, "profiles", "profiles__subscriptions", "incoming_messages")


# mGage


def test_what_is_no_text_in_postgres_costs_its_own_body_only(export: AnyWarehouse) -> None:
    warehouse = export(empty=True)
    service = warehouse.box.service
    service.add_program(PROGRAM, programName="Spring \0 drive")
    for minute, body in enumerate(["fine", "nul \0 in it", "cut \ud83d", "whole 👍🏽"]):
        date = service.now() - timedelta(minutes=minute)
        service.put(PROGRAM, {"body": body, "date": date})
    for _ in range(2):
        summary = warehouse.load(programs=[PROGRAM])
        assert (summary.failed, summary.rejected) == ({}, 3)
    loaded = "SELECT body, program_name FROM messages ORDER BY date DESC"
    assert warehouse.query(loaded) == [
        ("fine", None),
        (None, None),
        (None, None),
        ("whole 👍🏽", None),
    ]
    kept = "SELECT column_name, payload FROM rejected_records ORDER BY payload"
    assert sorted(warehouse.query(kept)) == [
        ("body", r"cut \ud83d"),
        ("body", r"nul \x00 in it"),
        ("program_name", r"Spring \x00 drive"),
    ]


# Indexes


def test_a_merge_into_a_large_table_reads_only_its_rows_and_indexes_are_made_once(
    account: AnyWarehouse,
) -> None:
    warehouse = account()
    assert isinstance(warehouse, PostgresWarehouse)
    names = ("profiles", "clicks")
    warehouse.load(*names)
    made = indexes(warehouse)
    assert {table: columns for table, _, columns in made}.items() >= {
        "profiles": "id",
        "profiles__custom_columns": "profile_id",
        "clicks": "id",
        "rejected_records": "rejection_key",
    }.items()
    # As an earlier version left it; and large, so that reading all of it is not the cheapest way.
    for table, index, columns in made:
        do(warehouse, f"DROP INDEX mcommons.{index}")
        sources = ", ".join(
            f'"{name}" + n * 1000000000' if name == columns else f'"{name}"'
            for name in warehouse.columns(table)
        )
        if table != "rejected_records":
            do(
                warehouse,
                f"INSERT INTO mcommons.{table} SELECT {sources} FROM mcommons.{table}, "
                "generate_series(1, 50000 / (SELECT count(*) + 1 FROM "
                f"mcommons.{table})) AS n",
                # Neither its own statistics nor those of its staging table help.
                f"ALTER TABLE mcommons.{table} SET (autovacuum_enabled = false)",
            )
    service = warehouse.box.service
    for turn in range(2):
        before, kept = tuples_read(warehouse), indexes(warehouse)
        for row in service.rows("profiles")[:12]:
            service.update("profiles", row["id"], first_name=f"Zoë {turn}")
        warehouse.load(*names)
        assert {(table, columns) for table, _, columns in indexes(warehouse)} == {
            (table, columns) for table, _, columns in made
        }
    assert indexes(warehouse) == kept
    read = {table: count - before[table] for table, count in tuples_read(warehouse).items()}
    assert {table: count for table, count in read.items() if count > 2_000} == {}


def indexes(warehouse: PostgresWarehouse) -> list[tuple[str, str, str]]:
    """Return the table, the name and the columns of each index."""
    return [
        (table, index, columns)
        for table, index, columns in warehouse.query(
            "SELECT tablename, indexname, substring(indexdef FROM '\\((.*)\\)') FROM pg_indexes "
            "WHERE schemaname = 'mcommons' AND NOT starts_with(tablename, '_dlt') ORDER BY 1, 2"
        )
    ]


def tuples_read(warehouse: PostgresWarehouse) -> dict[str, int]:
    """Return how many rows or entries of indexes PostgreSQL has read, for each table."""
    return {
        table: int(count)
        for table, count in warehouse.query(
            "SELECT relname, seq_tup_read + coalesce((SELECT sum(idx_tup_read) "
            "FROM pg_stat_user_indexes AS i WHERE i.relid = t.relid), 0) "
            "FROM pg_stat_user_tables AS t WHERE schemaname = 'mcommons'"
        )
    }


# Files


def test_the_latest_of_all_versions_in_parquet_files_is_what_the_service_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = [
        query for query in fences(page("docs/destinations.md"), "sql") if "read_parquet" in query
    ]
    files = dlt.destinations.filesystem(str(tmp_path / "lake"))
    with Sandbox(MobileCommons(profiles=60, now="2025-06-01T12:00:00Z")) as box:
        pipeline = dlt.pipeline("files", destination=files, dataset_name="mcommons")
        profiles = box.service.rows("profiles")
        first = next(row["id"] for row in profiles if row["subscriptions"])
        for name, subscriptions in [("Zoë", None), ("Chloë", [])]:
            changed = {} if subscriptions is None else {"subscriptions": subscriptions}
            box.service.update("profiles", first, first_name=name, **changed)
            source = mcommons_source(base_url=box.url, isolate_failures=True)
            load(pipeline, source, ["profiles", "campaigns"])
        truth = expected(box.service)
    monkeypatch.chdir(tmp_path)
    whole = "SELECT * FROM read_parquet('lake/mcommons/campaigns/*.parquet')"
    tables = ("profiles", "profiles__subscriptions", "campaigns")
    for table, query in zip(tables, [*queries, whole], strict=True):
        columns = sorted({name for row in truth[table] for name in row})
        with duckdb_client.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            names = ", ".join(f'"{name}"' for name in columns)
            rows = connection.execute(f"SELECT {names} FROM ({query})").fetchall()
            ((versions,),) = connection.execute(
                f"SELECT count(*) FROM read_parquet('lake/mcommons/{table}/*.parquet')"
            ).fetchall()
        loaded = [dict(zip(columns, row)) for row in rows]
        assert comparable(loaded, columns) == comparable(truth[table], columns)
        assert (versions > len(rows)) == (table != "campaigns")


def test_of_all_versions_in_files_a_complete_read_looks_at_the_latest(tmp_path: Path) -> None:
    files = dlt.destinations.filesystem(str(tmp_path / "lake"))
    with Sandbox(MobileCommons(profiles=60, now="2025-06-01T12:00:00Z")) as box:
        pipeline = dlt.pipeline("files", destination=files, dataset_name="mcommons")

        def run(**options: Any) -> dict[str, int]:
            source = mcommons_source(base_url=box.url, whole_read_days=0, isolate_failures=True)
            return load(pipeline, source, ["profiles"], **options).removed

        assert run() == run() == {}
        profile = box.service.rows("profiles")[0]
        box.service.delete("profiles", profile["id"])
        assert [run(), run()] == [{"profiles": 1}, {}]
        box.service.put("profiles", profile)
        assert run() == {}
        box.service.delete("profiles", profile["id"])
        assert [run(full_refresh=True) for _ in range(2)] == [{"profiles": 1}, {}]


# Several at once


def test_a_merge_waits_for_others_that_bring_the_same_rows(account: AnyWarehouse) -> None:
    warehouse = account()
    assert isinstance(warehouse, PostgresWarehouse)
    warehouse.load("keywords", "clicks")
    service = warehouse.box.service
    click = service.rows("clicks")[-1]["id"]
    with psycopg2.connect(warehouse.uri) as other, other.cursor() as cursor:
        # Another run has inserted a row that this one is about to bring, and not committed it.
        cursor.execute("CREATE TEMP TABLE kept AS SELECT * FROM mcommons.clicks")
        cursor.execute(f"DELETE FROM mcommons.clicks WHERE id = {click}")
        other.commit()
        cursor.execute(f"INSERT INTO mcommons.clicks SELECT * FROM kept WHERE id = {click}")
        loading = threading.Thread(target=warehouse.load, args=["clicks"])
        loading.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while loading.is_alive() and warehouse.query(waits) == [(0,)]:
            time.sleep(0.05)
        assert loading.is_alive()
        other.commit()
    loading.join()
    loaded = warehouse.query("SELECT id FROM clicks ORDER BY id")
    assert loaded == [(row["id"],) for row in service.rows("clicks")]


def wait_until_locked_out(warehouse: PostgresWarehouse, loading: threading.Thread) -> None:
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while loading.is_alive() and warehouse.query(waits) == [(0,)]:
        time.sleep(0.05)
    assert loading.is_alive()


def test_a_run_waits_for_others_that_make_tables(account: AnyWarehouse) -> None:
    warehouse = account()
    assert isinstance(warehouse, PostgresWarehouse)
    loading = threading.Thread(target=warehouse.load, args=["keywords"])
    with psycopg2.connect(warehouse.uri) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('mcommons'))")
        loading.start()
        wait_until_locked_out(warehouse, loading)
        assert warehouse.tables() == set()
    other.close()
    loading.join()
    assert warehouse.tables() >= {"keywords"}


def test_a_run_that_makes_tables_keeps_others_out(account: AnyWarehouse) -> None:
    warehouse = account()
    assert isinstance(warehouse, PostgresWarehouse)
    loading = threading.Thread(target=warehouse.load, args=["keywords"])
    warehouse.query("CREATE SCHEMA mcommons; COMMIT; SELECT 1")
    with psycopg2.connect(warehouse.uri) as other, other.cursor() as cursor:
        # Who drops the schema holds up who makes a table in it.
        cursor.execute("DROP SCHEMA mcommons")
        loading.start()
        wait_until_locked_out(warehouse, loading)
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        assert warehouse.query(held) == [(1,)]
        other.rollback()
    other.close()
    loading.join()
    assert warehouse.tables() >= {"keywords"}


@pytest.mark.slow
def test_runs_at_the_same_time_make_all_tables_and_know_all_of_them(account: AnyWarehouse) -> None:
    warehouse = account(profiles=20)
    assert isinstance(warehouse, PostgresWarehouse)
    names = ["profiles", "clicks", "calls", "broadcasts"]
    program = (
        "import sys; from textlift.scheduled import run_task\n"
        "summary = run_task('mcommons', sys.argv[1], destination_name='postgres')\n"
        "assert not summary.failed"
    )
    settings = {
        **os.environ,
        "DESTINATION__POSTGRES__CREDENTIALS": warehouse.uri,
        "SOURCES__MCOMMONS__BASE_URL": warehouse.box.url,
    }
    running = [
        subprocess.Popen([sys.executable, "-c", program, name], env=settings) for name in names
    ]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert_same(warehouse, *names, "profiles__subscriptions", "broadcasts__tags")
    # All that anyone has found is known to the next one.
    subprocess.run([sys.executable, "-c", program, "mdata_queries"], env=settings, check=True)
    newest = warehouse.query("SELECT schema FROM _dlt_version ORDER BY inserted_at DESC LIMIT 1")
    assert set(decompress_state(newest[0][0])["tables"]) >= warehouse.tables()


# What the destination holds counts.


@everywhere
def test_what_was_dropped_or_emptied_is_loaded_again(account: AnyWarehouse) -> None:
    warehouse = account()
    names = ("profiles", "broadcasts", "campaigns")
    warehouse.load(*names)
    for table in ("profiles__subscriptions", "broadcasts", "campaigns"):
        drop(warehouse, table)
    warehouse.load(*names)
    assert_same(warehouse, "profiles", "profiles__subscriptions", "broadcasts", "campaigns")
    empty(warehouse, "profiles")
    warehouse.load("profiles")
    assert_same(warehouse, "profiles", "profiles__subscriptions")


def drop(warehouse: PostgresWarehouse | LakeWarehouse, table: str) -> None:
    if isinstance(warehouse, PostgresWarehouse):
        do(warehouse, f"DROP TABLE mcommons.{table}")
    else:
        shutil.rmtree(warehouse.lake / "mcommons" / table)


def empty(warehouse: PostgresWarehouse | LakeWarehouse, table: str) -> None:
    if isinstance(warehouse, PostgresWarehouse):
        do(warehouse, f"DELETE FROM mcommons.{table}")
    elif warehouse.table_format == "delta":
        DeltaTable(str(warehouse.lake / "mcommons" / table)).delete()
    else:
        # Who has an Iceberg table without a catalog takes the folder away.
        drop(warehouse, table)


def do(warehouse: PostgresWarehouse, *statements: str) -> None:
    connection = psycopg2.connect(warehouse.uri)
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


@everywhere
def test_another_account_is_refused_before_any_request(account: AnyWarehouse) -> None:
    warehouse = account()
    warehouse.load("keywords")
    warehouse.box.requests.clear()
    with pytest.raises(ConfigurationError, match="another account"):
        warehouse.load("keywords", company="ANOTHER")
    assert warehouse.box.requests == []
    warehouse.load("keywords")


@pytest.mark.parametrize("what", ["database", "right to write", "right to make"])
def test_a_server_that_refuses_is_named_before_any_request(
    account: AnyWarehouse, what: str
) -> None:
    warehouse = account(empty=True)
    assert isinstance(warehouse, PostgresWarehouse)
    if what == "right to write":
        warehouse.load("keywords")
        warehouse.box.requests.clear()
    database = urlsplit(warehouse.uri).path[1:]
    owner = warehouse.uri
    if what == "database":
        warehouse.uri = warehouse.uri.replace(f"/{database}?", "/nosuch?")
        said = 'database "nosuch" does not exist'
    else:
        # A role of its own for each database; roles are the server's.
        reader = f"reader_{database}"
        do(
            warehouse,
            f"CREATE ROLE {reader} LOGIN",
            *([f"GRANT USAGE ON SCHEMA mcommons TO {reader}"] if "write" in what else []),
        )
        warehouse.uri = warehouse.uri.replace("postgres:-@", f"{reader}:-@")
        said = "permission denied for schema mcommons"
        if what == "right to make":
            said = f"permission denied for database {database}"
    with pytest.raises(DestinationFailed, match=said):
        warehouse.load("keywords")
    assert warehouse.box.requests == []
    if what == "right to write":
        warehouse.uri = owner
        assert "textlift_check" not in warehouse.everything()


def test_rows_of_several_load_packages_are_joined_with_those_that_replace_them() -> None:
    keys = ["group_id", "profile_id"]
    new = pa.table({"group_id": [1], "profile_id": [1]})
    # dlt's Arrow tables have the load id as a dictionary, each package its own.
    new = new.append_column("_dlt_load_id", pa.array(["c"]).dictionary_encode())
    stored = [
        {"group_id": 1, "profile_id": n, "_dlt_load_id": load} for n, load in enumerate("abc")
    ]
    there = pa.concat_tables([pa.Table.from_pylist([row]) for row in stored])
    others = _as_in(there, new.schema).join(new.select(keys), keys, join_type="left anti")
    # A join promises no order.
    assert others.sort_by("profile_id").to_pylist() == [stored[0], stored[2]]
