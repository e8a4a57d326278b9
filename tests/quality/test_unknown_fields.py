"""Unknown fields are found where they stand, counted, and shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession

from quality.unknown_fields import MOST, OTHERS, TABLE, _counted_until, _merged, found_in

pytestmark = pytest.mark.spark
MOMENTS = [datetime(2026, 9, 3, 10, minute) for minute in range(4)]


def test_fields_are_found_counted_and_sampled(spark: SparkSession) -> None:
    extras = [
        {"campaign": {"name": "autumn"}, "data": {"colour": "red"}},
        {"campaign": None, "context": {"app": 4.2}},
        {"data": {"products": [{"colour": "red"}]}, "note": "n" * 500},
        None,
    ]
    rows = [
        ("t", "purchase", MOMENTS[number], json.dumps(extra, separators=(",", ":")) if extra else None)
        for number, extra in enumerate(extras)
    ]
    events = spark.createDataFrame(rows, "topic string, event_type string, processed_at timestamp, extra string")
    found = {row["path"]: row for row in found_in(events).select(*TABLE.columns).collect()}
    assert {path: (row["count"], row["sample"]) for path, row in found.items()} == {
        "campaign": (2, '{"name":"autumn"}'),
        "data.colour": (1, '"red"'),
        "context.app": (1, "4.2"),
        "data.products": (1, '[{"colour":"red"}]'),
        "note": (1, '"' + "n" * 199),
    }
    assert (found["campaign"]["first_seen"], found["campaign"]["last_seen"]) == (MOMENTS[0], MOMENTS[1])
    assert {(row["topic"], row["event_type"]) for row in found.values()} == {("t", "purchase")}


def test_a_run_that_died_before_its_mark_moved_is_not_counted_again(spark: SparkSession) -> None:
    known = spark.createDataFrame([(MOMENTS[2],), (MOMENTS[1],)], "last_seen timestamp")
    marks = [moment.replace(tzinfo=UTC) for moment in MOMENTS]
    assert _counted_until(known, marks[0]) == _counted_until(known, None) == marks[2]
    assert _counted_until(known, marks[3]) == marks[3]
    assert _counted_until(known.limit(0), None) is None


def test_names_without_end_become_one_row(spark: SparkSession) -> None:
    def rows(names: list[str], moment: datetime, each: int) -> list[tuple[object, ...]]:
        return [("t", "click", name, moment, moment, each, "1") for name in names]

    known = rows([f"a{number:04}" for number in range(MOST - 1)], MOMENTS[0], 2)
    schema = TABLE.schema.simpleString().removeprefix("struct<").removesuffix(">")
    first = _merged(spark.createDataFrame(known + rows(["b1", "b2", "b3"], MOMENTS[1], 1), schema))
    again = _merged(first.unionByName(spark.createDataFrame(rows(["a0000", "b2", "c"], MOMENTS[2], 1), schema)))
    found = {row["path"]: row for row in again.select(*TABLE.columns).collect()}
    assert len(found) == MOST + 1
    assert {name: found[name]["count"] for name in ("a0000", "b1", OTHERS)} == {"a0000": 3, "b1": 1, OTHERS: 4}
    assert found[OTHERS]["last_seen"] == MOMENTS[2]


def test_a_name_without_end_is_cut(spark: SparkSession) -> None:
    extra = json.dumps({"n" * 5_000: 1})
    events = spark.createDataFrame(
        [("t", "click", MOMENTS[0], extra)], "topic string, event_type string, processed_at timestamp, extra string"
    )
    assert [len(row["path"]) for row in found_in(events).collect()] == [200]
