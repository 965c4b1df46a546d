"""What the dashboard shows is what the warehouse holds, in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dlt
import duckdb as duckdb_client
import psycopg2
import pytest
from dlt.common.destination.exceptions import DestinationException
from playwright.sync_api import expect
from psycopg2.extras import execute_values

from tests.dashboard.conftest import DAYS, MODELS, Dashboard, Files, environment
from tests.dashboard.reading import Figure, read_figures, read_table
from tests.support.warehouses import running_server
from textlift.dashboard import queries
from textlift.dashboard.filters import Filters
from textlift.dashboard.pages import contents
from textlift.dashboard.warehouse import Row, Warehouse
from textlift.destinations import destination
from textlift.registry import SERVICES

Query = Callable[[str], list[tuple[Any, ...]]]
IN_DAYS = f"date_day BETWEEN DATE '{DAYS['from']}' AND DATE '{DAYS['to']}'"
SENT_IN_DAYS = f"sent_at >= TIMESTAMPTZ '{DAYS['from']} 00:00:00+00' AND sent_at < TIMESTAMPTZ '2026-03-01 00:00:00+00'"
PAGES = ("Health", "Audience", "Messages", "Broadcasts", "All services")
NOTHING = "–"


def number(text: str) -> float | None:
    """The number that a page shows."""
    if text == NOTHING:
        return None
    value = float(re.sub(r"[^\d.+-]", "", text))
    return round(value / 100, 4) if "%" in text else value


def heights(figure: Figure, *keys: str) -> dict[tuple[str, ...], float | None]:
    """The heights of the marks of a chart, which are the last of the keys, by the other keys."""
    return {
        tuple(mark[key] for key in keys[:-1]): number(mark[keys[-1]])
        for mark in figure.marks
        if keys[-1] in mark and all(key in mark for key in keys)
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_audience_is_that_of_the_models(theme: str, dashboard: Dashboard, query: Query) -> None:
    shown = dashboard.figures("Audience", theme)
    ((gained, lost),) = query(
        "SELECT sum(gained), sum(lost) FROM texting.audience_by_day "
        f"WHERE list_type = 'service' AND {IN_DAYS}"
    )
    ((active,),) = query(
        "SELECT sum(active) FROM texting.audience_by_day AS one WHERE list_type = 'service' AND date_day = ("
        f"SELECT max(date_day) FROM texting.audience_by_day WHERE service = one.service AND {IN_DAYS})"
    )
    numbers = {name: number(value) for name, (value, _) in shown["Subscribers"].numbers.items()}
    assert numbers == {
        "subscribed at the end": active,
        "gained": gained,
        "lost": lost,
        "net": gained - lost,
    }
    months = query(
        "SELECT strftime(date_day, '%Y-%m'), sum(gained), sum(lost) FROM texting.audience_by_day "
        f"WHERE list_type = 'service' AND {IN_DAYS} GROUP BY 1"
    )
    bars = heights(shown["Gained, lost and net by month"], "month", "change", "people")
    assert bars == {
        **{(month, "gained"): up for month, up, _ in months},
        **{(month, "lost"): -down for month, _, down in months},
    }
    campaigns = query(
        "SELECT strftime(date_day, '%Y-%m') AS month, service, campaign_id, sum(gained), sum(lost), "
        "sum(gained - lost) FROM texting.audience_by_day "
        f"WHERE list_type <> 'service' AND {IN_DAYS} GROUP BY ALL HAVING sum(gained + lost) > 0"
    )
    table = shown["By campaign and month"].table
    expected = sorted(row[:2] + row[3:] for row in campaigns)[-len(table) :]
    found = [
        (row["month"], row["service"], *map(int, (row["gained"], row["lost"], row["net"])))
        for row in table
    ]
    assert set(found) <= {row[:2] + row[3:] for row in campaigns} and expected


def test_the_messages_are_those_of_the_models(dashboard: Dashboard, query: Query) -> None:
    shown = dashboard.figures("Messages")
    statuses = query(
        "SELECT strftime(sent_at AT TIME ZONE 'UTC', '%Y-%m-%d'), status, count(*) FROM texting.messages "
        f"WHERE direction = 'outbound' AND {SENT_IN_DAYS} GROUP BY 1, 2"
    )
    bars = heights(shown["Sent messages by day and status"], "day", "status", "messages")
    assert bars == {(day, status): count for day, status, count in statuses}
    ((received,),) = query(
        f"SELECT count(*) FROM texting.messages WHERE direction = 'inbound' AND {SENT_IN_DAYS}"
    )
    numbers = {name: number(value) for name, (value, _) in shown["Messages"].numbers.items()}
    assert numbers["sent"] == sum(count for *_, count in statuses)
    assert numbers["failed"] == sum(count for _, status, count in statuses if status == "failed")
    assert numbers["received"] == received
    carriers = query(
        "SELECT service, coalesce(carrier, 'not stated'), count(*), count(*) FILTER (status = 'failed') "
        f"FROM texting.messages WHERE direction = 'outbound' AND {SENT_IN_DAYS} GROUP BY 1, 2"
    )
    figure = shown["Failed messages by carrier"]
    assert len(figure.marks) == len(carriers)
    for row in figure.table:
        assert (
            row["service"],
            row["carrier"],
            number(row["sent"]),
            number(row["failed"]),
        ) in carriers


def test_broadcasts_can_be_sorted_and_each_has_a_page(dashboard: Dashboard, query: Query) -> None:
    rows = query(
        "SELECT name, recipients, replies, opt_outs, clicks, median_response_seconds FROM texting.broadcasts "
        f"WHERE status NOT IN ('draft', 'scheduled') AND {SENT_IN_DAYS}"
    )
    page = dashboard.open("Broadcasts")
    section = page.locator(".textlift-figure").nth(1)
    expect(section).to_contain_text(f"{len(rows)} rows")
    by_recipients = section.locator("th", has_text="recipients").locator(
        "[data-testid='data-table-sort-button']"
    )
    by_recipients.click()
    by_recipients.and_(section.locator("[aria-label*='descending']")).click()
    most = max(recipients or 0 for _, recipients, *_ in rows)
    expect(section.locator("tbody tr").first).to_contain_text(f"{most:,}")
    assert number(read_table(section)[0]["recipients"]) == most
    ((key, name, recipients, replies, opt_outs),) = query(
        "SELECT broadcast_key, name, recipients, replies, opt_outs FROM texting.broadcasts "
        "WHERE name LIKE '<b>%'"
    )
    page.goto(f"{dashboard.url}/?page=Broadcasts&broadcast={key}")
    page.wait_for_selector(".textlift-read-at")
    # A name is text, whatever it holds.
    assert page.locator(".textlift-h2").inner_text() == name
    shown = read_figures(page)
    numbers = shown["Response"].numbers
    assert number(numbers["recipients"][0]) == recipients
    assert number(numbers["reply rate"][0]) == pytest.approx(replies / recipients, abs=6e-4)
    assert number(numbers["opt-out rate"][0]) == pytest.approx(opt_outs / recipients, abs=6e-4)
    assert numbers["reply rate"][1] == f"{replies:,} replies"
    page.get_by_text("All broadcasts").click()
    page.wait_for_selector("text=Opt-out rate of each broadcast")
    page.close()


def test_all_services_are_compared(dashboard: Dashboard, query: Query) -> None:
    shown = dashboard.figures("All services")
    people = query("SELECT service, count(*) FROM texting.contacts GROUP BY 1")
    table = {row["service"]: number(row["people"]) for row in shown["Services"].table}
    assert table == dict(people)
    sent = query(
        "SELECT strftime(date_day, '%Y-%m'), service, sum(messages_sent) FROM texting.daily_activity "
        f"WHERE {IN_DAYS} GROUP BY 1, 2 HAVING sum(messages_sent) > 0"
    )
    bars = heights(shown["Sent messages by month"], "month", "service", "sent")
    assert bars == {(month, service): count for month, service, count in sent}


def test_health_shows_failures_and_rejects_without_the_models(
    dashboard: Dashboard, files: Files
) -> None:
    dashboard.show(files.without_models)
    shown = dashboard.figures("Health")
    assert [row["message"] for row in shown["Failures"].table] == ["Status 503 from the service"]
    (reject,) = shown["Rejects by reason"].table
    assert (reject["resource"], reject["reason"]) == ("messages", "no time of the declared form")
    assert (reject["unresolved"], reject["resolved"]) == ("1", "0")
    assert "written by a person" not in str(shown)
    runs = {row["service"]: int(row["failed"]) for row in shown["Recent runs"].table}
    assert runs == {"mgage": 1}, "the other runs are not of these days"
    assert set(shown["Last run of each service"].numbers) == {
        name for (name,) in files.query("SELECT DISTINCT service FROM texting.contacts")
    }
    for name in PAGES[1:]:
        page = dashboard.open(name)
        expect(page.locator("marimo-callout-output")).to_contain_text("textlift models")
        page.close()


def test_filters_hold_for_every_figure_and_stay_in_the_address(
    dashboard: Dashboard, query: Query
) -> None:
    ((campaign, _),) = query(
        "SELECT campaign_id, max(campaign_name) FROM texting.daily_activity WHERE service = 'mcommons' "
        f"AND campaign_id IS NOT NULL AND {IN_DAYS} GROUP BY 1 ORDER BY sum(messages_sent) DESC LIMIT 1"
    )
    page = dashboard.open("Messages", service="mcommons", campaign=f"mcommons:{campaign}")
    ((sent,),) = query(
        "SELECT sum(messages_sent) FROM texting.daily_activity "
        f"WHERE service = 'mcommons' AND campaign_id = '{campaign}' AND {IN_DAYS}"
    )
    assert number(read_figures(page)["Messages"].numbers["sent"][0]) == sent
    page.get_by_role("tab", name="Audience").click()
    page.wait_for_selector("text=Gained, lost and net by month")
    ((gained,),) = query(
        "SELECT sum(gained) FROM texting.audience_by_day "
        f"WHERE service = 'mcommons' AND campaign_id = '{campaign}' AND {IN_DAYS}"
    )
    assert number(read_figures(page)["Subscribers"].numbers["gained"][0]) == gained
    page.wait_for_url(re.compile("page=Audience.*"))
    assert f"mcommons%3A{campaign}" in page.url and dashboard.token not in page.url
    # By hand: no campaign, and another service.
    page.get_by_role("tab", name="Messages").click()
    page.wait_for_selector("text=Failed messages by carrier")
    page.locator("marimo-dropdown button").click()
    page.get_by_role("option", name="All campaigns").click()
    page.locator("marimo-multiselect button").first.click()
    page.get_by_role("option", name="mgage").click()
    page.keyboard.press("Escape")
    ((both,),) = query(
        "SELECT sum(messages_sent) FROM texting.daily_activity "
        f"WHERE service IN ('mcommons', 'mgage') AND {IN_DAYS}"
    )
    expect(page.locator(".textlift-number b").first).to_have_text(f"{both:,}")
    assert "campaign=" not in page.url
    page.close()


def test_each_figure_is_what_its_sql_returns(dashboard: Dashboard, files: Files) -> None:
    ((key,),) = files.query("SELECT max(broadcast_key) FROM texting.broadcasts WHERE replies > 0")
    for page, more in [*((page, {}) for page in PAGES), ("Broadcasts", {"broadcast": key})]:
        for title, figure in dashboard.figures(page, **more).items():
            rows = files.query(figure.sql)
            if figure.table:
                # Long tables have pages of 15 rows, and say how many there are.
                assert len(figure.table) == min(len(rows), 15), title
                assert len(rows) <= 15 or f"{len(rows):,} rows" in figure.text, title
            if not figure.has_chart and not figure.table and not figure.numbers:
                assert not rows, title


def test_empty_warehouses_and_a_single_service_look_right(
    dashboard: Dashboard, files: Files
) -> None:
    dashboard.show(files.new)
    for name, advice in (("Health", "textlift load"), ("Messages", "textlift models")):
        page = dashboard.open(name)
        expect(page.locator("marimo-callout-output")).to_contain_text(advice)
        page.close()
    dashboard.show(files.without_rows)
    for name in PAGES:
        for title, figure in dashboard.figures(name).items():
            assert not figure.has_chart and not figure.table, title
            shown = {value for value, _ in figure.numbers.values()}
            assert shown <= {NOTHING} if shown else "Nothing here" in figure.text, title
    dashboard.show(files.single)
    assert set(dashboard.figures("Health")["Last run of each service"].numbers) == {"mgage"}
    assert [row["service"] for row in dashboard.figures("All services")["Services"].table] == [
        "mgage"
    ]
    messages = dashboard.figures("Messages")
    assert {row["service"] for row in messages["Failed messages by carrier"].table} == {"mgage"}
    audience = dashboard.figures("Audience")
    assert audience["Gained, lost and net by month"].marks == []


def test_light_and_dark_follow_the_browser(dashboard: Dashboard) -> None:
    found = {}
    for theme in ("light", "dark"):
        page = dashboard.open("Audience", theme)
        read_figures(page)
        found[theme] = page.evaluate(
            "() => [getComputedStyle(document.querySelector('#App')).backgroundColor, "
            "getComputedStyle(document.querySelector('.textlift-number b')).color]"
        )
        label = page.locator("svg text").first
        found[theme].append(label.evaluate("text => getComputedStyle(text).fill"))
        page.close()

    def brightness(color: str) -> float:
        parts = [float(part) for part in re.findall(r"[\d.]+", color)[:3]]
        return sum(parts) / 3 * (255 if "srgb" in color else 1)

    for theme, (ground, *inks) in found.items():
        for ink in inks:
            difference = brightness(ink) - brightness(ground)
            assert abs(difference) > 100 and (difference > 0) == (theme == "dark"), found


def test_a_load_can_write_while_pages_are_open(dashboard: Dashboard, query: Query) -> None:
    page = dashboard.open("Messages")
    # A reader with the file open would block this.
    with duckdb_client.connect(str(dashboard.file)) as writer:
        page.get_by_role("tab", name="Audience").click()
        writer.execute("UPDATE texting.audience_by_day SET gained = gained + 1")
        assert page.locator("text=Gained, lost and net by month").count() == 0
    page.wait_for_selector("text=Gained, lost and net by month")
    ((gained,),) = query(
        "SELECT sum(gained + 1) FROM texting.audience_by_day "
        f"WHERE list_type = 'service' AND {IN_DAYS}"
    )
    assert number(read_figures(page)["Subscribers"].numbers["gained"][0]) == gained
    page.close()


def test_nobody_reads_without_the_token_and_nothing_leaves_the_machine(
    dashboard: Dashboard,
) -> None:
    for page in PAGES:
        dashboard.figures(page)
    assert all(url.startswith((dashboard.url, "data:", "blob:")) for url in dashboard.requested)
    assert "CONNECTS TO" not in dashboard.log and dashboard.token not in dashboard.log
    for path in ("/", "/?access_token=wrong", "/api/status"):
        request = urllib.request.Request(f"{dashboard.url}{path}")
        try:
            with urllib.request.urlopen(request) as answer:
                assert "/auth/login" in answer.url, path
        except urllib.error.HTTPError as error:
            assert error.code in (401, 403), path
    left = {path.name for path in dashboard.folder.iterdir()}
    assert left <= {"__pycache__", "log.txt", "shown.duckdb", "sitecustomize.py", "state"}


def test_a_missing_extra_is_named(tmp_path: Path, files: Files) -> None:
    code = (
        "import sys; sys.modules['marimo'] = None; from textlift.cli import main; sys.exit(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "dashboard"],
        env=environment(tmp_path, files.new),
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "marimo" in ended.stderr and "textlift[dashboard]" in ended.stderr


def test_nothing_is_left_of_a_start_that_is_stopped(tmp_path: Path, files: Files) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "textlift", "dashboard", "--port", "0"],
        env=environment(tmp_path, files.full, TMPDIR=str(scratch)),
        stdout=subprocess.PIPE,
    )
    # Before it listens.
    while not list(scratch.glob("textlift-dashboard-*")):
        assert process.poll() is None
    process.terminate()
    printed, _ = process.communicate()
    assert (process.returncode, printed) == (0, b"")
    assert list(scratch.iterdir()) == []


def test_a_file_with_the_name_of_a_schema_shows_its_runs(files: Files, tmp_path: Path) -> None:
    every = Filters((), date(2025, 1, 1), date(2026, 2, 28))

    def asked(name: str) -> list[list[Row]]:
        file = shutil.copy(files.full, tmp_path / name)
        pipeline = dlt.pipeline(
            "read", destination=destination("duckdb", credentials=str(file)), dataset_name="texting"
        )
        warehouse = Warehouse(pipeline.destination_client().sql_client)
        known = contents(warehouse)
        sqls = [queries.services(known.datasets), queries.freshness(known.datasets)]
        sqls += [queries.recent_runs(known.datasets, every), queries.rejects(known.rejects)]
        return [warehouse.rows(sql) for sql in [*sqls, queries.failures(known.datasets, every)]]

    assert all(asked("other.duckdb"))
    assert asked("mgage.duckdb") == asked("other.duckdb")


@pytest.fixture(scope="module")
def on_postgres(files: Files) -> Iterator[Warehouse]:
    """The tables of the warehouse of all services in PostgreSQL, in another time zone."""
    with running_server() as server:
        server.psql("CREATE DATABASE textlift")
        server.psql("ALTER DATABASE textlift SET TimeZone = 'America/Los_Angeles'")
        uri = server.get_uri(database="textlift").replace("postgres:@/", "postgres:-@localhost/")
        with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
            for schema in (*SERVICES, "texting"):
                cursor.execute(f"CREATE SCHEMA {schema}")
                used = MODELS if schema == "texting" else ("load_runs", "rejected_records")
                for name in used:
                    copy_table(files, cursor, f"{schema}.{name}")
        connection.close()
        warehouse = destination("postgres", credentials=uri)
        pipeline = dlt.pipeline("read", destination=warehouse, dataset_name="texting")
        yield Warehouse(pipeline.destination_client().sql_client)


def copy_table(files: Files, cursor: Any, table: str) -> None:
    columns = files.query(f"SELECT column_name, column_type FROM (DESCRIBE {table})")
    types = (f'"{name}" {kind.replace("DOUBLE", "DOUBLE PRECISION")}' for name, kind in columns)
    cursor.execute(f"CREATE TABLE {table} ({', '.join(types)})")
    rows = files.query(f"SELECT * FROM {table}")
    if rows:
        execute_values(cursor, f"INSERT INTO {table} VALUES %s", rows)


def test_postgres_returns_the_same_and_nothing_can_be_written(
    on_postgres: Warehouse, files: Files, tmp_path: Path
) -> None:
    file = shutil.copy(files.full, tmp_path / "read.duckdb")
    pipeline = dlt.pipeline(
        "read", destination=destination("duckdb", credentials=str(file)), dataset_name="texting"
    )
    on_duckdb = Warehouse(pipeline.destination_client().sql_client)
    known = contents(on_duckdb)
    assert contents(on_postgres) == known
    ((key,),) = files.query("SELECT max(broadcast_key) FROM texting.broadcasts WHERE replies > 0")
    start, end = date(2025, 3, 1), date(2026, 2, 28)
    every = Filters((), start, end)
    one = Filters(("mcommons",), date(2024, 1, 1), end, known.campaigns[0])
    asked = [
        query(filters)
        for filters in (every, one)
        for query in (
            *(queries.audience, queries.audience_by_month, queries.subscribers),
            *(queries.audience_by_campaign, queries.activity, queries.messages_by_status),
            *(queries.messages_by_day, queries.messages_by_carrier, queries.broadcasts),
            *(queries.all_services, queries.activity_by_service, queries.shared_people),
        )
    ]
    asked += [queries.broadcast(key), queries.broadcast_messages(key)]
    asked += [queries.broadcast_answers(key), queries.rejects(known.rejects)]
    asked += [queries.services(known.datasets), queries.freshness(known.datasets)]
    asked += [queries.recent_runs(known.datasets, every), queries.failures(known.datasets, every)]
    for sql in asked:
        ours, theirs = on_duckdb.rows(sql), on_postgres.rows(sql)
        assert sorted(map(comparable, ours)) == sorted(map(comparable, theirs)), sql
    for warehouse in (on_duckdb, on_postgres):
        with pytest.raises(DestinationException, match=r"read.?only"):
            warehouse.rows("DELETE FROM texting.messages")


def comparable(row: Row) -> list[tuple[str, str]]:
    """The values of a row as text; rates are not exact."""
    return [
        (name, f"{value:.6f}" if isinstance(value, (int, float)) else str(value))
        for name, value in row.items()
    ]
