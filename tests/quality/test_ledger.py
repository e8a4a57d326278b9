"""The books balance, and whatever is taken away, put in or counted wrongly is named with its place."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import duckdb
import pytest

from lakehouse.broker import Span
from lakehouse.hours import number_of
from quality import ledger
from quality.ledger import reconcile
from tests.support.declared_tables import Reader

SOUND = """
INSERT INTO bronze.events BY NAME
    SELECT topic, n % 2 AS "partition", n // 2 AS "offset", TIMESTAMPTZ '2026-09-03 10:00:00+00' + to_minutes(n) AS
        kafka_timestamp, kafka_timestamp::DATE AS ingest_date, CASE n % 20 WHEN 19 THEN 'broken'::BLOB
            ELSE encode('{"event_id":"' || topic || CASE n % 20 WHEN 18 THEN n - 2 ELSE n END || '"}') END AS value
    FROM range(200) AS numbers(n), (VALUES ('shop.clicks'), ('shop.page_views')) AS given(topic);
INSERT INTO silver.quarantine BY NAME
    SELECT topic, "partition", "offset", kafka_timestamp, value, 'not_json' AS reason_code, 'open' AS status,
        ingest_date
    FROM bronze.events WHERE value = 'broken'::BLOB;
INSERT INTO silver.events BY NAME
    SELECT topic, "partition", "offset", kafka_timestamp, kafka_timestamp AS event_time, event_date, event_id,
        CASE topic WHEN 'shop.clicks' THEN 'click' ELSE 'page_view' END AS event_type, now() AS processed_at
    FROM (SELECT *, json_extract_string(decode(value), '$.event_id') AS event_id, kafka_timestamp::DATE AS event_date,
        row_number() OVER (PARTITION BY value ORDER BY "offset") AS place FROM bronze.events
        WHERE value <> 'broken'::BLOB) WHERE place = 1;
INSERT INTO ops.batches BY NAME
    SELECT topic, "partition", half * 50 AS from_offset, half * 50 + 50 AS to_offset, 50 AS bronze_rows,
        45 AS silver_rows, CASE "partition" WHEN 0 THEN 5 ELSE 0 END AS
        duplicate_rows, CASE "partition" WHEN 0 THEN 0 ELSE 5 END AS quarantined_rows,
        TIMESTAMPTZ '2026-09-03 12:00:00+00' + to_hours(half) AS committed_at, committed_at AS started_at
    FROM (SELECT DISTINCT topic, "partition" FROM bronze.events), (VALUES (0), (1)) AS given(half);
"""
GOLD_OF_SOUND = """
    SELECT date_trunc('hour', event_time) AS hour_start, count(*) FILTER (event_type = 'page_view') AS page_views,
        0 AS product_views, count(*) FILTER (event_type = 'click') AS clicks, 0 AS carts, 0 AS purchases, 0 AS searches,
        event_date AS hour_date FROM silver.events GROUP BY ALL;
