"""Pages: the records of a response as typed tables, and what is done with them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textlift.arrow.keys import is_last_of_its_key, packed_keys
from textlift.codec.records import Reject
from textlift.declare import Endpoint
from textlift.windows import SECOND

#: Column with the number of the root row that a list entry belongs to; never loaded.
ROW = "_row"
#: Prefix of columns that replace protected ones in the computation of a key; never loaded.
IDENTITY = "_identity__"
#: Column that marks records that are counted, and not loaded.
SKIPPED = "_skipped"


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


def row_key(values: Sequence[str | None]) -> str | None:
    """Return the key of a record as rejects hold it; ``None`` if all of its values are empty."""
    return "/".join(value or "" for value in values).strip("/") or None


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


def without_skipped(page: Page) -> Page:
    """Return the page without the records that ``SKIPPED`` marks, and without that column."""
    if SKIPPED not in page.table.column_names:
        return page
    keep = pc.invert(page.table[SKIPPED].fill_null(False)).to_pylist()
    return filter_page(replace(page, table=page.table.drop_columns([SKIPPED])), keep)


def last_of_each_key(page: Page, key: Sequence[str]) -> Page:
    """Return the page without records that a later one with the same key replaces."""
    keep = is_last_of_its_key(packed_keys(page.table, key)).tolist()
    rejects = [one for one in page.rejects if one.row is None or keep[one.row]]
    return filter_page(replace(page, rejects=rejects), keep)


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
        total=pieces[-1].total,
        pieced=True,
        salvaged=any(piece.salvaged for piece in pieces),
        shared=next((piece.shared for piece in pieces if piece.shared), {}),
        fingerprint=digest(f"{page.rows} {known}"),
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


def microseconds(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """Return the values of a column of times, since 1970, without NULL."""
    values: npt.NDArray[np.int64] = table[column].drop_null().cast(pa.int64()).to_numpy()
    return values


def latest(table: pa.Table, column: str) -> datetime | None:
    """Return the latest time in a column; ``None`` if there is none."""
    time: datetime | None = pc.max(table[column]).as_py()
    return time


def is_between(
    table: pa.Table, column: str, first: datetime | None, last: datetime | None
) -> list[bool]:
    """Return for each row whether its time lies between two seconds, or is missing."""
    wanted = pa.repeat(pa.scalar(True), table.num_rows)
    times = table[column]
    if first:
        wanted = pc.and_(wanted, pc.greater_equal(times, pa.scalar(first, times.type)))
    if last:
        wanted = pc.and_(wanted, pc.less(times, pa.scalar(last + SECOND, times.type)))
    found: list[bool] = pc.fill_null(wanted, True).to_pylist()
    return found


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
        identity: The columns that never change. A column named ``IDENTITY`` and the name of one
            replaces it, and is removed from the table.
        undated: Row → text in place of its time that is not a time. It also distinguishes rows.
        counts: Number of undated rows in earlier tables, for each identity. An undated row is in no
            window, so ordinals continue from one table to the next.
    """
    undated = undated or {}
    replaced = {IDENTITY + name for name in identity}.intersection(table.column_names)
    names = [IDENTITY + name if IDENTITY + name in replaced else name for name in identity]
    others = sorted(set(table.column_names) - {*identity, *names})
    rows = table.select(names).to_pylist()
    groups: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        values = [_plain(row[name]) for name in names]
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
            keys[n] = digest(f"{ordinal}:{fixed}")
    return with_column(table.drop_columns([*replaced]), key, pa.array(keys, pa.string()))


def digest(text: str) -> str:
    """Return 32 hexadecimal digits that are equal for equal texts only."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
