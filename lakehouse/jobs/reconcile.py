"""reconcile: proves that no record is lost or doubled between Kafka and what dashboards show, or names the first."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pydantic import BaseModel, Field

from lakehouse import broker
from lakehouse.errors import ShoplakeError
from lakehouse.jobs.merging import run_name
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.ops import marks
from lakehouse.reports import read_report
from lakehouse.serving import ledger as serving_ledger
from lakehouse.settings import Settings
from lakehouse.sql import connect
from producer.topics import TOPICS
from quality import ledger, results

WRITES = (marks.TABLE, results.LEDGER)
NAME = "reconcile"
UNBALANCED = "The books do not balance."
"""How the error of a run begins that found a fault; the alerts look for it."""


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Parameters of a run."""

    full: bool = Field(False, description="Begin at the beginning, not where the last run that found no fault ended.")


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Reconcile what is new since the mark. Raises ShoplakeError that names the first place that does not balance."""
    since = None if parameters.full else marks.current(lake, NAME, "")
    reach = timedelta(hours=lake.settings.topic_retention_hours, days=1)
    with connect(lake.settings, lake.settings.sql_memory_mb) as reader:
        say("Comparing Kafka, bronze, silver, quarantine and gold")
        bounds, held = partial(broker.bounds, lake.settings, TOPICS), partial(broker.first_held, lake.settings)
        found = ledger.reconcile(reader.query, bounds, since, reach, held, partial(_waiting_hours, lake.settings))
        say("Comparing gold and the serving file")
        now = datetime.now(UTC)
        # Gold may have changed since the mark without a new batch: a job, a hand.
        days = {*found.days, now.date(), now.date() - timedelta(days=1)}
        shown = serving_ledger.compare(reader, lake.settings.serving_file, sorted(days), now)
    faults, notes = [*found.faults, *shown.faults], [*found.notes, *shown.notes]
    row = (
        run_name(lake),
        now,
        "full" if since is None else "incremental",
        not faults,
        len(faults),
        str(faults[0]) if faults else None,
        *(found.rows[kind] for kind in ledger.KINDS),
        found.gold_hours,
        shown.hours,
        notes,
    )
    # Kept also when there is a fault, for those who look at dashboards.
    lake.append_rows(results.LEDGER, [row])
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
        "notes": notes,
    }


def _waiting_hours(settings: Settings) -> list[int]:
    return list(read_report(settings.gold_report).get("waiting_hours", ()))
