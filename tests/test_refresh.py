"""Hazards 15 and 16: complete reads and full refreshes find what no window shows, and drop nothing early."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest
from dlt.common.versioned_state import decompress_state

from tests.conftest import PROJECT, TODAY, Open, Warehouse, slow_but
from tests.support.accounts import PROFILES, assert_same
from tests.support.commands import (
    FAILED,
    LOADED,
    PATIENCE,
    SCRIPTS,
    UNUSABLE,
    asked,
    environment,
    run,
    started,
    two_lines,
    wait_until,
)
from tests.support.forks import Fork, forked
from tests.support.kills import after, committed, found, gate, kill, settings_of
from textlift.errors import ConfigurationError
from textlift.extract import paging
from textlift.sandbox import Request, Response
from textlift.sandbox.clock import Clock
from textlift.windows import SECOND

#: A load in small windows and packages: ``-c DRIVER <service> <rows> <refresh> [<resource> …]``.
DRIVER = """
import sys
from importlib import import_module
import dlt
from textlift.errors import ConfigurationError
from textlift.extract import paging
from textlift.destinations import destination
from textlift.load.loading import load
paging.MAX_SEQUENCE, paging.SEQUENCE_PART = 4, 2
name, rows, refresh, *resources = sys.argv[1:]
make_source = getattr(import_module(f"textlift.{name}"), f"{name}_source")
pipeline = dlt.pipeline(name, destination=destination("duckdb"), dataset_name=name)
source = make_source(package_rows=int(rows), isolate_failures=True)
load(pipeline, source, resources or None, refresh == "refresh")
"""
SMALL = settings_of("mcommons", PAGE_SIZE="8", CONCURRENCY="2", WHOLE_READ_DAYS="0")
#: All that the service lists by time.
RESOURCES = [
    "profiles",
    "incoming_messages",
    "outgoing_messages",
    "broadcasts",
    "calls",
    "clicks",
    "mdata_queries",
    "campaign_subscribers",
]
#: Resource → what the sandbox calls its rows.
KINDS = {name: name for name in RESOURCES} | {"campaign_subscribers": "subscribers"}


def removed(warehouse: Warehouse) -> list[int]:
    sql = "SELECT id FROM profiles WHERE removed_at IS NOT NULL ORDER BY id"
    return [profile for (profile,) in warehouse.query(sql)]


def all_of(warehouse: Warehouse, profile: int) -> dict[str, list[tuple[Any, ...]]]:
    """A profile and its lists, without the time it was removed."""
    found = {}
    for table in PROFILES:
        key = "id" if table == "profiles" else "profile_id"
        columns = [n for n in warehouse.columns(table) if n[0] != "_" and n != "removed_at"]
        names = ", ".join(f'"{name}"' for name in sorted(columns))
        sql = f"SELECT {names} FROM {table} WHERE {key} = {profile} ORDER BY ALL"
        found[table] = warehouse.query(sql)
    return found


def state_of(warehouse: Warehouse, resource: str) -> dict[str, Any]:
    """What the destination knows of how far a resource is."""
    sql = "SELECT state FROM _dlt_pipeline_state ORDER BY version DESC LIMIT 1"
    ((state,),) = warehouse.query(sql)
    found: dict[str, Any] = decompress_state(state)["sources"][warehouse.name]["resources"]
    account: dict[str, Any] = found[resource]["accounts"]["127.0.0.1"]
    return account


def with_lists(warehouse: Warehouse) -> dict[str, Any]:
    """A profile that has entries in lists."""
    rows = warehouse.box.service.rows("profiles")
    found: dict[str, Any] = next(
        row for row in rows if row["subscriptions"] and row["custom_columns"]
    )
    return found


# Complete reads


def test_a_profile_that_is_gone_is_marked_until_it_returns(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    service, gone = warehouse.box.service, with_lists(warehouse)
    before = all_of(warehouse, gone["id"])
    service.delete("profiles", gone["id"])
    warehouse.load("profiles", whole_read_days=1000)
    assert removed(warehouse) == []
    assert warehouse.load("profiles", whole_read_days=0).removed == {"profiles": 1}
    assert removed(warehouse) == [gone["id"]]
    assert all_of(warehouse, gone["id"]) == before
    when = "SELECT removed_at FROM profiles WHERE removed_at IS NOT NULL"
    ((first,),) = warehouse.query(when)
    assert first == TODAY + SECOND
    # It was gone before, and stays so.
    assert warehouse.load("profiles", whole_read_days=0).removed == {}
    assert warehouse.query(when) == [(first,)]
    service.put("profiles", gone)
    warehouse.load("profiles", whole_read_days=0)
    assert removed(warehouse) == []
    assert_same(warehouse, *PROFILES)


def test_what_does_not_move_updated_at_arrives_with_a_complete_read(account: Open) -> None:
    warehouse = account()
    service = warehouse.box.service
    profile, undated, *_ = service.rows("profiles")
    warehouse.load("profiles")
    service.update(
        "profiles",
        profile["id"],
        updated_at=profile["updated_at"],
        status="Undeliverable",
        integrations=[{"@type": "Salesforce", "@constituent_id": "77"}],
    )
    service.put("profiles", {**undated, "id": 1})
    service.update("profiles", 1, updated_at=None)
    status = f"SELECT status FROM profiles WHERE id = {profile['id']}"
    warehouse.load("profiles", whole_read_days=1000)
    assert warehouse.query(status) != [("Undeliverable",)]
    warehouse.load("profiles", whole_read_days=0)
    assert warehouse.query(status) == [("Undeliverable",)]
    assert_same(warehouse, *PROFILES)
    # Who has no time is in no window, and is there all the same.
    assert warehouse.load("profiles", whole_read_days=0).removed == {}
    service.delete("profiles", 1)
    warehouse.load("profiles", whole_read_days=0)
    assert removed(warehouse) == [1]


def test_the_first_load_is_a_complete_read_and_a_range_is_none(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    warehouse.box.service.delete("profiles", warehouse.box.service.rows("profiles")[0]["id"])
    for settings in (
        {},
        {"since": "2025-01-01", "whole_read_days": 0},
        {"since": "2024-01-01", "until": "2030-01-01", "whole_read_days": 0},
    ):
        warehouse.box.requests.clear()
        warehouse.load("profiles", **settings)
        assert all("from" in request.params for request in asked(warehouse.box, "profiles"))
        assert removed(warehouse) == []
    warehouse.load("profiles", whole_read_days=0)
    assert len(removed(warehouse)) == 1


def test_a_dataset_that_was_loaded_before_there_were_complete_reads_gets_one(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    with warehouse.pipeline().managed_state(extract_state=True) as state:
        profiles = state["sources"]["mcommons"]["resources"]["profiles"]
        del profiles["accounts"]["127.0.0.1"]["whole_at"]
    warehouse.pipeline().normalize()
    warehouse.pipeline().load()
    gone = warehouse.box.service.rows("profiles")[0]["id"]
    warehouse.box.service.delete("profiles", gone)
    warehouse.load("profiles")
    assert removed(warehouse) == [gone]


def test_a_table_whose_sets_were_replaced_once_loses_none_of_their_rows(account: Open) -> None:
    warehouse = account()
    warehouse.load("campaign_subscribers")
    count = warehouse.query("SELECT count(*) FROM campaign_subscribers")
    pipeline = warehouse.pipeline()
    # As the version before left it.
    columns = pipeline.default_schema.tables["campaign_subscribers"]["columns"]
    columns["campaign_id"]["merge_key"] = True
    pipeline.sync_schema()
    pipeline.deactivate()
    assert warehouse.load("campaign_subscribers").rows["campaign_subscribers"] > 0
    assert warehouse.query("SELECT count(*) FROM campaign_subscribers") == count


def test_in_many_packages_it_keeps_cursors_of_its_own_and_no_keys(
    account: Open, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(paging, "MAX_SEQUENCE", 4)
    monkeypatch.setattr(paging, "SEQUENCE_PART", 2)
    warehouse = account()
    warehouse.load("profiles")
    usual = state_of(warehouse, "profiles")
    clock.advance(86_400)
    gone = [row["id"] for row in warehouse.box.service.rows("profiles")[::20]]
    for profile in gone:
        warehouse.box.service.delete("profiles", profile)
    states = []

    def note(request: Request, response: Response) -> None:
        if not states or committed(warehouse) > len(states):
            states.append(state_of(warehouse, "profiles"))

    warehouse.box.hooks.append(note)
    summary = warehouse.load("profiles", package_rows=20, page_size=8, whole_read_days=0)
    assert summary.packages >= 3
    assert removed(warehouse) == gone
    under_way = [state for state in states if "complete" in state]
    assert under_way
    assert all(state["cursors"] == usual["cursors"] for state in under_way)
    cursors = [state["complete"]["cursors"] for state in under_way if state["complete"]["cursors"]]
    assert [list(positions) for positions in cursors] == [[""]] * len(cursors)
    text = json.dumps(states)
    assert not any(str(row["id"]) in text for row in warehouse.box.service.rows("profiles"))
    after_it = state_of(warehouse, "profiles")
    assert after_it.keys() == usual.keys()
    assert after_it["whole_at"] > usual["whole_at"]


@pytest.mark.parametrize("order", slow_but(slice(1), ["-updated_at", "id"]))
def test_profiles_that_change_while_they_are_read_are_not_taken_for_removed(
    account: Open, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(paging, "MAX_SEQUENCE", 4)
    monkeypatch.setattr(paging, "SEQUENCE_PART", 2)
    warehouse = account(order=order)
    warehouse.load("profiles")
    service = warehouse.box.service
    first, *rows = sorted(service.rows("profiles"), key=lambda row: row["updated_at"])
    service.delete("profiles", first["id"])
    # Last changed, and last read. By the service's clock it is later than by that of this machine.
    late, soon = rows[-20:], datetime.now(timezone.utc) + timedelta(minutes=5)

    def change(request: Request, response: Response) -> None:
        if late and request.params.get("from", "").startswith("1970"):
            service.update("profiles", late.pop()["id"], first_name="Zoë", updated_at=soon)

    warehouse.box.hooks.append(change)
    settings = {"page_size": 8, "concurrency": 1, "whole_read_days": 0}
    warehouse.load("profiles", package_rows=20, **settings)
    assert len(late) < 20
    assert removed(warehouse) == [first["id"]]


def test_records_that_cannot_be_read_are_not_taken_for_removed(
    account: Open, log: pytest.LogCaptureFixture
) -> None:
    warehouse = account()
    warehouse.load("profiles")
    gone = warehouse.box.service.rows("profiles")[-1]["id"]
    warehouse.box.service.delete("profiles", gone)

    def spoil(request: Request, response: Response) -> Response:
        broken = response.body.replace(b'<profile id="', b'<profile id="x', 1)
        return replace(response, body=broken)

    warehouse.box.hooks.append(spoil)
    summary = warehouse.load("profiles", whole_read_days=0)
    assert (summary.rejected > 0, summary.removed) == (True, {})
    assert "could not be read" in log.text
    warehouse.box.hooks.clear()
    warehouse.load("profiles", whole_read_days=0)
    assert removed(warehouse) == [gone]


def test_a_campaign_that_vanished_keeps_its_subscribers(account: Open) -> None:
    warehouse = account()
    warehouse.load("campaign_subscribers")
    service = warehouse.box.service
    first, *rows = service.rows("subscribers")
    other = next(row for row in rows if row["campaign_id"] != first["campaign_id"])
    service.delete("campaigns", first["campaign_id"])
    service.delete("subscribers", other["id"])
    before = warehouse.query("SELECT count(*) FROM campaign_subscribers")
    assert warehouse.load("campaign_subscribers", whole_read_days=0).removed == {
        "campaign_subscribers": 1
    }
    assert warehouse.query("SELECT count(*) FROM campaign_subscribers") == [(before[0][0] - 1,)]
    warehouse.load("campaign_subscribers", full_refresh=True)
    sql = f"SELECT count(*) FROM campaign_subscribers WHERE campaign_id = {first['campaign_id']}"
    assert warehouse.query(sql) == [(0,)]


# Full refreshes


def test_a_full_refresh_deletes_what_is_gone_with_its_lists_and_keeps_rejects(
    account: Open,
) -> None:
    warehouse = account()
    service = warehouse.box.service
    bad = service.rows("broadcasts")[0]["id"]
    service.update("broadcasts", bad, replies_count="many")
    warehouse.load("incoming_messages", "groups", *RESOURCES)
    kept = "SELECT * EXCLUDE (_dlt_load_id, resolved_at) FROM rejected_records"
    rejects = warehouse.query(kept)
    assert len(rejects) == 1
    service.update("broadcasts", bad, replies_count=7)
    for kind in KINDS.values():
        service.delete(kind, service.rows(kind)[1]["id"])
    service.delete("profiles", with_lists(warehouse)["id"])
    assert warehouse.load(*RESOURCES).removed == {}
    summary = warehouse.load(*RESOURCES, full_refresh=True)
    assert set(summary.removed) == set(RESOURCES)
    with warehouse.reading():
        assert warehouse.query(kept) == rejects
    for table in PROFILES[1:]:
        orphans = f"SELECT count(*) FROM {table} WHERE profile_id NOT IN (SELECT id FROM profiles)"
        assert warehouse.query(orphans) == [(0,)], table
    for resource, kind in KINDS.items():
        count = warehouse.query(f"SELECT count(*) FROM {resource}")
        assert count == [(len(service.rows(kind)),)], resource


@pytest.mark.real_clock
def test_a_full_refresh_that_fails_keeps_rows_and_cursors(account: Open) -> None:
    warehouse = account()
    # A list with lists, one for each parent, and a snapshot.
    names = ("profiles", "campaign_subscribers", "groups")
    warehouse.load(*names)
    only = ("--resources", ",".join(names))
    before = warehouse.everything()
    state = state_of(warehouse, "profiles")
    warehouse.box.faults.append(lambda request: Response(500, b"down"))
    ended = run(warehouse, *only, "--full-refresh", RUNTIME__REQUEST_MAX_ATTEMPTS="1")
    warehouse.box.faults.clear()
    assert ended.code == FAILED
    assert ended.err.startswith("profiles, ")
    assert "failed and stay where they were: HTTP 500: down" in ended.err
    assert warehouse.everything() == before
    assert state_of(warehouse, "profiles")["cursors"] == state["cursors"]
    warehouse.box.requests.clear()
    assert run(warehouse, *only).code == LOADED
    assert all(request.params["from"] > "2025" for request in asked(warehouse.box, "profiles"))
    assert run(warehouse, *only, "--full-refresh").code == LOADED
    assert_same(warehouse, *PROFILES, *names[1:])


def test_rows_from_before_the_start_date_stay(account: Open) -> None:
    warehouse = account()
    warehouse.load("incoming_messages")
    service = warehouse.box.service
    early, late = service.rows("incoming_messages")[0], service.rows("incoming_messages")[-1]
    assert early["received_at"].year == 2024 < late["received_at"].year
    service.delete("incoming_messages", early["id"])
    service.delete("incoming_messages", late["id"])
    summary = warehouse.load("incoming_messages", start_date="2025-01-01", full_refresh=True)
    assert summary.removed == {"incoming_messages": 1}
    sql = f"SELECT id FROM incoming_messages WHERE id IN ({early['id']}, {late['id']})"
    assert warehouse.query(sql) == [(early["id"],)]


@pytest.mark.parametrize(("days", "is_new"), slow_but(slice(1), [(8, True), (6, False)]))
def test_one_that_was_interrupted_more_than_a_week_ago_begins_anew(
    account: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch, days: int, is_new: bool
) -> None:
    monkeypatch.setattr(paging, "MAX_SEQUENCE", 4)
    monkeypatch.setattr(paging, "SEQUENCE_PART", 2)
    warehouse = account()
    warehouse.load("profiles")
    profiles = sorted(warehouse.box.service.rows("profiles"), key=lambda row: row["updated_at"])
    middle = profiles[len(profiles) // 2]["updated_at"].isoformat()

    def fail(request: Request) -> Response | None:
        return Response(404, b"") if request.params.get("from", "") > middle else None

    settings = {"full_refresh": True, "package_rows": 20, "page_size": 8, "concurrency": 1}
    warehouse.box.faults.append(fail)
    assert list(warehouse.load("profiles", **settings).failed) == ["profiles"]
    warehouse.box.faults.remove(fail)
    assert state_of(warehouse, "profiles")["refresh"]["cursors"] != {}
    # The windows with it were read, so only a read of all windows finds that it is gone.
    gone = profiles[0]["id"]
    warehouse.box.service.delete("profiles", gone)
    clock.advance(days * 86_400)
    warehouse.load("profiles", **settings)
    assert (warehouse.query(f"SELECT id FROM profiles WHERE id = {gone}") == []) is is_new


# Killed


def drive(warehouse: Warehouse, kind: str) -> list[str]:
    return ["-c", DRIVER, warehouse.name, "20", kind, "profiles"]


def run_driver(warehouse: Warehouse, kind: str) -> None:
    forked(
        drive(warehouse, kind), PROJECT, environment(warehouse, **SMALL), PATIENCE
    ).check_returncode()


def other_machine(warehouse: Warehouse) -> None:
    """Let the next runs be on a machine without the packages of earlier runs."""
    warehouse.state = warehouse.folder / "another machine"


def assert_done(warehouse: Warehouse, kind: str, gone: dict[str, Any]) -> None:
    """What is gone is marked or deleted; all else is there once, as the service has it."""
    if kind == "complete":
        assert removed(warehouse) == [gone["id"]]
        warehouse.box.service.put("profiles", gone)
    assert_same(warehouse, *PROFILES)
    assert state_of(warehouse, "profiles").keys() == {"cursors", "whole_at"}


@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("moment", "kind"),
    slow_but(
        slice(2),
        [
            *product(
                ["last package", "loading", "first page", "second package"],
                ["refresh", "complete"],
            )
        ],
    ),
)
def test_killed_it_goes_on_and_everything_is_there_once(
    account: Open, kind: str, moment: str
) -> None:
    warehouse = account()
    warehouse.load("profiles")
    gone = with_lists(warehouse)
    warehouse.box.service.delete("profiles", gone["id"])
    other_machine(warehouse)
    held: Callable[[Request], bool] = after(10**6)
    if moment == "first page":
        held = after(1)
    elif moment == "second package":
        held = lambda request: committed(warehouse) >= 2
    with (
        gate(warehouse.box, held) as closed,
        started(warehouse, *drive(warehouse, kind), stderr=subprocess.DEVNULL, **SMALL) as process,
    ):
        if moment == "loading":
            wait_until(lambda: committed(warehouse) >= 2, process)
            pattern = "load/normalized/*/completed_jobs/*"
            wait_until(found(warehouse.state / "mcommons", pattern), process)
        elif moment == "last package":
            # The list of all comes last.
            wait_until(lambda: any("from" not in r.params for r in warehouse.box.requests), process)
        else:
            wait_until(closed.reached.is_set, process)
        kill(process)
    assert removed(warehouse) == []
    count = len(warehouse.box.service.rows("profiles"))
    assert warehouse.query("SELECT count(*) FROM profiles") == [(count + 1,)]
    warehouse.box.requests.clear()
    run_driver(warehouse, kind)
    if moment != "first page":
        # Each begins where the packages that were committed had come to.
        beginning = "2024-01-01" if kind == "refresh" else "1970"
        froms = [request.params.get("from", "9") for request in asked(warehouse.box, "profiles")]
        assert min(froms) > beginning + "T00:00:01"
    assert_done(warehouse, kind, gone)


@pytest.mark.real_clock
@pytest.mark.slow
def test_after_a_killed_refresh_a_plain_run_goes_on_as_usual(account: Open) -> None:
    warehouse = account()
    warehouse.load("profiles")
    gone = with_lists(warehouse)
    warehouse.box.service.delete("profiles", gone["id"])
    other_machine(warehouse)
    with (
        gate(warehouse.box, lambda request: committed(warehouse) >= 2) as closed,
        started(
            warehouse, *drive(warehouse, "refresh"), stderr=subprocess.DEVNULL, **SMALL
        ) as process,
    ):
        wait_until(closed.reached.is_set, process)
        kill(process)
    warehouse.box.requests.clear()
    assert run(warehouse, "--resources", "profiles").code == LOADED
    assert all(request.params["from"] > "2025" for request in asked(warehouse.box, "profiles"))
    assert removed(warehouse) == []
    assert warehouse.query(f"SELECT count(*) FROM profiles WHERE id = {gone['id']}") == [(1,)]
    run_driver(warehouse, "refresh")
    assert_done(warehouse, "refresh", gone)


# What a service keeps for a time


MGAGE = str(SCRIPTS["mgage"])
OLD, EDGE, RECENT = 500, 200, 10


def messages(warehouse: Warehouse) -> list[str]:
    return [body for (body,) in warehouse.query("SELECT body FROM messages ORDER BY date, body")]


@pytest.fixture
def year(export: Open) -> Warehouse:
    """Two programs with a message in and one out of each age, of which the oldest were kept once."""
    warehouse = export(empty=True)
    service = warehouse.box.service
    for program in (121811, 121812):
        service.add_program(program)
        for age in (EDGE, RECENT):
            for kind in ("MO", "MT"):
                date = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=age)
                service.put(
                    program, {"type": kind, "body": f"{program} {kind} {age}", "date": date}
                )
    warehouse.load(programs=[121811, 121812])
    with warehouse.pipeline().sql_client() as client:
        old = datetime.now(timezone.utc) - timedelta(days=OLD)
        client.execute_sql(
            "INSERT INTO messages (message_key, program_id, type, body, date, _dlt_load_id) "
            f"VALUES ('old', 121811, 'MO', 'old', '{old.isoformat()}', '1.0')"
        )
    return warehouse


@pytest.mark.real_clock
def test_a_full_refresh_leaves_what_the_service_does_not_keep_any_more(year: Warehouse) -> None:
    service = year.box.service
    for program in (121811, 121812):
        service.update(program, lambda row: row["body"].endswith("MT 10"), date="2001-01-01")
    only = {"SOURCES__MGAGE__PROGRAMS": "[121811]"}
    ended = run(year, "--full-refresh", **only)
    first, second = two_lines(ended.err)
    assert "365 days" in first
    assert "--yes" in second
    assert (ended.code, ended.out) == (UNUSABLE, "")
    # Messages of the other kind, and of programs that are not read, are not asked for.
    incoming = {**only, "SOURCES__MGAGE__MESSAGE_TYPE": "MO"}
    assert run(year, "--full-refresh", "--yes", **incoming).code == LOADED
    everything = sorted(
        [
            "old",
            *(f"{p} {k} {a}" for p in (121811, 121812) for k in ("MO", "MT") for a in (200, 10)),
        ]
    )
    assert sorted(messages(year)) == everything
    assert run(year, "--full-refresh", "--yes", **only).code == LOADED
    everything.remove("121811 MT 10")
    assert sorted(messages(year)) == everything
    both = {"SOURCES__MGAGE__PROGRAMS": "[121811, 121812]"}
    assert run(year, "--full-refresh", "--yes", **both).code == LOADED
    everything.remove("121812 MT 10")
    assert sorted(messages(year)) == everything


@pytest.mark.real_clock
@pytest.mark.parametrize(("answer", "code"), [("y", LOADED), ("n", UNUSABLE), ("", UNUSABLE)])
def test_at_a_terminal_it_asks(year: Warehouse, answer: str, code: int) -> None:
    year.box.requests.clear()
    ours, theirs = pty.openpty()
    changes = {"SOURCES__MGAGE__PROGRAMS": "[121811]", "TERM": "xterm", "COLUMNS": "200"}
    process = Fork(
        [MGAGE, "--full-refresh"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(year, **changes),
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    assert year.box.requests == []
    os.write(ours, f"{answer}\n".encode())
    try:
        while chunk := os.read(ours, 1000):
            said += chunk
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert process.wait(PATIENCE) == code
    assert b"365 days" in said
    assert bool(year.box.requests) == (code == LOADED)


# Groups: windows between complete reads


def requests_of_groups(warehouse: Warehouse) -> tuple[set[str], set[str]]:
    """The groups that were requested completely, and by window, since the last call."""
    found: tuple[set[str], set[str]] = (set(), set())
    for request in warehouse.box.requests:
        if request.endpoint == "group_members":
            found["from" in request.params].add(request.params["group_id"])
    warehouse.box.requests.clear()
    return found


def groups_of(warehouse: Warehouse) -> set[str]:
    return {str(row["id"]) for row in warehouse.box.service.rows("groups")}


def test_a_group_is_read_completely_once_a_day_and_not_all_in_one_run(
    account: Open, clock: Clock
) -> None:
    warehouse = account()
    service = warehouse.box.service
    for group in range(20):
        service.put("groups", {"id": 900 + group, "name": f"#{group}"})
        for member in service.rows("profiles")[:2]:
            service.add_member(900 + group, member["id"])
    groups = groups_of(warehouse)
    warehouse.load("group_members")
    assert requests_of_groups(warehouse)[0] == groups
    times: dict[str, int] = dict.fromkeys(groups, 0)
    runs = 8
    for _ in range(runs):
        clock.advance(86_400 / runs)
        service.advance(86_400 / runs)
        warehouse.load("group_members")
        complete, windows = requests_of_groups(warehouse)
        assert windows >= {group for group in groups if int(group) >= 900}
        assert len(complete) <= 1 + len(groups) / runs * 3
        for group in complete:
            times[group] += 1
    assert set(times.values()) <= {1, 2}


def test_a_group_whose_size_changed_is_read_completely_at_once(account: Open) -> None:
    warehouse = account()
    service = warehouse.box.service
    warehouse.load("group_members")
    requests_of_groups(warehouse)
    group = next(row for row in service.rows("groups") if row["size"] and row["size"] > 1)
    left, stays, *_ = service.truth("group_members", group_id=group["id"])
    warehouse.load("group_members")
    assert requests_of_groups(warehouse)[0] == set()
    service.remove_member(group["id"], left["id"])
    # A change shows in the window.
    service.update("profiles", stays["id"], first_name="Zoë")
    warehouse.load("group_members")
    assert requests_of_groups(warehouse)[0] == {str(group["id"])}
    assert_same(warehouse, "group_members")


def test_members_who_changed_places_are_found_at_the_next_complete_read(
    account: Open, clock: Clock
) -> None:
    warehouse = account()
    service = warehouse.box.service
    warehouse.load("group_members")
    group = next(row for row in service.rows("groups") if row["size"])
    members = {row["id"] for row in service.truth("group_members", group_id=group["id"])}
    other = next(row["id"] for row in service.rows("profiles") if row["id"] not in members)
    service.remove_member(group["id"], min(members))
    service.add_member(group["id"], other)
    clock.advance(86_400)
    service.advance(86_400)
    warehouse.load("group_members")
    assert_same(warehouse, "group_members")


def test_the_members_of_a_group_that_is_gone_are_gone_too(account: Open) -> None:
    warehouse = account()
    service = warehouse.box.service
    warehouse.load("group_members")
    group = next(row["id"] for row in service.rows("groups") if row["size"])
    service.delete("groups", group)
    summary = warehouse.load("group_members")
    assert summary.removed["group_members"] > 0
    assert_same(warehouse, "group_members")
    assert str(group) not in state_of(warehouse, "group_members")["cursors"]
    # It can come back.
    service.put("groups", {"id": group, "name": "again"})
    assert not warehouse.load("group_members").failed
    assert_same(warehouse, "group_members")


def test_the_interval_of_a_resource_can_be_set(account: Open) -> None:
    warehouse = account()
    warehouse.load("group_members", "campaign_subscribers")
    requests_of_groups(warehouse)
    warehouse.load("group_members", "campaign_subscribers", refresh_hours={"group_members": 0})
    windows = [request for request in warehouse.box.requests if "from" in request.params]
    assert {request.endpoint for request in windows} == {"group_members", "campaign_subscribers"}
    assert requests_of_groups(warehouse)[0] == groups_of(warehouse)
    with pytest.raises(ConfigurationError, match="refresh_hours names what has no complete reads"):
        warehouse.load("groups", refresh_hours={"groups": 1})
    with pytest.raises(ConfigurationError, match=r"refresh_hours\.profiles"):
        warehouse.load("profiles", refresh_hours={"profiles": -1})
