"""Records that are refused until somebody mends them, and how they are brought home."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.jobs import find
from lakehouse.lake import Lake
from producer.record import Record
from tests.support.shop import IDENTITY, Shop

VIEWS = "shop.page_views"
AGES = (timedelta(minutes=1), timedelta(hours=1), timedelta(hours=7), timedelta(days=3))
"""Inside the newest hours, and before them."""
NOW = datetime.now(UTC)


def view(number: int, price: object, age: timedelta) -> Record:
    moment, user = (NOW - age).isoformat(), f"u{number}"
    event = {
        "event_id": f"view-{number}",
        "event_type": "product_view",
        "user_id": user,
        "timestamp": moment,
        "data": {"product_id": "p-home", "price": price},
    }
    return Record(VIEWS, user.encode(), json.dumps(event).encode(), time.time())


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
    (book,) = desk.ask(IDENTITY)
    assert book["bronze"] == sum(int(str(book[name])) for name in ("silver", "duplicates", "quarantined"))
    for name, table in (("bronze", "bronze.events"), ("silver", "silver.events"), ("quarantined", "silver.quarantine")):
        assert desk.ask(f"select count(*) as n from {table}") == [{"n": book[name]}], table
