"""Gold over HTTP: pages of the published tables. What is asked reaches the file only as bound values."""

import io
import re
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import URL

from api.authentication import GoldReader
from api.gold_pages import Page, page, with_zone
from api.gold_tables import LISTINGS, Asked, Listing
from api.kept_answers import Answer
from api.openapi import guarded
from api.resources import Shared
from lakehouse.serving.newest import Publish, PublishedTable
from lakehouse.serving.sql_output import exact_json, write_csv
from lakehouse.sql import Result

Form = Literal["json", "csv"]
_SENT_AS: dict[Form, str] = {"json": "application/json", "csv": "text/csv; charset=utf-8; header=present"}
_TEXT = {"schema": {"type": "string"}}
_HEADERS = {
    "ETag": {"description": "Changes with each publish of the table.", "required": True, **_TEXT},
    "Link": {"description": 'Address of the next page, `rel="next"`; missing on the last one.', **_TEXT},
}
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="`ETag` of an earlier answer.")]
_KEPT = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, X-API-Key"}
"""A caller may keep an answer, and asks each time whether it still stands."""


def preferred(accept: str | None) -> Form:
    """The form that a header `Accept` names first; JSON when it names neither."""
    named = re.findall("text/csv|application/json", (accept or "").lower())
    return "csv" if named[:1] == ["text/csv"] else "json"


def _etag(table: PublishedTable, form: Form) -> str:
    """Of the version and its moment: a lake that is begun anew counts versions from 0 again."""
    return f'"{table.delta_version}-{table.published_at.timestamp() * 1_000_000:.0f}-{form}"'


def _answer(url: URL, form: Form, publish: Publish, listing: Listing, asked: Asked) -> Answer:
    """A page in its form."""
    found, table = page(publish, listing, asked), publish.table(listing.table.full_name)
    body = _as_csv(listing, found) if form == "csv" else _as_json(listing, found, table)
    headers = {**_KEPT, "ETag": _etag(table, form), "Content-Type": _SENT_AS[form]}
    if found.next_cursor:
        following = url.include_query_params(cursor=found.next_cursor)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return body, headers


def _as_json(listing: Listing, found: Page, table: PublishedTable) -> bytes:
    body = {
        "items": [dict(zip(listing.columns, row, strict=True)) for row in found.rows],
        "next_cursor": found.next_cursor,
        "published": {
            "published_at": table.published_at,
            "newest_data_at": table.newest_data_at,
            "held_back_by": table.blocked_by,
            "rows_held_back": table.held_rows,
        },
    }
    return exact_json(body)


def _as_csv(listing: Listing, found: Page) -> bytes:
    out = io.StringIO()
    rows = (tuple(map(with_zone, row)) for row in found.rows)
    write_csv(Result(listing.columns, (), rows), out)
    return out.getvalue().encode()


router = APIRouter(prefix="/v1/gold", tags=["gold"])


def _serve(listing: Listing) -> None:
    """Add the address of a table, and describe it to the OpenAPI document."""

    async def answer(
        request: Request, _caller: GoldReader, shared: Shared, asked: Any, if_none_match: IfNoneMatch = None
    ) -> Any:
        """The page; 304 when the caller has it already. Raises Problem `wrong-parameter`, and NothingPublishedError."""
        form = asked.format or preferred(request.headers.get("accept"))
        if (publish := shared.publish.opened()) is None:
            publish = await run_in_threadpool(shared.publish.get)
        table = publish.table(listing.table.full_name)
        # As it came: a URL would end before a #, which the parameters have.
        question = (table, request.scope["path"], request.scope["query_string"], form)
        make = partial(_answer, request.url, form, publish, listing, asked)
        body, headers = await shared.answers.once(question, make)
        etag = headers["ETag"]
        known = {one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")}
        if known & {etag, "*"}:
            return Response(status_code=304, headers={**_KEPT, "ETag": etag})
        return Response(body, headers=headers)

    answer.__annotations__["asked"] = Annotated[listing.asked, Query()]
    csv_text = {**_TEXT, "example": ",".join(listing.columns) + "\n"}
    router.add_api_route(
        listing.path,
        answer,
        name=re.sub(r"\W", "_", listing.path.removeprefix("/")),
        summary=listing.summary,
        description=f"One row is {listing.table.grain}. The newest first.",
        response_model=listing.page,
        responses={
            200: {"description": "A page, the newest first.", "headers": _HEADERS, "content": {"text/csv": csv_text}},
            304: {"description": "The table is as it was (`If-None-Match`).", "headers": {"ETag": _HEADERS["ETag"]}},
            **guarded("wrong-parameter", "not-published"),
        },
    )


for _one in LISTINGS.values():
    _serve(_one)
