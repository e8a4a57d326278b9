"""Serves the API: `shoplake api`. Refuses what would be unsafe, and ends without breaking off an answer."""

import logging
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from api import keys
from api.app import create_app
from api.http_protocol import bounded_protocol
from api.limits import MAX_HEADER_BYTES
from lakehouse.errors import UsageError
from lakehouse.reports import replace_text
from lakehouse.runs.registry import RunRegistry
from lakehouse.services.ports import busy_port_message, certificate, refuse_unsafe
from lakehouse.settings import Settings

SHUTDOWN_SECONDS = 10


class Server(uvicorn.Server):
    """A server that tells its followers to come again later as soon as it is told to end."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl-C: no new connections; open answers are finished, open streams end."""
        cast(FastAPI, self.config.app).state.resources.stopping.set()
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises UsageError when it would be unsafe, or cannot start."""
    refuse_unsafe(settings)
    if message := busy_port_message("SHOPLAKE_API_PORT", settings.api_port):
        raise UsageError(message)
    registry = RunRegistry.open(settings)
    keep_operator_key(settings, registry)
    try:
        server(settings, registry).run()
    finally:
        registry.close()


def server(settings: Settings, registry: RunRegistry) -> Server:
    """The server, not running yet. One process: its limits are counted in it."""
    # Of uvicorn's own messages only errors: each request is a line of the access log, and callers' errors are theirs.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        create_app(settings, registry),
        host=settings.api_host,
        port=settings.api_port,
        loop="asyncio",
        http=bounded_protocol(settings, certificate(settings)),  # type: ignore[arg-type]  # uvicorn calls it
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.api_trusted_proxies),
        forwarded_allow_ips=settings.api_trusted_proxies or None,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        lifespan="on",
    )
    return Server(config)


def keep_operator_key(settings: Settings, registry: RunRegistry) -> None:
    """Make the operator's key unless there is a valid one; only this user can read its file."""
    path = settings.operator_key_file
    try:
        if keys.recognise(registry.database, path.read_text().strip()):
            path.chmod(0o600)
            return
    except OSError:
        pass
    replace_text(path, keys.issue(registry.database, keys.OPERATOR, ["admin"]) + "\n", mode=0o600)
