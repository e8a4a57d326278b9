"""The HTTP API as a child process."""

from __future__ import annotations

import sys

from lakehouse.probes import says_ok
from lakehouse.services.service import CLIENT_SECRETS, Service
from lakehouse.settings import Settings


def service(settings: Settings) -> Service:
    """The API as the supervisor sees it. It waits for nothing: what is missing it tells itself."""
    return Service(
        name="api",
        address_name="url",
        address=settings.own_api_url,
        command=(sys.executable, "-m", "lakehouse.cli", "api"),
        ports={"SHOPLAKE_API_PORT": settings.api_port},
        secrets=CLIENT_SECRETS,
        is_healthy=lambda _pid: is_alive(settings.own_api_url),
        memory_limit_mb=256 + settings.sql_memory_mb,
        memory_mb=130,
        start_seconds=120,
        stop_seconds=15,
    )


def is_alive(url: str) -> bool:
    """Whether the API at `url` says that it lives."""
    return says_ok(f"{url}/livez")
