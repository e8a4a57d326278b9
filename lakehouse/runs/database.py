"""The registry's database: a SQLite file in WAL mode, with its tables brought up to date on start."""

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, create_engine, event, inspect
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
        self._file, self._threads = file, threading.Lock()
        url = URL.create("sqlite", database=str(file))
        self.engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=8, max_overflow=56)
        event.listen(self.engine, "connect", _set_up)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one moment. Raises RegistryAway when the database does not answer."""
        with _answered(), Session(self.engine) as session:
            session.connection().exec_driver_sql("BEGIN")
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed at the end; no other one writes meanwhile, in whatever process.

        Raises RegistryAway when the database does not answer.
        """
        with _answered(), self._turn(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            # One that reads first and writes later would fail when another wrote meanwhile: writers say so at once.
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Writers, of all threads and processes, wait here for their turn.

        SQLite by itself would let them sleep and try again: slower by far, and a worker that wants to show that it
        lives could be kept out for seconds by callers that come one after the other. So it would by the many threads of
        another process, if each of them waited for the file.
        """
        with self._threads, self._file.with_name(f"{self._file.name}-turn").open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # let go when the file is closed
            yield

    def migrate(self) -> None:
        """Make the file and bring its tables up to date. Of several processes one does, and the others wait."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._turn():
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


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where they are opened, not where the driver thinks
    connection.execute("PRAGMA journal_mode=WAL").close()
    connection.execute("PRAGMA foreign_keys=ON").close()


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
