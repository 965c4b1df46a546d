"""Personal data: what a policy hashes, shortens or drops is written nowhere, and nothing else changes."""

from __future__ import annotations

import hashlib
import hmac
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import duckdb as duckdb_client
import phonenumbers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import PROJECT, TODAY, Open, Warehouse, slow_but
from tests.support import webhooks as hooks
from tests.support.commands import started, wait_until
from tests.support.hooks import corrupted
from tests.support.kills import found, kill
from tests.support.messages import PROGRAM
from tests.support.services import warehouse_of
from textlift.arrow import spool
from textlift.arrow.build import empty_page
from textlift.cli import main
from textlift.declare import Personal
from textlift.dictionary import tables_of
from textlift.errors import ConfigurationError
from textlift.mobiniti.webhooks import WEBHOOKS
from textlift.privacy.columns import (
    KeyedHash,
    hashed,
    masked,
    network,
    normalized_email,
    normalized_phone,
    truncated,
)
from textlift.privacy.pages import PROTECTED, protection
from textlift.privacy.policy import KINDS, UNDECLARED, Action, read_policy
from textlift.registry import SERVICES, endpoints_of, sandbox_of
from textlift.sandbox import Sandbox
from textlift.sandbox.clock import Clock

KEY = "an-invented-key-of-more-than-32-characters"
HASH = KeyedHash(KEY.encode())
#: Everything is changed, by each action that fits.
STRICT = {
    "phone": "hash",
    "email": "hash",
    "name": "hash",
    "address": "drop",
    "location": "truncate",
    "network_address": "hash",
    "free_text": "drop",
    "identifier": "drop",
}
SMALL: dict[str, dict[str, Any]] = {
    "mcommons": {"profiles": 40},
    "mgage": {"messages": 600},
    "mobiniti": {"contacts": 40, "requests_per_second": None},
    "textme": {"people": 100},
    "messangi": {"messages": 200},
}
#: Shorter texts are found anywhere by chance.
SHORTEST = 6


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PRIVACY_KEY", KEY)


def column(*values: Any) -> pa.ChunkedArray:
    """Return the values, each in a chunk of its own."""
    chunks = pa.array(values)
    return pa.chunked_array([chunks[n : n + 1] for n in range(len(chunks))])


