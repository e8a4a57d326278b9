"""The serving file: what a publish changes, what it leaves alone, and what readers see meanwhile."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from lakehouse.delta_log import DeltaLog
from lakehouse.serving import publishing
from lakehouse.serving.file import published
from lakehouse.serving.publisher import Publisher
from tests.support.serving_lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    made.add_hour("2026-09-01 10:00:00", 1)
    made.add_top(1)
    made.add_batch(1)
    yield made
    made.close()


def test_publishes_rows_types_comments_and_what_it_published(lake: Lake) -> None:
    lake.publisher.publish()
    assert lake.query("SELECT hour_start, clicks FROM gold.kpis_hourly")[0][1] == 1
    assert lake.query("SELECT hour_start::VARCHAR FROM gold.kpis_hourly") == [("2026-09-01 10:00:00",)]
    described = lake.query(
        "SELECT data_type, comment FROM duckdb_columns()"
        " WHERE table_name = 'kpis_hourly' AND column_name = 'hour_start'"
    )
    assert described == [("TIMESTAMP", "Start of the clock hour, UTC")]
    rows = {row["table_name"]: row for row in published(lake.settings)}
    assert rows["gold.kpis_hourly"]["rows"] == 1
    assert rows["gold.kpis_hourly"]["delta_version"] == 1
    assert rows["ops.recent_batches"]["newest_data_at"] is not None


def test_a_lake_without_tables_is_published_as_empty_tables(lake: Lake) -> None:
    lake.publisher.publish()
    assert lake.query("SELECT count(*) FROM gold.fraud_flags") == [(0,)]
    row = next(row for row in published(lake.settings) if row["table_name"] == "gold.fraud_flags")
    assert (row["rows"], row["delta_version"]) == (0, None)


def test_without_a_change_the_file_stays(lake: Lake) -> None:
    lake.publisher.publish()
    before = lake.settings.serving_file.stat()
    assert lake.publisher.publish() == []
    assert lake.settings.serving_file.stat().st_ino == before.st_ino


def test_after_somebody_was_forgotten_the_file_is_made_anew(lake: Lake) -> None:
    """Rows that are deleted from a copied file stay in its blocks."""
    lake.publisher.publish()
    with duckdb.connect(str(lake.settings.serving_file)) as connection:
        connection.execute("CREATE TABLE gold.left_over AS SELECT 'u-4711-left' AS user_id FROM range(10000)")
    lake.add_hour("2026-09-01 11:00:00", 2)
    lake.publisher.publish()
    assert b"u-4711-left" in lake.settings.serving_file.read_bytes()
    lake.add_receipt()
    assert {"gold.kpis_hourly", "ops.erasures"} <= set(lake.publisher.publish())
    assert b"u-4711-left" not in lake.settings.serving_file.read_bytes()
    assert lake.query("SELECT clicks FROM gold.kpis_hourly ORDER BY hour_start") == [(1,), (2,)]
    assert lake.publisher.publish() == []


def test_only_changed_partitions_are_read_again(lake: Lake) -> None:
    lake.publisher.publish()
    # Whoever read the old day again would fail.
    for path in lake.tables["gold.kpis_hourly"].folder.rglob("*.parquet"):
        path.unlink()
    lake.add_hour("2026-09-02 10:00:00", 2)
    assert lake.publisher.publish() == ["gold.kpis_hourly"]
    assert lake.query("SELECT clicks FROM gold.kpis_hourly ORDER BY hour_start") == [(1,), (2,)]


def test_a_changed_partition_is_replaced(lake: Lake) -> None:
    lake.publisher.publish()
    lake.add_hour("2026-09-01 11:00:00", 2)
    lake.publisher.publish()
    assert lake.query("SELECT clicks FROM gold.kpis_hourly ORDER BY hour_start") == [(1,), (2,)]


def test_rows_that_were_only_added_are_only_added(lake: Lake) -> None:
    lake.publisher.publish()
    for path in lake.tables["ops.batches"].folder.rglob("*.parquet"):
        path.unlink()
    lake.add_batch(2)
    lake.publisher.publish()
    assert lake.query("SELECT batch_id FROM ops.recent_batches ORDER BY 1") == [(1,), (2,)]


def test_refused_records_that_were_added_join_those_of_their_hour(lake: Lake) -> None:
    summary = "SELECT records, example, newest_at FROM ops.quarantine_hourly"
    lake.add_refused(1, "data.order_id is missing")
    lake.publisher.publish()
    for path in lake.tables["silver.quarantine"].folder.rglob("*.parquet"):
        path.unlink()
    lake.add_refused(2, "data.total_amount is missing")
    lake.add_refused(3, "user_id is missing")
    assert lake.publisher.publish() == ["ops.quarantine_hourly"]
    assert lake.query(summary) == [(3, "data.order_id is missing", datetime(2026, 9, 1, 10, 0, 3))]
    lake.resolve_refused(4)
    lake.publisher.publish()
    assert lake.query(summary) == [(1, "data.order_id is missing", datetime(2026, 9, 1, 10, 0, 4))]


def test_an_overwritten_table_is_replaced(lake: Lake) -> None:
    lake.publisher.publish()
    lake.replace_top(7)
    assert lake.publisher.publish() == ["gold.top_products_last_hour"]
    assert lake.query("SELECT views FROM gold.top_products_last_hour") == [(7,)]


def test_the_file_holds_the_version_that_it_names_whatever_is_written_meanwhile(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = "SELECT clicks, delta_version FROM gold.kpis_hourly, _published WHERE table_name = 'gold.kpis_hourly'"
    lake.publisher.publish()
    ((_, version),) = lake.query(counted)
    lake.replace_hour("2026-09-01 10:00:00", 2)
    changes = DeltaLog.changes
    with monkeypatch.context() as patch:
        later = iter([lambda: lake.replace_hour("2026-09-01 10:00:00", 3)])
        patch.setattr(DeltaLog, "changes", lambda *given: (next(later, lambda: None)(), changes(*given))[1])
        lake.publisher.publish()
    assert lake.query(counted) == [(2, version + 1)]
    lake.publisher.publish()
    assert lake.query(counted) == [(3, version + 2)]


def test_between_two_looks_at_all_tables_gold_alone_is_published(lake: Lake) -> None:
    lake.publisher.publish()
    lake.replace_top(7)
    lake.add_batch(2)
    assert publishing._publish(lake.publisher, only_gold=True) == ""
    assert lake.query("SELECT views FROM gold.top_products_last_hour") == [(7,)]
    assert lake.query("SELECT count(*) FROM ops.recent_batches") == [(1,)]
    assert lake.publisher.publish() == ["ops.recent_batches"]


def test_a_new_publisher_goes_on_from_the_file(lake: Lake) -> None:
    lake.publisher.publish()
    assert Publisher(lake.settings, lake.reader, DeltaLog(lake.settings)).publish() == []


def test_a_crash_in_the_middle_leaves_the_old_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.publisher.publish()
    lake.add_hour("2026-09-02 10:00:00", 2)
    lake.replace_top(2)
    insert, calls = Publisher._insert, []

    def breaks(*given: object) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        insert(*given)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Publisher, "_insert", staticmethod(breaks))
        lake.publisher.publish()
    assert lake.query("SELECT count(*) FROM gold.kpis_hourly") == [(1,)]
    assert len(lake.publisher.publish()) == 2
    assert lake.query("SELECT count(*) FROM gold.kpis_hourly") == [(2,)]


def test_a_broken_file_is_made_anew(lake: Lake) -> None:
    lake.publisher.publish()
    lake.settings.serving_file.write_bytes(b"not a database")
    lake.publisher.publish()
    assert lake.query("SELECT clicks FROM gold.kpis_hourly") == [(1,)]


READER = """
import sys, time
from pathlib import Path
from lakehouse.serving.file import open_serving
path, stop, reads = Path(sys.argv[1]), Path(sys.argv[2]), 0
print("ready", flush=True)
while reads < 5 or not stop.exists():
    with open_serving(path) as connection:
        views = connection.execute("SELECT max(views) FROM gold.top_products_last_hour").fetchone()
        hours = connection.execute("SELECT max(clicks), count(*) FROM gold.kpis_hourly").fetchone()
    # Both tables are published together, hour by hour.
    assert views[0] == hours[0] == hours[1], (views, hours)
    reads += 1
    time.sleep(0.02)
