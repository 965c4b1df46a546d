"""The command line, run as a scheduler or a person runs it: a process, its output, its exit code."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import PASSWORD, PROJECT, USERNAME, Open, Warehouse
from tests.support.accounts import PROFILES, TABLES, assert_same
from tests.support.commands import (
    FAILED,
    LOADED,
    PATIENCE,
    REJECTED,
    SCRIPT,
    SCRIPTS,
    UNUSABLE,
    asked,
    environment,
    names_in,
    rows_in,
    run,
    started,
    two_lines,
    wait_until,
)
from tests.support.forks import Fork
from textlift.sandbox import Request, Response

pytestmark = pytest.mark.real_clock
COMPANY = "COSANDBOX00000000000000000000000001"


def campaigns(warehouse: Warehouse) -> int:
    return len(warehouse.box.service.rows("campaigns"))


def fails(endpoint: str) -> Callable[[Request], Response | None]:
    return lambda request: Response(500, b"down") if request.endpoint == endpoint else None


# --help, --check


def test_help_names_every_option_and_every_exit_code(account: Open) -> None:
    ended = run(account(empty=True), "--help")
    assert (ended.code, ended.err) == (0, "")
    for option in (
        "sandbox",
        "check",
        "resources",
        "exclude",
        "since",
        "until",
        "destination",
        "dataset",
    ):
        assert f"--{option}" in ended.out
    assert "--full-refresh" in ended.out
    text = " ".join(ended.out.split())
    for code, meaning in [
        (0, "loaded"),
        (1, "failed"),
        (2, "usage, configuration or credentials"),
        (3, "loaded, with rows in rejected_records"),
    ]:
        assert f"{code} {meaning}" in text


def test_check_says_what_account_it_sees_and_loads_nothing(account: Open, tmp_path: Path) -> None:
    warehouse = account()
    folder = tmp_path / "here"
    folder.mkdir()
    settings = {"SOURCES__MCOMMONS__COMPANY": COMPANY, "DESTINATION__DUCKDB__CREDENTIALS": None}
    ended = run(warehouse, "--check", cwd=folder, **settings)
    assert (ended.code, ended.err) == (LOADED, "")
    campaigns = warehouse.box.service.rows("campaigns")
    assert ended.out.startswith(f"{len(campaigns)} campaigns, ")
    assert repr(campaigns[0]["name"]) in ended.out
    assert "credentials are accepted" in ended.out
    assert "duckdb: mcommons can be written to" in ended.out
    assert [request.endpoint for request in warehouse.box.requests] == ["campaigns"]
    assert not list(tmp_path.rglob("*.duckdb"))


def test_check_accepts_a_token_in_place_of_a_login(account: Open) -> None:
    ended = run(
        account(),
        "--check",
        SOURCES__MCOMMONS__CREDENTIALS__USERNAME=None,
        SOURCES__MCOMMONS__CREDENTIALS__PASSWORD=None,
        SOURCES__MCOMMONS__CREDENTIALS__TOKEN="sandbox-token",
    )
    assert (ended.code, ended.err) == (LOADED, "")


REFUSED = [
    ({"SOURCES__MCOMMONS__CREDENTIALS__PASSWORD": "wrong-secret"}, "credentials"),
    ({"SOURCES__MCOMMONS__COMPANY": "COWRONGSECRET"}, "company"),
]


@pytest.mark.parametrize(("changes", "named"), REFUSED, ids=["credentials", "company"])
def test_check_of_what_is_refused_ends_with_code_2_and_says_what_to_set(
    account: Open, changes: dict[str, str], named: str
) -> None:
    warehouse = account()
    ended = run(warehouse, "--check", **changes)
    first, second = two_lines(ended.err)
    assert f"refuses the {named}" in first
    assert f"sources.mcommons.{named}" in second
    assert "secret" not in (ended.out + ended.err).lower()
    assert (ended.code, ended.out) == (UNUSABLE, "")
    assert not warehouse.file.exists()


@pytest.mark.parametrize(("changes", "named"), REFUSED, ids=["credentials", "company"])
def test_a_load_that_is_refused_ends_with_code_2_and_loads_nothing(
    account: Open, changes: dict[str, str], named: str
) -> None:
    warehouse = account()
    ended = run(warehouse, **changes)
    first, second = two_lines(ended.err)
    assert f"refuses the {named}" in first
    assert f"sources.mcommons.{named}" in second
    assert "secret" not in (ended.out + ended.err).lower()
    assert (ended.code, ended.out) == (UNUSABLE, "")
    assert warehouse.tables() == set()
    assert warehouse.query("SELECT DISTINCT outcome FROM load_runs") == [("failed",)]


def test_check_of_a_service_that_is_down_ends_with_code_1_and_no_traceback(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(fails("campaigns"))
    ended = run(warehouse, "--check", RUNTIME__REQUEST_MAX_ATTEMPTS="1")
    assert "HTTP 500" in ended.err
    assert "Traceback" not in ended.err
    assert (ended.code, ended.out) == (FAILED, "")


# Usage and configuration.


@pytest.mark.parametrize("missing", ["username", "password"])
def test_a_missing_credential_is_named_in_two_lines(account: Open, missing: str) -> None:
    warehouse = account()
    ended = run(warehouse, **{f"SOURCES__MCOMMONS__CREDENTIALS__{missing.upper()}": None})
    first, second = two_lines(ended.err)
    assert first == f"Missing credential: sources.mcommons.credentials.{missing}"
    assert ".dlt/secrets.toml" in second
    assert "SOURCES__MCOMMONS__CREDENTIALS__USERNAME" in second
    assert (ended.code, ended.out) == (UNUSABLE, "")
    assert warehouse.box.requests == []
    assert not warehouse.file.exists()


@pytest.mark.parametrize(
    ("options", "changes", "named"),
    [
        (["--since", "yesterday"], {}, "--since"),
        (["--until", "2025-13-01"], {}, "--until"),
        (["--since", "2025-02-01", "--until", "2025-01-01"], {}, "since"),
        (["--resources", "profiles,nosuch"], {}, "nosuch"),
        (["--resources", ""], {}, "resource"),
        (["--destination", "nosuch"], {}, "nosuch"),
        (["--destination", "postgres"], {}, "credentials"),
        (["--since", "2999-01-01"], {}, "since 2999-01-01T00:00:00Z lies in the future"),
        (["--since", "2025-01-01", "--resources", "campaigns,tags"], {}, "campaigns, tags"),
        (["--until", "2025-01-01", "--resources", "campaigns"], {}, "without a range"),
        (["--resources", "tags,donation_summaries"], {}, "sources.mcommons.fundraising_ids"),
        (["--resources", "mdata_entries"], {}, "sources.mcommons.mdata_entries"),
        ([], {"COMPNAY": COMPANY}, "sources.mcommons.compnay\nDo you mean company?"),
        (["--check"], {"CREDENTIAL__TOKEN": "x"}, "Do you mean credentials?"),
        ([], {"START_DATE": "2999"}, "start_date 2999-01-01T00:00:00Z lies in the future"),
        ([], {"CONCURRENCY": "161"}, "concurrency"),
        ([], {"CONCURRENCY": "many"}, "concurrency"),
        ([], {"BASE_URL": "http://sms.example.org/api/"}, "base_url"),
        ([], {"START_DATE": "soon"}, "start_date"),
        ([], {"LOOKBACK_HOURS": '{"profiles": "some"}'}, "lookback_hours"),
        ([], {"FUNDRAISING_IDS": '["spring"]'}, "fundraising_ids"),
        ([], {"SCHEMA_CONTRACT": "frozen"}, "schema_contract"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_used_is_named_and_ends_with_code_2(
    account: Open, options: list[str], changes: dict[str, str], named: str
) -> None:
    warehouse = account()
    settings = {f"SOURCES__MCOMMONS__{name}": value for name, value in changes.items()}
    ended = run(warehouse, *options, **settings)
    assert named in ended.err
    assert "Traceback" not in ended.err
    assert ended.code == UNUSABLE
    assert ended.out == ""
    assert warehouse.box.requests == []
    assert not warehouse.file.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--sandbox", "--destination", "postgres"],
        ["--full-refresh", "--since", "2025-01-01"],
        ["--nosuch"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_together_are_a_usage_error(
    account: Open, options: list[str]
) -> None:
    ended = run(account(empty=True), *options)
    assert ended.err.startswith("usage: textlift load")
    assert (ended.code, ended.out) == (UNUSABLE, "")


# What a run reports.


def test_a_load_reports_plain_lines_to_a_log_and_everything_is_there(account: Open) -> None:
    warehouse = account()
    ended = run(warehouse)
    assert (ended.code, ended.err) == (LOADED, "")
    assert_same(warehouse)
    assert "\x1b" not in ended.out
    *lines, total = ended.out.splitlines()
    assert re.fullmatch(
        rf"[\d,]+ rows, {len(warehouse.box.requests)} requests, 1 package, [\d.]+ s; "
        rf"dataset mcommons in .*{re.escape(warehouse.file.name)}",
        total,
    )
    counts = {}
    for line in lines:
        table, count, window = re.fullmatch(r"(\w+): ([\d,]+) rows(, .* to .*)?", line).groups()  # type: ignore[union-attr]
        counts[table] = int(count.replace(",", ""))
        # The first read of campaign_subscribers is whole, and has no window.
        dated = table in ("profiles", "calls", "broadcasts", "clicks")
        assert bool(window) == (dated or table.endswith(("messages", "mdata_queries"))), line
    assert set(counts) == set(TABLES) - {"rejected_records"}
    for table, count in counts.items():
        assert warehouse.query(f"SELECT count(*) FROM {table}") == [(count,)], table


def test_a_terminal_gets_a_table(account: Open) -> None:
    warehouse = account()
    ours, theirs = pty.openpty()
    try:
        process = Fork(
            [str(SCRIPT), "--resources", "profiles,campaigns"],
            cwd=PROJECT,
            env=environment(warehouse, TERM="xterm", NO_COLOR="1"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                some = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not some:
                break
            shown += some
        assert process.wait(PATIENCE) == LOADED
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode())
    count = len(warehouse.box.service.rows("profiles"))
    assert re.search(r"[┃│|]\s*table\s*[┃│|]\s*rows loaded\s*[┃│|]\s*window\s*[┃│|]", text)
    assert re.search(rf"[│|]\s*profiles\s*[│|]\s*{count}\s*[│|]\s*2024-01-01T00:00:00Z to ", text)
    assert re.search(rf"[│|]\s*campaigns\s*[│|]\s*{campaigns(warehouse)}\s*[│|]\s*[│|]", text)
    assert "profiles:" not in text
    assert text.startswith("Starting")
    # No resource got a column.
    assert "new columns" not in text


def test_new_columns_are_reported(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    profile = warehouse.box.service.rows("profiles")[0]["id"]
    warehouse.box.service.update("profiles", profile, shoe_size="44", address__floor="3")
    ended = run(warehouse, "--resources", "profiles")
    (line,) = (line for line in ended.out.splitlines() if line.startswith("profiles:"))
    assert "new columns: " in line
    assert set(line.partition("new columns: ")[2].split(", ")) == {"shoe_size", "address__floor"}


def test_a_resource_that_fails_gives_code_1_and_the_others_load(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(fails("sent_messages"))
    only = ("profiles", "outgoing_messages")
    ended = run(warehouse, "--resources", ",".join(only))
    assert ended.code == FAILED
    assert "outgoing_messages failed and stays where it was" in ended.err
    assert "HTTP 500" in ended.err
    assert "Traceback" not in ended.err
    assert "outgoing_messages" not in warehouse.tables() or not warehouse.content(
        "outgoing_messages"
    )
    profiles = warehouse.box.service.rows("profiles")
    assert warehouse.query("SELECT count(*) FROM profiles") == [(len(profiles),)]
    warehouse.box.faults.clear()
    warehouse.load(*only)
    assert_same(warehouse, *PROFILES, "outgoing_messages")


def test_rejected_records_give_code_3_and_all_else_loads(account: Open) -> None:
    warehouse = account()
    service = warehouse.box.service
    broadcast = service.rows("broadcasts")[0]["id"]
    service.update("broadcasts", broadcast, replies_count="many")
    ended = run(warehouse, "--resources", "broadcasts,campaigns")
    assert (ended.code, ended.err) == (REJECTED, "")
    assert "1 values or records were rejected (broadcasts 1): see rejected_records" in ended.out
    assert warehouse.query("SELECT payload FROM rejected_records") == [("many",)]
    assert warehouse.query("SELECT count(*) FROM broadcasts") == [
        (len(service.rows("broadcasts")),)
    ]


def test_a_failure_outweighs_rejected_records(account: Open) -> None:
    warehouse = account()
    service = warehouse.box.service
    service.update("broadcasts", service.rows("broadcasts")[0]["id"], replies_count="many")
    warehouse.box.faults.append(fails("campaigns"))
    assert run(warehouse, "--resources", "broadcasts,campaigns").code == FAILED


def test_a_destination_that_cannot_be_reached_gives_code_1_and_no_traceback(account: Open) -> None:
    warehouse = account()
    file = str(warehouse.folder / "no such folder" / "x.duckdb")
    ended = run(warehouse, "--resources", "campaigns", DESTINATION__DUCKDB__CREDENTIALS=file)
    assert "No such file or directory" in ended.err
    assert "Traceback" not in ended.err
    assert (ended.code, ended.out) == (FAILED, "")


# What is loaded, and where to.


def test_resources_loads_these_and_asks_for_no_others(account: Open) -> None:
    warehouse = account()
    ended = run(warehouse, "--resources", " keywords , call_counts,keywords")
    assert (ended.code, ended.err) == (LOADED, "")
    assert warehouse.tables() == {"keywords", "call_counts", "rejected_records"}
    assert {request.endpoint for request in warehouse.box.requests} == {
        "keywords",
        "mconnects",
        "call_count",
    }


def test_since_and_until_load_that_range_and_the_next_run_loads_the_rest(account: Open) -> None:
    warehouse = account(empty=True)
    for day in range(1, 31):
        row = {"id": day, "received_at": f"2025-01-{day:02d}T12:00:00Z"}
        warehouse.box.service.put("incoming_messages", row)
    days = "SELECT id FROM incoming_messages ORDER BY id"
    only = ("--resources", "incoming_messages")
    run(warehouse, *only, "--since", "2025-01-10", "--until", "2025-01-12T14:00:00+02:00")
    assert [day for (day,) in warehouse.query(days)] == [10, 11, 12]
    run(warehouse, *only, "--until", "2025-01-20")
    # A date alone is a day: its last second where something ends, its first where it begins.
    assert [day for (day,) in warehouse.query(days)] == list(range(1, 21))
    run(warehouse, *only, "--since", "2025-01-25")
    assert [day for (day,) in warehouse.query(days)] == [*range(1, 21), *range(25, 31)]
    warehouse.load("incoming_messages")
    assert [day for (day,) in warehouse.query(days)] == list(range(1, 31))


def test_a_run_that_has_nothing_to_read_says_why(account: Open) -> None:
    warehouse = account()
    only = ("--resources", "incoming_messages")
    assert run(warehouse, *only).code == LOADED
    warehouse.box.requests.clear()
    ended = run(warehouse, *only, "--until", "2024-02-01")
    assert (ended.code, ended.err) == (LOADED, "")
    assert "incoming_messages: nothing to read up to 2024-02-01T23:59:59Z: all until " in ended.out
    ended = run(warehouse, "--resources", "calls", "--until", "2023-02-01")
    assert "begins at 2024-01-01T00:00:00Z, the start_date" in ended.out
    assert not asked(warehouse.box, "messages")


def test_lists_that_are_read_beside_a_range_are_named(account: Open) -> None:
    warehouse = account()
    days = ("--since", "2025-01-01", "--until", "2025-01-31")
    ended = run(warehouse, *days, "--resources", "tags,campaigns,incoming_messages")
    assert (ended.code, ended.err) == (LOADED, "")
    assert "read as they are now, without a range: tags, campaigns" in ended.out
    assert "incoming_messages: " in ended.out
    ended = run(warehouse, *days, "--resources", "incoming_messages")
    assert "without a range" not in ended.out


def test_exclude_loads_all_but_these_and_needs_no_setting_of_theirs(account: Open) -> None:
    warehouse = account()
    ended = run(warehouse, "--exclude", "profiles,group_members", "--exclude", "clicks")
    assert (ended.code, ended.err) == (LOADED, "")
    loaded = warehouse.tables()
    assert {"campaigns", "outgoing_messages", "call_counts"} <= loaded
    assert not {"profiles", "group_members", "clicks"} & loaded
    assert not asked(warehouse.box, "profiles")
    ended = run(warehouse, "--exclude", "nosuch")
    assert ended.code == UNUSABLE
    assert "Unknown resource: nosuch" in ended.err
    ended = run(warehouse, "--exclude", "tags", "--resources", "groups")
    assert ended.code == UNUSABLE
    assert "--exclude" in ended.err


def test_resources_can_be_named_one_by_one(account: Open) -> None:
    warehouse = account()
    assert run(warehouse, "--resources", "tags", "--resources", "keywords").code == LOADED
    assert warehouse.tables() == {"tags", "keywords", "rejected_records"}


def test_a_misspelt_setting_in_a_file_is_named(account: Open, tmp_path: Path) -> None:
    warehouse = account()
    folder = tmp_path / "deployment"
    (folder / ".dlt").mkdir(parents=True)
    config = folder / ".dlt" / "config.toml"
    config.write_text("[sources.mcommons]\nlookback_hour = {profiles = 2}\n")
    ended = run(warehouse, cwd=folder)
    what, advice = two_lines(ended.err)
    assert what == "Unknown setting: sources.mcommons.lookback_hour"
    assert advice.startswith("Do you mean lookback_hours? ")
    assert (ended.code, warehouse.box.requests) == (UNUSABLE, [])
    # dlt has settings there as well.
    config.write_text("[sources.mcommons.data_writer]\nbuffer_max_items = 100\n")
    assert run(warehouse, "--resources", "tags", cwd=folder).code == LOADED


def test_dataset_names_where_the_tables_go(account: Open) -> None:
    warehouse = account()
    ended = run(warehouse, "--resources", "campaigns", "--dataset", "texting")
    assert "dataset texting" in ended.out
    assert rows_in(warehouse.file, "SELECT count(*) FROM texting.campaigns") == [
        (campaigns(warehouse),)
    ]
    found = rows_in(warehouse.file, "SELECT schema_name FROM information_schema.schemata")
    assert ("mcommons",) not in found


def test_full_refresh_loads_everything_from_the_start_and_deletes_what_is_gone(
    account: Open,
) -> None:
    warehouse = account()
    service = warehouse.box.service
    first, *_ = service.rows("profiles")
    service.update("profiles", first["id"], shoe_size="44")
    warehouse.load("profiles", "outgoing_messages")
    # What is deleted at the service comes into no window.
    service.delete("outgoing_messages", service.rows("outgoing_messages")[0]["id"])
    service.delete("profiles", first["id"])
    warehouse.load("profiles", "outgoing_messages")
    assert warehouse.query(f"SELECT count(*) FROM profiles WHERE id = {first['id']}") == [(1,)]
    warehouse.box.requests.clear()
    names = ("profiles", "outgoing_messages", "groups", "campaign_subscribers")
    assert run(warehouse, "--full-refresh", "--resources", ",".join(names)).code == LOADED
    assert_same(warehouse, *PROFILES, *names[1:])
    # A column that is there stays.
    assert warehouse.query("SELECT count(shoe_size) FROM profiles") == [(0,)]
    found = [request.params.get("from") for request in asked(warehouse.box, "profiles")]
    windows = list(dict.fromkeys(found))
    # At the end the list of all, which has also those without a time.
    assert windows == ["2024-01-01T00:00:00Z", None]
    warehouse.load("profiles", "outgoing_messages")
    assert_same(warehouse, *PROFILES, "outgoing_messages")


def test_full_refresh_of_some_resources_leaves_the_others_alone(account: Open) -> None:
    warehouse = account()
    service = warehouse.box.service
    warehouse.load("incoming_messages", "profiles")
    profile = next(row["id"] for row in service.rows("profiles") if row["custom_columns"])
    message = service.rows("incoming_messages")[0]["id"]
    service.delete("profiles", profile)
    service.delete("incoming_messages", message)
    run(warehouse, "--resources", "profiles", "--full-refresh")
    gone = f"SELECT count(*) FROM profiles WHERE id = {profile}"
    assert warehouse.query(gone) == [(0,)]
    orphans = f"SELECT count(*) FROM profiles__custom_columns WHERE profile_id = {profile}"
    assert warehouse.query(orphans) == [(0,)]
    kept = f"SELECT count(*) FROM incoming_messages WHERE id = {message}"
    assert warehouse.query(kept) == [(1,)]
    warehouse.box.requests.clear()
    warehouse.load("incoming_messages", "profiles")
    starts = [request.params["start_time"] for request in asked(warehouse.box, "messages")]
    assert starts
    assert "2024-01-01T00:00:00Z" not in starts


def test_a_file_may_be_called_as_the_dataset(account: Open, tmp_path: Path) -> None:
    warehouse = account()
    folder = tmp_path / "scheduler"
    folder.mkdir()
    for _ in range(2):
        ended = run(
            warehouse,
            "--resources",
            "profiles,group_members",
            cwd=folder,
            DESTINATION__DUCKDB__CREDENTIALS="mcommons.duckdb",
        )
        assert (ended.code, ended.err) == (LOADED, "")
    assert names_in(folder) == ["mcommons.duckdb"]
    count = len(warehouse.box.service.rows("profiles"))
    sql = "SELECT count(*) FROM mcommons.mcommons.profiles"
    assert rows_in(folder / "mcommons.duckdb", sql) == [(count,)]


def test_from_another_directory_the_settings_of_the_project_hold(
    account: Open, tmp_path: Path
) -> None:
    warehouse = account()
    folder = tmp_path / "scheduler"
    folder.mkdir()
    ended = run(warehouse, "--resources", "campaigns", cwd=folder)
    assert (ended.code, ended.err) == (LOADED, "")
    assert warehouse.query("SELECT count(*) FROM campaigns WHERE _dlt_load_id IS NULL") == [(0,)]
    assert not list(folder.iterdir())


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_scheduler_that_reads_nothing_gets_the_rows_and_the_exit_code(
    account: Open, closed: str
) -> None:
    warehouse = account()
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(SCRIPTS['mcommons']))}"
    ended = subprocess.run(
        ["sh", "-c", f"exec {command} --resources campaigns {closed}"],
        check=False,
        env=environment(warehouse),
        timeout=PATIENCE,
    )
    assert ended.returncode == LOADED
    assert warehouse.query("SELECT count(*) FROM campaigns") == [(campaigns(warehouse),)]


def test_settings_of_the_current_directory_hold_where_it_has_some(
    account: Open, tmp_path: Path
) -> None:
    warehouse = account()
    folder = tmp_path / "deployment"
    shutil.copytree(PROJECT / ".dlt", folder / ".dlt")
    secrets = f'[sources.mcommons.credentials]\nusername = "{USERNAME}"\npassword = "{PASSWORD}"\n'
    (folder / ".dlt" / "secrets.toml").write_text(secrets)
    ended = run(
        warehouse,
        "--resources",
        "campaigns",
        cwd=folder,
        SOURCES__MCOMMONS__CREDENTIALS__USERNAME=None,
        SOURCES__MCOMMONS__CREDENTIALS__PASSWORD=None,
    )
    assert (ended.code, ended.err) == (LOADED, "")
    assert warehouse.query("SELECT count(*) FROM campaigns") == [(campaigns(warehouse),)]


@pytest.mark.parametrize("telemetry", [None, "true"], ids=["as committed", "switched on"])
def test_nobody_is_told_of_a_run_unless_somebody_wants_it(
    account: Open, tmp_path: Path, telemetry: str | None
) -> None:
    warehouse = account()
    ended = run(
        warehouse,
        "--resources",
        "campaigns",
        HOME=str(tmp_path),
        RUNTIME__DLTHUB_TELEMETRY=telemetry,
        RUNTIME__DLTHUB_TELEMETRY_ENDPOINT=f"{warehouse.box.url}telemetry",
    )
    assert ended.code == LOADED
    # Switched on, it arrives: that nothing arrives otherwise means something.
    assert bool(asked(warehouse.box, "telemetry")) == bool(telemetry)


# --sandbox


def test_sandbox_loads_invented_data_into_a_file_of_its_own(account: Open, tmp_path: Path) -> None:
    real = account(empty=True)
    folder = tmp_path / "here"
    folder.mkdir()
    ended = run(
        real,
        "--sandbox",
        "--resources",
        "campaigns,donation_summaries",
        cwd=folder,
        SOURCES__MCOMMONS__COMPANY="COREAL",
        SOURCES__MCOMMONS__CREDENTIALS__PASSWORD="real-password",
        SOURCES__MCOMMONS__CREDENTIALS__TOKEN="real-token",
        SOURCES__MCOMMONS__FUNDRAISING_IDS="[7]",
    )
    assert (ended.code, ended.err) == (LOADED, "")
    assert real.box.requests == []
    assert not real.file.exists()
    assert names_in(folder) == ["textlift_sandbox.duckdb"]
    file = folder / "textlift_sandbox.duckdb"
    assert rows_in(file, "SELECT count(*) > 0 FROM mcommons.campaigns") == [(True,)]
    assert rows_in(file, "SELECT count(*) FROM mcommons.donation_summaries") == [(2,)]


def test_a_killed_run_leaves_no_sandbox_behind(account: Open, tmp_path: Path) -> None:
    warehouse = account(empty=True)
    with started(warehouse, str(SCRIPT), "--sandbox", cwd=tmp_path) as process:
        # It loads: the sandbox is up and has said where.
        wait_until((warehouse.state / "mcommons_sandbox" / "state.json").exists, process)
        children = psutil.Process(process.pid).children()
        (sandbox,) = (child for child in children if "sandbox" in child.cmdline())
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        try:
            wait_until(lambda: not alive(sandbox))
        finally:
            with suppress(psutil.NoSuchProcess):
                sandbox.kill()


def alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and waits for nobody to ask does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
