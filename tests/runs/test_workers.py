"""The worker service by itself: no Spark, jobs that need none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.embedded.service import child_environment
from lakehouse.embedded.testing import free_settings
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
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


def test_a_worker_that_has_grown_makes_room_and_the_service_stays_up(settings: Settings) -> None:
    report = settings.run_dir / "worker.json"

    def told() -> dict[str, object]:
        return json.loads(report.read_text()) if report.exists() else {}

    def worker() -> int:
        return next(iter(told()["workers"].values()), 0)  # type: ignore[attr-defined]

    eventually(lambda: told().get("state") == "running", 120, "the worker is warm")
    first, job = worker(), job_worker.JOBS["hungry"]
    registry = RunRegistry.open(settings, job_worker.JOBS)
    try:
        run = registry.submit(job, job.parse({"megabytes": "1"}), caller="test").run
        eventually(lambda: registry.get(run.id).state == State.succeeded, 60, "a small run ends")  # type: ignore[union-attr]
        assert worker() == first
        run = registry.submit(job, job.parse({"megabytes": "300"}), caller="test").run
        eventually(lambda: registry.get(run.id).state == State.succeeded, 60, "a large run ends")  # type: ignore[union-attr]
        eventually(lambda: worker() not in (0, first), 60, "another worker has taken its place")
        assert not psutil.pid_exists(first) and told()["state"] == "running"
        run = registry.submit(job, job.parse({"megabytes": "1"}), caller="test").run
        eventually(lambda: registry.get(run.id).state == State.succeeded, 60, "the new one works")  # type: ignore[union-attr]
    finally:
        registry.close()


def test_workers_whose_origin_was_killed_are_replaced_and_none_is_left(settings: Settings) -> None:
    """Nobody learns any more how such a worker ends: it has to be dead before its runs are given to another."""
    report = settings.run_dir / "worker.json"
    eventually(lambda: report.exists() and json.loads(report.read_text())["state"] == "running", 120, "it is warm")
    (first,) = json.loads(report.read_text())["workers"].values()
    worker = psutil.Process(first)
    origin = worker.parent()
    assert origin is not None
    origin.kill()
    eventually(
        lambda: list(json.loads(report.read_text())["workers"].values()) not in ([], [first]), 60, "another works"
    )
    eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 10, "the first is dead")
    job = job_worker.JOBS["hungry"]
    registry = RunRegistry.open(settings, job_worker.JOBS)
    try:
        run = registry.submit(job, job.parse({"megabytes": "1"}), caller="test").run
        eventually(lambda: registry.get(run.id).state == State.succeeded, 60, "the new one works")  # type: ignore[union-attr]
    finally:
        registry.close()
