"""Dialects: services that print XML and arrange JSON in other ways, none of them a real one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.pages import entries, rows
from textlift.arrow.build import build_page
from textlift.arrow.pages import Page
from textlift.codec.dialects import JsonDialect, XmlDialect
from textlift.codec.json import JsonCodec
from textlift.codec.xml import XmlCodec
from textlift.codec.xml_tree import expect_list, is_complete, prepare, root_tag
from textlift.declare import ChildList, Column, ColumnType, Endpoint
from textlift.errors import MalformedResponse, ServiceError

BIGINT, TEXT = Column(ColumnType.BIGINT, "a number"), Column(ColumnType.TEXT, "a text")
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def boats(path: str) -> Endpoint:
    return Endpoint(
        name="boats",
        entity="boat",
        meaning="A boat.",
        path="boats",
        rows=path,
        columns={"id": BIGINT, "name": TEXT, "home_port__city": TEXT},
        lists={
            "sails": ChildList(item="sail", meaning="A sail.", columns={"sail": TEXT}, text="sail")
        },
    )


# Attributes that describe values, and text between blanks

RAILS = XmlDialect(described_by=frozenset({"type", "nil"}), padded=True)
RAILS_BOATS = b"""<boats type="array">
  <boat>
    <id type="integer">
      7
    </id>
    <name nil="true"></name>
    <home-port type="Port"><city> Brest\n</city></home-port>
    <sails type="array"><sail> jib </sail><sail type="string"> </sail></sails>
    <length type="decimal">9</length>
  </boat>
