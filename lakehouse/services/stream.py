"""The stream as a child process: a thin client that keeps the streaming query running in the Spark server."""

from __future__ import annotations

import sys
from typing import Any

from lakehouse.reports import age
from lakehouse.services.service import CLIENT_SECRETS, Service
from lakehouse.settings import Settings
from lakehouse.stream.progress import stream_state

STALE_SECONDS = 180


def service(settings: Settings) -> Service:
    """The stream as the supervisor sees it."""
    return Service(
        name="stream",
        address_name="state_file",
        address=str(settings.run_dir / "stream.json"),
        command=(sys.executable, "-m", "lakehouse.cli", "stream"),
        secrets=CLIENT_SECRETS,
        is_healthy=lambda pid: _is_running(stream_state(settings), pid),
        depends_on=("kafka", "s3", "spark"),
        memory_limit_mb=256,
        memory_mb=520,
        start_seconds=300,
        stop_seconds=40,
    )


def _is_running(state: dict[str, Any], pid: int) -> bool:
    """Whether the process does what it should; one that was told to stop its query waits, and is well."""
    return state.get("pid") == pid and state.get("state") in ("running", "stopped") and age(state) < STALE_SECONDS
