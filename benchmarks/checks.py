"""What it costs to be sure: `python -m benchmarks.checks`.

The contract's checks per event, the audit of each publish against the stream's own time, replays per second, and how
long the ledger takes, on a platform of its own. The ledger's rows are made in the tables, not sent: 10 million of them
would take longer to read from Kafka than everything else here.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField

from benchmarks.figures import Figure, report
from benchmarks.traffic import history, live, send, started, wait_until_read
from bronze import events as bronze_events
from gold import kpis
from lakehouse.catalog import TABLES
from lakehouse.jobs import find
from lakehouse.lake import Lake
from lakehouse.ops import batches
from lakehouse.reports import read_report
from lakehouse.services.s3 import ensure_bucket
from lakehouse.session import connect as connect_spark
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream import control as stream_control
from lakehouse.stream.progress import behind
from lakehouse.table import Table
from producer.publish import publish
from producer.record import Record
from producer.simulator import simulate
from quality import ledger
from silver import checks
from silver import events as silver_events

TOPIC, VIEWS = "shop.clicks", "shop.page_views"
SCHEDULED_SECONDS = 900
ROUNDS = 3
LEDGER_BUCKET = "ledger"


def main(
    events: Annotated[int, typer.Option(help="Events that are judged.")] = 100_000,
    rate: Annotated[float, typer.Option(help="Events per second while the audit is watched.")] = 200.0,
    seconds: Annotated[int, typer.Option(help="How long it is watched.")] = 60,
    refused: Annotated[int, typer.Option(help="Records that are replayed.")] = 2_000,
    rows: Annotated[int, typer.Option(help="Rows of bronze that are reconciled.")] = 10_000_000,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/checks.json."""
    figures: list[Figure] = []
    with started() as (settings, say):
        lake = Lake(connect_spark(settings), settings)
        say(f"Reading {events:,} events")
        send(settings, history(events, days=3, seed=31, malformed=0.01))
        wait_until_read(settings)
        say("The contract's checks")
        figures += _contract(lake)
        say(f"The audit beside {rate:,.0f} events/s for {seconds} s")
        figures += _audit(settings, rate, seconds)
        say("The checks of what changed")
        figures += _incremental(lake, settings)
        say(f"Replaying {refused:,} records")
        figures += _replay(lake, refused)
        say(f"The ledger of {rows:,} rows")
        stream_control.want(settings, "stopped")
        figures += _ledger(lake, rows)
        lake.spark.stop()
    report("checks", "python -m benchmarks.checks", figures)


def _contract(lake: Lake) -> list[Figure]:
    """Seconds of judging all of bronze, less those of only reading it, per event; the best of some rounds."""
    records = lake.read(bronze_events.TABLE)
    count = records.count()
    read = min(_seconds(lambda: _consume(records)) for _ in range(ROUNDS))
    judged = min(_seconds(lambda: _consume(checks.judge(records))) for _ in range(ROUNDS))
    return [
        Figure("reading a record of bronze", read / count * 1e6, "µs/event"),
        Figure("judging it by the contract", (judged - read) / count * 1e6, "µs/event"),
    ]


def _consume(frame: DataFrame) -> None:
    frame.write.format("noop").mode("overwrite").save()


def _audit(settings: Settings, rate: float, seconds: int) -> list[Figure]:
    """What the audits of the publishes took, against what the micro-batches of the same time took."""
    began, audits = datetime.now(UTC), dict[str, float]()
    sending = threading.Thread(target=send, args=(settings, live(rate, seconds, seed=32)), daemon=True)
    sending.start()
    with connect(settings) as reader:
        while sending.is_alive() or behind(settings, reader):
            report = read_report(settings.run_dir / "publisher.json")
            audits[str(report["updated_at"])] = float(report["audit_seconds"])
            time.sleep(0.2)
        rows = reader.query("select distinct batch_id, started_at, committed_at from ops.batches")
    stream = sum((row["committed_at"] - row["started_at"]).total_seconds() for row in rows if row["started_at"] > began)
    return [
        Figure("audit of a publish, median", statistics.median(audits.values()) * 1000, "ms"),
        Figure("audits, share of the stream's time", sum(audits.values()) / stream * 100, "%", "10"),
    ]


def _incremental(lake: Lake, settings: Settings) -> list[Figure]:
    """The job `quality`: everything once, then only the days that some live events have changed since."""
    job = find("quality")
    whole = _seconds(lambda: job.run(lake, job.parse({"scope": "full"}), _say))
    publish(simulate(live(200, 10, seed=33)), settings)
    wait_until_read(settings)
    changed = _seconds(lambda: job.run(lake, job.parse({"scope": "incremental"}), _say))
    return [
        Figure("quality, all tables in full", whole, "s"),
        Figure("quality, what changed", changed, "s"),
        Figure("quality every 15 minutes, share of the time", changed / SCHEDULED_SECONDS * 100, "%", "10"),
    ]


