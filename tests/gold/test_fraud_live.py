"""The flags that DuckDB raises equal Spark's, to the row."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from gold import fraud, fraud_live
from gold.fraud_measures import MEASURES
from gold.fraud_rules import CONTEXT, ENTITY_COLUMNS, RULES
from lakehouse.hours import micros
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.gold.conftest import NOON, Events
from tests.gold.test_fraud import EVERYTHING, FRAUD_ROWS, every
from tests.gold.test_fraud_oracle import row

pytestmark = pytest.mark.spark
Rows = list[dict[str, Any]]
NAMES = ["event_id", "event_type", "product_id", "country", "order_id", "payment_status", *ENTITY_COLUMNS.values()]
DAY = timedelta(days=1)


def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(fraud_live.TABLES)
    connection.execute(f'CREATE TABLE recent ("at" BIGINT, {" VARCHAR, ".join(NAMES)} VARCHAR, u UBIGINT)')
    return connection


def live(rows: Rows, *moments: datetime) -> Rows:
    """The flags of the ranges between the moments, of a table that took in the rows in three batches."""
    connection = database()
    for part in range(3):
        take_in(connection, rows[part::3])
    ranges = [(micros(begin), micros(end)) for begin, end in pairwise(moments)]
    return by_id([fraud_live.flags(connection, "recent", *limits, NOON) for limits in ranges])


def streamed(rows: Rows) -> Rows:
    """The flags of a table that takes in some rows at a time, in order, and forgets what is old."""
    connection, found = database(), []
    ordered = sorted(rows, key=lambda row: row["event_time"])
    for first in range(0, len(ordered), 100):
        batch = ordered[first : first + 100]
        take_in(connection, batch)
        begin, after = batch[0]["event_time"], ordered[first + 100 :][:1]
        end = after[0]["event_time"] if after else NOON + DAY
        found.append(fraud_live.flags(connection, "recent", micros(begin), micros(end), NOON))
        before = micros(begin - CONTEXT)
        connection.execute('DELETE FROM recent WHERE "at" < ?', [before])
        fraud_live.forget(connection, before)
    return by_id(found)


def take_in(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in NAMES}
    batch = pa.table({"at": pa.array([micros(row["event_time"]) for row in rows], pa.int64()), **columns})
    connection.register("arrived", batch)
    connection.execute("CREATE OR REPLACE TEMP TABLE batch AS SELECT *, hash(user_id) AS u FROM arrived")
    connection.execute("INSERT INTO recent FROM batch")
    fraud_live.note(connection, "batch", "recent")


def by_id(found: list[pa.Table]) -> Rows:
    rows = pa.concat_tables(flags.cast(fraud_live.SCHEMA) for flags in found).to_pylist()
    return sorted(rows, key=lambda flag: flag["flag_id"])


def by_spark(events: Events, rows: Rows, begin: datetime, end: datetime) -> Rows:
    return by_id([fraud.flags(events(rows), begin, end, NOON).toArrow()])


def simulated(seed: int) -> Rows:
    options = SimulationOptions(
        now_ms=int(NOON.timestamp() * 1000),
        seed=seed,
        history_ms=2 * 86_400_000,
        history_events=6_000,
        fraud=0.2,
        malformed=0,
        duplicates=0,
        harmless=0,
    )
    return [row(record) for record in simulate(options)]


def degenerate(seed: int, cases: int) -> Rows:
    """Histories of few entities without anything in common: ties, gaps of exactly a window, fields left out."""
    chance = random.Random(seed)
    return [event for case in range(cases) for event in degenerate_case(chance, f"{case:03d}")]


def degenerate_case(chance: random.Random, name: str) -> Rows:
    count = chance.choice([1, 2, 5, 30, 31, 70, 100])
    offsets = sorted(degenerate_times(chance, count))
    types = chance.choice([["purchase"], ["product_view", "page_view"], ["purchase", "product_view", "click"]])
    values = {
        "user_id": [f"{name}-u{number}" for number in range(chance.choice([1, 1, 1, 2, 7, 12]))],
        "device_id": [None, *(f"{name}-d{number}" for number in range(chance.choice([0, 1, 3, 5])))],
        "ip": [None, *(f"{name}-i{number}" for number in range(chance.choice([0, 1, 2])))],
        "card_fingerprint": [None, *(f"{name}-c{number}" for number in range(chance.choice([0, 1, 4, 9])))],
        "country": chance.choice([["DE"], ["DE", "BR", "XX"], [None, "", "de", "DE", "FR"], ["US", "JP"], [None]]),
        "payment_status": chance.choice(
            [[None], ["approved"], ["declined"], ["declined", "approved", "pending", None]]
        ),
        "event_type": types,
    }
    if chance.random() < 0.5:
        values["device_id"], values["ip"] = values["device_id"][-1:], values["ip"][-1:]
    ids = [f"{chance.choice('aAzZ0é~')}{name}-{number}" for number in range(count)]
    orders = chance.choice([1, 4, 5, 200])
    return [
        {
            "event_id": event_id,
            "event_time": NOON + timedelta(microseconds=offset),
            "order_id": f"{name}-o{chance.randrange(orders)}",
            **{field: chance.choice(choices) for field, choices in values.items()},
        }
        for event_id, offset in zip(ids, offsets, strict=True)
    ]


def degenerate_times(chance: random.Random, count: int) -> list[int]:
    """Microseconds after noon."""
    step = chance.choice([0, 1, 500_000, 1_500_000, 5_000_000, 60_000_000, 600_000_000, 1_800_000_000])
    jitter = chance.choice([0, 0, 1, 2_000_000])
    return [number // chance.choice([1, 1, 3]) * step + chance.randint(0, jitter) for number in range(count)]


@pytest.mark.parametrize("seed", [41, 43])
def test_simulated_shops_are_judged_as_by_spark(events: Events, seed: int) -> None:
    rows = simulated(seed)
    expected = by_spark(events, rows, NOON - 3 * DAY, NOON + DAY)
    assert {flag["rule_id"] for flag in expected} == {rule.rule_id for rule in RULES}, "every rule has its say"
    assert live(rows, NOON - 3 * DAY, NOON + DAY) == expected
    assert streamed(rows) == expected


def test_scenarios_and_degenerate_histories_are_judged_as_by_spark(events: Events) -> None:
    rows = degenerate(seed=7, cases=250) + [{"event_type": "product_view", **event} for event in EVERYTHING]
    expected = by_spark(events, rows, NOON - DAY, NOON + DAY)
    assert {flag["rule_id"] for flag in expected} == {rule.rule_id for rule in RULES}
    assert live(rows, NOON - DAY, NOON + DAY) == expected
    brief = [NOON + timedelta(minutes=minute) for minute in (-60, 0, 1, 4, 9.5, 10, 11, 30, 70, 100, 24 * 60)]
    assert live(rows, *brief) == expected
    begin, end = NOON + timedelta(minutes=1), NOON + timedelta(minutes=9.5)
    assert live(rows, begin, end) == by_spark(events, rows, begin, end)
    assert all(flag["reason"] for flag in expected)


def is_told(flag: dict[str, Any]) -> bool:
    """Whether whatever the gate asks of a flag is there, with no gap in its sentence."""
    names = ("flag_id", "user_id", "entity", "reason")
    is_complete = all(flag[name] for name in names) and flag["evidence"]
    return bool(is_complete) and 0 <= flag["score"] <= 1 and not {"?", "nan", "NaN"} & set(flag["reason"].split())


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_every_flag_of_a_degenerate_history_has_a_reason(events: Events, seed: int) -> None:
    """Equal times, one event, no gaps, fields left out, one country or its antipode."""
    rows = degenerate(seed, cases=200)
    found = by_spark(events, rows, NOON - DAY, NOON + DAY)
    assert found and all(map(is_told, found))
    assert live(rows, NOON - DAY, NOON + DAY) == found


def test_a_measure_without_a_value_leaves_a_reason(spark: SparkSession) -> None:
    worded = fraud._sentence("{speed} km/h").alias("said")
    measures = spark.range(1).select(F.struct(F.lit(None).cast("double").alias("speed")).alias("measures"))
    assert measures.select(worded).collect()[0]["said"] == "? km/h"
    said = fraud_live._reason(replace(RULES[0], reason="{speed} km/h"))
    assert duckdb.sql(f"SELECT {said} FROM (SELECT NULL::DOUBLE AS speed)").fetchall() == [("? km/h",)]


def test_a_flag_begins_at_one_microsecond() -> None:
    rows = [{"event_type": "product_view", **event} for event in FRAUD_ROWS]
    (first, *_) = sorted(flag["event_time"] for flag in live(rows, NOON - DAY, NOON + DAY))
    instant = timedelta(microseconds=1)
    assert live(rows, NOON - DAY, first) == []
    assert {flag["event_time"] for flag in live(rows, first, first + instant)} == {first}
    assert first not in {flag["event_time"] for flag in live(rows, first + instant, NOON + DAY)}


def test_a_burst_at_one_instant_has_a_reason(events: Events) -> None:
    rows = every(0, 30, user_id="u", event_type="product_view")
    burst = [{**event, "event_id": f"e{number}"} for number, event in enumerate(rows)]
    (flag,) = live(burst, NOON - DAY, NOON + DAY)
    assert flag["reason"] == "30 pages within 0.0 minutes, one every 0.0 s with gaps that vary by 0.00 only"
    assert by_spark(events, burst, NOON - DAY, NOON + DAY) == [flag]


def test_numbers_are_worded_and_rounded_as_by_spark(spark: SparkSession) -> None:
    chance = random.Random(3)
    halves = [number / 8 for number in range(8000)] + [number / 2000 + 0.3 for number in range(1400)]
    numbers = halves + [round(chance.uniform(0, 10 ** chance.randrange(5)), 4) for _ in range(3000)]
    names = ("speed", "mean_gap", "gap_variation")
    connection = duckdb.connect()
    connection.register("numbers", pa.table(dict.fromkeys(names, pa.array(numbers, pa.float64()))))
    worded = ", ".join(map(fraud_live._worded, names))
    found = connection.execute(f"SELECT {worded}, {fraud_live._rounded('speed % 1')} FROM numbers").fetchall()
    x = F.col("x")
    frame = spark.createDataFrame([(number,) for number in numbers], "x double")
    expected = frame.select(*(F.format_number(x, decimals) for decimals in (0, 1, 2)), F.round(x % 1, 3))
    assert found == [tuple(row) for row in expected.collect()]


def test_rules_can_be_judged_live() -> None:
    connection = database()
    wanted = fraud_live._Range("recent", 0, 1)
    fraud_live.flags(connection, "recent", 0, 1, NOON)
    for rule, number, watch in fraud_live._looks():
        connection.execute(f"EXPLAIN {fraud_live._judgement(wanted, rule, 0)}")
        for conditions in watch.any_of if rule.considers == "events" else ():
            differing = {MEASURES[condition.measure].differs_in for condition in conditions if condition.at_least}
            assert differing & {"device_id", "country"}, f"only who roams is looked at: {rule.rule_id}, {number}"
