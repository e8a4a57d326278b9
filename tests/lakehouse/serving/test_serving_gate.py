"""Write, audit, publish: gold that fails what must hold never reaches the serving file, whoever dies when."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lakehouse.delta_log import DeltaLog
from lakehouse.serving import publishing
from lakehouse.serving.file import published, rows_of
from lakehouse.serving.held import how_held
from lakehouse.serving.publisher import Publisher
from quality import results
from quality.gate import Ruling, rule
from quality.suites import SUITES
from tests.support.serving_lake import Lake

TABLE = "gold.kpis_hourly"
COUNTS, COUNTED = f"{TABLE}.counts_are_possible", f"{TABLE}.counts_are_silvers"
GOOD, BAD = "2026-09-01 10:00:00", "2026-09-02 10:00:00"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    made.add_hour(GOOD, 1)
    yield made
    made.close()


def clicks(lake: Lake) -> list[object]:
    return [row[0] for row in lake.query(f"SELECT clicks FROM {TABLE} ORDER BY hour_start")]


def said(lake: Lake) -> tuple[int | None, str, str]:
    row = next(row for row in published(lake.settings) if row["table_name"] == TABLE)
    return row["delta_version"], how_held(row), row["let_through"]


def restarted(lake: Lake) -> None:
    """As after the death of the publisher's process: nothing but the file is left."""
    lake.publisher = Publisher(lake.settings, lake.reader, DeltaLog(lake.settings))


def test_bad_gold_is_not_published_the_rest_is_and_fixed_gold_is(lake: Lake) -> None:
    lake.publisher.publish()
    lake.add_hour(BAD, -5)
    lake.add_hour("2026-09-02 11:00:00", 6)
    lake.replace_top(3)
    assert set(lake.publisher.publish()) == {TABLE, "gold.top_products_last_hour"}
    assert clicks(lake) == [1, 6], "one bad hour does not silence the others of its day"
    assert said(lake) == (3, f"1 row: {COUNTS}", "")
    assert lake.query("SELECT clicks, held_by FROM held_back.kpis_hourly") == [(-5, COUNTS)]
    assert lake.query("SELECT views FROM gold.top_products_last_hour") == [(3,)]
    lake.replace_hour(BAD, 5)
    assert lake.publisher.publish() == [TABLE]
    assert (clicks(lake), said(lake)) == ([1, 5], (4, "", ""))
    assert lake.query("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'held_back'") == [(0,)]


def test_where_nothing_would_be_left_the_last_good_version_stays(lake: Lake) -> None:
    lake.publisher.publish()
    (before,) = lake.query(f"SELECT published_at FROM _published WHERE table_name = '{TABLE}'")
    lake.replace_hour(GOOD, -5)
    lake.publisher.publish()
    assert (clicks(lake), said(lake)) == ([1], (1, COUNTS, ""))
    assert lake.query(f"SELECT published_at FROM _published WHERE table_name = '{TABLE}'") == [before]


def test_gold_that_is_bad_at_the_first_publish_is_never_seen(lake: Lake) -> None:
    lake.add_hour(BAD, -5)
    lake.publisher.publish()
    assert (clicks(lake), said(lake)) == ([1], (2, f"1 row: {COUNTS}", ""))
    lake.replace_hour(BAD, 5)
    lake.publisher.publish()
    assert (clicks(lake), said(lake)) == ([1, 5], (3, "", ""))


def test_while_nothing_changes_a_held_table_costs_no_new_file(lake: Lake) -> None:
    lake.add_hour(BAD, -5)
    lake.publisher.publish()
    before = lake.settings.serving_file.stat()
    assert lake.publisher.publish() == []
    assert lake.settings.serving_file.stat().st_ino == before.st_ino
    assert [file.name for file in lake.settings.serving_file.parent.iterdir()] == [lake.settings.serving_file.name]


@pytest.mark.parametrize("is_fixed", [False, True])
def test_a_publisher_that_is_restarted_goes_on_with_what_is_held_back(lake: Lake, is_fixed: bool) -> None:
    lake.publisher.publish()
    lake.add_hour(BAD, -5)
    lake.publisher.publish()
    restarted(lake)
    lake.add_hour("2026-09-03 10:00:00", 7)
    assert lake.publisher.publish() == [TABLE]
    assert said(lake) == (3, f"1 row: {COUNTS}", ""), "the newest day is right, the held one is not"
    if is_fixed:
        restarted(lake)
        lake.replace_hour(BAD, 5)
        lake.publisher.publish()
    assert clicks(lake) == ([1, 5, 7] if is_fixed else [1, 7])


