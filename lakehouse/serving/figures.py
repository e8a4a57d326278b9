"""From a number of hourly gold back to the events behind it: which of silver count, and what they add up to.

Gold is looked at first, and then silver as it was when that row was written: so a number of the running hour, which
grows with every batch, can be compared, too.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field, WithJsonSchema
from pyspark.sql.types import NumericType

from gold import fraud_coverage, kpis, revenue, top_products
from gold.fraud_measures import CIRCLE_SQL, CONSIDERED_SQL, is_evaluable_sql
from gold.fraud_rules import RULES
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.serving.newest import Publish, rows_of
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from lakehouse.sql_names import unknown_table
from lakehouse.sql_text import quoted_name, quoted_text, utc_text
from lakehouse.table import Table
from silver.conditions import IS_PAID, IS_VIEW

EVENT_COLUMNS = (
    "event_id", "event_type", "event_time", "user_id", "device_id", "ip", "country", "product_id", "order_id", "amount",
    "currency", "payment_status", "card_fingerprint", "topic", "partition", "offset", "processed_at",
)  # fmt: skip
"""Of silver.events, what the conditions below read, and what an event is found by."""
PATIENCE_SECONDS, PAUSE_SECONDS = 3.0, 0.25
"""How long a batch whose gold is there already may take to reach silver."""
Number = int | Annotated[Decimal, WithJsonSchema({"type": "number"})] | float | None
Row = Mapping[str, Any]


class NothingThereError(ShoplakeError):
    """What is asked for is not in the lake."""


@dataclass(frozen=True)
class Way:
    """How events become a number, in DuckDB's SQL: `counts` says which do, `total` adds up those in `counted`, and
    `adds` is what one of them brings."""

    counts: str
    total: str = "SELECT count(*) FROM counted"
    adds: str = "1"


class Offsets(BaseModel):
    """Where events lie in Kafka."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int = Field(description="The events are between both; others may be, too.")
    events: int


class FigureEvent(BaseModel):
    """An event that counts in a number."""

    event_id: str
    at: str = Field(description="topic-partition-offset.")
    event_time: datetime
    adds: str | None = Field(description="What it brings: 1, an amount, or the user or order that is counted once.")


class Figure(BaseModel):
    """A number of gold, and what its events add up to."""

    table: str
    hour_start: datetime
    column: str
    row: dict[str, str | int] = Field(description="What tells the row apart from others of the hour.")
    value: Number = Field(description="What gold says.")
    written_at: datetime = Field(description="When gold was written.")
    adds_up_to: Number = Field(description="What the events of silver add up to.")
    matches: bool
    events: int = Field(description="How many events count.")
    later_events: int = Field(description="Events that came after gold was written, and are not in it yet.")
    offsets: list[Offsets] = Field(description="Where its events lie in Kafka.")
    first_events: list[FigureEvent] = Field(description="The first of them by time, as many as `limit` allows.")
    published_value: Number = Field(description="What was published of it last.")
    published_at: datetime | None = Field(description="When; null: never.")


def _kpis(row: Row, currency: str | None) -> dict[str, Way]:
    user, sold = "SELECT count(DISTINCT user_id) FROM counted", IS_PAID
    total = f"SELECT CASE WHEN count(DISTINCT {revenue.CURRENCY_SQL}) < 2 THEN coalesce(sum(amount), 0) END"
    if currency is not None:
        sold = f"{IS_PAID} AND {revenue.CURRENCY_SQL} IN ({quoted_text(currency)}, '{revenue.UNKNOWN}')"
        total = "SELECT coalesce(sum(amount), 0)"
    rate = f"SELECT count(DISTINCT user_id) FILTER ({IS_PAID}) / count(DISTINCT user_id) FROM counted"  # noqa: S608 - conditions are declared in this project
    return {name: Way(counts) for name, counts in kpis.COUNTED.items()} | {
        "revenue": Way(sold, f"{total} FROM counted", "amount"),
        "unique_users": Way("true", user, "user_id"),
        "conversion_rate": Way("true", rate, "user_id"),
    }


def _revenue(row: Row, currency: str | None) -> dict[str, Way]:
    sold = f"{IS_PAID} AND {revenue.CURRENCY_SQL} = {quoted_text(row['currency'])}"
    return {
        "purchases": Way(sold),
        "orders": Way(sold, "SELECT count(DISTINCT order_id) FROM counted", "order_id"),
        "revenue": Way(sold, "SELECT coalesce(sum(amount), 0) FROM counted", "amount"),
    }


