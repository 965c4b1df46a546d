"""Rows of ``rejected_records``: values and records that could not be loaded as they should be.

A reject that occurs again keeps its first row. A reject gets ``resolved_at`` when its record is
read again without it. Earlier rejects are read from the destination: they hold personal data, which
is stored nowhere else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa
from dlt.common import logger
from dlt.common.schema.utils import has_table_seen_data

from textlift import dictionary
from textlift.arrow.pages import Page
from textlift.arrow.types import schema_of
from textlift.codec.records import Reject
from textlift.declare import Endpoint
from textlift.destinations.stored import having, stored_rows
from textlift.extract.slices import Slice
from textlift.windows import Window

REJECTED_RECORDS = dictionary.REJECTED_RECORDS.name
SCHEMA = schema_of(dictionary.REJECTED_RECORDS)

Row = Mapping[str, Any]


class Rejections:
    """The rejects of one resource in one load package.

    Args:
        endpoint: The endpoint of the records.
        now: The time of the run.
        may_be_open: Whether there can be unresolved rejects of earlier packages.
        read: Returns all rejects of this resource in the destination.

    Attributes:
        keys: Keys of the rejects in this package.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        now: datetime,
        may_be_open: bool,
        read: Callable[[], Iterable[Row]],
    ) -> None:
        self.keys: set[str] = set()
        self._endpoint = endpoint
        self._now = now
        self._read = read
        self._stored: dict[str, Row] | None = None
        self._waiting: dict[str, Row] = {}
        #: Whether a whole record was rejected, and its key → rejects that loading it resolves.
        self._by_record: dict[tuple[bool, str], list[str]] = {}
        self._again: set[tuple[str | None, str | None]] = set()
        self._loaded: set[str] = set()
        self._spans: dict[str, list[Window]] = {}
        self._complete: set[str] = set()
        self._undated: set[str] = set()
        if may_be_open:
            for key, row in self._known().items():
                if row["resolved_at"] is None and row["row_key"] is not None:
                    place = (row["column_name"] is None, row["row_key"])
                    self._by_record.setdefault(place, []).append(key)

    def _known(self) -> dict[str, Row]:
        if self._stored is None:
            self._stored = {row["rejection_key"]: row for row in self._read()}
        return self._stored

    @property
    def any_open(self) -> bool:
        """Whether a reject stays unresolved after this package is loaded."""
        stored = (self._stored or {}).items()
        return bool(self.keys) or any(
            row["resolved_at"] is None and key not in self._waiting for key, row in stored
        )

    def add(self, page: Page, slice_: Slice) -> None:
        """Note the rejects of a page; equal rejects are counted one by one."""
        met: Counter[tuple[Any, ...]] = Counter()
        for reject in page.rejects:
            what = (self._row_key(reject, slice_, page.table), _column(reject), reject.payload)
            self._note(*what[:2], reject.reason, what[2], slice_.window, met[what])
            met[what] += 1

    def add_gap(self, row_key: str | None, reason: str, window: Window) -> None:
        """Note a window whose rows can no longer be read."""
        self._note(row_key, None, reason, None, window)

    def add_loaded(self, page: Page, slice_: Slice, is_last: bool) -> None:
        """Note the records that go into the package; the last piece notes its slice as read."""
        prefix = _prefix(slice_)
        if not is_last:
            pass
        elif slice_.window is None:
            self._undated.add(prefix)
            undated = (self._endpoint.time_range and self._endpoint.time_range.undated) or {}
            if not undated or not undated.items() <= slice_.params.items():
                self._complete.add(prefix)
        else:
            _extend(self._spans.setdefault(prefix, []), slice_.window)
        if not self._by_record:
            return
        for names, is_whole, front in (
            (self._endpoint.key, False, ()),
            (self._endpoint.record_key, True, slice_.partition.values.values()),
        ):
            columns = [page.table[name].to_pylist() for name in names]
            for parts in zip(*columns):
                place = (is_whole, _joined([*front, *parts]) or "")
                self._loaded.update(self._by_record.get(place, ()))

    def take(self, last: bool) -> pa.Table:
        """Return the rows added since the last call; the last call adds the resolved rejects."""
        if last and self._stored:
            for key, row in self._stored.items():
                if row["resolved_at"] is None and self._is_resolved(key, row):
                    self._waiting[key] = {**row, "resolved_at": self._now}
        rows = [{name: row.get(name) for name in SCHEMA.names} for row in self._waiting.values()]
        if not last:
            self._waiting = {}
        return pa.Table.from_pylist(rows, SCHEMA)

    def _is_resolved(self, key: str, row: Row) -> bool:
        if key in self.keys or row["payload"] is None:
            return False
        if key in self._loaded:
            return (row["row_key"], row["column_name"]) not in self._again
        return any(self._was_read_again(row, prefix) for prefix in {*self._undated, *self._spans})

    def _was_read_again(self, row: Row, prefix: str) -> bool:
        """Return whether all rows were read again where the unreadable record was."""
        row_key = row["row_key"] or ""
        inside = row["column_name"] is None and (not prefix or row_key.startswith(f"{prefix}/"))
        if row_key != prefix and not inside:
            return False
        if row["window_start"] is None:
            return prefix in self._undated
        return prefix in self._complete or any(
            span.start <= row["window_start"] and row["window_end"] <= span.end
            for span in self._spans.get(prefix, ())
        )

    def _row_key(self, reject: Reject, slice_: Slice, table: pa.Table) -> str | None:
        key = self._endpoint.key
        if reject.row is not None and key:
            return _joined(table[name][reject.row].as_py() for name in key)
        return _joined([*slice_.partition.values.values(), reject.row_key])

    def _note(
        self,
        row_key: str | None,
        column: str | None,
        reason: str,
        payload: str | None,
        window: Window | None,
        ordinal: int = 0,
    ) -> None:
        what = str(window) if payload is None else payload
        parts = [self._endpoint.name, row_key or "", column or "", what]
        identity = "\0".join([*parts, *([str(ordinal)] if ordinal else [])])
        key = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._again.add((row_key, column))
        if key in self.keys:
            return
        self.keys.add(key)
        known = self._known().get(key)
        if known is not None and known["resolved_at"] is None:
            return
        self._waiting[key] = {
            "rejection_key": key,
            "resource": self._endpoint.name,
            "window_start": window.start if window else None,
            "window_end": window.end if window else None,
            "row_key": row_key,
            "column_name": column,
            "reason": reason,
            "payload": payload,
            "rejected_at": known["rejected_at"] if known else self._now,
        }


