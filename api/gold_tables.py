"""What can be asked of gold over HTTP: per table its filters, the order of its rows, and the types of an answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, create_model
from pyspark.sql.types import ArrayType, DataType, DecimalType

from api.models import Moment
from gold import fraud, kpis, retention, revenue, top_products
from gold.fraud_rules import RULES
from lakehouse.catalog import TABLES
from lakehouse.table import Table

MOST_ROWS = 5_000
MOST_VALUES = 20
"""Of one filter that takes several."""
LARGEST_INTEGER = 2**31 - 1


def _iso_day(value: object) -> object:
    """pydantic would take a number for seconds since 1970 here too."""
    return date.fromisoformat(value) if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_iso_day)]
Identifier = Annotated[str, Field(min_length=1, max_length=128)]
RULE_IDS: Any = Literal[tuple(rule.rule_id for rule in RULES)]


class Asked(BaseModel, extra="forbid"):
    """Which page, and in which form; each table adds its filters."""

    limit: int = Field(100, ge=1, le=MOST_ROWS, description="Most rows of a page.")
    cursor: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,14000}$", description="`next_cursor` of the page before; keep the filters."
    )
    format: Literal["json", "csv"] | None = Field(
        None, description="Form of the answer; unset is what the header `Accept` names first, else json."
    )


class Published(BaseModel):
    """How the rows came to be served."""

    published_at: datetime = Field(description="When these rows were published, UTC.")
    newest_data_at: datetime | None = Field(description="How new the newest row is, UTC; null without rows.")
    held_back_by: list[str] = Field(
        description="Expectations that newer rows fail: until they pass, these, the last good ones, are served."
    )
    rows_held_back: int = Field(description="Rows that are not served, since they fail a check; the others are.")


@dataclass(frozen=True)
class Filter:
    """A condition on the column of its name, or on another one: of what kind its value is, and what it means."""

    kind: Any
    says: str
    column: str = ""
    operator: str = "IN"
    takes_many: bool = False


def _range(column: str, what: str = "hours that start", kind: Any = Moment) -> dict[str, Filter]:
    when = "day" if kind is Day else "moment"
    return {
        "since": Filter(kind, f"Only {what} {'on' if kind is Day else 'at'} this {when} or later.", column, ">="),
        "until": Filter(kind, f"Only {what} before this {when}.", column, "<"),
    }


_BY_HOUR = _range("hour_start")
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
    """How a table is listed: the newest `moment` first, rows of one moment in the order of their other keys.

    Together these identify a row, so that a page goes on exactly after the one before. Columns of partitions repeat
    others and are left out. `path` is its address, and `summary` its title in the OpenAPI document.
    """

    table: Table
    path: str
    summary: str
    moment: str = "hour_start"
    filters: Mapping[str, Filter] = field(default_factory=lambda: _BY_HOUR)

    @property
    def row(self) -> str:
        """The name of a row's type."""
        return self.table.name.title().replace("_", "")

    @property
    def then(self) -> tuple[str, ...]:
        """The keys beside the moment."""
        return tuple(name for name in self.table.keys if name != self.moment)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an answer, in their declared order."""
        return tuple(name for name in self.table.columns if name not in self.table.partition_by)

    @cached_property
    def asked(self) -> type[Asked]:
        """The type of a question."""
        fields: dict[str, Any] = {
            name: (list[one.kind], Field([], max_length=MOST_VALUES, description=one.says))  # type: ignore[name-defined]  # a value
            if one.takes_many
            else (one.kind | None, Field(None, description=one.says))
            for name, one in self.filters.items()
        }
        return create_model(f"{self.row}Question", __base__=Asked, **fields)

    @cached_property
    def page(self) -> type[BaseModel]:
        """The type of an answer, made from the table's own declaration."""
        fields: dict[str, Any] = {}
        for column in self.columns:
            declared = self.table.schema[column]
            kind = python_type(declared.dataType)
            is_key = column == self.moment or column in self.then
            fields[column] = (kind if is_key else kind | None, Field(description=f"{declared.metadata['comment']}."))
        row = create_model(self.row, __doc__=f"One row is {self.table.grain}.", **fields)
        return create_model(
            f"{self.row}Page",
            __doc__=f"A page of {self.table.full_name}, the newest first.",
            items=(list[row], ...),  # type: ignore[valid-type]  # made above
            next_cursor=(str | None, Field(description="`cursor` of the next page; null on the last one.")),
            published=(Published, ...),
        )

    @cached_property
    def key_type(self) -> TypeAdapter[tuple[Any, ...]]:
        """The types of what a cursor holds: this table's name, then the key of a row."""
        types = (python_type(self.table.schema[name].dataType) for name in (self.moment, *self.then))
        own: Any = Literal[(self.table.full_name,)]
        return TypeAdapter(tuple[(own, *types)])  # type: ignore[valid-type]  # the types are known only now

    def chosen(self, asked: Asked) -> Iterator[tuple[str, list[Any]]]:
        """The conditions that the filters in `asked` make, each with the values of its question marks."""
        for name, one in self.filters.items():
            value = getattr(asked, name)
            values = value if isinstance(value, list) else [] if value is None else [value]
            if values:
                yield f"{one.column or name} {one.operator} ({', '.join('?' * len(values))})", values


