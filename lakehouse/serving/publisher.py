"""The serving file: small tables of the lake in one DuckDB file that readers open read-only.

A publish is written aside, as a copy of the last one in which only what changed is replaced, is audited there, and
then takes the file's place in one step: a reader has the old publish or the new one, never half, and holds up no
writer. What fails its audit is taken back: those rows stay as they were. The old file's blocks are given back by the
system when its last reader closes it.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from lakehouse.catalog import TABLES
from lakehouse.delta_log import Changes, DeltaLog
from lakehouse.serving.derived import EXTRAS, Extras, create
from lakehouse.serving.file import BATCH_MINUTES_VIEW, PUBLISHED, as_text, open_serving, rows_of
from lakehouse.serving.held import give_back, hold_back
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables
from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_name, quoted_text
from lakehouse.table import Extract, Table
from quality import results
from quality.declaration import Ask
from quality.gate import Ruling, rule

_GATE_TABLES = {results.TABLE.full_name, results.OVERRIDES.full_name}
_TYPES = {"string": "VARCHAR", "timestamp": "TIMESTAMP", "int": "INTEGER", "array<string>": "VARCHAR[]"}


@dataclass(frozen=True)
class Source(Extract):
    """A table of the serving file, and the Delta table that it comes from."""

    delta: Table = field(kw_only=True)


def sources() -> list[Source]:
    """Every table of the serving file; what the gate asks comes before what it judges."""
    served = sorted((table for table in TABLES if table.served), key=lambda one: one.full_name not in _GATE_TABLES)
    return [*map(_source, served)]


def _source(table: Table) -> Source:
    own = tuple(
        (one.name, _TYPES.get(kind := one.dataType.simpleString(), kind.upper()), one.metadata["comment"])
        for one in table.schema
    )
    part = table.served if isinstance(table.served, Extract) else Extract(table.full_name, table.grain)
    return Source(**{**vars(part), "columns": part.columns or own}, delta=table)


@dataclass(frozen=True)
class _Published:
    """What the file says about a table: its Delta version, and the failing expectations of the newest one."""

    version: int | None = None
    blocked_by: str = ""
    let_through: str = ""
    held_rows: int = 0
    """Rows that are held back while the others are published, and the expectations that they fail."""
    held_by: str = ""

    @property
    def is_at_rest(self) -> bool:
        """Whether only a new version can change it. Else time, an override or a new result can, too."""
        return not self.blocked_by and not self.let_through and not self.held_rows


class Publisher:
    """Makes publishes of one lake. One process at a time: the supervisor's `publisher`."""

    def __init__(
        self,
        settings: Settings,
        reader: SqlReader,
        log: DeltaLog,
        rule: Callable[[Ask, str, str], Ruling] = rule,
        extras: Extras | None = None,
    ) -> None:
        """`rule` says what keeps a table from being published (quality/gate.py); without `extras` those are empty."""
        self._settings, self._reader, self._log, self._rule = settings, reader, log, rule
        self._path, self._extras = settings.serving_file, extras
        self._small = SmallTables(settings)
        self._sources = sources()
        self.audit_seconds = 0.0
        """What the gate took in the last publish."""

    def publish(self, *, only_gold: bool = False) -> list[str]:
        """Publish what changed since the last publish; names of the tables that changed, or of which the gate says
        something new. A table that must not be published keeps its rows. With `only_gold` the books of operation are
        not looked at, which change with every batch, too, and are read less eagerly.

        The first one makes a table for everything, empty where the lake has nothing yet.
        """
        self.audit_seconds = 0.0
        known = self._known()
        only_gold = only_gold and bool(known)
        looked_at = [source for source in self._sources if source.delta.layer == "gold" or not only_gold]
        heads = {source.name: self._log.version(source.delta) for source in looked_at}
        if known and _RECEIPTS in heads and heads[_RECEIPTS] != known.get(_RECEIPTS, _NEVER).version:
            known = {}  # somebody was forgotten: deleted rows stay in the blocks of a copied file
        due = self._due(known, heads)
        extras = () if only_gold else EXTRAS
        if not due and not (extras and self._extras and self._extras.is_due()):
            return []
        aside = self._path.with_suffix(".aside")
        self._begin(aside, is_new=not known)
        with duckdb.connect(str(aside)) as target:
            # The lake's moments are stored as plain UTC timestamps, which every tool shows alike.
            target.execute("SET TimeZone = 'UTC'")
            target.execute(CREATE_PUBLISHED)
            target.execute(BATCH_MINUTES_VIEW)
            changed = [
                source.name
                for source in due
                if self._publish_one(target, source, known.get(source.name), heads[source.name])
            ]
            changed += [extra.name for extra in extras if self._publish_extra(target, extra, known)]
            target.execute("CHECKPOINT")
        # Readers of the old file keep it; whoever opens from now on gets this one.
        if changed:
            aside.replace(self._path)
        else:
            aside.unlink()
        return changed

    def _due(self, known: dict[str, _Published], heads: dict[str, int | None]) -> list[Source]:
        """Whatever can differ from the last publish. When there are new results or overrides, the gate may say
        something else about every table of gold."""
        changed = {name for name, head in heads.items() if name not in known or known[name].version != head}
        is_ruled_anew = bool(changed & _GATE_TABLES)
        return [
            source
            for source in self._sources
            if source.name in changed
            or (source.name in heads and not known[source.name].is_at_rest)
            or (is_ruled_anew and source.delta.layer == "gold")
        ]

    def _known(self) -> dict[str, _Published]:
        """What is published; empty when there is no file that can be built upon."""
        try:
            with open_serving(self._path) as connection:
                rows = connection.execute(
                    f"SELECT table_name, delta_version, blocked_by, let_through, held_rows, held_by FROM {PUBLISHED}"  # noqa: S608 - the names are declared in this project
                ).fetchall()
                tables = dict(connection.execute(_COLUMNS).fetchall())
        except duckdb.Error:
            return {}
        declared = {part.name: [column[:2] for column in part.columns] for part in (*self._sources, *EXTRAS)}
        if any(tables.get(name) != columns for name, columns in declared.items()):
            return {}
        return {name: _Published(*rest) for name, *rest in rows}

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
            for part in (*self._sources, *EXTRAS):
                create(target, part)

    def _publish_one(
        self, target: duckdb.DuckDBPyConnection, source: Source, before: _Published | None, head: int | None
    ) -> bool:
        """Write the table's newest version aside, audit it there, and take it back when it must not be published: the
        rows that fail, or all where these cannot be told from the rest, or nothing else would be left.

        Whether anything about the table is new.
        """
        known = before or _NEVER
        target.execute("BEGIN")
        give_back(target, source.name)
        changes = self._changes(source, known.version, head)
        self._refresh(target, source, changes, head)
        ruling = self._ruling(target, source, changes.condition if known.is_at_rest else "")
        held = hold_back(target, source.name, ruling.of_rows)
        is_empty = bool(held) and not target.execute(f"SELECT 1 FROM {source.name} LIMIT 1").fetchall()  # noqa: S608 - the names are declared in this project
        blocked_by = tuple(sorted((*ruling.blocked_by, *(held if is_empty else ()))))
        let_through = as_text(ruling.let_through)
        if blocked_by:
            target.execute("ROLLBACK")
            target.execute("BEGIN")
            after = replace(known, blocked_by=as_text(blocked_by), let_through=let_through)
        else:
            version = known.version if head is None else head
            after = _Published(version, "", let_through, sum(held.values()), as_text(held))
        if after == before:
            target.execute("ROLLBACK")
            return False
        # Rows that stay were published when they were.
        stayed = f"(SELECT published_at FROM {PUBLISHED} WHERE table_name = ? AND ?)"  # noqa: S608 - the names are declared in this project
        at = target.execute(f"SELECT {stayed}", [source.name, after.version == known.version]).fetchall()[0][0]
        newest = f"(SELECT max({source.delta.newest}) FROM {source.name})" if source.delta.newest else "NULL"  # noqa: S608 - the names are declared in this project
        _note(target, source.name, newest, after, at or datetime.now(UTC))
        target.execute("COMMIT")
        return True

    def _publish_extra(self, target: duckdb.DuckDBPyConnection, extra: Extract, known: dict[str, _Published]) -> bool:
        """Bring an extra table up to date; whether anything about it is new."""
        target.execute("BEGIN")
        newest = self._extras.update(target, extra) if self._extras else None
        if newest is None and extra.name in known:
            target.execute("ROLLBACK")
            return False
        as_sql = f"TIMESTAMP '{newest.replace(tzinfo=None)}'" if newest else "NULL"
        _note(target, extra.name, as_sql, _NEVER, datetime.now(UTC))
        target.execute("COMMIT")
        return True

    def _ruling(self, target: duckdb.DuckDBPyConnection, source: Source, changed: str) -> Ruling:
        """Only gold is held back: the books of operation are shown above all when they are wrong."""
        if source.delta.layer != "gold":
            return Ruling()
        begin = time.monotonic()
        ruling = self._rule(lambda sql: rows_of(target, sql), source.name, changed)
        self.audit_seconds += time.monotonic() - begin
        return ruling

    def _changes(self, source: Source, old: int | None, new: int | None) -> Changes:
        if new is None:
            return Changes(is_nothing=True)
        return self._log.changes(source.delta, old, new) if old is not None else Changes()

    def _refresh(self, target: duckdb.DuckDBPyConnection, source: Source, changes: Changes, new: int | None) -> None:
        """Bring a table to version `new`: by its changed partitions where it has any, else whole."""
        if changes.is_nothing:
            return
        conditions = [condition for condition in (changes.condition, source.keep) if condition]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        gone = f" WHERE {changes.condition}" if changes.condition else ""
        if source.delta.layer == "gold" and source.delta.is_small:
            target.execute(f"DELETE FROM {source.name}{gone}")  # noqa: S608 - the names are declared in this project
            # What is written meanwhile is not yet in the version that the file will name.
            self._insert(target, source, self._small.read(source.delta, changes.partitions or None, version=new))
            return
        if changes.files:
            files = ", ".join(quoted_text(self._reader.address(source.delta.full_name, file)) for file in changes.files)
            options = f"union_by_name = true, hive_partitioning = {bool(source.delta.partition_by)}"
            scan = f"(SELECT * FROM read_parquet([{files}], {options}){where})"  # noqa: S608 - the names are declared in this project
        else:
            address = quoted_text(self._reader.address(source.delta.full_name))
            scan = f"(SELECT * FROM delta_scan({address}, version => {new}){where})"  # noqa: S608 - the names are declared in this project
            target.execute(f"DELETE FROM {source.name}{gone}")  # noqa: S608 - the names are declared in this project
        self._insert(target, source, self._reader.arrow(source.select.format(scan=scan)))
        if source.keep:
            target.execute(f"DELETE FROM {source.name} WHERE NOT ({source.keep})")  # noqa: S608 - the names are declared in this project
        if source.merged and changes.files:
            target.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {source.merged}; DELETE FROM {source.name}")  # noqa: S608 - the names are declared in this project
            target.execute(f"INSERT INTO {source.name} BY NAME FROM merged")

    @staticmethod
    def _insert(target: duckdb.DuckDBPyConnection, source: Source, rows: pa.Table) -> None:
        names = [name for name, _, _ in source.columns if name in rows.column_names]
        if rows.num_rows:
            listed = ", ".join(map(quoted_name, names))
            target.register("incoming", rows)
            target.execute(f"INSERT INTO {source.name} BY NAME SELECT {listed} FROM incoming")  # noqa: S608 - the names are declared in this project
            target.unregister("incoming")


