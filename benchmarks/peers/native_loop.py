"""A loop of native libraries in one Python process: confluent-kafka, DuckDB and delta-rs.

Exactly once by Delta's application transactions: each batch has a number, and each table's commit of it carries that
number, so that a start after a kill knows which tables lack the last batch. Bronze comes first, with the offsets.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import confluent_kafka as kafka
import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from benchmarks.peers.place import Place
from silver.conditions import IS_VIEW

APP, MOST_RECORDS, WAIT_SECONDS, DEDUPE_SECONDS = "native-loop", 100_000, 0.2, 3 * 3600
BRONZE = pa.schema(
    [
        *(("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())),
        *(("sent_ms", pa.int64()), ("key", pa.binary()), ("value", pa.binary()), ("batch", pa.int64())),
    ]
)
EVENT = json.dumps(
    {
        **dict.fromkeys(("event_id", "event_type", "user_id", "timestamp"), "VARCHAR"),
        "context": dict.fromkeys(("session_id", "device_id", "ip", "country"), "VARCHAR"),
        "data": {
            **dict.fromkeys(("product_id", "product_name", "category", "order_id", "currency", "query"), "VARCHAR"),
            **dict.fromkeys(("payment_method", "payment_status", "card_fingerprint"), "VARCHAR"),
            **dict.fromkeys(("price", "total_amount"), "DECIMAL(28, 9)"),
            **dict.fromkeys(("quantity", "results_count"), "BIGINT"),
        },
    }
)
SILVER = f"""
    WITH texts AS (SELECT *, TRY(decode(value)) AS text FROM records),
    parsed AS (SELECT *, json_transform(text, '{EVENT}') AS event FROM texts WHERE json_valid(text)),
    events AS (
        SELECT event.event_id, event.event_type, event.user_id, TRY_CAST(event.timestamp AS TIMESTAMPTZ) AS event_time,
            unnest(event.context), unnest(event.data), topic, "partition", "offset", batch, $now::DOUBLE AS processed_s
        FROM parsed)
    SELECT DISTINCT ON (event_id) * FROM events ANTI JOIN ids USING (event_id)
    WHERE event_id IS NOT NULL AND event_type IS NOT NULL AND event_time IS NOT NULL
    ORDER BY event_id, "offset\""""
HOUR = "date_trunc('hour', event_time) AS hour_start, event_time::DATE AS hour_date"
GOLD = {
    "kpis_hourly": f"""
        SELECT {HOUR}, count_if(event_type = 'page_view') AS page_views, count_if({IS_VIEW}) AS product_views,
            count_if(event_type = 'click') AS clicks, count_if(event_type = 'add_to_cart') AS carts,
            count_if(event_type = 'purchase') AS purchases, count_if(event_type = 'search') AS searches
        FROM fresh GROUP BY ALL""",
    "product_views_hourly": f"SELECT {HOUR}, product_id, count(*) AS views FROM fresh WHERE {IS_VIEW} GROUP BY ALL",
}
KEYS = ("hour_start", "hour_date", "product_id")


