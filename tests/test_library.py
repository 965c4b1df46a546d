"""The source in the hands of somebody who knows dlt: their pipeline, their hints, their contracts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from tests.conftest import PROJECT, TODAY, Open, Warehouse, slow_but
from tests.support.accounts import assert_same
from tests.support.messages import PROGRAM, PROGRAMS
from tests.support.messages import assert_same as assert_same_messages
from textlift.destinations import destination
from textlift.errors import ServiceError
from textlift.load.report import report_of
from textlift.mgage import mgage_source
from textlift.sandbox import Request, Response
from textlift.sandbox.clock import Clock


def ids(warehouse: Warehouse, table: str) -> list[int]:
    return [row_id for (row_id,) in warehouse.query(f"SELECT id FROM {table} ORDER BY id")]


def truth(warehouse: Warehouse, kind: str) -> list[int]:
    return [row["id"] for row in warehouse.box.service.rows(kind)]


def first_with(warehouse: Warehouse, *lists: str) -> dict[str, Any]:
    """A profile that has an entry in each of ``lists``."""
    return next(
        row for row in warehouse.box.service.rows("profiles") if all(row[name] for name in lists)
    )


def fails(*endpoints: str) -> Callable[[Request], Response | None]:
    return lambda request: Response(500, b"down") if request.endpoint in endpoints else None


# Resources.


def test_with_resources_loads_those_and_their_lists_only(account: Open) -> None:
    warehouse = account()
    source = warehouse.source().with_resources("profiles", "keywords")
    warehouse.pipeline().run(source)
    lists = {"subscriptions", "custom_columns", "clicks", "integrations"}
    assert warehouse.tables() == {
        "profiles",
        *(f"profiles__{name}" for name in lists),
        "keywords",
        "rejected_records",
    }
    assert ids(warehouse, "profiles") == truth(warehouse, "profiles")
    assert {request.endpoint for request in warehouse.box.requests} == {"profiles", "keywords"}


def test_a_resource_is_an_attribute_that_can_be_run_by_itself(account: Open) -> None:
    warehouse = account()
    warehouse.pipeline().run(warehouse.source().campaigns)
    assert ids(warehouse, "campaigns") == truth(warehouse, "campaigns")
    assert warehouse.query("SELECT count(*) > 0 FROM campaigns__opt_in_paths") == [(True,)]


def test_everything_goes_into_a_pipeline_and_a_dataset_of_ones_own(account: Open) -> None:
    warehouse = account()
    pipeline = dlt.pipeline(
        "people",
        pipelines_dir=str(warehouse.state),
        destination=destination("duckdb", credentials=str(warehouse.file)),
        dataset_name="raw",
    )
    pipeline.run(warehouse.source().with_resources("profiles"))
    with pipeline.sql_client() as client:
        rows = client.execute_sql("SELECT id FROM profiles ORDER BY id")
    assert rows is not None
    assert [row_id for (row_id,) in rows] == truth(warehouse, "profiles")
    assert pipeline.state["sources"].keys() == {"mcommons"}


def test_one_source_object_runs_as_often_as_one_likes(account: Open, clock: Clock) -> None:
    warehouse = account(empty=True, now=TODAY)
    service = warehouse.box.service
    source, pipeline = warehouse.source(), warehouse.pipeline()
    service.put("campaigns", {"id": 1})
    service.put("profiles", {"id": 1, "updated_at": "2025-01-01T00:00:00Z"})
    pipeline.run(source)
    # What follows happens after the second up to which that run has read.
    for one in (clock, service):
        one.advance(2)
    service.put("campaigns", {"id": 2})
    service.put("profiles", {"id": 2})
    service.put("subscribers", {"id": 3, "campaign_id": 2, "profile_id": 2})
    warehouse.box.requests.clear()
    pipeline.run(source)
    for table, kind in [("profiles", "profiles"), ("campaigns", "campaigns")]:
        assert ids(warehouse, table) == truth(warehouse, kind) == [1, 2]
    assert ids(warehouse, "campaign_subscribers") == [3]
    asked = [request for request in warehouse.box.requests if request.endpoint == "profiles"]
    assert {request.params["from"] for request in asked} == {"2024-12-31T23:00:00Z"}


# add_limit


def test_a_limit_cuts_a_load_short_and_the_next_full_run_brings_the_rest(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textlift.load.package.BATCH_ROWS", 10)
    warehouse = account()
    # 62 pages are too many for one window. A limit counts tables, and the rows come first.
    warehouse.pipeline().run(warehouse.source(page_size=1).with_resources("profiles").add_limit(1))
    rows = warehouse.box.service.rows("profiles")
    assert 0 < len(ids(warehouse, "profiles")) < len(rows)
    warehouse.pipeline().run(warehouse.source())
    assert_same(warehouse)


def test_a_limit_on_everything_loses_nothing(account: Open) -> None:
    warehouse = account()
    warehouse.pipeline().run(warehouse.source().add_limit(1))
    warehouse.pipeline().run(warehouse.source())
    assert_same(warehouse)


# Hints and maps.


def test_append_keeps_every_version_of_a_row(account: Open) -> None:
    warehouse = account()
    service = warehouse.box.service

    def append() -> None:
        source = warehouse.source().with_resources("profiles", "outgoing_messages")
        source.profiles.apply_hints(write_disposition="append")
        warehouse.pipeline().run(source)

    append()
    changed = first_with(warehouse, "subscriptions")
    service.update("profiles", changed["id"], first_name="Changed")
    append()
    names = f"SELECT first_name FROM profiles WHERE id = {changed['id']}"
    assert set(warehouse.query(names)) == {(changed["first_name"],), ("Changed",)}
    # What was not asked for is as ever.
    assert ids(warehouse, "outgoing_messages") == truth(warehouse, "outgoing_messages")
    subscriptions = (
        f"SELECT count(*) FROM profiles__subscriptions WHERE profile_id = {changed['id']}"
    )
    assert warehouse.query(subscriptions) == [(len(changed["subscriptions"]),)]


def test_a_table_can_have_another_name(account: Open) -> None:
    warehouse = account()
    for _ in range(2):
        source = warehouse.source().with_resources("profiles", "campaigns")
        source.profiles.apply_hints(table_name="people")
        source.campaigns.apply_hints(table_name="lists")
        warehouse.pipeline().run(source)
    assert ids(warehouse, "people") == truth(warehouse, "profiles")
    assert ids(warehouse, "lists") == truth(warehouse, "campaigns")
    assert {"profiles", "campaigns"} & warehouse.tables() == set()


def test_a_map_sees_the_tables_and_can_leave_columns_out(account: Open) -> None:
    warehouse = account()

    def without_people(table: pa.Table) -> pa.Table:
        names = {"first_name", "last_name", "phone_number", "email"} & set(table.column_names)
        return table.drop_columns(sorted(names))

    source = warehouse.source().with_resources("profiles")
    source.profiles.add_map(without_people)
    warehouse.pipeline().run(source)
    assert ids(warehouse, "profiles") == truth(warehouse, "profiles")
    assert {"first_name", "last_name", "phone_number", "email"}.isdisjoint(
        warehouse.columns("profiles")
    )
    wanted = sum(len(row["subscriptions"]) for row in warehouse.box.service.rows("profiles"))
    assert warehouse.query("SELECT count(*) FROM profiles__subscriptions") == [(wanted,)]


def test_the_tables_of_a_resource_can_be_read_without_a_pipeline(account: Open) -> None:
    warehouse = account()
    tables = list(warehouse.source().keywords)
    (keywords,) = (table for table in tables if "opt_in_path_id" in table.column_names)
    assert sorted(keywords["id"].to_pylist()) == truth(warehouse, "keywords")


# Schema contracts.

FREEZE, DISCARD = {"columns": "freeze"}, {"columns": "discard_value"}


def run_under(
    warehouse: Warehouse, how: str, contract: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {}
    if how == "argument":
        settings["schema_contract"] = contract
    if how == "environment":
        monkeypatch.setenv("SOURCES__MCOMMONS__SCHEMA_CONTRACT", json.dumps(contract))
    source = warehouse.source(**settings).with_resources("profiles", "campaigns")
    by_run = {"schema_contract": contract} if how == "run" else {}
    warehouse.pipeline().run(source, **by_run)


@pytest.mark.parametrize("how", slow_but(slice(1), ["argument", "run", "environment"]))
def test_frozen_columns_stop_a_run_that_meets_a_new_one(
    account: Open, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    warehouse = account()
    for _ in range(2):
        run_under(warehouse, how, FREEZE, monkeypatch)
    before = warehouse.everything()
    assert before["profiles"] != []
    profile = first_with(warehouse, "subscriptions")["id"]
    warehouse.box.service.update("profiles", profile, first_name="Later", shoe_size="44")
    with pytest.raises(PipelineStepFailed, match="shoe_size"):
        run_under(warehouse, how, FREEZE, monkeypatch)
    assert warehouse.everything() == before
    # Thawed, the next run brings what the stopped one left.
    monkeypatch.delenv("SOURCES__MCOMMONS__SCHEMA_CONTRACT", raising=False)
    run_under(warehouse, "argument", "evolve", monkeypatch)
    sql = f"SELECT first_name, shoe_size FROM profiles WHERE id = {profile}"
    assert warehouse.query(sql) == [("Later", "44")]


@pytest.mark.parametrize("how", slow_but(slice(1), ["environment", "argument", "run"]))
def test_discarded_values_leave_the_row_and_no_column(
    account: Open, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    warehouse = account()
    run_under(warehouse, how, DISCARD, monkeypatch)
    columns = {table: warehouse.columns(table) for table in warehouse.tables()}
    profile = first_with(warehouse, "subscriptions")
    subscriptions = [{**entry, "shade": "blue"} for entry in profile["subscriptions"]]
    warehouse.box.service.update(
        "profiles",
        profile["id"],
        first_name="Later",
        shoe_size="44",
        subscriptions=subscriptions,
    )
    run_under(warehouse, how, DISCARD, monkeypatch)
    assert {table: warehouse.columns(table) for table in warehouse.tables()} == columns
    sql = f"SELECT first_name FROM profiles WHERE id = {profile['id']}"
    assert warehouse.query(sql) == [("Later",)]
    sql = f"SELECT count(*) FROM profiles__subscriptions WHERE profile_id = {profile['id']}"
    assert warehouse.query(sql) == [(len(subscriptions),)]


def test_a_contract_that_dlt_does_not_know_is_refused(account: Open) -> None:
    warehouse = account()
    with pytest.raises(Exception, match="frozen"):
        warehouse.load("campaigns", schema_contract="frozen")
    assert warehouse.box.requests == []


# The service grows.


def test_new_elements_and_attributes_at_any_depth_become_text_columns(filled: Open) -> None:
    warehouse = filled()
    service = warehouse.box.service
    profile = first_with(warehouse, "subscriptions")
    campaign = service.rows("campaigns")[0]
    message = service.rows("incoming_messages")[-1]
    service.update(
        "profiles",
        profile["id"],
        **{"@vip": "yes"},
        shoe_size=44,
        address__floor="3 & a half",
        last_saved_location__accuracy={"unit": "m", "@by": "gps"},
        subscriptions=[{**entry, "shade": "blue"} for entry in profile["subscriptions"]],
    )
    paths = [
        {**path, "@colour": "red", "limits": {"daily": 5}} for path in campaign["opt_in_paths"]
    ]
    service.update("campaigns", campaign["id"], opt_in_paths=paths, reach="wide")
    service.update("incoming_messages", message["id"], campaign__short_code="55555")
    summary = warehouse.load()
    assert (summary.failed, summary.rejected) == ({}, 0)
    for table, key, row_id, column, value in [
        ("profiles", "id", profile["id"], "vip", "yes"),
        ("profiles", "id", profile["id"], "shoe_size", "44"),
        ("profiles", "id", profile["id"], "address__floor", "3 & a half"),
        ("profiles", "id", profile["id"], "last_saved_location__accuracy__unit", "m"),
        ("profiles", "id", profile["id"], "last_saved_location__accuracy__by", "gps"),
        ("profiles__subscriptions", "profile_id", profile["id"], "shade", "blue"),
        ("campaigns", "id", campaign["id"], "reach", "wide"),
        ("campaigns__opt_in_paths", "campaign_id", campaign["id"], "colour", "red"),
        ("campaigns__opt_in_paths", "campaign_id", campaign["id"], "limits__daily", "5"),
        ("incoming_messages", "id", message["id"], "campaign__short_code", "55555"),
    ]:
        assert warehouse.columns(table)[column] == "VARCHAR", (table, column)
        found = warehouse.query(f"SELECT DISTINCT {column} FROM {table} WHERE {key} = {row_id}")
        assert found == [(value,)], (table, column)
        others = f"SELECT DISTINCT {column} FROM {table} WHERE {key} <> {row_id}"
        assert warehouse.query(others) == [(None,)], (table, column)
        assert column in summary.new_columns[table], (table, column)


def test_a_new_list_becomes_a_table_whose_entries_go_when_they_go_at_the_service(
    account: Open,
) -> None:
    warehouse = account()
    warehouse.load("profiles")
    service = warehouse.box.service
    one, two, *_ = (row["id"] for row in service.rows("profiles"))

    def pets(**lists: list[Any]) -> list[tuple[Any, ...]]:
        """Each owner's pets as they are at the service, then as they are in the warehouse."""
        for owner, entries in lists.items():
            service.update("profiles", {"one": one, "two": two}[owner], pets=entries)
        assert warehouse.load("profiles").failed == {}
        names = {one: "one", two: "two"}
        rows = warehouse.query("SELECT profile_id, name, kind FROM profiles__pets ORDER BY ALL")
        return [(names[owner], *rest) for owner, *rest in rows]

    rex, tom = {"name": "Rex", "kind": "dog"}, {"name": "Tom", "kind": "cat"}
    assert pets(one=[rex, tom], two=[rex]) == [
        ("one", "Rex", "dog"),
        ("one", "Tom", "cat"),
        ("two", "Rex", "dog"),
    ]
    assert pets(one=[tom]) == [("one", "Tom", "cat"), ("two", "Rex", "dog")]
    assert pets(one=[]) == [("two", "Rex", "dog")]
    assert pets(two=[]) == []
    assert pets(one=[{"name": "Kim", "kind": None}]) == [("one", "Kim", None)]
    assert warehouse.columns("profiles__pets")["profile_id"] == "BIGINT"


