from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gold import fraud
from gold.fraud_rules import CONTEXT, RULES

pytestmark = pytest.mark.spark
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
Rows = list[dict[str, Any]]


def every(seconds: float, count: int, start: float = 0, **fields: Any) -> Rows:
    """`count` events, `seconds` apart; a field that is a function gets the event's number."""
    return [
        {
            "event_time": NOON + timedelta(seconds=start + seconds * number),
            **{name: value(number) if callable(value) else value for name, value in fields.items()},
        }
        for number in range(count)
    ]


def purchases(seconds: float, count: int, **fields: Any) -> Rows:
    return every(seconds, count, **{"event_type": "purchase", "amount": 9.9, "payment_status": "approved", **fields})


def found(events: Any, rows: Rows, begin: float = -1, end: float = 6) -> Rows:
    """The flags that begin within hours of noon."""
    since, until = NOON + timedelta(hours=begin), NOON + timedelta(hours=end)
    return [row.asDict() for row in fraud.flags(events(rows), since, until, NOON).collect()]


def summary(flags: Rows) -> list[tuple[str, str, str]]:
    return sorted((flag["rule_id"], flag["entity_type"], flag["entity"]) for flag in flags)


def browsing_with_pauses(user: str, seed: int, count: int) -> Rows:
    """A person who compares prices: skims some pages, reads others."""
    chance = random.Random(seed)
    moment, rows = 0.0, []
    for _ in range(count):
        moment += chance.lognormvariate(2, 0.9)
        rows += every(0, 1, start=moment, user_id=user, product_id="p")
    return rows


FRAUD: dict[str, tuple[Rows, tuple[str, str, str]]] = {
    "purchase_velocity": (purchases(40, 8, user_id="v"), ("purchase_velocity", "user", "v")),
    "many cards of one user": (
        purchases(30, 9, user_id="t", card_fingerprint=lambda n: f"c{n}", device_id="d", ip="i"),
        ("card_testing", "user", "t"),
    ),
    "declines on several cards": (
        purchases(30, 9, user_id="t", payment_status="declined", card_fingerprint=lambda n: f"c{n % 3}"),
        ("card_testing", "user", "t"),
    ),
    "guests testing cards on one device": (
        purchases(
            30, 9, user_id=lambda n: f"g{n}", device_id="d", payment_status="declined", card_fingerprint=lambda n: f"c{n}"
        ),
        ("card_testing", "device", "d"),
    ),
    "guests testing cards behind one address": (
        purchases(
            30, 9, user_id=lambda n: f"g{n}", ip="i", payment_status="declined", card_fingerprint=lambda n: f"c{n}"
        ),
        ("card_testing", "ip", "i"),
    ),
    "a timer": (every(4, 60, user_id="b"), ("bot_browsing", "user", "b")),
    "a program without pauses": (every(0.5, 60, user_id="b"), ("bot_browsing", "user", "b")),
    "accounts on one device": (
        purchases(200, 7, user_id=lambda n: f"r{n}", device_id="d", ip="i"),
        ("account_ring", "device", "d"),
    ),
    "accounts on one card": (
        purchases(200, 7, user_id=lambda n: f"r{n}", device_id=lambda n: f"d{n}", card_fingerprint="c"),
        ("account_ring", "card", "c"),
    ),
    "accounts behind one address": (
        purchases(120, 14, user_id=lambda n: f"r{n}", ip="i"),
        ("account_ring", "ip", "i"),
    ),
    "one account on many devices": (
        every(120, 12, user_id="s", device_id=lambda n: f"d{n % 6}"),
        ("account_sharing", "user", "s"),
    ),
    "Berlin, then Rio": (
        every(1200, 2, user_id="j", country=lambda n: ["DE", "BR"][n]),
        ("impossible_travel", "user", "j"),
    ),
}

INNOCENT: dict[str, Rows] = {
    "a retry storm on two cards": purchases(
        5, 120, user_id="u", device_id="d", ip="i", payment_status="declined", card_fingerprint=lambda n: f"c{n % 2}"
    ),
    "a family on one device": [
        row
        for member in range(4)
        for row in purchases(
            600, 3, start=90 * member, user_id=f"f{member}", device_id="d", ip="i", card_fingerprint=f"c{member}"
        )
    ],
    "an office behind one address": purchases(
        400, 9, user_id=lambda n: f"o{n}", device_id=lambda n: f"d{n}", card_fingerprint=lambda n: f"c{n}", ip="i"
    ),
    "a bulk buyer": purchases(900, 6, user_id="u", amount=4000.0, card_fingerprint="c"),
    "a shopper who compares prices": browsing_with_pauses("u", seed=1, count=200),
    "a telephone, a tablet and a computer": every(60, 30, user_id="u", device_id=lambda n: f"d{n % 3}"),
    "a roaming telephone at the border": every(60, 9, user_id="u", country=lambda n: ["DE", "FR", "CH"][n % 3]),
    "a flight": every(9 * 3600, 2, user_id="u", country=lambda n: ["DE", "US"][n]),
    "an unknown country": every(60, 4, user_id="u", country=lambda n: ["DE", "XX", None, "??"][n]),
}


@pytest.mark.parametrize("name", FRAUD)
def test_flags_fraud_once(events, name):
    rows, expected = FRAUD[name]
    assert summary(found(events, rows)) == [expected]


def test_leaves_the_innocent_alone(events):
    for name, rows in INNOCENT.items():
        assert summary(found(events, rows, end=12)) == [], name
