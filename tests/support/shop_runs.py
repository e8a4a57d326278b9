"""Runs of jobs on a whole platform: started, waited for, and looked at in the tables."""

import itertools
from collections.abc import Callable
from typing import Any

from lakehouse.jobs import JOBS, Job
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import MOVES
from lakehouse.settings import Settings
from lakehouse.sql import connect as open_sql
from tests.support.shop import eventually


def submit(registry: RunRegistry, job: Job, **parameters: str) -> Run:
    return registry.submit(job, job.parse(parameters), caller="test").run


def look(registry: RunRegistry, run: Run) -> Run:
    found = registry.get(run.id)
    assert found is not None
    return found


def wait_for(registry: RunRegistry, run: Run, holds: Callable[[Run], Any], seconds: float = 120) -> Run:
    def found() -> Run | None:
        now = look(registry, run)
        return now if holds(now) else None

    try:
        return eventually(found, seconds, f"{run.job} {run.id}", pause=0.05)
    except AssertionError as error:
        error.add_note(f"{look(registry, run)}\n{registry.events(run.id)}\n{registry.logs(run.id)}")
        raise


def ended(registry: RunRegistry, run: Run, seconds: float = 180) -> Run:
    return wait_for(registry, run, lambda now: now.is_terminal, seconds)


def lived_legally(registry: RunRegistry, run: Run) -> None:
    told = [event.state for event in registry.events(run.id) if event.kind == "state"]
    assert all(to in MOVES[before] for before, to in itertools.pairwise(told))


def busy(registry: RunRegistry, zone: str) -> Run:
    """A run of a real job, with all the work of a new time zone before it, that works in Spark now."""
    run = submit(registry, JOBS["cohort_retention"], timezone=zone)
    # Spark tells of its tasks every two seconds, and the second step, the first in Spark, may be over by then.
    return wait_for(registry, run, lambda now: now.progress and int(now.progress.get("step", 0)) >= 2)


def written_once(settings: Settings, done: Run) -> None:
    """Whatever was cut off, the tables hold each cell and each mark of the run once."""
    with open_sql(settings) as reader:
        zone = done.parameters["timezone"]
        cells = reader.query(
            "select count(*) as cells, count(distinct (granularity, cohort_start, period_index, definition, activity))"
            f" as different from gold.cohort_retention where timezone = '{zone}'"
        )[0]
        marks = reader.query(f"select count(*) as marks from ops.marks where scope = '{zone}'")[0]["marks"]
    assert done.result is not None and cells["cells"] == cells["different"] == done.result["cells"] > 0
    # A mark that moved when the worker died right behind it moves again, to the same place or further.
    assert marks in (1, 2)
