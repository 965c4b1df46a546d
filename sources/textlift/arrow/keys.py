"""Keys of rows as fixed-size bytes, for sets of keys that take few bytes per row.

A set of Python tuples takes about 370 bytes per row. These keys take 16 to 40 bytes, so a load
package and a full read of one partition can hold millions of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

_DIGEST_BYTES = 16
_NO_TIME = np.iinfo(np.int64).min


def packed_keys(table: pa.Table, key: Sequence[str]) -> np.ndarray:
    """Return the key of each row as bytes of one length, equal for equal keys only.

    Integers keep their 8 bytes. Any other value becomes a 128-bit digest of its text.

    Args:
        table: Rows; no key column holds NULL.
        key: One or more columns.
    """
    parts = [_column_bytes(table[name].combine_chunks()) for name in key]
    packed = np.ascontiguousarray(np.concatenate(parts, axis=1))
    return packed.view(f"S{packed.shape[1]}").ravel()


def _column_bytes(values: pa.Array) -> np.ndarray:
    if pa.types.is_integer(values.type):
        data = values.cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes()
        return np.frombuffer(data, np.uint8).reshape(len(values), 8)
    texts = values.cast(pa.string()).to_pylist()
    digests = (hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(texts), _DIGEST_BYTES)


def is_last_of_its_key(keys: np.ndarray) -> np.ndarray:
    """Return for each of ``keys`` whether no later one is equal to it."""
    _, backwards = np.unique(keys[::-1], return_index=True)
    last = np.zeros(len(keys), np.bool_)
    last[len(keys) - 1 - backwards] = True
    return last


class SeenKeys:
    """The keys of the rows in a load package, each with the time of its row.

    The keys are in sorted arrays, each at least twice as long as the next one. A look-up takes a
    binary search in each array. An added key is moved a logarithmic number of times.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def contains(self, keys: np.ndarray) -> np.ndarray:
        """Return for each of ``keys`` whether it was added."""
        return self._look_up(keys)[0]

    def add(self, keys: np.ndarray, times: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Add the keys that are new.

        Args:
            keys: Keys as :func:`packed_keys` returns them.
            times: The time of each row in microseconds since 1970, or NULL.

        Returns:
            For each key whether it is new; and the times of rows whose key was added before with
            another time.
        """
        stamps = times.fill_null(_NO_TIME).to_numpy()
        found, earlier = self._look_up(keys)
        _, first = np.unique(keys, return_index=True)
        new = np.zeros(len(keys), np.bool_)
        new[first] = True
        new &= ~found
        changed = found & (stamps != earlier) & (stamps != _NO_TIME)
        self._insert(keys[new], stamps[new])
        return new, stamps[changed]

    def _look_up(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.zeros(len(keys), np.bool_)
        stamps = np.full(len(keys), _NO_TIME)
        for known, known_stamps in self._runs:
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            here = known[at] == keys
            found |= here
            stamps[here] = known_stamps[at[here]]
        return found, stamps

    def _insert(self, keys: np.ndarray, stamps: np.ndarray) -> None:
        if not len(keys):
            return
        while self._runs and len(self._runs[-1][0]) < 2 * len(keys):
            more, more_stamps = self._runs.pop()
            keys, stamps = np.concatenate([more, keys]), np.concatenate([more_stamps, stamps])
        order = np.argsort(keys, kind="stable")
        self._runs.append((keys[order], stamps[order]))
