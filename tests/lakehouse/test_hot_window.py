"""The hot window has every event that was added once, in few frames, until it is too old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from lakehouse import hot_window
from lakehouse.hot_window import COLUMNS, HotWindow, frontier_at
from silver import events as silver_events

pytestmark = pytest.mark.spark
NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)


def silver(spark: SparkSession, *moments: datetime) -> DataFrame:
    """Rows of silver at these moments; an event's id is its moment."""
    rows = [{"event_id": str(moment), "event_time": moment, "event_date": moment.date()} for moment in moments]
    return spark.createDataFrame(
        [tuple(row.get(name) for name in silver_events.TABLE.columns) for row in rows], silver_events.TABLE.schema
    )


def window(spark: SparkSession, *moments: datetime) -> HotWindow:
    settings = SimpleNamespace(spark_shuffle_partitions=2)
    lake: Any = SimpleNamespace(settings=settings, read=lambda _table: silver(spark, *moments))
    return HotWindow(lake, NOW)


def held(hot: HotWindow) -> list[str]:
    assert hot.events().columns == COLUMNS
    return sorted(row["event_id"] for row in hot.events().collect())


def test_every_batch_is_in_it_once_in_four_frames_at_most(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_window, "_FAN_IN", 3)
    hot = window(spark, NOW)
    moments = [NOW]
    for number in range(1, 40):  # 27 batches fill the third tier
        moments.append(NOW + timedelta(seconds=number))
        hot.add(silver(spark, moments[-1]))
        assert hot.events().rdd.getNumPartitions() <= 2
        assert sum(tier.events is not None for tier in hot._tiers) <= 4
    assert held(hot) == sorted(map(str, moments))


def test_what_is_too_old_is_left_out_and_dropped(spark: SparkSession) -> None:
    begin = frontier_at(NOW)
    hot = window(spark, begin - timedelta(microseconds=1), begin)
    hot.add(silver(spark, begin - timedelta(hours=1), NOW))
    assert held(hot) == sorted(map(str, (begin, NOW)))
    hot.advance(NOW + timedelta(hours=1))
    assert held(hot) == [str(NOW)]
    assert [tier.events is not None for tier in hot._tiers] == [False, False, False, True]
