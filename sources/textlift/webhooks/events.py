"""Segments to pages: each body is an event, which is a row or several, or a reject."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from textlift.arrow.build import build_page
from textlift.arrow.pages import Page, digest
from textlift.codec.dialects import JsonDialect
from textlift.codec.json import JsonCodec
from textlift.codec.json_tree import doubled, make_object, parse, printable
from textlift.codec.records import Decoded, Reject
from textlift.codec.schema import column_name
from textlift.declare import Endpoint

#: Column for the key of a row.
EVENT_ID = "event_id"
#: Column for the time of receipt. A body that must state it keeps its own.
RECEIVED_AT = "received_at"
#: Most objects and lists inside of each other in a body.
MAX_DEPTH = 64


def as_line(body: str, received_at: datetime) -> bytes:
    """Return a body as a line of a segment. The text is kept exactly."""
    line = {RECEIVED_AT: received_at.isoformat(timespec="milliseconds"), "body": body}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def is_deeper(value: Any, most: int) -> bool:
    """Return whether a JSON value has more than ``most`` objects and lists inside of each other."""
    level = [value]
    for _ in range(most):
        level = [
            item
            for each in level
            if isinstance(each, (dict, list))
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return any(isinstance(each, (dict, list)) for each in level)


class Events:
    """Decodes the bodies of one kind, each event once.

    Args:
        endpoint: The endpoint, which has a ``webhook``.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.webhook
        self._endpoint = endpoint
        self._webhook = endpoint.webhook
        self._codec = JsonCodec(endpoint, JsonDialect())
        self._met: set[str] = set()
        self._added = {EVENT_ID, RECEIVED_AT, *self._webhook.meanings}
        self._added |= {self._webhook.body_id} if self._webhook.body_id else set()
        self._added -= {*self._webhook.required}

    def page(self, lines: Iterable[bytes]) -> Page:
        """Return the events that are new in the lines of some segments."""
        rows: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        for line in lines:
            try:
                stored = json.loads(line)
                received_at = datetime.fromisoformat(stored[RECEIVED_AT]).astimezone(timezone.utc)
                text = str(stored["body"])
            except (ValueError, KeyError, TypeError, RecursionError):
                text = printable(line.decode("utf-8", "surrogateescape"))
                rejects.append(Reject(None, None, "not a line of a segment", text))
                continue
            body = parse(text.removeprefix("\ufeff"))
            problem = self._problem(body)
            event = digest(text if problem else self._identity(body, received_at))
            if event in self._met:
                continue
            self._met.add(event)
            if problem:
                rejects.append(Reject(event, None, problem, printable(text)))
            else:
                rows += self._rows(body, event, received_at)
        return build_page(self._endpoint, Decoded([self._codec.records(rows, rejects)]))

    def _problem(self, body: Any) -> str | None:
        """Return why a body is not of this kind, or ``None``."""
        if not isinstance(body, dict) or is_deeper(body, MAX_DEPTH):
            return "not an object of JSON"
        kind = self._endpoint.name
        for name in self._webhook.required:
            if body.get(name) is None:
                return f"not of the kind {kind}: it has no {name}"
            if name != self._endpoint.rows and isinstance(body[name], (dict, list)):
                return f"not of the kind {kind}: {name} is not a value"
        if self._endpoint.rows != ".":
            entries = body.get(self._endpoint.rows)
            if not (isinstance(entries, list) and entries):
                return f"not of the kind {kind}: {self._endpoint.rows} is not a list with entries"
            if not all(isinstance(entry, dict) for entry in entries):
                return f"not of the kind {kind}: an entry of {self._endpoint.rows} is not an object"
        return None

    def _identity(self, body: Mapping[str, Any], received_at: datetime) -> str:
        """Return a text that is equal for two bodies only if they are the same event."""
        parts = [self._endpoint.name, json.dumps(body, sort_keys=True)]
        if not self._webhook.distinct or not any(_at(body, self._webhook.distinct.split("/"))):
            parts.append(f"{received_at:%Y-%m-%dT%H}")
        return "\n".join(parts)

    def _rows(
        self, body: dict[str, Any], event: str, received_at: datetime
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of an event. What all rows share is in each; lists are in the first."""
        around, entries = self._members(body), [dict[str, Any]()]
        if self._endpoint.rows != ".":
            around = [(name, value) for name, value in around if name != self._endpoint.rows]
            entries = body[self._endpoint.rows]
        for number, entry in enumerate(entries):
            added: dict[str, Any] = {
                EVENT_ID: digest(f"{event}/{number}") if number else event,
                RECEIVED_AT: received_at.isoformat(),
            }
            if self._webhook.body_id:
                added[self._webhook.body_id] = event
            for column, (code, meanings) in self._webhook.meanings.items():
                added[column] = meanings.get(str(entry.get(code, body.get(code))))
            kept = [(name, added[name]) for name in added if name in self._added]
            yield make_object([*around, *self._members(entry), *kept])
            around = [(name, value) for name, value in around if not isinstance(value, list)]

    def _members(self, found: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return the members of an object. What is named as an added column gets another name."""
        return [
            (f"{name}_sent" if column_name(name) in self._added else name, value)
            for name, value in [*doubled(found), *found.items()]
        ]


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    """Yield the values at a path; of a list, those in each of its entries."""
    if isinstance(value, list):
        for entry in value:
            yield from _at(entry, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        yield from _at(value.get(path[0]), path[1:])
