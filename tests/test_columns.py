"""Decoding column by column: what the tolerant decoder makes of a page, or nothing at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from textlift.arrow.build import build_page
from textlift.arrow.pages import Page
from textlift.codec import xml, xml_columns
from textlift.codec.records import Decoded
from textlift.codec.xml import XmlCodec
from textlift.codec.xml_tree import parse
from textlift.declare import ChildList, Column, ColumnType, Endpoint
from textlift.mcommons.endpoints import DIALECT, ENDPOINTS
from textlift.sandbox.mcommons import MobileCommons
from textlift.sandbox.server import Request

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

BIGINT = Column(ColumnType.BIGINT, "a number")
TEXT = Column(ColumnType.TEXT, "a text")
TIMESTAMP = Column(ColumnType.TIMESTAMP, "a time")
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'

PEOPLE = Endpoint(
    name="people",
    entity="person",
    meaning="A person.",
    path="people",
    rows="people/person",
    columns={
        "id": BIGINT,
        "name": TEXT,
        "born": TIMESTAMP,
        "home__city": TEXT,
        "home__since": TIMESTAMP,
        "owner_id": BIGINT,
    },
    aliases={"owner__id": "owner_id"},
    skip=frozenset({"owner"}),
    lists={
        "pets": ChildList(
            item="pet",
            meaning="A pet of a person.",
            key=("id",),
            columns={"id": BIGINT, "name": TEXT},
            lists={
                "toys": ChildList(
                    item="toy", meaning="A toy of a pet.", columns={"toy": TEXT}, text="toy"
                )
            },
        ),
        "notes": ChildList(
            item="note", meaning="A note.", columns={"value": TEXT}, text="value", padded=True
        ),
    },
)


PEOPLE_CODEC = XmlCodec(PEOPLE, DIALECT)


def codec_of(endpoint: Endpoint) -> XmlCodec:
    return PEOPLE_CODEC if endpoint is PEOPLE else XmlCodec(endpoint, DIALECT)


@pytest.fixture(autouse=True, scope="module")
def any_size() -> Iterator[None]:
    """Small pages are decoded column by column as well."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(xml, "MIN_BYTES", 0)
        yield


def fast(body: str | bytes, endpoint: Endpoint = PEOPLE) -> tuple[Page, Any] | None:
    """The page as it is decoded column by column, if it can be."""
    raw = body.encode() if isinstance(body, str) else body
    found = codec_of(endpoint).by_columns(raw)
    return (build_page(endpoint, Decoded(found[0])), found[1]) if found else None


def decode(body: str | bytes, endpoint: Endpoint = PEOPLE) -> Page:
    raw = body.encode() if isinstance(body, str) else body
    return build_page(endpoint, codec_of(endpoint).decode(raw))


def assert_same(body: str | bytes, endpoint: Endpoint = PEOPLE) -> bool:
    """Whether the page was decoded column by column; if so, as it is element by element."""
    raw = body.encode() if isinstance(body, str) else body
    decoded = fast(raw, endpoint)
    if decoded is None:
        return False
    root = parse(raw)
    assert root is not None, "it is not well-formed"
    page, stated = decoded
    found, expected_stated = codec_of(endpoint).by_elements(raw, root)
    expected = build_page(endpoint, Decoded(found))
    assert stated == expected_stated
    assert page.rows == expected.rows
    assert page.fingerprint == expected.fingerprint
    assert sorted(map(repr, page.rejects)) == sorted(map(repr, expected.rejects))
    assert page.children.keys() == expected.children.keys()
    tables = [(page.table, expected.table)]
    tables += [(page.children[name], expected.children[name]) for name in page.children]
    for table, known in tables:
        assert sorted(table.column_names) == sorted(known.column_names)
        assert table.select(known.column_names).to_pylist() == known.to_pylist()
        assert [table.schema.field(name).type for name in known.column_names] == known.schema.types
    return True


def people(*records: str, attributes: str = 'page="1"') -> str:
    return f"{HEAD}<response><people {attributes}>\n{''.join(records)}</people></response>"


# --- what the service sends ----------------------------------------------------------------------


def pages_of(account: MobileCommons, path: str, **query: Any) -> Iterator[bytes]:
    for number in range(1, 4):
        asked = [(name, str(value)) for name, value in {**query, "page": number}.items()]
        headers = {"authorization": "Bearer sandbox-token"}
        body = account.answer(Request("GET", f"/api/{path}", path, asked, headers, 1)).body
        yield body
        if b'num="0"' in body:
            return


