"""The data dictionary says what the warehouse has, and everything that shows it says the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from dlt.common.schema import Schema

from tests.conftest import PROJECT, TODAY, Open, Warehouse
from tests.support.services import warehouse_of
from tests.support.warehouses import AnyWarehouse, PostgresWarehouse
from textlift.arrow.build import empty_page
from textlift.arrow.pages import ROW
from textlift.cli import main
from textlift.declare import ChildList, Column, ColumnType, Endpoint, Personal
from textlift.dictionary import (
    DELETED,
    ERASURES,
    LIST_INDEX,
    LOAD_ID,
    Table,
    all_tables,
    tables_of,
)
from textlift.load import contract
from textlift.load.describe import describe
from textlift.load.runs import LOAD_RUNS
from textlift.registry import SERVICES, job_of, sandbox_of
from textlift.sandbox import Sandbox

TABLES = {service: all_tables(job_of(service).endpoints) for service in SERVICES}
#: The tables that a load makes.
LOADED = {service: [each for each in TABLES[service] if each is not ERASURES] for service in TABLES}
#: Types of DuckDB.
KINDS = {
    "BIGINT": "BIGINT",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "DECIMAL": "DECIMAL(38,9)",
    "DOUBLE": "DOUBLE",
    "TEXT": "VARCHAR",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
}
#: What a name says of the column, whatever its service.
PERSONAL = {
    r"(first|last)_name$": Personal.NAME,
    r"(^|_)email$": Personal.EMAIL,
    r"^mobile_phone$": Personal.PHONE,
    r"^(birthday_on|birth_date)$": Personal.IDENTIFIER,
    r"(^phone|__phone|handset)_number$": Personal.PHONE,
    r"(^|address__)street\d$": Personal.ADDRESS,
    r"(lat|long)itude$": Personal.LOCATION,
    r"^query_location__": Personal.LOCATION,
    r"remote_addr$": Personal.NETWORK_ADDRESS,
    r"^(payload|value)$": Personal.FREE_TEXT,
    r"^profile_id$": Personal.IDENTIFIER,
}


def columns() -> Iterator[tuple[str, Table, str, Column]]:
    """Service, table, name and column, of all columns."""
    for service, tables in TABLES.items():
        for table in tables:
            for name, column in table.columns.items():
                yield service, table, name, column


def declared(service: str) -> dict[str, dict[str, str]]:
    """Table → column → type of the warehouse."""
    return {
        table.name: {name: KINDS[column.type.name] for name, column in table.columns.items()}
        for table in LOADED[service]
    }


def loaded(warehouse: Warehouse) -> dict[str, dict[str, str]]:
    return {name: warehouse.columns(name) for name in warehouse.tables() | {LOAD_RUNS}}


def comments(warehouse: Warehouse) -> dict[tuple[str, str | None], str | None]:
    """Table and column → comment, as DuckDB has them; the column of a table's own is ``None``."""
    return {
        (table, column): comment
        for table, column, comment in warehouse.query(
            f"SELECT table_name, column_name, comment FROM duckdb_columns() "
            f"WHERE schema_name = '{warehouse.name}' UNION ALL "
            f"SELECT table_name, NULL, comment FROM duckdb_tables() "
            f"WHERE schema_name = '{warehouse.name}'"
        )
        if not table.startswith("_dlt") and column != LOAD_ID
    }


def meanings(service: str) -> dict[tuple[str, str | None], str | None]:
    own = {(table.name, None): table.meaning for table in LOADED[service]}
    return own | {
        (table.name, name): column.meaning
        for _, table, name, column in columns()
        if table in LOADED[service] and name != LOAD_ID
    }


@pytest.fixture
def warehouse(filled: Open) -> Warehouse:
    """Rows of all resources."""
    entries = [{"mdata_id": 1, "input": "11222"}]
    return filled({"fundraising_ids": [501], "mdata_entries": entries}, profiles=300)


def test_the_dictionary_of_mobile_commons_is_what_a_load_makes(warehouse: Warehouse) -> None:
    assert loaded(warehouse) == declared("mcommons")
    assert comments(warehouse) == meanings("mcommons")


def test_the_dictionary_of_mgage_is_what_a_load_makes(export: Open) -> None:
    warehouse = export(messages=50)
    warehouse.load()
    assert loaded(warehouse) == declared("mgage")
    assert comments(warehouse) == meanings("mgage")


