"""Where the serving file is and how it is opened: read-only, and so that a query reaches nothing outside it."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from lakehouse.sql_text import quoted_text
from lakehouse.watchdog import spill_folder

PUBLISHED = "_published"
BATCH_MINUTES = "ops.batch_minutes"
BATCH_MINUTES_VIEW = """
CREATE OR REPLACE VIEW ops.batch_minutes AS
SELECT date_trunc('minute', committed_at) AS minute_start, count(*) AS batches, sum(bronze_rows) AS bronze,
    sum(silver_rows) AS silver, sum(duplicate_rows) AS duplicates, sum(quarantined_rows) AS quarantined,
    sum(unaccounted) AS unaccounted, sum(offsets - bronze_rows) AS offsets_without_record,
    median(date_diff('millisecond', started_at, committed_at)) / 1000 AS median_seconds,
    max(date_diff('millisecond', started_at, committed_at)) / 1000 AS slowest_seconds
FROM ops.recent_batches GROUP BY ALL
"""
"""What the stream's batches did, a minute a row."""
_BETWEEN_NAMES = "; "
LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "memory_limit": "512MB",
    "max_temp_directory_size": "4GB",
    "threads": 2,
}
"""How readers open the file: no file, no network, no extension, and no more of the disk than that. Superset opens it
the same, and locks it too."""
_ACCESS = "enable_external_access"
_VIEWS = """
SELECT format('CREATE SCHEMA IF NOT EXISTS "{0}"; CREATE VIEW "{0}"."{1}" AS SELECT *{2} FROM published."{0}"."{1}"',
    schema_name, table_name, coalesce(' REPLACE (' || string_agg(
        format('"{0}" AT TIME ZONE ''UTC'' AS "{0}"', column_name), ', ')
        FILTER (data_type = 'TIMESTAMP') || ')', ''))
FROM duckdb_columns() WHERE database_name = 'published' AND NOT internal GROUP BY schema_name, table_name
"""
_opening = threading.Lock()


def open_serving(
    path: Path, tuning: Mapping[str, str | bool | int | float | list[str]] | None = None
) -> duckdb.DuckDBPyConnection:
    """A locked-down connection to the published file, with settings for speed; duckdb.Error when there is none."""
    with _opening:
        spilled = {"temp_directory": str(spill_folder(path, path.name))}
        connection = duckdb.connect(str(path), read_only=True, config={**LOCKED, **spilled, **(tuning or {})})
        # Connections of one process to one file share a database: a later one finds it configured, and locked.
        if not rows_of(connection, "SELECT current_setting('lock_configuration') AS is_locked")[0]["is_locked"]:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            connection.execute("SET lock_configuration = true")
        return connection


def open_with_moments(path: Path) -> duckdb.DuckDBPyConnection:
    """As `open_serving`, for a person's SQL: the file's moments, kept as UTC without a zone, are moments here, as in
    the lake. So a time without a zone in an answer is one that the query made."""
    config = {name: value for name, value in LOCKED.items() if name != _ACCESS}
    connection = duckdb.connect(config={**config, "temp_directory": str(spill_folder(path))})
    try:
        connection.execute(f"ATTACH {quoted_text(str(path))} AS published (READ_ONLY)")
        for (statement,) in connection.execute(_VIEWS).fetchall():
            connection.execute(statement)
    except duckdb.Error:
        connection.close()
        raise
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute(f"SET {_ACCESS} = false")
    connection.execute("SET lock_configuration = true")
    return connection


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """The rows of a statement as dictionaries."""
    found = connection.execute(sql)
    names = [str(column[0]) for column in found.description or []]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def as_text(names: Iterable[str]) -> str:
    """Ids of expectations as `_published` keeps them."""
    return _BETWEEN_NAMES.join(names)


def names_in(text: str | None) -> list[str]:
    """The ids of expectations in a text of `_published`."""
    return text.split(_BETWEEN_NAMES) if text else []


def asked(settings: Settings, sql: str) -> list[dict[str, Any]]:
    """The rows of a statement of this project's own; raises ShoplakeError when nothing is published."""
    try:
        with open_serving(settings.serving_file) as connection:
            return rows_of(connection, sql)
    except duckdb.Error:
        raise ShoplakeError("Nothing is published yet; `shoplake up` publishes gold.") from None


def published(settings: Settings) -> list[dict[str, Any]]:
    """What is published, as rows of `_published`; raises ShoplakeError when nothing is."""
    return asked(settings, f"FROM {PUBLISHED} ORDER BY table_name")