def test_a_crash_between_write_and_audit_publishes_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.publisher.publish()
    lake.add_hour(BAD, -5)

    def dies(*_: object) -> None:
        raise MemoryError

    lake.publisher = Publisher(lake.settings, lake.reader, DeltaLog(lake.settings), dies)  # type: ignore[arg-type]
    with pytest.raises(MemoryError):
        lake.publisher.publish()
    assert (clicks(lake), said(lake)) == ([1], (1, "", ""))
    restarted(lake)
    lake.publisher.publish()
    assert (clicks(lake), said(lake)) == ([1], (2, f"1 row: {COUNTS}", ""))


def test_an_override_lets_it_through_while_it_lasts(lake: Lake) -> None:
    lake.add_hour(BAD, -5)
    lake.publisher.publish()
    lake.override(COUNTS, "now() + INTERVAL 1 HOUR")
    assert set(lake.publisher.publish()) == {TABLE, results.OVERRIDES.full_name}
    assert (clicks(lake), said(lake)) == ([1, -5], (2, "", COUNTS))
    lake.override(COUNTS, "now() - INTERVAL 1 SECOND")
    lake.publisher.publish()
    assert said(lake) == (2, f"1 row: {COUNTS}", "")
    lake.add_hour("2026-09-03 10:00:00", 7)
    lake.publisher.publish()
    assert clicks(lake) == [1, 7]


def test_a_failing_result_of_the_job_holds_back_until_a_newer_one_is_good(lake: Lake) -> None:
    lake.publisher.publish()
    lake.result(TABLE, COUNTED, success=False, at="now() - INTERVAL 2 MINUTE")
    assert set(lake.publisher.publish()) == {TABLE, results.TABLE.full_name}
    assert said(lake) == (1, COUNTED, "")
    lake.add_hour(BAD, 5)
    lake.publisher.publish()
    assert clicks(lake) == [1]
    lake.result(TABLE, COUNTED, success=True, at="now()")
    lake.publisher.publish()
    assert (clicks(lake), said(lake)) == ([1, 5], (2, "", ""))


def test_a_result_that_names_hours_holds_back_these_only(lake: Lake) -> None:
    lake.add_hour(BAD, 5)
    named = json.dumps({"rows": 1, "failing": [BAD]})
    lake.result(TABLE, COUNTED, success=False, at="now()", observed=named)
    lake.publisher.publish()
    assert (clicks(lake), said(lake)) == ([1], (2, f"1 row: {COUNTED}", ""))
    lake.add_hour("2026-09-03 10:00:00", 7)
    lake.publisher.publish()
    assert clicks(lake) == [1, 7]


def test_what_can_be_judged_at_once_needs_no_newer_result(lake: Lake) -> None:
    lake.publisher.publish()
    lake.result(TABLE, COUNTS, success=False, at="now()")
    lake.result(TABLE, f"{TABLE}.was_renamed", success=False, at="now()")
    lake.publisher.publish()
    assert said(lake) == (1, "", "")


def test_a_result_that_something_old_is_wrong_is_not_forgotten_for_new_days(lake: Lake) -> None:
    """Only changed days are audited, but not while it is known that others are wrong."""
    lake.add_hour(BAD, 2)
    lake.publisher.publish()
    newest = "hour_date IN ('2026-09-02')"
    with duckdb.connect(str(lake.settings.serving_file)) as database:
        database.execute(f"UPDATE {TABLE} SET clicks = -1 WHERE hour_date = '2026-09-01'")
        assert rule(lambda sql: rows_of(database, sql), TABLE, newest).of_rows == ()
        database.execute(
            f"INSERT INTO {results.TABLE.full_name} BY NAME SELECT '{TABLE}' AS table_name, '{COUNTS}' AS expectation,"
            " 'block' AS severity, false AS success, now() AS checked_at"
        )
        assert rule(lambda sql: rows_of(database, sql), TABLE, newest).of_rows[0][0] == COUNTS


def test_the_days_that_are_audited_are_the_partitions_that_changed() -> None:
    from lakehouse.catalog import TABLES

    partitions = {table.full_name: table.partition_by[:1] for table in TABLES if table.layer == "gold"}
    for suite in SUITES:
        if suite.day_column and suite.table in partitions and "silver.events" not in suite.query():
            assert partitions[suite.table] == (suite.day_column,), suite.table


def test_every_gold_suite_can_be_asked_of_the_serving_file(lake: Lake) -> None:
    """Its columns have other types than the lake's: moments are plain, in UTC."""
    lake.publisher.publish()
    with duckdb.connect(str(lake.settings.serving_file)) as database:
        database.execute("SET TimeZone = 'UTC'")
        for name in {suite.table for suite in SUITES if suite.table.startswith("gold.")} - {"gold.user_days"}:
            assert rule(lambda sql: rows_of(database, sql), name) == Ruling(), name


def test_a_publish_that_duckdb_gives_up_is_one_sentence(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_space(**_: bool) -> list[str]:
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    monkeypatch.setattr(lake.publisher, "publish", out_of_space)
    assert publishing._publish(lake.publisher) == (
        "Nothing is published, the last publish stays. The query fails: Could not write file: No space left on device."
    )
