"""ops.replays: every refused record that was sent again, by which run, changed how, and what became of it."""

from pyspark.sql.types import IntegerType, LongType, StringType, StructType, TimestampType

from lakehouse.table import Table, column

TABLE = Table(
    layer="ops",
    name="replays",
    grain="one event of a refused record brought back by a run",
    schema=StructType(
        [
            column("run_id", StringType(), "The run that did it; resolved_by of the quarantine row"),
            column("topic", StringType(), "Kafka topic of the refused record"),
            column("partition", IntegerType(), "Its Kafka partition"),
            column("offset", LongType(), "Its Kafka offset"),
            column("reason_code", StringType(), "Why it had been refused"),
            column("event_id", StringType(), "Its event"),
            column("fix", StringType(), "How it was changed before it was sent again; null: not at all"),
            column("outcome", StringType(), "accepted, duplicate, or known: silver already had the event"),
            column("replay_topic", StringType(), "Kafka topic of the record sent again; null when known"),
            column("replay_partition", IntegerType(), "Its Kafka partition"),
            column("replay_offset", LongType(), "Its Kafka offset"),
            column("replayed_at", TimestampType(), "When the run knew the outcome, UTC"),
        ]
    ),
    keys=("run_id", "topic", "partition", "offset", "event_id"),
    writer="delta-rs",
)
