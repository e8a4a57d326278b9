"""How far the stream is, from its own report or, by SQL, from its book. Needs no Spark session."""

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
    """The stream's last report; empty before the first."""
    return read_report(settings.run_dir / "stream.json")


def waiting(settings: Settings) -> list[Waiting] | None:
    """Unread records per partition; None if the broker does not answer."""
    from lakehouse import broker

    if not kafka_answers(settings):
        return None
    try:
        return broker.waiting(settings, TOPICS, stream_state(settings).get("offsets") or {})
    except ShoplakeError:
        return None


def lag(settings: Settings) -> int | None:
    """The number of unread Kafka records; None if the broker does not answer."""
    found = waiting(settings)
    return None if found is None else sum(one.records for one in found)


def unread_seconds(lag: int | None, committed_at: float | None) -> float | None:
    """Seconds by which the tables may lag behind the broker: 0 if nothing waits, else the age of the newest batch
    (`committed_at`, seconds since 1970). None if either is unknown."""
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
