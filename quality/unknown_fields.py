"""ops.unknown_fields: fields that producers send and the contract does not know, found in `silver.events.extra`."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType, StructType, TimestampType

from lakehouse.lake import Lake
from lakehouse.ops import marks
from lakehouse.table import Table, column
from silver import events as silver_events

TABLE = Table(
    layer="ops",
    name="unknown_fields",
    grain="one unknown field of one event type on one topic",
    schema=StructType(
        [
            column("topic", StringType(), "Kafka topic"),
            column("event_type", StringType(), "Event type"),
            column(
                "path",
                StringType(),
                "Where the field stands in the event, cut after 200 characters; `(others)`: those after the 200th",
            ),
            column("first_seen", TimestampType(), "When the first event with it was processed, UTC"),
            column("last_seen", TimestampType(), "When the last one was, UTC"),
            column("count", LongType(), "Events that had it"),
            column("sample", StringType(), "A value, as JSON, cut after 200 characters"),
        ]
    ),
    keys=("topic", "event_type", "path"),
    writer="delta-rs",
    rows="replaced",
)
MARK = "unknown_fields"
MOST = 200
"""Fields of an event type on a topic that have a row each; a sender that uses data as names has no end of them."""
OTHERS = "(others)"
_MAP = "map<string,variant>"
_KEY = ("topic", "event_type", "path")


def found_in(events: DataFrame) -> DataFrame:
    """Rows of TABLE for these silver events alone."""
    parsed = events.where(F.col("extra").isNotNull()).select(
        "topic", "event_type", "processed_at", F.try_parse_json("extra").alias("extra")
    )
    inner = {place: F.try_variant_get("extra", f"$.{place}", _MAP) for place in ("context", "data")}
    top = F.map_filter(F.try_variant_get("extra", "$", _MAP), lambda name, _: ~name.isin(*inner))
    entries = [_entries(top, ""), *(_entries(fields, f"{place}.") for place, fields in inner.items())]
    field = F.explode(F.flatten(F.array_compact(F.array(*entries)))).alias("field")
    return (
        parsed.select("topic", "event_type", "processed_at", field)
        .groupBy("topic", "event_type", F.col("field.path").alias("path"))
        .agg(
            F.min("processed_at").alias("first_seen"),
            F.max("processed_at").alias("last_seen"),
            F.count("*").alias("count"),
            F.min_by("field.sample", "processed_at").alias("sample"),
        )
    )


def update(lake: Lake) -> int:
    """Take in the events accepted since the last time; the number of fields that are known now."""
    mark = marks.current(lake, MARK, "")
    silver = lake.read(silver_events.TABLE)
    newest = silver.agg(F.max("processed_at").alias("newest")).collect()[0]["newest"]
    if newest is None:
        return 0
    newest = newest.replace(tzinfo=UTC)  # sessions are in UTC, and Spark hands out plain timestamps
    known = lake.read(TABLE)
    if mark is None or newest > mark:
        since = _counted_until(known, mark)
        fresh = found_in(silver.where(_since(since) & (F.col("processed_at") <= F.lit(newest))))
        total = known.unionByName(fresh) if since is not None else fresh
        lake.overwrite(TABLE, _merged(total).coalesce(1))
        marks.move(lake, MARK, "", newest)
    return lake.read(TABLE).count()


def _counted_until(known: DataFrame, mark: datetime | None) -> datetime | None:
    """Until when events are counted: further than the mark, when a run died between the table and its mark."""
    last_seen: datetime | None = known.agg(F.max("last_seen").alias("last")).collect()[0]["last"]
    return max(filter(None, (mark, last_seen and last_seen.replace(tzinfo=UTC))), default=None)


def _since(mark: datetime | None) -> Column:
    return F.lit(True) if mark is None else F.col("processed_at") > F.lit(mark)


def _merged(rows: DataFrame) -> DataFrame:
    """One row per field, in the order of their coming, until there are MOST; the rest are one row."""
    by_age = Window.partitionBy("topic", "event_type").orderBy(F.col("path") == OTHERS, "first_seen", "path")
    is_one_too_many = F.row_number().over(by_age) > MOST
    return _summed(_summed(rows).withColumn("path", F.when(is_one_too_many, OTHERS).otherwise(F.col("path"))))


def _summed(rows: DataFrame) -> DataFrame:
    return rows.groupBy(*_KEY).agg(
        F.min("first_seen").alias("first_seen"),
        F.max("last_seen").alias("last_seen"),
        F.sum("count").alias("count"),
        F.min_by("sample", "first_seen").alias("sample"),
    )


def _entries(fields: Column, prefix: str) -> Column:
    """The fields of one place as an array of (path, sample)."""
    return F.transform(
        F.map_entries(fields),
        lambda entry: F.struct(
            F.substring(F.concat(F.lit(prefix), entry["key"]), 1, 200).alias("path"),
            F.substring(F.to_json(entry["value"]), 1, 200).alias("sample"),
        ),
    )
