"""What can be asked of gold over HTTP: per table its filters, and the order in which its rows are paged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pyspark.sql.types import ArrayType, DataType, DecimalType

from api.models import Moment
from gold import fraud, kpis, retention, revenue, top_products
from gold.fraud_rules import RULES
from lakehouse.catalog import TABLES
from lakehouse.table import Table

MOST_ROWS = 5_000
LONGEST_ID = 128
LARGEST_INTEGER = 2**31 - 1
_RULE_IDS = [rule.rule_id for rule in RULES]


def _known_rule(rule: str) -> str:
    if rule not in _RULE_IDS:
        raise ValueError(f"there is no such rule; there are {', '.join(_RULE_IDS)}")
    return rule


def _iso_day(value: object) -> object:
    """pydantic would take a number for seconds since 1970 here too."""
    return date.fromisoformat(value) if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_iso_day)]
RuleId = Annotated[str, AfterValidator(_known_rule), Field(json_schema_extra={"enum": list(_RULE_IDS)})]
Identifier = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Currency = Annotated[str, Field(pattern=r"^[A-Za-z0-9 _-]{1,32}$")]


class Asked(BaseModel):
    """Which page, and in which form; each table adds its filters."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=MOST_ROWS, description="Most rows of a page.")
    cursor: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,14000}$", description="`next_cursor` of the page before; keep the filters."
    )
    format: Literal["json", "csv"] | None = Field(
        None, description="Form of the answer; unset is what the header `Accept` prefers, else json."
    )


class HourFilter(Asked):
    """Which hours."""

    since: Moment | None = Field(None, description="Only hours that start at this moment or later.")
    until: Moment | None = Field(None, description="Only hours that start before this moment.")


class ProductFilter(Asked):
    """Which products."""

    max_rank: int | None = Field(None, ge=1, le=1_000, description="Only products of this rank or better; 1 is best.")
    product_id: Identifier | None = Field(None, description="Only this product.")


class HourlyProductFilter(ProductFilter, HourFilter):
    """Which products in which hours."""

    status: Literal["provisional", "final"] | None = Field(
        None, description="Only hours that may still change, or only those that are closed."
    )


class CurrencyFilter(HourFilter):
    """Which currencies in which hours."""

    currency: Currency | None = Field(None, description="Only this currency; unknown: where events name none.")


class FlagFilter(Asked):
    """Which fraud flags."""

    since: Moment | None = Field(None, description="Only flags whose event happened at this moment or later.")
    until: Moment | None = Field(None, description="Only flags whose event happened before this moment.")
    detected_since: Moment | None = Field(None, description="Only flags that were written at this moment or later.")
    rule: list[RuleId] = Field([], max_length=20, description="Only flags of one of these rules.")
    severity: list[Literal["low", "medium", "high"]] = Field([], max_length=3, description="Only of these severities.")
    min_score: float | None = Field(None, ge=0, le=1, description="Only flags with this score or more.")
    entity_type: Literal["user", "device", "ip", "card"] | None = Field(
        None, description="Only flags of this kind of entity."
    )
    entity: Identifier | None = Field(None, description="Only flags of this user, device, address or card.")
    user_id: Identifier | None = Field(None, description="Only flags raised at an event of this user.")


class CohortFilter(Asked):
    """Which cohorts and cells."""

    granularity: Literal["day", "week", "month"] | None = Field(None, description="Only cohorts of this kind.")
    definition: Literal["n_day", "unbounded"] | None = Field(
        None, description="n_day: active in that period; unbounded: in that period or later."
    )
    activity: Literal["any", "purchase"] | None = Field(None, description="What counts as coming back.")
    timezone: str | None = Field(None, min_length=1, max_length=64, description="Only cells of this zone's calendar.")
    since: Day | None = Field(None, description="Only cohorts that start on this day or later.")
    until: Day | None = Field(None, description="Only cohorts that start before this day.")
    max_period: int | None = Field(None, ge=0, le=LARGEST_INTEGER, description="Only periods up to this index.")
    is_complete: bool | None = Field(None, description="Only cells whose period has ended, or only the others.")


_TYPES: dict[str, Any] = {
    "string": str,
    "bigint": int,
    "int": Annotated[int, Field(ge=-LARGEST_INTEGER - 1, le=LARGEST_INTEGER)],
    "double": float,
    "boolean": bool,
    "date": Day,
    "timestamp": Moment,
}


def python_type(kind: DataType) -> Any:
    """The type of a column's values in an answer; moments are aware, in UTC."""
    if isinstance(kind, DecimalType):
        return float
    return list[str] if isinstance(kind, ArrayType) else _TYPES[kind.simpleString()]


