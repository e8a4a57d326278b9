"""bronze.events: every Kafka record as it came, byte-exact, with its coordinates."""

from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, DateType, IntegerType, LongType, StringType, StructType, TimestampType

from lakehouse.table import Table, column, with_constants

TABLE = Table(
    layer="bronze",
    name="events",
    grain="one Kafka record, as it came",
    schema=StructType(
        [
            column("topic", StringType(), "Kafka topic"),
            column("partition", IntegerType(), "Kafka partition"),
            column("offset", LongType(), "Kafka offset"),
            column("kafka_timestamp", TimestampType(), "The record's Kafka time, UTC; null outside 1900 to 2199"),
            column("key", BinaryType(), "Raw key, null when there was none"),
            column("value", BinaryType(), "Raw value, null for a tombstone"),
            column("ingested_at", TimestampType(), "When the micro-batch began, UTC; the same for all its records"),
            column("ingest_date", DateType(), "Day of ingested_at, UTC"),
        ]
    ),
    keys=("topic", "partition", "offset"),
    partition_by=("ingest_date",),
    statistics=("topic", "partition", "offset", "kafka_timestamp", "ingested_at"),
    fed="live",
    rows="rebuilt",
    served=False,
)


_FIRST, _AFTER = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Kafka takes any number for a record's time. What reads the tables (Parquet, pandas, Python) fails far outside."""
RECORD_COLUMNS = ["topic", "partition", "offset", "kafka_timestamp", "key", "value"]


def from_kafka(source: DataFrame) -> DataFrame:
    """The records of a Kafka source with RECORD_COLUMNS, one row each. A time that no table can keep becomes null, and
    the record is refused for it."""
    is_kept = (F.col("timestamp") >= F.lit(_FIRST)) & (F.col("timestamp") < F.lit(_AFTER))
    kept = F.when(is_kept, F.col("timestamp")).alias("kafka_timestamp")
    return source.select("topic", "partition", "offset", kept, "key", "value")


def rows(records: pa.Table, at: datetime) -> pa.Table:
    """Records of a micro-batch that began at `at`, as rows of the table."""
    return with_constants(records.select(RECORD_COLUMNS), ingested_at=at, ingest_date=at.date())
