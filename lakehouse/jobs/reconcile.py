"""reconcile: proves that no record is lost or doubled between Kafka and what dashboards show, or names the first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lakehouse import broker, marks
from lakehouse.errors import ShoplakeError
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.resolution import run_name
from lakehouse.sql import connect
from producer.topics import TOPICS
from quality import ledger, ledger_serving, results

WRITES = (marks.TABLE, results.LEDGER)
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
    reach = timedelta(hours=lake.settings.topic_retention_hours, days=1)
    with connect(lake.settings, lake.settings.sql_memory_mb) as reader:
        say("Comparing Kafka, bronze, silver, quarantine and gold")
        found = ledger.reconcile(reader, lambda: broker.bounds(lake.settings, TOPICS), since, reach)
        say("Comparing gold and the serving file")
        now = datetime.now(UTC)
        # Gold may have changed since the mark without a new batch: a job, a hand.
        days = {*found.days, now.date(), now.date() - timedelta(days=1)}
        shown = ledger_serving.compare(reader, lake.settings.serving_file, sorted(days), now)
    _write(lake, found, shown, now, "full" if since is None else "incremental")
    faults = [*found.faults, *shown.faults]
    if faults:
        more = f" ({len(faults) - 1} more places)" if len(faults) > 1 else ""
        raise ShoplakeError(f"{UNBALANCED} {faults[0]}.{more}")
    if found.through is not None:
        marks.move(lake, NAME, "", found.through)
    return {
        "since": None if since is None else since.isoformat(),
        "partitions": found.partitions,
        **found.rows,
        "gold_hours": found.gold_hours,
        "served_hours": shown.hours,
        "notes": [*found.notes, *shown.notes],
    }


def _write(lake: Lake, found: ledger.Ledger, shown: ledger_serving.Comparison, now: datetime, scope: str) -> None:
    """Keep what was found, also a fault, for those who look at dashboards."""
    faults = [*found.faults, *shown.faults]
    row = (
        run_name(lake),
        now,
        scope,
        not faults,
        len(faults),
        str(faults[0]) if faults else None,
        *(found.rows[kind] for kind in ledger.KINDS),
        found.gold_hours,
        shown.hours,
        [*found.notes, *shown.notes],
    )
    lake.append(results.LEDGER, lake.spark.createDataFrame([row], results.LEDGER.schema).coalesce(1))
