"""The HTTP server: connections, the log of calls, latency, faults. It knows no vendor."""

from __future__ import annotations

import gzip
import io
import logging
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

    from textlift.sandbox.faults import Damage

logger = logging.getLogger(__name__)

Address = tuple[str, int]


@dataclass
class Request:
    """One call as the server received it."""

    method: str
    path: str
    """The path without the query, still percent-encoded."""
    endpoint: str
    """The path below the service's prefix."""
    query: list[tuple[str, str]]
    """All parameters in their order, with repeated names."""
    headers: dict[str, str]
    """By lower-case name."""
    in_progress: int
    """How many calls were in progress when this one arrived, including itself."""
    status: int = 0
    """The HTTP status of the answer; 0 if there is none."""

    @property
    def params(self) -> dict[str, str]:
        """The parameters by name; of a repeated one, the last."""
        return dict(self.query)


@dataclass(frozen=True)
class Response:
    """One answer. The server adds Content-Length and, for clients that accept it, gzip."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    truncate: int | None = None
    """Announce the whole body, send only so many bytes of it, uncompressed, and disconnect."""
    drop: bool = False
    """Close the connection without an answer."""
    reset: bool = False
    """Reset the connection without an answer."""
    hang: bool = False
    """Do not answer: wait until the client disconnects or the sandbox closes."""
    drip: float | None = None
    """Send the body byte by byte, with so many seconds between them, and close the connection."""
    drip_head: bool = False
    """Send the status line and the headers like this as well."""
    stream: Iterable[bytes] | None = None
    """Chunks that follow the body, uncompressed. They can be endless."""

    @property
    def answered(self) -> bool:
        """Whether an answer is sent."""
        return not (self.drop or self.reset or self.hang)

    @property
    def closes(self) -> bool:
        """Whether the connection is closed after the answer."""
        return not self.answered or self.truncate is not None or self.drip is not None


class Service(Protocol):
    """What the server needs of a service."""

    @property
    def prefix(self) -> str:
        """The path of the service, such as `/api/`."""
        ...

    @property
    def damage(self) -> Damage:
        """The faults that it can have; see `sandbox.faults`."""
        ...

    def answer(self, request: Request) -> Response:
        """Answer one call. Many threads call this at once, also for paths outside of `prefix`."""
        ...


Fault = Callable[[Request], "Response | None"]
Hook = Callable[[Request, Response], "Response | None"]


class Sandbox:
    """Serves one service on the loopback interface. A context manager.

    Attributes:
        requests: All calls, in the order of arrival.
        latency: Seconds that each call waits before it is answered.
        faults: Called before the service; the first one that returns an answer replaces it.
        hooks: Called with each answer before it is sent. They can return another one, and change
            the service's data between two pages.
    """

    def __init__(self, service: Service, port: int = 0, latency: float = 0.0) -> None:
        """Bind to 127.0.0.1; port 0 means any free port. Raises OSError if the port is taken."""
        self.service = service
        self.latency = latency
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.hooks: list[Hook] = []
        self._lock = threading.Lock()
        self._busy: set[socket.socket] = set()
        self._peak = 0
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The root of the service, with a trailing slash."""
        return f"http://127.0.0.1:{self.port}{self.service.prefix}"

    @property
    def peak(self) -> int:
        """The most calls in progress at once since the start or the last `reset_peak()`."""
        return self._peak

    def reset_peak(self) -> None:
        """Start to count `peak` again."""
        with self._lock:
            self._peak = self._in_progress()

    def start(self) -> None:
        """Start to serve on a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and close all connections. The sandbox cannot be started again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _enter(self, connection: socket.socket) -> int:
        with self._lock:
            self._busy.add(connection)
            in_progress = self._in_progress()
            self._peak = max(self._peak, in_progress)
            return in_progress

    def _leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._busy.discard(connection)

    def _in_progress(self) -> int:
        # A client can disconnect and call again before its thread notices.
        return sum(not _has_gone(connection) for connection in self._busy)

    def _answer(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
        if self.latency > 0:
            time.sleep(self.latency)
        try:
            response = self._first_fault(request) or self.service.answer(request)
            for hook in list(self.hooks):
                response = hook(request, response) or response
        except Exception:
            logger.exception("the sandbox failed to answer %s %s", request.method, request.path)
            response = Response(500, b"the sandbox failed; see its log")
        request.status = response.status if response.answered else 0
        return response

    def _first_fault(self, request: Request) -> Response | None:
        for fault in list(self.faults):
            response = fault(request)
            if response is not None:
                return response
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: Address, box: Sandbox) -> None:
        self.box = box
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            _hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client may disconnect in the middle of an answer.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "textlift-sandbox"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        box = self.server.box
        in_progress = box._enter(self.connection)
        try:
            response = box._answer(self._request(in_progress))
            end = self._begin(response)
        finally:
            # Before the end of the answer is sent: a client that has received it and calls again
            # does not make two calls at once.
            box._leave(self.connection)
        if response.reset:
            self._reset()
            return
        self.wfile.write(end)
        if response.closes:
            self.wfile.flush()
            self._close()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: `Sandbox.requests` is the log."""

    def _request(self, in_progress: int) -> Request:
        # A body that is not read would be parsed as the next request.
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        return Request(
            method=self.command,
            path=url.path,
            endpoint=url.path.removeprefix(self.server.box.service.prefix),
            query=parse_qsl(url.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            in_progress=in_progress,
        )

    def _begin(self, response: Response) -> bytes:
        """Send the answer up to its last part, and return that.

        Raises ConnectionError if the client disconnects meanwhile.
        """
        if response.hang:
            self._idle(None)
        if not response.answered:
            return b""
        response = self._compressed(response)
        head, body = self._head(response), response.body[: response.truncate]
        if self.command == "HEAD":
            body = b""
        if response.drip_head:
            head, body = b"", head + body
        self.wfile.write(head)
        if response.drip is not None:
            for place in range(len(body) - 1):
                self.wfile.write(body[place : place + 1])
                self.wfile.flush()
                self._idle(response.drip)
            return body[-1:]
        if response.stream is not None and self.command != "HEAD":
            self._chunk(body)
            for chunk in response.stream:
                self._chunk(chunk)
            return b"0\r\n\r\n"
        return body

    def _head(self, response: Response) -> bytes:
        """The status line and the headers as bytes."""
        wire, head = self.wfile, io.BytesIO()
        self.wfile = head
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.stream is None:
            self.send_header("Content-Length", str(len(response.body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        if response.closes:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile = wire
        return head.getvalue()

    def _chunk(self, data: bytes) -> None:
        if data:  # an empty chunk is the end of the body
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()

    def _idle(self, seconds: float | None) -> None:
        """Wait; without a number of seconds, for ever. Raises ConnectionError on a disconnect.

        This drops what the client sends meanwhile, so the connection has to be closed afterwards.
        """
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while True:
                # With a timeout of 0, recv does not notice a closed connection.
                left = None if end is None else max(end - time.monotonic(), 1e-6)
                self.connection.settimeout(left)
                if not self.connection.recv(4096):
                    raise ConnectionAbortedError("the client has disconnected")
        except TimeoutError:
            return
        finally:
            self.connection.settimeout(None)

    def _compressed(self, response: Response) -> Response:
        accepted = "gzip" in self.headers.get("Accept-Encoding", "").lower()
        encoded = "Content-Encoding" in response.headers
        in_parts = response.truncate is not None or response.stream is not None
        if not accepted or encoded or in_parts or not response.body:
            return response
        return replace(
            response,
            body=gzip.compress(response.body, compresslevel=1),
            headers={**response.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
        )

    def _close(self) -> None:
        self.close_connection = True
        _hang_up(self.connection)

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)  # lingering for no time makes it a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # The handler's files would keep the socket open and close it in order.
        socket.close(self.connection.detach())


def _has_gone(connection: socket.socket) -> bool:
    """Whether the client has closed the connection."""
    try:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0)) and not connection.recv(1, socket.MSG_PEEK)
    except (OSError, ValueError):  # this side is closed
        return True


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # the client may have closed it
        connection.shutdown(socket.SHUT_RDWR)
