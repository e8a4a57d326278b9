"""The fast road of the checks accepts only what the long one accepts, with the same columns; and it is taken."""

import contextlib
import io
import json
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from producer.contract import TOPIC_OF_TYPE
from producer.record import Record
from producer.simulator import SimulationOptions, simulate
from silver import checks, fast_checks
from tests.silver.test_checks import CASES, EVERYTHING, KAFKA_TIME, mutated, scribbled
from tests.support.arrived import Sent, frame_of

pytestmark = pytest.mark.spark

LIMITS = (timedelta(minutes=5), timedelta(days=400))
LONGEST_METHOD = 8000
"""Bytes of code beyond which Java does not compile a method."""


def taken(spark: SparkSession, records: list[Sent]) -> set[int]:
    """The numbers of the records that the fast road accepts."""
    tried = fast_checks.tried(frame_of(spark, records), *LIMITS).where("_fast is not null")
    return {row["offset"] for row in tried.select("offset").collect()}


def rows_of(judged: DataFrame) -> list[Row]:
    """All columns; times as numbers, of which Python's dates do not know all."""
    times = {"event_time": F.unix_micros("event_time"), "event_date": F.unix_date("event_date")}
    return sorted(judged.withColumns(times).collect(), key=lambda row: row["offset"])


@pytest.fixture
def slow_road(monkeypatch: pytest.MonkeyPatch) -> Callable[[DataFrame], list[Row]]:
    """`judge` when the fast road takes nothing."""

    def judged(records: DataFrame) -> list[Row]:
        with monkeypatch.context() as patch:
            tried, never = fast_checks.tried, timedelta(0)
            patch.setattr(fast_checks, "tried", lambda records, *_: tried(records, never, never))
            return rows_of(checks.judge(records))

    return judged


def sent(record: Record) -> Sent:
    return record.topic, datetime.fromtimestamp(record.due, UTC), record.key, record.value


# --- examples -------------------------------------------------------------------------------------------------------

