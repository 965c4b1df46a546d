"""How far a run is, and what it prints: one display, dated lines or JSON, and each fact once."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta

import pytest

from tests.conftest import TODAY, Open
from tests.support.commands import DATED, FAILED, LOADED, run
from textlift.cli import progress as display
from textlift.cli import report
from textlift.extract.progress import Progress
from textlift.load.loading import load
from textlift.sandbox import Request, Response
from textlift.windows import Window

WEEK = Window(TODAY, TODAY + timedelta(days=7))


def test_a_part_of_a_window_is_a_share_of_its_time() -> None:
    progress = Progress()
    progress.expect([WEEK, None])
    first, *_, last = WEEK.split(7)
    progress.count_rows(10, first, is_last=False)
    assert progress.share == 0
    progress.count_rows(10, first, is_last=True)
    assert progress.slices_done == pytest.approx(1 / 7)
    progress.count_rows(10, last, is_last=True)
    assert (progress.slices_done, progress.share, progress.rows) == (1, 0.5, 30)
    assert not progress.is_done
    progress.count_rows(0, None, is_last=True)
    assert progress.is_done
    assert progress.seconds_left == 0


def test_where_rows_are_counted_the_time_left_follows_the_rows() -> None:
    progress = Progress()
    progress.expect([WEEK])
    progress.expect_rows(0, 1000)
    progress._started -= 60
    first, *_, sixth, _ = WEEK.split(7)
    progress.count_rows(40, first, is_last=True)
    progress.count_rows(60, sixth, is_last=True)
    # A tenth of the rows, though six of the seven days: 60 seconds of 600.
    assert progress.share == pytest.approx(0.1)
    assert progress.seconds_left == pytest.approx(540, rel=0.05)
    progress.count_rows(900, WEEK, is_last=True)
    assert progress.is_done


def test_another_phase_has_slices_of_its_own() -> None:
    progress = Progress()
    progress.expect([None])
    progress.count_rows(1, None, is_last=True)
    progress.expect([WEEK])
    assert (progress.slices, progress.share) == (2, 0.5)
    assert not progress.is_done


def test_every_resource_of_a_load_gets_done(account: Open) -> None:
    warehouse = account()
    source = warehouse.source(package_rows=200, page_size=1, isolate_failures=True)
    pipeline = warehouse.pipeline()
    with display.shown(pipeline, source, None):
        assert load(pipeline, source).packages > 1
        run = pipeline.collector
        assert isinstance(run, display.Run)
        assert run.reading() == {}
        count = len(source.resources)
        assert f" {count} of {count} resources read" in run.total()
        rows = {name: report.progress.rows for name, report in run.reports().items()}
    for name in ("profiles", "calls", "campaigns", "group_members"):
        assert rows[name] >= len(warehouse.content(name))


def test_lines_say_what_is_being_read(
    account: Open, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = account()
    monkeypatch.setattr(display, "INTERVAL", 0.001)
    source = warehouse.source(isolate_failures=True)
    pipeline = warehouse.pipeline()
    with display.shown(pipeline, source, ["profiles"]):
        load(pipeline, source, ["profiles"])
    start, *progress, end = capsys.readouterr().out.splitlines()
    assert all(DATED.match(line) for line in (start, *progress, end))
    assert start.endswith("mcommons: loading 1 resource")
    assert re.search(r"mcommons: ended after [\d.]+ s$", end)
    assert any("; profiles 0%, " in line for line in progress)
    assert any(" mcommons: load, 1 of 1 resources read, " in line for line in progress)


def test_the_summary_is_printed_without_opening_the_file(
    account: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = account()
    pipeline = warehouse.pipeline()
    summary = load(pipeline, warehouse.source(), ["campaigns"])
    # Opening the file would wait for a run that has it open, and create it again here.
    warehouse.file.unlink()
    report.show(pipeline, summary, sys.stderr)
    assert f"in duckdb:///{warehouse.file}" in capsys.readouterr().out
    assert not warehouse.file.exists()


@pytest.mark.real_clock
def test_a_log_gets_dated_lines_and_numbers_with_separators(account: Open) -> None:
    warehouse = account(profiles=1100)
    ended = run(warehouse, "--resources", "profiles")
    assert ended.code == LOADED
    assert len(ended.progress) == 2
    count = len(warehouse.box.service.rows("profiles"))
    assert count > 1000
    assert f"profiles: {count:,} rows, " in ended.out


@pytest.mark.real_clock
def test_json_logs_get_json_alone(account: Open) -> None:
    warehouse = account()
    ended = run(warehouse, "--resources", "campaigns", RUNTIME__LOG_FORMAT="JSON")
    events = {event["event"]: event for event in map(json.loads, ended.out.splitlines())}
    assert list(events) == ["start", "end", "summary"]
    assert events["start"]["resources"] == ["campaigns"]
    assert events["end"]["outcome"] == "ended"
    campaigns = len(warehouse.box.service.rows("campaigns"))
    assert events["summary"]["rows"]["campaigns"] == campaigns


@pytest.mark.real_clock
def test_an_outage_is_one_failure_and_not_a_warning_for_each_request(account: Open) -> None:
    warehouse = account()
    warehouse.box.faults.append(lambda request: Response(503, b"<h1>Down</h1>"))
    ended = run(warehouse, RUNTIME__REQUEST_MAX_ATTEMPTS="3")
    assert ended.code == FAILED
    lines = ended.err.splitlines()
    assert sum("trying again" in line for line in lines) == 1
    (total,) = (line for line in lines if "retries in all" in line)
    retries = warehouse.query("SELECT sum(retries) FROM load_runs")
    assert f"{int(str(retries[0][0])):,} retries in all" in total
    (failure,) = (line for line in lines if "failed" in line)
    assert "profiles, " in failure
    assert "and stay where they were: HTTP 503" in failure
    assert len(lines) == 3


@pytest.mark.real_clock
def test_a_resource_that_fails_shows_no_window(account: Open) -> None:
    warehouse = account()

    def down(request: Request) -> Response | None:
        return Response(400, b"<h1>no</h1>") if request.endpoint == "sent_messages" else None

    warehouse.box.faults.append(down)
    ended = run(warehouse, "--resources", "profiles,outgoing_messages")
    lines = dict(line.split(": ", 1) for line in ended.out.splitlines() if ": " in line)
    assert " to " in lines["profiles"]
    assert lines.get("outgoing_messages", "0 rows") == "0 rows"
