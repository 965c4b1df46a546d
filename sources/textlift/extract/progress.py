"""Counts of a stream, which another thread can read while the stream is read."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

_counting = Lock()


@dataclass
class Progress:
    """What a stream has done so far.

    Attributes:
        requests: Requests sent, retries included.
        retries: Requests that repeat an earlier one.
    """

    requests: int = 0
    retries: int = 0

    def count_request(self, is_retry: bool) -> None:
        """Count a request that is about to be sent."""
        with _counting:
            self.requests += 1
            self.retries += is_retry
