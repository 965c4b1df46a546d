"""What an mGage answer means: success or failure, and the messages in it.

Follows "Response Specification" and "Error handling" of the vendor's page on the message export.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from textlift.arrow.tables import Page, build_page
from textlift.codec.records import Reject, Rows
from textlift.codec.schema import Field, RecordSchema, column_name
from textlift.declare import Endpoint
from textlift.errors import (
    ApiError,
    CredentialsError,
    MalformedResponse,
    ServiceError,
    TransientError,
    quote,
    spoken,
)
from textlift.http.client import TRANSIENT_STATUSES, HttpResponse

#: Objects in objects become columns up to here; what lies deeper stays JSON.
MAX_DEPTH = 8
#: Characters read, over and over, to take one broken answer apart.
MAX_WORK = 10**8

_NO_TEXT = "holds what is no text in any warehouse"
_DOUBLED = "another value follows under the same key"


class _Object(dict[str, Any]):
    """A JSON object that names a key twice.

    Attributes:
        earlier: Keys and values that others with the same key came after.
    """

    earlier: Sequence[tuple[str, Any]] = ()


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    last = {name: n for n, (name, _) in enumerate(pairs)}
    doubled = _Object(found)
    doubled.earlier = [
        (name, value)
        for n, (name, value) in enumerate(pairs)
        if n != last[name] and value not in (None, "", found[name])
    ]
    return doubled


def _earlier(value: Any) -> Sequence[tuple[str, Any]]:
    return value.earlier if isinstance(value, _Object) else ()


def _all_earlier(value: Any) -> Iterator[Any]:
    """What others with the same key came after in a value, and in all that it holds."""
    yield from (earlier for _, earlier in _earlier(value))
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _all_earlier(item)


# Numbers as they were printed: nothing here is counted with.
_DECODER = json.JSONDecoder(
    strict=False, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_object
)
#: Halves of surrogate pairs, also those that stand for bytes that are no UTF-8, and NUL.
_UNFIT = re.compile("[\ud800-\udfff\0]")
_MESSAGES = re.compile(r'"messages"\s*:\s*\[')
_META = re.compile(r'"meta"\s*:\s*')
_TEXT = r'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(rf'"(\w+)"\s*:\s*({_TEXT}|null)(?=\s*(?:,|$))')
_BETWEEN = re.compile(r"[\s,]*")
_AFTER = re.compile(r"\s*[,\]]")
_AFTER_PART = re.compile(r"\s*(?:,\s*\{|\])")
_NEXT = re.compile(r",\s*(?=\{)")
_BLANKS = " \t\r\n"
_MESSAGE_NAMES = frozenset({"type", "deliveryStatus", "number", "body", "date", "network"})
_NESTED = "a message inside of another"
_SHARED_NAMES = frozenset({"campaignName", "programName", "programType"})


@dataclass(frozen=True)
class Document:
    """What a successful answer holds.

    Attributes:
        messages: The messages, as JSON has them.
        shared: What is said once for all of them: the campaign and the program.
        next_link: URL of the next page; ``None`` at the end.
        broken: The text of messages that are no JSON.
        earlier: Keys and values of ``shared`` that others with the same key came after.
    """

    messages: Sequence[Any]
    shared: Mapping[str, Any]
    next_link: str | None
    broken: Sequence[str] = ()
    earlier: Sequence[tuple[str, Any]] = ()


def check(answer: HttpResponse) -> Document:
    """What an answer holds, if it is whole and a success.

    A body that is not well-formed is taken apart message by message: the good ones load, each bad
    one is kept whole.

    Raises:
        CredentialsError: The login is refused.
        MalformedResponse: It is cut short, or no JSON around its messages.
        TransientError: A failure that may pass; also ``generalErrors`` in an answer with messages,
            and an answer to something else.
        ApiError: HTTP 4xx, with the status as its code.
        ServiceError: Any other failure.
    """
    if answer.status in (401, 403):
        raise CredentialsError(
            f"mGage refuses the credentials (HTTP {answer.status}).\n"
            "Check sources.mgage.credentials: the username and password that Provisioning sent."
        )
    text = answer.body.decode("utf-8-sig", "surrogateescape")
    try:
        found = _DECODER.decode(text)
    except (ValueError, RecursionError):
        found = None
    if answer.status != 200:
        reasons = spoken(answer.body) if found is None else ""
        if isinstance(found, dict):
            reasons = _reasons(found.get("meta"))
        status = f"HTTP {answer.status}"
        problem = f"the service says: {reasons} ({status})" if reasons else status
        if answer.status in TRANSIENT_STATUSES:
            raise TransientError(problem)
        if 400 <= answer.status < 500:
            raise ApiError(problem, answer.status)
        raise ServiceError(problem)
    if not text.strip():
        raise TransientError("the answer is empty")
    if found is not None:
        return _document(found, [])
    if not text.lstrip().startswith("{"):
        problem = "a page instead of data" if "<" in text else "the answer is no JSON"
        reason = spoken(answer.body)
        raise TransientError(f"{problem}: {reason}" if reason else problem)
    return _document(*_salvage(text))


def _document(found: Any, broken: Sequence[str]) -> Document:
    meta = found.get("meta") if isinstance(found, dict) else None
    if not isinstance(meta, dict):
        raise TransientError("the answer is JSON, but none of the message export")
    if meta.get("generalErrors"):
        raise TransientError(f"the service says: {_reasons(meta)} (generalErrors)")
    data = found.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("messages"), list):
        raise TransientError("the answer holds no list of messages")
    link = meta.get("nextPageUrl")
    if link is not None and not isinstance(link, str):
        raise ServiceError("the service names a next page that is no URL")
    earlier = [*_earlier(data)]
    if _earlier(found) or _earlier(meta) or any(name == "messages" for name, _ in earlier):
        raise TransientError("the answer holds what there is one of twice")
    shared = {name: value for name, value in data.items() if name != "messages"}
    earlier += [(name, each) for name, value in shared.items() for each in _all_earlier(value)]
    return Document(data["messages"], shared, link or None, broken, earlier)


def _reasons(meta: Any) -> str:
    """What the ``meta`` of an answer says went wrong."""
    texts = _texts({**meta, "nextPageUrl": None}) if isinstance(meta, dict) else ()
    return quote(_printable("; ".join(texts)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _printable(text: str) -> str:
    """The text with what no warehouse can hold written out."""

    def write_out(found: re.Match[str]) -> str:
        code = ord(found[0])
        if code == 0 or 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code & 0xFF:02x}"
        return f"\\u{code:04x}"

    return _UNFIT.sub(write_out, text)


def _salvage(text: str) -> tuple[dict[str, Any], list[str]]:
    """An answer that is no JSON, in the pieces that are, and the text of the others.

    Raises:
        MalformedResponse: It is cut short, or broken outside of its messages.
    """
    opening = _MESSAGES.search(text)
    if opening is None:
        raise MalformedResponse("the answer is no JSON", _printable(text))
    head = text[: opening.start()]
    meta = _meta(head)
    messages: list[Any] = []
    broken: list[str] = []
    at, work = _skip(text, opening.end()), MAX_WORK
    while (behind := _behind(text, at, meta)) is None:
        message, end = _message_at(text, at)
        if message is None:
            end, work = _end_of_broken(text, at, meta, work)
            broken.append(text[at:end].strip(_BLANKS))
        else:
            messages.append(message)
        at = _skip(text, end)
    data = behind["data"]
    del data["messages"]
    around = [*_members(head.rpartition('"data"')[2]), *_earlier(data), *data.items()]
    return {"meta": behind["meta"], "data": _object([*around, ("messages", messages)])}, broken


def _behind(text: str, at: int, meta: Any) -> dict[str, Any] | None:
    """The answer without its messages, if their list ends at ``at``; ``meta`` if it came before."""
    if not text.startswith("]", at):
        return None
    try:
        found = {"meta": meta, **_DECODER.decode('{"data":{"messages":[' + text[at:])}
    except (ValueError, RecursionError):
        return None
    named = isinstance(found["meta"], dict) and "nextPageUrl" in found["meta"]
    return found if named and isinstance(found["data"], dict) else None


def _meta(head: str) -> Any:
    found = _META.search(head)
    try:
        return _DECODER.raw_decode(head, found.end())[0] if found else None
    except (ValueError, RecursionError):
        return None


def _members(head: str) -> list[tuple[str, Any]]:
    members = []
    for name, value in _MEMBER.findall(head):
        with suppress(ValueError):
            members.append((name, _DECODER.decode(value)))
    return members


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _message_at(text: str, at: int) -> tuple[Any, int]:
    """The message that begins at ``at``, ``None`` if there is none, and how far that was read."""
    try:
        message, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        return None, error.pos
    except RecursionError:
        # It was read at least as far as it is deep.
        return None, at + sys.getrecursionlimit()
    known = isinstance(message, dict) and not _MESSAGE_NAMES.isdisjoint(message)
    # A stray brace ends a message early, and the rest of it follows.
    after = _AFTER if known and message.keys() >= _MESSAGE_NAMES else _AFTER_PART
    return (message if known and after.match(text, end) else None), end


def _end_of_broken(text: str, at: int, meta: Any, work: int) -> tuple[int, int]:
    """Where the broken message at ``at`` ends: before the next good one, or with the list.

    ``work`` is how much may still be read to find out, and comes back as what is left of it.
    """
    for found in _NEXT.finditer(text, at):
        message, read = _message_at(text, found.end())
        if message is not None:
            return found.start(), work
        # An error counts the lines before it, which is quick but not free.
        work -= read - found.start() + read // 16
        if work < 0:
            break
    end, tail_work = len(text), MAX_WORK
    while tail_work > 0 and (end := text.rfind("]", at, end)) >= 0:
        if _behind(text, end, meta) is not None:
            return end, work
        tail_work -= len(text) - end + len(text) // 16
    raise MalformedResponse("the answer is cut short", _printable(text))


def decode(document: Document, endpoint: Endpoint, schema: RecordSchema) -> Page:
    """The messages of an answer as typed rows, each with what is said once for all of them."""
    rows = Rows(schema)
    rejects = [
        Reject(None, None, "not well-formed JSON", _printable(text)) for text in document.broken
    ]
    walked: list[Any] = []
    too_wide = []
    for message in document.messages:
        if isinstance(message, dict):
            _walk(message, schema.root, rows, 1)
            if rows.fields.exceeded:
                rows.fields.exceeded = False
                too_wide.append(rows.count)
            rows.end_row()
            walked.append(message)
        else:
            rejects.append(Reject(None, None, "not a message", _json(message)))
    page = build_page(
        endpoint, rows.texts(), lambda n: _printable(_json(walked[n])), rejects, too_wide
    )
    page.next_link = document.next_link
    page.salvaged = bool(document.broken)
    page.shared, unfit = _shared(document.shared)
    page.rejects += unfit
    page.rejects += [
        Reject(None, _shared_column(name), _DOUBLED, _printable(_text(value) or ""))
        for name, value in document.earlier
    ]
    # Which rows are on the page; not their order within a second, nor what becomes known later.
    fixed = zip(*(page.table[name].to_pylist() for name in endpoint.identity))
    page.fingerprint = hashlib.sha256(
        repr([page.rows, *sorted(map(repr, fixed))]).encode()
    ).hexdigest()
    return page


def _shared(values: Mapping[str, Any]) -> tuple[dict[str, str | None], list[Reject]]:
    shared: dict[str, str | None] = {}
    rejects = []
    for name, value in values.items():
        column = _shared_column(name)
        text = _text(value)
        fits = text is None or not _UNFIT.search(text)
        if not fits:
            rejects.append(Reject(None, column, _NO_TEXT, _printable(text or "")))
        shared[column] = (text or None) if fits else None
    return shared, rejects


def _shared_column(name: str) -> str:
    # What nobody declared is named by its path; a message can have a key of the same name.
    return column_name(name) if name in _SHARED_NAMES else f"data__{column_name(name)}"


def _walk(record: Mapping[str, Any], field: Field, rows: Rows, depth: int) -> None:
    for name, value in _earlier(record):
        rows.misfit(rows.fields.find(field, name).column, _DOUBLED, _printable(_text(value) or ""))
    for name, value in record.items():
        inner = rows.fields.find(field, name)
        if _is_message(value) or (isinstance(value, list) and any(map(_is_message, value))):
            rows.misfit(inner.column, _NESTED, _printable(_json(value)))
        elif isinstance(value, dict) and depth < MAX_DEPTH:
            _walk(value, inner, rows, depth + 1)
        elif isinstance(value, list) and depth < MAX_DEPTH:
            for item in value:
                entries = rows.entry(inner)
                entry = item if isinstance(item, dict) else {"value": item}
                _walk(entry, entries.schema.root, entries, depth + 1)
                entries.end_row()
        else:
            text = _text(value)
            for earlier in _all_earlier(value):
                rows.misfit(inner.column, _DOUBLED, _printable(_text(earlier) or ""))
            if text and _UNFIT.search(text):
                rows.put(inner.column, None)
                rows.misfit(inner.column, _NO_TEXT, _printable(text))
            else:
                rows.put(inner.column, text)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= _MESSAGE_NAMES


def _text(value: Any) -> str | None:
    """A value as text: texts and numbers verbatim, all else as JSON has it."""
    if value is None or isinstance(value, str):
        return value
    return _json(value)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ServiceError("the answer is nested too deeply") from None
