"""Messangi's messages, broadcasts and short codes are in the warehouse, and its keys nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest

from tests.conftest import TODAY, Open, Warehouse, slow_but
from tests.support.hooks import between_pages
from textlift.errors import ConfigurationError, CredentialsError, TextliftError
from textlift.http.signature import SignedPath
from textlift.messangi import MessangiCredentials, messangi_source
from textlift.sandbox import Request, Response, rehearse
from textlift.sandbox.clock import Clock
from textlift.settings import signed_path

UTC = timezone.utc
DAY = 86_400
KEYS = ("sandbox-public-key", "sandbox-private-key")
#: Key of a row in the warehouse → key in an answer.
MESSAGE = {
    **{name: name for name in ("id", "type", "carrier", "from", "to", "subject", "text")},
    **{name: name for name in ("status", "encoding", "timezone", "platform")},
    "broadcast_id": "blastId",
    "status_description": "statusDescription",
    "client_id": "clientId",
    "app_name": "appName",
}
BROADCAST = {
    **{name: name for name in ("id", "text", "status", "shortcode")},
    "start_date": "startDate",
    "end_date": "endDate",
    "expected_messages": "expectedMessages",
    "sent_messages": "sentMessages",
    "status_description": "statusDescription",
}


def called(warehouse: Warehouse, method: str) -> list[list[str]]:
    """The parameters of each call of a method."""
    front = f"rest/api/{method}/"
    calls = [call for call in warehouse.box.requests if call.endpoint.startswith(front)]
    return [list(map(unquote, call.endpoint.removeprefix(front).split("/"))) for call in calls]


def instant(row: dict[str, Any]) -> datetime:
    """The time of a message, up to microseconds."""
    date: datetime = row["date"]
    return date + timedelta(microseconds=int(f"{row['_fraction']}000000"[:6]))


def assert_same(warehouse: Warehouse) -> None:
    """Compare every table with the sandbox, value by value."""
    service = warehouse.box.service
    with warehouse.reading():
        for table, names in (("messages", MESSAGE), ("broadcasts", BROADCAST)):
            columns = ", ".join(f'"{name}"' for name in names)
            found = warehouse.query(f"SELECT {columns} FROM {table}")
            rows = [
                tuple(
                    row[name] or (None if row[name] == "" else row[name]) for name in names.values()
                )
                for row in service.rows(table).values()
            ]
            assert sorted(found, key=repr) == sorted(rows, key=repr), table
        times = warehouse.query("SELECT id, date FROM messages")
        expected = {row["id"]: instant(row) for row in service.rows("messages").values()}
        assert dict(times) == expected
        assert warehouse.content("rejected_records") == []


# Rows


@pytest.mark.parametrize("options", [{}, {"rooted": True, "former": True, "order": "-date"}])
@pytest.mark.parametrize("page_size", slow_but(slice(1), [500, 20, 7]))
def test_every_row_is_loaded_once_with_or_without_a_root(
    instance: Open, options: dict[str, Any], page_size: int
) -> None:
    warehouse = instance(**options)
    assert warehouse.load(page_size=page_size).failed == {}
    assert_same(warehouse)
    codes = warehouse.query("SELECT user_name, shortcode FROM shortcodes ORDER BY ALL")
    assert codes == [("outreach", "98765"), ("sandbox", "12025550100"), ("sandbox", "98765")]


def test_ids_are_text_and_times_keep_their_instant_up_to_microseconds(instance: Open) -> None:
    warehouse = instance(empty=True)
    put = warehouse.box.service.put
    ids = ["-6710228708174720670", "2758ebc5-1db5-4822-a5ed-36121e0674a6", "007"]
    for id, fraction in zip(ids, ("571", "123456789", "")):
        date = "2024-12-17T00:12:13-04:30"
        put("messages", {"id": id, "blastId": id, "date": date, "_fraction": fraction})
    assert warehouse.load("messages").rejected == 0
    second = datetime(2024, 12, 17, 4, 42, 13, tzinfo=UTC)
    found = warehouse.query("SELECT id, broadcast_id, date FROM messages ORDER BY id")
    assert found == sorted(
        (id, id, second.replace(microsecond=part)) for id, part in zip(ids, (571_000, 123_456, 0))
    )


def test_what_moves_is_read_again(instance: Open, clock: Clock) -> None:
    warehouse = instance()
    service = warehouse.box.service
    newest = max(row["date"] for row in service.rows("messages").values())
    warehouse.load()
    messages = service.rows("messages")
    key = next(key for key, row in messages.items() if newest - row["date"] < timedelta(days=2.5))
    service.update("messages", key, status="EXHAUSTED")
    begun = {key: TODAY - row["startDate"] for key, row in service.rows("broadcasts").items()}
    for key, age in begun.items():
        if age < timedelta(days=29):
            service.update("broadcasts", key, sentMessages=1, statusDescription="ABORTED")
    assert min(begun.values()) < timedelta(0)
    clock.advance(3600)
    service.advance(3600)
    warehouse.load()
    assert_same(warehouse)


def test_a_scheduled_broadcast_is_loaded_however_far_ahead(instance: Open) -> None:
    warehouse = instance(empty=True)
    for year in (2026, 2027, 2099):
        warehouse.box.service.put("broadcasts", {"startDate": f"{year}-12-31T23:59:59Z"})
    warehouse.load()
    assert warehouse.query("SELECT count(*) FROM broadcasts") == [(3,)]
    # The cursor stays at the present, so that what is scheduled later is found too.
    warehouse.box.service.put("broadcasts", {"startDate": "2026-06-02T00:00:00Z"})
    warehouse.load()
    assert warehouse.query("SELECT count(*) FROM broadcasts") == [(4,)]


# Windows


def test_days_are_requested_with_one_more_at_each_end_and_an_open_end(instance: Open) -> None:
    warehouse = instance()
    warehouse.load("broadcasts", since="2025-03-01T18:00:00Z")
    warehouse.load("broadcasts", since="2025-03-01T18:00:00Z", until="2025-03-31")
    (_, _, *open_end, _, _), (_, _, *range_, _, _) = called(warehouse, "broadcasts")
    assert open_end == ["28-02-2025", "null", "null"]
    assert range_ == ["28-02-2025", "01-04-2025", "null"]


@pytest.mark.parametrize("hours", [-12, -4.5, 0, 5.75, 14])
def test_no_broadcast_of_a_range_is_lost_wherever_the_service_is(
    instance: Open, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    monkeypatch.setattr("textlift.sandbox.messangi.ZONE", timezone(timedelta(hours=hours)))
    warehouse = instance(empty=True)
    for hour in range(24):
        warehouse.box.service.put("broadcasts", {"startDate": f"2025-03-01T{hour:02}:00:00Z"})
    warehouse.load("broadcasts", since="2025-03-01", until="2025-03-01")
    assert warehouse.query("SELECT count(*) FROM broadcasts") == [(24,)]


def test_messages_are_requested_by_milliseconds_to_the_end_of_the_last_second(
    instance: Open,
) -> None:
    warehouse = instance(empty=True)
    for fraction in ("000", "999"):
        row = {"date": "2025-03-31T23:59:59Z", "_fraction": fraction}
        warehouse.box.service.put("messages", row)
    warehouse.load("messages", since="2025-03-01", until="2025-03-31")
    start, end = (int(value) for value in called(warehouse, "tools/messageReport")[0][1:3])
    assert (start, end) == (1740787200000, 1743465599999)
    assert warehouse.query("SELECT count(*) FROM messages") == [(2,)]


def test_a_range_can_end_with_the_last_second_there_is(instance: Open) -> None:
    warehouse = instance()
    assert warehouse.load(since="2024-01-01", until="9999-12-31T23:59:59Z").failed == {}
    assert_same(warehouse)


def crowded(most: int, name: bytes) -> Callable[[Request, Response], Response | None]:
    """Cut answers with more than ``most`` records, as a service that is overburdened does."""

    def hook(request: Request, response: Response) -> Response | None:
        is_crowded = response.body.count(b"<%b>" % name) > most
        return Response(200, response.body[: len(response.body) // 2]) if is_crowded else None

    return hook


def test_crowded_days_are_split_at_whole_days_and_no_further(instance: Open) -> None:
    warehouse = instance()
    warehouse.box.hooks.append(crowded(30, b"broadcast"))
    assert warehouse.load("broadcasts").failed == {}
    warehouse.box.hooks.clear()
    warehouse.load("messages", "shortcodes")
    assert_same(warehouse)
    asked = [tuple(call[2:4]) for call in called(warehouse, "broadcasts")]
    assert len({*asked}) > 3
    assert {end for _, end in asked} > {"null"}
    # With three broadcasts on one day, one is always too many: it fails, and does not split further.
    warehouse.box.hooks.append(crowded(0, b"broadcast"))
    summary = warehouse.load("broadcasts", since="2025-03-01", until="2025-03-09")
    assert "broadcasts" in summary.failed
    days = [
        datetime.strptime(end, "%d-%m-%Y") - datetime.strptime(start, "%d-%m-%Y")
        for _, _, start, end, *_ in called(warehouse, "broadcasts")
        if "null" not in (start, end)
    ]
    assert min(days) >= timedelta(days=3)


def test_crowded_milliseconds_are_split_and_meet(instance: Open) -> None:
    warehouse = instance(messages=2000)
    assert warehouse.load(page_size=20).failed == {}
    assert_same(warehouse)
    windows = sorted(
        {(int(call[1]), int(call[2])) for call in called(warehouse, "tools/messageReport")}
    )
    parts = windows[1:] if windows[0][1] == max(end for _, end in windows) else windows
    assert len(parts) > 2


# Pages


@pytest.mark.parametrize("first_page", [0, 1])
def test_a_setting_says_where_pages_begin(instance: Open, first_page: int) -> None:
    warehouse = instance(first_page=first_page)
    assert warehouse.load(page_size=50, first_page=first_page).failed == {}
    assert_same(warehouse)
    assert min(int(call[3]) for call in called(warehouse, "tools/messageReport")) == first_page


@pytest.mark.parametrize(("there", "here"), [(0, 1), (1, 0)])
def test_pages_that_begin_elsewhere_are_a_failure_and_no_loss(
    instance: Open, there: int, here: int
) -> None:
    warehouse = instance(first_page=there, messages=20)
    summary = warehouse.load(first_page=here)
    assert set(summary.failed) == {"messages"}
    assert warehouse.query("SELECT count(*) > 0 FROM broadcasts") == [(True,)]


@pytest.mark.parametrize("order", ["date", "-date"])
def test_a_page_shorter_than_requested_ends_nothing(instance: Open, order: str) -> None:
    warehouse = instance(page_rows=60, order=order)
    assert warehouse.load().failed == {}
    assert_same(warehouse)


@pytest.mark.parametrize("order", ["date", "-date"])
@pytest.mark.parametrize("page_rows", [None, 40])
def test_no_message_is_lost_while_records_grows_and_shrinks(
    instance: Open, order: str, page_rows: int | None
) -> None:
    warehouse = instance(order=order, page_rows=page_rows)
    service = warehouse.box.service
    before = service.rows("messages")
    removed = iter(list(before)[5::40])

    def change(answer: int) -> None:
        if answer % 2:
            service.put("messages", {"date": "2024-07-01T00:00:00Z", "_fraction": "5"})
        else:
            service.delete("messages", next(removed))

    with between_pages(warehouse, change, times=6):
        assert warehouse.load("messages", page_size=50).failed == {}
    stayed = {before[key]["id"] for key in before if key in service.rows("messages")}
    assert stayed <= {id for (id,) in warehouse.query("SELECT id FROM messages")}


# Methods


def test_the_former_name_is_used_where_the_newer_is_not_there(instance: Open) -> None:
    warehouse = instance(former=True)
    assert warehouse.load().failed == {}
    assert_same(warehouse)
    names = [call.endpoint.split("/")[2] for call in warehouse.box.requests]
    assert (names.count("broadcasts"), names.count("getBroadcasts")) == (1, 1)


def test_a_report_that_is_not_there_is_a_failure_of_the_messages_alone(instance: Open) -> None:
    warehouse = instance()
    rehearse(warehouse.box, "404@tools/messageReport")
    summary = warehouse.load()
    assert list(summary.failed) == ["messages"]
    assert "HTTP 404" in summary.failed["messages"]
    assert {"broadcasts", "shortcodes"} <= warehouse.tables()


@pytest.mark.parametrize(("fault", "said"), [("error", "ERROR"), ("no-list", "no result")])
@pytest.mark.parametrize("method", ["tools/messageReport", "broadcasts", "getShortcodes"])
def test_an_answer_without_its_list_fails_its_resource_and_empties_no_table(
    instance: Open, fault: str, said: str, method: str
) -> None:
    warehouse = instance()
    warehouse.load()
    rehearse(warehouse.box, f"{fault}@{method}")
    [(_, why)] = warehouse.load().failed.items()
    assert said in why
    assert_same(warehouse)
    assert warehouse.query("SELECT count(*) FROM shortcodes") == [(3,)]


def test_each_type_of_broadcasts_is_requested_with_its_own_cursor(instance: Open) -> None:
    warehouse = instance()
    warehouse.load("broadcasts", broadcast_types=["1"])
    warehouse.load("broadcasts", broadcast_types=["1", "3"])
    calls = [(call[1], call[2]) for call in called(warehouse, "broadcasts")]
    assert calls[0] == ("1", "31-12-2023")
    again = dict(calls[1:])
    assert again["3"] == "31-12-2023"
    assert again["1"].endswith("2026")
    rows = warehouse.box.service.rows("broadcasts").values()
    expected = sum(row["_type"] in "13" for row in rows)
    assert warehouse.query("SELECT count(*) FROM broadcasts") == [(expected,)]


def test_a_name_in_a_path_is_signed_as_it_is_and_sent_encoded(instance: Open) -> None:
    warehouse = instance()
    name = "Zoë/at work@example.org"
    warehouse.box.service.users[name] = ("111",)
    source = messangi_source(
        credentials=MessangiCredentials(*KEYS),
        base_url=warehouse.box.url,
        instance_id="7",
        user_names=[name],
    )
    table = next(iter(source.shortcodes))
    assert table.to_pylist()[0]["user_name"] == name


# Keys


def test_signatures_are_those_of_the_test_vectors() -> None:
    sign = SignedPath("public", "my-private-key").signature
    for text, signature in (
        (
            "U2ltcGxlIE1lc3NhZ2Ug4pi6",
            "f69bc6a924480d3ed82970d9679c4be90589bd3064add51c47e8bf50a211d55f",
        ),
        (
            "SW52YWxpZCBQYXJhbWV0ZXJz",
            "f3d2ea825cf61226925dee2db3c14b7fc00f3183f11809d2183d1e2dbd230df6",
        ),
    ):
        assert sign(["7", "2020", "2", "18765422035", text]) == signature


def test_a_wrong_signature_stops_the_run_at_once(instance: Open) -> None:
    warehouse = instance(private_key="another")
    with pytest.raises(
        CredentialsError, match=r"(?s)BAD_SIGNATURE.*sources\.messangi\.credentials"
    ):
        warehouse.load(concurrency=1)
    assert len(warehouse.box.requests) == 1


def echoing(request: Request, response: Response) -> Response:
    """A page of a server that repeats the path it was asked for."""
    page = f"<html><h1>Not found</h1><p>The path {request.path} was not found</p></html>"
    return Response(404, page.encode())


def saying(request: Request, response: Response) -> Response:
    """A failure that repeats the path it was asked for."""
    text = f"<input>x</input><status>ERROR</status><description>{request.path}</description>"
    return Response(200, text.encode())


FAULTS = ["503=0", "429=0", "401", "redirect", "drop", "reset", "html", "cut", "truncated"]
FAULTS += ["error", "bad-signature", "no-list", "bad-time", "broken"]


@pytest.mark.parametrize("fault", slow_but(slice(None, None, 4), [*FAULTS, echoing, saying, None]))
def test_no_key_is_in_a_log_an_error_or_a_state(
    instance: Open,
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Any,
) -> None:
    log.set_level(logging.DEBUG)
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
    options = {} if fault else {"private_key": "another"}
    warehouse = instance(messages=20, **options)
    if isinstance(fault, str):
        rehearse(warehouse.box, fault)
    elif fault:
        warehouse.box.hooks.append(fault)
    told = ""
    try:
        told = repr(warehouse.load())
        told += repr(warehouse.query("SELECT * FROM load_runs"))
    except TextliftError as error:
        told = repr(error)
    told += log.text
    for path in warehouse.state.rglob("*"):
        told += f"{path}\n{path.read_bytes().decode('latin-1') if path.is_file() else ''}"
    assert "urllib3" in log.text or fault in ("drop", "reset")
    signatures = {call.endpoint.rsplit("/", 1)[1] for call in warehouse.box.requests}
    assert signatures
    assert [secret for secret in (*KEYS, *signatures) if secret in told] == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/mmc", "https://messangi.invalid/mmc"])
def test_no_key_is_in_the_error_of_a_connection_that_fails(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    log.set_level(logging.DEBUG)
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
    source = messangi_source(credentials=MessangiCredentials(*KEYS), base_url=url, instance_id="7")
    with pytest.raises(Exception, match="the connection failed") as raised:
        list(source.messages)
    assert [key for key in KEYS if key in f"{raised.value!r}{log.text}"] == []


# Settings


@pytest.mark.parametrize("missing", ["base_url", "instance_id"])
def test_a_required_setting_that_is_missing_is_named(missing: str) -> None:
    given = {"base_url": "https://flow.messangi.me/mmc", "instance_id": "7"}
    del given[missing]
    with pytest.raises(
        ConfigurationError, match=rf"sources\.messangi\.{missing}\n.*{missing.upper()}"
    ):
        messangi_source(credentials=MessangiCredentials(*KEYS), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["public_key", "private_key"])
def test_a_key_that_is_missing_is_named(missing: str) -> None:
    given = {"public_key": "a", "private_key": "b", missing: None}
    with pytest.raises(CredentialsError, match=rf"sources\.messangi\.credentials\.{missing}"):
        signed_path("messangi", given["public_key"], given["private_key"])


def test_the_settings_of_the_environment_are_used(
    instance: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = instance()
    front = "SOURCES__MESSANGI__"
    monkeypatch.setenv(f"{front}BASE_URL", warehouse.box.url.rstrip("/"))
    monkeypatch.setenv(f"{front}INSTANCE_ID", "7")
    monkeypatch.setenv(f"{front}USER_NAMES", '["outreach"]')
    monkeypatch.setenv(f"{front}BROADCAST_TYPES", '["2"]')
    for name, key in zip(("PUBLIC_KEY", "PRIVATE_KEY"), KEYS):
        monkeypatch.setenv(f"{front}CREDENTIALS__{name}", key)
    source = messangi_source()
    codes = next(iter(source.shortcodes))
    assert codes["shortcode"].to_pylist() == ["98765"]
    list(source.broadcasts)
    assert [call[1] for call in called(warehouse, "broadcasts")] == ["2"]
