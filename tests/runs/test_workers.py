"""The worker service by itself: no Spark, jobs that need none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.services.service import child_environment
from lakehouse.services.testing import free_settings
from lakehouse.settings import Settings
from tests.support import job_worker
from tests.support.shop import eventually


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A lake of which only the worker service runs, with one worker."""
    own = free_settings(tmp_path, max_parallel_runs=1)
    own.data_dir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.job_worker"],
        env={**os.environ, **child_environment(own), "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield own
    finally:
        process.terminate()
        assert process.wait(30) == 0


def told(settings: Settings) -> dict[str, Any]:
    """What the service says of itself."""
    report = settings.run_dir / "worker.json"
    return json.loads(report.read_text()) if report.exists() else {}


def worker(settings: Settings) -> int:
    """The process id of the one worker; 0 while there is none."""
    return next(iter(told(settings)["workers"].values()), 0)


def succeeds(settings: Settings, megabytes: int, what: str) -> None:
    """A run that leaves so much behind is done."""
    job = job_worker.JOBS["hungry"]
    with closing(RunRegistry.open(settings, job_worker.JOBS)) as registry:
        run = registry.submit(job, job.parse({"megabytes": str(megabytes)}), caller="test").run

        def is_done() -> bool:
            found = registry.get(run.id)
            return found is not None and found.state == State.succeeded

        eventually(is_done, 60, what)


def test_a_worker_that_has_grown_makes_room_and_the_service_stays_up(settings: Settings) -> None:
    eventually(lambda: told(settings).get("state") == "running", 120, "the worker is warm")
    first = worker(settings)
    succeeds(settings, 1, "a small run ends")
    assert worker(settings) == first
    succeeds(settings, 300, "a large run ends")
    eventually(lambda: worker(settings) not in (0, first), 60, "another worker has taken its place")
    assert not psutil.pid_exists(first) and told(settings)["state"] == "running"
    succeeds(settings, 1, "the new one works")


def test_workers_whose_origin_was_killed_are_replaced_and_none_is_left(settings: Settings) -> None:
    """Nobody learns any more how such a worker ends: it has to be dead before its runs are given to another."""
    eventually(lambda: told(settings).get("state") == "running", 120, "the worker is warm")
    first = psutil.Process(worker(settings))
    origin = first.parent()
    assert origin is not None
    origin.kill()
    eventually(lambda: worker(settings) not in (0, first.pid), 60, "another worker has taken its place")
    eventually(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE, 10, "the first is dead")
    succeeds(settings, 1, "the new one works")