print(reads)
"""


def test_readers_see_whole_publishes_and_no_error_while_files_are_swapped(lake: Lake, tmp_path: Path) -> None:
    lake.publisher.publish()
    path, stop = lake.settings.serving_file, tmp_path / "stop"
    command = [sys.executable, "-c", READER, str(path), str(stop)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    for number in range(2, 9):
        lake.replace_top(number)
        lake.add_hour(f"2026-09-{number:02} 10:00:00", number)
        lake.publisher.publish()
    stop.touch()
    for reader in readers:
        out, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors
        assert int(out) >= 5
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_open_reader_keeps_its_publish(lake: Lake) -> None:
    lake.publisher.publish()
    with duckdb.connect(str(lake.settings.serving_file), read_only=True) as old:
        lake.add_hour("2026-09-02 10:00:00", 2)
        lake.publisher.publish()
        assert old.execute("SELECT count(*) FROM gold.kpis_hourly").fetchone() == (1,)


def test_many_threads_of_a_process_may_read_at_once(lake: Lake) -> None:
    lake.publisher.publish()

    def ask(_: int) -> list[tuple[object, ...]]:
        return lake.query("SELECT clicks, current_setting('TimeZone') FROM gold.kpis_hourly")

    with ThreadPoolExecutor(8) as pool:
        assert set(map(tuple, pool.map(ask, range(64)))) == {((1, "UTC"),)}
