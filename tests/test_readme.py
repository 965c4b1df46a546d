"""The README's example queries run, and say something about an account with data."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest
from dlt.extract import DltSource

from tests.conftest import PROJECT, Open, Warehouse
from textlift.mcommons import mcommons_source
from textlift.mgage import mgage_source

README = (PROJECT / "README.md").read_text()
*QUERIES, (_, DELIVERED) = re.findall(
    r"^([A-Z][^\n]*):\n\n```sql\n(.*?)```", README, re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="module")
def titles() -> list[str]:
    return [title for title, _ in QUERIES]


@pytest.fixture
def filled(account: Open) -> Warehouse:
    warehouse = account(profiles=300)
    warehouse.load("profiles", "incoming_messages", "outgoing_messages", "broadcasts")
    return warehouse


def test_the_questions_an_analyst_asks_are_answered(titles: list[str]) -> None:
    asked = ["Opt-out rate by broadcast", "Replies by keyword and day"]
    asked += ["Subscribers gained and lost by campaign and month", "Response time to a broadcast"]
    assert titles == asked


def test_every_query_finds_something(filled: Warehouse) -> None:
    for title, query in QUERIES:
        assert filled.query(query), title


def test_opt_out_rates_are_those_of_the_service(filled: Warehouse) -> None:
    broadcasts = {row["name"]: row for row in filled.box.service.rows("broadcasts")}
    for _, name, recipients, opt_outs, percent in filled.query(QUERIES[0][1]):
        assert recipients == broadcasts[name]["estimated_recipients_count"]
        assert opt_outs == broadcasts[name]["opt_outs_count"]
        assert percent is None or abs(percent - 100 * opt_outs / recipients) < 0.01


def test_gains_and_losses_are_those_of_the_service(filled: Warehouse) -> None:
    subscriptions = [
        subscription
        for profile in filled.box.service.rows("profiles")
        for subscription in profile["subscriptions"]
    ]
    for campaign, month, gained, lost, net in filled.query(QUERIES[2][1]):

        def in_month(when: str, campaign: str = campaign, month: object = month) -> int:
            times = [s[when] for s in subscriptions if s["campaign_name"] == campaign and s[when]]
            return sum((t.year, t.month) == (month.year, month.month) for t in times)  # type: ignore[attr-defined]

        assert gained == in_month("activated_at")
        assert lost == in_month("opted_out_at")
        assert net == gained - lost


def test_delivered_shares_are_those_of_the_service(export: Open) -> None:
    warehouse = export(messages=600)
    warehouse.load()
    service = warehouse.box.service
    ids = {info["programName"]: id for id, info in service.programs.items()}
    found = warehouse.query(DELIVERED)
    assert found
    for program, network, sent, percent in found:
        statuses = [
            row["deliveryStatus"]
            for row in service.served(ids[program])
            if row["type"] == "MT" and (row["network"] or "unknown") == network
        ]
        assert sent == len(statuses)
        assert abs(percent - 100 * statuses.count("Delivered") / sent) < 0.01


@pytest.mark.parametrize(
    ("service", "source"), [("Mobile Commons", mcommons_source), ("mGage", mgage_source)]
)
def test_the_configuration_table_holds_the_settings_of_the_source_and_no_others(
    service: str, source: Callable[..., DltSource]
) -> None:
    section = README[README.index("## Configuration") :]
    table = re.search(rf"{service}:\n\n((?:\|.*\n)+)", section)
    assert table
    keys = {
        key for line in table[1].splitlines() for key in re.findall(r"`([^`]+)`", line[:60])[:1]
    }
    named = {key.partition(".")[0] for key in keys}
    by_command_line = {"since", "until", "package_rows", "isolate_failures"}
    assert named == set(signature(source).parameters) - by_command_line


def test_the_files_and_commands_it_names_are_there() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in (
        "CONTRIBUTING.md",
        "LICENSE",
        ".dlt/secrets.toml.example",
        "pipelines/mcommons.py",
        "pipelines/mgage.py",
    ):
        assert Path(PROJECT / name).is_file(), name
