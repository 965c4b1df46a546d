"""The requests session that all requests of a client use: no redirects, a deadline for headers."""

from __future__ import annotations

import io
import logging
import re
import threading
import time
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

#: The names of the threads that send requests begin with this.
THREAD_PREFIX = "textlift"


def open_session(auth: AuthBase, base_url: str, connections: int) -> requests.Session:
    """Return a session for ``base_url`` that keeps up to ``connections`` connections open."""
    session = _Session()
    session.auth = auth
    session.mount(base_url, _Adapter(pool_connections=1, pool_maxsize=connections))
    for name in ("urllib3.connection", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(_WITHOUT_TARGET)
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: to find the target, requests would read the whole body."""
        return None


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline; the socket's timeout bounds one read only."""

    def __init__(self, raw: Any, seconds: float) -> None:
        self._raw = raw
        self.deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self.deadline:
            raise TimeoutError
        size: int | None = self._raw.readinto(buffer)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """A response whose status line and headers have to arrive within the read timeout.

    Without it, a service that sends a byte of its headers now and then would hold a thread for ever.
    """

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw, timeout = self.fp.detach(), sock.gettimeout()
        self._reader = _DeadlineReader(raw, float("inf") if timeout is None else timeout)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        self._reader.deadline = float("inf")


class _Pool(HTTPConnectionPool):
    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.response_class = _Response
        return connection


class _TLSPool(HTTPSConnectionPool):
    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.response_class = _Response
        return connection


_POOLS = {"http": _Pool, "https": _TLSPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


#: A path, or a URL with one.
_TARGET = re.compile(r"\A(https?://[^/?]*)?[/?].*", re.DOTALL)


class _WithoutTarget(logging.Filter):
    """Removes paths and queries from what urllib3 logs: they hold keys and people's text."""

    def filter(self, record: logging.LogRecord) -> bool:
        ours = threading.current_thread().name.startswith(THREAD_PREFIX)
        if ours and isinstance(record.args, tuple):
            record.args = tuple(
                _TARGET.sub(r"\1/…", arg) if isinstance(arg, str) else arg for arg in record.args
            )
        return True


_WITHOUT_TARGET = _WithoutTarget()
