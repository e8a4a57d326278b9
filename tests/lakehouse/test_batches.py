"""The book adds up: what was read is accepted, a duplicate, or refused, per topic-partition."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from pyspark.sql import SparkSession

from lakehouse import batches

pytestmark = pytest.mark.spark
JUDGED = "topic string, partition int, offset bigint, reason_code string"
COORDINATES = "topic string, partition int, offset bigint"


def test_every_record_is_counted_once(spark: SparkSession) -> None:
    chance = random.Random(7)
    kinds: Counter[tuple[str, int, str]] = Counter()
    rows, duplicates = [], []
    for topic, partition, first, count in (("clicks", 0, 0, 40), ("clicks", 1, 900, 25), ("views", 0, 7, 1)):
        for offset in range(first, first + count):
            kind = chance.choice(["silver", "silver", "duplicate", "quarantined"])
            kinds[topic, partition, kind] += 1
            rows.append((topic, partition, offset, "not_json" if kind == "quarantined" else None))
            if kind == "duplicate":
                duplicates.append((topic, partition, offset))
    chance.shuffle(rows)
    book = batches.account(
        spark.createDataFrame(rows, JUDGED), spark.createDataFrame(duplicates, COORDINATES)
    ).collect()
    assert {(row["topic"], row["partition"]): (row["from_offset"], row["to_offset"]) for row in book} == {
        ("clicks", 0): (0, 40),
        ("clicks", 1): (900, 925),
        ("views", 0): (7, 8),
    }
    for row in book:
        place = (row["topic"], row["partition"])
        assert row["bronze_rows"] == row["to_offset"] - row["from_offset"]
        assert row["bronze_rows"] == row["silver_rows"] + row["duplicate_rows"] + row["quarantined_rows"]
        counted = [row[f"{kind}_rows"] for kind in ("silver", "duplicate", "quarantined")]
        assert counted == [kinds[*place, kind] for kind in ("silver", "duplicate", "quarantined")]


def test_the_declared_columns_hold_the_counts() -> None:
    assert {"from_offset", "to_offset", *batches._COUNTS} <= set(batches.TABLE.columns)