def _joined(parts: Iterable[Any]) -> str | None:
    return "/".join(str(part) for part in parts if part is not None) or None


def _prefix(slice_: Slice) -> str:
    return _joined(slice_.partition.values.values()) or ""


def _column(reject: Reject) -> str | None:
    parts = [part for part in (reject.table, reject.column) if part]
    return "__".join(parts) or None


def _extend(spans: list[Window], window: Window) -> None:
    """Add a window, joined with the last one if it begins inside it or at its end."""
    if spans and spans[-1].start <= window.start <= spans[-1].end:
        window = Window(spans[-1].start, max(spans[-1].end, window.end))
        spans.pop()
    spans.append(window)


def stored_rejects(resource: str) -> Sequence[Row]:
    """Return the rejects of a resource in the destination; none if they cannot be read."""
    table = dlt.current.source_schema().tables.get(REJECTED_RECORDS)
    if table is None or not has_table_seen_data(table):
        return []
    try:
        tables = stored_rows(REJECTED_RECORDS, ["rejection_key"], having("resource", resource))
        rows = [row for table in tables for row in table.to_pylist()]
    except Exception as error:  # noqa: BLE001 - each destination has its own errors
        # Do not log the text: it can hold personal data.
        logger.warning(f"{REJECTED_RECORDS} cannot be read: {type(error).__name__}")
        return []
    return [{name: row.get(name) for name in SCHEMA.names} for row in rows]


def disposition(strategies: Iterable[str]) -> Any:
    """Return the write disposition of rejects: a merge that replaces a stored row."""
    for strategy in ("delete-insert", "upsert"):
        if strategy in strategies:
            return {"disposition": "merge", "strategy": strategy}
    return "merge"
