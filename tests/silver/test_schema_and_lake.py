"""`docs/event.schema.json`, the checks in Spark and the validator in plain Python say one thing about every event."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import Draft202012Validator
from pyspark.sql import Row, SparkSession

from producer import contract
from producer.contract import TOPIC_OF_TYPE
from silver import checks
from tests.support.any_event import DAY, Batch, batches
from tests.support.arrived import frame_of
from tests.support.record_validator import problems

pytestmark = pytest.mark.spark
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "event.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
NOON = datetime.fromisoformat(f"{DAY}T12:00:00Z") + timedelta(days=1)
RECORDS = 10_000
BEYOND_A_SCHEMA = {"timestamp_in_future", "timestamp_too_old"}
SEEN = r"CREATE MACRO seen(said) AS if(regexp_matches(said, '[^\pZ\pC]'), said, NULL)"
KEPT = ("event_id", "event_type", "user_id", "query")
TEXTS = [each for each in contract.FIELDS if each.kind in ("identifier", "text", "choice") and each.name != "country"]
ORACLE = rf"""
SELECT {", ".join(f"value->>'$.{one.path}'" if one.name in KEPT else f"seen(value->>'$.{one.path}')" for one in TEXTS)},
    (value->>'$.data.quantity')::DOUBLE::BIGINT AS quantity,
    (value->>'$.data.results_count')::DECIMAL(38,10)::BIGINT AS results_count,
    epoch_us(try_cast(regexp_replace(upper(value->>'$.timestamp'), '(\.\d{{6}})\d+', '\1') AS TIMESTAMPTZ)) AS at
FROM sent ORDER BY "offset"
"""


def judged(spark: SparkSession, values: list[bytes]) -> list[Row]:
    names = [json.loads(value).get("event_type") for value in values]
    topics = [TOPIC_OF_TYPE.get(name if isinstance(name, str) else "", "shop.clicks") for name in names]
    sent = [(topic, NOON, None, value) for topic, value in zip(topics, values, strict=True)]
    return checks.judge(frame_of(spark, sent)).orderBy("offset").collect()


@settings(
    max_examples=2,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(batch=batches(RECORDS))
def test_schema_and_lake_agree_on_every_event(spark: SparkSession, batch: Batch) -> None:
    values = batch.values()
    rows, said = judged(spark, values), Counter[str | None]()
    odd: list[Any] = []
    for value, row in zip(values, rows, strict=True):
        reason, found = row["reason_code"], problems(value, row["topic"], NOON)
        is_accepted = reason is None or reason in BEYOND_A_SCHEMA
        is_agreed = reason in found if found else reason is None
        if VALIDATOR.is_valid(json.loads(value)) != is_accepted or not is_agreed:
            odd.append((value[:500], reason, row["reason_detail"], found))
        said[reason] += 1
    assert not odd, (len(odd), odd[:3])
    assert RECORDS / 4 < said[None] < RECORDS * 3 / 4, "a sender of nearly valid events tells little"
    assert set(said) >= {"missing_field", "wrong_type", "bad_length", "out_of_range", "bad_timestamp", "unknown_type"}
    differing = differences([one for one in zip(values, rows, strict=True) if one[1]["reason_code"] is None])
    assert not differing, (len(differing), differing[:3])


def differences(accepted: list[tuple[bytes, Row]]) -> list[Any]:
    """Accepted events of which DuckDB, which reads the same JSON, finds other values. It does not know every offset."""
    sent = pa.table({"offset": range(len(accepted)), "value": [value.decode() for value, _ in accepted]})
    with duckdb.connect() as oracle:
        oracle.execute("SET TimeZone = 'UTC'")
        oracle.execute(SEEN)
        oracle.register("records", sent)
        oracle.execute('CREATE TABLE sent AS SELECT "offset", value::JSON AS value FROM records')
        truth = oracle.execute(ORACLE).fetchall()
    known = [(value, _columns(row), expected) for (value, row), expected in zip(accepted, truth, strict=True)]
    inexact = [(value, row) for value, row in accepted if _amounts(row) != _amounts_of(value)]
    return inexact + [one for one in known if one[1][:-1] != one[2][:-1] or one[2][-1] not in (None, one[1][-1])]


def _amounts_of(value: bytes) -> list[Any]:
    """To the ninth decimal place, as Python reads the digits: DuckDB would read a double."""
    data = json.loads(value, parse_float=Decimal).get("data") or {}
    lines = data.get("products") or []
    said = [data.get("total_amount"), data.get("price"), *(line.get("price") for line in lines)]
    return [one if one is None else Decimal(one).quantize(Decimal("1e-9"), ROUND_HALF_UP) for one in said]


def _amounts(row: Row) -> list[Any]:
    return [row["amount"], row["price"], *(line["price"] for line in row["products"] or [])]


def _columns(row: Row) -> tuple[Any, ...]:
    names = (*(field.silver_column for field in TEXTS), "quantity", "results_count")
    at = row["event_time"].replace(tzinfo=UTC)
    return (*(row[name] for name in names), round(at.timestamp() * 1_000_000))