_RANKS = {
    "max_rank": Filter(
        Annotated[int, Field(ge=1, le=1_000)], "Only products of this rank or better; 1 is best.", "rank", "<="
    ),
    "product_id": Filter(Identifier, "Only this product."),
}
_STATUS = Filter(Literal["provisional", "final"], "Only hours that may still change, or only those that are closed.")
_CURRENCY = Filter(
    Annotated[str, Field(min_length=1, max_length=2048)], "Only this currency; unknown: where events name none."
)
_FLAGS = {
    **_range("event_time", "flags whose event happened"),
    "detected_since": Filter(Moment, "Only flags that were written at this moment or later.", "detected_at", ">="),
    "rule": Filter(RULE_IDS, "Only flags of one of these rules.", "rule_id", takes_many=True),
    "severity": Filter(Literal["low", "medium", "high"], "Only of these severities.", takes_many=True),
    "min_score": Filter(Annotated[float, Field(ge=0, le=1)], "Only flags with this score or more.", "score", ">="),
    "entity_type": Filter(Literal["user", "device", "ip", "card"], "Only flags of this kind of entity."),
    "entity": Filter(Identifier, "Only flags of this user, device, address or card."),
    "user_id": Filter(Identifier, "Only flags raised at an event of this user."),
}
_COHORTS = {
    "granularity": Filter(Literal["day", "week", "month"], "Only cohorts of this kind."),
    "definition": Filter(
        Literal["n_day", "unbounded"], "n_day: active in that period; unbounded: in that period or later."
    ),
    "activity": Filter(Literal["any", "purchase"], "What counts as coming back."),
    "timezone": Filter(Annotated[str, Field(min_length=1, max_length=64)], "Only cells of this zone's calendar."),
    **_range("cohort_start", "cohorts that start", Day),
    "max_period": Filter(
        Annotated[int, Field(ge=0, le=LARGEST_INTEGER)], "Only periods up to this index.", "period_index", "<="
    ),
    "is_complete": Filter(bool, "Only cells whose period has ended, or only the others."),
}
_NAMED = (
    Listing(
        top_products.HOURLY, "/top-products", "Top products per hour", filters=_BY_HOUR | _RANKS | {"status": _STATUS}
    ),
    Listing(top_products.LAST_HOUR, "/top-products/last-hour", "Top products now", "as_of", _RANKS),
    Listing(kpis.TABLE, "/kpis", "Key figures per hour"),
    Listing(revenue.TABLE, "/revenue", "Revenue per hour and currency", filters=_BY_HOUR | {"currency": _CURRENCY}),
    Listing(fraud.TABLE, "/fraud-flags", "Fraud flags", "event_time", _FLAGS),
    Listing(retention.TABLE, "/retention", "Cohort retention", "cohort_start", _COHORTS),
)
_OTHERS = [table for table in TABLES if table.hourly and table not in [one.table for one in _NAMED]]
LISTINGS = {
    listing.path: listing
    for listing in (
        *_NAMED,
        *(Listing(table, f"/{table.name.replace('_', '-')}", table.full_name) for table in _OTHERS),
    )
}
"""Every table that is served over HTTP, by its address below `/v1/gold`."""
