"""gold.user_days: who was active on which calendar day; all that retention needs to know."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DateType, StringType, StructType

from lakehouse.table import Table, column

TABLE = Table(
    layer="gold",
    name="user_days",
    grain="a user on a calendar day of a time zone on which the user was active",
    schema=StructType(
        [
            column("timezone", StringType(), "IANA name of the zone whose calendar counts"),
            column("activity_date", DateType(), "The calendar day in that zone"),
            column("user_id", StringType(), "The user"),
            column("purchased", BooleanType(), "Whether a purchase was among the events, declined ones included"),
        ]
    ),
    keys=("timezone", "activity_date", "user_id"),
    partition_by=("timezone", "activity_date"),
    rows="replaced",
    served=False,
)


def user_days(events: DataFrame, timezone: str) -> DataFrame:
    """Rows of TABLE from silver events (event_time, user_id, event_type) whose local days they cover whole."""
    local_day = F.to_date(F.from_utc_timestamp("event_time", timezone))
    return (
        events.groupBy(local_day.alias("activity_date"), "user_id")
        .agg(F.bool_or(F.col("event_type") == "purchase").alias("purchased"))
        .select(F.lit(timezone).alias("timezone"), "activity_date", "user_id", "purchased")
    )
