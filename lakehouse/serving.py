"""The serving file: small tables of the lake in one DuckDB file that readers open read-only.

A publish is made aside, as a copy of the last one in which only what changed is replaced, and then takes the file's
place in one step: a reader has the old publish or the new one, never half, and holds up no writer. The old file's
blocks are given back by the system when its last reader closes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lakehouse.delta_log import Changes, DeltaLog
from lakehouse.serving_file import PUBLISHED, open_serving
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, quoted_name, quoted_text
from lakehouse.table import Table

BATCH_DAYS = 2
"""`ops.batches` grows by thousands of rows an hour; dashboards look at the last two days, `ops.recent_batches`."""

_TYPES = {"string": "VARCHAR", "timestamp": "TIMESTAMP", "array<string>": "VARCHAR[]"}
_NEWEST = (
    "as_of",
    "detected_at",
    "updated_at",
    "computed_at",
    "committed_at",
    "moved_at",
    "quarantined_at",
    "newest_at",
)


@dataclass(frozen=True)
class Source:
    """A table of the serving file and how it comes from its Delta table.

    `select` has the place {scan}; `keep` is a condition on the rows that stay.
    """

    name: str
    delta: Table
    columns: tuple[tuple[str, str, str], ...]
    comment: str
    select: str = "SELECT * FROM {scan}"
    keep: str = ""

    @property
    def newest(self) -> str | None:
        """The column that tells how new the data is."""
        names = [name for name, _, _ in self.columns]
        return next((name for name in _NEWEST if name in names), None)


def sources() -> list[Source]:
    """Every table of the serving file: gold without users' days, the books of operation, a summary of quarantine."""
    from lakehouse.catalog import TABLES

    chosen = [table for table in TABLES if table.layer in ("gold", "ops") and table.name not in ("user_days", "marks")]
    return [*(_recent_batches(table) if table.name == "batches" else _whole(table) for table in chosen), _quarantine()]


def _whole(table: Table) -> Source:
    columns = tuple((one.name, _type(one.dataType.simpleString()), one.metadata["comment"]) for one in table.schema)
    return Source(table.full_name, table, columns, table.grain)


def _recent_batches(table: Table) -> Source:
    condition = f"committed_at >= now() - INTERVAL {BATCH_DAYS} DAY"
    return replace(_whole(table), name="ops.recent_batches", keep=condition)


def _quarantine() -> Source:
    from silver import quarantine

    columns = (
        ("ingest_date", "DATE", "Day of quarantined_at, UTC"),
        ("hour_start", "TIMESTAMP", "Clock hour of quarantined_at, UTC"),
        ("topic", "VARCHAR", "Kafka topic"),
        ("reason_code", "VARCHAR", "Stable code, see the data dictionary"),
        ("status", "VARCHAR", "open or resolved"),
        ("records", "BIGINT", "Refused records"),
        ("example", "VARCHAR", "What exactly was wrong with one of them"),
        ("newest_at", "TIMESTAMP", "When the newest of them was refused, UTC"),
    )
    select = (
        "SELECT ingest_date, date_trunc('hour', quarantined_at) AS hour_start, topic, reason_code, status,"
        " count(*) AS records, min(reason_detail) AS example, max(quarantined_at) AS newest_at FROM {scan} GROUP BY ALL"
    )
    return Source("ops.quarantine_hourly", quarantine.TABLE, columns, "refused records of an hour by reason", select)


def _type(spark_type: str) -> str:
    return _TYPES.get(spark_type, spark_type.upper())


