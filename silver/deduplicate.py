"""Which records carry an event that was accepted before. The first accepted record of an event_id wins; a later one is
a duplicate if it arrives within some hours of the first, or at any age if it carries the same time
(docs/decisions/exactly-once.md). A record arrives when its micro-batch begins.

The stream looks among the ids of the last hours (`stream/fold.py`), and in silver for older events; `backfill` looks
through all of bronze at once.
"""

from datetime import timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from silver.events import TABLE

IDENTITY = ["event_id", "event_time"]
COORDINATES = ["topic", "partition", "offset"]
ARRIVAL = ["kafka_timestamp", "topic", "partition", "offset"]
"""Order of acceptance inside a micro-batch; an earlier micro-batch (`ingested_at`) comes first."""
_PLACE = "struct<topic:string,partition:int,offset:bigint>"
_STATE = f"struct<kept:array<struct<arrived:timestamp,event_time:timestamp>>,repeated:array<{_PLACE}>>"


def valid(judged: DataFrame) -> DataFrame:
    """The judged records without a reason for refusal."""
    return judged.where(F.col("reason_code").isNull())


def repeated(candidates: DataFrame, within: timedelta) -> DataFrame:
    """Coordinates of the candidates (with `ingested_at`) that are duplicates of others among them."""
    several = candidates.groupBy("event_id").count().where(F.col("count") > 1).select("event_id")
    record = F.struct("ingested_at", *ARRIVAL, "event_time")
    records = (
        candidates.join(several, "event_id", "left_semi")
        .groupBy("event_id")
        .agg(F.sort_array(F.collect_list(record)).alias("records"))
    )
    start = F.struct(F.array().alias("kept"), F.array().alias("repeated")).cast(_STATE)
    walked = F.aggregate("records", start, lambda state, each: _walked(state, each, within))
    return records.select(F.explode(walked["repeated"]).alias("place")).select("place.*")


def _walked(state: Column, each: Column, within: timedelta) -> Column:
    """The state after one more record, in the order of arrival: accepted ones so far, and places of duplicates."""
    earliest = F.timestamp_micros(F.unix_micros(each["ingested_at"]) - within // timedelta(microseconds=1))
    is_repeated = F.exists(
        state["kept"],
        lambda known: (known["event_time"] == each["event_time"]) | (known["arrived"] >= earliest),
    )
    one = F.struct(each["ingested_at"].alias("arrived"), each["event_time"].alias("event_time"))
    place = F.struct(*(each[name].alias(name) for name in COORDINATES))
    kept = F.when(is_repeated, state["kept"]).otherwise(F.array_append(state["kept"], one))
    repeats = F.when(is_repeated, F.array_append(state["repeated"], place)).otherwise(state["repeated"])
    return F.struct(kept.alias("kept"), repeats.alias("repeated")).cast(_STATE)


def known_among(candidates: DataFrame, known: DataFrame) -> DataFrame:
    """Coordinates of the candidates whose event `known` (silver rows) has with the same time but other coordinates.
    With the same coordinates it is this very record, written by an interrupted batch."""
    holders = known.select(*IDENTITY, *(F.col(name).alias(f"known_{name}") for name in COORDINATES))
    is_same_record = (
        (F.col("topic") == F.col("known_topic"))
        & (F.col("partition") == F.col("known_partition"))
        & (F.col("offset") == F.col("known_offset"))
    )
    matched = holders.join(F.broadcast(candidates.select(*IDENTITY, *COORDINATES)), on=IDENTITY, how="inner")
    return matched.where(~is_same_record).select(*COORDINATES)


def without(frame: DataFrame, coordinates: DataFrame) -> DataFrame:
    """`frame` less the rows at `coordinates` (a small frame)."""
    return frame.join(F.broadcast(coordinates.select(*COORDINATES)), on=COORDINATES, how="left_anti")


def rows_without(rows: pa.Table, coordinates: pa.Table) -> pa.Table:
    """`without` for the rows of one micro-batch."""
    if not coordinates.num_rows:
        return rows
    places = rows.select(COORDINATES)
    numbered = places.append_column("row", pa.arange(0, rows.num_rows))
    left = numbered.join(coordinates.select(COORDINATES).cast(places.schema), COORDINATES, join_type="left anti")
    return rows.take(left.column("row").combine_chunks().sort())  # a join does not keep the order


def accepted(candidates: DataFrame) -> DataFrame:
    """Candidates (with `ingested_at`) as rows of silver.events."""
    return candidates.withColumn("processed_at", F.col("ingested_at")).select(*TABLE.columns)
