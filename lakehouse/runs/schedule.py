"""When jobs are due by their cron text (UTC), and that each due time makes exactly one run.

Catch-up: of the due times that passed while nothing ran, only the newest makes a run, and none of a job that does not
make up for them: what is due every few minutes can wait for the next time, and a start has enough to do. A schedule
that is seen for the first time, or was paused, starts from now: nothing is made up for.
"""

from datetime import UTC, datetime, timedelta

from cronsim import CronSim
from pydantic import BaseModel, Field
from sqlalchemy import select

from lakehouse.errors import UsageError
from lakehouse.jobs import Job
from lakehouse.runs.models import Run, ScheduleRow, now
from lakehouse.runs.registry import QueueFull, RunRegistry

CALLER = "schedule"
MISSED = timedelta(minutes=2)
"""A due time that nobody looked at for so long has passed while nothing ran."""


class Schedule(BaseModel):
    """When a job is run by itself."""

    job: str
    schedule: str = Field(description="Cron text, UTC.")
    paused: bool
    last_due_at: datetime | None = Field(description="The due time that was last acted on.")
    next_due_at: datetime | None = Field(description="The next due time; null while paused.")


def next_due(cron: str, after: datetime) -> datetime:
    """The first due time after a moment, UTC."""
    return next(CronSim(cron, after.astimezone(UTC)))


def last_due(cron: str, until: datetime) -> datetime:
    """The last due time up to a moment (included), UTC."""
    minute = until.astimezone(UTC).replace(second=0, microsecond=0)
    return next(CronSim(cron, minute + timedelta(minutes=1), reverse=True))


def all_of(registry: RunRegistry) -> list[Schedule]:
    """The schedules of all jobs that have one."""
    with registry.database.reading() as session:
        known = {row.job: row for row in session.scalars(select(ScheduleRow))}
    return [_schedule(job, job.schedule, known.get(job.name)) for job in registry.jobs.values() if job.schedule]


def set_paused(registry: RunRegistry, name: str, *, paused: bool) -> Schedule:
    """The schedule after pausing it: due times pass without a run, and are not made up for once it is resumed.

    Raises UsageError when the job has none.
    """
    job = registry.jobs.get(name)
    if job is None or not job.schedule:
        listed = ", ".join(one.name for one in registry.jobs.values() if one.schedule) or "none"
        raise UsageError(f"The job {name!r} has no schedule. Jobs with one: {listed}.")
    with registry.database.writing() as session:
        row = session.get(ScheduleRow, name) or ScheduleRow(job=name, paused=False, last_due_at=now())
        if row.paused and not paused:
            row.last_due_at = now()
        row.paused = paused
        session.add(row)
    return _schedule(job, job.schedule, row)


def _schedule(job: Job, cron: str, row: ScheduleRow | None) -> Schedule:
    is_paused, last = (row.paused, row.last_due_at) if row else (False, None)
    due = None if is_paused else next_due(cron, now())
    return Schedule(job=job.name, schedule=cron, paused=is_paused, last_due_at=last, next_due_at=due)


def trigger_due(registry: RunRegistry, moment: datetime | None = None) -> list[Run]:
    """Submit what is due; the runs that this call made. Several processes may call it at once.

    A run and the note that its due time is served are one transaction. A due time that a full queue refuses stays due
    and is tried again at the next call.
    """
    at = moment or now()
    made: list[Run] = []
    with registry.database.writing() as session:
        known = {row.job: row for row in session.scalars(select(ScheduleRow))}
        for job in registry.jobs.values():
            row = known.get(job.name)
            if (due := _due(job, row, at)) is None:
                continue
            is_first = row is None or row.last_due_at is None
            if not is_first and (job.makes_up or at - due <= MISSED):
                try:
                    made.append(registry.queue(session, job, job.parse(job.scheduled_with), CALLER, "schedule"))
                except QueueFull:
                    continue
            session.merge(ScheduleRow(job=job.name, paused=False, last_due_at=due))
    return made


def _due(job: Job, row: ScheduleRow | None, at: datetime) -> datetime | None:
    """The due time that waits to be served; of a schedule that is seen for the first time the moment `at`."""
    if not job.schedule or (row is not None and row.paused):
        return None
    if row is None or row.last_due_at is None:
        return at
    due = last_due(job.schedule, at)
    return due if due > row.last_due_at else None
