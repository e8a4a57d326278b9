"""Conditions and measures of the fraud rules.

A measure is an expression over `history`, an array of an entity's last events up to and including the one
that is judged, in order of event_time and event_id. Expressions are kept small: planning them costs
more than running them on the events of an hour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

from pyspark.sql import Column
from pyspark.sql import functions as F

from gold.countries import CIRCLES, CODES
from gold.fraud_rules import Considers, Rule
from silver.conditions import IS_PAID

EARTH_RADIUS_KM = 6371.0
READS = (
    "event_id", "event_type", "event_time", "user_id", "device_id", "ip", "country", "product_id", "order_id",
    "payment_status", "card_fingerprint",
)  # fmt: skip
"""The columns of silver.events that rules look at."""
HISTORY_FIELDS = ("at", "event_id", "user_id", "device_id", "country", "order_id", "card_fingerprint", "is_declined")
"""The fields of an event in `history`; `at` is event_time in microseconds since the epoch."""


@dataclass(frozen=True)
class Measure:
    """A number about `history`, and what it needs.

    `of` is for Spark and `sql` for DuckDB, where `history` is a window that ends at the judged event; what
    else `sql` may name is in gold/fraud_live.py. A measure that `counts_events` is at most the number of
    events; one that `differs_in` a column needs two values of it, and as many as it counts if it does both.
    These sort out most entities by a cheap aggregate, before any history is built.
    """

    of: Callable[[Column], Column]
    sql: str
    counts_events: bool = False
    differs_in: str | None = None


CONSIDERED_SQL: dict[Considers, str] = {
    "events": "true",
    "views": "list_contains(['product_view', 'page_view'], event_type)",  # in DuckDB twice as fast as IN
    "purchases": "event_type = 'purchase'",
    "paid_purchases": IS_PAID,
}
_SPARK_VIEWS = "event_type IN ('product_view', 'page_view')"


def considered(considers: Considers) -> Column:
    """True for an event of silver that the rule looks at; never null."""
    return F.expr(_SPARK_VIEWS if considers == "views" else CONSIDERED_SQL[considers])


def is_evaluable(rule: Rule) -> Column:
    """True for an event that has at least one field of each group that the rule needs; never null."""
    groups = (reduce(or_, map(_is_known, fields)) for fields in rule.needs)
    return reduce(and_, groups, F.lit(True))


def _is_known(field: str) -> Column:
    if field == "country":
        return F.coalesce(F.find_in_set("country", F.lit(CODES)), F.lit(0)) > 0
    return F.col(field).isNotNull()


def is_evaluable_sql(rule: Rule) -> str:
    """`is_evaluable` for DuckDB."""
    groups = (" OR ".join(map(_is_known_sql, fields)) for fields in rule.needs)
    return " AND ".join(["true", *(f"({group})" for group in groups)])


def _is_known_sql(field: str) -> str:
    return f"{'circle' if field == 'country' else field} IS NOT NULL"


IS_DECLINED_SQL = "coalesce(payment_status, 'approved') = 'declined'"
CIRCLE_SQL = (
    f"string_split('{','.join(circle.split(':')[1] for circle in CIRCLES.split(','))}', ',')"
    f"[list_position(string_split('{CODES}', ','), country)]"
)
"""A country's circle as text: latitude, longitude and radius; null when unknown. Few constants are quick to plan."""


def is_declined() -> Column:
    """True for a declined payment; never null."""
    return F.expr(IS_DECLINED_SQL)


def span_seconds(history: Column) -> Column:
    """Seconds between the first and the last event."""
    return (F.element_at(history, -1)["at"] - history[0]["at"]) / 1e6


def _distinct(history: Column, name: str) -> Column:
    return F.size(F.array_compact(F.array_distinct(history[name])))


def _declined(history: Column) -> Column:
    return F.filter(history, lambda event: event["is_declined"])


def _mean_gap(history: Column) -> Column:
    """Seconds from one event to the next, on average; null for a single event."""
    return F.try_divide(span_seconds(history), F.size(history) - 1)


def _gap_variation(history: Column) -> Column:
    """Standard deviation of the gaps between the events over their mean, 0 if all are zero; null without a gap."""
    times = history["at"]
    gaps = F.zip_with(times, F.slice(times, 2, F.size(times)), lambda first, second: (second - first) / 1e6)
    squares = F.aggregate(F.array_compact(gaps), F.lit(0.0), lambda total, gap: total + gap * gap)
    mean = _mean_gap(history)
    variance = F.try_divide(squares, F.size(times) - 1) - mean * mean
    return F.coalesce(F.try_divide(F.sqrt(F.greatest(variance, F.lit(0.0))), mean), mean)


