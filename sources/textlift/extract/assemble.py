"""The pages of a slice to its rows: each row once, with its key and the columns of its partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from textlift.arrow.keys import is_last_of_its_key
from textlift.arrow.pages import (
    Page,
    add_row_keys,
    concat_pages,
    constant,
    filter_page,
    without_repeats,
)
from textlift.declare import Endpoint
from textlift.extract.slices import Slice

#: Rows that are handed out at a time.
PIECE_ROWS = 20_000


def assemble(
    endpoint: Endpoint,
    slice_: Slice,
    pages: Iterable[Page],
    keys: Sequence[np.ndarray],
    repeating: bool,
    undated: Counter[str],
) -> Iterator[Page]:
    """Yield the rows of a slice, in pieces of about ``PIECE_ROWS``; at least one piece.

    Args:
        endpoint: The endpoint.
        slice_: The slice.
        pages: Its pages in their order, at least one.
        keys: For each page the keys of its rows; empty if each row of each page is wanted.
        repeating: Whether a record can be on two pages.
        undated: For :func:`.add_row_keys`; goes from slice to slice of an endpoint.
    """
    columns = (_with_columns(page, slice_) for page in pages)
    rows = without_repeats(columns) if repeating else columns
    if endpoint.identity:
        # A row is numbered among all that are equal to it, so all are needed at once.
        yield _with_row_keys(endpoint, concat_pages(list(rows)), undated)
        return
    wanted = is_last_of_its_key(np.concatenate(keys)) if keys else None
    yield from _pieces(rows, wanted)


def _with_columns(page: Page, slice_: Slice) -> Page:
    """The page with the columns that have one value in all of its rows."""
    table = page.table
    for column, value in reversed(list({**slice_.partition.values, **page.shared}.items())):
        table = constant(table, column, value)
    return replace(page, table=table)


def _with_row_keys(endpoint: Endpoint, page: Page, undated: Counter[str]) -> Page:
    cursor = endpoint.incremental.cursor if endpoint.incremental else None
    times = {
        reject.row: reject.payload
        for reject in page.rejects
        if reject.row is not None and reject.column == cursor and not reject.table
    }
    return replace(
        page,
        table=add_row_keys(page.table, endpoint.key[0], endpoint.identity, times, undated),
    )


def _pieces(pages: Iterable[Page], wanted: np.ndarray | None) -> Iterator[Page]:
    """Yield the wanted rows of some pages and their rejects, so many at a time."""
    waiting: list[Page] = []
    rows = at = 0
    for page in pages:
        if waiting and rows + page.table.num_rows > PIECE_ROWS:
            yield concat_pages(waiting)
            waiting, rows = [], 0
        count = page.table.num_rows
        if wanted is not None and not wanted[at : at + count].all():
            keep = wanted[at : at + count].tolist()
            rejects = [one for one in page.rejects if one.row is None or keep[one.row]]
            page = filter_page(replace(page, rejects=rejects), keep)
        at += count
        waiting.append(page)
        rows += count
    yield concat_pages(waiting)
