"""Events of silver from short descriptions."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

Events = Callable[[list[dict[str, Any]]], DataFrame]

TEXTS = (
    "event_id event_type user_id session_id device_id ip country product_id product_name order_id currency "
    "payment_status card_fingerprint topic"
)
SCHEMA = pa.schema(
    dict.fromkeys(TEXTS.split(), pa.string())
    | dict.fromkeys(("event_time", "processed_at"), pa.timestamp("us", "UTC"))
    | {"amount": pa.decimal128(28, 9), "partition": pa.int32(), "offset": pa.int64()}
)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def exact(value: Any) -> Any:
    """Numbers as silver has them: by their shortest digits, nine decimal places."""
    return Decimal(repr(value)).quantize(Decimal("1e-9")) if isinstance(value, float) else value


@pytest.fixture(scope="session")
def events(spark: SparkSession) -> Events:
    """Silver events from dictionaries; what is left out gets a default or null."""

    def build(rows: list[dict[str, Any]]) -> DataFrame:
        defaults = {"event_type": "product_view", "user_id": "u1", "event_time": NOON}
        numbered = [
            {"event_id": f"e{number:05d}", **defaults, **row, "amount": exact(row.get("amount"))}
            for number, row in enumerate(rows)
        ]
        return spark.createDataFrame(pa.Table.from_pylist(numbered, SCHEMA))

    return build


@pytest.fixture(scope="session")
def random_rows() -> list[dict[str, Any]]:
    """A busy morning of chance, the same in every run."""
    chance = random.Random(20260302)
    types = ["page_view", "product_view", "product_view", "click", "add_to_cart", "purchase", "search"]
    rows = []
    for number in range(1500):
        event_type = chance.choice(types)
        is_purchase = event_type == "purchase"
        rows.append(
            {
                "event_id": f"r{number:05d}",
                "event_type": event_type,
                "event_time": NOON + timedelta(seconds=chance.randrange(4 * 3600)),
                "user_id": f"u{chance.randrange(40)}",
                "product_id": chance.choice([None, *(f"p{int(chance.paretovariate(1)) % 30}" for _ in range(3))]),
                "product_name": chance.choice([None, "red", "green", "blue"]),
                "order_id": f"o{chance.randrange(1000)}" if is_purchase else None,
                "amount": round(chance.expovariate(1 / 60), chance.choice([2, 9])) if is_purchase else None,
                "currency": chance.choice([None, "EUR", "eur", " JPY ", "", "bitcoin"]) if is_purchase else None,
                "payment_status": chance.choice([None, "approved", "declined"]) if is_purchase else None,
            }
        )
    return rows


@pytest.fixture
def random_events(events: Events, random_rows: list[dict[str, Any]]) -> DataFrame:
    return events(random_rows)


@pytest.fixture
def duckdb_rows(random_rows: list[dict[str, Any]]) -> Callable[[str], list[tuple[Any, ...]]]:
    """Answers SQL over `events`, the random events, with another engine."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE events (event_id TEXT, event_type TEXT, event_time TIMESTAMP, user_id TEXT, product_id TEXT, "
        "product_name TEXT, order_id TEXT, amount DECIMAL(28, 9), currency TEXT, payment_status TEXT)"
    )
    naive = [{**row, "event_time": row["event_time"].replace(tzinfo=None)} for row in random_rows]
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [[exact(value) for value in row.values()] for row in naive],
    )
    return lambda query: connection.execute(query).fetchall()