def test_the_dictionary_of_textme_is_what_a_load_makes(tmp_path: Path) -> None:
    with Sandbox(sandbox_of("textme").open(people=300, now=TODAY)) as box:
        warehouse = warehouse_of("textme", box, tmp_path / "warehouse")
        warehouse.load()
        assert loaded(warehouse) == declared("textme")
        assert comments(warehouse) == meanings("textme")


@pytest.mark.parametrize("service", SERVICES)
def test_a_key_is_of_columns_that_are_there(service: str) -> None:
    for table in TABLES[service]:
        assert set(table.key) <= set(table.columns), table.name


def test_keys_are_unique_in_the_warehouse(warehouse: Warehouse) -> None:
    for table in LOADED["mcommons"]:
        if table.key:
            key = ", ".join(table.key)
            doubled = f"SELECT {key} FROM {table.name} GROUP BY ALL HAVING count(*) > 1"
            assert warehouse.query(doubled) == [], table.name


def test_every_meaning_is_one_sentence_and_times_name_their_zone() -> None:
    for service, table, name, column in columns():
        place = f"{service}.{table.name}.{name}"
        assert re.fullmatch(r"[A-Zm].*[^.\s]", column.meaning), place
        assert "|" not in column.meaning, place
        if column.type.name == "TIMESTAMP":
            assert "UTC" in column.meaning, place


def test_every_table_says_what_a_row_is() -> None:
    for service, tables in TABLES.items():
        for table in tables:
            assert re.fullmatch(r"(One|The) .*\.", table.meaning), (service, table.name)


def test_a_foreign_key_names_a_column_that_is_there() -> None:
    for service, _, name, column in columns():
        places = {(table.name, key) for table in TABLES[service] for key in table.columns}
        for target in re.findall(r": (\w+)\.(\w+)", column.meaning):
            assert target in places or target[0] == "_dlt_loads", (name, column.meaning)


def test_what_is_told_of_people_is_marked() -> None:
    for service, table, name, column in columns():
        for pattern, personal in PERSONAL.items():
            if re.search(pattern, name):
                assert column.personal is personal, (service, table.name, name)


def test_the_key_of_a_person_is_personal_in_the_tables_of_lists_too() -> None:
    found = [column for _, _, name, column in columns() if name in ("profile_id", "query_key")]
    assert {column.personal for column in found} == {Personal.IDENTIFIER}


def test_a_list_inside_a_list_carries_the_keys_of_both() -> None:
    tables = {table.name: table for table in TABLES["mcommons"]}
    tags = tables["campaigns__opt_in_paths__tags"]
    assert tags.key == ("campaign_id", "opt_in_path_id", "tag")
    assert tags.columns["opt_in_path_id"].meaning.endswith(": campaigns__opt_in_paths.id")


TEXT = Column(ColumnType.TEXT, "A text")
COMPANIES = Endpoint(
    name="companies",
    entity="company",
    meaning="One company.",
    path="companies",
    rows="companies/company",
    columns={"id": TEXT},
    lists={
        "options": ChildList(
            item="option",
            meaning="One option.",
            columns={"keyword": TEXT},
            key=("keyword",),
            lists={
                "aliases": ChildList(
                    item="alias", meaning="One alias.", columns={"alias": TEXT}, text="alias"
                )
            },
        )
    },
)


def test_keys_go_by_the_names_of_entities_and_entries_and_can_be_any_column() -> None:
    _, options, aliases = tables_of(COMPANIES)
    assert options.key == ("company_id", "keyword")
    assert aliases.key == ("company_id", "keyword", LIST_INDEX)
    assert aliases.columns["company_id"].meaning.endswith(
        "company that the row belongs to: companies.id"
    )
    decoded = empty_page(COMPANIES).children["options__aliases"]
    assert decoded.column_names == ["keyword", ROW, "alias"]


def test_only_a_list_that_is_read_by_time_has_a_mark_for_deleted_rows() -> None:
    for service in SERVICES:
        for endpoint in job_of(service).endpoints:
            for table in tables_of(endpoint)[1:]:
                assert (DELETED in table.columns) == endpoint.merges, table.name


