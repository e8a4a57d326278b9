"""Where a record went, and which events a number comes from. Each question looks into the lake itself."""

from collections.abc import Callable
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.authentication import TraceReader
from api.models import Moment
from api.openapi import guarded
from api.problems import Problem, retry_after
from api.resources import Resources, Shared
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.serving.figures import Figure, Figures, NothingThereError, row_in
from lakehouse.serving.newest import NothingPublishedError, Publish
from lakehouse.serving.sql_output import exact_json
from lakehouse.serving.trace import Trace, Tracer

router = APIRouter(prefix="/v1/trace", tags=["trace"])
RETRY_SECONDS = 5
Given = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]


class AskedRecords(BaseModel, extra="forbid"):
    """Which records: exactly one of the first three."""

    event_id: Given | None = Field(None, description="Every record that carries this event.")
    key: Given | None = Field(None, description="The newest records with this Kafka key, the user's id.")
    at: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9._-]{1,249}-\d{1,10}-\d{1,18}$",
        description="The record at topic-partition-offset.",
    )
    limit: int = Field(20, ge=1, le=100, description="Most records of a key.")


class AskedNumber(BaseModel, extra="forbid"):
    """Which number of gold."""

    table: Given = Field(description="An hourly gold table, as gold.kpis_hourly.")
    hour: Moment = Field(description="The clock hour, or any moment in it.")
    column: Given = Field(description="A number in it, as revenue.")
    of: list[Given] = Field([], max_length=2, description="Which row, as currency=EUR, where an hour has several.")
    limit: int = Field(100, ge=0, le=5_000, description="Most events to list.")


@router.get(
    "/event",
    summary="Where a record went",
    response_model=Trace,
    responses=guarded("wrong-parameter", "unknown-record"),
)
async def trace_event(shared: Shared, _caller: TraceReader, asked: Annotated[AskedRecords, Query()]) -> Response:
    """When a record came, whether it was accepted, repeats another or was refused and why, and which published hours of
    gold and which fraud flags its event counts in."""

    def look(publish: Publish | None) -> Trace:
        return Tracer(shared.settings, shared.lake, publish).trace(asked.event_id, asked.key, asked.at, asked.limit)

    return await _answer(shared, look, "event_id, key, at")


@router.get(
    "/figure",
    summary="Which events a number comes from",
    response_model=Figure,
    responses=guarded("wrong-parameter", "unknown-record"),
)
async def trace_figure(shared: Shared, _caller: TraceReader, asked: Annotated[AskedNumber, Query()]) -> Response:
    """The events behind a number of hourly gold with their Kafka offsets, what they add up to, and whether that is what
    gold says."""

    def look(publish: Publish | None) -> Figure:
        hour = asked.hour.replace(minute=0, second=0, microsecond=0)
        figures = Figures(shared.settings, shared.lake, publish)
        return figures.trace(asked.table, hour, asked.column, row_in(asked.of), asked.limit)

    return await _answer(shared, look, "table, column, of")


async def _answer(shared: Resources, look: Callable[[Publish | None], BaseModel], fields: str) -> Response:
    """What `look` finds, few looks at a time; Problem `wrong-parameter`, `unknown-record` or `dependency-away`."""

    def found() -> bytes:
        try:
            publish = shared.publish.get()
        except NothingPublishedError:
            publish = None
        return exact_json(look(publish).model_dump())

    try:
        body = await anyio.to_thread.run_sync(found, limiter=shared.looks)
    except UsageError as error:
        raise Problem("wrong-parameter", str(error), errors=[{"field": fields, "message": str(error)}]) from None
    except NothingThereError as error:
        raise Problem("unknown-record", str(error)) from None
    except ShoplakeError as error:
        raise retry_after("dependency-away", str(error), RETRY_SECONDS, missing={"lake": str(error)}) from None
    return Response(body, media_type="application/json")
