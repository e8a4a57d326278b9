"""The registry's database: SQLite in WAL mode or PostgreSQL, with its tables brought up to date on start."""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

import psycopg
from sqlalchemy import Connection, CursorResult, Dialect, Engine, Update, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from lakehouse.errors import ShoplakeError

_BUSY_SECONDS = 30
_LOCK_NUMBER = 0x5109_1A4E
_AWAY = (sqlite3.OperationalError, psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
_MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = max(file.name for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))[:4]
"""The revision of the newest migration: its file's number."""


def rows_changed(session: Session, change: Update) -> int:
    """Carry out an update; how many rows it changed."""
    return cast(CursorResult[Any], session.execute(change)).rowcount


def _ask_again(engine: Engine, secret: str) -> None:
    """A new connection that is refused is tried once more, with the password that the secret has now."""
    newest: dict[str, str] = {}

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, _record: object, arguments: list[Any], named: dict[str, Any]) -> Any:
        named |= newest
        try:
            return dialect.connect(*arguments, **named)
        except psycopg.OperationalError:
            newest.update(_login(secret))
            if newest.items() <= named.items():
                raise
            return dialect.connect(*arguments, **{**named, **newest})


def _login(secret: str) -> dict[str, str]:
    """User and password as the secret has them now; nothing when it cannot be read."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = boto3.client("secretsmanager", region_name=secret.split(":")[3])
        found = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])
        return {"user": found["username"], "password": found["password"]}
    except (BotoCoreError, ClientError, ValueError, KeyError, IndexError):
        return {}


class RegistryAway(ShoplakeError):
    """The database does not answer; nothing was changed. Trying again is right."""


class Database:
    """Transactions of one process with the registry's database; safe for many threads."""

    def __init__(self, url: str, secret: str | None = None) -> None:
        """No connection is opened yet; a SQLite file that is not there is created. `secret` is the ARN of what tells
        PostgreSQL's password when that in `url` is refused."""
        self._turn: AbstractContextManager[None] = nullcontext()
        self._watch: _Watch | None = None
        if make_url(url).get_backend_name() == "sqlite":
            file = Path(make_url(url).database or "")
            self._turn = turn = _Turn(file)
            self._watch = _Watch(file)
            self.engine = _sqlite(url, turn)
        else:
            self.engine = create_engine(url, pool_pre_ping=True, pool_size=8)
            if secret:
                _ask_again(self.engine, secret)
        self._writing = self.engine.execution_options(is_writing=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one moment. Raises RegistryAway when the database does not answer."""
        with _answered(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[Session]:
        """A transaction that is committed at the end. `alone`: no other such transaction runs meanwhile, anywhere.

        With SQLite every writer is alone. Raises RegistryAway when the database does not answer.
        """
        with _answered(), self._turn, Session(self._writing, expire_on_commit=False) as session, session.begin():
            if alone:
                _be_alone(session.connection())
            yield session

    def migrate(self) -> None:
        """Bring the tables up to date. Several processes may do so at once: one does, the others wait."""
        if self._is_up_to_date():
            return
        from alembic import command  # as long to import as the database itself, and needed once
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with _answered(), self._turn, self._writing.begin() as connection:
            _be_alone(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _is_up_to_date(self) -> bool:
        with _answered(), self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return False
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [NEWEST]

    def mark(self) -> object:
        """Differs from an earlier one when anything was committed since, by whatever process; costs microseconds.

        PostgreSQL cannot tell that cheaply: its mark differs each second. Raises RegistryAway.
        """
        return self._watch.version() if self._watch else int(time.monotonic())

    def close(self) -> None:
        """Close the connections."""
        if self._watch:
            self._watch.close()
        self.engine.dispose()


class _Watch:
    """A connection to a SQLite file that only asks whether others have committed."""

    def __init__(self, database: Path) -> None:
        self._path, self._lock = database, threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def version(self) -> int:
        with self._lock:
            try:
                if self._connection is None:
                    address = f"{self._path.absolute().as_uri()}?mode=rw"
                    self._connection = sqlite3.connect(address, uri=True, timeout=1, check_same_thread=False)
                ((version,),) = self._connection.execute("PRAGMA data_version").fetchall()
                return int(version)
            except sqlite3.Error as error:
                raise RegistryAway(f"The run registry's database does not answer ({error}).") from error

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None


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


def _create(path: Path, turn: _Turn) -> None:
    """An empty database in WAL mode, there for others all at once.

    Of several processes that each switch a new file to WAL, SQLite refuses all but one at once, whatever its timeout.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with turn:
        if path.exists() and path.stat().st_size > 0:
            return
        new = path.with_name(f"{path.name}-new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)  # it holds the keys that sign tokens; SQLite gives its other files the same mode
        with closing(sqlite3.connect(new)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("VACUUM")  # writes the first page, and with it the mode
        new.rename(path)


def _sqlite(url: str, turn: _Turn) -> Engine:
    path = Path(make_url(url).database or "")
    if path.name not in ("", ":memory:") and not (path.exists() and path.stat().st_size > 0):
        _create(path, turn)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=8, max_overflow=56)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver thinks
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", f"busy_timeout={_BUSY_SECONDS * 1000}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails when another wrote meanwhile: writers say so at once.
        is_writing = connection.get_execution_options().get("is_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _be_alone(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, _AWAY):
            raise
        reason = " ".join(str(cause).split())[:200]
        raise RegistryAway(f"The run registry's database does not answer ({reason}).") from error
