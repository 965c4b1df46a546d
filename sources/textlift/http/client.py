"""HTTP: one client for each run of a source, with one limit for all its resources.

The client knows how to ask, how long to wait and what must never happen to credentials. What an
answer means is the service's business: its ``check`` raises for answers that are failures, and
returns what the others hold.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit

import requests
import tenacity
from dlt.common import logger
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection
from urllib3.exceptions import DecodeError, HTTPError, IncompleteRead, ReadTimeoutError

from textlift.errors import (
    ConfigurationError,
    CredentialsError,
    ResponseTimeout,
    ServiceError,
    TextliftError,
    TransientError,
)

T = TypeVar("T")
#: What the answers of a service hold.
Content = TypeVar("Content")

MAX_CONCURRENCY = 160
CONNECT_TIMEOUT = 10.0
#: Bytes a second below which a body is given up that has not ended within a time-out.
MIN_RATE = 1000
#: Time-outs within which a body has to end, however fast it comes.
MAX_TIMEOUTS = 10
_THREADS = "textlift"
_STOPPED = "the run was stopped"
_PORTS = {"http": 80, "https": 443}
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
#: What a host does, by the exception that tells of it.
_FAILURES: Mapping[type[BaseException], str] = {
    socket.gaierror: "was not found in DNS",
    ConnectionRefusedError: "refuses it",
    ConnectionResetError: "closed it before the answer was complete",
    BrokenPipeError: "closed it before the answer was complete",
    IncompleteRead: "closed it before the answer was complete",
    DecodeError: "sent what cannot be unpacked",
    TimeoutError: f"did not accept it within {CONNECT_TIMEOUT:g} s",
}


@dataclass(frozen=True)
class HttpResponse:
    """One HTTP answer.

    Attributes:
        status: HTTP status.
        media_type: Without its parameters.
        body: The bytes, unpacked.
        path: What was asked for, below the base URL.
    """

    status: int
    media_type: str
    body: bytes
    path: str = ""


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a failure that may pass is tried again.

    Attributes:
        attempts: Tries in all.
        backoff: Seconds of the first pause; each further one can be twice as long, less a random part.
        max_pause: Longest pause in seconds, also where the service asks for a longer one.
        timeout: Seconds after which an answer is given up that has not begun, or of which no byte
            has come for so long.
    """

    attempts: int = 5
    backoff: float = 1.0
    max_pause: float = 300.0
    timeout: float = 60.0


def check_base_url(base_url: str) -> str:
    """Return ``base_url`` with its last slash, if credentials may be sent there.

    Raises:
        ConfigurationError: It is no URL, or plain http to another machine.
    """
    if "@" in base_url or "\\" in base_url:
        raise ConfigurationError(
            "base_url holds a login, or a character that no URL has.\n"
            "Write it as https://host/path/; logins go into credentials."
        )
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(
            f"base_url is not a URL: {base_url!r}\nWrite it with its scheme, https://…"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"base_url would send credentials over plain http to {host}.\n"
            "Use https; plain http is for this machine only (127.0.0.1, localhost, [::1])."
        )
    return base_url.rstrip("/") + "/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait, from a ``Retry-After`` header: a number or an HTTP date."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    # Without an offset it is GMT, as HTTP has it.
    then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - datetime.now(timezone.utc)).total_seconds())


def parse_number(text: str | None) -> int | None:
    """The number that a service printed, if it is one; no other text, and none without end."""
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _failing(causes: Sequence[BaseException]) -> str:
    """What a host did that was not reached, or fell silent: "refuses the connection"."""
    for kind, what in _FAILURES.items():
        if any(isinstance(cause, kind) for cause in causes):
            return what
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return f"does not agree on TLS ({cause.reason or 'no reason given'})"
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return f"cannot be reached ({cause.strerror})"
    return "broke it off"


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. Raises ValueError for a port or a host that is none."""
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):
        # Python 3.10 takes brackets around anything.
        raise ValueError
    port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port


class _PunctualConnection(HTTPConnection):
    """Hangs up on an answer that has not begun in time, also if bytes of its head come in between."""

    patience: float

    def getresponse(self) -> Any:
        # Whoever takes it first decides: a timer that is late must not touch the next answer.
        decided = threading.Lock()
        timer = threading.Timer(self.patience, self._hang_up, (self.sock, decided))
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()
        finally:
            timer.cancel()
            in_time = decided.acquire(blocking=False)
        if not in_time:
            # Half a head passes for a whole one.
            raise TimeoutError
        return answer

    @staticmethod
    def _hang_up(sock: Any, decided: threading.Lock) -> None:
        if sock is not None and decided.acquire(blocking=False):
            # What leads through a proxy that speaks TLS itself is no socket.
            with suppress(OSError, TypeError):
                # Below TLS, which may not be touched from another thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Makes every connection a punctual one, of whatever class it would be."""

    def __init__(self, patience: float, connections: int) -> None:
        self._patience = patience
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        # Looked at once: another thread may be changing it.
        usual = pool.ConnectionCls
        if not issubclass(usual, _PunctualConnection):
            bases = (_PunctualConnection, usual)
            pool.ConnectionCls = type("Connection", bases, {"patience": self._patience})
        return pool


