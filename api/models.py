"""What the API takes and gives, as types: the OpenAPI document is made from these."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from lakehouse.jobs import Job
from lakehouse.runs.models import Run
from lakehouse.runs.schedule import Schedule
from lakehouse.wording import MOMENT

RunState = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "lost"]
RUN_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
MOST_SEQ = 2**53


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is before or after every year that UTC has") from None


def _is_iso(value: object) -> object:
    """pydantic would take a plain number for seconds since 1970, which the OpenAPI document does not promise."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(MOMENT) from None


Moment = Annotated[AwareDatetime, BeforeValidator(_is_iso), AfterValidator(_in_utc)]
"""A moment with its offset, in UTC."""


class JobView(BaseModel):
    """A job that can be run."""

    name: str
    summary: str
    parameters: dict[str, Any] = Field(description="JSON schema of the parameters, with defaults.")
    writes: list[str] = Field(description="Tables that a run writes; runs that share one never overlap.")
    timeout_seconds: int
    max_attempts: int
    schedule: str | None = Field(description="When it is run by itself: cron text, UTC.")

    @classmethod
    def of(cls, job: Job) -> JobView:
        """The view of a registered job."""
        return cls(
            name=job.name,
            summary=job.summary,
            parameters=job.parameters.model_json_schema(),
            writes=[table.full_name for table in job.writes],
            timeout_seconds=job.timeout_seconds,
            max_attempts=job.max_attempts,
            schedule=job.schedule,
        )


class JobList(BaseModel):
    """All jobs."""

    items: list[JobView]


class RunRequest(BaseModel):
    """What a run is told."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, Any] = Field(
        default_factory=dict, description="By name; what is left out takes its default. GET /v1/jobs/{job} lists them."
    )


class RunLinks(BaseModel):
    """Addresses of what belongs to a run."""

    run: str
    events: str
    logs: str
    cancel: str

    @classmethod
    def of(cls, run_id: str) -> RunLinks:
        """The addresses of this run."""
        path = f"/v1/runs/{run_id}"
        return cls(run=path, events=f"{path}/events", logs=f"{path}/logs", cancel=f"{path}/cancel")


class Accepted(BaseModel):
    """A run as it was accepted: the same answer whenever the request comes again with its Idempotency-Key."""

    id: str
    job: str
    state: Literal["queued"]
    parameters: dict[str, Any]
    created_at: datetime
    links: RunLinks

    @classmethod
    def of(cls, run: Run) -> Accepted:
        """The answer for this run."""
        told = {name: getattr(run, name) for name in ("id", "job", "parameters", "created_at")}
        return cls.model_validate(told | {"state": "queued", "links": RunLinks.of(run.id)})


class RunError(BaseModel):
    """Why a run failed."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="One sentence, for people.")


class RunView(BaseModel):
    """A run. `result` is there once it succeeded, `error` once it failed or was lost."""

    id: str
    job: str
    state: RunState
    parameters: dict[str, Any]
    caller: str
    trigger: str = Field(description="Where it came from: `api`, `cli` or `schedule`.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempt: int
    max_attempts: int
    timeout_seconds: int
    progress: dict[str, Any] | None = Field(
        description="`step` of `steps`, what it is `doing`, and, once Spark works, `tasks_done` of `tasks`."
    )
    result: dict[str, Any] | None = Field(
        description="What the job tells, with `duration_seconds`, `rows_written` and, in `tables`, versions of tables."
    )
    error: RunError | None
    links: RunLinks

    @classmethod
    def of(cls, run: Run) -> RunView:
        """The view of a run; its worker and Spark session stay inside."""
        names = set(cls.model_fields) - {"links"}
        return cls.model_validate({name: getattr(run, name) for name in names} | {"links": RunLinks.of(run.id)})


class RunList(BaseModel):
    """A page of runs, the newest first."""

    items: list[RunView]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


class RunFilter(BaseModel):
    """Which runs are listed."""

    model_config = ConfigDict(extra="forbid")

    job: str | None = Field(None, max_length=64, description="Only runs of this job.")
    state: list[RunState] = Field([], max_length=7, description="Only runs in one of these states.")
    created_after: Moment | None = Field(None, description="Only runs created at this moment or later.")
    created_before: Moment | None = Field(None, description="Only runs created before this moment.")
    limit: int = Field(50, ge=1, le=200, description="Most runs of a page.")
    cursor: str | None = Field(None, pattern=RUN_ID, description="`next_cursor` of the page before.")


class LogLine(BaseModel):
    """A line of a run's log."""

    model_config = ConfigDict(from_attributes=True)

    seq: int = Field(description="Grows within a run; pass it as `after` to go on from here.")
    at: datetime
    level: str
    message: str
    fields: dict[str, Any] | None


class LogPage(BaseModel):
    """Lines of a run's log, the oldest first."""

    items: list[LogLine]
    next_after: int = Field(description="`after` of the next page; there may be more as long as the run goes on.")


class LogQuery(BaseModel):
    """Which lines, and whether to wait for more."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=MOST_SEQ, description="Only lines after this `seq`.")
    limit: int = Field(1_000, ge=1, le=5_000, description="Most lines of a page; not used with `follow`.")
    follow: bool = Field(False, description="Answer with JSON lines until the run ends.")


class ScheduleList(BaseModel):
    """All schedules."""

    items: list[Schedule]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Ready(BaseModel):
    """Everything that is needed answers. Degraded: jobs can be triggered, but some gold is not the newest."""

    status: Literal["ready", "degraded"]
    checks: dict[str, str] = Field(description="What each part said; `gate`: what fails, and holds which table back.")
