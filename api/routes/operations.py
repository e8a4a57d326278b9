"""For those who run it: is it alive, is it ready, its metrics, and what the problems mean. No key is needed."""

from fastapi import APIRouter, Path, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from api.models import Alive, Ready
from api.openapi import problems
from api.problems import KINDS, Problem, retry_after
from api.resources import Shared

router = APIRouter(tags=["operations"])
RETRY_SECONDS = 5


@router.get("/livez", summary="Is it alive?", responses=problems())
async def livez() -> Alive:
    """The process answers. Nothing else is looked at: restarting it would mend nothing else."""
    return Alive(status="alive")


@router.get("/readyz", summary="Is everything there?", responses=problems("dependency-away"))
def readyz(shared: Shared) -> Ready:
    """Asks the database, Kafka, S3, Spark, the stream and the worker; `missing` names those that do not answer.

    `degraded`, with 200, while the quality gate holds gold back: dashboards stay on the last good version, and this API
    is what mends it.
    """
    found = shared.readiness.all()
    held = found.pop("gate")
    if missing := {part: wrong for part, wrong in found.items() if wrong}:
        told = " ".join(f"{part} {wrong}." for part, wrong in missing.items())
        raise retry_after("dependency-away", told, RETRY_SECONDS, missing=missing)
    checks = dict.fromkeys(found, "ok") | {"gate": held or "ok"}
    return Ready(status="degraded" if held else "ready", checks=checks)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    responses={
        200: {"description": "Prometheus text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(),
    },
)
def metrics(shared: Shared) -> Response:
    """Runs, queue, latency, gate and ledger as of now; the stream's figures are some seconds old: this never waits."""
    return Response(shared.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/problems/{kind}",
    summary="What a problem means",
    response_class=PlainTextResponse,
    responses=problems("not-found"),
)
async def explain_problem(kind: str = Path(examples=["wrong-parameter"])) -> PlainTextResponse:
    """The page that a problem's `type` points to."""
    if kind not in KINDS:
        raise Problem("not-found", "There is no such problem.", known=list(KINDS))
    found = KINDS[kind]
    return PlainTextResponse(f"{kind}: {found.title} (HTTP {found.status})\n\n{found.remedy}\n")
