"""Declared fixes change what they say, and never repair anything else on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from silver.fixes import Refused, apply, parse

TOPIC = "shop.page_views"


def fixed(fix: str, event: dict[str, Any], key: bytes | None = None) -> Any:
    after = apply(parse(fix), Refused(TOPIC, key, json.dumps(event).encode()))
    return json.loads(after.value or b"")


@pytest.mark.parametrize(
    ("fix", "before", "after"),
    [
        ("rename uid=user_id", {"uid": "u1"}, {"user_id": "u1"}),
        ("rename uid=user_id", {"uid": "u1", "user_id": "u2"}, {"uid": "u1", "user_id": "u2"}),
        ("rename device=context.device_id", {"device": "d"}, {"context": {"device_id": "d"}}),
        ("cast data.price=number", {"data": {"price": "19.90"}}, {"data": {"price": 19.9}}),
        ("cast data.price=number", {"data": {"price": "dear"}}, {"data": {"price": "dear"}}),
        ("cast data.price=number", {"data": {"price": None}}, {"data": {"price": None}}),
        ("cast data.quantity=integer", {"data": {"quantity": 2.0}}, {"data": {"quantity": 2}}),
        ("cast data.quantity=integer", {"data": {"quantity": 2.5}}, {"data": {"quantity": 2.5}}),
        ("cast user_id=text", {"user_id": 5678}, {"user_id": "5678"}),
        ("cast timestamp=timestamp", {"timestamp": 1788430500}, {"timestamp": "2026-09-03T10:15:00.000Z"}),
        ("cast timestamp=timestamp", {"timestamp": "1788430500123"}, {"timestamp": "2026-09-03T10:15:00.123Z"}),
        ('default data.currency="EUR"', {}, {"data": {"currency": "EUR"}}),
        ("default data.currency=EUR", {"data": {"currency": "USD"}}, {"data": {"currency": "USD"}}),
        ("default schema_version=1; rename a=b", {"a": 1}, {"schema_version": 1, "b": 1}),
        ("default data.price=1", {"data": ["no object"]}, {"data": ["no object"]}),
    ],
)
def test_a_step_changes_what_it_says(fix: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert fixed(fix, before) == after


def test_a_record_goes_to_its_topic_and_under_its_user() -> None:
    value = json.dumps({"event_type": "purchase", "user_id": "u1"}).encode()
    assert apply(parse("route; rekey"), Refused(TOPIC, b"other", value)) == Refused("shop.purchases", b"u1", value)


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[]", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000]
)
def test_what_is_not_well_formed_stays_as_it_is(value: bytes | None) -> None:
    record = Refused(TOPIC, None, value)
    assert apply(parse("default a=1; rename a=b; route; rekey"), record) == record


def test_what_needs_no_change_keeps_its_bytes() -> None:
    value = b'{ "data" : {"price": 1.50} }'
    assert apply(parse("cast data.price=number; default data.price=2"), Refused(TOPIC, None, value)).value == value


@pytest.mark.parametrize(
    "fix", ["", ";", "drop a", "rename a", "rename =b", "cast a=money", "default a", "route there", "cast a.b.c=text"]
)
def test_a_wrong_fix_is_refused(fix: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(fix)
