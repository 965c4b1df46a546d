"""What a Mobile Commons answer means: success or failure, and the records in it.

Follows "Errors & Troubleshooting" of the vendor's REST API page, and what clients of the API have
seen beyond it: failures with HTTP 200, HTML pages, XML that is not well-formed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import cast

from lxml import etree

from textlift.arrow.tables import Page, build_page, concat_pages, has_repeats
from textlift.codec.records import Reject, Rows
from textlift.codec.schema import MAX_NEW_FIELDS, Field, RecordSchema, column_name
from textlift.declare import Endpoint
from textlift.errors import (
    MAX_QUOTE,
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TransientError,
    WindowTooLarge,
    quote,
    spoken,
)
from textlift.http.client import TRANSIENT_STATUSES, HttpResponse, parse_number
from textlift.mcommons import columns
from textlift.mcommons.endpoints import ENDPOINTS, ENVELOPE

#: Smaller answers are decoded record by record: there is not enough to gain.
MIN_BYTES = 32 * 1024
#: Larger answers are decoded as several: arrays of numbers take many times the memory of the text.
SLICE_BYTES = 8 * 2**20
#: Broken records of one answer; one with more is none of records.
MAX_PIECES = 10_000
INVALID_COMPANY = 4
TOO_MANY_MESSAGES = 17
#: "Unknown error" and "API rate limit exceeded": the same question can succeed later.
TRANSIENT_ERRORS = frozenset({0, 27})

#: What each call answers with, by its path.
_BY_PATH = {endpoint.path: endpoint for endpoint in ENDPOINTS}
_ROOT_NAMES = {ENVELOPE, *(endpoint.rows.partition("/")[0] for endpoint in ENDPOINTS)}

_SPACE = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_DECLARATION = re.compile(r"\A\s*<\?xml\b[^>]*\?>")
_INVISIBLE = re.compile(rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<\?.*?\?>", re.DOTALL)
_START_TAG = re.compile(rb"<([A-Za-z_][\w.-]*)[^>]*>")
_EPILOG = re.compile(rb"(?:\s|<!--(?:(?!-->).)*-->|<\?(?:(?!\?>).)*\?>)*", re.DOTALL)
_ERROR = re.compile(rb"<error\b[^>]*>")
_ATTRIBUTE = re.compile(rb"""\b(id|message)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_NESTED = "a record inside of another"
_TEXT_BETWEEN = "text between the records"
_ELEMENT_BETWEEN = "an element between the records"
_BESIDE = "text beside elements"
_GARBLED = "the answer is garbled"


def check(answer: HttpResponse) -> bytes:
    """The body of an answer that is whole and holds what was asked for; UTF-16 becomes UTF-8.

    Raises:
        CredentialsError: The login, token or company is refused.
        MalformedResponse: It is cut short.
        TransientError: A failure that may pass; also an answer that lacks what the endpoint of the
            answer's path declares.
        WindowTooLarge: Error 17.
        ApiError: Any other error id.
        ServiceError: Any other answer that holds no records.
    """
    body = _in_utf8(answer.body)
    root = _root(body)
    if root and root[1] == b"response" and re.search(rb"""\bsuccess\s*=\s*["']false""", root[0]):
        raise _refusal(body)
    if answer.status in (401, 403):
        raise CredentialsError(
            f"Mobile Commons refuses the credentials (HTTP {answer.status}).\n"
            "Check sources.mcommons.credentials: username and password of a login with API access, "
            "or the token of an account migrated to UCM."
        )
    if answer.status != 200:
        problem = _saying(f"HTTP {answer.status}", body)
        raise (TransientError if answer.status in TRANSIENT_STATUSES else ServiceError)(problem)
    if not body.strip():
        raise TransientError("the answer is empty")
    if not root or root[1].decode() not in _ROOT_NAMES:
        raise TransientError(_saying("a page instead of data", body))
    # Only a root without content may close itself; "/>" at the end is else where the cut fell.
    end_tag = re.compile(rb"</%b\s*>" % root[1])
    last = body.rfind(b"</" + root[1])
    end = root if root[0].endswith(b"/>") else end_tag.match(body, last) if last >= 0 else None
    if end is None or not _EPILOG.fullmatch(body, end.end()):
        raise MalformedResponse("the answer is cut short", _printable(body))
    endpoint = _BY_PATH.get(answer.path)
    document = _parse(body) if endpoint and not _is_usual(body, endpoint) else None
    if endpoint and document is not None:
        try:
            _locate_all(body, document, endpoint)
        except MalformedResponse as error:
            # Smaller pages of something else would not be what was asked for either.
            raise TransientError(str(error)) from None
    return body


