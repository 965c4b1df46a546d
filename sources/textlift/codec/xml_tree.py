"""Parse XML responses safely, and locate their records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache
from itertools import islice

from lxml import etree

from textlift.codec.dialects import XmlDialect
from textlift.declare import Endpoint
from textlift.errors import MAX_QUOTE, MalformedResponse

GARBLED = "the response is garbled"

_SPACE = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_DECLARATION = re.compile(r"\A\s*<\?xml\b[^>]*\?>")
_INVISIBLE = re.compile(rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<\?.*?\?>", re.DOTALL)
_START_TAG = re.compile(rb"<([A-Za-z_][\w.-]*)[^>]*>")
_EPILOG = re.compile(rb"(?:\s|<!--(?:(?!-->).)*-->|<\?(?:(?!\?>).)*\?>)*", re.DOTALL)


def prepare(body: bytes, dialect: XmlDialect) -> bytes:
    """Return the response with one root, and with UTF-16 converted to UTF-8.

    All other encodings write tags like ASCII.
    """
    body = _in_utf8(body).lstrip()
    root = root_tag(body) if dialect.unwrapped and dialect.envelope else None
    if root and dialect.envelope and root[1] != dialect.envelope.encode():
        name, at = dialect.envelope.encode(), root.start()
        body = b"%b<%b>%b</%b>" % (body[:at], name, body[at:], name)
    return body


def _in_utf8(body: bytes) -> bytes:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif body[:2] in (b"<\0", b"\0<"):
        encoding = "utf-16-le" if body[:1] == b"<" else "utf-16-be"
    else:
        return body
    # A lone surrogate makes its record a reject. Half a character at the end is cut off.
    text = body[: len(body) // 2 * 2].decode(encoding, "surrogatepass")
    return _DECLARATION.sub("", text).encode("utf-8", "surrogatepass")


def root_tag(body: bytes) -> re.Match[bytes] | None:
    """Return the start tag of the root element, after declaration, comments and document type.

    Group 1 is the name. Return ``None`` if the body does not begin like XML.
    """
    at = _skip_space(body, 0)
    while body.startswith((b"<?", b"<!"), at):
        if body.startswith(b"<!--", at):
            end = body.find(b"-->", at) + 3
        else:
            end = body.find(b">", at) + 1
            subset = body.find(b"[", at, end)
            if subset >= 0:
                end = body.find(b">", body.find(b"]", subset)) + 1
        if end <= at:
            return None
        at = _skip_space(body, end)
    return _START_TAG.match(body, at)


def _skip_space(body: bytes, at: int) -> int:
    found = _SPACE.match(body, at)
    return found.end() if found else at


def is_complete(body: bytes, root: re.Match[bytes]) -> bool:
    """Return whether the body has the end tag of the root, followed only by comments."""
    # Only an empty root ends with "/>". In other bodies, "/>" at the end means that they were cut.
    last = body.rfind(b"</" + root[1])
    end_tag = re.compile(rb"</%b\s*>" % re.escape(root[1]))
    end = root if root[0].endswith(b"/>") else end_tag.match(body, last) if last >= 0 else None
    return end is not None and _EPILOG.fullmatch(body, end.end()) is not None


def start_tag(name: str) -> re.Pattern[bytes]:
    """Return a pattern for the beginning of a start tag."""
    return re.compile(rb"<%b(?=[\s/>])" % re.escape(name.encode()))


@cache
def _usual_start(rows: str, envelope: str | None) -> re.Pattern[bytes]:
    """Return a pattern for a response that begins with a list of records."""
    *containers, record = (re.escape(name.encode()) for name in rows.split("/"))
    tag = rb"\s*<%b(?:\s[^<>]*)?>"
    outer = b"(?:%b)?" % (tag % re.escape(envelope.encode())) if envelope else b""
    outer += b"".join(tag % name for name in containers)
    return re.compile(rb"\s*(?:<\?xml\b[^<>]*>)?%b\s*<%b[\s/>]" % (outer, record))


def parser() -> etree.XMLParser:
    """Return a parser that expands no entities, opens no files or URLs, and drops comments."""
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def parse(body: bytes) -> etree._Element | None:
    """Return the root element, or ``None`` if the body is malformed or declares entities."""
    try:
        root = etree.fromstring(body, parser())
    except etree.XMLSyntaxError:
        return None
    start = root_tag(body)
    prolog = body[: start.start()] if start else b""
    if b"<!DOCTYPE" not in prolog:
        return root
    # lxml always expands entities in attributes, and drops them in texts.
    hostile = b"<!ENTITY" in prolog or next(root.iter(etree.Entity), None) is not None
    return None if hostile else root


def expect_list(body: bytes, endpoint: Endpoint, dialect: XmlDialect) -> None:
    """Check that a response has the list that the endpoint declares. Accept malformed responses.

    Raises:
        MalformedResponse: The response is well-formed and lacks the list.
    """
    # A second list, further down, is found when the records are located.
    root = None if _usual_start(endpoint.rows, dialect.envelope).match(body) else parse(body)
    if root is not None:
        locate_all(body, root, endpoint, dialect)


def locate_all(
    body: bytes, root: etree._Element, endpoint: Endpoint, dialect: XmlDialect
) -> tuple[list[etree._Element], dict[str, str]]:
    """Return the result of :func:`locate`.

    Raises:
        MalformedResponse: As for :func:`locate`. Also if a comment or a processing instruction
            contains a record.
    """
    record = re.escape(endpoint.rows.split("/")[-1]).encode()
    tag = re.compile(rb"</?%b[\s/>]" % record)
    # A CDATA section is text written by people, so it may contain tags.
    found = (each[0] for each in _INVISIBLE.finditer(body))
    if any(tag.search(text) for text in found if not text.startswith(b"<![CDATA[")):
        raise MalformedResponse(GARBLED, printable(body))
    return locate(root, endpoint, dialect)


def locate(
    root: etree._Element, endpoint: Endpoint, dialect: XmlDialect
) -> tuple[list[etree._Element], dict[str, str]]:
    """Return the records of a response, and the attributes or elements that describe the page.

    An empty list is valid. A response to another request is not, and must not empty a table.

    Raises:
        MalformedResponse: The response lacks the list that the endpoint declares, or has it twice.
    """
    *containers, record = endpoint.rows.split("/")
    if containers and root.tag == dialect.empty_list and not (len(root) or _has_text(root)):
        return [], {}
    is_rooted = bool(containers) and root.tag == containers[0]
    holders = [root] if is_rooted or dialect.envelope in (None, root.tag) else []
    for name in containers[is_rooted:]:
        holders = [found for holder in holders for found in holder.findall(name)]
    if len(holders) != 1:
        raise _no_answer(root, endpoint)
    (holder,) = holders
    records = [holder] if record == "." else holder.findall(record)
    if not containers:
        if len(records) != 1 or not any(map(_is_content, map(records[0].find, endpoint.content))):
            raise _no_answer(holder, endpoint)
        return records, {}
    beside = {str(child.tag): child.text or "" for child in holder if child.tag in dialect.stated}
    if not records and (len(holder) > len(beside) or _has_text(holder)):
        raise _no_answer(holder, endpoint)
    return records, {**beside, **{str(name): str(value) for name, value in holder.items()}}


def _is_content(element: etree._Element | None) -> bool:
    return element is not None and (bool(element.keys()) or _has_text(element))


def _has_text(element: etree._Element) -> bool:
    return bool((element.text or "").strip())


def _no_answer(element: etree._Element, endpoint: Endpoint) -> MalformedResponse:
    wanted = endpoint.content[0] if endpoint.rows == "." else endpoint.rows
    held = " and ".join(f"<{child.tag}>" for child in islice(element, 2)) or "nothing"
    problem = f"<{element.tag}> holds {held}, where {wanted} should be once"
    return MalformedResponse(problem[:MAX_QUOTE], text_of(element))


def between(records: Sequence[etree._Element], dialect: XmlDialect) -> Iterator[tuple[str, str]]:
    """Yield a reason and a text for each unexpected text or element between the records."""
    holder = records[0].getparent() if records else None
    if holder is None:
        return
    for text in (holder.text, *(child.tail for child in holder)):
        if text and not text.isspace():
            yield "text between the records", text
    for child in holder:
        if child.tag != records[0].tag and child.tag not in dialect.stated:
            yield "an element between the records", text_of(child)


def take_out_nested(records: Sequence[etree._Element]) -> list[etree._Element]:
    """Remove records inside other records, and return them. The declarations allow none there."""
    nested = [
        inner
        for record in records
        for inner in record.iterdescendants(record.tag)
        if len(inner) and next(inner.iterancestors(record.tag), None) is record
    ]
    for inner in nested:
        parent = inner.getparent()
        if parent is not None:
            parent.remove(inner)
    return nested


def verbatim(record: etree._Element, dialect: XmlDialect) -> etree._Element:
    """Return the record without describing attributes and padding, as the dialect says."""
    if dialect.is_verbatim:
        return record
    record = deepcopy(record)
    for element in record.iter():
        for name in dialect.described_by.intersection(element.keys()):
            del element.attrib[name]
        if dialect.padded:
            element.text = (element.text or "").strip() or None
    return record


def text_of(element: etree._Element) -> str:
    """Return the element as text."""
    return etree.tostring(element, encoding="unicode", with_tail=False).strip()


def printable(body: bytes) -> str:
    """Return the body as text that any warehouse can store."""
    return body.decode("utf-8", "backslashreplace").replace("\0", "\\x00").strip()


def stated_in(tag: bytes) -> dict[str, str]:
    """Return the attributes of a start tag. The tag can be malformed."""
    found = re.findall(rb"""([\w.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""", tag)
    return {
        name.decode(): (double or single).decode("utf-8", "replace")
        for name, double, single in found
    }
