"""A lake of real Delta tables on the embedded S3 server, made of records by the functions that the stream uses."""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze import events as bronze_events
from gold import fraud
from lakehouse import hours as clock
from lakehouse.catalog import TABLES
from lakehouse.lake import arrow_schema
from lakehouse.services import s3
from lakehouse.services.child import alone
from lakehouse.services.jars import fetch_jars
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables
from lakehouse.stream.gold_refresh import HOURLY, closed_hour, replace_hours
from lakehouse.table import Table
from producer.record import Record
from silver import checks, deduplicate, quarantine
from silver import events as silver_events
from tests.support.platform import free_settings

PARTITIONS = 2
GOLD = (*HOURLY, fraud.TABLE)


@contextmanager
def served_lake(folder: Path, **overrides: object) -> Iterator[Settings]:
    """Settings of a lake whose embedded S3 server runs, with every table and no row, while the block lasts."""
    fetch_jars(("s3proxy",))
    settings = free_settings(folder, **overrides)
    with alone(s3.service(settings), settings):
        s3.ensure_bucket(settings)
        small = SmallTables(settings)
        for table in TABLES:
            small.create(table)
        yield settings


def bronze_of(records: Sequence[Record], batch: int = 500) -> pa.Table:
    """The records as rows of bronze: their Kafka time is when they were due, and each batch is read a second after."""
    offsets: Counter[tuple[str, int]] = Counter()
    rows = []
    for number, record in enumerate(records):
        last = records[min(number // batch * batch + batch, len(records)) - 1].due
        place = record.topic, zlib.crc32(record.key or b"") % PARTITIONS
        ingested = datetime.fromtimestamp(last, UTC) + timedelta(seconds=1)
        rows.append(
            {
                "topic": record.topic,
                "partition": place[1],
                "offset": offsets[place],
                "kafka_timestamp": datetime.fromtimestamp(record.due, UTC),
                "key": record.key,
                "value": record.value,
                "ingested_at": ingested,
                "ingest_date": ingested.date(),
            }
        )
        offsets[place] += 1
    return pa.Table.from_pylist(rows, arrow_schema(bronze_events.TABLE))


def fill(settings: Settings, spark: SparkSession, bronze: pa.Table, gold: Sequence[Table] = GOLD) -> None:
    """Judge rows of bronze, tell duplicates, and write every layer, of gold some tables or all, as they are when all
    rows have been read."""
    small = SmallTables(settings)
    judged = checks.judge(spark.createDataFrame(bronze)).cache()
    candidates = deduplicate.valid(judged)
    repeated = deduplicate.repeated(candidates, timedelta(hours=settings.dedupe_hours))
    events = deduplicate.accepted(deduplicate.without(candidates, repeated)).sort(*silver_events.TABLE.cluster_by)
    events = events.cache()
    small.append(bronze_events.TABLE, bronze)
    small.append(silver_events.TABLE, events.toArrow())
    small.append(quarantine.TABLE, quarantine.refused(judged).toArrow())
    at = max(bronze.column("ingested_at").to_pylist())
    hours = {row["hour"] for row in events.select(clock.hour_number().alias("hour")).distinct().collect()}
    for table in gold:
        if table is fraud.TABLE:
            small.overwrite(table, flags_of(events, at))
        else:
            replace_hours(small, table, table.hourly(events, settings).toArrow(), hours, at, closed_hour(at, settings))


def flags_of(events: DataFrame, at: datetime) -> pa.Table:
    """All flags of the events, as the job makes them."""
    first, last = events.agg(F.min("event_time"), F.max("event_time")).collect()[0]
    return fraud.flags(events, first.replace(tzinfo=UTC), last.replace(tzinfo=UTC) + timedelta(seconds=1), at).toArrow()
