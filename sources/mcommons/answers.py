"""What a Mobile Commons answer means: success or failure, and the records in it.

Follows "Errors & Troubleshooting" of the vendor's REST API page, and what clients of the API have
seen beyond it: failures with HTTP 200, HTML pages, XML that is not well-formed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from lxml import etree

from ..common.client import TRANSIENT_STATUSES, Answer
from ..common.endpoints import Endpoint
from ..common.errors import (
    BrokenAnswer,
    CredentialsError,
    Refusal,
    ServiceError,
    TransientError,
    WindowTooLarge,
    quote,
)
from ..common.tables import (
    MAX_NEW_PLACES,
    Layout,
    Node,
    Page,
    Reject,
    Rows,
    build_page,
    column_name,
)
from . import columns

#: Smaller answers are decoded record by record: there is not enough to gain.
MIN_BYTES = 32 * 1024
#: Broken records of one answer; one with more is none of records.
MAX_PIECES = 10_000
INVALID_COMPANY = 4
TOO_MANY_MESSAGES = 17
#: "Unknown error" and "API rate limit exceeded": the same question can succeed later.
TRANSIENT_ERRORS = frozenset({0, 27})

_SPACE = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_START_TAG = re.compile(rb"<([A-Za-z_][\w.-]*)[^>]*>")
_EPILOG = re.compile(rb"(?:\s|<!--(?:(?!-->).)*-->|<\?(?:(?!\?>).)*\?>)*", re.DOTALL)
_ERROR = re.compile(rb"<error\b[^>]*>")
_ATTRIBUTE = re.compile(rb"""\b(id|message)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_HTML = re.compile(rb"<html\b|<!DOCTYPE\s+html\b", re.IGNORECASE)
_NESTED = "a record inside of another"
_BETWEEN = "text between the records"
_BESIDE = "text beside elements"
_HTML_REASON = re.compile(rb"<(?:h4|p|title)\b[^>]*>\s*([^<]{1,200}?)\s*<", re.IGNORECASE)


def check(answer: Answer) -> bytes:
    """The body of an answer that is whole and holds records.

    Raises:
        CredentialsError: The login, token or company is refused.
        BrokenAnswer: It is cut short.
        TransientError: A failure that may pass.
        WindowTooLarge: Error 17.
        Refusal: Any other error id.
        ServiceError: Any other answer that holds no records.
    """
    body = answer.body
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
        problem = f"HTTP {answer.status}{_html_reason(body)}"
        raise (TransientError if answer.status in TRANSIENT_STATUSES else ServiceError)(problem)
    if not body.strip():
        raise TransientError("the answer is empty")
    if not root or root[1].lower() == b"html":
        raise TransientError(f"a page instead of data{_html_reason(body)}")
    # Only a root without content may close itself; "/>" at the end is else where the cut fell.
    end = root.end() if root[0].endswith(b"/>") else body.rfind(b"</" + root[1] + b">")
    end = end if root[0].endswith(b"/>") or end < 0 else end + len(root[1]) + 3
    if end < 0 or not _EPILOG.fullmatch(body, end):
        raise BrokenAnswer("the answer is cut short", _printable(body))
    return body


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
    error_id = int(found[b"id"]) if found.get(b"id", "").isdigit() else 0
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
    return Refusal(f"the service says: {message} (error {error_id})", error_id)


def _html_reason(body: bytes) -> str:
    """What an HTML page says; anything else may hold people's data and is not repeated."""
    page = body[:20000]
    reason = _HTML_REASON.search(page) if _HTML.search(page) else None
    return f": {quote(reason[1].decode('utf-8', 'replace'))}" if reason else ""


