"""What the registry answers beside its rows, and the ways in which it refuses."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from pydantic import BaseModel, Field

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.runs.models import Run


@dataclass(frozen=True)
class Submitted:
    """The run that a submission stands for, and whether this submission made it."""

    run: Run
    is_new: bool


class Schedule(BaseModel):
    """When a job is run by itself."""

    job: str
    schedule: str = Field(description="Cron text, UTC.")
    paused: bool
    last_due_at: datetime | None = Field(description="The due time that was last acted on.")
    next_due_at: datetime | None = Field(description="The next due time; null while paused.")


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