def _products(row: Row, currency: str | None) -> dict[str, Way]:
    product = f"product_id = {quoted_text(row['product_id'])}"
    ranks = "SELECT product_id, row_number() OVER (ORDER BY count(*) DESC, product_id) AS rank FROM counted"
    return {
        "rank": Way(IS_VIEW, f"SELECT rank FROM ({ranks} GROUP BY product_id) WHERE {product}", "product_id"),  # noqa: S608 - texts are quoted
        "views": Way(f"{IS_VIEW} AND {product}"),
        "unique_viewers": Way(f"{IS_VIEW} AND {product}", "SELECT count(DISTINCT user_id) FROM counted", "user_id"),
    }


def _coverage(row: Row, currency: str | None) -> dict[str, Way]:
    rule = next((rule for rule in RULES if rule.rule_id == row["rule_id"]), None)
    if rule is None:
        return {}
    considers = CONSIDERED_SQL[rule.considers]
    return {
        "events_considered": Way(considers),
        "events_evaluable": Way(f"({considers}) AND {is_evaluable_sql(rule)}"),
    }


@dataclass(frozen=True)
class Ways:
    """The ways of a table's numbers, by a row and the shop's currency; `keys` tell the rows of an hour apart."""

    table: Table
    keys: tuple[str, ...]
    ways: Callable[[Row, str | None], dict[str, Way]]


WAYS = {
    ways.table.full_name: ways
    for ways in (
        Ways(kpis.TABLE, (), _kpis),
        Ways(revenue.TABLE, ("currency",), _revenue),
        Ways(top_products.HOURLY, ("product_id", "rank"), _products),
        Ways(fraud_coverage.TABLE, ("rule_id",), _coverage),
    )
}
"""Per hourly table; a number of another one does not come of the events of one hour."""
_EVENTS_OF_HOUR = f"""
SELECT {", ".join(map(quoted_name, EVENT_COLUMNS))}, {CIRCLE_SQL} AS circle FROM silver.events
WHERE event_date = DATE '{{day}}' AND event_time >= TIMESTAMPTZ '{{first}}' AND event_time < TIMESTAMPTZ '{{end}}'
"""  # noqa: S608 - names and conditions are declared in this project
_ADDED_UP = """
WITH hour AS MATERIALIZED (SELECT *, ({adds})::VARCHAR AS adds FROM ({events}) WHERE {counts}),
counted AS (SELECT * FROM hour WHERE {known}),
places AS (SELECT topic, "partition", min("offset") AS first_offset, max("offset") AS last_offset, count(*) AS events
    FROM counted GROUP BY ALL ORDER BY ALL),
first_events AS (SELECT event_id, topic || '-' || "partition" || '-' || "offset" AS at, event_time, adds
    FROM counted ORDER BY event_time, event_id LIMIT {limit})
SELECT ({total}) AS adds_up_to, (SELECT count(*) FROM counted) AS events,
    (SELECT count(*) FROM hour) - (SELECT count(*) FROM counted) AS later_events,
    coalesce((SELECT list(places) FROM places), []) AS offsets,
    coalesce((SELECT list(first_events) FROM first_events), []) AS first_events
"""
_BOOKED = "SELECT max(started_at) AS newest FROM ops.batches WHERE committed_at >= TIMESTAMPTZ '{since}'"


