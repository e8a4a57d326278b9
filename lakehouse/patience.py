"""Asking again while a part of the platform is away: the supervisor brings it back within a minute or two."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lakehouse.errors import ShoplakeError, UsageError

AWAY_SECONDS = 180.0
PAUSE_SECONDS = 1.0
Answer = TypeVar("Answer")


def patiently(ask: Callable[[], Answer], seconds: float = AWAY_SECONDS, pause: float = PAUSE_SECONDS) -> Answer:
    """What `ask` returns, asked again for so long while it raises ShoplakeError; its last error after that.

    UsageError is raised at once: waiting mends no wrong setting.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except UsageError:
            raise
        except ShoplakeError:
            if time.monotonic() > end:
                raise
        time.sleep(pause)
