"""What routes share: how errors are described in the OpenAPI document, and the versions that a caller has."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header

from api.problems import KINDS, MEDIA_TYPE, Problem

IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="`ETag` of an earlier answer.")]
_EXAMPLES: dict[str, Problem] = {
    "bad-json": Problem("bad-json", "The body is wrong: Expecting value: line 1 column 1 (char 0)."),
    "not-authenticated": Problem("not-authenticated", "The request carries no key."),
    "missing-scope": Problem("missing-scope", "This needs the scope jobs:run."),
    "not-found": Problem("not-found", "There is no such problem."),
    "unknown-job": Problem("unknown-job", "There is no job 'cohorts'."),
    "unknown-run": Problem("unknown-run", "There is no run of this id."),
    "unknown-record": Problem("unknown-record", "No record with the event_id 'e1' is in bronze."),
    "unknown-schedule": Problem("unknown-schedule", "The job top_products has no schedule."),
    "not-acceptable": Problem("not-acceptable", "The header `Accept` names neither JSON nor CSV."),
    "not-published": Problem("not-published", "Nothing is published yet."),
    "too-slow": Problem("too-slow", "The body took more than 10 seconds."),
    "too-large": Problem("too-large", "A body may have 64 KiB."),
    "wrong-media-type": Problem("wrong-media-type", "The body must be application/json."),
    "wrong-parameter": Problem(
        "wrong-parameter",
        "parameters.tz of cohort_retention is wrong: there is nothing of that name.",
        errors=[
            {
                "field": "parameters.tz",
                "message": "there is nothing of that name",
                "known": ["as_of", "timezone"],
            }
        ],
    ),
    "key-reused": Problem("key-reused", "This key stands for another run."),
    "too-many-requests": Problem("too-many-requests", "The caller reporting may make 1200 requests a minute."),
    "queue-full": Problem("queue-full", "100 runs are waiting."),
    "dependency-away": Problem("dependency-away", "spark does not answer.", missing={"spark": "does not answer"}),
}

_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "required": True}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "What to send.", "schema": {"type": "string"}, "required": True}},
    429: _RETRY,
    503: _RETRY,
}


def problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these kinds; those that any route may are added."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in (*kinds, "too-slow", "too-large", "too-many-requests"):
        status = KINDS[kind].status
        described = found.setdefault(
            status,
            {
                "description": KINDS[kind].title + ".",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        if KINDS[kind].title not in described["description"]:
            described["description"] += f" {KINDS[kind].title}."
        described["content"][MEDIA_TYPE]["examples"][kind] = {"value": _EXAMPLES[kind].body("5f0c2b9e4d11")}
        if status in _HEADERS:
            described["headers"] = _HEADERS[status]
    return found


def guarded(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The same for a route that needs a key and the registry's database."""
    return problems("not-authenticated", "missing-scope", "dependency-away", *kinds)


def tags_in(if_none_match: str) -> set[str]:
    """The versions in a header `If-None-Match`; whether they are weak makes no difference here."""
    return {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