def by_hand(text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


# Values


areas = st.integers(200, 999)
lines = st.integers(0, 9_999_999)


@given(areas, lines)
def test_a_number_has_one_form_however_it_is_written(area: int, line: int) -> None:
    digits = f"{area}{line:07}"
    written = [
        digits,
        f"1{digits}",
        f"+1{digits}",
        f"({area}) {digits[3:6]}-{digits[6:]}",
        f" +1 {area}.{digits[3:6]}.{digits[6:]} ",
    ]
    parsed = phonenumbers.parse(digits, "US")
    expected = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    assert {normalized_phone(each) for each in written} == {expected}


@given(st.integers(20_0000_0000, 79_9999_9999))
def test_a_number_of_another_country_keeps_its_code(national: int) -> None:
    expected = f"+44{national}"
    assert normalized_phone(expected) == normalized_phone(f"44{national}") == expected
    assert normalized_phone(f"01144{national}") == expected


@given(st.text())
def test_any_text_has_a_form_that_stays(text: str) -> None:
    assert normalized_phone(normalized_phone(text)) == normalized_phone(text)
    assert normalized_email(normalized_email(text)) == normalized_email(text)


@pytest.mark.parametrize("text", ["64600", "Restricted", "311"])
def test_what_is_no_number_of_a_person_is_not_made_one(text: str) -> None:
    assert normalized_phone(text) == text.lower()


def test_a_hash_is_the_hmac_of_the_normalized_value() -> None:
    numbers = hashed(column("12025550143", None, "(202) 555-0143"), Personal.PHONE, HASH)
    assert numbers.to_pylist() == [by_hand("+12025550143"), None, by_hand("+12025550143")]
    emails = hashed(column(" Jo@Example.org"), Personal.EMAIL, HASH)
    assert emails.to_pylist() == [by_hand("jo@example.org")]
    names = hashed(column("Zoë "), Personal.NAME, HASH)
    assert names.to_pylist() == [by_hand("Zoë ")]
    assert hashed(pa.chunked_array([], pa.string()), Personal.NAME, HASH).to_pylist() == []


@given(st.binary(max_size=200), st.text())
def test_the_hash_is_that_of_the_standard_library(key: bytes, text: str) -> None:
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    assert KeyedHash(key)(text) == expected


def test_a_mask_keeps_the_last_digits_and_the_domain_and_nothing_else() -> None:
    numbers = column("+1 (202) 555-0143", "64600", None, "call me")
    assert masked(numbers, Personal.PHONE).to_pylist() == ["**43", "**", None, "**"]
    emails = column("Jo@Example.org", "jo", "write to jo @ 202 555 0143", None)
    assert masked(emails, Personal.EMAIL).to_pylist() == ["*@example.org", "*", "*", None]


@given(st.ip_addresses())
def test_a_truncated_address_is_the_network_around_it(address: Any) -> None:
    found = ip_network(network(str(address)) or "")
    mapped = getattr(address, "ipv4_mapped", None) or address
    assert mapped in found
    assert found.prefixlen == {4: 24, 6: 48}[mapped.version]


def test_truncated_coordinates_have_one_decimal_and_other_texts_are_dropped() -> None:
    assert truncated(column(38.89511, -77.03637, None)).to_pylist() == [38.9, -77.0, None]
    texts = column("203.0.113.77", "http://example.org/?q=203.0.113.77", "02118", None)
    assert truncated(texts).to_pylist() == ["203.0.113.0/24", None, None, None]
    assert ip_address("203.0.113.77") in ip_network("203.0.113.0/24")


# Policies


def policy(service: str = "mcommons", /, **rules: str) -> Any:
    return read_policy(endpoints_of(service), rules, KEY)


def test_the_most_specific_rule_decides() -> None:
    found = policy(
        phone="hash",
        free_text="drop",
        name="drop",
        profiles="hash",
        **{"profiles.first_name": "keep", "profiles.last_saved_location__latitude": "truncate"},
        **{
            "profiles.last_saved_location__longitude": "drop",
            "profiles.location__latitude": "drop",
        },
        **{"profiles.location__longitude": "drop"},
    )
    profiles, calls = found.rules("profiles"), found.rules("calls")
    assert profiles.rule("first_name") is None
    assert profiles.rule("email").action is Action.HASH
    assert profiles.rule("last_saved_location__latitude").action is Action.TRUNCATE
    assert profiles.rule("never_seen").action is Action.HASH
    assert profiles.rule("opted_out_at") is None
    assert calls.rule("handset_number").action is Action.HASH
    assert calls.rule("never_seen").action is Action.DROP
    assert calls.rule("email") is None
    assert found.rules("profiles__never_seen").rule("anything").action is Action.DROP


def test_undeclared_columns_are_free_text_until_configured_otherwise() -> None:
    assert policy(free_text="drop", undeclared="keep").rules("calls").rule("new") is None
    assert policy(undeclared="hash").rules("calls").rule("new").action is Action.HASH
    assert policy(phone="hash").rules("calls").rule("new") is None


@pytest.mark.parametrize("rules", [None, {}, {"phone": "keep", UNDECLARED: "keep"}])
def test_a_policy_that_keeps_everything_is_none_and_needs_no_key(rules: Any) -> None:
    assert read_policy(endpoints_of("mcommons"), rules, None) is None


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"phone": "scramble"}, "keep, hash, mask, truncate or drop"),
        ({"phone": 1}, "keep, hash, mask, truncate or drop"),
        ({"phones": "hash"}, "Do you mean phone"),
        ({"profile": "drop"}, "Do you mean profiles"),
        ({"profiles.emial": "drop"}, r"names no column[^$]*profiles\.email"),
        ({"name": "truncate"}, "location and network_address"),
        ({"name": "mask"}, "phone and email"),
        ({"undeclared": "mask"}, "phone and email"),
        ({"profiles": "mask"}, "phone and email"),
        ({"profiles.first_name": "truncate"}, "Use keep, hash or drop"),
        ({"location": "hash"}, '"truncate", "drop" or "keep"'),
        ({"identifier": "hash"}, 'incoming_messages.profile_id" = "drop" or "keep"'),
        ({"profiles.id": "drop"}, "a part of the key"),
        ({"profiles.updated_at": "drop"}, "the cursor"),
        ({"profiles__clicks.profile_id": "drop"}, "a part of the key"),
        ({"mdata_queries.query_key": "drop"}, "a part of the key"),
        ({"mdata_entries.input": "drop"}, "a setting of yours"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_an_error_that_says_what_to_write(
    rules: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        read_policy(endpoints_of("mcommons"), rules, KEY)
    assert next(iter(rules)).partition(".")[0] in str(error.value) or "profile_id" in says


@pytest.mark.parametrize(("key", "says"), [(None, "missing"), ("too short a key", "too short")])
def test_a_policy_needs_a_long_key_and_never_shows_it(key: str | None, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"privacy_key is {says}") as error:
        read_policy(endpoints_of("mgage"), {"phone": "hash"}, key)
    assert "too short a key" not in str(error.value)
    assert KEY not in repr(policy("mgage", phone="hash"))


@pytest.mark.parametrize("service", SERVICES)
def test_no_table_is_named_as_a_kind_and_no_key_holds_more_than_an_id(service: str) -> None:
    for endpoint in endpoints_of(service):
        assert not {table.name for table in tables_of(endpoint)} & {*KINDS, UNDECLARED}
        for name in {*endpoint.key} - {*endpoint.identity}:
            declared = endpoint.columns.get(name)
            assert declared is None or declared.personal in (None, Personal.IDENTIFIER)


# Loads


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep all files that a run writes, also those without a name, and return their folder."""
    folder = tmp_path / "spooled"
    folder.mkdir()
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    monkeypatch.setattr(spool, "MEMORY", 0)
    monkeypatch.setattr(
        spool.tempfile,
        "TemporaryFile",
        lambda: tempfile.NamedTemporaryFile(dir=folder, delete=False),  # noqa: SIM115
    )
    return folder


def spooled(file: Path) -> Iterator[pa.Table]:
    """Yield the tables in a file of a spool; the last one can be cut short."""
    with pa.OSFile(str(file)) as source, suppress(pa.ArrowInvalid, OSError):
        while source.tell() < source.size():
            yield pa.ipc.open_stream(source).read_all()


def left_by(warehouse: Warehouse, folder: Path) -> bytes:
    """Return all that a run has left: tables, staging, packages, states, traces, spools, logs.

    The values in tables and Parquet files are JSON; files are also there byte for byte.
    """
    found: list[Any] = []
    files: list[bytes] = []
    with duckdb_client.connect(str(warehouse.file)) as connection:
        for schema, table in connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
        ).fetchall():
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            found.append((schema, table, rows))
    for file in [*warehouse.folder.rglob("*"), *folder.rglob("*")]:
        if not file.is_file():
            continue
        if file.suffix == ".parquet":
            with suppress(pa.ArrowInvalid):  # cut short
                found.append(pq.read_table(file).to_pylist())
        elif file.parent == folder:
            found += [table.to_pylist() for table in spooled(file)]
        files += [file.name.encode(), file.read_bytes()]
    assert any(file.suffix == ".parquet" for file in warehouse.folder.rglob("*"))
    return b"\n".join([json.dumps(found, ensure_ascii=False, default=str).encode(), *files])


def everything_of(warehouse: Warehouse) -> dict[str, dict[str, set[str]]]:
    """Return table → column → its values as text."""
    with warehouse.reading() as connection:
        tables = {
            name: connection.sql(f'SELECT * FROM "{name}"').to_arrow_table()
            for name in warehouse.tables()
        }
    return {
        table: {
            name: {str(value) for value in values if value is not None}
            for name, values in rows.to_pydict().items()
        }
        for table, rows in tables.items()
    }


def personal_texts(warehouse: Warehouse, service: str) -> set[str]:
    """Return the texts of people in a warehouse without a policy; keys, which stay, left out."""
    people: set[str] = set()
    others: list[str] = []
    found = everything_of(warehouse)
    for endpoint in endpoints_of(service):
        keys = {*endpoint.key, *endpoint.configured}
        for table in tables_of(endpoint):
            for name, values in found.get(table.name, {}).items():
                declared = table.columns.get(name)
                is_personal = declared and declared.personal and name not in keys
                people |= values if is_personal else set()
                others += [] if is_personal else values
    elsewhere = "\n".join([*others, *found])
    return {text for text in people if len(text) >= SHORTEST and text not in elsewhere}


#: ``-c LOADING service url folder rules``: a load that keeps what it spools in a folder.
LOADING = """
import json, sys, tempfile
import dlt
from textlift.arrow import spool
from textlift.destinations import destination
from textlift.load.loading import load
from textlift.registry import job_of
service, url, folder, rules = sys.argv[1:]
spool.MEMORY = 0
spool.tempfile.TemporaryFile = lambda: tempfile.NamedTemporaryFile(dir=folder, delete=False)
pipeline = dlt.pipeline(service, destination=destination("duckdb"), dataset_name=service)
load(pipeline, job_of(service).sandbox_source(
    url, package_rows=100, isolate_failures=True, privacy=json.loads(rules)))
"""


def kill_while_it_loads(warehouse: Warehouse, folder: Path) -> None:
    """Kill a load with SIGKILL while it loads its first package. What it prints is kept too."""
    arguments = [warehouse.name, warehouse.box.url, str(folder), json.dumps(STRICT)]
    with (
        (warehouse.folder / "stderr.log").open("w") as log,
        started(warehouse, "-c", LOADING, *arguments, stderr=log) as process,
    ):
        folder = warehouse.state / warehouse.name
        wait_until(found(folder, "load/normalized/*/started_jobs/*"), process)
        kill(process)


def leaked(needles: set[str], left: bytes) -> list[str]:
    """Return the texts that are there; they are searched as bytes, which is fast."""
    assert KEY.encode() not in left
    written = {text: {text, json.dumps(text, ensure_ascii=False)[1:-1]} for text in needles}
    return [text for text in needles if any(each.encode() in left for each in written[text])]


@pytest.mark.parametrize("service", slow_but(slice(2), SERVICES))
def test_what_a_policy_changes_is_in_no_file_that_a_run_ever_wrote(
    service: str, tmp_path: Path, written: Path
) -> None:
    with Sandbox(sandbox_of(service).open(now=TODAY, **SMALL[service])) as box:
        clear = warehouse_of(service, box, tmp_path / "clear")
        assert clear.load().failed == {}
        needles = personal_texts(clear, service)
        for file in written.iterdir():
            file.unlink()
        assert len(needles) > 50
        warehouse = warehouse_of(service, box, tmp_path / "protected")
        kill_while_it_loads(warehouse, written)
        assert leaked(needles, left_by(warehouse, written)) == []
        assert warehouse.load(privacy=STRICT).failed == {}
    assert leaked(needles, left_by(warehouse, written)) == []
    counts = {name: len(rows) for name, rows in clear.everything().items()}
    assert counts == {name: len(rows) for name, rows in warehouse.everything().items()}


def test_the_same_person_has_the_same_hash_in_every_table_and_service(
    account: Open, contacts: Open
) -> None:
    first, second = account(empty=True), contacts(empty=True)
    second.folder.joinpath("other").mkdir()
    second.file = second.folder / "other" / "warehouse.duckdb"
    first.box.service.put("profiles", {"id": 1, "phone_number": "12025550143"})
    first.box.service.put("incoming_messages", {"id": 1, "phone_number": "12025550143"})
    second.box.service.put("contacts", 1, phone_number="+12025550143")
    first.load("profiles", "incoming_messages", privacy={"phone": "hash"})
    second.load("contacts", privacy={"phone": "hash"})
    found = [
        *first.query("SELECT phone_number FROM profiles"),
        *first.query("SELECT phone_number FROM incoming_messages"),
        *second.query("SELECT phone_number FROM contacts"),
    ]
    assert found == [(by_hand("+12025550143"),)] * 3


def test_the_policy_comes_from_the_environment(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__MCOMMONS__PRIVACY", '{"phone": "mask", "profiles.email": "drop"}')
    warehouse = account()
    warehouse.load("profiles")
    found = warehouse.query("SELECT DISTINCT phone_number[:2], email FROM profiles")
    assert found == [("**", None)]


def test_a_policy_for_other_columns_changes_no_table_and_no_key(
    export: Open, tmp_path: Path
) -> None:
    warehouse = export(messages=600)
    warehouse.load()
    before = warehouse.everything()
    warehouse.file, warehouse.state = tmp_path / "other.duckdb", tmp_path / "other"
    warehouse.load(privacy={"email": "drop", "messages.number": "keep", "undeclared": "keep"})
    assert warehouse.everything() == before


KEYS = "SELECT message_key, program_id, type, date FROM messages ORDER BY ALL"


@pytest.mark.parametrize("action", slow_but(slice(1), ["drop", "hash", "mask"]))
def test_rows_that_differ_in_protected_columns_only_stay_apart_over_runs(
    export: Open, tmp_path: Path, action: str
) -> None:
    warehouse = export(messages=600)
    warehouse.load()
    count = len(warehouse.query(KEYS))
    warehouse.file, warehouse.state = tmp_path / "other.duckdb", tmp_path / "other"
    rules = {"phone": action, "free_text": "drop"}
    warehouse.load(privacy=rules, page_size=50)
    keys = warehouse.query(KEYS)
    assert len({key for key, *_ in keys}) == len(keys) == count
    # Other pages and a longer lookback return the same rows, with the same keys.
    warehouse.load(privacy=rules, page_size=70, lookback_hours={"messages": 24 * 400})
    assert warehouse.query(KEYS) == keys


DROPPED = {"phone": "drop", "free_text": "drop"}


@pytest.fixture
def program(export: Open, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An account of mGage with one program, in which is nothing yet."""
    monkeypatch.setenv("SOURCES__MGAGE__PROGRAMS", f"[{PROGRAM}]")
    warehouse = export(empty=True)
    warehouse.box.service.add_program(PROGRAM)
    return warehouse


def test_a_row_keeps_its_key_though_what_tells_it_apart_is_dropped(program: Warehouse) -> None:
    service = program.box.service
    row = {"type": "MT", "body": "b", "date": service.now() - timedelta(hours=1)}
    service.put(PROGRAM, {**row, "number": "12025550150", "deliveryStatus": "Sent"})
    service.put(PROGRAM, {**row, "number": "12025550151", "deliveryStatus": "Delivered"})
    status = "SELECT delivery_status, message_key FROM messages WHERE number IS NULL"
    program.load(privacy=DROPPED)
    before = dict(program.query(status))
    # The other one would become the first of the two.
    service.update(PROGRAM, lambda row: row["number"].endswith("0"), deliveryStatus="Accepted")
    program.load(privacy=DROPPED)
    assert dict(program.query(status)) == {
        "Accepted": before["Sent"],
        "Delivered": before["Delivered"],
    }


def test_what_a_response_says_of_all_its_rows_is_protected() -> None:
    (messages,) = endpoints_of("mgage")
    found = read_policy([messages], {"messages.program_name": "hash", UNDECLARED: "drop"}, KEY)
    protected = protection(messages, found)
    assert protected
    page = replace(empty_page(messages), shared={"program_name": "Spring", "news": "a secret"})
    assert protected.page(page).shared == {"program_name": by_hand("Spring")}


def test_a_key_cannot_be_computed_from_what_is_protected(export: Open) -> None:
    warehouse = export(messages=200)
    warehouse.load(privacy={"phone": "hash"})
    hashed_keys = {key for key, *_ in warehouse.query(KEYS)}
    warehouse.load(full_refresh=True)
    assert hashed_keys.isdisjoint(key for key, *_ in warehouse.query(KEYS))


def test_a_reject_with_a_protected_column_is_protected_as_a_whole_and_resolved(
    account: Open, clock: Clock
) -> None:
    warehouse = account(empty=True)
    put = warehouse.box.service.put
    put("profiles", {"id": 1, "first_name": "Philippa", "phone_number": "12025550143"})
    put("profiles", {"id": 2, "phone_number": "12025550144"})
    rules = {"phone": "hash", "name": "drop"}
    shown = "SELECT row_key, column_name, payload, resolved_at IS NULL FROM rejected_records"
    with corrupted(warehouse, "profiles", b'id="1"', b'id="one"'):
        assert warehouse.load("profiles", privacy=rules).rejected == 1
        ((row_key, column_name, payload, is_open),) = warehouse.query(shown)
        assert (row_key, column_name, is_open) == ("one", None, True)
        assert payload.startswith(PROTECTED) and "Philippa" not in payload
        clock.advance(60)
        # The same reject is not there twice.
        warehouse.load("profiles", privacy=rules)
        assert len(warehouse.query(shown)) == 1
    clock.advance(60)
    warehouse.load("profiles", privacy=rules, full_refresh=True)
    assert [is_open for *_, is_open in warehouse.query(shown)] == [False]


def test_a_rejected_value_of_a_column_that_is_kept_stays_readable(account: Open) -> None:
    warehouse = account(empty=True)
    warehouse.box.service.put("broadcasts", {"id": 1})
    warehouse.box.service.update("broadcasts", 1, replies_count="many")
    warehouse.load("broadcasts", privacy={"phone": "hash", "free_text": "drop"})
    assert warehouse.query("SELECT payload FROM rejected_records") == [("many",)]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ({"name": "drop"}, "a secret"),
        ({"free_text": "drop"}, None),
        ({"free_text": "drop", "undeclared": "keep"}, "a secret"),
        ({"undeclared": "hash"}, by_hand("a secret")),
        ({"profiles": "drop", "profiles.id": "keep"}, None),
    ],
)
def test_an_undeclared_column_follows_its_rule(
    account: Open, rules: dict[str, str], found: str | None
) -> None:
    warehouse = account(profiles=3)
    with corrupted(warehouse, "profiles", b"<first_name>", b"<news>a secret</news><first_name>"):
        warehouse.load("profiles", privacy=rules)
    columns = warehouse.columns("profiles")
    assert ("news" in columns) is (found is not None)
    if found:
        assert warehouse.query("SELECT DISTINCT news FROM profiles") == [(found,)]


