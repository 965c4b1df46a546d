"""What the destination holds counts: restored, emptied, dropped, and whose rows it has."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb as duckdb_client
import pytest

from tests.conftest import Open, Warehouse, slow_but
from tests.support.accounts import PROFILES, assert_same
from tests.support.commands import LOADED, UNUSABLE, asked, names_in, run, two_lines
from tests.support.messages import PROGRAM
from textlift.destinations import destination
from textlift.errors import ConfigurationError
from textlift.load.loading import load
from textlift.sandbox import Response

A, B = "COMPANYA", "COMPANYB"


def change(warehouse: Warehouse, *statements: str) -> None:
    """Do to the file what somebody else does."""
    with duckdb_client.connect(str(warehouse.file)) as connection:
        for statement in ("USE warehouse.mcommons", *statements):
            connection.execute(statement)


# Restored.


def test_a_destination_restored_from_a_backup_goes_on_from_its_own_cursors(account: Open) -> None:
    warehouse = account(now="2025-03-01T00:00:00Z")
    service, only = warehouse.box.service, ("profiles", "incoming_messages")
    warehouse.load(*only)
    backup = shutil.copy(warehouse.file, warehouse.folder / "backup.duckdb")
    first, *_, last = service.rows("profiles")
    service.update("profiles", first["id"], first_name="First")
    service.advance(10 * 24 * 3600)
    # Its time takes the cursor far beyond the change before.
    service.update("profiles", last["id"], first_name="Last")
    warehouse.load(*only)
    shutil.copy(backup, warehouse.file)
    warehouse.load(*only)
    assert_same(warehouse, *PROFILES, "incoming_messages")


def test_a_restored_destination_of_mgage_goes_on_from_its_own_cursors(export: Open) -> None:
    warehouse = export(empty=True)
    service = warehouse.box.service
    service.add_program(PROGRAM)

    def put(days_ago: int) -> None:
        service.put(PROGRAM, {"body": "text", "date": service.now() - timedelta(days=days_ago)})
        warehouse.load(programs=[PROGRAM])

    put(100)
    backup = shutil.copy(warehouse.file, warehouse.folder / "backup.duckdb")
    put(50)
    put(1)
    shutil.copy(backup, warehouse.file)
    warehouse.load(programs=[PROGRAM])
    assert warehouse.query("SELECT count(*) FROM messages") == [(3,)]


def test_a_file_that_was_deleted_is_filled_from_the_start(filled: Open) -> None:
    warehouse = filled()
    warehouse.file.unlink()
    warehouse.load()
    assert_same(warehouse)


# Emptied and dropped.


@pytest.mark.parametrize(
    "statements",
    slow_but(
        slice(2),
        [
            ["DROP TABLE profiles", "DROP TABLE profiles__subscriptions", "DROP TABLE campaigns"],
            ["DROP TABLE campaign_subscribers", "DELETE FROM mdata_queries", "DELETE FROM clicks"],
            ["DROP TABLE _dlt_pipeline_state"],
            ["USE memory", "DROP SCHEMA warehouse.mcommons CASCADE"],
            ["DELETE FROM profiles"],
            ["DROP TABLE profiles"],
            ["DROP TABLE profiles__subscriptions"],
            ["DROP TABLE rejected_records", "DROP TABLE campaigns__tags", "DROP TABLE campaigns"],
            ["DROP TABLE _dlt_version"],
            [
                "USE memory",
                "DROP SCHEMA warehouse.mcommons_staging CASCADE",
                "USE warehouse.mcommons",
            ],
        ],
    ),
    ids=lambda statements: "; ".join(statements),
)
def test_what_was_removed_is_loaded_again(filled: Open, statements: list[str]) -> None:
    warehouse = filled()
    with duckdb_client.connect(str(warehouse.file)) as connection:
        connection.execute("ATTACH ':memory:' AS memory; USE warehouse.mcommons")
        for statement in statements:
            connection.execute(statement)
    for _ in range(2):
        assert warehouse.load().failed == {}
        assert_same(warehouse)


def test_all_tables_emptied_are_filled_again(filled: Open) -> None:
    warehouse = filled()
    change(warehouse, *(f"DELETE FROM {table}" for table in warehouse.tables()))
    warehouse.load()
    assert_same(warehouse)


def test_what_is_still_there_is_not_read_again(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles", "incoming_messages")
    change(warehouse, "DELETE FROM profiles")
    warehouse.box.requests.clear()
    warehouse.load("profiles", "incoming_messages")
    starts = {
        endpoint: {request.params[name] for request in asked(warehouse.box, endpoint)}
        for endpoint, name in (("profiles", "from"), ("messages", "start_time"))
    }
    assert min(starts["profiles"]) == "2024-01-01T00:00:00Z"
    assert min(starts["messages"]) > "2025"
    warehouse.box.requests.clear()
    warehouse.load("profiles")
    assert min(request.params["from"] for request in warehouse.box.requests) > "2025"


def test_a_run_that_is_cut_off_after_a_list_was_dropped_loses_nothing(filled: Open) -> None:
    warehouse = filled()
    change(warehouse, "DROP TABLE profiles__subscriptions")
    warehouse.box.faults.append(lambda request: Response(401, b"no"))
    with pytest.raises(ConfigurationError):
        warehouse.load("profiles")
    warehouse.box.faults.clear()
    warehouse.load("profiles")
    assert_same(warehouse, *PROFILES)


def test_relative_paths_stay_those_of_the_first_run(account: Open, tmp_path: Path) -> None:
    warehouse = account()
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        with pytest.MonkeyPatch.context() as there:
            there.setenv("DLT_LOCAL_DIR", str(folder))
            pipeline = dlt.pipeline(
                "own",
                pipelines_dir=str(warehouse.state),
                destination=destination("duckdb"),
                dataset_name="raw",
            )
            load(pipeline, warehouse.source(package_rows=1000), ["keywords"])
    assert names_in(first) == ["own.duckdb"]
    assert names_in(second) == []


# Accounts.


def other(account: Open, warehouse: Warehouse, company: str, **options: Any) -> Warehouse:
    """The same warehouse, filled from another account."""
    found = account(company=company, **options)
    found.file, found.state = warehouse.file, warehouse.state
    return found


def test_another_account_is_refused_before_any_request(account: Open) -> None:
    first = account(company=A)
    first.load("profiles", company=A)
    before = first.everything()
    second = other(account, first, B, profiles=50)
    ended = run(second, SOURCES__MCOMMONS__COMPANY=B)
    assert ended.code == UNUSABLE
    said, advice = two_lines(ended.err)
    assert "mcommons holds rows of another account at 127.0.0.1" in said
    assert "--dataset" in advice
    assert (A in ended.err, B in ended.err) == (False, False)
    assert second.box.requests == []
    assert first.everything() == before
    assert run(second, "--dataset", "second", SOURCES__MCOMMONS__COMPANY=B).code == LOADED
    first.load("profiles", company=A)
    assert first.everything() == before


@pytest.mark.parametrize("company", [None, A], ids=["the own firm", "a company"])
def test_a_machine_or_a_pipeline_that_never_ran_refuses_another_account_too(
    account: Open, company: str | None
) -> None:
    first = account(company=A)
    first.load("keywords", company=company)
    first.state = first.folder / "another machine"
    first.name = "another pipeline"
    pipeline = dlt.pipeline(
        "another",
        pipelines_dir=str(first.state),
        destination=first.destination,
        dataset_name="mcommons",
    )
    with pytest.raises(ConfigurationError, match="another account"):
        load(pipeline, first.source(company=B, package_rows=1000))
    load(pipeline, first.source(company=company, package_rows=1000), ["keywords"])


def test_with_plain_dlt_an_account_does_not_start_from_the_cursors_of_another(
    account: Open,
) -> None:
    first = account(company=A)
    first.pipeline().run(first.source(company=A).with_resources("profiles"))
    second = other(account, first, B)
    second.pipeline().run(second.source(company=B).with_resources("profiles"))
    starts = {request.params["from"] for request in second.box.requests}
    assert starts == {"2024-01-01T00:00:00Z"}
    # Nor does the first lose its own.
    first.box.requests.clear()
    first.pipeline().run(first.source(company=A).with_resources("profiles"))
    assert min(request.params["from"] for request in first.box.requests) > "2025"


def test_a_dataset_of_a_version_that_noted_no_account_is_adopted_with_its_cursors(
    account: Open,
) -> None:
    warehouse = account()
    warehouse.load("profiles", "campaign_subscribers")
    _forget_account(warehouse)
    warehouse.box.requests.clear()
    warehouse.load("profiles", "campaign_subscribers", company=None)
    starts = {request.params["from"] for request in asked(warehouse.box, "profiles")}
    assert min(starts) > "2025"
    with pytest.raises(ConfigurationError, match="another account"):
        warehouse.load("profiles", company=A)


def _forget_account(warehouse: Warehouse) -> None:
    """Have the state and the schema as a version wrote them that knew of no accounts."""
    pipeline = warehouse.pipeline()
    with pipeline.managed_state(extract_state=True) as state:
        for resource in state["sources"]["mcommons"]["resources"].values():
            for kept in resource.pop("accounts", {}).values():
                resource.update(kept)
    pipeline.normalize()
    pipeline.load()
    ((text,),) = warehouse.query(
        "SELECT schema FROM _dlt_version WHERE schema_name = 'mcommons' "
        "ORDER BY inserted_at DESC LIMIT 1"
    )
    schema = json.loads(text)
    for table in schema["tables"].values():
        table.pop("x-account", None)
    with duckdb_client.connect(str(warehouse.file)) as connection:
        connection.execute(
            "UPDATE mcommons._dlt_version SET schema = ?, version_hash = 'before'",
            [json.dumps(schema)],
        )


def test_no_key_of_a_company_is_kept_in_the_warehouse(account: Open) -> None:
    warehouse = account(company=A)
    warehouse.load("profiles", company=A)
    for path in [warehouse.file, *warehouse.state.rglob("*")]:
        assert not path.is_file() or A.encode() not in path.read_bytes(), path
