"""``load_runs``: what each run did with each resource, also when it failed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import duckdb as duckdb_client
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from tests.conftest import TODAY, Open, Warehouse, leaks
from textlift import __version__
from textlift.dictionary import LOAD_ID
from textlift.dictionary import LOAD_RUNS as TABLE
from textlift.errors import ConfigurationError, CredentialsError
from textlift.load.runs import FAILED, LOADED, SKIPPED
from textlift.sandbox import Request, Response
from textlift.sandbox.clock import Clock

COLUMNS = [name for name in TABLE.columns if name != LOAD_ID]


def runs(warehouse: Warehouse) -> list[dict[str, Any]]:
    """The rows of ``load_runs`` in order."""
    names = ", ".join(COLUMNS)
    rows = warehouse.query(f"SELECT {names} FROM load_runs ORDER BY _dlt_load_id, resource")
    return [dict(zip(COLUMNS, row)) for row in rows]


def outcomes(warehouse: Warehouse) -> dict[str, str]:
    return {run["resource"]: run["outcome"] for run in runs(warehouse)}


def refuses(endpoint: str, status: int) -> Callable[[Request], Response | None]:
    return lambda request: Response(status, b"no") if request.endpoint == endpoint else None


def test_a_run_writes_a_row_for_each_resource(account: Open) -> None:
    warehouse = account()
    summary = warehouse.load("profiles", "campaigns", "donation_summaries")
    found = {run["resource"]: run for run in runs(warehouse)}
    assert set(found) == {"profiles", "campaigns", "donation_summaries"}
    profiles = found["profiles"]
    assert len({run["run_id"] for run in found.values()}) == 1
    assert profiles["started_at"] == profiles["ended_at"] == TODAY
    assert profiles["version"] == __version__
    assert profiles["rows"] == len(warehouse.box.service.rows("profiles"))
    assert profiles["window_start"] == datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert (profiles["outcome"], profiles["message"]) == (LOADED, None)
    assert (found["campaigns"]["window_start"], found["campaigns"]["window_end"]) == (None, None)
    assert found["donation_summaries"]["outcome"] == SKIPPED
    assert found["donation_summaries"]["message"] == "fundraising_ids is not set"
    assert sum(run["requests"] for run in found.values()) == len(warehouse.box.requests)
    assert summary.requests == len(warehouse.box.requests)
    assert [run["retries"] for run in found.values()] == [0, 0, 0]
    # In the package of the rows: either both are there or neither.
    package = warehouse.query("SELECT DISTINCT _dlt_load_id FROM profiles")
    assert warehouse.query("SELECT DISTINCT _dlt_load_id FROM load_runs") == package
    assert warehouse.query("SELECT load_id FROM _dlt_loads") == package


def test_its_columns_have_the_types_and_the_meanings_of_the_contract(account: Open) -> None:
    warehouse = account()
    warehouse.load("campaigns")
    kinds = warehouse.columns("load_runs")
    assert {name: kinds[name] for name in COLUMNS} == {
        **dict.fromkeys(("run_id", "resource", "version", "outcome", "message"), "VARCHAR"),
        **dict.fromkeys(("rows", "requests", "retries", "rejected"), "BIGINT"),
        **dict.fromkeys(
            ("started_at", "ended_at", "window_start", "window_end"), "TIMESTAMP WITH TIME ZONE"
        ),
    }
    assert "_dlt_load_id" in kinds
    table = warehouse.pipeline().default_schema.tables["load_runs"]
    assert table["description"]
    assert all(table["columns"][name]["description"] for name in COLUMNS)


def test_each_run_adds_its_rows_and_changes_no_others(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles", "campaigns")
    first = runs(warehouse)
    before = warehouse.everything()
    warehouse.load("profiles")
    assert runs(warehouse)[:2] == first
    assert [run["resource"] for run in runs(warehouse)] == ["campaigns", "profiles", "profiles"]
    assert len({run["run_id"] for run in runs(warehouse)}) == 2
    assert warehouse.everything() == before


def test_a_run_in_many_packages_has_its_rows_once(account: Open) -> None:
    warehouse = account()
    summary = warehouse.load("profiles", "campaigns", package_rows=10, page_size=1)
    assert summary.packages > 1
    found = {run["resource"]: run for run in runs(warehouse)}
    assert len(runs(warehouse)) == 2
    assert found["profiles"]["rows"] == summary.rows["profiles"]
    assert sum(run["requests"] for run in found.values()) == len(warehouse.box.requests)


def test_requests_that_repeat_a_failed_one_are_retries(account: Open) -> None:
    warehouse = account()
    left = [Response(503, b"busy")] * 2
    warehouse.box.faults.append(lambda request: left.pop() if left else None)
    warehouse.load("campaigns")
    (run,) = runs(warehouse)
    assert (run["requests"], run["retries"]) == (3, 2)


def test_a_resource_that_fails_says_why_and_the_others_are_loaded(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(refuses("sent_messages", 500))
    summary = warehouse.load("profiles", "outgoing_messages")
    assert outcomes(warehouse) == {"profiles": LOADED, "outgoing_messages": FAILED}
    failed, _ = runs(warehouse)
    assert failed["message"] == summary.failed["outgoing_messages"]
    assert (failed["rows"], failed["window_start"], failed["window_end"]) == (0, None, None)
    assert failed["requests"] > failed["retries"] > 0


def test_what_is_configured_and_not_there_is_a_failure(export: Open) -> None:
    warehouse = export(messages=20)
    warehouse.load(programs=[121811, 999])
    (run,) = runs(warehouse)
    assert run["outcome"] == FAILED
    assert "program_id 999" in run["message"]
    assert run["rows"] > 0


def test_a_run_that_is_refused_from_the_start_says_so_for_each_resource(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(lambda request: Response(401, b"no"))
    with pytest.raises(CredentialsError) as refused:
        warehouse.load("profiles", "campaigns")
    assert outcomes(warehouse) == {"profiles": FAILED, "campaigns": FAILED}
    assert {run["message"] for run in runs(warehouse)} == {str(refused.value)}
    assert warehouse.tables() == set()


def test_a_run_that_is_refused_in_between_keeps_what_was_loaded(account: Open) -> None:
    warehouse = account()

    def refuse(request: Request) -> Response | None:
        is_late = request.params.get("from", "") >= "2024-12"
        return Response(401, b"no") if is_late else None

    warehouse.box.faults.append(refuse)
    with pytest.raises(CredentialsError):
        warehouse.load("profiles", "campaigns", package_rows=10, page_size=1, concurrency=1)
    found = {run["resource"]: run for run in runs(warehouse)}
    assert outcomes(warehouse) == {"profiles": FAILED, "campaigns": LOADED}
    ((stored,),) = warehouse.query("SELECT count(*) FROM profiles")
    assert found["profiles"]["rows"] >= stored > 0
    assert sum(run["requests"] for run in found.values()) == len(warehouse.box.requests)
    warehouse.box.faults.clear()
    warehouse.load("profiles")
    assert len(warehouse.content("profiles")) == len(warehouse.box.service.rows("profiles"))


def test_a_run_that_cannot_load_its_package_says_so_and_names_no_row(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    with duckdb_client.connect(str(warehouse.file)) as connection:
        connection.execute(
            "ALTER TABLE mcommons.profiles ALTER phone_number TYPE BOOLEAN USING NULL"
        )
    service = warehouse.box.service
    service.update("profiles", service.rows("profiles")[0]["id"], first_name="Zoë")
    with pytest.raises(PipelineStepFailed):
        warehouse.load("profiles")
    *_, failed = runs(warehouse)
    assert (failed["outcome"], failed["rows"]) == (FAILED, 0)
    assert failed["message"]
    assert leaks(failed["message"]) == []
    assert "Zoë" not in failed["message"]


def test_a_phone_number_in_an_answer_is_not_in_a_message(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(
        lambda request: Response(400, b"<h1>Error</h1><p>12125550123 is unknown</p>", "text/html")
    )
    warehouse.load("profiles")
    (run,) = runs(warehouse)
    assert leaks(run["message"]) == []


def test_nothing_to_read_is_skipped(account: Open, clock: Clock) -> None:
    warehouse = account()
    warehouse.load("incoming_messages")
    warehouse.load("incoming_messages", until="2024-02-01")
    *_, skipped = runs(warehouse)
    assert skipped["outcome"] == SKIPPED
    assert "nothing to read" in skipped["message"]


def test_a_dataset_of_another_account_is_left_alone(account: Open) -> None:
    warehouse, other = account(company="A"), account(company="B")
    warehouse.load("campaigns", company="A")
    other.state = warehouse.folder / "another machine"
    with pytest.raises(ConfigurationError, match="another account"):
        other.load("campaigns", company="B")
    assert len(runs(warehouse)) == 1


def test_a_table_that_was_dropped_is_made_anew(account: Open) -> None:
    warehouse = account()
    warehouse.load("campaigns")
    with duckdb_client.connect(str(warehouse.file)) as connection:
        connection.execute("DROP TABLE mcommons.load_runs")
    warehouse.load("campaigns")
    assert len(runs(warehouse)) == 1


def test_a_bare_run_of_the_pipeline_writes_none(account: Open) -> None:
    warehouse = account()
    warehouse.pipeline().run(warehouse.source().with_resources("campaigns"))
    with pytest.raises(duckdb_client.CatalogException):
        runs(warehouse)
