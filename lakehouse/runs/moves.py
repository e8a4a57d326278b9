"""Moving a run from state to state: every change is one compare-and-set, and one event in the same transaction."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.orm import Session

from lakehouse.runs.database import rows_changed
from lakehouse.runs.models import Run, RunEvent, TableLockRow
from lakehouse.runs.records import now
from lakehouse.runs.states import TERMINAL, State, before


def move(
    session: Session,
    run_id: str,
    to: State,
    cause: str,
    *conditions: ColumnElement[bool],
    origins: Collection[State] | None = None,
    data: dict[str, Any] | None = None,
    **values: Any,
) -> bool:
    """Whether the run came into the state `to`: only from a state from which that is legal (and is in `origins`),
    and only while all `conditions` on its row hold. `values` are set with it. Table locks go when the run stops."""
    allowed = before(to) if origins is None else before(to) & frozenset(origins)
    if to in TERMINAL:
        values["finished_at"] = now()
    change = (
        update(Run)
        .where(Run.id == run_id, Run.state.in_(sorted(allowed)), *conditions)
        .values(state=to, **values)
        .execution_options(synchronize_session=False)
    )
    if rows_changed(session, change) != 1:
        return False
    if to in TERMINAL or to == State.queued:
        session.execute(delete(TableLockRow).where(TableLockRow.run_id == run_id))
    # The run's row is locked from here to the end of the transaction: events of one run are numbered in their order.
    add_event(session, run_id, "state", to, cause, data)
    return True


def add_event(
    session: Session, run_id: str, kind: str, state: State, cause: str | None, data: dict[str, Any] | None
) -> None:
    """Note a change of a run that this transaction has already written to."""
    session.add(RunEvent(run_id=run_id, at=now(), kind=kind, state=state, cause=cause, data=data))
    session.flush()
