"""Records as lines of a file, and recorded data as records."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

from lakehouse.errors import UsageError
from producer.json_schema import event_schema
from producer.record import Record, from_line, to_line
from producer.replay import replay
from producer.simulator import SimulationOptions, simulate

DATA = Path(__file__).parents[1] / "data"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIVE = SimulationOptions(now_ms=1_788_430_500_000, live=True, rate=200, duration_s=10, malformed=0.1, harmless=0.1)


def same(one: Record, other: Record) -> bool:
    return (one.topic, one.key, one.value) == (other.topic, other.key, other.value)


def test_every_record_comes_back_from_its_line() -> None:
    for record in simulate(LIVE):
        line = to_line(record)
        assert b"\n" not in line
        assert same(from_line(line), record)


def test_ordinary_events_are_their_own_line() -> None:
    records = [record for record in simulate(LIVE) if record.defect is None]
    assert all(to_line(record) == record.value for record in records)


def test_a_line_that_is_no_event_is_sent_as_it_is() -> None:
    assert same(from_line(b"what?"), Record("shop.page_views", None, b"what?", 0.0))


def test_a_broken_wrapper_is_refused() -> None:
    with pytest.raises(UsageError, match="base64"):
        from_line(b'{"_topic": "shop.clicks", "_value_base64": "%"}')


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("bare-events.jsonl", {"page_view", "product_view", "search", "add_to_cart", "add_to_wishlist", "purchase"}),
        ("rees46-sample.csv", {"product_view", "add_to_cart", "click", "purchase"}),
        ("retailrocket-sample.csv", {"product_view", "add_to_cart", "purchase"}),
    ],
)
def test_recorded_layouts_become_events_of_the_contract(name: str, types: set[str]) -> None:
    records = list(replay(DATA / name))
    events = [json.loads(record.value or b"") for record in records]
    validator = Draft202012Validator(event_schema())
    for record, event in zip(records, events, strict=True):
        validator.validate(event)
        assert record.key == event["user_id"].encode()
    assert {event["event_type"] for event in events} == types
    assert [record.value for record in replay(DATA / name)] == [record.value for record in records]


def test_a_row_that_stands_twice_is_one_event() -> None:
    ids = [record.event_id for record in replay(DATA / "rees46-sample.csv")]
    assert len(ids) - len(set(ids)) == 1


def test_rees46_rows_keep_what_the_contract_does_not_know() -> None:
    first = json.loads(next(replay(DATA / "rees46-sample.csv")).value or b"")
    assert first["data"] | first["context"] == {
        "product_id": "88000",
        "category": "kitchen.kettle",
        "price": 39.9,
        "brand": "brezza",
        "category_id": "2100000000000000101",
        "session_id": first["context"]["session_id"],
    }


@pytest.mark.parametrize("name", ["bare-events.jsonl", "retailrocket-sample.csv", "sample-events.jsonl"])
def test_shifting_moves_the_last_event_to_the_moment(name: str) -> None:
    moved = list(replay(DATA / name, shift_to=NOON))
    assert len(moved) == len(list(replay(DATA / name)))
    if name != "sample-events.jsonl":
        assert max(json.loads(r.value or b"")["timestamp"] for r in moved) == "2026-11-24T12:00:00.000Z"


def test_a_byte_order_mark_does_not_cost_the_first_event(tmp_path: Path) -> None:
    plain, events = (DATA / "bare-events.jsonl").read_bytes(), list(replay(DATA / "bare-events.jsonl"))
    (tmp_path / "marked.jsonl").write_bytes((b"\xef\xbb\xbf" + plain) * 2)
    assert list(replay(tmp_path / "marked.jsonl")) == events * 2


def test_a_wrapped_record_keeps_its_key_and_its_numbers_when_it_is_shifted(tmp_path: Path) -> None:
    value = b'{"event_id":"e1","timestamp":"2026-09-03T10:00:00Z","data":{"price":123456789012.123456789,"n":2.0}}'
    wrapped = to_line(Record("shop.clicks", b"another", value, 0.0))
    (tmp_path / "wrapped.jsonl").write_bytes(wrapped + b"\n")
    (moved,) = replay(tmp_path / "wrapped.jsonl", shift_to=NOON)
    assert same(
        moved, Record("shop.clicks", b"another", value.replace(b"09-03T10:00:00Z", b"11-24T12:00:00.000Z"), 0.0)
    )


def shifted(tmp_path: Path, *lines: str) -> list[str]:
    (tmp_path / "f.jsonl").write_text("\n".join(lines))
    return [(record.value or b"").decode() for record in replay(tmp_path / "f.jsonl", shift_to=NOON)]


def at(moment: str, more: str = "") -> str:
    return f'{{"event_id":"e1","event_type":"page_view","user_id":"u1","timestamp":"{moment}"{more}}}'


LAST = at("2026-09-03T10:00:00Z")


@pytest.mark.parametrize("moment", ["2026-09-03t10:00:00z", "2026-09-03 10:00:00.000000000+00:00"])
def test_every_time_of_the_contract_is_shifted(tmp_path: Path, moment: str) -> None:
    assert shifted(tmp_path, at(moment)) == [at("2026-11-24T12:00:00.000Z")]


@pytest.mark.parametrize(
    "refused",
    [
        at("2026-09-03T10:00:00+0000"),
        at("20260903T100000Z"),
        at("2026-W36-4T10:00:00+00:00"),
        at("2026-09-03T10:00Z"),
        at("2026-09-03T10:00:00Z", ',"event_id":"e2"'),
        at("2026-09-03T10:00:00Z", ',"data":{"a":1,"a":2}'),
        at("2026-09-03T10:00:00Z", ',"data":' + "[" * 1_001 + "]" * 1_001),
        at("9999-12-31T23:59:59-23:59"),
    ],
)
def test_shifting_repairs_nothing_and_one_bad_line_moves_no_other(tmp_path: Path, refused: str) -> None:
    assert shifted(tmp_path, LAST, refused) == [at("2026-11-24T12:00:00.000Z"), refused]


def test_an_event_with_a_field_of_the_wrapper_is_an_event() -> None:
    line = at("2026-09-03T10:00:00Z", ',"_topic":"mine"').encode()
    assert same(from_line(line), Record("shop.page_views", b"u1", line, 0.0))


LISTED = [at(f"2026-09-03T10:00:0{number}Z", ',"data":{"price":123456789012.123456789}') for number in range(3)]


@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(LISTED) + "]",
        "\n[\n  " + ",\n  ".join(LISTED) + "\n]\n",
        "[" + " , ".join(one.replace(",", ",\r\n    ") for one in LISTED) + "]",
        "\n".join(one.replace("{", "{\n  ").replace("}", "\n}") for one in LISTED),
        "".join(LISTED),
        f"{LISTED[0]} {LISTED[1]}\n{LISTED[2]}",
    ],
)
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_list_and_objects_however_they_stand_are_read_to_the_digit(
    tmp_path: Path, text: str, packed: Callable[[bytes], bytes], mark: str
) -> None:
    (tmp_path / "f.json").write_bytes(packed((mark + text).encode()))
    values = ["".join((record.value or b"").decode().split()) for record in replay(tmp_path / "f.json")]
    assert values == LISTED
    moved = [json.loads(record.value or b"")["timestamp"] for record in replay(tmp_path / "f.json", shift_to=NOON)]
    assert moved == [f"2026-11-24T{time}.000Z" for time in ("11:59:58", "11:59:59", "12:00:00")]


@pytest.mark.parametrize("text", ["[" + LAST + ",{", "[" + LAST, "[" + LAST + "]]", "[" + LAST + ",\n{'a':1}]"])
def test_a_list_that_is_cut_off_or_wrong_stops_before_anything_is_sent(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(UsageError, match=r"f\.json cannot be read as a list of JSON objects"):
        next(replay(tmp_path / "f.json"))


def test_an_empty_list_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("[]")
    assert list(replay(tmp_path / "f.json")) == []


@pytest.mark.parametrize("start", [b"PAR1\x15\x04" + b"x" * 200_000, b"\0" * 9, b"\xff\xfe" + "{}".encode("utf-16-le")])
def test_what_is_no_text_is_refused(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "f").write_bytes(start)
    with pytest.raises(UsageError, match="neither JSON"):
        next(replay(tmp_path / "f"))


def test_a_rate_spaces_the_records() -> None:
    assert [record.due for record in replay(DATA / "bare-events.jsonl", rate=2)][:3] == [0.0, 0.5, 1.0]


def test_unknown_layouts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(UsageError, match="neither JSON"):
        list(replay(tmp_path / "other.csv"))
    with pytest.raises(UsageError, match="no file"):
        list(replay(tmp_path / "missing.csv"))
