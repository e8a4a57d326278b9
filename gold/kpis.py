"""gold.kpis_hourly: the shop's key figures per clock hour."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, DoubleType, LongType, StructType, TimestampType

from gold.clock import hour_date, hour_start
from gold.live import IS_PAID, IS_VIEW, Kept, Live
from gold.shop import is_paid_purchase, is_product_view
from lakehouse.file_ages import KEEP_HOURS
from lakehouse.table import Table, column

TABLE = Table(
    layer="gold",
    name="kpis_hourly",
    grain="one clock hour in which something happened",
    schema=StructType(
        [
            column("hour_start", TimestampType(), "Start of the clock hour, UTC"),
            column("page_views", LongType(), "Events of type page_view"),
            column("product_views", LongType(), "product_view, or page_view with a product_id"),
            column("clicks", LongType(), "Events of type click"),
            column("carts", LongType(), "Events of type add_to_cart"),
            column("purchases", LongType(), "Events of type purchase, declined ones included"),
            column("searches", LongType(), "Events of type search"),
            column("revenue", DoubleType(), "Sum of amount of purchases that are approved or without a status"),
            column("unique_users", LongType(), "Distinct users of any event, exact"),
            column("conversion_rate", DoubleType(), "Users who bought (not declined) over unique_users, 0 to 1"),
            column("updated_at", TimestampType(), "When the row was written, UTC"),
            column("hour_date", DateType(), "Day of hour_start, UTC"),
        ]
    ),
    keys=("hour_start",),
    writer="delta-rs",
    partition_by=("hour_date",),
    statistics=("hour_start",),
    keep_hours=KEEP_HOURS,
)

HUGE_AMOUNT = 1e24
"""Amounts below are summed as decimal(38,4), in which no sum depends on its order; room for 10^10 of them."""


def hourly(events: DataFrame) -> DataFrame:
    """One row per clock hour in `events`, with the columns of TABLE except `updated_at`."""
    per_user = _per_user(events)
    return (
        per_user.unionByName(_huge_amounts(events), allowMissingColumns=True)
        .groupBy("hour_start")
        .agg(
            *(F.sum(name).alias(name) for name in _counts()),
            F.coalesce(F.sum("revenue"), F.lit(0)).cast("double").alias("exact_revenue"),
            _sum_in_order("huge_amount").alias("huge_revenue"),
            F.count("user_id").alias("unique_users"),
            F.count_if("has_bought").alias("buyers"),
        )
        .select(
            "hour_start",
            *_counts(),
            (F.col("exact_revenue") + F.col("huge_revenue")).alias("revenue"),
            "unique_users",
            (F.col("buyers") / F.col("unique_users")).alias("conversion_rate"),
            hour_date(),
        )
    )


def _counts() -> dict[str, Column]:
    """The counted columns, with the condition that an event must meet."""
    event_type = F.col("event_type")
    return {
        "page_views": event_type == "page_view",
        "product_views": is_product_view(),
        "clicks": event_type == "click",
        "carts": event_type == "add_to_cart",
        "purchases": event_type == "purchase",
        "searches": event_type == "search",
    }


def _per_user(events: DataFrame) -> DataFrame:
    """One row per hour and user: distinct users become plain sums, without expanding every event."""
    is_summed_exactly = is_paid_purchase() & (F.col("amount") < HUGE_AMOUNT)
    exact_amount = F.when(is_summed_exactly, F.col("amount").try_cast("decimal(28,4)"))
    return events.groupBy(hour_start(), "user_id").agg(
        *(F.count_if(condition).alias(name) for name, condition in _counts().items()),
        F.sum(exact_amount).alias("revenue"),
        F.coalesce(F.bool_or(is_paid_purchase()), F.lit(False)).alias("has_bought"),
    )


def _huge_amounts(events: DataFrame) -> DataFrame:
    """Revenue too large for the decimal, one row each."""
    is_huge = is_paid_purchase() & (F.col("amount") >= HUGE_AMOUNT)
    return events.where(is_huge).select(hour_start(), F.col("amount").alias("huge_amount"))


def _sum_in_order(amounts: str) -> Column:
    """The sum of doubles from small to large, so that it does not depend on the order of the rows."""
    in_order = F.sort_array(F.collect_list(amounts))
    return F.aggregate(in_order, F.lit(0.0), lambda total, amount: total + amount)


_COUNTED = {
    "page_views": "event_type = 'page_view'",
    "product_views": IS_VIEW,
    "clicks": "event_type = 'click'",
    "carts": "event_type = 'add_to_cart'",
    "purchases": "event_type = 'purchase'",
    "searches": "event_type = 'search'",
}
_EXACT = f"""CASE WHEN amount < 0.00005 THEN 0
    WHEN amount < 1e13 THEN CAST(amount::VARCHAR AS DECIMAL(18, 4))
    WHEN amount < {HUGE_AMOUNT} THEN CAST(amount::VARCHAR AS DECIMAL(28, 4)) END"""
"""An amount rounded by its digits, as Spark does: DuckDB would multiply the double. It reads few digits much faster,
and would round up what is tiny."""
_OF_BATCH = f"""
    SELECT hour AS age, {", ".join(f"count_if({sql})::BIGINT AS {name}" for name, sql in _COUNTED.items())},
        coalesce(sum({_EXACT}) FILTER ({IS_PAID}), 0) AS revenue,
        coalesce(list(amount) FILTER ({IS_PAID} AND amount >= {HUGE_AMOUNT}), []) AS huge
    FROM new_events GROUP BY hour"""
_MERGED = f"""
    SELECT age, {", ".join(f"sum({name})::BIGINT AS {name}" for name in _COUNTED)},
        sum(revenue) AS revenue, flatten(list(huge)) AS huge
    FROM {{kept}} WHERE {{where}} GROUP BY age"""
_ROWS = f"""
    WITH people AS (SELECT age, count(*) AS unique_users FROM kpis_users WHERE age IN ({{hours}}) GROUP BY age),
    bought AS (SELECT age, count(*) AS buyers FROM kpis_buyers WHERE age IN ({{hours}}) GROUP BY age)
    SELECT make_timestamptz(age * 3600000000) AS hour_start, {", ".join(_COUNTED)},
        CAST(revenue::VARCHAR AS DOUBLE) + coalesce(list_sum(list_sort(huge)), 0) AS revenue, unique_users,
        coalesce(buyers, 0) / unique_users AS conversion_rate
    FROM {{kpis_hours}} JOIN people USING (age) LEFT JOIN bought USING (age)"""
LIVE = Live(
    TABLE,
    _ROWS,
    {
        "kpis_hours": Kept(_OF_BATCH, _MERGED),
        "kpis_users": Kept("SELECT DISTINCT hour AS age, user_id AS key FROM new_events", is_set=True),
        "kpis_buyers": Kept(
            f"SELECT DISTINCT hour AS age, user_id AS key FROM new_events WHERE {IS_PAID}", is_set=True
        ),
    },
)
