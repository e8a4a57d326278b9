"""The whole shop with executors of a real YARN: executors and the driver are killed under load."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from lakehouse.services.state import status
from tests.support import yarn
from tests.support.platform import free_settings, running
from tests.support.shop import (
    Shop,
    assert_books_balance,
    assert_gold_is_right,
    eventually,
    live_load,
    shop_with_history,
)

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
EXECUTORS = 2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The platform on YARN, and history in it."""
    folder = tmp_path_factory.mktemp("yarn")
    settings = free_settings(
        folder,
        spark_master=f"yarn://{yarn.HOST}:8032",
        spark_executors=EXECUTORS,
        spark_executor_cores=1,
        spark_executor_memory_mb=1024,
        spark_memory_mb=1536,
    )
    with yarn.cluster(folder / "yarn", settings), running(settings, stream=True):
        yield shop_with_history(settings, folder, seed=91)


def application() -> str:
    """The id of the one application that runs on YARN."""
    (found,) = yarn.asked("apps", "?states=RUNNING")
    return str(found["id"])


def executors() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if process.name() == "java" and "YarnCoarseGrainedExecutorBackend" in " ".join(words):
                found.append(process)
    return found


def test_executors_are_those_asked_for_and_gold_is_right(shop: Shop) -> None:
    work = [process.cpu_times().user for process in executors()]
    assert len(work) == EXECUTORS and min(work) > 0.2 * max(work), "all had a part of the work"
    assert_books_balance(shop)
    assert_gold_is_right(shop)


def test_a_killed_executor_loses_nothing(shop: Shop) -> None:
    load = live_load(shop, seed=92, rate=80, seconds=30)
    time.sleep(10)
    for process in executors()[:1]:
        os.kill(process.pid, signal.SIGKILL)
    load.join()
    shop.wait_until_read(900)
    assert_books_balance(shop)
    assert_gold_is_right(shop)


def test_a_killed_driver_comes_back_with_a_new_application(shop: Shop) -> None:
    before = application()
    load = live_load(shop, seed=93, rate=80, seconds=15)
    time.sleep(6)
    os.kill(status(shop.settings)["spark"]["pid"], signal.SIGKILL)
    load.join()
    shop.wait_until_read(900)
    assert eventually(application, 120, "one application runs") != before
    assert_books_balance(shop)
    assert_gold_is_right(shop)
