"""Checkpoint generations: which checkpoint the stream may continue, and where a new one begins.

A checkpoint is a folder on a local disk. It can be lost, or an old copy restored. The lake itself knows better:
`ops.batches` says which batch was the last of a generation. A checkpoint that is behind the lake is not
continued; a new generation starts at the offsets that the book knows.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from pathlib import Path

from lakehouse import recovery
from lakehouse.lake import Lake
from lakehouse.micro_batch import Start

_START_FILE = "generation.json"


def open_generation(lake: Lake, folder: Path) -> tuple[Start, Path]:
    """The generation to run and its checkpoint folder under `folder`; a new one where none can be continued."""
    for path in sorted(folder.glob("*/"), key=lambda path: path.stat().st_mtime, reverse=True):
        start = _read(path / _START_FILE)
        if start is not None and _is_current(lake, start, path / "checkpoint"):
            return start, path / "checkpoint"
    return _new_generation(lake, folder)


def _read(file: Path) -> Start | None:
    try:
        return Start(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _is_current(lake: Lake, start: Start, checkpoint: Path) -> bool:
    """Whether the checkpoint knows every batch of its generation that is in the book, and no later one exists."""
    in_lake = recovery.last_batch(lake)
    of_generation = recovery.last_batch(lake, start.generation)
    if in_lake != of_generation and in_lake >= start.first_batch_id:
        return False
    planned = _numbered(checkpoint / "offsets")
    last_planned = start.first_batch_id + planned[-1] if planned else start.first_batch_id - 1
    is_whole = not planned or planned == list(range(planned[0], planned[-1] + 1))
    return is_whole and (of_generation < 0 or last_planned >= of_generation)


def _numbered(folder: Path) -> list[int]:
    return sorted(int(file.name) for file in folder.glob("*") if file.name.isdigit())


def _new_generation(lake: Lake, folder: Path) -> tuple[Start, Path]:
    booked = recovery.offsets_booked(lake)
    in_bronze = recovery.offsets_in_bronze(lake)
    start = Start(
        generation=uuid.uuid4().hex,
        first_batch_id=recovery.last_batch(lake) + 1,
        starting_offsets=booked,
        bronze_offsets={} if in_bronze == booked else in_bronze,
    )
    path = folder / start.generation
    path.mkdir(parents=True)
    (path / _START_FILE).write_text(json.dumps(asdict(start), indent=1))
    return start, path / "checkpoint"