_RECEIPTS = "ops.erasures"
_NEVER = _Published()
"""About a table that is not in the file."""


def _note(target: duckdb.DuckDBPyConnection, name: str, newest: str, state: _Published, at: datetime) -> None:
    """Say in `_published` how a table is now; `newest` is SQL."""
    target.execute(f"DELETE FROM {PUBLISHED} WHERE table_name = ?", [name])  # noqa: S608 - the names are declared in this project
    target.execute(
        f"INSERT INTO {PUBLISHED} SELECT ?, ?, (SELECT count(*) FROM {name}), ?, {newest}, ?, ?, ?, ?",  # noqa: S608 - the names are declared in this project
        [name, state.version, at, state.blocked_by, state.let_through, state.held_rows, state.held_by],
    )


CREATE_PUBLISHED = f"""
CREATE TABLE IF NOT EXISTS {PUBLISHED} (
    table_name VARCHAR, delta_version BIGINT, rows BIGINT, published_at TIMESTAMP, newest_data_at TIMESTAMP,
    blocked_by VARCHAR, let_through VARCHAR, held_rows BIGINT, held_by VARCHAR
)
"""
_COLUMNS = """
SELECT schema_name || '.' || table_name, list((column_name, data_type) ORDER BY column_index)
FROM duckdb_columns() WHERE NOT internal GROUP BY ALL
"""
