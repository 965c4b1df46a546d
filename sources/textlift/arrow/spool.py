"""Pages on disk, in a file without a name.

Personal data must not stay on the disk of a machine. The file has no name from its creation on, so
no other process can open it. It is deleted when the process ends, also when the process is killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import IO

import pyarrow as pa

from textlift.arrow.pages import Page

#: Bytes of pages kept in memory; further pages go to disk.
MEMORY = 2 * 2**20
#: Arrow's threads would wait for each other, because the cores are busy decoding.
_WRITE = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)
#: Replaces a table that is on disk: an empty table with columns takes many kilobytes.
_NOTHING = pa.table({})


@dataclass(frozen=True)
class _Place:
    start: int
    length: int


@dataclass(frozen=True)
class _OnDisk:
    page: Page
    table: _Place
    children: Mapping[str, _Place]


Spooled = Page | _OnDisk


class Spool:
    """A store for pages: the first ones in memory, the rest on disk."""

    def __init__(self) -> None:
        self._held = 0
        self._end = 0
        self._file: IO[bytes] | None = None
        self._lock = Lock()

    def put(self, page: Page) -> Spooled:
        """Store a page and return the argument for :meth:`get`."""
        size = page.table.nbytes + sum(entries.nbytes for entries in page.children.values())
        with self._lock:
            if self._held + size <= MEMORY:
                self._held += size
                return page
            return _OnDisk(
                replace(page, table=_NOTHING, children={}),
                self._write(page.table),
                {suffix: self._write(entries) for suffix, entries in page.children.items()},
            )

    def get(self, spooled: Spooled) -> Page:
        """Return a page as it was stored."""
        if isinstance(spooled, Page):
            return spooled
        children = {suffix: self._read(place) for suffix, place in spooled.children.items()}
        return replace(spooled.page, table=self._read(spooled.table), children=children)

    def close(self) -> None:
        """Delete all pages on disk."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file, self._held, self._end = None, 0, 0

    def _write(self, table: pa.Table) -> _Place:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=_WRITE) as writer:
            writer.write_table(table)
        data = sink.getvalue()
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the spool
        place = _Place(self._end, data.size)
        self._file.seek(self._end)
        self._file.write(data)
        self._file.flush()
        self._end += data.size
        return place

    def _read(self, place: _Place) -> pa.Table:
        assert self._file is not None
        data, at = [], place.start
        while at < place.start + place.length:
            data.append(os.pread(self._file.fileno(), place.start + place.length - at, at))
            at += len(data[-1])
        return pa.ipc.open_stream(b"".join(data), options=_READ).read_all()
