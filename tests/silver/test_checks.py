"""Every record gets the right answer: silver columns, or the reason why not. Spark judges once per batch of records."""

import json
import random
import re
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from bronze import events as bronze_events
from producer.contract import REASONS, REQUIRED_ENVELOPE, TOPIC_OF_TYPE
from producer.simulator.defects import DEFECTS, HARMLESS, Defect
from silver import checks
from tests.support.arrived import frame_of
from tests.support.record_validator import problems

pytestmark = pytest.mark.spark

DUE = 1_788_430_500.0
KAFKA_TIME = datetime.fromtimestamp(DUE, UTC)
VIEWS = TOPIC_OF_TYPE["product_view"]
EVENT = {
    "event_id": "e1001",
    "event_type": "product_view",
    "user_id": "u5678",
    "timestamp": "2026-09-03T10:15:00.000Z",
    "context": {"session_id": "s1", "device_id": "d1", "ip": "203.0.113.7", "country": "DE", "user_agent": "Test/1"},
    "data": {"product_id": "p00001", "product_name": "Lamp", "category": "light", "price": 19.9},
}
EVERYTHING = {
    "event_id": "e-all",
    "event_type": "purchase",
    "user_id": "u5678",
    "timestamp": "2026-09-03T15:45:00.123456789+05:30",
    "schema_version": 1,
    "context": EVENT["context"],
    "data": {
        "order_id": "o1",
        "total_amount": 40,
        "currency": "EUR",
        "payment_method": "card",
        "payment_status": "declined",
        "card_fingerprint": "f1",
        "products": [
            {"product_id": "p1", "quantity": 2, "price": 10.5},
            {"product_id": "p2", "quantity": 1, "price": 19},
            {"product_id": "p3", "quantity": None},
        ],
        "page_url": "/pay",
        "device": "mobile",
        "browser": "Firefox",
        "element": "pay",
        "product_id": "p1",
        "product_name": "Lamp",
        "category": "light",
        "price": 10.5,
        "quantity": 2,
        "query": "lamp",
        "results_count": 2**53 - 1,
        "colour": "red",
    },
    "campaign": {"name": "autumn", "weights": [1, 2.5, None, True]},
}
MEBIBYTE = 1024 * 1024


class Case(NamedTuple):
    name: str
    value: bytes | None
    topic: str = VIEWS
    reason: str | None = None
    key: bytes | None = None


def text(event: Any) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def with_data(**data: Any) -> bytes:
    return text(EVENT | {"data": {"product_id": "p1"} | data})


def purchase(products: Any) -> bytes:
    return text(EVENT | {"event_type": "purchase", "data": {"order_id": "o", "total_amount": 1, "products": products}})


def at(timestamp: str) -> bytes:
    return text(EVENT | {"timestamp": timestamp})


def padded(size: int) -> bytes:
    rest = text(EVENT)[:-1] + b',"note":"'
    return rest + b"n" * (size - len(rest) - 2) + b'"}'


def of(kind: Defect) -> Case:
    return Case(
        kind.name, kind.make(dict(EVENT), DUE), kind.topic(VIEWS) if kind.topic else VIEWS, kind.reason, kind.key
    )


