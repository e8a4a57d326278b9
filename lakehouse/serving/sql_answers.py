"""Who answers a statement: the published file where it has the tables that are asked for, else the lake itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lakehouse.serving.file import PUBLISHED
from lakehouse.serving.reader import ServingReader, reader_for
from lakehouse.settings import Settings
from lakehouse.sql import Result, SqlReader, connect
from lakehouse.watchdog import SECONDS


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
