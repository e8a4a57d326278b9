"""The contract grows by optional fields: events of every version stand side by side, none is refused for its age."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from producer import contract
from producer.contract import Field
from silver import checks, events
from tests.support.arrived import frame_of
from tests.support.record_validator import problems

LATER = (
    Field("data", "coupon", "identifier", "Coupon.", since=2, on=("purchase",)),
    Field("data", "discount", "amount", "Discount.", since=3),
    Field("data", "gift", "choice", "Whether it is a gift.", choices=("yes", "no"), since=4),
    Field("data", "parcels", "count", "Parcels.", "parcel_count", since=5),
)
LATER_CONTEXT = Field("context", "app_version", "text", "Version of the app.", since=6)
LATER_ENVELOPE = Field("envelope", "tenant", "identifier", "The shop.", since=7)
TIME = datetime(2026, 9, 3, 10, 15, tzinfo=UTC)
VIEWS = contract.TOPIC_OF_TYPE["product_view"]
ORIGINALS = {
    "event_id": "string", "event_type": "string", "event_time": "timestamp", "user_id": "string",
    "schema_version": "int", "session_id": "string", "device_id": "string", "ip": "string", "country": "string",
    "user_agent": "string", "page_url": "string", "device": "string", "browser": "string", "element": "string",
    "product_id": "string", "product_name": "string", "category": "string", "price": "decimal(28,9)", "quantity": "int",
    "order_id": "string", "amount": "decimal(28,9)", "currency": "string", "payment_method": "string",
    "payment_status": "string", "card_fingerprint": "string",
    "products": "array<struct<product_id:string,quantity:int,price:decimal(28,9)>>", "query": "string",
    "results_count": "bigint", "extra": "string", "topic": "string", "partition": "int", "offset": "bigint",
    "kafka_timestamp": "timestamp", "processed_at": "timestamp", "event_date": "date",
}  # fmt: skip


def copy_of(module: Any, name: str) -> Any:
    """The module once more, made from what its imports say now."""
    spec = importlib.util.spec_from_file_location(name, str(Path(module.__file__)))
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def grown() -> Iterator[None]:
    """The contract in its seventh version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "DATA", (*contract.DATA, *LATER))
        patch.setattr(contract, "CONTEXT", (*contract.CONTEXT, LATER_CONTEXT))
        patch.setattr(contract, "ENVELOPE", (*contract.ENVELOPE, LATER_ENVELOPE))
        fields = (*contract.ENVELOPE, *contract.CONTEXT, *contract.DATA)
        patch.setattr(contract, "FIELDS", fields)
        patch.setattr(contract, "CONTRACT_VERSION", 7)
        patch.setattr(contract, "SUPPORTED_VERSIONS", tuple(range(1, 8)))
        yield