"""
SOUND += "INSERT INTO gold.kpis_hourly BY NAME" + GOLD_OF_SOUND
CLICK = 'topic = \'shop.clicks\' AND "partition" = 0 AND "offset" = 3'
FAULTS = {
    f"DELETE FROM silver.events WHERE {CLICK}": "shop.clicks partition 0 2026-09-03 10:00: 1 records from offset 3 on"
    " are in neither silver nor quarantine, and no duplicates",
    "DELETE FROM silver.quarantine WHERE topic = 'shop.clicks' AND \"offset\" = 9": "shop.clicks partition 1 2026-09-03"
    " 10:00: 1 records from offset 9 on are in neither silver nor quarantine, and no duplicates",
    f"DELETE FROM bronze.events WHERE {CLICK}": "shop.clicks partition 0: 1 records from offset 3 on are in silver or"
    " quarantine, but not in bronze",
    f"INSERT INTO bronze.events SELECT * FROM bronze.events WHERE {CLICK}": "shop.clicks partition 0 2026-09-03 10:00:"
    " 1 records from offset 3 on are more than once in bronze",
    f"INSERT INTO silver.events SELECT * FROM silver.events WHERE {CLICK}": "shop.clicks partition 0 2026-09-03 10:00:"
    " 1 records from offset 3 on are more than once in silver and quarantine",
    "UPDATE ops.batches SET from_offset = 49 WHERE topic = 'shop.clicks' AND \"partition\" = 1 AND from_offset = 50":
    "shop.clicks partition 1: offsets from 49 on were read twice, up to 50",
    "DELETE FROM ops.batches WHERE topic = 'shop.clicks' AND \"partition\" = 1 AND from_offset = 0":
    "shop.clicks partition 1: the book begins at offset 50, Kafka at 0",
    "UPDATE ops.batches SET from_offset = 53 WHERE topic = 'shop.clicks' AND \"partition\" = 1 AND from_offset = 50":
    "shop.clicks partition 1: offsets from 50 to 52 are in no batch",
    "UPDATE ops.batches SET bronze_rows = 51 WHERE topic = 'shop.clicks' AND \"partition\" = 1 AND from_offset = 50":
    "shop.clicks partition 1: bronze has 100 records, the book 101",
    "UPDATE gold.kpis_hourly SET clicks = 7 WHERE hour_start = '2026-09-03 11:00:00+00'": "shop.clicks 2026-09-03"
    " 11:00: gold.kpis_hourly counts 7, silver 54",
    "UPDATE gold.kpis_hourly SET product_views = 1 WHERE hour_start = '2026-09-03 11:00:00+00'": "shop.page_views"
    " 2026-09-03 11:00: gold.kpis_hourly counts 55, silver 54",
    "DELETE FROM gold.kpis_hourly WHERE hour_start = '2026-09-03 11:00:00+00'": "shop.page_views 2026-09-03 11:00:"
    " gold.kpis_hourly counts 0, silver 54",
    "INSERT INTO gold.kpis_hourly SELECT * REPLACE ('2026-09-03 23:00:00+00'::TIMESTAMPTZ AS hour_start) FROM"
    " gold.kpis_hourly WHERE hour_start = '2026-09-03 11:00:00+00'": "shop.clicks 2026-09-03 23:00: gold.kpis_hourly"
    " counts 54, silver 0",
}  # fmt: skip
VIEWS, CLICKS = (f"topic = '{topic}' AND \"partition\" =" for topic in ("shop.page_views", "shop.clicks"))
ORDERED = (
    "UPDATE gold.kpis_hourly SET clicks = 7 WHERE hour_start = '2026-09-03 11:00:00+00'",
    "UPDATE gold.kpis_hourly SET product_views = 1 WHERE hour_start = '2026-09-03 10:00:00+00'",
    f"UPDATE ops.batches SET from_offset = 49 WHERE {VIEWS} 1 AND from_offset = 50",
    f"UPDATE ops.batches SET from_offset = 53 WHERE {CLICKS} 0 AND from_offset = 50",
    f'DELETE FROM bronze.events WHERE {VIEWS} 0 AND "offset" = 7',
    f'INSERT INTO bronze.events SELECT * FROM bronze.events WHERE {CLICKS} 0 AND "offset" = 70',
    f'DELETE FROM silver.events WHERE {CLICKS} 0 AND "offset" = 3',
)
"""Planted from the end of the data's way to its beginning."""
BEGIN = {topic: {"0": 0, "1": 0} for topic in ("shop.clicks", "shop.page_views")}
ENDS = {topic: {"0": 100, "1": 100} for topic in BEGIN}


