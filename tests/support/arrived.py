"""Records as Kafka hands them to the stream, in a frame of Spark."""

from collections.abc import Iterable
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

Sent = tuple[str, datetime | None, bytes | None, bytes | None]
"""Topic, Kafka time, key, value."""


def frame_of(spark: SparkSession, records: Iterable[Sent]) -> DataFrame:
    """The records of one partition, in their order: offsets count from zero."""
    topics, times, keys, values = zip(*records, strict=True)
    columns = {
        "topic": pa.array(topics, pa.string()),
        "partition": pa.array([0] * len(topics), pa.int32()),
        "offset": pa.array(range(len(topics)), pa.int64()),
        "kafka_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "key": pa.array(keys, pa.binary()),
        "value": pa.array(values, pa.binary()),
    }
    return spark.createDataFrame(pa.table(columns))
