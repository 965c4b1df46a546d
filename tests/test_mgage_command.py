"""The command line for mGage, run as a scheduler or a person runs it."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.conftest import PASSWORD, PROJECT, USERNAME, Open, Warehouse
from tests.support.commands import (
    FAILED,
    LOADED,
    REJECTED,
    UNUSABLE,
    Ended,
    names_in,
    rows_in,
    run,
    two_lines,
)
from tests.support.messages import PROGRAM, asked, assert_same, parsed, rewind, served, written
from textlift.sandbox import Request, Response, Sandbox
from textlift.sandbox.mgage import MGage

pytestmark = pytest.mark.real_clock
UNCONFIGURED = {
    f"SOURCES__MGAGE__{name}": None
    for name in ("PROGRAMS", "CREDENTIALS__USERNAME", "CREDENTIALS__PASSWORD")
}


def programs_in(warehouse: Warehouse) -> list[int]:
    sql = "SELECT DISTINCT program_id FROM messages ORDER BY program_id"
    return [program for (program,) in warehouse.query(sql)]


def bodies(warehouse: Warehouse) -> list[str]:
    return [body for (body,) in warehouse.query("SELECT body FROM messages ORDER BY date, body")]


def days_ago(days: float) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=days)


def one_program(export: Open, *ages: float) -> Warehouse:
    """A program with a message of each age in days, whose body is its age."""
    warehouse = export(empty=True)
    warehouse.box.service.add_program(PROGRAM)
    for age in ages:
        row = {"body": f"{age:g}", "date": days_ago(age)}
        warehouse.box.service.put(PROGRAM, row)
    return warehouse


def run_one(warehouse: Warehouse, *options: str, **changes: str | None) -> Ended:
    return run(warehouse, *options, **{"SOURCES__MGAGE__PROGRAMS": f"[{PROGRAM}]", **changes})


# What a run loads and says.


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
def test_a_load_reports_plain_lines_and_everything_is_there(export: Open, slash: str) -> None:
    warehouse = export()
    ended = run(warehouse, SOURCES__MGAGE__BASE_URL=warehouse.box.url.rstrip("/") + slash)
    assert (ended.code, ended.err) == (LOADED, "")
    assert_same(warehouse)
    count = len(served(warehouse))
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    first, last = ended.out.splitlines()
    assert re.fullmatch(rf"messages: {count:,} rows, {time} to {time}", first)
    assert re.fullmatch(
        rf"{count:,} rows, {len(warehouse.box.requests)} requests, 1 package, [\d.]+ s; "
        rf"dataset mgage in .*{re.escape(warehouse.file.name)}",
        last,
    )


@pytest.mark.parametrize("kept_in", ["files", "environment"])
def test_programs_and_credentials_come_from_files_or_the_environment(
    export: Open, tmp_path: Path, kept_in: str
) -> None:
    warehouse = export()
    folder = tmp_path / "deployment"
    shutil.copytree(PROJECT / ".dlt", folder / ".dlt")
    changes: dict[str, str | None] = {"SOURCES__MGAGE__PROGRAMS": "[121811, 121812]"}
    if kept_in == "files":
        with (folder / ".dlt" / "config.toml").open("a") as config:
            config.write("\n[sources.mgage]\nprograms = [121811, 121812]\n")
        login = f'username = "{USERNAME}"\npassword = "{PASSWORD}"\n'
        (folder / ".dlt" / "secrets.toml").write_text(f"[sources.mgage.credentials]\n{login}")
        changes = dict(UNCONFIGURED)
    ended = run(warehouse, cwd=folder, **changes)
    assert (ended.code, ended.err) == (LOADED, "")
    assert programs_in(warehouse) == [121811, 121812]


def test_resources_takes_messages_and_knows_no_other_name(export: Open) -> None:
    warehouse = export()
    ended = run(warehouse, "--resources", "messages,profiles")
    first, second = two_lines(ended.err)
    assert "profiles" in first
    assert "messages" in second
    assert (ended.code, ended.out, warehouse.box.requests) == (UNUSABLE, "", [])
    assert run(warehouse, "--resources", "messages").code == LOADED
    assert_same(warehouse)


def test_since_and_until_load_that_range_and_leave_the_cursors_alone(export: Open) -> None:
    warehouse = one_program(export, 50, 40, 30, 20, 10)
    assert run_one(warehouse, "--until", written(days_ago(45))).code == LOADED
    assert bodies(warehouse) == ["50"]
    since, until = written(days_ago(51)), written(days_ago(29))
    assert run_one(warehouse, "--since", since, "--until", until).code == LOADED
    assert bodies(warehouse) == ["50", "40", "30"]
    assert run_one(warehouse, "--since", written(days_ago(11))).code == LOADED
    assert bodies(warehouse) == ["50", "40", "30", "10"]
    warehouse.box.requests.clear()
    assert run_one(warehouse).code == LOADED
    assert_same(warehouse)
    lookback = served(warehouse)[0]["date"] - timedelta(days=3)
    assert [parsed(question["startDate"]) for question in asked(warehouse)] == [lookback]


def test_full_refresh_loads_everything_from_the_start_and_deletes_what_is_gone(
    export: Open,
) -> None:
    warehouse = one_program(export, 50, 40)
    warehouse.load(programs=[PROGRAM])
    # Too long ago for any lookback.
    service = warehouse.box.service
    service.update(PROGRAM, lambda row: row["body"] == "50", deliveryStatus="Undelivered")
    service.update(PROGRAM, lambda row: row["body"] == "40", date=days_ago(45))
    warehouse.load(programs=[PROGRAM])
    assert warehouse.query("SELECT count(*) FROM messages") == [(2,)]
    assert warehouse.query("SELECT DISTINCT delivery_status FROM messages") == [("Received",)]
    assert run_one(warehouse, "--full-refresh", "--yes").code == LOADED
    assert_same(warehouse)


def test_dataset_names_where_the_table_goes(export: Open) -> None:
    warehouse = one_program(export, 1)
    ended = run_one(warehouse, "--dataset", "texting")
    assert "dataset texting" in ended.out
    assert rows_in(warehouse.file, "SELECT body FROM texting.messages") == [("1",)]


# The year that is kept.


def test_a_start_date_before_the_year_is_noticed_and_what_is_kept_loads(export: Open) -> None:
    warehouse = one_program(export, 300, 10)
    ended = run_one(warehouse, SOURCES__MGAGE__START_DATE="2015-01-01")
    assert ended.code == LOADED
    assert re.search(r"the service keeps rows since \S+, and not since 2015-01-01", ended.err)
    assert bodies(warehouse) == ["300", "10"]
    # Of a first load only: the next ones go on from where it ended.
    assert run_one(warehouse, SOURCES__MGAGE__START_DATE="2015-01-01").err == ""


def test_a_range_before_the_year_is_refused(export: Open) -> None:
    warehouse = one_program(export, 10)
    ended = run_one(warehouse, "--until", written(days_ago(400)))
    first, second = two_lines(ended.err)
    assert "the service keeps rows since" in first
    assert "after that" in second
    assert (ended.code, ended.out) == (UNUSABLE, "")


def test_rows_dropped_unread_are_a_hole_that_is_reported_once(export: Open) -> None:
    warehouse = one_program(export, 300, 10)
    run_one(warehouse)
    known = days_ago(400)
    rewind(warehouse, cursors=known, reached=known)
    warehouse.box.service.put(PROGRAM, {"body": "364", "date": days_ago(364)})
    ended = run_one(warehouse)
    line = rf"^messages: rows of .*{PROGRAM} from (\S+) to (\S+) are not at the service"
    gap = re.search(line, ended.err, re.MULTILINE)
    assert gap
    assert gap[1] == written(known)
    end = datetime.strptime(gap[2], "%Y-%m-%dT%H:%M:%S%z")
    assert days_ago(365) - timedelta(minutes=5) < end <= days_ago(365) + timedelta(seconds=1)
    assert "1 values or records were rejected (messages 1): see rejected_records" in ended.out
    assert ended.code == REJECTED
    assert bodies(warehouse) == ["364", "300", "10"]
    kept = "SELECT resource, row_key, window_start, window_end FROM rejected_records"
    assert warehouse.query(kept) == [("messages", str(PROGRAM), known, end)]
    again = run_one(warehouse)
    assert (again.code, again.err) == (LOADED, "")
    assert warehouse.query(kept) == [("messages", str(PROGRAM), known, end)]


# What goes wrong.


def test_an_unknown_program_is_named_and_the_others_load(export: Open) -> None:
    warehouse = export()
    warehouse.box.service.delete_program(121813)
    ended = run(warehouse)
    *_, reason, remedy = ended.err.splitlines()
    assert re.search(r"121813: .*Program 121813 not found \(HTTP 404\)", reason)
    assert remedy == "Correct it in the configuration or take it out."
    assert ended.code == FAILED
    assert programs_in(warehouse) == [121811, 121812]
    assert_same(warehouse)


def test_general_errors_that_stay_give_code_1_and_the_next_run_loads_all(export: Open) -> None:
    warehouse = export()
    warehouse.box.service.general_errors.append("Messages could not be counted")
    ended = run(warehouse)
    assert "messages failed and stays where it was" in ended.err
    assert "Messages could not be counted" in ended.err
    assert "Traceback" not in ended.err
    assert ended.code == FAILED
    warehouse.box.service.general_errors.clear()
    assert run(warehouse).code == LOADED
    assert_same(warehouse)


def test_a_next_page_elsewhere_gives_code_1_and_nobody_there_is_asked(
    export: Open, boxes: list[Sandbox]
) -> None:
    warehouse = export()
    elsewhere = Sandbox(MGage())
    elsewhere.start()
    boxes.append(elsewhere)

    def lead_astray(request: Request, response: Response) -> Response:
        body = response.body.replace(warehouse.box.url.encode(), elsewhere.url.encode())
        return Response(response.status, body, dict(response.headers))

    warehouse.box.hooks.append(lead_astray)
    ended = run(warehouse, SOURCES__MGAGE__PAGE_SIZE="100")
    assert elsewhere.requests == []
    assert "messages failed and stays where it was" in ended.err
    assert "not followed" in ended.err
    assert "Traceback" not in ended.err
    assert ended.code == FAILED


def test_a_bad_value_gives_code_3_and_all_else_loads(export: Open) -> None:
    warehouse = one_program(export, 2, 1)
    warehouse.box.service.update(PROGRAM, lambda row: row["body"] == "2", body="cut \ud83d")
    ended = run_one(warehouse)
    assert (ended.code, ended.err) == (REJECTED, "")
    assert "1 values or records were rejected (messages 1): see rejected_records" in ended.out
    assert bodies(warehouse) == [None, "1"]
    kept = "SELECT column_name, payload FROM rejected_records"
    assert warehouse.query(kept) == [("body", r"cut \ud83d")]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PROGRAMS": None}, "sources.mgage.programs"),
        ({"PROGRAMS": "[]"}, "sources.mgage.programs"),
        ({"PROGRAMS": '["spring"]'}, "programs"),
        ({"PROGRAMS": "[121811, -1]"}, "programs"),
        ({"PROGRAMS": "121811, 121812"}, "programs"),
        ({"MESSAGE_TYPE": "SMS"}, "message_type"),
        ({"BASE_URL": "http://sms.example.org/api/"}, "base_url"),
        ({"CREDENTIALS__USERNAME": None}, "sources.mgage.credentials.username"),
        ({"CREDENTIALS__PASSWORD": None}, "sources.mgage.credentials.password"),
    ],
    ids=str,
)
def test_what_is_missing_or_cannot_be_used_is_named_in_two_lines(
    export: Open, changes: dict[str, str | None], named: str
) -> None:
    warehouse = export()
    settings = {f"SOURCES__MGAGE__{name}": value for name, value in changes.items()}
    ended = run(warehouse, **settings)
    first, _ = two_lines(ended.err)
    assert named in first
    assert (ended.code, ended.out) == (UNUSABLE, "")
    assert warehouse.box.requests == []
    assert not warehouse.file.exists()


@pytest.mark.parametrize("options", [["--check"], []], ids=["check", "load"])
def test_refused_credentials_give_code_2_and_say_what_to_set(
    export: Open, options: list[str]
) -> None:
    warehouse = export()
    changes = {"CREDENTIALS__PASSWORD": "wrong-secret", "CONCURRENCY": "1"}
    settings = {f"SOURCES__MGAGE__{name}": value for name, value in changes.items()}
    ended = run(warehouse, *options, **settings)
    first, second = two_lines(ended.err)
    assert "refuses the credentials" in first
    assert "sources.mgage.credentials" in second
    assert "secret" not in ended.out + ended.err
    assert (ended.code, ended.out) == (UNUSABLE, "")
    # Who goes on asking is locked out.
    assert len(warehouse.box.requests) == 1


# --check


def test_check_names_each_program_and_loads_nothing(export: Open, tmp_path: Path) -> None:
    warehouse = export()
    folder = tmp_path / "here"
    folder.mkdir()
    ended = run(warehouse, "--check", cwd=folder, DESTINATION__DUCKDB__CREDENTIALS=None)
    assert (ended.code, ended.err) == (LOADED, "")
    *lines, accepted, last = ended.out.splitlines()
    assert len(lines) == 3
    for line, (id, info) in zip(lines, warehouse.box.service.programs.items()):
        assert str(id) in line
        assert all(name in line for name in info.values()), line
    assert "the credentials are accepted. Nothing was loaded." in accepted
    assert last == "duckdb: mgage can be written to."
    assert not list(tmp_path.rglob("*.duckdb"))


def test_check_prints_a_name_with_brackets_as_it_is(export: Open) -> None:
    warehouse = export(empty=True)
    names = {"programName": "Spring [/2025] drive", "campaignName": "[bold] letters"}
    warehouse.box.service.add_program(PROGRAM, **names)
    ended = run_one(warehouse, "--check")
    assert (ended.code, ended.err) == (LOADED, "")
    assert all(repr(name) in ended.out for name in names.values())


def test_check_of_an_unknown_program_names_it_and_gives_code_1(export: Open) -> None:
    warehouse = export()
    warehouse.box.service.delete_program(121812)
    ended = run(warehouse, "--check")
    assert "Program 121812 not found (HTTP 404)" in ended.err
    assert "Traceback" not in ended.err
    assert (ended.code, ended.out) == (FAILED, "")
    assert not warehouse.file.exists()


# --sandbox


@pytest.mark.parametrize("configured", [False, True], ids=["nothing set", "all set"])
def test_sandbox_loads_invented_programs_into_a_file_of_its_own(
    export: Open, tmp_path: Path, configured: bool
) -> None:
    real = export()
    folder = tmp_path / "here"
    folder.mkdir()
    changes: dict[str, str | None] = {**UNCONFIGURED, "SOURCES__MGAGE__BASE_URL": None}
    if configured:
        changes = {
            "SOURCES__MGAGE__PROGRAMS": "[7]",
            "SOURCES__MGAGE__CREDENTIALS__USERNAME": "real-login",
        }
    file = folder / "textlift_sandbox.duckdb"
    ended = run(real, "--sandbox", cwd=folder, **changes)
    assert (ended.code, ended.err) == (LOADED, "")
    assert names_in(folder) == [file.name]
    first = keys_in(file)
    again = run(real, "--sandbox", cwd=folder, **changes)
    assert (again.code, again.err) == (LOADED, "")
    assert set(first) <= set(keys_in(file))
    assert len(keys_in(file)) == len(set(keys_in(file)))
    programs = "SELECT DISTINCT program_id FROM mgage.messages ORDER BY 1"
    assert rows_in(file, programs) == [(id,) for id in MGage().programs]
    assert real.box.requests == []
    assert not real.file.exists()


def keys_in(file: Path) -> list[tuple[object, ...]]:
    return rows_in(file, "SELECT message_key FROM mgage.messages")