def test_a_new_key_gives_other_hashes_and_a_full_refresh_gives_them_to_all_rows(
    account: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, select = account(), "SELECT id, phone_number FROM profiles ORDER BY id"
    warehouse.load("profiles", privacy={"phone": "hash"})
    before = warehouse.query(select)
    monkeypatch.setenv("SOURCES__PRIVACY_KEY", KEY[::-1])
    warehouse.load("profiles", privacy={"phone": "hash"}, full_refresh=True)
    after = warehouse.query(select)
    assert [id for id, _ in before] == [id for id, _ in after]
    assert {number for _, number in before}.isdisjoint(number for _, number in after)


def test_webhooks_are_protected_as_they_are_loaded(tmp_path: Path) -> None:
    body = {"id": "c1", "email": "jo@example.org", "phone_number": "+12025550143", "message": "Hi!"}
    body |= {"short_code": "64600", "received_at": "2026-05-31T10:00:00Z", "unsubscribed_at": None}
    recipients = [{"code": "1", "count": 1, "recipients": ["12025550143"]}]
    report = {"total_messages": 1, "statuses": recipients, "messages": [], "sent_at": "2026-05-31"}
    tables = {}
    for name, rules in (("clear", {}), ("protected", {"phone": "hash", "free_text": "drop"})):
        storage = tmp_path / name / "storage"
        hooks.put(storage, "inbound_messages", body, "call +12025550143", received_at=TODAY)
        hooks.put(storage, "delivery_reports", report, received_at=TODAY)
        warehouse = hooks.warehouse_of(storage, tmp_path / name)
        found = read_policy(WEBHOOKS, rules, KEY)
        assert warehouse.load("inbound_messages", "delivery_reports", policy=found).failed == {}
        tables[name] = warehouse.everything()
    assert "2025550143" in str(tables["clear"])
    assert "2025550143" not in str(tables["protected"])
    ((event, number),) = warehouse.query("SELECT event_id, phone_number FROM inbound_messages")
    assert number == by_hand("+12025550143")
    # Who has all of a body but the number could compute the digest of each number.
    assert len(event) == 32 and event not in str(tables["clear"])
    assert warehouse.query("SELECT recipient FROM delivery_report_recipients") == [(number,)]
    rejects = warehouse.query("SELECT payload, row_key FROM rejected_records")
    assert [payload.startswith(PROTECTED) for payload, _ in rejects] == [True]


def test_the_page_lists_the_personal_columns_as_they_are_declared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tables", "--personal", "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    page = (PROJECT / "docs" / "privacy.md").read_text()
    head, _, _ = page.partition("\n### Mobile Commons\n")
    assert page == head + printed, "renew the section All personal columns of docs/privacy.md"
