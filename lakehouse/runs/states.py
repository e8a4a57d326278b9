"""The states of a run and the moves between them that are legal: here, and nowhere else."""

from enum import StrEnum


class State(StrEnum):
    """Where a run is. The last four are ends: nothing follows them."""

    queued = "queued"
    running = "running"
    cancelling = "cancelling"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"
    lost = "lost"


TERMINAL = frozenset({State.succeeded, State.failed, State.cancelled, State.lost})

MOVES: dict[State, frozenset[State]] = {
    State.queued: frozenset({State.running, State.cancelled}),
    # Back to queued: another attempt, after an error that is worth it or when the worker has gone.
    State.running: frozenset({State.succeeded, State.failed, State.cancelling, State.lost, State.queued}),
    # Succeeded: the work was done before it could be stopped, and saying otherwise would not be true.
    State.cancelling: frozenset({State.cancelled, State.succeeded}),
    **{state: frozenset() for state in TERMINAL},
}
