"""The part of a load that goes into one load package."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Protocol

import pyarrow as pa

from textlift.arrow.keys import SeenKeys, packed_keys
from textlift.arrow.new_columns import NewColumns
from textlift.arrow.pages import (
    ROW,
    Page,
    concat_pages,
    filter_page,
    is_between,
    split_page,
    without_skipped,
)
from textlift.arrow.spool import Spool, Spooled
from textlift.declare import Endpoint
from textlift.extract.slicer import RetentionGap
from textlift.extract.slices import SliceRows
from textlift.load.contract import within_contract
from textlift.load.items import Batch
from textlift.load.rejects import Rejections
from textlift.privacy.retention import Aging

#: Seconds after which a package is committed even if it is not full, so a crash costs no more.
PACKAGE_SECONDS = 60
#: Rows of all tables in one batch; each table of a batch costs a millisecond in dlt.
BATCH_ROWS = 80_000


class Stream(Protocol):
    """Where the rows of a package come from: a :class:`.StreamSync`, or webhooks.

    Attributes:
        endpoint: The endpoint of the rows.
        new_columns: The undeclared columns so far.
        gaps: Retention gaps in front of rows that were handed out.
    """

    endpoint: Endpoint
    new_columns: NewColumns
    gaps: list[RetentionGap]

    @property
    def unwindowed(self) -> tuple[datetime | None, datetime | None]:
        """First and last second of the rows to load that are read without a window."""

    def advance(self, rows: SliceRows, hold: datetime | None) -> None:
        """Take note of rows that go into the package."""


class Package:
    """The part of one resource in a load package."""

    def __init__(
        self, sync: Stream, rejections: Rejections, until: datetime, aging: Aging | None = None
    ) -> None:
        self.rows = 0
        self.table_rows: dict[str, int] = {}
        self.rejections = rejections
        self.gaps: list[str] = []
        self.removed = 0
        self._sync = sync
        self.until = until
        self._aging = aging
        self._seen = SeenKeys()
        self._owners: dict[str, SeenKeys] = {}
        self._spool = Spool()
        self._pages: list[Spooled] = []
        self._waiting = 0
        self._started = time.monotonic()

    @property
    def has_batch(self) -> bool:
        """Whether enough rows wait for a batch."""
        return self._waiting >= BATCH_ROWS

    def is_full(self, limit: int | None) -> bool:
        """Return whether to commit the package before more is read.

        It is full at ``limit`` rows or after ``PACKAGE_SECONDS``. Without a limit it is never full.
        """
        if limit is None:
            return False
        return self.rows >= limit or time.monotonic() - self._started >= PACKAGE_SECONDS

    def add(self, rows: SliceRows) -> None:
        """Add rows that were read; each key goes into a package once."""
        sync = self._sync
        rows = replace(rows, page=sync.new_columns.admit(rows.page))
        page = rows.page
        hold = None
        if sync.endpoint.incremental:
            if rows.slice_.window is None:
                wanted = is_between(page.table, sync.endpoint.incremental.cursor, *sync.unwindowed)
                page = page if all(wanted) else filter_page(page, wanted)
            page, hold = self._unseen(page, sync.endpoint.key, sync.endpoint.incremental.cursor)
        sync.advance(rows, hold)
        if self._aging:
            fresh = self._aging.rejects(rows.page, rows.slice_.window, self.until)
            rows = replace(rows, page=fresh)
        self.rejections.add(rows.page, rows.slice_)
        if rows.not_found is None:
            self.rejections.add_loaded(rows.page, rows.slice_, rows.is_last)
        # Only now: a complete read counts the records that are skipped.
        page = without_skipped(page)
        page = self._aging.page(page, self.until) if self._aging else page
        page = self._owned_once(page)
        # Spool the parts one by one: a slice of a table keeps the whole table in memory.
        self._pages += map(self._spool.put, split_page(page, BATCH_ROWS))
        self.rows += page.table.num_rows
        self._waiting += page.num_rows

    def _owned_once(self, page: Page) -> Page:
        """Return the page without lists of owners whose list is in this package already."""
        children = dict(page.children)
        for suffix, owner in self._sync.endpoint.owners.items():
            seen = self._owners.setdefault(suffix, SeenKeys())
            keys = packed_keys(page.table, [owner.column])
            new, _ = seen.add(keys, pa.chunked_array([pa.nulls(len(keys), pa.int64())]))
            children[suffix] = children[suffix].filter(pa.array(new).take(children[suffix][ROW]))
        return replace(page, children=children)

    def _take_gaps(self) -> None:
        """Note the retention gaps in the package that moves the cursor past them."""
        for gap in self._sync.gaps:
            reason = "the service dropped these rows before they were read"
            self.rejections.add_gap(gap.partition.name or None, reason, gap.window)
            self.gaps.append(str(gap))
        self._sync.gaps.clear()

    def _unseen(self, page: Page, key: Sequence[str], cursor: str) -> tuple[Page, datetime | None]:
        """Return the page without rows of this package, and the time that the cursor may not pass.

        Neighbouring windows share a second, so a row can come twice. If it has changed in between,
        it cannot go into the same package: the entries of its lists would be stored twice. The
        cursor stays at its time, so the next load reads it again. The time is ``None`` if no row
        has changed.
        """
        times = page.table[cursor].cast(pa.int64())
        new, changed = self._seen.add(packed_keys(page.table, key), times)
        hold = (
            datetime.fromtimestamp(changed.min() // 10**6, timezone.utc) if len(changed) else None
        )
        return (page if new.all() else filter_page(page, new.tolist())), hold

    def not_seen(self, table: pa.Table) -> pa.Table:
        """Return the stored rows in ``table`` that are not in this package."""
        keys = packed_keys(table, self._sync.endpoint.key)
        return table.filter(pa.array(~self._seen.contains(keys)))

    def _count(self, name: str, table: pa.Table) -> None:
        self.table_rows[name] = self.table_rows.get(name, 0) + table.num_rows

    def batches(self, empty: Page, last: bool = True) -> Iterator[Batch]:
        """Yield batches of the rows added since the last call; at least one.

        A batch has about ``BATCH_ROWS`` rows.

        Args:
            empty: A page with all known columns and lists.
            last: Whether no more rows follow; the last batch also has the resolved rejects.
        """
        pages, self._pages, self._waiting = self._pages, [], 0
        together: list[Page] = []
        for page in map(self._spool.get, pages):
            if sum(each.num_rows for each in [*together, page]) > BATCH_ROWS and together:
                yield self._batch([empty, *together], last=False)
                together = []
            together.append(page)
        self._spool.close()
        yield self._batch([empty, *together], last)

    def _batch(self, pages: Sequence[Page], last: bool) -> Batch:
        sync = self._sync
        self._take_gaps()
        page = within_contract(sync.endpoint, concat_pages(pages))
        self._count(sync.endpoint.name, page.table)
        for suffix, entries in page.children.items():
            self._count(sync.endpoint.list_table(suffix), entries)
        return Batch(sync.endpoint, page, self.rejections.take(last))
