"""What the API takes and gives, as types: the OpenAPI document is made from these."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, computed_field

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


class JobView(BaseModel, from_attributes=True):
    """A job that can be run."""

    name: str
    summary: str
    parameters: Annotated[
        dict[str, Any],
        BeforeValidator(lambda model: model.model_json_schema()),
        Field(description="JSON schema of the parameters, with defaults."),
    ]
    writes: Annotated[
        list[str],
        BeforeValidator(lambda tables: [table.full_name for table in tables]),
        Field(description="Tables that a run writes; runs that share one never overlap."),
    ]
    timeout_seconds: int
    max_attempts: int
    schedule: str | None = Field(description="When it is run by itself: cron text, UTC.")


class JobList(BaseModel):
    """All jobs."""

    items: list[JobView]


class RunRequest(BaseModel, extra="forbid"):
    """What a run is told."""

    parameters: dict[str, Any] = Field(
        default_factory=dict, description="By name; what is left out takes its default. GET /v1/jobs/{job} lists them."
    )


class RunLinks(BaseModel):
    """Addresses of what belongs to a run."""

    run: str
    events: str
    logs: str
    cancel: str


class _OfRun(BaseModel, from_attributes=True):
    """What every view of a run has; views are made from its row."""

    id: str
    job: str

    @computed_field  # type: ignore[prop-decorator]  # pydantic's way
    @property
    def links(self) -> RunLinks:
        """Addresses of what belongs to the run."""
        path = f"/v1/runs/{self.id}"
        return RunLinks(run=path, events=f"{path}/events", logs=f"{path}/logs", cancel=f"{path}/cancel")


class Accepted(_OfRun):
    """A run as it was accepted: the same answer whenever the request comes again with its Idempotency-Key."""

    state: Annotated[Literal["queued"], BeforeValidator(lambda _now: "queued")]
    parameters: dict[str, Any]
    created_at: datetime


class RunError(BaseModel, extra="allow"):
    """Why a run failed."""

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="One sentence, for people.")


class RunView(_OfRun):
    """A run. `result` is there once it succeeded, `error` once it failed or was lost."""

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


class RunList(BaseModel):
    """A page of runs, the newest first."""

    items: list[RunView]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


class RunFilter(BaseModel, extra="forbid"):
    """Which runs are listed."""

    job: str | None = Field(None, max_length=64, description="Only runs of this job.")
    state: list[RunState] = Field([], max_length=7, description="Only runs in one of these states.")
    created_after: Moment | None = Field(None, description="Only runs created at this moment or later.")
    created_before: Moment | None = Field(None, description="Only runs created before this moment.")
    limit: int = Field(50, ge=1, le=200, description="Most runs of a page.")
    cursor: str | None = Field(None, pattern=RUN_ID, description="`next_cursor` of the page before.")


class LogLine(BaseModel, from_attributes=True):
    """A line of a run's log."""

    seq: int = Field(description="Grows within a run; pass it as `after` to go on from here.")
    at: datetime
    level: str
    message: str
    fields: dict[str, Any] | None


class LogPage(BaseModel):
    """Lines of a run's log, the oldest first."""

    items: list[LogLine]
    next_after: int = Field(description="`after` of the next page; there may be more as long as the run goes on.")


class LogQuery(BaseModel, extra="forbid"):
    """Which lines."""

    after: int = Field(0, ge=0, le=MOST_SEQ, description="Only lines after this `seq`.")
    limit: int = Field(1_000, ge=1, le=5_000, description="Most lines of a page.")


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


class WrongField(BaseModel):
    """A field of a request, and what is wrong with it."""

    field: str
    message: str
    expected: dict[str, Any] = Field({}, description="JSON schema of the field.")
    known: list[str] = Field([], description="Names that there are.")


_EXAMPLE: dict[str, Any] = {
    "type": "/problems/wrong-parameter",
    "title": "A parameter is wrong",
    "status": 422,
    "detail": "limit is wrong: it must be 200 or less. Mend the fields listed in `errors`.",
    "request_id": "5f0c2b9e4d11",
    "errors": [{"field": "limit", "message": "it must be 200 or less", "expected": {"maximum": 200}}],
}


class Problem(BaseModel, json_schema_extra={"example": _EXAMPLE}):
    """An error (RFC 9457)."""

    type: str = Field(description="Address of a page about this kind of problem.")
    title: str = Field(description="The kind of problem, the same each time.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong with this request, and what to do.")
    request_id: str = Field(description="Also in the header `X-Request-ID` and in the log.")
    errors: list[WrongField] = Field([], description="The wrong fields, each with what is expected.")
    known: list[str] = Field([], description="Names that there are.")
    missing: dict[str, str] = Field({}, description="What does not answer.")
