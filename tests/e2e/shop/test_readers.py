"""Many readers of the dashboards' questions, while the stream commits, tables are compacted, and gold is published."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lakehouse.api_client import ApiClient
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.serving.file import published
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.shop import Shop, eventually

pytestmark = pytest.mark.e2e

READERS, FEW_READERS = 16, 2
"""For minutes, and in the short form: sixteen processes would take the two cores from the stream for a minute."""
RATE = 50
LONG_SECONDS = float(os.environ.get("SHOPLAKE_TEST_READER_SECONDS", "600"))


def reader(shop: Shop, stop: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.dashboard_reader", str(shop.settings.serving_file), str(stop)]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)


def p(share: float, values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def ended(client: ApiClient, run_id: str) -> dict[str, Any] | None:
    run = client.run(run_id)
    return run if run["finished_at"] else None


@pytest.mark.parametrize(
    ("count", "seconds", "tidied_tables"),
    [
        (FEW_READERS, 10.0, {"table": "gold.kpis_hourly"}),
        pytest.param(READERS, LONG_SECONDS, {}, marks=pytest.mark.nightly),
    ],
)
def test_readers_see_whole_publishes_and_no_error(
    shop: Shop, tmp_path: Path, count: int, seconds: float, tidied_tables: dict[str, str]
) -> None:
    stop = tmp_path / "stop"
    before = {row["table_name"]: row["published_at"] for row in published(shop.settings)}
    readers = [reader(shop, stop) for _ in range(count)]
    try:
        with ApiClient(shop.settings) as client:
            maintenance = client.start("maintenance", tidied_tables)["id"]
        live = SimulationOptions(now_ms=int(time.time() * 1000), seed=16, live=True, rate=RATE, duration_s=seconds)
        shop.send(list(simulate(live)), live_from=live.now_ms / 1000)
        shop.wait_until_read()
    finally:
        stop.touch()
        said = [one.communicate(timeout=120)[0] for one in readers]
    with ApiClient(shop.settings) as client:
        tidied = eventually(lambda: ended(client, maintenance), 300, "maintenance has ended")
    assert tidied["state"] == "succeeded"
    found = [json.loads(text) for text in said]
    assert [each["errors"] for each in found] == [[]] * count
    assert sum(each["broken"] for each in found) == 0 and all(each["asked"] for each in found)
    after = {row["table_name"]: row["published_at"] for row in published(shop.settings)}
    assert sum(after[name] > at for name, at in before.items()) >= 3
    took = [one for each in found for one in each["ms"]]
    staleness = [one for each in found for one in each["staleness"]]
    print(
        f"\n{count} readers, {seconds:.0f} s: {len(took):,} questions, p50 {statistics.median(took):.0f} ms,"
        f" p95 {p(0.95, took):.0f} ms; newest batch seen was {statistics.median(staleness):.1f} s old,"
        f" p99 {p(0.99, staleness):.1f} s"
    )
