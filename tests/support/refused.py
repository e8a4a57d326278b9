"""Records that are refused until somebody mends them, and how they are brought home."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.jobs import find
from lakehouse.lake import Lake
from producer.record import Record
from tests.support.shop import Shop

VIEWS, BUYS = "shop.page_views", "shop.purchases"
AGES = (timedelta(minutes=1), timedelta(hours=1), timedelta(hours=7), timedelta(days=3))
"""Inside the hot window, and before it."""
NOW = datetime.now(UTC)


def view(number: int, price: object, age: timedelta) -> Record:
    moment = (NOW - age).isoformat()
    event = {
        "event_id": f"view-{number}",
        "event_type": "product_view",
        "user_id": f"u{number}",
        "timestamp": moment,
        "data": {"product_id": "p-home", "price": price},
    }
    return Record(VIEWS, event["user_id"].encode(), json.dumps(event).encode(), time.time())  # type: ignore[attr-defined]


def purchase(number: int, topic: str, key: str, age: timedelta) -> Record:
    moment = (NOW - age).isoformat()
    data = {"order_id": f"o{number}", "total_amount": 10}
    event = {"event_id": f"buy-{number}", "event_type": "purchase", "user_id": f"u{number}", "timestamp": moment}
    return Record(topic, key.encode(), json.dumps(event | {"data": data}).encode(), time.time())


def replayed(lake: Lake, **parameters: Any) -> dict[str, Any]:
    job = find("replay_quarantine")
    return job.run(lake, job.parse(parameters), lambda _text: None)


def assert_identity(desk: Shop) -> None:
    """What is in the tables is what is in the book, and every record has its place."""
    (book,) = desk.ask(
        "select sum(bronze_rows) as bronze, sum(silver_rows) as silver, sum(duplicate_rows) as duplicates,"
        " sum(quarantined_rows) as quarantined from ops.batches"
    )
    assert book["bronze"] == book["silver"] + book["duplicates"] + book["quarantined"]  # type: ignore[operator]
    for name, table in (("bronze", "bronze.events"), ("silver", "silver.events"), ("quarantined", "silver.quarantine")):
        assert desk.ask(f"select count(*) as n from {table}") == [{"n": book[name]}], table
