"""Recognises new event ids in a few milliseconds: looking them all up in a table of twenty million rows would take a
tenth of a second of a core with every micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
LARGEST = 2**20
"""A run this large is not merged again: after a hit in it, all ids since its beginning are looked up."""


@dataclass(frozen=True)
class _Run:
    """Sorted hashes of what arrived from `since` on, and matters up to the moment `until` (microseconds)."""

    hashes: Hashes
    since: int
    until: int

    def joined(self, other: _Run) -> _Run:
        both = np.sort(np.concatenate((self.hashes, other.hashes)), kind="stable")
        return _Run(both, min(self.since, other.since), max(self.until, other.until))


class SeenIds:
    """64-bit hashes of event ids in sorted runs, which are merged as they grow so that they stay few (the
    log-structured merge tree of O'Neil et al., 1996)."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._runs: list[_Run] = []

    def add(self, hashes: Hashes, since: int, until: int) -> None:
        """Remember what arrived at `since` or later, and cannot be met again after the moment `until`."""
        run = _Run(np.sort(hashes), since, until)
        while self._runs and len(self._runs[-1].hashes) <= min(2 * len(run.hashes), LARGEST - len(run.hashes)):
            run = self._runs.pop().joined(run)
        self._runs.append(run)

    def since(self, hashes: Hashes) -> int | None:
        """From when on the ids have to be looked up, since one of these hashes may be among them; None: all are new."""
        wanted: Any = np.sort(hashes)
        hits = (run.since for run in self._runs if _share(run.hashes, wanted))
        return min(hits, default=None)

    @property
    def megabytes(self) -> int:
        """Memory that the hashes take."""
        return sum(run.hashes.nbytes for run in self._runs) // 2**20

    def forget(self, before: int) -> None:
        """Drop what cannot be met again after this moment."""
        self._runs = [run for run in self._runs if run.until >= before]


def _share(known: Hashes, wanted: Hashes) -> bool:
    """True where one of the sorted `wanted` is among the sorted `known`."""
    places = np.searchsorted(known, wanted)
    return bool((known[np.minimum(places, len(known) - 1)] == wanted).any()) if len(known) else False
