"""The threads of one run."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from textlift.errors import ServiceError
from textlift.http.stop import StopSignal
from textlift.http.transport import THREAD_PREFIX

T = TypeVar("T")


def most_under_way(requests: int) -> int:
    """Return how many requests may be under way so that ``requests`` of them are at the service.

    The others are being decoded.
    """
    return requests + requests // 2


class Workers:
    """Threads that send requests, and threads that decode responses.

    The limits hold for all streams of a run together.

    Args:
        concurrency: Most requests at a time.

    Attributes:
        stop: Set when the run ends.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.stop = StopSignal()
        self._requests = ThreadPoolExecutor(most_under_way(concurrency), f"{THREAD_PREFIX}-request")
        # More than one decoder for each core takes more memory, and no less time.
        self._decoders = ThreadPoolExecutor(os.cpu_count(), f"{THREAD_PREFIX}-decode")

    def submit(self, function: Callable[[], None]) -> bool:
        """Run ``function`` in a request thread; return False if the run has ended."""
        try:
            self._requests.submit(function)
        except RuntimeError:
            return False
        return True

    def decode(self, function: Callable[[], T]) -> T:
        """Return the result of ``function``, run in a decoder thread.

        Raises:
            ServiceError: The run has ended.
        """
        try:
            future = self._decoders.submit(function)
        except RuntimeError:
            raise ServiceError("the run was stopped") from None
        return future.result()

    def close(self, wait: bool = True) -> None:
        """End the run, and drop what has not begun.

        Args:
            wait: Whether to wait for requests that are under way. Without it, the next run can
                exceed the service's limit for a moment.
        """
        self.stop.set()
        self._requests.shutdown(wait=wait, cancel_futures=True)
        self._decoders.shutdown(wait=False)
