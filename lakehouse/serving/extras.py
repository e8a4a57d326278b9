"""Tables of the serving file that are no copy of a Delta table: made while publishing, for the dashboards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import duckdb

from lakehouse.errors import ShoplakeError
from lakehouse.serving import evidence, lag, minutes
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_name, quoted_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extra:
    """A table of the serving file: `columns` are name, type and meaning; `comment` says what a row is."""

    name: str
    columns: tuple[tuple[str, str, str], ...]
    comment: str


LAG = Extra("ops.kafka_lag", lag.COLUMNS, "a partition of a Kafka topic, and how much of it waits")
FLAG_EVENTS = Extra(
    "gold.flag_events",
    evidence.COLUMNS,
    "an event that a fraud flag of late rests on, or that its user did around it",
)
MINUTES = Extra("ops.batch_minutes", minutes.COLUMNS, "a minute of the stream's batches")
EXTRAS = (LAG, FLAG_EVENTS, MINUTES)
Update = Callable[[duckdb.DuckDBPyConnection], datetime | None]
"""Brings a table in an open serving file up to date; how new it is then, None when nothing in it changed."""


class Extras:
    """Keeps the extra tables up to date. What cannot be told now stays as it was, and holds up no publish."""

    def __init__(self, settings: Settings, reader: SqlReader) -> None:
        """Nothing is asked yet."""
        self._lag = lag.KafkaLag(settings)
        self._updates: dict[str, Update] = {
            LAG.name: self._lag.update,
            FLAG_EVENTS.name: evidence.Evidence(reader).update,
            MINUTES.name: minutes.update,
        }

    def is_due(self) -> bool:
        """Whether there is something new to publish although no Delta table has changed."""
        return self._lag.is_news()

    def update(self, target: duckdb.DuckDBPyConnection, extra: Extra) -> datetime | None:
        """Update one of them in `target`, within the caller's transaction."""
        try:
            return self._updates[extra.name](target)
        except (ShoplakeError, duckdb.Error) as error:
            log.warning("%s stays as it was: %s", extra.name, error)
            return None


def create(target: duckdb.DuckDBPyConnection, extra: Extra) -> None:
    """Make the table, with its comments, unless it is there."""
    columns = ", ".join(f"{quoted_name(name)} {kind}" for name, kind, _ in extra.columns)
    target.execute(f"CREATE TABLE IF NOT EXISTS {extra.name} ({columns})")
    target.execute(f"COMMENT ON TABLE {extra.name} IS {quoted_text('One row is ' + extra.comment)}")
    for name, _, comment in extra.columns:
        target.execute(f"COMMENT ON COLUMN {extra.name}.{quoted_name(name)} IS {quoted_text(comment)}")
