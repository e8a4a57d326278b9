"""Declared fixes change what they say, and never repair anything else on the way."""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silver import fixes
from silver.fixes import Refused, parse

TOPIC = "shop.page_views"


def apply(steps: tuple[fixes.Step, ...], record: Refused, arrived: datetime | None = None) -> Refused:
    """The one record that the steps make of `record`."""
    (only,) = fixes.apply(steps, record, arrived)
    return only


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
        ("cast data=json", {"data": '{"price": 1}'}, {"data": {"price": 1}}),
        ("cast data=json; cast data.price=number", {"data": '{"price": "1,5"}'}, {"data": {"price": 1.5}}),
        ("cast data.products=json", {"data": {"products": "[{}]"}}, {"data": {"products": [{}]}}),
        ("cast user_id=text", {"user_id": {"$oid": "66d6"}}, {"user_id": "66d6"}),
        ("cast data.price=number", {"data": {"price": {"$numberDecimal": "19.90"}}}, {"data": {"price": 19.9}}),
        ("cast data.price=number", {"data": {"price": {"$numberDouble": 19.5}}}, {"data": {"price": 19.5}}),
        ("cast data.quantity=integer", {"data": {"quantity": {"$numberInt": "2"}}}, {"data": {"quantity": 2}}),
        ("cast data.price=number", {"data": {"price": {"$a": 1, "b": 2}}}, {"data": {"price": {"$a": 1, "b": 2}}}),
        ("cast context=json", {"context": "5"}, {"context": "5"}),
        ("cast context=json", {"context": '{"a":1,"a":2}'}, {"context": '{"a":1,"a":2}'}),
        ("cast context=json", {"context": "\ud83c"}, {"context": "\ud83c"}),
        ("cast context=json", {"context": 1.5}, {"context": 1.5}),
    ],
)
def test_a_step_changes_what_it_says(fix: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert fixed(fix, before) == after


@pytest.mark.parametrize(
    ("fix", "before", "after"),
    [
        ("cast data.products.price=number", [{"price": "12,50"}, {"price": 1}], [{"price": 12.5}, {"price": 1}]),
        ("rename data.products.sku=data.products.product_id", [{"sku": "p1"}, {}], [{"product_id": "p1"}, {}]),
        ("default data.products.quantity=1", [{}, {"quantity": 2}], [{"quantity": 1}, {"quantity": 2}]),
        ("cast data.products.price=number", ["no object", None, {"price": "1"}], ["no object", None, {"price": 1}]),
        ("cast data.products.price=number", "no list", "no list"),
    ],
)
def test_a_step_changes_every_line_of_an_order(fix: str, before: Any, after: Any) -> None:
    assert fixed(fix, {"data": {"products": before}}) == {"data": {"products": after}}


BEFORE = {
    "Confluent": b"\0\0\0\0\x07",
    "Confluent, large": b"\0\n\x01\xff\0",
    "Apicurio": b"\0\0\0\0\0\0\0\1\2",
    "Glue": b"\3\0" + bytes(range(16)),
    "byte order mark": b"\xef\xbb\xbf",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_what_a_serializer_put_before_the_event_is_stripped(before: bytes) -> None:
    event = Refused(TOPIC, b"u1", b'{ "user_id": "u1" }')
    assert apply(parse("strip"), replace(event, value=before + (event.value or b""))) == event
    assert apply(parse("strip"), event) == event
    assert apply(parse("strip; rekey"), replace(event, key=b"5", value=before + b'{"user_id":"u1"}')).key == b"u1"
    assert apply(parse("strip"), replace(event, value=None)).value is None


ORDER = b'{"user_id":"u1","data":{"total_amount":12345678.123456789,"n":2.0,"note":"caf\xc3\xa9"}}'


@pytest.mark.parametrize(
    "sent",
    [
        json.dumps(ORDER.decode()).encode(),
        b"\xef\xbb\xbf " + json.dumps(ORDER.decode(), ensure_ascii=False).encode(),
        b'{"schema":{"type":"struct","fields":[]},"payload":' + ORDER + b"}",
        b" [" + ORDER + b"]\n",
        b'{"payload":' + json.dumps(ORDER.decode()).encode() + b',"schema":{"type":"string","optional":false}}',
    ],
)
def test_an_event_in_a_text_or_beside_its_schema_is_stripped_to_the_digit(sent: bytes) -> None:
    assert apply(parse("strip; rekey"), Refused(TOPIC, None, sent)) == Refused(TOPIC, b"u1", ORDER)


@pytest.mark.parametrize("before", [b"\3\5" + bytes(range(16)), b"", b"\0\0\0\0\7"])
@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
def test_what_was_packed_is_unpacked_up_to_what_a_record_may_have(
    before: bytes, pack: Callable[[bytes], bytes]
) -> None:
    for value in (ORDER, json.dumps(ORDER.decode()).encode()):
        assert apply(parse("strip"), Refused(TOPIC, None, before + pack(value))).value == ORDER
    for packed in (pack(ORDER)[:-1], pack(b" " * 2**21 + ORDER), b"x\x9c", b"\x1f\x8b"):
        assert len(apply(parse("strip"), Refused(TOPIC, None, before + packed)).value or b"") <= len(packed)


@pytest.mark.parametrize(
    "sent",
    [
        b"[%s, %s]" % (ORDER, ORDER),
        b"%s\n\r\n%s\n" % (ORDER, ORDER),
        json.dumps([ORDER.decode()] * 2).encode(),
        b'\0\0\0\0\7{"schema":{},"payload":[%s,%s]}' % (ORDER, ORDER),
        gzip.compress(b"[%s,%s]" % (ORDER, ORDER), mtime=0),
    ],
)
def test_events_that_were_sent_in_one_record_become_a_record_each(sent: bytes) -> None:
    assert fixes.apply(parse("strip; rekey"), Refused(TOPIC, None, sent)) == [Refused(TOPIC, b"u1", ORDER)] * 2


def test_other_steps_change_each_event_of_a_list() -> None:
    sent = Refused(TOPIC, b"?", b'[{"user_id":"u1","event_type":"click"},{"user_id":"u2","event_type":"purchase"},7]')
    found = fixes.apply(parse("strip; route; rekey"), sent)
    assert [(one.topic, one.key) for one in found] == [("shop.clicks", b"u1"), ("shop.purchases", b"u2"), (TOPIC, b"?")]


@pytest.mark.parametrize(
    "sent",
    [
        b"1.5",
        b"null",
        b'{"schema":1}',
        b'{"schema":1,"payload":2,"more":3}',
        b'"\xff"',
        b"[]",
        b"[{},null]",
        b'{"a":1}\n{"b"',
        b'{"a":1}{"b":1}',
    ],
)
def test_what_holds_no_event_is_not_stripped(sent: bytes) -> None:
    assert apply(parse("strip"), Refused(TOPIC, None, sent)).value == sent


def test_a_field_in_a_text_keeps_every_digit() -> None:
    sent = b'{"data":"{\\"total_amount\\":12345678.123456789,\\"n\\":2.0,\\"note\\":\\"caf\xc3\xa9\\"}"}'
    after = b'{"data":{"total_amount":12345678.123456789,"n":2.0,"note":"caf\xc3\xa9"}}'
    assert apply(parse("cast data=json"), Refused(TOPIC, None, sent)).value == after


@pytest.mark.parametrize(
    ("step", "sent", "after"),
    [
        ("nan", b'{"a": NaN, "b": [-Infinity, 1.50, Infinity]}', b'{"a":null,"b":[null,1.50,null]}'),
        ("nan", b'{ "a": "NaN" }', b'{ "a": "NaN" }'),
        ("nan", b'{"a":NaN,"a":1}', b'{"a":NaN,"a":1}'),
        ("nan", b'{"a":NaN', b'{"a":NaN'),
        ("nan", b"NaN", b"NaN"),
        ("clean", b'{"a": "x\\u0000\\\\u0000", "n": 1.50}', b'{"a":"x\\\\u0000","n":1.50}'),
        ("clean", b'{"a":"\\ud83d!","b":"\\ud83c\\udf81"}', '{"a":"\ufffd!","b":"\U0001f381"}'.encode()),
        ("clean", b'{"a":"x\ty\nz\0","n":1.50}', b'{"a":"x\\ty\\nz","n":1.50}'),
        ("clean", b'{"a":"\\t"}\0', b'{"a":"\\t"}'),
        ("clean", b'{"a":"\\u0000\\u00235"}', b'{"a":"#5"}'),
        ("clean", b'{"a":"x\ty","a":1}', b'{"a":"x\ty","a":1}'),
        ("clean", b'{"a":"x\ty"', b'{"a":"x\ty"'),
    ],
)
def test_what_no_json_may_have_is_null_or_cleaned(step: str, sent: bytes, after: bytes) -> None:
    assert apply(parse(step), Refused(TOPIC, None, sent)).value == after


@pytest.mark.parametrize(
    ("encoding", "sent", "after"),
    [
        ("cp1252", '{"a":"caf\u00e9 \u20ac"}'.encode("cp1252"), '{"a":"caf\u00e9 \u20ac"}'),
        ("cp1252", '{"a":"caf\u00e9"}'.encode(), '{"a":"caf\u00e9"}'),
        ("cp1252", b'{"a":"\x81"}', None),
        ("utf-16", '{"a":"caf\u00e9"}'.encode("utf-16"), '{"a":"caf\u00e9"}'),
        ("utf-16-le", '{"a":"cafe"}'.encode("utf-16-le"), '{"a":"cafe"}'),
        ("utf-16-le", b'{"a":"\xff"}', None),
    ],
)
def test_a_text_in_another_encoding_becomes_utf_8(encoding: str, sent: bytes, after: str | None) -> None:
    record = apply(parse(f"decode {encoding}"), Refused(TOPIC, None, sent))
    assert record.value == (sent if after is None else after.encode())


def test_an_event_without_an_id_gets_that_of_its_record() -> None:
    sent = Refused(TOPIC, None, b'[{"event_id":null},{"a":1},{"event_id":""},{"event_id":"e1"},{"event_id":5}]')
    found = [json.loads(each.value or b"") for each in fixes.apply(parse("strip; identify"), sent, place="a-0-7")]
    assert [each["event_id"] for each in found] == ["a-0-7", "a-0-7.2", "a-0-7.3", "e1", 5]
    (only,) = fixes.apply(parse("identify"), Refused(TOPIC, None, b"{}"), place="a-0-7")
    assert only.value == b'{"event_id":"a-0-7"}'


def test_a_record_goes_to_its_topic_and_under_its_user() -> None:
    value = json.dumps({"event_type": "purchase", "user_id": "u1"}).encode()
    assert apply(parse("route; rekey"), Refused(TOPIC, b"other", value)) == Refused("shop.purchases", b"u1", value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\\u0000\\u00235"}',
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_what_is_not_well_formed_stays_as_it_is(value: bytes | None) -> None:
    record = Refused(TOPIC, None, value)
    assert apply(parse("default a=1; rename a=b; route; rekey"), record) == record


def test_what_needs_no_change_keeps_its_bytes() -> None:
    value = b'{ "data" : {"price": 1.50} }'
    assert apply(parse("cast data.price=number; default data.price=2"), Refused(TOPIC, None, value)).value == value


@pytest.mark.parametrize(
    "fix",
    [
        "",
        ";",
        "drop a",
        "rename a",
        "rename =b",
        "cast a=money",
        "default a",
        "route there",
        "cast a.b.c=text",
        "cast data.products.a.b=text",
        "rename data.products.sku=user_id",
        "strip prefix",
        "nan 0",
        "clean up",
        "decode",
        "decode hex",
        "decode nothing",
        "cast a=number Europe/Berlin",
        "cast a=timestamp Nowhere/City",
        "cast a=local",
        "retime",
        "retime hours",
    ],
)
def test_a_wrong_fix_is_refused(fix: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(fix)


NOON = "2026-09-03T10:15:30.000Z"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-09-03 10:15:30 UTC", NOON),
        ("2026-09-03T10:15:30 utc", NOON),
        ("2026-09-03 10:15:30 +0000", NOON),
        ("2026-09-03T12:15:30+0200", NOON),
        ("2026-09-03 12:15:30 GMT+02", NOON),
        ("2026-09-03 04:45:30.5 -0530", "2026-09-03T10:15:30.500Z"),
        ("2026-09-03 12:15:30 Europe/Berlin", NOON),
        ("Thu, 03 Sep 2026 10:15:30 GMT", NOON),
        ("2026-09-03T12:15:30+02:00[Europe/Berlin]", NOON),
        ("2026-09-03T10:15:30Z[UTC]", NOON),
        ("2026-09-03T12:15:30[Europe/Berlin]", NOON),
        ("Thu Sep 03 2026 12:15:30 GMT+0200 (Central European Summer Time)", NOON),
        ("Thu Sep 03 2026 10:15:30 GMT+0000", NOON),
        ("2026-09-03 10:15 Z", "2026-09-03T10:15:00.000Z"),
        ("2026-09-03T10:15:30.1234567891 UTC", "2026-09-03T10:15:30.123456Z"),
        ("2026-09-03 10:15:30.000000123 +0000 UTC", NOON),
        ("2026-09-03 12:15:30 +0200 CEST", NOON),
        ("2026/09/03 10:15:30 UTC", NOON),
        ("2026-9-3 10:15:30 GMT", NOON),
        ("Thu Sep 03 10:15:30 UTC 2026", NOON),
        ("Thu Sep  3 10:15:30 GMT 2026", NOON),
        ("Thu Sep 03 12:15:30 +0200 2026", NOON),
        ("03/Sep/2026:12:15:30 +0200", NOON),
        ({"$date": "2026-09-03T12:15:30+02:00"}, "2026-09-03T12:15:30+02:00"),
        ({"$date": {"$numberLong": "1788430530000"}}, NOON),
        ("2026-09-03T12:15:30+02:00", "2026-09-03T12:15:30+02:00"),
        (1788430530, NOON),
        (1788430530.25, "2026-09-03T10:15:30.250Z"),
        ("1788430530000", NOON),
        (1788430530000000, NOON),
        ("1788430530000000000", NOON),
    ],
)
def test_moments_as_people_send_them(written: Any, read: str) -> None:
    assert fixed("cast timestamp=timestamp", {"timestamp": written}) == {"timestamp": read}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-09-03 12:15:30", NOON),
        ("2026-09-03T12:15:30.000", NOON),
        ("03.09.2026 12:15:30", NOON),
        ("3.9.2026, 12:15", "2026-09-03T10:15:00.000Z"),
        ("2026/09/03 12:15:30", NOON),
        ("2026-01-03 12:15:30", "2026-01-03T11:15:30.000Z"),
        ("2026-09-03 10:15:30 UTC", NOON),
    ],
)
def test_local_moments_in_a_declared_zone(written: str, read: str) -> None:
    assert fixed("cast timestamp=timestamp Europe/Berlin", {"timestamp": written}) == {"timestamp": read}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-09-03T12:15:30Z", NOON),
        ("2026-09-03 12:15:30.000 UTC", NOON),
        ("2026-09-03T12:15:30+00:00", NOON),
        ("2026-09-03T12:15:30", NOON),
        ("2026-09-03T12:15:30+02:00", "2026-09-03T12:15:30+02:00"),
        ("2026-10-25T02:30:00Z", "2026-10-25T02:30:00Z"),
    ],
)
def test_a_local_time_that_was_sent_as_utc_is_one(written: str, read: str) -> None:
    assert fixed("cast timestamp=local Europe/Berlin", {"timestamp": written}) == {"timestamp": read}


