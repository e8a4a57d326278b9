"""The stream's state of the newest hours of silver, in DuckDB on a local disk: each micro-batch is folded into it, and
live gold is read from it. Both cost what the batch weighs, not the hours that are kept.

It is a function of silver, and a cache: the file names its micro-batch (its tag). If that is not the last batch in the
book, the state is rebuilt from silver. One transaction spans a micro-batch, from `take` to `commit`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from gold import fraud_live
from lakehouse.catalog import TABLES
from lakehouse.hours import HOUR, micros, number_of
from lakehouse.stream.seen_hashes import NO_AGES, SeenHashes
from lakehouse.table import Kept, Live, Table
from silver import events as silver_events

_READ = {name for table in TABLES if table.live or not table.hourly for name in table.reads}
OF_EVENT = {name: kind for name, kind in silver_events.DUCKDB_TYPES.items() if name in _READ}
"""Columns of silver.events that live gold and the fraud rules read, with their types in DuckDB."""
FULL_HOURS = 2
SWEEP_SECONDS = 60
CHECKPOINT_MB = 256
"""The size of the log at which the file takes it in, which a batch waits for."""
ROWS_OF_ONE_THREAD = 20_000
LEAST_MEMORY_MB = 128
MICROS_OF_HOUR = HOUR // timedelta(microseconds=1)
SEEN_MICROS = MICROS_OF_HOUR // 6
SEEN_SECONDS = 600
"""The span of arrivals whose ids are read from the file at once, and that of keys."""
_EVENT = f"""
    epoch_us(event_time) AS moment, epoch_us(event_time) // {MICROS_OF_HOUR} AS hour,
    hash(user_id) AS u, {", ".join(name for name in OF_EVENT if name != "event_time")}
"""
_ARRIVAL = 'kafka_timestamp, topic, "partition", "offset"'
_COORDINATES = 'topic, "partition", "offset"'
_TABLES = """
CREATE TABLE tag(text VARCHAR);
CREATE TABLE ids(arrived BIGINT, moment BIGINT, low UBIGINT, high UBIGINT);
"""
_FACTS = """
SELECT moment, hour, u, event_id, event_type, user_id, device_id, ip, country, payment_status, card_fingerprint
FROM new_events
"""
"""What the fraud rules look back at."""
_SIZES = "SELECT * EXCLUDE (key), count(*) AS size FROM {of} GROUP BY ALL"
_MERGED_SIZES = "SELECT * EXCLUDE (size), sum(size)::BIGINT AS size FROM {kept} WHERE {where} GROUP BY ALL"
_ID = "hash(event_id) AS low, hash(event_id, 'high') AS high"
_VALID = "reason_code IS NULL"


def frontier_at(now: datetime) -> datetime:
    """Start of the window of live gold: two full hours before the running one."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=FULL_HOURS)


def _merged(name: str, kept: Kept) -> Iterator[tuple[str, str]]:
    """The table whose rows of equal grain are merged, and the SQL for it; none where that is not worth it."""
    if kept.is_set:
        yield f"{name}_sizes", _MERGED_SIZES
    elif kept.merged:
        yield name, kept.merged


@dataclass(frozen=True)
class Taken:
    """The result of a micro-batch: coordinates of its duplicates, the window's hours that changed, older hours, the
    time of its oldest event in the window (microseconds), and its rows of the book."""

    duplicates: pa.Table
    touched: set[int]
    late: set[int]
    oldest: int | None
    book: pa.Table


