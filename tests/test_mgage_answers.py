"""mGage answers: what is a failure, what is in a good one, and what is left of a bad one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pages import (
    LINK,
    NAMES,
    answer_of,
    compact,
    decode,
    entries,
    message,
    rows,
    text_of,
)
from textlift.arrow.pages import Page
from textlift.codec.json import MAX_DEPTH
from textlift.errors import (
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TextliftError,
    TransientError,
)
from textlift.http.client import HttpResponse
from textlift.mgage.endpoints import MESSAGES
from textlift.mgage.errors import check

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def row(number: int, /, **changes: Any) -> dict[str, Any]:
    """The row of ``message(number)``."""
    return {
        "type": "MO",
        "delivery_status": "Received",
        "number": f"1555{number:07}",
        "body": f"text {number}",
        "date": utc(2014, 12, 5, 10),
        "network": "T-Mobile",
        **changes,
    }


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)


def read(text: str | bytes) -> Page:
    body = text if isinstance(text, bytes) else text.encode()
    return decode(check(HttpResponse(200, "application/json", body)))


def read_messages(*messages: Any) -> Page:
    return read(answer_of([text_of(message) for message in messages]))


def failure(body: str | bytes, status: int = 200) -> Exception:
    body = body if isinstance(body, bytes) else body.encode()
    with pytest.raises(ServiceError) as raised:
        check(HttpResponse(status, "application/json", body))
    return raised.value


def failed(*reasons: Any, **meta: Any) -> str:
    """What the service answers instead of messages."""
    return text_of({"meta": {"generalErrors": reasons, "nextPageUrl": None, **meta}, "data": None})


# Success is not HTTP 200

GOOD = answer_of([text_of(message(n)) for n in (1, 2)])
HTML = "<!DOCTYPE html>\n<html><body><h4>We are down for maintenance</h4></body></html>"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", ["", HTML, failed("Authentication failed"), GOOD])
def test_refused_credentials_stop_at_once_and_say_what_to_check(status: int, body: str) -> None:
    with pytest.raises(CredentialsError, match=r"sources\.mgage\.credentials"):
        check(HttpResponse(status, "text/html", body.encode()))


@pytest.mark.parametrize("status", [400, 404, 405, 410, 422])
def test_a_status_that_will_not_pass_is_a_refusal_with_the_status_and_the_reason(
    status: int,
) -> None:
    error = failure(failed("Invalid startDate: soon"), status)
    assert type(error) is ApiError
    assert error.code == status
    assert "Invalid startDate: soon" in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_tried_again_and_keeps_the_reason(status: int) -> None:
    error = failure(failed("General server exception"), status)
    assert type(error) is TransientError
    assert "General server exception" in str(error)
    assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize(
    "body", ["", "[]", '"no"', '{"meta": ', '{"meta": null}', '{"meta": "no"}', GOOD]
)
@pytest.mark.parametrize(("status", "kind"), [(404, ApiError), (503, TransientError)])
def test_a_failure_without_a_reason_is_known_by_its_status(
    body: str, status: int, kind: type[Exception]
) -> None:
    error = failure(body, status)
    assert type(error) is kind
    assert str(error) == f"HTTP {status}"


SAYING = {
    HTML: "We are down for maintenance",
    "The export is not available\nat the moment.": "The export is not available at the moment.",
    "No program of +1 202 555 0123": "No program of \u2026",
    "<title>503 Service Unavailable</title><h1>No</h1>": "503 Service Unavailable",
}


@pytest.mark.parametrize(("body", "reason"), SAYING.items())
@pytest.mark.parametrize("status", [500, 503])
def test_a_page_or_a_sentence_in_the_place_of_json_is_the_reason(
    body: str, reason: str, status: int
) -> None:
    error = failure(body, status)
    assert type(error) is TransientError
    assert str(error) == f"the service says: {reason} (HTTP {status})"
    error = failure(body, 200)
    assert type(error) is TransientError
    problem = "a page instead of data" if "<" in body else "the response is not JSON"
    assert str(error) == f"{problem}: {reason}"


@pytest.mark.parametrize(
    "data",
    ["null", "[]", "{}", '{"messages": null}', '{"messages": {}}', '{"messages": "hurray!"}'],
)
def test_json_without_the_list_of_messages_is_tried_again_and_is_no_empty_list(data: str) -> None:
    body = f'{{"meta": {{"generalErrors": [], "nextPageUrl": null}}, "data": {data}}}'
    assert type(failure(body)) is TransientError


def test_an_unknown_program_is_what_the_endpoint_takes_for_gone() -> None:
    error = failure(failed("Program 7 not found"), 404)
    assert isinstance(error, ApiError)
    assert {error.code} == MESSAGES.not_found_codes


@pytest.mark.parametrize("status", [201, 204, 302, 501, 505])
def test_any_other_status_is_an_error_that_will_not_pass(status: int) -> None:
    assert type(failure(GOOD, status)) is ServiceError


@pytest.mark.parametrize(
    "body",
    [
        failed("too busy", "try later"),
        failed({"code": 17, "reason": {"text": "too busy"}}, ["try later"]),
        failed(reason="too busy", details=[{"text": "try later"}]),
    ],
)
def test_every_reason_under_meta_is_in_the_message_wherever_it_stands(body: str) -> None:
    error = str(failure(body, 500))
    assert "too busy" in error
    assert "try later" in error or "details" not in body


def test_a_reason_is_cut_where_it_gets_long_and_holds_nothing_a_log_cannot_print() -> None:
    body = failed("half \\ud83d and zero \\u0000 " + "x" * 10**5).replace("\\\\u", "\\u")
    error = str(failure(body, 500))
    assert len(error) < 1000
    assert error.encode()
    assert "\0" not in error


@pytest.mark.parametrize("errors", [["one", "two"], [{"one": "two"}], "one two", {"one": "two"}])
def test_general_errors_beside_messages_are_tried_again_with_every_reason(errors: Any) -> None:
    good = json.loads(GOOD)
    good["meta"]["generalErrors"] = errors
    error = failure(text_of(good))
    assert type(error) is TransientError
    assert "two" in str(error)


@pytest.mark.parametrize("errors", [[], None, {}, ""])
def test_an_answer_without_general_errors_is_no_failure(errors: Any) -> None:
    good = json.loads(GOOD)
    good["meta"]["generalErrors"] = errors
    assert read(text_of(good)).rows == 2
    del good["meta"]["generalErrors"]
    assert read(text_of(good)).rows == 2


@pytest.mark.parametrize("body", ["", " \n\t\r\n", "\ufeff"])
def test_an_empty_answer_is_tried_again(body: str) -> None:
    error = failure(body)
    assert type(error) is TransientError
    assert "empty" in str(error)


@pytest.mark.parametrize("body", [HTML, HTML.partition("\n")[2], "\n <HTML lang='en'>", "No route"])
def test_a_page_inside_a_200_is_tried_again(body: str) -> None:
    assert type(failure(body)) is TransientError


BROKEN = '{"type":"MO","body":"say "hi" to them","network":null}'
WHOLE = {
    "two messages": GOOD,
    "no messages": answer_of([], None),
    "no next page": answer_of([text_of(message(1))], None),
    "meta last": answer_of([text_of(message(1)), text_of(message(2))], meta_last=True),
    "on many lines": json.dumps(json.loads(GOOD), indent=2),
    "emoji": answer_of([text_of(message(n, body="Café 👩‍👩‍👧 “x”")) for n in (1, 2)]),
    "marks in the text": answer_of([text_of(message(1, body='"}],{[ "meta":{}')), text_of({})]),
    "an object in a message": answer_of([text_of(message(1, carrier={"a": {"b": "c"}}))]),
    "a list in a message": answer_of([text_of(message(1, tags=["a", "b"]))] * 2),
    "lists of objects": answer_of([text_of(message(1, tags=[{"a": 1}], deep={"x": {"y": 1}}))] * 2),
    "more behind the messages": GOOD[:-2] + ',"more":{"a":{"b":1}}}}',
    "a broken message": answer_of([text_of(message(1)), BROKEN, text_of(message(2))]),
    "a broken message first": answer_of([BROKEN, text_of(message(2))]),
    "a broken message last": answer_of([text_of(message(1)), BROKEN]),
    "a broken message, meta last": answer_of([BROKEN, text_of(message(1))], meta_last=True),
}


@pytest.mark.parametrize("text", WHOLE.values(), ids=list(WHOLE))
def test_an_answer_that_is_cut_short_is_tried_again_wherever_the_cut_is(text: str) -> None:
    body = text.encode()
    assert read(body).rows == len(json.loads(text.replace(BROKEN, "{}"))["data"]["messages"])
    for cut in range(len(body)):
        assert isinstance(failure(body[:cut]), TransientError), f"cut at {cut}"


@pytest.mark.parametrize(
    "body",
    [
        *(
            "{}",
            "[]",
            '"text"',
            "15550100",
            "true",
            "null",
            '{"meta":null}',
            '{"meta":[],"data":{}}',
        ),
        *('{"response":{"messages":[]}}', '{"data":{"messages":[]}}', f"[{GOOD}]"),
    ],
)
def test_an_answer_to_something_else_is_tried_again(body: str) -> None:
    assert type(failure(body)) is TransientError


@pytest.mark.parametrize(
    "data", [None, {}, [], "text", {"messages": None}, {"messages": {}}, {"messages": "none"}]
)
def test_data_without_a_list_of_messages_is_tried_again(data: Any) -> None:
    meta = {"generalErrors": [], "nextPageUrl": None}
    assert type(failure(text_of({"meta": meta, "data": data}))) is TransientError
    assert type(failure(text_of({"meta": meta}))) is TransientError


# The next page


@pytest.mark.parametrize("link", [LINK, "?page=2", "/api/messages/program/121811?a=%2B&b=“x”"])
def test_the_next_page_is_named_as_the_service_names_it(link: str) -> None:
    assert read(answer_of([], link)).next_link == link


@pytest.mark.parametrize("link", [None, ""])
def test_no_next_page_is_the_end(link: str | None) -> None:
    assert read(answer_of([], link)).next_link is None


@pytest.mark.parametrize("link", ["true", "[]", "{}", '["?page=2"]', '{"url":"?page=2"}'])
def test_a_next_page_that_is_no_text_is_an_error(link: str) -> None:
    assert type(failure(GOOD.replace(text_of(LINK), link))) is ServiceError


# What a good answer holds


def test_the_vendors_answer_is_read_as_the_contract_says() -> None:
    page = read_messages(message(1), message(2, type="MT", deliveryStatus="Queued", network=None))
    first, second = row(1), row(2, type="MT", delivery_status="Queued")
    second.pop("network")
    assert rows(page) == [first, second]
    assert page.shared == {
        "campaign_name": "Café",
        "program_name": "Spring",
        "program_type": "Text to Join",
    }
    assert page.next_link == LINK
    assert page.rows == 2
    assert page.children == {}
    assert page.rejects == []


TEXTS = [
    "“typographic” ‘quotes’ … – —",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "e\u0301 and é, Å and Å, ﬁ",
    "  blanks at both ends \t ",
    "\u00a0\u2003\u200b\ufeff",
    "line\r\nline\nline\rline\u2028line",
    "\x01\x08\x0b\x1f\x7f\x85",
    'quotes "double" and \\back\\slashes\\',
    '{"meta":{"nextPageUrl":null}}',
    "</html> & &amp; %20 \\u0041",
    "مرحبا שלום नमस्ते 你好",
    "\U0010ffff\uffff\ufffe\ufffd",
    " ",
    "0",
    "null",
    "NULL",
]


def ways_to_write(text: str) -> list[str]:
    """The JSON of a text: all of it escaped, as little as needed, and control characters raw."""
    raw = text.replace("\\", "\\\\").replace('"', '\\"')
    return [json.dumps(text), text_of(text), f'"{raw}"']


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_the_same_byte_for_byte_however_it_is_written(text: str) -> None:
    for written in ways_to_write(text):
        page = read(answer_of([f'{{"body":{written},"network":{written},"mood":{written}}}']))
        assert rows(page) == [{"body": text, "network": text, "mood": text}]
        assert page.rejects == []


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(texts)
def test_any_text_at_all_is_the_same_byte_for_byte(text: str) -> None:
    for written in ways_to_write(text):
        page = read(answer_of([f'{{"type":"MO","body":{written}}}', text_of(message(2))]))
        assert page.table["body"].to_pylist() == [text or None, "text 2"]
        assert page.table["number"].to_pylist() == [None, "15550000002"]


@pytest.mark.parametrize("body", ["2014-12-05T10:00:00.00", "true", "15550100", "1.50", "1E400"])
def test_a_text_that_looks_like_something_else_is_a_text(body: str) -> None:
    assert rows(read_messages({"body": body})) == [{"body": body}]


@pytest.mark.parametrize(
    "number", ["15550100", "1.50", "0", "-7", "1e5", "1E400", "12345678901234567890"]
)
def test_a_number_stays_the_text_it_was_printed_as(number: str) -> None:
    page = read(answer_of([f'{{"number":{number},"body":{number},"price":{number}}}']))
    assert rows(page) == [{"number": number, "body": number, "price": number}]
    assert page.rejects == []


def test_a_flag_is_the_word_for_it() -> None:
    assert rows(read_messages({"type": "MO", "urgent": True, "network": False})) == [
        {"type": "MO", "urgent": "true", "network": "false"}
    ]


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("name", [*message(1), "mood"])
def test_null_and_an_empty_text_are_null(name: str, empty: str | None) -> None:
    page = read_messages(message(1), {**message(2), name: empty})
    column = {"deliveryStatus": "delivery_status"}.get(name, name)
    assert page.table[column].to_pylist()[1] is None
    assert page.rejects == []


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("2014-12-05T10:00:00.00", utc(2014, 12, 5, 10)),
        ("2014-12-05T10:00:00", utc(2014, 12, 5, 10)),
        ("2014-12-05T10:00:00.25", utc(2014, 12, 5, 10, 0, 0, 250_000)),
        ("2014-12-05T10:00:00.123456", utc(2014, 12, 5, 10, 0, 0, 123_456)),
        ("2014-12-05T10:00:00Z", utc(2014, 12, 5, 10)),
        ("2014-12-05T10:00:00.00+02:00", utc(2014, 12, 5, 8)),
        ("2016-02-29T23:59:59.00", utc(2016, 2, 29, 23, 59, 59)),
        ("1969-12-31T23:59:59.00", utc(1969, 12, 31, 23, 59, 59)),
    ],
)
def test_a_date_is_read_in_utc(date: str, time: datetime) -> None:
    page = read_messages(message(1, date=date), message(2))
    assert page.table["date"].to_pylist() == [time, utc(2014, 12, 5, 10)]
    assert page.rejects == []


@pytest.mark.parametrize(
    "date",
    [
        *("soon", "2014-12-05T10:00:00.00 PM", "2014-13-05T10:00:00.00", "2015-02-29T10:00:00.00"),
        *("2014-12-05T24:30:00", "05.12.2014", "99999-12-05T10:00:00", "1417773600", "“2014”"),
    ],
)
def test_a_date_that_is_none_is_null_and_kept_and_costs_nothing_else(date: str) -> None:
    page = read_messages(message(1), message(2, date=date), message(3))
    second = row(2)
    second.pop("date")
    assert rows(page) == [row(1), second, row(3)]
    (reject,) = page.rejects
    assert (reject.column, reject.payload, reject.row) == ("date", date, 1)
    assert page.rows == 3


UNFIT = {
    "half an emoji": (b"a \\ud83d b", "a \\ud83d b"),
    "the other half": (b"a \\ude00 b", "a \\ude00 b"),
    "halves in the wrong order": (b"\\ude00\\ud83d", "\\ude00\\ud83d"),
    "an escaped NUL": (b"a \\u0000 b", "a \\x00 b"),
    "a raw NUL": (b"a \0 b", "a \\x00 b"),
    "invalid UTF-8": (b"caf\xe9 b", "caf\\xe9 b"),
    "a cut character": (b"a \xf0\x9f\x98 b", "a \\xf0\\x9f\\x98 b"),
    "half an emoji as UTF-8": (b"a \xed\xa0\xbd b", "a \\xed\\xa0\\xbd b"),
    "with an emoji": (b"\\ud83d\\ude00 \\ud83d", "😀 \\ud83d"),
}


@pytest.mark.parametrize("column", ["body", "mood"])
@pytest.mark.parametrize(("written", "kept"), UNFIT.values(), ids=list(UNFIT))
def test_what_is_no_text_in_a_warehouse_is_null_and_all_of_it_is_kept(
    written: bytes, kept: str, column: str
) -> None:
    bad = text_of({**message(2), column: "UNFIT"})
    body = answer_of([text_of(message(1)), bad, text_of(message(3))])
    page = read(body.encode().replace(b"UNFIT", written))
    expected = row(2, **{column: None})
    assert rows(page) == [
        row(1),
        {name: value for name, value in expected.items() if value is not None},
        row(3),
    ]
    (reject,) = page.rejects
    assert (reject.column, reject.payload, reject.row) == (column, kept, 1)


@given(st.lists(st.text(max_size=5) | st.sampled_from(["\0", "\ud83d", "\ude00"]), max_size=6))
def test_no_part_of_a_text_is_lost_whether_it_fits_or_not(parts: list[str]) -> None:
    text = "".join(parts)
    page = read(answer_of([json.dumps({"type": "MO", "body": text})]))
    (loaded,), kept = page.table["body"].to_pylist(), [reject.payload for reject in page.rejects]
    # Two halves can meet.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if re.search("[\0\ud800-\udfff]", text):
        (payload,) = kept
        assert loaded is None
        assert payload.encode()
        pieces = re.split("[\0\ud800-\udfff]", text)
        assert re.fullmatch(r"\\[ux][0-9a-f]{2,4}".join(map(re.escape, pieces)), payload, re.DOTALL)
    else:
        assert (loaded, kept) == (text or None, [])


# What nobody declared


def test_a_key_nobody_declared_becomes_a_text_column_in_snake_case() -> None:
    page = read_messages(
        message(1), message(2, shortCode="55501", MMSCount="2", mediaURL="https://example.org/a")
    )
    assert rows(page) == [
        row(1),
        row(2, short_code="55501", mms_count="2", media_url="https://example.org/a"),
    ]
    assert page.table.schema.field("short_code").type == "string"
    assert page.rejects == []


def test_objects_become_columns_joined_with_two_underscores() -> None:
    page = read_messages(
        {"type": "MO", "carrier": {"id": "7", "homeState": {"code": "NJ"}, "x": {}}}
    )
    assert rows(page) == [{"type": "MO", "carrier__id": "7", "carrier__home_state__code": "NJ"}]


def test_lists_become_child_tables() -> None:
    page = read_messages(
        message(1),
        message(
            2,
            tags=["a", " b ", "", None, "c"],
            parts=[{"no": "1", "fileName": "x"}, {"size": {"kb": "3"}, "urls": ["u", "v"]}],
        ),
        message(3, tags=["d"]),
    )
    assert rows(page) == [row(1), row(2), row(3)]
    assert entries(page, "tags") == [
        {"_row": 1, "value": "a"},
        {"_row": 1, "value": " b "},
        {"_row": 1},
        {"_row": 1},
        {"_row": 1, "value": "c"},
        {"_row": 2, "value": "d"},
    ]
    assert entries(page, "parts") == [
        {"_row": 1, "no": "1", "file_name": "x"},
        {"_row": 1, "size__kb": "3"},
    ]
    assert entries(page, "parts__urls") == [{"_row": 1, "value": "u"}, {"_row": 1, "value": "v"}]


def test_what_is_no_text_in_an_entry_of_a_list_is_kept_with_its_table() -> None:
    page = read(answer_of([text_of(message(1)), '{"type":"MO","tags":["a","b\\u0000"]}']))
    assert entries(page, "tags") == [{"_row": 1, "value": "a"}, {"_row": 1}]
    (reject,) = page.rejects
    assert (reject.table, reject.column, reject.payload) == ("tags", "value", "b\\x00")
    assert reject.row == 1


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]])
def test_what_is_nested_too_deep_stays_json(wrap: Callable[[Any], Any]) -> None:
    def nested(depth: int) -> Any:
        value: Any = {"leaf": "“x”", "list": ["y"]}
        for _ in range(depth):
            value = wrap(value)
        return value

    for depth in range(MAX_DEPTH + 5):
        page = read_messages(message(1, thing=nested(depth)), message(2))
        assert page.rejects == []
        assert len(page.children) <= MAX_DEPTH
        tables = [page.table, *page.children.values()]
        values = [
            value
            for table in tables
            for name in table.column_names
            if name not in ("_row", *row(1))
            for value in table[name].to_pylist()
            if value is not None
        ]
        if depth < MAX_DEPTH - 2:
            assert sorted(values) == ["y", "“x”"]
        elif depth >= MAX_DEPTH:
            (value,) = values
            assert json.loads(value) == nested(depth - MAX_DEPTH + 1)
            assert "“x”" in value


def test_two_names_for_one_column_cost_the_second_value_only() -> None:
    page = read_messages({"type": "MO", "deliveryStatus": "Sent", "delivery_status": "Queued"})
    assert rows(page) == [{"type": "MO", "delivery_status": "Sent"}]
    (reject,) = page.rejects
    assert (reject.column, reject.payload) == ("delivery_status", "Queued")


@pytest.mark.parametrize("thing", ["text", None, True, [], ["a", {"b": "“c”"}], "half \ud83d"])
def test_a_message_that_is_none_is_kept_and_costs_no_other(thing: Any) -> None:
    body = answer_of([text_of(message(1)), json.dumps(thing), text_of(message(2))])
    page = read(body)
    assert rows(page) == [row(1), row(2)]
    (reject,) = page.rejects
    assert (reject.column, reject.row) == (None, None)
    assert json.loads(reject.payload) == thing
    assert page.rows == 3


def test_what_is_said_once_for_all_messages_becomes_shared_columns() -> None:
    names = {"campaignName": " “A” ", "programName": "", "programType": None, "accountId": "7"}
    page = read(answer_of([text_of(message(1))], names=names))
    assert page.shared == {
        "campaign_name": " “A” ",
        "program_name": None,
        "program_type": None,
        # Named by its path: a message can have a key of that name as well.
        "data__account_id": "7",
    }


def test_what_is_said_once_does_not_replace_what_each_message_says() -> None:
    names = {**NAMES, "type": "SMS", "date": "today"}
    page = read(answer_of([text_of(message(1))], names=names))
    assert not set(page.shared) & set(row(1))
    assert page.shared["data__type"] == "SMS"


def test_a_shared_name_that_is_no_text_is_null_and_kept() -> None:
    page = read(answer_of([], names={**NAMES, "campaignName": "CAMP"}).replace("CAMP", "a\\ud83d"))
    assert page.shared["campaign_name"] is None
    assert page.shared["program_name"] == "Spring"
    (reject,) = page.rejects
    assert (reject.row, reject.column, reject.payload) == (None, "campaign_name", "a\\ud83d")


# Fingerprints


def fingerprint(*messages: Any) -> str:
    return read_messages(*messages).fingerprint


def test_a_status_or_a_network_that_moved_leaves_the_fingerprint_as_it_was() -> None:
    before = fingerprint(message(1, network=None), message(2))
    assert before == fingerprint(message(1), message(2))
    assert before == fingerprint(message(1, deliveryStatus="Sent"), message(2, network="AT&T"))
    assert before == read(answer_of([text_of(message(1)), text_of(message(2))], None)).fingerprint


@pytest.mark.parametrize(
    "others",
    [
        [message(1)],
        [message(2)],
        [],
        [message(1), message(2), message(2)],
        [message(1), message(2), "no message"],
        [message(1), message(3)],
        [message(1), message(2, type="MT")],
        [message(1), message(2, body="text 2 ")],
        [message(1), message(2, body=None)],
        [message(1), message(2, date="2014-12-05T10:00:01.00")],
        [message(1), message(2, number="15550000003")],
        [message(1), message(2, number=None)],
    ],
)
def test_a_row_that_came_or_went_or_is_another_has_another_fingerprint(others: list[Any]) -> None:
    assert fingerprint(message(1), message(2)) != fingerprint(*others)


def test_which_of_two_messages_is_there_twice_tells_in_the_fingerprint() -> None:
    once, twice = message(1), message(2)
    assert fingerprint(once, once, twice) != fingerprint(once, twice, twice)


def test_the_order_of_the_messages_of_one_second_leaves_the_fingerprint_as_it_was() -> None:
    assert fingerprint(message(1), message(2)) == fingerprint(message(2), message(1))


# What is left of a bad answer

Damage = Callable[[str], str]
DAMAGES: Mapping[str, Damage] = {
    "a raw quote in the text": lambda text: text.replace("text", 'say "hi" to'),
    "one raw quote in the text": lambda text: text.replace("text", 'a 5" tube'),
    "a raw quote that ends the text": lambda text: text.replace("text", 'text", '),
    "a backslash in the text": lambda text: text.replace("text", "C:\\data"),
    "a backslash that ends the text": lambda text: text.replace('","date', '\\","date'),
    "half an escape": lambda text: text.replace("text", "\\u12"),
    "a lost quote before a text": lambda text: text.replace('"text', "text"),
    "a lost quote behind a text": lambda text: text.replace('","date', ',"date'),
    "a lost quote before a name": lambda text: text.replace('"body', "body"),
    "a lost quote behind a name": lambda text: text.replace('body"', "body"),
    "a lost last quote": lambda text: text.replace('"}', "}"),
    "a lost colon": lambda text: text.replace('"body":', '"body"'),
    "a lost comma": lambda text: text.replace(',"body"', '"body"'),
    "a comma too many": lambda text: text.replace(',"body"', ',,"body"'),
    "a comma at the end": lambda text: text[:-1] + ",}",
    "a lost opening brace": lambda text: text[1:],
    "an opening brace too many": lambda text: "{" + text,
    "a closing brace too many": lambda text: text + "}",
    "a brace inside": lambda text: text.replace('"body"', '}"body"'),
    "an opening bracket inside": lambda text: text.replace('"body":', '"body":['),
    "a closing bracket inside": lambda text: text.replace(',"date"', '],"date"'),
    "garbage at the end": lambda text: text[:-1] + " garbage}",
    "garbage at the start": lambda text: "{garbage " + text[1:],
    "no value": lambda text: text.replace('"T-Mobile"', ""),
    "a word that is no value": lambda text: text.replace('"T-Mobile"', "undefined"),
    "a number with a leading zero": lambda text: text.replace('"T-Mobile"', "015550100"),
    "single quotes": lambda text: text.replace('"', "'"),
    "a comment": lambda text: text.replace(',"body"', ',/* x */"body"'),
    "objects inside": lambda text: text.replace('"T-Mobile"', '[{"a":1},{"b":2}] x'),
    "a lost name": lambda text: text.replace('{"type":', ""),
    "HTML inside": lambda text: text.replace('"body"', '<html><p class="x">Sorry</p></html>'),
    "a brace that ends it early": lambda text: text.replace(',"date"', '},"date"'),
    "a lost closing brace": lambda text: text[:-1],
    "a message without its second half": lambda text: text[: len(text) // 2],
    "garbage behind the brace": lambda text: text + "garbage",
    "a text behind the brace": lambda text: text + '"x"',
    "deep brackets": lambda text: text.replace('"T-Mobile"', "[" * 10**5 + "]" * 10**5),
    "deep brackets never closed": lambda text: text.replace('"T-Mobile"', "[" * 10**5),
    "deep braces": lambda text: text.replace('"T-Mobile"', '{"a":' * 10**5 + "1" + "}" * 10**5),
}


@pytest.mark.parametrize("meta_last", [False, True])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_broken_message_costs_itself_and_is_kept_whole(damage: Damage, meta_last: bool) -> None:
    for count in (1, 2, 3):
        for at in range(count):
            written = [compact(message(n)) for n in range(count)]
            whole, written[at] = written[at], damage(written[at])
            assert written[at] != whole
            page = read(answer_of(written, meta_last=meta_last))
            assert rows(page) == [row(n) for n in range(count) if n != at]
            (reject,) = page.rejects
            assert (reject.row, reject.column, reject.payload) == (None, None, written[at])
            assert page.next_link == LINK
            assert sorted(page.shared.values()) == sorted(NAMES.values())
            assert page.rows == count


#: Half a message and the half of another behind it can make one that is whole.
HALVES = ("a lost closing brace", "a message without its second half")
ALONE = [how for how in list(DAMAGES)[:-3] if how not in HALVES]


@settings(max_examples=50)
@given(damages=st.lists(st.sampled_from([None, *ALONE]), min_size=1, max_size=7).filter(any))
def test_all_good_messages_load_however_many_bad_ones_lie_between_them(
    damages: list[str | None],
) -> None:
    written = [compact(message(n)) for n in range(len(damages))]
    broken = [DAMAGES[how](written[n]) if how else "" for n, how in enumerate(damages)]
    page = read(answer_of([bad or good for bad, good in zip(broken, written)]))
    assert rows(page) == [row(n) for n, how in enumerate(damages) if not how]
    # Those that lie side by side can be kept in one piece.
    kept = "\n".join(reject.payload for reject in page.rejects)
    assert [bad for bad in broken if bad not in kept] == []


def test_what_is_no_text_in_a_broken_message_is_kept_in_a_way_that_can_be_read() -> None:
    body = answer_of([text_of(message(1)), BROKEN.replace("them", "caf\\x")])
    page = read(body.encode().replace(b"caf\\x", b"caf\xe9 \0"))
    (reject,) = page.rejects
    assert "caf\\xe9 \\x00" in reject.payload
    assert rows(page) == [row(1)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"nextPageUrl"', "nextPageUrl"),
        lambda text: text.replace('"meta"', "meta"),
        lambda text: text.replace('"messages"', "messages"),
        lambda text: text.replace('"messages":[', '"messages":'),
        lambda text: text.replace("mgage.com", '"mgage"'),
    ],
)
def test_an_answer_that_is_broken_around_its_messages_is_tried_again(damage: Damage) -> None:
    for good in (GOOD, answer_of([BROKEN, text_of(message(1))])):
        assert type(failure(damage(good))) is MalformedResponse


def test_a_broken_answer_that_says_nothing_of_a_next_page_is_not_taken_for_the_last() -> None:
    broken = answer_of([BROKEN, text_of(message(1))])
    assert read(broken).next_link == LINK
    assert type(failure(broken.replace('"nextPageUrl"', '"next"'))) is MalformedResponse


# Anything at all

#: An edit replaces so many characters from a place by a text; no place is a brace of the message.
edits = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 8),
        st.sampled_from('"\\{}[],: a0\n\0“') | st.sampled_from(['"}', '":', '},{"', "}],", "]}}"]),
    ),
    max_size=8,
)


def edited(text: str, changes: Sequence[tuple[float, int, str]]) -> str:
    inside = text[1:-1]
    for place, length, new in changes:
        at = round(place * len(inside))
        inside = inside[:at] + new + inside[at + length :]
    return f"{{{inside}}}"


@settings(max_examples=500)
@given(count=st.integers(1, 4), which=st.integers(0, 3), changes=edits, meta_last=st.booleans())
def test_no_edits_inside_the_braces_of_one_message_cost_another(
    count: int, which: int, changes: list[tuple[float, int, str]], meta_last: bool
) -> None:
    written = [compact(message(n)) for n in range(count)]
    bad = which % count
    written[bad] = edited(written[bad], changes)
    loaded = iter(rows(read(answer_of(written, meta_last=meta_last))))
    assert [n for n in range(count) if n != bad and row(n) not in loaded] == []


parts = st.sampled_from(
    [
        *('{"meta":{"generalErrors":[],"nextPageUrl":null},', '"data":{', '"messages":[', "]}}"),
        *('"generalErrors":["x"]', '"nextPageUrl":"?page=2"', '"campaignName":"A",', "<html>"),
        *(text_of(message(1)), BROKEN, '{"type":"MO"', '"date":', "null", "1.5", "[" * 5000),
        *('{"', '"}', "{", "}", "[", "]", ",", ":", '"', " ", "\n", "a", "\0", "\ufeff"),
    ]
)
bodies = st.lists(parts, max_size=12).map("".join).map(str.encode) | st.binary(max_size=40)
whole_answers = st.builds(
    answer_of,
    st.lists(st.lists(parts, max_size=5).map("".join) | st.just(text_of(message(1))), max_size=4),
    meta_last=st.booleans(),
).map(str.encode)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just("\ud83d"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from([" ", "type", "\ud83d", "a"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
documents = st.fixed_dictionaries(
    {
        "meta": st.fixed_dictionaries({"nextPageUrl": st.none() | values}) | values,
        "data": st.dictionaries(st.text(max_size=3), values, max_size=3).flatmap(
            lambda data: st.lists(values, max_size=4).map(lambda found: {**data, "messages": found})
        ),
    }
).map(lambda document: json.dumps(document).encode())
damaged = edits.map(lambda changes: edited(GOOD, changes).encode("utf-8", "surrogatepass"))


@settings(max_examples=2000)
@given(
    body=bodies | whole_answers | documents | damaged,
    status=st.sampled_from([200, 200, 200, 400, 401, 500]),
)
def test_whatever_the_bytes_an_answer_is_read_or_refused(body: bytes, status: int) -> None:
    try:
        body = check(HttpResponse(status, "application/json", body))
    except TextliftError:
        return
    page = decode(body)
    lost = [reject for reject in page.rejects if reject.row is None and reject.column is None]
    assert page.rows == page.table.num_rows + len(lost)
    assert repr([page.table.to_pylist(), page.rejects]).encode()


@pytest.mark.parametrize("name", ["a\\q", "a\\u12", "C:\\x"])
def test_a_campaign_whose_name_is_broken_costs_no_message(name: str) -> None:
    page = read(answer_of([text_of(message(1))]).replace("Café", name))
    assert rows(page) == [row(1)]
    assert page.shared["program_name"] == "Spring"


def test_half_a_campaign_name_is_not_loaded_as_if_it_were_all_of_it() -> None:
    page = read(answer_of([text_of(message(1))]).replace("Café", 'Say "hi" now'))
    assert page.shared.get("campaign_name") is None
    assert page.shared["program_name"] == "Spring"


def test_a_bracket_in_a_broken_message_does_not_end_the_list() -> None:
    bad = '{"type":"MO"}],"body":"x"}'
    page = read(answer_of([bad, compact(message(1)), compact(message(2))]))
    assert [found for found in rows(page) if found in (row(1), row(2))] == [row(1), row(2)]


@pytest.mark.parametrize("name", [" ", "\u00a0", "\u2028", "", "-", "\ud83d", "\0", "“”"])
def test_a_name_of_nothing_but_blanks_is_a_column_all_the_same(name: str) -> None:
    (found,) = rows(read(answer_of([json.dumps({"type": "MO", name: "x"})])))
    assert sorted(found.values()) == ["MO", "x"]


# Keys given twice


def doubled(text: str) -> Page:
    return read(answer_of([text_of(message(1))[:-1] + f", {text}}}", text_of(message(2))]))


@pytest.mark.parametrize(
    ("text", "rejects", "more"),
    [
        ('"body": "later"', [("body", "text 1")], {"body": "later"}),
        ('"body": "text 1"', [], {}),
        ('"body": null, "body": ""', [("body", "text 1")], {"body": None}),
        ('"a": 1, "a": [2], "a": 3', [("a", "1"), ("a", '["2"]')], {"a": "3"}),
        ('"a": {"b": 1, "b": 2}', [("a__b", "1")], {"a__b": "2"}),
        ('"a": [{"b": 1, "b": 2}]', [("b", "1")], {}),
    ],
)
def test_the_first_of_two_values_under_one_key_is_kept(
    text: str, rejects: list[tuple[str, str]], more: dict[str, Any]
) -> None:
    page = doubled(text)
    assert [(one.column, one.payload) for one in page.rejects] == rejects
    assert all(one.row == 0 for one in page.rejects)
    expected = {name: value for name, value in row(1, **more).items() if value is not None}
    own = [{n: v for n, v in one.items() if n in expected} for one in rows(page)]
    assert own[0] == expected
    assert [one["number"] for one in own] == [row(1)["number"], row(2)["number"]]


def test_a_key_that_is_given_twice_far_below_is_kept() -> None:
    page = doubled(
        '"a":' * 0
        + '"a": '
        + '{"a": ' * (MAX_DEPTH + 2)
        + '{"b": 1, "b": 2}'
        + "}" * (MAX_DEPTH + 2)
    )
    assert [one.payload for one in page.rejects] == ["1"]


def test_the_first_of_two_names_of_a_program_is_kept() -> None:
    text = answer_of([text_of(message(1))]).replace(
        '"programName":', '"more": {"x": 1, "x": 2},\n"programName": "Winter",\n"programName":'
    )
    for whole in (text, text.replace('"T-Mobile"', "T-Mobile")):
        page = read(whole)
        assert page.shared["program_name"] == "Spring"
        kept = [(one.column, one.payload) for one in page.rejects if one.column]
        assert ("program_name", "Winter") in kept
    assert ("data__more", "1") in [(one.column, one.payload) for one in read(text).rejects]


@pytest.mark.parametrize("name", ["data", "meta", "messages", "nextPageUrl"])
def test_an_answer_that_holds_its_messages_twice_is_none(name: str) -> None:
    twice = answer_of([text_of(message(1))]).replace(f'"{name}":', f'"{name}": "x", "{name}":', 1)
    assert type(failure(twice)) is TransientError
