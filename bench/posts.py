"""Post bodies to a receiver of webhooks over many connections at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

#: Seconds before a post that was not acknowledged is sent again.
PAUSE = 0.05


async def post_all(
    port: int,
    posts: Iterable[tuple[str, bytes]],
    connections: int,
    rate: float | None = None,
    acknowledged: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Send each post until it gets 200.

    Args:
        port: Port of the receiver on this machine.
        posts: Path and body of each post.
        connections: Number of connections.
        rate: Most posts per second; ``None`` for as many as get acknowledged.
        acknowledged: Called for each post that gets 200, with the seconds since it was sent.
    """
    due = _Due(posts, rate)
    await asyncio.gather(*(_connection(port, due, acknowledged) for _ in range(connections)))


class _Due:
    """Hands out posts, each when it is due."""

    def __init__(self, posts: Iterable[tuple[str, bytes]], rate: float | None) -> None:
        self._posts = enumerate(posts)
        self._rate = rate
        self._started = time.perf_counter()

    async def next(self) -> tuple[str, bytes] | None:
        number, post = next(self._posts, (0, None))
        if post is not None and self._rate is not None:
            await asyncio.sleep(self._started + number / self._rate - time.perf_counter())
        return post


async def _connection(port: int, due: _Due, acknowledged: Callable[[float], None]) -> None:
    writer: asyncio.StreamWriter | None = None
    while (post := await due.next()) is not None:
        path, body = post
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        request = head.encode() + body
        while True:
            started = time.perf_counter()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError):
                if writer:
                    writer.close()
                writer, answer = None, b""
            if answer.startswith(b"HTTP/1.1 200"):
                acknowledged(time.perf_counter() - started)
                break
            await asyncio.sleep(PAUSE)
    if writer:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
