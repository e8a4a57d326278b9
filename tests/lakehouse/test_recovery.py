"""What the lake knows of its own state, read from small tables."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from bronze import events as bronze_events
from lakehouse import batches, recovery
from lakehouse.table import Table
from silver import events as silver_events
from silver import quarantine


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
    }


def held(topic: str, partition: int, offset: int) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "offset": offset}


@pytest.mark.spark
def test_the_book_of_two_generations(spark: SparkSession) -> None:
    rows = [
        booked("a", 0, "shop.clicks", 0, 10),
        booked("a", 1, "shop.clicks", 0, 20),
        booked("a", 1, "shop.clicks", 1, 5),
        booked("b", 2, "shop.clicks", 0, 26),
    ]
    lake: Any = SmallLake(spark, {batches.TABLE.full_name: rows})
    book = recovery.read_book(lake)
    assert book.offsets == {"shop.clicks": {"0": 26, "1": 5}}
    assert (book.last_of, book.last_batch) == ({"a": 1, "b": 2}, 2)


@pytest.mark.spark
def test_an_empty_lake_has_an_empty_book(spark: SparkSession) -> None:
    lake: Any = SmallLake(spark)
    book = recovery.read_book(lake)
    assert (book.offsets, book.last_of, book.last_batch) == ({}, {}, -1)
    assert recovery.offsets_in_lake(lake, book.offsets) == {}


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