def decode(body: bytes, endpoint: Endpoint, layout: Layout) -> Page:
    """Decode one answer into typed rows.

    A body that is not well-formed is taken apart record by record: the good ones load, each bad
    one is kept whole in the page's rejects.

    So is one that declares entities: none is ever expanded.

    Raises:
        BrokenAnswer: It cannot be taken apart without losing a record.
        ServiceError: The answer holds something other than the endpoint's records.
    """
    body = body.lstrip()
    is_large = len(body) >= MIN_BYTES and "/" in endpoint.rows
    found = columns.read(body, endpoint, layout) if is_large else None
    if found is not None:
        texts, envelope = found
        # Parsed once, and only where the text of a record is wanted.
        records = cache(lambda: _records(body, endpoint))
        page = build_page(endpoint, texts, lambda n: _text(records()[n]))
    else:
        page, envelope = _tolerantly(body, endpoint, layout)
    page.page_count = _number(envelope.get("page_count"))
    if endpoint.identity:
        # Without the numbers of the page, which tell nothing of its records.
        holder = endpoint.rows.split("/")[-2].encode()
        page.fingerprint = hashlib.sha256(re.sub(rb"<%b\b[^>]*>" % holder, b"", body)).hexdigest()
    return page


def _records(body: bytes, endpoint: Endpoint) -> list[etree._Element]:
    root = _parse(body)
    return [] if root is None else _locate(root, endpoint)[0]


def _tolerantly(body: bytes, endpoint: Endpoint, layout: Layout) -> tuple[Page, dict[str, str]]:
    """Decode record by record, whatever they hold; also the attributes of what holds them."""
    rows = Rows(layout)
    rejects: list[Reject] = []
    records: list[etree._Element] = []
    root = _parse(body)
    if root is not None:
        records, envelope = _locate(root, endpoint)
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
                raise BrokenAnswer("the answer is garbled", _printable(body))
        _expect_all(len(records) + len(rejects), envelope, body)
    between = [] if root is None else _texts_between(records)
    nested = _take_out_nested(records)
    too_wide = []
    for record in records:
        _walk(record, layout.root, rows)
        if record.text and not record.text.isspace():
            rows.put(column_name(str(record.tag)), record.text)
        if layout.take_excess():
            too_wide.append(rows.count)
        rows.end_row()
    page = build_page(endpoint, rows.texts(), lambda n: _text(records[n]), rejects, too_wide)
    page.rejects += [Reject(None, None, _NESTED, _text(record)) for record in nested]
    page.rejects += [Reject(None, None, _BETWEEN, text) for text in between]
    # Without them a full page would pass for the last one.
    page.rows += len(nested)
    page.salvaged = root is None
    return page, envelope


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _text(element: etree._Element) -> str:
    return etree.tostring(element, encoding="unicode").strip()


