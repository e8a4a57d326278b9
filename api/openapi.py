"""The OpenAPI 3.1 document. `python -m api.openapi` writes it to api/openapi.json, and a page of it to docs/api.md; a
test compares both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

PATH = Path(__file__).with_name("openapi.json")
PAGE_PATH = Path(__file__).resolve().parents[1] / "docs" / "api.md"
TITLE, VERSION = "Shoplake API", "1"
DESCRIPTION = """\
Start, watch and cancel the Spark jobs of a lake, and read its gold tables.

1. Make a key: `shoplake keys create NAME --scope jobs:run --scope jobs:read`
2. Start a run: `POST /v1/jobs/{job}/runs` with `Authorization: Bearer KEY`. It answers 202, and `Location` says where
   to look. Send an `Idempotency-Key`, and the request can be repeated without starting a second run.
3. Follow it: `GET /v1/runs/{id}/events`, or look again at `GET /v1/runs/{id}`.

Gold, as it was published last: `GET /v1/gold/top-products`, `kpis`, `fraud-flags` and `retention`, with the scope
`gold:read`; JSON or CSV in pages, with an `ETag` that changes with each publish of the table.

A run is `queued`, `running` or `cancelling`, and ends `succeeded`, `failed`, `cancelled` or `lost`. Runs that write the
same table never overlap. Every error is `application/problem+json` (RFC 9457); its `type` is the address of a page
that says what to do.
"""
TAGS: list[dict[str, Any]] = [
    {"name": "jobs", "description": "What can be run."},
    {"name": "runs", "description": "What was run. You see the runs of your own key; `admin` sees all."},
    {"name": "gold", "description": "The published gold tables, the newest rows first."},
    {"name": "schedules", "description": "What runs by itself."},
    {"name": "security", "description": "Short-lived tokens for an API key."},
    {"name": "operations", "description": "For those who run the lake. No key is needed."},
]
_PAGE = """\
# HTTP API

Made from the API's OpenAPI document (`api/openapi.json`) by `python -m api.openapi`. The API itself serves the document
at `/openapi.json`, and a page to try it at `/docs`. How to use it: [Trigger a job](trigger-a-job.md),
[Gold over HTTP](gold-api.md). Errors are `application/problem+json`; `type` leads to a page that says what to do.
"""
_PROBLEM = {
    "type": "object",
    "description": "An error (RFC 9457).",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "A page about this kind of problem."},
        "title": {"type": "string", "description": "The kind of problem, the same each time."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What was wrong with this request, and what to do."},
        "request_id": {"type": "string", "description": "Also in the header `X-Request-ID` and in the log."},
        "errors": {
            "type": "array",
            "description": "The wrong fields, each with what is expected.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                    "expected": {"type": "object", "description": "JSON schema of the field."},
                    "known": {"type": "array", "items": {"type": "string"}, "description": "Names that there are."},
                },
            },
        },
        "known": {"type": "array", "items": {"type": "string"}, "description": "Names that there are."},
        "run": {"type": "string", "description": "Address of the run that is under way."},
        "missing": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "What does not answer.",
        },
    },
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of `app`, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            tags=TAGS,
            routes=app.routes,
            servers=[{"url": "/", "description": "This lake"}],
        )
        made["components"]["schemas"]["Problem"] = _PROBLEM
        _drop_framework_errors(made)
        app.openapi_schema = made
    return app.openapi_schema


def _drop_framework_errors(made: dict[str, Any]) -> None:
    """FastAPI promises its own form of 422 for every path with a parameter; here those are never sent."""
    for path in made["paths"].values():
        for operation in path.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)


def text(app: FastAPI) -> str:
    """The document as the file has it."""
    return json.dumps(document(app), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def page(made: dict[str, Any]) -> str:
    """The document as a page for people: every address with what it does and the scope it needs."""
    lines = [_PAGE]
    for tag in TAGS:
        lines += [f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        lines += ["| request | does | scope | parameters |", "| --- | --- | --- | --- |"]
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    lines.append(_line(method, path, operation))
        lines.append("")
    return "\n".join(lines)


def _line(method: str, path: str, operation: dict[str, Any]) -> str:
    scopes = sorted({scope for one in operation.get("security", []) for names in one.values() for scope in names})
    named = [f"`{one['name']}`" for one in operation.get("parameters", []) if one["in"] == "query"]
    needed = ", ".join(f"`{scope}`" for scope in scopes) or "none"
    return f"| `{method.upper()} {path}` | {operation['summary']} | {needed} | {', '.join(named) or '–'} |"


def main() -> None:
    """Write the file and the page."""
    import tempfile

    from api.app import create_app
    from lakehouse.settings import load_settings

    with tempfile.TemporaryDirectory() as folder:
        made = text(create_app(load_settings(data_dir=Path(folder), database_url=None)))
    PATH.write_text(made)
    PAGE_PATH.write_text(page(json.loads(made)))


if __name__ == "__main__":
    main()
