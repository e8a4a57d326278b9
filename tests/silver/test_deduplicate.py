"""The first accepted record of an event id wins, wherever the stream is cut into batches and whatever is repeated."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import hours as clock
from lakehouse.stream.fold import Fold
from silver import deduplicate
from silver.deduplicate import ARRIVAL
from silver.events import TABLE
from tests.support.folding import DEDUPE, NOON, WRITTEN, empty_fold, facts, place_of, places, record

pytestmark = pytest.mark.spark

Record = dict[str, Any]
Place = tuple[str, int, int]
Batch = tuple[datetime, list[Record]]
"""When it began, and its records."""
JUDGED = (
    "event_id string, event_time timestamp, topic string, partition int, offset bigint, kafka_timestamp timestamp, "
    "reason_code string, ingested_at timestamp"
)
HOUR, SECOND, MICROSECOND = timedelta(hours=1), timedelta(seconds=1), timedelta(microseconds=1)


def judged(spark: SparkSession, *batches: Batch) -> DataFrame:
    """Records as `checks.judge` leaves them and bronze keeps them."""
    names = [part.split()[0] for part in JUDGED.split(", ")]
    rows = [tuple({**each, "ingested_at": at}.get(name) for name in names) for at, batch in batches for each in batch]
    return spark.createDataFrame(rows, JUDGED)


def found(frame: DataFrame) -> set[Place]:
    rows = [place_of(row) for row in frame.collect()]
    assert len(rows) == len(set(rows))
    return set(rows)


def of(*records: Record) -> set[Place]:
    return {place_of(each) for each in records}


# --- the rule in plain Python ---------------------------------------------------------------------------------------


class Oracle:
    """What the contract says of an event id's records, one after the other."""

    def __init__(self) -> None:
        self.accepted: dict[str, list[tuple[datetime, Record]]] = {}

    def take(self, at: datetime, batch: list[Record]) -> set[Place]:
        """The duplicates of a batch."""
        duplicates = set()
        for each in sorted(batch, key=lambda each: [each[name] for name in ARRIVAL]):
            if each["reason_code"]:
                continue
            firsts = self.accepted.setdefault(each["event_id"], [])
            if any(at - first <= DEDUPE or known["event_time"] == each["event_time"] for first, known in firsts):
                duplicates.add(place_of(each))
            else:
                firsts.append((at, each))
        return duplicates

    def in_silver(self, at: datetime, batch: list[Record], hours: set[int]) -> list[Record]:
        """Records of a batch, of some hours, whose event was accepted with this time before the dedupe hours."""
        return [
            each
            for each in batch
            if not each["reason_code"] and clock.number_of(each["event_time"]) in hours
            and any(
                first < at - DEDUPE and known["event_time"] == each["event_time"]
                for first, known in self.accepted.get(each["event_id"], [])
            )
        ]  # fmt: skip


# --- chance: any sequence, cut anywhere -----------------------------------------------------------------------------

PAUSES = st.lists(
    st.sampled_from([SECOND, HOUR, DEDUPE - SECOND, DEDUPE, DEDUPE + MICROSECOND, 2 * DEDUPE, timedelta(days=3)]),
    min_size=3,
    max_size=6,
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "batch": st.integers(0, 5),
            "event_id": st.sampled_from([*"abcdefgh", "refused"]),
            "event_time": st.sampled_from([-48, 0, 1, 3.25, 7, 48]).map(lambda hours: NOON + timedelta(hours=hours)),
            "partition": st.integers(0, 1),
            "kafka_timestamp": st.integers(0, 3).map(lambda seconds: NOON + seconds * SECOND),
        }
    ),
    min_size=30,
    max_size=120,
)


def as_batches(pauses: list[timedelta], drawn: list[dict[str, Any]]) -> list[Batch]:
    """Offsets rise with the batches."""
    at, batches, offset = NOON, [], 0
    for number, pause in enumerate(pauses):
        at += pause
        rows = [each for each in drawn if each["batch"] % len(pauses) == number]
        reasons = ["not_json" if each["event_id"] == "refused" else None for each in rows]
        numbered = enumerate(zip(rows, reasons, strict=True), start=offset)
        batches.append((at, [record(offset=offset, reason_code=reason, **row) for offset, (row, reason) in numbered]))
        offset += len(rows)
    return batches


def taken(fold: Fold, at: datetime, batch: list[Record], oracle: Oracle) -> set[Place]:
    """The duplicates that the stream finds in a batch, not yet kept."""
    fold.advance(at)
    hours = fold.hours_before(facts(batch), at - DEDUPE)
    result = fold.take(facts(batch), places(oracle.in_silver(at, batch, hours)), at)
    duplicates = {place_of(row) for row in result.duplicates.to_pylist()}
    assert len(duplicates) == result.duplicates.num_rows
    counted = result.book.to_pylist()
    assert sum(row["duplicate_rows"] for row in counted) == len(duplicates)
    assert sum(row["quarantined_rows"] for row in counted) == sum(bool(each["reason_code"]) for each in batch)
    assert all(
        row["bronze_rows"] == row["silver_rows"] + row["duplicate_rows"] + row["quarantined_rows"] for row in counted
    )
    return duplicates


