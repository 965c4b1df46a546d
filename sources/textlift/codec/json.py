"""Decode JSON responses to text columns.

Objects become columns named by their path. Lists become child tables. A
:class:`~textlift.codec.dialects.JsonDialect` describes the service. A malformed response is
salvaged record by record, see :mod:`textlift.codec.json_salvage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from textlift.codec.dialects import JsonDialect
from textlift.codec.json_salvage import salvage
from textlift.codec.json_tree import (
    UNFIT,
    as_json,
    as_text,
    bare,
    body_text,
    doubled,
    doubled_below,
    locate,
    names_of,
    parse,
    printable,
    record_names,
)
from textlift.codec.records import Decoded, Records, Reject, Rows
from textlift.codec.schema import Field, RecordSchema, column_name
from textlift.declare import Endpoint
from textlift.http.client import parse_number

#: Objects and lists down to this depth become columns and tables. Deeper values stay JSON.
MAX_DEPTH = 8

_NO_TEXT = "characters that no warehouse stores"
_DOUBLED = "a later value has the same key"


class JsonCodec:
    """A decoder for the JSON responses of one endpoint. It is immutable, so threads can share it.

    Args:
        endpoint: The endpoint.
        dialect: The layout of the responses of its service.
    """

    def __init__(self, endpoint: Endpoint, dialect: JsonDialect) -> None:
        self._endpoint = endpoint
        self._dialect = dialect
        self._schema = RecordSchema.of(endpoint)
        self._names = record_names(endpoint, dialect)
        *self._containers, _ = endpoint.rows.split("/")

    def decode(self, body: bytes) -> Decoded:
        """Decode a successful response.

        A malformed response is salvaged: good records are decoded, and each bad record becomes a
        reject with its whole text.

        Raises:
            MalformedResponse: The response cannot be salvaged without losing a record, or lacks the
                list that the endpoint declares.
        """
        text = body_text(body)
        found, broken = parse(text), list[str]()
        if found is None:
            found, broken = salvage(text, self._endpoint, self._dialect)
        document = locate(found, self._endpoint, self._dialect)
        rejects = [Reject(None, None, "not well-formed JSON", printable(each)) for each in broken]
        part = self.records((bare(each, self._dialect) for each in document.records), rejects)
        shared, unfit = self._shared(document.shared)
        doubled_shared = [
            Reject(None, self._shared_column(name), _DOUBLED, printable(as_text(value) or ""))
            for name, value in document.doubled
        ]
        return Decoded(
            [replace(part, rejects=[*part.rejects, *unfit, *doubled_shared])],
            parse_number(document.page_count),
            parse_number(document.total),
            document.next_link,
            shared,
            salvaged=bool(broken),
        )

    def records(self, values: Iterable[Any], lost: Sequence[Reject] = ()) -> Records:
        """Return records as columns of text, from JSON values with numbers as text.

        Args:
            values: The records.
            lost: Rejects of further records, which could not be read.
        """
        rejects, rows, too_wide = [*lost], Rows(self._schema), []
        records: list[Any] = []
        for record in values:
            if not isinstance(record, dict):
                rejects.append(Reject(None, None, "not a record", as_json(record)))
                continue
            self._walk(record, self._schema.root, rows, 1)
            if rows.fields.exceeded:
                rows.fields.exceeded = False
                too_wide.append(rows.count)
            rows.end_row()
            records.append(record)
        return Records(
            rows.texts(),
            lambda n: printable(as_json(records[n])),
            len(records) + len(rejects),
            rejects,
            too_wide,
        )

    def _shared(self, values: Mapping[str, Any]) -> tuple[dict[str, str | None], Sequence[Reject]]:
        shared: dict[str, str | None] = {}
        rejects = []
        for name, value in values.items():
            column, text = self._shared_column(name), as_text(value)
            fits = text is None or not UNFIT.search(text)
            if not fits:
                rejects.append(Reject(None, column, _NO_TEXT, printable(text or "")))
            shared[column] = (text or None) if fits else None
        return shared, rejects

    def _shared_column(self, name: str) -> str:
        # An undeclared member is named by its path, because records can have the same key.
        path = () if name in self._dialect.shared else self._containers
        return "__".join(map(column_name, [*path, name]))

    def _walk(self, record: Mapping[str, Any], field: Field, rows: Rows, depth: int) -> None:
        find = rows.fields.find
        for name, value in doubled(record):
            rows.misfit(find(field, name).column, _DOUBLED, printable(as_text(value) or ""))
        for name, found in record.items():
            inner, value = find(field, name), bare(found, self._dialect)
            if inner.skip and not inner.fields:
                continue
            if value in (None, "") and (inner.fields or inner.list):
                # An object or a list that is not there is no text.
                continue
            items = value if isinstance(value, list) else [value]
            if any(map(self._is_record, items)):
                rows.misfit(inner.column, "a record inside of another", printable(as_json(value)))
            elif isinstance(value, dict) and depth < MAX_DEPTH:
                self._walk(value, inner, rows, depth + 1)
            elif isinstance(value, list) and depth < MAX_DEPTH:
                for item in (bare(each, self._dialect) for each in value):
                    entries = rows.entry(inner)
                    schema = entries.schema
                    entry = item if isinstance(item, dict) else {schema.text or "value": item}
                    self._walk(entry, schema.root, entries, depth + 1)
                    entries.end_row()
            elif not inner.skip:
                _put(value, inner.column, rows)

    def _is_record(self, value: Any) -> bool:
        return isinstance(value, dict) and names_of(value) >= self._names


def _put(value: Any, column: str, rows: Rows) -> None:
    text = as_text(value)
    for earlier in doubled_below(value):
        rows.misfit(column, _DOUBLED, printable(as_text(earlier) or ""))
    if text and UNFIT.search(text):
        rows.put(column, None)
        rows.misfit(column, _NO_TEXT, printable(text))
    else:
        rows.put(column, text)