def _distance_km(history: Column) -> Column:
    """Kilometres between the borders of the first and the last country, seen as circles; 0 for neighbours."""
    lat_1, lon_1, radius_1 = _circle(history[0]["country"])
    lat_2, lon_2, radius_2 = _circle(F.element_at(history, -1)["country"])
    cosine = F.sin(lat_1) * F.sin(lat_2) + F.cos(lat_1) * F.cos(lat_2) * F.cos(lon_2 - lon_1)
    between_middles = F.acos(F.greatest(F.least(cosine, F.lit(1.0)), F.lit(-1.0))) * EARTH_RADIUS_KM
    return F.greatest(between_middles - radius_1 - radius_2, F.lit(0.0))


def _circle(country: Column) -> tuple[Column, Column, Column]:
    """Latitude and longitude of a country's middle in radians, and its radius in km; null when unknown."""
    circles = F.str_to_map(F.lit(CIRCLES), F.lit(","), F.lit(":"))
    parts = F.split(F.try_element_at(circles, country), " ")
    lat, lon, radius = (parts[number].cast("double") for number in range(3))
    return F.radians(lat), F.radians(lon), radius


def _speed(history: Column) -> Column:
    """Kilometres per hour from the first to the last country; less than a second counts as one."""
    return _distance_km(history) * 3600 / F.greatest(span_seconds(history), F.lit(1.0))


_SQL_MEAN_GAP = "span / nullif(events - 1, 0)"
_SQL_GAP_VARIATION = f"""
coalesce(sqrt(greatest(
    list_sum((list(gap * gap) OVER history)[2:]) / nullif(events - 1, 0) - ({_SQL_MEAN_GAP}) * ({_SQL_MEAN_GAP}), 0e0
)) / nullif({_SQL_MEAN_GAP}, 0), {_SQL_MEAN_GAP})
"""


def _circle_sql(circle: str) -> tuple[str, str, str]:
    lat, lon, radius = (f"split_part({circle}, ' ', {number})::DOUBLE" for number in (1, 2, 3))
    return f"radians({lat})", f"radians({lon})", radius


def _distance_sql() -> str:
    lat_1, lon_1, radius_1 = _circle_sql("(first_value(circle) OVER history)")
    lat_2, lon_2, radius_2 = _circle_sql("circle")
    cosine = f"sin({lat_1}) * sin({lat_2}) + cos({lat_1}) * cos({lat_2}) * cos({lon_2} - {lon_1})"
    return f"greatest(acos(greatest(least({cosine}, 1e0), -1e0)) * {EARTH_RADIUS_KM}e0 - {radius_1} - {radius_2}, 0e0)"


def _different(column: str) -> Measure:
    return Measure(
        lambda history: _distinct(history, column),
        f"count(DISTINCT {column}) OVER history",
        counts_events=True,
        differs_in=column,
    )


MEASURES: dict[str, Measure] = {
    "events": Measure(F.size, "count(*) OVER history", counts_events=True),
    "orders": _different("order_id"),
    "cards": _different("card_fingerprint"),
    "accounts": _different("user_id"),
    "devices": _different("device_id"),
    "declines": Measure(
        lambda history: F.size(_declined(history)),
        "count(*) FILTER (is_declined) OVER history",
        counts_events=True,
    ),
    "declined_cards": Measure(
        lambda history: _distinct(_declined(history), "card_fingerprint"),
        "count(DISTINCT card_fingerprint) FILTER (is_declined) OVER history",
        counts_events=True,
        differs_in="card_fingerprint",
    ),
    "decline_percent": Measure(
        lambda history: F.size(_declined(history)) * 100 / F.size(history),
        "(count(*) FILTER (is_declined) OVER history) * 100 / events",
    ),
    "cards_per_account": Measure(
        lambda history: _distinct(history, "card_fingerprint") / _distinct(history, "user_id"),
        "(count(DISTINCT card_fingerprint) OVER history) / (count(DISTINCT user_id) OVER history)",
    ),
    "mean_gap": Measure(_mean_gap, _SQL_MEAN_GAP),
    "gap_variation": Measure(_gap_variation, _SQL_GAP_VARIATION),
    "distance": Measure(_distance_km, _distance_sql(), differs_in="country"),
    "speed": Measure(_speed, f"{_distance_sql()} * 3600 / greatest(span, 1e0)", differs_in="country"),
}
