"""The newest publish, kept open for a process that asks often: opening the file costs more than a question."""

import os
import threading
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.errors import ShoplakeError
from lakehouse.serving.file import PUBLISHED, names_in, open_serving
from lakehouse.watchdog import Watchdog

_TABLES = f"""
SELECT table_name, delta_version, published_at::TIMESTAMPTZ, newest_data_at::TIMESTAMPTZ, blocked_by,
    coalesce(held_rows, 0) FROM {PUBLISHED}
"""  # noqa: S608 - the name is declared in this project

_FOR_PAGES: dict[str, str | bool | int | float | list[str]] = {"late_materialization_max_rows": 0, "threads": 1}
"""A page is some rows of a short range: looking them up a second time, to read fewer columns of the others, costs more
than it saves, and so does a second thread."""


SECONDS = 20.0
"""A question over HTTP takes milliseconds; one that takes so long holds a thread that others wait for."""


class NothingPublishedError(ShoplakeError):
    """There is no published file, or it lacks what is asked for; a publish mends it."""


@dataclass(frozen=True)
class PublishedTable:
    """What `_published` says about a table. Moments are UTC; `blocked_by` are the expectations that hold it back;
    where others hold back some of its rows, these are `held_rows`."""

    delta_version: int | None
    published_at: datetime
    newest_data_at: datetime | None
    blocked_by: tuple[str, ...]
    held_rows: int = 0


class Publish:
    """One publish, open read-only and locked down. It never changes, and may be shared by threads."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Reads what is in it; duckdb.Error when it is no published file."""
        self._connection, self._lock = connection, threading.Lock()
        self._newest: dict[tuple[str, str], Any] = {}
        self._tables = {
            name: PublishedTable(version, published, newest, tuple(names_in(blocked)), held)
            for name, version, published, newest, blocked, held in connection.execute(_TABLES).fetchall()
        }

    def has(self, name: str) -> bool:
        """Whether a table is in it."""
        return name in self._tables

    def table(self, name: str) -> PublishedTable:
        """What was published of a table. Raises NothingPublishedError."""
        if name not in self._tables:
            raise NothingPublishedError(f"{name} is not published yet.")
        return self._tables[name]

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement of this project's own making, with `values` bound to its question marks.

        Raises NothingPublishedError when the file, of another version, lacks a table or column.
        """
        with self._lock:
            cursor = self._connection.cursor()
        with closing(cursor):
            try:
                with Watchdog(cursor, SECONDS).watching():
                    return cursor.execute(statement, values).fetchall()
            except (duckdb.CatalogException, duckdb.BinderException):
                raise NothingPublishedError("What is published was made by another version.") from None

    def newest(self, table: str, column: str) -> Any:
        """The largest value of a declared column, looked up once; None when there is no row."""
        key = (table, column)
        if key not in self._newest:
            self._newest[key] = self.rows(f"SELECT max({column}) FROM {table}")[0][0]  # noqa: S608 - the names are declared in this project
        return self._newest[key]


def open_publish(path: Path) -> Publish | None:
    """What is published, for a few questions; None while nothing is."""
    try:
        return Publish(open_serving(path))
    except duckdb.Error:
        return None


def rows_of(
    publish: Publish | None, table: str, columns: Sequence[str], where: str, values: Sequence[object]
) -> list[dict[str, Any]]:
    """Rows of a published table, each with when that was published; none of one that is not."""
    if publish is None or not publish.has(table):
        return []
    found = publish.rows(f"SELECT {', '.join(columns)} FROM {table} WHERE {where}", values)  # noqa: S608 - the names are declared in this project
    published_at = publish.table(table).published_at
    return [dict(zip(columns, row, strict=True), published_at=published_at) for row in found]


class NewestPublish:
    """Hands out the newest publish of a lake. A new file is opened beside the old one, so that nobody waits for it."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._kept: tuple[tuple[int, int], Publish] | None = None

    def opened(self) -> Publish | None:
        """The newest publish when it is open already; never waits."""
        kept = self._kept
        try:
            return kept[1] if kept is not None and kept[0] == _mark(self._path) else None
        except OSError:
            return None

    def get(self) -> Publish:
        """The newest publish, or for the moment in which another thread opens it, the one before.

        Raises NothingPublishedError.
        """
        if (newest := self.opened()) is not None:
            return newest
        kept = self._kept
        try:
            if self._lock.acquire(blocking=kept is None):
                try:
                    self._kept = kept = self._opened()
                finally:
                    self._lock.release()
        except (OSError, duckdb.Error):
            kept = None
        if kept is None:
            raise NothingPublishedError("Nothing is published yet.")
        return kept[1]

    def _opened(self) -> tuple[tuple[int, int], Publish]:
        """The file under a name of its own: DuckDB would hand out the open old file again for the same name."""
        if self._kept is not None and self._kept[0] == _mark(self._path):
            return self._kept
        own = self._path.with_name(f".{uuid.uuid4().hex}.reading")
        os.link(self._path, own)
        try:
            # The old publish is closed when its last question is answered and nobody holds it any more.
            return _mark(own), Publish(open_serving(own, _FOR_PAGES))
        finally:
            own.unlink()


def _mark(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
