"""Runs on a whole platform: they end, are stopped in Spark too, and survive kill -9 of whatever carries them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lakehouse.jobs import JOBS
from lakehouse.lake import Lake
from lakehouse.probes import spark_answers
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.services.service import child_environment
from lakehouse.services.state import status
from lakehouse.session import SparkAway, connect
from lakehouse.settings import Settings
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support import job_worker
from tests.support.job_worker import SCRATCH
from tests.support.shop import Shop, beside, eventually
from tests.support.shop_runs import busy, ended, lived_legally, look, submit, wait_for, written_once

pytestmark = pytest.mark.e2e
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def settings(shop: Shop) -> Settings:
    """A platform with its stream and workers, and events in it."""
    return shop.settings


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    spark = connect(settings)
    yield Lake(spark, settings)
    spark.stop()


@dataclass
class Service:
    """A worker service of our own, with a registry of its own, on the platform's Spark."""

    settings: Settings
    registry: RunRegistry
    process: subprocess.Popen[bytes]

    def family(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]


@contextlib.contextmanager
def service(settings: Settings, folder: Path) -> Iterator[Service]:
    own = beside(settings, folder)
    registry = RunRegistry.open(own, job_worker.JOBS)
    with (folder / f"worker-{time.monotonic_ns()}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.job_worker"],
            env={**child_environment(own), "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Service(own, registry, process)
    finally:
        process.terminate()
        process.wait(30)
        registry.close()


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(settings, tmp_path_factory.mktemp("own")) as made:
        yield made


def does(doing: str) -> Callable[[Run], bool]:
    return lambda run: run.state == State.running and bool(run.progress) and run.progress["doing"] == doing


def operations(settings: Settings, session_id: str) -> dict[str, str]:
    """Spark's own word on the operations of a session."""
    spark = connect(settings, session_id, patience=1)
    statuses = spark.client._get_operation_statuses().operation_statuses  # type: ignore[attr-defined]
    spark.client.close()
    kind = type(statuses[0]).OperationState if statuses else None
    return {one.operation_id: kind.Name(one.state) for one in statuses}


def is_closed(settings: Settings, session_id: str | None) -> bool:
    """Whether Spark says that the session has been closed for good."""
    with pytest.raises(SparkAway) as refusal:
        connect(settings, session_id, patience=1)
    return "SESSION_CLOSED" in str(refusal.value.__cause__)


def versions(lake: Lake, run: Run) -> list[int]:
    """Versions of the scratch table that carry the run's mark."""
    history = lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.path(SCRATCH)}`").collect()
    return sorted(row["version"] for row in history if row["userMetadata"] == f"run:{run.id}")


# The platform's own workers


def test_a_run_ends_with_its_result(settings: Settings, lake: Lake) -> None:
    registry = RunRegistry.open(settings)
    run = ended(registry, submit(registry, JOBS["cohort_retention"], timezone="Asia/Dubai"))
    assert run.state == State.succeeded and run.error is None and run.result is not None, run.error
    assert run.result["changed_days"] > 3 and run.result["rows_read"] > 1_000
    tables = run.result["tables"]
    assert set(tables) == {"gold.user_days", "gold.cohort_retention", "ops.marks"}
    assert run.result["rows_written"] == sum(table["rows"] for table in tables.values()) > 0
    history = lake.spark.sql(f"DESCRIBE HISTORY delta.`s3a://{settings.bucket}/gold/cohort_retention`").collect()
    marked = sorted(row["version"] for row in history if row["userMetadata"] == f"run:{run.id}")
    assert tables["gold.cohort_retention"]["versions"] == marked != []
    assert 0 < run.result["duration_seconds"] < 180
    kinds = {event.kind for event in registry.events(run.id)}
    assert kinds == {"state", "progress"}
    told = [event.data for event in registry.events(run.id) if event.kind == "progress"]
    assert max(one["tasks_done"] for one in told if one and "tasks_done" in one) > 0
    assert "Computing the cohorts" in [line.message for line in registry.logs(run.id)]
    lived_legally(registry, run)


