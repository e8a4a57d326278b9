"""Micro-batches as the fold gets them, from short descriptions."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from lakehouse import hours as clock
from lakehouse.stream.fold import OF_EVENT, Fold
from lakehouse.stream.live_gold import LIVE
from lakehouse.table import Table

Row = dict[str, Any]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEDUPE = timedelta(hours=3)
IN_MEMORY = Path(":memory:")
_MOMENT = pa.timestamp("us", "UTC")
_ARROW = {"VARCHAR": pa.string(), "DECIMAL(28,9)": pa.decimal128(28, 9), "TIMESTAMPTZ": _MOMENT}
_EVENT = {name: _ARROW[kind] for name, kind in OF_EVENT.items()}
_PLACE = {"topic": pa.string(), "partition": pa.int32(), "offset": pa.int64()}
FACTS = pa.schema({**_PLACE, "kafka_timestamp": _MOMENT, "reason_code": pa.string(), **_EVENT})
ACCEPTED = pa.schema({**_EVENT, "processed_at": _MOMENT})
WRITTEN = pa.schema({"event_id": pa.string(), "event_time": _MOMENT, "processed_at": _MOMENT, **_PLACE})
_DEFAULTS = {"topic": "shop.clicks", "partition": 0, "event_type": "click", "user_id": "u1", "event_time": NOON}


def record(event_id: str, offset: int, **others: Any) -> Row:
    """A record of a micro-batch."""
    return {**_DEFAULTS, "kafka_timestamp": NOON, "event_id": event_id, "offset": offset, **others}


def facts(records: Iterable[Row]) -> pa.Table:
    """A micro-batch."""
    return pa.Table.from_pylist(list(records), FACTS)


def places(records: Iterable[Row]) -> pa.Table:
    """The coordinates of records."""
    return pa.Table.from_pylist([{name: each[name] for name in _PLACE} for each in records], pa.schema(_PLACE))


def reader(accepted: Iterable[Row]) -> pa.RecordBatchReader:
    """Accepted events, as they are read from silver."""
    return pa.Table.from_pylist(list(accepted), ACCEPTED).to_reader()


def place_of(row: Row) -> tuple[str, int, int]:
    return row["topic"], row["partition"], row["offset"]


def empty_fold(now: datetime, path: Path = IN_MEMORY) -> Fold:
    """The fold of a silver without events."""
    fold = Fold(path, LIVE, DEDUPE, 256)
    fold.load(None, "nothing", now)
    fold.hold(None)
    return fold


def all_rows(fold: Fold, now: datetime, top_n: int = 5) -> dict[str, list[Row]]:
    """What the fold tells of every live table, for every hour of its window."""
    return {table.name: rows_of(fold, table, now, top_n) for table in LIVE}


def rows_of(fold: Fold, table: Table, now: datetime, top_n: int = 5) -> list[Row]:
    hours = range(fold.first_hour, clock.number_of(now) + 3)
    return in_order(fold.rows(table.live, hours, now, top_n), table)


def in_order(rows: pa.Table, table: Table) -> list[Row]:
    return sorted(rows.to_pylist(), key=lambda row: [row[key] for key in table.keys])