</boats>"""


def xml_page(body: bytes, path: str, dialect: XmlDialect) -> Page:
    endpoint = boats(path)
    return build_page(endpoint, XmlCodec(endpoint, dialect).decode(body))


def test_attributes_that_describe_a_value_are_no_columns_and_blanks_no_text() -> None:
    page = xml_page(DECLARATION + RAILS_BOATS, "boats/boat", RAILS)
    assert rows(page) == [{"id": 7, "home_port__city": "Brest", "length": "9"}]
    assert entries(page, "sails") == [{"_row": 0, "sail": "jib"}, {"_row": 0}]
    assert not [name for name in page.table.column_names if "type" in name or "nil" in name]
    assert page.rejects == []


def test_a_reject_has_the_record_as_it_is_printed() -> None:
    (reject,) = xml_page(RAILS_BOATS.replace(b"7", b""), "boats/boat", RAILS).rejects
    assert '<name nil="true"/>' in reject.payload
    assert "<city> Brest\n</city>" in reject.payload


# Responses with an envelope, with several roots, and with the list as root

ROOTS = XmlDialect(envelope="response", unwrapped=True, total="records")
UNWRAPPED = (
    b"<input>boats</input><status>OK</status><result><boats><records>21</records>"
    b'<boat id="1"><name>a</name></boat><boat id="2"><name>b</name></boat></boats></result>'
)


@pytest.mark.parametrize(
    "body",
    [
        UNWRAPPED,
        DECLARATION + UNWRAPPED,
        b"<response>" + UNWRAPPED + b"</response>",
        DECLARATION + b"<response>\n" + UNWRAPPED + b"\n</response>\n",
        (DECLARATION.decode().replace("UTF-8", "UTF-16") + UNWRAPPED.decode()).encode("utf-16"),
    ],
)
def test_several_roots_are_read_like_one(body: bytes) -> None:
    page = xml_page(body, "result/boats/boat", ROOTS)
    assert rows(page) == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert page.total == 21
    assert page.rejects == []
    prepared = prepare(body, ROOTS)
    expect_list(prepared, boats("result/boats/boat"), ROOTS)
    root = root_tag(prepared)
    assert root
    assert is_complete(prepared, root)


def test_a_total_without_records_is_an_empty_list() -> None:
    page = xml_page(
        b"<result><boats><records>0</records></boats></result>", "result/boats/boat", ROOTS
    )
    assert (page.rows, page.total) == (0, 0)


@pytest.mark.parametrize(
    "body", [b"<status>OK</status><result/>", b"<result><boats><ship/></boats></result>"]
)
def test_several_roots_without_the_list_are_no_response(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        xml_page(body, "result/boats/boat", ROOTS)


def test_a_broken_record_among_several_roots_costs_only_itself() -> None:
    page = xml_page(UNWRAPPED.replace(b">b<", b">b & c<"), "result/boats/boat", ROOTS)
    assert rows(page) == [{"id": 1, "name": "a"}]
    assert [reject.row_key for reject in page.rejects] == ["2"]
    assert page.total == 21
    assert page.salvaged


# JSON with the list at the root

LISTED = JsonDialect(next_link="meta/links/next", page_count="meta/total_pages", total="meta/total")


def listed(*records: Any, **meta: Any) -> dict[str, Any]:
    return {"data": records, "meta": {"links": {"next": None}, **meta}, "status": "ok"}


def json_page(body: str) -> Page:
    endpoint = boats("data")
    return build_page(endpoint, JsonCodec(endpoint, LISTED).decode(body.encode()))


def test_a_list_at_the_root_is_read_with_what_is_said_of_the_page() -> None:
    boat = {"id": 1, "name": "a", "homePort": {"city": "Brest"}, "sails": ["jib", None]}
    link = "https://example.org/boats?page=2"
    body = json.dumps(listed(boat, total=21, total_pages=3, links={"next": link}))
    page = json_page(body)
    assert rows(page) == [{"id": 1, "name": "a", "home_port__city": "Brest"}]
    assert entries(page, "sails") == [{"_row": 0, "sail": "jib"}, {"_row": 0}]
    assert (page.total, page.page_count, page.next_link) == (21, 3, link)
    assert page.shared == {}
    assert page.rejects == []


@pytest.mark.parametrize("ahead", [True, False])
def test_a_broken_record_in_a_list_at_the_root_costs_only_itself(ahead: bool) -> None:
    found = listed(*({"id": n, "name": f"boat {n}"} for n in (1, 2, 3)), total=3)
    if ahead:
        found = {"meta": found.pop("meta"), **found}
    page = json_page(json.dumps(found).replace('"boat 2"', '"boat 2'))
    assert [row["id"] for row in rows(page)] == [1, 3]
    assert len(page.rejects) == 1
    assert (page.rows, page.total, page.salvaged) == (3, 3, True)


@pytest.mark.parametrize("links", [[], {}, {"next": None}, None])
def test_no_link_is_the_last_page(links: Any) -> None:
    assert json_page(json.dumps(listed({"id": 1}, links=links))).next_link is None


@pytest.mark.parametrize(
    "body", ['{"data": {}}', "[]", '{"meta": {}}', '{"data": [], "data": [1]}']
)
def test_a_response_without_the_list_is_no_response(body: str) -> None:
    with pytest.raises(MalformedResponse):
        json_page(body)


def test_a_link_that_is_no_url_is_an_error() -> None:
    with pytest.raises(ServiceError):
        json_page(json.dumps(listed(links={"next": 7.5}, total=[])).replace("7.5", "[2]"))


@pytest.mark.parametrize("known", [True, False])
def test_what_a_page_becomes_does_not_depend_on_other_pages(known: bool) -> None:
    endpoint = boats("data")
    codec = JsonCodec(endpoint, LISTED)
    body = json.dumps(listed({"id": 1, "new": " ", "crew": [{"name": "Zoë"}]})).encode()
    if known:
        codec.decode(json.dumps(listed({"id": 1, "new": {"x": 1}, "crew": {"a": [1]}})).encode())
    page = build_page(endpoint, codec.decode(body))
    assert rows(page) == [{"id": 1, "new": " "}]
    assert set(page.children) == {"sails", "crew"}