def cut_off(fold: Fold, at: datetime, batch: list[Record], duplicates: set[Place]) -> None:
    """Silver was written, the book was not: the same batch comes again."""
    fold._connection.execute("ROLLBACK")
    entered = [each for each in batch if not each["reason_code"] and place_of(each) not in duplicates]
    fold.hold(pa.Table.from_pylist([{**each, "processed_at": at} for each in entered], WRITTEN))


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(pauses=PAUSES, drawn=RECORDS, broken=st.integers(0, 5))
def test_the_stream_and_backfill_accept_what_the_contract_says(
    spark: SparkSession, pauses: list[timedelta], drawn: list[dict[str, Any]], broken: int
) -> None:
    batches, oracle, lost = as_batches(pauses, drawn), Oracle(), set()
    fold = empty_fold(NOON)
    for number, (at, batch) in enumerate(batches):
        by_stream = taken(fold, at, batch, oracle)
        if number == broken:
            cut_off(fold, at, batch, by_stream)
            assert taken(fold, at, batch, oracle) == by_stream
        fold.commit(f"batch {number}", at)
        expected = oracle.take(at, batch)
        assert by_stream == expected
        lost |= expected
    assert found(deduplicate.repeated(deduplicate.valid(judged(spark, *batches)), DEDUPE)) == lost


# --- each step by itself --------------------------------------------------------------------------------------------


def test_the_first_to_arrive_wins(spark: SparkSession) -> None:
    """Batch by batch, then by Kafka's time and place."""
    by_batch = [record("a", 9, kafka_timestamp=NOON + SECOND), record("a", 1, kafka_timestamp=NOON)]
    by_time = [record("b", 7, kafka_timestamp=NOON + SECOND), record("b", 8)]
    by_topic = [record("c", 1, topic="shop.searches"), record("c", 2)]
    by_place = [record("d", 1, partition=1), record("d", 4), record("d", 3, event_time=NOON - HOUR)]
    batches = (
        (NOON, [by_batch[0], *by_time, *by_topic, *by_place]),
        (NOON + SECOND, [by_batch[1], record("e", 5)]),
    )
    repeated = deduplicate.repeated(judged(spark, *batches), DEDUPE)
    assert found(repeated) == of(by_batch[1], by_time[0], by_topic[0], by_place[0], by_place[1])


def test_a_later_one_counts_anew_after_the_dedupe_hours_with_another_time(spark: SparkSession) -> None:
    """From the first on, which a duplicate between them does not prolong."""
    rows = [record("a", offset, event_time=NOON + offset * HOUR) for offset in range(5)]
    again = record("a", 9)
    moments = (NOON, NOON + 2 * HOUR, NOON + DEDUPE, NOON + DEDUPE + MICROSECOND, NOON + 4 * HOUR)
    batches = [*((at, [row]) for at, row in zip(moments, rows, strict=True)), (NOON + timedelta(days=90), [again])]
    repeated = deduplicate.repeated(judged(spark, *batches), DEDUPE)
    assert found(repeated) == of(rows[1], rows[2], rows[4], again)


def test_what_silver_has_under_another_place_is_known(spark: SparkSession) -> None:
    held = [record("a", 1), record("b", 2), record("c", 3), record("d", 4)]
    very_record, other_time, new = record("a", 1), record("c", 51, event_time=NOON + HOUR), record("new", 52)
    elsewhere = [record("b", 50), record("d", 4, partition=1), record("a", 1, topic="shop.searches")]
    candidates = judged(spark, (NOON, [very_record, other_time, new, *elsewhere]))
    assert found(deduplicate.known_among(candidates, judged(spark, (NOON, held)))) == of(*elsewhere)


def test_records_at_some_places_are_left_out(spark: SparkSession) -> None:
    kept, lost = [record("a", 1), record("a", 2, partition=1)], [record("a", 2), record("b", 3)]
    rest = deduplicate.without(judged(spark, (NOON, kept + lost)), judged(spark, (NOON, lost)))
    assert found(rest) == of(*kept)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 1), st.integers(0, 5)), unique=True), st.data())
def test_rows_at_some_places_are_left_out_and_the_others_keep_their_order(
    drawn: list[Place], data: st.DataObject
) -> None:
    lost = data.draw(st.lists(st.sampled_from(drawn), unique=True)) if drawn else []
    left = deduplicate.rows_without(records_at(drawn), records_at(lost)).to_pylist()
    assert left == records_at([place for place in drawn if place not in lost]).to_pylist()


def records_at(drawn: list[Place]) -> pa.Table:
    types = (pa.string(), pa.int32(), pa.int64())
    columns = [pa.array([place[i] for place in drawn], kind) for i, kind in enumerate(types)]
    return pa.table(columns, names=deduplicate.COORDINATES).append_column("items", pa.array([["x"]] * len(drawn)))


def test_accepted_rows_are_those_of_the_table(spark: SparkSession) -> None:
    frame = judged(spark, (NOON, [record("a", 1)])).drop("ingested_at")
    frame = frame.withColumn("event_date", F.to_date("event_time"))
    missing = [field for field in TABLE.schema.fields if field.name not in [*frame.columns, "processed_at"]]
    full = frame.select("*", *(F.lit(None).cast(field.dataType).alias(field.name) for field in missing))
    rows = deduplicate.accepted(full.withColumn("ingested_at", F.lit(NOON + SECOND)))
    assert rows.columns == TABLE.columns
    assert rows.first()["processed_at"].replace(tzinfo=UTC) == NOON + SECOND
