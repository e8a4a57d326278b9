"""The figures that the rules look at, gathered from where they are: reports, the broker, the registry, the tables."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lakehouse.errors import ShoplakeError
from lakehouse.jobs import reconcile
from lakehouse.reports import age, read_report
from lakehouse.runs.database import Database
from lakehouse.runs.models import Run
from lakehouse.runs.states import State
from lakehouse.serving.file import PUBLISHED, asked, published
from lakehouse.serving.held import how_held
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.progress import lag, stream_state, unread_seconds
from quality.results import NEWEST

PUBLISHER_SECONDS = 60.0
LEAST_RECORDS = 100
"""A share of fewer records says nothing."""
LEAST_BROKEN = 10
SHAPE_REASONS = ("wrong_type", "missing_field", "unknown_type", "unknown_version")
"""Reasons that tell of a producer with another idea of the contract, not of a damaged record."""
BOOK = """
SELECT epoch(max(committed_at)) AS committed_at, sum(bronze_rows) AS bronze, sum(silver_rows) AS silver,
    sum(duplicate_rows) AS duplicates, sum(quarantined_rows) AS quarantined,
    count(*) FILTER (bronze_rows <> silver_rows + duplicate_rows + quarantined_rows) AS unbalanced,
    coalesce(sum(bronze_rows) FILTER (started_at >= now() - INTERVAL 15 MINUTE), 0) AS records,
    coalesce(sum(quarantined_rows) FILTER (started_at >= now() - INTERVAL 15 MINUTE), 0) AS refused
FROM ops.batches
"""
_BROKEN = f"""
WITH refused AS (
    SELECT topic, reason_code, reason_detail, count(*) AS records FROM silver.quarantine
    WHERE ingest_date >= current_date - 1 AND quarantined_at >= now() - INTERVAL 15 MINUTE
        AND reason_code IN {SHAPE_REASONS} GROUP BY ALL HAVING count(*) >= {LEAST_BROKEN}),
read AS (
    SELECT topic, sum(bronze_rows) AS records FROM ops.batches
    WHERE started_at >= now() - INTERVAL 15 MINUTE GROUP BY topic)