def event(version: int | None, _place: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    stated = {} if version is None else {"schema_version": version}
    start = {"event_id": "e1", "event_type": "product_view", "user_id": "u1", "timestamp": TIME.isoformat()}
    return {**start, "data": {"product_id": "p1", "price": 2.5} | data, **stated, **(_place or {})}


def test_no_column_of_the_first_version_ever_changes() -> None:
    table = events.TABLE
    assert {name: table.schema[name].dataType.simpleString() for name in ORIGINALS} == ORIGINALS


def test_the_declaration_grows_as_it_may() -> None:
    later = [field for field in contract.FIELDS if field.since > 1]
    assert {field.since for field in contract.FIELDS} == set(contract.SUPPORTED_VERSIONS), "no version is left out"
    assert max(contract.SUPPORTED_VERSIONS) == contract.CONTRACT_VERSION
    names = {field.name for field in later}
    assert not names & set(contract.REQUIRED_ENVELOPE), "what came later is optional"
    assert not names & {name for each in contract.EVENT_TYPES for name in each.required}
    assert {field.kind for field in later} <= {"identifier", "text", "amount", "quantity", "count", "choice"}
    assert {name for field in later for name in field.on} <= set(contract.TOPIC_OF_TYPE)
    columns = events.TABLE.columns
    assert len({name.lower() for name in columns}) == len(columns), "every field has a column of its own"


FITS = {"coupon": "SAVE", "discount": 1, "gift": "no", "parcels": 3}
ODD: tuple[dict[str, Any], ...] = (
    {"coupon": 5}, {"coupon": {"code": "x"}}, {"coupon": ""}, {"discount": "1"}, {"discount": -1}, {"gift": "maybe"},
    {"parcels": "three"}, {"parcels": 1.5}, {"parcels": [1]}, {"parcels": 10**30},
)  # fmt: skip


EVERY_VERSION = [event(version, {"context": {"app_version": "4.2"}, "tenant": "shop-1"}, **FITS)
                 for version in (None, 1, 2, 4, 7)]  # fmt: skip
EARLIER = [
    *(event(version, **odd) for odd in ODD for version in (None, 1)),
    event(1, {"context": {"app_version": 4.2}}),
    event(1, {"tenant": {"name": "x"}}),
]
STATED = [event(7, **odd) for odd in ODD]
PROMISED = [event(version, discount="1") for version in (1, 2, 3, 4)]
MISSING = [event(None, coupon=None, parcels=None), event(7, coupon=None), event(3)]
BROKEN = [event(version, price="2.50") for version in (None, 1, 7)]
UNKNOWN = [event(8), event(0)]


@pytest.fixture(scope="module")
def judged(grown: None, spark: SparkSession) -> Callable[[list[dict[str, Any]]], list[Row]]:
    """The rows of some of the events; Spark judges all at once."""
    everything = [*EVERY_VERSION, *EARLIER, *STATED, *PROMISED, *MISSING, *BROKEN, *UNKNOWN]
    texts = [json.dumps(one) for one in everything]
    records = frame_of(spark, [(VIEWS, TIME, None, text.encode()) for text in texts])
    frame = copy_of(checks, "later_checks").judge(records).drop("key", "value", "kafka_timestamp")
    rows = dict(zip(texts, frame.orderBy("offset").collect(), strict=True))
    return lambda sent: [rows[json.dumps(one)] for one in sent]


@pytest.mark.spark
def test_an_event_of_any_version_fills_the_new_columns_when_it_fits(judged: Any) -> None:
    for row in judged(EVERY_VERSION):
        assert (row["reason_code"], row["extra"]) == (None, None)
        assert (row["coupon"], row["discount"], row["gift"], row["parcel_count"]) == ("SAVE", 1.0, "no", 3)
        assert (row["app_version"], row["tenant"], row["price"]) == ("4.2", "shop-1", 2.5)


@pytest.mark.spark
def test_what_was_accepted_before_a_field_was_declared_is_accepted_for_ever(judged: Any) -> None:
    for one, row in zip(EARLIER, judged(EARLIER), strict=True):
        assert row["reason_code"] is None, one
        assert (row["product_id"], row["price"]) == ("p1", 2.5), "the other fields are read"
        assert [row[name] for name in ("coupon", "discount", "gift", "parcel_count", "app_version", "tenant")] == [
            None
        ] * 6
        kept = json.loads(row["extra"])
        odd = {name: value for name, value in one["data"].items() if name not in ("product_id", "price")}
        assert kept.get("data", {}) == odd
        assert {**kept.get("context", {}), "tenant": kept.get("tenant")} == {
            **one.get("context", {}),
            "tenant": one.get("tenant"),
        }


@pytest.mark.spark
def test_an_event_that_states_the_version_must_keep_it(judged: Any) -> None:
    reasons = [row["reason_code"] for row in judged(STATED)]
    assert reasons == [
        "wrong_type", "wrong_type", "bad_length", "wrong_type", "out_of_range", "out_of_range", "wrong_type",
        "wrong_type", "wrong_type", "wrong_type",
    ]  # fmt: skip
    for one, reason in zip(STATED, reasons, strict=True):
        assert reason in problems(json.dumps(one).encode(), VIEWS, TIME)


@pytest.mark.spark
def test_a_field_is_a_promise_from_its_own_version_on(judged: Any) -> None:
    assert [row["reason_code"] for row in judged(PROMISED)] == [None, None, "wrong_type", "wrong_type"]


@pytest.mark.spark
def test_null_and_missing_are_the_same_in_every_version(judged: Any) -> None:
    for row in judged(MISSING):
        assert (row["reason_code"], row["coupon"], row["parcel_count"], row["extra"]) == (None, None, None, None)


@pytest.mark.spark
def test_changing_what_exists_is_refused_in_every_version(judged: Any) -> None:
    assert {(row["reason_code"], row["reason_detail"]) for row in judged(BROKEN)} == {
        ("wrong_type", "data.price has the type STRING")
    }
    assert [row["reason_code"] for row in judged(UNKNOWN)] == ["unknown_version"] * 2


def test_the_table_and_the_views_follow_the_contract(grown: None) -> None:
    table = copy_of(events, "later_events").TABLE
    added = {name: table.schema[name].dataType.simpleString() for name in table.columns if name not in ORIGINALS}
    assert added == {
        "tenant": "string", "app_version": "string", "coupon": "string", "discount": "decimal(28,9)", "gift": "string",
        "parcel_count": "bigint",
    }  # fmt: skip
    on = {each.name: [field.name for field in contract.fields_of(each)] for each in contract.EVENT_TYPES}
    assert "coupon" in on["purchase"] and "coupon" not in on["search"]
