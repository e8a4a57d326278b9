"""What Spark planned to read, told from its own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lakehouse import offset_log


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "offsets").mkdir()
    return tmp_path


def plan(checkpoint: Path, batch: int, clicks: int | None) -> Path:
    """A planned batch: Kafka's line, or the dash that Spark writes before it knows any offset, and the tick's."""
    kafka = "-" if clicks is None else json.dumps({"shop.clicks": {"1": 7, "0": clicks}})
    file = checkpoint / "offsets" / str(batch)
    file.write_text(f"v1\n{{}}\n{kafka}\n{100 + batch}")
    return file


def test_a_batch_that_ends_where_the_last_one_ended_is_only_a_tick(checkpoint: Path) -> None:
    plan(checkpoint, 8, 10)
    plan(checkpoint, 9, 10)
    plan(checkpoint, 10, 11)
    assert offset_log.is_only_a_tick(checkpoint, 9)
    assert not offset_log.is_only_a_tick(checkpoint, 10)
    assert offset_log.batches(checkpoint) == [8, 9, 10]


def test_what_cannot_be_told_is_looked_at(checkpoint: Path) -> None:
    assert not offset_log.is_only_a_tick(checkpoint, 0)
    plan(checkpoint, 0, 10)
    assert not offset_log.is_only_a_tick(checkpoint, 0), "the first batch has none before it"
    plan(checkpoint, 1, 10).write_text("v1\n{}\n{cut")
    assert not offset_log.is_only_a_tick(checkpoint, 1)
    plan(checkpoint, 2, None)
    plan(checkpoint, 3, None)
    assert not offset_log.is_only_a_tick(checkpoint, 3)


def test_the_offsets_after_a_batch(checkpoint: Path) -> None:
    plan(checkpoint, 4, 12)
    assert offset_log.planned_to(checkpoint, 4) == {"shop.clicks": {"0": 12, "1": 7}}
    assert offset_log.planned_to(checkpoint, 5) is None
