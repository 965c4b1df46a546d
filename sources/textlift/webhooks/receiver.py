"""Receives webhooks over HTTP: an ASGI application, and the server that runs it.

The URL is ``/<secret>/<kind>``. A post gets 200 only when its body is on durable storage. Bodies that
arrive while a segment is written go into the next segment together.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from signal import SIGINT, SIGTERM, signal
from socket import socket
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from textlift.errors import StorageFailed
from textlift.webhooks.events import MAX_DEPTH, as_line, is_deeper
from textlift.webhooks.storage import Names, Storage, new_receiver

Scope = Mapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]

#: Path that answers 200 while the receiver runs, for load balancers.
HEALTH = "/health"
_LOG = logging.getLogger("textlift.webhooks")


@dataclass(frozen=True)
class Limits:
    """What one receiver accepts.

    Attributes:
        body: Bytes of a body.
        held: Bytes of all bodies that are received or wait for the storage.
        segment: Bytes of a segment, approximately.
        connections: Connections at the same time.
        head: Bytes of the headers of a request.
        head_seconds: Seconds until the headers of the first request on a connection are complete.
        body_seconds: Seconds until a body is complete.
        idle_seconds: Seconds until the headers of a further request are complete. Proxies keep
            connections open for 60 seconds.
        write_seconds: Seconds until a segment is written.
        gather_seconds: Seconds between the starts of two segments of a kind.
        retry_seconds: Seconds after which a sender shall try again.
    """

    body: int = 2**20
    held: int = 64 * 2**20
    segment: int = 4 * 2**20
    connections: int = 800
    head: int = 2**16
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    idle_seconds: float = 75.0
    write_seconds: float = 30.0
    gather_seconds: float = 0.01
    retry_seconds: int = 30


class Refused(Exception):
    """A request is answered with a status other than 200.

    Args:
        status: The HTTP status.
        headers: Headers of the answer.
    """

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.headers = [*headers]


class Receiver:
    """The ASGI application.

    Args:
        kinds: Names of the kinds of webhooks.
        storage: Where bodies go.
        secret: The part of the path that nobody can guess.
        limits: What is accepted.

    Attributes:
        answers: Kind and status → number of answers so far. The kind of a wrong path is empty.
    """

    def __init__(self, kinds: Iterable[str], storage: Storage, secret: str, limits: Limits) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._secret = secret.encode()
        self._limits = limits
        self._held = 0
        self._again = [(b"retry-after", str(limits.retry_seconds).encode())]
        writing, receiver = _Writing(storage, limits), new_receiver()
        self._segments = {kind: _SegmentWriter(kind, Names(receiver), writing) for kind in kinds}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        assert scope["type"] == "http"
        kind = self._kind(scope["path"])
        try:
            if scope["path"] == HEALTH:
                _require_method(scope, "GET", "HEAD")
            elif kind is None:
                raise Refused(404)
            else:
                _require_method(scope, "POST")
                await self._take(kind, scope, receive)
            status, headers = 200, []
        except Refused as refused:
            status, headers = refused.status, refused.headers
        except _Disconnected:
            return
        if scope["path"] != HEALTH:
            self.answers[kind or "", status] += 1
        headers.append((b"content-length", b"0"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})

    def _kind(self, path: str) -> str | None:
        """Return the kind that a path names, or ``None`` if the path is not one of ours."""
        secret, _, kind = path[1:].partition("/")
        is_ours = hmac.compare_digest(secret.encode("utf-8", "replace"), self._secret)
        return kind if is_ours and kind in self._segments else None

    async def _take(self, kind: str, scope: Scope, receive: Receive) -> None:
        """Receive a body, check that it is JSON, and wait until it is stored."""
        received_at = datetime.now(timezone.utc)
        body = bytearray()
        try:
            await asyncio.wait_for(self._read(scope, receive, body), self._limits.body_seconds)
            line = as_line(_checked(bytes(body)), received_at)
            await self._segments[kind].put(line)
        except asyncio.TimeoutError:
            raise Refused(408, [(b"connection", b"close")]) from None
        except StorageFailed:
            raise Refused(503, self._again) from None
        finally:
            self._held -= len(body)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), 0)
        if int(declared) > self._limits.body:
            raise Refused(413)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            part, more = message["body"], message["more_body"]
            if len(body) + len(part) > self._limits.body:
                raise Refused(413)
            if self._held + len(part) > self._limits.held:
                raise Refused(503, self._again)
            self._held += len(part)
            body += part


class _Disconnected(Exception):
    """The client is gone."""


def _require_method(scope: Scope, *allowed: str) -> None:
    if scope["method"] not in allowed:
        raise Refused(405, [(b"allow", ", ".join(allowed).encode())])


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


#: Keeps numbers as text: a number can have more digits than Python reads.
_JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def _checked(body: bytes) -> str:
    """Return a body as text.

    Raises:
        Refused: It is not JSON in UTF-8, or nested too deeply.
    """
    try:
        text = body.decode()
        value = _JSON.decode(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        raise Refused(400) from None
    if is_deeper(value, MAX_DEPTH):
        raise Refused(400)
    return text


class _Writing:
    """Writes segments in threads, and logs once when the storage fails and once when it works again."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self.limits = limits
        self._storage = storage
        # A write that hangs does not hold up the other kinds.
        self._threads = ThreadPoolExecutor(16, "textlift-segments")
        self._fails = False

    async def write(self, kind: str, name: str, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._threads, self._storage.write, kind, name, data)
        try:
            await asyncio.wait_for(writing, self.limits.write_seconds)
        except (StorageFailed, asyncio.TimeoutError) as error:
            problem = error if isinstance(error, StorageFailed) else StorageFailed(_TOO_SLOW)
            if not self._fails:
                _LOG.error(f"posts get 503, because {problem}")
            self._fails = True
            raise problem from None
        if self._fails:
            _LOG.warning("the storage of webhooks works again")
        self._fails = False


