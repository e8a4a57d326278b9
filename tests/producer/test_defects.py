"""Every kind of malformed record is really malformed, in its own way."""

import json
from dataclasses import replace

import pytest
from jsonschema_rs import Draft202012Validator

from producer.contract import REASONS, TOPIC_OF_TYPE
from producer.json_schema import event_schema
from producer.simulator import SimulationOptions, simulate
from producer.simulator.defects import DEFECTS, HARMLESS, Defect

DUE = 1_788_430_500.0
EVENT = {
    "event_id": "e1001",
    "event_type": "product_view",
    "user_id": "u5678",
    "timestamp": "2026-09-03T10:15:00.000Z",
    "context": {"device_id": "d1"},
    "data": {"product_id": "p00001"},
}
BEYOND_A_SCHEMA = {
    "doubled_key", "deep_nesting", "oversized", "nul_in_user_id", "half_surrogate", "wrong_topic",
    "no_zone", "impossible_date", "local_format", "ten_minutes_ahead", "years_ahead", "too_old", "epoch", "year_one",
    "infinite_price", "wrong_key", "seconds_as_text", "seconds_for_milliseconds",
}  # fmt: skip


def test_there_are_many_kinds_with_names_of_their_own() -> None:
    names = [kind.name for kind in (*DEFECTS, *HARMLESS)]
    assert len(names) == len(set(names))
    assert len(DEFECTS) >= 30
    assert {kind.reason for kind in DEFECTS} == set(REASONS) - {"bad_kafka_time"}, "which no value makes"
    assert all(kind.reason is None for kind in HARMLESS)


def test_every_kind_yields_bytes_of_its_own() -> None:
    values = [kind.make(dict(EVENT), DUE) for kind in (*DEFECTS, *HARMLESS)]
    ordinary = json.dumps(EVENT, separators=(",", ":")).encode()
    assert len(set(values)) == len(values)
    assert [kind.name for kind, value in zip(DEFECTS, values, strict=False) if value == ordinary] == ["wrong_topic"]


@pytest.mark.parametrize("kind", DEFECTS, ids=lambda kind: kind.name)
def test_the_schema_refuses_what_a_schema_can_refuse(kind: Defect) -> None:
    value = kind.make(dict(EVENT), DUE)
    if kind.name in BEYOND_A_SCHEMA or value is None:
        return
    try:
        parsed = json.loads(value, parse_constant=lambda name: pytest.fail("") if name is None else 1 / 0)
    except (ValueError, ZeroDivisionError):
        return
    assert not Draft202012Validator(event_schema()).is_valid(parsed)


@pytest.mark.parametrize("kind", HARMLESS, ids=lambda kind: kind.name)
def test_the_schema_accepts_what_is_merely_odd(kind: Defect) -> None:
    event = json.loads(kind.make(dict(EVENT), DUE) or b"")
    Draft202012Validator(event_schema()).validate(event)
    topic = kind.topic(TOPIC_OF_TYPE["product_view"]) if kind.topic else TOPIC_OF_TYPE["product_view"]
    assert topic == TOPIC_OF_TYPE[event["event_type"]]


def test_all_kinds_come_up_in_live_traffic() -> None:
    options = SimulationOptions(now_ms=int(DUE * 1000), live=True, rate=300, duration_s=20, malformed=0.2, harmless=0.1)
    found = {record.defect for record in simulate(options)}
    assert found >= {kind.name for kind in (*DEFECTS, *HARMLESS) if kind.is_traffic and not kind.large}
    assert "almost_too_old" not in found, "a cohort a year back"
    assert not {r.defect for r in simulate(replace(options, malformed=0, harmless=0))} - {None}
