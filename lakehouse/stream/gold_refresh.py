"""Recomputes gold of clock hours from `silver.events`, in Spark: old hours that late events touch, hours that have
closed, and whatever a job asks for. Doing so twice changes nothing.

The functions in `gold/` say what a table holds; this module decides which rows are replaced by which.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold import fraud
from gold.fraud_rules import CONTEXT
from lakehouse import hours as clock
from lakehouse.catalog import TABLES
from lakehouse.lake import ATTEMPTS, Lake, materialized
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables, as_declared
from lakehouse.stream import rebuilt
from lakehouse.table import Table
from silver import events as silver_events

HOURLY = tuple(table for table in TABLES if table.hourly)
"""Gold tables whose rows belong to one clock hour (`hour_start`) and live in the partition `hour_date`."""
Range = tuple[datetime, datetime]
COLUMNS = sorted({name for table in TABLES for name in table.reads})
"""Columns of silver.events that gold is computed from."""


class GoldRefresh:
    """Writes gold through one Lake. Its methods are safe to repeat."""

    def __init__(self, lake: Lake) -> None:
        """Keep `lake`."""
        self._lake = lake

    def restate(self, hours: Iterable[int], now: datetime, tables: tuple[Table, ...] = HOURLY) -> list[str]:
        """Recompute hours from `silver.events`; returns what changed, as a text per table and hour."""
        wanted = set(hours)
        if not wanted or not tables:
            return []
        # Read once, so that all tables see the same events; written together, since the gate compares them.
        events = materialized(self._events(clock.ranges_of(wanted)).where(clock.is_in(wanted)))
        made = ((table, table.hourly) for table in tables)
        fresh = [(table, hourly(events, self._lake.settings).toArrow()) for table, hourly in made if hourly]
        different: list[str] = []
        closed = closed_hour(now, self._lake.settings)
        for table, rows in fresh:
            before = replace_hours(self._lake.small, table, rows, wanted, now, closed)
            different += different_hours(table, before, rows)
        return different

    def restate_flags(self, hours: Iterable[int], now: datetime) -> None:
        """Recompute the flags that events of these hours can touch."""
        emits = flags_touched_by(hours)
        if emits:
            events = materialized(self._events([(first - CONTEXT, last) for first, last in emits]))
            first, last = min(emit[0] for emit in emits), max(emit[1] for emit in emits)
            flags = fraud.flags(events, first, last, now).where(clock.within(emits))
            replace_flags(self._lake.small, flags.toArrow(), emits)

    def _events(self, ranges: list[Range]) -> DataFrame:
        silver = self._lake.read(silver_events.TABLE)
        return silver.where(clock.on_dates(ranges) & clock.within(ranges)).select(*COLUMNS)

    def restate_beside_stream(
        self,
        hours: Iterable[int],
        tables: tuple[Table, ...] = HOURLY,
        with_flags: bool = True,
    ) -> None:
        """`restate` for a job, beside a stream that may accept events of the same hours meanwhile, and whose newer gold
        must not stay overwritten. Hours that grew since they were read are restated again, in a few rounds at most; if
        traffic never pauses, the stream rewrites those of its window."""
        wanted = set(hours)
        self._restate_what_grows(wanted, tables, with_flags)
        rebuilt.tell(self._lake.settings, wanted)

    def _restate_what_grows(self, left: set[int], tables: tuple[Table, ...], with_flags: bool) -> None:
        before = self._events_per_hour(left)
        for attempt in range(ATTEMPTS):
            now = datetime.now(UTC)
            self.restate(left, now, tables)
            if with_flags:
                self.restate_flags(left, now)
            after = self._events_per_hour(left)
            left = {hour for hour in left if before.get(hour) != after.get(hour)}
            if not left:
                return
            before = after
            time.sleep(1 + attempt)

    def _events_per_hour(self, hours: set[int]) -> dict[int, int]:
        reads = clock.ranges_of(hours)
        events = self._lake.read(silver_events.TABLE).where(clock.on_dates(reads) & clock.within(reads))
        counts = events.groupBy(clock.hour_number().alias("hour")).agg(F.count("*").alias("events")).collect()
        return {row["hour"]: row["events"] for row in counts}


def flags_touched_by(hours: Iterable[int]) -> list[Range]:
    """The times at which flags begin that events of these hours can belong to."""
    return [(first, last + CONTEXT) for first, last in clock.ranges_of(hours)]


def closed_hour(now: datetime, settings: Settings) -> int:
    """The newest final hour: it has ended, and the lateness setting has passed since."""
    return clock.number_of(now - timedelta(minutes=settings.lateness_minutes)) - 1


def replace_hours(
    small: SmallTables, table: Table, fresh: pa.Table, wanted: set[int], now: datetime, closed: int
) -> pa.Table | None:
    """Replace the rows of the `wanted` hours by `fresh`, written `now`; the days' other hours stay. Hours after
    `closed` are provisional. Returns the rows that were replaced; None without hours."""
    before: list[pa.Table] = []
    hour = _hour_numbers(fresh)
    added = {
        "status": pc.if_else(pc.less_equal(hour, closed), "final", "provisional"),
        "updated_at": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), fresh.num_rows),
        "hour_date": fresh.column("hour_start").cast(pa.date32()),
    }
    for name, values in added.items():
        if name in table.columns and name not in fresh.column_names:
            fresh = fresh.append_column(name, values)

    def changed(known: pa.Table) -> pa.Table:
        is_wanted = pc.is_in(_hour_numbers(known), pa.array(wanted, pa.int64()))
        before[:] = [known.filter(is_wanted)]
        others = known.filter(pc.invert(is_wanted))
        return pa.concat_tables([others, as_declared(fresh, others.schema, table)])

    small.replace_days(table, clock.dates_of(wanted), changed)
    return before[0] if before else None


def different_hours(table: Table, before: pa.Table | None, fresh: pa.Table) -> list[str]:
    """`table hour` for each hour whose rows in `fresh` differ from those `before`."""
    if before is None:
        return []
    told = ", ".join(fresh.column_names)
    with _duckdb(before=before, fresh=fresh) as connection:
        hours = connection.execute(
            f"""SELECT DISTINCT strftime(hour_start, '%Y-%m-%d %H:00') FROM (
                (SELECT {told} FROM before EXCEPT SELECT {told} FROM fresh)
                UNION ALL (SELECT {told} FROM fresh EXCEPT SELECT {told} FROM before)) ORDER BY ALL"""
        ).fetchall()
    return [f"{table.full_name} {hour[0]}" for hour in hours]


def _hour_numbers(rows: pa.Table) -> pa.Array:
    moment = rows.column("hour_start").cast(pa.timestamp("s", "UTC")).cast(pa.int64())
    return pc.divide(moment, 3600)


def replace_flags(small: SmallTables, found: pa.Table, emits: list[Range]) -> int:
    """Replace the flags whose first crossing lies in `emits` by those `found`; known flags keep their `detected_at`.
    Nothing is written when they are the same. Returns how many are new."""
    is_emitted = " OR ".join(
        f"(event_time >= TIMESTAMPTZ '{first.isoformat()}' AND event_time < TIMESTAMPTZ '{last.isoformat()}')"
        for first, last in emits
    )
    days = clock.days_of(emits)
    names = ", ".join(f"f.{name}" for name in fraud.TABLE.columns if name != "detected_at")
    state = {"new": 0}

    def changed(known: pa.Table) -> pa.Table:
        with _duckdb(known=known, found=found) as connection:
            state["new"] = _one(connection, "SELECT count(*) FROM found ANTI JOIN known USING (flag_id)")
            return connection.execute(
                f"""SELECT * FROM known WHERE NOT ({is_emitted})
                UNION ALL BY NAME SELECT {names}, coalesce(k.detected_at, f.detected_at) AS detected_at
                FROM found f LEFT JOIN known k USING (flag_id)"""
            ).to_arrow_table()

    with _duckdb(known=small.read(fraud.TABLE, days), found=found) as connection:
        evidence = "flag_id, evidence"
        is_same = not _one(
            connection,
            f"""SELECT count(*) FROM (
                (SELECT {evidence} FROM known WHERE {is_emitted} EXCEPT SELECT {evidence} FROM found)
                UNION ALL (SELECT {evidence} FROM found EXCEPT SELECT {evidence} FROM known))""",
        )
    if not is_same:
        small.replace_days(fraud.TABLE, days, changed)
    return state["new"]


def _duckdb(**tables: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"python_enable_replacements": False})
    connection.execute("SET TimeZone = 'UTC'")
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(connection.execute(sql).fetchall()[0][0])
