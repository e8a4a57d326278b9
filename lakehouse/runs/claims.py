"""What workers do with runs: take one, show that they live, end it, give it back. A worker that has lost its run to
another can do none of it: every change holds only for the attempt and the worker that took it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from lakehouse.runs.models import AuditRow, IdempotencyRow, LogLine, Run, now
from lakehouse.runs.registry import KEYS_KEPT, RunRegistry
from lakehouse.runs.states import State

RUNS_KEPT, AUDIT_KEPT = timedelta(days=90), timedelta(days=400)
LONGEST_PAUSE_SECONDS = 30.0
_HELD = (State.running, State.cancelling)


class LostRun(Exception):
    """The run is no longer this worker's: it was taken for dead, or the run has ended."""


@dataclass(frozen=True)
class Line:
    """A line for a run's log, UTC."""

    message: str
    level: str = "info"
    fields: dict[str, Any] | None = None
    at: datetime = field(default_factory=now)


def pause_seconds(attempt: int) -> float:
    """How long to wait after a failed attempt (counted from 1): twice as long each time."""
    return min(LONGEST_PAUSE_SECONDS, 2.0 ** (attempt - 1))


class Claims:
    """The workers' side of a registry. Every method raises RegistryAway when the database does not answer."""

    def __init__(self, registry: RunRegistry) -> None:
        self._registry = registry
        self._database = registry.database

    def take(self, worker: str, session_id: str, spark_answers: Callable[[], bool] = lambda: True) -> Run | None:
        """The oldest queued run that may start now, as this worker's; None when there is none. Asked often.

        It may start when its back-off is over, no run under way writes a table that it writes, no older waiting run
        wants one of them, and fewer than the allowed number of runs are under way. Without Spark only jobs that need
        none.
        """
        with_spark = cache(spark_answers)
        with self._database.reading() as session:
            if self._next(session, with_spark) is None:
                return None
        with self._database.writing() as session:
            run = self._next(session, with_spark)
            if run is not None:
                run.attempt += 1
                run.worker, run.session_id, run.not_before, run.progress = worker, session_id, None, None
                run.started_at = run.heartbeat_at = now()
                data = {"attempt": run.attempt, "worker": worker}
                run.move(State.running, f"attempt {run.attempt} begins", data)
            return run

    def _next(self, session: Session, with_spark: Callable[[], bool]) -> Run | None:
        may_start = or_(Run.not_before.is_(None), Run.not_before <= now())
        queued = select(Run).where(Run.state == State.queued, may_start).order_by(Run.created_at, Run.id)
        waiting = session.scalars(queued).all()
        under_way = session.scalars(select(Run.job).where(Run.state.in_(_HELD))).all() if waiting else ()
        if len(under_way) >= self._registry.settings.max_parallel_runs:
            return None
        taken = {table for job in under_way for table in self._locks(job)}
        for run in waiting:
            wanted, job = self._locks(run.job), self._registry.jobs.get(run.job)
            if taken.isdisjoint(wanted) and (job is None or not job.needs_spark or with_spark()):
                return run
            taken |= wanted  # younger runs do not overtake it
        return None

    def _locks(self, job: str) -> set[str]:
        known = self._registry.jobs.get(job)
        return set(known.locks) if known else {f"job:{job}"}

    def beat(self, run: Run, progress: dict[str, Any] | None = None, lines: Iterable[Line] = ()) -> State:
        """Show that the worker lives, with its news; the run's state now. Raises LostRun."""
        with self._database.writing() as session:
            own = _own(session, run)
            if own is None or own.state not in _HELD:
                raise LostRun(run.id)
            own.heartbeat_at = now()
            if progress is not None:
                own.progress = progress
                own.tell("progress", None, progress)
            _add_lines(own, lines)
            return own.state

    def end(
        self,
        run: Run,
        to: State,
        cause: str,
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        lines: Iterable[Line] = (),
    ) -> bool:
        """Whether the run came to its end `to`: not when that is not legal from where it is now. Raises LostRun."""
        with self._database.writing() as session:
            own = _own(session, run)
            if own is None:
                raise LostRun(run.id)
            if not own.move(to, cause, error or result):
                return False
            own.result, own.error = result, error
            _add_lines(own, lines)
            return True

    def again(self, run: Run, cause: str, lines: Iterable[Line] = (), *, counts: bool = True) -> bool:
        """Whether the run waits for another attempt; not when it is being cancelled, is lost, or this was the last one.

        With `counts=False` this attempt was not the run's fault and there is no pause.
        """
        pause = pause_seconds(run.attempt) if counts else 0.0
        attempts = run.max_attempts if counts else run.max_attempts + 1
        if run.attempt >= attempts:
            return False
        with self._database.writing() as session:
            own = _own(session, run)
            if own is None or not _requeue(own, cause, pause):
                return False
            own.max_attempts = attempts
            _add_lines(own, lines)
            return True

    def silent(self, seconds: float) -> list[Run]:
        """Runs under way whose worker has not shown for so long that it lives."""
        query = select(Run).where(Run.state.in_(_HELD), Run.heartbeat_at < now() - timedelta(seconds=seconds))
        with self._database.reading() as session:
            return [*session.scalars(query)]

    def reconcile(self, run: Run, cause: str) -> State | None:
        """Where a run of a dead worker has come: cancelled when that was asked for, else queued again or lost.

        None when its worker has shown since that it lives, or somebody else was first. Its Spark work must be dead.
        """
        with self._database.writing() as session:
            own = _own(session, run)
            if own is None or own.heartbeat_at != run.heartbeat_at or own.state not in _HELD:
                return None
            if own.state == State.cancelling:
                own.move(State.cancelled, cause)
            elif own.attempt < own.max_attempts:
                _requeue(own, cause, pause_seconds(own.attempt))
            else:
                own.error = {"code": "lost", "message": f"{cause}, at the last of {own.max_attempts} attempts"}
                own.move(State.lost, cause, own.error)
            return own.state

    def tidy(self) -> None:
        """Forget old idempotency keys, runs and audit rows."""
        with self._database.writing() as session:
            session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < now() - KEYS_KEPT))
            session.execute(delete(AuditRow).where(AuditRow.at < now() - AUDIT_KEPT))
            session.execute(delete(Run).where(Run.finished_at < now() - RUNS_KEPT))


def _own(session: Session, run: Run) -> Run | None:
    """The row of a run now; None when it is no longer that attempt by that worker."""
    row = session.get(Run, run.id)
    return row if row is not None and (row.attempt, row.worker) == (run.attempt, run.worker) else None


def _requeue(run: Run, cause: str, pause: float) -> bool:
    not_before = now() + timedelta(seconds=pause)
    if not run.move(State.queued, cause, {"not_before": not_before.isoformat()}):
        return False
    run.not_before, run.worker, run.session_id, run.heartbeat_at = not_before, None, None, None
    return True


def _add_lines(run: Run, lines: Iterable[Line]) -> None:
    run.lines.add_all(LogLine(**vars(line)) for line in lines)
