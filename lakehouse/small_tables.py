"""Writes tables of the lake without Spark: small ones, and what the stream adds to the large ones. Spark would plan
longer than it writes: half a second of a core for a batch.

Several threads and processes may write at once, Spark among them: a commit is S3's conditional PUT (Spark's way to it
is `services/ConditionalLogStore.java`), and of two that replace the same rows the later one reads and writes again.
What is done often is written by `lakehouse/commits.py`, all else by delta-rs.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from math import ceil
from typing import Any, NamedTuple

import pyarrow as pa
import tenacity
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, SchemaMismatchError

from lakehouse import commits
from lakehouse.commits import File, Head, TakenError
from lakehouse.delta_log import entry
from lakehouse.errors import UsageError
from lakehouse.s3 import delta_options, s3_client
from lakehouse.settings import Settings
from lakehouse.table import LOG_HOURS, Table

ATTEMPTS = 50
FRESH_SECONDS = 10.0
"""What a process has learnt of a table counts for so long. Then it asks whether that version is still in the log: after
one whose log was cleaned up no commit may be made. Who cleans up a young log waits for so long before."""
COMPACTED_BYTES = 128 * 2**20
"""A larger file would hold hours: nothing of it could be passed over by a lookup, and each merging of the running day's
new files would write the day anew."""
PROBE = "_shoplake/conditional-put"
Change = Callable[[pa.Table], pa.Table]
_PROPERTIES = {
    # A checkpoint costs a second of a core; what it saves is the reading of some small files with each look.
    "delta.checkpointInterval": "50",
}


class Compacted(NamedTuple):
    """How many files became how many."""

    files: int
    into: int


def require_conditional_put(settings: Settings) -> None:
    """Raise UsageError when the S3 server writes over an object that must not be there: commits would be lost."""
    client = s3_client(settings)
    if all(commits.put_new(client, settings.bucket, PROBE, b"") for _ in range(2)):
        raise UsageError(
            f"The S3 server at {settings.endpoint} knows no conditional PUT (If-None-Match), by which writers keep out"
            " of each other's way: use AWS, or a server that has it."
        )


@dataclass
class _Known:
    """What a process has learnt of a table: its newest version, when (seconds), and the rows of some days in it."""

    head: Head
    at: float
    days: list[date] | None = None
    rows: pa.Table | None = None


class SmallTables:
    """The tables of one bucket; may be shared by threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._options, self._client = settings, delta_options(settings), s3_client(settings)
        self._known: dict[str, _Known] = {}
        self._turns: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")

    def create(self, table: Table) -> None:
        """Create the table with its declared properties; nothing when it is there."""
        DeltaTable.create(
            self._address(table),
            Schema.from_json(table.schema.json()),
            mode="ignore",
            partition_by=list(table.partition_by),
            configuration=properties_of(table),
            storage_options=self._options,
        )

    # What is done with every batch: as few requests as there can be

    def read(self, table: Table, days: Iterable[date | str] | None = None, *, version: int | None = None) -> pa.Table:
        """The newest version, or the one that is named, columns as declared; of `days` only, in a table that is
        partitioned by day."""
        wanted = None if days is None else [day if isinstance(day, date) else date.fromisoformat(day) for day in days]
        with self._turn(table):
            head = self._head(table, looks=True, with_files=True, until=version)
        return as_declared(self._rows(table, head, wanted), head.schema, table)

    def append(
        self, table: Table, rows: pa.Table, mark: str = "", *, before: Callable[[], None] = lambda: None
    ) -> None:
        """Add `rows`; `mark` is what the history says of it. `before` is called before this process looks at what
        others have done: it may write on without a look only where nobody has."""
        # Spark takes rows that are added without a look at others for no conflict, when their commit says so.
        said: dict[str, Any] = {"operationParameters": {"mode": "Append"}, "isBlindAppend": True}
        self._commit(table, lambda _head: rows, mark, before=before, **said)

    def overwrite(self, table: Table, rows: pa.Table, mark: str = "") -> None:
        """Replace all rows."""
        self._rewrite(table, None, lambda _head: rows, mark)

    def change(self, table: Table, change: Callable[[pa.Table], pa.Table | None], mark: str = "") -> None:
        """Make all rows what `change` makes of them, nothing when that is None; again, when others
        wrote meanwhile."""
        self._rewrite(table, None, lambda head: change(self._declared(table, head, None)), mark)

    def replace_days(self, table: Table, days: Iterable[date], change: Change, mark: str = "") -> None:
        """Make the rows of some days what `change` makes of them; again, when others wrote meanwhile."""
        wanted = sorted(days)

        def changed(head: Head) -> pa.Table:
            known = self._known.get(table.full_name)
            is_known = known is not None and known.rows is not None and known.days == wanted
            rows = change(known.rows if known and is_known else self._declared(table, head, wanted))
            made["rows"] = as_declared(rows, head.schema, table)
            return rows

        made: dict[str, pa.Table] = {}
        if wanted:
            with self._turn(table):
                self._rewrite(table, wanted, changed, mark)
                known = self._known[table.full_name]
                known.days, known.rows = wanted, made["rows"]

    def _rewrite(
        self, table: Table, days: list[date] | None, make: Callable[[Head], pa.Table | None], mark: str
    ) -> None:
        mode = {"mode": "Overwrite"}
        self._commit(table, make, mark, replaced=lambda head: head.on(days), operationParameters=mode)

    def _declared(self, table: Table, head: Head, days: Iterable[date] | None) -> pa.Table:
        return as_declared(self._rows(table, head, days), head.schema, table)

    def _rows(self, table: Table, head: Head, days: Iterable[date] | None) -> pa.Table:
        return commits.read(self._client, self._settings.bucket, table, head.on(days), head.schema)

    def _commit(
        self,
        table: Table,
        make: Callable[[Head], pa.Table | None],
        mark: str,
        *,
        replaced: Callable[[Head], list[File]] | None = None,
        before: Callable[[], None] = lambda: None,
        **said: Any,
    ) -> None:
        """Put the rows that `make` makes of the newest version into the next one, in place of the files `replaced`;
        nothing when they are None. Again when others were first: anew only if these files or the table itself
        changed, since what others did elsewhere is no reason."""
        said |= {"userMetadata": mark} if mark else {}
        client, bucket = self._client, self._settings.bucket
        made_of: tuple[int, list[File]] | None = None
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random(0, 0.1),
            retry=tenacity.retry_if_exception_type(TakenError),
            reraise=True,
        ):
            with attempt, self._turn(table):
                looks = attempt.retry_state.attempt_number > 1
                head = self._head(table, looks=looks, with_files=replaced is not None, before=before)
                gone = replaced(head) if replaced else []
                if made_of != (head.looked, gone):
                    rows = make(head)
                    if rows is None:
                        return
                    count, added = rows.num_rows, commits.add(client, bucket, table, commits.shaped(rows, head.schema))
                    actions, made_of = [*(commits.remove(table, file) for file in gone), *added], (head.looked, gone)
                if not actions:
                    return
                version = head.version + 1
                commits.put(client, bucket, table, version, actions, count, **said)
                self._known[table.full_name] = _Known(head.after(table, actions), time.monotonic())
                if (version + 1) % int(properties_of(table)["delta.checkpointInterval"]) == 0:
                    self._beside.submit(self._checkpoint_beside, table, version)

    def _head(
        self,
        table: Table,
        *,
        looks: bool,
        with_files: bool,
        before: Callable[[], None] = lambda: None,
        until: int | None = None,
    ) -> Head:
        """The newest version that this process knows of, or with `looks` the newest one, or that of `until`."""
        known = self._known.get(table.full_name)
        if known and until is not None and known.head.version > until:
            known = None
        if known and (known.head.files is not None or not with_files) and self._is_there(table, known):
            if not looks:
                return known.head
            before()
            if found := commits.caught_up(self._client, self._settings.bucket, table, known.head, until):
                if found is known.head:
                    known.at = time.monotonic()
                else:
                    self._known[table.full_name] = _Known(found, time.monotonic())
                return found
        else:
            before()
        opened = self._open(table, until)
        files = tuple(_files_of(opened, table)) if with_files else None
        found = Head(opened.version(), pa.schema(opened.schema().to_arrow()), files, looked=opened.version())
        self._known[table.full_name] = _Known(found, time.monotonic())
        return found

    def _is_there(self, table: Table, known: _Known) -> bool:
        """True if the log has the known version, and so all that came after it: it is cleaned up from its beginning."""
        is_fresh = time.monotonic() - known.at < FRESH_SECONDS
        version = known.head.version
        return is_fresh or entry(self._client, self._settings.bucket, table, version) is not None

    # What is done now and then

    def replace(self, table: Table, rows: pa.Table, predicate: str, mark: str = "") -> None:
        """Replace the rows of whole partitions, which the SQL `predicate` names."""

        def replaced(opened: DeltaTable) -> None:
            shaped = commits.shaped(rows, pa.schema(opened.schema().to_arrow()))
            properties = CommitProperties(custom_metadata={"userMetadata": mark} if mark else None)
            write_deltalake(opened, shaped, mode="overwrite", predicate=predicate, commit_properties=properties)

        self._settled(table, replaced)

    def add_columns(self, table: Table, names: Iterable[str]) -> None:
        """Add declared columns to a table that is there; its old rows have NULL in them."""
        declared = {field.name: field for field in Schema.from_json(table.schema.json()).fields}
        self._settled(table, lambda opened: opened.alter.add_columns([declared[name] for name in names]))

    def set_properties(self, table: Table, properties: dict[str, str] | None = None) -> None:
        """Bring the table to these properties, the declared ones by default; nothing is written when it has them."""
        wanted = properties_of(table) if properties is None else properties

        def set_changed(opened: DeltaTable) -> None:
            changed = dict(wanted.items() - opened.metadata().configuration.items())
            if changed:
                opened.alter.set_table_properties(changed, raise_if_not_exists=False)

        self._settled(table, set_changed)

    def compact(self, table: Table, days: Iterable[date] | None = None) -> Compacted:
        """Merge small files, of `days` only where they are given."""
        wanted = None if days is None else [str(day) for day in days]
        if wanted == []:
            return Compacted(0, 0)
        chosen = None if wanted is None else [(table.partition_by[0], "in", wanted)]
        found: dict[str, Any] = {}
        self._settled(table, lambda opened: found.update(opened.optimize.compact(chosen, target_size=COMPACTED_BYTES)))
        return Compacted(int(found["numFilesRemoved"]), int(found["numFilesAdded"]))

    def vacuum(self, table: Table, *, orphans: bool = False) -> None:
        """Delete files that no version of the table's last `keep_hours` needs; with `orphans` those that no version
        ever had, too."""
        self._open(table).vacuum(ceil(table.keep_hours), dry_run=False, enforce_retention_duration=False, full=orphans)

    def checkpoint(self, table: Table) -> None:
        """Write a checkpoint of the newest version, which makes the log before it unneeded. That is no commit: large
        tables may have it from here, too."""
        self._open(table).create_checkpoint()

    def history(self, table: Table, most: int) -> list[dict[str, Any]]:
        """The newest commits, the newest first, as the log tells of them."""
        return list(self._open(table).history(most))

    def _checkpoint_beside(self, table: Table, version: int) -> None:
        try:
            self._open(table, version).create_checkpoint()
        except Exception:  # the data is right without it; the next one comes after as many commits
            logging.getLogger(__name__).exception("there is no checkpoint of %s", table.full_name)

    def _settled(self, table: Table, work: Callable[[DeltaTable], None]) -> None:
        """Do `work` on the newest version, again when others changed what it read."""
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random(0.01, 0.2),
            retry=tenacity.retry_if_exception_type((CommitFailedError, SchemaMismatchError)),
            reraise=True,
        ):
            with attempt:
                work(self._open(table))

    def _turn(self, table: Table) -> threading.RLock:
        with self._guard:
            return self._turns.setdefault(table.full_name, threading.RLock())

    def _open(self, table: Table, version: int | None = None) -> DeltaTable:
        return DeltaTable(self._address(table), version, self._options)

    def _address(self, table: Table) -> str:
        return f"s3://{self._settings.bucket}/{table.layer}/{table.name}"


