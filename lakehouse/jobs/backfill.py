"""backfill, top_products, fraud_scan: rebuild a range of days with the functions that the stream uses.

backfill makes silver and gold from bronze, the others their table of gold from silver.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze import events as bronze_events
from gold import fraud
from gold import top_products as top
from lakehouse import hours as clock
from lakehouse.jobs import cohort_retention, quality, reconcile
from lakehouse.jobs.parameters import DayRange, Say
from lakehouse.lake import Lake, materialized, settled
from lakehouse.ops import marks
from lakehouse.stream import rebuilt, recovery
from lakehouse.stream.gold_refresh import HOURLY, GoldRefresh
from silver import checks, deduplicate, quarantine
from silver import events as silver_events

Parameters = DayRange
TOP_PRODUCTS_WRITES = (top.HOURLY,)
FRAUD_WRITES = (fraud.TABLE,)
WRITES = (
    silver_events.TABLE,
    quarantine.TABLE,
    *HOURLY,
    *FRAUD_WRITES,
    marks.TABLE,
)


def top_products(lake: Lake, parameters: DayRange, say: Say) -> dict[str, Any]:
    """Recompute `gold.top_products_hourly`."""
    say(f"Ranking {parameters.from_date} to {parameters.to_date}")
    return _restated(lake, parameters, tables=TOP_PRODUCTS_WRITES, with_flags=False)


def fraud_scan(lake: Lake, parameters: DayRange, say: Say) -> dict[str, Any]:
    """Recompute `gold.fraud_flags`."""
    say(f"Scanning {parameters.from_date} to {parameters.to_date}")
    return _restated(lake, parameters, tables=(), with_flags=True)


def run(lake: Lake, parameters: DayRange, say: Say) -> dict[str, Any]:
    """Replace silver (by event day), quarantine (by ingest day) and gold of the range.

    Only records of batches that are in the book are rebuilt; what the stream is writing right now is carried over.
    """
    booked = recovery.is_before(recovery.booked_offsets(lake))
    _forget_what_was_done(lake)
    say("Reading bronze and judging it again")
    judged = materialized(_judged(lake, parameters, booked))
    say("Replacing silver and quarantine")
    with rebuilt.under_way(lake.settings):
        settled(_replace_silver, lake, parameters, judged, booked)
        rebuilt.tell(lake.settings, _hours_of(parameters))
        settled(_replace_quarantine, lake, parameters, judged, booked)
    rows_read = judged.count()
    del judged  # Spark keeps the rows as long as a variable refers to them
    say("Recomputing gold")
    told = _restated(lake, parameters)
    _forget_what_was_done(lake)
    return told | {"rows_read": rows_read, "silver_rows": told["rows_read"]}


def _restated(lake: Lake, days: DayRange, **what: Any) -> dict[str, Any]:
    """Recompute gold from silver; what a run tells is its range, and the events in it."""
    GoldRefresh(lake).restate_beside_stream(_hours_of(days), **what)
    rows = lake.read(silver_events.TABLE).where(_on_days("event_date", days)).count()
    return {"from_date": str(days.from_date), "to_date": str(days.to_date), "rows_read": rows}


def _hours_of(days: DayRange) -> set[int]:
    """Every clock hour of the range."""
    first = clock.number_of(datetime.combine(days.from_date, time(), UTC))
    end = clock.number_of(datetime.combine(days.to_date + timedelta(days=1), time(), UTC))
    return set(range(first, end))


def _forget_what_was_done(lake: Lake) -> None:
    """Jobs that go on from a mark look at what came since; rebuilt days keep the times at which they were processed."""
    for job in (cohort_retention.NAME, reconcile.NAME, quality.NAME):
        marks.forget(lake, job)


def _judged(lake: Lake, days: DayRange, booked: Column) -> DataFrame:
    """Bronze that can hold events of the range, or was read in it: no event is more than the allowed minutes ahead of
    its record, whose time may be ahead of when it was read."""
    settings = lake.settings
    earliest = F.lit(days.from_date - timedelta(days=1))
    is_near = (F.col("ingest_date") >= earliest) | (F.col("kafka_timestamp") >= earliest)
    records = lake.read(bronze_events.TABLE).where(is_near & booked)
    return checks.judge(records, checks.Limits(settings.max_future_minutes, settings.max_age_days))


def _replace_silver(lake: Lake, days: DayRange, judged: DataFrame, booked: Column) -> None:
    in_range = _on_days("event_date", days)
    candidates = deduplicate.valid(judged)
    repeated = deduplicate.repeated(candidates, timedelta(hours=lake.settings.dedupe_hours))
    first = deduplicate.without(candidates.where(in_range), repeated)
    on_their_way = lake.read(silver_events.TABLE).where(in_range & ~booked)
    rows = deduplicate.accepted(first).unionByName(on_their_way.select(*silver_events.TABLE.columns))
    lake.replace(silver_events.TABLE, rows.repartition("event_date"), _condition("event_date", days))


def _replace_quarantine(lake: Lake, days: DayRange, judged: DataFrame, booked: Column) -> None:
    """Refused records again, keeping what has been resolved since."""
    in_range = _on_days("ingest_date", days)
    known = lake.read(quarantine.TABLE).where(in_range)
    resolved = known.where(F.col("status") == "resolved").select(
        *deduplicate.COORDINATES, F.col("status").alias("known_status"), F.col("resolved_by").alias("known_run")
    )
    again = (
        quarantine.refused(judged.where(in_range))
        .join(F.broadcast(resolved), on=deduplicate.COORDINATES, how="left")
        .withColumns(
            {
                "status": F.coalesce("known_status", "status"),
                "resolved_by": F.coalesce("known_run", "resolved_by"),
            }
        )
        .select(*quarantine.TABLE.columns)
    )
    rows = again.unionByName(known.where(~booked).select(*quarantine.TABLE.columns))
    lake.replace(quarantine.TABLE, rows.coalesce(1), _condition("ingest_date", days))


def _on_days(column: str, days: DayRange) -> Column:
    return F.col(column).between(F.lit(days.from_date), F.lit(days.to_date))


def _condition(column: str, days: DayRange) -> str:
    # Not BETWEEN: Delta cannot resolve it in a replaceWhere.
    return f"{column} >= DATE '{days.from_date}' AND {column} <= DATE '{days.to_date}'"
