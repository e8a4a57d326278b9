"""The stream: one Structured Streaming query over all topics, and the client that starts and watches it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from lakehouse import broker, recovery
from lakehouse.catalog import TABLES
from lakehouse.checkpoint import open_generation
from lakehouse.errors import ShoplakeError
from lakehouse.lake import Lake
from lakehouse.micro_batch import MicroBatch, Start
from lakehouse.session import connect
from lakehouse.settings import Settings
from producer.topics import TOPICS

_COLUMNS = ["topic", "partition", "offset", "timestamp", "key", "value"]
_HEARTBEAT_SECONDS = 5.0
Say = Callable[[str], None]


def source(spark: SparkSession, settings: Settings, start: Start) -> DataFrame:
    """All records of all topics, and one row without a topic per second: a tick, so that time passes in gold
    (products leave the rolling hour, hours close) when nothing happens in the shop."""
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.bootstrap)
        .option("subscribe", ",".join(TOPICS))
        .option("startingOffsets", _starting_offsets(settings, start))
        .option("maxOffsetsPerTrigger", settings.max_offsets_per_batch)
        .option("failOnDataLoss", "true")
        .load()
        .select(*_COLUMNS)
    )
    ticks = spark.readStream.format("rate").option("rowsPerSecond", 1).option("numPartitions", 1).load()
    empty = [F.lit(None).cast(field.dataType).alias(field.name) for field in records.schema.fields]
    return records.unionByName(ticks.select(*empty))


def _starting_offsets(settings: Settings, start: Start) -> str:
    """Where the book ends; the beginning for partitions that are not in it. Only a new checkpoint reads this."""
    earliest = -2
    known = start.starting_offsets
    return json.dumps(
        {
            topic: {str(partition): known.get(topic, {}).get(str(partition), earliest) for partition in partitions}
            for topic, partitions in broker.partitions(settings, TOPICS).items()
        }
    )


def run(settings: Settings, say: Say) -> None:
    """Run the stream until it is told to stop (SIGTERM, SIGINT). Raises ShoplakeError when it cannot go on."""
    lake = Lake(connect(settings), settings)
    lake.create_tables(TABLES)
    start, checkpoint = open_generation(lake, settings.checkpoints / "stream")
    booked = recovery.offsets_booked(lake)
    broker.refuse_gaps(settings, TOPICS, booked)
    query = (
        source(lake.spark, settings, start)
        .writeStream.queryName("shoplake")
        .foreachBatch(MicroBatch(settings, start))
        .option("checkpointLocation", f"file://{checkpoint}")
        .trigger(processingTime=f"{int(settings.trigger_seconds * 1000)} milliseconds")
        .start()
    )
    _Watch(settings, query, say, booked).until_stopped()


class _Watch:
    """Follows a query: writes where it is to `run/stream.json`, says how far behind it is, ends it on a signal."""

    def __init__(self, settings: Settings, query: StreamingQuery, say: Say, booked: recovery.Offsets) -> None:
        self._settings, self._query, self._say = settings, query, say
        self._file = settings.run_dir / "stream.json"
        self._stop = False
        self._last_batch = -1
        self._offsets: dict[str, Any] = booked
        self._figures: dict[str, Any] | None = None
        self._written = 0.0
        self._said_lag = False

    def until_stopped(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        while not self._stop:
            time.sleep(0.5)
            self._look()
        self._query.stop()
        self._write("down")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

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
            self._offsets, self._figures = _end_offsets(progress), _figures(progress)
            self._say_lag(self._offsets)
        if is_new or time.monotonic() - self._written > _HEARTBEAT_SECONDS:
            self._write("running")

    def _say_lag(self, offsets: dict[str, Any]) -> None:
        if not self._said_lag:
            behind = broker.lag(self._settings, TOPICS, offsets)
            self._say(f"The stream runs; it is {behind:,} records behind the broker.")
            self._said_lag = True

    def _write(self, state: str) -> None:
        report = {
            "state": state,
            "pid": os.getpid(),
            "offsets": self._offsets,
            "batch": self._figures,
            "updated_at": datetime.now(UTC).isoformat(),
        }
        _replace(self._file, json.dumps(report))
        self._written = time.monotonic()


def _replace(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".new")
    aside.write_text(text)
    aside.replace(file)


def _end_offsets(progress: Any) -> dict[str, Any]:
    for part in progress["sources"]:
        if part["description"].startswith("Kafka"):
            found = part["endOffset"]
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
