"""The newest hours of silver, kept in Spark's memory so that live gold and deduplication touch no file.

A cache and nothing more: it is filled from `silver.events` when the stream starts, and every accepted batch is
added. Batches are merged in steps of eight (like a log-structured tree), so that there are always few pieces and
each event is copied a few times only.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse import hours as clock
from lakehouse.lake import Lake
from silver import events as silver_events

COLUMNS = [
    "event_id", "event_type", "event_time", "event_date", "user_id", "session_id", "device_id", "ip", "country",
    "product_id", "product_name", "amount", "payment_status", "card_fingerprint",
    "topic", "partition", "offset", "processed_at",
]  # fmt: skip
FULL_HOURS = 2
_FAN_IN = 8


def frontier_at(now: datetime) -> datetime:
    """Start of the hot window: two full hours before the running one."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=FULL_HOURS)


class HotWindow:
    """All accepted events with `event_time` at or after `complete_from` (UTC)."""

    def __init__(self, lake: Lake, now: datetime) -> None:
        """Read the window from `silver.events`."""
        self._lake = lake
        self.complete_from = frontier_at(now)
        self._pieces: list[tuple[int, DataFrame]] = [(9, self._keep(lake.read(silver_events.TABLE)))]

    def events(self) -> DataFrame:
        """The window as one frame with COLUMNS, in as many partitions as Spark shuffles to."""
        frame = self._pieces[0][1]
        for _, piece in self._pieces[1:]:
            frame = frame.union(piece)
        return frame.where(F.col("event_time") >= F.lit(self.complete_from)).coalesce(
            self._lake.settings.spark_shuffle_partitions
        )

    def add(self, accepted: DataFrame) -> None:
        """Remember newly accepted events; those before `complete_from` are left out."""
        self._pieces.append((0, self._keep(accepted)))
        while len(self._pieces) > _FAN_IN and len({level for level, _ in self._pieces[-_FAN_IN:]}) == 1:
            level = self._pieces[-1][0]
            merged = self._pieces[-_FAN_IN][1]
            for _, piece in self._pieces[-_FAN_IN + 1 :]:
                merged = merged.union(piece)
            self._pieces[-_FAN_IN:] = [(level + 1, self._keep(merged))]

    def advance(self, now: datetime) -> None:
        """Move the window's start; drops what fell out, once an hour."""
        if frontier_at(now) > self.complete_from:
            self.complete_from = frontier_at(now)
            self._pieces = [(9, self._keep(self.events()))]

    def before(self, hours: set[int]) -> set[int]:
        """Those of the clock hours that lie before the window."""
        return {hour for hour in hours if hour < clock.number_of(self.complete_from)}

    def _keep(self, frame: DataFrame) -> DataFrame:
        is_inside = (F.col("event_date") >= F.lit(self.complete_from.date())) & (
            F.col("event_time") >= F.lit(self.complete_from)
        )
        parts = self._lake.settings.spark_shuffle_partitions
        return frame.where(is_inside).select(*COLUMNS).coalesce(parts).localCheckpoint(eager=True)
