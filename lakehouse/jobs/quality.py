"""quality: judges the tables by the suites in `quality/`, writes the results, and reports unknown fields."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from lakehouse.jobs.merging import run_name
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.ops import marks
from lakehouse.sql import SqlReader, connect
from lakehouse.sql_text import utc_text
from quality import results, unknown_fields
from quality.judge import Judge, Verdict
from quality.suites import SUITES

WRITES = (results.TABLE, unknown_fields.TABLE, marks.TABLE)
NAME = "quality"
FULL_FROM = time(2, 40)
"""From when on a day's run in full is due, UTC: after the cohorts of the day before are there."""
_FULL = "full"
_SAFETY = timedelta(minutes=10)
"""Days that got something shortly before the mark are judged again: a batch may have been on its way."""
_TABLES = tuple(dict.fromkeys(suite.table for suite in SUITES))
_CHANGED = """
SELECT DISTINCT event_date AS day FROM silver.events WHERE processed_at > TIMESTAMPTZ '{mark}'
UNION SELECT DISTINCT ingest_date FROM silver.quarantine WHERE quarantined_at > TIMESTAMPTZ '{mark}' ORDER BY day
"""


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Parameters of a run."""

    scope: Literal["full", "incremental", "due"] = Field(
        "full",
        description="full; incremental: only the days that changed since the last run that found no fault; "
        "or due: full once a day, else incremental.",
    )
    tables: str | None = Field(None, description="Only these tables, by full name, separated by commas.")

    @field_validator("tables")
    @classmethod
    def _are_known(cls, value: str | None) -> str | None:
        for name in chosen(value):
            if name not in _TABLES:
                raise ValueError(f"there are no expectations for {name!r}; there are for {', '.join(_TABLES)}")
        return value


def chosen(tables: str | None) -> tuple[str, ...]:
    """The table names in a comma-separated text; all for none."""
    return tuple(name.strip() for name in tables.split(",") if name.strip()) if tables else _TABLES


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Judge, and write every verdict down; figures and the failing expectations. A failing table fails no run."""
    now = datetime.now(UTC)
    tables = chosen(parameters.tables)
    suites = tuple(suite for suite in SUITES if suite.table in tables)
    with connect(lake.settings, lake.settings.sql_memory_mb) as reader:
        say("Looking for unknown fields")
        fields = unknown_fields.update(lake, reader)
        say("Measuring the tables")
        is_full = parameters.scope == "full" or (
            parameters.scope == "due" and full_is_due(marks.current(lake, NAME, _FULL), now)
        )
        days = None if is_full else _changed_days(lake, reader)
        verdicts = [*Judge().judge(suites, reader.query, days)]
    say("Writing the results")
    scope = "full" if days is None else "incremental"
    _write(lake, verdicts, scope, now)
    failing = [verdict for verdict in verdicts if not verdict.success]
    is_blocked = any(verdict.severity == "block" for verdict in failing)
    _move_marks(lake, now, is_blocked, is_full=days is None, is_whole=suites == SUITES)
    return {
        "scope": scope,
        "days": None if days is None else len(days),
        "expectations": len(verdicts),
        "failed": len(failing),
        "blocking": [verdict.expectation for verdict in failing if verdict.severity == "block"],
        "warnings": [verdict.expectation for verdict in failing if verdict.severity == "warn"],
        "unknown_fields": fields,
    }


def full_is_due(last: datetime | None, now: datetime) -> bool:
    """True if FULL_FROM (UTC) has passed since `last`, when the last full run began (UTC)."""
    passed = datetime.combine(now.date(), FULL_FROM, UTC)
    due = passed if passed <= now else passed - timedelta(days=1)
    return last is None or last < due


def _changed_days(lake: Lake, reader: SqlReader) -> list[date] | None:
    """Days that got rows since the mark; None, for all of them, when there is no mark."""
    mark = marks.current(lake, NAME, "")
    if mark is None:
        return None
    return [row["day"] for row in reader.query(_CHANGED.format(mark=utc_text(mark - _SAFETY)))]


def _move_marks(lake: Lake, now: datetime, is_blocked: bool, *, is_full: bool, is_whole: bool) -> None:
    """Only a run that finds nothing to block is a base for the next: until then the same days are judged again, so
    that the newest result of an expectation never comes from other days than the failure before it."""
    if is_blocked and is_full:
        marks.move(lake, NAME, "", None)
    elif is_whole and not is_blocked:
        marks.move(lake, NAME, "", now)
    if is_full and is_whole:
        marks.move(lake, NAME, _FULL, now)


def _write(lake: Lake, verdicts: list[Verdict], scope: str, now: datetime) -> None:
    run = run_name(lake)
    rows = [
        (run, now, each.table, each.expectation, each.severity, each.success, each.observed, each.means, scope)
        for each in verdicts
    ]
    lake.append_rows(results.TABLE, rows)
