"""What the log says of a run: no rows, and each fact once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from dlt.common import logger

from textlift.errors import quote


@contextmanager
def short_log() -> Iterator[None]:
    """Keep rows and repetitions out of dlt's log within the block.

    Destinations quote rows in their errors, and dlt logs those whole. During an outage each request
    is retried for the same reason: the first retry is logged, and in the end how many there were.
    """
    first_line, once = _FirstLine(), _Once()
    log: logging.Logger = logger.LOGGER
    log.addFilter(first_line)
    log.addFilter(once)
    try:
        yield
    finally:
        log.removeFilter(first_line)
        log.removeFilter(once)
        for reason, count in once.counts.items():
            if count > 1:
                logger.warning(f"{reason}: {count:,} retries in all")


class _FirstLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Leave of an exception its type and first line, without numbers of people."""
        error = record.exc_info[1] if record.exc_info else None
        message, traced, _ = record.getMessage().partition("Traceback (most recent call last)")
        if error:
            lines = str(error).strip().splitlines() or [""]
            message += f": {type(error).__name__}: {quote(lines[0])}"
        if error or traced:
            record.msg, record.args, record.exc_info, record.exc_text = message, None, None, None
        return True


class _Once(logging.Filter):
    """Lets the first retry for a reason pass, and counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        reason = getattr(record, "retry_reason", None)
        if reason is None:
            return True
        with self._lock:
            self.counts[reason] += 1
            return self.counts[reason] == 1
