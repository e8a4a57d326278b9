"""What the serving file has beyond copies of Delta tables: the events behind flags, and what waits in Kafka."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lakehouse.broker import Waiting
from lakehouse.serving import derived
from lakehouse.serving import evidence as serving_evidence
from lakehouse.serving.derived import Extras
from lakehouse.serving.evidence import COLUMNS, KEPT_DAYS, Evidence
from lakehouse.serving.file import published
from lakehouse.serving.publisher import Publisher
from silver import events
from tests.support.folder_s3 import FolderTable
from tests.support.serving_lake import Lake

NEEDED = {name for name, _, _ in COLUMNS} | {"event_date"}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    made.publisher.publish()
    yield made
    made.close()


def add_event(table: FolderTable, event_id: str, moment: str, user_id: str) -> None:
    given = {"event_id": f"'{event_id}'", "user_id": f"'{user_id}'", "event_type": "'purchase'", "amount": "9.5"}
    columns = [f"TIMESTAMPTZ '{moment}+00' AS event_time", *(f"{value} AS {name}" for name, value in given.items())]
    table.commit(f"SELECT {', '.join(columns)}", {"event_date": moment[:10]})


def add_flag(target: duckdb.DuckDBPyConnection, flag_id: str, evidence: list[str], start: str, end: str) -> None:
    target.execute(
        "INSERT INTO gold.fraud_flags BY NAME SELECT ? AS flag_id, 'card_testing' AS rule_id, 'high' AS severity,"
        " 'u1' AS user_id,"
        " ? AS evidence, ?::TIMESTAMP AS window_start, ?::TIMESTAMP AS window_end, ?::TIMESTAMP AS event_time,"
        " ?::DATE AS event_date",
        [flag_id, evidence, start, end, end, end[:10]],
    )


def ago(target: duckdb.DuckDBPyConnection, days: int, minutes: int = 0) -> str:
    now = "date_trunc('day', now()::TIMESTAMP) + INTERVAL 12 HOUR"
    return target.execute(f"SELECT ({now} - to_days({days}) - to_minutes({minutes}))::VARCHAR").fetchall()[0][0]


@pytest.fixture
def silver(lake: Lake) -> FolderTable:
    types = {field.name: field.dataType.jsonValue() for field in events.TABLE.schema if field.name in NEEDED}
    table = FolderTable(lake.s3.folder / "shoplake" / "silver" / "events", types, ("event_date",))
    table.create()
    return table


@pytest.fixture
def target(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(lake.settings.serving_file)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def test_the_evidence_of_flags_is_looked_up_the_newest_day_first_and_once(
    lake: Lake, silver: FolderTable, target: duckdb.DuckDBPyConnection
) -> None:
    for number, day in ((1, 1), (2, 1), (3, 5), (4, 1)):
        add_event(silver, f"e{number}", ago(target, day, number), f"u{number}")
    add_flag(target, "new", ["e1", "e2"], ago(target, 1, 2), ago(target, 1, 1))
    add_flag(target, "old", ["e3"], ago(target, 5, 3), ago(target, 5, 3))
    evidence = Evidence(lake.reader)

    def seen() -> list[tuple[str, str, str]]:
        return target.execute("SELECT flag_id, event_id, user_id FROM gold.flag_events ORDER BY ALL").fetchall()

    assert evidence.update(target) is not None
    assert seen() == [("new", "e1", "u1"), ("new", "e2", "u2")]
    assert evidence.update(target) is not None
    assert seen() == [("new", "e1", "u1"), ("new", "e2", "u2"), ("old", "e3", "u3")]
    assert evidence.update(target) is None
    target.execute("DELETE FROM gold.fraud_flags WHERE flag_id = 'new'")
    assert evidence.update(target) is not None
    assert seen() == [("old", "e3", "u3")]


def test_what_the_user_did_around_the_evidence_is_shown_with_it(
    lake: Lake, silver: FolderTable, target: duckdb.DuckDBPyConnection
) -> None:
    around = serving_evidence.AROUND_MINUTES
    minutes = {"e1": 60, "near": 60 + around - 1, "after": 60 - around + 1, "far": 60 + around + 1}
    for event_id, minute in minutes.items():
        add_event(silver, event_id, ago(target, 1, minute), "u1")
    add_event(silver, "other", ago(target, 1, 60), "u2")
    add_flag(target, "f", ["e1"], ago(target, 1, 60), ago(target, 1, 60))
    assert Evidence(lake.reader).update(target) is not None
    shown = target.execute("SELECT event_id, is_evidence FROM gold.flag_events ORDER BY event_time").fetchall()
    assert shown == [("near", False), ("e1", True), ("after", False)]


def test_a_flag_is_looked_up_again_when_its_half_hour_has_passed(
    lake: Lake, silver: FolderTable, target: duckdb.DuckDBPyConnection
) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    raised, later = str(now - timedelta(minutes=35)), str(now - timedelta(minutes=20))
    add_event(silver, "e1", raised, "u1")
    add_flag(target, "f", ["e1"], raised, raised)
    evidence = Evidence(lake.reader)

    def seen() -> list[str]:
        return [event for (event,) in target.execute("SELECT event_id FROM gold.flag_events ORDER BY 1").fetchall()]

    evidence.update(target)
    add_event(silver, "e2", later, "u1")
    assert evidence.update(target) is None and seen() == ["e1"]
    target.execute("UPDATE gold.flag_events SET looked_up_at = looked_up_at - INTERVAL 10 MINUTE")
    assert Evidence(lake.reader).update(target) is not None
    assert seen() == ["e1", "e2"], "also by a process that did not look it up early itself"
    assert evidence.update(target) is None


def test_a_file_with_another_shape_of_an_extra_table_is_made_anew(lake: Lake) -> None:
    with duckdb.connect(str(lake.settings.serving_file)) as older:
        older.execute("ALTER TABLE gold.flag_events DROP COLUMN is_evidence")
    assert "gold.flag_events" in lake.publisher.publish()
    assert "is_evidence" in [name for (name,) in lake.query("SELECT column_name FROM (DESCRIBE gold.flag_events)")]


def test_flags_of_long_ago_and_flags_without_their_events_are_left_alone(
    lake: Lake, silver: FolderTable, target: duckdb.DuckDBPyConnection
) -> None:
    add_event(silver, "e1", ago(target, 1), "u2")
    add_flag(target, "ancient", ["e1"], ago(target, KEPT_DAYS + 1), ago(target, KEPT_DAYS + 1))
    evidence = Evidence(lake.reader)
    assert evidence.update(target) is None
    add_flag(target, "lost", ["gone"], ago(target, 1), ago(target, 1))
    evidence.update(target)
    assert evidence.update(target) is None
    assert target.execute("FROM gold.flag_events").fetchall() == []


def test_more_that_waits_in_kafka_is_published_though_no_table_changes(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's side is tested with a real one; here only when a publish is due for it."""
    waiting = [Waiting("shop.clicks", 0, 5, 5, 0)]
    monkeypatch.setattr(derived, "waiting", lambda _settings: list(waiting))
    monkeypatch.setattr(derived, "LOOK_SECONDS", 0.0)
    publisher = Publisher(lake.settings, lake.reader, lake.publisher._log, extras=Extras(lake.settings, lake.reader))

    def told() -> list[tuple[object, ...]]:
        return lake.query("SELECT end_offset, waiting FROM ops.kafka_lag")

    assert publisher.publish() == ["ops.kafka_lag"] and told() == [(5, 0)]
    assert publisher.publish() == []
    waiting[:] = [Waiting("shop.clicks", 0, 5, 9, 4)]
    assert publisher.publish() == ["ops.kafka_lag"] and told() == [(9, 4)]
    waiting.clear()
    assert publisher.publish() == [] and told() == [(9, 4)]
    assert {row["table_name"]: row["rows"] for row in published(lake.settings)}["ops.kafka_lag"] == 1