def test_the_stream_stops_and_starts_by_a_job(shop: Shop, settings: Settings) -> None:
    registry = RunRegistry.open(settings)

    def do(action: str) -> dict[str, Any]:
        run = ended(registry, submit(registry, JOBS["stream"], action=action))
        assert run.state == State.succeeded and run.result, run.error
        return run.result

    shop.wait_until_read()
    before = do("status")
    assert before["state"] == "running" and before["lag"] == 0 and before["offsets"]
    pid = status(settings)["stream"]["pid"]
    assert do("stop")["state"] == "stopped"
    options = SimulationOptions(now_ms=int(time.time() * 1000), seed=6, history_ms=DAY_MS, history_events=300)
    sent = shop.send(list(simulate(options)))
    stopped = do("status")
    assert (stopped["state"], stopped["lag"], stopped["offsets"]) == ("stopped", sent, before["offsets"])
    assert status(settings)["stream"]["state"] == "up" and status(settings)["stream"]["pid"] == pid
    assert do("start")["state"] == "running"
    eventually(lambda: status(settings)["stream"]["lag"] == 0, 120, "the stream has caught up")
    assert status(settings)["stream"]["pid"] == pid


# kill -9


def test_a_killed_worker_service_doubles_and_loses_nothing_and_comes_back(settings: Settings) -> None:
    registry = RunRegistry.open(settings)
    run = busy(registry, "Asia/Kolkata")
    os.kill(status(settings)["worker"]["pid"], signal.SIGKILL)
    killed = time.monotonic()
    wait_for(registry, run, lambda now: now.attempt == 2 or now.state == State.queued, 30)
    print(f"reconciled {time.monotonic() - killed:.1f} s after the worker was killed")
    assert is_closed(settings, run.session_id)
    done = ended(registry, run)
    assert (done.state, done.attempt) == (State.succeeded, 2), done.error
    written_once(settings, done)
    lived_legally(registry, run)
    eventually(lambda: status(settings)["worker"]["state"] == "up", 60, "the service is up again")


