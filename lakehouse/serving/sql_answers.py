"""Who answers a statement: the published file where it has the tables that are asked for, else the lake itself."""

from __future__ import annotations

import sys

from lakehouse.serving.reader import reader_for
from lakehouse.settings import Settings
from lakehouse.sql import Result, SqlReader, connect
from lakehouse.watchdog import SECONDS


class Answers:
    """Answers the statements of one command, which ends with it."""

    def __init__(self, settings: Settings, *, live: bool = False) -> None:
        """`live`: always ask the lake, whose reader is opened when it is needed and then stays open."""
        self._settings, self._live = settings, live
        self._lake: SqlReader | None = None

    def stream(self, statement: str) -> Result:
        """Run one reading statement.

        Raises UsageError for a statement that does more than read, ShoplakeError for one that fails.
        """
        if not self._live and (published := reader_for(self._settings, statement)):
            return published.stream(statement)
        if self._lake is None:
            if not self._live and "gold." in statement.lower() and not self._settings.serving_file.is_file():
                print("Nothing is published yet: asking the lake itself.", file=sys.stderr)
            self._lake = connect(self._settings, seconds=SECONDS)
        return self._lake.stream(statement)