def test_evidence_that_cannot_be_read_holds_up_no_publish(lake: Lake, target: duckdb.DuckDBPyConnection) -> None:
    add_flag(target, "f", ["e1"], ago(target, 1), ago(target, 1))
    target.close()
    lake.add_top(7)
    publisher = Publisher(lake.settings, lake.reader, lake.publisher._log, extras=Extras(lake.settings, lake.reader))
    assert "gold.top_products_last_hour" in publisher.publish()
    assert lake.query("SELECT views FROM gold.top_products_last_hour") == [(7,)]


BATCH = """
INSERT INTO ops.recent_batches BY NAME SELECT ? AS batch_id, 24 AS offsets, 22 AS bronze_rows, 16 AS silver_rows,
    2 AS duplicate_rows, 2 * ? AS quarantined_rows, abs(22 - 16 - 2 - quarantined_rows) AS unaccounted,
    now()::TIMESTAMP - to_seconds(? + ?) AS started_at, now()::TIMESTAMP - to_seconds(?) AS committed_at
"""
TOLD = """
SELECT batches, bronze, unaccounted, offsets_without_record, median_seconds, slowest_seconds FROM ops.batch_minutes
ORDER BY minute_start
"""


def test_batches_are_told_a_minute_a_row(target: duckdb.DuckDBPyConnection) -> None:
    for number, (ago, took, refused) in enumerate([(4_000, 1.5, 2), (4_000.5, 0.5, 3), (300, 2.0, 1)]):
        target.execute(BATCH, [number, refused, ago, took, ago])
    told = target.execute(TOLD).fetchall()
    if len(told) == 3:  # the two of one second stand on both sides of a minute's turn
        told = [(sum(one[0] for one in told[:2]), 44, 2, 4, 1.0, 1.5), told[2]]
    assert told == [(2, 44, 2, 4, 1.0, 1.5), (1, 22, 2, 2, 2.0, 2.0)]