def _printable(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace").replace("\0", "\\x00").strip()


def _expect_all(found: int, envelope: Mapping[str, str], body: bytes) -> None:
    """Raise if a body that was taken apart has fewer records than it should have."""
    expected = _number(envelope.get("num"))
    if found < (1 if expected is None else expected):
        raise BrokenAnswer("the answer is garbled", _printable(body))


def _texts_between(records: Sequence[etree._Element]) -> list[str]:
    """What stands around the records that is no record and no layout."""
    holder = records[0].getparent() if records else None
    if holder is None:
        return []
    texts = [holder.text, *(child.tail for child in holder)]
    return [text for text in texts if text and not text.isspace()]


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
    """The records of an answer and the attributes of the element that holds them."""
    *containers, record = endpoint.rows.split("/")
    if record == ".":
        return [root], {}
    # The calls endpoint prints its list without the <response> around it.
    holder: etree._Element | None = root
    if containers and root.tag == containers[0]:
        containers = containers[1:]
    for name in containers:
        holder = holder.find(name) if holder is not None else None
    if holder is None:
        found = next(root.iter(record), None)
        holder = found.getparent() if found is not None else None
    if holder is None:
        if len(root):
            # Not an empty list: a snapshot must not be emptied by an answer to something else.
            raise ServiceError(f"the answer holds <{root[0].tag}>, not {endpoint.rows}")
        return [], {}
    envelope = {str(name): str(value) for name, value in holder.items()}
    found_records = holder.findall(record)
    if holder is root and not found_records and len(root):
        raise ServiceError(f"the answer holds <{root[0].tag}>, not {endpoint.rows}")
    return found_records, envelope


def _walk(element: etree._Element, node: Node, rows: Rows) -> None:
    nodes, put = node.nodes, rows.put
    _put_attributes(element, node, rows)
    for child in element:
        name = str(child.tag)
        place = nodes.get(name) or node.node(name)
        if place.list is not None or (not place.known and _is_list(child)):
            if not place.skip:
                _walk_list(child, place, rows)
        elif len(child) or child.keys():
            if place.nodes or not place.skip or not place.skip_below:
                _walk(child, place, rows)
                text = child.text
                if text and not text.isspace() and not place.skip:
                    put(place.column, text)
        elif not place.skip:
            text = child.text
            # An empty element that can hold others is an object that is not there.
            if text or not place.nodes:
                put(place.column, text)
        tail = child.tail
        if tail and not tail.isspace() and not node.skip:
            rows.misfit(node.column or column_name(str(element.tag)), _BESIDE, tail)


def _put_attributes(element: etree._Element, node: Node, rows: Rows) -> None:
    attributes = len(element.keys())
    if attributes > MAX_NEW_PLACES:
        # lxml would look for each one among all the others.
        node.room.exceeded = True
    elif attributes:
        # lxml's types allow bytes here; parsed documents have none.
        for name, value in cast("Iterable[tuple[str, str]]", element.items()):
            place = node.nodes.get(name) or node.node(name)
            if not place.skip:
                rows.put(place.column, value)


def _is_list(element: etree._Element) -> bool:
    """Whether an element nobody declared is a list: of several alike, or named for its one entry."""
    count = len(element)
    if not count:
        return False
    name = element[0].tag
    if count == 1:
        return bool(element.tag == f"{name}s")
    return all(child.tag == name for child in element)


def _walk_list(element: etree._Element, node: Node, rows: Rows) -> None:
    """Make a row of each entry; what the list itself carries belongs to the row that holds it."""
    suffix = rows.layout.suffix(node)
    _put_attributes(element, node, rows)
    for loose in (element.text, *(child.tail for child in element)):
        if loose and not loose.isspace():
            rows.misfit(node.path, _BESIDE, loose)
    for child in element:
        entries = rows.entry(suffix)
        layout = entries.layout
        _walk(child, layout.root, entries)
        text = child.text
        if text and layout.padded:
            text = text.strip()
        # Blanks are text where an entry is nothing else; between elements they are layout.
        bare = layout.text is not None or not child.keys()
        if text and (not text.isspace() or (bare and not len(child))):
            # Where nobody declared the list, an entry's text has the entry's own name.
            entries.put(layout.text or column_name(str(child.tag)), text)
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
    holder = endpoint.rows.split("/")[-2:-1]
    opening = re.search(rf"<{holder[0]}\b[^>]*>".encode(), body) if holder else None
    found = re.findall(rb'([\w.-]+)\s*=\s*"([^"]*)"', opening[0]) if opening else []
    return {name.decode(): value.decode("utf-8", "replace") for name, value in found}


def _chunks(body: bytes, endpoint: Endpoint) -> Iterator[_Chunk]:
    """Cut a body at the beginnings and ends of its records, so that a lost tag costs one record."""
    declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)""", body)
    encoding = declared[1] if declared else b"UTF-8"
    record = endpoint.rows.split("/")[-1].encode()
    end_tag = b"</" + record + b">"
    starts = [found.start() for found in re.finditer(rb"<" + record + rb"(?=[\s/>])", body)]
    if record == b".":
        yield _Chunk(body, encoding, endpoint)
        return
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
    return "|".join(map(re.escape, ["response", *endpoint.rows.split("/")[:-1]])).encode()