def _is_usual(body: bytes, endpoint: Endpoint) -> bool:
    """Whether a glance tells that there is one list, with records in it; decoding tells the rest."""
    *containers, record = endpoint.rows.split("/")
    return (
        all(body.count(b"<" + name.encode()) == 1 for name in containers)
        and _start_tag(record.encode()).search(body) is not None
        and b"-->" not in body
        and body.find(b"?>", body.find(b">")) < 0
    )


def _in_utf8(body: bytes) -> bytes:
    """The body, if it is UTF-16 in UTF-8; every other encoding writes tags as ASCII does."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif body[:2] in (b"<\0", b"\0<"):
        encoding = "utf-16-le" if body[:1] == b"<" else "utf-16-be"
    else:
        return body
    # Half a character pair costs the record that it is in, and half a character is the end.
    text = body[: len(body) // 2 * 2].decode(encoding, "surrogatepass")
    return _DECLARATION.sub("", text).encode("utf-8", "surrogatepass")


def _start_tag(name: bytes) -> re.Pattern[bytes]:
    """A pattern for where an element begins."""
    return re.compile(rb"<%b(?=[\s/>])" % re.escape(name))


def _saying(problem: str, body: bytes) -> str:
    """The problem, and the reason that a page gives for it."""
    reason = spoken(body)
    return f"{problem}: {reason}" if reason else problem


def _root(body: bytes) -> re.Match[bytes] | None:
    """The start tag of the root element, past declaration, comments and document type."""
    at = _skip(_SPACE, body, 0)
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
        at = _skip(_SPACE, body, end)
    return _START_TAG.match(body, at)


def _skip(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = pattern.match(body, at)
    return found.end() if found else at


def _refusal(body: bytes) -> Exception:
    error = _ERROR.search(body)
    found = {
        name: (double or single).decode("utf-8", "replace")
        for name, double, single in _ATTRIBUTE.findall(error[0] if error else b"")
    }
    message = quote(found.get(b"message", "")) or "no reason given"
    error_id = parse_number(found.get(b"id")) or 0
    if error_id == INVALID_COMPANY:
        return CredentialsError(
            f"Mobile Commons refuses the company: {message} (error {error_id}).\n"
            "Set sources.mcommons.company to a company key of this login, or leave it out to read "
            "the login's own firm."
        )
    if error_id in TRANSIENT_ERRORS:
        return TransientError(f"the service says: {message} (error {error_id})")
    if error_id == TOO_MANY_MESSAGES:
        return WindowTooLarge(f"the service says: {message} (error {error_id})")
    return ApiError(f"the service says: {message} (error {error_id})", error_id)


def decode(body: bytes, endpoint: Endpoint, schema: RecordSchema) -> Page:
    """Decode one answer into typed rows.

    A body that is not well-formed is taken apart record by record: the good ones load, each bad
    one is kept whole in the page's rejects.

    So is one that declares entities: none is ever expanded.

    Raises:
        MalformedResponse: It cannot be taken apart without losing a record, or lacks what the endpoint
            declares.
    """
    body = body.lstrip()
    is_large = len(body) >= MIN_BYTES and "/" in endpoint.rows
    found = _in_slices(body, endpoint, schema) if is_large else None
    page, envelope = found or _tolerantly(body, endpoint, schema)
    if page.rows < (parse_number(envelope.get("num")) or 0):
        raise MalformedResponse(_GARBLED, _printable(body))
    page.page_count = parse_number(envelope.get("page_count"))
    if endpoint.identity:
        # Without the numbers of the page, which tell nothing of its records.
        holder = endpoint.rows.split("/")[-2].encode()
        page.fingerprint = hashlib.sha256(re.sub(rb"<%b\b[^>]*>" % holder, b"", body)).hexdigest()
    return page


def _in_slices(
    body: bytes, endpoint: Endpoint, schema: RecordSchema
) -> tuple[Page, dict[str, str]] | None:
    """What :func:`_tolerantly` returns, in less time and memory; ``None`` if that has to read it."""
    slices = list(_slices(body, endpoint))
    pages: list[Page] = []
    envelope: dict[str, str] = {}
    for start, end in slices:
        part = body[: slices[0][0]] + body[start:end] + body[slices[-1][1] :]
        found = _by_columns(part, endpoint, schema)
        if found is None:
            # A slice that is not well-formed was cut elsewhere than between two records.
            if len(slices) == 1 or _parse(part) is None:
                return None
            found = _tolerantly(part, endpoint, schema)
        page, envelope = found
        pages.append(page)
    if len(pages) == 1:
        return pages[0], envelope
    page = concat_pages(pages, copy=False)
    if endpoint.record_key and not endpoint.repeats and has_repeats(page, endpoint.record_key):
        return None
    page.fingerprint = hashlib.sha256("".join(p.fingerprint for p in pages).encode()).hexdigest()
    return page, envelope


def _by_columns(
    body: bytes, endpoint: Endpoint, schema: RecordSchema
) -> tuple[Page, dict[str, str]] | None:
    found = columns.read(body, endpoint, schema)
    if found is None:
        return None
    # Parsed once, and only where the text of a record is wanted.
    records = cache(lambda: _records(body, endpoint))
    return build_page(endpoint, found[0], lambda n: _text(records()[n])), found[1]


def _slices(body: bytes, endpoint: Endpoint) -> Iterator[tuple[int, int]]:
    """Where to cut a large body between records: starts and ends of slices that follow one another."""
    *_, holder, record = endpoint.rows.encode().split(b"/")
    end_tag = re.compile(rb"</%b\s*>" % re.escape(record))
    first, end = _start_tag(record).search(body), body.rfind(b"</" + holder)
    at = first.start() if first and end >= 0 else 0
    if not at or len(body) <= SLICE_BYTES:
        yield 0, len(body)
        return
    while at < end:
        cut = end_tag.search(body, at + SLICE_BYTES, end)
        stop = cut.end() if cut else end
        yield at, stop
        at = stop


def _records(body: bytes, endpoint: Endpoint) -> list[etree._Element]:
    root = _parse(body)
    return [] if root is None else _locate(root, endpoint)[0]


def _tolerantly(
    body: bytes, endpoint: Endpoint, schema: RecordSchema
) -> tuple[Page, dict[str, str]]:
    """Decode record by record, whatever they hold; also the attributes of what holds them."""
    rows = Rows(schema)
    rejects: list[Reject] = []
    records: list[etree._Element] = []
    root = _parse(body)
    if root is not None:
        records, envelope = _locate_all(body, root, endpoint)
    elif "/" not in endpoint.rows:
        raise MalformedResponse(_GARBLED, _printable(body))
    else:
        envelope = _salvage_envelope(body, endpoint)
        for chunk in _chunks(body, endpoint):
            try:
                records.append(chunk.parse())
            except etree.XMLSyntaxError as error:
                rejects.append(chunk.reject(f"not well-formed XML: {error.msg}"))
            except ValueError as error:
                rejects.append(chunk.reject(str(error)))
            if len(rejects) > MAX_PIECES:
                raise MalformedResponse(_GARBLED, _printable(body))
        if not records and not rejects and parse_number(envelope.get("num")) is None:
            raise MalformedResponse(_GARBLED, _printable(body))
    between = [] if root is None else list(_between(records))
    nested = _take_out_nested(records)
    too_wide = []
    for record in records:
        _walk(record, schema.root, rows)
        if record.text and not record.text.isspace():
            rows.put(column_name(str(record.tag)), record.text)
        if rows.fields.exceeded:
            rows.fields.exceeded = False
            too_wide.append(rows.count)
        rows.end_row()
    page = build_page(endpoint, rows.texts(), lambda n: _text(records[n]), rejects, too_wide)
    page.rejects += [Reject(None, None, _NESTED, _text(record)) for record in nested]
    page.rejects += [Reject(None, None, reason, text) for reason, text in between]
    # Without them a full page would pass for the last one.
    page.rows += len(nested)
    page.salvaged = root is None
    return page, envelope


def _text(element: etree._Element) -> str:
    return etree.tostring(element, encoding="unicode").strip()


def _printable(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace").replace("\0", "\\x00").strip()


def _locate_all(
    body: bytes, root: etree._Element, endpoint: Endpoint
) -> tuple[list[etree._Element], dict[str, str]]:
    """What :func:`_locate` does. Raises also if a comment or an instruction holds the tag of a record."""
    record = re.escape(endpoint.rows.split("/")[-1]).encode()
    tag = re.compile(rb"</?%b[\s/>]" % record)
    # What stands in a section is a text that people wrote.
    found = (each[0] for each in _INVISIBLE.finditer(body))
    if any(tag.search(text) for text in found if not text.startswith(b"<![CDATA[")):
        raise MalformedResponse(_GARBLED, _printable(body))
    return _locate(root, endpoint)


def _between(records: Sequence[etree._Element]) -> Iterator[tuple[str, str]]:
    """What stands around the records that is no record and no layout: what it is, and its text."""
    holder = records[0].getparent() if records else None
    if holder is None:
        return
    for text in (holder.text, *(child.tail for child in holder)):
        if text and not text.isspace():
            yield _TEXT_BETWEEN, text
    for child in holder:
        if child.tag != records[0].tag:
            yield _ELEMENT_BETWEEN, _text(child)


def _take_out_nested(records: Sequence[etree._Element]) -> list[etree._Element]:
    """Records that stand inside of others, where none has a place."""
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


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _parse(body: bytes) -> etree._Element | None:
    """The document, or nothing if it is not well-formed or declares entities of its own."""
    try:
        root = etree.fromstring(body, _parser())
    except etree.XMLSyntaxError:
        return None
    start = _root(body)
    prolog = body[: start.start()] if start else b""
    if b"<!DOCTYPE" not in prolog:
        return root
    # lxml expands in attributes in any case; what it leaves in texts would load with a gap.
    hostile = b"<!ENTITY" in prolog or next(root.iter(etree.Entity), None) is not None
    return None if hostile else root


def _locate(
    root: etree._Element, endpoint: Endpoint
) -> tuple[list[etree._Element], dict[str, str]]:
    """The records of an answer and the attributes of the element that holds them.

    Raises:
        MalformedResponse: It lacks what the endpoint declares, or has it twice. That is no empty list: a
            snapshot must not be emptied by an answer to something else.
    """
    *containers, record = endpoint.rows.split("/")
    is_rooted = bool(containers) and root.tag == containers[0]
    holders = [root] if is_rooted or root.tag == ENVELOPE else []
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
    if not records and (len(holder) or (holder.text or "").strip()):
        raise _no_answer(holder, endpoint)
    return records, {str(name): str(value) for name, value in holder.items()}


def _is_content(element: etree._Element | None) -> bool:
    return element is not None and bool(element.keys() or (element.text or "").strip())


def _no_answer(element: etree._Element, endpoint: Endpoint) -> MalformedResponse:
    wanted = endpoint.content[0] if endpoint.rows == "." else endpoint.rows
    held = " and ".join(f"<{child.tag}>" for child in islice(element, 2)) or "nothing"
    problem = f"<{element.tag}> holds {held}, where {wanted} should be once"
    return MalformedResponse(problem[:MAX_QUOTE], _text(element))


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
                # Nobody says whether these blanks are text or layout.
                text = None
            # An element that can hold others and holds only blanks is an object that is not there.
            if not inner.fields or (text and not text.isspace()):
                put(inner.column, text)
        tail = child.tail
        if tail and not tail.isspace() and not field.skip:
            rows.misfit(field.column or column_name(str(element.tag)), _BESIDE, tail)


def _put_attributes(element: etree._Element, field: Field, rows: Rows) -> None:
    attributes = len(element.keys())
    if attributes > MAX_NEW_FIELDS:
        # lxml would look for each one among all the others.
        rows.fields.exceeded = True
    elif attributes:
        # lxml's types allow bytes here; parsed documents have none.
        for name, value in cast("Iterable[tuple[str, str]]", element.items()):
            inner = field.fields.get(name) or rows.fields.find(field, name)
            if not inner.skip:
                rows.put(inner.column, value)


def _is_list(element: etree._Element) -> bool:
    """Whether an element nobody declared is a list: of several alike, or named for its one entry."""
    count = len(element)
    if not count:
        return False
    name = element[0].tag
    if count == 1:
        return bool(element.tag == f"{name}s")
    return all(child.tag == name for child in element)


def _walk_list(element: etree._Element, field: Field, rows: Rows) -> None:
    """Make a row of each entry; what the list itself carries belongs to the row that holds it."""
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
        # Blanks are text where an entry is nothing else; between elements they are layout.
        bare = schema.text is not None or not child.keys()
        if text and (not text.isspace() or (bare and not len(child))):
            # Where nobody declared the list, an entry's text has the entry's own name.
            entries.put(schema.text or column_name(str(child.tag)), text)
        entries.end_row()


@dataclass(frozen=True)
class _Chunk:
    """The bytes of one record in a body that is not well-formed, or what remains of one."""

    body: bytes
    encoding: bytes
    endpoint: Endpoint
    begins: bool = True

    def parse(self) -> etree._Element:
        """The record. Raises XMLSyntaxError, or ValueError if its beginning is not there."""
        if not self.begins:
            raise ValueError("the beginning of the record is lost")
        declaration = b'<?xml version="1.0" encoding="' + self.encoding + b'"?>'
        return etree.fromstring(declaration + self.body, _parser())

    def reject(self, reason: str) -> Reject:
        column = self.endpoint.record_key[-1] if self.endpoint.record_key else "id"
        paths = [path for path, alias in self.endpoint.aliases.items() if alias == column]
        names = "|".join(re.escape(path) for path in [*paths, column])
        found = re.search(
            rf'\A<[^>]*\s(?:{names})\s*=\s*"([^"]*)"|<(?:{names})>([^<]*)<'.encode(), self.body
        )
        row_key = (found[1] or found[2] or b"").decode("utf-8", "replace") if found else None
        return Reject(row_key or None, None, reason, _printable(self.body))


def _salvage_envelope(body: bytes, endpoint: Endpoint) -> dict[str, str]:
    holder = endpoint.rows.split("/")[-2]
    opening = re.findall(rf"<{holder}(?=[\s/>])[^>]*>".encode(), body)
    if len(opening) != 1:
        raise MalformedResponse(_GARBLED, _printable(body))
    found = re.findall(rb"""([\w.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""", opening[0])
    return {
        name.decode(): (double or single).decode("utf-8", "replace")
        for name, double, single in found
    }


def _chunks(body: bytes, endpoint: Endpoint) -> Iterator[_Chunk]:
    """Cut a body at the beginnings and ends of its records, so that a lost tag costs one record."""
    declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)""", body)
    encoding = declared[1] if declared else b"UTF-8"
    record = endpoint.rows.split("/")[-1].encode()
    end_tag = b"</" + record + b">"
    starts = [found.start() for found in _start_tag(record).finditer(body)]
    remains = [_behind_holder(body[: starts[0]], endpoint)] if starts else []
    for start, end in zip(starts, [*starts[1:], len(body)]):
        chunk = body[start:end]
        alone = re.match(rb"<" + record + rb"""(?:[^<>"']|"[^"]*"|'[^']*')*/>""", chunk)
        closing = alone.end() if alone else chunk.find(end_tag) + len(end_tag)
        if not alone and closing < len(end_tag):
            closing = len(chunk)
        yield _Chunk(chunk[:closing], encoding, endpoint)
        remains.append(chunk[closing:])
    for remain in remains:
        text = _before_end_tags(remain, endpoint)
        if text:
            yield _Chunk(text, encoding, endpoint, begins=False)


def _behind_holder(head: bytes, endpoint: Endpoint) -> bytes:
    """What follows the last start tag of what holds the records."""
    tags = list(re.finditer(rb"<(?:%b)\b[^>]*>" % _holders(endpoint), head))
    return head[tags[-1].end() :] if tags else b""


def _before_end_tags(text: bytes, endpoint: Endpoint) -> bytes:
    """The text without the end tags behind it of what holds the records."""
    end_tag = re.compile(rb"</(?:%b)\s*>" % _holders(endpoint))
    text = text.strip()
    while end_tag.fullmatch(text, max(0, text.rfind(b"<"))):
        text = text[: text.rfind(b"<")].rstrip()
    return b"" if text.startswith(b"<!--") and text.endswith(b"-->") else text


def _holders(endpoint: Endpoint) -> bytes:
    """A pattern for the names of the elements around the records."""
    return "|".join(map(re.escape, [ENVELOPE, *endpoint.rows.split("/")[:-1]])).encode()
