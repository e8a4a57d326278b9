"""What can be asked of gold over HTTP: per table its filters, and the order in which its rows are paged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, create_model
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


class Asked(BaseModel):
    """Which page, and in which form; each table adds its filters."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=MOST_ROWS, description="Most rows of a page.")
    cursor: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,14000}$", description="`next_cursor` of the page before; keep the filters."
    )
    format: Literal["json", "csv"] | None = Field(
        None, description="Form of the answer; unset is what the header `Accept` names first, else json."
    )


@dataclass(frozen=True)
class Filter:
    """A condition with a question mark for its value (of a list: for its values), what it may be, and what it means."""

    condition: str
    kind: Any
    says: str


def _range(column: str, what: str = "hours that start", kind: Any = Moment) -> dict[str, Filter]:
    when = "on this day" if kind is Day else "at this moment"
    return {
        "since": Filter(f"{column} >= ?", kind, f"Only {what} {when} or later."),
        "until": Filter(f"{column} < ?", kind, f"Only {what} before {when.split(' ', 1)[1]}."),
    }


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

    Together these identify a row, so that a page goes on exactly after the one before. `hidden` columns repeat others.
    `path`, `row`, `summary` and `says` are its address, the type of a row and what the OpenAPI document tells about it.
    """

    path: str
    row: str
    summary: str
    says: str
    table: Table
    moment: str
    then: tuple[str, ...]
    filters: Mapping[str, Filter]
    hidden: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an answer, in their declared order."""
        return tuple(name for name in self.table.columns if name not in self.hidden)

    @cached_property
    def asked(self) -> type[Asked]:
        """The type of a question."""
        fields: dict[str, Any] = {
            name: (one.kind, Field([], description=one.says))
            if "(?)" in one.condition
            else (one.kind | None, Field(None, description=one.says))
            for name, one in self.filters.items()
        }
        return create_model(f"{self.row}Question", __base__=Asked, **fields)

    @cached_property
    def key_type(self) -> TypeAdapter[tuple[Any, ...]]:
        """The types of what a cursor holds: the table's name, then the key of a row."""
        types = (python_type(self.table.schema[name].dataType) for name in (self.moment, *self.then))
        return TypeAdapter(tuple[(str, *types)])  # type: ignore[valid-type]  # the types are known only now


def _of_hours(table: Table) -> Listing:
    """How a table of clock hours is listed, unless something else is said of it."""
    return Listing(
        f"/{table.name.replace('_', '-')}",
        table.name.title().replace("_", ""),
        table.full_name,
        f"One row is {table.grain}. The newest hour first.",
        table,
        "hour_start",
        table.keys[1:],
        _range("hour_start"),
        hidden=("hour_date",),
    )


_RANKS = {
    "max_rank": Filter(
        "rank <= ?", Annotated[int, Field(ge=1, le=1_000)], "Only products of this rank or better; 1 is best."
    ),
    "product_id": Filter("product_id = ?", Identifier, "Only this product."),
}
_STATUS = Filter(
    "status = ?",
    Literal["provisional", "final"],
    "Only hours that may still change, or only those that are closed.",
)
_CURRENCY = Filter(
    "currency = ?",
    Annotated[str, Field(pattern=r"^[A-Za-z0-9 _-]{1,32}$")],
    "Only this currency; unknown: where events name none.",
)
_RULE = Annotated[list[RuleId], Field(max_length=20)]
_SEVERITY = Annotated[list[Literal["low", "medium", "high"]], Field(max_length=3)]
_ENTITY = Literal["user", "device", "ip", "card"]
_ZONE = Annotated[str, Field(min_length=1, max_length=64)]
_PERIOD = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]

TOP_PRODUCTS = replace(
    _of_hours(top_products.HOURLY),
    path="/top-products",
    row="HourlyProduct",
    summary="Top products per hour",
    says="The most viewed products of each clock hour, the newest hour first.",
    filters=_range("hour_start") | _RANKS | {"status": _STATUS},
)
TOP_PRODUCTS_LAST_HOUR = Listing(
    "/top-products/last-hour",
    "LastHourProduct",
    "Top products now",
    "The most viewed products of the rolling last 60 minutes.",
    top_products.LAST_HOUR,
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
    filters=_range("hour_start") | {"currency": _CURRENCY},
)
FRAUD_FLAGS = Listing(
    "/fraud-flags",
    "FraudFlag",
    "Fraud flags",
    "Raised flags with their reason and evidence, the newest event first.",
    fraud.TABLE,
    "event_time",
    ("flag_id",),
    _range("event_time", "flags whose event happened")
    | {
        "detected_since": Filter("detected_at >= ?", Moment, "Only flags that were written at this moment or later."),
        "rule": Filter("rule_id IN (?)", _RULE, "Only flags of one of these rules."),
        "severity": Filter("severity IN (?)", _SEVERITY, "Only of these severities."),
        "min_score": Filter("score >= ?", Annotated[float, Field(ge=0, le=1)], "Only flags with this score or more."),
        "entity_type": Filter("entity_type = ?", _ENTITY, "Only flags of this kind of entity."),
        "entity": Filter("entity = ?", Identifier, "Only flags of this user, device, address or card."),
        "user_id": Filter("user_id = ?", Identifier, "Only flags raised at an event of this user."),
    },
    hidden=("event_date",),
)
RETENTION = Listing(
    "/retention",
    "RetentionCell",
    "Cohort retention",
    "How many users of each cohort came back in each later period, the newest cohort first.",
    retention.TABLE,
    "cohort_start",
    ("granularity", "definition", "activity", "timezone", "period_index"),
    {
        "granularity": Filter("granularity = ?", Literal["day", "week", "month"], "Only cohorts of this kind."),
        "definition": Filter(
            "definition = ?",
            Literal["n_day", "unbounded"],
            "n_day: active in that period; unbounded: in that period or later.",
        ),
        "activity": Filter("activity = ?", Literal["any", "purchase"], "What counts as coming back."),
        "timezone": Filter("timezone = ?", _ZONE, "Only cells of this zone's calendar."),
        **_range("cohort_start", "cohorts that start", Day),
        "max_period": Filter("period_index <= ?", _PERIOD, "Only periods up to this index."),
        "is_complete": Filter("is_complete = ?", bool, "Only cells whose period has ended, or only the others."),
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
    for name, one in listing.filters.items():
        value = getattr(asked, name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if values:
            found.append((one.condition.replace("?", ", ".join("?" * len(values))), values))
    return found
