"""The newest hours of silver, kept in Spark's memory so that live gold and deduplication touch no file.

A cache and nothing more: it is filled from `silver.events` when the stream starts, and every accepted batch is
added. A batch joins the first tier; a tier that eight have joined joins the next one (like a log-structured tree). So
there are four frames at most, which each query that reads the window has to plan, and each event is copied some times
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse import hours as clock
from lakehouse.lake import Lake, materialized
from silver import events as silver_events

COLUMNS = [
    "event_id", "event_type", "event_time", "event_date", "user_id", "session_id", "device_id", "ip", "country",
    "product_id", "product_name", "amount", "payment_status", "card_fingerprint",
    "topic", "partition", "offset", "processed_at",
]  # fmt: skip
FULL_HOURS = 2
_FAN_IN, _TIERS = 8, 4


def frontier_at(now: datetime) -> datetime:
    """Start of the hot window: two full hours before the running one."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=FULL_HOURS)


@dataclass(frozen=True)
class _Tier:
    """Some of the window's events, and how often others have joined them."""

    merges: int = 0
    events: DataFrame | None = None


class HotWindow:
    """All accepted events with `event_time` at or after `complete_from` (UTC)."""

    def __init__(self, lake: Lake, now: datetime) -> None:
        """Read the window from `silver.events`."""
        self._lake = lake
        self.complete_from = frontier_at(now)
        self._tiers = self._all_in_the_last(lake.read(silver_events.TABLE))

    def events(self) -> DataFrame:
        """The window as one frame with COLUMNS, in as many partitions as Spark shuffles to."""
        frame = reduce(DataFrame.union, [tier.events for tier in self._tiers if tier.events is not None])
        return frame.where(F.col("event_time") >= F.lit(self.complete_from)).coalesce(
            self._lake.settings.spark_shuffle_partitions
        )

    def add(self, accepted: DataFrame) -> None:
        """Remember newly accepted events; those before `complete_from` are left out."""
        joining = accepted.select(*COLUMNS)
        for number, tier in enumerate(self._tiers):
            if tier.events is not None:
                joining = tier.events.union(joining)
            if tier.merges + 1 < _FAN_IN or number == len(self._tiers) - 1:
                self._tiers[number] = _Tier(tier.merges + 1, self._keep(joining))
                return
            self._tiers[number] = _Tier()

    def advance(self, now: datetime) -> None:
        """Move the window's start; drops what fell out, once an hour."""
        if frontier_at(now) > self.complete_from:
            self.complete_from = frontier_at(now)
            self._tiers = self._all_in_the_last(self.events())

    def _all_in_the_last(self, events: DataFrame) -> list[_Tier]:
        return [*(_Tier() for _ in range(_TIERS - 1)), _Tier(0, self._keep(events))]

    def before(self, hours: set[int]) -> set[int]:
        """Those of the clock hours that lie before the window."""
        return {hour for hour in hours if hour < clock.number_of(self.complete_from)}

    def _keep(self, frame: DataFrame) -> DataFrame:
        is_inside = (F.col("event_date") >= F.lit(self.complete_from.date())) & (
            F.col("event_time") >= F.lit(self.complete_from)
        )
        parts = self._lake.settings.spark_shuffle_partitions
        return materialized(frame.where(is_inside).select(*COLUMNS).coalesce(parts))
