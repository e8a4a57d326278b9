"""ops.quality_results and ops.quality_overrides: what the checks said, and what somebody has decided about it."""

from __future__ import annotations

from pyspark.sql.types import BooleanType, StringType, StructType, TimestampType

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
)

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
)
