"""Routes, windows, paging and limits of a service that declares them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from textlift.sandbox import Request, Response
from textlift.sandbox.service import Account, Failure, Paging, Query
from textlift.sandbox.tables import Later, Table

NOW = "2025-06-01T12:00:00Z"
LOGIN = "Bearer right"


def _people(account: Shop, query: Query) -> Response:
    window = query.window("since", "until")
    page = query.page(account.select("people", int(query.path["shop"]), *window), Paging(2, 3))
    names = [row["name"] for row in page.rows]
    return Response(200, json.dumps([names, page.number, page.limit, page.count]).encode())


def _shops(account: Shop, query: Query) -> Response:
    return Response(200, b"[]")


class Shop(Account):
    """Two routes, and one table."""

    routes = {"shops": _shops, "shops/{shop}/people": _people}  # noqa: RUF012

    def __init__(self, **limits: Any) -> None:
        super().__init__(NOW, [LOGIN], **limits)
        blank = {"id": None, "shop_id": None, "name": "", "seen_at": None}
        self.tables = {"people": Table(blank, cursor="seen_at", parent="shop_id")}
        for number in range(1, 8):
            row = {"id": number, "shop_id": 1 + number % 2, "name": f"#{number}"}
            row["seen_at"] = f"2025-05-0{number}"
            self.tables["people"].put(number, row, self.now())

    def failure(self, status: int) -> Response:
        return Response(status)

    def invalid(self, name: str, value: str) -> Failure:
        return Failure(Response(400, name.encode()))


def ask(shop: Shop, endpoint: str, in_progress: int = 1, **query: str) -> Response:
    headers = {"authorization": LOGIN}
    return shop.answer(
        Request("GET", f"/api/{endpoint}", endpoint, list(query.items()), headers, in_progress)
    )


def people(**query: str) -> Any:
    return json.loads(ask(Shop(), "shops/2/people", **query).body)


def test_a_route_has_parameters_in_its_path() -> None:
    assert people()[0] == ["#1", "#3"]
    assert ask(Shop(), "shops/2/people/3").status == 404
    assert ask(Shop(), "shops/x/y/people").status == 404


def test_pages() -> None:
    assert people() == [["#1", "#3"], 1, 2, 2]
    assert people(page="2") == [["#5", "#7"], 2, 2, 2]
    assert people(page="3") == [[], 3, 2, 2]
    assert people(limit="9") == [["#1", "#3", "#5"], 1, 3, 2]
    for name in ("page", "limit"):
        response = ask(Shop(), "shops/2/people", **{name: "0"})
        assert (response.status, response.body) == (400, name.encode())


def test_windows_include_both_ends() -> None:
    assert people(since="2025-05-03", until="2025-05-05")[0] == ["#3", "#5"]
    assert ask(Shop(), "shops/2/people", since="2025-05-03", until="2025-05-02").body == b"window"
    assert ask(Shop(), "shops/2/people", until="soon").body == b"until"


def test_each_route_has_a_rate_of_its_own() -> None:
    shop = Shop(requests_per_second=0.001)
    statuses = [ask(shop, path).status for path in ("shops", "shops", "shops/1/people")]
    # All parents share the rate of their route.
    assert [*statuses, ask(shop, "shops/2/people").status] == [200, 429, 200, 429]


def test_too_many_calls_at_once_are_refused() -> None:
    shop = Shop(concurrent_calls=2)
    assert [ask(shop, "shops", in_progress=count).status for count in (2, 3)] == [200, 429]


def test_a_value_changes_when_its_time_has_come() -> None:
    table = Table({"status": None})
    table.add(1, {"status": Later("queued", ((10, "sent"), (20, "read")))})
    assert [table.select(now)[0]["status"] for now in (9, 10, 19, 20)] == [
        *("queued", "sent", "sent", "read")
    ]


def test_a_history_leaves_alone_what_a_test_has_touched() -> None:
    shop = Shop()
    table = shop.tables["people"]
    table.delete(1)
    for number in (1, 2):
        table.add(number, {"name": "again"})
        table.change(number, name="changed")
        table.remove(number)
    assert 1 not in table.rows
    assert table.rows[2]["name"] == "#2"


@pytest.mark.parametrize("key", [1, 99])
def test_updates_and_deletions_of_rows(key: int) -> None:
    shop = Shop()
    if key == 99:
        with pytest.raises(KeyError, match="people has no row 99"):
            shop.update("people", key, name="new")
    else:
        assert shop.update("people", key, name="new") == 1
        shop.delete("people", key)
        assert key not in [row["id"] for row in shop.select("people")]
