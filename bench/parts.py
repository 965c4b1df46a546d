"""Measure the time of each part of a load, with timers around functions."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Parts:
    """Seconds by part. The time of a function excludes that of the timed functions it calls.

    Attributes:
        busy: Part → seconds of CPU time, of all threads together.
        idle: Part → seconds of waiting, of all threads together.
    """

    def __init__(self) -> None:
        self.busy: Counter[str] = Counter()
        self.idle: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._here = threading.local()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Time a function from now on."""
        function = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            with self._timed(part):
                return function(*args, **options)

        setattr(owner, name, timed)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        above = getattr(self._here, "inner", (0.0, 0.0))
        self._here.inner = (0.0, 0.0)
        busy, wall = time.thread_time(), time.perf_counter()
        try:
            yield
        finally:
            busy, wall = time.thread_time() - busy, time.perf_counter() - wall
            inner_busy, inner_wall = self._here.inner
            self._here.inner = (above[0] + busy, above[1] + wall)
            own = busy - inner_busy
            with self._lock:
                self.busy[part] += own
                self.idle[part] += wall - inner_wall - own


def watch_textlift() -> Parts:
    """Add timers to the parts of the pipeline before dlt, and return their times."""
    from textlift.arrow import build
    from textlift.codec import xml, xml_columns
    from textlift.extract import fetch
    from textlift.http import client
    from textlift.load import items, package

    parts = Parts()
    parts.watch(client.Client, "_send", "HTTP")
    parts.watch(client.Client, "_read", "unpacking")
    parts.watch(xml_columns, "read", "decoding")
    parts.watch(xml.XmlCodec, "by_elements", "decoding")
    parts.watch(fetch, "build_page", "Arrow")
    parts.watch(build, "convert", "Arrow")
    parts.watch(package.Package, "add", "Arrow")
    parts.watch(package.Package, "_batch", "Arrow")
    parts.watch(items, "_child_item", "Arrow")
    return parts