@pytest.mark.nightly
def test_a_killed_spark_server_doubles_and_loses_nothing(settings: Settings) -> None:
    """Once, and under load: test_crashes."""
    registry = RunRegistry.open(settings)
    run = busy(registry, "Asia/Kathmandu")
    waiting = submit(registry, JOBS["cohort_retention"], timezone="UTC")
    before = status(settings)["spark"]["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: status(settings)["spark"]["pid"] not in (None, before), 60, "Spark is started again")
    eventually(lambda: spark_answers(settings), 120, "Spark is up again")
    back = time.monotonic()
    wait_for(registry, run, lambda now: now.attempt == 2 or now.state == State.queued, 60)
    print(f"reconciled {time.monotonic() - back:.1f} s after Spark was back")
    done = ended(registry, run, 300)
    assert (done.state, done.attempt) == (State.succeeded, 2), done.error
    written_once(settings, done)
    assert ended(registry, waiting, 300).state == State.succeeded
    lived_legally(registry, run)


# Jobs that behave badly, in a worker service of our own


def test_cancel_stops_the_work_in_spark(own: Service, lake: Lake) -> None:
    lake.create_tables([SCRATCH])
    before = lake.read(SCRATCH).count()
    run = wait_for(own.registry, submit(own.registry, job_worker.JOBS["endless"]), does("Writing without end"))
    session = run.session_id or ""

    def running() -> list[str]:
        return [one for one, state in operations(own.settings, session).items() if state.endswith("_RUNNING")]

    operation = eventually(running, 60, "Spark works on it")[0]
    asked = time.monotonic()
    assert own.registry.cancel(run.id, "enough").state == State.cancelling
    done = ended(own.registry, run, 30)
    print(f"cancelled after {time.monotonic() - asked:.2f} s")
    assert done.state == State.cancelled and done.error is None and done.attempt == 1
    interrupted = [line.fields for line in own.registry.logs(run.id) if line.message == "interrupted in Spark"]
    assert interrupted and operation in (interrupted[0] or {})["operations"]
    assert is_closed(own.settings, session)
    assert versions(lake, run) == [] and lake.read(SCRATCH).count() == before
    lived_legally(own.registry, run)


def test_a_run_that_takes_too_long_fails(own: Service, lake: Lake) -> None:
    run = ended(own.registry, submit(own.registry, job_worker.JOBS["short"]))
    assert run.state == State.failed and run.error is not None
    assert run.error["code"] == "timeout" and "4 s" in run.error["message"] and run.attempt == 1
    assert is_closed(own.settings, run.session_id) and versions(lake, run) == []


def test_a_job_that_does_not_listen_is_ended_with_its_process(own: Service) -> None:
    run = wait_for(own.registry, submit(own.registry, job_worker.JOBS["deaf"]), does("Not listening"))
    own.registry.cancel(run.id, "enough")
    assert ended(own.registry, run, 60).state == State.cancelled
    assert is_closed(own.settings, run.session_id)
    after = ended(own.registry, submit(own.registry, job_worker.JOBS["wrong"]))
    assert after.state == State.failed and after.worker != run.worker, "the process has begun anew"


def test_what_may_pass_is_tried_again_and_what_will_not_is_not(own: Service, tmp_path: Path) -> None:
    flaky = submit(own.registry, job_worker.JOBS["flaky"], gate=str(tmp_path / "marker"))
    wrong = submit(own.registry, job_worker.JOBS["wrong"])
    done = ended(own.registry, flaky)
    assert (done.state, done.attempt) == (State.succeeded, 2)
    failed = ended(own.registry, wrong)
    assert (failed.state, failed.attempt) == (State.failed, 1)
    assert failed.error == {"code": "wrong_use", "message": "There is nothing on that day."}


@pytest.mark.nightly
def test_a_worker_that_ends_gives_its_run_back(settings: Settings, tmp_path: Path, lake: Lake) -> None:
    gate = tmp_path / "gate"
    with service(settings, tmp_path) as first:
        run = submit(first.registry, job_worker.JOBS["gated"], gate=str(gate))
        wait_for(first.registry, run, does("Waiting at the gate"))
        first.process.terminate()
        assert first.process.wait(30) == 0
        assert look(first.registry, run).state == State.queued
    gate.touch()
    with service(settings, tmp_path) as second:
        done = ended(second.registry, run)
        assert (done.state, done.attempt) == (State.succeeded, 2)
        assert len(versions(lake, run)) == 1 and done.result is not None
        assert done.result["tables"] == {"test.scratch": {"versions": versions(lake, run), "rows": 1}}


@pytest.mark.nightly
def test_a_worker_taken_for_dead_can_write_no_more(settings: Settings, tmp_path: Path, lake: Lake) -> None:
    """It is stopped, not killed: when it goes on, its run is another's and has been written once."""
    gate = tmp_path / "gate"
    with service(settings, tmp_path) as first:
        run = submit(first.registry, job_worker.JOBS["gated"], gate=str(gate))
        run = wait_for(first.registry, run, does("Waiting at the gate"))
        frozen = first.family()
        for process in frozen:
            process.suspend()
        try:
            with service(settings, tmp_path) as second:
                taken = wait_for(second.registry, run, lambda now: now.attempt == 2, 60)
                assert taken.worker != run.worker and is_closed(settings, run.session_id)
                gate.touch()
                assert ended(second.registry, run).state == State.succeeded
                for process in frozen:
                    process.resume()
                said = f'"run lost", "run": "{run.id}"'

                def has_noticed() -> bool:
                    logs = [path.read_text() for path in tmp_path.glob("worker-*.log")]
                    return any("run lost" in text for text in logs)

                eventually(has_noticed, 60, said)
                assert len(versions(lake, run)) == 1
                assert look(second.registry, run).attempt == 2
        finally:
            for process in frozen:
                with contextlib.suppress(psutil.Error):
                    process.resume()
