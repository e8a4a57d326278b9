"""Which records carry an event that silver already has, or has twice in one batch.

A duplicate is a record with the event_id of an accepted record of the same UTC day. A re-sent record has the
same event time, so its own day is the only place to look, however late it comes.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from silver.events import TABLE

IDENTITY = ["event_id", "event_date"]
COORDINATES = ["topic", "partition", "offset"]
ARRIVAL = ["kafka_timestamp", "topic", "partition", "offset"]
"""Order of acceptance inside a micro-batch; an earlier micro-batch (`ingested_at`) comes first."""


def valid(judged: DataFrame) -> DataFrame:
    """The judged records without a reason for refusal."""
    return judged.where(F.col("reason_code").isNull())


def repeated_within(candidates: DataFrame, arrival: Sequence[str] = tuple(ARRIVAL)) -> DataFrame:
    """Coordinates of the candidates that are not the first of their event id in this very set."""
    first_come = Window.partitionBy(*IDENTITY).orderBy(*arrival)
    ranked = candidates.select(*IDENTITY, *COORDINATES, F.row_number().over(first_come).alias("place"))
    return ranked.where(F.col("place") > 1).select(*COORDINATES)


def known_among(candidates: DataFrame, known: DataFrame) -> DataFrame:
    """Coordinates of the candidates whose event id `known` (silver rows) has, with `is_same_record`:
    true when silver holds this very record, as after a crash between two writes; else it is a duplicate."""
    holders = known.select(*IDENTITY, *(F.col(name).alias(f"known_{name}") for name in COORDINATES))
    is_same_record = (
        (F.col("topic") == F.col("known_topic"))
        & (F.col("partition") == F.col("known_partition"))
        & (F.col("offset") == F.col("known_offset"))
    )
    matched = holders.join(F.broadcast(candidates.select(*IDENTITY, *COORDINATES)), on=IDENTITY, how="inner")
    return matched.select(*COORDINATES, is_same_record.alias("is_same_record"))


def without(frame: DataFrame, coordinates: DataFrame) -> DataFrame:
    """`frame` less the rows at `coordinates` (a small frame)."""
    return frame.join(F.broadcast(coordinates.select(*COORDINATES)), on=COORDINATES, how="left_anti")


def accepted(candidates: DataFrame) -> DataFrame:
    """Candidates (with `ingested_at`) as rows of silver.events."""
    return candidates.withColumn("processed_at", F.col("ingested_at")).select(*TABLE.columns)
