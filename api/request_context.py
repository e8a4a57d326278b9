"""The outermost layer: request id, limits, access log, security headers, latency, and no error without an answer."""

import re
import time
import uuid

import structlog
from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.limits import Limits
from api.problems import Problem

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_ONE_YEAR = "max-age=31536000"


class RequestContext:
    """ASGI middleware. Puts `request_id` into the request's state; `caller` is put there by authentication."""

    def __init__(
        self, app: ASGIApp, limits: Limits, latency: Histogram, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """`latency` has the labels method, route and status."""
        self._app, self._limits, self._latency, self._log = app, limits, latency, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = _request_id(Headers(scope=scope))
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                add_headers(MutableHeaders(scope=message), request_id, scope["scheme"])
            await send(message)

        try:
            await self._app_for(scope, request_id)(scope, receive, send_with_headers)
        except Exception:  # the last resort: whatever was not foreseen is logged and answered
            self._log.exception("unforeseen error", request_id=request_id, path=scope["path"])
            if status:
                raise
            problem = Problem("internal", "Something unforeseen happened.")
            await problem.response(request_id)(scope, receive, send_with_headers)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _app_for(self, scope: Scope, request_id: str) -> ASGIApp:
        """The application; or, for a request that is refused at once, the answer, which ends the connection: what else
        may come is not worth reading."""
        try:
            self._limits.check(scope)
        except Problem as problem:
            problem.headers["Connection"] = "close"
            return problem.response(request_id)
        return self._app

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        # Each new label is kept for ever: a caller may make up any number of methods.
        method = scope["method"] if scope["method"] in (getattr(route, "methods", None) or ()) else "other"
        self._latency.labels(method, getattr(route, "path", "unknown"), str(status)).observe(seconds)
        # The query string stays out of the log: it is the caller's own text. Keys travel in headers, never logged.
        self._log.info(
            "request",
            request_id=scope["state"]["request_id"],
            method=scope["method"][:16],
            path=scope["path"][:200],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            caller=scope["state"].get("caller"),
            address=(scope.get("client") or ("",))[0],
        )


def _request_id(headers: Headers) -> str:
    """The caller's own id when it is harmless, so that logs of both sides can be joined; else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def add_headers(headers: MutableHeaders, request_id: str, scheme: str) -> None:
    """Add what every answer has."""
    headers["X-Request-ID"] = request_id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if headers.get("Content-Type", "").startswith("text/event-stream"):
        headers["Cache-Control"] = "no-store"  # FastAPI lets a browser keep a stream
    if scheme == "https":
        headers["Strict-Transport-Security"] = _ONE_YEAR
