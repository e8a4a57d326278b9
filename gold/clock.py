"""Moments and clock hours as columns. Sessions run in UTC, so hours and dates are UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch, exactly; a moment without a zone is refused."""
    if moment.tzinfo is None:
        raise ValueError(f"A moment needs a time zone: {moment.isoformat()}")
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_column(moment: datetime) -> Column:
    """A moment as a timestamp that does not depend on the client's time zone."""
    return F.timestamp_micros(F.lit(micros(moment)))


def hour_start(event_time: str = "event_time") -> Column:
    """The start of the clock hour that holds `event_time`."""
    return F.date_trunc("hour", F.col(event_time)).alias("hour_start")
