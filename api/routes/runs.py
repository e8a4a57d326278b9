"""Runs: listing, showing, cancelling and following them. The run of another caller does not exist for a caller."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from api import follow
from api.authentication import Canceller, Reader, note
from api.keys import Caller
from api.models import MOST_SEQ, RUN_ID, LogLine, LogPage, LogQuery, RunFilter, RunList, RunView
from api.problems import Problem
from api.resources import Resources, Shared
from api.routes.answers import guarded
from lakehouse.runs.models import Run

router = APIRouter(prefix="/v1/runs", tags=["runs"])
RunId = Annotated[str, Path(description="Id of the run.", examples=["019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11"])]
_TEXT = {"schema": {"type": "string"}}
_EVENT = {
    "description": "One event; `data` is JSON with run_id, at, state, cause and data.",
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "Send it back as `Last-Event-ID`."},
        "event": {"enum": ["state", "progress"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_EVENTS_EXAMPLE = (
    'id: 7\nevent: state\ndata: {"run_id": "019a…", "at": "2026-09-03T10:15:31+00:00", "state": "running",'
    ' "cause": "taken by worker 1", "data": null}\n\n'
)
_LINE_EXAMPLE = '{"seq": 3, "at": "2026-09-03T10:15:31+00:00", "level": "info", "message": "…", "fields": {}}\n'


def visible(shared: Resources, caller: Caller, run_id: str) -> Run:
    """The run, when this caller may see it. Raises Problem `unknown-run`, the same for foreign and missing ones."""
    run = shared.registry.get(run_id) if re.match(RUN_ID, run_id) else None
    if run is None or not (caller.is_admin or run.caller == caller.name):
        raise Problem("unknown-run", "There is no run of this id.")
    return run


def readable_run(caller: Reader, run_id: RunId, shared: Shared) -> Run:
    """The run in the path."""
    return visible(shared, caller, run_id)


ReadableRun = Annotated[Run, Depends(readable_run)]


@router.get("", summary="List runs", responses=guarded("wrong-parameter"))
def list_runs(caller: Reader, chosen: Annotated[RunFilter, Query()], shared: Shared) -> RunList:
    """Your runs, the newest first; with `admin`, everyone's."""
    if chosen.job is not None and chosen.job not in shared.registry.jobs:
        known = list(shared.registry.jobs)
        error = {"field": "job", "message": "there is no such job", "known": known}
        raise Problem("wrong-parameter", f"There is no job {chosen.job!r}.", errors=[error])
    found = shared.registry.list(
        job=chosen.job,
        states=chosen.state,
        caller=None if caller.is_admin else caller.name,
        created_after=chosen.created_after,
        created_before=chosen.created_before,
        limit=chosen.limit + 1,
        before=chosen.cursor,
    )
    page = found[: chosen.limit]
    return RunList(
        items=[RunView.of(run) for run in page], next_cursor=page[-1].id if len(found) > chosen.limit else None
    )


@router.get("/{run_id}", summary="Show a run", responses=guarded("unknown-run"))
def show_run(run: ReadableRun) -> RunView:
    """State, progress, and once it ended, result or error."""
    return RunView.of(run)


@router.post("/{run_id}/cancel", status_code=202, summary="Cancel a run", responses=guarded("unknown-run"))
def cancel_run(request: Request, caller: Canceller, run_id: RunId, shared: Shared) -> RunView:
    """A waiting run is cancelled at once; a running one is `cancelling` until its Spark work has stopped. A run that
    has ended stays as it is, so that cancelling twice does no harm."""
    run = visible(shared, caller, run_id)
    after = shared.registry.cancel(run.id, f"cancelled by {caller.name}")
    note(request, "run.cancel", run.id, "done")
    return RunView.of(after)


@router.get(
    "/{run_id}/logs",
    summary="Read or follow a run's log",
    response_model=LogPage,
    responses={
        200: {"content": {"application/x-ndjson": {**_TEXT, "example": _LINE_EXAMPLE}}},
        **guarded("unknown-run", "wrong-parameter"),
    },
)
def read_logs(caller: Reader, run: ReadableRun, asked: Annotated[LogQuery, Query()], shared: Shared) -> Any:
    """A page of lines, or with `follow=true` a stream of JSON lines (empty lines keep it alive) until the run ends."""
    if asked.follow:
        lines = follow.log_lines(shared, run.id, asked.after)
        return follow.FollowResponse(shared, caller, lines, "application/x-ndjson")
    found = shared.registry.logs(run.id, asked.after, asked.limit)
    items = [LogLine.model_validate(line) for line in found]
    return LogPage(items=items, next_after=items[-1].seq if items else asked.after)


@router.get(
    "/{run_id}/events",
    summary="Follow a run",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events: `state` and `progress`, the last one is the state it ended in.",
            "content": {"text/event-stream": {"schema": _EVENT, "example": _EVENTS_EXAMPLE}},
        },
        204: {"description": "The run has ended and you have seen all of it: do not connect again."},
        **guarded("unknown-run", "wrong-parameter"),
    },
)
def follow_events(
    caller: Reader,
    run: ReadableRun,
    shared: Shared,
    last_event_id: Annotated[
        int | None,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=MOST_SEQ,
            description="Go on after this event; browsers send it themselves.",
        ),
    ] = None,
) -> Response:
    """All events from the first on, then each as it happens. A stream that breaks is resumed with `Last-Event-ID`."""
    after = last_event_id or 0
    if follow.is_over(shared.registry, run, after):
        return Response(status_code=204)
    return follow.FollowResponse(shared, caller, follow.events(shared, run.id, after), "text/event-stream")