WHOLE_NUMBERS = EVENT | {"schema_version": 1.0, "data": {"product_id": "p1", "quantity": 100, "results_count": 3.0}}
BLANK_TEXTS = EVENT | {
    "context": {"session_id": " ", "device_id": "\u200b", "ip": "", "country": "\u00a0", "user_agent": "\t"},
    "data": {"product_id": "p1", "product_name": " \u3000", "category": "\u2066\u2069", "order_id": " ", "query": " "},
}
BLANKS = {"", " ", "\t", "\u00a0", "\u200b", " \u3000", "\u2066\u2069"}
BUYS = TOPIC_OF_TYPE["purchase"]
SOUND = [
    Case("everything", text(EVERYTHING), BUYS),
    Case("bare", text({name: EVENT[name] for name in (*REQUIRED_ENVELOPE, "data")})),
    Case("exactly_one_mebibyte", padded(MEBIBYTE)),
    Case("white_space_around", b" \n" + text(EVENT) + b"\r\n\t"),
    Case("five_minutes_ahead", at("2026-09-03T10:20:00Z")),
    Case("400_days_ago", at("2025-07-30T10:15:00Z")),
    Case("lower_case_time", at("2026-09-03t10:15:00z")),
    Case("space_in_time", at("2026-09-03 10:15:00Z")),
    Case("west", at("2026-09-02T22:15:00.5-12:00")),
    Case("next_day_there", at("2026-09-04T00:15:00+14:00")),
    Case("astral_id", text(EVENT | {"user_id": "🎁" * 128})),
    Case("escaped_pair", text(EVENT)[:-1] + b',"note":"\\ud83c\\udf81"}'),
    Case("spelled_nul", text(EVENT | {"note": "a\\u0000b"})),
    Case("many_backslashes", text(EVENT)[:-1] + b',"note":"' + b"\\\\" * 500_000 + b'u0000"}'),
    Case("other_case", text(EVENT | {"User_Id": 7})),
    Case("null_data_field", with_data(product_name=None, products=None)),
    Case("minus_zero", with_data(price=-0.0)),
    Case("exponent", with_data(price="1e2").replace(b'"1e2"', b"1e2")),
    Case("long_number", with_data(price="1").replace(b'"price":"1"', b'"price":0.' + b"3" * 60)),
    Case("deep_extra", text(EVENT)[:-1] + b',"deep":' + b"[" * 400 + b"]" * 400 + b"}"),
    Case("huge_number_in_extra", text(EVENT)[:-1] + b',"huge":123456789012345678901234567890}'),
    Case("overflow_in_extra", text(EVENT)[:-1] + b',"huge":1e400}'),
    Case("odd_line", purchase([{"product_id": "p1", "colour": "red"}]), BUYS),
    Case("no_lines", purchase([]), BUYS),
    Case("whole_numbers", text(WHOLE_NUMBERS).replace(b"100", b"1e2")),
    Case("whole_number_in_line", purchase([{"product_id": " ", "quantity": 2.0}]), BUYS),
    Case("ten_digits_of_a_second", at("2026-09-03T10:15:00.1234567891Z")),
    Case("far_offset", at("2026-09-04T09:45:00.5+23:30")),
    Case("far_offset_west", at("2026-09-02T14:30:00-19:45")),
    Case("blank_texts", text(BLANK_TEXTS)),
    Case("invisible_beside_visible", text(EVENT | {"user_id": " u1\u200b", "event_id": "Cafe\u0301"})),
    Case("keyed_by_user", text(EVENT | {"user_id": "Zoë"}), key="Zoë".encode()),
]
UNSOUND = [
    Case("a_byte_too_large", padded(MEBIBYTE + 1), reason="too_large"),
    Case("avro", b"\0\0\0\1\2\x0c\xffe1001", reason="schema_registry_prefix"),
    Case("apicurio", b"\0" + (77).to_bytes(8) + text(EVENT), reason="schema_registry_prefix"),
    Case("glue", b"\3\0" + bytes(16) + text(EVENT), reason="schema_registry_prefix"),
    Case("glue_packed", b"\3\5" + b"\xff" * 16 + b"x\x9c", reason="schema_registry_prefix"),
    Case("three_and_little_more", b"\3\0" + b"x" * 15, reason="not_json"),
    Case("four_bytes", b"\0\0\0\1", reason="not_json"),
    Case("many_wrong_fields", text(EVENT | {"user_id": {f"f{n}": n for n in range(50_000)}}), reason="wrong_type"),
    Case("byte_order_mark", b"\xef\xbb\xbf" + text(EVENT), reason="not_json"),
    Case("comma_after", text(EVENT) + b",", reason="not_json"),
    Case("value_after", text(EVENT) + b",1", reason="not_json"),
    Case("bracket_after", text(EVENT) + b"]", reason="not_json"),
    Case("bracket_and_value_after", text(EVENT) + b",0],[1", reason="not_json"),
    Case("surrogate_bytes", text(EVENT)[:-1] + b',"note":"\xed\xa0\x80"}', reason="invalid_utf8"),
    Case("swapped_surrogates", text(EVENT)[:-1] + b',"note":"\\udf81\\ud83c"}', reason="bad_text"),
    Case("surrogate_in_key", text(EVENT)[:-1] + b',"\\uDF81":1}', reason="bad_text"),
    Case("nul_after_backslash", text(EVENT)[:-1] + b',"note":"\\\\\\u0000"}', reason="bad_text"),
    Case("a_millisecond_too_early", at("2026-09-03T10:20:00.001Z"), reason="timestamp_in_future"),
    Case("a_millisecond_too_old", at("2025-07-30T10:14:59.999Z"), reason="timestamp_too_old"),
    Case("line_break_in_time", at("2026-09-03T10:15:00Z\n"), reason="bad_timestamp"),
    Case("blank_before_time", at(" 2026-09-03T10:15:00Z"), reason="bad_timestamp"),
    Case("leap_second", at("2026-06-30T23:59:60Z"), reason="bad_timestamp"),
    Case("hour_24", at("2026-09-03T24:00:00Z"), reason="bad_timestamp"),
    Case("too_many_results", with_data(results_count=2**53), reason="out_of_range"),
    Case("blank_event_id", text(EVENT | {"event_id": " \t"}), reason="missing_field"),
    Case("invisible_user_id", text(EVENT | {"user_id": "\u200b\u200e\ufeff"}), reason="missing_field"),
    Case("blank_product_id", with_data(product_id="\u00a0"), reason="missing_field"),
    Case(
        "blank_order_id",
        text(EVENT | {"event_type": "purchase", "data": {"order_id": " ", "total_amount": 1}}),
        BUYS,
        "missing_field",
    ),
    Case("offset_of_a_day", at("2026-09-03T10:15:00+24:00"), reason="bad_timestamp"),
    Case("line_is_text", purchase(["p1"]), BUYS, "wrong_type"),
    Case("line_is_null", purchase([None]), BUYS, "wrong_type"),
    Case("text_in_line", purchase([{"quantity": "1"}]), BUYS, "wrong_type"),
    Case("long_id_in_line", purchase([{"product_id": "p" * 129}]), BUYS, "bad_length"),
    Case("empty_id_in_line", purchase([{"price": 1}, {"product_id": ""}]), BUYS, "bad_length"),
    Case("no_data", text({name: EVENT[name] for name in REQUIRED_ENVELOPE}), reason="missing_field"),
]
SPELLINGS = {
    "DE": "DE", "de": "DE", " De ": "DE", "UK": "GB", "uk": "GB", "EL": "GR", "gb": "GB", "DEU": "DEU", "deu": "deu",
    "Deutschland": "Deutschland", "ß": "ß", "": None, " ": None,
}  # fmt: skip
SPELLED = [Case(f"country {country}", text(EVENT | {"context": {"country": country}})) for country in SPELLINGS]
AMOUNTS = {
    "0.1": "0.1", "4e-05": "0.00004", "10.00004": "10.00004", "1e12": "1000000000000", "-0.0": "0", "0E-7": "0",
    "1000000000000": "1000000000000", "1000000000000.0": "1000000000000", "0.0000000014": "0.000000001",
    "0.0000000015": "0.000000002", "999999999999.123456789": "999999999999.123456789", "1.2e-9": "0.000000001",
    "123456789012.1234567894": "123456789012.123456789", "19.989999999999998": "19.99", "5.00": "5", "1E2": "100",
    "1000000000000.000000001": None, "1000000000001": None, "1.7976931348623157e308": None, "1e30": None, "-1": None,
    "-1e-12": None, "-0.000000000001": None, "1e400": None, "9223372036854775808": None, "1" + "0" * 37: None,
    "1" + "0" * 40: None, "-5.25": None,
}  # fmt: skip
"""As written → as kept; None: refused."""


