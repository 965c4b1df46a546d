"""One HTTP client for each source: requests, retries, pauses.

A service's ``check`` decides what a response means: it raises for failures, and returns the content
of all others.
"""

from __future__ import annotations

import io
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import requests
import tenacity
from dlt.common import logger
from requests.auth import AuthBase
from urllib3 import HTTPResponse
from urllib3.exceptions import DecodeError, HTTPError, IncompleteRead, ReadTimeoutError

from textlift.errors import (
    ApiError,
    ConfigurationError,
    CredentialsError,
    ResponseTimeout,
    ServiceError,
    TextliftError,
    TransientError,
)
from textlift.http.rate import TOO_MANY_REQUESTS, Route, route_of
from textlift.http.signature import SignedPath
from textlift.http.stop import StopSignal
from textlift.http.transport import open_session
from textlift.http.urls import check_base_url, fill_path, is_loopback

#: What ``check`` returns for the responses of a service.
Content = TypeVar("Content")

MAX_CONCURRENCY = 160
CONNECT_TIMEOUT = 10.0
#: Bytes to read from the network, or to unpack, at a time.
_CHUNK = 2**18
#: Bytes per second, as they are sent; a body that is slower for a whole timeout is given up.
MIN_RATE = 1000
#: A body that takes more than this many timeouts is given up, however fast it is.
MAX_TIMEOUTS = 10
TRANSIENT_STATUSES = frozenset({408, 425, TOO_MANY_REQUESTS, 500, 502, 503, 504})
#: Exception → what a host did, to follow its name in a message.
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
    """One HTTP response.

    Attributes:
        status: HTTP status.
        media_type: Content type without its parameters, in lower case.
        body: The body, decompressed.
        path: The path requested, below the base URL, with the names of its parameters.
        request_id: What the service calls the request, in ``X-Request-Id``; empty if it does not.
    """

    status: int
    media_type: str
    body: bytes
    path: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class Retries:
    """How often a retriable failure is retried, and after which pauses.

    Attributes:
        attempts: Attempts in all.
        backoff: Seconds of the first pause; the bound of each further one doubles, with jitter.
        max_pause: Longest pause in seconds, also if the service asks for a longer one.
        timeout: Seconds without headers, or between two parts of a body, after which a request fails.
    """

    attempts: int = 5
    backoff: float = 1.0
    max_pause: float = 300.0
    timeout: float = 60.0


def _retry_after(header: str | None) -> float | None:
    """Return the seconds to wait from a ``Retry-After`` header: a number or an HTTP date."""
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


def failed_status(status: int, problem: str) -> ServiceError:
    """Return the error for an HTTP status that is neither success nor refused credentials.

    Args:
        status: The status, which becomes the code of an :class:`ApiError`.
        problem: What happened.
    """
    if status in TRANSIENT_STATUSES:
        return TransientError(problem)
    return ApiError(problem, status) if 400 <= status < 500 else ServiceError(problem)


def _request_id(header: str) -> str:
    """Return the id of a request if a message can quote it."""
    return header if re.fullmatch(r"[A-Za-z0-9_.:/-]{1,100}", header) else ""


def parse_number(text: str | None) -> int | None:
    """Return the number in ``text``, or ``None`` if it is anything else or has over 18 digits."""
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _failing(causes: Sequence[BaseException]) -> str:
    """Return what a host did, to follow its name in a message: "refuses the connection"."""
    for kind, what in _FAILURES.items():
        if any(isinstance(cause, kind) for cause in causes):
            return what
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return f"does not agree on TLS ({cause.reason or 'no reason given'})"
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return f"cannot be reached ({cause.strerror})"
    return "broke it off"


