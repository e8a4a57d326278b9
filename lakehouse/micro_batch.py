"""The way of one micro-batch: Kafka → bronze → silver → gold → the book. Read `__call__` top to bottom.

Exactly once, whatever dies and whenever: every write names its batch (Delta skips it when repeated), what silver
already holds is recognised by its coordinates, gold is recomputed from silver, and `ops.batches` is written last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze import events as bronze_events
from gold.fraud_rules import CONTEXT
from lakehouse import batches, recovery
from lakehouse import hours as clock
from lakehouse.gold_refresh import GoldRefresh
from lakehouse.hot_window import HotWindow
from lakehouse.housekeeping import Housekeeping
from lakehouse.lake import Lake, Transaction
from lakehouse.literals import varying
from lakehouse.settings import Settings
from silver import checks, deduplicate, quarantine
from silver import events as silver_events

IDLE_REFRESH_SECONDS = 10.0
LATE_REFRESH_SECONDS = 15.0
STRAGGLER_MINUTES = 10
STRAGGLER_SECONDS = 60.0
"""Events this much older than now widen a fraud scan, which makes it dearer: they wait for the next wide one."""


@dataclass(frozen=True)
class Start:
    """Where a checkpoint generation began; written once beside the checkpoint."""

    generation: str
    first_batch_id: int
    starting_offsets: dict[str, dict[str, int]] = field(default_factory=dict)
    bronze_offsets: dict[str, dict[str, int]] = field(default_factory=dict)
    """Next offset that bronze does not have, where it is ahead of `starting_offsets` (a batch that was cut off)."""


@dataclass(frozen=True)
class Summary:
    """What a batch holds: counts, when its valid events happened, and whether bronze may have some of it."""

    rows: int
    refused: int
    hours: set[int]
    moments: list[datetime]
    """Start of every minute that has a valid event inside the hot window."""
    overlaps: bool


class MicroBatch:
    """Called by Structured Streaming with every micro-batch, in order, in one process."""

    def __init__(self, settings: Settings, start: Start) -> None:
        """Keep what the process that runs the batches needs; sessions are made there."""
        self._settings = settings
        self._start = start
        self._is_ready = False
        self._was_idle = False

    def __call__(self, source: DataFrame, spark_batch_id: int) -> None:
        """Bring one micro-batch into bronze, silver, gold and the book."""
        now = datetime.now(UTC)
        self._prepare(source, now)
        records = bronze_events.from_kafka(source.where(F.col("topic").isNotNull()))
        if self._was_idle and records.isEmpty():
            self._idle(now)
            return
        limits = checks.Limits(self._settings.max_future_minutes, self._settings.max_age_days)
        judged = checks.judge(records.coalesce(self._settings.spark_shuffle_partitions), limits).persist()
        try:
            summary = self._summarise(judged)
            self._was_idle = not summary.rows
            if summary.rows:
                self._process(judged, summary, self._start.first_batch_id + spark_batch_id, now)
            else:
                self._idle(now)
        finally:
            judged.unpersist()

    def _process(self, judged: DataFrame, summary: Summary, batch_id: int, now: datetime) -> None:
        ingested = bronze_events.ingested(judged, now)
        raw = [self._in_background(self._append_bronze, ingested, summary, batch_id)]
        if summary.refused:
            raw.append(self._in_background(self._append_quarantine, ingested, summary, batch_id))

        marks = self._already_known(judged, summary)
        new_events = deduplicate.accepted(deduplicate.without(deduplicate.valid(ingested), marks))
        remembered = self._in_background(self._hot.add, new_events)
        self._lake.append(silver_events.TABLE, new_events.coalesce(1), self._transaction(batch_id))
        for written in (*raw, remembered):
            written.result()

        untellable = {moment for moment in summary.moments if moment < self._tellable_from()}
        self._scan_from |= set(summary.moments) - untellable
        self._add_late({clock.number_of(moment) for moment in untellable})
        self._refresh_gold(summary.hours, now)
        self._append_book(judged, marks, batch_id, now)
        self._housekeeping.after_batch(clock.dates_of(summary.hours), now)

    def _prepare(self, source: DataFrame, now: datetime) -> None:
        """Before the first batch: load the hot window, and find what an earlier process left undone."""
        if not self._is_ready:
            lake = Lake(source.sparkSession, self._settings)
            self._lake, self._hot = lake, HotWindow(lake, now)
            self._gold, self._housekeeping = GoldRefresh(lake), Housekeeping(lake)
            self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="write")
            self._touched = {clock.number_of(self._hot.complete_from) + n for n in range(3)}
            self._late = recovery.late_hours(lake, self._tellable_from())
            self._late_since = self._refreshed = time.monotonic()
            self._closed_through = self._closed_hour(now)
            self._unscanned: set[int] = set()
            self._scan: Future[None] | None = None
            self._scan_due, self._wide_scan = 0.0, -STRAGGLER_SECONDS
            self._scan_from = {self._tellable_from()}
            self._is_ready = True
        self._hot.advance(now)
        untellable = {moment for moment in self._scan_from if moment < self._tellable_from()}
        self._scan_from -= untellable
        self._add_late({clock.number_of(moment) for moment in untellable})

    def _tellable_from(self) -> datetime:
        """From when on the hot window can tell flags: they depend on what came before them."""
        return self._hot.complete_from + CONTEXT

    def _add_late(self, hours: set[int]) -> None:
        """Remember hours to restate from silver; the first one starts the clock."""
        if hours and not self._late:
            self._late_since = time.monotonic()
        self._late |= hours

    def _in_background(self, work: Callable[..., None], *args: object) -> Future[None]:
        return self._pool.submit(work, *args)

    def _transaction(self, batch_id: int) -> Transaction:
        return Transaction(f"stream:{self._start.generation}", batch_id)

    def _summarise(self, judged: DataFrame) -> Summary:
        """One pass over the batch, which also reads Kafka and fills the cache."""
        is_valid = F.col("reason_code").isNull()
        is_hot = F.col("event_time") >= F.lit(self._hot.complete_from)
        row = judged.agg(
            F.count("*").alias("rows"),
            F.count_if(~is_valid).alias("refused"),
            F.collect_set(F.when(is_valid, clock.hour_number())).alias("hours"),
            F.collect_set(F.when(is_valid & is_hot, F.floor(F.unix_seconds("event_time") / 60))).alias("minutes"),
            F.coalesce(F.bool_or(recovery.is_before(self._start.bronze_offsets)), F.lit(False)).alias("overlaps"),
        ).collect()[0]
        moments = [datetime.fromtimestamp(minute * 60, UTC) for minute in row["minutes"]]
        return Summary(row["rows"], row["refused"], set(row["hours"]), moments, row["overlaps"])

    def _append_bronze(self, judged: DataFrame, summary: Summary, batch_id: int) -> None:
        rows = judged.select(*bronze_events.TABLE.columns)
        if summary.overlaps:
            rows = recovery.not_in(self._lake, bronze_events.TABLE, rows, self._start)
        self._lake.append(bronze_events.TABLE, rows.coalesce(1), self._transaction(batch_id))

    def _append_quarantine(self, judged: DataFrame, summary: Summary, batch_id: int) -> None:
        rows = quarantine.refused(judged)
        if summary.overlaps:
            rows = recovery.not_in(self._lake, quarantine.TABLE, rows, self._start)
        self._lake.append(quarantine.TABLE, rows.coalesce(1), self._transaction(batch_id))

    def _already_known(self, judged: DataFrame, summary: Summary) -> DataFrame:
        """Coordinates of records that must not enter silver: duplicates, and records it already holds."""
        candidates = deduplicate.valid(judged)
        repeated = deduplicate.repeated_within(candidates).withColumn("is_same_record", F.lit(False))
        found = repeated.unionByName(deduplicate.known_among(candidates, self._hot.events()))
        late = clock.ranges_of(self._late_hours(summary.hours))
        if late:
            days = clock.on_dates(late)
            older = self._lake.read(silver_events.TABLE).where(days & clock.within(late))
            found = found.unionByName(deduplicate.known_among(candidates.where(days), older))
        coordinates = found.groupBy(*deduplicate.COORDINATES).agg(F.bool_and("is_same_record").alias("is_same_record"))
        return coordinates.coalesce(1).localCheckpoint(eager=True)

    def _late_hours(self, hours: set[int]) -> set[int]:
        """The hours that lie before the hot window."""
        return {hour for hour in hours if hour < clock.number_of(self._hot.complete_from)}

    def _refresh_gold(self, hours: set[int], now: datetime) -> None:
        """Live hours now; older hours together, a few seconds later, because each costs a look into silver."""
        self._touched |= hours | set(range(self._closed_through + 1, self._closed_hour(now) + 1))
        late = self._late_hours(self._touched)
        self._add_late(late)
        self._touched -= late
        self._gold.live(self._hot.events(), self._touched, now)
        self._unscanned |= self._touched
        self._touched, self._closed_through, self._refreshed = set(), self._closed_hour(now), time.monotonic()
        self._scan_for_fraud(now)
        self._restate_late(now)

    def _scan_for_fraud(self, now: datetime) -> None:
        """Flags are a few seconds behind the counts: one scan at a time, beside the batches, at most a third of
        the time. A failed scan ends the stream, and the restarted one scans the whole window."""
        if self._scan is not None:
            if not self._scan.done():
                return
            self._scan.result()
        self._unscanned -= self._late_hours(self._unscanned)
        is_wanted = bool(self._unscanned) or (bool(self._scan_from) and self._wide_is_due())
        if is_wanted and not self._late_is_due() and time.monotonic() >= self._scan_due:
            emit_from, hours = self._next_scan(now), self._unscanned
            self._scan = self._in_background(self._fraud, self._hot.events(), emit_from, hours, now)
            self._unscanned = set()

    def _next_scan(self, now: datetime) -> datetime:
        """Where the next scan begins: at the oldest new event, stragglers only now and then."""
        recent = now - timedelta(minutes=STRAGGLER_MINUTES)
        is_wide = self._wide_is_due()
        chosen = [moment for moment in self._scan_from if is_wide or moment >= recent]
        self._scan_from = set() if is_wide else {moment for moment in self._scan_from if moment < recent}
        self._wide_scan = time.monotonic() if is_wide else self._wide_scan
        return max(min(chosen, default=recent), self._tellable_from())

    def _wide_is_due(self) -> bool:
        return time.monotonic() - self._wide_scan >= STRAGGLER_SECONDS

    def _fraud(self, hot: DataFrame, emit_from: datetime, hours: set[int], now: datetime) -> None:
        began = time.monotonic()
        self._gold.fraud(hot, emit_from, hours, now)
        self._scan_due = time.monotonic() + 2 * (time.monotonic() - began)

    def _restate_late(self, now: datetime) -> None:
        """Both this and a scan write flags: it waits for its turn."""
        if self._late_is_due() and (self._scan is None or self._scan.done()):
            self._gold.restate(self._late, now)
            self._late = set()

    def _late_is_due(self) -> bool:
        return bool(self._late) and time.monotonic() - self._late_since >= LATE_REFRESH_SECONDS

    def _closed_hour(self, now: datetime) -> int:
        """The newest hour that is final: ended, and the lateness setting has passed."""
        return clock.number_of(now - timedelta(minutes=self._settings.lateness_minutes)) - 1

    def _idle(self, now: datetime) -> None:
        """No events: the rolling hour moves on all the same, hours close, late hours are restated."""
        self._housekeeping.after_batch((), now)
        self._scan_for_fraud(now)
        self._restate_late(now)
        if self._touched or self._closed_hour(now) > self._closed_through:
            self._refresh_gold(set(), now)
        elif time.monotonic() - self._refreshed >= IDLE_REFRESH_SECONDS:
            self._gold.last_hour(self._hot.events(), now)
            self._refreshed = time.monotonic()

    def _append_book(self, judged: DataFrame, marks: DataFrame, batch_id: int, now: datetime) -> None:
        duplicates = marks.where(~F.col("is_same_record"))
        rows = batches.account(judged, duplicates).select(
            "*",
            varying(batch_id, "topic").cast("bigint").alias("batch_id"),
            F.lit(self._start.generation).alias("generation"),
            varying(now, "topic").alias("started_at"),
            F.lit(bool(self._late)).alias("late_pending"),
            varying(datetime.now(UTC), "topic").alias("committed_at"),
        )
        self._lake.append(batches.TABLE, rows.coalesce(1), self._transaction(batch_id))
