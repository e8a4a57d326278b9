"""Usual events take the short way through the checks; nothing takes it that should not."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from producer.simulator import SimulationOptions, simulate
from silver import checks
from tests.support.arrived import frame_of

pytestmark = pytest.mark.spark

TIME = datetime(2026, 9, 3, 10, 15, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "product_view",
    "user_id": "u1",
    "timestamp": "2026-09-03T10:15:00Z",
    "context": {"ip": "203.0.113.7", "country": None},
    "data": {"product_id": "p1", "price": 19.9},
}


def records_of(spark: SparkSession, values: list[bytes], topics: list[str] | None = None) -> DataFrame:
    homes = topics or ["shop.page_views"] * len(values)
    return frame_of(spark, [(topic, TIME, None, value) for topic, value in zip(homes, values, strict=True)])


def on_the_long_way(records: DataFrame) -> set[int]:
    """Offsets of records whose fields are looked at one by one."""
    opened = checks._opened(checks._parsed(records))
    return {row["offset"] for row in opened.where("_envelope_map is not null").select("offset").collect()}


def test_what_a_shop_sends_takes_the_short_way(spark: SparkSession) -> None:
    options = SimulationOptions(now_ms=1_788_430_500_000, seed=5, live=True, rate=500, count=2_000, malformed=0.0)
    records = [record for record in simulate(options) if record.value is not None and record.defect is None]
    sent = records_of(spark, [record.value or b"" for record in records], [record.topic for record in records])
    assert len(on_the_long_way(sent)) < 0.02 * len(records)


USUAL: list[dict[str, Any]] = [
    EVENT,
    dict(reversed(EVENT.items())),
    EVENT | {"context": None, "schema_version": 1},
    EVENT | {"data": {}},
    EVENT | {"data": {"price": 7, "products": [{"price": 1.5, "product_id": "p", "quantity": 2}, {"quantity": None}]}},
]
UNUSUAL: list[dict[str, Any]] = [
    EVENT | {"colour": "red"},
    EVENT | {"user_id": 7},
    EVENT | {"event_id: STRING, x": "y"},
    EVENT | {"event_id: STRING>": {}},
    EVENT | {"`": 1},
    EVENT | {"data": {"products": [{"product_id": "p"}], "zzz": 1}},
    EVENT | {"data": {"products": [{"product_id": "p", "zzz": 1}]}},
    EVENT | {"data": {"products": [{"quantity": 1.5}]}},
    EVENT | {"data": {"price": "19.9"}},
    EVENT | {"context": {"ip": {"ip": "203.0.113.7"}}},
    EVENT | {"zzz": 1},
    EVENT | {"EVENT_ID": "e1"},
]


def test_only_known_fields_of_their_type_are_usual(spark: SparkSession) -> None:
    values = [json.dumps(event).encode() for event in (*USUAL, *UNUSUAL)]
    assert on_the_long_way(records_of(spark, values)) == set(range(len(USUAL), len(values)))