class Client(Generic[Content]):
    """Sends requests to a service, and retries those that fail for a moment.

    It has no threads of its own, and any number of threads may use it.

    Args:
        base_url: Root of the API; https, or http on this machine.
        auth: Adds the credentials to a request.
        check: Returns the content of a response, or raises a :class:`TextliftError` if it is a
            failure.
        params: Parameters of every request.
        concurrency: Most requests at a time, 1 to 160. One that succeeds ends with its response.
        requests_per_second: Most requests per second of a route; ``None`` if the service sets no
            such limit.
        retries: Attempts and pauses.
        max_bytes: Largest body accepted, in bytes after decompression.

    Raises:
        ConfigurationError: ``base_url``, ``concurrency`` or ``requests_per_second`` cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        auth: AuthBase,
        check: Callable[[HttpResponse], Content],
        params: Mapping[str, str] | None = None,
        concurrency: int = 16,
        requests_per_second: float | None = None,
        retries: Retries = Retries(),
        max_bytes: int = 128 * 2**20,
    ) -> None:
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise ConfigurationError(
                f"concurrency is {concurrency}.\nIt must lie between 1 and {MAX_CONCURRENCY}."
            )
        if requests_per_second is not None and requests_per_second <= 0:
            raise ConfigurationError(
                f"requests_per_second is {requests_per_second}.\nIt must be more than 0."
            )
        self.base_url = check_base_url(base_url)
        self.concurrency = concurrency
        self._auth = auth
        self._check = check
        self._params = dict(params or {})
        self._rate = requests_per_second
        self._retries = retries
        self._max_bytes = max_bytes
        self._not_before = 0.0
        self._slots = threading.BoundedSemaphore(concurrency)
        # Requests to this machine bypass proxies; others use those of the environment.
        loopback = is_loopback(urlsplit(self.base_url).hostname or "")
        self._proxies = {"http": "", "https": ""} if loopback else None
        self._session = open_session(auth, self.base_url, concurrency)

    @property
    def route_concurrency(self) -> int:
        """Most requests of one route that can be of use at a time."""
        # One is under way and one waits for its turn; more would keep threads from other routes.
        return min(self.concurrency, math.ceil(self._rate) + 1) if self._rate else self.concurrency

    def url(self, path: str, params: Mapping[str, str]) -> str:
        """Return the URL of a request, without its query and signature."""
        return self.base_url + fill_path(path, {**self._params, **params})[0]

    def get(
        self,
        path: str,
        params: Mapping[str, str],
        once: tuple[type[TransientError], ...] = (),
        on_request: Callable[[], None] = lambda: None,
        stop: StopSignal | None = None,
        then: Callable[[Content], Any] = lambda content: content,
        run: Callable[[Callable[[], Any]], Any] = lambda function: function(),
    ) -> Any:
        """Send a request, with retries, and return the content of the response.

        Args:
            path: Path below the base URL; it can name parameters, as ``groups/{group_id}/members``.
                The service's limit per second counts all requests for it together.
            params: Parameters. Those that the path does not name go into the query.
            once: Retriable failures that are not to be retried this time.
            on_request: Called for each request sent, retries included.
            stop: Ends the retries.
            then: Makes what to return of the content.
            run: Runs what keeps a processor busy, which is to unpack the body of a success, to check
                it, and ``then``; by default, the thread of the caller does. Other requests are sent
                meanwhile.

        Raises:
            ConfigurationError: The service refuses the credentials, or its certificate is invalid.
            ServiceError: The failure is not retriable, or all attempts failed.
        """
        stop = stop or StopSignal()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, TransientError) and not isinstance(error, once)
            ),
            stop=tenacity.stop_after_attempt(self._retries.attempts),
            wait=self._pause,
            sleep=stop.pause,
            before_sleep=lambda state: self._log_retry(path, state),
            reraise=True,
        )
        limit = route_of(self.base_url, path, self._rate) if self._rate else None

        def finish(check: Callable[[], Content], is_success: bool) -> Any:
            return run(lambda: then(check())) if is_success else then(check())

        return retrying(self._send, path, params, limit, on_request, stop, finish)

    def _send(
        self,
        path: str,
        params: Mapping[str, str],
        limit: Route | None,
        on_request: Callable[[], None],
        stop: StopSignal,
        finish: Callable[[Callable[[], Content], bool], Any],
    ) -> Any:
        filled, values, query = fill_path(path, {**self._params, **params})
        if isinstance(self._auth, SignedPath):
            filled += self._auth.suffix(values)
        with ExitStack() as slot:
            slot.enter_context(self._slots)
            stop.pause(self._not_before - time.monotonic())
            turn = limit.wait(stop) if limit else 0
            stop.raise_if_set()
            on_request()
            started = time.monotonic()
            try:
                with self._session.get(
                    self.base_url + filled,
                    params=query,
                    timeout=(CONNECT_TIMEOUT, self._retries.timeout),
                    allow_redirects=False,
                    proxies=self._proxies,
                    stream=True,
                ) as response:
                    if limit:
                        limit.answered(turn, response.status_code, response.headers)
                    packed = self._read(response)
            except (requests.RequestException, HTTPError) as error:
                # Without the cause: its text holds the URL, and so the keys in it.
                raise self._unanswered(error, time.monotonic() - started) from None
            if 300 <= response.status_code < 400:
                raise ServiceError(
                    f"the service redirects (HTTP {response.status_code}); redirects are not followed, "
                    "because credentials are sent to base_url only. Check base_url."
                )
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

            def content() -> Content:
                return self._check(
                    HttpResponse(
                        response.status_code,
                        media_type,
                        self._unpacked(packed, response),
                        path,
                        _request_id(response.headers.get("X-Request-Id", "")),
                    )
                )

            if response.ok:
                # What failed can forbid further requests, so it is checked before others are sent.
                slot.close()
            try:
                return finish(content, response.ok)
            except CredentialsError as error:
                stop.set(error)
                raise
            except TransientError as error:
                if error.retry_after is None:
                    error.retry_after = _retry_after(response.headers.get("Retry-After"))
                if error.retry_after is not None:
                    # All threads pause: the service's limit is that of the company.
                    pause = min(error.retry_after, self._retries.max_pause)
                    self._not_before = max(self._not_before, time.monotonic() + pause)
                raise

    def _read(self, response: requests.Response) -> bytes:
        """Return the body as it was sent. Packed, it is a tenth as large while it waits."""
        chunks, size, started = [], 0, time.monotonic()
        response.raw.decode_content = False
        # One read from the network at a time: read() would wait for the whole chunk.
        while chunk := response.raw.read1(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            self._check_size(size)
            elapsed, timeout = time.monotonic() - started, self._retries.timeout
            if elapsed > timeout and (
                size < MIN_RATE * elapsed or elapsed > MAX_TIMEOUTS * timeout
            ):
                raise ResponseTimeout(f"the response has not ended after {elapsed:.0f} s")
        return b"".join(chunks)

    def _unpacked(self, packed: bytes, response: requests.Response) -> bytes:
        chunks, size = [], 0
        headers = {"Content-Encoding": response.headers.get("Content-Encoding", "")}
        body = HTTPResponse(io.BytesIO(packed), headers, preload_content=False)
        try:
            while chunk := body.read1(_CHUNK):
                chunks.append(chunk)
                size += len(chunk)
                self._check_size(size)
        except DecodeError as error:
            raise self._unanswered(error, 0.0) from None
        return b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise ServiceError(
                f"the response is larger than {self._max_bytes} bytes when it is unpacked"
            )

    def _unanswered(self, error: Exception, elapsed: float) -> TextliftError:
        """Return the error for a request without a complete response."""
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
            return ResponseTimeout(f"no complete response within {timeout:g} s")
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
        # Half of the pause is fixed, so that attempts never follow one another at once.
        return (self._retries.backoff + jittered(state)) / 2

    def _log_retry(self, path: str, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        logger.warning(
            f"{path}: {error}; trying again in {pause:.1f} s "
            f"(attempt {state.attempt_number} of {self._retries.attempts})",
            extra={"retry_reason": str(error)},
        )