def priced(number: str, name: str) -> Case:
    """A purchase with a number as it is written."""
    data = {"order_id": "o", "total_amount": 1, name: "?"}
    record = EVENT | {"event_type": "purchase", "data": data}
    return Case(f"{name} {number}", text(record).replace(b'"?"', number.encode()), BUYS)


PRICED = [priced(number, name) for number in AMOUNTS for name in ("total_amount", "price")]
CASES = [*map(of, DEFECTS), *map(of, HARMLESS), *SOUND, *UNSOUND]


def judged(
    spark: SparkSession, records: list[tuple[str, bytes | None]], keys: list[bytes | None] | None = None
) -> list[Row]:
    """The judgement of (topic, value) records, in order."""
    key_of = keys or [None] * len(records)
    sent = [(topic, KAFKA_TIME, key, value) for (topic, value), key in zip(records, key_of, strict=True)]
    is_valid = F.col("reason_code").isNull()
    frame = checks.judge(frame_of(spark, sent)).drop("key", "value", "kafka_timestamp")
    readable = frame.withColumns({name: F.when(is_valid, F.col(name)) for name in ("event_time", "event_date")})
    return sorted(readable.collect(), key=lambda row: row["offset"])


@pytest.fixture(scope="module")
def answers(spark: SparkSession) -> dict[str, Row]:
    cases = [*CASES, *SPELLED, *PRICED]
    rows = judged(spark, [(case.topic, case.value) for case in cases], [case.key for case in cases])
    return {case.name: row for case, row in zip(cases, rows, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_judged_as_declared(answers: dict[str, Row], case: Case) -> None:
    row = answers[case.name]
    assert (row["reason_code"], row["reason_detail"] is not None) == (case.reason, case.reason is not None)


def test_details_are_short(answers: dict[str, Row]) -> None:
    assert max(len(row["reason_detail"] or "") for row in answers.values()) < 200


def test_a_schema_is_named(answers: dict[str, Row]) -> None:
    assert answers["avro"]["reason_detail"] == "a zero byte and the number of schema 258"
    assert answers["apicurio"]["reason_detail"] == "a zero byte and the number of schema 77"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_python_validator_agrees(case: Case) -> None:
    found = problems(case.value, case.topic, KAFKA_TIME, case.key)
    assert (not found) if case.reason is None else case.reason in found


def test_every_reason_is_declared_and_every_declared_one_is_given(answers: dict[str, Row]) -> None:
    assert {row["reason_code"] for row in answers.values()} - {None} == set(REASONS) - {"bad_kafka_time"}


def _seen(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is blank; a search for nothing is one, though."""
    return {
        name: value
        for name, value in fields.items()
        if name == "query" or not (isinstance(value, str) and value in BLANKS)
    }


@pytest.mark.parametrize("case", [case for case in CASES if case.reason is None], ids=lambda case: case.name)
def test_an_accepted_record_has_its_columns(answers: dict[str, Row], case: Case) -> None:
    row, event = answers[case.name], json.loads(case.value or b"")
    said = re.sub(r"(\.\d{6})\d+", r"\1", event["timestamp"].upper())
    moment = datetime.fromisoformat(said).astimezone(UTC).replace(tzinfo=None)
    context, data = (_seen(event.get(place) or {}) for place in ("context", "data"))
    assert (row["event_id"], row["event_type"], row["user_id"]) == tuple(event[n] for n in REQUIRED_ENVELOPE[:3])
    assert (row["event_time"], row["event_date"]) == (moment, moment.date())
    assert row["schema_version"] == 1
    for name in ("session_id", "device_id", "ip", "country", "user_agent"):
        assert row[name] == context.get(name)
    assert row["price"] == exact(data.get("price"))
    for name in ("product_id", "product_name", "quantity", "order_id", "query", "results_count"):
        assert row[name] == data.get(name)
    assert row["amount"] == exact(data.get("total_amount"))


def test_a_country_has_one_spelling(answers: dict[str, Row]) -> None:
    assert {country: answers[f"country {country}"]["country"] for country in SPELLINGS} == SPELLINGS


def test_whole_numbers_and_lines_are_read(answers: dict[str, Row]) -> None:
    row = answers["whole_numbers"]
    assert (row["schema_version"], row["quantity"], row["results_count"]) == (1, 100, 3)
    assert [tuple(line) for line in answers["whole_number_in_line"]["products"]] == [(None, 2, None)]


def test_everything_is_typed(answers: dict[str, Row]) -> None:
    row, data = answers["everything"], EVERYTHING["data"]
    assert row["event_time"] == datetime(2026, 9, 3, 10, 15, 0, 123456)
    assert row["event_date"] == date(2026, 9, 3)
    assert [tuple(line) for line in row["products"]] == [("p1", 2, 10.5), ("p2", 1, 19.0), ("p3", None, None)]
    same = [name for name in data if name not in ("price", "total_amount", "products", "colour")]
    assert {name: row[name] for name in same} == {name: data[name] for name in same}
    assert (row["price"], row["amount"]) == (exact(data["price"]), exact(data["total_amount"]))


def exact(number: float | None) -> Decimal | None:
    """As silver keeps it: nine decimal places of its shortest digits."""
    return None if number is None else Decimal(repr(number)).quantize(Decimal("1e-9"), ROUND_HALF_UP)


@pytest.mark.parametrize("field", ["amount", "price"])
def test_an_amount_is_kept_exactly_or_refused(answers: dict[str, Row], field: str) -> None:
    name = {"amount": "total_amount", "price": "price"}[field]
    for written, kept in AMOUNTS.items():
        row = answers[f"{name} {written}"]
        assert row["reason_code"] == ("out_of_range" if kept is None else None), written
        assert kept is None or row[field] == Decimal(kept), written
        assert kept is not None or row["reason_detail"].startswith(f"data.{name} is "), written


EXTRAS = {
    "unknown_field": {"campaign": {"name": "autumn", "tags": ["a", "b"]}, "internal_flag": True},
    "unknown_in_data": {"data": {"colour": "rot"}},
    "unknown_in_context": {"context": {"app_version": "4.2"}},
    "everything": {"campaign": EVERYTHING["campaign"], "data": {"colour": "red"}},
    "other_case": {"User_Id": 7},
    "odd_line": {"data": {"products": [{"product_id": "p1", "colour": "red"}]}},
    "huge_number_in_extra": {"huge": 123456789012345678901234567890},
    "spelled_nul": {"note": "a\\u0000b"},
    "escaped_pair": {"note": "🎁"},
    "bare": None,
    "null_context": None,
    "stated_version": None,
    "no_lines": None,
}


@pytest.mark.parametrize("name", EXTRAS)
def test_unknown_fields_are_kept_in_their_shape(answers: dict[str, Row], name: str) -> None:
    extra = answers[name]["extra"]
    assert (json.loads(extra) if extra else None) == EXTRAS[name]


def test_extra_is_always_strict_json(answers: dict[str, Row]) -> None:
    for row in answers.values():
        if row["reason_code"] is None and row["extra"] is not None:
            assert isinstance(json.loads(row["extra"], parse_constant=lambda name: pytest.fail(name)), dict)


def test_all_violations_are_listed_and_the_first_is_the_code(spark: SparkSession) -> None:
    several = text(EVENT | {"user_id": "", "event_type": "refund", "timestamp": "soon"})
    values = [several, b"[]", text(EVENT), *(case.value for case in CASES)]
    frame = frame_of(spark, [(VIEWS, KAFKA_TIME, None, value) for value in values])
    found = {row["offset"]: row["violations"] for row in checks.violations(frame).collect()}
    assert [violation["code"] for violation in found[0]] == ["bad_length", "unknown_type", "bad_timestamp"]
    assert [violation["code"] for violation in found[1]] == ["not_an_object"]
    assert found[2] == []
    for row in judged(spark, [(VIEWS, value) for value in values]):
        listed = found[row["offset"]]
        assert (listed[0]["code"] if listed else None) == row["reason_code"]


# --- the record's own time --------------------------------------------------------------------------------------------

KAFKA_TIMES: list[tuple[datetime | None, str | None, str | None]] = [
    (KAFKA_TIME, None, None),
    (KAFKA_TIME - timedelta(days=7 * 365), "timestamp_in_future",
     "timestamp is 2026-09-03T10:15:00.000Z, the record's Kafka time is 2019-09-05 10:15:00 UTC"),
    (KAFKA_TIME + timedelta(days=7 * 365), "timestamp_too_old",
     "timestamp is 2026-09-03T10:15:00.000Z, the record's Kafka time is 2033-09-01 10:15:00 UTC"),
    (datetime(1970, 1, 21, 16, 47, 10, 500_000, UTC), "bad_kafka_time",
     "the record's Kafka time is 1970-01-21 16:47:10.5 UTC"),
    (datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC), "bad_kafka_time",
     "the record's Kafka time is 1969-12-31 23:59:59.999 UTC"),
    (datetime(2011, 1, 1, tzinfo=UTC), "timestamp_in_future", None),
    (datetime(2100, 1, 1, tzinfo=UTC), "bad_kafka_time", None),
    (None, "bad_kafka_time", "the record's Kafka time is outside the years 1900 to 2199"),
]  # fmt: skip


def test_a_kafka_time_that_is_none_is_the_reason_and_others_are_named(spark: SparkSession) -> None:
    frame = frame_of(spark, [(VIEWS, at, None, text(EVENT)) for at, *_ in KAFKA_TIMES])
    found = sorted(checks.judge(frame).select("offset", "reason_code", "reason_detail").collect())
    for row, (_, code, detail) in zip(found, KAFKA_TIMES, strict=True):
        assert row["reason_code"] == code
        assert detail is None or row["reason_detail"] == detail
    listed = {row["offset"]: row["violations"] for row in checks.violations(frame).collect()}
    assert [[each["code"] for each in listed[at]] for at in (0, 3, 7)] == [[], ["bad_kafka_time"], ["bad_kafka_time"]]


def test_any_number_is_a_kafka_time_and_bronze_keeps_what_tables_can(spark: SparkSession) -> None:
    """Milliseconds as Spark gives them on: 0, -1, seconds, microseconds, as far as its own clock goes."""
    numbers = [0, -1, 1_788_430_500, int(DUE * 1000), int(DUE * 1e6), 9 * 10**15, -(9 * 10**15), -2_208_988_800_001]
    made = spark.createDataFrame([(at, each) for at, each in enumerate(numbers)], "offset bigint, ms bigint")
    source = made.selectExpr(
        "'shop.page_views' AS topic", "0 AS partition", "offset", "timestamp_millis(ms) AS timestamp",
        "CAST(NULL AS BINARY) AS key", "CAST('{}' AS BINARY) AS value",
    )  # fmt: skip
    kept = checks.judge(bronze_events.from_kafka(source)).select("offset", "kafka_timestamp", "reason_code").toArrow()
    has_time = [row["kafka_timestamp"] is not None for row in sorted(kept.to_pylist(), key=lambda row: row["offset"])]
    assert has_time == [True, True, True, True, False, False, False, False]


# --- chance ---------------------------------------------------------------------------------------------------------

ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.5, -0.5, 10_000, 10_001, 2**53, 2**53 + 1, 2**63, 10**30, 1e300, "", "x", "1",
    "a" * 128, "a" * 129, "a" * 2048, "a" * 2049, "🎁" * 128, "\x00", "a\nb", "\\u0000", "\ud800", [], ["x"], {},
    {"k": None}, [None], "approved", "declined", "page_view", "purchase", "search",
    "2026-09-03T10:15:30Z", "2026-09-03T10:15:30", "2026-09-03T10:15:30.1234567-08:00", "2026-02-30T10:15:30Z",
    "2027-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "2026-09-03T10:15:30Z\n", "2026-9-3T10:15:30Z",
    [{"product_id": "p", "quantity": 1, "price": 2}], [{"quantity": 0}], [{"price": -1}], [{"product_id": 5}], [[]],
]  # fmt: skip
NAMES = [*EVENT, "schema_version", "unknown", *EVENT["context"], *EVERYTHING["data"]]
FRAGMENTS = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\udc00", b"null", b"true", b"NaN", b"-",
    b"1e5", b"1e999", b"0.1", b"01", b" ", b"\n", b"\x00", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b'"event_id":',
    b'"event_id":"e1",', b'"data":{}', b"//", b"'",
]  # fmt: skip


def mutated(chance: random.Random) -> tuple[str, bytes]:
    """A valid event, changed in up to three fields and now and then in its text."""
    event = json.loads(json.dumps(chance.choice([EVENT, EVERYTHING])))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        place = chance.choice([event, event.get("context"), event.get("data")])
        if not isinstance(place, dict):
            continue
        if place and chance.random() < 0.2:
            del place[chance.choice(list(place))]
        else:
            name = chance.choice(list(place) if place and chance.random() < 0.7 else NAMES)
            place[name] = deepcopy(chance.choice(ODD_VALUES))  # or it may be put into itself
    value = json.dumps(event, ensure_ascii=chance.random() < 0.7).encode("utf-8", "surrogatepass")
    if chance.random() < 0.3:
        cut, end = sorted(chance.choices(range(len(value) + 1), k=2))
        end = chance.choice([cut, cut, cut + 1, end])
        value = value[:cut] + chance.choice([b"", *FRAGMENTS]) + value[end:]
    event_type = event.get("event_type")
    home = TOPIC_OF_TYPE.get(event_type, VIEWS) if isinstance(event_type, str) else VIEWS
    return (chance.choice(sorted(set(TOPIC_OF_TYPE.values()))) if chance.random() < 0.05 else home), value


def scribbled(chance: random.Random) -> tuple[str, bytes]:
    """Bytes of chance, JSON-like or not."""
    if chance.random() < 0.3:
        return VIEWS, chance.randbytes(chance.randrange(60))
    return VIEWS, b"".join(chance.choices(FRAGMENTS, k=chance.randrange(12)))


@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
@example(seed=8912)  # schema_version -1
def test_spark_agrees_with_plain_python_whatever_comes(spark: SparkSession, seed: int) -> None:
    chance = random.Random(seed)
    records = [mutated(chance) if chance.random() < 0.75 else scribbled(chance) for _ in range(600)]
    for (topic, value), row in zip(records, judged(spark, records), strict=True):
        found, reason = problems(value, topic, KAFKA_TIME), row["reason_code"]
        assert reason in found if found else reason is None, (topic, value, found, reason)
        if reason is None:
            assert all(row[name] is not None for name in ("event_id", "event_type", "user_id", "event_time"))
            assert abs(row["event_time"].replace(tzinfo=UTC) - KAFKA_TIME) <= timedelta(days=400)
