"""gold.cohort_retention: how many users of a cohort come back. Definitions: docs/decisions/retention-definitions.md."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from lakehouse.hours import moment_column
from lakehouse.table import Table, column

TABLE = Table(
    layer="gold",
    name="cohort_retention",
    grain="one cohort x period x definition",
    schema=StructType(
        [
            column("granularity", StringType(), "day, week (from Monday) or month"),
            column("cohort_start", DateType(), "First day of the period of the users' first-ever activity"),
            column("cohort_size", LongType(), "Users of the cohort"),
            column("period_index", IntegerType(), "Periods since the cohort's own, which is 0"),
            column("definition", StringType(), "n_day: active in that period; unbounded: in that period or later"),
            column("activity", StringType(), "any event, or purchase: cohorts and returns by purchases"),
            column("timezone", StringType(), "IANA name of the zone whose calendar counts"),
            column("retained_users", LongType(), "Users of the cohort who were active; null for a future period"),
            column("retention_rate", DoubleType(), "retained_users over cohort_size; null for a future period"),
            column("is_complete", BooleanType(), "Whether the period has ended; false: so far, or future"),
            column("computed_at", TimestampType(), "When the row was computed, UTC"),
        ]
    ),
    keys=("granularity", "cohort_start", "definition", "activity", "timezone", "period_index"),
    writer="delta-rs",
    rows="replaced",
    newest="computed_at",
)


@dataclass(frozen=True)
class Granularity:
    """A calendar period: its start from a date, the periods between two starts, the start some periods later."""

    name: str
    last_index: int
    start_of: Callable[[Column], Column]
    between: Callable[[Column, Column], Column]
    after: Callable[[Column, Column], Column]


def _months(day: Column) -> Column:
    return F.year(day) * 12 + F.month(day)


GRANULARITIES = (
    Granularity(
        "day",
        last_index=90,
        start_of=lambda day: day,
        between=lambda first, second: F.date_diff(second, first),
        after=lambda start, periods: F.date_add(start, periods),
    ),
    Granularity(
        "week",
        last_index=52,
        start_of=lambda day: F.trunc(day, "week"),
        between=lambda first, second: F.floor(F.date_diff(second, first) / 7).cast("int"),
        after=lambda start, periods: F.date_add(start, periods * 7),
    ),
    Granularity(
        "month",
        last_index=24,
        start_of=lambda day: F.trunc(day, "month"),
        between=lambda first, second: _months(second) - _months(first),
        after=lambda start, periods: F.add_months(start, periods),
    ),
)
"""The last index bounds the table: later periods are left out, but count for `unbounded`."""


def cohort_retention(user_days: DataFrame, as_of: date, timezone: str, now: datetime) -> DataFrame:
    """Rows of TABLE from `user_days`, as they stood at the end of `as_of`, a day in `timezone`.

    Every cohort has the same cells, from 0 to the periods between the first cohort and `as_of`.
    """
    today = now.astimezone(ZoneInfo(timezone)).date()
    horizon, complete_before = min(as_of, today), min(as_of + timedelta(days=1), today)
    is_known = (F.col("timezone") == timezone) & (F.col("activity_date") <= F.lit(horizon))
    returns = _returns(user_days.where(is_known))
    cells = _cells(_counts(returns), horizon)
    return _with_definitions(cells, horizon, complete_before).select(
        "granularity",
        "cohort_start",
        "cohort_size",
        "period_index",
        "definition",
        "activity",
        F.lit(timezone).alias("timezone"),
        "retained_users",
        (F.col("retained_users") / F.col("cohort_size")).alias("retention_rate"),
        "is_complete",
        moment_column(now).alias("computed_at"),
    )


def _by_granularity(value: Callable[[Granularity], Column]) -> Column:
    return F.coalesce(
        *(F.when(F.col("granularity") == granularity.name, value(granularity)) for granularity in GRANULARITIES)
    )


def _returns(user_days: DataFrame) -> DataFrame:
    """One row per user, activity and granularity: the cohort, and the indexes of the periods with activity."""
    days_of_user = user_days.groupBy("user_id").agg(
        F.collect_set("activity_date").alias("any"),
        F.collect_set(F.when(F.col("purchased"), F.col("activity_date"))).alias("purchase"),
    )
    activities = F.array(
        *(F.struct(F.lit(name).alias("activity"), F.col(name).alias("days")) for name in ("any", "purchase"))
    )
    starts = _by_granularity(lambda granularity: F.transform("days", granularity.start_of))
    indexes = _by_granularity(
        lambda granularity: F.transform(
            "starts",
            lambda start: F.least(granularity.between(F.col("cohort_start"), start), F.lit(granularity.last_index + 1)),
        )
    )
    return (
        days_of_user.select(F.inline(activities))
        .where(F.size("days") > 0)
        .withColumn("granularity", F.explode(F.lit([granularity.name for granularity in GRANULARITIES])))
        .withColumn("starts", F.array_distinct(starts))
        .withColumn("cohort_start", F.array_min("starts"))
        .select("activity", "granularity", "cohort_start", F.array_distinct(indexes).alias("indexes"))
    )


def _counts(returns: DataFrame) -> DataFrame:
    """Per cohort and index: users active then, and users for whom it is the last index."""
    is_last = F.col("period_index") == F.col("last_index")
    return (
        returns.select(
            "activity",
            "granularity",
            "cohort_start",
            F.array_max("indexes").alias("last_index"),
            F.explode("indexes").alias("period_index"),
        )
        .groupBy("activity", "granularity", "cohort_start", "period_index")
        .agg(F.count("*").alias("active"), F.count_if(is_last).alias("leaving"))
    )


def _cells(counts: DataFrame, horizon: date) -> DataFrame:
    """The rectangle of all cohorts and indexes, with users active in the period (n_day) and in it or later."""
    cohort = ["activity", "granularity", "cohort_start"]
    first_cohort = F.min("cohort_start").over(Window.partitionBy("activity", "granularity"))
    last_index = _by_granularity(
        lambda granularity: F.least(
            granularity.between(F.col("first_cohort"), granularity.start_of(F.lit(horizon))),
            F.lit(granularity.last_index),
        )
    )
    beyond = F.lit(1)  # one more index holds the users whose last activity is beyond the table
    rectangle = (
        counts.where(F.col("period_index") == 0)
        .select(*cohort, F.col("active").alias("cohort_size"), first_cohort.alias("first_cohort"))
        .select(*cohort, "cohort_size", last_index.alias("last_index"))
        .withColumn("period_index", F.explode(F.sequence(F.lit(0), F.col("last_index") + beyond)))
    )
    or_later = Window.partitionBy(*cohort).orderBy(F.col("period_index").desc())
    return (
        rectangle.join(counts, on=[*cohort, "period_index"], how="left")
        .withColumn("n_day", F.coalesce("active", F.lit(0)))
        .withColumn("unbounded", F.sum(F.coalesce("leaving", F.lit(0))).over(or_later))
        .where(F.col("period_index") <= F.col("last_index"))
    )


def _with_definitions(cells: DataFrame, horizon: date, complete_before: date) -> DataFrame:
    """One row per definition; nothing is said about periods that begin after `horizon`."""
    index, cohort_start = F.col("period_index"), F.col("cohort_start")
    period_start = _by_granularity(lambda granularity: granularity.after(cohort_start, index))
    period_end = _by_granularity(lambda granularity: granularity.after(cohort_start, index + 1))
    has_begun = period_start <= F.lit(horizon)
    definitions = [
        F.struct(F.lit(name).alias("definition"), F.when(has_begun, F.col(name)).alias("retained_users"))
        for name in ("n_day", "unbounded")
    ]
    return cells.select(
        "activity",
        "granularity",
        "cohort_start",
        "cohort_size",
        "period_index",
        (period_end <= F.lit(complete_before)).alias("is_complete"),
        F.inline(F.array(*definitions)),
    )
