"""Tasks of a scheduler: what each loads, and what it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.common.versioned_state import decompress_state

from tests.conftest import PROJECT, Open, Warehouse, leaks, readable_by_others
from textlift.errors import ConfigurationError, CredentialsError, DestinationFailed
from textlift.sandbox.clock import Clock
from textlift.scheduled import open_warehouse, run_task

FIRST_MONTH = {"since": "2025-01-01", "until": "2025-01-31"}


@pytest.fixture
def warehouse(account: Open, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An account, where the configuration says it is."""
    opened = account()
    monkeypatch.setenv("SOURCES__MCOMMONS__BASE_URL", opened.box.url)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(opened.file))
    return opened


def cursors(warehouse: Warehouse) -> dict[str, Any]:
    """Pipeline → its resource's newest cursors."""
    rows = warehouse.query("SELECT pipeline_name, state FROM _dlt_pipeline_state ORDER BY version")
    return {
        name: {
            resource: state.get("accounts", {}).get("127.0.0.1", {}).get("cursors")
            for resource, state in decompress_state(text)["sources"]["mcommons"][
                "resources"
            ].items()
        }
        for name, text in rows
    }


def test_a_task_goes_on_from_its_cursors_wherever_it_runs(warehouse: Warehouse) -> None:
    run_task("mcommons", "profiles")
    before = warehouse.content("profiles")
    assert len(before) == len(warehouse.box.service.rows("profiles"))
    assert list(cursors(warehouse)) == ["mcommons_profiles"]
    warehouse.box.requests.clear()
    run_task("mcommons", "profiles")
    asked = {request.params["from"] for request in warehouse.box.requests}
    assert min(asked) > "2025"
    assert warehouse.content("profiles") == before


