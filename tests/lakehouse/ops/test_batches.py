"""The book has the offsets that Spark planned, also where no record is."""

import pyarrow as pa

from lakehouse.ops import batches
from lakehouse.ops.batches import Plan

COUNTS = pa.table(
    {
        "topic": ["shop.clicks"],
        "partition": pa.array([0], pa.int32()),
        "from_offset": [4],
        "to_offset": [6],
        "bronze_rows": [2],
        "silver_rows": [1],
        "duplicate_rows": [1],
        "quarantined_rows": [0],
    }
)


def rows(counts: pa.Table, plan: Plan | None) -> list[tuple[object, ...]]:
    found = batches.planned(counts, plan)
    assert found.schema == counts.schema
    return [tuple(row.values()) for row in found.to_pylist()]


def test_marks_of_transactions_at_the_edges_are_read_too() -> None:
    plan = Plan({"shop.clicks": {"0": 3}}, {"shop.clicks": {"0": 8}})
    assert rows(COUNTS, plan) == [("shop.clicks", 0, 3, 8, 2, 1, 1, 0)]


def test_a_partition_with_nothing_but_marks_is_in_the_book_and_one_that_stands_still_is_not() -> None:
    plan = Plan({"shop.clicks": {"0": 4, "1": 7}}, {"shop.clicks": {"0": 6, "1": 7, "2": 2}, "shop.searches": {"0": 1}})
    assert rows(COUNTS, plan) == [
        ("shop.clicks", 0, 4, 6, 2, 1, 1, 0),
        ("shop.clicks", 2, 0, 2, 0, 0, 0, 0),
        ("shop.searches", 0, 0, 1, 0, 0, 0, 0),
    ]
    assert rows(COUNTS.slice(0, 0), Plan({}, {"shop.searches": {"0": 1}})) == [("shop.searches", 0, 0, 1, 0, 0, 0, 0)]


def test_without_a_plan_the_records_say_it() -> None:
    assert rows(COUNTS, None) == [tuple(COUNTS.to_pylist()[0].values())]
    assert batches.next_offsets(COUNTS, {"shop.clicks": {"1": 7}}) == {"shop.clicks": {"0": 6, "1": 7}}