def _replay(lake: Lake, refused: int) -> list[Figure]:
    """Refused for a price as text, brought home with a fix, until they are in silver and marked."""
    publish([_priced(number) for number in range(refused)], lake.settings)
    wait_until_read(lake.settings)
    job = find("replay_quarantine")
    given = job.parse({"reason": "wrong_type", "topic": VIEWS, "fix": "cast data.price=number"})
    result: dict[str, Any] = {}
    seconds = _seconds(lambda: result.update(job.run(lake, given, _say)))
    return [Figure("replay, refused → silver and resolved", result["resolved"] / seconds, "records/s")]


def _priced(number: int) -> Record:
    event = {
        "event_id": f"priced-{number}",
        "event_type": "product_view",
        "user_id": f"u{number}",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": {"product_id": "p1", "price": "19.90"},
    }
    return Record(VIEWS, f"u{number}".encode(), json.dumps(event).encode(), time.time())


def _ledger(lake: Lake, rows: int) -> list[Figure]:
    """A bucket of its own with `rows` records of a month, all accepted; reconciled in full, and again."""
    settings = lake.settings.model_copy(update={"bucket": LEDGER_BUCKET})
    ensure_bucket(settings)
    made = Lake(lake.spark, settings)
    made.create_tables(TABLES)
    _fill(made, rows)
    with connect(settings) as reader:
        found: list[ledger.Ledger] = []
        bounds = ({TOPIC: {"0": 0}}, {TOPIC: {"0": rows}})
        whole = _seconds(lambda: found.append(ledger.reconcile(reader, lambda: bounds, None)))
        again = _seconds(lambda: found.append(ledger.reconcile(reader, lambda: bounds, found[0].through)))
    if found[0].faults or found[0].rows["silver"] != rows:
        raise AssertionError(f"the ledger does not balance: {found[0]}")
    return [
        Figure(f"ledger of {rows / 1e6:g} million records, in full", whole, "s"),
        Figure("ledger when nothing is new", again, "s"),
    ]


def _fill(lake: Lake, rows: int) -> None:
    """Clicks, one after another over thirty days that end yesterday; bronze, silver, gold and the book agree."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin, length = end - timedelta(days=30), 30 * 86_400
    moment = F.timestamp_seconds(F.lit(begin.timestamp()) + (F.col("id") * length / rows).cast("bigint"))
    clicks = lake.spark.range(rows, numPartitions=60).select(F.col("id").alias("offset"), moment.alias("event_time"))
    event = clicks.select(
        "*",
        F.concat(F.lit("e"), F.col("offset")).alias("event_id"),
        F.lit("click").alias("event_type"),
        F.concat(F.lit("u"), F.col("offset") % 50_000).alias("user_id"),
        F.lit(TOPIC).alias("topic"),
        F.lit(0).alias("partition"),
        F.col("event_time").alias("kafka_timestamp"),
        F.col("event_time").alias("ingested_at"),
        F.col("event_time").alias("processed_at"),
        F.to_date("event_time").alias("ingest_date"),
        F.to_date("event_time").alias("event_date"),
    )
    value = F.encode(F.concat(F.lit('{"event_id":"'), F.col("event_id"), F.lit('","event_type":"click"}')), "UTF-8")
    _put(lake, bronze_events.TABLE, event.withColumn("value", value))
    _put(lake, silver_events.TABLE, event)
    hours = clicks.groupBy(F.date_trunc("hour", "event_time").alias("hour_start")).agg(F.count("*").alias("clicks"))
    _put(lake, kpis.TABLE, hours.withColumn("hour_date", F.to_date("hour_start")), zeros=True)
    book = lake.spark.range(1).select(
        *(F.lit(value).alias(name) for name, value in (("batch_id", 1), ("topic", TOPIC), ("partition", 0))),
        *(F.lit(value).alias(name) for name, value in (("from_offset", 0), ("to_offset", rows), ("bronze_rows", rows))),
        *(F.lit(value).alias(name) for name, value in (("started_at", begin), ("committed_at", end))),
        F.lit(rows).alias("silver_rows"),
    )
    _put(lake, batches.TABLE, book, zeros=True)


def _put(lake: Lake, table: Table, rows: DataFrame, *, zeros: bool = False) -> None:
    """Append `rows` with what they lack as NULL, or 0 where it is a count."""
    cells = [
        (F.col(field.name) if field.name in rows.columns else F.lit(0 if zeros and _is_count(field) else None))
        .cast(field.dataType)
        .alias(field.name)
        for field in table.schema.fields
    ]
    lake.append(table, rows.select(*cells))


def _is_count(field: StructField) -> bool:
    return isinstance(field.dataType, LongType)


def _seconds(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _say(_doing: str) -> None:
    """Nobody listens."""


if __name__ == "__main__":
    typer.run(main)
