"""ops.kafka_lag in the serving file: what waits in Kafka, as the broker and the stream's own report tell it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import duckdb

from lakehouse.broker import Waiting
from lakehouse.settings import Settings
from lakehouse.stream.progress import waiting

LOOK_SECONDS = 15.0
"""Shortest time between two questions to the broker."""
COLUMNS = (
    ("topic", "VARCHAR", "Kafka topic"),
    ("partition", "INTEGER", "Kafka partition"),
    ("read_to", "BIGINT", "Next offset that the stream will read"),
    ("end_offset", "BIGINT", "End of what is committed on the broker"),
    ("waiting", "BIGINT", "Records that the stream has not read yet"),
    ("looked_at", "TIMESTAMP", "When this was so, UTC"),
)


class KafkaLag:
    """Looks at the broker now and then."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rows: list[Waiting] = []
        self._looked_at: datetime | None = None
        self._looked: float | None = None
        self._waiting: int | None = None

    def is_news(self) -> bool:
        """Whether more or less waits than was published: also while the stream stands still, records may come."""
        self._look()
        return self._looked_at is not None and self._total() != self._waiting

    def update(self, target: duckdb.DuckDBPyConnection) -> datetime | None:
        """Write what was seen last, unless it was written before."""
        self._look()
        if self._looked_at is None:
            return None
        target.execute("DELETE FROM ops.kafka_lag")
        moment = self._looked_at.replace(tzinfo=None)
        target.executemany(
            "INSERT INTO ops.kafka_lag VALUES (?, ?, ?, ?, ?, ?)", [(*row, moment) for row in self._rows]
        )
        self._waiting, seen_at, self._looked_at = self._total(), self._looked_at, None
        return seen_at

    def _total(self) -> int:
        return sum(row.records for row in self._rows)

    def _look(self) -> None:
        now = time.monotonic()
        if self._looked is not None and now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if rows := waiting(self._settings):
            self._rows, self._looked_at = rows, datetime.now(UTC)
