"""The result of a codec: records as columns of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from textlift.codec.schema import UNDECLARED, Field, PageFields, RecordSchema


@dataclass(frozen=True)
class Reject:
    """A value or a record that cannot be loaded as declared.

    Attributes:
        row: Number of the record in the table of the page, if it is in the table.
        row_key: Key of the record, as far as it can be read.
        column: Column of the value. ``None`` for a whole record.
        reason: The reason, as text for people.
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
    """The rows of one table, as columns of text.

    Attributes:
        schema: The schema of the table.
        count: Number of rows.
        columns: Column → its values. Declared columns can be missing.
        parents: For each row of a list, the number of its parent row.
        lists: Suffix of a child table → its rows.
        misfits: Row, column, reason and text of each value that cannot be loaded.
    """

    schema: RecordSchema
    count: int
    columns: Mapping[str, pa.Array]
    parents: pa.Array
    lists: Mapping[str, TextColumns] = field(default_factory=dict)
    misfits: Sequence[tuple[int, str, str, str]] = ()

    def column(self, name: str) -> pa.Array:
        """Return the values of a column. All are NULL if the column is missing."""
        found = self.columns.get(name)
        return pa.nulls(self.count, pa.string()) if found is None else found


class Rows:
    """A builder for the rows of one table. Columns can be shorter than the number of rows.

    Args:
        schema: The schema of the table.
        fields: The fields of the page. All tables of a page share them.
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
        """Set ``column`` of the current row. An empty value only creates the column."""
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
        """Record that a value of the current row cannot be loaded."""
        self.misfits.append((self.count, column, reason, payload))

    def entry(self, field: Field) -> Rows:
        """Return the rows of the list at ``field``, after adding an entry of the current row."""
        rows = self.lists.get(field.suffix)
        if rows is None:
            schema = self.schema.lists.get(field.suffix, UNDECLARED)
            rows = self.lists[field.suffix] = Rows(schema, self.fields)
        rows.parents.append(self.count)
        return rows

    def end_row(self) -> None:
        """Move to the next row."""
        self.count += 1

    def texts(self) -> TextColumns:
        """Return the rows as columns of equal length."""
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
        original: Return the original text of a record, by its number.
        count: Number of records in the response, including unreadable ones.
        rejects: The values and records that cannot be read.
        too_wide: Numbers of the records that exceed the limit of undeclared fields on a page.
    """

    rows: TextColumns
    original: Callable[[int], str]
    count: int
    rejects: Sequence[Reject] = ()
    too_wide: Sequence[int] = ()


@dataclass(frozen=True)
class Decoded:
    """A decoded response.

    Attributes:
        parts: The records, in order. A large response has several parts.
        page_count: Number of pages, if the service states it.
        total: Number of records on all pages, if the service states it.
        next_link: URL of the next page, if the service names it.
        shared: Column → value from the response envelope, constant for all records.
        salvaged: Whether the response is malformed. If so, the count of records can be too low.
    """

    parts: Sequence[Records]
    page_count: int | None = None
    total: int | None = None
    next_link: str | None = None
    shared: Mapping[str, str | None] = field(default_factory=dict)
    salvaged: bool = False


class Codec(Protocol):
    """A decoder for the responses of one endpoint. It is immutable, so threads can share it."""

    def decode(self, body: bytes) -> Decoded:
        """Decode a successful response.

        Raises:
            MalformedResponse: The response cannot be salvaged without losing a record, or lacks an
                element that the endpoint declares.
        """
