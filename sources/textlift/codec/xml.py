"""Decode XML responses to text columns.

Attributes and elements are equivalent. An :class:`~textlift.codec.dialects.XmlDialect` describes
the service. There are three ways to decode:

- column by column, for large well-formed pages (:mod:`textlift.codec.xml_columns`);
- element by element, for all well-formed pages;
- record by record, for malformed pages (:mod:`textlift.codec.xml_salvage`).

If more than one way can decode a page, the results are equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import cast

from lxml import etree

from textlift.codec import xml_columns
from textlift.codec.dialects import XmlDialect
from textlift.codec.records import Decoded, Records, Reject, Rows
from textlift.codec.schema import MAX_NEW_FIELDS, Field, RecordSchema, column_name
from textlift.codec.xml_plan import Plan
from textlift.codec.xml_salvage import salvage
from textlift.codec.xml_tree import (
    GARBLED,
    between,
    locate,
    locate_all,
    parse,
    prepare,
    printable,
    start_tag,
    take_out_nested,
    text_of,
    verbatim,
)
from textlift.declare import Endpoint
from textlift.errors import MalformedResponse
from textlift.http.client import parse_number

#: Smaller responses are decoded element by element, because columns would save little time.
MIN_BYTES = 32 * 1024
#: Larger responses are decoded in parts, because the arrays are many times larger than the text.
PART_BYTES = 8 * 2**20

_NESTED = "a record inside of another"
_BESIDE = "text beside elements"

#: Records, and the attributes or elements of the response that describe the page.
_Found = tuple[list[Records], Mapping[str, str]]


class XmlCodec:
    """A decoder for the XML responses of one endpoint. It is immutable, so threads can share it.

    Args:
        endpoint: The endpoint.
        dialect: The layout of the responses of its service.
    """

    def __init__(self, endpoint: Endpoint, dialect: XmlDialect) -> None:
        self._endpoint = endpoint
        self._dialect = dialect
        self._schema = RecordSchema.of(endpoint)
        self._plan: Plan | None = None
        if "/" in endpoint.rows and dialect.is_verbatim:
            self._plan = Plan(endpoint.rows, self._schema, dialect.envelope)

    def decode(self, body: bytes) -> Decoded:
        """Decode a successful response.

        A response that is malformed, or that declares entities, is salvaged: good records are
        decoded, and each bad record becomes a reject with its whole text. Entities are never
        expanded.

        Raises:
            MalformedResponse: The response cannot be salvaged without losing a record, or lacks an
                element that the endpoint declares.
        """
        body = prepare(body, self._dialect)
        found, salvaged = self.by_columns(body), False
        if found is None:
            root = parse(body)
            found, salvaged = self.by_elements(body, root), root is None
        parts, stated = found
        dialect = self._dialect
        count, page_count, total = (
            parse_number(stated.get(name)) if name else None
            for name in (dialect.count, dialect.page_count, dialect.total)
        )
        if sum(part.count for part in parts) < (count or 0):
            raise MalformedResponse(GARBLED, printable(body))
        return Decoded(parts, page_count, total, salvaged=salvaged)

    def by_columns(self, body: bytes) -> _Found | None:
        """Return the result of :meth:`by_elements`, in less time and memory.

        Return ``None`` if only :meth:`by_elements` can decode the response.
        """
        if self._plan is None or len(body) < MIN_BYTES:
            return None
        cuts = list(_cuts(body, self._endpoint))
        (first, _), (_, last) = cuts[0], cuts[-1]
        parts: list[Records] = []
        stated: Mapping[str, str] = {}
        for start, end in cuts:
            # Each part is a copy whose text is rarely needed again, so do not keep it.
            part = partial(_part, body, first, start, end, last)
            found = xml_columns.read(part(), self._plan)
            if found:
                rows, stated = found
                parts.append(Records(rows, self._originals(part), rows.count))
                continue
            root = parse(part()) if len(cuts) > 1 else None
            if root is None:
                # A malformed part was not cut between two records.
                return None
            decoded, stated = self.by_elements(part(), root)
            parts += decoded
        return parts, stated

    def _originals(self, part: Callable[[], bytes]) -> Callable[[int], str]:
        """Return a function for the text of a record. Its first call parses the part."""

        @cache
        def records() -> list[etree._Element]:
            root = parse(part())
            assert root is not None
            return locate(root, self._endpoint, self._dialect)[0]

        return lambda n: text_of(records()[n])

    def by_elements(self, body: bytes, root: etree._Element | None) -> _Found:
        """Decode the records element by element. Without a root, salvage the body.

        Raises:
            MalformedResponse: As for :meth:`decode`.
        """
        rejects: list[Reject] = []
        if root is None:
            records, rejects, stated = salvage(body, self._endpoint, self._dialect)
        else:
            records, stated = locate_all(body, root, self._endpoint, self._dialect)
        count = len(records) + len(rejects)
        if root is not None:
            loose = between(records, self._dialect)
            rejects += [Reject(None, None, reason, text) for reason, text in loose]
        # Count nested records too. Otherwise a full page could look like the last one.
        nested = take_out_nested(records)
        rejects += [Reject(None, None, _NESTED, text_of(record)) for record in nested]
        rows, too_wide = Rows(self._schema), []
        for record in records:
            _read_record(verbatim(record, self._dialect), rows)
            if rows.fields.exceeded:
                rows.fields.exceeded = False
                too_wide.append(rows.count)
            rows.end_row()
        count += len(nested)
        part = Records(rows.texts(), lambda n: text_of(records[n]), count, rejects, too_wide)
        return [part], stated


def _part(body: bytes, first: int, start: int, end: int, last: int) -> bytes:
    """Return the records from start to end, with the text around the list of records."""
    return body[:first] + body[start:end] + body[last:]


def _cuts(body: bytes, endpoint: Endpoint) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each part of a large body. Parts are cut between records."""
    *_, holder, record = endpoint.rows.split("/")
    end_tag = re.compile(rb"</%b\s*>" % re.escape(record.encode()))
    begins = start_tag(record)
    found, end = begins.search(body), body.rfind(b"</" + holder.encode())
    at = found.start() if found and end >= 0 else 0
    if not at or len(body) <= PART_BYTES:
        yield 0, len(body)
        return
    while at < end:
        cut = end_tag.search(body, at + PART_BYTES, end)
        # The text after the last record belongs to the last part.
        stop = cut.end() if cut and begins.search(body, cut.end(), end) else end
        yield at, stop
        at = stop


