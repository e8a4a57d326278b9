"""How far the stream is: by what it says of itself, or by its book, asked by SQL. No Spark session is needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lakehouse.errors import ShoplakeError
from lakehouse.probes import kafka_answers
from lakehouse.reports import read_report
from lakehouse.settings import Settings
from producer.topics import TOPICS

if TYPE_CHECKING:
    from lakehouse.broker import Offsets, Waiting
    from lakehouse.sql import SqlReader


def stream_state(settings: Settings) -> dict[str, Any]:
    """What the stream last said about itself; empty before it said anything."""
    return read_report(settings.run_dir / "stream.json")


def waiting(settings: Settings) -> list[Waiting] | None:
    """What the stream has not read yet, per partition; None when the broker cannot tell."""
    from lakehouse import broker

    if not kafka_answers(settings):
        return None
    try:
        return broker.waiting(settings, TOPICS, stream_state(settings).get("offsets") or {})
    except ShoplakeError:
        return None


def lag(settings: Settings) -> int | None:
    """How many Kafka records the stream has not read yet; None when the broker cannot tell."""
    found = waiting(settings)
    return None if found is None else sum(one.records for one in found)


def unread_seconds(lag: int | None, committed_at: float | None) -> float | None:
    """What came to the broker so long ago is in the tables: 0 when nothing waits, else the age of the newest batch
    (`committed_at`, seconds since 1970). None when nobody can tell."""
    if lag == 0:
        return 0.0
    return None if lag is None or committed_at is None else max(0.0, time.time() - committed_at)


def booked(reader: SqlReader) -> Offsets:
    """Next offset per topic-partition after the last batch in the book."""
    found: Offsets = {}
    for row in reader.query('select topic, "partition", max(to_offset) as next from ops.batches group by all'):
        found.setdefault(row["topic"], {})[str(row["partition"])] = row["next"]
    return found


def behind(settings: Settings, reader: SqlReader) -> int:
    """Records on the broker that are not in the book yet."""
    from lakehouse import broker

    return broker.lag(settings, TOPICS, booked(reader))
