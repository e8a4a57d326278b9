"""SQL over the serving file: read-only, locked down, answers without S3; each query sees the newest publish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from lakehouse import sql_guard
from lakehouse.errors import ShoplakeError
from lakehouse.serving import minutes
from lakehouse.serving.file import PUBLISHED, open_with_moments
from lakehouse.settings import Settings
from lakehouse.sql import CHUNK, Result, distinct
from lakehouse.sql_names import explained
from lakehouse.watchdog import SECONDS, Watchdog


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
        connection = None
        try:
            connection = open_with_moments(self._path)
            watchdog = Watchdog(connection, self._seconds)
            with watchdog.watching():
                connection.execute(sql)
        except (duckdb.Error, ShoplakeError) as error:
            if connection is not None:
                connection.close()
            raise _plain(error) from None
        described = connection.description or []
        columns = distinct([str(column[0]) for column in described])
        return Result(columns, tuple(str(column[1]) for column in described), _rows(connection, watchdog))

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of one reading statement, as dictionaries."""
        return list(self.stream(sql).dicts())

    def tables(self) -> set[str]:
        """The names of what can be asked for."""
        rows = self.query(f"SELECT table_name FROM {PUBLISHED}")  # noqa: S608 - the names are declared in this project
        return {minutes.NAME, *(str(row["table_name"]) for row in rows)}


def reader_for(settings: Settings, sql: str) -> ServingReader | None:
    """The serving file's reader when it can answer `sql`; None when nothing is published, or it names other tables."""
    path = settings.serving_file
    if not path.is_file():
        return None
    pieces = sql_guard.tokens(sql)
    if sql_guard.listed_layer(pieces) is not None:
        return None
    reader = ServingReader(path)
    is_known = set(sql_guard.named_tables(pieces)) <= reader.tables()
    return reader if is_known else None


def _rows(connection: duckdb.DuckDBPyConnection, watchdog: Watchdog) -> Iterator[tuple[Any, ...]]:
    try:
        while True:
            with watchdog.watching():
                chunk = connection.fetchmany(CHUNK)
            if not chunk:
                return
            yield from chunk
    except duckdb.Error as error:
        raise _plain(error) from None
    finally:
        connection.close()


def _plain(error: duckdb.Error | ShoplakeError) -> ShoplakeError:
    return error if isinstance(error, ShoplakeError) else ShoplakeError(explained(error))
