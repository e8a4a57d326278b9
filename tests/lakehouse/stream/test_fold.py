"""The fold accepts what the contract says, and tells the same of any way that the same events came."""

import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lakehouse import hours as clock
from lakehouse.ops import batches
from lakehouse.ops.batches import Plan
from lakehouse.stream.fold import Fold, frontier_at
from lakehouse.stream.live_gold import LIVE
from tests.support.folding import (
    DEDUPE,
    NOON,
    WRITTEN,
    Row,
    all_rows,
    empty_fold,
    facts,
    place_of,
    places,
    reader,
    record,
)

HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
NOW = NOON + timedelta(minutes=30)
HOLD_FILE = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def take(fold: Fold, *records: Row, at: datetime = NOW, known: pa.Table | None = None) -> list[int]:
    """Take a batch, and keep it; the offsets of its duplicates."""
    fold.advance(at)
    taken = fold.take(facts(records), known, at)
    fold.commit(f"as of {at}", at)
    return sorted(taken.duplicates.column("offset").to_pylist())


# --- which records are duplicates -----------------------------------------------------------------------------------


def test_the_first_to_arrive_wins_within_a_batch() -> None:
    by_time = [record("a", 7, kafka_timestamp=NOON), record("a", 6, kafka_timestamp=NOON + MICROSECOND)]
    by_topic = [record("b", 1, topic="shop.searches"), record("b", 2, topic="shop.clicks")]
    by_partition = [record("c", 3, partition=1), record("c", 4, partition=0)]
    by_offset = [record("d", 9), record("d", 8), record("d", 10, event_time=NOON - HOUR)]
    assert take(empty_fold(NOW), *by_time, *by_topic, *by_partition, *by_offset) == [1, 3, 6, 9, 10]


def test_within_the_dedupe_hours_an_id_comes_once_whatever_its_time() -> None:
    fold = empty_fold(NOW)
    assert take(fold, record("a", 1)) == []
    assert take(fold, record("a", 2, event_time=NOON - timedelta(days=300)), at=NOW + DEDUPE) == [2]
    assert take(fold, record("a", 3, event_time=NOON - HOUR), at=NOW + DEDUPE + MICROSECOND) == []


def test_later_it_is_a_duplicate_only_with_the_same_time() -> None:
    """The fold knows younger event times itself; older ones are told to it as `known`."""
    ahead = NOW + timedelta(minutes=5)
    fold = empty_fold(NOW)
    assert take(fold, record("a", 1, event_time=ahead), record("b", 2)) == []
    late = NOW + DEDUPE + timedelta(minutes=2)
    assert take(fold, record("x", 3), at=late) == []  # what is old is forgotten by now
    again = [record("a", 4, event_time=ahead), record("b", 5), record("a", 6, event_time=NOW)]
    assert take(fold, *again, at=late + MICROSECOND, known=places(again[1:2])) == [4, 5]


def test_a_duplicate_is_no_first_of_its_batch() -> None:
    fold = empty_fold(NOW)
    take(fold, record("a", 1, event_time=NOW))
    later = [record("a", 2, event_time=NOW), record("a", 3, event_time=NOON), record("a", 4, event_time=NOON)]
    assert take(fold, *later, at=NOW + DEDUPE + HOUR, known=places(later[:1])) == [2, 4]


def test_refused_records_are_neither_accepted_nor_duplicates() -> None:
    fold = empty_fold(NOW)
    refused = record("a", 1, reason_code="timestamp_in_future"), record(None, 2, event_time=None, reason_code="no_json")
    assert take(fold, *refused) == []
    assert take(fold, record("a", 3), record("b", 4)) == []


def test_another_id_with_half_of_the_hash_is_no_duplicate() -> None:
    fold = empty_fold(NOW)
    take(fold, record("a", 1))
    fold._connection.execute("UPDATE ids SET high = high + 1")
    assert take(fold, record("a", 2)) == []
    assert take(fold, record("a", 3)) == [3]


