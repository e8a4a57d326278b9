"""Finds hashes that came before, in a few milliseconds: to look some thousand of them up in a table of twenty million
rows would take a tenth of a second of a core with every micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Ages = NDArray[np.int64]
NO_AGES: Ages = np.empty(0, np.int64)
LARGEST = 2**20
"""A run this large is not merged again: after a hit in it, all ids since its beginning are looked up."""


@dataclass(frozen=True)
class _Run:
    """Sorted hashes of what came from `since` on, and matters up to `until`; the age of each, or NO_AGES."""

    hashes: Hashes
    ages: Ages
    since: int
    until: int

    def joined(self, other: _Run) -> _Run:
        hashes, ages = np.concatenate((self.hashes, other.hashes)), np.concatenate((self.ages, other.ages))
        return _run(hashes, ages, min(self.since, other.since), max(self.until, other.until))


def _run(hashes: Hashes, ages: Ages, since: int, until: int) -> _Run:
    if not len(ages):
        return _Run(np.sort(hashes, kind="stable"), NO_AGES, since, until)
    order = np.argsort(hashes, kind="stable")
    return _Run(hashes[order], ages[order], since, until)


class SeenHashes:
    """64-bit hashes in sorted runs, which are merged as they grow so that they stay few (the log-structured merge tree
    of O'Neil et al., 1996)."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._runs: list[_Run] = []

    def add(self, hashes: Hashes, since: int, until: int, ages: Ages = NO_AGES) -> None:
        """Remember what came at `since` or later, and cannot be met again after `until`. `ages` are given always or
        never."""
        run = _run(hashes, ages, since, until)
        while self._runs and len(self._runs[-1].hashes) <= min(2 * len(run.hashes), LARGEST - len(run.hashes)):
            run = self._runs.pop().joined(run)
        self._runs.append(run)

    def since(self, hashes: Hashes) -> int | None:
        """From when on they have to be looked up, since one of them may have come before; None: all are new."""
        wanted = np.sort(hashes)
        return min((run.since for run in self._runs if _found(run, wanted).any()), default=None)

    def known(self, hashes: Hashes) -> NDArray[np.bool_]:
        """True for each that came before."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        for run in self._runs:
            found |= _found(run, hashes)
        return found

    def met(self, hashes: Hashes) -> tuple[Hashes, Ages]:
        """Those of the distinct `hashes` that came before, as often as they did, and the ages that came with them."""
        wanted = np.sort(hashes)
        found: list[tuple[Hashes, Ages]] = [(np.empty(0, np.uint64), NO_AGES)]
        for run in self._runs:
            first = np.searchsorted(run.hashes, wanted)
            counts = np.searchsorted(run.hashes, wanted, side="right") - first
            ends = np.cumsum(counts)
            places = np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
            found.append((run.hashes[places], run.ages[places]))
        hashes_met, ages = zip(*found, strict=True)
        return np.concatenate(hashes_met), np.concatenate(ages)

    @property
    def megabytes(self) -> int:
        """Memory that the hashes and ages take."""
        return sum(run.hashes.nbytes + run.ages.nbytes for run in self._runs) // 2**20

    def forget(self, before: int) -> None:
        """Drop runs whose last hash cannot be met again from `before` on."""
        self._runs = [run for run in self._runs if run.until >= before]


def _found(run: _Run, wanted: Hashes) -> Any:
    """True for each of `wanted` that the run, which has at least one hash, holds."""
    places = np.searchsorted(run.hashes, wanted)
    return run.hashes[np.minimum(places, len(run.hashes) - 1)] == wanted
