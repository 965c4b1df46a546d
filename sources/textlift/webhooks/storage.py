"""The storage of webhooks: segments in a folder or a bucket, with a folder for each kind.

A segment holds bodies of one kind in the order of their arrival: a line of JSON for each, with the
time of receipt and the body as text. It is written once, under a name of its own, and never changed.
With a secret key, it is encrypted. Any number of receivers can write to a storage, and loads can read it at the same time.
"""

from __future__ import annotations

import fcntl
import os
import posixpath
import re
import secrets
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from errno import EACCES
from itertools import count
from typing import Any

from dlt.common.storages.configuration import FilesystemConfiguration
from dlt.common.storages.fsspec_filesystem import fsspec_from_config
from fsspec.implementations.local import LocalFileSystem

from textlift.errors import StorageFailed, quote
from textlift.webhooks.cipher import SegmentCipher, decrypted

#: Segments that are read or deleted at the same time.
AT_ONCE = 16
#: The time of the first body, the receiver, and the number of the segment among those of its kind.
_NAME = re.compile(r"\d{8}T\d{6}Z-([0-9a-f]{12})-(\d{8,})\.jsonl")
_RECEIVER_BYTES = 6
#: End of the name of a file that is being written.
_TORN = ".part"


def new_receiver() -> str:
    """Return the id of a receiver that starts."""
    return secrets.token_hex(_RECEIVER_BYTES)


class Names:
    """The names of the segments of one kind from one receiver. They tell nothing about people.

    Args:
        receiver: Id of the receiver, which is new whenever it starts.
    """

    def __init__(self, receiver: str) -> None:
        self._receiver = receiver
        self._numbers = count(1)

    def next(self) -> str:
        """Return the name of a segment that is written now."""
        now = datetime.now(timezone.utc)
        return f"{now:%Y%m%dT%H%M%SZ}-{self._receiver}-{next(self._numbers):08d}.jsonl"


class Segments(Container[str]):
    """A set of segments, as ranges of numbers for each receiver: small, however many they are."""

    def __init__(self, ranges: Mapping[str, Iterable[Iterable[int]]]) -> None:
        self.ranges = {
            receiver: [list(each) for each in found] for receiver, found in ranges.items()
        }

    @classmethod
    def of(cls, names: Iterable[str]) -> Segments:
        """Return the set of the segments with these names."""
        found = cls({})
        for receiver, number in sorted(map(_parts, names)):
            ranges = found.ranges.setdefault(receiver, [])
            if ranges and number <= ranges[-1][1] + 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return found

    def __contains__(self, name: object) -> bool:
        receiver, number = _parts(str(name))
        return any(first <= number <= last for first, last in self.ranges.get(receiver, ()))


def _parts(name: str) -> tuple[str, int]:
    found = _NAME.fullmatch(name)
    assert found, name
    return found[1], int(found[2])


class Storage:
    """A folder, or a bucket that puts an object as a whole or not at all.

    Args:
        config: URL of the storage, and its credentials.
        cipher: Encrypts segments; ``None`` to write them in clear.

    Attributes:
        url: The URL, for messages.
    """

    def __init__(
        self, config: FilesystemConfiguration, cipher: SegmentCipher | None = None
    ) -> None:
        self.url = str(config)
        with self._failing("cannot be opened"):
            self._fs, self._root = fsspec_from_config(config)
        self._is_folder = isinstance(self._fs, LocalFileSystem)
        self._cipher = cipher

    @property
    def is_missing(self) -> bool:
        """Whether it is a folder that does not exist."""
        return self._is_folder and not os.path.isdir(self._root)

    def prepare(self, kinds: Iterable[str]) -> None:
        """Create the folders, and check that segments can be written.

        Raises:
            StorageFailed: They cannot.
        """
        for kind in kinds:
            if self._is_folder:
                with self._failing("cannot be written to"):
                    folder = posixpath.join(self._root, kind)
                    _make_folder(folder)
                    if not os.access(folder, os.W_OK | os.X_OK):
                        raise PermissionError(EACCES, os.strerror(EACCES))
            self.names(kind)

    def write(self, kind: str, name: str, data: bytes) -> None:
        """Write a segment. When this returns, the segment survives a loss of power.

        Raises:
            StorageFailed: It may not survive.
        """
        with self._failing("cannot be written to"):
            if self._cipher:
                data = self._cipher.encrypt(data, f"{kind}/{name}")
            if self._is_folder:
                _write_durably(posixpath.join(self._root, kind), name, data)
            else:
                self._fs.pipe_file(self._path(kind, name), data)

    def names(self, kind: str) -> list[str]:
        """Return the names of the segments of a kind, oldest first.

        Files that killed receivers left half written are removed.

        Raises:
            StorageFailed: The storage cannot be read.
        """
        with self._failing("cannot be read"):
            self._fs.invalidate_cache()
            try:
                paths = self._fs.ls(posixpath.join(self._root, kind), detail=False)
            except FileNotFoundError:
                return []
            if self._is_folder:
                for path in paths:
                    if path.endswith(_TORN):
                        _remove_torn(path)
        names = map(posixpath.basename, paths)
        return sorted(name for name in names if _NAME.fullmatch(name))

    def read(self, kind: str, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and the contents of segments.

        A segment that another load has deleted meanwhile is left out.

        Raises:
            StorageFailed: A segment cannot be read or decrypted.
        """

        def content(name: str) -> tuple[str, bytes] | None:
            with suppress(FileNotFoundError):
                return name, self._fs.cat_file(self._path(kind, name))
            return None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for some in _chunks(list(names)):
                with self._failing("cannot be read"):
                    found = list(pool.map(content, some))
                for name, data in filter(None, found):
                    yield name, decrypted(data, f"{kind}/{name}", self._cipher)

    def delete(self, kind: str, names: Iterable[str]) -> None:
        """Delete segments; those that do not exist are ignored.

        Raises:
            StorageFailed: At least one segment cannot be deleted.
        """

        def remove(name: str) -> None:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._path(kind, name))

        with (
            self._failing("has segments that cannot be deleted"),
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            list(pool.map(remove, names))

    def _path(self, kind: str, name: str) -> str:
        return posixpath.join(self._root, kind, name)

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each kind of storage has its own errors
            reason = getattr(error, "strerror", None) or quote(str(error))
            raise StorageFailed(
                f"the storage of webhooks {what}: {type(error).__name__}: {reason}\n"
                f"Check {self.url}, its space and its permissions."
            ) from error


def _chunks(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), AT_ONCE):
        yield names[start : start + AT_ONCE]


def _write_durably(folder: str, name: str, data: bytes) -> None:
    """Write a file and wait until the disk has it and its name."""
    _make_folder(folder)
    path = os.path.join(folder, name)
    torn = path + _TORN
    file = os.open(torn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # A load removes a file whose lock nobody holds. Then the rename fails.
        fcntl.flock(file, fcntl.LOCK_EX)
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
        os.rename(torn, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(torn)
        raise
    finally:
        os.close(file)
    _sync_folder(folder)


def _make_folder(folder: str) -> None:
    """Create a folder and those above it, each durably and only for the owner."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _remove_torn(path: str) -> None:
    """Remove a half-written file, unless a receiver is writing it."""
    with suppress(FileNotFoundError):
        file: Any = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        except BlockingIOError:
            pass
        finally:
            os.close(file)
