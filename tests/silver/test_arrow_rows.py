"""What the stream adds to the tables is, to the row, what Spark makes of the same records for a backfill."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze import events as bronze_events
from lakehouse.lake import arrow_schema
from lakehouse.small_tables import as_declared
from lakehouse.table import Table
from silver import checks, deduplicate, quarantine
from silver import events as silver_events
from tests.support.arrived import frame_of

pytestmark = pytest.mark.spark

AT = datetime(2026, 5, 1, 23, 59, 59, 250_000, tzinfo=UTC)
GOOD = {
    "event_id": "e1",
    "event_type": "purchase",
    "user_id": "u5678",
    "timestamp": "2026-05-01T23:59:58.125Z",
    "context": {"session_id": "s1", "device_id": "d1", "ip": "203.0.113.7", "country": "DE", "user_agent": "Test/1"},
    "data": {
        "order_id": "o", "total_amount": 12.5, "currency": "EUR", "payment_status": "approved",
        "products": [{"product_id": "p", "quantity": 2, "price": 6.25}],
    },
    "unknown": {"a": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> DataFrame:
    values = [json.dumps(GOOD), json.dumps({**GOOD, "user_id": 7}), "{", None]
    sent = [("shop.purchases", AT, b"u5678", value and value.encode()) for value in values]
    return checks.judge(frame_of(spark, sent))


def declared(rows: pa.Table, table: Table) -> list[dict[str, object]]:
    return as_declared(rows, arrow_schema(table), table).to_pylist()


def ingested(judged: DataFrame) -> DataFrame:
    return judged.withColumn("ingested_at", F.lit(AT)).withColumn("ingest_date", F.lit(AT.date()))


def test_bronze_has_each_record_as_it_came(judged: DataFrame) -> None:
    rows = declared(bronze_events.rows(judged.toArrow(), AT), bronze_events.TABLE)
    assert rows == declared(ingested(judged).select(*bronze_events.TABLE.columns).toArrow(), bronze_events.TABLE)
    assert {(row["ingested_at"], row["ingest_date"]) for row in rows} == {(AT, date(2026, 5, 1))}
    assert [row["offset"] for row in rows] == [0, 1, 2, 3]


def test_silver_is_what_a_backfill_makes_of_the_valid_ones(judged: DataFrame) -> None:
    valid = deduplicate.valid(judged)
    rows = declared(silver_events.rows(valid.toArrow(), AT), silver_events.TABLE)
    assert rows == declared(deduplicate.accepted(ingested(valid)).toArrow(), silver_events.TABLE)
    assert [row["event_id"] for row in rows] == ["e1"]


def test_quarantine_is_what_a_backfill_makes_of_the_refused_ones(judged: DataFrame) -> None:
    rows = declared(quarantine.rows(judged.where("reason_code IS NOT NULL").toArrow(), AT), quarantine.TABLE)
    assert rows == declared(quarantine.refused(ingested(judged)).toArrow(), quarantine.TABLE)
    assert [row["offset"] for row in rows] == [1, 2, 3]