SELECT topic, reason_code, reason_detail, refused.records AS records, refused.records / read.records AS share
FROM refused JOIN read USING (topic) ORDER BY share DESC, topic, reason_detail LIMIT 1
"""  # noqa: S608 - the values are declared above

_FAILING = f"""{NEWEST}
SELECT expectation FROM newest
WHERE severity = 'block' AND NOT success AND table_name NOT IN (SELECT table_name FROM {PUBLISHED})
ORDER BY expectation
"""  # noqa: S608 - the name is declared in this project
"""What fails where nothing can be held back: in silver, in the books, in tables that dashboards do not see."""


@dataclass(frozen=True)
class Figure:
    """A figure, with what a reader of the alert wants to know beside it. None: nobody can tell now."""

    value: float | None
    detail: str = ""


UNKNOWN = Figure(None)


class Figures:
    """Gathers the figures of one lake. What is away makes its own figures unknown and no others."""

    def __init__(self, settings: Settings, database: Database, reader: SqlReader | None = None) -> None:
        """Without a `reader` one is opened at the first question about tables."""
        self._settings, self._database, self._reader = settings, database, reader

    def gather(self) -> dict[str, Figure]:
        """Every figure by its name, as of now."""
        records = lag(self._settings)
        book, runs = self._of_tables(BOOK), None
        with contextlib.suppress(ShoplakeError):
            runs = newest_runs(self._database)
        return {
            "stream_silent_seconds": self._stream_silent(),
            "lag_records": UNKNOWN if records is None else Figure(records, f"{records:,} records wait"),
            "unread_seconds": _unread(records, book),
            "failed_jobs": UNKNOWN if runs is None else _failed_jobs(runs),
            "blocked_tables": self._known(self._blocked_tables),
            "failing_checks": self._known(self._failing_checks),
            "unbalanced_places": UNKNOWN if runs is None else _unbalanced(runs, book),
            "largest_broken_share": self._known(self._broken),
            "refused_share": _refused(book),
            "publisher_failing": self._publisher(),
        }

    def _known(self, gather: Callable[[], Figure]) -> Figure:
        try:
            return gather()
        except ShoplakeError:
            return UNKNOWN

    def _of_tables(self, sql: str) -> dict[str, Any] | None:
        """The first row of an answer; None when the tables cannot be read."""
        with contextlib.suppress(ShoplakeError):
            self._reader = self._reader or connect(self._settings, self._settings.sql_memory_mb)
            return next(iter(self._reader.query(sql)), {})
        return None

    def _stream_silent(self) -> Figure:
        seconds = age(report := stream_state(self._settings))
        return UNKNOWN if math.isinf(seconds) else Figure(seconds, f"{seconds:.0f} s, then it was {report['state']}")

    def _publisher(self) -> Figure:
        report = read_report(self._settings.run_dir / "publisher.json")
        if math.isinf(seconds := age(report)):
            return UNKNOWN
        silent = f"silent for {seconds:.0f} s" if seconds > PUBLISHER_SECONDS else ""
        wrong = silent or str(report.get("message") or "")
        return Figure(float(bool(wrong)), wrong)

    def _blocked_tables(self) -> Figure:
        blocked = held_back(self._settings)
        return Figure(len(blocked), "; ".join(f"{table}: {why}" for table, why in blocked.items()))

    def _failing_checks(self) -> Figure:
        names = [str(row["expectation"]) for row in asked(self._settings, _FAILING)]
        return Figure(len(names), ", ".join(names))

    def _broken(self) -> Figure:
        row = self._of_tables(_BROKEN)
        if not row:
            return UNKNOWN if row is None else Figure(0)
        detail = f"{row['topic']}: {row['records']:,} records, {row['reason_code']}, {row['reason_detail']}"
        return Figure(float(row["share"]), detail)


def held_back(settings: Settings) -> dict[str, str]:
    """What the gate holds back, by table: expectations, and of how many rows. Raises ShoplakeError when nothing is
    published."""
    return {str(row["table_name"]): said for row in published(settings) if (said := how_held(row))}


def newest_runs(database: Database) -> list[Run]:
    """The newest run of each job that came to an end of its own; ids grow with time. Raises RegistryAway."""
    is_told = Run.state.in_((State.succeeded, State.failed, State.lost))
    newest = sa.select(sa.func.max(Run.id)).where(is_told).group_by(Run.job)
    with database.reading() as session:
        return list(session.scalars(sa.select(Run).where(Run.id.in_(newest)).order_by(Run.job)))


def _failed_jobs(runs: list[Run]) -> Figure:
    failed = [run for run in runs if run.state != State.succeeded and not _is_elsewhere(run)]
    return Figure(len(failed), ", ".join(f"{run.job} {run.id} {run.state}" for run in failed))


def _unbalanced(runs: list[Run], book: dict[str, Any] | None) -> Figure:
    places = [str((run.error or {})["message"]) for run in runs if is_unbalanced(run)]
    if book is None and not places:
        return UNKNOWN
    if batches := (book or {}).get("unbalanced"):
        places.append(f"{batches} rows of ops.batches do not add up.")
    return Figure(len(places), " ".join(places))


def _unread(records: int | None, book: dict[str, Any] | None) -> Figure:
    seconds = unread_seconds(records, book["committed_at"] if book else None)
    said = f"the newest batch was done {seconds:.0f} s ago, {records:,} records wait" if seconds else ""
    return Figure(seconds, said)


def _refused(book: dict[str, Any] | None) -> Figure:
    if book is None:
        return UNKNOWN
    if not book or book["records"] < LEAST_RECORDS:
        return Figure(0)
    return Figure(float(book["refused"] / book["records"]), f"{book['refused']:,} of {book['records']:,} records")


def is_unbalanced(run: Run) -> bool:
    """Whether a run of reconcile found that the books do not balance; else it failed for another reason."""
    return run.job == reconcile.NAME and str((run.error or {}).get("message")).startswith(reconcile.UNBALANCED)


def _is_elsewhere(run: Run) -> bool:
    """A caller's mistake is the caller's; books that do not balance have a rule of their own."""
    return (run.error or {}).get("code") == "wrong_use" or is_unbalanced(run)
