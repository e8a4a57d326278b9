"""Jobs: which there are, and starting one."""

import hmac
import json
from typing import Annotated, Any, NoReturn

import anyio.from_thread
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from pydantic import ValidationError

from api.authentication import Reader, Runner, note
from api.errors import wrong
from api.keys import OPERATOR
from api.limits import body_too_large
from api.models import Accepted, JobList, JobView, RunRequest
from api.openapi import guarded
from api.problems import Problem, retry_after
from api.resources import Resources, Shared
from lakehouse.api_client import USER_AGENT
from lakehouse.jobs import Job, WrongParameters
from lakehouse.lake_secret import secret_for
from lakehouse.runs.models import Run
from lakehouse.runs.registry import KeyReused, QueueFull

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
RETRY_SECONDS = 5
_KEY = r"^[\x21-\x7e]{1,200}$"
_EXAMPLES: dict[str, dict[str, str]] = {
    "With every default": {},
    "cohort_retention: calendar days of Berlin": {"timezone": "Europe/Berlin"},
    "backfill, top_products, fraud_scan: a range of days": {"from_date": "2026-09-01", "to_date": "2026-09-03"},
    "stream: stop it": {"action": "stop"},
}
_JSON = {
    "schema": RunRequest.model_json_schema(),
    "examples": {says: {"value": {"parameters": given}} for says, given in _EXAMPLES.items()},
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


async def run_request(request: Request, shared: Shared) -> RunRequest:
    """The body, read only after the caller and the job are known; an empty body is an empty object.

    Raises Problem `too-large`, `wrong-media-type`, `bad-json` or `wrong-parameter`.
    """
    body, most_bytes = bytearray(), shared.settings.api_max_body_kb * 1024
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            raise body_too_large(most_bytes)
    if not body:
        return RunRequest()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem("wrong-media-type", "The body must be application/json.", headers={"Accept": "application/json"})
    try:
        given = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200] if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise Problem("bad-json", f"The body is wrong: {reason}.") from None
    try:
        return RunRequest.model_validate(given)
    except ValidationError as error:
        raise wrong(error.errors(include_url=False), RunRequest.model_json_schema()["properties"]) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


@router.get("", summary="List the jobs", responses=guarded())
def list_jobs(_caller: Reader, shared: Shared) -> JobList:
    """Every job with its parameters, the tables it writes, and its schedule."""
    return JobList.model_validate({"items": list(shared.registry.jobs.values())})


@router.get("/{job}", summary="Show a job", response_model=JobView, responses=guarded("unknown-job"))
def show_job(_caller: Reader, job: KnownJob) -> Job:
    """A job with the JSON schema of its parameters."""
    return job


@router.post(
    "/{job}/runs",
    status_code=202,
    summary="Start a run",
    response_model=Accepted,
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
    openapi_extra={"requestBody": {"required": False, "content": {"application/json": _JSON}}},
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
) -> Run:
    """The run is kept durably before this answers. It waits while another run writes the same tables.

    Without an `Idempotency-Key`, sending the request twice starts two runs.
    """
    if job.needs_admin and not caller.is_admin:
        anyio.from_thread.run_sync(shared.limits.missing_scopes.count, caller.name)  # counts are the event loop's
        note(request, "access.denied", job.name, "missing-scope")
        raise Problem("missing-scope", f"{job.name} needs the scope admin.")
    try:
        parameters = job.parse(body.parameters)
    except WrongParameters as error:
        fields = job.parameters.model_json_schema().get("properties", {})
        raise wrong(error.errors, fields, str(error), "parameters") from None
    idempotency = (idempotency_key, _hash(shared, job, body.parameters)) if idempotency_key else None
    # What a program calls itself is believed of the operator alone: whoever has that key is at the command line.
    is_cli = caller.name == OPERATOR and request.headers.get("user-agent") == USER_AGENT
    try:
        # What a known key stands for is answered, whatever is away.
        if not (idempotency and shared.registry.known(caller.name, *idempotency)):
            _require_spark(shared, job)
        submitted = shared.registry.submit(
            job, parameters, caller=caller.name, trigger="cli" if is_cli else "api", idempotency=idempotency
        )
    except (KeyReused, QueueFull) as refusal:
        said, is_full = str(refusal), isinstance(refusal, QueueFull)
        problem = retry_after("queue-full", said, RETRY_SECONDS) if is_full else Problem("key-reused", said)
        note(request, "run.start", job.name, problem.kind)
        raise problem from None
    run = submitted.run
    response.headers["Location"] = f"/v1/runs/{run.id}"
    if submitted.is_new:
        note(request, "run.start", f"{run.job} {run.id}", "done")
    else:
        response.headers["Idempotent-Replayed"] = "true"
    return run


def _hash(shared: Resources, job: Job, given: dict[str, Any]) -> str:
    """Of what was asked for, before defaults: those of tomorrow may differ, and a repetition is still the same. Keyed:
    what a parameter says cannot be guessed from it."""
    key = secret_for(shared.registry.settings, "what was asked for").encode()
    return hmac.digest(key, json.dumps([job.name, given], sort_keys=True).encode(), "sha256").hex()


def _require_spark(shared: Resources, job: Job) -> None:
    """Refuse what could not start now, rather than let it wait for something that may never come back."""
    wrong = shared.readiness.check("spark") if job.needs_spark else None
    if wrong:
        raise retry_after("dependency-away", f"Spark {wrong}.", RETRY_SECONDS, missing={"spark": wrong})
