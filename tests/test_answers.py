"""Mobile Commons answers: what is a failure, what is in a good one, and what is left of a bad one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pages import entries, rows
from textlift.arrow.build import build_page
from textlift.arrow.pages import Page
from textlift.codec.xml import MIN_BYTES, XmlCodec
from textlift.declare import Endpoint
from textlift.errors import (
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TransientError,
    WindowTooLarge,
)
from textlift.http.client import HttpResponse
from textlift.mcommons.endpoints import DIALECT, ENDPOINTS
from textlift.mcommons.errors import check

UTC = timezone.utc
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def respond(inner: str) -> str:
    return f'{DECLARATION}<response success="true">\n{inner}\n</response>\n'


def refuse(error_id: int, message: str = "No") -> bytes:
    # As the vendor's page prints it: the error is not closed.
    return (
        f'<response success="false"><error id="{error_id}" message="{message}"></response>'.encode()
    )


def decode(body: bytes, endpoint: Endpoint) -> Page:
    return build_page(endpoint, XmlCodec(endpoint, DIALECT).decode(body))


def read(name: str, text: str | bytes) -> Page:
    body = text if isinstance(text, bytes) else text.encode()
    endpoint = BY_NAME[name]
    return decode(check(HttpResponse(200, "application/xml", body)), endpoint)


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


def failure(
    body: bytes, status: int = 200, media_type: str = "application/xml", path: str = ""
) -> Exception:
    with pytest.raises(ServiceError) as raised:
        check(HttpResponse(status, media_type, body, path))
    return raised.value


# Success is not HTTP 200


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize("error_id", [1, 3, 6, 7, 8, 9, 12, 15, 16, 20, 35])
def test_a_refusal_is_an_error_with_its_id_whatever_the_status(error_id: int, status: int) -> None:
    error = failure(refuse(error_id, "Invalid something"), status)
    assert type(error) is ApiError
    assert error.code == error_id
    assert "Invalid something" in str(error)


@pytest.mark.parametrize("error_id", [0, 27])
def test_an_unknown_error_and_the_rate_limit_are_tried_again(error_id: int) -> None:
    assert type(failure(refuse(error_id))) is TransientError


def test_too_many_messages_asks_for_a_shorter_window() -> None:
    assert type(failure(refuse(17, "Too many messages"))) is WindowTooLarge


def test_a_wrong_company_stops_at_once_and_says_what_to_set() -> None:
    with pytest.raises(CredentialsError, match=r"sources\.mcommons\.company"):
        check(HttpResponse(200, "application/xml", refuse(4, "Invalid company id")))


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "body", [b"", b"HTTP Basic: Access denied.\n", b"<html><h4>No</h4></html>"]
)
def test_refused_credentials_stop_at_once_and_say_what_to_check(status: int, body: bytes) -> None:
    with pytest.raises(CredentialsError, match=r"sources\.mcommons\.credentials"):
        check(HttpResponse(status, "text/html", body))


@pytest.mark.parametrize(
    ("name", "error_id"),
    [
        ("campaign_subscribers", 1),
        ("group_members", 6),
        ("mdata_queries", 9),
        ("mdata_entries", 9),
        ("donation_summaries", 12),
        ("calls", 15),
        ("call_counts", 15),
        ("clicks", 20),
    ],
)
def test_every_endpoint_with_a_parent_knows_the_id_that_says_it_vanished(
    name: str, error_id: int
) -> None:
    assert BY_NAME[name].not_found_codes == {error_id}


HTML = (
    "<!DOCTYPE html>\n<html><head></head><body><h4>We are down for maintenance</h4>"
    "<p>Please come back later.</p></body></html>"
)


@pytest.mark.parametrize("html", [HTML, HTML.partition("\n")[2], "Service Unavailable"])
def test_a_page_inside_a_200_is_tried_again(html: str) -> None:
    assert type(failure(html.encode(), 200, "text/html")) is TransientError


#: As recorded, without <html>.
HEAVY_LOAD = (
    "<h2>This website is under heavy load (queue full)</h2><p>We're sorry, too many people are "
    "accessing this website at the same time. Please try again later.</p>"
)
MAINTENANCE = (
    "<title>Site Maintenance</title><p>Sorry for the inconvenience but we're performing some "
    'maintenance at the moment. You can always <a href="mailto:help@example.org">contact us</a>.</p>'
)
GATEWAY = "\n<title>502 Bad Gateway</title>\n<h1>502 Bad Gateway</h1>\n<hr>\n"
PAGES = {
    HEAVY_LOAD: "This website is under heavy load (queue full)",
    MAINTENANCE: "Site Maintenance",
    GATEWAY: "502 Bad Gateway",
    "<body>Well, this is unexpected!</body>": "Well, this is unexpected!",
    "<h1>Error</h1>": "Error",
    "<!doctype html><title> </title><body><h1>\nDown\n": "Down",
    "upstream connect error": "upstream connect error",
}


@pytest.mark.parametrize(("page", "reason"), PAGES.items())
@pytest.mark.parametrize("status", [200, 502, 503, 504])
def test_a_page_is_tried_again_and_its_reason_is_in_the_message(
    page: str, reason: str, status: int
) -> None:
    error = failure(page.encode(), status, "text/html")
    # Not a broken answer: smaller pages would not help.
    assert type(error) is TransientError
    problem = "a page instead of data" if status == 200 else f"HTTP {status}"
    assert str(error) == f"{problem}: {reason}"


@pytest.mark.parametrize(
    "body",
    [
        '<response success="true"><profiles><profile><email>ada@example.org</email>',
        '{"email": "ada@example.org"}',
        "\x1b[2Jada@example.org",
        "\0ada@example.org",
    ],
)
def test_what_is_no_page_is_not_repeated(body: str) -> None:
    assert str(failure(body.encode(), 503)) == "HTTP 503"


def test_a_number_of_a_person_on_a_page_is_not_repeated() -> None:
    error = failure(b"<h1>No answer from 12025550101</h1>", 503)
    assert str(error) == "HTTP 503: No answer from \u2026"


@pytest.mark.parametrize("declaration", ["", DECLARATION])
@pytest.mark.parametrize("status", [200, 400])
def test_a_refusal_is_known_without_a_declaration(status: int, declaration: str) -> None:
    text = '<response success="false">\n  <error id="6" message="This is not correct!"/>\n</response>\n'
    error = failure((declaration + text).encode(), status)
    assert type(error) is ApiError
    assert error.code == 6
    assert str(error) == "the service says: This is not correct! (error 6)"


@pytest.mark.parametrize("reason", ["h4", "p"])
def test_the_reason_on_an_html_page_is_in_the_message(reason: str) -> None:
    page = f"<html><body><{reason} class='x'>\n The page is not here\n</{reason}></body></html>"
    error = failure(page.encode(), 404, "text/html")
    assert type(error) is ServiceError
    assert str(error) == "HTTP 404: The page is not here"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", HTML.encode()])
def test_a_status_that_may_pass_is_tried_again(status: int, body: bytes) -> None:
    error = failure(body, status, "text/html")
    assert type(error) is TransientError
    assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize("status", [400, 404, 405, 410, 501])
def test_a_status_that_will_not_pass_is_not_tried_again(status: int) -> None:
    assert type(failure(HTML.encode(), status, "text/html")) is ServiceError


@pytest.mark.parametrize("body", [b"", b" \n\t\r\n"])
def test_an_empty_answer_is_tried_again(body: bytes) -> None:
    error = failure(body)
    assert type(error) is TransientError
    assert "empty" in str(error)


GROUPS = respond(
    '<groups>\n<group id="1" type="UploadedGroup" name="a"/>\n<!-- two -->\n'
    '<group id="2" type="FilteredGroup" name="b"/>\n<group id="3"><name>c</name></group>\n</groups>'
)


@pytest.mark.parametrize("cut", range(1, len(GROUPS.rstrip())))
def test_an_answer_that_is_cut_short_is_tried_again_wherever_the_cut_is(cut: int) -> None:
    assert isinstance(failure(GROUPS[:cut].encode()), TransientError)


WHOLE = {
    "vendor's": GROUPS,
    "without declaration": '<response success="true"><groups/></response>',
    "blank in the last tag": f"{respond('<groups/>').rstrip()[:-1]} >\n",
    "line break in the last tag": f"{respond('<groups/>').rstrip()[:-1]}\n>",
    "without response": f'{DECLARATION}<calls num="0" page="1"></calls>',
    "self-closed, without response": '<calls num="0" page="1"/>\n',
    "comment first": f"{DECLARATION}<!-- made by a test -->\n{respond('<groups/>')[39:]}",
    "blank line first": f"\n{respond('<groups/>')}",
    "byte order mark": f"\ufeff{respond('<groups/>')}",
    "single quotes": "<?xml version='1.0'?><response success='true'><groups/></response>",
}


@pytest.mark.parametrize("text", WHOLE.values(), ids=list(WHOLE))
def test_a_whole_answer_is_no_failure(text: str) -> None:
    check(HttpResponse(200, "application/xml", text.encode()))


NAMED = (
    '<keywords page_count="7"><keyword id="1"><name>Zo\u00eb \U0001f469</name></keyword></keywords>'
)
UTF_16 = {
    "little, marked": ("utf-16-le", "\ufeff"),
    "big, marked": ("utf-16-be", "\ufeff"),
    "little": ("utf-16-le", ""),
    "big": ("utf-16-be", ""),
}


@pytest.mark.parametrize(("encoding", "mark"), UTF_16.values(), ids=list(UTF_16))
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_utf_16_is_read(encoding: str, mark: str, declared: bool, large: bool) -> None:
    declaration = '<?xml version="1.0" encoding="UTF-16"?>\n' if declared else ""
    text = respond(NAMED).removeprefix(DECLARATION).rstrip()
    text = text.replace("\U0001f469", "\U0001f469" * (MIN_BYTES if large else 1))
    body = (mark + declaration + text).encode(encoding)
    (row,) = rows(read("keywords", body))
    assert row["name"].startswith("Zo\u00eb \U0001f469")
    assert read("keywords", body).page_count == 7
    # Half a character, and half a pair of them.
    for cut in (len(body) - 1, len(body) - 5, body.index("\U0001f469".encode(encoding)) + 2):
        assert isinstance(failure(body[:cut]), TransientError)
    refused = '<response success="false"><error id="6" message="No"/></response>'
    assert type(failure((mark + refused).encode(encoding), 400)) is ApiError


def test_half_a_pair_of_characters_costs_only_its_record() -> None:
    good = '<keyword id="2"><name>b</name></keyword>'
    bad = '<keyword id="1"><name>a\ud83d</name></keyword>'
    text = "\ufeff" + respond(f"<keywords>{bad}{good}</keywords>")
    page = read("keywords", text.encode("utf-16-le", "surrogatepass"))
    assert rows(page) == [{"id": 2, "name": "b"}]
    assert [reject.row_key for reject in page.rejects] == ["1"]


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "iso-8859-15", "windows-1252"])
@pytest.mark.parametrize("large", [True, False])
def test_a_declared_encoding_is_read(encoding: str, large: bool) -> None:
    text = respond(NAMED).replace("\U0001f469", "\u00e9" * (MIN_BYTES if large else 1))
    body = text.replace("UTF-8", encoding).encode(encoding)
    (row,) = rows(read("keywords", body))
    assert row["name"].startswith("Zo\u00eb \u00e9")


#: What str.isdigit takes for a number, or what int() does.
NO_NUMBERS = ("\u00b2", "\u0663", "9" * 5000, "-1", "1_0", " 1", "1.0", "")


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_number_that_is_none_is_not_counted_with(number: str) -> None:
    attributes = f' page="1" num="{number}" page_count="{number}"'
    for records in ("", '<keyword id="1"/>', '<keyword id="1"><name>a & b</name></keyword>'):
        page = read("keywords", listing("keywords", records, attributes))
        assert (page.rows, page.page_count) == (bool(records), None)
    refused = f'<response success="false"><error id="{number}" message="No"/></response>'
    assert type(failure(refused.encode())) is TransientError


INNOCENT = {
    "plain": 'Say success="false" & be done'.replace("&", "&amp;"),
    "escaped": "&lt;response success=&quot;false&quot;&gt;&lt;error id=&quot;4&quot;/&gt;",
    "cdata": '<![CDATA[<response success="false"><error id="4" message="no"/></response>]]>',
    "html": "&lt;html&gt;&lt;h4&gt;down&lt;/h4&gt;",
}


@pytest.mark.parametrize("text", INNOCENT.values(), ids=list(INNOCENT))
def test_what_people_text_is_no_failure(text: str) -> None:
    message = f'<message id="1"><body>{text}</body></message>'
    page = read("incoming_messages", respond(f'<messages page="1">{message}</messages>'))
    assert page.table["id"].to_pylist() == [1]


#: What has a meaning elsewhere in an answer.
marks = st.sampled_from(
    [
        'success="false"',
        "<response ",
        "</response>",
        '<error id="4"/>',
        "<html>",
        "<h4>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<message ",
        "</message>",
        "&amp;",
        "&",
        " ",
        "\U0001f469",
    ]
)


@given(st.lists(marks, max_size=6).map("".join))
def test_no_text_at_all_is_taken_for_a_part_of_the_answer(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    message = f'<message id="1"><body>{escaped}</body></message>'
    page = read("incoming_messages", respond(f'<messages page="1">{message}</messages>'))
    assert page.table["body"].to_pylist() == [text or None]


# What a good answer holds


def test_a_profile_is_read_with_its_address_and_its_lists() -> None:
    page = read(
        "profiles",
        respond(
            '<profiles num="1" page="1"> <profile id="347000001"> <first_name>Ada</first_name> '
            "<last_name>O&#x27;Neil &amp; Co</last_name> <phone_number>12025550101</phone_number> "
            "<email>ada@example.org</email> <status>Active Subscriber</status> "
            "<created_at>2019-06-21 14:49:40 UTC</created_at> "
            "<updated_at>2019-06-25 19:33:38 UTC</updated_at> <opted_out_at/> <opted_out_source/> "
            '<source type="API" name="User1" email="user1@example.org"/> '
            "<address> <street1></street1> <street2/> <city>Hoboken</city> <state/> "
            "<postal_code>07030</postal_code> <country>US</country> </address> "
            "<last_saved_location> <latitude>38.906639</latitude> <longitude>-77.016577</longitude> "
            "<precision>state</precision> <city/> <country>US</country> </last_saved_location> "
            "<last_saved_districts> <congressional_district>DC-1</congressional_district> "
            "</last_saved_districts> "
            '<custom_columns> <custom_column name="Age"/> '
            '<custom_column name="Favorite animal"> a cat </custom_column> </custom_columns> '
            '<subscriptions> <subscription campaign_id="162001" campaign_name="Tést" '
            'campaign_description="" opt_in_path_id="" status="Active" opt_in_source="User1" '
            'created_at="2019-06-21T14:49:40Z" activated_at="2019-06-22T20:24:36Z" '
            'opted_out_at="" opt_out_source=""/> </subscriptions> '
            "<integrations> </integrations> <clicks> </clicks> </profile> </profiles>"
        ),
    )
    assert rows(page) == [
        {
            "id": 347000001,
            "first_name": "Ada",
            "last_name": "O'Neil & Co",
            "phone_number": "12025550101",
            "email": "ada@example.org",
            "status": "Active Subscriber",
            "created_at": utc("2019-06-21 14:49:40"),
            "updated_at": utc("2019-06-25 19:33:38"),
            "source__type": "API",
            "source__name": "User1",
            "source__email": "user1@example.org",
            "address__city": "Hoboken",
            "address__postal_code": "07030",
            "address__country": "US",
            "last_saved_location__latitude": 38.906639,
            "last_saved_location__longitude": -77.016577,
            "last_saved_location__precision": "state",
            "last_saved_location__country": "US",
            "last_saved_districts__congressional_district": "DC-1",
        }
    ]
    assert entries(page, "custom_columns") == [
        {"_row": 0, "name": "Age"},
        {"_row": 0, "name": "Favorite animal", "value": "a cat"},
    ]
    assert entries(page, "subscriptions") == [
        {
            "_row": 0,
            "campaign_id": 162001,
            "campaign_name": "Tést",
            "status": "Active",
            "opt_in_source": "User1",
            "created_at": utc("2019-06-21 14:49:40"),
            "activated_at": utc("2019-06-22 20:24:36"),
        }
    ]
    assert entries(page, "clicks") == entries(page, "integrations") == []
    assert page.rejects == []
    assert page.page_count is None


ID_ONLY = "<profile>33468001</profile>"
WHOLE_PROFILE = (
    '<profile id="33468001"> <first_name>Ada</first_name> <phone_number>15550100</phone_number> '
    '<email/> <source type="Keyword" id="9"/> <address> <city>Hoboken</city> </address> '
    '<custom_columns> <custom_column name="Age">7</custom_column> </custom_columns> </profile>'
)


@pytest.mark.parametrize(
    ("before", "after"),
    [(ID_ONLY, ""), (ID_ONLY, WHOLE_PROFILE), (WHOLE_PROFILE, ID_ONLY), ("", WHOLE_PROFILE)],
)
@pytest.mark.parametrize("name", ["incoming_messages", "outgoing_messages"])
def test_a_message_that_holds_its_profile_once_or_twice_carries_its_id_and_nothing_else_of_it(
    name: str, before: str, after: str
) -> None:
    page = read(
        name,
        respond(
            '<messages page="1" limit="20" page_count="17"> <message id="1297000001" '
            'type="opt_out" approved="false"> <phone_number>15550100</phone_number> '
            f"{before} <body>stop</body> <mms>false</mms> <multipart>true</multipart> "
            '<previous_id id="6797000001"/> <next_id/> '
            f'<campaign id="162001" active="true"> <name>Test</name> </campaign> {after}'
            "</message> </messages>"
        ),
    )
    (row,) = rows(page)
    row.pop("approved")
    assert row == {
        "id": 1297000001,
        "type": "opt_out",
        "phone_number": "15550100",
        "profile_id": 33468001,
        "body": "stop",
        "mms": False,
        "multipart": True,
        "previous_id": 6797000001,
        "campaign_id": 162001,
        "campaign__name": "Test",
        "campaign__active": True,
    }
    assert not [column for column in page.table.column_names if column.startswith("profile__")]
    assert page.children == {}
    assert page.page_count == 17
    assert page.rejects == []


def test_a_keyword_is_read_as_an_object_and_an_empty_one_as_none() -> None:
    keyword = '<keyword id="5"><name>JOIN</name><opt_in_path_id>8</opt_in_path_id></keyword>'
    page = read(
        "incoming_messages",
        respond(
            f'<messages page_count="1"><message id="1">{keyword}</message>'
            '<message id="2"><keyword/></message></messages>'
        ),
    )
    assert rows(page) == [
        {"id": 1, "keyword_id": 5, "keyword__name": "JOIN", "keyword__opt_in_path_id": 8},
        {"id": 2},
    ]
    assert "keyword" not in page.table.column_names


CALLS = (
    '<calls num="2" page="1"> <call id="11765581"> <start_time>2011-07-08 05:11:03 UTC</start_time> '
    "<duration>20</duration> <voicemail/> <mconnect id='10'></mconnect> "
    '<profile id="100"> <email>ada@example.org</email> </profile> '
    "<legislator> <party>democrat</party> </legislator> </call> "
    '<call id="11765582"><profile>101</profile></call> </calls>'
)


@pytest.mark.parametrize("text", [DECLARATION + CALLS, CALLS, respond(CALLS)])
def test_calls_are_read_with_and_without_the_response_around_them(text: str) -> None:
    first, second = rows(read("calls", text))
    assert first["id"] == 11765581
    assert first["start_time"] == utc("2011-07-08 05:11:03")
    assert first["duration"] == 20
    assert first["mconnect_id"] == 10
    assert first["profile_id"] == 100
    assert first["legislator__party"] == "democrat"
    assert second == {"id": 11765582, "profile_id": 101}


def test_a_broadcast_is_read_with_its_groups_and_tags() -> None:
    page = read(
        "broadcasts",
        respond(
            '<broadcasts page="1" limit="100" page_count="0"> <broadcast id="123456" '
            'status="generated"> <name>Test</name> <campaign id="1234" active="true"> '
            "<name>Campaign</name> </campaign> "
            "<delivery_time>2019-11-17 12:29:40 UTC</delivery_time> <throttled>false</throttled> "
            "<replies_count>3</replies_count> <included_groups> "
            '<group name="MC" id="54321" type="FilteredGroup"> </group> </included_groups> '
            "<excluded_groups> </excluded_groups> <tags> <tag>ada@example.org</tag> </tags> "
            "</broadcast> </broadcasts>"
        ),
    )
    assert page.page_count == 0
    assert rows(page) == [
        {
            "id": 123456,
            "status": "generated",
            "name": "Test",
            "campaign_id": 1234,
            "campaign__name": "Campaign",
            "campaign__active": True,
            "delivery_time": utc("2019-11-17 12:29:40"),
            "throttled": False,
            "replies_count": 3,
        }
    ]
    assert entries(page, "included_groups") == [
        {"_row": 0, "group_id": 54321, "name": "MC", "type": "FilteredGroup"}
    ]
    assert entries(page, "tags") == [{"_row": 0, "tag": "ada@example.org"}]
    assert page.children["excluded_groups"].num_rows == 0


def test_the_tags_of_an_opt_in_path_carry_the_path() -> None:
    page = read(
        "campaigns",
        respond(
            '<campaigns><campaign id="1" active="true"><name>a</name></campaign>'
            '<campaign id="2"><tags><tag>t</tag></tags><opt_in_paths>'
            '<opt_in_path id="21" active="false"><name>p</name><tags><tag>x</tag><tag>y</tag></tags>'
            "</opt_in_path></opt_in_paths></campaign></campaigns>"
        ),
    )
    assert entries(page, "opt_in_paths") == [{"_row": 1, "id": 21, "active": False, "name": "p"}]
    assert entries(page, "opt_in_paths__tags") == [
        {"_row": 1, "opt_in_path_id": 21, "tag": "x"},
        {"_row": 1, "opt_in_path_id": 21, "tag": "y"},
    ]
    assert entries(page, "tags") == [{"_row": 1, "tag": "t"}]


def test_an_mdata_query_has_the_values_of_its_columns_without_the_blanks_around_them() -> None:
    page = read(
        "mdata_queries",
        respond(
            '<mdata name="m" id="4667" type="database"> <queries page="1" limit="100" '
            'page_count="1"> <query> <created_at>2018-07-26 16:26:45 UTC</created_at> <keyword/> '
            "<input> pizza </input> <profile> <status>Active</status> <phone> "
            "<phone_number>15550100</phone_number> </phone> <address> "
            "<latitude>40.5</latitude> </address> "
            '<custom_columns> <custom_column name="age"> 77 </custom_column> '
            '<custom_column name="time"> </custom_column> </custom_columns> '
            "</profile> </query> </queries> </mdata>"
        ),
    )
    assert rows(page) == [
        {
            "created_at": utc("2018-07-26 16:26:45"),
            "input": " pizza ",
            "profile__status": "Active",
            "profile__phone__phone_number": "15550100",
            "profile__address__latitude": 40.5,
        }
    ]
    assert entries(page, "custom_columns") == [
        {"_row": 0, "name": "age", "value": "77"},
        {"_row": 0, "name": "time"},
    ]
    assert page.page_count == 1


def test_an_answer_that_is_itself_the_row_is_one_row() -> None:
    page = read("call_counts", respond("<call_count>255</call_count>"))
    assert rows(page) == [{"call_count": 255}]


def test_a_donation_summary_is_read_to_the_cent() -> None:
    page = read(
        "donation_summaries",
        respond(
            '<donation_summary name="f" start_time="2010-01-01 12:00:00" end_time="">'
            '<accepted count="10" amount="100.10" /> <pending count="2" amount="20" />'
            "</donation_summary>"
        ),
    )
    assert rows(page) == [
        {
            "name": "f",
            "start_time": utc("2010-01-01 12:00:00"),
            "accepted__count": 10,
            "accepted__amount": Decimal("100.1"),
            "pending__count": 2,
            "pending__amount": Decimal(20),
        }
    ]


def test_comments_processing_instructions_and_cdata_are_no_part_of_the_text() -> None:
    page = read(
        "incoming_messages",
        f"{DECLARATION}<!-- a --><?render now?>"
        '<response success="true"><!-- b --><messages page_count="1"><!-- c -->'
        '<message id="1"><!-- d --><body>a<!-- e -->b<?f?>c<![CDATA[ <d> & ]]>&lt;e&#x27;</body>'
        "</message></messages></response>",
    )
    assert rows(page) == [{"id": 1, "body": "abc <d> & <e'"}]


def test_what_nobody_declared_becomes_text_columns_and_lists() -> None:
    page = read(
        "groups",
        respond(
            '<groups><group id="1" vip="yes"><owner><email>o@example.org</email></owner>'
            "<labels><label>a</label></labels>"
            '<notes><note by="b">c</note><note by="d"/></notes></group></groups>'
        ),
    )
    assert rows(page) == [{"id": 1, "vip": "yes", "owner__email": "o@example.org"}]
    assert entries(page, "labels") == [{"_row": 0, "label": "a"}]
    assert entries(page, "notes") == [{"_row": 0, "by": "b", "note": "c"}, {"_row": 0, "by": "d"}]


MEMBER = """
    <profile id="34700101">
      <first_name/>
      <source type="mConnect" name="Spring" id="36653"/>
      <location>
        <latitude>41.25</latitude>
        <longitude>-74.5</longitude>
        <precision>place</precision>
        <city>Hoboken</city>
      </location>
      <districts>
        <congressional_district>NJ-8</congressional_district>
        <state_upper_district>NJ-</state_upper_district>
        <split_district/>
      </districts>
      <custom_columns>
        <custom_column name="Empty"/>
        <custom_column name="Blank" created_at="2019-06-21T14:49:40Z" updated_at="">
        </custom_column>
        <custom_column name="Code" created_at="2019-06-21T14:49:40Z" updated_at="2019-06-22T08:00:01Z">
