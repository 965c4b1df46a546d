"""Erasure: a person who is forgotten is in no table, in no file, and does not come back."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dlt
import duckdb as duckdb_client
import pyarrow.parquet as pq
import pytest

from tests.conftest import TODAY, Open, Warehouse, slow_but
from tests.support import webhooks as hooks
from tests.support.commands import LOADED, PATIENCE, UNUSABLE, started
from tests.support.hooks import corrupted
from tests.support.messages import PROGRAM
from tests.support.warehouses import KINDS
from textlift.cli import main
from textlift.destinations import destination
from textlift.dictionary import ERASURES
from textlift.errors import ConfigurationError
from textlift.load import loading
from textlift.load.forget import Dataset, Found, Person
from textlift.load.loading import load
from textlift.privacy.columns import KeyedHash
from textlift.privacy.people import People
from textlift.registry import endpoints_of

KEY = "an-invented-key-of-more-than-32-characters"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PRIVACY_KEY", KEY)


def by(phone: str | None = None, **ids: Any) -> Person:
    numbers = frozenset({phone}) if phone else frozenset()
    return Person(numbers, {kind: frozenset({str(each)}) for kind, each in ids.items()})


def dataset(warehouse: Warehouse, key: str = KEY) -> Dataset:
    people = People(endpoints_of(warehouse.name))
    return Dataset(warehouse.pipeline(), warehouse.name, people, [KeyedHash(key.encode())])


def forget(warehouse: Warehouse, person: Person) -> dict[str, int]:
    """Forget a person, and return the number of rows by table."""
    found = dataset(warehouse).forget(person)
    assert isinstance(found, Found)
    return dict(found.counts)


def rows_with(warehouse: Warehouse, *texts: str) -> dict[str, int]:
    """Return the number of rows in each table that contain one of the texts as a value."""
    found = {
        table: sum(not {*texts}.isdisjoint(map(str, row)) for row in rows)
        for table, rows in warehouse.everything().items()
    }
    return {table: count for table, count in found.items() if count}


def busiest(warehouse: Warehouse) -> tuple[int, str]:
    """Return the id and number of the profile with rows in most tables, and with mData queries."""
    profiles = warehouse.query(
        "SELECT id, phone_number FROM profiles WHERE phone_number IN "
        "(SELECT profile__phone__phone_number FROM mdata_queries)"
    )
    everything = warehouse.everything()
    tables: dict[str, set[str]] = {}
    for table, rows in everything.items():
        for row in rows:
            for value in map(str, row):
                tables.setdefault(value, set()).add(table)
    id, number = max(profiles, key=lambda each: (len(tables[str(each[0])]), each))
    return id, number


def test_a_profile_is_in_no_table_and_does_not_come_back(filled: Open) -> None:
    warehouse = filled()
    before = {name: len(rows) for name, rows in warehouse.everything().items()}
    id, number = busiest(warehouse)
    there = rows_with(warehouse, str(id), number)
    assert {"profiles", "profiles__subscriptions", "group_members", "outgoing_messages"} <= {*there}
    ((entries,),) = warehouse.query(
        "SELECT count(*) FROM mdata_queries__custom_columns JOIN mdata_queries USING (query_key) "
        f"WHERE profile__phone__phone_number = '{number}'"
    )
    assert entries
    counts = forget(warehouse, by(f"+{number}"))
    # Lists go with their rows, also those that do not name the person.
    assert {**there, "mdata_queries__custom_columns": entries} == counts
    assert rows_with(warehouse, str(id), number) == {}
    after = {name: len(rows) for name, rows in warehouse.everything().items()}
    noted = after.pop("erasures")
    assert after == {name: count - counts.get(name, 0) for name, count in before.items()}
    assert noted == 2
    assert {*warehouse.columns("erasures")} == {*ERASURES.columns}
    # Neither do all ways to read again bring it back.
    for settings in ({}, {"whole_read_days": 0}, {"full_refresh": True}):
        summary = warehouse.load(**settings)
        assert (summary.failed, summary.rejected) == ({}, 0)
        assert {table: n for table, n in summary.removed.items() if table in counts} == {}
        assert rows_with(warehouse, str(id), number) == {}
    again = {name: len(rows) for name, rows in warehouse.everything().items()}
    assert {name: again[name] for name in after} == after
    assert warehouse.query("SELECT count(*) FROM profiles WHERE removed_at IS NOT NULL") == [(0,)]


def test_it_is_told_apart_who_has_a_number_now(account: Open) -> None:
    warehouse = account(empty=True)
    put = warehouse.box.service.put
    put("profiles", {"id": 1, "phone_number": "12025550101"})
    put("profiles", {"id": 2, "phone_number": "12025550102"})
    # 2 has had the number of 1 before.
    put("incoming_messages", {"id": 1, "profile_id": 1, "phone_number": "12025550101"})
    put("incoming_messages", {"id": 2, "profile_id": 2, "phone_number": "(202) 555-0101"})
    put("incoming_messages", {"id": 3, "profile_id": 2, "phone_number": "12025550102"})
    put("incoming_messages", {"id": 4, "profile_id": 1, "phone_number": "12025550103"})
    put("calls", {"id": 1, "profile_id": 2, "destination_number": "12025550101"})
    warehouse.load("profiles", "incoming_messages", "calls")
    found = dataset(warehouse).find(by("+12025550101"))
    assert isinstance(found, Found)
    assert found.others == 1
    assert found.person.ids == {"profile_id": frozenset({"1"})}
    assert forget(warehouse, by("+12025550101"))["incoming_messages"] == 3
    assert warehouse.query("SELECT id FROM profiles") == [(2,)]
    assert warehouse.query("SELECT id FROM incoming_messages") == [(3,)]


# Other ways to name a person


def test_rejects_of_a_person_go_and_do_not_come_back(account: Open) -> None:
    warehouse = account(empty=True)
    put = warehouse.box.service.put
    put("profiles", {"id": 900001, "phone_number": "12025550101"})
    put("profiles", {"id": 900002, "phone_number": "12025550102"})
    put("incoming_messages", {"id": 1, "profile_id": 900001, "phone_number": "12025550101"})
    put("incoming_messages", {"id": 2, "profile_id": 900002, "phone_number": "12025550102"})
    warehouse.box.service.update("incoming_messages", 1, mms="perhaps")
    warehouse.box.service.update("incoming_messages", 2, mms="perhaps")
    rejected = "SELECT row_key, column_name FROM rejected_records ORDER BY 1"
    with corrupted(warehouse, "profiles", b'id="900001"', b'id="one"'):
        warehouse.load("profiles", "incoming_messages")
        assert warehouse.query(rejected) == [("1", "mms"), ("2", "mms"), ("one", None)]
        counts = forget(warehouse, by("+12025550101"))
        assert counts == {"incoming_messages": 1, "rejected_records": 2}
        assert warehouse.query(rejected) == [("2", "mms")]
        summary = warehouse.load("profiles", "incoming_messages", whole_read_days=0)
        assert (summary.rejections, summary.removed) == ({"incoming_messages": 1}, {})
        assert warehouse.query(rejected) == [("2", "mms")]
    assert warehouse.query("SELECT id FROM profiles") == [(900002,)]


def test_hashed_numbers_and_ids_are_found(contacts: Open) -> None:
    warehouse = contacts(empty=True)
    put = warehouse.box.service.put
    ids = [put("contacts", n, phone_number=f"+1202555010{n}") for n in (1, 2)]
    for n, id in enumerate(ids, 1):
        put("messages", n, contact_id=id, phone_number=f"1202555010{n}", message="Hi")
    rules = {"phone": "hash", "messages.contact_id": "hash"}
    warehouse.load("contacts", "messages", privacy=rules)
    assert forget(warehouse, by(contact_id=ids[0])) == {"contacts": 1, "messages": 1}
    warehouse.load("contacts", "messages", privacy=rules, full_refresh=True)
    # By its number, which was found with the id.
    put("scheduled_messages", 1, phone_number="(202) 555-0101")
    warehouse.load("scheduled_messages", privacy=rules)
    assert {table: len(warehouse.content(table)) for table in warehouse.tables()} == {
        "contacts": 1,
        "messages": 1,
        "scheduled_messages": 0,
        "rejected_records": 0,
        "erasures": 2,
    }


def test_a_complete_read_counts_the_person_and_marks_those_who_are_gone(contacts: Open) -> None:
    warehouse = contacts(empty=True)
    service = warehouse.box.service
    for n in (1, 2, 3):
        service.put("contacts", n, phone_number=f"+1202555010{n}")
    warehouse.load("contacts")
    before = warehouse.load("contacts", whole_read_days=0).requests
    forget(warehouse, by("+12025550101"))
    service.delete("contacts", 2)
    summary = warehouse.load("contacts", whole_read_days=0)
    # If the person were missed, the list would be read again.
    assert (summary.removed, summary.requests) == ({"contacts": 1}, before)
    shown = "SELECT phone_number, removed_at IS NULL FROM contacts ORDER BY 1"
    assert warehouse.query(shown) == [("+12025550102", False), ("+12025550103", True)]


def test_a_number_of_a_row_that_is_about_no_person_is_emptied(account: Open) -> None:
    warehouse = account(empty=True)
    put = warehouse.box.service.put
    put("mconnects", {"id": 1, "destination_number": "12025550101"})
    put("calls", {"id": 1, "mconnect_id": 1, "handset_number": "12025550199"})
    shown = "SELECT id, destination_number FROM mconnects"
    warehouse.load("mconnects", "calls")
    assert forget(warehouse, by("+12025550101")) == {"mconnects": 1}
    for _ in range(2):
        assert warehouse.query(shown) == [(1, None)]
        assert warehouse.query("SELECT id FROM calls") == [(1,)]
        warehouse.load("mconnects", "calls")


def test_webhooks_of_a_person_are_not_loaded(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    number, contact = "12025550101", "c-000001"
    times = {"received_at": "2026-05-31T10:00:00Z", "unsubscribed_at": None}
    message = {"id": contact, "phone_number": f"+{number}", "message": "Hi", **times}
    other = {"id": "c-000002", "phone_number": "+12025550102", "message": "Hi", **times}
    recipients = [{"code": "1", "recipients": [number, "12025550102"]}]
    sent = [{"id": "m1", "phone_number": number, "message": "Hi", "metadata": [{"name": "Jo"}]}]
    report = {"statuses": recipients, "messages": sent}
    warehouse = hooks.warehouse_of(storage, tmp_path)
    expected = {
        "inbound_messages": 1,
        "delivery_reports": 1,
        "delivery_report_recipients": 1,
        "delivery_report_messages": 0,
        "delivery_report_messages__metadata": 0,
        "rejected_records": 0,
    }
    for n in range(2):
        hooks.put(storage, "inbound_messages", message, other, "not JSON", received_at=TODAY)
        hooks.put(storage, "inbound_messages", json.dumps({"to": number}), received_at=TODAY)
        hooks.put(storage, "delivery_reports", report, received_at=TODAY)
        assert warehouse.load("inbound_messages", "delivery_reports").failed == {}
        if not n:
            counts = forget(warehouse, by(f"+{number}"))
            assert counts["delivery_report_messages__metadata"] == 1
        found = {table: len(warehouse.content(table)) for table in expected}
        assert found == {**expected, "rejected_records": 1}


def test_loads_need_the_key_of_the_erasures(export: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MGAGE__PROGRAMS", f"[{PROGRAM}]")
    warehouse = export(empty=True)
    warehouse.box.service.add_program(PROGRAM)
    for number in ("+1 202 555 0101", "2025550102"):
        warehouse.box.service.put(PROGRAM, {"number": number, "body": "Hi"})
    warehouse.load(privacy={"phone": "hash"})
    assert forget(warehouse, by("+12025550101")) == {"messages": 1}
    monkeypatch.setenv("SOURCES__PRIVACY_KEY", KEY[::-1])
    with pytest.raises(ConfigurationError, match="earlier_privacy_keys"):
        warehouse.load(privacy={"phone": "hash"}, full_refresh=True)
    monkeypatch.setenv("SOURCES__EARLIER_PRIVACY_KEYS", json.dumps([KEY]))
    warehouse.load(privacy={"phone": "hash"}, full_refresh=True)
    new, old = KeyedHash(KEY[::-1].encode()), KeyedHash(KEY.encode())
    assert warehouse.query("SELECT number FROM messages") == [(new("+12025550102"),)]
    # A row that was hashed with the earlier key is found too.
    people = People(endpoints_of("mgage"))
    found = Dataset(warehouse.pipeline(), "mgage", people, [old, new]).find(by("+12025550102"))
    assert isinstance(found, Found)
    assert found.counts == {"messages": 1}


def test_whoever_is_erased_between_two_packages_is_skipped_in_the_next(
    account: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = account()
    profiles = warehouse.box.service.rows("profiles")
    last = max(profiles, key=lambda row: row["updated_at"])["phone_number"]
    note, found = loading._note_package, []

    def forget_then(*arguments: Any) -> None:
        note(*arguments)
        if not found:
            found.append(rows_with(warehouse, last))
            # From another machine: on this one, it would wait for the load.
            elsewhere = dlt.pipeline(
                "mcommons",
                pipelines_dir=str(tmp_path / "elsewhere"),
                destination=warehouse.destination,
                dataset_name="mcommons",
            )
            people, keys = People(endpoints_of("mcommons")), [KeyedHash(KEY.encode())]
            Dataset(elsewhere, "mcommons", people, keys).forget(by(f"+{last}"))

    monkeypatch.setattr(loading, "_note_package", forget_then)
    summary = warehouse.load("profiles", package_rows=10, page_size=1)
    assert summary.packages > 1
    assert found == [{}]
    assert rows_with(warehouse, last) == {}
    assert warehouse.query("SELECT count(*) FROM profiles") == [(len(profiles) - 1,)]


# Destinations


@pytest.mark.parametrize("kind", slow_but(slice(1), ["duckdb", "delta", "iceberg", "filesystem"]))
def test_a_pipeline_of_another_name_skips_the_person_too(
    account: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    warehouse = account(empty=True)
    put_two(warehouse)

    def pipeline(name: str) -> dlt.Pipeline:
        lake = {} if kind == "duckdb" else {"bucket_url": str(tmp_path / "lake")}
        there = destination(kind, **lake) if lake else warehouse.destination
        folder = str(tmp_path / name)
        return dlt.pipeline(name, pipelines_dir=folder, destination=there, dataset_name="mcommons")

    first = pipeline("mcommons")
    load(first, warehouse.source(package_rows=1000), ["profiles"])
    keyed = [KeyedHash(KEY.encode())]
    Dataset(first, "mcommons", People(endpoints_of("mcommons")), keyed).forget(by("+12025550101"))
    # Its schema does not have the table of erasures.
    with monkeypatch.context() as patched:
        patched.delenv("SOURCES__PRIVACY_KEY")
        with pytest.raises(ConfigurationError, match="earlier_privacy_keys"):
            load(pipeline("third"), warehouse.source(package_rows=1000), ["profiles"])
    pipeline("other").run(warehouse.source().with_resources("profiles"))
    if kind == "duckdb":
        assert warehouse.query("SELECT id FROM profiles") == [(2,)]
    else:
        assert "Philippa" not in "\n".join(texts_of(tmp_path / "lake"))


def put_two(warehouse: Any) -> None:
    """Put a person and another one, each with rows in several tables."""
    put = warehouse.box.service.put
    for n, name in ((1, "Philippa"), (2, "Robert")):
        number = f"1202555010{n}"
        put("profiles", {"id": n, "first_name": name, "phone_number": number})
        put("incoming_messages", {"id": n, "profile_id": n, "phone_number": number, "body": name})
        put("incoming_messages", {"id": n + 10, "profile_id": n, "body": f"{name} again"})


def texts_of(folder: Path) -> Iterable[str]:
    """Yield what can be read of each file: its name, its bytes, and the values in Parquet and Avro."""
    for file in folder.rglob("*"):
        if file.is_file():
            yield file.name
            yield file.read_bytes().decode("utf-8", "replace")
            if file.suffix == ".parquet":
                yield str(pq.read_table(file).to_pylist())


@pytest.mark.parametrize(
    "open_service", slow_but(slice(3), ["postgres", "delta", "iceberg"]), indirect=True
)
def test_other_destinations(elsewhere: Callable[..., Any]) -> None:
    warehouse = elsewhere(empty=True)
    put_two(warehouse)
    warehouse.load("profiles", "incoming_messages")
    texts = set() if warehouse.kinds is KINDS["postgres"] else {*texts_of(warehouse.lake)}
    assert not texts or any("Philippa" in text for text in texts)
    assert forget(warehouse, by("+12025550101")) == {"incoming_messages": 2, "profiles": 1}
    for _ in range(2):
        assert warehouse.query("SELECT id, first_name FROM profiles") == [(2, "Robert")]
        assert sorted(warehouse.query("SELECT id FROM incoming_messages")) == [(2,), (12,)]
        if texts:
            left = "\n".join(texts_of(warehouse.lake))
            assert "Robert" in left
            assert [each for each in ("Philippa", "2025550101") if each in left] == []
        warehouse.load("profiles", "incoming_messages", whole_read_days=0)


def test_parquet_files(account: Open, tmp_path: Path) -> None:
    warehouse = account(empty=True)
    put_two(warehouse)
    lake = tmp_path / "lake"
    files = destination("filesystem", bucket_url=str(lake))
    pipeline = dlt.pipeline(
        "mcommons", pipelines_dir=str(warehouse.state), destination=files, dataset_name="mcommons"
    )
    source = warehouse.source(package_rows=1000)
    load(pipeline, source, ["profiles", "incoming_messages"])
    assert any("Philippa" in text for text in texts_of(lake))
    people = People(endpoints_of("mcommons"))
    there = Dataset(pipeline, "mcommons", people, [KeyedHash(KEY.encode())])
    found = there.forget(by("+12025550101"))
    assert isinstance(found, Found)
    # Such files also have the marks that would delete the entries of lists.
    assert {"incoming_messages": 2, "profiles": 1}.items() <= found.counts.items()
    load(pipeline, warehouse.source(package_rows=1000), ["profiles", "incoming_messages"])
    left = "\n".join(texts_of(lake))
    assert [each for each in ("Robert", "Philippa", "2025550101") if each in left] == ["Robert"]


@pytest.fixture
def readable(account: Open) -> Warehouse:
    """A warehouse with two people, whose texts stand in the bytes of its file."""
    warehouse = account(empty=True)
    put_two(warehouse)
    warehouse.load("profiles", "incoming_messages")
    with duckdb_client.connect(str(warehouse.file)) as connection:
        # Compressed text is not found among the bytes.
        connection.execute("PRAGMA force_compression = 'uncompressed'")
        for table in ("profiles", "incoming_messages"):
            connection.execute(f"CREATE TABLE mcommons.copied AS FROM mcommons.{table}")
            connection.execute(f"DROP TABLE mcommons.{table}")
            connection.execute(f"ALTER TABLE mcommons.copied RENAME TO {table}")
    assert b"Philippa" in warehouse.file.read_bytes()
    return warehouse


def test_nothing_is_left_in_the_bytes_of_a_duckdb_file(readable: Warehouse) -> None:
    warehouse = readable
    with duckdb_client.connect(str(warehouse.file)) as connection:
        connection.execute(
            "CREATE VIEW mcommons.people AS SELECT first_name FROM mcommons.profiles"
        )
        connection.execute("COMMENT ON TABLE mcommons.profiles IS 'One person'")
    file = warehouse.file
    file.chmod(0o600)
    forget(warehouse, by("+12025550101"))
    assert [each for each in (b"Philippa", b"2025550101") if each in file.read_bytes()] == []
    assert [path.name for path in file.parent.glob("*.new*")] == []
    assert file.stat().st_mode & 0o777 == 0o600
    assert warehouse.query("SELECT * FROM mcommons.people") == [("Robert",)]
    comment = "SELECT comment FROM duckdb_tables() WHERE table_name = 'profiles' AND comment <> ''"
    assert warehouse.query(comment) == [("One person",)]


def test_an_erasure_that_was_killed_is_completed_by_the_same_command(
    readable: Warehouse,
) -> None:
    killed = "from textlift.destinations import erase; import os; "
    killed += "erase.shutil.copymode = lambda *_: os.kill(os.getpid(), 9); "
    killed += "from textlift.cli import main; "
    killed += "main(['forget', 'mcommons', '--phone', '12025550101', '--yes'])"
    with started(readable, "-c", killed) as process:
        assert process.wait(PATIENCE) == -signal.SIGKILL
    copy = readable.file.with_name(f"{readable.file.name}.new")
    assert copy.exists()
    assert b"Philippa" in readable.file.read_bytes()
    # What it left is gone when the next run has started.
    assert readable.load("profiles").failed == {}
    assert not copy.exists()
    assert readable.query("SELECT first_name FROM profiles") == [("Robert",)]
    assert forget(readable, by("+12025550101")) == {}
    assert b"Philippa" not in readable.file.read_bytes()


def test_other_destinations_get_sql(account: Open, tmp_path: Path) -> None:
    warehouse = account(empty=True)
    put_two(warehouse)
    file = tmp_path / "warehouse.sqlite"
    sqlite = dlt.destinations.sqlalchemy(f"sqlite:///{file}")
    pipeline = dlt.pipeline(
        "mcommons", pipelines_dir=str(warehouse.state), destination=sqlite, dataset_name="mcommons"
    )
    load(pipeline, warehouse.source(package_rows=1000), ["profiles", "incoming_messages"])
    people = People(endpoints_of("mcommons"))
    there = Dataset(pipeline, "mcommons", people, [KeyedHash(KEY.encode())])
    sql = there.forget(by("+12025550101"))
    assert isinstance(sql, str)
    with pipeline.sql_client() as client:
        for statement in sql.split(";\n"):
            client.execute_sql(statement)
        for table, ids in (("profiles", [2]), ("incoming_messages", [2, 12])):
            name = client.make_qualified_table_name(table)
            found = client.execute_sql(f"SELECT id FROM {name} ORDER BY 1")
            assert [id for (id,) in found or ()] == ids


# The command


def test_the_command_shows_asks_and_deletes_at_all_services(
    account: Open, export: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCES__MGAGE__PROGRAMS", f"[{PROGRAM}]")
    first, second = account(empty=True), export(empty=True)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(first.file))
    monkeypatch.setenv("PIPELINES_DIR", str(first.state))
    put_two(first)
    second.box.service.add_program(PROGRAM)
    second.box.service.put(PROGRAM, {"number": "12025550101", "body": "Hi"})
    first.load("profiles", "incoming_messages")
    second.load()

    def run(*options: str) -> tuple[int, str]:
        code = main(["forget", *options])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    code, printed = run("mcommons", "--id", "1", "--all-services")
    assert code == UNUSABLE and "--yes" in printed
    assert "2025550101" not in printed
    assert [line.split() for line in printed.splitlines()][:6] == [
        ["mcommons", "rows"],
        ["incoming_messages", "2"],
        ["profiles", "1"],
        ["mgage", "rows"],
        ["messages", "1"],
        ["This", "must", "be", "confirmed."],
    ]
    assert len(first.content("profiles")) == 2
    assert run("mcommons", "--id", "1", "--all-services", "--yes")[0] == LOADED
    assert [len(first.content("profiles")), len(second.content("messages"))] == [1, 0]
    assert run("--phone", "12025550101", "--all-services", "--yes")[1].count("no rows") == 2
    assert run("mgage", "--id", "1")[0] == UNUSABLE
    assert run("mgage", "--phone", "64600")[0] == UNUSABLE
    monkeypatch.delenv("SOURCES__PRIVACY_KEY")
    assert run("mgage", "--phone", "12025550101")[0] == UNUSABLE
