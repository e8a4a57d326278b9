"""When jobs are due by their cron text (UTC), and that each due time makes exactly one run.

Catch-up: of the due times that passed while nothing ran, only the newest makes a run, and none of a job that does not
make up for them: what is due every few minutes can wait for the next time, and a start has enough to do. A schedule
that is seen for the first time, or was paused, starts from now: nothing is made up for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cronsim import CronSim
from sqlalchemy.orm import Session

from lakehouse.errors import UsageError
from lakehouse.jobs import Job
from lakehouse.runs.models import Run, ScheduleRow
from lakehouse.runs.records import QueueFull, Schedule, now

if TYPE_CHECKING:
    from lakehouse.runs.registry import RunRegistry

CALLER = "schedule"
MISSED = timedelta(minutes=2)
"""A due time that nobody looked at for so long has passed while nothing ran."""


def next_due(cron: str, after: datetime) -> datetime:
    """The first due time after a moment, UTC."""
    return next(CronSim(cron, after.astimezone(UTC)))


def last_due(cron: str, until: datetime) -> datetime:
    """The last due time up to a moment (included), UTC."""
    minute = until.astimezone(UTC).replace(second=0, microsecond=0)
    return next(CronSim(cron, minute + timedelta(minutes=1), reverse=True))


def all_of(session: Session, jobs: Mapping[str, Job]) -> list[Schedule]:
    """The schedules of all jobs that have one."""
    known = {row.job: row for row in session.query(ScheduleRow)}
    return [_schedule(job, job.schedule, known.get(job.name)) for job in jobs.values() if job.schedule]


def set_paused(session: Session, jobs: Mapping[str, Job], name: str, *, paused: bool) -> Schedule:
    """The schedule after pausing or resuming it. Raises UsageError when the job has none."""
    job = jobs.get(name)
    if job is None or not job.schedule:
        listed = ", ".join(one.name for one in jobs.values() if one.schedule) or "none"
        raise UsageError(f"The job {name!r} has no schedule. Jobs with one: {listed}.")
    row = session.get(ScheduleRow, name) or ScheduleRow(job=name, paused=False, last_due_at=now())
    if row.paused and not paused:
        row.last_due_at = now()
    row.paused = paused
    session.add(row)
    session.flush()
    return _schedule(job, job.schedule, row)


def _schedule(job: Job, cron: str, row: ScheduleRow | None) -> Schedule:
    is_paused, last = (row.paused, row.last_due_at) if row else (False, None)
    due = None if is_paused else next_due(cron, now())
    return Schedule(job=job.name, schedule=cron, paused=is_paused, last_due_at=last, next_due_at=due)


def trigger_due(registry: RunRegistry, moment: datetime | None = None) -> list[Run]:
    """Submit what is due; the runs that this call made. Several processes may call it at once.

    A due time that a full queue refuses stays due and is tried again at the next call.
    """
    at = moment or now()
    made = []
    for job in registry.jobs.values():
        due = _newest_due(registry, job, at) if job.schedule else None
        if due is None:
            continue
        key = f"schedule:{job.name}:{due.isoformat()}"
        try:
            submitted = registry.submit(
                job, job.parse(job.scheduled_with), caller=CALLER, trigger="schedule", idempotency=(key, job.name)
            )
        except QueueFull:
            continue
        _note_served(registry, job, due)
        if submitted.is_new:
            made.append(submitted.run)
    return made


def _newest_due(registry: RunRegistry, job: Job, at: datetime) -> datetime | None:
    """The due time that has to make a run now. A schedule seen for the first time counts from `at` on."""
    with registry.database.reading() as session:
        row = session.get(ScheduleRow, job.name)
        known, is_paused, last = row is not None, bool(row and row.paused), row.last_due_at if row else None
    if not known or last is None:
        _note_served(registry, job, at)
        return None
    due = last_due(job.schedule or "", at)
    if due <= last or is_paused:
        return None
    if not job.makes_up and at - due > MISSED:
        _note_served(registry, job, due)
        return None
    return due


def _note_served(registry: RunRegistry, job: Job, due: datetime) -> None:
    """Due times up to `due` are served; never moves back."""
    with registry.database.writing() as session:
        row = session.get(ScheduleRow, job.name) or ScheduleRow(job=job.name, paused=False)
        row.last_due_at = max(due, row.last_due_at) if row.last_due_at else due
        session.add(row)
