"""stream: start and stop the streaming query, or tell how far it is. Reads and writes no table."""

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from lakehouse.errors import ShoplakeError
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.reports import age
from lakehouse.settings import Settings
from lakehouse.stream import control as stream_control
from lakehouse.stream.progress import lag, stream_state

WRITES = ()
PATIENCE_SECONDS = 120.0
FRESH_SECONDS = 20.0
_STATES = {"start": "running", "stop": "stopped"}


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Parameters of a run."""

    action: Literal["start", "stop", "status"] = Field(description="What to do: start, stop or status.")


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Start or stop the query and wait until it is so; its state, next offsets and lag in records.

    A batch that a stop cuts off is done again after the next start. A stopped query stays so, also over restarts.
    """
    settings = lake.settings
    if wanted := _STATES.get(parameters.action):
        stream_control.want(settings, wanted)
        _wait(settings, wanted, say)
    else:
        say("Asking the stream")
    found = stream_state(settings)
    is_heard = bool(found) and age(found) < FRESH_SECONDS
    return {
        "action": parameters.action,
        "state": found["state"] if is_heard else "down",
        "offsets": found.get("offsets") or {},
        "batch": found.get("batch"),
        "lag": lag(settings),
    }


def _wait(settings: Settings, wanted: str, say: Say) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        say(f"Waiting until the stream is {wanted}")
        found = stream_state(settings)
        if found.get("state") == wanted and age(found) < FRESH_SECONDS:
            return
        if time.monotonic() > end:
            raise ShoplakeError(
                f"The stream is not {wanted} after {PATIENCE_SECONDS:.0f} s: `shoplake status` tells whether its"
                f" process runs, {settings.logs / 'stream.log'} what it does."
            )
        time.sleep(0.3)
