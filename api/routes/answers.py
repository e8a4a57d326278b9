"""What routes share: how errors are described in the OpenAPI document, and the versions that a caller has."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header

from api.problems import KINDS, MEDIA_TYPE, Problem

IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="`ETag` of an earlier answer.")]
_EXTRA: dict[str, dict[str, Any]] = {
    "wrong-parameter": {
        "errors": [
            {
                "field": "parameters.tz",
                "message": "there is nothing of that name",
                "known": ["as_of", "timezone"],
            }
        ]
    },
    "dependency-away": {"missing": {"spark": "does not answer"}},
}
"""What an example of a kind has beside the members that all have."""
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
        example = Problem(kind, f"{KINDS[kind].title}.", **_EXTRA.get(kind, {}))
        described["content"][MEDIA_TYPE]["examples"][kind] = {"value": example.body("5f0c2b9e4d11")}
        if status in _HEADERS:
            described["headers"] = _HEADERS[status]
    return found


def guarded(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The same for a route that needs a key and the registry's database."""
    return problems("not-authenticated", "missing-scope", "dependency-away", *kinds)


def tags_in(if_none_match: str) -> set[str]:
    """The versions in a header `If-None-Match`; whether they are weak makes no difference here."""
    return {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
