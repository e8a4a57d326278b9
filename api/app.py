"""The application: its layers from the outside in, its routes, and what they share."""

import structlog
from fastapi import FastAPI

from api import docs_page, openapi
from api.errors import add_handlers
from api.request_context import RequestContext
from api.resources import Resources
from api.routes import gold, jobs, operations, runs, schedules, trace
from lakehouse.runs.registry import RunRegistry
from lakehouse.secret_words import json_lines
from lakehouse.settings import Settings


def create_app(settings: Settings, registry: RunRegistry) -> FastAPI:
    """The API of one lake and its registry."""
    shared = Resources(settings, registry)
    app = FastAPI(
        title=openapi.TITLE,
        version=openapi.VERSION,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        servers=[{"url": "/", "description": "This lake"}],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.resources = shared
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]  # FastAPI documents this way
    for module in (jobs, runs, gold, trace, schedules, operations):
        app.include_router(module.router)
    docs_page.add_docs(app)
    add_handlers(app)
    app.add_middleware(RequestContext, limits=shared.limits, latency=shared.metrics.latency, log=access_log())
    return app


def access_log() -> structlog.typing.FilteringBoundLogger:
    """A logger that writes one JSON object a line, and leaves the configuration of others alone."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(), processors=json_lines(), wrapper_class=structlog.make_filtering_bound_logger(20)
    )
    return logger
