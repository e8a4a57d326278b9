"""One running platform with a day's worth of everything, shared by the end-to-end tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lakehouse.embedded.testing import platform
from lakehouse.lake import Lake
from lakehouse.progress import behind
from lakehouse.session import connect
from lakehouse.settings import Settings
from lakehouse.sql import connect as open_sql
from producer.publish import publish
from producer.record import Record
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.oracle import Oracle

DAY_MS = 86_400_000


@dataclass
class Shop:
    """A running lake, what was sent to it, and a way to ask it."""

    settings: Settings
    folder: Path
    oracle: Oracle = field(default_factory=Oracle)
    sent: int = 0

    def send(self, records: list[Record], **how: object) -> None:
        """Publish records and tell the oracle."""
        self.sent += 1
        ledger = self.folder / f"ledger-{self.sent}.jsonl"
        publish(records, self.settings, ledger=ledger, **how)  # type: ignore[arg-type]
        self.oracle.sent(records, ledger)

    def ask(self, sql: str) -> list[dict[str, object]]:
        """Rows of a query over the lake."""
        with open_sql(self.settings) as reader:
            return reader.query(sql)

    def wait_until_read(self, seconds: float = 240) -> None:
        """Return when every record on the broker is in the book."""

        def is_read() -> bool:
            with open_sql(self.settings) as reader:
                return behind(self.settings, reader) == 0

        eventually(is_read, seconds, "the stream has read everything")


def environment_of(shop: Shop) -> dict[str, str]:
    """Settings of the shop as environment variables, for commands in processes of their own."""
    return {f"SHOPLAKE_{name.upper()}": str(value) for name, value in shop.settings.model_dump().items() if value}


def eventually(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `holds()`; fail with `what` after a generous time: slow machines decide nothing."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(1)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The platform with its stream, after ten days of history and some live traffic, all of it read."""
    folder = tmp_path_factory.mktemp("shop")
    with platform(folder, stream=True) as settings:
        made = Shop(settings, folder)
        now_ms = int(time.time() * 1000)
        history = SimulationOptions(
            now_ms=now_ms, seed=7, history_ms=10 * DAY_MS, history_events=12_000, duplicates=0.03, late=0.01,
            malformed=0.03, harmless=0.01, fraud=0.05, truth=folder / "truth.jsonl",
        )  # fmt: skip
        made.send(list(simulate(history)))
        live = SimulationOptions(
            now_ms=int(time.time() * 1000), seed=8, live=True, rate=100, duration_s=15, duplicates=0.05,
            out_of_order=0.05, late=0.02, malformed=0.05,
        )  # fmt: skip
        made.send(list(simulate(live)), live_from=live.now_ms / 1000)
        made.wait_until_read()
        yield made


@pytest.fixture(scope="session")
def live_lake(shop: Shop) -> Settings:
    """Settings of a running lake with data."""
    return shop.settings


@pytest.fixture(scope="session")
def spark_lake(shop: Shop) -> Iterator[Lake]:
    """The lake through a Spark session of its own."""
    spark = connect(shop.settings)
    yield Lake(spark, shop.settings)
    spark.stop()
