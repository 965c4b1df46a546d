"""Build typed Arrow tables from columns of text.

A value that does not fit its column is not lost: it becomes a :class:`Reject` with the original
text. So does a record without its key.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.normalizers.naming.snake_case import NamingConvention

from textlift.codec.records import Decoded, Records, Reject, TextColumns
from textlift.codec.schema import RecordSchema
from textlift.declare import ColumnType, Endpoint
from textlift.dictionary import LOAD_ID, Table

#: Column with the number of the root row that a list entry belongs to; never loaded.
ROW = "_row"

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    ColumnType.BIGINT: pa.int64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.DECIMAL: pa.decimal128(38, 9),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.TEXT: pa.string(),
    ColumnType.TIMESTAMP: pa.timestamp("us", "UTC"),
}


def schema_of(table: Table) -> pa.Schema:
    """Return the Arrow schema of a table of the dictionary, without the column that dlt adds."""
    return pa.schema(
        [
            pa.field(name, ARROW_TYPES[column.type], nullable=name not in table.key)
            for name, column in table.columns.items()
            if name != LOAD_ID
        ]
    )


#: Reason to reject a record with too many undeclared columns.
TOO_WIDE = "more columns than a table can take"
#: Most characters of a table's name: PostgreSQL takes no more, and dlt names files after tables.
MAX_TABLE_NAME = 63
_NAMING = NamingConvention()
#: First and last time that Python and every warehouse can hold, in microseconds since 1970.
_FIRST_TIME, _LAST_TIME = -62135596800 * 10**6, 253402300800 * 10**6 - 1
#: A time that means NULL: the zero date, with or without a zero time and a zone.
_ZERO_TIME = r"^0000-00-00(?:[ T]00:00(?::00(?:\.0+)?)?)?\s*(?:Z|UTC|GMT|[+-]\d\d:?\d\d)?$"
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


@dataclass(frozen=True)
class Page:
    """A response as typed tables, or several pages joined.

    Attributes:
        rows: Number of records that the service put on the page, unreadable ones included.
        table: The records, in the declared types.
        children: Suffix of the child table → entries; the column ``_row`` is their record's number.
        rejects: Values and records that cannot be loaded as they should be.
        page_count: Number of pages, where the service states it.
        next_link: URL of the next page, where the service names it.
        shared: Column → value that the response gives once for all of its records.
        salvaged: Whether the response is malformed, so that records may not have been counted.
        pieced: Whether the page is made of several responses; rows may have moved between them.
        fingerprint: Equal for two responses with the same records.
        total: Number of records on all pages, where the service states it.
    """

    rows: int
    table: pa.Table
    children: dict[str, pa.Table]
    rejects: list[Reject]
    page_count: int | None = None
    next_link: str | None = None
    shared: Mapping[str, str | None] = field(default_factory=dict)
    salvaged: bool = False
    pieced: bool = False
    fingerprint: str = ""
    total: int | None = None

    @property
    def num_rows(self) -> int:
        """Number of rows in all tables."""
        return sum(table.num_rows for table in (self.table, *self.children.values()))


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
        fingerprint = _digest(repr([page.rows, *sorted(map(repr, rows)), *sorted(lost)]))
    else:
        fingerprint = _digest(f"{page.rows} {[key for part in parts for key in part.keys]}")
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
    room = MAX_TABLE_NAME - len(f"{endpoint.name}__")
    short: str = _NAMING.shorten_identifier(suffix, suffix, room)
    return short


def unreadable_page(endpoint: Endpoint, reason: str, payload: str) -> Page:
    """Return a page of one record that cannot be read."""
    rejects = [Reject(None, None, reason, payload)]
    return build_page(endpoint, Decoded([Records(_nothing(endpoint), str, 1, rejects)]))


def empty_page(endpoint: Endpoint) -> Page:
    """Return a page without records, with all known columns."""
    page = build_page(endpoint, Decoded([Records(_nothing(endpoint), str, 0)]))
    if endpoint.identity:
        keyed = add_row_keys(page.table, endpoint.key[0], endpoint.identity)
        return replace(page, table=keyed)
    return page


def _nothing(declared: Endpoint) -> TextColumns:
    return _no_rows(RecordSchema.of(declared))


def _no_rows(schema: RecordSchema) -> TextColumns:
    return TextColumns(schema, 0, {}, pa.array([], pa.int64()))


def row_key(values: Sequence[str | None]) -> str | None:
    """Return the key of a record as rejects hold it; ``None`` if all of its values are empty."""
    return "/".join(value or "" for value in values).strip("/") or None


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


def convert(texts: pa.Array, column_type: ColumnType) -> tuple[pa.Array, list[int]]:
    """Convert text to an Arrow array of ``column_type``.

    Returns:
        The array, with NULL where a value does not fit, and the positions of those values.
    """
    if column_type is ColumnType.TEXT:
        return texts, []
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _CASTS[column_type](texts), []
    array = pc.utf8_trim_whitespace(texts)
    array = pc.if_else(pc.equal(array, ""), None, array)
    unfit: list[int] = []
    return pa.concat_arrays(list(_cast(array, 0, column_type, unfit))), unfit


def _cast(
    array: pa.Array, at: int, column_type: ColumnType, unfit: list[int]
) -> Iterator[pa.Array]:
    """Yield an array cast in parts.

    If a cast fails, the halves are cast, down to single values. A value that does not fit becomes
    NULL, and its position is added to ``unfit``.
    """
    try:
        yield _CASTS[column_type](array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(array) == 1:
            unfit.append(at)
            yield pa.nulls(1, ARROW_TYPES[column_type])
            return
        half = len(array) // 2
        yield from _cast(array[:half], at, column_type, unfit)
        yield from _cast(array[half:], at + half, column_type, unfit)


def _cast_timestamp(array: pa.Array) -> pa.Array:
    with_zone = pc.replace_substring(array, " UTC", "Z")
    try:
        # Try the usual form first: regular expressions take longer than all other casts.
        times = _cast_timestamp_with_zone(with_zone)
    except pa.ArrowInvalid:
        times = _cast_any_timestamp(array)
    known = times.drop_null()
    if len(known) and not (
        pc.min(known).value >= _FIRST_TIME and pc.max(known).value <= _LAST_TIME
    ):
        raise pa.ArrowInvalid("not in a year from 1 to 9999")
    return times


def _cast_timestamp_with_zone(array: pa.Array) -> pa.Array:
    unknown = pc.starts_with(array, "0000-00-00")
    if pc.any(unknown).as_py():
        unknown = pc.match_substring_regex(array, _ZERO_TIME)
    return pc.if_else(unknown, None, array).cast(ARROW_TYPES[ColumnType.TIMESTAMP])


def _cast_any_timestamp(array: pa.Array) -> pa.Array:
    array = pc.replace_substring_regex(array, r"^(\d{4}-\d\d-\d\d)$", r"\1 00:00:00")
    array = pc.replace_substring_regex(array, r"\s*(UTC|GMT|Z)$", "")
    offset = pc.match_substring_regex(array, r"[+-]\d\d:?\d\d$")
    return _cast_timestamp_with_zone(
        pc.if_else(offset, array, pc.binary_join_element_wise(array, "Z", ""))
    )


def _cast_bigint(array: pa.Array) -> pa.Array:
    # Check the digits first: Arrow also casts hexadecimal ones.
    if not pc.all(pc.match_substring_regex(array, r"^-?\d+$")).as_py() and array.drop_null():
        raise pa.ArrowInvalid("not a whole number")
    return array.cast(pa.int64())


def _cast_boolean(array: pa.Array) -> pa.Array:
    texts = array.to_pylist()
    flags = [None if text is None else _FLAGS.get(text.lower()) for text in texts]
    if flags.count(None) != texts.count(None):
        raise pa.ArrowInvalid("not a flag")
    return pa.array(flags, pa.bool_())


def _cast_double(array: pa.Array) -> pa.Array:
    numbers = array.cast(pa.float64())
    if not pc.all(pc.is_finite(numbers)).as_py() and len(numbers) > numbers.null_count:
        raise pa.ArrowInvalid("not a finite number")
    return numbers


_CASTS: Mapping[ColumnType, Callable[[pa.Array], pa.Array]] = {
    ColumnType.BIGINT: _cast_bigint,
    ColumnType.BOOLEAN: _cast_boolean,
    ColumnType.DECIMAL: lambda array: array.cast(ARROW_TYPES[ColumnType.DECIMAL]),
    ColumnType.DOUBLE: _cast_double,
    ColumnType.TIMESTAMP: _cast_timestamp,
}


def filter_page(page: Page, keep: list[bool]) -> Page:
    """Return the page with the records for which ``keep`` is true, and their list entries."""
    mask = pa.array(keep, pa.bool_())
    moved = pc.subtract(pc.cumulative_sum(mask.cast(pa.int64())), 1)
    children = {}
    for suffix, entries in page.children.items():
        rows = entries[ROW]
        kept = entries.filter(mask.take(rows))
        children[suffix] = kept.set_column(
            kept.schema.get_field_index(ROW), ROW, moved.take(kept[ROW])
        )
    numbers = moved.to_pylist()
    rejects = [
        replace(reject, row=numbers[reject.row] if keep[reject.row] else None)
        if reject.row is not None
        else reject
        for reject in page.rejects
    ]
    return replace(page, table=page.table.filter(mask), children=children, rejects=rejects)


def without_repeats(pages: Iterable[Page]) -> Iterator[Page]:
    """Yield the pages of a list without unreadable records that an earlier page also has."""
    met: set[Reject] = set()
    for page in pages:
        lost = [one for one in page.rejects if one.row is None]
        if met.intersection(lost):
            rejects = [one for one in page.rejects if one.row is not None or one not in met]
            page = replace(page, rejects=rejects)
        met.update(lost)
        yield page


def clip_page(page: Page, first: int, count: int | None = None) -> Page:
    """Return up to ``count`` records of the page from ``first`` on, and all unreadable ones."""
    rows = page.table.num_rows
    end = rows if count is None else first + count
    if first == 0 and end >= rows:
        return page
    clipped = filter_page(page, [first <= n < end for n in range(rows)])
    return replace(clipped, rows=page.rows - rows + clipped.table.num_rows)


def row_digests(table: pa.Table) -> tuple[int, ...]:
    """Return hashes of the rows, comparable within one process only."""
    return tuple(hash(row) for row in zip(*(column.to_pylist() for column in table.columns)))


def concat_pages(pages: Sequence[Page], copy: bool = True) -> Page:
    """Return the records of all pages as one page, in their order.

    Args:
        pages: One or more.
        copy: Whether to copy each column into one chunk. This makes later work faster, but takes
            twice the memory during the copy.
    """
    if len(pages) == 1:
        return pages[0]
    children: dict[str, list[pa.Table]] = {}
    rejects: list[Reject] = []
    offset = 0
    for page in pages:
        for reject in page.rejects:
            moved = None if reject.row is None else reject.row + offset
            rejects.append(replace(reject, row=moved))
        for suffix, entries in page.children.items():
            numbers = pc.add(entries[ROW], offset)
            index = entries.schema.get_field_index(ROW)
            children.setdefault(suffix, []).append(entries.set_column(index, ROW, numbers))
        offset += page.table.num_rows
    return Page(
        sum(page.rows for page in pages),
        _concat([page.table for page in pages], copy),
        {suffix: _concat(tables, copy) for suffix, tables in children.items()},
        rejects,
        shared=pages[-1].shared,
    )


def split_page(page: Page, most: int) -> Iterator[Page]:
    """Yield the records of a page in pages of about ``most`` rows, list entries included."""
    count = page.table.num_rows
    numbers = {suffix: entries[ROW].to_numpy() for suffix, entries in page.children.items()}
    if page.num_rows <= most or count < 2:
        yield page
        return
    entries = sum(np.bincount(each, minlength=count) for each in numbers.values())
    piece = (np.cumsum(1 + entries) - 1) // most
    ends = [*(np.flatnonzero(np.diff(piece)) + 1).tolist(), count]
    for start, end in zip([0, *ends], ends):
        children = {}
        for suffix, each in numbers.items():
            first, last = np.searchsorted(each, [start, end])
            part = page.children[suffix].slice(first, last - first)
            index = part.schema.get_field_index(ROW)
            children[suffix] = part.set_column(index, ROW, pc.subtract(part[ROW], start))
        yield replace(
            page,
            rows=end - start,
            table=page.table.slice(start, end - start),
            children=children,
            rejects=[],
        )


def join_pieces(endpoint: Endpoint, pieces: Sequence[Page], page_count: int | None) -> Page:
    """Return one page of an endpoint, made of smaller pages that together hold its records."""
    page = concat_pages(pieces)
    known = page.table.select([*(endpoint.identity or endpoint.record_key)]).to_pylist()
    return replace(
        page,
        page_count=page_count,
        pieced=True,
        salvaged=any(piece.salvaged for piece in pieces),
        shared=next((piece.shared for piece in pieces if piece.shared), {}),
        fingerprint=_digest(f"{page.rows} {known}"),
    )


def _concat(tables: Sequence[pa.Table], copy: bool) -> pa.Table:
    table = pa.concat_tables(tables, promote_options="default")
    return table.combine_chunks() if copy else table


def constant(table: pa.Table, column: str, value: int | str | None) -> pa.Table:
    """Return the table with ``column`` set to ``value`` in every row."""
    column_type = pa.int64() if isinstance(value, int) else pa.string()
    return with_column(table, column, pa.repeat(pa.scalar(value, column_type), table.num_rows))


def with_column(table: pa.Table, column: str, values: Any) -> pa.Table:
    """Return the table with ``column`` set to ``values``; a new column goes to the front.

    If the service sent other values under that name, they are kept as ``<column>_sent``.
    """
    if column not in table.column_names:
        return table.add_column(0, column, values)
    at, sent = table.schema.get_field_index(column), table[column]
    differs = pc.not_equal(sent.cast(pa.string()), values.cast(pa.string()))
    differs = pc.and_(pc.is_valid(sent), pc.fill_null(differs, True))
    if pc.any(differs).as_py():
        beside = f"{column}_sent"
        while beside in table.column_names:
            beside += "_sent"
        table = table.append_column(beside, sent)
    return table.set_column(at, column, values)


def times(table: pa.Table, column: str) -> list[datetime]:
    """Return the values of a column of times, without NULL."""
    return [time for time in table[column].to_pylist() if time is not None]


def latest(table: pa.Table, column: str) -> datetime | None:
    """Return the latest time in a column; ``None`` if there is none."""
    time: datetime | None = pc.max(table[column]).as_py()
    return time


def key_values(table: pa.Table, key: Sequence[str]) -> list[Any]:
    """Return the key of each row: a value, or a tuple of values for several columns."""
    columns = [table[name].to_pylist() for name in key]
    return columns[0] if len(columns) == 1 else list(zip(*columns))


def lost_records(page: Page, endpoint: Endpoint) -> bool:
    """Return whether a page has unreadable records that are not known to be in its table."""
    lost = [one.row_key for one in page.rejects if one.row is None and one.column is None]
    if not lost:
        return False
    names = [name for name in endpoint.record_key if name in page.table.column_names]
    rows = zip(*(page.table[name].to_pylist() for name in names))
    return not set(lost) <= {row_key([str(value) for value in row]) for row in rows}


def add_row_keys(
    table: pa.Table,
    key: str,
    identity: Sequence[str],
    undated: Mapping[int, str] | None = None,
    counts: Counter[str] | None = None,
) -> pa.Table:
    """Return the table with a computed ``key``, for rows that have no id.

    The key is a digest of the columns that never change and of an ordinal. The ordinal numbers the
    rows that are equal in all of these columns. It follows the other columns and not the order of
    the response, so the same set of rows gets the same set of keys with any paging.

    Args:
        table: The rows.
        key: Name of the column for the key.
        identity: The columns that never change.
        undated: Row → text in place of its time that is not a time. It also distinguishes rows.
        counts: Number of undated rows in earlier tables, for each identity. An undated row is in no
            window, so ordinals continue from one table to the next.
    """
    undated = undated or {}
    others = sorted(set(table.column_names) - set(identity))
    rows = table.select(list(identity)).to_pylist()
    groups: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        values = [_plain(row[name]) for name in identity]
        values += [undated[n]] if n in undated else []
        groups.setdefault(json.dumps(values, ensure_ascii=False), []).append(n)
    keys = [""] * table.num_rows
    for fixed, members in groups.items():
        if len(members) > 1:
            rest = table.select(others).take(pa.array(members)).to_pylist()
            order = sorted(range(len(members)), key=lambda n: repr(list(rest[n].values())))
            members = [members[n] for n in order]
        first = 0
        if counts is not None and members[0] in undated:
            first = counts[fixed]
            counts[fixed] += len(members)
        for ordinal, n in enumerate(members, first):
            keys[n] = _digest(f"{ordinal}:{fixed}")
    return with_column(table, key, pa.array(keys, pa.string()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
