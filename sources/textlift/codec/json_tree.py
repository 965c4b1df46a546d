"""JSON responses as trees: how a service arranges them, and where the records are."""

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
    """What a response holds.

    Attributes:
        records: The records, as JSON has them.
        shared: Key → value of what stands beside the list of records.
        next_link: URL of the next page; ``None`` at the end.
        page_count: Number of pages, as text.
        total: Number of records on all pages, as text.
        doubled: Keys and values of ``shared`` that were followed by another value.
    """

    records: Sequence[Any]
    shared: Mapping[str, Any]
    next_link: str | None
    page_count: str | None
    total: str | None
    doubled: Sequence[tuple[str, Any]]


class _Object(dict[str, Any]):
    """A JSON object that names a key twice.

    Attributes:
        doubled: Keys and values that were followed by another value.
    """

    doubled: Sequence[tuple[str, Any]] = ()


def make_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a key that comes twice the last value counts, and :func:`doubled` has the others."""
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
    """Keys and values of an object that were followed by another value for the key."""
    return value.doubled if isinstance(value, _Object) else ()


def doubled_below(value: Any) -> Iterator[Any]:
    """The values that were followed by another one, in a value and in all that it holds."""
    yield from (earlier for _, earlier in doubled(value))
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from doubled_below(item)


#: Numbers stay as they are printed: nothing is computed with them here.
DECODER = json.JSONDecoder(
    strict=False, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=make_object
)
#: Halves of surrogate pairs, also those that stand for bytes that are not UTF-8, and NUL.
UNFIT = re.compile("[\ud800-\udfff\0]")


def body_text(body: bytes) -> str:
    """The body as text; bytes that are not UTF-8 become halves of surrogate pairs."""
    return body.decode("utf-8-sig", "surrogateescape")


def parse(text: str) -> Any:
    """The value of a JSON text; ``None`` if it is not well-formed."""
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def locate(found: Any, endpoint: Endpoint, dialect: JsonDialect) -> Document:
    """The records of a response, and what is said of all of them.

    Raises:
        MalformedResponse: The response lacks the list that the endpoint declares, or has it twice.
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
    around += [found.get(path.split("/")[0]) for path in [dialect.next_link] if path]
    if any(doubled(each) for each in around if each is not holder) or name in dict(twice):
        problem = "the response holds its list or its metadata twice"
        raise MalformedResponse(problem, printable(as_json(found)))
    shared = {key: value for key, value in holder.items() if key != name}
    if not containers:
        shared = {key: value for key, value in shared.items() if key in dialect.shared}
    twice += [(key, each) for key, value in shared.items() for each in doubled_below(value)]
    page_count, total = at_path(found, dialect.page_count), at_path(found, dialect.total)
    return Document(holder[name], shared, link or None, as_text(page_count), as_text(total), twice)


def at_path(found: Any, path: str | None) -> Any:
    """The value at a path from the root; ``None`` if there is none."""
    if path is None:
        return None
    for name in path.split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def record_names(endpoint: Endpoint, dialect: JsonDialect) -> frozenset[str]:
    """Columns, and first parts of columns, that each record has by itself."""
    elsewhere = {*map(column_name, dialect.shared), *endpoint.configured, endpoint.removed_column}
    elsewhere.add(endpoint.parent.column if endpoint.parent else None)
    return frozenset(name.split("__")[0] for name in endpoint.columns if name not in elsewhere)


def names_of(value: Mapping[str, Any]) -> set[str]:
    """The keys of an object as columns."""
    return {*map(column_name, value)}


def printable(text: str) -> str:
    """The text with what no warehouse can hold written as escapes."""

    def write_out(found: re.Match[str]) -> str:
        code = ord(found[0])
        if code == 0 or 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code & 0xFF:02x}"
        return f"\\u{code:04x}"

    return UNFIT.sub(write_out, text)


def as_text(value: Any) -> str | None:
    """A value as text: texts and numbers verbatim, all else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return as_json(value)


def as_json(value: Any) -> str:
    """A value as JSON.

    Raises:
        ServiceError: It is nested too deeply.
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ServiceError("the response is nested too deeply") from None
