"""Build typed pages from columns of text.

A value that does not fit its column is not lost: it becomes a :class:`Reject` with the original
text. So does a record without its key.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from dlt.common.normalizers.naming.snake_case import NamingConvention

from textlift.arrow.pages import (
    ROW,
    Page,
    add_row_keys,
    concat_pages,
    digest,
    filter_page,
    key_values,
    row_key,
    with_column,
)
from textlift.arrow.types import convert
from textlift.codec.records import Decoded, Records, Reject, TextColumns
from textlift.codec.schema import RecordSchema
from textlift.declare import ColumnType, Endpoint

#: Reason to reject a record with too many undeclared columns.
TOO_WIDE = "more columns than a table can take"
#: Most characters of a table's name: PostgreSQL takes no more, and dlt names files after tables.
MAX_TABLE_NAME = 63
_NAMING = NamingConvention()


def build_page(endpoint: Endpoint, decoded: Decoded) -> Page:
    """Return the typed Arrow tables of a decoded response, and its rejects."""
    parts = [_Part(endpoint, records) for records in decoded.parts]
    page = concat_pages([part.page for part in parts], copy=False)
    numbers = [(part, row) for part in parts for row in part.kept]
    if endpoint.record_key and not endpoint.repeats:
        page = _without_doubled(page, endpoint.record_key, numbers)
    if endpoint.identity:
        # Leave out the order of rows, which changes within a second, and values that change later.
        rows = zip(*(page.table[name].to_pylist() for name in endpoint.identity))
        lost = (one.payload for one in page.rejects if one.row is None)
        fingerprint = digest(repr([page.rows, *sorted(map(repr, rows)), *sorted(lost)]))
    else:
        fingerprint = digest(f"{page.rows} {[key for part in parts for key in part.keys]}")
    return replace(
        page,
        page_count=decoded.page_count,
        total=decoded.total,
        next_link=decoded.next_link,
        shared=decoded.shared,
        salvaged=decoded.salvaged,
        fingerprint=fingerprint,
    )


class _Part:
    """A part of a response as a page.

    Attributes:
        page: Its records that can be loaded.
        keys: Keys of all of its records, as text; empty for records without a key.
        kept: Numbers of the records that can be loaded.
        original: Returns the text of a record by its number.
    """

    def __init__(self, endpoint: Endpoint, records: Records) -> None:
        rows, found = records.rows, list(records.rejects)
        self.original = records.original
        table, bad = _build(rows, rows.schema.columns, {})
        key_texts = [rows.column(key).to_pylist() for key in endpoint.record_key]
        self.keys = key_texts[0] if len(key_texts) == 1 else [*map(row_key, zip(*key_texts))]
        lost: dict[int, str] = {}
        for key in endpoint.record_key:
            keyless = np.flatnonzero(table[key].is_null()).tolist()
            lost.update(dict.fromkeys(keyless, "the record has no usable key"))
        for row in records.too_wide:
            lost.setdefault(row, TOO_WIDE)
        for row, reason in sorted(lost.items()):
            found.append(Reject(self.key(row), None, reason, self.original(row)))
        for row, column, reason, payload in bad:
            if row not in lost:
                found.append(Reject(self.key(row), column, reason, payload, row=row))
        lists: dict[str, pa.Table] = {}
        _build_lists(rows, None, "", lists, self.keys, lost, found)
        children = {_list_name(endpoint, suffix): entries for suffix, entries in lists.items()}
        page = Page(records.count, table, children, found)
        self.kept = [n for n in range(rows.count) if n not in lost]
        if lost:
            page = filter_page(page, [n not in lost for n in range(rows.count)])
        self.page = page

    def key(self, row: int) -> str | None:
        """Return the key of a record."""
        return self.keys[row] if self.keys else None


def _without_doubled(page: Page, key: Sequence[str], origins: Sequence[tuple[_Part, int]]) -> Page:
    """Return the page; a record becomes a reject if a different one with the same key follows.

    Args:
        page: The records.
        key: Their key columns.
        origins: For each record, its part and its number in the part.
    """
    keys = key_values(page.table, key)
    if len(set(keys)) == len(keys):
        return page
    last: dict[Any, int] = {}
    lost: dict[int, Reject] = {}
    for row, value in enumerate(keys):
        if value in last:
            (before, number), (part, later) = origins[last[value]], origins[row]
            text = before.original(number)
            if text != part.original(later):
                reason = "another record has the same key"
                lost[last[value]] = Reject(before.key(number), None, reason, text)
        last[value] = row
    kept = [one for one in page.rejects if one.row not in lost]
    page = filter_page(replace(page, rejects=kept), [n not in lost for n in range(len(keys))])
    return replace(page, rejects=[*page.rejects, *lost.values()])


def _list_name(endpoint: Endpoint, suffix: str) -> str:
    """Return the suffix, shortened with a digest if the name of the table is too long."""
    room = MAX_TABLE_NAME - len(endpoint.list_table(suffix)) + len(suffix)
    short: str = _NAMING.shorten_identifier(suffix, suffix, room)
    return short


def unreadable_page(endpoint: Endpoint, reason: str, payload: str) -> Page:
    """Return a page of one record that cannot be read."""
    rejects = [Reject(None, None, reason, payload)]
    return build_page(endpoint, Decoded([Records(_nothing(endpoint), str, 1, rejects)]))


@cache
def empty_page(endpoint: Endpoint) -> Page:
    """Return a page without records, with all known columns. Each resource needs it several times."""
    page = build_page(endpoint, Decoded([Records(_nothing(endpoint), str, 0)]))
    if endpoint.identity:
        keyed = add_row_keys(page.table, endpoint.key[0], endpoint.identity)
        return replace(page, table=keyed)
    return page


def _nothing(declared: Endpoint) -> TextColumns:
    return _no_rows(RecordSchema.of(declared))


def _no_rows(schema: RecordSchema) -> TextColumns:
    return TextColumns(schema, 0, {}, pa.array([], pa.int64()))


def _build_lists(
    rows: TextColumns,
    roots: pa.Array | None,
    prefix: str,
    children: dict[str, pa.Table],
    keys: Sequence[str | None],
    lost: Container[int],
    found: list[Reject],
) -> None:
    for suffix in {**rows.schema.lists, **rows.lists}:
        entries = rows.lists.get(suffix) or _no_rows(rows.schema.lists[suffix])
        name = prefix + suffix
        entry_roots = entries.parents if roots is None else roots.take(entries.parents)
        table, bad = _build(entries, entries.schema.columns, {ROW: entry_roots})
        for row, column, reason, payload in bad:
            root = entry_roots[row].as_py()
            if root not in lost:
                key = keys[root] if keys else None
                found.append(Reject(key, column, reason, payload, name, row=root))
        for column, foreign_key in reversed([*rows.schema.foreign_keys.items()]):
            values, _ = convert(rows.column(column), rows.schema.columns[column])
            table = with_column(table, foreign_key, values.take(entries.parents))
        children[name] = table
        _build_lists(entries, entry_roots, f"{name}__", children, keys, lost, found)


def _build(
    rows: TextColumns, types: Mapping[str, ColumnType], arrays: dict[str, pa.Array]
) -> tuple[pa.Table, list[tuple[int, str, str, str]]]:
    bad = list(rows.misfits)
    columns = list({**types, **rows.columns})
    alike: dict[ColumnType, list[str]] = {}
    for column in columns:
        alike.setdefault(types.get(column, ColumnType.TEXT), []).append(column)
    found: dict[str, pa.Array] = {}
    for column_type, names in alike.items():
        if column_type is ColumnType.TEXT:
            found.update((name, rows.column(name)) for name in names)
            continue
        # Convert all columns of a type at once: a call costs more than the values of one column.
        texts = pa.concat_arrays([rows.column(name) for name in names])
        values, unfit = convert(texts, column_type)
        for n, name in enumerate(names):
            found[name] = values.slice(n * rows.count, rows.count)
        reason = f"not a value of type {column_type.value}"
        for at in unfit:
            bad.append((at % rows.count, names[at // rows.count], reason, texts[at].as_py()))
    return pa.table({**arrays, **{column: found[column] for column in columns}}), bad
