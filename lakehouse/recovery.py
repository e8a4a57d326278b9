"""What an earlier process left: how far the lake is, and what is half done."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze import events as bronze_events
from gold import top_products
from lakehouse import batches
from lakehouse import hours as clock
from lakehouse.lake import Lake
from lakehouse.table import Table
from silver import events as silver_events
from silver.deduplicate import COORDINATES

if TYPE_CHECKING:
    from lakehouse.micro_batch import Start

Offsets = dict[str, dict[str, int]]
"""topic → partition (as text, as Kafka's JSON spells it) → offset."""


def offsets_booked(lake: Lake) -> Offsets:
    """Next offset per topic-partition after the last batch that is in the book."""
    return _next_offsets(lake.read(batches.TABLE), F.max("to_offset"))


def offsets_in_bronze(lake: Lake) -> Offsets:
    """Next offset per topic-partition that bronze does not have."""
    return _next_offsets(lake.read(bronze_events.TABLE), F.max("offset") + 1)


def _next_offsets(frame: DataFrame, next_offset: Column) -> Offsets:
    found: Offsets = {}
    for row in frame.groupBy("topic", "partition").agg(next_offset.alias("next_offset")).collect():
        found.setdefault(row["topic"], {})[str(row["partition"])] = row["next_offset"]
    return found


def last_batch(lake: Lake, generation: str | None = None) -> int:
    """Highest batch id in the book, of one generation or of all; -1 when there is none."""
    book = lake.read(batches.TABLE)
    if generation is not None:
        book = book.where(F.col("generation") == generation)
    return int(book.agg(F.coalesce(F.max("batch_id"), F.lit(-1)).alias("last")).collect()[0]["last"])


def is_before(offsets: Offsets) -> Column:
    """True for a record whose offset is below the given one of its topic-partition."""
    return clock.any_of(
        [
            (F.col("topic") == topic) & (F.col("partition") == int(partition)) & (F.col("offset") < offset)
            for topic, partitions in offsets.items()
            for partition, offset in partitions.items()
        ]
    )


def not_in(lake: Lake, table: Table, rows: DataFrame, start: Start) -> DataFrame:
    """`rows` less those whose coordinates `table` has, looking only at what a cut-off batch can have written."""
    held = lake.read(table).where(~is_before(start.starting_offsets)).select(*COORDINATES)
    return rows.join(F.broadcast(held), on=COORDINATES, how="left_anti")


def late_hours(lake: Lake, before: datetime) -> set[int]:
    """Hours before `before` whose gold may be older than silver, or that never became final.

    The book says which batches still had late hours to restate when they were written.
    """
    book = lake.read(batches.TABLE)
    settled = book.where(~F.col("late_pending")).agg(F.coalesce(F.max("batch_id"), F.lit(-1)).alias("batch_id"))
    open_since = book.join(F.broadcast(settled.withColumnRenamed("batch_id", "settled")), how="cross").where(
        F.col("batch_id") > F.col("settled")
    )
    since = open_since.agg(F.min("started_at").alias("since")).collect()[0]["since"]
    hours: set[int] = set()
    if since is not None:
        is_open = F.expr("processed_at >= since - INTERVAL 1 MINUTE") & (F.col("event_time") < F.lit(before))
        silver = lake.read(silver_events.TABLE).withColumn("since", F.lit(since))
        hours |= {
            row["hour"] for row in silver.where(is_open).select(clock.hour_number().alias("hour")).distinct().collect()
        }
    is_provisional = (F.col("status") == "provisional") & (F.col("hour_start") < F.lit(before))
    provisional = lake.read(top_products.HOURLY).where(is_provisional)
    hours |= {
        row["hour"] for row in provisional.select(clock.hour_number("hour_start").alias("hour")).distinct().collect()
    }
    return hours
