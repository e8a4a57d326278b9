"""The way of one micro-batch: Kafka → gold, bronze and silver → the book. Read `__call__` and `_process`.

The streaming query judges the records. The fold finds duplicates among them and computes live gold; bronze and silver
are written meanwhile. While one batch is written, Spark reads and judges the next.

Exactly once, whatever dies and whenever: every start of the stream continues where the book ends, whatever Spark
considers done. Records that tables already hold beyond that are skipped by their coordinates. The fold is that of the
last batch in the book. `ops.batches`, the book, is written last (docs/decisions/exactly-once.md).
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze import events as bronze_events
from lakehouse import hours as clock
from lakehouse import s3
from lakehouse.catalog import TABLES
from lakehouse.lake import Lake
from lakehouse.ops import batches
from lakehouse.ops.batches import Plan
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream import offset_log, rebuilt, recovery, writer
from lakehouse.stream.fold import OF_EVENT, Fold, Taken
from lakehouse.stream.housekeeping import Housekeeping
from lakehouse.stream.live_gold import LIVE, LiveGold
from lakehouse.stream.recovery import Start
from lakehouse.table import Table, with_constants
from silver import deduplicate, quarantine
from silver import events as silver_events
from silver.deduplicate import COORDINATES

APPENDED = tuple(table for table in TABLES if table.fed == "live" and table.rows != "replaced")
"""The tables that a batch is appended to, and must not be appended to twice."""
FACTS = [*COORDINATES, "kafka_timestamp", "reason_code", *OF_EVENT]
"""The columns of a judged record that the fold gets."""
_IDLE_CLAIM_SECONDS = 10.0


class MicroBatch:
    """Called by Structured Streaming with every judged micro-batch, in order, in one process."""

    def __init__(self, settings: Settings, start: Start, checkpoint: Path, token: str) -> None:
        """Keep what the process that runs the batches needs; sessions are made there. `token`: stream/writer.py."""
        self._settings = settings
        self._token = token
        self._start = start
        self._checkpoint = checkpoint
        self._booked, self._offsets = start.newest, start.offsets
        self._is_ready = False
        self._writing: Future[None] | None = None

    def __call__(self, judged: DataFrame, spark_batch_id: int) -> None:
        """Read one micro-batch and hand it to the writer thread, once that has finished the last one. Its failures are
        raised here, within a second: the source ticks."""
        now, number = datetime.now(UTC), self._start.first_batch_id + spark_batch_id
        plan = offset_log.plan_of(self._checkpoint, spark_batch_id)
        is_empty = plan is not None and plan.begin == plan.end
        records = None if is_empty else judged.where(F.col("topic").isNotNull()).toArrow()
        if self._writing is None:
            self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch")
        self.wait()
        self._writing = self._writer.submit(self._write, judged.sparkSession, records, plan, number, now)

    def wait(self) -> None:
        """Return when the batch that was handed over is written; raises its failure."""
        if self._writing is not None:
            self._writing.result()

    def _write(
        self, spark: SparkSession, records: pa.Table | None, plan: Plan | None, number: int, now: datetime
    ) -> None:
        """Bring one micro-batch into gold, bronze, silver and the book."""
        self._prepare(spark, now)
        if records is not None and (records.num_rows or plan is not None):
            self._process(records, plan, number, now)
        else:
            self._idle(now)

    def _process(self, records: pa.Table, plan: Plan | None, number: int, now: datetime) -> None:
        self._require_claim()
        facts, batch = records.select(FACTS), f"{self._start.generation}:{number}"
        mark = f"stream:{batch}"
        taken = self._fold.take(facts, self._known_of_old(facts, now), now)
        book = batches.planned(taken.book, plan)
        appends = self._append_all(records, taken, book, mark, now)
        self._gold.after_batch(taken, now)
        for append in appends:
            append.result()
        self._append_book(book, number, mark, now)
        self._booked = batch
        self._offsets = batches.next_offsets(book, self._offsets)
        self._fold.commit(self._tag(), now)
        in_backlog = records.num_rows > self._settings.max_offsets_per_batch // 2
        self._gold.work_beside(now, in_backlog=in_backlog)
        self._housekeeping.after_batch(clock.dates_of(taken.touched | taken.late), now)

    def _prepare(self, spark: SparkSession, now: datetime) -> None:
        """Before the first batch, and after a job has replaced rows behind the fold: rebuild it, and find what an
        earlier process left undone."""
        if not self._is_ready:
            self._lake = Lake(spark, self._settings)
            self._housekeeping = Housekeeping(self._lake)
            self._s3, self._required = s3.s3_client(self._settings), 0.0
            self._pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="write")
            dedupe = timedelta(hours=self._settings.dedupe_hours)
            self._fold = Fold(self._settings.fold_file, LIVE, dedupe, self._settings.fold_memory_mb)
            self._began_at = self._start.began_at or now
            self._load(rebuilt.note(self._s3, self._settings.bucket), now)
            self._is_ready = True
        elif (note := rebuilt.note(self._s3, self._settings.bucket, self._rebuilt)) != self._rebuilt:
            self._gold.close()
            self._load(note, now)
        self._fold.advance(now)

    def _load(self, note: str | None, now: datetime) -> None:
        """Load the fold of the last batch in the book: as it was left, or from silver, whose `note` was read before."""
        self._rebuilt = note
        if self._fold.tag() != self._tag():
            with connect(self._settings, self._settings.fold_memory_mb) as reader:
                accepted = recovery.accepted_since(self._lake, reader, self._offsets, now)
                self._fold.load(accepted, self._tag(), now)
        self._fold.advance(now)
        is_cut_off = self._offsets == self._start.offsets != self._start.in_lake
        self._fold.hold(recovery.written_beyond(self._lake, self._offsets) if is_cut_off else None)
        self._gold = LiveGold(self._lake, self._fold, now)

    def _tag(self) -> str:
        return f"{self._booked} {self._rebuilt}"

    def _require_claim(self, at_most_every: float = 0.0) -> None:
        """A stream that has lost the lake to another one writes nothing more."""
        if time.monotonic() - self._required >= at_most_every:
            writer.require(self._s3, self._settings.bucket, self._token)
            self._required = time.monotonic()

    def _known_of_old(self, facts: pa.Table, now: datetime) -> pa.Table | None:
        """Coordinates of records whose event silver has with the same time, but which arrived before the fold's memory;
        None where there can be none."""
        dedupe = timedelta(hours=self._settings.dedupe_hours)
        if now - self._began_at < dedupe:
            return None
        old = clock.ranges_of(self._fold.hours_before(facts, now - dedupe))
        if not old:
            return None
        of_event = facts.select([*COORDINATES, *deduplicate.IDENTITY, "reason_code"])
        candidates = deduplicate.valid(self._lake.spark.createDataFrame(of_event)).where(clock.within(old))
        is_old = clock.on_dates(old) & clock.within(old) & (F.col("processed_at") < F.lit(now - dedupe))
        return deduplicate.known_among(candidates, self._lake.read(silver_events.TABLE).where(is_old)).toArrow()

    def _append_all(
        self, records: pa.Table, taken: Taken, book: pa.Table, mark: str, now: datetime
    ) -> list[Future[None]]:
        """Begin to add the batch to bronze, silver and quarantine, side by side, while gold is written."""
        valid = pc.is_null(records.column("reason_code"))
        accepted = deduplicate.rows_without(records.filter(valid), taken.duplicates)
        rows = (
            (bronze_events.TABLE, bronze_events.rows(records, now)),
            (silver_events.TABLE, silver_events.rows(accepted, now)),
            (quarantine.TABLE, quarantine.rows(records.filter(pc.invert(valid)), now)),
        )
        may_be_there = self._may_be_there(book)
        return [
            self._pool.submit(self._append, table, added, may_be_there, mark) for table, added in rows if added.num_rows
        ]

    def _may_be_there(self, book: pa.Table) -> bool:
        """True if an interrupted batch may have written some of these records."""
        return any(
            row["from_offset"] < self._start.in_lake.get(row["topic"], {}).get(str(row["partition"]), 0)
            for row in book.select(["topic", "partition", "from_offset"]).to_pylist()
        )

    def _append(self, table: Table, rows: pa.Table, may_be_there: bool, mark: str) -> None:
        """A commit behind that of another writer checks the claim again: the next stream may have fenced it off. The
        table's history names the batch."""
        if may_be_there:
            rows = deduplicate.rows_without(rows, recovery.held_beyond(self._lake, table, self._start.offsets))
        self._lake.small.append(table, rows, mark, before=self._require_claim)

    def _idle(self, now: datetime) -> None:
        self._require_claim(at_most_every=_IDLE_CLAIM_SECONDS)
        self._housekeeping.after_batch((), now)
        self._gold.idle(now)

    def _append_book(self, counts: pa.Table, number: int, mark: str, now: datetime) -> None:
        rows = with_constants(
            counts,
            batch_id=number,
            generation=self._start.generation,
            started_at=now,
            late_pending=self._gold.waits_for_long,
            committed_at=datetime.now(UTC),
        )
        self._lake.small.append(batches.TABLE, rows, mark, before=self._require_claim)
