"""Repeatable randomness: nothing here depends on the clock, the process or Python's own hashing."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

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


def opaque_ids(prefix: str, base: int, block: int = 4096) -> Iterator[str]:
    """Endless identifiers that never repeat and tell nothing; `base` selects the sequence."""
    template = prefix + "%016x"
    counter = 0
    while True:
        numbers = np.arange(counter, counter + block, dtype=np.uint64) + np.uint64(base)
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        for number in (numbers ^ (numbers >> np.uint64(31))).tolist():
            yield template % number
        counter += block


def exponential(rng: random.Random, mean: float) -> float:
    """An exponentially distributed number."""
    return -mean * math.log(1.0 - rng.random())


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    """A number between `low` and `high`, each order of magnitude as likely."""
    return float(low * (high / low) ** rng.random())
