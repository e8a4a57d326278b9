"""ops.marks: how far a job has come, moved only when a run has succeeded."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructType, TimestampType

from lakehouse.lake import Lake
from lakehouse.table import Table, column

TABLE = Table(
    layer="ops",
    name="marks",
    grain="one move of a job's high-water mark; the newest per job and scope counts",
    schema=StructType(
        [
            column("job", StringType(), "Job name"),
            column("scope", StringType(), "What the mark is for, as a time zone, or a table and its day"),
            column(
                "mark",
                TimestampType(),
                "What was processed, or written, until then is done, UTC; null: start again",
            ),
            column("moved_at", TimestampType(), "When the mark moved, UTC"),
        ]
    ),
    keys=("job", "scope", "moved_at"),
)


def current(lake: Lake, job: str, scope: str) -> datetime | None:
    """The mark of a job, or None when it has to start from the beginning."""
    moves = lake.read(TABLE).where((F.col("job") == job) & (F.col("scope") == scope))
    newest = moves.agg(F.max_by(F.struct("mark"), "moved_at").alias("newest")).collect()[0]["newest"]
    return None if newest is None else newest["mark"]


def of_job(lake: Lake, job: str) -> dict[str, datetime]:
    """The marks of a job by scope, aware, of the scopes that have one."""
    moves = lake.read(TABLE).where(F.col("job") == job)
    newest = moves.groupBy("scope").agg(F.max_by(F.struct("mark"), "moved_at").alias("newest"))
    found = newest.select("scope", "newest.mark").where(F.col("mark").isNotNull()).collect()
    # Sessions are in UTC (`lakehouse.session`), and Spark hands out plain timestamps.
    return {row["scope"]: row["mark"].replace(tzinfo=UTC) for row in found}


def move(lake: Lake, job: str, scope: str, mark: datetime | None) -> None:
    """Set the mark of a job."""
    row = lake.spark.range(1).select(
        F.lit(job).alias("job"),
        F.lit(scope).alias("scope"),
        F.lit(mark).cast("timestamp").alias("mark"),
        F.lit(datetime.now(UTC)).alias("moved_at"),
    )
    lake.append(TABLE, row)


def forget(lake: Lake, job: str) -> None:
    """Let every scope of a job start from the beginning at its next run."""
    for row in lake.read(TABLE).where(F.col("job") == job).select("scope").distinct().collect():
        move(lake, job, row["scope"], None)
