"""The way of one micro-batch: Kafka → bronze → silver → gold → the book. Read `__call__` top to bottom.

Exactly once, whatever dies and whenever: a batch that is in the book is done; of one that was cut off, what the
tables already hold is left out by its coordinates; gold is recomputed; and `ops.batches`, the book, is written last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze import events as bronze_events
from lakehouse import batches, offset_log, rebuilt, recovery, writer
from lakehouse import hours as clock
from lakehouse.embedded import s3
from lakehouse.hot_window import HotWindow
from lakehouse.housekeeping import Housekeeping
from lakehouse.lake import Lake, materialized
from lakehouse.literals import varying
from lakehouse.live_gold import LiveGold
from lakehouse.settings import Settings
from lakehouse.table import Table
from silver import checks, deduplicate, quarantine
from silver import events as silver_events

APPENDED = (bronze_events.TABLE, quarantine.TABLE, silver_events.TABLE, batches.TABLE)
"""What a batch adds to, and must not add to twice."""
_VIEW = "micro_batch"
_IDLE_CLAIM_SECONDS = 10.0
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Start:
    """Where a checkpoint generation began; written once beside the checkpoint."""

    generation: str
    first_batch_id: int
    starting_offsets: dict[str, dict[str, int]] = field(default_factory=dict)
    bronze_offsets: dict[str, dict[str, int]] = field(default_factory=dict)
    """Next offset that bronze does not have, where it is ahead of `starting_offsets` (a batch that was cut off)."""
    booked_through: int = -1
    """The last batch of this generation that is in the book."""


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

    def __init__(self, settings: Settings, start: Start, checkpoint: Path, token: str) -> None:
        """Keep what the process that runs the batches needs; sessions are made there. `token`: lakehouse/writer.py."""
        self._settings = settings
        self._token = token
        self._start = start
        self._checkpoint = checkpoint
        self._is_ready = False

    def __call__(self, source: DataFrame, spark_batch_id: int) -> None:
        """Bring one micro-batch into bronze, silver, gold and the book."""
        now, batch_id = datetime.now(UTC), self._start.first_batch_id + spark_batch_id
        self._prepare(source, now)
        is_done = batch_id <= self._start.booked_through
        if is_done or offset_log.is_only_a_tick(self._checkpoint, spark_batch_id):
            self._idle(now)
            return
        records = bronze_events.from_kafka(source.where(F.col("topic").isNotNull()))
        limits = checks.Limits(self._settings.max_future_minutes, self._settings.max_age_days)
        kept = checks.judge(records.coalesce(self._settings.spark_shuffle_partitions), limits).persist()
        try:
            judged = self._planned_once(kept)
            summary = self._summarise(judged)
            if summary.rows:
                self._process(judged, summary, batch_id, now)
            else:
                self._idle(now)
        finally:
            kept.unpersist()

    def _process(self, judged: DataFrame, summary: Summary, batch_id: int, now: datetime) -> None:
        self._require_claim()
        ingested = bronze_events.ingested(judged, now)
        written = [self._in_background(self._append_bronze, ingested, summary, batch_id)]
        if summary.refused:
            written.append(self._in_background(self._append_quarantine, ingested, summary, batch_id))

        marks = self._already_known(judged, summary)
        new_events = deduplicate.accepted(deduplicate.without(deduplicate.valid(ingested), marks))
        written.append(self._in_background(self._append_silver, new_events, batch_id))
        self._hot.add(new_events)

        # Live gold is told from memory, and needs no table.
        counts = self._in_background(self._count, judged, marks)
        self._gold.after_batch(summary.hours, summary.moments, now)
        for table in written:
            table.result()
        self._gold.work_beside(now)
        self._append_book(counts.result(), batch_id, now)
        self._housekeeping.after_batch(clock.dates_of(summary.hours), now)

    def _prepare(self, source: DataFrame, now: datetime) -> None:
        """Before the first batch, and after a job has replaced rows of the hot window: load it, and find what an
        earlier process left undone."""
        if not self._is_ready:
            self._lake = Lake(source.sparkSession, self._settings)
            self._housekeeping = Housekeeping(self._lake)
            self._s3, self._required = s3.s3_client(self._settings), 0.0
            self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="write")
            self._load(rebuilt.note(self._s3, self._settings.bucket), now)
            self._is_ready = True
        elif (note := rebuilt.note(self._s3, self._settings.bucket, self._rebuilt)) != self._rebuilt:
            self._gold.close()
            self._load(note, now)
        self._hot.advance(now)
        self._gold.advance()

    def _load(self, note: str | None, now: datetime) -> None:
        """What is kept in memory, from the tables; `note` is of before they are read."""
        self._rebuilt, self._hot = note, HotWindow(self._lake, now)
        self._gold = LiveGold(self._lake, self._hot, now)

    def _require_claim(self, at_most_every: float = 0.0) -> None:
        """A stream that another has taken the lake from writes nothing more."""
        if time.monotonic() - self._required >= at_most_every:
            writer.require(self._s3, self._settings.bucket, self._token)
            self._required = time.monotonic()

    def _planned_once(self, kept: DataFrame) -> DataFrame:
        """The same rows by a name: whatever is asked of a view begins with its analysed plan. Without it Spark would
        analyse the whole of the checks again for each of a batch's writes."""
        kept.createOrReplaceTempView(_VIEW)
        return self._lake.spark.table(_VIEW)

    def _in_background(self, work: Callable[..., _Done], *args: object) -> Future[_Done]:
        return self._pool.submit(work, *args)

    def _append(self, table: Table, rows: DataFrame, batch_id: int) -> None:
        """Each try asks for the claim anew: a commit that the next stream has fenced off must not be made behind it.
        The history of the table says which batch it was."""
        self._lake.append(table, rows, f"stream:{self._start.generation}:{batch_id}", self._require_claim)

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
        rows = rows.coalesce(self._settings.files_per_batch)
        self._append(bronze_events.TABLE, rows, batch_id)

    def _append_silver(self, new_events: DataFrame, batch_id: int) -> None:
        rows = new_events.coalesce(self._settings.files_per_batch)
        self._append(silver_events.TABLE, rows, batch_id)

    def _append_quarantine(self, judged: DataFrame, summary: Summary, batch_id: int) -> None:
        rows = quarantine.refused(judged)
        if summary.overlaps:
            rows = recovery.not_in(self._lake, quarantine.TABLE, rows, self._start)
        self._append(quarantine.TABLE, rows.coalesce(1), batch_id)

    def _already_known(self, judged: DataFrame, summary: Summary) -> DataFrame:
        """Coordinates of records that must not enter silver: duplicates, and records it already holds."""
        candidates = deduplicate.valid(judged)
        repeated = deduplicate.repeated_within(candidates).withColumn("is_same_record", F.lit(False))
        found = repeated.unionByName(deduplicate.known_among(candidates, self._hot.events()))
        late = clock.ranges_of(self._hot.before(summary.hours))
        if late:
            days = clock.on_dates(late)
            older = self._lake.read(silver_events.TABLE).where(days & clock.within(late))
            found = found.unionByName(deduplicate.known_among(candidates.where(days), older))
        coordinates = found.groupBy(*deduplicate.COORDINATES).agg(F.bool_and("is_same_record").alias("is_same_record"))
        return materialized(coordinates.coalesce(1))

    def _idle(self, now: datetime) -> None:
        self._require_claim(at_most_every=_IDLE_CLAIM_SECONDS)
        self._housekeeping.after_batch((), now)
        self._gold.idle(now)

    def _count(self, judged: DataFrame, marks: DataFrame) -> DataFrame:
        duplicates = marks.where(~F.col("is_same_record"))
        return materialized(batches.account(judged, duplicates).coalesce(1))

    def _append_book(self, counts: DataFrame, batch_id: int, now: datetime) -> None:
        rows = counts.select(
            "*",
            varying(batch_id, "topic").cast("bigint").alias("batch_id"),
            F.lit(self._start.generation).alias("generation"),
            varying(now, "topic").alias("started_at"),
            F.lit(self._gold.waits_for_long).alias("late_pending"),
            varying(datetime.now(UTC), "topic").alias("committed_at"),
        )
        self._append(batches.TABLE, rows, batch_id)
