"""The whole shop on a Spark cluster of two workers: workers and the driver are killed under load."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from lakehouse.services.detached import stop
from lakehouse.services.service import child_environment
from lakehouse.services.state import status
from lakehouse.settings import Settings
from tests.support import pages
from tests.support.platform import free_settings
from tests.support.shop import (
    Shop,
    assert_books_balance,
    assert_gold_is_right,
    eventually,
    live_load,
    shop_with_history,
)

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
UP, JOIN = pages.marked(__file__)


@contextmanager
def joined_worker(settings: Settings, folder: Path) -> Iterator[psutil.Popen]:
    """A worker as on another machine: with a folder of its own, started by the documented command."""
    (command,) = JOIN.commands
    theirs = settings.model_copy(
        update={
            "data_dir": folder,
            "spark_workers": 0,
            "spark_master": settings.master,
            "spark_secret_file": settings.data_dir / "spark" / "cluster.secret",
        }
    )
    with (folder / "worker.log").open("wb") as log:
        worker = psutil.Popen(
            [sys.executable, *command.removeprefix(".venv/bin/python ").split()],
            env=child_environment(theirs),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield worker
    finally:
        if worker.is_running():
            worker.terminate()
            worker.wait(30)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The platform on the documented cluster of two workers, and history in it."""
    folder = tmp_path_factory.mktemp("cluster")
    sizes = {"spark_workers": 2, "spark_executor_cores": 1, "spark_executor_memory_mb": 1024}
    settings = free_settings(folder, spark_memory_mb=1536, **sizes)
    typed = {name: value for name, _, value in (word.partition("=") for word in UP.commands[0].split()) if value}
    assert typed == {f"SHOPLAKE_{name.upper()}": str(value) for name, value in sizes.items()}
    try:
        settings.data_dir.mkdir(parents=True)
        pages.run(UP.text, {**child_environment(settings), **pages.programs(folder / "bin")}, settings.data_dir)
        yield shop_with_history(settings, folder, seed=71)
    except BaseException as error:
        error.add_note(f"The platform's logs are in {settings.logs}")
        raise
    finally:
        stop(settings)


def executors(worker: psutil.Process) -> list[psutil.Process]:
    found = []
    for process in worker.children(recursive=True):
        with suppress(psutil.Error):  # what started the worker is left as a zombie
            if "CoarseGrainedExecutorBackend" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_two_workers_do_the_work_and_a_killed_one_loses_nothing(shop: Shop) -> None:
    """As when its machine is lost: the worker and its executor at once."""
    both = [psutil.Process(status(shop.settings)[f"spark-worker-{number}"]["pid"]) for number in (1, 2)]
    work = [executors(worker)[0].cpu_times().user for worker in both]
    assert min(work) > 0.2 * max(work), "both had a part of the work"
    load = live_load(shop, seed=72, rate=100, seconds=30)
    time.sleep(10)
    for process in (*executors(both[1]), both[1]):
        os.kill(process.pid, signal.SIGKILL)
    load.join()
    shop.wait_until_read(900)
    assert_books_balance(shop)
    assert_gold_is_right(shop)


def test_a_worker_joins_from_another_machine_and_is_lost_for_good(shop: Shop, tmp_path: Path) -> None:
    with joined_worker(shop.settings, tmp_path) as worker:
        (executor,) = eventually(lambda: executors(worker), 120, "the third worker has its executor")
        before = executor.cpu_times().user
        load = live_load(shop, seed=73, rate=80, seconds=30)
        eventually(lambda: executor.cpu_times().user > before + 5, 120, "the third worker does a part of the work")
        for process in (worker, executor):
            os.kill(process.pid, signal.SIGKILL)
        load.join()
        shop.wait_until_read(900)
    assert_books_balance(shop)
    assert_gold_is_right(shop)


def test_a_killed_driver_comes_back(shop: Shop) -> None:
    load = live_load(shop, seed=85, rate=80, seconds=15)
    time.sleep(6)
    killed = status(shop.settings)["spark"]["pid"]
    os.kill(killed, signal.SIGKILL)
    load.join()
    shop.wait_until_read(900)
    assert status(shop.settings)["spark"]["pid"] != killed
    assert_books_balance(shop)
    assert_gold_is_right(shop)
