"""gold.top_products_hourly and gold.top_products_last_hour: the most viewed products."""

from __future__ import annotations

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, IntegerType, LongType, StringType, StructType, TimestampType

from gold.clock import hour_date, hour_start, moment_column
from gold.shop import is_product_view
from lakehouse.file_ages import KEEP_HOURS
from lakehouse.table import Table, column

RANKED_PRODUCT = [
    column("rank", IntegerType(), "1 is the most viewed; equal views in order of product_id"),
    column("product_id", StringType(), "The product"),
    column("product_name", StringType(), "Its latest known name in the period; null when no view carried one"),
    column("views", LongType(), "Product views: product_view, or page_view with a product_id"),
    column("unique_viewers", LongType(), "Distinct users among these views, exact"),
]

HOURLY = Table(
    layer="gold",
    name="top_products_hourly",
    grain="a product's rank in a clock hour",
    schema=StructType(
        [
            column("hour_start", TimestampType(), "Start of the clock hour, UTC"),
            *RANKED_PRODUCT,
            column("status", StringType(), "provisional until the hour's end plus the lateness setting, then final"),
            column("updated_at", TimestampType(), "When the row was written, UTC"),
            column("hour_date", DateType(), "Day of hour_start, UTC"),
        ]
    ),
    keys=("hour_start", "rank"),
    partition_by=("hour_date",),
    statistics=("hour_start", "rank"),
    keep_hours=KEEP_HOURS,
)

LAST_HOUR = Table(
    layer="gold",
    name="top_products_last_hour",
    grain="a product's rank in the rolling last 60 minutes",
    schema=StructType(
        [
            column("as_of", TimestampType(), "End of the window, included, UTC"),
            column("window_start", TimestampType(), "Start of the window, excluded: as_of less 60 minutes, UTC"),
            *RANKED_PRODUCT,
        ]
    ),
    keys=("as_of", "rank"),
    keep_hours=KEEP_HOURS,
)


def hourly(events: DataFrame, top_n: int) -> DataFrame:
    """The `top_n` products of every clock hour in `events`; `with_status` makes them rows of HOURLY."""
    views = events.where(is_product_view())
    return _ranked(views, hour_start(), top_n).select(
        F.col("period").alias("hour_start"), "rank", "product_id", "product_name", "views", "unique_viewers"
    )


def with_status(ranks: DataFrame, closed_before: datetime, updated_at: datetime) -> DataFrame:
    """Rows of HOURLY from ranks by `hour_start`.

    An hour that ended at or before `closed_before` (now less the lateness setting) is final.
    """
    has_closed = F.col("hour_start") <= moment_column(closed_before - timedelta(hours=1), "product_id")
    return ranks.select(
        "hour_start",
        "rank",
        "product_id",
        "product_name",
        "views",
        "unique_viewers",
        F.when(has_closed, "final").otherwise("provisional").alias("status"),
        moment_column(updated_at, "product_id").alias("updated_at"),
        hour_date(),
    )


def last_hour(events: DataFrame, as_of: datetime, top_n: int) -> DataFrame:
    """Rows of LAST_HOUR: the `top_n` products viewed in (as_of - 60 minutes, as_of]; no rows after a silent hour."""
    hour = F.expr("INTERVAL 1 HOUR")
    dated = events.where(is_product_view()).withColumn("as_of", moment_column(as_of, "product_id"))
    is_recent = (F.col("event_time") > F.col("as_of") - hour) & (F.col("event_time") <= F.col("as_of"))
    return _ranked(dated.where(is_recent), F.col("as_of"), top_n).select(
        F.col("period").alias("as_of"),
        (F.col("period") - hour).alias("window_start"),
        "rank",
        "product_id",
        "product_name",
        "views",
        "unique_viewers",
    )


def _ranked(views: DataFrame, period: Column, top_n: int) -> DataFrame:
    """Ranks by views first, which is cheap; names and distinct viewers only of the products that made it."""
    views = views.select(period.alias("period"), "product_id", "product_name", "user_id", _recency().alias("recency"))
    order = Window.partitionBy("period").orderBy(F.col("views").desc(), "product_id")
    top = (
        views.groupBy("period", "product_id")
        .agg(F.count("*").alias("views"))
        .withColumn("rank", F.row_number().over(order))
        .where(F.col("rank") <= top_n)
    )
    return (
        views.join(F.broadcast(top), on=["period", "product_id"], how="inner")
        .groupBy("period", "rank", "product_id", "views")
        .agg(
            F.max_by("product_name", "recency").alias("product_name"),
            F.count_distinct("user_id").alias("unique_viewers"),
        )
    )


def _recency() -> Column:
    """Orders views that carry a name, the latest last; null for the others, which `max_by` passes over."""
    return F.when(F.col("product_name").isNotNull(), F.struct("event_time", "event_id"))