14121        </custom_column>
        <custom_column 
            name="Words" 
            created_at="2019-06-21T14:49:40Z">
            de la Rue        
        </custom_column>
      </custom_columns>
      <integrations>
        <integration constituent_id="" type="Salesforce" synchronized_at=""/>
        <integration constituent_id="7" type="Salesforce" synchronized_at="2019-06-21T14:49:40Z"/>
      </integrations>
      <clicks>
      </clicks>
    </profile>"""
PLACES = {
    "location__latitude": 41.25,
    "location__longitude": -74.5,
    "location__precision": "place",
    "location__city": "Hoboken",
    "districts__congressional_district": "NJ-8",
    "districts__state_upper_district": "NJ-",
    "source__type": "mConnect",
    "source__name": "Spring",
    "source__id": 36653,
}


@pytest.mark.parametrize("copies", [1, 60])
def test_a_profile_is_read_as_the_service_prints_it(copies: int) -> None:
    records = [MEMBER.replace("34700101", str(n)) for n in range(copies)]
    page = read(
        "profiles", respond(f'<profiles num="{copies}" page="1">{"".join(records)}\n</profiles>')
    )
    assert page.rejects == []
    assert rows(page) == [{"id": n, **PLACES} for n in range(copies)]
    at = utc("2019-06-21 14:49:40")
    assert entries(page, "custom_columns")[-4:] == [
        {"_row": copies - 1, "name": "Empty"},
        {"_row": copies - 1, "name": "Blank", "created_at": at},
        {
            "_row": copies - 1,
            "name": "Code",
            "value": "14121",
            "created_at": at,
            "updated_at": utc("2019-06-22 08:00:01"),
        },
        {"_row": copies - 1, "name": "Words", "value": "de la Rue", "created_at": at},
    ]
    assert entries(page, "integrations")[:2] == [
        {"_row": 0, "type": "Salesforce"},
        {"_row": 0, "type": "Salesforce", "constituent_id": "7", "synchronized_at": at},
    ]
    # There is no such element, and one that holds a line break.
    assert entries(page, "subscriptions") == entries(page, "clicks") == []


def test_a_member_of_a_group_is_read_as_the_service_prints_it() -> None:
    group = f'<group name="“Spring” opt-ins" id="35" type="FilteredGroup">{MEMBER}\n</group>'
    page = read("group_members", respond(group))
    assert rows(page) == [{"profile_id": 34700101, **PLACES}]
    assert page.rejects == []
    assert page.children == {}


@pytest.mark.parametrize(
    ("name", "inner", "row"),
    [
        (
            "groups",
            (
                '<groups><group id="14" type="FilteredGroup" status="active"> <name>One</name> '
                "<size>2</size> <hint>sign up</hint> </group></groups>"
            ),
            {
                "id": 14,
                "type": "FilteredGroup",
                "status": "active",
                "name": "One",
                "size": 2,
                "hint": "sign up",
            },
        ),
        (
            "mdata_entries",
            (
                '<mdata id="4"><entries><entry> <id>9</id> <mdata_id>4</mdata_id> <input>pizza</input> '
                "<created_at>2019-06-21 14:49:40 UTC</created_at> <output>yes</output> </entry>"
                "</entries></mdata>"
            ),
            {
                "id": 9,
                "mdata_id": 4,
                "input": "pizza",
                "output": "yes",
                "created_at": utc("2019-06-21 14:49:40"),
            },
        ),
        (
            "tags",
            '<tags><tag id="31" name="gotv"> <taggable_object type="campaign" id="162"/> </tag></tags>',
            {
                "id": 31,
                "name": "gotv",
                "taggable_object__type": "campaign",
                "taggable_object__id": 162,
            },
        ),
        (
            "broadcasts",
            (
                '<broadcasts page="1" page_count="1"><broadcast id="3" status="draft"> <delivery_time/> '
                "<estimated_recipients_count/> <included_groups> </included_groups></broadcast></broadcasts>"
            ),
            {"id": 3, "status": "draft"},
        ),
    ],
)
def test_a_row_is_read_as_the_service_prints_it(name: str, inner: str, row: dict[str, Any]) -> None:
    page = read(name, respond(inner))
    assert rows(page) == [row]
    assert page.rejects == []


# Nothing disappears


@pytest.mark.parametrize("copies", [1, 2000])
def test_an_object_that_holds_only_a_line_break_is_not_there(copies: int) -> None:
    records = "".join(
        f'<profile id="{n}"><last_saved_districts>\n</last_saved_districts></profile>'
        for n in range(copies)
    )
    page = read("profiles", respond(f'<profiles num="{copies}" page="1">{records}</profiles>'))
    assert "last_saved_districts" not in page.table.column_names
    assert page.rejects == []


def loose(page: Page) -> list[tuple[Any, ...]]:
    return [(one.row_key, one.table, one.column, one.payload) for one in page.rejects]


@pytest.mark.parametrize("name", ["incoming_messages", "outgoing_messages"])
def test_the_id_of_a_profile_is_read_whatever_stands_beside_it(name: str) -> None:
    profile = '<profile><id type="integer">347</id><first_name>Ada</first_name></profile>'
    page = read(name, respond(f'<messages><message id="1">{profile}</message></messages>'))
    assert rows(page) == [{"id": 1, "profile_id": 347}]
    assert page.rejects == []


@pytest.mark.parametrize(
    ("record", "row", "rejects"),
    [
        ("<group id='1'>in front<name>a</name></group>", {"group": "in front"}, []),
        ("<group id='1'><name>a</name>behind</group>", {}, [(None, "group", "behind")]),
        ("<group id='1'><name>a<b>c</b>d</name></group>", {"name__b": "c"}, [(None, "name", "d")]),
        (
            "<group id='1'><name>a</name><x> <y/> z </x></group>",
            {"x__y": None},
            [(None, "x", " z ")],
        ),
        (
            "<group id='1'><name>a</name><tags>b<tag>c</tag>d</tags></group>",
            {},
            [(None, "tags", "b"), (None, "tags", "d")],
        ),
        (
            "<group id='1'><name>a</name><tags><tag><x/>d</tag></tags></group>",
            {},
            [("tags", "tag", "d")],
        ),
    ],
)
def test_text_around_elements_is_a_column_or_a_reject(
    record: str, row: dict[str, Any], rejects: list[Any]
) -> None:
    page = read("groups", respond(f"<groups>{record}<group id='2'/></groups>"))
    expected = {"id": 1, "name": "a", **{name: text for name, text in row.items() if text}}
    assert rows(page) == [expected, {"id": 2}]
    assert loose(page) == [("1", *reject) for reject in rejects]


def test_text_between_the_records_is_a_reject() -> None:
    inner = "<groups>one<group id='1'/>two<group id='2'/>\n</groups>"
    page = read("groups", respond(inner))
    assert [row["id"] for row in rows(page)] == [1, 2]
    assert page.rows == 2
    assert loose(page) == [(None, None, None, "one"), (None, None, None, "two")]


def test_an_element_between_the_records_is_a_reject() -> None:
    page = read("groups", respond("<groups><group id='1'/><grp id='2'/><group id='3'/></groups>"))
    assert [row["id"] for row in rows(page)] == [1, 3]
    assert page.rows == 2
    assert loose(page) == [(None, None, None, '<grp id="2"/>')]


def test_the_attributes_of_a_list_are_columns_of_the_record_that_holds_it() -> None:
    page = read(
        "profiles",
        respond(
            '<profiles num="2"><profile id="1"><subscriptions type="array" num="1">'
            '<subscription campaign_id="5"/></subscriptions><clicks type="array"/></profile>'
            '<profile id="2"><badges kind="b"><badge>x</badge><badge>y</badge></badges></profile>'
            "</profiles>"
        ),
    )
    assert rows(page) == [
        {
            "id": 1,
            "subscriptions__type": "array",
            "subscriptions__num": "1",
            "clicks__type": "array",
        },
        {"id": 2, "badges__kind": "b"},
    ]
    assert entries(page, "subscriptions") == [{"_row": 0, "campaign_id": 5}]
    assert page.rejects == []


def test_an_entry_that_names_its_parent_otherwise_keeps_that() -> None:
    page = read(
        "campaigns",
        respond(
            '<campaigns><campaign id="1"><opt_in_paths><opt_in_path id="21"><tags>'
            '<tag opt_in_path_id="21">x</tag><tag opt_in_path_id="22">y</tag></tags>'
            "</opt_in_path></opt_in_paths></campaign></campaigns>"
        ),
    )
    assert entries(page, "opt_in_paths__tags") == [
        {"_row": 0, "opt_in_path_id": 21, "opt_in_path_id_sent": "21", "tag": "x"},
        {"_row": 0, "opt_in_path_id": 21, "opt_in_path_id_sent": "22", "tag": "y"},
    ]


@pytest.mark.parametrize(("ids", "kept"), [(("1", "01"), ["1"]), (("01", "1", "1"), ["01"])])
@pytest.mark.parametrize("beside", [0, 2000])
def test_ids_that_are_the_same_number_are_the_same_record(
    ids: tuple[str, ...], kept: list[str], beside: int
) -> None:
    records = [f'<group id="{id}" name="g"/>' for id in ids]
    records += [f'<group id="{n}" name="g"/>' for n in range(10, 10 + beside)]
    page = read("groups", respond(f"<groups>{''.join(records)}</groups>"))
    assert [row["id"] for row in rows(page)] == [
        *[1] * (len(ids) - len(kept)),
        *range(10, 10 + beside),
    ]
    assert [reject.row_key for reject in page.rejects] == kept


#: With HTTP 200; all but the last have been recorded.
NO_DATA = {
    "text": b'<response success="true">hurray!</response>',
    "bare": b"<response/>",
    "body": b"<body>Well, this is unexpected!</body>",
    "heading": b"<h1>Error</h1>",
    "empty": b"",
    "declared": f'{DECLARATION}<response success="true">\n<!-- none -->\n</response>'.encode(),
}


@pytest.mark.parametrize("body", NO_DATA.values(), ids=list(NO_DATA))
@pytest.mark.parametrize("name", BY_NAME)
def test_an_answer_without_data_is_tried_again_and_is_no_empty_list(name: str, body: bytes) -> None:
    # Smaller pages and shorter windows, which a broken answer leads to, would not help.
    assert type(failure(body, path=BY_NAME[name].path)) is TransientError
    with pytest.raises(TransientError):
        read(name, body)


def listing(name: str, records: str, attributes: str = "") -> str:
    """An answer with the list that an endpoint declares."""
    *containers, last, _ = ("", *BY_NAME[name].rows.split("/"))
    inner = f"<{last}{attributes}>{records}</{last}>"
    for container in reversed(containers[1:]):
        inner = f"<{container}>{inner}</{container}>"
    return respond(inner)


LISTS = [name for name in BY_NAME if "/" in BY_NAME[name].rows]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_something_else_is_tried_again(name: str) -> None:
    record = BY_NAME[name].rows.split("/")[-1]
    people = ' num="2"', "<person><id>1</id></person><person><id>2</id></person>"
    text = listing(name, people[1], people[0])
    assert type(failure(text.encode(), path=BY_NAME[name].path)) is TransientError
    with pytest.raises(MalformedResponse, match="<person>"):
        read(name, text)
    for other in ("hurray!", f"&lt;{record} id='1'/&gt;"):
        assert type(failure(listing(name, other).encode(), path=BY_NAME[name].path)) is (
            TransientError
        )
    read(name, listing(name, "\n"))


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_there_twice_is_no_answer(name: str) -> None:
    container, record = BY_NAME[name].rows.split("/")[-2:]
    records = f'<{record} id="1"/>', f'<{record} id="2"/>'
    two = f"{records[0]}</{container}><{container}>{records[1]}"
    with pytest.raises(MalformedResponse):
        read(name, listing(name, two))
    # Nor where it has to be taken apart.
    with pytest.raises(MalformedResponse):
        read(name, listing(name, two.replace("<", "& <", 1)))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("well_formed", [False, True])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_list_with_fewer_records_than_it_says_is_broken(
    quote: str, well_formed: bool, large: bool
) -> None:
    text = "x" * (MIN_BYTES if large else 1)
    records = f'<profile id="1"><email>{text}</email></profile><profile id="2"/>'
    records = records if well_formed else records.replace(text, f"{text} & co")
    head = f" num={quote}{{}}{quote}"
    for number, lost in ((0, False), (1, False), (2, False), (3, True), (20, True)):
        answer = listing("profiles", records, head.format(number))
        if lost:
            with pytest.raises(MalformedResponse, match="garbled"):
                read("profiles", answer)
        else:
            assert read("profiles", answer).rows == 2


@pytest.mark.parametrize(
    "stray",
    ["<!-- {} -->", "<!--{}--> <!-- more -->", "<?{}?>", "<!-- a --> <!-- {}-->"],
)
@pytest.mark.parametrize("large", [False, True])
def test_records_in_a_comment_are_not_lost_silently(stray: str, large: bool) -> None:
    first = f'<keyword id="1"><name>{"x" * (MIN_BYTES if large else 1)}</name></keyword>'
    second, third = '<keyword id="2"/>', '<keyword id="3"/>'
    whole = listing("keywords", first + second + third)
    assert read("keywords", whole).rows == 3
    with pytest.raises(MalformedResponse, match="garbled"):
        read("keywords", whole.replace(second, stray.format(f"x {second}")))
    # A comment from the text of one record to that of another.
    swallowed = whole.replace(first, first.replace("x</", "x<!--</"))
    with pytest.raises(MalformedResponse, match="garbled"):
        read("keywords", swallowed.replace(third, '<keyword id="3"><name>--></name></keyword>'))


def test_comments_that_hold_no_record_are_no_harm() -> None:
    section = "<![CDATA[<!-- <keyword id='7'/> -->]]>"
    records = f'<!-- keywords --><keyword id="1"><name>{section}</name></keyword><?keywords?>'
    page = read("keywords", listing("keywords", records))
    assert rows(page) == [{"id": 1, "name": "<!-- <keyword id='7'/> -->"}]


SINGLE = {
    "call_counts": ["<count>3</count>", "<call_count/>", "<call_count> </call_count>", "3"],
    "donation_summaries": [
        "<donation_summary/>",
        '<donation_summary name="f"><accepted/></donation_summary>',
        '<donation_summary><accepted count="1"/></donation_summary>' * 2,
    ],
}


@pytest.mark.parametrize(("name", "inner"), [(n, inner) for n in SINGLE for inner in SINGLE[n]])
def test_a_single_record_without_its_content_is_no_answer(name: str, inner: str) -> None:
    with pytest.raises(MalformedResponse):
        read(name, respond(inner))


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("call_counts", "<call_count>2 & 3</call_count>"),
        (
            "donation_summaries",
            '<donation_summary name="A & B"><accepted count="1"/></donation_summary>',
        ),
    ],
)
def test_a_single_record_that_is_not_well_formed_is_no_answer(name: str, inner: str) -> None:
    # Kept as a reject it would be gone from the table, which is replaced.
    with pytest.raises(MalformedResponse, match="garbled"):
        read(name, respond(inner))


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("profiles", '<profiles num="0" page="1"/>'),
        ("clicks", '<clicks total_link_clicks="100" unique="15"> </clicks>'),
        ("group_members", '<group name="g" id="49" type="UploadedGroup"></group>'),
        ("mdata_queries", '<mdata name="m" id="1"><queries page="1" page_count="0"/></mdata>'),
    ],
)
def test_an_empty_container_is_an_empty_list(name: str, inner: str) -> None:
    for text in (respond(inner), "\n" + respond(inner)):
        page = read(name, text)
        assert page.rows == 0
        assert page.rejects == []


@pytest.mark.parametrize(
    "name", [name for name in BY_NAME if BY_NAME[name].rows != "." and name != "attachments"]
)
def test_an_answer_to_something_else_does_not_empty_a_table(name: str) -> None:
    something_else = respond("<attachments><attachment><id>1</id></attachment></attachments>")
    with pytest.raises(ServiceError, match="attachments"):
        read(name, something_else)


def test_a_number_that_is_no_number_costs_only_itself() -> None:
    page = read("groups", respond('<groups><group id="1" size="many" name="a"/></groups>'))
    assert rows(page) == [{"id": 1, "name": "a"}]
    (reject,) = page.rejects
    assert (reject.row_key, reject.column, reject.payload) == ("1", "size", "many")


def test_a_record_without_its_id_is_kept_whole() -> None:
    page = read("groups", respond('<groups><group name="a"/><group id="2"/></groups>'))
    assert rows(page) == [{"id": 2}]
    (reject,) = page.rejects
    assert (reject.row_key, reject.column) == (None, None)
    assert reject.payload == '<group name="a"/>'


def test_two_answers_with_the_same_records_have_the_same_fingerprint() -> None:
    def fingerprint(*ids: int, status: str = "a") -> str:
        inner = "".join(f'<profile id="{n}"><status>{status}</status></profile>' for n in ids)
        return read("profiles", respond(f"<profiles>{inner}</profiles>")).fingerprint

    assert fingerprint(1, 2) == fingerprint(1, 2, status="b")
    met = [fingerprint(*ids) for ids in [(), (1,), (1, 2), (2, 1), (12,), (1, 2, 3)]]
    assert len(set(met)) == len(met)


# What is left of a bad answer

Damage = Callable[[str], bytes]
DAMAGES: Mapping[str, Damage] = {
    "stray ampersand": lambda record: record.replace("TEXT", "Fish & Chips").encode(),
    "unknown entity": lambda record: record.replace("TEXT", "Fish&nbsp;Chips").encode(),
    "stray angle": lambda record: record.replace("TEXT", "I <3 chips").encode(),
    "control character": lambda record: record.replace("TEXT", "a\x0bb").encode(),
    "zero byte": lambda record: record.replace("TEXT", "a\0b").encode(),
    "reference to a control character": lambda record: record.replace("TEXT", "a&#x1F;b").encode(),
    "invalid UTF-8": lambda record: record.encode().replace(b"TEXT", b"caf\xe9"),
    "cut character": lambda record: record.encode().replace(b"TEXT", b"\xf0\x9f\x98"),
    "lost end tag": lambda record: record.replace("TEXT</name>", "TEXT").encode(),
    "lost end of the record": lambda record: record.rpartition("</")[0].encode(),
    "wrong end tag": lambda record: record.replace("TEXT</name>", "TEXT</nom>").encode(),
    "lost quote": lambda record: record.replace('note="x"', 'note="x').encode(),
    "attribute twice": lambda record: record.replace('note="x"', 'note="x" note="y"').encode(),
}


def page_of(records: list[bytes]) -> bytes:
    opening = f'{DECLARATION}<response success="true">\n<keywords page="1" page_count="7">\n'
    return opening.encode() + b"\n".join(records) + b"\n</keywords>\n</response>\n"


def keyword(number: int) -> str:
    return f'<keyword id="{number}" note="x"><name>TEXT</name><active>true</active></keyword>'


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@settings(max_examples=25)
@given(bad=st.lists(st.booleans(), min_size=1, max_size=6).filter(any))
def test_all_good_records_of_a_bad_page_load_and_each_bad_one_is_kept_with_its_key(
    damage: Damage, bad: list[bool]
) -> None:
    records = [
        damage(keyword(n)) if broken else keyword(n).encode() for n, broken in enumerate(bad, 1)
    ]
    page = read("keywords", page_of(records))
    assert page.rows == len(bad)
    assert page.page_count == 7
    assert rows(page) == [
        {"id": n, "note": "x", "name": "TEXT", "active": True}
        for n, broken in enumerate(bad, 1)
        if not broken
    ]
    kept = {reject.row_key: reject for reject in page.rejects}
    assert set(kept) == {str(n) for n, broken in enumerate(bad, 1) if broken}
    assert len(page.rejects) == len(kept)
    for key, reject in kept.items():
        assert reject.column is None
        whole = records[int(key or 0) - 1].decode("utf-8", "backslashreplace")
        assert reject.payload.startswith(whole.replace("\0", "\\x00"))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_records_that_close_themselves_load_from_a_bad_page(at: int) -> None:
    records = [f'<group id="{n}" name="g"/>'.encode() for n in (1, 2, 3)]
    records[at] = records[at].replace(b'"g"', b'"g & co"')
    body = b"<response success='true'><groups>" + b"\n".join(records) + b"</groups></response>"
    page = read("groups", body)
    assert page.table["id"].to_pylist() == [n for n in (1, 2, 3) if n != at + 1]
    assert [reject.row_key for reject in page.rejects] == [str(at + 1)]


@pytest.mark.parametrize(
    ("name", "before", "record", "after", "key"),
    [
        (
            "group_members",
            '<group name="g" id="49">',
            '<profile id="347"><first_name>A & B</first_name></profile>',
            "</group>",
            "347",
        ),
        (
            "campaign_subscribers",
            "<subscriptions>",
            "<sub><phone_number>15550100 & 1</phone_number><id>123</id></sub>",
            "</subscriptions>",
            "123",
        ),
        (
            "profiles",
            "<profiles>",
            "<profile><source id='9' name='A & B'/><id>31</id></profile>",
            "</profiles>",
            "31",
        ),
    ],
)
def test_the_key_of_a_bad_record_is_found_where_the_record_has_it(
    name: str, before: str, record: str, after: str, key: str
) -> None:
    page = read(name, respond(before + record + after))
    (reject,) = page.rejects
    assert reject.row_key == key
    assert reject.payload == record


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_what_remains_of_a_record_without_its_beginning_is_no_record(lost: int) -> None:
    # Queries have no id that could be missing.
    records = [f"<query><input>{n}</input><result>found</result></query>" for n in range(3)]
    records[lost] = "<q<result>found</result>"
    holder = f'<queries page="1" limit="100" page_count="1">{"".join(records)}</queries>'
    page = read("mdata_queries", respond(f'<mdata id="1">{holder}</mdata>'))
    assert [row["input"] for row in rows(page)] == [str(n) for n in range(3) if n != lost]
    ((reason, payload),) = [(reject.reason, reject.payload) for reject in page.rejects]
    assert (reason, payload) == ("the beginning of the record is lost", records[lost])


# XML is hostile

PASSWD = "the content of another file"
LAUGHS = "".join(f'<!ENTITY lol{n} "{f"&lol{n - 1};" * 10 if n else "lol"}">' for n in range(10))


def hostile(doctype: str, text: str) -> bytes:
    record = f'<group id="1"><name>{text}</name></group>'
    envelope = f'<response success="true"><groups>{record}</groups></response>'
    return f"{DECLARATION}{doctype}\n{envelope}".encode()


def attempt(body: bytes) -> Page:
    endpoint = BY_NAME["groups"]
    return decode(body, endpoint)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE response [<!ENTITY e "expanded">]>',
        '<!DOCTYPE response [<!ENTITY d "expanded"><!ENTITY e "&d;&d;">]>',
        f'<!DOCTYPE response [{LAUGHS}<!ENTITY e "&lol9;">]>',
        '<!DOCTYPE response [<!ENTITY e SYSTEM "file:///etc/hostname">]>',
        "<!DOCTYPE response [<!ENTITY % p \"<!ENTITY e 'expanded'>\"> %p;]>",
    ],
    ids=["internal", "nested", "billion laughs", "external", "parameter"],
)
@pytest.mark.parametrize(
    "bad", ['<group id="1"><name>a &e; b</name></group>', '<group id="1" name="a &e; b"></group>']
)
def test_no_entity_is_expanded_and_one_costs_only_the_record_that_uses_it(
    doctype: str, bad: str
) -> None:
    good = '<group id="2" name="good"></group>'
    inner = f"<groups>{bad}{good}</groups>"
    page = read("groups", doctype + respond(inner).removeprefix(DECLARATION))
    assert rows(page) == [{"id": 2, "name": "good"}]
    assert [(reject.row_key, reject.payload) for reject in page.rejects] == [("1", bad)]


@pytest.mark.parametrize(
    "body",
    [
        'b"<!-- x -->" * 500 + b"!"',
        'b"<!DOCTYPE x []>" * 500 + b"!"',
        'b" " * 500_000 + b"!"',
        'b"<response " + b"a=\\"b\\" " * 50_000',
        'b"<response success=\\"false\\"><error " + b"id=" * 50_000',
    ],
)
def test_no_answer_keeps_the_check_busy_for_ever(body: str) -> None:
    # In a process of its own: a regular expression that has run away cannot be stopped otherwise.
    code = (
        "from textlift.http.client import HttpResponse\n"
        "from textlift.errors import TransientError\n"
        "from textlift.mcommons.errors import check\n"
        "try:\n"
        f"    check(HttpResponse(200, 'application/xml', {body}))\n"
        "except TransientError:\n"
        "    print('tried again')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "tried again\n"


def test_no_other_file_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(PASSWD)
    grammar = tmp_path / "grammar.dtd"
    grammar.write_text(f'<!ENTITY e "{PASSWD}">')
    file, dtd = secret.as_uri(), grammar.as_uri()
    for doctype in (
        f'<!DOCTYPE response [<!ENTITY e SYSTEM "{file}">]>',
        f'<!DOCTYPE response SYSTEM "{dtd}">',
        f'<!DOCTYPE response [<!ENTITY % p SYSTEM "{dtd}"> %p;]>',
    ):
        try:
            page = attempt(hostile(doctype, "before &e; after"))
        except ServiceError as error:
            assert PASSWD not in str(error)
            continue
        # Half a text is not loaded as if it were all of it.
        assert page.table.num_rows == 0
        assert [reject.row_key for reject in page.rejects] == ["1"]
        assert PASSWD not in page.rejects[0].payload


def test_nothing_is_included_from_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(PASSWD)
    include = (
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text" '
        f'href="{secret.as_uri()}"/>'
    )
    page = attempt(hostile("", include))
    assert PASSWD not in repr(page.table.to_pylist())
