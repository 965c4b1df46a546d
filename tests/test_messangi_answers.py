"""What a response of Messangi means: rows, or which failure."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest

from textlift.arrow.build import build_page
from textlift.arrow.pages import Page
from textlift.codec.xml import XmlCodec
from textlift.errors import (
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TransientError,
)
from textlift.http.client import HttpResponse
from textlift.http.signature import SignedPath
from textlift.messangi.endpoints import DIALECT, ENDPOINTS
from textlift.messangi.errors import check as check_response

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
HEAD = b"<input>x</input>\n<status>OK</status>\n<description>Completed</description>\n"
PUBLIC = "3f0c-public"
check = partial(check_response, hide=SignedPath(PUBLIC, "private").hide)


def rooted(body: bytes) -> bytes:
    return b"<response>%b</response>" % body


def declared(body: bytes) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- served -->\n%b' % body


def read(body: bytes, name: str = "messages", status: int = 200) -> Page:
    endpoint = BY_NAME[name]
    content = check(HttpResponse(status, "application/xml", body, endpoint.path))
    return build_page(endpoint, XmlCodec(endpoint, DIALECT).decode(content))


def messages(*rows: bytes, records: bytes = b"<records>2</records>") -> bytes:
    found = b"".join(b"\t\t<message>\n%b</message>\n" % row for row in rows)
    return b"%b<result>\n\t<messages>\n\t%b\n%b\t</messages>\n</result>\n" % (HEAD, records, found)


ONE = b"\t\t\t<id>-1</id>\n\t\t\t<blastId>-2</blastId><status>SENT</status><text> a &amp; b </text>"
TWO = b"<id>2758ebc5-1db5-4822-a5ed-36121e0674a6</id><date>2014-01-24T12:45:50.903-04:30</date>"
every_form = pytest.mark.parametrize(
    "form", [bytes, rooted, declared, lambda body: declared(rooted(body)), bytes.strip]
)


@every_form
def test_a_list_is_read_with_and_without_a_root(form: Any) -> None:
    page = read(form(messages(ONE, TWO)))
    one, two = page.table.to_pylist()
    assert (page.rows, page.total, page.rejects) == (2, 2, [])
    assert (one["id"], one["broadcast_id"], one["text"]) == ("-1", "-2", " a & b ")
    assert two["date"] == datetime(2014, 1, 24, 17, 15, 50, 903000, timezone.utc)


@every_form
def test_a_large_page_is_read_as_a_small_one(form: Any) -> None:
    page = read(form(messages(*[ONE] * 2000, records=b"<records>2000</records>")))
    assert (page.rows, page.total, {*page.table["id"].to_pylist()}) == (2000, 2000, {"-1"})


@every_form
@pytest.mark.parametrize("empty", [b"<messages/>", b"<messages><records>0</records></messages>"])
def test_an_empty_list_is_a_list(form: Any, empty: bytes) -> None:
    page = read(form(b"%b<result>%b</result>" % (HEAD, empty)))
    assert (page.rows, page.rejects) == (0, [])


def test_the_name_in_input_need_not_be_the_method() -> None:
    body = messages(ONE).replace(b"<input>x", b"<input>sendSMS")
    assert read(body).rows == 1


@every_form
def test_a_value_in_a_record_is_not_the_outcome_of_the_response(form: Any) -> None:
    body = messages(
        ONE.replace(b"SENT", b"BAD_SIGNATURE"),
        TWO.replace(b"<date", b"<status>ERROR</status><date"),
    )
    assert read(form(body)).rows == 2


@every_form
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (b"ERROR", TransientError),
        (b"BAD_SIGNATURE", CredentialsError),
        (b"NOT_ALLOWED", ApiError),
    ],
)
def test_a_failure_inside_of_a_success_is_one(
    form: Any, status: bytes, error: type[Exception]
) -> None:
    body = HEAD.replace(b"OK", status)
    with pytest.raises(error, match=status.decode()):
        read(form(body))


@every_form
@pytest.mark.parametrize("result", [b"", b"<result/>", b"<result><broadcasts/></result>"])
def test_a_success_without_the_list_is_no_list(form: Any, result: bytes) -> None:
    with pytest.raises(TransientError) as raised:
        read(form(HEAD + result))
    assert not isinstance(raised.value, MalformedResponse)


@every_form
def test_a_response_that_is_cut_is_none_wherever_it_is_cut(form: Any) -> None:
    body = form(messages(ONE, TWO)).strip()
    for end in range(len(body)):
        with pytest.raises(ServiceError):
            read(body[:end])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, ApiError),
        (429, TransientError),
        (503, TransientError),
        (401, CredentialsError),
        (403, CredentialsError),
        (418, ApiError),
        (599, ServiceError),
        (200, TransientError),
    ],
)
def test_an_empty_body_is_judged_by_its_status(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=str(status) if status != 200 else "empty"):
        read(b"", status=status)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_page_of_a_server_is_no_data_and_repeats_no_key(status: int) -> None:
    page = f"<html><h1>Sorry</h1><p>/mmc/rest/api/x/7/{PUBLIC}/{'0a' * 32}</p></html>"
    with pytest.raises(ServiceError) as raised:
        read(page.encode(), status=status)
    assert PUBLIC not in str(raised.value)
    assert "0a0a" not in str(raised.value)


def test_a_description_is_repeated_without_keys_and_numbers_of_people() -> None:
    said = f"no {PUBLIC} for +1 202 555 0123".encode()
    with pytest.raises(TransientError, match=r"ERROR \(no … for …\)"):
        read(HEAD.replace(b"OK", b"ERROR").replace(b"Completed", said))


def test_broadcasts_and_short_codes_are_read() -> None:
    body = (
        HEAD
        + b"""<result><broadcasts><broadcast><id>2</id><status>2</status>
        <startDate>2013-09-05T15:10:14-04:00</startDate><sentMessages>2</sentMessages></broadcast>
        </broadcasts></result>"""
    )
    [row] = read(body, "broadcasts").table.to_pylist()
    assert (row["id"], row["status"], row["sent_messages"]) == ("2", "2", 2)
    assert row["start_date"] == datetime(2013, 9, 5, 19, 10, 14, tzinfo=timezone.utc)
    body = HEAD + b"<result><shortcodes><shortcode><sc>0001</sc></shortcode></shortcodes></result>"
    assert read(body, "shortcodes").table["shortcode"].to_pylist() == ["0001"]


@pytest.mark.parametrize("digits", range(10))
def test_digits_of_a_time_beyond_microseconds_are_cut(digits: int) -> None:
    fraction = f".{'123456789'[:digits]}" if digits else ""
    body = messages(b"<id>1</id><date>2021-08-17T04:25:38%b-04:30</date>" % fraction.encode())
    page = read(body)
    micro = int(f"{'123456789'[:digits]}000000"[:6])
    [time] = page.table["date"].to_pylist()
    assert time == datetime(2021, 8, 17, 8, 55, 38, micro, timezone.utc)
    assert page.rejects == []