@pytest.mark.parametrize(
    "written",
    ["2026-09-03 12:15:30", "2026-09-03 12:15:30 CET", "2026-09-03 12:15:30 IST", "09/03/2026 12:15", "2026-09-03",
     "1_788_430_530", "2026-02-30 10:00:00 UTC", "2026-09-03 25:00:00 UTC", "soon", "", "1e400", "nan", True, {}, [],
     "Thu, 03 Sep 2026 10:15:30", "Thu Sep 03 2026 10:15:30", "Thu Sep 31 2026 10:15:30 GMT+0000",
     "Thu Sep 03 12:15:30 CEST 2026", "03-09-2026 12:15:30 UTC", "26/09/03 12:15:30 UTC", "2026-09/03 12:15 UTC",
     "2026-09-03T10:15:30[CET]", "2026-09-03 10:15:30 +9900", 10**30],
)  # fmt: skip
def test_what_names_no_one_moment_stays(written: Any) -> None:
    assert fixed("cast timestamp=timestamp", {"timestamp": written}) == {"timestamp": written}


@pytest.mark.parametrize("local", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_an_hour_that_is_twice_or_never_stays(local: str) -> None:
    assert fixed("cast timestamp=timestamp Europe/Berlin", {"timestamp": local}) == {"timestamp": local}


@pytest.mark.parametrize(
    ("written", "number", "with_comma"),
    [
        ("12,50", "12.50", "12.50"),
        ("1.234,50", "1234.50", "1234.50"),
        ("1,234.50", "1234.50", None),
        ("1 234 567,5", "1234567.5", "1234567.5"),
        ("1\u00a0234,50", "1234.50", "1234.50"),
        ("1'234.50", "1234.50", None),
        ("-0,5", "-0.5", "-0.5"),
        ("19.90", "19.90", None),
        ("1.234", "1.234", "1234"),
        ("1,234", None, "1.234"),
        ("1,234,567", "1234567", None),
        ("1.250.000", "1250000", "1250000"),
        ("1'250", "1250", "1250"),
        ("1\u202f250", "1250", "1250"),
        ("1,25,000.50", "125000.50", None),
        (".50", "0.50", None),
        ("1.25.000", None, None),
        ("1,234.567,89", None, None),
        ("1 234.567.8", None, None),
        ("1.2,3", None, None),
        ("007", "7", "7"),
        ("1e3", "1E+3", None),
        ("1_000", None, None),
        ("1_000,50", None, None),
        ("\u0661\u0662", None, None),
        ("infinity", None, None),
        ("1e9999", None, None),
        (True, None, None),
    ],
)
def test_numbers_as_people_write_them(written: Any, number: str | None, with_comma: str | None) -> None:
    for kind, expected in (("number", number), ("number_with_comma", with_comma)):
        value = json.dumps({"data": {"price": written}}).encode()
        after = apply(parse(f"cast data.price={kind}"), Refused(TOPIC, None, value)).value
        assert after == (value if expected is None else b'{"data":{"price":%s}}' % expected.encode())


@pytest.mark.parametrize(
    "kind", ["number", "number_with_comma", "integer", "timestamp", "timestamp Europe/Berlin", "local UTC"]
)
@given(
    digits=st.lists(st.text("0123456789", min_size=1, max_size=4), min_size=2, max_size=4),
    end=st.sampled_from(["", ".5", ",50"]),
)
def test_no_fix_takes_underscores(kind: str, digits: list[str], end: str) -> None:
    event = {"data": {"price": "_".join(digits) + end}}
    assert fixed(f"cast data.price={kind}", event) == event


@given(
    st.decimals(min_value=0, max_value=10**12, places=9, allow_nan=False),
    st.sampled_from(["default a=1", "rename a=b", "cast data.price=number", "cast data.price=text"]),
)
def test_numbers_keep_every_decimal(amount: Decimal, fix: str) -> None:
    value = b'{"a":null,"data":{"price":%s}}' % format(amount, "f").encode()
    after = apply(parse(fix), Refused(TOPIC, None, value)).value or b""
    assert Decimal(str(json.loads(after, parse_float=Decimal)["data"]["price"])) == amount


@given(st.binary(max_size=60) | st.text(max_size=30).map(lambda text: json.dumps({"a": text, "b": 1.5}).encode()))
def test_whatever_comes_a_fix_does_not_fail(value: bytes) -> None:
    steps = (
        "strip; decode cp1252; nan; clean; cast a=json; cast a=number; cast b=timestamp UTC; cast b=integer; rename a=c"
    )
    steps += "; identify; retime seconds; route; rekey"
    for record in fixes.apply(parse(steps), Refused(TOPIC, b"\xff", value, datetime(2026, 9, 3, 10, 15))):
        assert record.topic == TOPIC and isinstance(record.value, bytes)


def test_a_field_that_becomes_too_deep_stays() -> None:
    for depth in range(900, 1_010):
        record = Refused(TOPIC, None, b'{"a":%s1%s}' % (b"[" * depth, b"]" * depth))
        assert apply(parse("rename a=data.b"), record).value is not None
        wrapped = Refused(TOPIC, None, b'{"schema":1,"payload":%s}' % record.value)
        assert apply(parse("strip"), wrapped).value is not None


def test_a_kafka_time_is_mended() -> None:
    sent = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=1_788_430_530)
    record, read = Refused(TOPIC, None, b"{}", sent), datetime(2026, 9, 3, 10, 16, tzinfo=UTC)
    moment = datetime(2026, 9, 3, 10, 15, 30, tzinfo=UTC)
    assert apply(parse("retime seconds"), record, read).kafka_timestamp == moment
    assert apply(parse("retime seconds"), Refused(TOPIC, None, b"{}", moment), read).kafka_timestamp == moment
    assert apply(parse("retime arrival"), Refused(TOPIC, None, b"{}"), read).kafka_timestamp == read
    assert apply(parse("retime seconds"), Refused(TOPIC, None, b"{}"), read).kafka_timestamp is None


@pytest.mark.parametrize("depth", [101, 900, 100_000])
def test_a_default_that_is_nested_without_end_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="at most 100 lists"):
        parse("default a=" + "[" * depth + "]" * depth)
    assert fixed(f"default a={'[' * 100 + ']' * 100}", {})["a"]
