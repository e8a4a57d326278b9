"""How far the lake is, asked by SQL: no Spark session is needed to wait for the stream."""

from __future__ import annotations

from lakehouse import broker
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from producer.topics import TOPICS


def booked(reader: SqlReader) -> broker.Offsets:
    """Next offset per topic-partition after the last batch in the book."""
    found: broker.Offsets = {}
    for row in reader.query('select topic, "partition", max(to_offset) as next from ops.batches group by all'):
        found.setdefault(row["topic"], {})[str(row["partition"])] = row["next"]
    return found


def behind(settings: Settings, reader: SqlReader) -> int:
    """Records on the broker that are not in the book yet."""
    return broker.lag(settings, TOPICS, booked(reader))