def test_an_interval_knows_the_rejects_that_are_there(
    warehouse: Warehouse, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    first = warehouse.box.service.rows("incoming_messages")[0]
    interval = {"since": "2024-01-01", "until": "2025-12-31"}
    warehouse.box.service.update("incoming_messages", first["id"], multipart="perhaps")
    rejected = []
    for _ in range(2):
        run_task("mcommons", "incoming_messages", **interval)
        rejected.append(warehouse.query("SELECT row_key, rejected_at FROM rejected_records"))
        clock.advance(60)
        # Another interval has another pipeline, which never ran.
        interval["since"] = "2024-01-02"
    assert [key for key, _ in rejected[0]] == [str(first["id"])]
    assert rejected[0] == rejected[1]
    warehouse.box.service.update("incoming_messages", first["id"], multipart=True)
    run_task("mcommons", "incoming_messages", since="2024-01-01", until="2025-12-30")
    assert warehouse.query("SELECT count(*) FROM rejected_records WHERE resolved_at IS NULL") == [
        (0,)
    ]
    assert "cannot be read" not in log.text


def test_an_interval_is_loaded_exactly_and_leaves_the_cursors_alone(warehouse: Warehouse) -> None:
    run_task("mcommons", "incoming_messages", **FIRST_MONTH)
    service = warehouse.box.service
    wanted = [
        (row["id"],)
        for row in service.rows("incoming_messages")
        if (row["received_at"].year, row["received_at"].month) == (2025, 1)
    ]
    assert warehouse.query("SELECT id FROM incoming_messages ORDER BY id") == wanted != []
    run_task("mcommons", "incoming_messages")
    before = cursors(warehouse)["mcommons_incoming_messages"]
    assert before["incoming_messages"]
    warehouse.box.requests.clear()
    run_task("mcommons", "incoming_messages", **FIRST_MONTH)
    ends = {(r.params["start_time"], r.params["end_time"]) for r in warehouse.box.requests}
    assert (min(ends)[0], max(ends)[1]) == ("2025-01-01T00:00:00Z", "2025-01-31T23:59:59Z")
    assert cursors(warehouse)["mcommons_incoming_messages"] == before


def test_a_list_that_an_interval_has_found_is_known_to_the_schedule(warehouse: Warehouse) -> None:
    run_task("mcommons", "profiles")
    service = warehouse.box.service
    owner = service.rows("profiles")[0]["id"]
    service.update("profiles", owner, pets=[{"name": "Rex", "kind": "dog"}])
    run_task("mcommons", "profiles", since="2025-05-01", until="2025-06-02")
    assert warehouse.query("SELECT profile_id, name FROM profiles__pets") == [(owner, "Rex")]
    # Another task, which knew nothing of it, has written the newest schema.
    with duckdb.connect(str(warehouse.file)) as connection:
        rows = connection.execute("SELECT schema FROM mcommons._dlt_version").fetchall()
        newest = json.loads(rows[0][0])
        assert "profiles__pets" not in newest["tables"]
        connection.execute(
            "INSERT INTO mcommons._dlt_version SELECT * REPLACE (now() AS inserted_at) "
            "FROM mcommons._dlt_version ORDER BY inserted_at LIMIT 1"
        )
    service.update("profiles", owner, pets=[])
    run_task("mcommons", "profiles")
    assert warehouse.query("SELECT * FROM profiles__pets") == []


def test_only_what_is_asked_for_of_a_task_is_loaded(warehouse: Warehouse) -> None:
    run_task("mcommons", "snapshots", resources=["keywords"])
    assert warehouse.tables() == {"keywords", "rejected_records"}


def test_tasks_share_a_file_and_leave_nothing_behind(warehouse: Warehouse) -> None:
    run_task("mcommons", "snapshots")
    run_task("mcommons", "broadcasts")
    with duckdb.connect(str(warehouse.file), read_only=True) as connection:
        found = connection.execute("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal")
        assert {name for (name,) in found.fetchall()} <= {"main", "mcommons"}
    with open_warehouse("mcommons") as client:
        rows = client.execute_sql("SELECT count(*) FROM broadcasts")
    assert rows == [(len(warehouse.box.service.rows("broadcasts")),)]


def test_without_a_configured_file_all_tasks_share_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DESTINATION__DUCKDB__CREDENTIALS")
    monkeypatch.setenv("DLT_LOCAL_DIR", str(warehouse.folder))
    for task in ("clicks", "calls"):
        run_task("mcommons", task)
    warehouse.file = warehouse.folder / "textlift.duckdb"
    assert {"clicks", "calls"} <= warehouse.tables()
    with open_warehouse("mcommons") as client:
        assert client.execute_sql("SELECT count(*) FROM clicks")


def test_a_task_makes_files_for_their_owner_alone(warehouse: Warehouse) -> None:
    before = os.umask(0o022)
    try:
        run_task("mcommons", "clicks")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert readable_by_others(warehouse.folder) == []


def test_what_can_only_be_a_mistake_is_told(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="without a range"):
        run_task("mcommons", "snapshots", since="2025-01-01")
    with pytest.raises(ConfigurationError, match="in the future"):
        run_task("mcommons", "clicks", since="2999-01-01")
    monkeypatch.setenv("SOURCES__MCOMMONS__PAGESIZE", "10")
    with pytest.raises(ConfigurationError, match="Do you mean page_size"):
        run_task("mcommons", "clicks")
    assert warehouse.box.requests == []


def test_a_task_that_has_nothing_to_read_says_why(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    run_task("mcommons", "incoming_messages")
    run_task("mcommons", "incoming_messages", until="2024-02-01")
    assert (
        "incoming_messages: nothing to read up to 2024-02-01T23:59:59Z" in capsys.readouterr().out
    )


def test_settings_of_another_project_do_not_take_the_place_of_ours(warehouse: Warehouse) -> None:
    elsewhere = warehouse.folder / "elsewhere"
    (elsewhere / ".dlt").mkdir(parents=True)
    (elsewhere / ".dlt" / "config.toml").write_text("[sources.other]\nkey = 1\n")
    program = (
        f"import sys; sys.path.insert(0, {str(PROJECT / 'sources')!r})\n"
        "from textlift.scheduled import run_task; run_task('mcommons', 'clicks')"
    )
    subprocess.run([sys.executable, "-c", program], cwd=elsewhere, check=True)
    assert "_dlt_load_id" in warehouse.columns("clicks")


@pytest.mark.parametrize("settings", [False, True], ids=["no settings there", "other settings"])
def test_our_settings_are_read_once(tmp_path: Path, settings: bool) -> None:
    if settings:
        (tmp_path / ".dlt").mkdir()
        (tmp_path / ".dlt" / "config.toml").write_text("[sources.other]\nkey = 1\n")
    program = (
        f"import sys; sys.path.insert(0, {str(PROJECT / 'sources')!r})\n"
        "import dlt; from textlift.scheduled import use_own_settings; use_own_settings()\n"
        "print(*(place for one in dlt.config.config_providers for place in one.present_locations))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    # Each time it looks for a setting, dlt asks every provider.
    assert done.stdout.split().count(str(PROJECT / ".dlt" / "config.toml")) == 1


def test_our_settings_are_read_once_where_they_are_mounted_as_a_link(tmp_path: Path) -> None:
    (tmp_path / ".dlt").symlink_to(PROJECT / ".dlt")
    program = (
        f"import sys; sys.path.insert(0, {str(PROJECT / 'sources')!r})\n"
        "import dlt, pathlib; from textlift.cli import command; command.PROJECT = pathlib.Path.cwd()\n"
        "command.use_own_settings(); command.use_own_settings()\n"
        "print(*(place for one in dlt.config.config_providers for place in one.present_locations))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.count("config.toml") == 1


def test_refused_credentials_and_wrong_settings_are_told_apart_from_failures(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as wrong:
        wrong.setenv("SOURCES__MCOMMONS__CREDENTIALS__PASSWORD", "wrong")
        with pytest.raises(CredentialsError):
            run_task("mcommons", "clicks")
    with pytest.raises(ConfigurationError, match="nowhere"):
        run_task("mcommons", "clicks", destination_name="nowhere")
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "/nowhere/at/all.duckdb")
    with pytest.raises(DestinationFailed, match="nowhere/at/all") as failure:
        run_task("mcommons", "clicks")
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


def test_a_warehouse_that_refuses_a_row_is_quoted_without_it(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    run_task("mcommons", "profiles")
    with duckdb.connect(str(warehouse.file)) as connection:
        connection.execute(
            "ALTER TABLE mcommons.profiles ALTER phone_number TYPE BOOLEAN USING NULL"
        )
    service = warehouse.box.service
    service.update("profiles", service.rows("profiles")[0]["id"], first_name="Zoë")
    with pytest.raises(DestinationFailed) as failure:
        run_task("mcommons", "profiles")
    assert leaks(str(failure.value)) == leaks(capsys.readouterr().out) == []
