"""Faults for answers in XML and in JSON. `sandbox.faults` has those of any format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

from textlift.sandbox.faults import Answer, Change, Find, Make, at_end_of, damaged, instead_of
from textlift.sandbox.server import Request, Response

# --- XML -----------------------------------------------------------------------------------------

_VALUE = r"<([\w-]+)>(?!true<|false<|[-0-9.]+<|[0-9]{4}-[0-9]{2}-[0-9]{2})"
# A row without another text has a phone number.
_PHONE = r"(?:phone_number|mobile-phone)>"
_TEXT = rf"\A(?s:.*?{_VALUE}([^<]+)(?=</\1>)|.*?<{_PHONE}([^<]+))"
_END_TAG = rf"\A(?s:.*?{_VALUE}[^<]+(</\1>)|.*?<{_PHONE}[^<]+(</{_PHONE}))"
_BODY = r"<body>([^<]*)(?=</body>)"
_TIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:Z| UTC)"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9]{2} [0-9:]{8} UTC [0-9]{4}"
)
_COUNT = r"<(?:\w+_id|\w+_count|size|duration|call_timeout|profile)>([0-9]+)<"
_OTHER_ID = r"[ _]id=\"([0-9]+)\""
_ID = r"\A<\w+[^<>]*?( id=\"[^\"]*\")|\A<\w+>\s*(<id>[^<]*</id>)"
_ID_VALUE = r"\A<\w+[^<>]*? id=\"([^\"]*)|\A<\w+>\s*<id>([^<]*)"
_NAME = r"\A<\w+"
_INSIDE = r"()</\w+>\Z"
_COUNTS = rb"(\b(?:num|page_count)=\")([0-9]+)"

_LAUGHS = [b'<!ENTITY laugh0 "ha">'] + [
    b'<!ENTITY laugh%d "%b">' % (level, b"&laugh%d;" % (level - 1) * 10) for level in range(1, 10)
]

Lists = Callable[[str], "tuple[str, str] | None"]
"""The elements of the list and of its rows, by endpoint; no list if the answer is the row."""


def find_xml(lists: Lists) -> Find:
    """Finds the first row of a list that is printed as XML."""

    def find(endpoint: str, body: bytes) -> tuple[int, int] | None:
        name, row = lists(endpoint) or ("", "")
        before = rf"<{name}(?: [^<>]*)?>\n *" if name else r"\?>\n"
        start = re.search(before.encode(), body) if row else None
        return start and _row(row, body, start.end())

    return find


def _row(name: str, body: bytes, start: int) -> tuple[int, int] | None:
    """Where the row is that begins at `start`."""
    tag, depth = re.compile(rf"<(/?){name}(?=[ >])[^<>]*>".encode()), 0
    if not tag.match(body, start):
        return None
    for each in tag.finditer(body, start):
        depth += -1 if each[1] else 1
        if depth <= 0:
            return (start, each.end()) if not depth else None
    return None  # it is damaged already


def xml_kinds(lists: Lists) -> dict[str, Make]:
    """The faults of a service that answers with XML."""
    find = find_xml(lists)

    def find_second(endpoint: str, body: bytes) -> tuple[int, int] | None:
        first, names = find(endpoint, body), lists(endpoint)
        return first and names and _row(names[1], body, first[1] + len(b"\n"))

    def same_id(request: Request, answer: Answer) -> Response:
        """The first two rows with one id."""
        response = answer(request)
        place = find(request.endpoint, response.body)
        id = place and re.search(_ID_VALUE.encode(), response.body[slice(*place)])
        if not id:
            return response
        change = instead_of(_ID_VALUE, id[id.lastindex or 0])
        return damaged(find_second, change)(request, lambda _: response)

    def filtered(request: Request, answer: Answer) -> Response:
        """A page without its first row, as if it had been removed after the page was cut."""
        whole = answer(request)
        response = damaged(find, lambda record: b"")(request, lambda _: whole)
        if response.body == whole.body:
            return response
        return replace(
            response, body=re.sub(rb'(num=")([0-9]+)', _plus(-1), response.body, count=1)
        )

    def entities(declarations: bytes, used: bytes) -> Make:
        """Entities, declared at the beginning and used in a text of the first row."""
        use = damaged(find, at_end_of(_TEXT, used))

        def make(request: Request, answer: Answer) -> Response:
            response = use(request, answer)
            if used not in response.body:
                return response
            doctype = rb"\1<!DOCTYPE \2 [%b]>\n<\2" % declarations
            body = re.sub(rb"\A(<\?xml[^>]*>\n)<(\w+)", doctype, response.body)
            return replace(response, body=body)

        return make

    def rewritten(change: Callable[[bytes, bytes, bytes], bytes]) -> Make:
        """The list changed, from the body and the names of the list and of its rows."""

        def make(request: Request, answer: Answer) -> Response:
            response = answer(request)
            names = lists(request.endpoint)
            if names is None:
                return response
            return replace(response, body=change(response.body, *map(str.encode, names)))

        return make

    return {
        **{kind: damaged(find, change) for kind, change in _XML_ROWS.items()},
        **{kind: rewritten(change) for kind, change in _XML_LISTS.items()},
        "utf-16": _encoded("utf-16"),
        "iso-8859-1": _encoded("iso-8859-1"),
        "end-blank": _end_blank,
        "same-id": same_id,
        "filtered": filtered,
        "external-entity": entities(b'<!ENTITY secret SYSTEM "file:///etc/passwd">', b"&secret;"),
        "entity-expansion": entities(b"".join(_LAUGHS), b"&laugh9;"),
    }


def _plus(more: int) -> Callable[[re.Match[bytes]], bytes]:
    return lambda number: b"%b%d" % (number[1], int(number[2]) + more)


def _bad_number(record: bytes) -> bytes:
    start_tag, end, rest = record.partition(b">")
    for pattern in (_COUNT, _OTHER_ID):
        changed = instead_of(pattern, b"many")(rest)
        if changed != rest:
            return start_tag + end + changed
    return record


def _megabyte(record: bytes) -> bytes:
    letters = b"a" * 2**20
    longer = at_end_of(_BODY, letters)(record)
    return longer if longer != record else _inside(b"<remarks>%b</remarks>" % letters)(record)


def _inside(extra: bytes) -> Change:
    return at_end_of(_INSIDE, extra)


_XML_ROWS: dict[str, Change] = {
    "control": at_end_of(_TEXT, b"\x07"),
    "ampersand": at_end_of(_TEXT, b" & "),
    "invalid-utf8": at_end_of(_TEXT, b"\xe9"),
    "bad-number": _bad_number,
    "bad-time": instead_of(_TIME, b"yesterday"),
    "no-id": instead_of(_ID, b""),
    "nested": lambda record: _inside(record)(record),
    "megabyte": _megabyte,
    "broken": instead_of(_END_TAG, b""),
    "deep": _inside(b"<deep>" * 100_000 + b"</deep>" * 100_000),
    "huge-attribute": lambda record: at_end_of(_NAME, b' remarks="%b"' % (b"a" * 20_000_000))(
        record
    ),
}
"""Changes of the first row."""


def _other_list(body: bytes, name: bytes, row: bytes) -> bytes:
    return re.sub(rb"<(/?)%b\b" % name, rb"<\1others", body)


def _other_rows(body: bytes, name: bytes, row: bytes) -> bytes:
    return re.sub(rb"<(/?)%b(?=[ >])" % row, rb"<\1person", body)


def _two_lists(body: bytes, name: bytes, row: bytes) -> bytes:
    end = body.rfind(b"</%b>" % name)
    return body[:end] + b"</%b><%b>" % (name, name) + body[end:] if end >= 0 else body


def _short_list(body: bytes, name: bytes, row: bytes) -> bytes:
    return re.sub(rb"(<%b [^<>]*?\bnum=\")([0-9]+)" % name, _plus(1), body, count=1)


def _comment(body: bytes, name: bytes, row: bytes) -> bytes:
    body = re.sub(rb"(<%b(?: [^<>]*)?>\n)(?=<%b[ >])" % (name, row), rb"\1<!--", body, count=1)
    end = body.rfind(b"</%b>" % name)
    return body[:end] + b"-->" + body[end:] if b"<!--" in body else body


def _bad_count(body: bytes, name: bytes, row: bytes) -> bytes:
    return re.sub(_COUNTS, rb"\g<1>" + "\N{SUPERSCRIPT TWO}".encode(), body)


_XML_LISTS: dict[str, Callable[[bytes, bytes, bytes], bytes]] = {
    "other-list": _other_list,
    "other-rows": _other_rows,
    "two-lists": _two_lists,
    "short-list": _short_list,
    "comment": _comment,
    "bad-count": _bad_count,
}
"""Lists that are not what the endpoint declares."""


def _encoded(encoding: str) -> Make:
    """The answer in another encoding, with references for what that cannot express."""

    def make(request: Request, answer: Answer) -> Response:
        response = answer(request)
        text = response.body.decode().replace("UTF-8", encoding, 1)
        headers = {**response.headers, "Content-Type": f"application/xml; charset={encoding}"}
        body = text.encode(encoding, "xmlcharrefreplace")
        return replace(response, body=body, headers=headers)

    return make


def _end_blank(request: Request, answer: Answer) -> Response:
    response = answer(request)
    return replace(response, body=re.sub(rb">\s*\Z", b" >\n", response.body))


# --- JSON ----------------------------------------------------------------------------------------


def find_json(name: str) -> Find:
    """Finds the first object of the list with that name."""
    start_of_list = b'"%b": [' % name.encode()

    def find(endpoint: str, body: bytes) -> tuple[int, int] | None:
        before, mark, rest = body.partition(start_of_list)
        start = len(before) + len(mark)
        text = rest.decode(errors="surrogateescape")
        try:
            # Not strict: control characters may be in it already.
            _, length = json.JSONDecoder(strict=False).raw_decode(text)
        except ValueError:
            return None  # there is none, or it is damaged already
        return start, start + len(text[:length].encode(errors="surrogateescape"))

    return find


def json_kinds(list: str, text: str, time: str) -> dict[str, Make]:
    """The faults of a service that answers with JSON.

    list, text, time: the names of the list, and of a text and a time in its objects.
    """
    find = find_json(list)
    in_text = rf'"{text}": "((?:[^"\\]|\\.)*)'
    in_object = r"()\}\Z"
    changes: dict[str, Change] = {
        "control": at_end_of(in_text, b"\x07"),
        "invalid-utf8": at_end_of(in_text, b"\xe9"),
        "bad-time": instead_of(rf'"{time}": "([^"]*)', b"yesterday"),
        "nested": lambda record: at_end_of(in_object, b', "message": ' + record)(record),
        "megabyte": at_end_of(in_text, b"a" * 2**20),
        "broken": at_end_of(in_text, b' "now"'),
        "deep": at_end_of(in_object, b', "deep": ' + b"[" * 100_000 + b"]" * 100_000),
    }
    return {kind: damaged(find, change) for kind, change in changes.items()}
