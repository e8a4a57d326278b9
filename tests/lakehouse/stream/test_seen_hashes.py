"""What was seen is found again, whatever was merged meanwhile, and what is old is forgotten."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.stream import seen_hashes as module
from lakehouse.stream.seen_hashes import SeenHashes

IDS = st.integers(0, 40)
BATCHES = st.lists(st.lists(IDS, max_size=9), max_size=25)


def hashes(ids: list[int]) -> module.Hashes:
    return np.array(ids, dtype=np.uint64) * np.uint64(2**58 + 1)


@given(BATCHES, st.lists(IDS, min_size=1, max_size=4), st.integers(0, 30))
def test_no_id_that_can_be_met_again_is_missed(batches: list[list[int]], asked: list[int], now: int) -> None:
    """Batch n arrives at n, and matters up to n + 3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGEST", 16)
        seen = SeenHashes()
        for at, batch in enumerate(batches):
            if batch:
                seen.add(hashes(batch), at, at + 3)
        seen.forget(now)
    held = [at for at, batch in enumerate(batches) if at + 3 >= now and set(batch) & set(asked)]
    since = seen.since(hashes(asked))
    assert since is not None and since <= min(held) if held else since is None or now < len(batches) + 3


def test_runs_stay_few_and_small_enough_to_tell_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 512)
    seen = SeenHashes()
    for at in range(2000):
        seen.add(hashes([2 * at, 2 * at + 1]), at, at)
    assert seen.since(hashes([0, 3999])) == 0 and seen.since(hashes([4000])) is None
    assert 1999 - 256 <= (seen.since(hashes([3999])) or 0) <= 1999
    seen.forget(1700)
    assert seen.since(hashes([0])) is None and seen.since(hashes([3500])) is not None


@given(BATCHES, st.lists(IDS, max_size=6, unique=True), st.integers(0, 12))
def test_what_was_seen_is_known_and_met_with_its_ages(batches: list[list[int]], asked: list[int], now: int) -> None:
    """Batch n has age n. A run that is not forgotten yet may hold more than it must."""
    plain, aged = SeenHashes(), SeenHashes()
    for at, batch in enumerate(batches):
        if batch:
            plain.add(hashes(batch), at, at)
            aged.add(hashes(batch), at, at, np.full(len(batch), at))
    kept = [(number, at) for at, batch in enumerate(batches) for number in batch if number in asked]
    met, ages = aged.met(hashes(asked))
    found = sorted(zip(met.tolist(), ages.tolist(), strict=True))
    assert found == sorted((int(hashes([number])[0]), at) for number, at in kept)
    assert plain.known(hashes(asked)).tolist() == [number in {each for each, _ in kept} for number in asked]
    aged.forget(now)
    left = aged.met(hashes(asked))[1].tolist()
    assert sorted(at for _, at in kept if at >= now) == sorted(at for at in left if at >= now)