def test_the_very_record_of_a_batch_that_was_cut_off_comes_again() -> None:
    fold, cut_off = empty_fold(NOW), NOW - timedelta(minutes=1)
    written = {**record("a", 5), "processed_at": cut_off}
    fold.hold(pa.Table.from_pylist([written], WRITTEN))
    assert take(fold, record("a", 4), record("a", 5), record("a", 6, event_time=NOW)) == [4, 6]
    fold.hold(None)
    assert take(fold, record("a", 5), record("a", 7, event_time=NOW)) == [5, 7]


def test_a_held_record_arrived_when_silver_says() -> None:
    fold, cut_off = empty_fold(NOW), NOW - HOUR
    fold.hold(pa.Table.from_pylist([{**record("a", 1), "processed_at": cut_off}], WRITTEN))
    assert take(fold, record("a", 1)) == []
    assert take(fold, record("a", 2, event_time=NOW), at=cut_off + DEDUPE + MICROSECOND) == []


def test_the_book_adds_up_and_says_what_changed() -> None:
    fold = empty_fold(NOW)
    take(fold, record("old", 1))
    batch = [
        record("old", 10),
        record("a", 11),
        record("a", 12),
        record("b", 14, event_time=NOON - 3 * HOUR),
        record("c", 13, reason_code="not_json"),
        record("d", 7, partition=1, event_time=NOW - 2 * HOUR),
        record("e", 3, topic="shop.searches", reason_code="not_json"),
    ]
    taken = fold.take(facts(batch), None, NOW)
    names = ("topic", "partition", "from_offset", "to_offset", "bronze", "silver", "duplicate", "quarantined")
    expected = [
        ("shop.clicks", 0, 10, 15, 5, 2, 2, 1),
        ("shop.clicks", 1, 7, 8, 1, 1, 0, 0),
        ("shop.searches", 0, 3, 4, 1, 0, 0, 1),
    ]
    rows = [name if name in names[:4] else f"{name}_rows" for name in names]
    assert taken.book.to_pylist() == [dict(zip(rows, row, strict=True)) for row in expected]
    noon = clock.number_of(NOON)
    assert (taken.touched, taken.late) == ({noon, noon - 2}, {noon - 3})
    assert taken.oldest == (NOW - 2 * HOUR).timestamp() * 1_000_000


def test_a_batch_of_nothing_but_marks_of_transactions_is_booked_and_changes_nothing() -> None:
    fold = empty_fold(NOW)
    take(fold, record("a", 1))
    taken = fold.take(facts([]), None, NOW)
    assert (taken.touched, taken.late, taken.oldest, taken.duplicates.num_rows) == (set(), set(), None, 0)
    book = batches.planned(taken.book, Plan({"shop.clicks": {"0": 2}}, {"shop.clicks": {"0": 3}}))
    assert book.schema == taken.book.schema
    assert [tuple(row.values()) for row in book.to_pylist()] == [("shop.clicks", 0, 2, 3, 0, 0, 0, 0)]
    fold.commit("next", NOW)


def test_hours_of_valid_events_before_a_moment() -> None:
    batch = [record("a", 1), record("b", 2, event_time=NOON - MICROSECOND), record("c", 3, reason_code="not_json")]
    noon = clock.number_of(NOON)
    assert empty_fold(NOW).hours_before(facts(batch), NOW) == {noon, noon - 1}
    assert empty_fold(NOW).hours_before(facts(batch), NOON) == {noon - 1}


# --- the file -------------------------------------------------------------------------------------------------------


def state(fold: Fold) -> dict[str, Any]:
    names = [
        row[0]
        for row in fold._connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
    ]
    return {name: sorted(fold._connection.execute(f"FROM {name}").fetchall(), key=repr) for name in names}


def close(fold: Fold) -> None:
    fold._connection.close()


def test_a_file_has_the_last_batch_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "stream" / "fold.duckdb"
    fold = empty_fold(NOW, path)
    fold.take(
        facts([record("a", 1, event_type="purchase", amount=Decimal(5)), record("b", 2, product_id="p")]), None, NOW
    )
    fold.commit("first", NOW)
    kept, told = state(fold), all_rows(fold, NOW)
    fold.take(facts([record("c", 3)]), None, NOW)
    close(fold)  # before it was kept
    again = Fold(path, LIVE, DEDUPE, 256)
    again.advance(NOW)
    assert again.tag() == "first"
    assert state(again) == kept
    assert all_rows(again, NOW) == told
    again.hold(None)
    assert take(again, record("a", 4), record("c", 5)) == [4]
    close(again)


