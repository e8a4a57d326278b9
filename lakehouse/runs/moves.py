"""Moving a run from state to state, with the event that tells of it in the same transaction.

Transactions that write are serial (see `Database.writing`): what one of them has read stays so until it ends.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from lakehouse.runs.models import Run, RunEvent, now
from lakehouse.runs.states import MOVES, TERMINAL, State


def move(session: Session, run: Run, to: State, cause: str, data: dict[str, Any] | None = None) -> bool:
    """Whether the run came into the state `to`: only from a state from which that is legal."""
    if to not in MOVES[run.state]:
        return False
    run.state = to
    if to in TERMINAL:
        run.finished_at = now()
    add_event(session, run, "state", cause, data)
    return True


def add_event(session: Session, run: Run, kind: str, cause: str | None, data: dict[str, Any] | None) -> None:
    """Note a change of a run, which is in its new state."""
    session.flush()  # a new run comes before its event
    session.add(RunEvent(run_id=run.id, kind=kind, state=run.state, cause=cause, data=data))
