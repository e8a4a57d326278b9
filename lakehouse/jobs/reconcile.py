"""reconcile: proves that no record is lost or doubled between Kafka and gold, or names the first that is."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lakehouse import broker, marks
from lakehouse.errors import ShoplakeError
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.sql import connect
from producer.topics import TOPICS
from quality import ledger

WRITES = (marks.TABLE,)
NAME = "reconcile"
UNBALANCED = "The books do not balance."
"""How the error of a run begins that found a fault; the alerts look for it."""


class Parameters(BaseModel):
    """What a run can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    full: bool = Field(False, description="Begin at the beginning, not where the last run that found no fault ended.")


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Reconcile what is new since the mark. Raises ShoplakeError that names the first place that does not balance."""
    mark = None if parameters.full else marks.current(lake, NAME, "")
    since = None if mark is None else mark.replace(tzinfo=UTC)
    say("Comparing Kafka, bronze, silver, quarantine and gold")
    with connect(lake.settings) as reader:
        found = ledger.reconcile(reader, lambda: broker.bounds(lake.settings, TOPICS)[1], since)
    if found.faults:
        more = f" ({len(found.faults) - 1} more places)" if len(found.faults) > 1 else ""
        raise ShoplakeError(f"{UNBALANCED} {found.faults[0]}.{more}")
    if found.through is not None:
        marks.move(lake, NAME, "", found.through)
    return {
        "since": None if since is None else since.isoformat(),
        "partitions": found.partitions,
        **found.rows,
        "gold_hours": found.gold_hours,
        "notes": found.notes,
    }
