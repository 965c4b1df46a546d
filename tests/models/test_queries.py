"""The queries of docs/queries.md: the same in DuckDB and PostgreSQL, in any time zone, and right."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.models.conftest import ZONES, Modelled
from tests.support.documents import fences, page
from tests.support.truth import expected
from textlift.privacy.columns import normalized_phone

pytestmark = pytest.mark.real_clock
PAGE = "docs/queries.md"
QUERIES = dict(re.findall(r"^([^\n]+):\n\n```sql\n(.*?)```", page(PAGE), re.MULTILINE | re.DOTALL))
Row = tuple[Any, ...]


def plain(value: Any) -> Any:
    """A value without what is only the client's."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return value


def rows(warehouse: Modelled, title: str, zone: str = "UTC") -> list[Row]:
    """All rows of a query, without its limit."""
    sql = re.sub(r"\nLIMIT \d+$", "", QUERIES[title].strip())
    return [tuple(map(plain, row)) for row in warehouse.query(sql, zone)]


@pytest.fixture
def account(modelled: Modelled) -> Mapping[str, list[dict[str, Any]]]:
    """The rows of Mobile Commons."""
    return expected(modelled.boxes["mcommons"].service)


def test_the_page_has_twenty_questions() -> None:
    assert len(QUERIES) == len(fences(page(PAGE), "sql")) == 20


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_gives_the_same_in_every_time_zone(modelled: Modelled, title: str) -> None:
    in_utc, elsewhere = (rows(modelled, title, zone) for zone in ZONES)
    assert in_utc
    assert in_utc == elsewhere


@pytest.mark.parametrize("sql", fences(page("docs/models.md"), "sql"))
def test_a_query_on_the_page_of_the_models_finds_something(modelled: Modelled, sql: str) -> None:
    assert modelled.query(sql)


# The warehouses are loaded from the same accounts, so what is right in one is right in the other.


def test_opt_out_rates_are_those_of_the_service(
    modelled: Modelled, account: Mapping[str, list[dict[str, Any]]]
) -> None:
    broadcasts = {row["name"]: row for row in account["broadcasts"]}
    for _, name, recipients, opt_outs, percent in rows(modelled, "Opt-out rate by broadcast"):
        assert recipients == broadcasts[name]["estimated_recipients_count"]
        assert opt_outs == broadcasts[name]["opt_outs_count"]
        assert percent is None or abs(percent - 100 * opt_outs / recipients) < 0.01


def test_replies_are_counted_on_days_in_utc(
    modelled: Modelled, account: Mapping[str, list[dict[str, Any]]]
) -> None:
    counted: dict[Row, int] = defaultdict(int)
    for message in account["incoming_messages"]:
        if message.get("keyword_id"):
            counted[message["received_at"].date(), message["keyword_id"]] += 1
    found = {
        (day, id): number for day, id, _, number in rows(modelled, "Replies by keyword and day")
    }
    assert found == counted


def test_gains_and_losses_are_those_of_the_service(
    modelled: Modelled, account: Mapping[str, list[dict[str, Any]]]
) -> None:
    gained: dict[Row, int] = defaultdict(int)
    lost: dict[Row, int] = defaultdict(int)
    for row in account["profiles__subscriptions"]:
        gained[row["activated_at"].date().replace(day=1), row["campaign_id"]] += 1
        if row["status"] != "Active":
            lost[row["opted_out_at"].date().replace(day=1), row["campaign_id"]] += 1
    found = rows(modelled, "Subscribers gained and lost by campaign and month")
    assert {(month, id): (won, gone, net) for month, id, _, won, gone, net in found} == {
        key: (gained[key], lost[key], gained[key] - lost[key]) for key in {*gained, *lost}
    }


def test_response_times_are_those_of_the_models(modelled: Modelled) -> None:
    # Which are compared with the service.
    found = rows(modelled, "Response time to a broadcast")
    assert {(str(id), people, seconds) for id, _, people, seconds in found} == {
        (row["broadcast_id"], row["replies"], row["median_response_seconds"])
        for row in modelled.mart("broadcasts")
        if row["replies"]
    }


def test_delivered_shares_are_those_of_the_service(modelled: Modelled) -> None:
    service = modelled.boxes["mgage"].service
    found = rows(modelled, "Share of messages that arrive, by program and network")
    assert found
    for program, _, network, sent, percent in found:
        statuses = [
            row["deliveryStatus"]
            for row in service.served(program)
            if row["type"] == "MT" and (row["network"] or "unknown") == network
        ]
        assert sent == len(statuses)
        assert abs(percent - 100 * statuses.count("Delivered") / sent) < 0.01


def test_people_are_those_with_the_same_number(modelled: Modelled) -> None:
    known: dict[str, set[str]] = defaultdict(set)
    for service, table, column in (
        ("mcommons", "profiles", "phone_number"),
        ("mgage", "messages", "number"),
        ("mobiniti", "contacts", "phone_number"),
        ("messangi", "messages", '"to"'),
        ("textme", "subscriptions", "mobile_phone"),
    ):
        for (number,) in modelled.query(f"SELECT DISTINCT {column} FROM {service}.{table}"):
            if number:
                known[normalized_phone(number)].add(service)
    counted: dict[str, int] = defaultdict(int)
    for services in known.values():
        if len(services) > 1:
            counted[", ".join(sorted(services))] += 1
    [title] = [title for title in QUERIES if title.startswith("People whom several services know")]
    assert {services: people for services, people, _ in rows(modelled, title)} == counted


def test_the_audience_of_a_month_is_that_of_its_last_day(modelled: Modelled) -> None:
    days = {
        (row["service"], row["date_day"]): row
        for row in modelled.mart("audience_by_day")
        if row["list_type"] == "service"
    }
    found = rows(modelled, "Audience at the end of each month, by service")
    assert sum(gained - lost for *_, gained, lost in found) == sum(
        row["gained"] - row["lost"] for row in days.values()
    )
    for month, service, active, _, _ in found:
        last = max(day for name, day in days if name == service and day.replace(day=1) == month)
        assert active == days[service, last]["active"]
