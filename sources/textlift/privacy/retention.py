"""Retention: after how many days personal columns are emptied, or rows deleted.

A rule names a kind of personal data, whose columns are emptied, or a table, whose rows are deleted.
Entries of a list age with their record.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textlift.arrow.pages import ROW, Page, filter_page
from textlift.declare import ColumnType, Endpoint, Personal
from textlift.dictionary import Table, tables_of
from textlift.errors import ConfigurationError
from textlift.privacy.policy import KINDS, fixed_columns, needed_columns
from textlift.windows import Window

#: Columns with the time of a row, for endpoints without a cursor. The first one counts.
_TIMES = ("received_at", "updated_at", "created_at")


@dataclass(frozen=True)
class Aging:
    """How the rows of an endpoint age.

    Attributes:
        endpoint: The endpoint.
        time: Column with the time of a row.
        rows: Table → days after which its rows are deleted.
        kinds: Kind → days after which its columns are emptied.
        fixed: Table → columns that stay.
    """

    endpoint: Endpoint
    time: str
    rows: Mapping[str, float]
    kinds: Mapping[Personal, float]
    fixed: Mapping[str, Container[str]]

    @property
    def days(self) -> float:
        """Days after which something of a row is removed."""
        return min([*self.rows.values(), *self.kinds.values()])

    def columns(self, table: str, names: Iterable[str], texts: Container[str]) -> dict[str, float]:
        """Return the columns that are emptied, and after how many days.

        An undeclared column of text is free text.

        Args:
            table: Name of the table, which may be undeclared.
            names: Its columns.
            texts: Those that hold text.
        """
        tables = {each.name: each for each in tables_of(self.endpoint)}
        declared = tables[table].columns if table in tables else {}
        fixed = self.fixed.get(table, self.endpoint.foreign_keys.values())
        found = {}
        for name in names:
            kind = declared[name].personal if name in declared else Personal.FREE_TEXT
            is_own = name in declared or (name in texts and not name.startswith("_"))
            if kind and kind in self.kinds and is_own and name not in fixed:
                found[name] = self.kinds[kind]
        return found

    def page(self, page: Page, now: datetime) -> Page:
        """Return the page without what is too old to be stored."""
        times = page.table[self.time]
        table = self._emptied(self.endpoint.name, page.table, times, now)
        children = {}
        for suffix, entries in page.children.items():
            name, its_times = self.endpoint.list_table(suffix), times.take(entries[ROW])
            emptied = self._emptied(name, entries, its_times, now)
            if name in self.rows:
                keep = ~_older(its_times, self.rows[name], now)
                emptied = emptied.filter(pa.array(keep))
            children[suffix] = emptied
        page = replace(page, table=table, children=children)
        if self.endpoint.name not in self.rows:
            return page
        keep = ~_older(times, self.rows[self.endpoint.name], now)
        return page if keep.all() else filter_page(page, keep.tolist())

    def rejects(self, page: Page, window: Window | None, now: datetime) -> Page:
        """Return the page without rejects that are too old to be stored."""
        if not page.rejects:
            return page
        old = _older(page.table[self.time], self.days, now)
        ended = window is not None and window.end < now - timedelta(days=self.days)
        kept = [each for each in page.rejects if not (ended if each.row is None else old[each.row])]
        return replace(page, rejects=kept)

    def _emptied(
        self, name: str, table: pa.Table, times: pa.ChunkedArray, now: datetime
    ) -> pa.Table:
        texts = {each.name for each in table.schema if pa.types.is_string(each.type)}
        for column, days in self.columns(name, table.column_names, texts).items():
            old = _older(times, days, now)
            if old.any():
                values = table[column]
                kept = pc.if_else(pa.array(old), pa.scalar(None, values.type), values)
                table = table.set_column(table.schema.get_field_index(column), column, kept)
        return table


def _older(times: pa.ChunkedArray, days: float, now: datetime) -> np.ndarray:
    """Return for each time whether it is older than some days; a missing one is not."""
    limit = pa.scalar(now - timedelta(days=days), times.type)
    found: np.ndarray = pc.fill_null(pc.less(times, limit), False).to_numpy()
    return found


def read_retention(
    endpoints: Iterable[Endpoint], rules: Mapping[str, Any] | None
) -> dict[str, Aging]:
    """Return how endpoints age, by name; only those of which something is removed.

    Args:
        endpoints: All endpoints of the service.
        rules: The setting ``retention_days``: kind or table → days.

    Raises:
        ConfigurationError: A rule names nothing, a table without a time, or no number of days.
    """
    if not rules:
        return {}
    endpoints = [*endpoints]
    needed = needed_columns(endpoints)
    tables = {table.name: each for each in endpoints for table in tables_of(each)}
    for name, days in rules.items():
        _check(name, days, tables)
    kinds = {KINDS[name]: float(days) for name, days in rules.items() if name in KINDS}
    found = {}
    for endpoint in endpoints:
        own = tables_of(endpoint)
        time = time_column(endpoint)
        fixed = {table.name: fixed_columns(endpoint, table, needed) for table in own}
        here = _kinds_of(own, fixed, kinds)
        rows = {table.name: float(rules[table.name]) for table in own if table.name in rules}
        if time and (rows or here):
            found[endpoint.name] = Aging(endpoint, time, rows, kinds, fixed)
    for kind in kinds:
        if not any(
            kind in _kinds_of(tables_of(each.endpoint), each.fixed, kinds)
            for each in found.values()
        ):
            raise ConfigurationError(
                f"retention_days.{kind.name.lower()} names no column that can be emptied in a table "
                "with a time.\n`textlift tables --personal` lists the personal columns."
            )
    return found


def time_column(endpoint: Endpoint) -> str | None:
    """Return the column by which rows age; ``None`` if they have no time."""
    if endpoint.incremental:
        return endpoint.incremental.cursor
    times = [n for n, each in endpoint.columns.items() if each.type is ColumnType.TIMESTAMP]
    return next((name for name in _TIMES if name in times), None)


def _kinds_of(
    tables: Sequence[Table],
    fixed: Mapping[str, Container[str]],
    kinds: Mapping[Personal, float],
) -> set[Personal]:
    """Return the kinds of columns that can be emptied."""
    return {
        column.personal
        for table in tables
        for name, column in table.columns.items()
        if column.personal and column.personal in kinds and name not in fixed[table.name]
    }


def _check(name: str, days: Any, tables: Mapping[str, Endpoint]) -> None:
    if name not in KINDS and name not in tables:
        near = difflib.get_close_matches(name, [*KINDS, *tables], 1)
        meant = f"Do you mean {near[0]}? " if near else ""
        raise ConfigurationError(
            f"retention_days.{name} names no kind or table of the service.\n"
            f"{meant}A rule names a kind ({', '.join(KINDS)}) or a table."
        )
    if isinstance(days, bool) or not isinstance(days, (int, float)) or days <= 0:
        raise ConfigurationError(
            f"retention_days.{name} is {days!r}.\nIt must be a number of days, more than 0."
        )
    if name in tables and time_column(tables[name]) is None:
        raise ConfigurationError(
            f"retention_days.{name} cannot be followed: its rows have no time.\n"
            "The service lists them in each run, so leave this rule out."
        )