WHOLE = [
    ("profiles", {"limit": 100}),
    ("incoming_messages", {"limit": 100}),
    ("outgoing_messages", {"limit": 100}),
    ("broadcasts", {"limit": 100}),
    ("calls", {"limit": 100}),
    ("clicks", {}),
    ("mdata_queries", {"limit": 100}),
    ("campaign_subscribers", {"limit": 100}),
    ("group_members", {"limit": 100}),
    ("groups", {"limit": 100}),
    ("campaigns", {"include_opt_in_paths": 1}),
    ("keywords", {}),
    ("mconnects", {}),
    ("tinyurls", {}),
    ("tags", {}),
]


@pytest.fixture(scope="module")
def served() -> MobileCommons:
    return MobileCommons(profiles=300, now="2025-06-01T12:00:00Z")


@pytest.mark.parametrize(("name", "query"), WHOLE, ids=[name for name, _ in WHOLE])
def test_what_the_service_sends_is_decoded_alike(
    served: MobileCommons, name: str, query: dict[str, Any]
) -> None:
    endpoint, asked = BY_NAME[name], [{}]
    if endpoint.parent:
        rows = served.rows(endpoint.parent.endpoint)
        asked = [{endpoint.parent.param: row["id"]} for row in rows]
    taken = 0
    for parent in asked:
        for body in pages_of(served, endpoint.path, **{**query, **endpoint.params, **parent}):
            taken += assert_same(body, endpoint)
    assert taken


