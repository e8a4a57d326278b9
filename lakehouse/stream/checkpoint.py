"""Checkpoint generations: which checkpoint the stream may continue, and where a new one begins.

A checkpoint is a folder on a local disk. It can be lost, or an old copy restored. The lake itself knows better:
`ops.batches` says which batch was the last of a generation. A checkpoint that is behind the lake is not
continued; a new generation starts at the offsets that the book knows.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, replace
from pathlib import Path

from lakehouse.broker import Offsets
from lakehouse.stream import offset_log, recovery
from lakehouse.stream.micro_batch import Start

_START_FILE = "generation.json"


def open_generation(book: recovery.Book, in_lake: Offsets, folder: Path) -> tuple[Start, Path]:
    """The generation to run and its checkpoint folder under `folder`; a new one where none can be continued.

    `in_lake` is what the tables hold, in the book or not.
    """
    for path in sorted(folder.glob("*/"), key=lambda path: path.stat().st_mtime, reverse=True):
        start = _read(path / _START_FILE)
        if start is not None and _is_current(book, start, path / "checkpoint", in_lake):
            return _looking_at(start, book, in_lake), path / "checkpoint"
    return _new_generation(book, in_lake, folder)


def _looking_at(start: Start, book: recovery.Book, in_lake: Offsets) -> Start:
    """A start that leaves out what the tables have and the book has not, whoever wrote it: a batch of this generation
    that was cut off, or of a later one whose checkpoint is lost. What is in the book is not done again."""
    return replace(
        start,
        starting_offsets=book.offsets,
        bronze_offsets={} if in_lake == book.offsets else in_lake,
        booked_through=book.last_of.get(start.generation, -1),
        booked=book.newest,
        began_at=book.began_at.isoformat() if book.began_at else "",
    )


def _read(file: Path) -> Start | None:
    try:
        return Start(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _is_current(book: recovery.Book, start: Start, checkpoint: Path, in_lake: Offsets) -> bool:
    """Whether the checkpoint has planned every batch of its generation that the lake knows, and no later one exists.

    Batches in the book are told by their number; one that was cut off before the book is told by its offsets.
    """
    of_generation = book.last_of.get(start.generation, -1)
    if book.last_batch != of_generation and book.last_batch >= start.first_batch_id:
        return False
    planned = offset_log.batches(checkpoint)
    last_planned = start.first_batch_id + planned[-1] if planned else start.first_batch_id - 1
    planned_to = offset_log.planned_to(checkpoint, planned[-1]) if planned else start.starting_offsets
    is_whole = not planned or planned == list(range(planned[0], planned[-1] + 1))
    knows_the_book = of_generation < 0 or last_planned >= of_generation
    return is_whole and knows_the_book and planned_to is not None and _covers(planned_to, in_lake)


def _covers(planned_to: Offsets, in_lake: Offsets) -> bool:
    return all(
        offset <= planned_to.get(topic, {}).get(partition, 0)
        for topic, partitions in in_lake.items()
        for partition, offset in partitions.items()
    )


def _new_generation(book: recovery.Book, in_lake: Offsets, folder: Path) -> tuple[Start, Path]:
    start = _looking_at(Start(uuid.uuid4().hex, book.last_batch + 1), book, in_lake)
    path = folder / start.generation
    path.mkdir(parents=True)
    (path / _START_FILE).write_text(json.dumps(asdict(start), indent=1))
    return start, path / "checkpoint"
