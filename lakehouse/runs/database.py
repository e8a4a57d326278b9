"""The registry's database: a SQLite file in WAL mode, with its tables brought up to date on start."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from lakehouse.errors import ShoplakeError
from lakehouse.runs.models import Base, Run

_BUSY_SECONDS = 30
_STEPS = (
    "DROP TABLE IF EXISTS signing_keys",
    "DROP TABLE IF EXISTS alert_notices",
    "ALTER TABLE alerts ADD COLUMN told JSON NOT NULL DEFAULT '{}'",
    "ALTER TABLE runs DROP COLUMN version",
    "DROP TABLE IF EXISTS table_locks",
)
"""Statements that bring a file of an older release up to date, in their order; its `user_version` counts those that it
has had. A new table needs none."""


class RegistryAway(ShoplakeError):
    """The database does not answer; nothing was changed. Trying again is right."""


class Database:
    """Transactions of one process with the registry's database; safe for many threads."""

    def __init__(self, file: Path) -> None:
        """Connects on first use."""
        self._file, self._turn = file, _Turn(file)
        self.engine = _sqlite(file)
        self._writing = self.engine.execution_options(is_writing=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one moment. Raises RegistryAway when the database does not answer."""
        with _answered(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed at the end; no other one writes meanwhile, in whatever process.

        Raises RegistryAway when the database does not answer.
        """
        with _answered(), self._turn, Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """Make the file and bring its tables up to date. Of several processes one does, and the others wait."""
        with self._turn:
            self._file.touch(mode=0o600)  # it holds what callers asked for; SQLite gives its other files the same mode
            # A first connection switches a new file to WAL, which SQLite refuses to all processes but one at a time.
            with self.reading() as session:
                is_done = _version(session) == len(_STEPS)
        if is_done:
            return
        with self.writing() as session:
            connection = session.connection()
            steps = _STEPS[_version(session) :] if inspect(connection).has_table(Run.__tablename__) else ()
            Base.metadata.create_all(connection)
            for statement in (*steps, f"PRAGMA user_version = {len(_STEPS)}"):
                connection.exec_driver_sql(statement)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _version(session: Session) -> int:
    return int(session.connection().exec_driver_sql("PRAGMA user_version").scalar_one())


class _Turn:
    """Writers to a SQLite file, of all threads and processes, wait here for their turn.

    SQLite by itself would let them sleep and try again: slower by far, and a worker that wants to show that it lives
    could be kept out for seconds by callers that come one after the other.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-turn")
        self._threads = threading.Lock()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


def _sqlite(path: Path) -> Engine:
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=8, max_overflow=56)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver thinks
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA foreign_keys=ON").close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails when another wrote meanwhile: writers say so at once.
        is_writing = connection.get_execution_options().get("is_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, sqlite3.OperationalError | PoolTimeout):
            raise
        reason = " ".join(str(cause).split())[:200]
        raise RegistryAway(f"The run registry's database does not answer ({reason}).") from error
