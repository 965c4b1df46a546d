"""The receiver over HTTP: 200 only for what is on durable storage, and limits on everything."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import PROJECT, readable_by_others
from tests.support.commands import FAILED, LOADED, UNUSABLE, two_lines, wait_until
from tests.support.webhooks import (
    KINDS,
    PATIENCE,
    SECRET,
    Receiving,
    command,
    environment,
    post_and_kill,
    receiving,
    segments,
    stored,
    warehouse_of,
)

pytestmark = pytest.mark.real_clock
UNSUBSCRIBE = {"id": "contact-1", "to": "64600", "unsubscribed_at": "2026-06-01T11:00:00.000Z"}
MB = 10**6


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiving, Path]]:
    """A receiver and its storage, for tests that only look at its answers."""
    storage = tmp_path_factory.mktemp("shared") / "storage"
    with receiving(storage) as receiver:
        yield receiver, storage


def exchange(receiver: Receiving, *parts: bytes) -> bytes:
    """Send parts of a request on a connection of its own, and return all that is answered."""
    host, port = receiver.address.split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        answer = b""
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
                if b"\r\n\r\n" in answer and b"connection: close" not in answer.lower():
                    break
    return answer


def head(length: int | None, kind: str = "unsubscribes") -> bytes:
    body = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST /{SECRET}/{kind} HTTP/1.1\r\nHost: localhost\r\n{body}\r\n\r\n".encode()


def memory(process: subprocess.Popen[str]) -> int:
    """Return the most bytes of memory that a process has used."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_what_is_acknowledged_survives_a_kill_byte_for_byte(tmp_path: Path) -> None:
    bodies = [
        b'{"a": "\xc3\xa9 \xf0\x9f\x98\x80 \\ud83d \\n\\r\\u0000", "n": 1.50, "n": 2e400}\r\n',
        b'\xef\xbb\xbf \t{ "big": 123456789012345678901234567890 }',
        b"[]",
    ]
    with receiving(tmp_path / "storage") as receiver:
        assert [receiver.post("bounces", body) for body in bodies] == [200] * 3
        receiver.kill()
    assert stored(tmp_path / "storage") == bodies
    assert readable_by_others(tmp_path / "storage") == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/{SECRET}",
        f"/{SECRET}/",
        f"/{SECRET}/nothing",
        f"/{SECRET}/unsubscribes/more",
        f"/{SECRET[:-1]}/unsubscribes",
        f"/{SECRET}x/unsubscribes",
        "/%FF%00/unsubscribes",
        f"//{SECRET}/unsubscribes",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_any_other_path_is_not_found_and_says_nothing(
    shared: tuple[Receiving, Path], path: str, method: str
) -> None:
    receiver, storage = shared
    before = len(stored(storage))
    connection = receiver.connect()
    connection.request(method, path, json.dumps(UNSUBSCRIBE))
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (404, b"")
    connection.close()
    assert len(stored(storage)) == before


def test_only_posts_are_taken(shared: tuple[Receiving, Path]) -> None:
    receiver, _ = shared
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        status, headers = receiver.request("unsubscribes", method=method)
        assert (status, headers["allow"]) == (405, "POST")
    assert receiver.request("", secret="health", method="GET")[0] == 404
    connection = receiver.connect()
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"to=64600&id=1",
        b"{'id': 1}",
        b'{"id": 1} {}',
        b'{"id": NaN}',
        b"[Infinity]",
        b'{"id": "\xff"}',
        '{"id": 1}'.encode("utf-16"),
        b'{"id": "a\nb"}',
        b"[" * 65 + b"]" * 65,
        b"[" * 400_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_refused(shared: tuple[Receiving, Path], body: bytes) -> None:
    receiver, storage = shared
    before = len(stored(storage))
    assert receiver.post("unsubscribes", body) == 400
    assert len(stored(storage)) == before
    assert receiver.post("unsubscribes", b"[" * 64 + b"]" * 64) == 200


