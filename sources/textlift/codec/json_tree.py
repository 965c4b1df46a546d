"""Parse JSON responses, and locate their records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textlift.codec.dialects import JsonDialect
from textlift.codec.schema import column_name
from textlift.declare import Endpoint
from textlift.errors import MalformedResponse, ServiceError


@dataclass(frozen=True)
class Document:
    """The contents of a response.

    Attributes:
        records: The records, as JSON values.
        shared: Key → value of the members beside the list of records.
        next_link: URL of the next page. ``None`` on the last page.
        page_count: Number of pages, as text.
        total: Number of records on all pages, as text.
        doubled: Keys and values in ``shared`` that a later value for the key replaced.
    """

    records: Sequence[Any]
    shared: Mapping[str, Any]
    next_link: str | None
    page_count: str | None
    total: str | None
    doubled: Sequence[tuple[str, Any]]


class _Object(dict[str, Any]):
    """A JSON object with a duplicate key.

    Attributes:
        doubled: Keys and values that a later value for the key replaced.
    """

    doubled: Sequence[tuple[str, Any]] = ()


def make_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. The last value of a duplicate key wins; :func:`doubled` has the others."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    last = {name: n for n, (name, _) in enumerate(pairs)}
    result = _Object(found)
    result.doubled = [
        (name, value)
        for n, (name, value) in enumerate(pairs)
        if n != last[name] and value not in (None, "", found[name])
    ]
    return result


def doubled(value: Any) -> Sequence[tuple[str, Any]]:
    """Return the keys and values of an object that a later value for the key replaced."""
    return value.doubled if isinstance(value, _Object) else ()


def doubled_below(value: Any) -> Iterator[Any]:
    """Yield the values that a later value replaced, in a value and in everything inside it."""
    yield from (earlier for _, earlier in doubled(value))
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from doubled_below(item)


#: Keeps numbers as text, because nothing is computed with them here.
DECODER = json.JSONDecoder(
    strict=False, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=make_object
)
#: NUL and lone surrogates. Some of these represent bytes that are not UTF-8.
UNFIT = re.compile("[\ud800-\udfff\0]")


def body_text(body: bytes) -> str:
    """Return the body as text. Bytes that are not UTF-8 become lone surrogates."""
    return body.decode("utf-8-sig", "surrogateescape")


def parse(text: str) -> Any:
    """Return the value of a JSON text, or ``None`` if it is malformed."""
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def locate(found: Any, endpoint: Endpoint, dialect: JsonDialect) -> Document:
    """Return the records of a response, with its shared values and its metadata.

    Raises:
        MalformedResponse: The response lacks the list that the endpoint declares, or the number of
            pages, or has one of them twice.
        ServiceError: The next page is not a URL.
    """
    *containers, name = endpoint.rows.split("/")
    holder, around = found, [found]
    for container in containers:
        holder = holder.get(container) if isinstance(holder, dict) else None
        around.append(holder)
    if not isinstance(holder, dict) or not isinstance(holder.get(name), list):
        raise MalformedResponse(f"the response holds no list of {name}", printable(as_json(found)))
    link = at_path(found, dialect.next_link)
    if link is not None and not isinstance(link, str):
        raise ServiceError("the service names a next page that is not a URL")
    twice = [*doubled(holder)]
    around += [found.get(name) for name in dialect.metadata]
    if any(doubled(each) for each in around if each is not holder) or name in dict(twice):
        problem = "the response holds its list or its metadata twice"
        raise MalformedResponse(problem, printable(as_json(found)))
    shared = {key: value for key, value in holder.items() if key != name}
    if not containers:
        shared = {key: value for key, value in shared.items() if key in dialect.shared}
    twice += [(key, each) for key, value in shared.items() for each in doubled_below(value)]
    page_count, total = at_path(found, dialect.page_count), at_path(found, dialect.total)
    if dialect.page_count and page_count is None:
        problem = f"the response does not state its {dialect.page_count}"
        raise MalformedResponse(problem, printable(as_json(found)))
    return Document(holder[name], shared, link or None, as_text(page_count), as_text(total), twice)


def at_path(found: Any, path: str | None) -> Any:
    """Return the value at a path from the root, or ``None``."""
    if path is None:
        return None
    for name in path.split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def bare(value: Any, dialect: JsonDialect) -> Any:
    """Return the value inside of a wrapper, or the value itself."""
    if isinstance(value, dict) and len(value) == 1 and not doubled(value):
        return value.get(str(dialect.wrapper), value)
    return value


def record_names(endpoint: Endpoint, dialect: JsonDialect) -> frozenset[str]:
    """Return the columns that come from a record, each cut to the first part of its path."""
    elsewhere = {*map(column_name, dialect.shared), *endpoint.configured, endpoint.removed_column}
    elsewhere.add(endpoint.parent.column if endpoint.parent else None)
    return frozenset(name.split("__")[0] for name in endpoint.columns if name not in elsewhere)


def names_of(value: Mapping[str, Any]) -> set[str]:
    """Return the keys of an object as column names."""
    return {*map(column_name, value)}


def printable(text: str) -> str:
    """Return the text, with characters that no warehouse can store written as escapes."""

    def write_out(found: re.Match[str]) -> str:
        code = ord(found[0])
        if code == 0 or 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code & 0xFF:02x}"
        return f"\\u{code:04x}"

    return UNFIT.sub(write_out, text)


def as_text(value: Any) -> str | None:
    """Return a value as text: texts and numbers verbatim, all other values as JSON."""
    if value is None or isinstance(value, str):
        return value
    return as_json(value)


def as_json(value: Any) -> str:
    """Return a value as JSON.

    Raises:
        ServiceError: The value is nested too deeply.
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ServiceError("the response is nested too deeply") from None
