"""The job registry: every batch job once, with its parameters and the tables it writes.

The command line reads it, and so will the HTTP API and the schedule. A job is a function of a Lake and its
parameters; it says each step it begins, and returns figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from lakehouse.errors import UsageError
from lakehouse.jobs import backfill, cohort_retention, maintenance, restatement
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.table import Table


@dataclass(frozen=True)
class Job:
    """A registered job. `steps` is how many steps a run says; `writes` must not be written by two runs at once."""

    name: str
    summary: str
    parameters: type[BaseModel]
    writes: tuple[Table, ...]
    steps: int
    run: Callable[[Lake, Any, Say], dict[str, Any]]

    def parse(self, given: dict[str, str]) -> BaseModel:
        """Typed parameters. Raises UsageError that names the first wrong one."""
        try:
            return self.parameters.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or "parameters"
            known = ", ".join(self.parameters.model_fields) or "none"
            raise UsageError(
                f"The parameter {name} of {self.name} is wrong: {first['msg']}. Known parameters: {known}."
            ) from None


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job(
            "cohort_retention",
            "Daily, weekly and monthly cohorts and how many of them come back.",
            cohort_retention.Parameters,
            cohort_retention.WRITES,
            3,
            cohort_retention.run,
        ),
        Job(
            "top_products",
            "Recompute the hourly top products of a range of days from silver.",
            restatement.Parameters,
            restatement.TOP_PRODUCTS_WRITES,
            1,
            restatement.top_products,
        ),
        Job(
            "fraud_scan",
            "Recompute the fraud flags of a range of days from silver.",
            restatement.Parameters,
            restatement.FRAUD_WRITES,
            1,
            restatement.fraud_scan,
        ),
        Job(
            "backfill",
            "Rebuild silver and gold of a range of days from bronze.",
            backfill.Parameters,
            backfill.WRITES,
            3,
            backfill.run,
        ),
        Job(
            "maintenance",
            "Merge small files and delete files that no version needs.",
            maintenance.Parameters,
            maintenance.WRITES,
            len(maintenance.WRITES),
            maintenance.run,
        ),
    )
}


def find(name: str) -> Job:
    """The job of that name. Raises UsageError that lists the known ones."""
    if name not in JOBS:
        raise UsageError(f"There is no job {name!r}. Known jobs: {', '.join(JOBS)}.")
    return JOBS[name]
