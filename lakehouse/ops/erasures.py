"""ops.erasures and ops.erased_records: who was forgotten, as a hash, and which records were erased for that.

The ledger counts these records as erased: they were read, and are missing with a reason.
"""

from pyspark.sql.types import ArrayType, IntegerType, LongType, StringType, StructType, TimestampType

from lakehouse.table import Table, column

RECORDS = Table(
    layer="ops",
    name="erased_records",
    grain="one Kafka record that a run has erased from the lake",
    schema=StructType(
        [
            column("topic", StringType(), "Kafka topic"),
            column("partition", IntegerType(), "Kafka partition"),
            column("offset", LongType(), "Kafka offset"),
            column("was", StringType(), "silver, quarantined or duplicates: what the record was counted as before"),
            column("hour", LongType(), "Clock hour of its event, in hours since 1970, UTC; null when it had none"),
            column("run_id", StringType(), "The run that erased it"),
            column("erased_at", TimestampType(), "When the run found it, UTC"),
        ]
    ),
    keys=("topic", "partition", "offset", "run_id"),
    writer="delta-rs",
)

RECEIPTS = Table(
    layer="ops",
    name="erasures",
    grain="one person who was forgotten by a run",
    schema=StructType(
        [
            column("run_id", StringType(), "The run that did it"),
            column("person", StringType(), "Keyed hash of the user_id; without the lake's secret it tells nothing"),
            column("erased_at", TimestampType(), "When the last old file was deleted, UTC"),
            column("silver_rows", LongType(), "Accepted events that were erased"),
            column("quarantined_rows", LongType(), "Refused records that were erased"),
            column("duplicate_rows", LongType(), "Records of events that silver already had, which were erased"),
            column("gold_hours", LongType(), "Clock hours of gold that were computed anew"),
            column("user_days", LongType(), "Rows of gold.user_days that were erased"),
            column("cleared_cells", LongType(), "Texts of ops tables that named the person, and are null now"),
            column("registry_rows", LongType(), "Rows of the run registry in which the id was replaced"),
            column("deleted_files", LongType(), "Old files of tables and of their logs that were deleted"),
            column("mentions", LongType(), "Records of others in which the id stands as a word, and stays"),
            column("backups", ArrayType(StringType()), "Backups that still hold the person, and until when"),
            column("notes", ArrayType(StringType()), "What is left to do by hand"),
        ]
    ),
    keys=("run_id",),
    writer="delta-rs",
)
