"""Dialects: services that print XML and arrange JSON in other ways, none of them a real one."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def boats(path: str, **more: Any) -> Endpoint:
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
        **more,
    )


# Attributes that describe values, and text between blanks

RAILS = XmlDialect(described_by=frozenset({"type", "nil"}), padded=True, empty_list="nil-classes")
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


def test_an_empty_list_can_have_a_root_of_its_own() -> None:
    body = DECLARATION + b'<nil-classes type="array"/>'
    assert xml_page(body, "boats/boat", RAILS).rows == 0
    expect_list(body, boats("boats/boat"), RAILS)


@pytest.mark.parametrize(
    "body",
    [
        b"<nil-classes><boat><id>7</id></boat></nil-classes>",
        b"<nil-classes>Sorry</nil-classes>",
        b'<others type="array"/>',
    ],
    ids=["with a record", "with text", "another root"],
)
def test_what_is_no_empty_list_empties_no_table(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        expect_list(DECLARATION + body, boats("boats/boat"), RAILS)


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
    meta = {"links": {"next": None}, "total_pages": 1, **meta}
    return {"data": records, "meta": meta, "status": "ok"}


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


@pytest.mark.parametrize("meta", [{"total_pages": None}, {"total_pages": []}])
def test_a_response_that_does_not_state_its_pages_is_no_response(meta: Any) -> None:
    found = listed({"id": 1}, **meta)
    if meta["total_pages"] == []:
        del found["meta"]
    with pytest.raises(MalformedResponse, match="total_pages"):
        json_page(json.dumps(found))


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_an_object_or_a_list_that_is_not_there_is_no_column(nothing: Any) -> None:
    page = json_page(json.dumps(listed({"id": 1, "home_port": nothing, "sails": nothing})))
    assert {"home_port", "sails"}.isdisjoint(page.table.column_names)
    assert set(page.children) == {"sails"}
    assert entries(page, "sails") == []


def test_what_is_skipped_is_left_out_but_for_what_is_declared_below() -> None:
    columns = {"id": BIGINT, "port_id": BIGINT, "owner_id": BIGINT}
    aliases = {"port": "port_id", "port__id": "port_id", "port__owner__id": "owner_id"}
    endpoint = boats("data", skip=frozenset({"port", "log"}))
    endpoint = replace(endpoint, columns=columns, aliases=aliases)
    port = {"id": 3, "name": "Brest", "owner": {"id": 4, "name": "b"}, "berths": [{"id": 5}]}
    records = ({"id": 1, "port": port, "log": [{"day": 1}]}, {"id": 2, "port": 6, "log": "x"})
    page = build_page(
        endpoint, JsonCodec(endpoint, LISTED).decode(json.dumps(listed(*records)).encode())
    )
    assert rows(page) == [{"id": 1, "port_id": 3, "owner_id": 4}, {"id": 2, "port_id": 6}]
    assert set(page.children) == {"sails"}
    assert set(page.table.column_names) == set(columns)


# JSON whose nested values can be inside of an object with one member

WRAPPED = JsonDialect(wrapper="data")
values = st.recursive(
    st.one_of(st.none(), st.integers(0, 9), st.sampled_from(["", "a", "Zoë"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["id", "name", "city", "crew"]), inner, max_size=3),
    ),
    max_leaves=8,
)


def wrapped(value: Any, random: Random) -> Any:
    """The value with some of the objects and lists in it, or itself, inside of ``data``."""
    if isinstance(value, list):
        value = [wrapped(each, random) for each in value]
    elif isinstance(value, dict):
        value = {name: wrapped(each, random) for name, each in value.items()}
    else:
        return value
    return {"data": value} if random.random() < 0.5 else value


@given(
    records=st.lists(
        st.fixed_dictionaries(
            {"id": st.integers(1, 9)},
            optional={
                "home_port": st.fixed_dictionaries({"city": st.sampled_from(["Brest", ""])}),
                "sails": st.lists(st.sampled_from(["jib", None]), max_size=2),
                "crew": values,
            },
        ),
        max_size=3,
        # Of two records with one key, whether they are equal is told by their text.
        unique_by=lambda record: record["id"],
    ),
    random=st.randoms(use_true_random=False),
)
def test_a_nested_value_inside_of_a_wrapper_is_read_as_if_it_was_bare(
    records: list[dict[str, Any]], random: Random
) -> None:
    endpoint = boats("data")
    codec = JsonCodec(endpoint, WRAPPED)
    bodies = ([*records], [wrapped(record, random) for record in records])
    bare, other = (
        build_page(endpoint, codec.decode(json.dumps({"data": body}).encode())) for body in bodies
    )
    assert other.table == bare.table
    assert other.children == bare.children
    assert [(one.row, one.column) for one in other.rejects] == [
        (one.row, one.column) for one in bare.rejects
    ]


def test_an_object_with_more_members_is_no_wrapper() -> None:
    endpoint = boats("data")
    body = {"data": [{"id": 1, "crew": {"data": {"captain": "Zoë"}, "size": 2}}]}
    page = build_page(endpoint, JsonCodec(endpoint, WRAPPED).decode(json.dumps(body).encode()))
    assert rows(page) == [{"id": 1, "crew__data__captain": "Zoë", "crew__size": "2"}]
