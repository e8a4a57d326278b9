"""The stream: one Structured Streaming query over all topics, and the client that starts and watches it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from bronze import events as bronze_events
from lakehouse import broker
from lakehouse.broker import spark_options
from lakehouse.catalog import TABLES
from lakehouse.errors import ShoplakeError
from lakehouse.lake import Lake
from lakehouse.lock import stream_lock
from lakehouse.ops import schema_changes
from lakehouse.reports import write_report
from lakehouse.session import connect
from lakehouse.settings import Settings
from lakehouse.small_tables import require_conditional_put
from lakehouse.stream import control as stream_control
from lakehouse.stream import recovery
from lakehouse.stream.micro_batch import APPENDED, MicroBatch
from lakehouse.stream.recovery import Start
from lakehouse.stream.writer import TakenOver, Writer
from producer.topics import TOPICS
from silver import checks

_COLUMNS = ["topic", "partition", "offset", "timestamp", "key", "value"]
_HEARTBEAT_SECONDS = 5.0
_RECORDS_PER_TASK = 10_000
"""A backlog of one topic is read in pieces, so that all cores share the work."""
Say = Callable[[str], None]


def source(spark: SparkSession, settings: Settings, start: Start) -> DataFrame:
    """All records of all topics, and one row without a topic per second: a tick, so that time passes in gold
    (products leave the rolling hour, hours close) when nothing happens in the shop."""
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.bootstrap)
        .options(**spark_options(settings))
        .option("kafka.isolation.level", broker.ISOLATION)
        # After each poll Spark asks the broker for the newest offset. That answer waits behind the next poll: half a
        # second per partition with little traffic. So polls are few and do not wait.
        .option("kafka.fetch.max.wait.ms", 1)
        .option("kafka.max.poll.records", _RECORDS_PER_TASK)
        .option("subscribe", ",".join(TOPICS))
        .option("startingOffsets", _starting_offsets(settings, start))
        .option("maxOffsetsPerTrigger", settings.max_offsets_per_batch)
        .option("maxRecordsPerPartition", _RECORDS_PER_TASK)
        .option("failOnDataLoss", "true")
        .load()
        .select(*_COLUMNS)
    )
    ticks = spark.readStream.format("rate").option("rowsPerSecond", 1).option("numPartitions", 1).load()
    empty = [F.lit(None).cast(field.dataType).alias(field.name) for field in records.schema.fields]
    return records.unionByName(ticks.select(*empty))


def _starting_offsets(settings: Settings, start: Start) -> str:
    """Where the book ends; the beginning for partitions that are not in it."""
    earliest = -2
    known = start.offsets
    return json.dumps(
        {
            topic: {str(partition): known.get(topic, {}).get(str(partition), earliest) for partition in partitions}
            for topic, partitions in broker.partitions(settings, TOPICS).items()
        }
    )


def _new_checkpoint(settings: Settings, start: Start) -> Path:
    """A new folder for this start; those of earlier ones are deleted."""
    folder = settings.checkpoints / "stream"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / start.generation


def run(settings: Settings, say: Say) -> None:
    """Run the stream until it is told to end (SIGTERM, SIGINT). Raises ShoplakeError when it cannot go on, UsageError
    if another one runs.

    While `run/stream.desired` says "stopped" there is no query: the process waits, and starts one when told.
    """
    lock = stream_lock(settings)
    lock.acquire()
    report, ending, writer = _Report(settings), threading.Event(), Writer(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ending.set())
    while not ending.is_set():
        if stream_control.is_wanted(settings):
            _stream(settings, say, report, ending, writer)
        else:
            say("The stream is stopped, and waits to be started.")
            _wait_until_wanted(settings, report, ending)
    report.write("down")
    lock.release()


def _stream(settings: Settings, say: Say, report: _Report, ending: threading.Event, writer: Writer) -> None:
    """One life of the query."""
    session_id = str(uuid.uuid4())
    lake, token = Lake(connect(settings, session_id), settings), writer.take(session_id)
    require_conditional_put(settings)
    lake.create_tables(TABLES)
    if writer.took_over:
        lake.fence(APPENDED, token)
    for change in schema_changes.apply(lake, TABLES):
        say(f"Changed a table: {change}.")
    start = recovery.read_start(lake)
    checkpoint = _new_checkpoint(settings, start)
    report.offsets = start.offsets
    broker.refuse_gaps(settings, TOPICS, report.offsets)
    for unread in broker.begin_late(settings, TOPICS, report.offsets):
        say(unread)
    say(f"The stream starts; it is {broker.lag(settings, TOPICS, report.offsets):,} records behind the broker.")
    records = bronze_events.from_kafka(source(lake.spark, settings, start)).coalesce(settings.spark_shuffle_partitions)
    limits = checks.Limits(settings.max_future_minutes, settings.max_age_days)
    query = (
        # Judged here, the checks are planned once and not with every batch.
        checks.judge(records, limits)
        .writeStream.queryName("shoplake")
        .foreachBatch(MicroBatch(settings, start, checkpoint, token))
        .option("checkpointLocation", f"file://{checkpoint}")
        .trigger(processingTime=f"{int(settings.trigger_seconds * 1000)} milliseconds")
        .start()
    )
    _Watch(query, report, writer).until(lambda: ending.is_set() or not stream_control.is_wanted(settings))
    writer.give_up()
    if not ending.is_set():
        lake.spark.stop()


def _wait_until_wanted(settings: Settings, report: _Report, ending: threading.Event) -> None:
    while not ending.is_set() and not stream_control.is_wanted(settings):
        report.write("stopped", at_most_every=_HEARTBEAT_SECONDS)
        ending.wait(0.5)


class _Report:
    """What the stream says about itself in `run/stream.json`: state, next offsets to read, the last batch."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.run_dir / "stream.json"
        self._state, self._written = "", 0.0
        self.offsets: dict[str, Any] = {}
        self.batch: dict[str, Any] | None = None

    def write(self, state: str, *, at_most_every: float = 0.0) -> None:
        """Write it, unless the state is the same and the last write is recent."""
        now = time.monotonic()
        if state == self._state and now - self._written < at_most_every:
            return
        write_report(self._file, state=state, offsets=self.offsets, batch=self.batch)
        self._state, self._written = state, now


