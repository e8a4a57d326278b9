"""The HTTP API as a child process."""

from __future__ import annotations

import http.client
import ssl
import sys
from urllib.parse import urlsplit

from lakehouse.embedded.service import PROBE_SECONDS, Service
from lakehouse.settings import Settings


def service(settings: Settings) -> Service:
    """The API as the supervisor sees it. It waits for nothing: what is missing it tells itself."""
    return Service(
        name="api",
        address_name="url",
        address=settings.own_api_url,
        command=(sys.executable, "-m", "lakehouse.cli", "api"),
        ports={"SHOPLAKE_API_PORT": settings.api_port},
        is_healthy=lambda _pid: is_alive(settings.own_api_url),
        memory_limit_mb=512,
        start_seconds=120,
        stop_seconds=15,
    )


def is_alive(url: str) -> bool:
    """Whether the API at `url` says that it lives."""
    address = urlsplit(url)
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        # The process is on this machine and gets nothing secret: its certificate is for others.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(address.netloc, timeout=PROBE_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(address.netloc, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
