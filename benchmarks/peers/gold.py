"""What gold must say of all that was sent, and what a system's gold says."""

import time
from collections.abc import Iterable
from contextlib import suppress

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from benchmarks.freshness import POLL_SECONDS, FreshnessProbe
from lakehouse.s3 import delta_options
from lakehouse.settings import Settings
from producer.record import Record

Rows = set[tuple[object, ...]]
TOP_N = 10
COUNTED = {
    "page_view": "page_views",
    "click": "clicks",
    "add_to_cart": "carts",
    "purchase": "purchases",
    "search": "searches",
}
KPIS = ("page_views", "product_views", "clicks", "carts", "purchases", "searches")
KPI_ROWS = f"SELECT epoch(hour_start)::BIGINT, {', '.join(KPIS)} FROM {{gold}}"
TOP_ROWS = f"""
    SELECT epoch(hour_start)::BIGINT AS hour, product_id, views FROM {{gold}}
    QUALIFY row_number() OVER (PARTITION BY hour ORDER BY views DESC, product_id) <= {TOP_N}"""
_HOUR = "date_trunc('hour', event_time) AS hour_start"
_IS_VIEW = "event_type IN ('product_view', 'page_view') AND product_id IS NOT NULL"
_ORACLE = f"""
    CREATE TABLE events (event_id VARCHAR, event_type VARCHAR, event_time TIMESTAMPTZ, product_id VARCHAR);
    CREATE VIEW kpis AS SELECT {_HOUR}, count_if({_IS_VIEW}) AS product_views,
        {", ".join(f"count_if(event_type = '{kind}') AS {name}" for kind, name in COUNTED.items())}
    FROM events GROUP BY ALL;
    CREATE VIEW views AS SELECT {_HOUR}, product_id, count(*) AS views FROM events WHERE {_IS_VIEW} GROUP BY ALL"""
_ADDED = """
    INSERT INTO events BY NAME
    SELECT DISTINCT ON (event_id) * FROM (
        SELECT event->>'event_id' AS event_id, event->>'event_type' AS event_type,
            (event->>'timestamp')::TIMESTAMPTZ AS event_time, event->>'$.data.product_id' AS product_id
        FROM (SELECT value::JSON AS event FROM sent))
    ANTI JOIN events USING (event_id)"""


class Oracle:
    """All events that were sent, each once, in DuckDB."""

    def __init__(self) -> None:
        self._sql = _utc()
        self._sql.execute(_ORACLE)

    def add(self, records: Iterable[Record]) -> None:
        """Count these, too; none of them is to be refused."""
        values = pa.array([record.value for record in records], pa.binary()).cast(pa.string())
        self._sql.register("sent", pa.table({"value": values}))
        self._sql.execute(_ADDED)

    def rows(self) -> tuple[Rows, Rows]:
        """The key figures of each hour, and the most viewed products of each."""
        kpis = self._sql.execute(KPI_ROWS.format(gold="kpis")).fetchall()
        return set(kpis), set(self._sql.execute(TOP_ROWS.format(gold="views")).fetchall())


class Gold:
    """The gold tables of one bucket: our own top products, or a peer's views of each product."""

    def __init__(self, settings: Settings, views: str) -> None:
        self._root, self._options, self._views = f"s3://{settings.bucket}/gold", delta_options(settings), views

    def says(self, wanted: tuple[Rows, Rows]) -> bool:
        """Whether it says exactly that. Views are looked at once the key figures agree: they are many more rows."""
        with suppress(DeltaError, OSError):  # no table yet, or files of a version that was replaced meanwhile
            kpis, views = wanted
            return self._rows("kpis_hourly", KPI_ROWS) == kpis and self._rows(self._views, TOP_ROWS) == views
        return False

    def counts(self) -> dict[int, int]:
        """Events that the key figures count, by hour."""
        rows = self._table("kpis_hourly").to_pyarrow_table().to_pylist()
        return {int(row["hour_start"].timestamp()): sum(row[name] for name in COUNTED.values()) for row in rows}

    def _rows(self, name: str, sql: str) -> Rows:
        connection = _utc()
        connection.register("gold", self._table(name).to_pyarrow_table())
        return set(connection.execute(sql.format(gold="gold")).fetchall())

    def _table(self, name: str) -> DeltaTable:
        return DeltaTable(f"{self._root}/{name}", storage_options=self._options)


class Probe(FreshnessProbe):
    """Looks at any system's key figures, all with the same eyes."""

    def __init__(self, settings: Settings, gold: Gold) -> None:
        super().__init__(settings)
        self._gold = gold

    def _poll(self) -> None:
        while not self._end.wait(POLL_SECONDS):
            with suppress(DeltaError, OSError):
                self._seen.append((time.time(), self._gold.counts()))


def _utc() -> duckdb.DuckDBPyConnection:
    sql = duckdb.connect()
    sql.execute("SET TimeZone = 'UTC'")
    return sql
