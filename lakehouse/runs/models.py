"""The tables of the registry's database. Times are UTC, and timezone-aware in Python; SQLite has no time zones.

A row outlives its session: what the registry hands out is the row as it was at that moment.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import JSON, DateTime, Dialect, Enum, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, WriteOnlyMapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from lakehouse.runs.states import MOVES, TERMINAL, State

Document = JSON(none_as_null=True)


def now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A new run id (UUID version 7): ids sort by the millisecond in which they were made."""
    value = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(UUID(int=value))


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC. A time without a zone is refused: it could mean anything."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC without its zone, which SQLite cannot keep."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC, always with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables of the registry."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcTime(),
        dict[str, Any]: Document,
        State: Enum(State, native_enum=False, length=16),
    }


class Run(Base):
    """A run: one wish to run a job, over all its attempts.

    `started_at` is the start of the current attempt, `attempt` is 0 until a worker has taken the run.
    `error` is {"code", "message"}; `result` is what the job returned with rows, versions and duration_seconds.
    """

    __tablename__ = "runs"
    __table_args__ = (Index("runs_by_state", "state", "created_at"), Index("runs_by_job", "job", "id"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    job: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]]
    state: Mapped[State]
    caller: Mapped[str] = mapped_column(String(255), index=True)
    trigger: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=1)
    not_before: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(255))
    session_id: Mapped[str | None] = mapped_column(String(36))
    heartbeat_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    timeout_seconds: Mapped[int] = mapped_column(default=3600)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any] | None]

    events: WriteOnlyMapped[RunEvent] = relationship()
    lines: WriteOnlyMapped[LogLine] = relationship()

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.state in TERMINAL

    def move(self, to: State, cause: str, data: dict[str, Any] | None = None) -> bool:
        """Whether the run came into the state `to`: only from a state from which that is legal.

        Only for a transaction that writes: no other one writes meanwhile, and what it has read stays so.
        """
        if to not in MOVES[self.state]:
            return False
        self.state = to
        if to in TERMINAL:
            self.finished_at = now()
        self.tell("state", cause, data)
        return True

    def tell(self, kind: str, cause: str | None, data: dict[str, Any] | None) -> None:
        """Note a change as an event."""
        self.events.add(RunEvent(kind=kind, state=self.state, cause=cause, data=data))


class RunEvent(Base):
    """A change of a run's state, with its cause, or of its progress. `seq` grows within a run."""

    __tablename__ = "run_events"
    __table_args__ = (Index("run_events_by_run", "run_id", "seq"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=now)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[State]
    cause: Mapped[str | None] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None]


class LogLine(Base):
    """A line of a run's structured log."""

    __tablename__ = "run_logs"
    __table_args__ = (Index("run_logs_by_run", "run_id", "seq"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    level: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    fields: Mapped[dict[str, Any] | None]


class IdempotencyRow(Base):
    """Which run a caller's Idempotency-Key stands for, and the hash of what was asked for with it."""

    __tablename__ = "idempotency"

    caller: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_hash: Mapped[str] = mapped_column(String(128))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class ApiKeyRow(Base):
    """A caller's key: only its hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), index=True)
    secret_hash: Mapped[str] = mapped_column(String(255))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    def may(self, scope: str) -> bool:
        """Whether this scope, or `admin`, was given."""
        return scope in self.scopes or self.is_admin

    @property
    def is_admin(self) -> bool:
        """Whether the runs of others are visible too."""
        return "admin" in self.scopes


class AuditRow(Base):
    """Who did what, from where, and how it ended. Rows are only ever added, and kept 400 days."""

    __tablename__ = "audit"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    request_id: Mapped[str | None] = mapped_column(String(64))
    caller: Mapped[str | None] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(255))
    target: Mapped[str | None] = mapped_column(String(255))
    outcome: Mapped[str] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))


class ScheduleRow(Base):
    """How far a job's schedule has come, and whether it is paused."""

    __tablename__ = "schedules"

    job: Mapped[str] = mapped_column(String(64), primary_key=True)
    paused: Mapped[bool] = mapped_column(default=False)
    last_due_at: Mapped[datetime | None]


class Alert(Base):
    """What a rule of the alerts says: whether it fires, since when, and since when what is seen differs from that.

    `told` are the sinks that are to hear of it, each with whether it has.
    """

    __tablename__ = "alerts"

    rule: Mapped[str] = mapped_column(String(64), primary_key=True)
    is_firing: Mapped[bool] = mapped_column(default=False)
    since: Mapped[datetime]
    differs_since: Mapped[datetime | None]
    value: Mapped[float]
    detail: Mapped[str] = mapped_column(Text)
    looked_at: Mapped[datetime]
    told: Mapped[dict[str, bool]] = mapped_column(JSON, default=dict)
