"""ops.batches: the book of the stream. One row per micro-batch and topic-partition, written last."""

from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql.types import BooleanType, IntegerType, LongType, StringType, StructType, TimestampType

from lakehouse.broker import Offsets
from lakehouse.table import Extract, Table, column

SERVED_DAYS = 2
"""The book grows by thousands of rows an hour; dashboards show this many days of it."""
TABLE = Table(
    layer="ops",
    name="batches",
    grain="one micro-batch × topic-partition",
    schema=StructType(
        [
            column("batch_id", LongType(), "Number of the micro-batch; rises over all starts of the stream"),
            column("topic", StringType(), "Kafka topic"),
            column("partition", IntegerType(), "Kafka partition"),
            column("from_offset", LongType(), "First offset of the batch"),
            column(
                "to_offset",
                LongType(),
                "Next offset after the batch; not every offset has a record (transactions, compaction)",
            ),
            column("bronze_rows", LongType(), "Records read"),
            column("silver_rows", LongType(), "Events accepted"),
            column("duplicate_rows", LongType(), "Records of an event that silver already had"),
            column("quarantined_rows", LongType(), "Records refused"),
            column("generation", StringType(), "Which start of the stream read it; each has a checkpoint of its own"),
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
    writer="delta-rs",
    fed="live",
    served=Extract(
        "ops.recent_batches",
        "one micro-batch of the last days",
        (
            ("batch_id", "BIGINT", "Number of the micro-batch"),
            ("started_at", "TIMESTAMP", "When it began, UTC"),
            ("committed_at", "TIMESTAMP", "When it was done, UTC"),
            ("offsets", "BIGINT", "Offsets that it read; not each has a record (transactions, compaction, retention)"),
            ("bronze_rows", "BIGINT", "Records that it read"),
            ("silver_rows", "BIGINT", "Records of these that were accepted"),
            ("duplicate_rows", "BIGINT", "Records of these whose event was there before"),
            ("quarantined_rows", "BIGINT", "Records of these that were refused"),
            ("unaccounted", "BIGINT", "Records of which the book does not say what became of them; must be 0"),
        ),
        # The rows of a batch are written at once, so that no other rows of it can follow.
        """SELECT batch_id, min(started_at) AS started_at, max(committed_at) AS committed_at,
            sum(to_offset - from_offset)::BIGINT AS offsets, sum(bronze_rows)::BIGINT AS bronze_rows,
            sum(silver_rows)::BIGINT AS silver_rows, sum(duplicate_rows)::BIGINT AS duplicate_rows,
            sum(quarantined_rows)::BIGINT AS quarantined_rows,
            sum(abs(bronze_rows - silver_rows - duplicate_rows - quarantined_rows))::BIGINT AS unaccounted
        FROM {scan} GROUP BY ALL""",
        keep=f"committed_at >= now() - INTERVAL {SERVED_DAYS} DAY",
    ),
    newest="committed_at",
)


class Plan(NamedTuple):
    """The offsets that a micro-batch reads per topic-partition, `end` excluded. A partition without a begin is new, and
    read from 0."""

    begin: Offsets
    end: Offsets


def planned(counts: pa.Table, plan: Plan | None) -> pa.Table:
    """Rows of the book with the offsets that Spark planned to read. Some have no record: transaction markers, records
    of aborted transactions, and those that compaction removed.

    So a batch begins where the last one ended, and nothing waits behind the last record.
    """
    if plan is None:
        return counts
    found = {(row["topic"], row["partition"]): row for row in counts.to_pylist()}
    for topic, partitions in plan.end.items():
        for partition, end in partitions.items():
            begin = plan.begin.get(topic, {}).get(partition, 0)
            if begin < end:
                row = found.setdefault((topic, int(partition)), _without_records(counts, topic, int(partition)))
                row |= {"from_offset": begin, "to_offset": end}
    return pa.Table.from_pylist(list(found.values()), counts.schema)


def _without_records(counts: pa.Table, topic: str, partition: int) -> dict[str, Any]:
    return dict.fromkeys(counts.column_names, 0) | {"topic": topic, "partition": partition}


def next_offsets(rows: pa.Table, before: Offsets) -> Offsets:
    """Next offset per topic and partition (as text) after a batch with these rows of the book."""
    found = {topic: dict(partitions) for topic, partitions in before.items()}
    for row in rows.select(["topic", "partition", "to_offset"]).to_pylist():
        found.setdefault(row["topic"], {})[str(row["partition"])] = row["to_offset"]
    return found
