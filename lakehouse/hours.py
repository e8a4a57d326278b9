"""Moments and clock hours as columns, sets of hours as numbers since the epoch, and the conditions that pick them out
of a table. Sessions run in UTC, so hours and dates are UTC."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch, exactly; a moment without a zone is refused."""
    if moment.tzinfo is None:
        raise ValueError(f"A moment needs a time zone: {moment.isoformat()}")
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_column(moment: datetime) -> Column:
    """A moment as a timestamp that does not depend on the client's time zone."""
    return F.timestamp_micros(F.lit(micros(moment)))


def hour_start() -> Column:
    """The start of the clock hour that holds `event_time`."""
    return F.date_trunc("hour", F.col("event_time")).alias("hour_start")


def hour_number(moment: str = "event_time") -> Column:
    """Hours since the epoch of a timestamp column."""
    return F.floor(F.unix_seconds(moment) / 3600).cast("bigint")


def start_of(hour: int) -> datetime:
    """First moment of an hour, UTC."""
    return datetime.fromtimestamp(hour * 3600, UTC)


def number_of(moment: datetime) -> int:
    """The hour that holds `moment`."""
    return int(moment.timestamp() // 3600)


def dates_of(hours: Iterable[int]) -> list[date]:
    """The UTC days that the hours touch, ascending."""
    return sorted({start_of(hour).date() for hour in hours})


def ranges_of(hours: Iterable[int], gap: int = 3) -> list[tuple[datetime, datetime]]:
    """Few half-open time ranges that cover `hours`; those at most `gap` hours apart are joined."""
    ranges: list[tuple[int, int]] = []
    for hour in sorted(set(hours)):
        if ranges and hour - ranges[-1][1] < gap:
            ranges[-1] = (ranges[-1][0], hour + 1)
        else:
            ranges.append((hour, hour + 1))
    return [(start_of(first), start_of(last)) for first, last in ranges]


def any_of(conditions: Sequence[Column]) -> Column:
    """True where one of `conditions` is. A balanced tree: a chain of many ORs is nested deeper than Spark Connect's
    messages may be."""
    if not conditions:
        return F.lit(False)
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    return any_of(conditions[:middle]) | any_of(conditions[middle:])


def within(ranges: Iterable[tuple[datetime, datetime]]) -> Column:
    """True where `event_time` falls into one of the half-open `ranges`."""
    moment = F.col("event_time")
    return any_of([(moment >= F.lit(first)) & (moment < F.lit(last)) for first, last in ranges])


def is_in(hours: Iterable[int]) -> Column:
    """True where `event_time` falls into one of the `hours`; a list is data, not generated code."""
    wanted = sorted(hours)
    return F.array_contains(F.lit(wanted), hour_number()) if wanted else F.lit(False)


def days_of(ranges: Iterable[tuple[datetime, datetime]]) -> list[date]:
    """The UTC days from each range's first to its last moment, both included, ascending."""
    return sorted(
        {
            first.date() + timedelta(days=number)
            for first, last in ranges
            for number in range((last.date() - first.date()).days + 1)
        }
    )


def on_dates(ranges: Iterable[tuple[datetime, datetime]]) -> Column:
    """True on the days that the ranges touch: lets Delta skip whole partitions of silver."""
    return F.col("event_date").isin(days_of(ranges))


def sql_on_days(column: str, days: Iterable[date]) -> str:
    """The SQL condition that a DATE column is one of `days`; false for none."""
    listed = ", ".join(f"DATE '{day}'" for day in sorted(days))
    return f"{column} IN ({listed})" if listed else "false"