class Publisher:
    """Makes publishes of one lake. One process at a time: the supervisor's `publisher`."""

    def __init__(
        self,
        settings: Settings,
        reader: SqlReader,
        log: DeltaLog,
        blocked: Callable[[], dict[str, list[str]]] = dict,
    ) -> None:
        """`blocked` tells which tables must keep their last good version, with the expectations that fail."""
        self._settings, self._reader, self._log, self._blocked = settings, reader, log, blocked
        self._path = settings.serving_file
        self._sources = sources()

    def publish(self) -> list[str]:
        """Publish what changed since the last publish; names of the tables that changed or came to be blocked.

        The first one makes a table for everything, empty where the lake has nothing yet.
        """
        known = self._known()
        heads = {source.name: self._log.version(source.delta) for source in self._sources}
        is_behind = [
            source
            for source in self._sources
            if source.name not in known or heads[source.name] != known[source.name][0] or known[source.name][1]
        ]
        if not is_behind:
            return []
        blocked = self._blocked()
        changed = [source for source in self._sources if _differs(source, known, heads, _why(blocked, source))]
        if not changed:
            return []
        aside = self._path.with_suffix(".aside")
        self._begin(aside, is_new=not known)
        with duckdb.connect(str(aside)) as target:
            # The lake's moments are stored as plain UTC timestamps, which every tool shows alike.
            target.execute("SET TimeZone = 'UTC'")
            target.execute(_CREATE_PUBLISHED)
            for source in changed:
                version = known.get(source.name, (None, ""))[0]
                self._publish_one(target, source, version, heads[source.name], _why(blocked, source))
            target.execute("CHECKPOINT")
        # Readers of the old file keep it; whoever opens from now on gets this one.
        aside.replace(self._path)
        return [source.name for source in changed]

    def _known(self) -> dict[str, tuple[int | None, str]]:
        """Delta version and blocking text per published table; empty when there is no file that can be built upon."""
        try:
            with open_serving(self._path) as connection:
                rows = connection.execute(f"SELECT table_name, delta_version, blocked_by FROM {PUBLISHED}").fetchall()  # noqa: S608 - the names are declared in this project
                tables = {
                    name: tuple((column, kind) for column, kind in columns)
                    for name, columns in connection.execute(_COLUMNS).fetchall()
                }
        except duckdb.Error:
            return {}
        if any(tables.get(source.name) != _shape(source) for source in self._sources):
            return {}
        return {name: (version, why) for name, version, why in rows}

    def _begin(self, aside: Path, *, is_new: bool) -> None:
        aside.parent.mkdir(parents=True, exist_ok=True)
        for left in (aside, aside.with_name(aside.name + ".wal")):
            left.unlink(missing_ok=True)
        if not is_new:
            shutil.copyfile(self._path, aside)
            return
        with duckdb.connect(str(aside)) as target:
            for schema in ("gold", "ops"):
                target.execute(f"CREATE SCHEMA {schema}")
            for source in self._sources:
                columns = ", ".join(f"{quoted_name(name)} {kind}" for name, kind, _ in source.columns)
                target.execute(f"CREATE TABLE {source.name} ({columns})")
                target.execute(f"COMMENT ON TABLE {source.name} IS {quoted_text('One row is ' + source.comment)}")
                for name, _, comment in source.columns:
                    column = f"{source.name}.{quoted_name(name)}"
                    target.execute(f"COMMENT ON COLUMN {column} IS {quoted_text(comment)}")

    def _publish_one(
        self, target: duckdb.DuckDBPyConnection, source: Source, old: int | None, new: int | None, why: str
    ) -> None:
        target.execute("BEGIN")
        if why or new is None:
            new = old
        else:
            self._refresh(target, source, old, new)
        newest = f"(SELECT max({source.newest}) FROM {source.name})" if source.newest else "NULL"  # noqa: S608 - the names are declared in this project
        target.execute(f"DELETE FROM {PUBLISHED} WHERE table_name = ?", [source.name])  # noqa: S608 - the names are declared in this project
        target.execute(
            f"INSERT INTO {PUBLISHED} SELECT ?, ?, (SELECT count(*) FROM {source.name}), ?, {newest}, ?",  # noqa: S608 - the names are declared in this project
            [source.name, new, datetime.now(UTC), why],
        )
        target.execute("COMMIT")

    def _refresh(self, target: duckdb.DuckDBPyConnection, source: Source, old: int | None, new: int) -> None:
        """Bring a table from version `old` to `new`: by its changed partitions where it has any, else whole."""
        changes = self._log.changes(source.delta, old, new) if old is not None else Changes.unknown()
        if changes.is_nothing:
            return
        conditions = [condition for condition in (changes.condition, source.keep) if condition]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        if changes.only_added:
            files = ", ".join(quoted_text(self._reader.address(source.delta.full_name, file)) for file in changes.files)
            scan = f"(SELECT * FROM read_parquet([{files}], union_by_name = true){where})"  # noqa: S608 - the names are declared in this project
        else:
            address = quoted_text(self._reader.address(source.delta.full_name))
            scan = f"(SELECT * FROM delta_scan({address}, version => {new}){where})"  # noqa: S608 - the names are declared in this project
            target.execute(f"DELETE FROM {source.name}" + (f" WHERE {changes.condition}" if changes.condition else ""))  # noqa: S608 - the names are declared in this project
        rows = self._reader.arrow(source.select.format(scan=scan))
        names = [name for name, _, _ in source.columns if name in rows.column_names]
        if rows.num_rows:
            listed = ", ".join(map(quoted_name, names))
            target.register("incoming", rows)
            target.execute(f"INSERT INTO {source.name} BY NAME SELECT {listed} FROM incoming")  # noqa: S608 - the names are declared in this project
            target.unregister("incoming")
        if source.keep:
            target.execute(f"DELETE FROM {source.name} WHERE NOT ({source.keep})")  # noqa: S608 - the names are declared in this project


def _differs(source: Source, known: dict[str, tuple[int | None, str]], heads: dict[str, int | None], why: str) -> bool:
    """Whether a publish would change the table or what is said about it."""
    if source.name not in known:
        return True
    version, known_why = known[source.name]
    return why != known_why or (not why and heads[source.name] != version)


def _why(blocked: dict[str, list[str]], source: Source) -> str:
    return "; ".join(blocked.get(source.name, []))


def _shape(source: Source) -> tuple[tuple[str, str], ...]:
    return tuple((name, "INTEGER" if kind == "INT" else kind) for name, kind, _ in source.columns)


_CREATE_PUBLISHED = f"""
CREATE TABLE IF NOT EXISTS {PUBLISHED} (
    table_name VARCHAR, delta_version BIGINT, rows BIGINT, published_at TIMESTAMP, newest_data_at TIMESTAMP,
    blocked_by VARCHAR
)
"""
_COLUMNS = """
SELECT schema_name || '.' || table_name, list((column_name, data_type) ORDER BY column_index)
FROM duckdb_columns() WHERE NOT internal GROUP BY ALL
"""
