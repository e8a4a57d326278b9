"""What the checks said (ops.quality_results), what somebody has decided about it (ops.quality_overrides), and whether
the books balanced (ops.ledger_results)."""

from pyspark.sql.types import ArrayType, BooleanType, LongType, StringType, StructType, TimestampType

from lakehouse.table import Table, column

TABLE = Table(
    layer="ops",
    name="quality_results",
    grain="one expectation judged once",
    schema=StructType(
        [
            column("run_id", StringType(), "The run that judged"),
            column("checked_at", TimestampType(), "When, UTC; the same for all results of a run"),
            column("table_name", StringType(), "Full name of the table"),
            column("expectation", StringType(), "Stable id of the expectation"),
            column("severity", StringType(), "block: the table is not published while it fails; or warn"),
            column("success", BooleanType(), "Whether the table is as expected"),
            column("observed", StringType(), "What was measured, as JSON"),
            column("detail", StringType(), "What the expectation means"),
            column("scope", StringType(), "full, or incremental: only days that changed"),
        ]
    ),
    keys=("run_id", "expectation"),
    writer="delta-rs",
)
NEWEST = """
WITH newest AS (
    SELECT table_name, expectation, arg_max(success, checked_at) AS success, arg_max(severity, checked_at) AS severity,
        max(checked_at) AS checked_at, arg_max(detail, checked_at) AS detail, arg_max(observed, checked_at) AS observed
    FROM ops.quality_results GROUP BY ALL)
"""
"""The newest result of each expectation, for a query that goes on."""

OVERRIDES = Table(
    layer="ops",
    name="quality_overrides",
    grain="one decision to publish although an expectation fails",
    schema=StructType(
        [
            column("expectation", StringType(), "Id of the expectation that does not block meanwhile"),
            column("reason", StringType(), "Why"),
            column("decided_by", StringType(), "Who"),
            column("decided_at", TimestampType(), "When, UTC"),
            column("expires_at", TimestampType(), "Until when it holds, UTC"),
        ]
    ),
    keys=("expectation", "decided_at"),
    writer="delta-rs",
)

LEDGER = Table(
    layer="ops",
    name="ledger_results",
    grain="one run of reconcile that could tell whether the books balance",
    schema=StructType(
        [
            column("run_id", StringType(), "The run that looked"),
            column("checked_at", TimestampType(), "When, UTC"),
            column("scope", StringType(), "full, or incremental: since the last run that found no fault"),
            column("is_balanced", BooleanType(), "Whether no place is out of balance"),
            column("faults", LongType(), "Places that do not balance"),
            column("first_fault", StringType(), "The first of them, and what is wrong there; null: none"),
            column("bronze_rows", LongType(), "Records looked at"),
            column("silver_rows", LongType(), "Of them accepted"),
            column("duplicate_rows", LongType(), "Of them accepted before"),
            column("quarantined_rows", LongType(), "Of them refused"),
            column("erased_rows", LongType(), "Of them erased since, for persons who were forgotten"),
            column("gold_hours", LongType(), "Hours of gold compared with silver"),
            column("served_hours", LongType(), "Hours of the serving file compared with gold"),
            column("notes", ArrayType(StringType()), "What differs for a known reason"),
        ]
    ),
    keys=("run_id",),
    writer="delta-rs",
)
