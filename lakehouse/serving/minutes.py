"""ops.batch_minutes in the serving file: what the stream's batches did, a minute a row, so that charts stay quick.

Batches come every second or two, and each has a row per partition in `ops.recent_batches`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from lakehouse.ops.batches import SERVED_DAYS

COLUMNS = (
    ("minute_start", "TIMESTAMP", "Minute of committed_at, UTC"),
    ("batches", "BIGINT", "Batches that were committed in it"),
    ("bronze", "BIGINT", "Records that they read"),
    ("silver", "BIGINT", "Records of these that were accepted"),
    ("duplicates", "BIGINT", "Records of these whose event was there before"),
    ("quarantined", "BIGINT", "Records of these that were refused"),
    ("unaccounted", "BIGINT", "Records of which the book does not say what became of them; must be 0"),
    ("offsets_without_record", "BIGINT", "Offsets at which there was no record: compaction, transactions, retention"),
    ("median_seconds", "DOUBLE", "From a batch's start to its commit, median"),
    ("slowest_seconds", "DOUBLE", "From a batch's start to its commit, longest"),
    ("rows", "BIGINT", "Rows of ops.recent_batches in it"),
)
_IS_TOLD = """
SELECT (SELECT coalesce(sum(rows), 0) FROM ops.batch_minutes)
     = (SELECT count(*) FROM ops.recent_batches WHERE committed_at >= ?)
"""
_TELL = """
INSERT INTO ops.batch_minutes BY NAME
WITH batches AS (
    SELECT max(committed_at) AS committed_at, date_diff('millisecond', min(started_at), max(committed_at)) AS took,
        sum(bronze_rows) AS bronze, sum(silver_rows) AS silver, sum(duplicate_rows) AS duplicates,
        sum(quarantined_rows) AS quarantined, sum(to_offset - from_offset) AS offsets, count(*) AS rows
    FROM ops.recent_batches
    WHERE committed_at >= ?
    GROUP BY batch_id)
SELECT date_trunc('minute', committed_at) AS minute_start, count(*) AS batches, sum(bronze) AS bronze,
    sum(silver) AS silver, sum(duplicates) AS duplicates, sum(quarantined) AS quarantined,
    sum(abs(bronze - silver - duplicates - quarantined)) AS unaccounted,
    sum(offsets - bronze) AS offsets_without_record, median(took) / 1000 AS median_seconds,
    max(took) / 1000 AS slowest_seconds, sum(rows) AS rows
FROM batches
GROUP BY ALL
ORDER BY minute_start
"""


def update(target: duckdb.DuckDBPyConnection) -> datetime | None:
    """Make the last minute anew; everything when that does not explain all rows of `ops.recent_batches`.

    When the newest batch was committed, None when nothing changed.
    """
    begin = datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0) - timedelta(days=SERVED_DAYS, minutes=-1)
    gone = _forget(target, "<", begin)
    if _is_told(target, begin):
        return _newest(target) if gone else None
    last = _one(target, "SELECT max(minute_start) FROM ops.batch_minutes")
    for since in (last or begin, begin):
        _forget(target, ">=", since)
        target.execute(_TELL, [since])
        if _is_told(target, begin):
            break
    return _newest(target)


def _forget(target: duckdb.DuckDBPyConnection, comparison: str, moment: datetime) -> bool:
    return bool(_one(target, f"DELETE FROM ops.batch_minutes WHERE minute_start {comparison} ?", moment))  # noqa: S608 - the comparison is given above


def _is_told(target: duckdb.DuckDBPyConnection, begin: datetime) -> bool:
    return bool(_one(target, _IS_TOLD, begin))


def _newest(target: duckdb.DuckDBPyConnection) -> datetime | None:
    newest: datetime | None = _one(target, "SELECT max(committed_at) FROM ops.recent_batches")
    return newest


def _one(target: duckdb.DuckDBPyConnection, sql: str, *given: datetime) -> Any:
    return target.execute(sql, list(given)).fetchall()[0][0]
