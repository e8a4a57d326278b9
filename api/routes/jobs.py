"""Jobs: which there are, and starting one."""

from __future__ import annotations

import hmac
import json
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Path, Request, Response

from api import validation
from api.authentication import Reader, Runner, note
from api.keys import OPERATOR
from api.models import Accepted, JobList, JobView, RunRequest
from api.problems import Problem, retry_after
from api.resources import Resources, Shared
from api.routes.answers import guarded
from lakehouse.api_client import USER_AGENT
from lakehouse.jobs import Job
from lakehouse.lake_secret import secret_for
from lakehouse.runs.models import IdempotencyRow
from lakehouse.runs.records import KeyReused, QueueFull

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
DEPENDENCY_RETRY_SECONDS = 5
_KEY = r"^[\x21-\x7e]{1,200}$"
_BODY = {
    "required": False,
    "content": {
        "application/json": {
            "schema": RunRequest.model_json_schema(),
            "examples": {
                "defaults": {"summary": "With every default", "value": {}},
                "cohort_retention": {
                    "summary": "cohort_retention: calendar days of Berlin",
                    "value": {"parameters": {"timezone": "Europe/Berlin"}},
                },
                "backfill": {
                    "summary": "backfill, top_products, fraud_scan: a range of days",
                    "value": {"parameters": {"from_date": "2026-09-01", "to_date": "2026-09-03"}},
                },
                "stream": {"summary": "stream: stop it", "value": {"parameters": {"action": "stop"}}},
            },
        }
    },
}


def known_job(
    job: Annotated[str, Path(description="Name of the job.", examples=["cohort_retention"])], shared: Shared
) -> Job:
    """The job of that name. Raises Problem `unknown-job`."""
    found = shared.registry.jobs.get(job)
    if found is None:
        known = list(shared.registry.jobs)
        raise Problem("unknown-job", f"There is no job {job[:64]!r}; there are {', '.join(known)}.", known=known)
    return found


KnownJob = Annotated[Job, Depends(known_job)]


async def run_request(request: Request) -> RunRequest:
    """The body, read only after the caller and the job are known."""
    return await validation.json_body(request, RunRequest)


@router.get("", summary="List the jobs", responses=guarded())
def list_jobs(_caller: Reader, shared: Shared) -> JobList:
    """Every job with its parameters, the tables it writes, and its schedule."""
    return JobList(items=[JobView.of(job) for job in shared.registry.jobs.values()])


@router.get("/{job}", summary="Show a job", responses=guarded("unknown-job"))
def show_job(_caller: Reader, job: KnownJob) -> JobView:
    """A job with the JSON schema of its parameters."""
    return JobView.of(job)


@router.post(
    "/{job}/runs",
    status_code=202,
    summary="Start a run",
    response_description="Accepted: the run waits its turn. `Location` is where to look.",
    responses={
        202: {
            "headers": {
                "Location": {"description": "The run.", "schema": {"type": "string"}, "required": True},
                "Idempotent-Replayed": {
                    "description": "`true` when the Idempotency-Key stood for this run already.",
                    "schema": {"type": "string"},
                },
            }
        },
        **guarded("bad-json", "unknown-job", "wrong-media-type", "wrong-parameter", "key-reused", "queue-full"),
    },
    openapi_extra={"requestBody": _BODY},
)
def start_run(
    request: Request,
    response: Response,
    caller: Runner,
    job: KnownJob,
    body: Annotated[RunRequest, Depends(run_request)],
    shared: Shared,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            pattern=_KEY,
            description="Any text of your own: 1 to 200 visible ASCII characters, no spaces. The same key and body"
            " start one run, however often they are sent; kept for a day, per caller.",
            examples=["retention-2026-09-03"],
        ),
    ] = None,
) -> Accepted:
    """The run is kept durably before this answers. It waits while another run writes the same tables.

    Without an `Idempotency-Key`, sending the request twice starts two runs.
    """
    if job.needs_admin and not caller.is_admin:
        shared.rates.count_denied(caller.name)
        note(request, "access.denied", job.name, "missing-scope")
        raise Problem("missing-scope", f"{job.name} needs the scope admin.")
    parameters = validation.parameters_of(job, body.parameters)
    idempotency = (idempotency_key, _hash(shared, job, body.parameters)) if idempotency_key else None
    if not (idempotency and _is_known(shared, caller.name, idempotency[0])):
        _require_spark(shared, job)
    # What a program calls itself is believed of the operator alone: whoever has that key is at the command line.
    is_cli = caller.name == OPERATOR and request.headers.get("user-agent") == USER_AGENT
    try:
        submitted = shared.registry.submit(
            job, parameters, caller=caller.name, trigger="cli" if is_cli else "api", idempotency=idempotency
        )
    except (KeyReused, QueueFull) as refusal:
        problem = _problem(refusal)
        note(request, "run.start", job.name, problem.kind)
        raise problem from None
    run = submitted.run
    response.headers["Location"] = f"/v1/runs/{run.id}"
    if submitted.is_new:
        note(request, "run.start", f"{run.job} {run.id}", "done")
    else:
        response.headers["Idempotent-Replayed"] = "true"
    return Accepted.of(run)


def _problem(refusal: KeyReused | QueueFull) -> Problem:
    said = str(refusal).split(":")[0] + "."
    if isinstance(refusal, QueueFull):
        return retry_after("queue-full", said, refusal.retry_after_s)
    return Problem("key-reused", said)


def _hash(shared: Resources, job: Job, given: dict[str, Any]) -> str:
    """Of what was asked for, before defaults: those of tomorrow may differ, and a repetition is still the same. Keyed:
    what a parameter says cannot be guessed from it."""
    key = secret_for(shared.registry.settings, "what was asked for").encode()
    return hmac.digest(key, json.dumps([job.name, given], sort_keys=True).encode(), "sha256").hex()


def _is_known(shared: Resources, caller: str, key: str) -> bool:
    """Whether the key stands for a run already: then the answer is known, whatever is away."""
    query = sa.select(IdempotencyRow.run_id).where(IdempotencyRow.caller == caller, IdempotencyRow.key == key)
    with shared.registry.database.reading() as session:
        return session.scalar(query) is not None


def _require_spark(shared: Resources, job: Job) -> None:
    """Refuse what could not start now, rather than let it wait for something that may never come back."""
    wrong = shared.readiness.check("spark") if job.needs_spark else None
    if wrong:
        raise retry_after("dependency-away", f"Spark {wrong}.", DEPENDENCY_RETRY_SECONDS, missing={"spark": wrong})
