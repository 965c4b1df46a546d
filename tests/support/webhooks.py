"""Receivers in processes of their own, posts to them, and a warehouse that is loaded from their storage."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dlt

from bench.posts import post_all
from tests.conftest import PROJECT, Warehouse
from textlift.dlt_setup import set_up_dlt
from textlift.extract.settings import Settings
from textlift.mobiniti.endpoints import ENDPOINTS
from textlift.mobiniti.webhooks import WEBHOOKS
from textlift.privacy.columns import KeyedHash
from textlift.privacy.erased import Recognition
from textlift.privacy.people import People
from textlift.settings import privacy_keys
from textlift.webhooks.events import as_line
from textlift.webhooks.resources import webhook_resources
from textlift.webhooks.settings import WebhookSettings, open_storage
from textlift.webhooks.storage import Names, new_receiver

SECRET = "an-invented-secret-of-43-characters-0123456"
KINDS = [endpoint.name for endpoint in WEBHOOKS]
#: ``-c RECEIVE limits options``: ``textlift webhooks`` with other limits.
RECEIVE = """
import json, sys
from functools import partial
from textlift.cli import webhooks
from textlift.webhooks import receiver
receiver.Limits = partial(receiver.Limits, **json.loads(sys.argv[1]))
sys.exit(webhooks.main(sys.argv[2:]))
"""
PATIENCE = 60.0


class Receiving:
    """A receiver that runs."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.address = urlsplit(url).netloc

    def connect(self) -> HTTPConnection:
        return HTTPConnection(self.address, timeout=PATIENCE)

    def request(
        self, kind: str, body: Any = b"", method: str = "POST", secret: str = SECRET
    ) -> tuple[int, dict[str, str]]:
        """Send a request, and return the status and the headers of its answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.connect()
        try:
            connection.request(method, f"/{secret}/{kind}", data)
            answer = connection.getresponse()
            assert answer.read() == b""
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def post(self, kind: str, body: Any) -> int:
        return self.request(kind, body)[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> tuple[int, str, str]:
        """Stop it as a service manager does, and return its exit code and what it printed."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "SOURCES__MOBINITI__WEBHOOKS__SECRET": SECRET, **changes}


def command(storage: str | Path, port: int = 0, **limits: float) -> list[str]:
    options = ["mobiniti", "--port", str(port), "--storage", str(storage)]
    return [sys.executable, "-c", RECEIVE, json.dumps(limits), *options]


def start(storage: str | Path, port: int = 0, **limits: float) -> Receiving:
    """Start a receiver, and wait until it listens."""
    process = subprocess.Popen(
        command(storage, port, **limits),
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    line = process.stdout.readline()
    if "http://" not in line:
        raise AssertionError(process.communicate())
    return Receiving(process, line[line.index("http://") :].strip())


@contextmanager
def receiving(storage: str | Path, **limits: float) -> Iterator[Receiving]:
    """A receiver; whatever happens, it ends with the block."""
    receiver = start(storage, **limits)
    try:
        yield receiver
    finally:
        receiver.process.kill()
        receiver.process.communicate()


def post_and_kill(
    storage: str | Path,
    posts: Sequence[tuple[str, bytes]],
    kills: int,
    rate: float,
    connections: int,
) -> int:
    """Post to a receiver that is killed again and again, and started again at once.

    A post that is not acknowledged is sent again.

    Args:
        storage: Storage of the receiver.
        posts: Kind and body of each post.
        kills: Number of kills, evenly among the posts.
        rate: Posts per second.
        connections: Connections at the same time.

    Returns:
        The number of posts that were acknowledged.
    """
    receiver, count = start(storage), 0
    port = int(receiver.address.split(":")[1])

    def acknowledged(seconds: float) -> None:
        nonlocal count
        count += 1

    async def run() -> None:
        nonlocal receiver
        paths = [(f"/{SECRET}/{kind}", body) for kind, body in posts]
        posting = asyncio.create_task(post_all(port, paths, connections, rate, acknowledged))
        for number in range(1, kills + 1):
            while count < number * len(posts) // (kills + 1):
                await asyncio.sleep(0.01)
            receiver.kill()
            receiver = await asyncio.to_thread(start, storage, port)
        await posting

    try:
        asyncio.run(run())
    finally:
        receiver.process.kill()
        receiver.process.communicate()
    return count


def put(storage: str | Path, kind: str, *bodies: Any, received_at: Any, names: Any = None) -> str:
    """Write a segment as a receiver does, and return its name."""
    lines = [
        as_line(each if isinstance(each, str) else json.dumps(each), received_at) for each in bodies
    ]
    name = (names or Names(new_receiver())).next()
    open_storage("mobiniti", str(storage)).write(kind, name, b"".join(lines))
    return str(name)


def stored(storage: Path, kind: str = "*") -> list[bytes]:
    """Return the bodies in a storage, in the order of their segments."""
    return [
        json.loads(line)["body"].encode()
        for path in sorted(storage.glob(f"{kind}/*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def segments(storage: Path) -> list[Path]:
    return sorted(storage.glob("*/*.jsonl"))


@dlt.source(name="mobiniti", section="mobiniti", max_table_nesting=0)
def webhooks_source(
    storage: str | None = None,
    package_rows: int | None = None,
    isolate_failures: bool = False,
    policy: Any = None,
    retention: Any = None,
) -> Any:
    """The webhooks of Mobiniti without its API."""
    set_up_dlt()
    settings = Settings(
        account="api.mobiniti.com",
        package_rows=package_rows,
        isolate_failures=isolate_failures,
        policy=policy,
        retention=retention or {},
        recognition=Recognition(
            People(ENDPOINTS), [KeyedHash(key.encode()) for key in privacy_keys()]
        ),
    )
    return webhook_resources("mobiniti", WEBHOOKS, WebhookSettings(storage=storage), settings)


class _Box:
    url = ""


def warehouse_of(storage: str | Path, folder: Path) -> Warehouse:
    """An empty warehouse that is loaded from a storage."""

    def make_source(base_url: str, **settings: Any) -> Any:
        return webhooks_source(storage=str(storage), **settings)

    box: Any = _Box()
    return Warehouse(box, folder, "mobiniti", make_source)
