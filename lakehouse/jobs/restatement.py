"""top_products and fraud_scan: recompute gold of a range of days from silver."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from pyspark.sql import functions as F

from gold import fraud
from gold import top_products as top
from lakehouse import hours as clock
from lakehouse.jobs.parameters import DayRange, Say
from lakehouse.lake import Lake
from lakehouse.stream.gold_refresh import GoldRefresh
from silver import events as silver_events

Parameters = DayRange
TOP_PRODUCTS_WRITES = (top.HOURLY,)
FRAUD_WRITES = (fraud.TABLE,)


def hours_of(days: DayRange) -> set[int]:
    """Every clock hour of the range."""
    first = clock.number_of(datetime.combine(days.from_date, time(), UTC))
    end = clock.number_of(datetime.combine(days.to_date + timedelta(days=1), time(), UTC))
    return set(range(first, end))


def top_products(lake: Lake, parameters: DayRange, say: Say) -> dict[str, Any]:
    """Recompute `gold.top_products_hourly`."""
    say(f"Ranking {parameters.from_date} to {parameters.to_date}")
    return _restated(lake, parameters, tables=TOP_PRODUCTS_WRITES, with_flags=False)


def fraud_scan(lake: Lake, parameters: DayRange, say: Say) -> dict[str, Any]:
    """Recompute `gold.fraud_flags`."""
    say(f"Scanning {parameters.from_date} to {parameters.to_date}")
    return _restated(lake, parameters, tables=(), with_flags=True)


def _restated(lake: Lake, days: DayRange, **what: Any) -> dict[str, Any]:
    """Do it; what a run tells is its range, and the events in it."""
    GoldRefresh(lake).restate_beside_stream(hours_of(days), **what)
    in_range = F.col("event_date").between(F.lit(days.from_date), F.lit(days.to_date))
    rows = lake.read(silver_events.TABLE).where(in_range).count()
    return {"from_date": str(days.from_date), "to_date": str(days.to_date), "rows_read": rows}
