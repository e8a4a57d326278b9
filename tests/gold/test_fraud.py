import random
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import Any

import pytest
from pyspark.sql import functions as F

from gold import fraud
from gold.fraud_measures import MEASURES
from gold.fraud_rules import CONTEXT, ENTITY_COLUMNS, RULES, SEVERITY_FLOORS

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
    paid = {"event_type": "purchase", "order_id": lambda n: f"o{n}", "amount": 9.9, "payment_status": "approved"}
    return every(seconds, count, **{**paid, **fields})


def found(events: Any, begin: float = -1, end: float = 6) -> Rows:
    """The flags that begin within hours of noon."""
    since, until = NOON + timedelta(hours=begin), NOON + timedelta(hours=end)
    return [row.asDict() for row in fraud.flags(events, since, until, NOON).collect()]


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
            30,
            9,
            user_id=lambda n: f"g{n}",
            device_id="d",
            payment_status="declined",
            card_fingerprint=lambda n: f"c{n}",
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
    "a thank-you page that is loaded again": purchases(20, 12, user_id="u", order_id=lambda n: f"o{n // 3}"),
    "a bulk buyer": purchases(900, 6, user_id="u", amount=4000.0, card_fingerprint="c"),
    "a shopper who compares prices": browsing_with_pauses("u", seed=1, count=200),
    "a telephone, a tablet and a computer": every(60, 30, user_id="u", device_id=lambda n: f"d{n % 3}"),
    "a roaming telephone at the border": every(60, 9, user_id="u", country=lambda n: ["DE", "FR", "CH"][n % 3]),
    "a flight": every(9 * 3600, 2, user_id="u", country=lambda n: ["DE", "US"][n]),
    "an unknown country": every(60, 4, user_id="u", country=lambda n: ["DE", "XX", None, "??"][n]),
}


def apart(scenarios: dict[str, Rows]) -> Rows:
    """All scenarios in one frame, without anything in common."""
    rows: Rows = []
    for name, scenario in scenarios.items():
        for number, row in enumerate(scenario):
            own = {field: f"{name}/{row[field]}" for field in ENTITIES if row.get(field) is not None}
            rows.append({**row, **own, "event_id": f"{name}/{number:04d}"})
    return rows


ENTITIES = ("user_id", "device_id", "ip", "card_fingerprint")
FRAUD_ROWS = apart({name: rows for name, (rows, _) in FRAUD.items()})
EVERYTHING = FRAUD_ROWS + apart(INNOCENT)


@pytest.fixture(scope="module")
def everything(events) -> Any:
    return events(EVERYTHING).persist()


@pytest.fixture(scope="module")
def one_pass(everything) -> Rows:
    return found(everything, begin=-1, end=12)


def test_flags_each_fraud_once_and_leaves_the_innocent_alone(one_pass):
    expected = [(rule, kind, f"{name}/{entity}") for name, (_, (rule, kind, entity)) in FRAUD.items()]
    assert summary(one_pass) == sorted(expected)


def test_a_flag_can_be_read_and_proved(one_pass):
    events_of = {row["event_id"]: row for row in EVERYTHING}
    for flag in one_pass:
        proof = [events_of[event_id] for event_id in flag["evidence"]]
        times = [row["event_time"].replace(tzinfo=None) for row in proof]
        assert times == sorted(times)
        assert (flag["window_start"], flag["window_end"], flag["event_time"]) == (times[0], times[-1], times[-1])
        assert {row[ENTITY_COLUMNS[flag["entity_type"]]] for row in proof} == {flag["entity"]}
        assert flag["user_id"] == proof[-1]["user_id"]
        assert SEVERITY_FLOORS[flag["severity"]] <= flag["score"] <= 1
        assert flag["event_date"] == NOON.date()
    reasons = {flag["entity"]: flag["reason"] for flag in one_pass}
    assert reasons["Berlin, then Rio/j"].startswith("from DE to BR, at least 7,")
    assert reasons["accounts on one card/c"] == "5 accounts bought from one card within 13.3 minutes"


def test_has_the_declared_columns(everything):
    schema = fraud.flags(everything, NOON, NOON, NOON).schema
    assert [(field.name, field.dataType) for field in schema] == [
        (field.name, field.dataType) for field in fraud.TABLE.schema
    ]


def test_batches_find_what_one_pass_finds(everything, one_pass):
    batches: Rows = []
    for begin, end in pairwise([-1, 0.021, 0.053, 0.13, 1.7, 12]):  # hours; the brief ones are judged otherwise
        since, until = NOON + timedelta(hours=begin), NOON + timedelta(hours=end)
        seen = (F.col("event_time") >= F.lit(since - CONTEXT)) & (F.col("event_time") < F.lit(until))
        batches += found(everything.where(seen).orderBy(F.hash("event_id")), begin, end)
    assert sorted(batches, key=itemgetter("flag_id")) == sorted(one_pass, key=itemgetter("flag_id"))


def test_a_later_episode_is_a_new_flag_and_an_ongoing_one_is_not(events):
    storm = purchases(60, 90, user_id="u")
    again = purchases(60, 6, start=90 * 60 + 45 * 60, user_id="u")
    flags = found(events([{**row, "event_id": f"e{n}"} for n, row in enumerate(storm + again)]), end=6)
    assert [flag["rule_id"] for flag in flags] == ["purchase_velocity"] * 2
    assert len({flag["flag_id"] for flag in flags}) == 2


def test_the_score_rises_with_haste(events):
    slow, fast = (purchases(gap, 5, user_id=user) for gap, user in ((100, "slow"), (5, "fast")))
    rows = [{**row, "event_id": f"e{number}"} for number, row in enumerate(slow + fast)]
    scores = {flag["entity"]: flag["score"] for flag in found(events(rows))}
    assert 0.5 <= scores["slow"] < scores["fast"] <= 1


def test_the_bare_envelope_is_judged_by_what_it_has(events):
    assert summary(found(events(purchases(30, 6, user_id="u", payment_status=None)))) == [
        ("purchase_velocity", "user", "u")
    ]


def test_the_plan_stays_inside_the_engine(everything):
    plan = everything.sparkSession._jvm.PythonSQLUtils.explainString(
        fraud.flags(everything, NOON, NOON + timedelta(hours=1), NOON)._jdf.queryExecution(), "formatted"
    )
    assert not re.findall("EvalPython|PythonUDF|InPandas|InArrow|CartesianProduct", plan)


def test_rules_are_well_formed():
    assert max(rule.context for rule in RULES) == CONTEXT <= timedelta(minutes=90)
    for rule in RULES:
        for watch in rule.watches:
            for leading, *_ in watch.any_of:
                assert leading.at_least is not None, rule.rule_id
        names = {condition.measure for watch in rule.watches for others in watch.any_of for condition in others}
        assert names <= set(MEASURES), rule.rule_id
