"""Records as text, column by column: what a codec returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from textlift.codec.schema import UNDECLARED, Field, PageFields, RecordSchema


@dataclass(frozen=True)
class Reject:
    """A value or a record that cannot be loaded as it should be.

    Attributes:
        row: Number of the record in the page's table, if it is there.
        row_key: Key of the record, as far as it could be read.
        column: Column of the value; ``None`` for the whole record.
        reason: Why, for a person.
        payload: The original text.
        table: Suffix of the child table, if the value belongs to an entry of a list.
    """

    row_key: str | None
    column: str | None
    reason: str
    payload: str
    table: str | None = None
    row: int | None = None


@dataclass(frozen=True)
class TextColumns:
    """The rows of one table as text, column by column.

    Attributes:
        schema: The declaration of the table.
        count: How many rows there are.
        columns: Column → its values; declared columns can be missing.
        parents: For each row of a list, the number of the row that it belongs to.
        lists: Suffix of a child table → its rows.
        misfits: Row, column, reason and text of values that cannot be loaded.
    """

    schema: RecordSchema
    count: int
    columns: Mapping[str, pa.Array]
    parents: pa.Array
    lists: Mapping[str, TextColumns] = field(default_factory=dict)
    misfits: Sequence[tuple[int, str, str, str]] = ()

    def column(self, name: str) -> pa.Array:
        """The values of a column, NULL if no row has any."""
        found = self.columns.get(name)
        return pa.nulls(self.count, pa.string()) if found is None else found


class Rows:
    """The rows of one table while a page is decoded: columns of text, ragged at the end.

    Args:
        schema: The declaration of the table.
        fields: The fields of the page; all tables of a page share them.
    """

    def __init__(self, schema: RecordSchema, fields: PageFields | None = None) -> None:
        self.schema = schema
        self.fields = fields or PageFields()
        self.count = 0
        self.columns: dict[str, list[str | None]] = {}
        self.parents: list[int] = []
        self.lists: dict[str, Rows] = {}
        self.misfits: list[tuple[int, str, str, str]] = []

    def put(self, column: str, value: str | None) -> None:
        """Set ``column`` of the current row; an empty value only makes the column exist."""
        values = self.columns.get(column)
        if values is None:
            values = self.columns[column] = []
        if not value:
            return
        gap = self.count - len(values)
        if gap > 0:
            values.extend([None] * gap)
        if gap >= 0:
            values.append(value)
        elif values[-1] is None:
            values[-1] = value
        elif values[-1] != value:
            self.misfit(column, "a second value for the same column", value)

    def misfit(self, column: str, reason: str, payload: str) -> None:
        """Note that a value of the current row cannot be loaded."""
        self.misfits.append((self.count, column, reason, payload))

    def entry(self, field: Field) -> Rows:
        """The rows of the list at ``field``, ready for one more entry of the current row."""
        rows = self.lists.get(field.suffix)
        if rows is None:
            schema = self.schema.lists.get(field.suffix, UNDECLARED)
            rows = self.lists[field.suffix] = Rows(schema, self.fields)
        rows.parents.append(self.count)
        return rows

    def end_row(self) -> None:
        """Go on to the next row."""
        self.count += 1

    def texts(self) -> TextColumns:
        """What was walked, column by column."""
        return TextColumns(
            self.schema,
            self.count,
            {name: self._filled(values) for name, values in self.columns.items()},
            pa.array(self.parents, pa.int64()),
            {suffix: rows.texts() for suffix, rows in self.lists.items()},
            self.misfits,
        )

    def _filled(self, values: list[str | None]) -> pa.Array:
        return pa.array(values + [None] * (self.count - len(values)), pa.string())


@dataclass(frozen=True)
class Records:
    """The records of a response, or of one part of a large response.

    Attributes:
        rows: The records, as text.
        original: Gives the text of a record in the response, by its number.
        count: Records that the service put there, unreadable ones included.
        rejects: What could not be read.
        too_wide: Numbers of the records with more undeclared fields than a page may bring.
    """

    rows: TextColumns
    original: Callable[[int], str]
    count: int
    rejects: Sequence[Reject] = ()
    too_wide: Sequence[int] = ()


@dataclass(frozen=True)
class Decoded:
    """What a response holds.

    Attributes:
        parts: The records, in their order; a large response has several parts.
        page_count: Number of pages, where the service states it.
        total: Number of records on all pages, where the service states it.
        next_link: URL of the next page, where the service names it.
        shared: Column → value that the response gives once for all of its records.
        salvaged: Whether the response is malformed, so that records may not have been counted.
    """

    parts: Sequence[Records]
    page_count: int | None = None
    total: int | None = None
    next_link: str | None = None
    shared: Mapping[str, str | None] = field(default_factory=dict)
    salvaged: bool = False


class Codec(Protocol):
    """Decodes the responses of one endpoint. It is immutable, so threads can share one."""

    def decode(self, body: bytes) -> Decoded:
        """Decode a successful response.

        Raises:
            MalformedResponse: The response cannot be taken apart without losing a record, or lacks
                what the endpoint declares.
        """
