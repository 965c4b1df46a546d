"""HTTP: one client for each run of a source, with one limit for all its resources.

The client knows how to ask, how long to wait and what must never happen to credentials. What an
answer means is the service's business: its ``check`` raises for answers that are failures, and
returns what the others hold.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit

import requests
import tenacity
from dlt.common import logger
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import ReadTimeoutError

from .errors import AnswerTimeout, ConfigurationError, ServiceError, TransientError

T = TypeVar("T")
#: What the answers of a service hold.
Content = TypeVar("Content")

MAX_CONCURRENCY = 160
CONNECT_TIMEOUT = 10.0
_PORTS = {"http": 80, "https": 443}
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Answer:
    """One HTTP answer: status, media type without its parameters, and the body as bytes."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a failure that may pass is tried again.

    Attributes:
        attempts: Tries in all.
        backoff: Seconds of the first pause; each further one can be twice as long, less a random part.
        max_pause: Longest pause in seconds, also where the service asks for a longer one.
        timeout: Seconds without a byte after which an answer is given up.
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


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. Raises ValueError for a port that is none."""
    port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port


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
        check: Callable[[Answer], Content],
        params: Mapping[str, str] | None = None,
        concurrency: int = 16,
        retries: Retries = Retries(),
        max_bytes: int = 256 * 2**20,
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
        self._not_before = 0.0
        self._pool: ThreadPoolExecutor | None = None
        self._session = requests.Session()
        self._session.auth = auth
        # What is meant for this machine goes to no proxy; else those of the environment count.
        loopback = _is_loopback(urlsplit(self.base_url).hostname or "")
        self._proxies = {"http": "", "https": ""} if loopback else None
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=concurrency, max_retries=0)
        self._session.mount(self.base_url, adapter)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run ``function`` in one of the ``concurrency`` threads that may call :meth:`get`."""
        with self._lock:
            if self._pool is None:
                self._closed.clear()
                self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="textlift")
            return self._pool.submit(function)

    def close(self, wait: bool = True) -> None:
        """Forget what was submitted; :meth:`submit` starts anew.

        Args:
            wait: Whether to wait for what is under way, without which a client that follows this
                one would not keep to the limit.
        """
        with self._lock:
            pool, self._pool = self._pool, None
        self._closed.set()
        if pool is not None:
            pool.shutdown(wait=wait, cancel_futures=True)

    def get(
        self,
        path: str,
        params: Mapping[str, str],
        retry_timeouts: bool = True,
        on_request: Callable[[], None] = lambda: None,
    ) -> Content:
        """Ask and return what a successful answer holds.

        Args:
            path: Path below the base URL.
            params: Query parameters.
            retry_timeouts: Whether to ask again when no answer came in time.
            on_request: Called for every request that is sent, the repeated ones included.

        Raises:
            CredentialsError: The service refuses who asks.
            ServiceError: The answer is a failure that will not pass, or did not pass in time.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: (
                    isinstance(error, TransientError)
                    and (retry_timeouts or not isinstance(error, AnswerTimeout))
                )
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
        if self._closed.is_set():
            raise ServiceError("the run was stopped")
        on_request()
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
        except requests.ReadTimeout:
            raise AnswerTimeout(f"no answer within {self._retries.timeout:g} s") from None
        except requests.RequestException as error:
            if error.args and isinstance(error.args[0], ReadTimeoutError):
                raise AnswerTimeout(f"half an answer within {self._retries.timeout:g} s") from None
            # The text of the exception holds the query, and with it the company key.
            raise TransientError(f"the connection failed ({type(error).__name__})") from None
        if 300 <= response.status_code < 400:
            raise ServiceError(
                f"the service redirects (HTTP {response.status_code}); redirects are not followed, "
                "because credentials go nowhere but to base_url. Check base_url."
            )
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        try:
            return self._check(Answer(response.status_code, media_type, body))
        except TransientError as error:
            if error.retry_after is None:
                error.retry_after = _retry_after(response.headers.get("Retry-After"))
            if error.retry_after is not None:
                # Every thread pauses: the limit the service speaks of is the company's.
                pause = min(error.retry_after, self._retries.max_pause)
                self._not_before = max(self._not_before, time.monotonic() + pause)
            raise

    def _read(self, response: requests.Response) -> bytes:
        chunks, size = [], 0
        for chunk in response.iter_content(2**18):
            size += len(chunk)
            if size > self._max_bytes:
                raise ServiceError(
                    f"the answer is larger than {self._max_bytes} bytes; lower page_size"
                )
            chunks.append(chunk)
        return b"".join(chunks)

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
            f"(attempt {state.attempt_number} of {self._retries.attempts})"
        )
