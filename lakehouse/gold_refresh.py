"""Keeps gold true to silver: recomputes exactly the hours and flags that new events touch.

The functions in `gold/` say what a table holds; this module decides which rows to compute again, from the hot
window or, for older hours, from `silver.events`, and replaces them. Doing so twice changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold import fraud, fraud_coverage, kpis, top_products
from gold.clock import moment_column
from gold.fraud_rules import CONTEXT
from lakehouse import hours as clock
from lakehouse import rebuilt
from lakehouse.hot_window import COLUMNS
from lakehouse.lake import ATTEMPTS, Lake, materialized, settled
from lakehouse.settings import Settings
from lakehouse.table import Table
from silver import events as silver_events

HourlyRows = Callable[[DataFrame, datetime, Settings], DataFrame]
Range = tuple[datetime, datetime]


def _top_products(events: DataFrame, now: datetime, settings: Settings) -> DataFrame:
    closed_before = clock.start_of(clock.number_of(now - timedelta(minutes=settings.lateness_minutes)))
    return top_products.with_status(top_products.hourly(events, settings.top_n), closed_before, now)


def _kpis(events: DataFrame, now: datetime, settings: Settings) -> DataFrame:
    return kpis.hourly(events).withColumn("updated_at", moment_column(now, "hour_start"))


def _coverage(events: DataFrame, now: datetime, settings: Settings) -> DataFrame:
    return fraud_coverage.hourly(events).withColumn("updated_at", moment_column(now, "rule_id"))


HOURLY_TABLES: tuple[tuple[Table, HourlyRows], ...] = (
    (top_products.HOURLY, _top_products),
    (kpis.TABLE, _kpis),
)
"""Gold tables whose rows belong to one clock hour (`hour_start`) and live in the partition `hour_date`."""
FRAUD_HOURLY: tuple[tuple[Table, HourlyRows], ...] = ((fraud_coverage.TABLE, _coverage),)
"""The same, refreshed together with the flags."""


class GoldRefresh:
    """Writes gold through one Lake. Its methods are safe to repeat."""

    def __init__(self, lake: Lake) -> None:
        """Keep `lake`; writes of one refresh to different tables run side by side."""
        self._lake = lake
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="gold")
        self._turns = {table.name: threading.Lock() for table, _ in HOURLY_TABLES + FRAUD_HOURLY}
        """Live and older hours of one day are written by two threads; taking turns is cheaper than a conflict."""

    def close(self) -> None:
        """Nothing more is refreshed."""
        self._pool.shutdown()

    def live(self, hot: DataFrame, touched: set[int], now: datetime) -> None:
        """Refresh the rolling hour and the touched hours from the hot window, side by side."""
        jobs = [self._pool.submit(settled, self._last_hour, hot, now)]
        if touched:
            jobs += [
                self._pool.submit(settled, self._hours, table, self._fresh(rows, hot, touched, now), touched)
                for table, rows in HOURLY_TABLES
            ]
        for job in jobs:
            job.result()

    def fraud(self, hot: DataFrame, emit_from: datetime, touched: set[int], now: datetime) -> None:
        """Refresh the flags raised by events from `emit_from` on, and what could be judged in the touched hours."""
        emit = (emit_from, now + timedelta(minutes=self._lake.settings.max_future_minutes + 1))
        settled(self._flags, hot, [emit], now)
        for table, rows in FRAUD_HOURLY if touched else ():
            settled(self._hours, table, self._fresh(rows, hot, touched, now), touched)

    def last_hour(self, hot: DataFrame, now: datetime) -> None:
        """Refresh only the rolling hour: products fall out of it even when nothing happens."""
        self._last_hour(hot, now)

    def restate(
        self,
        hours: Iterable[int],
        now: datetime,
        tables: tuple[tuple[Table, HourlyRows], ...] = HOURLY_TABLES + FRAUD_HOURLY,
        with_flags: bool = True,
    ) -> None:
        """Recompute old hours, and the flags that their events can touch, from `silver.events`."""
        wanted = set(hours)
        if not wanted:
            return
        emits = [(first, last + CONTEXT) for first, last in clock.ranges_of(wanted)]
        reads = [(first - CONTEXT, last) for first, last in emits]
        silver = self._lake.read(silver_events.TABLE)
        events = materialized(silver.where(clock.on_dates(reads) & clock.within(reads)).select(*COLUMNS))
        for table, rows in tables:
            # Computed before the table is taken, so that the stream's own hours need not wait for it.
            settled(self._hours, table, materialized(self._fresh(rows, events, wanted, now)), wanted)
        if with_flags:
            settled(self._flags, events, emits, now)

    def restate_beside_stream(
        self,
        hours: Iterable[int],
        tables: tuple[tuple[Table, HourlyRows], ...] = HOURLY_TABLES + FRAUD_HOURLY,
        with_flags: bool = True,
    ) -> None:
        """`restate` for a job: the stream may accept events of the same hours meanwhile, and its newer gold must not
        stay overwritten. Hours that grew since they were read are done again, a few rounds at most: where traffic never
        pauses, the stream is told to write those of the hot window anew."""
        wanted = set(hours)
        self._restate_what_grows(wanted, tables, with_flags)
        rebuilt.tell(self._lake.settings, wanted)

    def _restate_what_grows(
        self, left: set[int], tables: tuple[tuple[Table, HourlyRows], ...], with_flags: bool
    ) -> None:
        before = self._events_per_hour(left)
        for attempt in range(ATTEMPTS):
            self.restate(left, datetime.now(UTC), tables=tables, with_flags=with_flags)
            after = self._events_per_hour(left)
            left = {hour for hour in left if before.get(hour) != after.get(hour)}
            if not left:
                return
            before = after
            time.sleep(1 + attempt)

    def _events_per_hour(self, hours: set[int]) -> dict[int, int]:
        reads = clock.ranges_of(hours)
        events = self._lake.read(silver_events.TABLE).where(clock.on_dates(reads) & clock.within(reads))
        counts = events.groupBy(clock.hour_number().alias("hour")).agg(F.count("*").alias("events")).collect()
        return {row["hour"]: row["events"] for row in counts}

    def _last_hour(self, hot: DataFrame, now: datetime) -> None:
        as_of = now.replace(microsecond=0)
        self._lake.overwrite(
            top_products.LAST_HOUR, top_products.last_hour(hot, as_of, self._lake.settings.top_n).coalesce(1)
        )

    def _fresh(self, rows: HourlyRows, events: DataFrame, wanted: set[int], now: datetime) -> DataFrame:
        return rows(events.where(clock.is_in(wanted)), now, self._lake.settings)

    def _hours(self, table: Table, fresh: DataFrame, wanted: set[int]) -> None:
        """Make `fresh` the rows of the `wanted` hours; the days' other hours are carried over unchanged."""
        dates = clock.dates_of(wanted)
        is_other = F.col("hour_date").isin(dates) & ~clock.is_in(wanted, "hour_start")
        with self._turns[table.name]:
            others = self._lake.read(table).where(is_other)
            merged = fresh.select(*table.columns).unionByName(others.select(*table.columns))
            self._lake.replace(table, merged.coalesce(1), clock.sql_on_days("hour_date", dates))

    def _flags(self, events: DataFrame, emits: list[Range], now: datetime) -> None:
        """Make the flags whose first crossing lies in `emits` what the events say; write only when they differ."""
        first, last = min(emit[0] for emit in emits), max(emit[1] for emit in emits)
        is_emitted = clock.within(emits)
        new = fraud.flags(events, first, last, now)
        new = new.where(is_emitted) if len(emits) > 1 else new
        on_days = clock.on_dates(emits)
        known = self._lake.read(fraud.TABLE).where(on_days)
        since = known.where(is_emitted).select(
            "flag_id", F.col("detected_at").alias("first_detected_at"), F.col("evidence").alias("known_evidence")
        )
        merged = materialized(new.join(since, on="flag_id", how="full_outer"))
        is_other = ~F.col("evidence").eqNullSafe(F.col("known_evidence"))
        is_change = F.col("rule_id").isNull() | F.col("first_detected_at").isNull() | is_other
        if merged.where(is_change).isEmpty():
            return
        current = merged.where(F.col("rule_id").isNotNull()).withColumn(
            "detected_at", F.coalesce("first_detected_at", "detected_at")
        )
        rows = current.select(*fraud.TABLE.columns).unionByName(known.where(~is_emitted).select(*fraud.TABLE.columns))
        self._lake.replace(fraud.TABLE, rows.coalesce(1), clock.sql_on_days("event_date", clock.days_of(emits)))