@pytest.mark.parametrize("name", ["profiles", "outgoing_messages"])
def test_a_large_page_is_decoded_column_by_column(
    served: MobileCommons, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = BY_NAME[name]
    body = next(pages_of(served, endpoint.path, limit=300))
    assert len(body) > xml.MIN_BYTES
    expected = decode(body, endpoint)
    monkeypatch.delattr(xml, "_walk")
    page = decode(body, endpoint)
    assert page.table.num_rows > 200
    assert page.table.equals(expected.table.select(page.table.column_names))


# --- what it may send ----------------------------------------------------------------------------

PERSON = (
    '<person id="1" zip="9"><name>Zoë</name><born>2024-01-02 03:04:05 UTC</born><home since="2024-'
    '01-02T03:04:05Z"><city>Brno</city></home><owner id="7"><name>left out</name></owner><pets>\n'
    '<pet id="5"><name>Rex</name><toys><toy>ball</toy><toy/></toys></pet><pet id="6"/></pets><notes>'
    "<note> one </note></notes></person>\n"
)


def test_blanks_in_an_entry_without_anything_else_are_its_text() -> None:
    page = decode(people('<person id="1"><pets><pet id="5"/><pet>  </pet></pets></person>'))
    assert page.children["pets"]["pet"].to_pylist() == [None, "  "]


@pytest.mark.parametrize(
    "record",
    [
        PERSON,
        '<person id="1"><name>1 &lt; 2 &amp;&amp; 3 &gt; 2 &quot;&apos;</name></person>',
        '<person id="1"><name>&#233;&#x1F600;&#10;&#38;lt;</name></person>',
        '<person id="1"><name>2 > 1</name></person>',
        '<person id="1"><name> </name><home> <city/></home></person>',
        '<person id="1"><name/><home></home><born>0000-00-00 00:00:00</born></person>',
        '<person id="1"><name>n</name><born>tomorrow</born></person>',
        '<person id=""><name>nobody</name></person>',
        '<person id="x"><name>no number</name></person>',
        '<person id="1"><owner><id>7</id></owner></person>',
        '<person  id="1" ><name >n</name ></person >',
        '<person id="1"><pets type="array"/><notes><note kind="k">n</note></notes></person>',
        '<person id="1"><pets num="1" page="1"><pet id="5"><toys of="5"/></pet>\n</pets></person>',
        '<person id="1"><home>loose<city>Brno</city></home></person>',
        '<person id="1"><owner>\n<id type="integer">7</id>\n</owner></person>',
        '<person id="1"><notes><note>\n  n  \n  </note><note>\n\n</note><note/></notes></person>',
        '<person id="1"><notes><note>\n</note><note> <b>x</b></note></notes></person>',
        '<person id="1"><name>one</name><name/></person>',
        f'<person id="1"><name>{"a" * 9_000_000}</name></person>',
    ],
)
def test_a_page_of_such_records_is_decoded(record: str) -> None:
    body = people(record, PERSON.replace('id="1"', 'id="2"'))
    taken = assert_same(body)
    # What is only blank after all, and what is in several pieces, is left to the other decoder.
    assert taken or "<note>\n</note>" in record


@pytest.mark.parametrize(
    "body",
    [
        people(PERSON).replace("Zoë", "a & b"),
        people(PERSON).replace("Zoë", "a &nbsp; b"),
        people(PERSON).replace("Zoë", "a &#0; b"),
        people(PERSON).replace("Zoë", "a &#xD800; b"),
        people(PERSON).replace("Zoë", "a \x01 b"),
        people(PERSON).replace("Zoë", "a \ufffe b"),
        people(PERSON).replace("Zoë", "a ]]> b"),
        people(PERSON).replace("Zoë", "a < b"),
        people(PERSON).replace("</name>", "</nome>", 1),
        people(PERSON).replace("</name>", "", 1),
        people(PERSON).replace('zip="9"', 'id="9"'),
        people(PERSON).replace('zip="9"', 'zip="<"'),
        people(PERSON).replace('zip="9"', "zip=9"),
        people(PERSON).replace('zip="9"', '"9"'),
        people(PERSON).replace('zip="9"', 'zip="9'),
        people(PERSON).replace('id="7"', 'id="7" id="8"'),
        people(PERSON, attributes='"1"'),
        people(PERSON, attributes='num="1" num="2"'),
        people(PERSON) + "<again/>",
        people(PERSON) + "x",
        "x" + people(PERSON),
        people(PERSON).replace("<notes>", "< notes>"),
        people(PERSON).replace("<notes>", "<notes=>"),
        people(PERSON).replace("</notes>", '</notes a="b">'),
        people(PERSON).replace("</notes>", "</notes/>"),
        people(PERSON).replace("<toy/>", "<toy//>"),
        people(PERSON).replace("<toy/>", "<toy/ >"),
        people(PERSON).replace("<toy/>", '<toy size="1" / >'),
        people(PERSON).replace("<toy/>", '<toy size="1" / ></toy>'),
        people(PERSON).replace("<toy/>", '<toy size="1"/ ></toy>'),
        people(PERSON).replace("UTF-8", "us-ascii"),
        people(PERSON).replace("UTF-8", "UTF-16"),
        people(PERSON.replace("left out", "a" * 10_000_001)),
        people(PERSON.replace("Zo\u00eb", "a" * 10_000_001)),
        people(PERSON.replace("<name>left out</name>", f"<{'a' * 50_001}/>")),
        people(PERSON).replace("<person", f"{' ' * 10_000_001}<person"),
        people(PERSON) + "\n" * 10_000_001,
        people(PERSON).replace("left out", "left & out"),
        people(PERSON).replace("</response>", ""),
        "",
    ],
)
def test_what_is_not_well_formed_is_declined(body: str) -> None:
    assert fast(people(PERSON))
    assert parse(body.encode("utf-8")) is None
    assert fast(body) is None


@pytest.mark.parametrize(
    "body",
    [
        people(PERSON.replace("Zoë", "<![CDATA[a]]>")),
        people(PERSON.replace("Zoë", "a<!-- b -->c")),
        people(PERSON.replace("Zoë", "a<?b?>c")),
        people(PERSON.replace("Zoë", "a\r\nb")),
        people(PERSON.replace('zip="9"', 'zip="a\nb"')),
        people(PERSON.replace('zip="9"', "zip='9'")),
        people(PERSON.replace('zip="9"', 'zip="1>2"')),
        people(PERSON.replace('zip="9"', f'zip="{"9" * 50_000}"')),
        people(PERSON.replace('zip="9"', 'xmlns="urn:x"')),
        people(PERSON.replace("<name>", '<name xml:lang="cs">')),
        people(PERSON.replace("<born>", "<name>Zora</name><born>")),
        people(PERSON.replace("<born>", "loose<born>")),
        people(PERSON.replace("</city>", "</city>\nloose")),
        people(PERSON.replace("<notes>", "<notes>loose")),
        people(PERSON.replace("</notes>", "loose</notes>")),
        people(PERSON.replace("</note>", "</note> loose ")),
        people(PERSON.replace("</toys>", "loose</toys>")),
        people(PERSON.replace('<person id="1" zip="9">', '<person id="1" zip="9">loose')),
        people("loose", PERSON),
        people(PERSON, "loose"),
        people(PERSON.replace("<born>", '<person id="3"><name>n</name></person><born>')),
        people(PERSON.replace("</home>", "</home><home><city>Znojmo</city></home>")),
        people(PERSON).replace("</people>", "</people><people></people>"),
        people(PERSON).replace("</people>", "</people><more/>"),
        people(PERSON).replace("</people>", "<more/></people>"),
        people(PERSON).replace("<response>", '<response xmlns="urn:x">'),
        people(PERSON.replace("<city>Brno", "\u00a0<city>Brno")),
        people(PERSON.replace("<city>Brno", "&#32;<city>Brno")),
        people("<person><owner><name>a &amp; b</name></owner></person>"),
        people(PERSON).replace("UTF-8", "ISO-8859-1"),
        people(PERSON).replace("UTF-8", "us-ascii").replace("Zo\u00eb", "Zoe"),
        people(PERSON).replace("response>", "answer>"),
        people(PERSON).replace("<response>", "<!DOCTYPE response><response>"),
        people(),
    ],
)
def test_what_may_mean_something_else_is_declined(body: str) -> None:
    assert parse(body.encode()) is not None
    assert fast(body) is None


def test_an_object_that_looks_like_a_list_later_is_declined() -> None:
    for cars in ("<car>Škoda</car><plate>1</plate>", "<car>Škoda</car>"):
        body = people(f'<person id="1"><cars>{cars}</cars></person>')
        page = decode(body)
    assert page.children["cars"].num_rows == 1
    assert fast(body) is None


def test_a_text_is_kept_from_what_is_left_out() -> None:
    agents = replace(PEOPLE, aliases={"agent": "agent_name"}, skip=frozenset({"agent"}))
    agents = replace(agents, columns={**PEOPLE.columns, "agent_name": TEXT})
    for agent in ("<agent>", '<agent code="7">', "<agent><code>7</code>"):
        body = people(f'<person id="1">{agent}Joe</agent></person>').replace(
            "</code>Joe", "</code>"
        )
        decoded = fast(body, agents)
        assert assert_same(body, agents)
        assert decoded
        name = None if "code>" in agent else "Joe"
        assert decoded[0].table["agent_name"].to_pylist() == [name]
        assert not any("code" in column for column in decoded[0].table.column_names)


@pytest.mark.parametrize(
    ("new", "columns"),
    [
        ("<new>x</new>", {"new": "x"}),
        ("<new/>", {"new": None}),
        ("<new> \n</new>", {"new": None}),
        ("<new> x </new>", {"new": " x "}),
        ('<new kind="k">x</new>', {"new": "x", "new__kind": "k"}),
        ('<new kind="k"> </new>', {"new__kind": "k"}),
        ('<new kind="k"/>', {"new__kind": "k"}),
        ("<owner><new>x</new></owner>", {}),
        ("<newName>x</newName>", {"new_name": "x"}),
        ("<Name>x</Name>", {"name": "x"}),
        ('<home newer="y"><new>x</new></home>', {"home__new": "x", "home__newer": "y"}),
        ('<pets newer="y"/>', {"pets__newer": "y"}),
    ],
)
def test_what_nobody_declared_is_decoded_from_the_page_alone(
    new: str, columns: dict[str, str | None]
) -> None:
    body = people(f'<person id="1">{new}</person><person id="2"/>')
    for _ in range(2):
        assert assert_same(body)
        page = decode(body)
        declared = PEOPLE.columns.keys()
        found = {name: page.table[name].to_pylist() for name in page.table.column_names}
        assert {*found} - {*columns} == {*declared} - {*columns}
        assert {name: found[name] for name in columns} == {
            name: [text, None] for name, text in columns.items()
        }


def test_a_page_does_not_depend_on_those_before_it() -> None:
    bodies = [
        people(f'<person id="1"><cars>{cars}</cars></person>')
        for cars in ("\n", "<car>a</car>", "<car>a</car><plate>1</plate>", "", "a")
    ]
    alone = [decode(body) for body in bodies]
    for order in permutations(range(len(bodies))):
        for n in order:
            page = decode(bodies[n])
            assert page == alone[n]


NAMES = ("id", "name", "born", "home", "city", "owner", "pets", "pet", "toys", "toy", "note", "zip")
TEXTS = (
    "",
    "",
    "7",
    "a",
    " ",
    "\n",
    "&amp;",
    "&#65;",
    "é",
    ">",
    " x ",
    "2024-01-02",
    "\u00a0",
    "b",
)
ODD_TEXTS = ("&", "&nbsp;", "<", "<!--c-->", "<![CDATA[c]]>", "]]>", "\t", "\r", "\x02", "&#0;")


#: Behind an element; most of them schema.
tails = st.sampled_from(["", "", "", " ", "\n", " \n", "\u00a0", "x", " x", "&amp;", "&#32;"])


@st.composite
def elements(draw: st.DrawFn, name: str, depth: int = 0) -> str:
    attributes = draw(
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(TEXTS[:9]), max_size=2)
    )
    text = draw(st.sampled_from(TEXTS))
    inner = []
    if depth < 3:
        names = draw(st.lists(st.sampled_from(NAMES), max_size=3))
        inner = [draw(elements(each, depth + 1)) + draw(tails) for each in names]
    head = "".join(f' {key}="{value.strip()}"' for key, value in attributes.items())
    if not inner and not text and draw(st.booleans()):
        return f"<{name}{head}/>"
    return f"<{name}{head}>{text}{''.join(inner)}</{name}>"