def test_a_new_list_of_plain_text_becomes_a_table_as_well(account: Open) -> None:
    warehouse = account()
    warehouse.load("keywords")
    keyword = warehouse.box.service.rows("keywords")[0]["id"]
    warehouse.box.service.update("keywords", keyword, synonyms=["join", "jion"])
    warehouse.load("keywords")
    sql = "SELECT keyword_id, synonym FROM keywords__synonyms ORDER BY ALL"
    assert warehouse.query(sql) == [(keyword, "jion"), (keyword, "join")]
    warehouse.box.service.update("keywords", keyword, synonyms=[])
    warehouse.load("keywords")
    assert warehouse.query(sql) == []


def test_a_custom_column_that_appears_is_a_row(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    before = warehouse.columns("profiles"), warehouse.columns("profiles__custom_columns")
    service = warehouse.box.service
    profile = first_with(warehouse, "custom_columns")
    shade = {**profile["custom_columns"][0], "name": "Favourite Shade?", "value": "sky blue"}
    columns = [*profile["custom_columns"], shade]
    service.update("profiles", profile["id"], custom_columns=columns)
    warehouse.load("profiles")
    sql = f"SELECT name, value FROM profiles__custom_columns WHERE profile_id = {profile['id']}"
    assert ("Favourite Shade?", "sky blue") in warehouse.query(sql)
    assert len(warehouse.query(sql)) == len(columns)
    assert (warehouse.columns("profiles"), warehouse.columns("profiles__custom_columns")) == before
    assert_same_custom_columns(warehouse)


def assert_same_custom_columns(warehouse: Warehouse) -> None:
    wanted = sorted(
        (row["id"], column["name"])
        for row in warehouse.box.service.rows("profiles")
        for column in row["custom_columns"]
    )
    sql = "SELECT profile_id, name FROM profiles__custom_columns ORDER BY ALL"
    assert sorted(warehouse.query(sql)) == wanted


# Failures.


def test_a_run_of_a_resource_that_fails_says_which_and_commits_nothing(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(fails("keywords"))
    with pytest.raises(PipelineStepFailed, match="keywords") as caught:
        warehouse.pipeline().run(warehouse.source().with_resources("profiles", "keywords"))
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, ServiceError):
        cause = cause.__cause__
    assert "HTTP 500" in str(cause)
    warehouse.box.faults.clear()
    warehouse.pipeline().run(warehouse.source())
    assert_same(warehouse)


def test_two_resources_that_fail_one_after_another_leave_the_others_whole(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(fails("messages", "tinyurls"))
    summary = warehouse.load()
    # Clicks are asked for by tiny URL.
    assert set(summary.failed) == {"incoming_messages", "tinyurls", "clicks"}
    assert all("HTTP 500" in reason for reason in summary.failed.values())
    for table, kind in [("profiles", "profiles"), ("outgoing_messages", "outgoing_messages")]:
        assert ids(warehouse, table) == truth(warehouse, kind)
    for table in warehouse.tables() & set(summary.failed):
        assert warehouse.content(table) == [], table
    warehouse.box.faults.clear()
    assert warehouse.load().failed == {}
    assert_same(warehouse)


# mGage


@pytest.mark.parametrize(
    "select",
    [
        lambda source: source,
        lambda source: source.with_resources("messages"),
        lambda source: source.messages,
    ],
    ids=["source", "with_resources", "resource"],
)
def test_messages_load_with_dlt_alone(export: Open, select: Callable[[Any], Any]) -> None:
    warehouse = export()
    pipeline = dlt.pipeline(
        "texting",
        pipelines_dir=str(warehouse.state),
        destination=dlt.destinations.duckdb(str(warehouse.file)),
        dataset_name=warehouse.name,
    )
    source = mgage_source(programs=list(PROGRAMS), base_url=warehouse.box.url, page_size=40)
    info = pipeline.run(select(source))
    assert len(info.loads_ids) == 1
    assert_same_messages(warehouse)
    before = warehouse.everything()
    pipeline.run(select(mgage_source(programs=list(PROGRAMS), base_url=warehouse.box.url)))
    assert warehouse.everything() == before


def test_the_table_of_messages_can_have_another_name_and_keep_every_version(export: Open) -> None:
    warehouse = export()
    service = warehouse.box.service
    service.put(PROGRAM, {"body": "one more", "deliveryStatus": "Queued"})
    for status in ("Queued", "Delivered"):
        service.update(PROGRAM, lambda row: row["body"] == "one more", deliveryStatus=status)
        source = warehouse.source()
        source.messages.apply_hints(table_name="texts", write_disposition="append")
        warehouse.pipeline().run(source)
    assert warehouse.tables() == {"texts", "rejected_records"}
    versions = "SELECT delivery_status FROM texts WHERE body = 'one more' ORDER BY 1"
    assert warehouse.query(versions) == [("Delivered",), ("Queued",)]


def test_an_unknown_program_is_in_the_metrics_and_the_others_load(export: Open) -> None:
    warehouse = export()
    source = warehouse.source()
    warehouse.pipeline().run(source)
    assert report_of(source.messages).missing == []
    warehouse.box.service.delete_program(121812)
    source = warehouse.source()
    warehouse.pipeline().run(source, refresh="drop_sources")
    (missing,) = report_of(source.messages).missing
    assert missing.startswith("messages, program_id 121812: ")
    assert "HTTP 404" in missing
    assert_same_messages(warehouse)


def test_a_program_that_cannot_be_read_fails_the_run_and_nothing_is_committed(
    export: Open,
) -> None:
    warehouse = export()
    warehouse.pipeline().run(warehouse.source())
    before = warehouse.everything()
    warehouse.box.service.put(PROGRAM, {"body": "one more"})
    warehouse.box.faults.append(fails("messages/program/121812"))
    with pytest.raises(PipelineStepFailed, match=r"program_id 121812.*down \(HTTP 500\)"):
        warehouse.pipeline().run(warehouse.source())
    assert warehouse.everything() == before
    warehouse.box.faults.clear()
    warehouse.pipeline().run(warehouse.source())
    assert_same_messages(warehouse)


# Imports.

LOOK = """
import logging, signal, sys, threading
import dlt
def look():
    signals = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
    return sys.path[:], signals, logging.root.handlers[:], logging.root.level, threading.enumerate()
before = look()
import {module}
assert look() == before
"""


@pytest.mark.parametrize("module", ["textlift.mcommons", "textlift.mgage"])
def test_an_import_does_nothing_but_import(tmp_path: Path, module: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", LOOK.format(module=module)],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "sources"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
