"""Whatever the bytes: rows and rejects, or one of our errors; no good row lost, no memory eaten."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import PROJECT
from tests.support.pages import BY_NAME, HEAD, page_of, profile, read
from textlift.codec import xml
from textlift.errors import MalformedResponse, TextliftError

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


marks = st.sampled_from(
    [
        *(
            b"<",
            b">",
            b"&",
            b"&amp;",
            b'"',
            b"'",
            b"=",
            b"/",
            b"]]>",
            b"<![CDATA[",
            b"<!--",
            b"-->",
        ),
        *(b"<profile>", b'<profile id="9">', b"<profiles", b"</profile>", b"</profiles>", b"<p/>"),
        *(b"<profile", b"</response>", b"<?x ", b"?>", b"<!ENTITY a 'b'>", b"&#0;", b"&#55;"),
        *(b"\0", b"\x07", b"\xff", b"\xf0\x9f", b"\xef\xbb\xbf", b" ", b"\n", b"a" * 300),
    ]
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), marks | st.binary(max_size=3)))


def edited(body: bytes, changes: Sequence[tuple[float, int, bytes]]) -> bytes:
    for place, length, new in changes:
        at = round(place * len(body))
        body = body[:at] + new + body[at + length :]
    return body


@settings(max_examples=500)
@given(count=st.integers(2, 5), which=st.integers(0, 4), changes=edits, counted=st.booleans())
def test_no_edits_inside_of_one_record_cost_another(
    count: int, which: int, changes: list[tuple[float, int, bytes]], counted: bool
) -> None:
    records = [profile(number) for number in range(1, count + 1)]
    bad = which % count
    whole = read(page_of(records, counted)).table.to_pylist()
    inside = records[bad][len(b"<profile") : -len(b"</profile>")]
    records[bad] = b"<profile" + edited(inside, changes) + b"</profile>"
    try:
        page = read(page_of(records, counted))
    except MalformedResponse:
        # It is asked for in smaller pieces.
        return
    found = page.table.select(list(whole[0])).to_pylist()
    assert [row["id"] for row in whole if row["id"] != bad + 1 and row not in found] == []
    entries = page.children["subscriptions"].to_pylist()
    for place, row in enumerate(found):
        if row in whole and row["id"] != bad + 1:
            assert row["id"] in [e["campaign_id"] for e in entries if e["_row"] == place]


parts = st.sampled_from([HEAD, profile(1), profile(2), page_of([profile(3)], True), b"<calls>"])
bodies = (
    st.binary(max_size=60)
    | st.lists(parts | marks, max_size=10).map(b"".join)
    | st.builds(edited, st.just(page_of([profile(1), profile(2)], True)), edits)
)


@settings(max_examples=1000)
@given(body=bodies, status=st.sampled_from([200, 200, 200, 404, 500]))
@pytest.mark.parametrize("name", ["profiles", "mdata_queries", "tags", "donation_summaries"])
def test_whatever_the_bytes_an_answer_is_read_or_refused(
    name: str, body: bytes, status: int
) -> None:
    try:
        page = read(body, BY_NAME[name], status)
    except TextliftError:
        return
    lost = [reject for reject in page.rejects if reject.row is None and reject.column is None]
    assert page.table.num_rows <= page.rows <= page.table.num_rows + len(lost)
    assert repr([page.table.to_pylist(), page.rejects]).encode()


@pytest.mark.parametrize(
    "ids", [[7] * 1000, [*range(1000), *range(1000)], [""] * 1000], ids=["one", "two", "none"]
)
def test_a_page_of_bad_records_is_parsed_once_for_all_of_them(
    ids: Sequence[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        profile(1).replace(b'id="1"', f'id="{id}"'.encode()).replace(b"Ana 1", b"Ana %d" % number)
        for number, id in enumerate(ids)
    ]
    parsed = []
    parse = xml.parse

    def counting(body: bytes) -> object:
        parsed.append(len(body))
        return parse(body)

    monkeypatch.setattr(xml, "parse", counting)
    page = read(page_of(records, True))
    assert page.rows == len(ids)
    assert page.table.num_rows + len(page.rejects) == len(ids)
    assert len({reject.payload for reject in page.rejects}) == len(page.rejects) > 998
    assert len(parsed) <= 1


MEMORY = 2 * 2**30
HOSTILE = {
    "nesting": "page(b'<a>' * 1_000_000 + b'</a>' * 1_000_000)",
    "nesting without an end": "page(b'<a>' * 1_000_000)",
    "an attribute": "page(b'<a b=\"' + b'c' * 50_000_000 + b'\"/>')",
    "attributes": "page(b'<a ' + b' '.join(b'a%d=\"\"' % n for n in range(300_000)) + b'/>')",
    "a text": "page(b'a' * 50_000_000)",
    "a name": "page(b'<' + b'a' * 20_000_000 + b'/>')",
    "attributes of the record": "page(b'').replace(b'id=\"2\"', b'id=\"2\" ' + b' '.join("
    "b'a%d=\"\"' % n for n in range(300_000)))",
    "columns": "page(b''.join(b'<a%d>x</a%d>' % (n, n) for n in range(20_000)))",
    "entries": "page(b'<clicks>' + b'<click/>' * 300_000 + b'</clicks>')",
    "starts": "page(b'<profile ' * 100_000)",
    "quotes": "page(b'<profile a=\"' * 100_000)",
    "blanks": "page(b' ' * 20_000_000 + b'<')",
    "laughs": "doctype(b'<!ENTITY a \"ha\">' + b''.join(b'<!ENTITY %c \"%b\">' % (n, b'&%c;' % "
    "(n - 1) * 10) for n in range(98, 110)), b'&m;')",
    "one long laugh": "doctype(b'<!ENTITY a \"' + b'a' * 100_000 + b'\">', b'&a;' * 100_000)",
}
DECODE = """
from textlift.errors import TextliftError
from tests.support.pages import page_of, profile, read