@st.composite
def plain_records(draw: st.DrawFn) -> str:
    """A record as it should be, with parts left out or in another order, and other texts."""
    parts = re.findall(r"<(\w+)[^>]*>.*?</\1>", PERSON[30:], re.DOTALL) and re.split(
        r"(?<=</name>)(?=<born>)|(?<=</born>)|(?<=</home>)|(?<=</owner>)|(?<=</pets>)",
        PERSON.removeprefix('<person id="1" zip="9">').removesuffix("</person>\n"),
    )
    chosen = draw(st.permutations(draw(st.lists(st.sampled_from(parts), unique=True))))
    text = draw(st.sampled_from(TEXTS))
    return f'<person id="{draw(st.integers(0, 5))}">{"".join(chosen)}</person>'.replace("Zoë", text)


@settings(max_examples=300)
@given(
    records=st.lists(st.one_of(plain_records(), elements("person")), max_size=4),
    odd=st.sampled_from([*[""] * 20, *ODD_TEXTS]),
    at=st.integers(0, 10**6),
    number=st.sampled_from(["0", "1", "4", "\u00b2"]),
    encoding=st.sampled_from(["UTF-8", "utf-8", "us-ascii", "ISO-8859-1"]),
    end=st.sampled_from([">", " >", "\n>"]),
    slice_bytes=st.sampled_from([1, 200, 10**6]),
)
def test_any_page_is_decoded_alike_or_declined(
    records: list[str],
    odd: str,
    at: int,
    number: str,
    encoding: str,
    end: str,
    slice_bytes: int,
) -> None:
    body = people(*records, attributes=f'num="{number}"').replace("UTF-8", encoding)
    body = body.replace("response>", f"response{end}")
    places = [found.start() for found in re.finditer("</", body)]
    cut = places[at % len(places)]
    body = body[:cut] + odd + body[cut:]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(xml, "PART_BYTES", slice_bytes)
        event(f"decoded: {assert_same(body)}")


