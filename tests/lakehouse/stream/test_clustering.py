"""Which days are clustered: those that are over and have changed enough, once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from lakehouse.catalog import TABLES
from lakehouse.delta_log import DataFile
from lakehouse.stream.clustering import due, scope_of
from silver.events import TABLE

TODAY = date(2026, 9, 10)
DAY = TODAY - timedelta(days=1)
THEN = datetime(2026, 9, 10, 3, 30, tzinfo=UTC)


def file(day: date | None, size: int, hours_after: float = -1) -> DataFile:
    return DataFile(size, THEN + timedelta(hours=hours_after), (None if day is None else str(day),))


def test_past_days_with_several_files_are_due_the_newest_first() -> None:
    files = [file(day, 1) for day in (TODAY, DAY, DAY - timedelta(days=7)) for _ in range(2)]
    assert due(TABLE, files, {}, TODAY) == [DAY, DAY - timedelta(days=7)]


def test_a_day_of_one_file_and_rows_of_no_day_are_left_alone() -> None:
    assert due(TABLE, [file(DAY, 1), file(None, 1), file(None, 1)], {}, TODAY) == []


@pytest.mark.parametrize(("late", "expected"), [([], []), ([2, 3], []), ([5, 5], [DAY])])
def test_a_clustered_day_is_due_again_when_enough_came_later(late: list[int], expected: list[date]) -> None:
    files = [file(DAY, 50), file(DAY, 50, 0), *(file(DAY, size, 1) for size in late)]
    assert due(TABLE, files, {scope_of(TABLE, DAY): THEN}, TODAY) == expected
    other = {scope_of(TABLE, DAY - timedelta(days=1)): THEN}
    assert due(TABLE, files, other, TODAY) == [DAY]


def test_what_is_clustered_can_be_found_by_it() -> None:
    clustered = [table for table in TABLES if table.cluster_by]
    assert TABLE in clustered
    assert all(set(table.cluster_by) <= set(table.columns) for table in clustered)
    for wrong in ({"cluster_by": ("event_id",)}, {"partition_by": ()}):
        with pytest.raises(ValueError, match="clustered"):
            replace(TABLE, **wrong)
