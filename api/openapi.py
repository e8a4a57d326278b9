"""The OpenAPI 3.1 document. `python -m docs.generate` writes it to api/openapi.json."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.models import Problem
from api.problems import KINDS, MEDIA_TYPE

PATH = Path(__file__).with_name("openapi.json")
TITLE, VERSION = "Shoplake API", "1"
DESCRIPTION = """\
Start, watch and cancel the Spark jobs of a lake, and read its gold tables.

1. Make a key: `shoplake keys create NAME --scope jobs:run --scope jobs:read`
2. Start a run: `POST /v1/jobs/{job}/runs` with `Authorization: Bearer KEY`. It answers 202, and `Location` says where
   to look. Send an `Idempotency-Key`, and the request can be repeated without starting a second run.
3. Follow it: `GET /v1/runs/{id}/events`, or look again at `GET /v1/runs/{id}`.

Gold, as it was published last: `GET /v1/gold/top-products`, `kpis`, `fraud-flags` and `retention`, with the scope
`gold:read`; JSON or CSV in pages, with an `ETag` that changes with each publish of the table.

Where a record went, and which events a number comes from: `GET /v1/trace/event` and `figure`, with the scope
`trace:read`.

A run is `queued`, `running` or `cancelling`, and ends `succeeded`, `failed`, `cancelled` or `lost`. Runs that write the
same table never overlap. Every error is `application/problem+json` (RFC 9457); its `type` is the address of a page
that says what to do.
"""
TAGS: list[dict[str, Any]] = [
    {"name": "jobs", "description": "What can be run."},
    {"name": "runs", "description": "What was run. You see the runs of your own key; `admin` sees all."},
    {"name": "gold", "description": "The published gold tables, the newest rows first."},
    {"name": "trace", "description": "Where a record went, and which events a number comes from."},
    {"name": "schedules", "description": "What runs by itself."},
    {"name": "operations", "description": "For those who run the lake. No key is needed."},
]


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


def document(app: FastAPI) -> dict[str, Any]:
    """The document of `app`, made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made = FastAPI.openapi(app)  # which the application keeps
    _, problem = models_json_schema([(Problem, "validation")], ref_template="#/components/schemas/{model}")
    made["components"]["schemas"] |= problem["$defs"]
    _drop_framework_errors(made)
    _describe_streams(made)
    return made


def _describe_streams(made: dict[str, Any]) -> None:
    """FastAPI has OpenAPI 3.2's word for what one event of a stream is. Validators refuse it in a document of 3.1, and
    take its schema for that of each event."""
    for path in made["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    if item := content.pop("itemSchema", None):
                        content["schema"] = item


def _drop_framework_errors(made: dict[str, Any]) -> None:
    """FastAPI promises its own form of 422 for every path with a parameter; here those are never sent."""
    for path in made["paths"].values():
        for operation in path.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)
