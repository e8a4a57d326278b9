"""How errors are described in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from api.problems import KINDS, MEDIA_TYPE

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
        status, title = KINDS[kind].status, f"{KINDS[kind].title}."
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        described = found.setdefault(status, {"description": title, "content": content})
        if title not in described["description"]:
            described["description"] += f" {title}"
        if status in _HEADERS:
            described["headers"] = _HEADERS[status]
    return found


def guarded(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The same for a route that needs a key and the registry's database."""
    return problems("not-authenticated", "missing-scope", "dependency-away", *kinds)