def hour_in(text: str) -> datetime:
    """The clock hour that a text as 2026-11-29T10 names, UTC. Raises UsageError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no hour; write it as 2026-11-29T10, in UTC.") from None
    return moment.replace(minute=0, second=0, microsecond=0)


def row_in(pairs: Iterable[str]) -> dict[str, str]:
    """What tells a row apart, from texts as currency=EUR. Raises UsageError for others."""
    split = [pair.partition("=") for pair in pairs]
    if wrong := [name for name, equals, _ in split if not equals]:
        raise UsageError(f"A row is named as currency=EUR, not {wrong[0]!r}.")
    return {name: value for name, _, value in split}


def newest_batch(reader: SqlReader, about: datetime) -> datetime | None:
    """When the newest batch in the book began, of those that were done a day before `about` or later."""
    return cast(datetime | None, reader.query(_BOOKED.format(since=utc_text(about - timedelta(days=1))))[0]["newest"])


def numbers_of(table: Table) -> list[str]:
    """The numeric columns of a table."""
    return [field.name for field in table.schema.fields if isinstance(field.dataType, NumericType)]


class Figures:
    """Traces numbers of one lake."""

    def __init__(self, settings: Settings, reader: SqlReader, publish: Publish | None) -> None:
        """`publish`: what readers see; None while nothing is published."""
        self._settings, self._reader, self._publish = settings, reader, publish

    def trace(self, table: str, hour: datetime, column: str, row: Mapping[str, str], limit: int) -> Figure:
        """The events behind the number in `column` of an hour's row, which `row` tells apart from others of the hour.

        Raises UsageError for what is no such number, NothingThereError where gold has no such row.
        """
        known = _known(table, column)
        if wrong := [name for name in row if name not in known.keys]:
            told = f"has several rows in an hour, told apart by {' or '.join(known.keys)}"
            raise UsageError(f"{table} {told if known.keys else 'has one row in an hour'}, not by {wrong[0]!r}.")
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = self._added_up(known, hour, column, row, limit)
            if found.matches or time.monotonic() > end or not self._is_on_its_way(found.written_at):
                return found
            time.sleep(PAUSE_SECONDS)

    def _added_up(self, known: Ways, hour: datetime, column: str, chosen: Mapping[str, str], limit: int) -> Figure:
        name, row = known.table.full_name, self._row(known, hour, chosen)
        way = known.ways(row, self._settings.currency).get(column)
        if way is None:
            raise UsageError(f"The row of {name} is of a rule that there is no more: {row['rule_id']!r}.")
        sums = self._sums(hour, way, f"processed_at <= TIMESTAMPTZ '{utc_text(row['updated_at'])}'", limit)
        if sums["adds_up_to"] != row[column] and sums["later_events"]:
            # A row that a job has made may hold what came while it read.
            of_all = self._sums(hour, way, "true", limit)
            sums = of_all if of_all["adds_up_to"] == row[column] else sums
        of_row = {key: row[key] for key in known.keys}
        shown, published_at = self._published(name, column, hour, of_row)
        return Figure(
            **sums,
            table=name,
            hour_start=hour,
            column=column,
            row=of_row,
            value=row[column],
            written_at=row["updated_at"],
            matches=sums["adds_up_to"] == row[column],
            published_value=shown,
            published_at=published_at,
        )

    def _sums(self, hour: datetime, way: Way, known: str, limit: int) -> dict[str, Any]:
        """What the events of an hour add up to, of those that gold has `known`."""
        events = _EVENTS_OF_HOUR.format(day=hour.date(), first=utc_text(hour), end=utc_text(hour + timedelta(hours=1)))
        (sums,) = self._reader.query(_ADDED_UP.format(events=events, known=known, limit=limit, **vars(way)))
        return sums

    def _row(self, known: Ways, hour: datetime, chosen: Mapping[str, str]) -> dict[str, Any]:
        name, conditions = known.table.full_name, [f"hour_date = DATE '{hour.date()}'"]
        conditions += [f"hour_start = TIMESTAMPTZ '{utc_text(hour)}'"]
        conditions += [f"{quoted_name(key)}::VARCHAR = {quoted_text(value)}" for key, value in chosen.items()]
        rows = self._reader.query(f"SELECT * FROM {name} WHERE {' AND '.join(conditions)} ORDER BY ALL")  # noqa: S608 - texts are quoted, names are ours
        if not rows:
            which = "".join(f", {key} {value}" for key, value in chosen.items())
            raise NothingThereError(f"{name} has no row of {hour:%Y-%m-%dT%H}{which}.")
        if len(rows) > 1:
            key = known.keys[0]
            some = ", ".join(str(row[key]) for row in rows[:5]) + (", …" if len(rows) > 5 else "")
            raise UsageError(f"{name} has {len(rows)} rows of this hour: say which {key} ({some}).")
        return rows[0]

    def _published(self, name: str, column: str, hour: datetime, row: Row) -> tuple[Any, datetime | None]:
        where = " AND ".join(["hour_start = ?", *(f"{key} = ?" for key in row)])
        rows = rows_of(self._publish, name, [column], where, [hour.replace(tzinfo=None), *row.values()])
        return (rows[0][column], rows[0]["published_at"]) if rows else (None, None)

    def _is_on_its_way(self, written_at: datetime) -> bool:
        """Whether the batch that gold was written in is not in the book yet: gold comes before silver."""
        newest = newest_batch(self._reader, written_at)
        return newest is not None and newest < written_at


def _known(table: str, column: str) -> Ways:
    from lakehouse.catalog import TABLES

    if table not in WAYS:
        if table not in {known.full_name for known in TABLES}:
            raise UsageError(unknown_table(table))
        raise UsageError(f"Numbers of {table} do not come of one hour's events; those of {', '.join(WAYS)} do.")
    numbers = numbers_of(WAYS[table].table)
    if column not in numbers:
        raise UsageError(f"{column!r} is no number of {table}; these are: {', '.join(numbers)}.")
    return WAYS[table]
