"""A run's work inside Spark: the session of an attempt, and what it has written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pyspark.sql import SparkSession

from lakehouse.lake import Lake
from lakehouse.runs.news import News
from lakehouse.session import commit_mark, connect, mark_commits
from lakehouse.settings import Settings
from lakehouse.table import Table

if TYPE_CHECKING:
    from pyspark.sql.connect.shell.progress import ProgressHandler


def open_session(settings: Settings, session_id: str, run_id: str, news: News) -> SparkSession:
    """The session of an attempt. Every commit to a Delta table carries the run's id. Raises SparkAway."""
    spark = connect(settings, session_id)
    mark_commits(spark, run_id)
    spark.registerProgressHandler(cast("ProgressHandler", news.spark_progress))
    return spark


def written(lake: Lake, tables: Iterable[Table], run_id: str, since: datetime) -> dict[str, dict[str, Any]]:
    """Per table that the run has committed to since then: its Delta versions, oldest first, and rows written."""
    found = {}
    for table in tables:
        commits = [commit for commit in lake.history(table, since) if commit.mark == commit_mark(run_id)]
        if commits:
            versions = sorted(commit.version for commit in commits)
            found[table.full_name] = {"versions": versions, "rows": sum(commit.rows for commit in commits)}
    return found
