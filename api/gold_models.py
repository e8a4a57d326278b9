"""The answers about gold as types, made from the tables' own declarations: columns, types and what they mean."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, create_model

from api.gold_tables import Listing, python_type


class Published(BaseModel):
    """How the rows came to be served."""

    published_at: datetime = Field(description="When these rows were published, UTC.")
    newest_data_at: datetime | None = Field(description="How new the newest row is, UTC; null without rows.")
    held_back_by: list[str] = Field(
        description="Expectations that newer rows fail: until they pass, these, the last good ones, are served."
    )
    rows_held_back: int = Field(description="Rows that are not served, since they fail a check; the others are.")


def page_model(listing: Listing) -> type[BaseModel]:
    """The type of a page of a listing."""
    fields: dict[str, Any] = {}
    for column in listing.columns:
        field = listing.table.schema[column]
        kind = python_type(field.dataType)
        is_key = column in (listing.moment, *listing.then)
        fields[column] = (kind if is_key else kind | None, Field(description=f"{field.metadata['comment']}."))
    row = create_model(listing.row, __doc__=f"One row is {listing.table.grain}.", **fields)
    return create_model(
        f"{listing.row}Page",
        __doc__=f"A page of {listing.table.full_name}, the newest first.",
        items=(list[row], ...),  # type: ignore[valid-type]  # made above
        next_cursor=(str | None, Field(description="`cursor` of the next page; null on the last one.")),
        published=(Published, ...),
    )
