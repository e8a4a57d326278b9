"""What the serving file has besides copies of Delta tables, for the dashboards: ops.kafka_lag (what waits in Kafka, as
the broker and the stream's own report tell it), gold.flag_events (evidence.py)."""

import logging
import time
from datetime import UTC, datetime

import duckdb

from lakehouse.broker import Waiting
from lakehouse.errors import ShoplakeError
from lakehouse.serving import evidence
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_name, quoted_text
from lakehouse.stream.progress import waiting
from lakehouse.table import Extract

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""Shortest time between two questions to the broker."""
LAG = Extract(
    "ops.kafka_lag",
    "a partition of a Kafka topic, and how much of it waits",
    (
        ("topic", "VARCHAR", "Kafka topic"),
        ("partition", "INTEGER", "Kafka partition"),
        ("read_to", "BIGINT", "Next offset that the stream will read"),
        ("end_offset", "BIGINT", "End of what is committed on the broker"),
        ("waiting", "BIGINT", "Records that the stream has not read yet"),
        ("looked_at", "TIMESTAMP", "When this was so, UTC"),
    ),
)
FLAG_EVENTS = Extract(
    "gold.flag_events",
    "an event that a fraud flag of late rests on, or that its user did around it",
    evidence.COLUMNS,
)
EXTRAS = (LAG, FLAG_EVENTS)


class Extras:
    """Keeps the extra tables up to date. What cannot be told now stays as it was, and holds up no publish."""

    def __init__(self, settings: Settings, reader: SqlReader) -> None:
        self._settings, self._evidence = settings, evidence.Evidence(reader)
        self._waiting: list[Waiting] = []
        self._looked_at: datetime | None = None
        """When so much waited; None when that is written."""
        self._looked = -LOOK_SECONDS
        self._told: int | None = None

    def is_due(self) -> bool:
        """Whether more or less waits in Kafka than was published: also while the stream stands still, records may
        come."""
        self._look()
        return self._looked_at is not None and self._records() != self._told

    def update(self, target: duckdb.DuckDBPyConnection, extra: Extract) -> datetime | None:
        """Update one of them in `target`, within the caller's transaction; how new it is then, None when nothing in it
        changed."""
        try:
            return self._update_lag(target) if extra is LAG else self._evidence.update(target)
        except (ShoplakeError, duckdb.Error) as error:
            log.warning("%s stays as it was: %s", extra.name, error)
            return None

    def _update_lag(self, target: duckdb.DuckDBPyConnection) -> datetime | None:
        self._look()
        if (seen_at := self._looked_at) is not None:
            rows = [(*row, seen_at.replace(tzinfo=None)) for row in self._waiting]
            target.execute("DELETE FROM ops.kafka_lag")
            target.executemany("INSERT INTO ops.kafka_lag VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._told, self._looked_at = self._records(), None
        return seen_at

    def _records(self) -> int:
        return sum(row.records for row in self._waiting)

    def _look(self) -> None:
        """Ask the broker, now and then."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if rows := waiting(self._settings):
            self._waiting, self._looked_at = rows, datetime.now(UTC)


def create(target: duckdb.DuckDBPyConnection, made: Extract) -> None:
    """Make the table, with its comments, unless it is there."""
    columns = ", ".join(f"{quoted_name(name)} {kind}" for name, kind, _ in made.columns)
    target.execute(f"CREATE TABLE IF NOT EXISTS {made.name} ({columns})")
    target.execute(f"COMMENT ON TABLE {made.name} IS {quoted_text('One row is ' + made.grain)}")
    for name, _, comment in made.columns:
        target.execute(f"COMMENT ON COLUMN {made.name}.{quoted_name(name)} IS {quoted_text(comment)}")