@pytest.mark.parametrize("stated", [True, False], ids=["with a length", "in chunks"])
def test_a_body_of_50_megabytes_is_refused_and_not_held(tmp_path: Path, stated: bool) -> None:
    with receiving(tmp_path / "storage") as receiver:
        assert receiver.post("bounces", {"id": "contact-1", "bounces": 2}) == 200
        before = memory(receiver.process)
        filler = b"x" * 2**16
        part = filler if stated else b"10000\r\n" + filler + b"\r\n"
        parts = [head(50 * MB if stated else None), *[part] * (50 * MB // 2**16)]
        assert b" 413 " in exchange(receiver, *parts)
        assert memory(receiver.process) - before < 10 * MB
        assert receiver.post("bounces", b'"' + b"x" * (2**20 - 2) + b'"') == 200
        assert receiver.post("bounces", b'"' + b"x" * (2**20 - 1) + b'"') == 413


@pytest.mark.parametrize("stated", [True, False], ids=["with a length", "in chunks"])
def test_the_rest_of_a_body_that_was_refused_is_discarded(
    shared: tuple[Receiving, Path], stated: bool
) -> None:
    receiver, storage = shared
    before = len(stored(storage))
    host, port = receiver.address.split(":")
    filler = b"x" * 2 * MB
    sent, rest = (head(4 * MB), filler), filler
    if not stated:
        chunk = b"%x\r\n%s\r\n" % (len(filler), filler)
        sent, rest = (head(None), chunk), chunk + b"0\r\n\r\n"
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        for part in sent:
            connection.sendall(part)
        assert b" 413 " in connection.recv(65536)
        connection.sendall(rest + head(2) + b"{}")
        assert b" 200 " in connection.recv(65536)
    assert len(stored(storage)) == before + 1


def test_the_rest_of_a_body_that_was_refused_is_not_waited_for_longer_than_a_body(
    tmp_path: Path,
) -> None:
    with receiving(tmp_path / "storage", body_seconds=0.3) as receiver:
        host, port = receiver.address.split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            connection.sendall(head(4 * MB))
            assert b" 413 " in connection.recv(65536)
            assert connection.recv(65536) == b""


def test_a_sender_that_is_too_slow_is_given_up(tmp_path: Path) -> None:
    with receiving(tmp_path / "storage", body_seconds=0.3, head_seconds=0.3) as receiver:
        assert b" 408 " in exchange(receiver, head(10) + b'{"id"')
        assert exchange(receiver, head(10)[:20]) == b""
        assert exchange(receiver) == b""
        assert receiver.post("unsubscribes", UNSUBSCRIBE) == 200
    assert len(stored(tmp_path / "storage")) == 1


def test_headers_without_end_are_given_up(shared: tuple[Receiving, Path]) -> None:
    lines = [b"X-Filler: " + b"x" * 1000 + b"\r\n"] * 2000
    assert exchange(shared[0], head(10)[:-2], *lines) == b""


def test_bodies_in_memory_are_limited(tmp_path: Path) -> None:
    with receiving(tmp_path / "storage", held=1000) as receiver:
        status, headers = receiver.request("bounces", b'"' + b"x" * 2000 + b'"')
        assert (status, headers["retry-after"]) == (503, "30")
        for _ in range(20):
            assert receiver.post("bounces", b'"' + b"x" * 100 + b'"') == 200


def test_a_connection_takes_many_posts_also_without_waiting(shared: tuple[Receiving, Path]) -> None:
    receiver, storage = shared
    before = len(stored(storage, "rejections"))
    host, port = receiver.address.split(":")
    request = head(2, "rejections") + b"{}"
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(request * 20)
        answer = b""
        while answer.count(b"HTTP/1.1 200 OK") < 20:
            part = connection.recv(65536)
            assert part
            answer += part
    assert len(stored(storage, "rejections")) == before + 20


@contextmanager
def full_disk(receiver: Receiving, storage: Path) -> Iterator[Callable[[], None]]:
    """A storage without space. What it yields makes space."""
    if os.path.ismount(storage):
        ballast = storage / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"x" * 512):
                pass
        yield ballast.unlink
        return
    before = resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE, (0, -1))
    yield lambda: resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE, before) and None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own for root; else any folder, whose files get a limit."""
    folder = tmp_path / "small"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, check=False).returncode
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_acknowledges_nothing_until_there_is_space(
    small_disk: Path, tmp_path: Path
) -> None:
    with receiving(small_disk) as receiver:
        assert receiver.post("unsubscribes", UNSUBSCRIBE) == 200
        with full_disk(receiver, small_disk) as make_space:
            for _ in range(2):
                status, headers = receiver.request("unsubscribes", {**UNSUBSCRIBE, "id": "2"})
                assert (status, headers["retry-after"]) == (503, "30")
            assert len(stored(small_disk)) == 1
            assert list(small_disk.glob("*/*.part")) == []
            make_space()
        assert receiver.post("unsubscribes", {**UNSUBSCRIBE, "id": "3"}) == 200
        assert [json.loads(body)["id"] for body in stored(small_disk)] == ["contact-1", "3"]
        _, _, errors = receiver.stop()
    assert errors.count("posts get 503, because the storage of webhooks cannot be written to") == 1
    assert errors.count("works again") == 1


def test_a_receiver_that_starts_removes_what_a_killed_one_left_and_nothing_else(
    tmp_path: Path,
) -> None:
    kind = tmp_path / "storage" / "bounces"
    kind.mkdir(parents=True)
    torn, written = (kind / f"20260601T000000Z-0123456789ab-0000000{n}.jsonl.part" for n in (1, 2))
    torn.write_text("{")
    with written.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with receiving(tmp_path / "storage"):
            assert (torn.exists(), written.exists()) == (False, True)


def test_it_stops_when_it_has_answered_and_prints_no_secret(tmp_path: Path) -> None:
    with receiving(tmp_path / "storage") as receiver:
        receiver.post("unsubscribes", UNSUBSCRIBE)
        receiver.post("unsubscribes", b"nothing")
        receiver.request("unsubscribes", UNSUBSCRIBE, secret="wrong")
        host, port = receiver.address.split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            connection.sendall(head(2) + b"{")
            wait_until(lambda: receiver.post("bounces", b"{}") == 200)
            receiver.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionError):
                while True:
                    socket.create_connection((host, int(port)), PATIENCE).close()
            connection.sendall(b"}")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        code, out, errors = receiver.stop()
    assert (code, errors) == (LOADED, "")
    assert "unsubscribes 2 stored; unsubscribes 1 refused (400)" in out
    assert "wrong path 1 refused (404)" in out
    assert SECRET not in out


def ended(*arguments: str, **changes: str) -> tuple[int, str]:
    done = subprocess.run(
        arguments,
        check=False,
        cwd=PROJECT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("secret", ["", "x" * 31, "x" * 31 + "/", "x" * 40 + "é"])
def test_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, secret: str) -> None:
    code, message = ended(*command(tmp_path), SOURCES__MOBINITI__WEBHOOKS__SECRET=secret)
    assert code == UNUSABLE
    first, second = two_lines(message)
    assert "sources.mobiniti.webhooks.secret" in first
    assert "secrets.token_urlsafe" in second
    assert not secret or secret not in message


def test_a_storage_or_a_port_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, message = ended(*command(tmp_path / "file"))
    assert (code, str(tmp_path) in message) == (FAILED, True)
    two_lines(message)
    with receiving(tmp_path / "storage") as receiver:
        port = int(receiver.address.split(":")[1])
        code, message = ended(*command(tmp_path / "storage", port))
    assert (code, "--port" in message) == (UNUSABLE, True)
    two_lines(message)


def test_kills_and_several_receivers_lose_and_double_nothing(tmp_path: Path) -> None:
    """``tests/chaos/test_webhooks.py`` does this with many more posts."""
    storage = tmp_path / "storage"
    posts = [
        ("unsubscribes", json.dumps({**UNSUBSCRIBE, "id": str(number)}).encode())
        for number in range(600)
    ]
    with receiving(storage) as other:
        assert other.post("unsubscribes", {**UNSUBSCRIBE, "id": "other"}) == 200
        assert post_and_kill(storage, posts, kills=2, rate=400, connections=20) == 600
        assert other.post("unsubscribes", json.loads(posts[0][1])) == 200
    warehouse = warehouse_of(storage, tmp_path)
    warehouse.load("unsubscribes")
    rows = warehouse.query("SELECT count(*), count(DISTINCT contact_id) FROM unsubscribes")
    assert rows == [(601, 601)]
    assert segments(storage) == []


def test_the_kinds_are_the_names_of_the_tables() -> None:
    assert KINDS == [
        "inbound_messages",
        "unsubscribes",
        "delivery_reports",
        "contact_status_changes",
        "bounces",
        "rejections",
    ]


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['uvicorn'] = None; from textlift.cli import main; "
    run = f"{hidden} sys.exit(main(['webhooks', 'mobiniti', '--storage', sys.argv[1]]))"
    status, message = ended(sys.executable, "-c", run, str(tmp_path))
    assert status == UNUSABLE
    assert "textlift[webhooks]" in two_lines(message)[1]
