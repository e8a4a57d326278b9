"""The publisher of the serving file as a child process."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime

from lakehouse.embedded.service import Service
from lakehouse.settings import Settings

STALE_SECONDS = 120


def service(settings: Settings) -> Service:
    """The publisher as the supervisor sees it. It publishes empty tables while the lake has none."""
    return Service(
        name="publisher",
        address_name="serving_file",
        address=str(settings.data_dir / "serving" / "serving.duckdb"),
        command=(sys.executable, "-m", "lakehouse.publishing"),
        is_healthy=lambda pid: _is_running(settings, pid),
        depends_on=("s3",),
        memory_limit_mb=512,
        start_seconds=120,
        stop_seconds=10,
    )


def _is_running(settings: Settings, pid: int) -> bool:
    try:
        state = json.loads((settings.run_dir / "publisher.json").read_text())
        age = time.time() - datetime.fromisoformat(state["updated_at"]).timestamp()
        return bool(state["pid"] == pid and age < STALE_SECONDS + settings.publish_seconds)
    except (OSError, ValueError, KeyError, TypeError):
        return False
