"""Repeatable randomness: nothing here depends on the clock, the process or Python's own hashing."""

import hashlib
import itertools
import random
from collections.abc import Iterator
from functools import lru_cache

MASK64 = 0xFFFFFFFFFFFFFFFF
MASK32 = 0xFFFFFFFF


@lru_cache(maxsize=4096)
def derive(*parts: int | str) -> int:
    """A 64-bit number that stands for `parts`: seeds for parts of the simulation that must not disturb each other."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def generator(*parts: int | str) -> random.Random:
    """A random generator of its own for `parts`."""
    return random.Random(derive(*parts))  # noqa: S311 - simulation, not cryptography


def scramble(number: int) -> int:
    """A one-to-one scrambling of 64-bit numbers (the finaliser of splitmix64)."""
    number &= MASK64
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK64
    return number ^ (number >> 31)


def scramble32(number: int) -> int:
    """A one-to-one scrambling of 32-bit numbers (the finaliser of MurmurHash3)."""
    number &= MASK32
    number = ((number ^ (number >> 16)) * 0x85EBCA6B) & MASK32
    number = ((number ^ (number >> 13)) * 0xC2B2AE35) & MASK32
    return number ^ (number >> 16)


def opaque_ids(prefix: str, base: int) -> Iterator[str]:
    """Endless identifiers that never repeat and tell nothing; `base` selects the sequence."""
    return (f"{prefix}{scramble(number):016x}" for number in itertools.count(base))


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    """A number between `low` and `high`, each order of magnitude as likely."""
    return float(low * (high / low) ** rng.random())
