"""Merge the undeclared columns of a stream's pages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from textlift.arrow.build import TOO_WIDE, empty_page
from textlift.arrow.pages import ROW, SKIPPED, Page, filter_page, row_key
from textlift.codec.records import Reject
from textlift.declare import Endpoint

#: Most undeclared columns in all tables of a stream; PostgreSQL takes 1,600 columns in a table.
MAX_NEW_COLUMNS = 1000


class NewColumns:
    """The undeclared columns of a stream so far.

    Pages are admitted in their order, so the columns do not depend on when a page was decoded.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._left = MAX_NEW_COLUMNS
        declared = empty_page(endpoint)
        self._known = {"": {SKIPPED, *declared.table.column_names}}
        for suffix, entries in declared.children.items():
            self._known[suffix] = {*entries.column_names}

    def admit(self, page: Page) -> Page:
        """Return the page; its records with columns beyond the limit become rejects."""
        keep = np.ones(page.table.num_rows, np.bool_)
        table = self._admitted("", page.table, keep)
        children = {
            suffix: self._admitted(suffix, entries, keep)
            for suffix, entries in page.children.items()
        }
        if keep.all():
            return replace(page, table=table, children=children)
        others = [one for one in page.rejects if one.row is None or keep[one.row]]
        rest = replace(page, table=table, children=children, rejects=others)
        admitted = filter_page(rest, keep.tolist())
        lost = page.table.filter(pa.array(~keep)).to_pylist()
        return replace(admitted, rejects=[*admitted.rejects, *map(self._reject, lost)])

    def _reject(self, row: dict[str, Any]) -> Reject:
        values = {name: value for name, value in row.items() if value is not None}
        key = row_key([str(row[name]) for name in self._endpoint.record_key])
        payload = json.dumps(values, ensure_ascii=False, default=str)
        return Reject(key, None, TOO_WIDE, payload)

    def _admitted(self, suffix: str, table: pa.Table, keep: np.ndarray) -> pa.Table:
        """Return the table without excess columns; set ``keep`` to false where they hold text."""
        known, excess = self._known.setdefault(suffix, {ROW}), []
        for column in table.column_names:
            if column not in known and self._left:
                known.add(column)
                self._left -= 1
            elif column not in known:
                excess.append(column)
                rows = np.flatnonzero(table[column].is_valid())
                keep[table[ROW].to_numpy()[rows] if suffix else rows] = False
        return table.drop_columns(excess) if excess else table
