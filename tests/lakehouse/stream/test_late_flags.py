"""Flags of long ago, found in the files of silver, are those of the table that takes the events in as they come."""

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.lake import arrow_schema
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables
from lakehouse.stream import late_flags
from silver import events as silver_events
from tests.gold.conftest import NOON
from tests.gold.test_fraud_live import Rows, by_id, live, simulated
from tests.support.memory_s3 import memory_lake

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with memory_lake(tmp_path_factory.mktemp("lake")) as made:
        yield made


@pytest.fixture(scope="module")
def lake(server: Settings) -> Any:
    """A lake whose silver has no rows."""
    small = SmallTables(server)
    small.create(silver_events.TABLE)
    return SimpleNamespace(settings=server, small=small)


def add(lake: Any, rows: Rows) -> None:
    dated = [{**row, "event_date": row["event_time"].date()} for row in rows]
    lake.small.append(silver_events.TABLE, pa.Table.from_pylist(dated, arrow_schema(silver_events.TABLE)), "test")


def test_they_are_those_of_the_events_in_silver(lake: Any) -> None:
    begin, end = NOON - 30 * HOUR, NOON - 20 * HOUR  # midnight lies between
    assert late_flags.flags(lake, begin, end, NOON).num_rows == 0
    rows = simulated(3)
    for part in range(3):
        add(lake, rows[part::3])
    found = by_id([late_flags.flags(lake, begin, end, NOON)])
    assert found
    assert found == live(rows, begin, end)
