"""SQL over the lake: DuckDB in this process, reading the Delta tables on S3. It never writes.

`connect` gives a reader for many queries, `query` answers one. Every query sees the newest
snapshot of the tables it names; only those are opened.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from lakehouse import probes, s3, sql_guard
from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from lakehouse.sql_names import VIEWS, explained, grains
from lakehouse.sql_text import quoted_name, quoted_text
from lakehouse.watchdog import Watchdog, spill_folder
from silver.views import SOURCE

if TYPE_CHECKING:
    import pyarrow as pa

EXTENSIONS = ("httpfs", "delta")
CHUNK, BATCH = 2048, 100_000
MEMORY_MB = 2048
NO_TABLE = ("No files in log segment", "NoSuchBucket", "404 Not Found")
REFUSED = ("403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch")


@dataclass(frozen=True)
class Result:
    """An answer while it streams: its columns are known, its rows are read once, chunk by chunk."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))


class SqlReader:
    """A reusable connection to one lake; each query sees the newest snapshot. May be shared by threads. Use as a
    context manager, or close it."""

    def __init__(
        self, settings: Settings, memory_mb: int = MEMORY_MB, seconds: float = math.inf, threads: int | None = None
    ) -> None:
        """Prepare DuckDB; S3 is not asked before the first query that names a table. What needs more memory goes to
        disk, what takes longer than `seconds` is ended. A lookup in many small files waits for S3 more than it works:
        more `threads` than cores make it faster."""
        self.settings, self._seconds = settings, seconds
        self._views: set[str] = set()
        self._keys: tuple[str, str, str] | None = None
        self._lock = threading.Lock()
        if settings.s3_is_embedded:
            _go_past_proxy("127.0.0.1")
        self._connection = _duckdb(settings, memory_mb, {} if threads is None else {"threads": threads})

    def __enter__(self) -> SqlReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of DuckDB."""
        self._connection.close()

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of one reading statement, as dictionaries of Python values (timestamps in UTC)."""
        return list(self.stream(sql).dicts())

    def stream(self, sql: str) -> Result:
        """Run one reading statement and hand out its rows as they come.

        Raises UsageError for a statement that does more than read, ShoplakeError for one that fails.
        """
        reading = sql_guard.check_reading(sql)
        if reading.listed is not None:
            return tables(reading.listed)
        names = list(grains()) if reading.asks_catalog else list(reading.tables)
        missing = self._attach(names, every=reading.asks_catalog)
        return self._run(sql, missing, retry=True)

    def arrow(self, sql: str) -> pa.Table:
        """All rows of a statement of this project's own making (not a user's: it is not looked at)."""
        cursor = self.cursor()
        with self._plain_errors([]):
            return cursor.execute(sql).to_arrow_table()

    def batches(self, sql: str) -> pa.RecordBatchReader:
        """`arrow`, in batches as they are read."""
        cursor = self.cursor()
        with self._plain_errors([]):
            return lasting(cursor, cursor.execute(sql).to_arrow_reader(BATCH))

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """For several statements of this project's own making, with temporary tables between them."""
        _probe(self.settings)
        with self._lock:
            self._refresh_secret()
            return self._connection.cursor()

    def address(self, full_name: str, file: str = "") -> str:
        """Where a table, or a file of it, is in S3."""
        layer, table = full_name.split(".", 1)
        return self._path(layer, table) + (f"/{file}" if file else "")

    def _run(self, sql: str, missing: list[str], *, retry: bool) -> Result:
        with self._lock:
            cursor = self._connection.cursor()
        try:
            return answer(cursor, sql, self._seconds, lambda: self._plain_errors(missing))
        except _SchemaChangedError:
            if not retry:
                raise
            self._attach(self._forget_views(), every=True)
            return self._run(sql, missing, retry=False)

    def _attach(self, names: list[str], *, every: bool) -> list[str]:
        """Make the views for `names`; returns those that are no table. `every`: skip what has no data yet."""
        if not names:
            return []
        _probe(self.settings)
        with self._lock:
            self._refresh_secret()
            missing = [name for name in names if not self._attach_one(name)]
        awaited = [] if every else [name for name in missing if name in grains()]
        if awaited:
            raise ShoplakeError(self._no_data(awaited[0]))
        return missing

    def _attach_one(self, name: str) -> bool:
        if name in self._views:
            return True
        view = VIEWS.get(name)
        if view and not self._attach_one(SOURCE):
            return False
        layer, table = name.split(".", 1)
        source = view.sql if view else f"SELECT * FROM delta_scan({quoted_text(self._path(layer, table))})"  # noqa: S608 - texts are quoted, names are ours
        try:
            self._connection.execute(f"CREATE OR REPLACE VIEW {quoted_name(layer)}.{quoted_name(table)} AS {source}")
        except duckdb.Error as error:
            if _means(error, NO_TABLE):
                return False
            raise ShoplakeError(self._explain(error, [])) from None
        self._views.add(name)
        return True

    def _forget_views(self) -> list[str]:
        with self._lock:
            forgotten = sorted(self._views)
            self._views.clear()
        return forgotten

    def _path(self, layer: str, table: str) -> str:
        return f"s3://{self.settings.bucket}/{layer}/{table}"

    def _refresh_secret(self) -> None:
        keys = s3.keys_now(self.settings)
        if keys != self._keys:
            self._connection.execute(s3.duckdb_secret(self.settings, keys))
            self._keys = keys

    @contextmanager
    def _plain_errors(self, missing: list[str]) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if "Contents of view were altered" in str(error):
                raise _SchemaChangedError(self._explain(error, missing)) from None
            raise ShoplakeError(self._explain(error, missing)) from None

    def _explain(self, error: duckdb.Error, missing: list[str]) -> str:
        if "ObjectStoreError" in str(error) or isinstance(error, duckdb.HTTPException):
            where = self.settings.endpoint or "AWS"
            if _means(error, REFUSED):
                return f"S3 at {where} refuses access to the bucket {self.settings.bucket}; check the AWS credentials."
            return (
                f"S3 at {where} failed while reading: {sql_guard.one_sentence(error)[len('The query fails: ') :][:300]}"
            )
        return explained(error, missing)

    def _no_data(self, name: str) -> str:
        view = VIEWS.get(name)
        if view:
            return f"{name} is a view of {SOURCE}, which holds no data yet; start the stream with `shoplake up`."
        layer, table = name.split(".", 1)
        where = self._path(layer, table)
        return f"{name} holds no data yet (nothing at {where}); start the stream with `shoplake up`, or run its job."