_TOO_SLOW = "the storage of webhooks is too slow"


class _SegmentWriter:
    """Writes the segments of one kind, one after the other."""

    def __init__(self, kind: str, names: Names, writing: _Writing) -> None:
        self._kind = kind
        self._names = names
        self._writing = writing
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, line: bytes) -> None:
        """Wait until a line is on durable storage.

        Raises:
            StorageFailed: It may not be there.
        """
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((line, stored))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        await stored

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            started = loop.time()
            lines, answers = self._next()
            try:
                await self._writing.write(self._kind, self._names.next(), b"".join(lines))
            except BaseException as error:
                problem = error if isinstance(error, StorageFailed) else StorageFailed(repr(error))
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(problem)
                if not isinstance(error, StorageFailed):
                    raise
            for answer in answers:
                if not answer.done():
                    answer.set_result(None)
            await asyncio.sleep(started + self._writing.limits.gather_seconds - loop.time())

    def _next(self) -> tuple[list[bytes], list[asyncio.Future[None]]]:
        """Take lines for a segment; at least one."""
        size = count = 0
        for line, _ in self._waiting:
            if count and size + len(line) > self._writing.limits.segment:
                break
            size += len(line)
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return [line for line, _ in taken], [answer for _, answer in taken]


def _protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with limits on the headers of a request, which it lacks.

    The rest of a body that was refused is discarded: if the connection were closed instead, its
    sender might see that and not the answer.
    """

    class Limited(HttpToolsProtocol):
        _head = 0
        _in_head = True
        _in_body = False
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_head(limits.head_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_wait()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head += len(data)
            super().data_received(data)
            if self._in_head and self._head > limits.head:
                self.transport.close()

        def on_headers_complete(self) -> None:
            self._end_wait()
            self._in_head, self._in_body = False, True
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._in_body = False
            if self.cycle.response_complete:
                self._expect_head(limits.idle_seconds)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete:
                if self._in_body:
                    self._wait(limits.body_seconds)
                else:
                    self._expect_head(limits.idle_seconds)

        def _expect_head(self, seconds: float) -> None:
            self._wait(seconds)
            self._in_head = True
            self._head = 0

        def _wait(self, seconds: float) -> None:
            self._end_wait()
            self._deadline = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

        def _end_wait(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Limited


def serve(receiver: Receiver, listening: socket, limits: Limits) -> None:
    """Serve until SIGTERM or SIGINT. Then posts that have begun are answered."""
    config = Config(
        receiver,
        http=_protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        # Its lines would hold the secret.
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=int(limits.write_seconds),
    )
    server = Server(config)
    for signum in (SIGINT, SIGTERM):
        # uvicorn raises the signal again in the end; then the process must not be killed by it.
        signal(signum, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[listening])
