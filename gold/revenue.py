"""gold.revenue_hourly: what was sold per clock hour and currency, to the last decimal place."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DecimalType, LongType, StringType

from gold.hourly import hourly_table
from lakehouse.hours import hour_start
from lakehouse.table import Kept, Live, column
from producer.contract import VISIBLE
from silver.conditions import IS_PAID

UNKNOWN = "unknown"
"""The currency of a purchase that names none."""
REVENUE = DecimalType(38, 9)
_UNSEEN = f"{VISIBLE.replace('^', '', 1)}*"
_CODE = rf"^{_UNSEEN}([A-Za-z]{{3}}){_UNSEEN}\z"
"""Each engine has a trim of its own: Spark's takes spaces away, DuckDB's also U+00A0, with which prices are written."""
CURRENCY_SQL = f"""CASE WHEN regexp_matches(currency, '{_CODE}') THEN upper(regexp_extract(currency, '{_CODE}', 1))
    WHEN regexp_matches(currency, '{VISIBLE}') THEN currency ELSE '{UNKNOWN}' END"""
"""`currency` for DuckDB."""
HOURS = Kept(
    f"""SELECT hour AS age, {CURRENCY_SQL} AS currency, count(*) AS purchases,
        coalesce(sum(amount), 0)::DECIMAL(38, 9) AS revenue
    FROM new_events WHERE {IS_PAID} GROUP BY ALL""",
    """SELECT age, currency, sum(purchases)::BIGINT AS purchases, sum(revenue)::DECIMAL(38, 9) AS revenue
    FROM {kept} WHERE {where} GROUP BY ALL""",
)
LIVE = Live(
    """
    SELECT make_timestamptz(age * 3600000000) AS hour_start, currency, purchases, coalesce(size, 0) AS orders, revenue
    FROM {revenue_hours} AS hours LEFT JOIN {revenue_orders} AS orders USING (age, currency)""",
    {
        "revenue_hours": HOURS,
        "revenue_orders": Kept(
            f"""SELECT DISTINCT hour AS age, {CURRENCY_SQL} AS currency, hash(hour, {CURRENCY_SQL}, order_id) AS key
            FROM new_events WHERE {IS_PAID} AND order_id IS NOT NULL""",
            is_set=True,
        ),
    },
)
TABLE = hourly_table(
    "revenue_hourly",
    grain="one currency in one clock hour in which something was sold",
    columns=[
        column("currency", StringType(), "As the events name it, codes in capitals; unknown where they name none"),
        column("purchases", LongType(), "Events of type purchase that are approved or without a status"),
        column("orders", LongType(), "Distinct order_id among them: a page that is loaded again is no new order"),
        column("revenue", REVENUE, "Exact sum of their amounts, in the currency"),
    ],
    keys=("currency",),
    reads=("event_time", "event_type", "user_id", "order_id", "amount", "currency", "payment_status"),
    rows=lambda events, _: hourly(events),
    live=LIVE,
)


def hourly(events: DataFrame) -> DataFrame:
    """One row per clock hour and currency in `events`."""
    paid = events.where(IS_PAID).groupBy(hour_start(), currency().alias("currency"))
    return paid.agg(
        F.count("*").alias("purchases"),
        F.count_distinct("order_id").alias("orders"),
        F.coalesce(F.sum("amount"), F.lit(0)).cast(REVENUE).alias("revenue"),
    )


def currency() -> Column:
    """The currency of a purchase, or UNKNOWN; codes in capitals. Never null."""
    code, is_seen = F.regexp_extract("currency", _CODE, 1), F.col("currency").rlike(VISIBLE)
    return F.when(code != "", F.upper(code)).when(is_seen, F.col("currency")).otherwise(UNKNOWN)
