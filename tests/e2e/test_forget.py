"""A person is forgotten on a platform whose stream goes on, as docs/forget-a-person.md says it.

What it must leave alone, and every step by itself: tests/e2e/shop/test_forget_tables.py.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse import persons
from lakehouse.services.service import child_environment
from producer.publish import publish
from producer.record import Record
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support import pages, traces
from tests.support.platform import platform
from tests.support.shop import DAY_MS, Shop, eventually, live_load

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
(FORGET,) = pages.marked(__file__)
USER = "u-4711-left"


def of_user() -> list[Record]:
    """A view in each of the last hours, and a record that is refused."""
    events = [
        {
            "event_id": f"left-{hours}",
            "event_type": "product_view",
            "user_id": USER,
            "timestamp": f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" if hours < 9 else "never",
            "data": {"product_id": "p1"},
        }
        for hours in range(10)
    ]
    return [Record("shop.page_views", USER.encode(), json.dumps(one).encode(), time.time()) for one in events]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with platform(tmp_path, stream=True) as settings:
        made = Shop(settings, tmp_path)
        history = SimulationOptions(
            now_ms=int(time.time() * 1000), seed=71, history_ms=3 * DAY_MS, history_events=5_000, duplicates=0.03,
            late=0.01, malformed=0.03, fraud=0.05,
        )  # fmt: skip
        publish([*simulate(history), *of_user()], settings)
        made.wait_until_read(900)
        yield made


def test_a_person_is_forgotten_beside_a_running_stream(shop: Shop) -> None:
    words = persons.spellings(USER)
    assert traces.in_bucket(shop.settings, words)
    load = live_load(shop, seed=72, seconds=60, rate=50)
    assert "u5678 --yes" in FORGET.text
    text = FORGET.text.replace("u5678 --yes", f"{USER} --yes --wait-seconds 0")
    text = text.replace("shoplake sql ", "sleep 15; shoplake sql ")
    environment = {**child_environment(shop.settings), **pages.programs(shop.folder / "bin")}
    told = pages.run(text, environment, shop.folder)
    load.join()
    shop.wait_until_read()
    assert persons.name_of(shop.settings, USER) in told and USER not in told
    assert shop.ask(f"SELECT count(*) AS n FROM silver.events WHERE user_id = '{USER}'") == [{"n": 0}]
    assert shop.ask("SELECT was, count(*) AS n FROM ops.erased_records GROUP BY 1 ORDER BY 1") == [
        {"was": "quarantined", "n": 1},
        {"was": "silver", "n": 9},
    ]
    assert traces.in_bucket(shop.settings, words) == []

    def is_clean() -> bool:
        folders = ("serving", "stream", "run")
        return not any(traces.in_files(shop.settings.data_dir / name, words) for name in folders)

    eventually(is_clean, 60, "the serving file and the stream's memory are made anew")