@pytest.fixture
def other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that says something else of campaigns."""

    def say(schema: Schema, tables: Iterable[Table]) -> None:
        describe(
            schema,
            [
                replace(table, meaning="One campaign, in other words.")
                if table.name == "campaigns"
                else table
                for table in tables
            ],
        )

    monkeypatch.setattr(contract, "describe", say)


def test_a_run_writes_no_comment_while_the_schema_is_the_same(account: Open) -> None:
    warehouse = account(profiles=20)
    warehouse.load("campaigns")
    with warehouse.pipeline().sql_client() as client:
        client.execute_sql("COMMENT ON COLUMN campaigns.name IS NULL")
    warehouse.load("campaigns")
    assert comments(warehouse)["campaigns", "name"] is None


def test_a_release_with_other_words_changes_the_comments(
    account: Open, request: pytest.FixtureRequest
) -> None:
    warehouse = account(profiles=20)
    warehouse.load("profiles", "campaigns")
    before = comments(warehouse)
    request.getfixturevalue("other_words")
    warehouse.load("profiles", "campaigns")
    changed = {("campaigns", None): "One campaign, in other words."}
    assert comments(warehouse) == before | changed


def postgres_comment(warehouse: Warehouse, table: str) -> str | None:
    [(text,)] = warehouse.query(f"SELECT obj_description('{table}'::regclass)")
    return None if text is None else str(text)


def test_postgresql_has_the_comments_too(elsewhere: AnyWarehouse) -> None:
    warehouse = elsewhere(profiles=20)
    warehouse.load("campaigns")
    [campaigns] = [table for table in TABLES["mcommons"] if table.name == "campaigns"]
    texts = dict(
        warehouse.query(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = 'campaigns'::regclass AND attnum > 0"
        )
    )
    texts.pop(LOAD_ID)
    assert texts == {
        name: column.meaning for name, column in campaigns.columns.items() if name != LOAD_ID
    }
    assert postgres_comment(warehouse, "campaigns") == campaigns.meaning
    assert postgres_comment(warehouse, "mcommons_staging.campaigns") is None


def test_a_user_who_does_not_own_the_tables_loads_without_comments_and_indexes(
    elsewhere: AnyWarehouse,
    request: pytest.FixtureRequest,
) -> None:
    warehouse = elsewhere(profiles=20)
    assert isinstance(warehouse, PostgresWarehouse)
    warehouse.load("campaigns", "clicks")
    before = postgres_comment(warehouse, "campaigns")
    with psycopg2.connect(warehouse.uri) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE loader LOGIN")
        cursor.execute("DROP INDEX mcommons.clicks_id_idx")
        for schema in ("mcommons", "mcommons_staging"):
            cursor.execute(f"GRANT ALL ON SCHEMA {schema} TO loader")
            cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO loader")
    warehouse.uri = warehouse.uri.replace("postgres:-@", "loader:-@")
    request.getfixturevalue("other_words")
    assert warehouse.load("campaigns", "clicks").failed == {}
    assert postgres_comment(warehouse, "campaigns") == before


def test_the_page_of_the_tables_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--format", "markdown"]) == 0
    page = (PROJECT / "docs" / "tables.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("`textlift tables"))
    assert page == capsys.readouterr().out, f"run {command}"


@pytest.mark.parametrize("service", SERVICES)
def test_the_sources_of_the_dbt_package_are_written_by_the_command(
    service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tables", service, "--format", "dbt"]) == 0
    file = PROJECT / "dbt" / "models" / "staging" / service / f"{service}.yml"
    assert capsys.readouterr().out == file.read_text()


def test_the_command_prints_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "mcommons", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {"mcommons"}
    assert document["mcommons"]["profiles"]["key"] == ["id"]
    assert document["mcommons"]["profiles"]["columns"]["email"] == {
        "type": "TEXT",
        "meaning": "E-mail address",
        "personal": "email",
    }
    assert {name: list(table["columns"]) for name, table in document["mcommons"].items()} == {
        table.name: list(table.columns) for table in TABLES["mcommons"]
    }


def test_the_command_prints_the_personal_columns_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tables", "mgage", "--personal", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)["mgage"]
    assert {name: list(table["columns"]) for name, table in document.items()} == {
        "messages": ["message_key", "number", "body"],
        "rejected_records": ["row_key", "payload"],
    }
    assert main(["tables", "mgage", "--personal", "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    assert "| `messages.number` | phone | Mobile number of the person |" in printed
    assert "messages.program_id`" not in printed


def test_the_command_prints_a_table_for_a_person(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["tables", "mgage"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"│ number +│ TEXT +│ phone +│ Mobile number of the person", printed)
    assert "mgage.rejected_records" in printed
