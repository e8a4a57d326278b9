"""What goes of a log: only what no version needs that somebody may still open."""

from datetime import UTC, datetime, timedelta

from lakehouse.catalog import TABLES
from lakehouse.small_tables import properties_of
from lakehouse.stream.log_cleanup import commits_to_read, expired
from lakehouse.table import KEEP_HOURS, LOG_HOURS

BEGIN = datetime(2026, 9, 1, tzinfo=UTC)


def log(commits: int, checkpoints: dict[int, list[str]]) -> dict[str, datetime]:
    """Files of a log with a commit an hour; checkpoints are written a minute after theirs."""
    at = {version: BEGIN + timedelta(hours=version) for version in range(commits)}
    written = {f"{version:020}.{kind}": at[version] for version in at for kind in ("json", "crc")}
    for version, kinds in checkpoints.items():
        written |= {f"{version:020}.checkpoint.{kind}": at[version] + timedelta(minutes=1) for kind in kinds}
    return written | {"_last_checkpoint": BEGIN, "_last_vacuum_info": BEGIN}


def versions(names: list[str]) -> set[int]:
    return {int(name[:20]) for name in names}


def test_all_before_the_newest_old_checkpoint_goes_the_oldest_first() -> None:
    files = log(10, {2: ["parquet"], 5: ["parquet"], 8: ["parquet"]})
    gone = expired(files, BEGIN + timedelta(hours=7))
    assert gone == sorted(gone) and len(gone) == 5 * 2 + 1
    assert versions(gone) == set(range(5)), "version 7, the newest at that moment, needs the checkpoint of 5"


def test_without_an_old_checkpoint_nothing_goes_however_old() -> None:
    assert expired(log(10, {}), BEGIN + timedelta(days=900)) == []
    assert expired(log(10, {5: ["parquet"]}), BEGIN + timedelta(hours=5)) == []


def test_a_checkpoint_that_lacks_a_part_is_none() -> None:
    parts = [f"{part:010}.{2:010}.parquet" for part in (1, 2)]
    late = BEGIN + timedelta(days=9)
    assert versions(expired(log(10, {5: parts}), late)) == set(range(5))
    assert expired(log(10, {5: parts[:1]}), late) == []


def test_a_reader_goes_through_the_commits_after_the_newest_checkpoint() -> None:
    assert commits_to_read(log(10, {2: ["parquet"], 5: ["parquet"]})) == 4
    assert commits_to_read(log(3, {})) == 3


def test_versions_can_be_opened_for_as_long_as_anybody_may_need_one() -> None:
    assert KEEP_HOURS <= LOG_HOURS
    kept = {(table.keep_hours, properties_of(table)["delta.logRetentionDuration"]) for table in TABLES}
    assert kept == {(1.25, "interval 75 minutes"), (24.0, "interval 1440 minutes")}, "no shorter than that of the files"
