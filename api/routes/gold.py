"""Gold over HTTP: pages of the published tables. What is asked reaches the file only as bound values."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from api.authentication import GoldReader
from api.gold_models import page_model
from api.gold_pages import Page, page
from api.gold_tables import (
    FRAUD_FLAGS,
    KPIS,
    RETENTION,
    TOP_PRODUCTS,
    TOP_PRODUCTS_LAST_HOUR,
    Asked,
    CohortFilter,
    FlagFilter,
    HourFilter,
    HourlyProductFilter,
    Listing,
    ProductFilter,
)
from api.kept_answers import Answer
from api.problems import Problem
from api.resources import Resources, Shared
from api.routes.answers import IfNoneMatch, guarded, tags_in
from lakehouse.serving_publish import Publish, PublishedTable
from lakehouse.sql import Result
from lakehouse.sql_output import write_csv

router = APIRouter(prefix="/v1/gold", tags=["gold"])
Form = Literal["json", "csv"]
MEDIA_TYPES: dict[str, Form] = {
    "application/json": "json",
    "text/csv": "csv",
    "*/*": "json",
    "application/*": "json",
    "text/*": "csv",
}
_SENT_AS: dict[Form, str] = {"json": "application/json", "csv": "text/csv; charset=utf-8; header=present"}
_TEXT = {"schema": {"type": "string"}}
_HEADERS = {
    "ETag": {"description": "Changes with each publish of the table.", "required": True, **_TEXT},
    "Link": {"description": 'Address of the next page, `rel="next"`; missing on the last one.', **_TEXT},
}
_KEPT = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, X-API-Key"}
"""A caller may keep an answer, and asks each time whether it still stands."""
JSON_OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


@dataclass(frozen=True)
class Reading:
    """A request of a caller who may read gold; `known` are the versions that the caller has."""

    request: Request
    shared: Resources
    known: str | None

    async def answer(self, listing: Listing, asked: Asked) -> Response:
        """The page; 304 when the caller has it already. What is kept is answered without a thread.

        Raises Problem `wrong-parameter` or `not-acceptable`, and NothingPublishedError.
        """
        form = asked.format or preferred(self.request.headers.get("accept"))
        newest = self.shared.publish
        publish = newest.opened() or await run_in_threadpool(newest.get)
        name = listing.table.full_name
        table = publish.table(name)
        headers = {**_KEPT, "ETag": _etag(table, form)}
        if self.known is not None and {headers["ETag"], "*"} & tags_in(self.known):
            return Response(status_code=304, headers=headers)
        question = (table, name, form, self.request.url.query)
        body, next_cursor = await self.shared.answers.once(question, lambda: _answer(publish, listing, asked, form))
        if next_cursor:
            headers["Link"] = f'<{self._next_address(next_cursor)}>; rel="next"'
        return Response(body, headers=headers, media_type=_SENT_AS[form])

    def _next_address(self, cursor: str) -> str:
        given = [(name, value) for name, value in self.request.query_params.multi_items() if name != "cursor"]
        return f"{self.request.url.path}?{urlencode([*given, ('cursor', cursor)])}"


async def reading(
    request: Request,
    _caller: GoldReader,
    shared: Shared,
    if_none_match: IfNoneMatch = None,
) -> Reading:
    """The request, once the caller is known."""
    return Reading(request, shared, if_none_match)


def preferred(accept: str | None) -> Form:
    """The form that a header `Accept` likes best; JSON without one. Raises Problem `not-acceptable`."""
    if not accept:
        return "json"
    liked: dict[Form, float] = {}
    for part in accept.lower().split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        if form := MEDIA_TYPES.get(media_type):
            liked[form] = max(liked.get(form, 0.0), _quality(parameters))
    best = max(liked, key=lambda form: (liked[form], form == "json"), default=None)
    if best is None or not liked[best]:
        raise Problem("not-acceptable", "The header `Accept` names neither JSON nor CSV.")
    return best


def _quality(parameters: list[str]) -> float:
    given = next((value.removeprefix("q=") for value in parameters if value.startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 0.0


def _etag(table: PublishedTable, form: Form) -> str:
    """Of the version and its moment: a lake that is begun anew counts versions from 0 again."""
    return f'"{table.delta_version}-{table.published_at.timestamp() * 1_000_000:.0f}-{form}"'


def _answer(publish: Publish, listing: Listing, asked: Asked, form: Form) -> Answer:
    found = page(publish, listing, asked)
    body = _as_csv(listing, found) if form == "csv" else _as_json(listing, found, publish)
    return body, found.next_cursor


def _as_json(listing: Listing, found: Page, publish: Publish) -> bytes:
    table = publish.table(listing.table.full_name)
    body = {
        "items": [dict(zip(listing.columns, row, strict=True)) for row in found.rows],
        "next_cursor": found.next_cursor,
        "published": {
            "published_at": table.published_at,
            "newest_data_at": table.newest_data_at,
            "held_back_by": table.blocked_by,
        },
    }
    return orjson.dumps(body, option=JSON_OPTIONS)


def _as_csv(listing: Listing, found: Page) -> bytes:
    out = io.StringIO()
    write_csv(Result(listing.columns, (), iter(found.rows)), out)
    return out.getvalue().encode()


def _described(model: type[BaseModel], columns: tuple[str, ...]) -> dict[str, Any]:
    """How a listing is declared to the OpenAPI document."""
    csv_text = {**_TEXT, "example": ",".join(columns) + "\r\n"}
    return {
        "response_model": model,
        "responses": {
            200: {"description": "A page, the newest first.", "headers": _HEADERS, "content": {"text/csv": csv_text}},
            304: {
                "description": "The table is as it was (`If-None-Match`).",
                "headers": {"ETag": _HEADERS["ETag"]},
            },
            **guarded("wrong-parameter", "not-acceptable", "not-published"),
        },
    }


def _listing(name: str, listing: Listing) -> dict[str, Any]:
    return _described(page_model(listing, name), listing.columns)


Asking = Annotated[Reading, Depends(reading)]


@router.get("/top-products", summary="Top products per hour", **_listing("HourlyProduct", TOP_PRODUCTS))
async def top_products(request: Asking, asked: Annotated[HourlyProductFilter, Query()]) -> Any:
    """The most viewed products of each clock hour, the newest hour first."""
    return await request.answer(TOP_PRODUCTS, asked)


@router.get(
    "/top-products/last-hour",
    summary="Top products now",
    **_listing("LastHourProduct", TOP_PRODUCTS_LAST_HOUR),
)
async def top_products_last_hour(request: Asking, asked: Annotated[ProductFilter, Query()]) -> Any:
    """The most viewed products of the rolling last 60 minutes."""
    return await request.answer(TOP_PRODUCTS_LAST_HOUR, asked)


@router.get("/kpis", summary="Key figures per hour", **_listing("HourFigures", KPIS))
async def kpis(request: Asking, asked: Annotated[HourFilter, Query()]) -> Any:
    """Views, carts, purchases, revenue, users and conversion of each clock hour, the newest first."""
    return await request.answer(KPIS, asked)


@router.get("/fraud-flags", summary="Fraud flags", **_listing("FraudFlag", FRAUD_FLAGS))
async def fraud_flags(request: Asking, asked: Annotated[FlagFilter, Query()]) -> Any:
    """Raised flags with their reason and evidence, the newest event first."""
    return await request.answer(FRAUD_FLAGS, asked)


@router.get("/retention", summary="Cohort retention", **_listing("RetentionCell", RETENTION))
async def retention(request: Asking, asked: Annotated[CohortFilter, Query()]) -> Any:
    """How many users of each cohort came back in each later period, the newest cohort first."""
    return await request.answer(RETENTION, asked)