def test_what_is_taken_is_told_at_once_but_to_other_threads_only_what_was_kept() -> None:
    fold, seen = empty_fold(NOW), "SELECT count(*) FROM fraud_events"
    fold.take(facts([record("a", 1)]), None, NOW)
    assert all_rows(fold, NOW)["kpis_hourly"][0]["clicks"] == 1
    with fold.snapshot() as before:
        assert before.execute(seen).fetchall() == [(0,)]
        fold.commit("kept", NOW)
        assert before.execute(seen).fetchall() == [(0,)]
    with fold.snapshot() as after:
        assert after.execute(seen).fetchall() == [(1,)]


def test_a_new_file_has_no_tag_and_another_load_forgets(tmp_path: Path) -> None:
    fold = Fold(tmp_path / "fold.duckdb", LIVE, DEDUPE, 256)
    assert fold.tag() is None
    for tag in ("one", "two"):
        fold.load(reader([{**record(tag, 1), "processed_at": NOW}]), tag, NOW)
        fold.hold(None)
        assert fold.tag() == tag
    assert take(fold, record("one", 2), record("two", 3)) == [3]
    close(fold)


def test_a_file_of_other_declarations_has_no_tag(tmp_path: Path) -> None:
    path = tmp_path / "fold.duckdb"
    close(empty_fold(NOW, path))
    for tables, tag in ((LIVE[1:], None), (LIVE, "nothing"), (LIVE[::-1], "nothing")):
        fold = Fold(path, tables, DEDUPE, 256)
        assert fold.tag() == tag
        close(fold)


def test_a_broken_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "fold.duckdb"
    path.write_bytes(b"no database" * 1000)
    fold = empty_fold(NOW, path)
    assert take(fold, record("a", 1)) == []
    close(fold)
    assert Fold(path, LIVE, DEDUPE, 256).tag() == f"as of {NOW}"


def test_a_file_of_another_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "fold.duckdb"
    close(empty_fold(NOW, path))
    holding = [sys.executable, "-c", HOLD_FILE, str(path)]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        fold = Fold(path, LIVE, DEDUPE, 256)
        assert fold.tag() is None
        close(fold)
        other.communicate("")


# --- chance: any events, cut anywhere -------------------------------------------------------------------------------

EVENTS = st.builds(
    dict,
    event_type=st.sampled_from(["click", "product_view", "page_view", "purchase"]),
    event_time=st.integers(-14_000, 1_900).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    user_id=st.sampled_from(["u1", "u2", "u3"]),
    device_id=st.sampled_from([None, "d1", "d2"]),
    country=st.sampled_from([None, "DE", "BR", "XX"]),
    product_id=st.sampled_from([None, "p1", "p2"]),
    product_name=st.sampled_from([None, "red", "green"]),
    order_id=st.sampled_from([None, "o1", "o2"]),
    currency=st.sampled_from([None, "EUR", "JPY"]),
    amount=st.sampled_from([None, Decimal("0.1"), Decimal("12.345"), Decimal(10**12)]),
)
BRIEFLY = settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
BATCHES = st.lists(st.lists(EVENTS, max_size=12), min_size=1, max_size=5)


def numbered(batches: list[list[Row]]) -> list[list[Row]]:
    offsets = iter(range(1000))
    return [[record(f"e{offset}", offset, **row) for row, offset in zip(batch, offsets)] for batch in batches]  # noqa: B905


def in_batches(batches: list[list[Row]]) -> Fold:
    fold = empty_fold(NOW)
    for batch in batches:
        take(fold, *batch)
    return fold


def facts_of(fold: Fold) -> dict[str, Any]:
    """What flags are made of; rows may lie in any order."""
    return {name: rows for name, rows in state(fold).items() if name == "facts" or name.startswith("fraud_")}