def test_a_large_answer_is_decoded_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    persons = [PERSON.replace('id="1"', f'id="{number}"') for number in range(50)]
    body = people(*persons)
    read, sizes = xml_columns.read, []

    def note(part: bytes, *rest: Any) -> Any:
        sizes.append(len(part))
        return read(part, *rest)

    monkeypatch.setattr(xml_columns, "read", note)
    monkeypatch.setattr(xml, "PART_BYTES", len(body) // 10)
    assert assert_same(body, PEOPLE)
    assert 8 <= len(sizes) <= 12
    assert max(sizes) < len(body) // 5
    # A key that comes again is found wherever it is.
    doubled = people(*persons, persons[0].replace("Zo", "Jo"))
    assert assert_same(doubled)
    assert [reject.row_key for reject in decode(doubled).rejects] == ["0"]


def test_what_follows_the_last_record_is_no_part_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(xml, "PART_BYTES", 1)
    page = decode(people(PERSON, PERSON.replace('id="1"', 'id="2"'), "<!-- layout -->\nloose"))
    assert page.table["id"].to_pylist() == [1, 2]
    assert [reject.payload.strip() for reject in page.rejects] == ["loose"]


@settings(max_examples=300)
@given(data=st.data())
def test_a_page_with_wrong_bytes_is_decoded_alike_or_declined(data: st.DataObject) -> None:
    body = bytearray(people(PERSON, PERSON.replace('id="1"', 'id="2"')).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        length = data.draw(st.integers(0, 3))
        piece = data.draw(
            st.sampled_from(
                [b"", b"<", b">", b'"', b"/", b"&", b" ", b"=", b"a", b"\xff", b"/ >", b' x="1"']
            )
        )
        body[at : at + length] = piece
    event(f"decoded: {assert_same(bytes(body))}")