@pytest.fixture(scope="module")
def books(empty_lake: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    empty_lake.execute(SOUND)
    return empty_lake


@pytest.fixture
def lake(books: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr(ledger, "GOLD_PAUSE_SECONDS", 0)
    books.execute("BEGIN")
    yield Reader(books)
    books.execute("ROLLBACK")


def test_sound_books_balance(lake: Reader) -> None:
    found = reconcile(lake.query, lambda: (BEGIN, ENDS), None)
    assert (found.faults, found.notes, found.partitions) == ([], [], 4)
    assert found.rows == {"bronze": 400, "silver": 360, "duplicates": 20, "quarantined": 20, "erased": 0}
    assert found.gold_hours == 4


def erase(lake: Reader, *offsets: tuple[int, int, str]) -> None:
    """As `forget` does: records of the clicks' partitions are written down with what they were, and taken out."""
    for partition, offset, was in offsets:
        place = f'topic = \'shop.clicks\' AND "partition" = {partition} AND "offset" = {offset}'
        lake.connection.execute(
            f'INSERT INTO ops.erased_records BY NAME SELECT topic, "partition", "offset", \'{was}\' AS was'
            f" FROM bronze.events WHERE {place}"
        )
        for table in ("bronze.events", "silver.events", "silver.quarantine"):
            lake.connection.execute(f"DELETE FROM {table} WHERE {place}")
    lake.connection.execute("DELETE FROM gold.kpis_hourly")
    lake.connection.execute("INSERT INTO gold.kpis_hourly BY NAME" + GOLD_OF_SOUND)


ONE_OF_EACH = ((0, 8, "silver"), (0, 9, "duplicates"), (1, 9, "quarantined"))
"""The second is a duplicate of the first."""


def test_erased_records_count_as_what_they_were(lake: Reader) -> None:
    erase(lake, *ONE_OF_EACH)
    found = reconcile(lake.query, lambda: (BEGIN, ENDS), None, held=lambda spans: {span: span.first for span in spans})
    assert (found.faults, found.notes) == ([], [])
    assert found.rows == {"bronze": 400, "silver": 359, "duplicates": 19, "quarantined": 19, "erased": 3}


def test_erased_records_are_no_records_that_were_not_read(lake: Reader) -> None:
    """Where a partition has more offsets than records, Kafka is asked about what bronze does not have."""
    erase(lake, *ONE_OF_EACH)
    lake.connection.execute("UPDATE ops.batches SET to_offset = 101 WHERE topic = 'shop.clicks' AND from_offset = 50")
    ends = {topic: {"0": 101, "1": 101} for topic in BEGIN}
    asked: list[Span] = []

    def held(spans: list[Span]) -> dict[Span, int | None]:
        asked.extend(spans)
        return dict.fromkeys(spans)

    assert reconcile(lake.query, lambda: (BEGIN, ends), None, held=held).faults == []
    assert {(span.first, span.end) for span in asked} == {(100, 101)}


def test_what_is_missing_beside_erased_records_is_named(lake: Reader) -> None:
    erase(lake, *ONE_OF_EACH)
    lake.connection.execute(f"DELETE FROM bronze.events WHERE {CLICK}; DELETE FROM silver.events WHERE {CLICK}")
    faults = [str(fault) for fault in reconcile(lake.query, lambda: (BEGIN, ENDS), None).faults]
    assert "shop.clicks partition 0: bronze has 99 records, the book 100" in faults


def test_records_of_a_run_that_has_not_ended_are_noted(lake: Reader) -> None:
    lake.connection.execute(
        f'INSERT INTO ops.erased_records BY NAME SELECT topic, "partition", "offset", \'silver\' AS was'
        f" FROM bronze.events WHERE {CLICK}"
    )
    found = reconcile(lake.query, lambda: (BEGIN, ENDS), None)
    assert found.faults == []
    assert found.notes == ["shop.clicks partition 0 2026-09-03 10:00: 1 records are to be erased and still there"]


@pytest.mark.parametrize("planted", FAULTS)
def test_a_fault_is_named_with_its_place(lake: Reader, planted: str) -> None:
    lake.connection.execute(planted)
    assert FAULTS[planted] in [str(fault) for fault in reconcile(lake.query, lambda: (BEGIN, ENDS), None).faults]


def test_where_a_fault_is_known_nobody_waits_for_gold(lake: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(ledger, "time", SimpleNamespace(sleep=waits.append))
    lake.connection.execute("UPDATE gold.kpis_hourly SET page_views = page_views + 1")
    assert reconcile(lake.query, lambda: (BEGIN, ENDS), None).faults and len(waits) == ledger.GOLD_ATTEMPTS - 1
    waits.clear()
    for planted in ORDERED:
        lake.connection.execute(planted)
    assert reconcile(lake.query, lambda: (BEGIN, ENDS), None).faults and not waits


def test_gold_that_waits_for_its_recompute_is_noted(lake: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "time", SimpleNamespace(sleep=lambda _: None))
    hour = datetime(2026, 9, 3, 11, tzinfo=UTC)
    lake.connection.execute(f"UPDATE gold.kpis_hourly SET clicks = clicks + 1 WHERE hour_start = '{hour}'")
    named = [str(fault) for fault in reconcile(lake.query, lambda: (BEGIN, ENDS), None).faults]
    assert named == ["shop.clicks 2026-09-03 11:00: gold.kpis_hourly counts 55, silver 54"]
    found = reconcile(lake.query, lambda: (BEGIN, ENDS), None, waiting=lambda: {number_of(hour)})
    assert (found.faults, found.waiting) == ([], 1)
    assert found.notes == ["1 totals of gold wait for a recompute, since late events came"]


def test_several_faults_are_in_the_order_of_the_data(lake: Reader) -> None:
    for planted in ORDERED:
        lake.connection.execute(planted)
    found = [str(fault) for fault in reconcile(lake.query, lambda: (BEGIN, ENDS), None).faults]
    assert found == [
        "shop.clicks partition 0 2026-09-03 10:00: 1 records from offset 3 on are in neither silver nor quarantine, and"
        " no duplicates",
        "shop.clicks partition 0: offsets from 50 to 52 are in no batch",
        "shop.clicks partition 0 2026-09-03 12:00: 1 records from offset 70 on are more than once in bronze",
        "shop.page_views partition 0: 1 records from offset 7 on are in silver or quarantine, but not in bronze",
        "shop.page_views partition 0: bronze has 99 records, the book 100",
        "shop.page_views partition 1: offsets from 49 on were read twice, up to 50",
        "shop.clicks 2026-09-03 10:00: gold.kpis_hourly counts 54, silver 53",
        "shop.clicks 2026-09-03 11:00: gold.kpis_hourly counts 7, silver 54",
        "shop.page_views 2026-09-03 10:00: gold.kpis_hourly counts 55, silver 54",
    ]


def test_the_broker_has_at_least_what_the_book_has(lake: Reader) -> None:
    found = reconcile(lake.query, lambda: (BEGIN, ENDS | {"shop.page_views": {"0": 99, "1": 100}}), None)
    assert [str(fault) for fault in found.faults] == [
        "shop.page_views partition 0: the book is at offset 100, Kafka ends at 99"
    ]


def test_offsets_without_records_are_explained(lake: Reader) -> None:
    lake.connection.execute("UPDATE ops.batches SET to_offset = 101 WHERE from_offset = 50 AND topic = 'shop.clicks'")
    ends = {topic: {"0": 101, "1": 101} for topic in ENDS}
    found = reconcile(lake.query, lambda: (BEGIN, ends), None)
    assert found.faults == []
    assert found.notes == [
        f"shop.clicks partition {number}: 1 offsets hold no record (transactions, compaction)" for number in (0, 1)
    ]


def test_what_kafka_deleted_after_it_was_read_is_no_fault(lake: Reader) -> None:
    begin = {topic: {"0": 70, "1": 100} for topic in BEGIN}
    assert reconcile(lake.query, lambda: (begin, ENDS), None).faults == []


def test_a_book_that_tells_other_fates_is_noted(lake: Reader) -> None:
    lake.connection.execute(
        "UPDATE ops.batches SET silver_rows = 44, quarantined_rows = 6"
        " WHERE topic = 'shop.clicks' AND \"partition\" = 1 AND from_offset = 50"
    )
    found = reconcile(lake.query, lambda: (BEGIN, ENDS), None)
    assert found.faults == []
    assert found.notes == [
        "shop.clicks partition 1: 90 silver, the book 89; 10 quarantined, the book 11"
        " (rebuilt since with other rules, or a wrong book)"
    ]


def test_only_what_is_new_is_looked_at(lake: Reader) -> None:
    first = reconcile(lake.query, lambda: (BEGIN, ENDS), None)
    assert reconcile(lake.query, lambda: (BEGIN, ENDS), first.through).partitions == 0
    lake.connection.execute("UPDATE ops.batches SET committed_at = committed_at - INTERVAL 1 DAY WHERE from_offset = 0")
    lake.connection.execute(f"DELETE FROM silver.events WHERE {CLICK}")
    (middle,) = lake.query("SELECT min(committed_at) + INTERVAL 1 HOUR AS at FROM ops.batches")
    later = reconcile(lake.query, lambda: (BEGIN, ENDS), middle["at"], timedelta(days=1))
    assert later.rows["bronze"] == 200
    assert not [fault for fault in later.faults if "offset 3" in str(fault)]


def test_offsets_without_a_record_are_no_loss_where_kafka_holds_none(lake: Reader) -> None:
    """A book of 0.1.0's first days ends each batch with its last record; bronze has nothing of 50 to 52 and of 60."""
    on = "topic = 'shop.clicks' AND \"partition\" = 1"
    lake.connection.execute(
        f"UPDATE ops.batches SET from_offset = 53, bronze_rows = 46 WHERE {on} AND from_offset = 50"
    )
    for table in ("bronze.events", "silver.events"):
        lake.connection.execute(f'DELETE FROM {table} WHERE {on} AND "offset" IN (50, 51, 52, 60)')
    lake.connection.execute("DELETE FROM gold.kpis_hourly; INSERT INTO gold.kpis_hourly BY NAME" + GOLD_OF_SOUND)
    asked: list[Span] = []

    def nothing(spans: list[Span]) -> dict[Span, int | None]:
        asked.extend(spans)
        return dict.fromkeys(spans)

    found = reconcile(lake.query, lambda: (BEGIN, ENDS), None, held=nothing)
    assert (found.faults, found.notes[:1]) == (
        [], ["shop.clicks partition 1: 1 offsets hold no record (transactions, compaction)"],
    )  # fmt: skip
    hole, at_60 = Span("shop.clicks", 1, 50, 53), Span("shop.clicks", 1, 60, 61)
    assert asked == [hole, at_60, hole]

    found = reconcile(lake.query, lambda: (BEGIN, ENDS), None, held=lambda _: {hole: 51, at_60: 60})
    assert [str(fault) for fault in found.faults] == [
        "shop.clicks partition 1: offsets from 50 to 52 are in no batch",
        "shop.clicks partition 1: Kafka holds a record at offset 51, which bronze does not have",
        "shop.clicks partition 1: Kafka holds a record at offset 60, which bronze does not have",
    ]
    cannot_tell = reconcile(lake.query, lambda: (BEGIN, ENDS), None, held=lambda _: {})
    assert [str(fault) for fault in cannot_tell.faults] == [
        "shop.clicks partition 1: offsets from 50 to 52 are in no batch"
    ]


def test_where_every_offset_has_a_record_kafka_is_not_asked(lake: Reader) -> None:
    def never(spans: list[Span]) -> dict[Span, int | None]:
        raise AssertionError(spans)

    assert reconcile(lake.query, lambda: (BEGIN, ENDS), None, held=never).faults == []
