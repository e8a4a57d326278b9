"""Recorded data as records: JSON of the contract as it is, and the layouts of others as events."""

import json
import re
from collections import Counter
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from lakehouse.errors import UsageError
from producer import contract, layouts
from producer.record import Record, from_line

_TIMESTAMP = re.compile(contract.TIMESTAMP)


def replay(
    path: Path,
    *,
    shift_to: datetime | None = None,
    rate: float | None = None,
    left_out: Counter[str] | None = None,
) -> Generator[Record, None, None]:
    """The records of a recorded file: JSON of the contract in its order, other layouts by time.

    `shift_to` moves every timestamp by the same span, so that the last event happens then. `rate` spaces the
    records' `due` for `publish(..., live_from=0.0)`. `left_out` counts what the contract has no event type for.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path} to replay.")
    layout = layouts.layout_of(path)
    found = (
        _json_records(path, shift_to - _last_moment(path, shift_to) if shift_to else None)
        if layout is None
        else layouts.records(path, layout, shift_to, Counter() if left_out is None else left_out)
    )
    for number, record in enumerate(found):
        yield record._replace(due=number / rate) if rate else record


def _json_records(path: Path, shift: timedelta | None) -> Iterator[Record]:
    for text in layouts.documents(path) if layouts.document(path) else _lines(path):
        record = from_line(text)
        yield _shifted(record, shift) if shift else record


def _lines(path: Path) -> Iterator[bytes]:
    with layouts.opened(path) as lines:
        for line in lines:
            # A mark of the byte order may stand before any line: files were put together.
            if text := line.removeprefix(layouts.BYTE_ORDER_MARK).rstrip(b"\r\n"):
                yield text


def _shifted(record: Record, shift: timedelta) -> Record:
    """The record with its event's time moved and every number as it was written; as it is where that cannot be done
    without repairing it."""
    moment = _moment(record)
    if moment is None or record.value is None:
        return record
    try:
        moved = (moment + shift).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = json.loads(record.value, parse_float=_as_written, parse_int=_as_written, object_pairs_hook=_unique)
        return record._replace(value=orjson.dumps(event | {"timestamp": moved}))
    except (OverflowError, RecursionError, ValueError):
        return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _as_written(number: str) -> orjson.Fragment:
    return orjson.Fragment(number)


def _last_moment(path: Path, until: datetime) -> datetime:
    """The last moment of the file. A later one than `until` is a clock that was wrong, unless there is no other."""
    moments = (moment for record in _json_records(path, None) if (moment := _moment(record)))
    last = max(moments, key=lambda moment: (moment <= until, moment), default=None)
    if last is None:
        raise UsageError(f"{path.name} holds no event with a time, so it cannot be shifted.")
    return last


def _moment(record: Record) -> datetime | None:
    try:
        said = orjson.loads(record.value or b"null")["timestamp"]
        return datetime.fromisoformat(said.upper()) if _TIMESTAMP.fullmatch(said) else None
    except (KeyError, TypeError, ValueError):
        return None
