"""Makes every error that a route, the framework or a library raises a problem."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from api.problems import Problem, retry_after
from api.validation import wrong
from lakehouse.runs.database import RegistryAway
from lakehouse.serving.newest import NothingPublishedError

DATABASE_RETRY_SECONDS = 2


def add_handlers(app: FastAPI) -> None:
    """Answer errors of `app` with problems."""

    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> Response:
        return problem.response(request.state.request_id)

    @app.exception_handler(RegistryAway)
    async def on_database(request: Request, _error: RegistryAway) -> Response:
        told, missing = "The registry's database does not answer.", {"database": "does not answer"}
        problem = retry_after("dependency-away", told, DATABASE_RETRY_SECONDS, missing=missing)
        return problem.response(request.state.request_id)

    @app.exception_handler(NothingPublishedError)
    async def on_nothing_published(request: Request, error: NothingPublishedError) -> Response:
        seconds = request.app.state.resources.settings.publish_seconds
        return retry_after("not-published", str(error), seconds).response(request.state.request_id)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        by_name = [{**one, "loc": one["loc"][1:]} for one in error.errors()]  # `limit`, not `query.limit`
        problem = wrong(by_name, _query_fields(request))
        return problem.response(request.state.request_id)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            problem = Problem("method-not-allowed", f"{request.method[:16]} does not work here.", headers=error.headers)
        elif error.status_code == 404:
            problem = Problem("not-found", "There is nothing here.")
        else:
            problem = Problem("bad-request", str(error.detail)[:200])
        return problem.response(request.state.request_id)


def _query_fields(request: Request) -> dict[str, Any]:
    """JSON schemas of the query parameters that the route knows, by name."""
    route = request.scope.get("route")
    models = [field.field_info.annotation for field in route.dependant.query_params] if route else []
    found: dict[str, Any] = {}
    for model in models:
        if isinstance(model, type) and issubclass(model, BaseModel):
            found |= model.model_json_schema()["properties"]
    return found