def _files_of(opened: DeltaTable, table: Table) -> Iterator[File]:
    found = pa.table(opened.get_add_actions())
    values = found.column("partition").to_pylist() if table.partition_by else [{}] * found.num_rows
    for path, size, of in zip(
        *(found.column(name).to_pylist() for name in ("path", "size_bytes")), values, strict=True
    ):
        yield File(path, size, tuple(None if of[name] is None else str(of[name]) for name in table.partition_by))


def as_declared(rows: pa.Table, schema: pa.Schema, table: Table) -> pa.Table:
    """`rows` with the declared columns that the table has, in the types of its `schema`; NULL in one that they lack."""
    return commits.shaped(rows, pa.schema([schema.field(name) for name in table.columns if name in schema.names]))


def properties_of(table: Table) -> dict[str, str]:
    """Delta's properties of a table, as it is declared."""
    kept = {
        "delta.deletedFileRetentionDuration": _minutes(table.keep_hours),
        # Delta takes none that is shorter than that of the files; stream/log_cleanup.py shortens the log.
        "delta.logRetentionDuration": _minutes(max(LOG_HOURS, table.keep_hours)),
    }
    statistics = {"delta.dataSkippingStatsColumns": ",".join(table.statistics)} if table.statistics else {}
    return _PROPERTIES | kept | table.properties | statistics


def _minutes(hours: float) -> str:
    return f"interval {round(hours * 60)} minutes"
