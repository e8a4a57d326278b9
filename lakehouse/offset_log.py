"""Spark's offset log of a checkpoint: what each micro-batch was planned to read, written before it is run.

A file per batch under `offsets/`, with a version, metadata, and a line of JSON per source; Kafka's is the only object.
"""

from __future__ import annotations

import json
from pathlib import Path

from lakehouse.recovery import Offsets


def batches(checkpoint: Path) -> list[int]:
    """Numbers of the planned batches that the log still has, ascending."""
    return sorted(int(file.name) for file in (checkpoint / "offsets").glob("*") if file.name.isdigit())


def planned_to(checkpoint: Path, batch: int) -> Offsets | None:
    """Next Kafka offsets after a planned batch; None when its file is not there or cut off."""
    try:
        lines = (checkpoint / "offsets" / str(batch)).read_text().splitlines()
        sources = [json.loads(line) for line in lines[2:]]
    except (OSError, ValueError):
        return None
    return next((source for source in sources if isinstance(source, dict)), None)


def is_only_a_tick(checkpoint: Path, batch: int) -> bool:
    """Whether a batch is known to have no Kafka record: it ends where the one before it ended."""
    end = planned_to(checkpoint, batch)
    return end is not None and end == planned_to(checkpoint, batch - 1)
