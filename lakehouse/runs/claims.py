"""What workers do with runs: take one, show that they live, end it, give it back. A worker that has lost its run to
another can do none of it: every change holds only for the attempt and the worker that took it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from lakehouse.runs.models import AuditRow, IdempotencyRow, LogLine, Run, TableLockRow
from lakehouse.runs.moves import add_event, move
from lakehouse.runs.records import now
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
    fields: dict[str, Any] = field(default_factory=dict)
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

        It may start when its back-off is over, nobody holds a table that it writes, no older waiting run wants one
        of them, and fewer than the allowed number of runs are under way. Without Spark only jobs that need none.
        """
        with_spark = cache(spark_answers)
        with self._database.reading() as session:
            if self._next(session, with_spark) is None:
                return None
        with self._database.writing() as session:
            row = self._next(session, with_spark)
            return self._take(session, row, worker, session_id) if row else None

    def _next(self, session: Session, with_spark: Callable[[], bool]) -> Run | None:
        held = select(func.count()).select_from(Run).where(Run.state.in_(_HELD))
        waiting = session.scalars(_waiting()).all()
        if not waiting or (session.scalar(held) or 0) >= self._registry.settings.max_parallel_runs:
            return None
        taken = set(session.scalars(select(TableLockRow.table_name)))
        for row in waiting:
            wanted = set(self._locks(row.job))
            if not taken & wanted and (not self._needs_spark(row.job) or with_spark()):
                return row
            taken |= wanted  # younger runs do not overtake it
        return None

    def _take(self, session: Session, row: Run, worker: str, session_id: str) -> Run | None:
        attempt, moment = row.attempt + 1, now()
        is_taken = move(
            session,
            row.id,
            State.running,
            f"attempt {attempt} begins",
            data={"attempt": attempt, "worker": worker},
            attempt=attempt,
            worker=worker,
            session_id=session_id,
            started_at=moment,
            heartbeat_at=moment,
            not_before=None,
            progress=None,
        )
        if not is_taken:  # cancelled a moment ago
            return None
        locks = [{"table_name": name, "run_id": row.id} for name in self._locks(row.job)]
        session.execute(insert(TableLockRow), locks)
        session.refresh(row)
        return row

    def _locks(self, job: str) -> tuple[str, ...]:
        known = self._registry.jobs.get(job)
        return known.locks if known else (f"job:{job}",)

    def _needs_spark(self, job: str) -> bool:
        known = self._registry.jobs.get(job)
        return known is not None and known.needs_spark

    def beat(self, run: Run, progress: dict[str, Any] | None = None, lines: Iterable[Line] = ()) -> State:
        """Show that the worker lives, with its news; the run's state now. Raises LostRun."""
        values: dict[str, Any] = {"heartbeat_at": now()}
        if progress is not None:
            values["progress"] = progress
        change = update(Run).where(*_is_held(run), Run.state.in_(_HELD)).values(values).returning(Run.state)
        with self._database.writing() as session:
            state = session.scalar(change.execution_options(synchronize_session=False))
            if state is None:
                raise LostRun(run.id)
            if progress is not None:
                add_event(session, run.id, "progress", State(state), None, progress)
            _add_lines(session, run.id, lines)
            return State(state)

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
            done = move(session, run.id, to, cause, *_is_held(run), data=error or result, result=result, error=error)
            if done:
                _add_lines(session, run.id, lines)
            elif not session.scalar(select(func.count()).select_from(Run).where(*_is_held(run))):
                raise LostRun(run.id)
            return done

    def again(self, run: Run, cause: str, lines: Iterable[Line] = (), *, counts: bool = True) -> bool:
        """Whether the run waits for another attempt; not when it is being cancelled, or this was the last one.

        With `counts=False` this attempt was not the run's fault and there is no pause.
        """
        pause = pause_seconds(run.attempt) if counts else 0.0
        attempts = run.max_attempts if counts else run.max_attempts + 1
        if run.attempt >= attempts:
            return False
        with self._database.writing() as session:
            done = _requeue(session, run, cause, pause, *_is_held(run), max_attempts=attempts)
            if done:
                _add_lines(session, run.id, lines)
            return done

    def silent(self, seconds: float) -> list[Run]:
        """Runs under way whose worker has not shown for so long that it lives."""
        query = select(Run).where(Run.state.in_(_HELD), Run.heartbeat_at < now() - timedelta(seconds=seconds))
        with self._database.reading() as session:
            return [*session.scalars(query)]

    def reconcile(self, run: Run, cause: str) -> State | None:
        """Where a run of a dead worker has come: cancelled when that was asked for, else queued again or lost.

        None when its worker has shown since that it lives, or somebody else was first. Its Spark work must be dead.
        """
        unseen = (*_is_held(run), Run.heartbeat_at == run.heartbeat_at)
        error = {"code": "lost", "message": f"{cause}, at the last of {run.max_attempts} attempts"}
        with self._database.writing() as session:
            if move(session, run.id, State.cancelled, cause, *unseen, origins={State.cancelling}):
                return State.cancelled
            if run.attempt < run.max_attempts:
                pause = pause_seconds(run.attempt)
                return State.queued if _requeue(session, run, cause, pause, *unseen) else None
            return State.lost if move(session, run.id, State.lost, cause, *unseen, data=error, error=error) else None

    def tidy(self) -> None:
        """Forget old idempotency keys, runs and audit rows, and locks whose run is not under way."""
        held = select(Run.id).where(Run.state.in_(_HELD))
        with self._database.writing() as session:
            session.execute(delete(TableLockRow).where(TableLockRow.run_id.not_in(held)))
            session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < now() - KEYS_KEPT))
            session.execute(delete(AuditRow).where(AuditRow.at < now() - AUDIT_KEPT))
            session.execute(delete(Run).where(Run.finished_at < now() - RUNS_KEPT))


def _waiting() -> Select[Run]:
    may_start = or_(Run.not_before.is_(None), Run.not_before <= now())
    return select(Run).where(Run.state == State.queued, may_start).order_by(Run.created_at, Run.id)


def _is_held(run: Run) -> tuple[ColumnElement[bool], ...]:
    return Run.id == run.id, Run.attempt == run.attempt, Run.worker == run.worker


def _requeue(
    session: Session, run: Run, cause: str, pause: float, *conditions: ColumnElement[bool], **values: Any
) -> bool:
    not_before = now() + timedelta(seconds=pause)
    return move(
        session,
        run.id,
        State.queued,
        cause,
        *conditions,
        data={"not_before": not_before.isoformat()},
        not_before=not_before,
        worker=None,
        session_id=None,
        heartbeat_at=None,
        **values,
    )


def _add_lines(session: Session, run_id: str, lines: Iterable[Line]) -> None:
    session.add_all(
        LogLine(run_id=run_id, at=line.at, level=line.level, message=line.message, fields=line.fields or None)
        for line in lines
    )
    session.flush()
