"""A run's work inside Spark: the session of an attempt, its end from outside, and what it has written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pyspark.sql import Row, SparkSession

from lakehouse.lake import Lake
from lakehouse.runs.news import News
from lakehouse.session import SparkAway, commit_mark, connect, is_reachable, mark_commits
from lakehouse.settings import Settings
from lakehouse.table import Table

if TYPE_CHECKING:
    from pyspark.sql.connect.shell.progress import ProgressHandler

_PAGE, _LARGEST_PAGE = 20, 2_000


def open_session(settings: Settings, session_id: str, run_id: str, news: News) -> SparkSession:
    """The session of an attempt. Every commit to a Delta table carries the run's id. Raises SparkAway."""
    spark = connect(settings, session_id)
    mark_commits(spark, run_id)
    spark.registerProgressHandler(cast("ProgressHandler", news.spark_progress))
    return spark


def end_session(settings: Settings, session_id: str) -> list[str]:
    """Interrupt everything in a session and close it, so that nobody can use it again, whoever still holds it.

    Returns the interrupted operations. A server that does not answer has taken its sessions with it.
    """
    if not is_reachable(settings):
        return []
    try:
        spark = connect(settings, session_id, patience=2)
    except SparkAway:  # closed already, or gone meanwhile
        return []
    try:
        return list(spark.interruptAll())
    finally:
        spark.stop()


def written(lake: Lake, tables: Iterable[Table], run_id: str, since: datetime) -> dict[str, dict[str, Any]]:
    """Per table that the run has committed to since then: its Delta versions, oldest first, and rows written."""
    found = {}
    for table in tables:
        commits = [row for row in _history(lake, table, since) if row["userMetadata"] == commit_mark(run_id)]
        if commits:
            rows = sum(int((row["operationMetrics"] or {}).get("numOutputRows", 0)) for row in commits)
            found[table.full_name] = {"versions": sorted(row["version"] for row in commits), "rows": rows}
    return found


def _history(lake: Lake, table: Table, since: datetime) -> list[Row]:
    """The newest commits, as many as reach back to `since`: the stream may have made many meanwhile."""
    page = _PAGE
    while True:
        history = lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.path(table)}` LIMIT {page}")
        rows = history.select("version", "timestamp", "userMetadata", "operationMetrics").collect()
        reaches_back = len(rows) < page or rows[-1]["timestamp"].timestamp() < since.timestamp()
        if reaches_back or page >= _LARGEST_PAGE:
            return rows
        page *= 10
