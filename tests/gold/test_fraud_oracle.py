"""The fraud flags of simulated shops equal those of an independent recompute."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gold import fraud
from gold.fraud_rules import RULES
from producer.record import Record
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.gold.conftest import Events
from tests.support import fraud_oracle
from tests.support.oracle import EVENTS, Oracle

pytestmark = pytest.mark.spark
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAYS = 2


def row(record: Record) -> dict[str, Any]:
    """A record of the simulator as a row of silver."""
    assert record.value is not None
    event = json.loads(record.value)
    context, data = event.get("context") or {}, event.get("data") or {}
    return {
        **{name: event[name] for name in ("event_id", "event_type", "user_id")},
        "event_time": datetime.fromisoformat(event["timestamp"]),
        **{name: context.get(name) for name in ("device_id", "ip", "country")},
        **{name: data.get(name) for name in ("product_id", "order_id", "payment_status", "card_fingerprint")},
    }


def seen(row: dict[str, Any]) -> fraud_oracle.Event:
    """The same event as the recompute sees it."""
    return fraud_oracle.Event(
        at=(row["event_time"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
        event_id=row["event_id"],
        event_type=row["event_type"],
        user=row["user_id"],
        device=row["device_id"],
        ip=row["ip"],
        country=row["country"],
        card=row["card_fingerprint"],
        order=row["order_id"],
        payment=row["payment_status"] or "approved",
    )


@pytest.mark.parametrize("seed", [41, 42])
def test_flags_equal_the_recompute(events: Events, seed: int) -> None:
    options = SimulationOptions(
        now_ms=int(NOW.timestamp() * 1000),
        seed=seed,
        history_ms=DAYS * 86_400_000,
        history_events=6_000,
        fraud=0.2,
        malformed=0,
        duplicates=0,
        harmless=0,
    )
    rows = [row(record) for record in simulate(options)]
    expected = fraud_oracle.flags(sorted(map(seen, rows), key=lambda event: (event.at, event.event_id)))
    flags = fraud.flags(events(rows), NOW - timedelta(days=DAYS + 1), NOW + timedelta(days=1), NOW)
    found = [flag.asDict() for flag in flags.collect()]
    assert fraud_oracle.found(found) == expected
    assert {flag[0] for flag in expected} == {rule.rule_id for rule in RULES}, "every rule has its say"


def test_accepted_events_are_read_from_the_oracles_database() -> None:
    database = Oracle().open()
    event = '{"event_id": "e1", "event_type": "purchase", "user_id": "u1", "timestamp": "2026-03-02T12:00:00Z",'
    event += ' "context": {"device_id": "d1", "country": "DE"}, "data": {"order_id": "o1", "card_fingerprint": "c1"}}'
    database.execute("drop view accepted; drop table events")
    database.execute("insert into records values ('shop.purchases', 0, 7, ?, null, null)", [event])
    database.execute(EVENTS)
    database.execute("create view accepted as select * from events where place = 1")
    (found,) = fraud_oracle.accepted(database)
    assert (found.user, found.device, found.ip, found.country, found.card) == ("u1", "d1", None, "DE", "c1")
    assert (found.order, found.payment) == ("o1", "approved") and found.is_paid