@dataclass(frozen=True)
class Listing:
    """How a table is listed: the newest `moment` first, rows of one moment in the order of `then`.

    Together these identify a row, so that a page goes on exactly after the one before. `conditions` say what a filter
    means, with a question mark for its value (for a list: for its values). `hidden` columns repeat others. `path`,
    `row`, `summary` and `says` are its address, the type of a row and what the OpenAPI document tells about it.
    """

    path: str
    row: str
    summary: str
    says: str
    table: Table
    filters: type[Asked]
    moment: str
    then: tuple[str, ...]
    conditions: Mapping[str, str]
    hidden: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an answer, in their declared order."""
        return tuple(name for name in self.table.columns if name not in self.hidden)

    @cached_property
    def key_type(self) -> TypeAdapter[tuple[Any, ...]]:
        """The types of what a cursor holds: the table's name, then the key of a row."""
        types = (python_type(self.table.schema[name].dataType) for name in (self.moment, *self.then))
        return TypeAdapter(tuple[(str, *types)])  # type: ignore[valid-type]  # the types are known only now


def _range(column: str) -> dict[str, str]:
    return {"since": f"{column} >= ?", "until": f"{column} < ?"}


def _of_hours(table: Table) -> Listing:
    """How a table of clock hours is listed, unless something else is said of it."""
    return Listing(
        f"/{table.name.replace('_', '-')}",
        table.name.title().replace("_", ""),
        table.full_name,
        f"One row is {table.grain}. The newest hour first.",
        table,
        HourFilter,
        "hour_start",
        table.keys[1:],
        _range("hour_start"),
        hidden=("hour_date",),
    )


_RANKS = {"max_rank": "rank <= ?", "product_id": "product_id = ?"}

TOP_PRODUCTS = replace(
    _of_hours(top_products.HOURLY),
    path="/top-products",
    row="HourlyProduct",
    summary="Top products per hour",
    says="The most viewed products of each clock hour, the newest hour first.",
    filters=HourlyProductFilter,
    conditions=_range("hour_start") | _RANKS | {"status": "status = ?"},
)
TOP_PRODUCTS_LAST_HOUR = Listing(
    "/top-products/last-hour",
    "LastHourProduct",
    "Top products now",
    "The most viewed products of the rolling last 60 minutes.",
    top_products.LAST_HOUR,
    ProductFilter,
    "as_of",
    ("rank",),
    _RANKS,
)
KPIS = replace(
    _of_hours(kpis.TABLE),
    path="/kpis",
    row="HourFigures",
    summary="Key figures per hour",
    says="Views, carts, purchases, revenue, users and conversion of each clock hour, the newest first.",
)
REVENUE = replace(
    _of_hours(revenue.TABLE),
    path="/revenue",
    row="HourRevenue",
    summary="Revenue per hour and currency",
    says="Purchases, orders and revenue of each clock hour in each currency, the newest first.",
    filters=CurrencyFilter,
    conditions=_range("hour_start") | {"currency": "currency = ?"},
)
FRAUD_FLAGS = Listing(
    "/fraud-flags",
    "FraudFlag",
    "Fraud flags",
    "Raised flags with their reason and evidence, the newest event first.",
    fraud.TABLE,
    FlagFilter,
    "event_time",
    ("flag_id",),
    _range("event_time")
    | {
        "detected_since": "detected_at >= ?",
        "rule": "rule_id IN (?)",
        "severity": "severity IN (?)",
        "min_score": "score >= ?",
        "entity_type": "entity_type = ?",
        "entity": "entity = ?",
        "user_id": "user_id = ?",
    },
    hidden=("event_date",),
)
RETENTION = Listing(
    "/retention",
    "RetentionCell",
    "Cohort retention",
    "How many users of each cohort came back in each later period, the newest cohort first.",
    retention.TABLE,
    CohortFilter,
    "cohort_start",
    ("granularity", "definition", "activity", "timezone", "period_index"),
    _range("cohort_start")
    | {
        "granularity": "granularity = ?",
        "definition": "definition = ?",
        "activity": "activity = ?",
        "timezone": "timezone = ?",
        "max_period": "period_index <= ?",
        "is_complete": "is_complete = ?",
    },
)
_NAMED = (TOP_PRODUCTS, TOP_PRODUCTS_LAST_HOUR, KPIS, REVENUE, FRAUD_FLAGS, RETENTION)
LISTINGS = {
    listing.path: listing
    for listing in (
        *_NAMED,
        *(_of_hours(table) for table in TABLES if table.hourly and table not in [one.table for one in _NAMED]),
    )
}
"""Every table that is served over HTTP, by its address below `/v1/gold`."""


def chosen(listing: Listing, asked: Asked) -> list[tuple[str, list[Any]]]:
    """The conditions that the filters in `asked` make, each with the values of its question marks."""
    found: list[tuple[str, list[Any]]] = []
    for name, condition in listing.conditions.items():
        value = getattr(asked, name)
        if isinstance(value, list) and value:
            marks = ", ".join("?" * len(value))
            found.append((condition.replace("?", marks), value))
        elif value is not None and value != []:
            found.append((condition, [value]))
    return found
