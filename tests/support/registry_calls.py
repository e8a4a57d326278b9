"""Jobs that do nothing, and calls on a registry that run in processes of their own."""

import time
from pathlib import Path
from threading import Barrier
from typing import Any

from pydantic import BaseModel, ConfigDict
from pyspark.sql.types import StringType, StructType

from lakehouse.jobs import Job
from lakehouse.runs.claims import Claims
from lakehouse.runs.database import Database
from lakehouse.runs.models import Base, Run
from lakehouse.runs.registry import QueueFull, RunRegistry
from lakehouse.runs.states import State
from lakehouse.settings import Settings
from lakehouse.table import Table, column
from tests.support.platform import free_settings


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int = 1


def _table(name: str) -> Table:
    return Table("test", name, "nothing", StructType([column("a", StringType(), "a")]), ("a",))


def values(*rows: Base | None) -> list[dict[str, Any]]:
    """What the rows say: a row itself equals no other."""
    return [{column.name: getattr(row, column.name) for column in row.__table__.columns} for row in rows if row]


A, B, C = _table("a"), _table("b"), _table("c")


def _nothing(_lake: Any, _parameters: Any, _say: Any) -> dict[str, Any]:
    return {}


def _job(name: str, *writes: Table, **more: Any) -> Job:
    return Job(name, f"{name}.", Parameters, writes, 1, _nothing, **more)


JOBS = {
    job.name: job
    for job in (
        _job("a", A),
        _job("b", B),
        _job("ab", A, B),
        _job("c", C),
        _job("none"),
        _job("once", C, max_attempts=1),
        _job("sparkless", needs_spark=False),
        _job("nightly", A, schedule="10 2 * * *", scheduled_with={"number": 7}),
        _job("hourly", B, schedule="0 * * * *"),
    )
}


def settings_for(folder: Path, **more: object) -> Settings:
    return free_settings(folder, **{"max_parallel_runs": 64, "max_queued_runs": 10_000, **more})


def registry_at(settings: Settings) -> RunRegistry:
    return RunRegistry.open(settings, JOBS)


def open_new(files: list[Path], together: Barrier) -> int:
    """Bring databases that are not there yet up to date, each at the same time as the others do; how many."""
    for file in files:
        together.wait(60)
        database = Database(file)
        database.migrate()
        database.close()
    return len(files)


def submit_same_key(settings: Settings, key: str, times: int) -> list[str]:
    registry = registry_at(settings)
    job = JOBS["a"]
    return [registry.submit(job, Parameters(), caller="me", idempotency=(key, "hash")).run.id for _ in range(times)]


def submit_until_full(settings: Settings, times: int, caller: str) -> tuple[int, int]:
    """How many were accepted and how many refused."""
    registry, refused = registry_at(settings), 0
    for _ in range(times):
        try:
            registry.submit(JOBS["a"], Parameters(), caller=caller)
        except QueueFull:
            refused += 1
    return times - refused, refused


def work_off(settings: Settings, worker: str, patience: float = 60) -> list[tuple[str, str, int, float, float]]:
    """Take runs until none is left under way; (run, job, attempt, taken, ended) of each."""
    registry = registry_at(settings)
    claims, done = Claims(registry), []
    end = time.monotonic() + patience
    while time.monotonic() < end:
        run = claims.take(worker, "session")
        if run is None:
            if not registry.list(states=("queued", "running"), limit=1):
                return done
            time.sleep(0.002)
            continue
        taken = time.time()
        assert claims.beat(run) == State.running
        ended = time.time()
        assert claims.end(run, State.succeeded, "done", result={})
        done.append((run.id, run.job, run.attempt, taken, ended))
    raise AssertionError("there was no end")


def reconcile_all(settings: Settings, runs: list[Run]) -> int:
    """How many of the runs this process reconciled."""
    claims = Claims(registry_at(settings))
    return sum(claims.reconcile(run, "its worker has gone") is not None for run in runs)


def trigger_due_at(settings: Settings, moment: Any) -> int:
    from lakehouse.runs.schedule import trigger_due

    return len(trigger_due(registry_at(settings), moment))