class Loop:
    """The state of the last hours in DuckDB, and the tables."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._storage = place.storage
        self._sql = duckdb.connect()
        self._sql.execute("SET TimeZone = 'UTC'; CREATE TABLE ids (event_id VARCHAR, processed_s DOUBLE)")
        self._pool = ThreadPoolExecutor(3)
        self._batch = -1
        self._offsets: dict[str, int] = {}
        self._tables: dict[str, DeltaTable] = {}
        self._recover()

    def run(self) -> None:
        """Take what the broker has, for ever."""
        consumer = kafka.Consumer(
            {"bootstrap.servers": self._place.bootstrap, "group.id": APP, "enable.auto.commit": False}
        )
        topics = consumer.list_topics().topics
        consumer.assign(
            [
                kafka.TopicPartition(topic, number, self._offsets.get(f"{topic}/{number}", kafka.OFFSET_BEGINNING))
                for topic in self._place.topics
                for number in topics[topic].partitions
            ]
        )
        while True:
            if messages := [one for one in consumer.consume(MOST_RECORDS, WAIT_SECONDS) if one.error() is None]:
                self._take(messages)

    def _take(self, messages: list[Any]) -> None:
        self._batch += 1
        for one in messages:
            self._offsets[f"{one.topic()}/{one.partition()}"] = one.offset() + 1
        rows = (
            (one.topic(), one.partition(), one.offset(), one.timestamp()[1], one.key(), one.value(), self._batch)
            for one in messages
        )
        records = pa.table([*zip(*rows, strict=True)], schema=BRONZE)
        self._write("bronze/events", records, offsets=json.dumps(self._offsets))
        self._finish(self._judged(records))

    def _judged(self, records: pa.Table) -> pa.Table:
        """The valid events among them that are new."""
        self._sql.register("records", records)
        return self._sql.sql(SILVER, params={"now": time.time()}).to_arrow_table()

    def _finish(self, fresh: pa.Table) -> None:
        """Bring every table that lacks this batch to it."""
        self._sql.register("fresh", fresh)
        self._sql.execute("INSERT INTO ids SELECT event_id, processed_s FROM fresh")
        self._sql.execute("DELETE FROM ids WHERE processed_s < ?", [time.time() - DEDUPE_SECONDS])
        work = {"silver/events": fresh} if self._lacks("silver/events") else {}
        for name, sql in GOLD.items():
            if self._lacks(f"gold/{name}"):
                work[f"gold/{name}"] = self._counted(name, sql)
        list(self._pool.map(lambda name: self._write(name, work[name]), work))

    def _counted(self, name: str, sql: str) -> pa.Table:
        """The rows of the days that this batch touched, after it is added to what was counted before."""
        both = f"{name} UNION ALL BY NAME {sql}" if self._has(name) else f"({sql})"
        added = f"SELECT COLUMNS(lambda c: c IN {KEYS}), sum(COLUMNS(lambda c: c NOT IN {KEYS}))::BIGINT"
        self._sql.execute(f"CREATE OR REPLACE TABLE {name} AS {added} FROM (FROM {both}) GROUP BY ALL")
        days = "SELECT DISTINCT event_time::DATE FROM fresh"
        return self._sql.sql(f"FROM {name} WHERE hour_date IN ({days})").to_arrow_table()

    def _has(self, name: str) -> bool:
        return bool(self._sql.execute("FROM duckdb_tables() WHERE table_name = ?", [name]).fetchall())

    def _lacks(self, name: str) -> bool:
        table = self._tables.get(name)
        return table is None or (table.transaction_version(APP) or 0) < self._batch

    def _write(self, name: str, rows: pa.Table, **noted: str) -> None:
        """Commit the batch to a table. Gold's rows replace those of their days."""
        known = self._tables.get(name)
        options: dict[str, Any] = {"mode": "append"}
        if name.startswith("gold") and known is None:
            options["partition_by"] = ["hour_date"]
        elif name.startswith("gold") and rows.num_rows:
            days = ", ".join(f"'{day}'" for day in set(rows.column("hour_date").to_pylist()))
            options = {"mode": "overwrite", "predicate": f"hour_date IN ({days})"}
        write_deltalake(
            known or self._place.table(name),
            rows,
            storage_options=self._storage,
            commit_properties=CommitProperties(custom_metadata=noted, app_transactions=[Transaction(APP, self._batch)]),
            **options,
        )
        if known is None:
            self._open(name)

    def _open(self, name: str) -> bool:
        if DeltaTable.is_deltatable(self._place.table(name), self._storage):
            self._tables[name] = DeltaTable(self._place.table(name), storage_options=self._storage)
        return name in self._tables

    def _recover(self) -> None:
        """The state as the last start left it, and its last batch brought to every table."""
        if not self._open("bronze/events"):
            return
        bronze = self._tables["bronze/events"]
        self._batch = bronze.transaction_version(APP) or 0
        self._offsets = json.loads(bronze.history(1)[0]["offsets"])
        for name in filter(lambda name: self._open(f"gold/{name}"), GOLD):
            rows = self._tables[f"gold/{name}"].to_pyarrow_table()
            self._sql.register("rows", rows)
            self._sql.execute(f"CREATE TABLE {name} AS FROM rows")
        if self._open("silver/events"):
            since = [("processed_s", ">=", time.time() - DEDUPE_SECONDS), ("batch", "<", self._batch)]
            recent = self._tables["silver/events"].to_pyarrow_table(filters=since, columns=["event_id", "processed_s"])
            self._sql.register("recent", recent)
            self._sql.execute("INSERT INTO ids FROM recent")
        last = bronze.to_pyarrow_table(filters=[("batch", "=", self._batch)])
        self._finish(self._judged(last))


if __name__ == "__main__":
    Loop(Place.told()).run()
