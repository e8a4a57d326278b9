"""gold.top_products_last_hour as Spark would make it, to compare with what the stream makes."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.top_products import ranked
from lakehouse.hours import moment_column
from silver.conditions import IS_VIEW


def last_hour(events: DataFrame, as_of: datetime, top_n: int) -> DataFrame:
    """Rows of LAST_HOUR: the `top_n` products viewed in (as_of - 60 minutes, as_of]; no rows after a silent hour."""
    hour = F.expr("INTERVAL 1 HOUR")
    dated = events.where(IS_VIEW).withColumn("as_of", moment_column(as_of))
    is_recent = (F.col("event_time") > F.col("as_of") - hour) & (F.col("event_time") <= F.col("as_of"))
    return ranked(dated.where(is_recent), F.col("as_of"), top_n).select(
        F.col("period").alias("as_of"),
        (F.col("period") - hour).alias("window_start"),
        "rank",
        "product_id",
        "product_name",
        "views",
        "unique_viewers",
    )
