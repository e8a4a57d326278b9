"""silver.quarantine: every refused record, whole, with the reason."""

from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, DateType, IntegerType, LongType, StringType, StructType, TimestampType

from lakehouse.table import Extract, Table, column, with_constants
from producer.contract import CONTRACT_VERSION

PER_HOUR = Extract(
    "ops.quarantine_hourly",
    "refused records of an hour by reason",
    (
        ("ingest_date", "DATE", "Day of quarantined_at, UTC"),
        ("hour_start", "TIMESTAMP", "Clock hour of quarantined_at, UTC"),
        ("topic", "VARCHAR", "Kafka topic"),
        ("reason_code", "VARCHAR", "Stable code, see the data dictionary"),
        ("status", "VARCHAR", "open or resolved"),
        ("records", "BIGINT", "Refused records"),
        ("example", "VARCHAR", "What exactly was wrong with one of them"),
        ("newest_at", "TIMESTAMP", "When the newest of them was refused, UTC"),
    ),
    "SELECT ingest_date, date_trunc('hour', quarantined_at) AS hour_start, topic, reason_code, status,"
    " count(*) AS records, min(reason_detail) AS example, max(quarantined_at) AS newest_at FROM {scan} GROUP BY ALL",
    merged="SELECT ingest_date, hour_start, topic, reason_code, status, sum(records)::BIGINT AS records,"
    " min(example) AS example, max(newest_at) AS newest_at FROM ops.quarantine_hourly GROUP BY ALL",
)
TABLE = Table(
    layer="silver",
    name="quarantine",
    grain="one refused record",
    schema=StructType(
        [
            column("topic", StringType(), "Kafka topic"),
            column("partition", IntegerType(), "Kafka partition"),
            column("offset", LongType(), "Kafka offset"),
            column("kafka_timestamp", TimestampType(), "The record's Kafka time, UTC"),
            column("key", BinaryType(), "Raw key"),
            column("value", BinaryType(), "Raw value, byte-exact"),
            column("reason_code", StringType(), "Stable code, see the data dictionary"),
            column("reason_detail", StringType(), "What exactly was wrong"),
            column("contract_version", IntegerType(), "Version of the contract that refused it"),
            column("quarantined_at", TimestampType(), "When the micro-batch began, UTC"),
            column("status", StringType(), "open or resolved"),
            column("resolved_by", StringType(), "The run that resolved it"),
            column("ingest_date", DateType(), "Day of quarantined_at, UTC"),
        ]
    ),
    keys=("topic", "partition", "offset"),
    partition_by=("ingest_date",),
    statistics=("topic", "partition", "offset", "quarantined_at"),
    fed="live",
    rows="rebuilt",
    served=PER_HOUR,
    newest="newest_at",
)


def refused(judged: DataFrame) -> DataFrame:
    """The quarantine rows of judged records (`silver.checks.judge`): those with a reason."""
    return judged.where(F.col("reason_code").isNotNull()).select(
        "topic",
        "partition",
        "offset",
        "kafka_timestamp",
        "key",
        "value",
        "reason_code",
        "reason_detail",
        F.lit(CONTRACT_VERSION).alias("contract_version"),
        F.col("ingested_at").alias("quarantined_at"),
        F.lit("open").alias("status"),
        F.lit(None).cast("string").alias("resolved_by"),
        "ingest_date",
    )


def rows(refused: pa.Table, at: datetime) -> pa.Table:
    """Refused records of a micro-batch that began at `at`, as rows of the table without `resolved_by`."""
    known = refused.select([name for name in TABLE.columns if name in refused.column_names])
    return with_constants(
        known, contract_version=CONTRACT_VERSION, quarantined_at=at, status="open", ingest_date=at.date()
    )