class Fold:
    """The state of one stream; used by one thread, except `snapshot`."""

    def __init__(self, path: Path, tables: Sequence[Table], dedupe: timedelta, memory_mb: int) -> None:
        """Open `path`, or make it anew when it is in use or broken; the state is whatever the file holds."""
        self._dedupe = dedupe // timedelta(microseconds=1)
        self._kept = {name: kept for table in tables if table.live for name, kept in table.live.kept.items()}
        self._steps = {name: sql for table in tables if table.live for name, sql in table.live.steps.items()}
        ours = (_TABLES, _FACTS, _ID, _SIZES, fraud_live.TABLES)
        declared = repr((ours, sorted(self._kept.items()), sorted(self._steps.items()), duckdb.__version__))
        self._version = sha256(declared.encode()).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._memory_mb = path, memory_mb
        try:
            self._connection = self._open()
        except duckdb.Error:
            self._remove()
            self._connection = self._open()
        self._swept = 0.0
        self._seen, self._keys = SeenHashes(), self._no_keys()
        self.first_hour = 0
        """The window's first clock hour."""

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(str(self._path), config={"memory_limit": f"{self._memory_mb}MiB"})
        connection.execute(
            f"SET TimeZone = 'UTC'; SET checkpoint_threshold = '{CHECKPOINT_MB}MB';"
            " SET preserve_insertion_order = false"
        )
        return connection

    def _remove(self) -> None:
        """A process that still has the file open keeps it."""
        for file in (self._path, self._path.with_name(self._path.name + ".wal")):
            file.unlink(missing_ok=True)

    def tag(self) -> str | None:
        """The batch that the file belongs to; None if it is incomplete or of another version of the code."""
        try:
            found = self._connection.execute("SELECT text FROM tag").fetchall()
        except duckdb.Error:
            return None
        version, _, tag = str(found[0][0] if found else "").partition(" ")
        return tag if version == self._version else None

    def close(self) -> None:
        """Close the file; what was taken and not committed is lost."""
        self._connection.close()

    def advance(self, now: datetime) -> None:
        """The window moves on with time: earlier hours are no longer answered from here."""
        self.first_hour = number_of(frontier_at(now))

    def load(self, accepted: pa.RecordBatchReader | None, tag: str, now: datetime) -> None:
        """Forget everything and read OF_EVENT and `processed_at` of the events of silver that the window or the search
        for duplicates needs. The state then belongs to `tag`."""
        self._connection.close()
        self._remove()
        self._connection = self._open()
        c = self._connection
        self.advance(now)
        c.execute(
            f"CREATE TEMP TABLE source(processed_at TIMESTAMPTZ, {', '.join(f'{n} {t}' for n, t in OF_EVENT.items())})"
        )
        if accepted is not None:
            c.register("accepted", accepted)
            c.execute("INSERT INTO source BY NAME FROM accepted")
            c.unregister("accepted")
        c.execute("BEGIN")
        c.execute(f"CREATE TEMP VIEW candidates AS SELECT {_EVENT}, processed_at FROM source")
        self._see()
        self._make_tables()
        c.execute(f"INSERT INTO ids SELECT epoch_us(processed_at), moment, {_ID} FROM candidates")
        self._add_facts()
        for name, kept in self._kept.items():
            # In order, so that blocks of another age are passed over as they are when batches come one by one.
            c.execute(f"INSERT INTO {name} FROM ({kept.of_batch}) ORDER BY age")
            if kept.is_set:
                c.execute(f"INSERT INTO {name}_sizes {_SIZES.format(of=name)}")
        c.execute("DROP VIEW candidates; DROP TABLE source")
        self.commit(tag, now)

    def _make_tables(self) -> None:
        self._connection.execute(_TABLES)
        self._connection.execute(f"CREATE TABLE facts AS {_FACTS} WITH NO DATA")
        self._connection.execute('CREATE VIEW fraud_events AS SELECT moment AS "at", * FROM facts')
        self._connection.execute(fraud_live.TABLES)
        for name, kept in self._kept.items():
            if kept.is_met:
                self._meet(name, pa.array([], pa.uint64()))
        self._make_steps()
        for name, kept in self._kept.items():
            self._connection.execute(f"CREATE TABLE {name} AS {kept.of_batch} WITH NO DATA")
            if kept.is_set:
                self._connection.execute(f"CREATE TABLE {name}_sizes AS {_SIZES.format(of=name)} WITH NO DATA")

    def _see(self) -> None:
        """`new_events`: those of the candidates that lie in the window."""
        names = ", ".join(name for name in OF_EVENT if name != "event_time")
        self._connection.execute(
            "CREATE OR REPLACE TEMP VIEW new_events AS"
            f" SELECT moment, hour, u, {names} FROM candidates WHERE hour >= {self.first_hour}"
        )

    def hold(self, written: pa.Table | None) -> None:
        """Remember events that an interrupted batch wrote to silver: the same records are accepted again, others with
        their ids are not. `written` has event_id, event_time, processed_at and coordinates."""
        c = self._connection
        c.execute('CREATE OR REPLACE TEMP TABLE held(topic VARCHAR, "partition" INT, "offset" BIGINT)')
        if written is not None:
            c.register("written", written)
            c.execute(f"INSERT INTO held SELECT {_COORDINATES} FROM written")
            c.execute(f"INSERT INTO ids SELECT epoch_us(processed_at), epoch_us(event_time), {_ID} FROM written")
            c.unregister("written")
        self._seen = SeenHashes()
        first, last = c.execute("SELECT coalesce(min(arrived), 0), coalesce(max(arrived), -1) FROM ids").fetchall()[0]
        for since in range(first, last + 1, SEEN_MICROS):
            self._see_ids(f"ids WHERE arrived >= {since} AND arrived < {since + SEEN_MICROS}", since)
        self._keys = self._no_keys()
        for name in self._keys:
            span = SEEN_SECONDS if self._kept[name].per_second else 1
            for (part,) in c.execute(f"SELECT DISTINCT age // {span} FROM {name} ORDER BY ALL").fetchall():
                self._see_keys(name, c.execute(f"FROM {name} WHERE age // {span} = {part}").to_arrow_table())
        self._share_memory()

    def _share_memory(self) -> None:
        """Hashes that were seen count as the state's memory: DuckDB gets what they leave."""
        taken = sum(seen.megabytes for seen in (self._seen, *self._keys.values()))
        left = max(self._memory_mb - taken, LEAST_MEMORY_MB)
        with suppress(duckdb.OutOfMemoryException):  # too much is in use now: the next minute tries again
            self._connection.execute(f"SET memory_limit = '{left}MiB'")

    def _see_ids(self, ids: str, since: int) -> None:
        """Remember the hashes of some rows of ids, which arrived at `since` or up to SEEN_MICROS later."""
        found = self._connection.execute(f"SELECT low, moment FROM {ids}").to_arrow_table()
        if found.num_rows:
            newest = pc.max(found.column("moment")).as_py()
            self._seen.add(found.column("low").to_numpy(), since, max(since + SEEN_MICROS, newest))

    def _no_keys(self) -> dict[str, SeenHashes]:
        return {name: SeenHashes() for name, kept in self._kept.items() if kept.is_set or kept.is_met}

    def _see_keys(self, name: str, rows: pa.Table) -> None:
        """Remember the keys of some rows, and their ages where these are looked up."""
        if rows.num_rows:
            ages, keys = (rows.column(each).to_numpy() for each in ("age", "key"))
            self._keys[name].add(keys, int(ages.min()), int(ages.max()), ages if self._kept[name].is_met else NO_AGES)

    def hours_before(self, facts: pa.Table, moment: datetime) -> set[int]:
        """Hours of the valid events of a batch that happened before `moment`."""
        self._connection.register("arrived_facts", facts)
        found = self._connection.execute(
            f"SELECT DISTINCT epoch_us(event_time) // {MICROS_OF_HOUR} FROM arrived_facts WHERE {_VALID}"
            f" AND epoch_us(event_time) < {micros(moment)}"
        ).fetchall()
        return {int(row[0]) for row in found}

    def take(self, facts: pa.Table, known: pa.Table | None, arrived: datetime) -> Taken:
        """Fold in a micro-batch, whose records are `facts` (refused ones too); `known` are coordinates of duplicates
        that were found elsewhere."""
        c, at = self._connection, micros(arrived)
        # For a small batch two threads are no faster than one, and cost a third more of the processor.
        c.execute("SET threads = 1" if facts.num_rows < ROWS_OF_ONE_THREAD else "RESET threads")
        c.execute("BEGIN")
        c.register("arrived_facts", facts)
        places = facts.select(["topic", "partition", "offset"])
        c.register("known_before", places.slice(0, 0) if known is None else known)
        c.execute(
            f"""CREATE OR REPLACE TEMP TABLE candidates AS
            SELECT {_EVENT}, {_ID}, {_COORDINATES}, kafka_timestamp, ({_COORDINATES}) IN (FROM held) AS is_held
            FROM arrived_facts WHERE {_VALID}"""
        )
        # Half of a hash recognises nearly all ids as new; the rest is compared where it hits.
        since = self._seen.since(c.execute("SELECT low FROM candidates").to_arrow_table().column("low").to_numpy())
        c.execute(
            f"""CREATE OR REPLACE TEMP TABLE hits AS SELECT c.*, i.rowid AS row
            FROM candidates c JOIN ids i ON i.low = c.low AND {"false" if since is None else f"i.arrived >= {since}"}"""
        )
        c.execute(
            f"""CREATE OR REPLACE TEMP TABLE duplicates AS
            SELECT {_COORDINATES} FROM hits JOIN ids i ON i.rowid = hits.row WHERE NOT is_held
                AND i.high = hits.high AND (i.arrived >= {at - self._dedupe} OR i.moment = hits.moment)
            UNION SELECT {_COORDINATES} FROM candidates SEMI JOIN known_before USING ({_COORDINATES})"""
        )
        # Of this batch's other records with one id, the first counts.
        c.execute(
            f"""INSERT INTO duplicates
            SELECT {_COORDINATES} FROM candidates ANTI JOIN duplicates USING ({_COORDINATES})
            QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY is_held DESC, {_ARRIVAL}) > 1"""
        )
        duplicates = c.execute("FROM duplicates").to_arrow_table()
        if duplicates.num_rows:
            c.execute(f"DELETE FROM candidates WHERE ({_COORDINATES}) IN (FROM duplicates)")
        c.execute(f"INSERT INTO ids SELECT {at}, moment, low, high FROM candidates WHERE NOT is_held")
        self._see_ids("candidates WHERE NOT is_held", at)
        self._see()
        self._add()
        return self._taken(duplicates)

    def _add(self) -> None:
        """Fold `new_events` in."""
        self._add_facts()
        keyed = {name: self._connection.execute(self._kept[name].of_batch).to_arrow_table() for name in self._keys}
        for name, rows in keyed.items():
            if self._kept[name].is_met:
                self._meet(name, pc.unique(rows.column("key")))
        self._make_steps()
        for name, kept in self._kept.items():
            if name in keyed:
                self._add_keys(name, kept, keyed[name])
            else:
                self._connection.execute(f"INSERT INTO {name} {kept.of_batch}")

    def _add_facts(self) -> None:
        c = self._connection
        c.execute(f"INSERT INTO facts {_FACTS}")
        c.execute('CREATE OR REPLACE TEMP VIEW fraud_batch AS SELECT moment AS "at", * FROM new_events')
        fraud_live.note(c, "fraud_batch", "fraud_events")

    def _make_steps(self) -> None:
        for name, sql in self._steps.items():
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")

    def _meet(self, name: str, keys: pa.Array) -> None:
        met, ages = self._keys[name].met(keys.to_numpy())
        self._connection.register(f"{name}_met", pa.table({"age": ages, "key": met}))

    def _add_keys(self, name: str, kept: Kept, rows: pa.Table) -> None:
        if kept.is_set:
            rows = rows.filter(pa.array(~self._keys[name].known(rows.column("key").to_numpy())))
        self._connection.register("fresh", rows)
        self._connection.execute(f"INSERT INTO {name} FROM fresh")
        if kept.is_set:
            self._connection.execute(f"INSERT INTO {name}_sizes {_SIZES.format(of='fresh')}")
        self._see_keys(name, rows)

    def _taken(self, duplicates: pa.Table) -> Taken:
        c = self._connection
        hours = c.execute("SELECT hour, min(moment) FROM candidates GROUP BY hour").fetchall()
        book = c.execute(
            f"""SELECT topic, "partition", min("offset") AS from_offset, max("offset") + 1 AS to_offset,
                count(*) AS bronze_rows, count_if({_VALID} AND d.topic IS NULL)::BIGINT AS silver_rows,
                count_if({_VALID} AND d.topic IS NOT NULL)::BIGINT AS duplicate_rows,
                count_if(NOT {_VALID})::BIGINT AS quarantined_rows
            FROM arrived_facts LEFT JOIN (FROM duplicates) AS d USING ({_COORDINATES})
            GROUP BY topic, "partition" ORDER BY ALL"""
        ).to_arrow_table()
        in_window = [(hour, at) for hour, at in hours if hour >= self.first_hour]
        return Taken(
            duplicates,
            touched={hour for hour, _ in in_window},
            late={hour for hour, _ in hours if hour < self.first_hour},
            oldest=min((at for _, at in in_window), default=None),
            book=book,
        )

    def rows(
        self, table: Live, hours: Iterable[int], now: datetime, top_n: int, currency: str | None = None
    ) -> pa.Table:
        """The live rows of a gold table for some hours of the window; `currency` is the shop's."""
        listed = ", ".join(map(str, sorted(hours))) or "NULL"
        merged = {
            name: f"({sql.format(kept=told, where=f'age IN ({listed})')})"
            for name, kept in table.kept.items()
            for told, sql in _merged(name, kept)
        }
        as_of = f"{int(now.timestamp())}::BIGINT"
        own = f"'{currency}'" if currency else "NULL"
        sql = table.rows.format(hours=listed, as_of=as_of, top_n=top_n, currency=own, **merged)
        return self._connection.execute(sql).to_arrow_table()

    def commit(self, tag: str, now: datetime) -> None:
        """Keep what was taken: the file belongs to `tag` now. Once a minute, drop what is old."""
        self._connection.execute("DELETE FROM tag")
        self._connection.execute("INSERT INTO tag VALUES (?)", [f"{self._version} {tag}"])
        self._connection.execute("COMMIT")
        if now.timestamp() - self._swept >= SWEEP_SECONDS:
            self._swept = now.timestamp()
            # Separately: DuckDB crashes when many rows are deleted in the transaction that has inserted them.
            self._connection.execute("BEGIN")
            self._sweep(now)
            self._connection.execute("COMMIT")
            self._share_memory()

    def _sweep(self, now: datetime) -> None:
        c, first, second = self._connection, self.first_hour, int(now.timestamp()) - 3600
        oldest = micros(now) - self._dedupe
        self._seen.forget(oldest)
        c.execute(f"DELETE FROM ids WHERE arrived < {oldest} AND moment < {oldest}")
        c.execute(f"DELETE FROM facts WHERE hour < {first}")
        fraud_live.forget(c, first * MICROS_OF_HOUR)
        for name, kept in self._kept.items():
            if name in self._keys:
                self._keys[name].forget(second if kept.per_second else first)
            c.execute(f"DELETE FROM {name} WHERE age < {second if kept.per_second else first}")
            for told, sql in _merged(name, kept):
                merged = sql.format(kept=told, where="true")
                c.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {merged}; DELETE FROM {told}")
                c.execute(f"INSERT INTO {told} FROM merged")

    @contextmanager
    def snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for another thread, which sees what is committed now, and nothing later."""
        with self._connection.cursor() as cursor:
            cursor.begin()
            yield cursor
            cursor.rollback()
