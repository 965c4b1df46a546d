"""Salvage malformed XML record by record, so that a lost tag costs only one record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lxml import etree

from textlift.codec.dialects import XmlDialect
from textlift.codec.records import Reject
from textlift.codec.xml_tree import GARBLED, parser, printable, start_tag, stated_in
from textlift.declare import Endpoint
from textlift.errors import MalformedResponse
from textlift.http.client import parse_number

#: Maximum number of broken records in a response. A response with more is garbled.
MAX_BROKEN = 10_000


def salvage(
    body: bytes, endpoint: Endpoint, dialect: XmlDialect
) -> tuple[list[etree._Element], list[Reject], Mapping[str, str]]:
    """Return the good records, the broken records, and the facts stated about the page.

    Raises:
        MalformedResponse: The records cannot be separated, or the response is a single record.
    """
    garbled = MalformedResponse(GARBLED, printable(body))
    if "/" not in endpoint.rows:
        raise garbled
    holder = endpoint.rows.split("/")[-2]
    opening = re.findall(rb"%b[^>]*>" % start_tag(holder).pattern, body)
    if len(opening) != 1:
        raise garbled
    stated = stated_in(opening[0])
    first = start_tag(endpoint.rows.split("/")[-1]).search(body)
    for name, text in _beside(dialect).findall(body, 0, first.start() if first else len(body)):
        stated.setdefault(name.decode(), text.decode("utf-8", "replace"))
    records: list[etree._Element] = []
    rejects: list[Reject] = []
    for chunk in _chunks(body, endpoint, dialect):
        try:
            records.append(chunk.parse())
        except etree.XMLSyntaxError as error:
            rejects.append(chunk.reject(f"not well-formed XML: {error.msg}"))
        except ValueError as error:
            rejects.append(chunk.reject(str(error)))
        if len(rejects) > MAX_BROKEN:
            raise garbled
    if not records and not rejects and parse_number(stated.get(dialect.count or "")) is None:
        raise garbled
    return records, rejects, stated


@dataclass(frozen=True)
class _Chunk:
    """The bytes of one record, or the rest of a record whose beginning is lost."""

    body: bytes
    encoding: bytes
    endpoint: Endpoint
    begins: bool = True

    def parse(self) -> etree._Element:
        """Return the record.

        Raises:
            XMLSyntaxError: The record is malformed.
            ValueError: The beginning of the record is lost.
        """
        if not self.begins:
            raise ValueError("the beginning of the record is lost")
        declaration = b'<?xml version="1.0" encoding="' + self.encoding + b'"?>'
        return etree.fromstring(declaration + self.body, parser())

    def reject(self, reason: str) -> Reject:
        column = self.endpoint.record_key[-1] if self.endpoint.record_key else "id"
        paths = [path for path, alias in self.endpoint.aliases.items() if alias == column]
        names = "|".join(re.escape(path) for path in [*paths, column])
        found = re.search(
            rf'\A<[^>]*\s(?:{names})\s*=\s*"([^"]*)"|<(?:{names})>([^<]*)<'.encode(), self.body
        )
        key = (found[1] or found[2] or b"").decode("utf-8", "replace") if found else None
        return Reject(key or None, None, reason, printable(self.body))


def _chunks(body: bytes, endpoint: Endpoint, dialect: XmlDialect) -> Iterator[_Chunk]:
    """Yield the pieces of the body, cut at the beginnings and ends of records."""
    declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)""", body)
    encoding = declared[1] if declared else b"UTF-8"
    *around, name = endpoint.rows.split("/")
    holders = "|".join(map(re.escape, filter(None, [dialect.envelope, *around]))).encode()
    record, end_tag = name.encode(), b"</%b>" % name.encode()
    starts = [found.start() for found in start_tag(name).finditer(body)]
    remains = [_behind_holder(body[: starts[0]], holders)] if starts else []
    for start, end in zip(starts, [*starts[1:], len(body)]):
        chunk = body[start:end]
        alone = re.match(rb"<" + record + rb"""(?:[^<>"']|"[^"]*"|'[^']*')*/>""", chunk)
        closing = alone.end() if alone else chunk.find(end_tag) + len(end_tag)
        if not alone and closing < len(end_tag):
            closing = len(chunk)
        yield _Chunk(chunk[:closing], encoding, endpoint)
        remains.append(chunk[closing:])
    for remain in remains:
        text = _before_end_tags(_beside(dialect).sub(b"", remain), holders)
        if text:
            yield _Chunk(text, encoding, endpoint, begins=False)


def _beside(dialect: XmlDialect) -> re.Pattern[bytes]:
    """Return a pattern for the elements that describe the page."""
    names = "|".join(map(re.escape, sorted(dialect.stated))).encode()
    return re.compile(rb"<(%b)>([^<]*)</\1>" % names)


def _behind_holder(head: bytes, holders: bytes) -> bytes:
    """Return the text after the last start tag of an element around the records."""
    tags = list(re.finditer(rb"<(?:%b)\b[^>]*>" % holders, head))
    return head[tags[-1].end() :] if tags else b""


def _before_end_tags(text: bytes, holders: bytes) -> bytes:
    """Return the text without trailing end tags of the elements around the records.

    Return nothing if only a comment remains.
    """
    end_tag = re.compile(rb"</(?:%b)\s*>" % holders)
    text = text.strip()
    while end_tag.fullmatch(text, max(0, text.rfind(b"<"))):
        text = text[: text.rfind(b"<")].rstrip()
    return b"" if text.startswith(b"<!--") and text.endswith(b"-->") else text
