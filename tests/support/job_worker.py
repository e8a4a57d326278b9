"""The worker service with jobs that do what a test needs: `python -m tests.support.job_worker`."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from pyspark.sql.types import LongType, StructType

import lakehouse.jobs
from lakehouse.errors import UsageError
from lakehouse.jobs import Job
from lakehouse.lake import Lake
from lakehouse.table import Table, column

SCRATCH = Table("test", "scratch", "nothing", StructType([column("id", LongType(), "number")]), ("id",))
OTHER = Table("test", "other", "nothing", StructType([column("id", LongType(), "number")]), ("id",))


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Gated(BaseModel):
    model_config = ConfigDict(extra="forbid")
    gate: str


def endless(lake: Lake, _parameters: Any, say: Any) -> dict[str, Any]:
    """A write that never ends."""
    lake.create_tables([SCRATCH])
    say("Writing without end")
    lake.append(SCRATCH, lake.spark.range(0, 10**14, 1, 2).where("reflect('java.lang.Thread', 'sleep', 10L) = ''"))
    return {}


def gated(lake: Lake, parameters: Gated, say: Any) -> dict[str, Any]:
    """Waits for a file, then writes one row."""
    lake.create_tables([SCRATCH])
    while not Path(parameters.gate).exists():
        say("Waiting at the gate")
        time.sleep(0.05)
    lake.append(SCRATCH, lake.spark.range(1))
    return {"rows_read": 0}


def deaf(_lake: Lake, _parameters: Any, say: Any) -> dict[str, Any]:
    """Does not hear that it has to stop."""
    say("Not listening")
    while True:
        time.sleep(0.05)


def waits(_lake: Lake, parameters: Gated, say: Any) -> dict[str, Any]:
    """Waits for a file, without Spark."""
    while not Path(parameters.gate).exists():
        say("Waiting at the gate")
        time.sleep(0.05)
    return {}


def flaky(_lake: Lake, parameters: Gated, _say: Any) -> dict[str, Any]:
    """Meets a conflict the first time."""
    marker = Path(parameters.gate)
    if not marker.exists():
        marker.touch()
        raise RuntimeError("[DELTA_CONCURRENT_APPEND] Files were added by a concurrent update.")
    return {}


class Hungry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    megabytes: int


KEPT: list[bytes] = []


def hungry(_lake: Lake, parameters: Hungry, _say: Any) -> dict[str, Any]:
    """Leaves that much memory behind, as a library does that stays loaded."""
    KEPT.append(os.urandom(2**20) * parameters.megabytes)
    return {}


def wrong(_lake: Lake, _parameters: Any, _say: Any) -> dict[str, Any]:
    raise UsageError("There is nothing on that day.")


JOBS = {
    job.name: job
    for job in (
        Job("endless", "Endless.", Nothing, (SCRATCH,), 1, endless),
        Job("short", "Endless, but cut off.", Nothing, (SCRATCH,), 1, endless, timeout_seconds=4),
        Job("gated", "Gated.", Gated, (SCRATCH,), 1, gated),
        Job("deaf", "Deaf.", Nothing, (OTHER,), 1, deaf),
        Job("deaf_by_itself", "Deaf, without Spark.", Nothing, (), 1, deaf, needs_spark=False),
        Job("waits", "Waits, without Spark.", Gated, (), 1, waits, needs_spark=False),
        Job("flaky", "Flaky.", Gated, (), 1, flaky),
        Job("hungry", "Hungry.", Hungry, (), 1, hungry, needs_spark=False),
        Job("wrong", "Wrong.", Nothing, (), 1, wrong),
    )
}


if __name__ == "__main__":
    # In place of the lake's.
    lakehouse.jobs.JOBS.clear()
    lakehouse.jobs.JOBS.update(JOBS)
    from lakehouse.services.worker import main

    sys.exit(main())
