"""Randomness that is the same for ever: a function of the seed, a name and a number."""

from __future__ import annotations

from hashlib import blake2b

_MASK = 2**64 - 1


def salt(seed: int, name: str) -> int:
    """A number that sets one use of `mix` apart from the others."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "little")


def mix(number: int, salt: int) -> int:
    """64 well-mixed bits out of a number; cheap, for the loops over everything."""
    x = (number * 0x9E3779B97F4A7C15 + salt) & _MASK
    x = ((x ^ (x >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    return x ^ (x >> 32)


def pick(bits: int, population: int) -> int:
    """One of so many numbers, the later the likelier.

    Were all as likely, the first profiles of an account, there for everything, would collect more
    and more.
    """
    return max((bits & 0xFFFFFFFF) * population, (bits >> 32) * population) >> 32


class Dice:
    """32 random bytes for each number: all that a row needs."""

    def __init__(self, seed: int, name: str) -> None:
        self._base = blake2b(f"{seed}/{name}".encode(), digest_size=32)

    def throw(self, number: int) -> bytes:
        """The bytes that belong to a number."""
        state = self._base.copy()
        state.update(number.to_bytes(8, "little"))
        return state.digest()
