"""What Spark planned to read, told from its own files."""

import json
from pathlib import Path

import pytest

from lakehouse.stream import offset_log


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


def test_a_batch_begins_where_the_last_one_ended(checkpoint: Path) -> None:
    plan(checkpoint, 8, 10)
    plan(checkpoint, 9, 10)
    plan(checkpoint, 10, 11)
    tick, read = offset_log.plan_of(checkpoint, 9), offset_log.plan_of(checkpoint, 10)
    assert tick is not None and tick.begin == tick.end
    assert read == ({"shop.clicks": {"0": 10, "1": 7}}, {"shop.clicks": {"0": 11, "1": 7}})
    assert offset_log.batches(checkpoint) == [8, 9, 10]


def test_the_first_batch_begins_where_the_source_says(checkpoint: Path) -> None:
    plan(checkpoint, 0, 10)
    assert offset_log.plan_of(checkpoint, 0) is None
    for number, text in enumerate(("v1\n123", '\x00v1\n{"shop.clicks":{"1":3,"0":0}}')):
        file = checkpoint / "sources" / str(number) / "0"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    first = offset_log.plan_of(checkpoint, 0)
    assert first is not None and first.begin == {"shop.clicks": {"0": 0, "1": 3}}


def test_what_cannot_be_told_is_looked_at(checkpoint: Path) -> None:
    assert offset_log.plan_of(checkpoint, 0) is None
    plan(checkpoint, 0, 10)
    plan(checkpoint, 1, 10).write_text("v1\n{}\n{cut")
    assert offset_log.plan_of(checkpoint, 1) is None
    plan(checkpoint, 2, None)
    plan(checkpoint, 3, None)
    assert offset_log.plan_of(checkpoint, 3) is None


def test_the_offsets_after_a_batch(checkpoint: Path) -> None:
    plan(checkpoint, 4, 12)
    assert offset_log.planned_to(checkpoint, 4) == {"shop.clicks": {"0": 12, "1": 7}}
    assert offset_log.planned_to(checkpoint, 5) is None
