"""Pages of a gold table from a publish: which rows come next, and the cursor that goes on after them."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from api.gold_tables import Asked, Listing
from api.problems import Problem
from lakehouse.serving.newest import Publish

LOOK_BACK_DAYS = (2, 64)
"""Only the newest days are looked at first, then more, then all: a page costs the same, however long the history."""


@dataclass(frozen=True)
class Page:
    """Rows with the columns of the listing, and the cursor of the next page; None on the last one."""

    rows: list[tuple[Any, ...]]
    next_cursor: str | None


def page(publish: Publish, listing: Listing, asked: Asked) -> Page:
    """The page that is asked for. Raises Problem `wrong-parameter` for a cursor that is none of this table."""
    conditions = [*listing.chosen(asked)]
    after = _decoded(listing, asked.cursor) if asked.cursor else None
    if after is not None:
        conditions.append(_comes_after(listing, after))
    rows: list[tuple[Any, ...]] = []
    for bound in _bounds(publish, listing, asked, after):
        rows = _rows(publish, listing, [*conditions, *bound], asked.limit + 1)
        if len(rows) > asked.limit:
            return Page(rows[:-1], _encoded(listing, rows[-2]))
    return Page(rows, None)


def _rows(
    publish: Publish, listing: Listing, conditions: list[tuple[str, list[Any]]], most: int
) -> list[tuple[Any, ...]]:
    where = f" WHERE {' AND '.join(condition for condition, _ in conditions)}" if conditions else ""
    order = ", ".join((f"{listing.moment} DESC", *listing.then))
    statement = (
        f"SELECT {', '.join(listing.columns)} FROM {listing.table.full_name}{where} ORDER BY {order} LIMIT {most}"  # noqa: S608 - the names are declared in this project, values are bound
    )
    return publish.rows(statement, [_as_stored(value) for _, values in conditions for value in values])


def _bounds(
    publish: Publish, listing: Listing, asked: Asked, after: tuple[Any, ...] | None
) -> Iterator[list[tuple[str, list[Any]]]]:
    """Lower bounds of the moment to try in turn; the last is none."""
    newest = publish.newest(listing.table.full_name, listing.moment)
    if newest is not None:
        ends = (newest, getattr(asked, "until", None), after[0] if after else None)
        end = min(_as_stored(value) for value in ends if value is not None)
        since = _as_stored(getattr(asked, "since", None))
        for days in LOOK_BACK_DAYS:
            try:
                start = end - timedelta(days=days)
            except OverflowError:
                break
            if since is not None and since >= start:
                break
            yield [(f"{listing.moment} >= ?", [start])]
    yield []


def _comes_after(listing: Listing, after: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """The condition on rows that come after this key, with a range on the moment that DuckDB skips blocks by."""
    moment, *rest = after
    if not rest:
        return f"{listing.moment} < ?", [moment]
    names, marks = ", ".join(listing.then), ", ".join("?" * len(rest))
    condition = f"({listing.moment} <= ? AND ({listing.moment} < ? OR ({names}) > ({marks})))"
    return condition, [moment, moment, *rest]


def _encoded(listing: Listing, row: tuple[Any, ...]) -> str:
    values = dict(zip(listing.columns, row, strict=True))
    key = (listing.table.full_name, *(with_zone(values[name]) for name in (listing.moment, *listing.then)))
    return base64.urlsafe_b64encode(listing.key_type.dump_json(key)).decode("ascii").rstrip("=")


def _decoded(listing: Listing, cursor: str) -> tuple[Any, ...]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        _, *key = listing.key_type.validate_json(text)
    except (binascii.Error, ValidationError):
        error = {"field": "cursor", "message": "take `next_cursor` of the page before, from the same address"}
        raise Problem("wrong-parameter", "cursor is wrong: it is none of this address.", errors=[error]) from None
    return tuple(key)


def _as_stored(value: Any) -> Any:
    """Moments are stored as plain UTC timestamps."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo else value


def with_zone(value: Any) -> Any:
    """A moment of the file, which is kept without a zone, as one in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
