"""What a stream has done so far, which another thread can read while the stream is read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock

from textlift.windows import Window

_counting = Lock()


@dataclass
class Progress:
    """What a stream has done so far, and what remains.

    Attributes:
        requests: Requests sent, retries included.
        retries: Requests that repeat an earlier one.
        rows: Rows read.
        slices: Slices to read, as far as they are known.
    """

    requests: int = 0
    retries: int = 0
    rows: int = 0
    slices: int = 0
    _whole: int = 0
    _part: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _windows: deque[Window | None] = field(default_factory=deque)
    _totals: dict[int, int] = field(default_factory=dict)
    _rows_of_slice: int = 0
    _first: int = 0

    def count_request(self, is_retry: bool) -> None:
        """Count a request that is about to be sent."""
        with _counting:
            self.requests += 1
            self.retries += is_retry

    def expect(self, windows: Iterable[Window | None]) -> None:
        """Note slices that are to be read, each by its window, in order."""
        self._windows.extend(windows)
        self.slices = self._whole + len(self._windows)
        self._first, self._totals = self._whole, {}

    def expect_rows(self, number: int, rows: int) -> None:
        """Note the rows of a slice.

        Args:
            number: Which one of the slices that were noted last, from 0.
            rows: How many the service says there are.
        """
        self._totals[self._first + number] = rows

    def count_rows(self, rows: int, window: Window | None, is_last: bool) -> None:
        """Count rows of the next slice, or of a part of it.

        Args:
            rows: How many there are.
            window: The window of the slice, or that of the part.
            is_last: Whether no more rows of this window follow.
        """
        self.rows += rows
        self._rows_of_slice += rows
        total = self._totals.get(self._whole)
        if total:
            # Rows are a better measure than time: they are not spread evenly.
            self._part = min(1.0, self._rows_of_slice / total)
        if not is_last or not self._windows:
            return
        whole = self._windows[0]
        if whole and window and window.end < whole.end:
            if not total:
                self._part = (window.end - whole.start) / (whole.end - whole.start)
            return
        self._windows.popleft()
        self._whole, self._part, self._rows_of_slice = self._whole + 1, 0.0, 0

    @property
    def slices_done(self) -> float:
        """Slices that have been read; a part of one is a fraction."""
        return self._whole + self._part

    @property
    def share(self) -> float:
        """Share of the known slices that has been read, from 0 to 1."""
        return self.slices_done / self.slices if self.slices else 0.0

    @property
    def is_done(self) -> bool:
        """Whether there are slices and all of them have been read."""
        return 0 < self.slices <= self._whole

    @property
    def rows_per_second(self) -> float:
        """Rows read per second so far."""
        return self.rows / max(time.monotonic() - self._started, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all is read if it goes on as it did; ``None`` before anything was read."""
        if not self.share:
            return None
        return (time.monotonic() - self._started) * (1 - self.share) / self.share