def _read_record(record: etree._Element, rows: Rows) -> None:
    _walk(record, rows.schema.root, rows)
    if record.text and not record.text.isspace():
        rows.put(column_name(str(record.tag)), record.text)


def _walk(element: etree._Element, field: Field, rows: Rows) -> None:
    fields, put = field.fields, rows.put
    _put_attributes(element, field, rows)
    for child in element:
        name = str(child.tag)
        inner = fields.get(name) or rows.fields.find(field, name)
        if inner.list is not None or (not inner.declared and _is_list(child)):
            if not inner.skip:
                _walk_list(child, inner, rows)
        elif len(child) or child.keys():
            if inner.fields or not inner.skip or not inner.skip_below:
                _walk(child, inner, rows)
                text = child.text
                if text and not text.isspace() and not inner.skip:
                    put(inner.column, text)
        elif not inner.skip:
            text = child.text
            if text and text.isspace() and not inner.declared:
                # In an undeclared field, blanks can be text or layout. Treat them as layout.
                text = None
            # If an element with declared fields holds only blanks, its object is missing.
            if not inner.fields or (text and not text.isspace()):
                put(inner.column, text)
        tail = child.tail
        if tail and not tail.isspace() and not field.skip:
            rows.misfit(field.column or column_name(str(element.tag)), _BESIDE, tail)


def _put_attributes(element: etree._Element, field: Field, rows: Rows) -> None:
    attributes = len(element.keys())
    if attributes > MAX_NEW_FIELDS:
        # lxml needs quadratic time for many attributes.
        rows.fields.exceeded = True
    elif attributes:
        # The types of lxml allow bytes here, but parsed documents have none.
        for name, value in cast("Iterable[tuple[str, str]]", element.items()):
            inner = field.fields.get(name) or rows.fields.find(field, name)
            if not inner.skip:
                rows.put(inner.column, value)


def _is_list(element: etree._Element) -> bool:
    """Return whether an undeclared element is a list.

    It is a list if it has several children with one name, or one child whose name is its singular.
    """
    count = len(element)
    if not count:
        return False
    name = element[0].tag
    if count == 1:
        return bool(element.tag == f"{name}s")
    return all(child.tag == name for child in element)


def _walk_list(element: etree._Element, field: Field, rows: Rows) -> None:
    """Add a row for each entry. Attributes of the list element go to the parent row."""
    _put_attributes(element, field, rows)
    for loose in (element.text, *(child.tail for child in element)):
        if loose and not loose.isspace():
            rows.misfit(field.path, _BESIDE, loose)
    for child in element:
        entries = rows.entry(field)
        schema = entries.schema
        _walk(child, schema.root, entries)
        text = child.text
        if text and schema.padded:
            text = text.strip()
        # Blanks are text in an entry without elements. Between elements they are layout.
        bare = schema.text is not None or not child.keys()
        if text and (not text.isspace() or (bare and not len(child))):
            # In an undeclared list, the name of the entry names the column of its text.
            entries.put(schema.text or column_name(str(child.tag)), text)
        entries.end_row()
