"""The way of one micro-batch: Kafka → gold → bronze and silver → the book. Read `__call__` top to bottom.

The records come judged, by the streaming query's own plan. Narrow facts of them go to the fold, which tells duplicates
and makes live gold, so that gold is visible first. Exactly once, whatever dies and whenever: a batch that is in the
book is done; of one that was cut off, what the tables already hold is left out by its coordinates; the fold is that of
the last batch in the book; and `ops.batches`, the book, is written last (docs/decisions/exactly-once.md).
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze import events as bronze_events
from lakehouse import hours as clock
from lakehouse.lake import Lake
from lakehouse.ops import batches
from lakehouse.ops.batches import Plan
from lakehouse.services import s3
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream import offset_log, rebuilt, recovery, writer
from lakehouse.stream.fold import OF_EVENT, Fold, Taken
from lakehouse.stream.housekeeping import Housekeeping
from lakehouse.stream.live_gold import LIVE, LiveGold
from lakehouse.table import Table
from silver import deduplicate, quarantine
from silver import events as silver_events

APPENDED = (bronze_events.TABLE, quarantine.TABLE, silver_events.TABLE, batches.TABLE)
"""What a batch is added to, and must not be added to twice."""
FACTS = ("topic", "partition", "offset", "kafka_timestamp", "reason_code", *OF_EVENT)
"""What the fold is told of a judged record."""
_IDLE_CLAIM_SECONDS = 10.0


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
    booked: str = ""
    """The last batch in the book, of whatever generation: `generation:number`."""
    began_at: str = ""
    """When the first batch in the book began, UTC: nothing arrived before."""


class MicroBatch:
    """Called by Structured Streaming with every judged micro-batch, in order, in one process."""

    def __init__(self, settings: Settings, start: Start, checkpoint: Path, token: str) -> None:
        """Keep what the process that runs the batches needs; sessions are made there. `token`: stream/writer.py."""
        self._settings = settings
        self._token = token
        self._start = start
        self._checkpoint = checkpoint
        self._booked, self._offsets = start.booked, start.starting_offsets
        self._is_ready = False

    def __call__(self, judged: DataFrame, spark_batch_id: int) -> None:
        """Bring one micro-batch into gold, bronze, silver and the book."""
        now, batch_id = datetime.now(UTC), self._start.first_batch_id + spark_batch_id
        self._prepare(judged, now)
        is_done = batch_id <= self._start.booked_through
        plan = offset_log.plan_of(self._checkpoint, spark_batch_id)
        if is_done or (plan is not None and plan.begin == plan.end):
            self._idle(now)
            return
        kept = judged.where(F.col("topic").isNotNull()).persist()
        try:
            facts = kept.select(*FACTS).toArrow()
            if facts.num_rows or plan is not None:
                self._process(kept, facts, plan, batch_id, now)
            else:
                self._idle(now)
        finally:
            kept.unpersist()

    def _process(self, judged: DataFrame, facts: pa.Table, plan: Plan | None, batch_id: int, now: datetime) -> None:
        self._require_claim()
        taken = self._fold.take(facts, self._known_of_old(judged, facts, now), now)
        self._gold.after_batch(taken, now)
        written = self._append_all(bronze_events.ingested(judged, now), taken, batch_id)
        for table in written:
            table.result()
        book = batches.planned(taken.book, plan)
        self._append_book(book, batch_id, now)
        self._booked = f"{self._start.generation}:{batch_id}"
        self._offsets = batches.next_offsets(book, self._offsets)
        self._fold.commit(self._tag(), now)
        self._gold.work_beside(now)
        self._housekeeping.after_batch(clock.dates_of(taken.touched | taken.late), now)

    def _prepare(self, source: DataFrame, now: datetime) -> None:
        """Before the first batch, and after a job has replaced rows that the fold is made of: make it anew, and find
        what an earlier process left undone."""
        if not self._is_ready:
            self._lake = Lake(source.sparkSession, self._settings)
            self._housekeeping = Housekeeping(self._lake)
            self._s3, self._required = s3.s3_client(self._settings), 0.0
            self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="write")
            dedupe = timedelta(hours=self._settings.dedupe_hours)
            self._fold = Fold(self._settings.fold_file, LIVE, dedupe, self._settings.fold_memory_mb)
            self._began_at = datetime.fromisoformat(self._start.began_at) if self._start.began_at else now
            self._load(rebuilt.note(self._s3, self._settings.bucket), now)
            self._is_ready = True
        elif (note := rebuilt.note(self._s3, self._settings.bucket, self._rebuilt)) != self._rebuilt:
            self._gold.close()
            self._load(note, now)
        self._fold.advance(now)

    def _load(self, note: str | None, now: datetime) -> None:
        """The fold of the last batch in the book: as it was left, or from silver, whose `note` was read before."""
        self._rebuilt = note
        if self._fold.tag() != self._tag():
            with connect(self._settings, self._settings.fold_memory_mb) as reader:
                accepted = recovery.accepted_since(self._lake, reader, self._offsets, now)
                self._fold.load(accepted, self._tag(), now)
        self._fold.advance(now)
        is_cut_off = bool(self._start.bronze_offsets)
        self._fold.hold(recovery.written_beyond(self._lake, self._offsets) if is_cut_off else None)
        self._gold = LiveGold(self._lake, self._fold, now)

    def _tag(self) -> str:
        return f"{self._booked} {self._rebuilt}"

    def _require_claim(self, at_most_every: float = 0.0) -> None:
        """A stream that another has taken the lake from writes nothing more."""
        if time.monotonic() - self._required >= at_most_every:
            writer.require(self._s3, self._settings.bucket, self._token)
            self._required = time.monotonic()

    def _known_of_old(self, judged: DataFrame, facts: pa.Table, now: datetime) -> pa.Table | None:
        """Coordinates of records whose event silver has with the same time, of an arrival that the fold no longer
        knows; None where there can be none."""
        dedupe = timedelta(hours=self._settings.dedupe_hours)
        if now - self._began_at < dedupe:
            return None
        old = clock.ranges_of(self._fold.hours_before(facts, now - dedupe))
        if not old:
            return None
        is_old = clock.on_dates(old) & clock.within(old)
        silver = self._lake.read(silver_events.TABLE).where(is_old & (F.col("processed_at") < F.lit(now - dedupe)))
        return deduplicate.known_among(deduplicate.valid(judged).where(is_old), silver).toArrow()

    def _append_all(self, ingested: DataFrame, taken: Taken, batch_id: int) -> list[Future[None]]:
        """Add the batch to bronze, silver and quarantine, side by side."""
        rows = [(bronze_events.TABLE, ingested)] if taken.book.num_rows else []
        if sum(taken.book.column("silver_rows").to_pylist()):
            accepted = deduplicate.accepted(self._without(ingested, taken.duplicates))
            rows.append((silver_events.TABLE, accepted))
        if sum(taken.book.column("quarantined_rows").to_pylist()):
            rows.append((quarantine.TABLE, quarantine.refused(ingested)))
        return [self._pool.submit(self._append, table, frame, batch_id) for table, frame in rows]

    def _without(self, ingested: DataFrame, duplicates: pa.Table) -> DataFrame:
        valid = deduplicate.valid(ingested)
        if not duplicates.num_rows:
            return valid
        return deduplicate.without(valid, self._lake.spark.createDataFrame(duplicates))

    def _append(self, table: Table, rows: DataFrame, batch_id: int) -> None:
        """Each try asks for the claim anew: a commit that the next stream has fenced off must not be made behind it.
        The history of the table says which batch it was."""
        chosen = rows.select(*table.columns)
        if self._start.bronze_offsets:
            chosen = recovery.not_in(self._lake, table, chosen, self._start)
        parts = 1 if table is quarantine.TABLE else self._settings.files_per_batch
        self._lake.append(table, chosen.coalesce(parts), self._mark(batch_id), self._require_claim)

    def _mark(self, batch_id: int) -> str:
        return f"stream:{self._start.generation}:{batch_id}"

    def _idle(self, now: datetime) -> None:
        self._require_claim(at_most_every=_IDLE_CLAIM_SECONDS)
        self._housekeeping.after_batch((), now)
        self._gold.idle(now)

    def _append_book(self, counts: pa.Table, batch_id: int, now: datetime) -> None:
        beside: dict[str, Any] = {
            "batch_id": batch_id,
            "generation": self._start.generation,
            "started_at": now,
            "late_pending": self._gold.waits_for_long,
            "committed_at": datetime.now(UTC),
        }
        rows = counts
        for name, value in beside.items():
            rows = rows.append_column(name, pa.repeat(pa.scalar(value), counts.num_rows))
        self._lake.small.append(batches.TABLE, rows, self._mark(batch_id), before=self._require_claim)
