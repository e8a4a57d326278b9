"""What the stream writes, the stream tidies: whatever is declared so, and nothing else."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lakehouse.catalog import TABLES
from lakehouse.settings import Settings
from lakehouse.stream import housekeeping, rebuilt
from lakehouse.stream.housekeeping import Housekeeping
from lakehouse.table import Table
from tests.support.memory_s3 import memory_lake

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
REPLACED = {table.full_name for table in TABLES if table.live} | {"gold.fraud_flags"}
REBUILT = {"bronze.events", "silver.events", "silver.quarantine"}
ADDED_TO = {"ops.batches"}


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with memory_lake(tmp_path) as made:
        yield made


class Lake:
    """Hears what it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.small = settings, self
        self.compacted: set[str] = set()
        self.vacuumed: set[str] = set()

    def compact(self, table: Table, _condition: str | None) -> None:
        self.compacted.add(table.full_name)

    def vacuum(self, table: Table) -> None:
        self.vacuumed.add(table.full_name)


def tidied(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """After one round."""
    moving = SimpleNamespace(monotonic=lambda: moving.now, now=0.0)
    monkeypatch.setattr(housekeeping, "time", moving)
    lake: Any = Lake(settings)
    tidies = Housekeeping(lake)
    moving.now = housekeeping.VACUUM_SECONDS
    tidies.after_batch([date(2026, 3, 2)], NOW)
    assert tidies._running is not None
    tidies._running.result(60)
    return lake


def test_every_table_that_the_stream_writes_is_tidied(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = tidied(settings, monkeypatch)
    assert lake.compacted == ADDED_TO | REBUILT
    assert lake.vacuumed == ADDED_TO | REBUILT | REPLACED


def test_what_a_job_rebuilds_is_left_alone_meanwhile(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with rebuilt.under_way(settings):
        assert tidied(settings, monkeypatch).compacted == ADDED_TO
