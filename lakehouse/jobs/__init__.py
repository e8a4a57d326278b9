"""The job registry: every batch job once, with its parameters and the tables it writes.

The command line, the HTTP API, the schedule and the workers read it. A job is a function of a Lake and its
parameters; it says each step it begins (the same words again are no new step), and returns figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from lakehouse.errors import UsageError
from lakehouse.jobs import (
    backfill,
    cohort_retention,
    forget,
    maintenance,
    quality,
    reconcile,
    replay_quarantine,
    stream,
)
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.table import LONGEST_RUN_SECONDS, Table
from lakehouse.wording import in_words


class WrongParameters(UsageError):
    """A run cannot be as it was asked for; `errors` are all that pydantic found."""

    def __init__(self, job: Job, errors: Sequence[Mapping[str, Any]]) -> None:
        """Tells one of the errors: an unknown name first, since what seems to be missing may be misspelt."""
        first = min(errors, key=lambda one: one["type"] != "extra_forbidden")
        name = ".".join(str(part) for part in first["loc"])
        known = ", ".join(job.parameters.model_fields) or "none"
        hint = f"; there are {known}" if first["type"] == "extra_forbidden" else ""
        which = f"The parameter {name} of {job.name} is" if name else f"The parameters of {job.name} are"
        super().__init__(f"{which} wrong: {in_words(first)}{hint}.")
        self.errors = errors


@dataclass(frozen=True)
class Job:
    """A registered job. `steps` is how many steps a run says; `writes` must not be written by two runs at once.

    `timeout_seconds` counts per attempt, LONGEST_RUN_SECONDS at most: so long a vacuum leaves what a run may be
    writing. `schedule` is cron text in UTC, and `scheduled_with` the parameters of the runs that it makes; `makes_up`
    tells whether a due time that passed while nothing ran makes a run later, at a start, when there is most to do.
    """

    name: str
    summary: str
    parameters: type[BaseModel]
    writes: tuple[Table, ...]
    steps: int
    run: Callable[[Lake, Any, Say], dict[str, Any]]
    timeout_seconds: int = LONGEST_RUN_SECONDS
    max_attempts: int = 4
    schedule: str | None = None
    scheduled_with: Mapping[str, Any] = field(default_factory=dict)
    makes_up: bool = True
    needs_spark: bool = True
    needs_admin: bool = False
    """True if the scope `jobs:run` is not enough."""

    def __post_init__(self) -> None:
        """Raises ValueError for a run that may outlive the files it writes."""
        if not 0 < self.timeout_seconds <= LONGEST_RUN_SECONDS:
            raise ValueError(f"{self.name}: the time-out must be between 1 and {LONGEST_RUN_SECONDS} seconds")

    @property
    def locks(self) -> tuple[str, ...]:
        """The locks of a run, sorted: the tables that it writes, or the job's own name if it writes none."""
        return tuple(sorted(table.full_name for table in self.writes)) or (f"job:{self.name}",)

    def parse(self, given: Mapping[str, Any]) -> BaseModel:
        """Typed parameters. Raises WrongParameters."""
        try:
            return self.parameters.model_validate(dict(given))
        except ValidationError as error:
            raise WrongParameters(self, error.errors(include_url=False)) from None


def _of(module: ModuleType, summary: str, steps: int, **more: Any) -> Job:
    """The job of a module that has its name, with `Parameters`, `WRITES` and `run`."""
    name = module.__name__.rpartition(".")[2]
    return Job(name, summary, module.Parameters, module.WRITES, steps, module.run, **more)


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        _of(
            cohort_retention,
            "Daily, weekly and monthly cohorts and how many of them come back.",
            steps=3,
            schedule="10 2 * * *",
        ),
        Job(
            "top_products",
            "Recompute the hourly top products of a range of days from silver.",
            backfill.Parameters,
            backfill.TOP_PRODUCTS_WRITES,
            1,
            backfill.top_products,
        ),
        Job(
            "fraud_scan",
            "Recompute the fraud flags of a range of days from silver.",
            backfill.Parameters,
            backfill.FRAUD_WRITES,
            1,
            backfill.fraud_scan,
        ),
        _of(backfill, "Rebuild silver and gold of a range of days from bronze.", steps=3),
        _of(
            replay_quarantine,
            "Judge refused records again and bring what is accepted into silver and gold, once.",
            steps=4,
        ),
        _of(
            quality,
            "Judge what the tables hold; a table that fails is not published.",
            steps=3,
            schedule="*/15 * * * *",
            scheduled_with={"scope": "due"},
            makes_up=False,
        ),
        _of(
            reconcile,
            "Prove that no record is lost or doubled between Kafka and the dashboards' figures.",
            steps=2,
            schedule="20 * * * *",
            makes_up=False,
        ),
        _of(
            maintenance,
            "Merge and cluster files, delete what no version needs, clean the logs.",
            steps=len(maintenance.WRITES),
            schedule="30 3,9,15,21 * * *",
            makes_up=False,
        ),
        _of(
            forget, "Take a person out of the lake, bronze and old files included, with a receipt.", 6, needs_admin=True
        ),
        _of(
            stream,
            "Start or stop the stream, or tell how far it is.",
            steps=1,
            timeout_seconds=300,
            needs_spark=False,
        ),
    )
}


def find(name: str) -> Job:
    """The job of that name. Raises UsageError that lists the known ones."""
    if name not in JOBS:
        raise UsageError(f"There is no job {name!r}. Known jobs: {', '.join(JOBS)}.")
    return JOBS[name]
