"""cohort_retention: the daily batch job. A new day costs the new day: only days whose silver changed are read."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field, field_validator
from pyspark.sql import Observation
from pyspark.sql import functions as F

from gold import retention, user_days
from lakehouse import hours as clock
from lakehouse.jobs.parameters import Say, today
from lakehouse.lake import Lake
from lakehouse.ops import marks
from silver import events as silver_events

NAME = "cohort_retention"
WRITES = (user_days.TABLE, retention.TABLE, marks.TABLE)
_SAFETY = timedelta(minutes=10)
"""Read again what silver got shortly before the mark: a batch may have been on its way."""


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Parameters of a run."""

    timezone: str = Field("UTC", description="IANA time zone whose calendar days count.")
    as_of: date = Field(
        default_factory=lambda given: today(given.get("timezone", "UTC")),
        description="Last day whose activity counts; the default is today in that time zone.",
    )

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            raise ValueError(f"{value!r} is not an IANA time zone")
        return value


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Bring `gold.user_days` up to date, then compute `gold.cohort_retention` of one time zone."""
    zone = parameters.timezone
    say("Looking for days that changed")
    days, newest = _changes(lake, zone, marks.current(lake, NAME, zone))
    say(f"Reading {len(days)} changed days of silver")
    rows_read = _update_user_days(lake, zone, days) if days else 0
    say("Computing the cohorts")
    activity = lake.read(user_days.TABLE).where(F.col("timezone") == zone)
    cells = retention.cohort_retention(activity, parameters.as_of, zone, datetime.now(UTC)).coalesce(1)
    written = Observation()
    lake.replace(retention.TABLE, cells.observe(written, F.count("*").alias("rows")), f"timezone = '{zone}'")
    if newest is not None:
        marks.move(lake, NAME, zone, newest)
    return {
        "as_of": str(parameters.as_of),
        "timezone": zone,
        "changed_days": len(days),
        "rows_read": rows_read,
        "cells": written.get["rows"],
    }


def _changes(lake: Lake, zone: str, mark: datetime | None) -> tuple[list[date], datetime | None]:
    """The local days of which silver got something since the mark, and when it got the newest of that."""
    silver = lake.read(silver_events.TABLE)
    if mark is not None:
        silver = silver.where(F.col("processed_at") >= F.lit(mark - _SAFETY))
    day = F.to_date(F.from_utc_timestamp("event_time", zone)).alias("day")
    found = silver.groupBy(day).agg(F.max("processed_at").alias("newest")).collect()
    return sorted(row["day"] for row in found), max((row["newest"] for row in found), default=None)


def _update_user_days(lake: Lake, zone: str, days: list[date]) -> int:
    """Recompute the activity of these local days from the UTC days that they can touch; how many events those have."""
    near = sorted({day + timedelta(days=shift) for day in days for shift in (-1, 0, 1)})
    read = Observation()
    silver = lake.read(silver_events.TABLE).where(F.col("event_date").isin(near))
    events = silver.select("event_time", "user_id", "event_type").observe(read, F.count("*").alias("rows"))
    activity = user_days.user_days(events, zone).where(F.col("activity_date").isin(days))
    on_days = clock.sql_on_days("activity_date", days)
    lake.replace(user_days.TABLE, activity, f"timezone = '{zone}' AND {on_days}")
    return int(read.get["rows"])
