"""Runs: listing, showing, cancelling and following them. The run of another caller does not exist for a caller."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from api.authentication import Canceller, Reader, note
from api.keys import Caller
from api.models import MOST_SEQ, RUN_ID, LogPage, LogQuery, RunFilter, RunList, RunView
from api.openapi import guarded
from api.problems import Problem, retry_after
from api.resources import Resources, Shared
from lakehouse.runs.database import RegistryAway
from lakehouse.runs.models import Run
from lakehouse.runs.states import TERMINAL

POLL_SECONDS = 0.25
LONGEST_SECONDS = 900.0
FOLLOWED_BY_ONE_CALLER = 20
"""Most streams of events of one caller at once."""
router = APIRouter(prefix="/v1/runs", tags=["runs"])
RunId = Annotated[str, Path(description="Id of the run.", examples=["019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11"])]
_EVENTS_EXAMPLE = (
    'id: 7\nevent: state\ndata: {"run_id": "019a…", "at": "2026-09-03T10:15:31+00:00", "state": "running",'
    ' "cause": "taken by worker 1", "data": null}\n\n'
)


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
    return RunList.model_validate({"items": page, "next_cursor": page[-1].id if len(found) > chosen.limit else None})


@router.get("/{run_id}", summary="Show a run", response_model=RunView, responses=guarded("unknown-run"))
def show_run(run: ReadableRun) -> Run:
    """State, progress, and once it ended, result or error."""
    return run


@router.post(
    "/{run_id}/cancel",
    status_code=202,
    summary="Cancel a run",
    response_model=RunView,
    responses=guarded("unknown-run"),
)
def cancel_run(request: Request, caller: Canceller, run_id: RunId, shared: Shared) -> Run:
    """A waiting run is cancelled at once; a running one is `cancelling` until its Spark work has stopped. A run that
    has ended stays as it is, so that cancelling twice does no harm."""
    run = visible(shared, caller, run_id)
    after = shared.registry.cancel(run.id, f"cancelled by {caller.name}")
    note(request, "run.cancel", run.id, "done")
    return after


@router.get("/{run_id}/logs", summary="Read a run's log", responses=guarded("unknown-run", "wrong-parameter"))
def read_logs(run: ReadableRun, asked: Annotated[LogQuery, Query()], shared: Shared) -> LogPage:
    """A page of lines."""
    found = shared.registry.logs(run.id, asked.after, asked.limit)
    return LogPage.model_validate({"items": found, "next_after": found[-1].seq if found else asked.after})


def last_seen(
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
) -> int:
    """The event to go on after. Raises HTTPException 204 when none can follow it: a browser then stays away."""
    if run.is_terminal and last_event_id and not shared.registry.events(run.id, last_event_id, limit=1):
        raise HTTPException(204)
    return last_event_id or 0


async def place_of_follower(caller: Reader, shared: Shared) -> AsyncIterator[None]:
    """Held until the answer is sent. Raises Problem `too-many-requests` when none is free."""
    followers = shared.followers
    if followers.total() >= shared.settings.api_max_followers or followers[caller.name] >= FOLLOWED_BY_ONE_CALLER:
        raise retry_after("too-many-requests", "Too many runs are being followed at once.", 5)
    followers[caller.name] += 1
    try:
        yield
    finally:
        followers[caller.name] -= 1


@router.get(
    "/{run_id}/events",
    summary="Follow a run",
    response_class=EventSourceResponse,
    response_description="Server-sent events, `state` and `progress`; the last one is the state in which the run ended."
    " `id` is for `Last-Event-ID`, `data` is JSON with run_id, at, state, cause and data.",
    responses={
        200: {"content": {"text/event-stream": {"example": _EVENTS_EXAMPLE}}},
        204: {"description": "The run has ended and you have seen all of it: do not connect again."},
        **guarded("unknown-run", "wrong-parameter"),
    },
)
async def follow_events(
    run: ReadableRun,
    after: Annotated[int, Depends(last_seen)],
    _place: Annotated[None, Depends(place_of_follower)],
    shared: Shared,
) -> AsyncIterator[ServerSentEvent]:
    """All events from the first on, then each as it happens. A stream that breaks, or ends by itself after a while, is
    resumed with `Last-Event-ID`: nothing is lost."""
    end, has_ended = time.monotonic() + LONGEST_SECONDS, False
    while not has_ended and not shared.stopping.is_set() and time.monotonic() < end:
        try:
            found = await run_in_threadpool(shared.registry.events, run.id, after)
        except RegistryAway:
            return
        for event in found:
            after, has_ended = event.seq, event.kind == "state" and event.state in TERMINAL
            told = {name: getattr(event, name) for name in ("run_id", "at", "state", "cause", "data")}
            yield ServerSentEvent(id=str(after), event=event.kind, data=told)
        if not found:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await shared.stopping.wait()