class _Session(requests.Session):
    """Follows no redirect, nor looks where it leads: for that, all of its body would be read."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class _Discretion(logging.Filter):
    """Takes queries out of what urllib3 logs: they hold the company's key, and what people wrote."""

    def filter(self, record: logging.LogRecord) -> bool:
        ours = threading.current_thread().name.startswith(_THREADS)
        if ours and isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args
            )
        return True


_DISCRETION = _Discretion()


class Client(Generic[Content]):
    """Asks a service over HTTP, never more than ``concurrency`` questions at a time.

    Args:
        base_url: Root of the API; https, or http on this machine.
        auth: Puts the credentials on a request.
        check: Returns what an answer holds, or raises a :class:`TextliftError` if it is a failure.
        params: Parameters of every question.
        concurrency: Most questions under way at a time, 1 to 160.
        retries: Patience.
        max_bytes: Largest answer accepted, in bytes after decompression.
    """

    def __init__(
        self,
        base_url: str,
        auth: AuthBase,
        check: Callable[[HttpResponse], Content],
        params: Mapping[str, str] | None = None,
        concurrency: int = 16,
        retries: Retries = Retries(),
        max_bytes: int = 128 * 2**20,
    ) -> None:
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise ConfigurationError(
                f"concurrency is {concurrency}.\nIt must lie between 1 and {MAX_CONCURRENCY}."
            )
        self.base_url = check_base_url(base_url)
        self.concurrency = concurrency
        self._check = check
        self._params = dict(params or {})
        self._retries = retries
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._refused: CredentialsError | None = None
        self._not_before = 0.0
        self._askers: ThreadPoolExecutor | None = None
        self._workers: ThreadPoolExecutor | None = None
        self._sessions = 0
        self._session = _Session()
        self._session.auth = auth
        # What is meant for this machine goes to no proxy; else those of the environment count.
        loopback = _is_loopback(urlsplit(self.base_url).hostname or "")
        self._proxies = {"http": "", "https": ""} if loopback else None
        self._session.mount(self.base_url, _Adapter(retries.timeout, concurrency))
        for name in ("urllib3.connection", "urllib3.connectionpool"):
            logging.getLogger(name).addFilter(_DISCRETION)

    @property
    def session(self) -> int:
        """Number of the time until :meth:`close`; asking for it begins a new one after that."""
        with self._lock:
            if self._askers is None:
                self._closed.clear()
                self._refused = None
                self._sessions += 1
                self._askers = ThreadPoolExecutor(self.concurrency, f"{_THREADS}-asks")
                # More at a time than there are cores would only take more memory.
                self._workers = ThreadPoolExecutor(os.cpu_count(), f"{_THREADS}-works")
            return self._sessions

    def submit(self, function: Callable[[], T], session: int) -> Future[T] | None:
        """Run ``function`` in one of the ``concurrency`` threads that may call :meth:`get`.

        Returns:
            What becomes of it, or ``None`` if the session is over.
        """
        with self._lock:
            if self._askers is None or session != self._sessions:
                return None
            try:
                return self._askers.submit(function)
            except RuntimeError:  # the interpreter is about to end
                return None

    def compute(self, function: Callable[[], T]) -> T:
        """What ``function`` returns, run in one of as many threads as there are cores.

        Raises:
            ServiceError: The session is over.
        """
        workers = self._workers
        try:
            future = workers.submit(function) if workers else None
        except RuntimeError:
            future = None
        if future is None:
            raise ServiceError(_STOPPED)
        return future.result()

    def close(self, wait: bool = True) -> None:
        """Forget what was submitted, and end the session.

        Args:
            wait: Whether to wait for what is under way, without which a client that follows this
                one would not keep to the limit.
        """
        with self._lock:
            askers, self._askers = self._askers, None
            workers, self._workers = self._workers, None
        self._closed.set()
        if askers and workers:
            askers.shutdown(wait=wait, cancel_futures=True)
            workers.shutdown(wait=False)

    def get(
        self,
        path: str,
        params: Mapping[str, str],
        once: tuple[type[TransientError], ...] = (),
        on_request: Callable[[], None] = lambda: None,
    ) -> Content:
        """Ask and return what a successful answer holds.

        Args:
            path: Path below the base URL.
            params: Query parameters.
            once: Failures after which not to ask again, although they may pass.
            on_request: Called for every request that is sent, the repeated ones included.

        Raises:
            ConfigurationError: The service refuses who asks, or cannot prove that it is the one
                that was meant.
            ServiceError: The answer is a failure that will not pass, or did not pass in time.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, TransientError) and not isinstance(error, once)
            ),
            stop=tenacity.stop_after_attempt(self._retries.attempts),
            wait=self._pause,
            sleep=tenacity.sleep_using_event(self._closed),
            before_sleep=lambda state: self._log_retry(path, state),
            reraise=True,
        )
        return retrying(self._ask, path, params, on_request)

    def follow(self, path: str, link: str) -> dict[str, str]:
        """The parameters of a link that came with the answer to a question for ``path``.

        Only they are taken from it: the next question goes to the same place as the last.

        Args:
            path: Path below the base URL that was asked.
            link: The next URL as the service names it, absolute or relative.

        Raises:
            ServiceError: The link has another scheme, host, port or path.
        """
        asked = self.base_url + path
        try:
            # Half a surrogate pair cannot be sent.
            link.encode()
            there, here = urlsplit(urljoin(asked, link)), urlsplit(asked)
            same = _origin(there) == _origin(here) and "@" not in there.netloc
            params = dict(parse_qsl(there.query, keep_blank_values=True))
        except ValueError:
            raise ServiceError("the service names a next page that is no URL") from None
        if not same:
            raise ServiceError(
                f"the service names a next page at {there.scheme}://{there.hostname or ''}; it is "
                "not followed, because credentials go nowhere but to base_url. Check base_url."
            )
        if there.path != here.path:
            raise ServiceError(
                "the service names a next page under another path; it is not followed, because "
                "it is none of what was asked for"
            )
        return params

    def _ask(self, path: str, params: Mapping[str, str], on_request: Callable[[], None]) -> Content:
        self._closed.wait(max(0.0, self._not_before - time.monotonic()))
        if self._refused is not None:
            raise CredentialsError(str(self._refused))
        if self._closed.is_set():
            raise ServiceError(_STOPPED)
        on_request()
        started = time.monotonic()
        try:
            with self._session.get(
                self.base_url + path,
                params={**self._params, **params},
                timeout=(CONNECT_TIMEOUT, self._retries.timeout),
                allow_redirects=False,
                proxies=self._proxies,
                stream=True,
            ) as response:
                body = self._read(response)
        except (requests.RequestException, HTTPError) as error:
            # Not from it: its text holds the query, and with it the company's key.
            raise self._unanswered(error, time.monotonic() - started) from None
        if 300 <= response.status_code < 400:
            raise ServiceError(
                f"the service redirects (HTTP {response.status_code}); redirects are not followed, "
                "because credentials go nowhere but to base_url. Check base_url."
            )
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        try:
            return self._check(HttpResponse(response.status_code, media_type, body, path))
        except CredentialsError as error:
            # Nobody else has to be refused; whoever comes next is told why.
            self._refused = error
            self._closed.set()
            raise
        except TransientError as error:
            if error.retry_after is None:
                error.retry_after = _retry_after(response.headers.get("Retry-After"))
            if error.retry_after is not None:
                # Every thread pauses: the limit the service speaks of is the company's.
                pause = min(error.retry_after, self._retries.max_pause)
                self._not_before = max(self._not_before, time.monotonic() + pause)
            raise

    def _read(self, response: requests.Response) -> bytes:
        chunks, size, started = [], 0, time.monotonic()
        response.raw.decode_content = True
        # One read from the network at a time: more would wait for all of it.
        while chunk := response.raw.read1(2**18):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise ServiceError(
                    f"the answer is larger than {self._max_bytes} bytes when it is unpacked"
                )
            elapsed, timeout = time.monotonic() - started, self._retries.timeout
            if elapsed > timeout and (
                size < MIN_RATE * elapsed or elapsed > MAX_TIMEOUTS * timeout
            ):
                raise ResponseTimeout(f"no end of the answer after {elapsed:.0f} s")
        return b"".join(chunks)

    def _unanswered(self, error: Exception, elapsed: float) -> TextliftError:
        """What it means that there is no answer."""
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return ConfigurationError(
                    f"The certificate of {urlsplit(self.base_url).hostname} cannot be trusted: "
                    f"{cause.verify_message}. Nothing was sent.\n"
                    "Check base_url. If a proxy of your own stands between, name the file with its "
                    "certificate authority in REQUESTS_CA_BUNDLE."
                )
        timeout = self._retries.timeout
        silent = isinstance(error, (requests.ReadTimeout, ReadTimeoutError))
        if silent or (elapsed >= timeout and not isinstance(error, requests.ConnectTimeout)):
            return ResponseTimeout(f"no answer, or only a part of one, within {timeout:g} s")
        host = urlsplit(self.base_url).netloc
        if isinstance(error, requests.exceptions.ProxyError):
            host = f"the proxy on the way to {host}"
        return TransientError(f"the connection failed: {host} {_failing(causes)}")

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientError) and error.retry_after is not None:
            return min(error.retry_after, self._retries.max_pause)
        jittered = tenacity.wait_random_exponential(
            multiplier=self._retries.backoff, max=self._retries.max_pause
        )
        # Half of the pause is certain, so that tries never follow one another at once.
        return (self._retries.backoff + jittered(state)) / 2

    def _log_retry(self, path: str, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        logger.warning(
            f"{path}: {error}; trying again in {pause:.1f} s "
            f"(attempt {state.attempt_number} of {self._retries.attempts})",
            extra={"retry_reason": str(error)},
        )
