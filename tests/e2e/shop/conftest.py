"""One running platform with a day's worth of everything, shared by the end-to-end tests."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lakehouse.embedded.testing import platform
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.shop import DAY_MS, Shop


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The platform with its stream, after ten days of history and some live traffic, all of it read.

    At the end no part may have been ended because it took too much memory.
    """
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
        log = (settings.logs / "supervisor.log").read_text()
        assert "more than its" not in log, log
