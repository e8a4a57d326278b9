"""Following a run: its events as server-sent events, its log as JSON lines, until it ends.

A stream ends by itself after a while, and when the server stops. A client goes on from the last `seq` it has seen,
so nothing is lost: that is what `Last-Event-ID` and `after` are for.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.keys import Caller
from api.models import LogLine
from api.resources import Resources
from lakehouse.runs.database import RegistryAway
from lakehouse.runs.models import Run, RunEvent
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import TERMINAL

POLL_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 15.0
LONGEST_SECONDS = 900.0
Batch = tuple[bytes, int, bool]
"""Bytes to send, the last `seq` in them, and whether nothing follows."""


class FollowResponse(StreamingResponse):
    """A stream that holds one of the places for followers while it is open."""

    def __init__(self, shared: Resources, caller: Caller, content: AsyncIterator[bytes], media_type: str) -> None:
        """Raises Problem `too-many-requests` when it is sent and no place is free."""
        super().__init__(content, media_type=media_type, headers={"X-Accel-Buffering": "no"})
        self._shared, self._caller = shared, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        with self._shared.followers.hold(self._caller.name):
            await super().__call__(scope, receive, send)


def events(shared: Resources, run_id: str, after: int) -> AsyncIterator[bytes]:
    """Server-sent events of a run after `after`; ends with the event of its last state."""

    def look(seq: int) -> Batch:
        found = shared.registry.events(run_id, seq)
        text = b"".join(_sse(event) for event in found)
        ends = any(event.kind == "state" and event.state in TERMINAL for event in found)
        return text, found[-1].seq if found else seq, ends

    return _poll(shared, look, after, keep_alive=b": still here\n\n")


def log_lines(shared: Resources, run_id: str, after: int) -> AsyncIterator[bytes]:
    """JSON lines of a run's log after `after`; ends when the run has."""

    def look(seq: int) -> Batch:
        run = shared.registry.get(run_id)  # before the lines: what an ended run wrote is complete
        found = shared.registry.logs(run_id, seq)
        text = b"".join(LogLine.model_validate(line).model_dump_json().encode() + b"\n" for line in found)
        return text, found[-1].seq if found else seq, not found and (run is None or run.is_terminal)

    return _poll(shared, look, after, keep_alive=b"\n")


async def _poll(shared: Resources, look: Callable[[int], Batch], after: int, keep_alive: bytes) -> AsyncIterator[bytes]:
    began = heard = time.monotonic()
    seq, ends = after, False
    while not ends and not shared.stopping.is_set() and time.monotonic() - began < LONGEST_SECONDS:
        try:
            text, seq, ends = await run_in_threadpool(look, seq)
        except RegistryAway:
            return
        if text:
            yield text
            heard = time.monotonic()
        elif not ends:
            if time.monotonic() - heard > KEEP_ALIVE_SECONDS:
                yield keep_alive
                heard = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await shared.stopping.wait()


def is_over(registry: RunRegistry, run: Run, after: int) -> bool:
    """Whether the run has ended and everything about it was seen: a client that comes again is told to stay away."""
    return run.is_terminal and after > 0 and not registry.events(run.id, after, limit=1)


def _sse(event: RunEvent) -> bytes:
    told = {name: getattr(event, name) for name in ("run_id", "state", "cause", "data")}
    text = json.dumps({**told, "at": event.at.isoformat()})
    return format_sse_event(id=str(event.seq), event=event.kind, data_str=text)
