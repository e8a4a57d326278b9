"""The truth, recomputed without Spark: what the lake must hold, from the records and the broker's acknowledgements.

DuckDB reads what the generator made and the ledger of acknowledged offsets; nothing of the pipeline is used.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from producer.record import Record

EVENTS = """
create table events as
with arrived as (
    select *, json_extract_string(value, '$.event_id') as event_id,
        cast(json_extract_string(value, '$.timestamp') as timestamptz) as event_time
    from records where reason is null
), ranked as (
    select *, row_number() over (
        partition by event_id, event_time::date order by topic, "partition", "offset") as place
    from arrived
)
select topic, "partition", "offset", event_id, event_time, place,
    json_extract_string(value, '$.event_type') as event_type,
    json_extract_string(value, '$.user_id') as user_id,
    json_extract_string(value, '$.data.product_id') as product_id,
    json_extract_string(value, '$.data.total_amount')::decimal(28, 9) as amount,
    json_extract_string(value, '$.data.order_id') as order_id,
    json_extract_string(value, '$.data.currency') as currency,
    json_extract_string(value, '$.data.payment_status') as payment_status
from ranked
"""
_IS_VIEW = "(event_type = 'product_view' or (event_type = 'page_view' and product_id is not null))"
_IS_PAID = "(event_type = 'purchase' and coalesce(payment_status, 'approved') = 'approved')"


class Oracle:
    """Expected contents of the lake for everything published so far."""

    def __init__(self) -> None:
        self._known: dict[str | None, tuple[str | None, str | None]] = {}
        self.keys: set[tuple[str | None, str | None]] = set()
        """SHA-256 of value and key of every record; the same value may have come under several keys."""
        self._ledgers: list[Path] = []

    def sent(self, records: Iterable[Record], ledger: Path) -> None:
        """Take in records that were published with a ledger."""
        for record in records:
            digest, key = _sha256(record.value), _sha256(record.key)
            value = None if record.value is None or record.reason else record.value.decode("utf-8")
            self._known[digest] = (value, record.reason)
            self.keys.add((digest, key))
        self._ledgers.append(ledger)

    def open(self) -> duckdb.DuckDBPyConnection:
        """A database with `records` (every acknowledged record) and `events` (valid ones; place 1 is accepted)."""
        database = duckdb.connect()
        database.execute("set timezone = 'UTC'")
        database.execute(
            'create table records (topic varchar, "partition" int, "offset" bigint, value varchar, reason varchar,'
            " digest varchar)"
        )
        rows: list[tuple[Any, ...]] = []
        for ledger in self._ledgers:
            for line in ledger.read_text().splitlines():
                entry = json.loads(line)
                value, reason = self._known[entry["sha256"]]
                place = (entry["topic"], entry["partition"], entry["offset"])
                rows.append((*place, value, reason, entry["sha256"]))
        if rows:
            names = ["topic", "partition", "offset", "value", "reason", "digest"]
            sent = pa.table([pa.array(values) for values in zip(*rows, strict=True)], names=names)
            database.register("sent", sent)
            database.execute("insert into records from sent")
        database.execute(EVENTS)
        database.execute("create view accepted as select * from events where place = 1")
        return database


def _sha256(text: bytes | None) -> str | None:
    return None if text is None else hashlib.sha256(text).hexdigest()


def counts(database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows per layer."""
    names = ("bronze", "silver", "duplicates", "quarantined")
    row = database.execute(
        "select (select count(*) from records), (select count(*) from accepted),"
        " (select count(*) from events where place > 1), (select count(*) from records where reason is not null)"
    ).fetchone()
    assert row is not None
    return dict(zip(names, row, strict=True))


def hourly_products(database: duckdb.DuckDBPyConnection, top_n: int) -> list[tuple[Any, ...]]:
    """(hour_start, rank, product_id, views, unique_viewers), as gold.top_products_hourly must have it."""
    return database.execute(
        f"""
        with views as (select date_trunc('hour', event_time) as hour_start, product_id, user_id
                       from accepted where {_IS_VIEW}),
        counted as (select hour_start, product_id, count(*) as views, count(distinct user_id) as unique_viewers
                    from views group by 1, 2),
        ranked as (select *, row_number() over (partition by hour_start order by views desc, product_id) as rank
                   from counted)
        select hour_start, rank, product_id, views, unique_viewers from ranked where rank <= {top_n} order by 1, 2
        """
    ).fetchall()


def last_hour_products(
    database: duckdb.DuckDBPyConnection, start: datetime, as_of: datetime, top_n: int
) -> list[tuple[Any, ...]]:
    """(rank, product_id, views, unique_viewers) of the window (start, as_of]."""
    return database.execute(
        f"""
        with counted as (select product_id, count(*) as views, count(distinct user_id) as unique_viewers
                         from accepted where {_IS_VIEW} and event_time > ? and event_time <= ? group by 1),
        ranked as (select *, row_number() over (order by views desc, product_id) as rank from counted)
        select rank, product_id, views, unique_viewers from ranked where rank <= {top_n} order by 1
        """,
        [start, as_of],
    ).fetchall()


def hourly_figures(database: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Columns of gold.kpis_hourly up to conversion_rate, in the declared order."""
    return database.execute(
        f"""
        select date_trunc('hour', event_time) as hour_start,
            count(*) filter (event_type = 'page_view'), count(*) filter ({_IS_VIEW}),
            count(*) filter (event_type = 'click'), count(*) filter (event_type = 'add_to_cart'),
            count(*) filter (event_type = 'purchase'), count(*) filter (event_type = 'search'),
            case when count(distinct coalesce(upper(trim(currency)), 'unknown')) filter ({_IS_PAID}) < 2
                then coalesce(sum(amount) filter ({_IS_PAID}), 0) end, count(distinct user_id),
            round(count(distinct user_id) filter ({_IS_PAID}) / count(distinct user_id), 9)
        from accepted group by 1 order by 1
        """
    ).fetchall()


def hourly_revenue(database: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Columns of gold.revenue_hourly up to revenue, in the declared order."""
    return database.execute(
        f"""
        select date_trunc('hour', event_time) as hour_start, coalesce(upper(trim(currency)), 'unknown') as told,
            count(*), count(distinct order_id), sum(amount)
        from accepted where {_IS_PAID} group by 1, 2 order by 1, 2
        """
    ).fetchall()


def day_retention(database: duckdb.DuckDBPyConnection, activity: str) -> list[tuple[Any, ...]]:
    """(cohort_start, period_index, cohort_size, retained_users) for daily n_day cells with somebody in them."""
    condition = "event_type = 'purchase'" if activity == "purchase" else "true"
    return database.execute(
        f"""
        with days as (select distinct user_id, event_time::date as day from accepted where {condition}),
        born as (select user_id, min(day) as cohort from days group by 1),
        sizes as (select cohort, count(*) as size from born group by 1)
        select cohort, (day - cohort)::int as period_index, any_value(size), count(*)
        from days join born using (user_id) join sizes using (cohort) where day - cohort <= 90
        group by 1, 2 order by 1, 2
        """
    ).fetchall()
