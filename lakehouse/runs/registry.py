"""What callers do with runs: submit, look, cancel. Safe for many threads and many processes at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.jobs import JOBS, Job
from lakehouse.runs.database import Database
from lakehouse.runs.models import IdempotencyRow, LogLine, Run, RunEvent, now
from lakehouse.runs.states import State
from lakehouse.settings import Settings

KEYS_KEPT = timedelta(hours=48)
"""An idempotency key stands for its run this long; callers are promised 24 hours."""


class KeyReused(UsageError):
    """The caller has used this idempotency key for something else."""


class QueueFull(ShoplakeError):
    """As many runs wait as may wait; trying again is worth it after some seconds."""


@dataclass(frozen=True)
class Submitted:
    """The run that a submission stands for, and whether this submission made it."""

    run: Run
    is_new: bool


class RunRegistry:
    """The runs of one lake. Every method raises RegistryAway when the database does not answer."""

    def __init__(self, settings: Settings, jobs: Mapping[str, Job] = JOBS) -> None:
        """Connect on first use; the tables have to be there (see `open`)."""
        self.settings = settings
        self.jobs = jobs
        self.database = Database(settings.registry_file)

    @classmethod
    def open(cls, settings: Settings, jobs: Mapping[str, Job] = JOBS) -> RunRegistry:
        """The registry with its tables brought up to date."""
        registry = cls(settings, jobs)
        registry.database.migrate()
        return registry

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def submit(
        self,
        job: Job,
        parameters: BaseModel,
        *,
        caller: str,
        trigger: str = "api",
        idempotency: tuple[str, str] | None = None,
    ) -> Submitted:
        """A queued run of `job`; with `idempotency` (key, hash of job and body) the same one each time.

        Raises KeyReused when the caller used the key for something else, QueueFull when too many runs wait. A refusal
        leaves nothing behind.
        """
        with self.database.writing() as session:
            if idempotency and (known := _known(session, caller, *idempotency)):
                return Submitted(known, is_new=False)
            run = self.queue(session, job, parameters, caller, trigger)
            if idempotency:
                key, body_hash = idempotency
                session.merge(
                    IdempotencyRow(caller=caller, key=key, body_hash=body_hash, run_id=run.id, created_at=now())
                )
            return Submitted(run, is_new=True)

    def known(self, caller: str, key: str, body_hash: str) -> Run | None:
        """The run that the key stands for already, None when for none. Raises KeyReused."""
        with self.database.reading() as session:
            return _known(session, caller, key, body_hash)

    def queue(self, session: Session, job: Job, parameters: BaseModel, caller: str, trigger: str) -> Run:
        """A new run, within a transaction that writes. Raises QueueFull."""
        most = self.settings.max_queued_runs
        queued = select(func.count()).select_from(Run).where(Run.state == State.queued)
        for limit, whose in ((most, true()), (max(1, most // 2), Run.caller == caller)):
            if (waiting := session.scalar(queued.where(whose)) or 0) >= limit:
                raise QueueFull(f"{waiting} runs are waiting, which is the limit.")
        run = Run(
            job=job.name,
            parameters=parameters.model_dump(mode="json", context=self.settings),
            caller=caller,
            trigger=trigger,
            state=State.queued,
            max_attempts=job.max_attempts,
            timeout_seconds=job.timeout_seconds,
        )
        session.add(run)
        run.tell("state", f"submitted by {caller} ({trigger})", None)
        session.flush()
        session.refresh(run)
        return run

    def get(self, run_id: str) -> Run | None:
        """The run of that id; None when there is none."""
        with self.database.reading() as session:
            return session.get(Run, run_id)

    def list(
        self,
        *,
        job: str | None = None,
        states: Iterable[str] = (),
        caller: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Sequence[Run]:
        """Runs, newest first: those older than the run id `before`, created from `created_after` on (included) and
        before `created_before`, in one of `states` (none: any)."""
        query = select(Run).order_by(Run.id.desc()).limit(limit)
        if job is not None:
            query = query.where(Run.job == job)
        if wanted := [State(state) for state in states]:
            query = query.where(Run.state.in_(wanted))
        if caller is not None:
            query = query.where(Run.caller == caller)
        if created_after is not None:
            query = query.where(Run.created_at >= created_after)
        if created_before is not None:
            query = query.where(Run.created_at < created_before)
        if before is not None:
            query = query.where(Run.id < before)
        with self.database.reading() as session:
            return [*session.scalars(query)]

    def cancel(self, run_id: str, cause: str) -> Run:
        """The run after asking for its end: a queued one is cancelled, a running one is cancelling until its worker
        has stopped it, an ended one is unchanged."""
        with self.database.writing() as session:
            run = session.get_one(Run, run_id)
            to = State.cancelled if run.state == State.queued else State.cancelling
            if run.move(to, cause):
                run.cancel_requested_at = now()
            return run

    def events(self, run_id: str, after: int = 0, limit: int = 500) -> Sequence[RunEvent]:
        """Events of a run with a `seq` greater than `after`, in order."""
        query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.seq > after)
        with self.database.reading() as session:
            return [*session.scalars(query.order_by(RunEvent.seq).limit(limit))]

    def logs(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        """Log lines of a run with a `seq` greater than `after`, in order."""
        query = select(LogLine).where(LogLine.run_id == run_id, LogLine.seq > after)
        with self.database.reading() as session:
            return [*session.scalars(query.order_by(LogLine.seq).limit(limit))]

    def counts(self) -> dict[tuple[str, str], int]:
        """How many runs there are per (job, state)."""
        query = select(Run.job, Run.state, func.count()).group_by(Run.job, Run.state)
        with self.database.reading() as session:
            return {(job, state): count for job, state, count in session.execute(query)}


def _known(session: Session, caller: str, key: str, body_hash: str) -> Run | None:
    found = session.get(IdempotencyRow, (caller, key))
    if found is None or found.created_at < now() - KEYS_KEPT:
        return None
    if found.body_hash != body_hash:
        raise KeyReused(f"The idempotency key {key!r} stands for run {found.run_id}.")
    return session.get_one(Run, found.run_id)