class _SchemaChangedError(ShoplakeError):
    """A table's columns changed since its view was made."""


def answer(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    seconds: float,
    plain_errors: Callable[[], AbstractContextManager[None]],
) -> Result:
    """Run a statement for at most `seconds` on a cursor, which is closed when its rows are read. `plain_errors` makes
    sentences of DuckDB's errors."""
    watchdog = Watchdog(cursor, seconds)

    def rows() -> Iterator[tuple[Any, ...]]:
        with closing(cursor):
            while True:
                with plain_errors(), watchdog.watching():
                    chunk = cursor.fetchmany(CHUNK)
                if not chunk:
                    return
                yield from chunk

    try:
        with plain_errors(), watchdog.watching():
            cursor.execute(sql)
    except BaseException:
        cursor.close()
        raise
    described = cursor.description or []
    return Result(distinct([str(column[0]) for column in described]), tuple(str(one[1]) for one in described), rows())


def lasting(cursor: duckdb.DuckDBPyConnection, found: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The answer of a cursor that lives until it is read: DuckDB would crash, asked for more by a closed one."""
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        yield from found
        cursor.close()

    return pa.RecordBatchReader.from_batches(found.schema, batches())


connect = SqlReader


def query(settings: Settings, sql: str) -> list[dict[str, Any]]:
    """The rows of one reading statement. For more than one query, `connect` once."""
    with connect(settings) as reader:
        return reader.query(sql)


def tables(layer: str = "") -> Result:
    """Every table and view with its grain, as `SHOW TABLES` answers."""
    rows = [(name, grain) for name, grain in grains().items() if name.startswith(layer)]
    return Result(("table", "one_row_is"), ("VARCHAR", "VARCHAR"), iter(rows))


def extension_file(name: str) -> Path:
    """The extension as its installed wheel carries it."""
    site = Path(duckdb.__file__).parent.parent
    file = Path(f"duckdb_extension_{name}/extensions/v{duckdb.__version__}/{name}.duckdb_extension")
    if not (site / file).is_file():
        raise ShoplakeError(
            f"DuckDB's extension {name} is missing: install duckdb-extension-{name}=={duckdb.__version__}."
        )
    return site / file


def _duckdb(settings: Settings, memory_mb: int, tuning: Mapping[str, int]) -> duckdb.DuckDBPyConnection:
    """A locked-down DuckDB: no downloads, no local files, nothing outside the bucket, time in UTC.

    The signature check would hash 100 MB at every start (0.2 to 0.6 s); the wheels' own sums were checked
    when they were installed, and no statement of a user can load anything.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_unsigned_extensions": "true",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": str(spill_folder(settings.serving_file)),
        **tuning,
    }
    trusting = s3.duckdb_statements(settings)
    connection = duckdb.connect(config=config)
    for name in EXTENSIONS:
        connection.execute(f"LOAD {quoted_text(str(extension_file(name)))}")
    for statement in trusting:
        connection.execute(statement)
    for layer in sql_guard.LAYERS:
        connection.execute(f"CREATE SCHEMA {quoted_name(layer)}")
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute(f"SET allowed_directories = [{quoted_text(f's3://{settings.bucket}/')}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _probe(settings: Settings) -> None:
    """Fail fast when nobody answers: the Delta reader itself would try for minutes."""
    try:
        probes.reach_s3(settings)
    except OSError as error:
        hint = "; is the platform running? `shoplake status` tells" if settings.s3_is_embedded else ""
        raise ShoplakeError(
            f"S3 does not answer at {s3.address(settings)} ({error.strerror or error}){hint}."
        ) from None


def _go_past_proxy(host: str) -> None:
    """Let the Delta reader, which obeys the proxy variables even for this machine, reach `host` directly."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [known for known in os.environ.get(name, "").split(",") if known]
        if host not in hosts:
            os.environ[name] = ",".join([*hosts, host])


def distinct(names: list[str]) -> tuple[str, ...]:
    """Column names with `_1`, `_2`, … where one comes again, so that no value hides another."""
    distinct: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in distinct:
            number += 1
            candidate = f"{name}_{number}"
        distinct.append(candidate)
    return tuple(distinct)


def _means(error: duckdb.Error, signs: tuple[str, ...]) -> bool:
    return any(sign in str(error) for sign in signs)
