"""gold.kpis_hourly: the shop's key figures per clock hour."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, LongType, StringType

from gold import revenue
from gold.hourly import hourly_table
from lakehouse.hours import hour_start
from lakehouse.table import Kept, Live, column
from silver.conditions import IS_PAID, IS_VIEW

COUNTED = {
    "page_views": "event_type = 'page_view'",
    "product_views": IS_VIEW,
    "clicks": "event_type = 'click'",
    "carts": "event_type = 'add_to_cart'",
    "purchases": "event_type = 'purchase'",
    "searches": "event_type = 'search'",
}
_OF_BATCH = f"""
    SELECT hour AS age, {", ".join(f"count_if({sql})::BIGINT AS {name}" for name, sql in COUNTED.items())}
    FROM new_events GROUP BY hour"""
_MERGED = f"""
    SELECT age, {", ".join(f"sum({name})::BIGINT AS {name}" for name in COUNTED)}
    FROM {{kept}} WHERE {{where}} GROUP BY age"""
_ROWS = f"""
    WITH sold AS (
        SELECT age, if({{currency}} IS NULL, count(*), 1) AS currencies,
            coalesce({{currency}}, min(currency)) AS told,
            coalesce(sum(revenue) FILTER ({{currency}} IS NULL OR currency IN ({{currency}}, '{revenue.UNKNOWN}')), 0)
                AS revenue
        FROM {{revenue_hours}} GROUP BY age)
    SELECT make_timestamptz(age * 3600000000) AS hour_start, {", ".join(COUNTED)},
        if(currencies > 1, NULL, coalesce(revenue, 0))::DECIMAL(38, 9) AS revenue,
        if(currencies > 1, NULL, coalesce(told, {{currency}})) AS currency,
        users.size AS unique_users, coalesce(buyers.size, 0) / users.size AS conversion_rate
    FROM {{kpis_hours}} AS hours JOIN {{kpis_users}} AS users USING (age)
        LEFT JOIN {{kpis_buyers}} AS buyers USING (age) LEFT JOIN sold USING (age)"""
LIVE = Live(
    _ROWS,
    {
        "kpis_hours": Kept(_OF_BATCH, _MERGED),
        "revenue_hours": revenue.HOURS,
        "kpis_users": Kept("SELECT DISTINCT hour AS age, hash(hour, u) AS key FROM new_events", is_set=True),
        "kpis_buyers": Kept(
            f"SELECT DISTINCT hour AS age, hash(hour, u) AS key FROM new_events WHERE {IS_PAID}", is_set=True
        ),
    },
)
TABLE = hourly_table(
    "kpis_hourly",
    grain="one clock hour in which something happened",
    columns=[
        column("page_views", LongType(), "Events of type page_view"),
        column("product_views", LongType(), "product_view, or page_view with a product_id"),
        column("clicks", LongType(), "Events of type click"),
        column("carts", LongType(), "Events of type add_to_cart"),
        column("purchases", LongType(), "Events of type purchase, declined ones included"),
        column("searches", LongType(), "Events of type search"),
        column(
            "revenue",
            revenue.REVENUE,
            "Exact sum of amount of purchases that are approved or without a status, in `currency`; NULL where the"
            " hour has several and SHOPLAKE_CURRENCY does not say which one counts",
        ),
        column("currency", StringType(), "Currency of revenue; unknown where the events name none"),
        column("unique_users", LongType(), "Distinct users of any event, exact"),
        column("conversion_rate", DoubleType(), "Users who bought (not declined) over unique_users, 0 to 1"),
    ],
    keys=(),
    reads=("product_id", *revenue.TABLE.reads),
    rows=lambda events, settings: hourly(events, settings.currency),
    live=LIVE,
)


def hourly(events: DataFrame, currency: str | None = None) -> DataFrame:
    """One row per clock hour in `events`; `currency` is the shop's, if it is set."""
    figures = (
        _per_user(events)
        .groupBy("hour_start")
        .agg(
            *(F.sum(name).alias(name) for name in COUNTED),
            F.count("user_id").alias("unique_users"),
            F.count_if("has_bought").alias("buyers"),
        )
    )
    sold = revenue.hourly(events).groupBy("hour_start").agg(*_in_one_currency(currency))
    nothing = F.lit(0).cast(revenue.REVENUE)
    return figures.join(sold, on="hour_start", how="left").select(
        "hour_start",
        *COUNTED,
        # An hour without a purchase has no revenue; with several currencies no one number states it.
        F.when(F.col("currencies") > 0, F.col("revenue")).otherwise(nothing).alias("revenue"),
        F.coalesce("currency", F.lit(currency)).alias("currency"),
        "unique_users",
        (F.col("buyers") / F.col("unique_users")).alias("conversion_rate"),
    )


def _in_one_currency(currency: str | None) -> list[Column]:
    """Revenue of an hour from its rows per currency: that of the shop's currency, or of the only one."""
    sold = F.count("*").alias("currencies")
    if currency is None:
        is_one = F.count("*") == 1
        return [
            sold,
            F.when(is_one, F.sum("revenue")).cast(revenue.REVENUE).alias("revenue"),
            F.when(is_one, F.min("currency")).alias("currency"),
        ]
    is_counted = F.col("currency").isin(currency, revenue.UNKNOWN)
    told = F.coalesce(F.sum(F.when(is_counted, F.col("revenue"))), F.lit(0))
    return [sold, told.cast(revenue.REVENUE).alias("revenue"), F.lit(currency).alias("currency")]


def _per_user(events: DataFrame) -> DataFrame:
    """One row per hour and user: distinct users become plain sums, without expanding every event."""
    return events.groupBy(hour_start(), "user_id").agg(
        *(F.count_if(F.expr(condition)).alias(name) for name, condition in COUNTED.items()),
        F.coalesce(F.bool_or(F.expr(IS_PAID)), F.lit(False)).alias("has_bought"),
    )
