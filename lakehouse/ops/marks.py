"""ops.marks: how far a job has come, moved only when a run has succeeded."""

from datetime import UTC, datetime

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
    writer="delta-rs",
    served=False,
)


def current(lake: Lake, job: str, scope: str) -> datetime | None:
    """The mark of a job, UTC, or None when it has to start from the beginning."""
    return _newest(lake, job).get(scope)


def of_job(lake: Lake, job: str) -> dict[str, datetime]:
    """The marks of a job by scope, UTC, of the scopes that have one."""
    return {scope: mark for scope, mark in _newest(lake, job).items() if mark is not None}


def _newest(lake: Lake, job: str) -> dict[str, datetime | None]:
    moves = [row for row in lake.small.read(TABLE).to_pylist() if row["job"] == job]
    return {row["scope"]: row["mark"] for row in sorted(moves, key=lambda row: row["moved_at"])}


def move(lake: Lake, job: str, scope: str, mark: datetime | None) -> None:
    """Set the mark of a job; a moment without a zone is UTC."""
    at = mark.replace(tzinfo=mark.tzinfo or UTC) if mark else None
    lake.append_rows(TABLE, [(job, scope, at, datetime.now(UTC))])


def forget(lake: Lake, job: str) -> None:
    """Let every scope of a job start from the beginning at its next run."""
    for scope in of_job(lake, job):
        move(lake, job, scope, None)
