"""The models: what they count, that they have every row, and how they are built."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

import duckdb as duckdb_client
import pytest
from filelock import FileLock

from tests.conftest import PROJECT
from tests.models.conftest import DBT, Ended, Modelled
from tests.support.commands import two_lines
from tests.support.truth import expected
from textlift.cli.models import main
from textlift.privacy.columns import normalized_phone

pytestmark = pytest.mark.real_clock
MARTS = {
    *("audience_by_day", "broadcasts", "calls", "clicks", "contacts", "daily_activity"),
    *("messages", "subscriptions"),
}
#: GSM 03.38, the alphabet of an SMS: characters of one place, and of two.
GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_DOUBLE = set("\f^{}\\[~]|€")
#: A run of the command, impatient with a file that another run has.
WAITING = """
import sys
from textlift.destinations import _duckdb
from textlift.cli.models import main
_duckdb.LOCK_SECONDS = 0.2
sys.exit(main(["mgage", "textme"]))
"""
DAY = timedelta(days=1)
Rows = list[dict[str, Any]]


@dataclass
class Changed:
    """A copy, the profile that is erased in it, and the message that is queued again."""

    copy: Modelled
    erased: int
    queued: int


@pytest.fixture
def account(modelled: Modelled) -> dict[str, Rows]:
    """The rows of Mobile Commons."""
    return {
        table: list(rows) for table, rows in expected(modelled.boxes["mcommons"].service).items()
    }


@pytest.fixture(scope="module")
def tried(modelled: Modelled) -> Ended:
    """How the unit tests of dbt ended."""
    return modelled.dbt("test", "--select", "test_type:unit")


#: Custom columns of Mobile Commons, and a custom field of Mobiniti.
CUSTOM = ["Language", "Volunteer's shift", "Shirt size"]


@pytest.fixture(scope="module")
def changed(modelled: Modelled, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    """A copy in which a person was erased, a status changed, and tables and columns are missing."""
    copy = modelled.copy(tmp_path_factory.mktemp("changed"))
    [(erased, _), (_, queued)] = copy.query(
        "SELECT profile_id, min(id) FROM mcommons.outgoing_messages GROUP BY 1 ORDER BY 1 LIMIT 2"
    )
    for table in ("incoming_messages", "outgoing_messages", "profiles__subscriptions", "calls"):
        copy.change(f"DELETE FROM mcommons.{table} WHERE profile_id = {erased}")
    copy.change(f"DELETE FROM mcommons.profiles WHERE id = {erased}")
    copy.change(
        "UPDATE mcommons.outgoing_messages SET status = 'queued', _dlt_load_id = '9' "
        f"WHERE id = {queued}"
    )
    copy.change("DROP SCHEMA texting_staging CASCADE")
    for table in ("clicks", "profiles__clicks", "tinyurls", "campaigns"):
        copy.change(f"DROP TABLE mcommons.{table}")
    copy.change("ALTER TABLE mcommons.profiles DROP COLUMN email")
    copy.change("DROP SCHEMA mgage CASCADE")
    # The test that reconciles the models with the tables is among those that pass.
    copy.built = copy.models("--vars", json.dumps({"textlift_custom_columns": CUSTOM}))
    assert copy.built.code == 0, copy.built.err
    return Changed(copy, erased, queued)


@pytest.fixture
def copy(modelled: Modelled, tmp_path: Path) -> Modelled:
    return modelled.copy(tmp_path)


def test_one_command_builds_and_tests_every_model(modelled: Modelled) -> None:
    assert modelled.built
    assert (modelled.built.code, modelled.built.err) == (0, "")
    *marts, last = modelled.built.out.splitlines()
    counted = dict(re.findall(r"^texting\.(\w+): ([\d,]+) rows$", "\n".join(marts), re.MULTILINE))
    assert set(counted) == MARTS
    for name, rows in counted.items():
        assert modelled.query(f"SELECT count(*) FROM texting.{name}") == [
            (int(rows.replace(",", "")),)
        ]
    assert re.fullmatch(r"8 models, \d+ tests; 0 failed, 0 not tried; 0 warnings", last)


def test_what_is_computed_is_right_in_the_cases_that_matter_and_the_tables_are_fresh(
    modelled: Modelled, tried: Ended
) -> None:
    assert tried.code == 0, tried.out
    assert "PASS=7 " in tried.out
    fresh = modelled.dbt("source", "freshness")
    assert fresh.code == 0, fresh.out
    assert fresh.out.count("PASS freshness") == 5


def test_every_model_and_every_column_is_documented(modelled: Modelled, tried: Ended) -> None:
    assert tried.code == 0
    manifest = json.loads((modelled.folder / "target" / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for schema, table, column in modelled.query(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns "
        "WHERE table_schema LIKE 'texting%'"
    ):
        found[schema, table].add(column)
    assert {(model["schema"], model["alias"]) for model in models} == set(found)
    for model in models:
        assert model["description"], model["name"]
        assert all(column["description"] for column in model["columns"].values()), model["name"]
        assert set(model["columns"]) == found[model["schema"], model["alias"]], model["name"]


def segments(text: str) -> tuple[str, int]:
    """Encoding and segments of an SMS."""
    if set(text) <= GSM | GSM_DOUBLE:
        places = len(text) + sum(character in GSM_DOUBLE for character in text)
        return "GSM-7", 1 if places <= 160 else math.ceil(places / 153)
    places = len(text.encode("utf-16-le")) // 2
    return "UCS-2", 1 if places <= 70 else math.ceil(places / 67)


def test_messages_have_the_segments_of_their_texts(modelled: Modelled) -> None:
    encodings = set()
    for row in modelled.mart("messages"):
        if row["channel"] != "sms" or row["text"] is None:
            assert row["segments"] is None
            continue
        assert (row["encoding"], row["segments"]) == segments(row["text"]), row["text"]
        encodings.add((row["encoding"], row["segments"]))
    assert {("GSM-7", 1), ("UCS-2", 1), ("UCS-2", 2), ("UCS-2", 3)} <= encodings


def test_one_person_has_one_key_in_all_services(modelled: Modelled) -> None:
    tables = {
        "mcommons": ("profiles", "phone_number"),
        "mgage": ("messages", "number"),
        "mobiniti": ("contacts", "phone_number"),
        "messangi": ("messages", '"to"'),
        "textme": ("subscriptions", "mobile_phone"),
    }
    people = defaultdict(set)
    for row in modelled.mart("contacts"):
        people[row["service"]].add(row["person_key"])
    for service, (table, column) in tables.items():
        numbers = modelled.query(f"SELECT DISTINCT {column} FROM {service}.{table}")
        known = {normalized_phone(number) for (number,) in numbers if number}
        assert known <= people[service], service
    assert set.intersection(*(people[name] for name in ("mcommons", "mobiniti", "textme")))


def opt_outs(account: Mapping[str, Rows]) -> dict[int, list[datetime]]:
    """When each person opted out. What follows within a day of another is the same."""
    times = defaultdict(list)
    for message in account["incoming_messages"]:
        if message["type"] == "opt_out":
            times[message["profile_id"]].append(message["received_at"])
    for subscription in account["profiles__subscriptions"]:
        if subscription["status"] != "Active" and subscription["opted_out_at"]:
            times[subscription["profile_id"]].append(subscription["opted_out_at"])
    return {
        person: [
            time
            for before, time in zip([None, *sorted(all_times)], sorted(all_times))
            if before is None or time - before > DAY
        ]
        for person, all_times in times.items()
    }


def test_broadcasts_count_what_followed_them(modelled: Modelled, account: dict[str, Rows]) -> None:
    sent: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    recipients: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for message in account["outgoing_messages"]:
        if message["broadcast_id"] is not None:
            person = message["profile_id"]
            sent[person].append((message["sent_at"], message["broadcast_id"]))
            recipients[message["broadcast_id"]][person].append(message["status"])
    waits: dict[int, dict[int, float]] = defaultdict(dict)
    counts: dict[str, dict[int, int]] = {kind: defaultdict(int) for kind in ("out", "click")}
    left: set[tuple[int, int]] = set()

    def broadcast(person: int, time: datetime) -> tuple[int, float] | None:
        """The last broadcast before a moment, and the seconds since it."""
        all_sent = sorted(sent.get(person, ()))
        # All that was sent in the same second comes after it.
        place = bisect_left(all_sent, (time, 0))
        if not place or time - all_sent[place - 1][0] > DAY:
            return None
        return all_sent[place - 1][1], (time - all_sent[place - 1][0]).total_seconds()

    for message in account["incoming_messages"]:
        before = broadcast(message["profile_id"], message["received_at"])
        if before and message["type"] != "opt_out":
            of_broadcast = waits[before[0]]
            known = of_broadcast.get(message["profile_id"], math.inf)
            of_broadcast[message["profile_id"]] = min(before[1], known)
    for person, times in opt_outs(account).items():
        for time in times:
            if (before := broadcast(person, time)) and (person, before[0]) not in left:
                left.add((person, before[0]))
                counts["out"][before[0]] += 1
    for click in account["clicks"]:
        if click["profile_id"] and (before := broadcast(click["profile_id"], click["created_at"])):
            counts["click"][before[0]] += 1

    rows = [row for row in modelled.mart("broadcasts") if row["service"] == "mcommons"]
    assert sum(row["replies"] for row in rows) > 100
    assert sum(row["opt_outs"] for row in rows) > 10
    for row in rows:
        broadcast_id = int(row["broadcast_id"])
        people = recipients[broadcast_id].values()
        assert row["recipients"] == len(people)
        assert row["delivered"] == sum("sent" in statuses for statuses in people)
        assert row["replies"] == len(waits[broadcast_id])
        assert row["opt_outs"] == counts["out"][broadcast_id]
        assert row["clicks"] == counts["click"][broadcast_id]
        waited = list(waits[broadcast_id].values())
        assert row["median_response_seconds"] == (median(waited) if waited else None)


def days(subscriptions: Iterable[Mapping[str, Any]]) -> dict[date, tuple[int, int, int]]:
    """Day → gained, lost and active, of people on one list or on several."""
    steps = defaultdict(list)
    for row in subscriptions:
        steps[row["profile_id"]].append((row["activated_at"], 1))
        if row["status"] != "Active":
            steps[row["profile_id"]].append((row["opted_out_at"], -1))
    gained: dict[date, int] = defaultdict(int)
    lost: dict[date, int] = defaultdict(int)
    for of_person in steps.values():
        lists = 0
        for time, step in sorted(of_person, key=lambda each: (each[0], -each[1])):
            lists += step
            gained[time.date()] += step == 1 and lists == 1
            lost[time.date()] += step == -1 and lists == 0
    found, active = {}, 0
    for day in sorted({*gained, *lost}):
        active += gained[day] - lost[day]
        found[day] = gained[day], lost[day], active
    return found


def test_the_audience_of_each_day_is_that_of_the_service(
    modelled: Modelled, account: dict[str, Rows]
) -> None:
    shown = defaultdict(dict)
    for row in modelled.mart("audience_by_day"):
        if row["service"] == "mcommons":
            figures = row["gained"], row["lost"], row["active"]
            shown[row["campaign_id"]][row["date_day"]] = figures
    subscriptions = account["profiles__subscriptions"]
    campaigns = {row["campaign_id"] for row in subscriptions}
    assert set(shown) == {None, *map(str, campaigns)}
    for campaign in (None, *campaigns):
        of_list = [row for row in subscriptions if campaign in (None, row["campaign_id"])]
        known = days(of_list)
        listed = shown[campaign and str(campaign)]
        assert {day: listed[day] for day in known} == known
        # Every day has a row, also one on which nothing happened.
        assert len(listed) == (max(listed) - min(listed)).days + 1
        assert all(figures[:2] == (0, 0) for day, figures in listed.items() if day not in known)


def test_activity_adds_up_to_the_rows_of_the_other_models(modelled: Modelled) -> None:
    by_day: dict[tuple[str, date], int] = defaultdict(int)
    for row in modelled.mart("messages"):
        if row["direction"] == "outbound":
            by_day[row["service"], row["sent_at"].astimezone(timezone.utc).date()] += 1
    found: dict[tuple[str, date], int] = defaultdict(int)
    for row in modelled.mart("daily_activity"):
        found[row["service"], row["date_day"]] += row["messages_sent"]
    assert {key: number for key, number in found.items() if number} == dict(by_day)


def test_what_is_erased_leaves_the_models_and_what_changed_is_changed(changed: Changed) -> None:
    copy = changed.copy
    for mart in ("contacts", "messages", "subscriptions", "calls"):
        key = f"SELECT count(*) FROM texting.{mart} WHERE contact_key = 'mcommons:{changed.erased}'"
        assert copy.query(key) == [(0,)], mart
    key = f"'mcommons:out:{changed.queued}'"
    found = copy.query(f"SELECT status FROM texting.messages WHERE message_key = {key}")
    assert found == [("queued",)]


def test_tables_columns_and_services_that_are_missing_are_empty(changed: Changed) -> None:
    contacts = changed.copy.mart("contacts")
    services = {row["service"] for row in contacts}
    assert services == {"mcommons", "mobiniti", "messangi", "textme"}
    assert {row["email"] for row in contacts if row["service"] == "mcommons"} == {None}
    assert changed.copy.mart("clicks") == []


def test_custom_columns_are_columns_of_contacts(changed: Changed) -> None:
    copy, contacts = changed.copy, changed.copy.mart("contacts")
    for service, table, key, name, column in (
        ("mcommons", "profiles__custom_columns", "profile_id", "Language", "custom__language"),
        (
            *("mcommons", "profiles__custom_columns", "profile_id"),
            *("Volunteer's shift", "custom__volunteer_s_shift"),
        ),
        ("mobiniti", "contacts__fields", "contact_id", "Shirt size", "custom__shirt_size"),
    ):
        quoted = name.replace("'", "''")
        values = copy.query(
            f"SELECT {key}, value FROM {service}.{table} "
            f"WHERE name = '{quoted}' AND value IS NOT NULL"
        )
        assert values
        found = {
            (row["contact_id"], row[column])
            for row in contacts
            if row["service"] == service and row[column] is not None
        }
        known = {row["contact_id"] for row in contacts}
        assert found == {(str(key), value) for key, value in values if str(key) in known}


#: For what does not depend on the destination.
in_duckdb = pytest.mark.parametrize(
    "modelled", [pytest.param("duckdb", marks=pytest.mark.xdist_group("duckdb"))], indirect=True
)


@in_duckdb
def test_a_model_that_fails_is_named_and_the_exit_code_says_so(copy: Modelled) -> None:
    copy.change("ALTER TABLE mcommons.outgoing_messages ALTER sent_at TYPE VARCHAR")
    ended = copy.models()
    assert ended.code == 1
    assert re.match(r"int_textlift__\w+: ", ended.err)
    assert "not tried" in ended.out


@in_duckdb
def test_a_project_of_ones_own_gets_the_schema_texting(copy: Modelled) -> None:
    folder = copy.folder / "own"
    folder.mkdir()
    (folder / "packages.yml").write_text(f"packages: [{{local: {PROJECT / 'dbt'}}}]\n")
    (folder / "dbt_project.yml").write_text(
        "name: own\nversion: 1.0.0\nprofile: own\n"
        "vars: {textlift: {textlift_services: [mcommons]}}\n"
        "models: {textlift: {staging: {+schema: raw_texts}}}\n"
    )
    output = {"type": "duckdb", "schema": "analytics", "path": copy.credentials}
    profiles = {"own": {"target": "it", "outputs": {"it": output}}}
    (folder / "profiles.yml").write_text(json.dumps(profiles))
    copy.change("DROP SCHEMA texting CASCADE")
    here = ("--project-dir", str(folder), "--profiles-dir", str(folder))
    assert copy.run("dbt", "deps", *here).code == 0
    ended = copy.run("dbt", "run", "--select", "+texting__calls", *here)
    assert ended.code == 0, ended.out
    made = copy.query(
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_name IN ('calls', 'stg_mcommons__calls') ORDER BY 1, 2"
    )
    assert set(made) >= {("texting", "calls"), ("raw_texts", "stg_mcommons__calls")}
    assert not [schema for schema, _ in made if schema.startswith("analytics")]


@in_duckdb
def test_some_services_can_be_modelled_alone_when_a_load_has_left_the_file(copy: Modelled) -> None:
    with FileLock(f"{copy.credentials}.lock"):
        process = subprocess.Popen(
            [str(DBT / "python"), "-c", WAITING],
            cwd=copy.folder,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(PROJECT / "sources"),
                "DESTINATION__DUCKDB__CREDENTIALS": copy.credentials,
                "PIPELINES_DIR": str(copy.folder / "state"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        assert "waiting until it is done" in process.stderr.readline()
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0
    assert "8 models" in out
    assert {row["service"] for row in copy.mart("contacts")} == {"mgage", "textme"}
    for mart in MARTS:
        assert {row["service"] for row in copy.mart(mart)} <= {"mgage", "textme"}


#: ``textlift models`` where dbt is not installed.
WITHOUT_DBT = """
import sys
sys.modules["dbt"] = None
from textlift.cli import run
sys.exit(run())
"""


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_DBT, "models"],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT / "sources")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert two_lines(ended.stderr)[1] == "Install it: pip install 'textlift[dbt]'."


@pytest.mark.parametrize("text", ["textlift_services: [mgage", '["mgage"]', "7"])
def test_variables_that_are_no_json_object_are_named_with_an_example(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--vars", text])
    assert ended.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{text} is no JSON object" in message
    [example] = re.findall(r"--vars '(.+)'", message)
    assert isinstance(json.loads(example), dict)


@pytest.mark.parametrize("name", ["mgage", "texting"])
def test_a_file_with_the_name_of_a_schema_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.duckdb"
    with duckdb_client.connect(str(file)) as opened:
        opened.execute("CREATE SCHEMA mgage; CREATE TABLE _dlt_loads AS SELECT 1 AS load_id")
        schemas = opened.execute("SELECT schema_name FROM information_schema.schemata").fetchall()
    ended = subprocess.run(
        [str(DBT / "python"), "-m", "textlift", "models", "mgage"],
        check=False,
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(PROJECT / "sources"),
            "PIPELINES_DIR": str(tmp_path / "state"),
            "DESTINATION__DUCKDB__CREDENTIALS": str(file),
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    what, advice = two_lines(ended.stderr)
    assert f"{name}.duckdb" in what
    assert advice.startswith("Rename the file")
    with duckdb_client.connect(str(file)) as opened:
        left = opened.execute("SELECT schema_name FROM information_schema.schemata").fetchall()
    assert left == schemas


def test_a_warehouse_without_a_service_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    ended = subprocess.run(
        [str(DBT / "python"), "-m", "textlift", "models"],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT / "sources"), "PIPELINES_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "Load one first" in two_lines(ended.stderr)[1]
    assert not (tmp_path / "textlift.duckdb").exists()
