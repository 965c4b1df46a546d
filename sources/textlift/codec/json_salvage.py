"""Salvage malformed JSON record by record, so that a lost brace costs only one record."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from typing import Any

from textlift.codec.dialects import JsonDialect
from textlift.codec.json_tree import (
    DECODER,
    at_path,
    doubled,
    make_object,
    names_of,
    printable,
    record_names,
)
from textlift.declare import Endpoint
from textlift.errors import MalformedResponse

#: Limit of characters read, repeats included, to salvage one response.
MAX_WORK = 10**8

_TEXT = r'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(rf'"(\w+)"\s*:\s*({_TEXT}|null)(?=\s*(?:,|$))')
_BETWEEN = re.compile(r"[\s,]*")
_AFTER = re.compile(r"\s*[,\]]")
_AFTER_PART = re.compile(r"\s*(?:,\s*\{|\])")
_NEXT = re.compile(r",\s*(?=\{)")
_BLANKS = " \t\r\n"


def salvage(
    text: str, endpoint: Endpoint, dialect: JsonDialect
) -> tuple[dict[str, Any], list[str]]:
    """Return a response with its well-formed records, and the texts of the broken records.

    Raises:
        MalformedResponse: The response is cut short, or malformed outside of its records.
    """
    return _Salvage(text, endpoint, dialect).result()


class _Salvage:
    def __init__(self, text: str, endpoint: Endpoint, dialect: JsonDialect) -> None:
        self._text = text
        *self._containers, self._name = endpoint.rows.split("/")
        self._names = record_names(endpoint, dialect)
        self._dialect = dialect
        # The beginning of the response up to its list. With it, the text after the list is JSON.
        self._opener = "{" + "".join(f'"{name}":{{' for name in self._containers)
        self._opener += f'"{self._name}":['
        self._work = MAX_WORK
        self._ahead: dict[str, Any] = {}

    def result(self) -> tuple[dict[str, Any], list[str]]:
        text = self._text
        opening = re.search(rf'"{re.escape(self._name)}"\s*:\s*\[', text)
        if opening is None:
            raise MalformedResponse("the response is not JSON", printable(text))
        head = text[: opening.start()]
        self._ahead = self._before_list(head)
        records: list[Any] = []
        broken: list[str] = []
        at = _skip(text, opening.end())
        while (found := self._behind_list(at)) is None:
            record, end = self._record_at(at)
            if record is None:
                end = self._end_of_broken(at)
                broken.append(text[at:end].strip(_BLANKS))
            else:
                records.append(record)
            at = _skip(text, end)
        return self._filled(found, head, records), broken

    def _before_list(self, head: str) -> dict[str, Any]:
        """Return the members that describe the page, as far as they come before the list."""
        found = {}
        for name in self._dialect.metadata:
            at = re.search(rf'"{re.escape(name)}"\s*:\s*', head)
            with suppress(ValueError, RecursionError):
                if at:
                    found[name] = DECODER.raw_decode(head, at.end())[0]
        return found

    def _filled(self, found: dict[str, Any], head: str, records: list[Any]) -> dict[str, Any]:
        """Return the response, completed with the records and the members before the list."""
        holders = [found]
        for name in self._containers:
            holders.append(holders[-1][name])
        holder, around = holders[-1], head
        if self._containers:
            around = head.rpartition(f'"{self._containers[-1]}"')[2]
        del holder[self._name]
        pairs = [*_members(around), *doubled(holder), *holder.items(), (self._name, records)]
        filled = make_object(pairs)
        if not self._containers:
            return filled
        holders[-2][self._containers[-1]] = filled
        return found

    def _behind_list(self, at: int) -> dict[str, Any] | None:
        """Return the response without its records if their list ends at ``at``, else ``None``."""
        if not self._text.startswith("]", at):
            return None
        try:
            found = {**self._ahead, **DECODER.decode(self._opener + self._text[at:])}
        except (ValueError, RecursionError):
            return None
        for described in filter(None, (self._dialect.next_link, self._dialect.page_count)):
            *path, last = described.split("/")
            page = at_path(found, "/".join(path)) if path else found
            if not isinstance(page, dict) or last not in page:
                return None
        holder = at_path(found, "/".join(self._containers)) if self._containers else found
        return found if isinstance(holder, dict) else None

    def _record_at(self, at: int) -> tuple[Any, int]:
        """Return the record at ``at``, or ``None``, and the position up to which it was read."""
        try:
            record, end = DECODER.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            return None, error.pos
        except RecursionError:
            # The decoder has read at least one character for each level.
            return None, at + sys.getrecursionlimit()
        names = names_of(record) if isinstance(record, dict) else set()
        # A stray brace ends a record early. The rest of the record follows it.
        after = _AFTER if names >= self._names else _AFTER_PART
        known = not self._names.isdisjoint(names)
        return (record if known and after.match(self._text, end) else None), end

    def _end_of_broken(self, at: int) -> int:
        """Return the end of the broken record at ``at``.

        It ends before the next good record, or at the end of the list.

        Raises:
            MalformedResponse: The response is cut short.
        """
        text = self._text
        for found in _NEXT.finditer(text, at):
            record, read = self._record_at(found.end())
            if record is not None:
                return found.start()
            # A JSONDecodeError counts all earlier lines. This is fast, but adds up.
            self._work -= read - found.start() + read // 16
            if self._work < 0:
                break
        end, tail_work = len(text), MAX_WORK
        while tail_work > 0 and (end := text.rfind("]", at, end)) >= 0:
            if self._behind_list(end) is not None:
                return end
            tail_work -= len(text) - end + len(text) // 16
        raise MalformedResponse("the response is cut short", printable(text))


def _members(head: str) -> list[tuple[str, Any]]:
    """Return the members before a list whose values are texts or null."""
    members = []
    for name, value in _MEMBER.findall(head):
        with suppress(ValueError):
            members.append((name, DECODER.decode(value)))
    return members


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at
