"""Every error that the API answers with, once: RFC 9457 `application/problem+json` with a stable `type`.

`type` is the path of a page of this API that says what the problem means and what to do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status, its title, and what a caller does about it."""

    status: int
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "bad-request": Kind(400, "The request is malformed", "Send a valid HTTP/1.1 request."),
    "bad-json": Kind(400, "The body is not valid JSON", "Send one JSON object, encoded in UTF-8."),
    "not-authenticated": Kind(
        401, "No valid key", "Send `Authorization: Bearer KEY`; `shoplake keys create` makes a key."
    ),
    "missing-scope": Kind(
        403, "The key lacks a scope", "Use a key that has it: `shoplake keys create NAME --scope SCOPE` makes one."
    ),
    "not-found": Kind(404, "Nothing is at this address", "/docs lists every address of this API."),
    "unknown-job": Kind(404, "There is no such job", "GET /v1/jobs lists the jobs."),
    "unknown-run": Kind(404, "There is no such run", "GET /v1/runs lists the runs that you may see."),
    "unknown-record": Kind(
        404, "There is no such record or number", "Records are in bronze some seconds after they were sent."
    ),
    "unknown-schedule": Kind(404, "This job has no schedule", "GET /v1/schedules lists the schedules."),
    "method-not-allowed": Kind(405, "The address has no such method", "The `Allow` header lists the methods."),
    "too-slow": Kind(408, "The request came too slowly", "Send the whole request at once."),
    "too-large": Kind(413, "The body is too large", "Send less."),
    "wrong-media-type": Kind(
        415, "The body has the wrong media type", "Send it with the header `Content-Type: application/json`."
    ),
    "wrong-parameter": Kind(
        422, "A parameter is wrong", "Mend the fields listed in `errors`; each says what is expected."
    ),
    "key-reused": Kind(
        422, "The Idempotency-Key was used for something else", "Use a new key for a new request; keys are kept a day."
    ),
    "too-many-requests": Kind(429, "Too many requests", "Wait for the seconds in `Retry-After`, then try again."),
    "queue-full": Kind(429, "The queue is full", "Wait for the seconds in `Retry-After`, then try again."),
    "headers-too-large": Kind(431, "The headers are too large", "Send fewer or shorter headers."),
    "internal": Kind(
        500, "The API made a mistake", "Try again; if it stays, report `request_id`, which is in the log."
    ),
    "dependency-away": Kind(
        503,
        "A part that is needed does not answer",
        "Wait for the seconds in `Retry-After`; GET /readyz names it.",
    ),
    "not-published": Kind(
        503,
        "No gold is published yet",
        "Wait for the seconds in `Retry-After`; `shoplake status` tells whether the platform runs.",
    ),
    "overloaded": Kind(503, "Too many connections", "Wait for the seconds in `Retry-After`, then try again."),
}


class Problem(Exception):
    """Answers the request with this problem. `extra` are further members, such as `errors`."""

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: object) -> None:
        """`kind` is a key of KINDS; `detail` is a sentence about this very case."""
        super().__init__(detail)
        self.kind, self.detail = kind, detail
        self.headers = dict(headers or {})
        self.extra = extra

    def response(self, request_id: str) -> Response:
        """The answer."""
        kind = KINDS[self.kind]
        members = {
            "type": f"/problems/{self.kind}",
            "title": kind.title,
            "status": kind.status,
            "detail": f"{self.detail} {kind.remedy}",
            "request_id": request_id,
            **self.extra,
        }
        # In ASCII: what a caller sent may hold half a surrogate pair, which UTF-8 cannot carry.
        return Response(json.dumps(members, default=str), kind.status, self.headers, MEDIA_TYPE)


def retry_after(kind: str, detail: str, seconds: float, **extra: object) -> Problem:
    """A problem that goes away by itself, in about `seconds`."""
    return Problem(kind, detail, headers={"Retry-After": str(max(1, round(seconds)))}, **extra)
