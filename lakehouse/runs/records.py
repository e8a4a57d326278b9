"""What the registry hands out: frozen copies of its rows, and the ways in which it refuses."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.runs.models import RunEventRow, RunLogRow, RunRow
from lakehouse.runs.states import TERMINAL, State


@dataclass(frozen=True)
class Run:
    """A run as it was at one moment. All times are UTC; `version` grows with each change a reader can see.

    `started_at` is the start of the current attempt, `attempt` is 0 until a worker has taken the run.
    `error` is {"code", "message"}; `result` is what the job returned with rows, versions and duration_seconds.
    """

    id: str
    job: str
    parameters: dict[str, Any]
    state: State
    caller: str
    trigger: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    max_attempts: int
    not_before: datetime | None
    worker: str | None
    session_id: str | None
    heartbeat_at: datetime | None
    cancel_requested_at: datetime | None
    timeout_seconds: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    progress: dict[str, Any] | None
    version: int

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.state in TERMINAL

    @classmethod
    def of(cls, row: RunRow) -> Run:
        """A copy of a row."""
        values = {field.name: getattr(row, field.name) for field in fields(cls)}
        return cls(**{**values, "state": State(row.state)})


@dataclass(frozen=True)
class Submitted:
    """The run that a submission stands for, and whether this submission made it."""

    run: Run
    is_new: bool


@dataclass(frozen=True)
class RunEvent:
    """A change of state or progress; `seq` grows within a run and is never used twice."""

    seq: int
    run_id: str
    at: datetime
    kind: str
    state: State
    cause: str | None
    data: dict[str, Any] | None

    @classmethod
    def of(cls, row: RunEventRow) -> RunEvent:
        """A copy of a row."""
        return cls(row.seq, row.run_id, row.at, row.kind, State(row.state), row.cause, row.data)


@dataclass(frozen=True)
class LogLine:
    """A line of a run's log; `seq` grows within a run."""

    seq: int
    run_id: str
    at: datetime
    level: str
    message: str
    fields: dict[str, Any] | None

    @classmethod
    def of(cls, row: RunLogRow) -> LogLine:
        """A copy of a row."""
        return cls(row.seq, row.run_id, row.at, row.level, row.message, row.fields)


@dataclass(frozen=True)
class Schedule:
    """A job's schedule: cron text in UTC, the due time that was served last, and the next one."""

    job: str
    cron: str
    paused: bool
    last_due_at: datetime | None
    next_due_at: datetime


class KeyReused(UsageError):
    """The caller has used this idempotency key for something else."""


class QueueFull(ShoplakeError):
    """As many runs wait as may wait."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        """`waiting` runs are queued; trying again is worth it after so many seconds."""
        super().__init__(f"{waiting} runs are waiting, which is the limit: try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class NoSuchRun(UsageError):
    """There is no run of this id."""


def now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A new run id (UUID version 7): ids sort by the millisecond in which they were made."""
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds << 80) | noise
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(UUID(int=value))
