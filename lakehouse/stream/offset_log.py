"""Spark's offset log of a checkpoint: what each micro-batch was planned to read, written before it is run.

A file per batch under `offsets/`, with a version, metadata, and a line of JSON per source; Kafka's is the only object.
Where the first batch began is in a file of the source, behind a version.
"""

import json
from pathlib import Path
from typing import Any

from lakehouse.broker import Offsets
from lakehouse.ops.batches import Plan


def batches(checkpoint: Path) -> list[int]:
    """Numbers of the planned batches that the log still has, ascending."""
    return sorted(int(file.name) for file in (checkpoint / "offsets").glob("*") if file.name.isdigit())


def planned_to(checkpoint: Path, batch: int) -> Offsets | None:
    """Next Kafka offsets after a planned batch; None if its file is missing or incomplete."""
    try:
        lines = (checkpoint / "offsets" / str(batch)).read_text().splitlines()
        return _of_kafka([json.loads(line) for line in lines[2:]])
    except (OSError, ValueError):
        return None


def plan_of(checkpoint: Path, batch: int) -> Plan | None:
    """The offsets that a batch was planned to read; None if the log does not have them."""
    end = planned_to(checkpoint, batch)
    begin = planned_to(checkpoint, batch - 1) if batch else _first_begin(checkpoint)
    return None if begin is None or end is None else Plan(begin, end)


def _first_begin(checkpoint: Path) -> Offsets | None:
    try:
        texts = [file.read_text() for file in (checkpoint / "sources").glob("*/0")]
        return _of_kafka([json.loads(text.partition("v1\n")[2]) for text in texts])
    except (OSError, ValueError):
        return None


def _of_kafka(sources: list[Any]) -> Offsets | None:
    return next((source for source in sources if isinstance(source, dict)), None)
