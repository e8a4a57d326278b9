"""bronze.events: every Kafka record as it came, byte-exact, with its coordinates."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, DateType, IntegerType, LongType, StringType, StructType, TimestampType

from lakehouse.table import Table, column

TABLE = Table(
    layer="bronze",
    name="events",
    grain="one Kafka record, as it came",
    schema=StructType(
        [
            column("topic", StringType(), "Kafka topic"),
            column("partition", IntegerType(), "Kafka partition"),
            column("offset", LongType(), "Kafka offset"),
            column("kafka_timestamp", TimestampType(), "The record's Kafka time, UTC"),
            column("key", BinaryType(), "Raw key, null when there was none"),
            column("value", BinaryType(), "Raw value, null for a tombstone"),
            column("ingested_at", TimestampType(), "When the micro-batch began, UTC; the same for all its records"),
            column("ingest_date", DateType(), "Day of ingested_at, UTC"),
        ]
    ),
    keys=("topic", "partition", "offset"),
    partition_by=("ingest_date",),
    statistics=("topic", "partition", "offset", "ingested_at"),
)


def from_kafka(source: DataFrame, ingested_at: datetime) -> DataFrame:
    """The records of a Kafka source as bronze rows, one each; `ingested_at` is UTC."""
    return source.select(
        "topic",
        "partition",
        "offset",
        F.col("timestamp").alias("kafka_timestamp"),
        "key",
        "value",
        F.lit(ingested_at).cast("timestamp").alias("ingested_at"),
        F.lit(ingested_at.date()).alias("ingest_date"),
    )
