"""Malformed records by kind, each with the reason it must be refused with, and oddities that must be accepted.

A kind is a function from an ordinary event (and its moment, epoch seconds) to the bytes of a record. The checks of
silver are tested with every kind here, so a new way of being wrong is one declaration.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from producer.contract import MAX_IDENTIFIER_LENGTH, MAX_QUANTITY, MAX_TEXT_LENGTH, TOPIC_OF_TYPE
from producer.simulator.calendar import rfc3339

Event = dict[str, Any]
DAY_S = 86_400


@dataclass(frozen=True)
class Defect:
    """One kind of malformed (or odd) record. `reason` is None for what must be accepted.

    `topic` maps the event's topic to the record's. `live_only` kinds depend on the Kafka record's own time.
    """

    name: str
    reason: str | None
    make: Callable[[Event, float], bytes | None]
    topic: Callable[[str], str] | None = None
    live_only: bool = False
    large: bool = False
    is_traffic: bool = True
    """Whether the simulator sends it; else only tests do."""
    key: bytes | None = None
    """The record's key, where it is not the event's user."""


def _text(event: Event) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _raw(name: str, reason: str, make: Callable[[bytes], bytes | None], large: bool = False) -> Defect:
    """A kind that spoils the event's text."""
    return Defect(name, reason, lambda event, _: make(_text(event)), large=large)


def _with(name: str, reason: str | None, **fields: Any) -> Defect:
    """A kind that sets fields of the envelope."""
    return Defect(name, reason, lambda event, _: _text(event | fields))


def _without(name: str, reason: str | None, field: str) -> Defect:
    """A kind that lacks a field of the envelope."""
    return Defect(name, reason, lambda event, _: _text({k: v for k, v in event.items() if k != field}))


def _knowing(name: str, where: str, **fields: Any) -> Defect:
    """A kind with fields in `data` or `context` that the contract does not know."""
    return Defect(name, None, lambda event, _: _text(event | {where: (event.get(where) or {}) | fields}))


def _typed(name: str, reason: str | None, event_type: str, **data: Any) -> Defect:
    """A kind that is an event of a certain type, with certain data, on that type's topic."""
    topic = TOPIC_OF_TYPE[event_type]
    return Defect(
        name, reason, lambda event, _: _text(event | {"event_type": event_type, "data": data}), lambda _: topic
    )


def _spelled(kind: Defect, text: bytes, as_: bytes) -> Defect:
    """Like another kind, with a text in it spelled as no JSON library would."""
    return replace(kind, make=lambda event, due: (kind.make(event, due) or b"").replace(text, as_))


def _timed(name: str, reason: str | None, moment: Callable[[float], str | int], live_only: bool = False) -> Defect:
    """A kind with a certain timestamp."""
    return Defect(name, reason, lambda event, due: _text(event | {"timestamp": moment(due)}), live_only=live_only)


def _shifted(seconds: float) -> Callable[[float], str]:
    return lambda due: rfc3339(int((due + seconds) * 1000))


def _another_topic(topic: str) -> str:
    topics = sorted(set(TOPIC_OF_TYPE.values()))
    return topics[(topics.index(topic) + 1) % len(topics)]


def _in_kolkata(due: float) -> str:
    local = rfc3339(int(due * 1000) + 19_800_000)
    return local.removesuffix("Z") + "456+05:30"