class _Watch:
    """Follows a query: reports where it is, keeps the lake claimed for it, ends it when told."""

    def __init__(self, query: StreamingQuery, report: _Report, writer: Writer) -> None:
        self._query, self._report, self._writer = query, report, writer
        self._last_batch = -1

    def until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            time.sleep(0.5)
            self._look()
            try:
                self._writer.renew()
            except TakenOver:
                self._query.stop()
                raise
        self._query.stop()

    def _look(self) -> None:
        try:
            is_active, progress = self._query.isActive, self._query.lastProgress
        except Exception as error:  # gRPC and Spark errors have no base class in common
            raise ShoplakeError(f"The Spark server is gone ({type(error).__name__}); see spark.log.") from error
        if not is_active:
            raise ShoplakeError(f"The stream stopped: {_reason(self._query)}")
        is_new = progress is not None and progress["batchId"] != self._last_batch
        if progress is not None and is_new:
            self._last_batch = int(progress["batchId"])
            self._report.offsets = _written_offsets(progress) or self._report.offsets
            self._report.batch = _figures(progress)
        self._report.write("running", at_most_every=0.0 if is_new else _HEARTBEAT_SECONDS)


def _written_offsets(progress: Any) -> dict[str, Any]:
    """Where the newest batch began: it is being written while Spark calls it done; those before it are in the book."""
    for part in progress["sources"]:
        if part["description"].startswith("Kafka"):
            found = part["startOffset"]
            return json.loads(found) if isinstance(found, str) else dict(found or {})
    return {}


def _figures(progress: Any) -> dict[str, Any]:
    return {
        "batch_id": progress["batchId"],
        "rows": sum(part["numInputRows"] or 0 for part in progress["sources"]),
        "duration_ms": progress["durationMs"].get("triggerExecution"),
    }


def _reason(query: StreamingQuery) -> str:
    """The sentence that matters of a query's error: the innermost error's, without stack traces and plans."""
    text = str(query.exception() or "no reason given").split("JVM stacktrace")[0]
    named = re.findall(r"^[\w.]*(?:Error|Exception): (.+)$", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if line.strip()]
    return str([*named[-1:], *lines, text][0]).strip()[:600]
