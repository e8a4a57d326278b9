"""Tables of the serving file that are no copy of a Delta table: made while publishing, for the dashboards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import duckdb

from lakehouse.errors import ShoplakeError
from lakehouse.serving import evidence, lag
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_name, quoted_text
from lakehouse.table import Extract

log = logging.getLogger(__name__)


LAG = Extract("ops.kafka_lag", "a partition of a Kafka topic, and how much of it waits", lag.COLUMNS)
FLAG_EVENTS = Extract(
    "gold.flag_events",
    "an event that a fraud flag of late rests on, or that its user did around it",
    evidence.COLUMNS,
)
EXTRAS = (LAG, FLAG_EVENTS)
Update = Callable[[duckdb.DuckDBPyConnection], datetime | None]
"""Brings a table in an open serving file up to date; how new it is then, None when nothing in it changed."""


class Extras:
    """Keeps the extra tables up to date. What cannot be told now stays as it was, and holds up no publish."""

    def __init__(self, settings: Settings, reader: SqlReader) -> None:
        self._lag = lag.KafkaLag(settings)
        self._updates: dict[str, Update] = {
            LAG.name: self._lag.update,
            FLAG_EVENTS.name: evidence.Evidence(reader).update,
        }

    def is_due(self) -> bool:
        """Whether there is something new to publish although no Delta table has changed."""
        return self._lag.is_news()

    def update(self, target: duckdb.DuckDBPyConnection, extra: Extract) -> datetime | None:
        """Update one of them in `target`, within the caller's transaction."""
        try:
            return self._updates[extra.name](target)
        except (ShoplakeError, duckdb.Error) as error:
            log.warning("%s stays as it was: %s", extra.name, error)
            return None


def create(target: duckdb.DuckDBPyConnection, made: Extract) -> None:
    """Make the table, with its comments, unless it is there."""
    columns = ", ".join(f"{quoted_name(name)} {kind}" for name, kind, _ in made.columns)
    target.execute(f"CREATE TABLE IF NOT EXISTS {made.name} ({columns})")
    target.execute(f"COMMENT ON TABLE {made.name} IS {quoted_text('One row is ' + made.grain)}")
    for name, _, comment in made.columns:
        target.execute(f"COMMENT ON COLUMN {made.name}.{quoted_name(name)} IS {quoted_text(comment)}")
