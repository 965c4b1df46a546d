"""Posts what happens in a sandbox to a receiver of webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

#: End of the line that the command prints when `caught_up` is set.
POSTED = " webhooks posted to the receiver\n"
_TICK = 0.2
_TIMEOUT = 10.0


class Webhooks:
    """Posts bodies of JSON from a thread of its own, one after the other.

    Attributes:
        accepted: The kind and the body of each post that was answered with 200, in order.
        caught_up: Set when what happened before the start is accepted.
    """

    def __init__(self, url: str, pause: float = 1.0) -> None:
        """Post nothing before the start.

        url: the receiver; each kind is posted to a path of its own below it.
        pause: seconds between two posts of what was not answered with 200.
        """
        self.accepted: list[tuple[str, bytes]] = []
        self.caught_up = threading.Event()
        self._url, self.pause = url.rstrip("/"), pause
        self._waiting: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self._closed = False
        # Receivers run on this machine, or close to it.
        self._opener = build_opener(ProxyHandler({}))

    def start(self, tick: Callable[[], object]) -> None:
        """Start the thread. It calls `tick` several times in a second, to let happen what is due."""
        threading.Thread(target=self._run, args=(tick,), name="webhooks", daemon=True).start()

    def post(self, kind: str, body: Any) -> None:
        """Post a body as soon as those before it are accepted."""
        self._waiting.put((kind, json.dumps(body, ensure_ascii=False).encode()))

    def close(self) -> None:
        """Post nothing more."""
        self._closed = True

    def _run(self, tick: Callable[[], object]) -> None:
        while not self._closed:
            tick()
            try:
                kind, body = self._waiting.get(timeout=_TICK)
            except Empty:
                self.caught_up.set()
                continue
            while not self._closed and not self._is_accepted(kind, body):
                time.sleep(self.pause)

    def _is_accepted(self, kind: str, body: bytes) -> bool:
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self._url}/{kind}", body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as response:
                if response.status != 200:
                    return False
        except (OSError, HTTPException):
            return False
        self.accepted.append((kind, body))
        return True
