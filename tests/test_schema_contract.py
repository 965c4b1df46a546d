"""A schema contract, in every mode that dlt has: what is declared loads, the rest is as it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Open, Warehouse, slow_but
from tests.support.accounts import PROFILES, assert_same
from tests.support.commands import FAILED, LOADED, run, two_lines

TABLES = (*PROFILES, "campaigns", "campaign_subscribers", "mdata_queries")
EVERY = ["evolve", "freeze", "discard_row", "discard_value"]
CONTRACTS: list[Any] = [
    *EVERY,
    {"tables": "discard_row", "columns": "discard_value", "data_type": "freeze"},
    *({part: mode} for part in ("tables", "columns", "data_type") for mode in EVERY[1:]),
]


def mode(contract: Any, part: str) -> str:
    return str(contract if isinstance(contract, str) else contract.get(part, "evolve"))


def add_undeclared(warehouse: Warehouse) -> dict[str, Any]:
    """Give a profile an element, an entry and a list that nobody has declared."""
    service = warehouse.box.service
    profile = next(
        row for row in service.rows("profiles") if row["subscriptions"] and row["custom_columns"]
    )
    service.update(
        "profiles",
        profile["id"],
        first_name="Later",
        value="44",
        subscriptions=[{**entry, "shade": "blue"} for entry in profile["subscriptions"]],
        pets=[{"pet": {"name": "Rex"}}],
    )
    return dict(profile)


def load(warehouse: Warehouse, contract: Any) -> Any:
    return run(
        warehouse,
        "--resources",
        "profiles,campaigns,campaign_subscribers,mdata_queries",
        SOURCES__MCOMMONS__SCHEMA_CONTRACT=json.dumps(contract),
    )


@pytest.mark.parametrize("contract", slow_but(slice(2, 4), CONTRACTS), ids=json.dumps)
def test_a_first_load_brings_what_is_declared_and_the_next_keeps_to_the_contract(
    account: Open, contract: Any
) -> None:
    warehouse = account(profiles=30)
    ended = load(warehouse, contract)
    assert ended.code == LOADED, ended.err
    assert_same(warehouse, *TABLES)
    profile = add_undeclared(warehouse)
    ended = load(warehouse, contract)
    check(warehouse, contract, profile, ended)


def check(warehouse: Warehouse, contract: Any, profile: dict[str, Any], ended: Any) -> None:
    columns, tables = mode(contract, "columns"), mode(contract, "tables")
    name = warehouse.query(f"SELECT first_name FROM profiles WHERE id = {profile['id']}")
    if "freeze" in (columns, tables):
        said, _ = two_lines(ended.err)
        assert "frozen" in said
        assert ended.code == FAILED
        assert name in ([], [(profile["first_name"],)])
        return
    assert ended.code == LOADED, ended.err
    assert ("profiles__pets" in warehouse.tables()) == (tables == "evolve")
    assert ("value" in warehouse.columns("profiles")) == (columns == "evolve")
    assert ("shade" in warehouse.columns("profiles__subscriptions")) == (columns == "evolve")
    if columns == "discard_row":
        # The record goes with all of its entries.
        assert name in ([], [(profile["first_name"],)])
        return
    assert name == [("Later",)]
    whose = f"WHERE profile_id = {profile['id']}"
    for table, kind in [("subscriptions", "campaign_id"), ("custom_columns", "value")]:
        # A column of the record that is discarded is none of its lists'.
        found = warehouse.query(f"SELECT count({kind}) FROM profiles__{table} {whose}")
        wanted = sum(kind != "value" or entry["value"] is not None for entry in profile[table])
        assert found == [(wanted,)], table


@pytest.mark.parametrize("contract", EVERY)
def test_a_first_load_keeps_to_the_contract_too(account: Open, contract: str) -> None:
    warehouse = account(profiles=30)
    profile = add_undeclared(warehouse)
    ended = load(warehouse, contract)
    if contract == "freeze":
        assert ended.code == FAILED
        return
    check(warehouse, contract, profile, ended)
    if contract == "discard_row":
        wanted = {row["id"] for row in warehouse.box.service.rows("profiles")} - {profile["id"]}
        assert {id for (id,) in warehouse.query("SELECT id FROM profiles")} == wanted
        orphans = f"SELECT count(*) FROM profiles__subscriptions WHERE profile_id = {profile['id']}"
        assert warehouse.query(orphans) == [(0,)]


@pytest.mark.parametrize("contract", ["discard_row", "discard_value"])
def test_a_contract_holds_in_every_batch(
    account: Open, monkeypatch: pytest.MonkeyPatch, contract: str
) -> None:
    monkeypatch.setattr("textlift.load.package.BATCH_ROWS", 10)
    warehouse = account()
    profile = add_undeclared(warehouse)
    warehouse.load("profiles", schema_contract=contract, page_size=5)
    found = {id for (id,) in warehouse.query("SELECT id FROM profiles")}
    left_out = {profile["id"]} if contract == "discard_row" else set()
    assert found == {row["id"] for row in warehouse.box.service.rows("profiles")} - left_out
