"""A public client of the real service, parsons' MobileCommons, reads the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from textlift.sandbox import Sandbox
from textlift.sandbox.mcommons import MobileCommons

parsons = pytest.importorskip("parsons.mobilecommons.mobilecommons")


@pytest.fixture
def service() -> MobileCommons:
    return MobileCommons(profiles=3400, now="2025-06-01T12:00:00Z")


@pytest.fixture
def box(service: MobileCommons) -> Iterator[Sandbox]:
    with Sandbox(service) as box:
        yield box


@pytest.fixture
def client(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(parsons, "MC_URI", box.url)
    return parsons.MobileCommons(
        api_key="sandbox-token", company_id="COSANDBOX00000000000000000000000001"
    )


def pages(box: Sandbox) -> list[str]:
    return [request.params.get("page", "1") for request in box.requests]


def test_profiles(service: MobileCommons, box: Sandbox, client: Any) -> None:
    table = client.get_profiles(include_custom_columns=True, include_subscriptions=True)
    rows = service.rows("profiles")
    assert table["id"] == [str(row["id"]) for row in rows]
    assert table["first_name"][:1000] == [row["first_name"] for row in rows[:1000]]
    # It goes on until a page with num="0".
    assert pages(box) == ["1", "2", "3", "4", "5"]


def test_profiles_by_phone_number_and_date(service: MobileCommons, client: Any) -> None:
    rows = service.rows("profiles")[:2]
    table = client.get_profiles(phones=[row["phone_number"] for row in rows])
    assert table["id"] == [str(row["id"]) for row in rows]
    table = client.get_profiles(first_date="2025-05-01", last_date="2025-06-01")
    assert 0 < table.num_rows < 1000


def test_campaign_subscribers(service: MobileCommons, box: Sandbox, client: Any) -> None:
    rows = service.truth("campaign_subscribers", campaign_id=162603)
    assert len(rows) > 1000
    table = client.get_campaign_subscribers(campaign_id=162603)
    assert table["id"] == [str(row["id"]) for row in rows]
    # The last one is empty.
    assert pages(box) == [str(n) for n in range(1, -(-len(rows) // 1000) + 2)]


def test_broadcasts(service: MobileCommons, box: Sandbox, client: Any) -> None:
    campaign = {"id": 162603, "active": True, "name": "Members"}
    for id in range(1, 2001 - len(service.rows("broadcasts"))):
        service.put("broadcasts", {"id": id, "name": f"#{id}", "campaign": campaign})
    # It stops when it has page_count full pages, so the last page has to be full.
    table = client.get_broadcasts()
    assert table["id"] == [str(row["id"]) for row in service.rows("broadcasts")]
    assert pages(box) == ["1", "2"]
    assert table["campaign_name"][0] == "Members"


def test_broadcasts_up_to_a_limit(client: Any) -> None:
    table = client.get_broadcasts(limit=50, status="generated")
    assert table.num_rows == 50


def test_wrong_credentials(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsons, "MC_URI", box.url)
    with pytest.raises(Exception, match="401"):
        parsons.MobileCommons(api_key="wrong").get_profiles()


def test_the_error_page_is_one_it_can_read(client: Any) -> None:
    response = client.client.request("nosuch", "GET", raise_on_error=False)
    with pytest.raises(Exception, match="Page not found\nThe page you were looking for"):
        client._check_response_status_code(response)
