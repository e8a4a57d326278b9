"""Gold ↔ serving file: what does not add up is named, and what only takes its time is told."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from lakehouse.serving.ledger import PUBLISH_TAKES, Comparison, compare
from tests.support.serving_lake import Lake

NOW = datetime(2026, 9, 2, 12, tzinfo=UTC)
DAYS = [date(2026, 9, 1), date(2026, 9, 2)]
HOUR = "2026-09-01 10:00:00"
LATER = "2026-09-02 11:00:00"
JUST_NOW, EARLIER = "TIMESTAMPTZ '2026-09-02 11:59:00+00'", "TIMESTAMPTZ '2026-09-02 11:54:00+00'"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    made.add_hour(HOUR, 3, page_views=5, product_views=2)
    yield made
    made.close()


def compared(lake: Lake) -> Comparison:
    return compare(lake.reader, lake.settings.serving_file, DAYS, NOW)


def faults(lake: Lake) -> list[str]:
    return [str(fault) for fault in compared(lake).faults]


def test_what_is_published_adds_up(lake: Lake) -> None:
    assert compared(lake) == Comparison([], ["nothing is published yet"])
    lake.publisher.publish()
    assert compared(lake) == Comparison([], [], hours=1)


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (
            "UPDATE gold.kpis_hourly SET clicks = 7",
            ["shop.clicks 2026-09-01 10:00: the serving file counts 7, gold.kpis_hourly 3 in its version 1"],
        ),
        (
            "DELETE FROM gold.kpis_hourly",
            [
                "shop.clicks 2026-09-01 10:00: the serving file counts 0, gold.kpis_hourly 3 in its version 1",
                "shop.page_views 2026-09-01 10:00: the serving file counts 0, gold.kpis_hourly 7 in its version 1",
            ],
        ),
        (
            "INSERT INTO gold.kpis_hourly SELECT * REPLACE (hour_start + INTERVAL 1 HOUR AS hour_start,"
            " 0 AS page_views, 0 AS product_views) FROM gold.kpis_hourly",
            ["shop.clicks 2026-09-01 11:00: the serving file counts 3, gold.kpis_hourly 0 in its version 1"],
        ),
    ],
)
def test_a_file_that_is_not_its_version_is_a_fault(lake: Lake, planted: str, said: list[str]) -> None:
    lake.publisher.publish()
    with duckdb.connect(str(lake.settings.serving_file)) as file:
        file.execute(planted)
    assert faults(lake) == said


def test_several_faults_are_in_the_order_of_topics_and_hours(lake: Lake) -> None:
    lake.add_hour(LATER, 2, page_views=1)
    lake.publisher.publish()
    with duckdb.connect(str(lake.settings.serving_file)) as file:
        file.execute("DELETE FROM gold.kpis_hourly")
    places = [fault.place for fault in compared(lake).faults]
    assert places == [f"{topic} {hour[:-3]}" for topic in ("shop.clicks", "shop.page_views") for hour in (HOUR, LATER)]


def test_gold_that_was_written_just_now_is_told_and_older_gold_is_a_fault(lake: Lake) -> None:
    lake.publisher.publish()
    lake.add_hour(LATER, 2, updated_at=JUST_NOW)
    said = "1 totals of gold changed just now and are not published yet"
    assert compared(lake) == Comparison([], [said], hours=1)
    lake.add_hour("2026-09-02 10:00:00", 4, updated_at=EARLIER)
    assert datetime(2026, 9, 2, 11, 54, tzinfo=UTC) + PUBLISH_TAKES < NOW
    found = compared(lake)
    assert [str(fault) for fault in found.faults] == [
        "shop.clicks 2026-09-02 10:00: the serving file counts 0, gold.kpis_hourly 4, although it is older than any"
        " publish"
    ]
    assert found.notes == [said]
    lake.publisher.publish()
    assert compared(lake) == Comparison([], [], hours=3)


def test_a_table_that_is_held_back_is_explained(lake: Lake) -> None:
    lake.publisher.publish()
    lake.add_hour(LATER, -2, updated_at=EARLIER)
    lake.publisher.publish()
    failing = "gold.kpis_hourly.counts_are_possible"
    assert compared(lake) == Comparison(
        [], [f"of gold.kpis_hourly the serving file holds back 1 row: {failing}"], hours=2
    )


def test_a_table_that_is_held_back_whole_is_explained(lake: Lake) -> None:
    lake.publisher.publish()
    failing = "gold.kpis_hourly.counts_are_silvers"
    lake.result("gold.kpis_hourly", failing, success=False, at="now()")
    lake.add_hour(LATER, 2, updated_at=EARLIER)
    lake.publisher.publish()
    held = f"gold.kpis_hourly is held back by {failing}: the serving file has its last good version"
    assert compared(lake) == Comparison([], [held], hours=1)


def test_a_version_that_the_lake_has_let_go_of_is_told(lake: Lake) -> None:
    lake.publisher.publish()
    for path in lake.tables["gold.kpis_hourly"].folder.rglob("*.parquet"):
        path.unlink()
    lake.replace_hour(HOUR, 4)
    assert (
        compared(lake).notes[0]
        == "version 1 of gold.kpis_hourly, which the serving file holds, is no longer in the lake"
    )