def in_window(fold: Fold) -> list[Any]:
    return sorted(fold._connection.execute(f"FROM facts WHERE hour >= {fold.first_hour}").fetchall(), key=repr)


@BRIEFLY
@given(batches=BATCHES)
def test_loaded_events_tell_what_batches_tell(batches: list[list[Row]]) -> None:
    batches = numbered(batches)
    together = [each for batch in batches for each in batch]
    loaded = empty_fold(NOW)
    loaded.load(reader({**each, "processed_at": NOW} for each in together), "loaded", NOW)
    loaded.hold(None)
    folded, at_once = in_batches(batches), in_batches([together])
    assert all_rows(folded, NOW) == all_rows(loaded, NOW) == all_rows(at_once, NOW)
    assert facts_of(folded) == facts_of(loaded)
    assert take(loaded, *together) == take(folded, *together) == [each["offset"] for each in together]


@BRIEFLY
@given(batches=BATCHES, pauses=st.lists(st.integers(60, 4000), min_size=5, max_size=5))
def test_what_left_the_window_is_forgotten_and_nothing_else(batches: list[list[Row]], pauses: list[int]) -> None:
    swept, unswept = empty_fold(NOW), empty_fold(NOW)
    unswept._swept = float("inf")
    at = NOW
    for batch, pause in zip(numbered(batches), pauses, strict=False):
        at += timedelta(seconds=pause)
        assert take(swept, *batch, at=at) == take(unswept, *batch, at=at)
        assert all_rows(swept, at) == all_rows(unswept, at)
        assert in_window(swept) == in_window(unswept)
    oldest = {name: swept._connection.execute(f"SELECT min(age) FROM {name}").fetchall()[0][0] for name in swept._kept}
    second = int(at.timestamp()) - 3600
    begin = {name: second if kept.per_second else swept.first_hour for name, kept in swept._kept.items()}
    assert all(age is None or age >= begin[name] for name, age in oldest.items())
    assert swept.first_hour == clock.number_of(frontier_at(at))
    assert in_window(swept) == state(swept)["facts"]


def test_only_known_for_as_long_as_it_is_needed() -> None:
    fold = empty_fold(NOW)
    take(fold, record("a", 1), record("b", 2, event_time=NOW + timedelta(minutes=5)))
    for after, left in ((DEDUPE, 2), (DEDUPE + timedelta(minutes=2), 1), (DEDUPE + timedelta(minutes=6), 0)):
        take(fold, at=NOW + after)
        assert fold._connection.execute("SELECT count(*) FROM ids").fetchall() == [(left,)]


def test_an_event_that_came_too_late_is_known_by_its_id_only() -> None:
    fold = empty_fold(NOW)
    before = state(fold)
    take(fold, record("late", 1, event_time=NOON - 2 * HOUR - MICROSECOND, event_type="purchase"))
    after = state(fold)
    assert {name for name in after if after[name] != before[name]} == {"ids", "tag"}


def test_places_are_told_as_they_came() -> None:
    fold = empty_fold(NOW)
    twice = [record("a", 1, partition=3), record("a", 2, partition=4, topic="shop.searches")]
    taken = fold.take(facts(twice), None, NOW)
    assert [place_of(row) for row in taken.duplicates.to_pylist()] == [("shop.searches", 4, 2)]


@pytest.mark.parametrize("minutes", [0, 29, 59])
def test_the_window_has_two_full_hours_before_the_running_one(minutes: int) -> None:
    assert frontier_at(NOON + timedelta(minutes=minutes)) == NOON - 2 * HOUR


def test_the_ids_in_memory_and_duckdb_share_what_the_state_may_take() -> None:
    fold = empty_fold(NOW)
    whole = memory_limit(fold)
    fold._seen.add(np.arange(2**23, dtype=np.uint64), clock.micros(NOW), clock.micros(NOW + HOUR))
    take(fold, record("a", 1), at=NOW + timedelta(minutes=1))
    assert whole - memory_limit(fold) == pytest.approx(64, abs=2)


def memory_limit(fold: Fold) -> float:
    """MiB that DuckDB may take."""
    said = fold._connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
    number, unit = said.split()
    return float(number) * {"MiB": 1, "GiB": 1024}[unit]