_WHOLE_VALUE = (
    Defect("tombstone", "tombstone", lambda _event, _due: None),
    _raw("schema_registry_prefix", "schema_registry_prefix", lambda text: b"\0\0\0\0A" + text),
    _raw("empty", "empty_value", lambda _: b""),
    _raw("white_space", "empty_value", lambda _: b" \t\r\n "),
    _raw("truncated", "not_json", lambda text: text[: len(text) * 2 // 3]),
    _raw("not_json", "not_json", lambda _: b"event_id=e1001&event_type=page_view"),
    _raw("trailing_garbage", "not_json", lambda text: text + b" %%"),
    _raw("two_objects", "not_json", lambda text: text + text),
    _raw("doubled_key", "not_json", lambda text: b'{"user_id":"u-first",' + text[1:]),
    _raw("deep_nesting", "not_json", lambda text: text[:-1] + b',"deep":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    _raw("array", "not_an_object", lambda text: b"[" + text + b"]"),
    _raw("number", "not_an_object", lambda _: b"42"),
    _raw("string", "not_an_object", lambda _: b'"page_view"'),
    _raw("null", "not_an_object", lambda _: b"null"),
    _raw("invalid_utf8", "invalid_utf8", lambda text: text[:-1] + b',"note":"\xff\xfe\xc3"}'),
    _raw(
        "oversized", "too_large", lambda text: text[:-1] + b',"note":"' + b"far too much " * 90_000 + b'"}', large=True
    ),
)

_ENVELOPE = (
    *(
        _without(f"missing_{name}", "missing_field", name)
        for name in ("event_id", "event_type", "user_id", "timestamp")
    ),
    _with("null_event_id", "missing_field", event_id=None),
    _with("empty_user_id", "bad_length", user_id=""),
    _with("long_event_id", "bad_length", event_id="e" * (MAX_IDENTIFIER_LENGTH + 1)),
    _with("numeric_user_id", "wrong_type", user_id=5678),
    _with("object_event_id", "wrong_type", event_id={"id": "e1001"}),
    _with("nul_in_user_id", "bad_text", user_id="u\x0056"),
    _raw("half_surrogate", "bad_text", lambda text: text[:-1] + b',"note":"\\ud83d alone"}'),
    _with("unknown_type", "unknown_type", event_type="refund"),
    _with("unknown_version", "unknown_version", schema_version=99),
    _with("text_version", "wrong_type", schema_version="1"),
    _with("data_is_list", "wrong_type", data=["p1"]),
    _with("context_is_text", "wrong_type", context="mobile"),
    _with("numeric_device", "wrong_type", context={"device_id": 7}),
    _with("long_user_agent", "bad_length", context={"user_agent": "M" * (MAX_TEXT_LENGTH + 1)}),
    Defect("wrong_topic", "wrong_topic", lambda event, _: _text(event), _another_topic),
    Defect("wrong_key", "wrong_key", lambda event, _: _text(event | {"note": "another's"}), key=b"u-somebody-else"),
)

_LINE = {"product_id": "p00001", "quantity": 1, "price": 9.99}
_ORDER = {"order_id": "o-odd", "total_amount": 9.99}

_DATA = (
    _typed("view_without_product", "missing_field", "product_view", product_name="Lamp", price=10.0),
    _typed("purchase_without_order", "missing_field", "purchase", total_amount=9.99),
    _typed("purchase_without_amount", "missing_field", "purchase", order_id="o-odd"),
    _typed("search_without_query", "missing_field", "search", results_count=3),
    _typed("text_price", "wrong_type", "product_view", product_id="p00001", price="19.90"),
    _typed("boolean_quantity", "wrong_type", "add_to_cart", product_id="p00001", quantity=True),
    _typed("fractional_quantity", "wrong_type", "add_to_cart", product_id="p00001", quantity=1.5),
    _typed("zero_quantity", "out_of_range", "add_to_cart", product_id="p00001", quantity=0),
    _typed("huge_quantity", "out_of_range", "add_to_cart", product_id="p00001", quantity=MAX_QUANTITY + 1),
    _typed("negative_amount", "out_of_range", "purchase", order_id="o-odd", total_amount=-5.0),
    _typed("negative_results", "out_of_range", "search", query="lamp", results_count=-1),
    _typed("nan_price", "not_json", "product_view", product_id="p00001", price=math.nan),
    _spelled(
        _typed("infinite_price", "out_of_range", "product_view", product_id="p00001", price=math.inf),
        b"Infinity",
        as_=b"1e400",
    ),
    _typed("long_query", "bad_length", "search", query="q" * (MAX_TEXT_LENGTH + 1)),
    _typed("odd_payment_status", "out_of_range", "purchase", **_ORDER, payment_status="pending"),
    _typed("products_not_list", "wrong_type", "purchase", **_ORDER, products="p00001"),
    _typed("negative_line", "out_of_range", "purchase", **_ORDER, products=[_LINE | {"quantity": -1}]),
)

_TIME = (
    _timed("no_zone", "bad_timestamp", lambda due: rfc3339(int(due * 1000)).removesuffix("Z")),
    _timed("impossible_date", "bad_timestamp", lambda _: "2026-02-30T10:15:30Z"),
    _timed("local_format", "bad_timestamp", lambda _: "03.09.2026 10:15"),
    _timed("seconds_as_number", "wrong_type", int),
    _timed("milliseconds_as_number", "wrong_type", lambda due: int(due * 1000)),
    _timed("seconds_as_text", "bad_timestamp", lambda due: str(int(due))),
    _timed("seconds_for_milliseconds", "timestamp_too_old", lambda due: rfc3339(int(due))),
    _timed("ten_minutes_ahead", "timestamp_in_future", _shifted(600), live_only=True),
    _timed("years_ahead", "timestamp_in_future", _shifted(900 * DAY_S)),
    _timed("too_old", "timestamp_too_old", _shifted(-500 * DAY_S)),
    _timed("epoch", "timestamp_too_old", lambda _: "1970-01-01T00:00:00Z"),
    _timed("year_one", "timestamp_too_old", lambda _: "0001-01-01T00:00:00Z"),
)

DEFECTS = (*_WHOLE_VALUE, *_ENVELOPE, *_DATA, *_TIME)
"""Every kind of malformed record."""

HARMLESS = (
    _with("unknown_field", None, campaign={"name": "autumn", "tags": ["a", "b"]}, internal_flag=True),
    _knowing("unknown_in_data", "data", colour="rot"),
    _knowing("unknown_in_context", "context", app_version="4.2"),
    _with("null_context", None, context=None),
    _with("null_country", None, context={"session_id": "s-odd", "country": None}),
    _without("no_context", None, "context"),
    _with("stated_version", None, schema_version=1),
    _timed("other_offset", None, _in_kolkata),
    _typed("emoji", None, "search", query="Geschenk für Zoë 🎁 木", results_count=3),
    _typed("null_price", None, "product_view", product_id="p00001", price=None),
    _typed("most_quantity", None, "add_to_cart", product_id="p00001", quantity=MAX_QUANTITY),
    _typed("free", None, "purchase", order_id="o-free", total_amount=0),
    Defect(
        "longest_id",
        None,
        lambda event, _: _text(event | {"event_id": event["event_id"].ljust(MAX_IDENTIFIER_LENGTH, "x")}),
    ),
    _timed("almost_five_minutes_ahead", None, _shifted(280), live_only=True),
    # In traffic each of these would be a visitor of a year ago: a cohort of one.
    replace(_timed("almost_too_old", None, _shifted(-399 * DAY_S)), is_traffic=False),
)
"""Odd, but within the contract: must be accepted."""
