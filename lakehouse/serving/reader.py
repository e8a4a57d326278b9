"""Who answers a person's SQL: the published file where it has the tables that are asked for, else the lake itself.

The file is read-only and locked down, and answers without S3; each query sees the newest publish.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from lakehouse import sql_guard
from lakehouse.errors import ShoplakeError
from lakehouse.serving.file import BATCH_MINUTES, PUBLISHED, asked, open_with_moments
from lakehouse.settings import Settings
from lakehouse.sql import Result, SqlReader, answer, connect
from lakehouse.sql_names import explained
from lakehouse.watchdog import SECONDS


class ServingReader:
    """Reads the published file of one lake."""

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        """Each question may take `seconds`."""
        self._path, self._seconds = path, seconds

    def stream(self, sql: str) -> Result:
        """Run one reading statement.

        Raises UsageError for a statement that does more than read gold, ShoplakeError for one that fails.
        """
        sql_guard.check_reading(sql)
        with _plain_errors():
            connection = open_with_moments(self._path)
        return answer(connection, sql, self._seconds, _plain_errors)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of one reading statement, as dictionaries."""
        return list(self.stream(sql).dicts())


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise ShoplakeError(explained(error)) from None


def reader_for(settings: Settings, sql: str) -> ServingReader | None:
    """The serving file's reader when it can answer `sql`; None when nothing is published, or it names other tables."""
    path = settings.serving_file
    if not path.is_file():
        return None
    reading = sql_guard.check_reading(sql)
    if reading.listed is not None:
        return None
    published = {BATCH_MINUTES, *(row["table_name"] for row in asked(settings, f"SELECT table_name FROM {PUBLISHED}"))}  # noqa: S608 - the name is declared in this project
    return ServingReader(path) if published.issuperset(reading.tables) else None


class Answers:
    """Answers the statements of one command, which ends with it."""

    def __init__(self, settings: Settings, *, live: bool = False) -> None:
        """`live`: always ask the lake, whose reader is opened when it is needed and then stays open."""
        self._settings, self._live = settings, live
        self._lake: SqlReader | None = None
        self._is_told = False

    def stream(self, statement: str) -> Result:
        """Run one reading statement.

        Raises UsageError for a statement that does more than read, ShoplakeError for one that fails.
        """
        if not self._live and (published := reader_for(self._settings, statement)):
            result = published.stream(statement)
            return replace(result, rows=self._with_hint(result.rows, published))
        if not self._live and "gold." in statement.lower() and not self._settings.serving_file.is_file():
            self._tell_once("Nothing is published yet: asking the lake itself.")
        if self._lake is None:
            self._lake = connect(self._settings, seconds=SECONDS)
        return self._lake.stream(statement)

    def _with_hint(self, rows: Iterator[tuple[Any, ...]], published: ServingReader) -> Iterator[tuple[Any, ...]]:
        """The rows; where there are none, the reader hears how old the answer is: a job may just have written some."""
        first = next(rows, None)
        if first is None:
            newest = published.query(f"SELECT max(published_at) AS at FROM {PUBLISHED}")[0]["at"]  # noqa: S608 - declared in this project
            self._tell_once(f"No rows in what was published at {newest:%H:%M:%S} UTC; --live asks the lake itself.")
            return
        yield first
        yield from rows

    def _tell_once(self, sentence: str) -> None:
        if not self._is_told:
            print(sentence, file=sys.stderr)
        self._is_told = True
