"""The worker service by itself: no Spark, jobs that need none."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lakehouse.reports import age, read_report
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.services.service import child_environment
from lakehouse.settings import Settings
from tests.support import job_worker
from tests.support.platform import free_settings
from tests.support.shop import eventually


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A lake of which only the worker service runs, with two workers."""
    own = free_settings(tmp_path_factory.mktemp("worker"), max_parallel_runs=2)
    own.data_dir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.job_worker"],
        env={**os.environ, **child_environment(own), "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    try:
        eventually(lambda: read_report(own.run_dir / "worker.json").get("pid") == process.pid, 300, "it works")
        yield own
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture
def registry(settings: Settings) -> Iterator[RunRegistry]:
    with closing(RunRegistry.open(settings, job_worker.JOBS)) as opened:
        yield opened


def submit(registry: RunRegistry, name: str, **parameters: str) -> str:
    job = job_worker.JOBS[name]
    return registry.submit(job, job.parse(parameters), caller="test").run.id


def comes(registry: RunRegistry, run_id: str, *states: State, attempt: int = 1) -> Run:
    def is_there() -> Run | None:
        found = registry.get(run_id)
        return found if found and found.state in states and found.attempt == attempt else None

    return eventually(is_there, 60, f"the run is {states}")


def worker(registry: RunRegistry) -> str | None:
    """The service that a run is done by; each start of it has a name of its own."""
    return comes(registry, submit(registry, "hungry", megabytes="1"), State.succeeded).worker


def test_a_service_that_has_grown_begins_anew(settings: Settings, registry: RunRegistry) -> None:
    first = worker(registry)
    assert worker(registry) == first, "a small run leaves it as it is"
    comes(registry, submit(registry, "hungry", megabytes="600"), State.succeeded)
    eventually(lambda: worker(registry) != first, 60, "the process has begun anew")
    assert age(read_report(settings.run_dir / "worker.json")) < 10


def test_a_job_that_does_not_listen_is_ended_and_the_other_run_is_given_back(
    settings: Settings, registry: RunRegistry, tmp_path: Path
) -> None:
    deaf = submit(registry, "deaf_by_itself")
    other = submit(registry, "waits", gate=str(tmp_path / "gate"))
    first = comes(registry, deaf, State.running).worker
    assert comes(registry, other, State.running).worker == first
    registry.cancel(deaf, "enough")
    assert comes(registry, deaf, State.cancelled).error is None
    assert comes(registry, other, State.running, attempt=2).worker != first
    (tmp_path / "gate").touch()
    assert comes(registry, other, State.succeeded, attempt=2).max_attempts == 5, "an end of the service counts as none"


def test_runs_of_a_killed_service_are_done_by_the_next(
    settings: Settings, registry: RunRegistry, tmp_path: Path
) -> None:
    run = comes(registry, submit(registry, "waits", gate=str(tmp_path / "gate")), State.running)
    frozen = read_report(settings.run_dir / "worker.json")["pid"]
    os.kill(frozen, signal.SIGSTOP)  # to its heartbeat it is the same, and the fixture can end it
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.job_worker"],
            env={**os.environ, **child_environment(settings), "PYTHONPATH": str(Path(__file__).parents[3])},
        ) as second:
            again = comes(registry, run.id, State.running, attempt=2)
            assert again.worker != run.worker
            (tmp_path / "gate").touch()
            comes(registry, run.id, State.succeeded, attempt=2)
            second.terminate()
            assert second.wait(30) == 0
    finally:
        os.kill(frozen, signal.SIGCONT)
