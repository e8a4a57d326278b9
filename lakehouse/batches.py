"""ops.batches: the book of the stream. One row per micro-batch and topic-partition, written last."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, IntegerType, LongType, StringType, StructType, TimestampType

from lakehouse.table import Table, column
from silver.deduplicate import COORDINATES

TABLE = Table(
    layer="ops",
    name="batches",
    grain="one micro-batch × topic-partition",
    schema=StructType(
        [
            column("batch_id", LongType(), "Number of the micro-batch; rises over all checkpoints"),
            column("topic", StringType(), "Kafka topic"),
            column("partition", IntegerType(), "Kafka partition"),
            column("from_offset", LongType(), "First offset of the batch"),
            column("to_offset", LongType(), "Next offset after the batch: to_offset - from_offset offsets were read"),
            column("bronze_rows", LongType(), "Records read"),
            column("silver_rows", LongType(), "Events accepted"),
            column("duplicate_rows", LongType(), "Records of an event that silver already had"),
            column("quarantined_rows", LongType(), "Records refused"),
            column("generation", StringType(), "Checkpoint generation"),
            column("started_at", TimestampType(), "When the batch began, UTC; ingested_at of its bronze rows"),
            column(
                "late_pending",
                BooleanType(),
                "Whether an older hour's gold had waited minutes to be restated",
            ),
            column("committed_at", TimestampType(), "When the batch was done, UTC"),
        ]
    ),
    keys=("batch_id", "topic", "partition"),
)

_COUNTS = ["bronze_rows", "silver_rows", "duplicate_rows", "quarantined_rows"]


def account(judged: DataFrame, duplicates: DataFrame) -> DataFrame:
    """Counts per topic-partition of one batch; bronze = silver + duplicates + quarantined by construction of
    three separate counts (`duplicates` holds the coordinates of the duplicate records)."""
    marked = judged.join(
        F.broadcast(duplicates.select(*COORDINATES).withColumn("is_duplicate", F.lit(True))),
        on=COORDINATES,
        how="left",
    )
    is_refused = F.col("reason_code").isNotNull()
    is_duplicate = F.coalesce("is_duplicate", F.lit(False))
    return marked.groupBy("topic", "partition").agg(
        F.min("offset").alias("from_offset"),
        (F.max("offset") + 1).alias("to_offset"),
        F.count("*").alias("bronze_rows"),
        F.count_if(~is_refused & ~is_duplicate).alias("silver_rows"),
        F.count_if(~is_refused & is_duplicate).alias("duplicate_rows"),
        F.count_if(is_refused).alias("quarantined_rows"),
    )