EVENT = (
    '{"event_id":"e1","event_type":"product_view","user_id":"u1","timestamp":"2026-09-03T10:15:00Z",'
    '"context":{"ip":"203.0.113.7","country":"DE"},"data":{"product_id":"p1","price":19.9}}'
)
LINES = '"products":[{"product_id":"p","quantity":2,"price":1.5},{"price": 7, "quantity": null},'
WHOLE: dict[str, Any] = json.loads(json.dumps(EVERYTHING))
del WHOLE["campaign"], WHOLE["data"]["colour"], WHOLE["data"]["results_count"]
USUAL = [
    EVENT,
    EVENT.replace(":", ": ", 2),
    json.dumps(json.loads(EVENT)),
    json.dumps(json.loads(EVENT), sort_keys=True),
    json.dumps(WHOLE, ensure_ascii=False),
    EVENT.replace('"DE"', "null"),
    EVENT.replace('{"ip":"203.0.113.7","country":"DE"}', "null"),
    EVENT.replace('{"ip":"203.0.113.7","country":"DE"}', "{}"),
    EVENT.replace('"203.0.113.7"', '"東京 🎁 Zoë"'),
    EVENT.replace('"u1"', '"' + "🎁" * 128 + '"'),
    EVENT.replace("19.9", "0"),
    EVENT.replace('"user_id"', '"schema_version":1,"user_id"'),
    EVENT.replace('"price"', LINES + "{}]" + ',"price"').replace(",{}", ""),
]
UNUSUAL = [
    *(EVENT.replace("DE", country) for country in ("de", "UK", "DEU", "東京")),
    *(EVENT.replace("203.0.113.7", blank) for blank in (" ", "\u00a0", "\u200b\u200e")),
    EVENT.replace('"DE"', r'"D\u0045"'),
    EVENT.replace("T10:15:00Z", "t10:15:00z"),
    EVENT.replace('"DE"', '""'),
    EVENT.replace('"DE"', '"\N{REPLACEMENT CHARACTER}"'),
    EVENT.replace("19.9", "-0.0"),
    EVENT.replace("19.9", "1e1"),
    EVENT.replace('"DE"', '"DE","city":"Berlin"'),
    EVENT.replace('"DE"', '"' + "x" * 2000 + '"'),
    " " + EVENT,
    EVENT.replace('"DE"', '"DE" '),
]
BROKEN = [
    EVENT.replace('"country"', '"ip"'),
    EVENT.replace('"price":19.9', '"price":19.9,"price":19.9'),
    EVENT.replace('"price":19.9', '"price":null,"price":19.9'),
    EVENT.replace('"data"', '"context":null,"data"'),
    EVENT.replace('"data"', '"context":{},"data"'),
    EVENT.replace('"price"', LINES + '{"price":1,"price":1}],"price"'),
    EVENT.replace('"price"', LINES + '],"price"'),
    EVENT.replace('"DE"}', '"DE",}'),
    EVENT.replace('"DE"}', '"DE", }'),
    EVENT.replace(',"country"', '"country"'),
    EVENT.replace(',"country"', ',,"country"'),
    EVENT.replace("{", "{,", 1),
    EVENT.replace('"DE"', '"D\tE"'),
    EVENT.replace('"DE"', '"D\1E"'),
    EVENT.replace('"DE"', '"D"E"'),
    EVENT.replace("19.9", "019.9"),
    EVENT.replace("19.9", "19."),
    EVENT.replace("19.9", '"19.9"'),
    EVENT.replace("19.9", "19.9x"),
    EVENT.replace('"p1"', "null"),
    EVENT.replace('"u1"', '"' + "u" * 129 + '"'),
    EVENT.replace("2026-09-03", "2026-02-30"),
    EVENT.replace("T10:15:00Z", "T10:21:00Z"),
    EVENT.replace("product_view", "purchase"),
    EVENT + "\n{}",
    EVENT + "}",
    EVENT[:-1],
    "{}",
    "\1e1\1product_view\1u1",
]
NO_UTF8 = [b"\xff", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80"]


def of_event(text: str | bytes) -> Sent:
    topic = TOPIC_OF_TYPE["purchase" if "purchase" in str(text) else "product_view"]
    return topic, KAFKA_TIME, None, text if isinstance(text, bytes) else text.encode()


def test_the_fast_road_takes_usual_events_and_no_other(
    spark: SparkSession, slow_road: Callable[[DataFrame], list[Row]]
) -> None:
    texts: list[str | bytes] = [*USUAL, *UNUSUAL, *BROKEN, *(EVENT.encode().replace(b"DE", odd) for odd in NO_UTF8)]
    records = [of_event(text) for text in texts]
    assert taken(spark, records) == set(range(len(USUAL)))
    frame = frame_of(spark, records)
    expected = slow_road(frame)
    assert rows_of(checks.judge(frame)) == expected
    is_valid = [row["reason_code"] is None for row in expected]
    assert is_valid == [number < len(USUAL) + len(UNUSUAL) for number in range(len(texts))]


def test_topic_key_and_age_are_looked_at(spark: SparkSession) -> None:
    topic, time, _, value = of_event(EVENT)
    records: list[Sent] = [
        (topic, time, b"u1", value),
        (topic, time + timedelta(days=399), None, value),
        (topic, time + timedelta(days=399, microseconds=1), None, value),
        (topic, time - timedelta(minutes=5), None, value),
        (topic, time - timedelta(minutes=5, microseconds=1), None, value),
        (topic, time, b"u2", value),
        ("shop.clicks", time, None, value),
        (topic, time, None, None),
    ]
    assert taken(spark, records) == {0, 1, 3}


# --- the simulator and chance ---------------------------------------------------------------------------------------


def test_what_a_shop_sends_takes_the_fast_road(
    spark: SparkSession, slow_road: Callable[[DataFrame], list[Row]]
) -> None:
    options = SimulationOptions(
        now_ms=1_788_430_500_000, seed=6, live=True, rate=500, count=3_000, malformed=0.1, harmless=0.05
    )
    records = list(simulate(options))
    frame = frame_of(spark, list(map(sent, records)))
    assert rows_of(checks.judge(frame)) == slow_road(frame)
    usual = {number for number, record in enumerate(records) if record.defect is None}
    assert len(taken(spark, list(map(sent, records))) & usual) > 0.99 * len(usual)


PIECES = [
    b"", b"", b" ", b", ", b": ", b",", b":", b'"', b"{", b"}", b"[", b"]", b"null", b"0", b"7", b"-1", b".5", b"1e3",
    b"true", b"\\n", b"\\u0041", b"\\ud83c", b"\n", b"\x00", b"\x01", b"\x7f", b"\xff", b"\xc3\xa9",
    b"\xf0\x9f\x8e\x81",
    b"\xf0\x9f\x98", b"\xef\xbf\xbd", b"\xed\xa0\x80", b'"":', b'"ip":"x",', b'"price":1,', b'"context":{},', b"$1",
    b"a" * 128,
]  # fmt: skip


def varied(chance: random.Random, record: Sent) -> Sent:
    """The record with members in another order, twice or null, written otherwise, or with a piece of chance in it."""
    topic, time, key, value = record
    for _ in range(chance.choice([0, 1, 1, 2])):
        members = re.findall(rb'"\w+": ?(?:"[^"]*"|[-\w.]+)', value or b"")
        kind = chance.randrange(6)
        if kind == 0 and value is not None:
            at = chance.randrange(len(value) + 1)
            value = value[:at] + chance.choice(PIECES) + value[at + chance.choice([0, 0, 1, 2]) :]
        elif kind in (1, 2) and value is not None and members:
            one, other = chance.choice(members), chance.choice(members)
            change = chance.choice([one + b"," + other, other, one + b"," + one, one.split(b":")[0] + b":null"])
            value = value.replace(one, change, 1)
        elif kind == 3 and value is not None:
            with contextlib.suppress(ValueError, AttributeError, RecursionError):
                shuffled = list(json.loads(value).items())
                chance.shuffle(shuffled)
                blank = chance.choice(["", " "])
                written = json.dumps(dict(shuffled), ensure_ascii=False, separators=("," + blank, ":" + blank))
                value = written.encode("utf-8", "surrogatepass")
        elif kind == 4:
            digits = "".join(chance.choices("0123456789", k=chance.randrange(1, 20)))
            number = chance.choice(["0", "7", "1234567890"]) + chance.choice(["", "." + digits])
            value = re.sub(rb'"price": ?[\d.]+', f'"price":{number}'.encode(), value or b"")
        else:
            time += timedelta(seconds=chance.choice([-301, -300, -299, 0, 86_400 * 399, 86_400 * 400, 86_400 * 401]))
            key = chance.choice([key, None, b"", b"u5678"])
            topic = chance.choice([topic, topic, "shop.clicks"])
    return topic, time, key, value


def chosen(chance: random.Random) -> Iterator[Sent]:
    options = SimulationOptions(
        now_ms=1_788_430_500_000, seed=chance.randrange(2**32), live=True, rate=500, count=600, malformed=0.05
    )
    yield from map(sent, simulate(options))
    yield from ((case.topic, KAFKA_TIME, case.key, case.value) for case in CASES if len(case.value or b"") < 5_000)
    yield from (of_event(text) for text in (*USUAL, *USUAL, *UNUSUAL, *BROKEN))
    for make in (mutated, mutated, mutated, scribbled):
        yield from ((topic, KAFKA_TIME, None, value) for topic, value in (make(chance) for _ in range(100)))


@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
def test_both_roads_agree_whatever_comes(
    spark: SparkSession, slow_road: Callable[[DataFrame], list[Row]], seed: int
) -> None:
    chance = random.Random(seed)
    records = [varied(chance, record) for record in chosen(chance)]
    frame = frame_of(spark, records)
    expected = slow_road(frame)
    for record, found, right in zip(records, rows_of(checks.judge(frame)), expected, strict=True):
        assert found == right, record
    fast = taken(spark, records)
    assert not [records[number] for number in fast if expected[number]["reason_code"] is not None]
    assert len(fast) > 0.2 * len(records)


# --- speed ----------------------------------------------------------------------------------------------------------


def test_java_compiles_every_method_of_the_checks(spark: SparkSession) -> None:
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        checks.judge(frame_of(spark, [of_event(EVENT)])).explain("codegen")
    sizes = [int(size) for size in re.findall(r"maxMethodCodeSize:(\d+)", written.getvalue())]
    assert sizes and max(sizes) < LONGEST_METHOD