def page(inside):
    return page_of([profile(1), b'<profile id="2">' + inside + b"</profile>", profile(3)], True)

def doctype(declarations, used):
    return page(b"<name>" + used + b"</name>").replace(
        b"<response", b"<!DOCTYPE response [" + declarations + b"]>\\n<response", 1)

try:
    found = read({})
except TextliftError as error:
    print(type(error).__name__)
else:
    print(found.table["id"].to_pylist())
"""


HOSTILE_JSON = {
    "nesting": "page('[' * 1_000_000 + ']' * 1_000_000)",
    "nesting without an end": "page('[' * 1_000_000)",
    "objects": "page('{\"a\":' * 100_000 + '1' + '}' * 100_000)",
    "a text": "page('\"' + 'a' * 50_000_000 + '\"')",
    "a text without an end": "page('\"' + 'a' * 50_000_000)",
    "a number": "page('1' * 5_000_000)",
    "keys": "page('{' + ','.join(f'\"a{n}\":1' for n in range(300_000)) + '}')",
    "items": "page('[' + ','.join(['1'] * 300_000) + ']')",
    "beginnings": "page('1},{' * 300_000)",
    "blanks": "page(' ' * 20_000_000 + '?')",
    "escapes": "page('\"' + '\\\\ud83d' * 500_000 + '\"')",
}
DECODE_JSON = """
from textlift.http.client import HttpResponse
from textlift.errors import TextliftError
from textlift.mgage.errors import check
from tests.support.pages import answer_of, compact, decode, message

def page(inside):
    good, bad = compact(message(1)), compact(message(2))
    return answer_of([good, bad[:-1] + ',"more":' + inside + "}", compact(message(3))])

try:
    found = decode(check(HttpResponse(200, "application/json", {}.encode())))
except TextliftError as error:
    print(type(error).__name__)
else:
    bodies = found.table["body"].to_pylist()
    print([n for n in (1, 2, 3) if message(n)["body"] in bodies])
"""
CASES = [(DECODE, body) for body in HOSTILE.values()]
CASES += [(DECODE_JSON, body) for body in HOSTILE_JSON.values()]


@pytest.mark.parametrize(
    ("code", "body"), CASES, ids=[*HOSTILE, *(f"{n}, JSON" for n in HOSTILE_JSON)]
)
def test_a_hostile_record_neither_fills_the_memory_nor_costs_another(code: str, body: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{}", body, 1)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.stderr == ""
    # Beginnings without end: what cannot be told from its neighbours is kept, or asked for alone.
    lost = ("[1, 2]\n", "MalformedResponse\n") if "},{" in body or "<profile " in body else ()
    assert done.stdout in ("[1, 3]\n", "[1, 2, 3]\n", *lost)
