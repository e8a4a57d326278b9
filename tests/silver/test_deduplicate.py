"""The first accepted record of an event id wins, wherever the stream is cut into batches and whatever is repeated."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze import events as bronze_events
from silver import deduplicate
from silver.deduplicate import ARRIVAL, COORDINATES
from silver.events import TABLE

pytestmark = pytest.mark.spark

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JUDGED = "event_id string, event_time timestamp, topic string, partition int, offset bigint, kafka_timestamp timestamp"
Record = dict[str, Any]
Place = tuple[str, int, int]


def record(event_id: str, offset: int, partition: int = 0, arrival: int = 0, day: int = 0) -> Record:
    return {
        "event_id": event_id,
        "event_time": NOON + timedelta(days=day),
        "topic": "shop.clicks",
        "partition": partition,
        "offset": offset,
        "kafka_timestamp": NOON + timedelta(days=1, seconds=arrival),
    }


def judged(spark: SparkSession, records: list[Record], refused: str = "refused") -> DataFrame:
    """Records as `checks.judge` leaves them; those whose id begins with `refused` have a reason."""
    names = [part.split()[0] for part in JUDGED.split(", ")]
    frame = spark.createDataFrame([tuple(each[name] for name in names) for each in records], JUDGED)
    return frame.select(
        "*",
        F.to_date("event_time").alias("event_date"),
        F.when(F.col("event_id").startswith(refused), "not_json").alias("reason_code"),
    )


def place(each: Any) -> Place:
    return each["topic"], each["partition"], each["offset"]


def places(frame: DataFrame) -> set[Place]:
    return {place(row) for row in frame.collect()}


def known(spark: SparkSession, candidates: list[Record], held: list[Record]) -> dict[Place, bool]:
    found = deduplicate.known_among(judged(spark, candidates), judged(spark, held)).collect()
    return {place(row): row["is_same_record"] for row in found}


def test_the_first_to_arrive_wins_within_a_batch(spark: SparkSession) -> None:
    by_time = [record("a", 7, arrival=5), record("a", 9, arrival=4), record("a", 8, arrival=6)]
    by_partition = [record("b", 3, partition=1), record("b", 9, partition=0)]
    by_offset = [record("c", 2), record("c", 1)]
    other_day = [record("d", 20), record("d", 21, day=1)]
    repeated = deduplicate.repeated_within(judged(spark, by_time + by_partition + by_offset + other_day))
    lost = [by_time[0], by_time[2], by_partition[0], by_offset[0]]
    assert places(repeated) == {place(each) for each in lost}


def test_what_silver_has_is_a_duplicate_or_the_very_record(spark: SparkSession) -> None:
    held = [record("a", 1), record("b", 2), record("c", 3)]
    candidates = [record("a", 1), record("b", 50), record("c", 51, day=1), record("new", 52)]
    found = known(spark, candidates, held)
    assert found == {place(candidates[0]): True, place(candidates[1]): False}


def test_accepted_rows_are_those_of_the_table(spark: SparkSession) -> None:
    frame = judged(spark, [record("a", 1)])
    missing = [field for field in TABLE.schema.fields if field.name not in [*frame.columns, "processed_at"]]
    full = frame.select("*", *(F.lit(None).cast(field.dataType).alias(field.name) for field in missing))
    rows = deduplicate.accepted(bronze_events.ingested(full, NOON))
    assert rows.columns == TABLE.columns
    assert rows.first()["processed_at"].replace(tzinfo=UTC) == NOON


# --- chance: any sequence, cut anywhere -----------------------------------------------------------------------------

RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "refused"]), st.integers(0, 1), st.integers(0, 3), st.integers(0, 1)
    ),
    min_size=4,
    max_size=30,
)


def as_records(drawn: list[tuple[str, int, int, int]]) -> list[Record]:
    next_offset = [0, 0]
    records = []
    for event_id, partition, arrival, day in drawn:
        records.append(record(event_id, next_offset[partition], partition, arrival, day))
        next_offset[partition] += 1
    return records


def plainly(batches: list[list[Record]]) -> set[Place]:
    """The first of each event id and day, batch after batch, each in the order of arrival."""
    seen, first = set(), set()
    for batch in batches:
        for each in sorted(batch, key=lambda each: [each[name] for name in ARRIVAL]):
            identity = (each["event_id"], each["event_time"])
            if not each["event_id"].startswith("refused") and identity not in seen:
                seen.add(identity)
                first.add(place(each))
    return first


def one_batch(spark: SparkSession, batch: list[Record], silver: list[Record]) -> tuple[list[Record], int]:
    """What `MicroBatch` does with a batch: the records that enter silver, and the number of duplicates."""
    candidates = deduplicate.valid(judged(spark, batch))
    repeated = deduplicate.repeated_within(candidates).withColumn("is_same_record", F.lit(False))
    found = repeated.unionByName(deduplicate.known_among(candidates, judged(spark, silver)))
    marks = found.groupBy(*COORDINATES).agg(F.bool_and("is_same_record").alias("is_same_record"))
    marked = {place(row): row["is_same_record"] for row in marks.collect()}
    entering = places(
        deduplicate.without(
            candidates, spark.createDataFrame(list(marked), "topic string, partition int, offset bigint")
        )
    )
    return [each for each in batch if place(each) in entering], list(marked.values()).count(False)


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=RECORDS, cuts=st.sets(st.integers(0, 30), max_size=2), cut_off=st.integers(0, 2))
def test_any_batches_give_what_one_pass_gives(
    spark: SparkSession, drawn: list[tuple[str, int, int, int]], cuts: set[int], cut_off: int
) -> None:
    records = as_records(drawn)
    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    batches = [records[start:end] for start, end in itertools.pairwise(edges)]
    silver: list[Record] = []
    for number, batch in enumerate(batches):
        entering, duplicates = one_batch(spark, batch, silver)
        silver += entering
        if number == cut_off:  # silver was written, the book was not: the same batch comes again
            assert one_batch(spark, batch, silver) == ([], duplicates)
        refused = sum(each["event_id"] == "refused" for each in batch)
        assert len(entering) + duplicates + refused == len(batch)
    expected = plainly(batches)
    assert {place(each) for each in silver} == expected
    again = [each | {"batch": number} for number, batch in enumerate(batches) for each in batch]
    assert places(one_pass(spark, again)) == expected


def one_pass(spark: SparkSession, records: list[Record]) -> DataFrame:
    """What `backfill` does with all of bronze."""
    batch_of = spark.createDataFrame(
        [(*place(each), each["batch"]) for each in records], "topic string, partition int, offset bigint, batch int"
    )
    candidates = deduplicate.valid(judged(spark, records)).join(batch_of, COORDINATES)
    arrival = ["ingested_at", *ARRIVAL]
    ordered = candidates.withColumnRenamed("batch", "ingested_at")
    return deduplicate.without(ordered, deduplicate.repeated_within(ordered, arrival))
