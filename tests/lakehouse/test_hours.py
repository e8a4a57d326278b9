"""Clock hours as numbers, the ranges that cover them, and the conditions that pick them out of a table."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse import hours as clock

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOURS = st.sets(st.integers(480_000, 480_060) | st.integers(400_000, 600_000))


def covered(ranges: list[tuple[datetime, datetime]]) -> set[int]:
    return {hour for first, end in ranges for hour in range(clock.number_of(first), clock.number_of(end))}


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.timezones()))
def test_an_hour_holds_its_moment(moment: datetime) -> None:
    start = clock.start_of(clock.number_of(moment))
    assert start <= moment < start + clock.HOUR
    assert (start.minute, start.second, start.microsecond, start.tzinfo) == (0, 0, 0, UTC)


def test_moments_of_any_zone_and_before_the_epoch_have_an_hour() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    assert clock.number_of(datetime(2026, 3, 2, 14, 30, tzinfo=kolkata)) == clock.number_of(NINE)
    assert clock.number_of(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1


@given(HOURS)
def test_ranges_without_a_gap_cover_exactly(hours: set[int]) -> None:
    ranges = clock.ranges_of(hours, gap=1)
    assert covered(ranges) == hours
    assert all(end < first for (_, end), (first, _) in itertools.pairwise(ranges))


@given(HOURS, st.integers(1, 48))
def test_ranges_cover_and_join_what_is_near(hours: set[int], gap: int) -> None:
    ranges = clock.ranges_of(hours, gap)
    assert covered(ranges) >= hours
    assert all(first - end >= gap * clock.HOUR for (_, end), (first, _) in itertools.pairwise(ranges))
    assert {clock.number_of(first) for first, _ in ranges} <= hours
    assert {clock.number_of(end) - 1 for _, end in ranges} <= hours


@given(HOURS)
def test_dates_are_those_of_the_hours(hours: set[int]) -> None:
    assert clock.dates_of(hours) == sorted({date(1970, 1, 1) + timedelta(days=hour // 24) for hour in hours})


@pytest.mark.spark
def test_conditions_pick_the_same_rows_as_plain_python(spark: SparkSession) -> None:
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    ranges = [(NINE, NINE + 2 * clock.HOUR), (midnight - clock.HOUR, midnight)]
    tick = timedelta(microseconds=1)
    moments = [edge + shift for each in ranges for edge in each for shift in (-tick, timedelta(0), tick)]
    moments += [NINE + timedelta(days=days) for days in (-1, 1, 2)]
    rows = (
        spark.createDataFrame(
            [(number, moment) for number, moment in enumerate(moments)], "n int, event_time timestamp"
        )
        .withColumn("event_date", F.to_date("event_time"))
        .select(
            "n",
            clock.hour_number().alias("hour"),
            clock.within(ranges).alias("is_within"),
            clock.within([]).alias("is_in_none"),
            clock.on_dates(ranges).alias("is_on_dates"),
        )
        .collect()
    )
    for row in rows:
        moment = moments[row["n"]]
        assert row["hour"] == clock.number_of(moment)
        assert row["is_within"] == any(first <= moment < end for first, end in ranges)
        assert row["is_in_none"] is False
        assert row["is_on_dates"] or not row["is_within"]
        assert not row["is_on_dates"] or date(2026, 3, 2) <= moment.date() <= date(2026, 3, 3)


class Nested:
    """Stands for a condition and knows how deeply it is nested."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth

    def __or__(self, other: Nested) -> Nested:
        return Nested(max(self.depth, other.depth) + 1)


def test_many_conditions_are_not_nested_deeply() -> None:
    """Spark Connect refuses messages nested deeper than a hundred levels; a chain of 1,000 ORs would be."""
    assert clock.any_of([Nested() for _ in range(1000)]).depth <= 10  # type: ignore[list-item, attr-defined]
