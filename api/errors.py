"""Makes every error that a route, the framework or a library raises a problem; those of pydantic name the field, what
was wrong, and what is expected."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.problems import Problem, retry_after
from lakehouse.runs.database import RegistryAway
from lakehouse.serving.newest import NothingPublishedError
from lakehouse.wording import in_words

DATABASE_RETRY_SECONDS = 2
MOST_ERRORS = 100
"""Listed in one answer, which would else be many times as long as the request."""
_KINDS = (Problem, RegistryAway, NothingPublishedError, RequestValidationError, ClientDisconnect, HTTPException)


def add_handlers(app: FastAPI) -> None:
    """Answer errors of `app` with problems."""
    for kind in _KINDS:
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 204:
        return Response(status_code=204)
    return _problem(request, error).response(request.state.request_id)


def _problem(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case RegistryAway():
            told, missing = "The registry's database does not answer.", {"database": "does not answer"}
            return retry_after("dependency-away", told, DATABASE_RETRY_SECONDS, missing=missing)
        case NothingPublishedError():
            return retry_after("not-published", str(error), request.app.state.resources.settings.publish_seconds)
        case RequestValidationError():
            by_name = [{**one, "loc": one["loc"][1:]} for one in error.errors()]  # `limit`, not `query.limit`
            return wrong(by_name, _query_fields(request))
        case ClientDisconnect():  # nobody hears it but the log
            return Problem("too-slow", "The body did not come.")
        case HTTPException(status_code=405):
            return Problem("method-not-allowed", f"{request.method[:16]} does not work here.", headers=error.headers)
        case HTTPException(status_code=404):
            return Problem("not-found", "There is nothing here.")
        case HTTPException():
            return Problem("bad-request", str(error.detail)[:200])
    raise error


def wrong(errors: Sequence[Mapping[str, Any]], fields: Mapping[str, Any], detail: str = "", place: str = "") -> Problem:
    """The problem of these pydantic errors. `fields` are JSON schemas by name, to say what is expected; they are at
    `place` in the request."""
    listed = [_entry(error, fields, place) for error in errors[:MOST_ERRORS]]
    first = listed[0]
    return Problem("wrong-parameter", detail or f"{first['field']} is wrong: {first['message']}.", errors=listed)


def _entry(error: Mapping[str, Any], fields: Mapping[str, Any], place: str) -> dict[str, Any]:
    path = [str(part) for part in error["loc"]]
    name = path[0] if path else ""
    entry: dict[str, Any] = {"field": ".".join(filter(None, [place, *path]))[:200] or "body"}
    entry["message"] = in_words(error)
    if error["type"] == "extra_forbidden":
        return {**entry, "known": sorted(fields)}
    schema = fields.get(name)
    if schema is not None:
        entry["expected"] = {key: value for key, value in schema.items() if key not in ("title", "default")}
    return entry


def _query_fields(request: Request) -> dict[str, Any]:
    """JSON schemas of the query parameters that the route knows, by name."""
    route = request.scope.get("route")
    models = [field.field_info.annotation for field in route.dependant.query_params] if route else []
    found: dict[str, Any] = {}
    for model in models:
        if isinstance(model, type) and issubclass(model, BaseModel):
            found |= model.model_json_schema()["properties"]
    return found
