"""Spark as its documentation has it: a Structured Streaming query per table, and everything else by default.

Duplicates and windows as in the guide to Structured Streaming, MERGE in `foreachBatch` as in Delta's documentation.
"""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from benchmarks.peers.place import Place
from gold.kpis import COUNTED
from silver.conditions import IS_VIEW

LATENESS = "3 hours"
BRONZE = "topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, key BINARY, value BINARY"
EVENT = """
    event_id STRING, event_type STRING, user_id STRING, timestamp TIMESTAMP,
    context STRUCT<session_id: STRING, device_id: STRING, ip: STRING, country: STRING>,
    data STRUCT<product_id: STRING, product_name: STRING, category: STRING, price: DECIMAL(28, 9), quantity: INT,
        order_id: STRING, total_amount: DECIMAL(28, 9), currency: STRING, payment_method: STRING,
        payment_status: STRING, card_fingerprint: STRING, query: STRING, results_count: BIGINT>"""


def main() -> None:
    """Run the four queries until one of them fails."""
    place = Place.told()
    builder = SparkSession.builder.master("local[*]").appName("peer")
    for name, value in place.options.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", place.bootstrap)
        .option("subscribe", ",".join(place.topics))
        .option("startingOffsets", "earliest")
        .load()
        .select("topic", "partition", "offset", "timestamp", "key", "value")
    )
    _append(place, records, "bronze/events")
    events = silver(_stream(spark, place, "bronze/events"))
    _append(place, events, "silver/events")
    hours = F.window("event_time", "1 hour").start.alias("hour_start")
    counted = _stream(spark, place, "silver/events").withWatermark("event_time", LATENESS)
    _merge(place, kpis(counted, hours), "gold/kpis_hourly", ["hour_start"])
    _merge(place, views(counted, hours), "gold/product_views_hourly", ["hour_start", "product_id"])
    spark.streams.awaitAnyTermination()


def silver(records: DataFrame) -> DataFrame:
    """Each event once, as columns."""
    event = F.from_json(F.col("value").cast("string"), EVENT)
    parsed = records.select(event.alias("event"), "topic", "partition", "offset").select(
        *(f"event.{name}" for name in ("event_id", "event_type", "user_id")),
        F.col("event.timestamp").alias("event_time"),
        *(f"event.{name}.*" for name in ("context", "data")),
        *("topic", "partition", "offset"),
    )
    valid = parsed.where("event_id IS NOT NULL AND event_type IS NOT NULL AND event_time IS NOT NULL")
    return valid.withWatermark("event_time", LATENESS).dropDuplicatesWithinWatermark(["event_id"])


def kpis(events: DataFrame, hours: Column) -> DataFrame:
    """Events of each kind in each hour."""
    return events.groupBy(hours).agg(*(F.count_if(F.expr(sql)).alias(name) for name, sql in COUNTED.items()))


def views(events: DataFrame, hours: Column) -> DataFrame:
    """Views of each product in each hour."""
    return events.where(IS_VIEW).groupBy(hours, "product_id").agg(F.count("*").alias("views"))


def _stream(spark: SparkSession, place: Place, name: str) -> DataFrame:
    return spark.readStream.format("delta").load(place.table(name))


def _append(place: Place, rows: DataFrame, name: str) -> StreamingQuery:
    _create(place, rows, name)
    return _written(place, rows, name).format("delta").outputMode("append").start(place.table(name))


def _merge(place: Place, rows: DataFrame, name: str, keys: list[str]) -> StreamingQuery:
    _create(place, rows, name)
    return _written(place, rows, name).outputMode("update").foreachBatch(_merging(place.table(name), keys)).start()


def _merging(address: str, keys: list[str]) -> Callable[[DataFrame, int], None]:
    same = " AND ".join(f"old.{key} = new.{key}" for key in keys)

    def merge(batch: DataFrame, _: int) -> None:
        batch.createOrReplaceTempView("new")
        batch.sparkSession.sql(
            f"MERGE INTO delta.`{address}` old USING new ON {same}"
            " WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )

    return merge


def _create(place: Place, rows: DataFrame, name: str) -> None:
    """A stream reads, and MERGE changes, only a table that is there."""
    rows.sparkSession.createDataFrame([], rows.schema).write.format("delta").mode("append").save(place.table(name))


def _written(place: Place, rows: DataFrame, name: str) -> DataStreamWriter:
    return rows.writeStream.queryName(name).option("checkpointLocation", f"{place.folder}/{name}")


if __name__ == "__main__":
    main()
