"""One running platform with a day's worth of everything, shared by the end-to-end tests."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.platform import free_settings, running
from tests.support.shop import DAY_MS, KEPT_BACK, Shop


def send_ten_days(shop: Shop, ending: threading.Event) -> None:
    """History and some live traffic, from when Kafka answers."""
    history = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=7, history_ms=10 * DAY_MS, history_events=12_000, duplicates=0.03,
        late=0.01, malformed=0.03, harmless=0.01, fraud=0.05, truth=shop.folder / "truth.jsonl",
    )  # fmt: skip
    shop.send(list(simulate(history)), stop=ending)
    live = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=8, live=True, rate=100, duration_s=15, duplicates=0.05,
        out_of_order=0.05, late=0.02, malformed=0.05,
    )  # fmt: skip
    shop.send(list(simulate(live)), live_from=live.now_ms / 1000, stop=ending)


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The platform with its stream, after ten days of history and some live traffic, all of it read.

    It is sent while the platform starts. At the end no part may have been ended because it took too much memory.
    """
    folder = tmp_path_factory.mktemp("shop")
    made, ending = Shop(free_settings(folder), folder), threading.Event()
    with ExitStack() as stack:
        sending = stack.enter_context(ThreadPoolExecutor(max_workers=1)).submit(send_ten_days, made, ending)
        stack.callback(ending.set)  # a platform that does not start must not be waited for
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(KEPT_BACK, "hunter2")
        stack.enter_context(running(made.settings, stream=True))
        sending.result()
        made.wait_until_read()
        yield made
        log = (made.settings.logs / "supervisor.log").read_text()
        assert "more than its" not in log, log
