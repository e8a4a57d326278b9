"""What the lake knows of its own state, read from small tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from bronze import events as bronze_events
from lakehouse import hours as clock
from lakehouse.ops import batches
from lakehouse.stream import recovery
from lakehouse.table import Table
from silver import events as silver_events
from silver import quarantine

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)


class SmallLake:
    """A lake of frames, by full name; tables that nobody filled are empty."""

    def __init__(self, spark: SparkSession, rows: dict[str, list[dict[str, Any]]] | None = None) -> None:
        self._spark, self._rows = spark, rows or {}

    def read(self, table: Table) -> DataFrame:
        return self._spark.createDataFrame(
            [tuple(row.get(name) for name in table.columns) for row in self._rows.get(table.full_name, [])],
            table.schema,
        )


def booked(generation: str, batch: int, topic: str, partition: int, to_offset: int) -> dict[str, Any]:
    return {
        "generation": generation,
        "batch_id": batch,
        "topic": topic,
        "partition": partition,
        "to_offset": to_offset,
        "started_at": NOON + timedelta(minutes=batch),
    }


def written(minute: int, to_offset: int, *, late_pending: bool) -> dict[str, Any]:
    at = NOON + timedelta(minutes=minute)
    return {**booked("a", minute, "shop.clicks", 0, to_offset), "committed_at": at, "late_pending": late_pending}


def event(offset: int, hour: int) -> dict[str, Any]:
    return {**held("shop.clicks", 0, offset), "event_time": NOON - timedelta(days=1) + timedelta(hours=hour)}


def held(topic: str, partition: int, offset: int) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "offset": offset}


@pytest.mark.spark
def test_a_stream_goes_on_where_the_book_ends(spark: SparkSession) -> None:
    rows = [
        booked("a", 0, "shop.clicks", 0, 10),
        booked("a", 1, "shop.clicks", 0, 20),
        booked("a", 1, "shop.clicks", 1, 5),
        booked("b", 2, "shop.clicks", 0, 26),
    ]
    lake: Any = SmallLake(spark, {batches.TABLE.full_name: rows})
    start = recovery.read_start(lake)
    assert start.offsets == start.in_lake == recovery.booked_offsets(lake) == {"shop.clicks": {"0": 26, "1": 5}}
    assert (start.newest, start.first_batch_id, start.began_at) == ("b:2", 3, NOON)
    assert start.generation != recovery.read_start(lake).generation


@pytest.mark.spark
def test_an_empty_lake_begins_at_the_beginning(spark: SparkSession) -> None:
    start = recovery.read_start(SmallLake(spark))  # type: ignore[arg-type]
    assert (start.offsets, start.in_lake, start.newest, start.first_batch_id) == ({}, {}, "", 0)


@pytest.mark.spark
def test_a_start_knows_what_a_batch_wrote_that_is_not_in_the_book(spark: SparkSession) -> None:
    rows = {
        batches.TABLE.full_name: [booked("a", 0, "shop.clicks", 0, 10)],
        bronze_events.TABLE.full_name: [held("shop.clicks", 0, offset) for offset in (9, 10, 12)],
    }
    lake: Any = SmallLake(spark, rows)
    start = recovery.read_start(lake)
    assert (start.offsets, start.in_lake) == ({"shop.clicks": {"0": 10}}, {"shop.clicks": {"0": 13}})
    beyond = recovery.held_beyond(lake, bronze_events.TABLE, start.offsets).to_pylist()
    assert sorted(row["offset"] for row in beyond) == [10, 12]


@pytest.mark.spark
def test_what_a_batch_wrote_before_it_was_cut_off_is_found_in_whichever_table(spark: SparkSession) -> None:
    rows = {
        bronze_events.TABLE.full_name: [held("shop.clicks", 0, 29)],
        silver_events.TABLE.full_name: [held("shop.clicks", 1, 4), held("shop.clicks", 0, 31)],
        quarantine.TABLE.full_name: [held("shop.searches", 0, 3)],
    }
    lake: Any = SmallLake(spark, rows)
    in_lake = recovery.offsets_in_lake(lake, {"shop.clicks": {"0": 30}})
    assert in_lake == {"shop.clicks": {"0": 32, "1": 5}, "shop.searches": {"0": 4}}


@pytest.mark.spark
def test_late_hours_are_those_that_came_shortly_before_the_book_was_last_settled_and_later(spark: SparkSession) -> None:
    rows = {
        batches.TABLE.full_name: [
            written(0, 10, late_pending=False),
            written(20, 20, late_pending=False),
            written(26, 30, late_pending=False),
            written(30, 40, late_pending=True),
        ],
        silver_events.TABLE.full_name: [event(5, 0), event(15, 1), event(25, 2), event(35, 3), event(45, 30)],
    }
    lake: Any = SmallLake(spark, rows)
    first = clock.number_of(NOON - timedelta(days=1))
    assert recovery.late_hours(lake, NOON) == {first + 2, first + 3}


@pytest.mark.spark
def test_without_a_settled_batch_every_hour_may_be_late(spark: SparkSession) -> None:
    rows = {
        batches.TABLE.full_name: [written(0, 10, late_pending=True)],
        silver_events.TABLE.full_name: [event(5, 0)],
    }
    lake: Any = SmallLake(spark, rows)
    assert len(recovery.late_hours(lake, NOON)) == 1
