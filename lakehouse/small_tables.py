"""What delta-rs writes: all of the small tables, and what the stream adds to the large ones. Spark would plan longer
than it writes: an append of a batch takes it half a second of a core, delta-rs 30 ms.

Several processes may write at once, Spark among them: a commit is S3's conditional PUT (Spark's way to it is
`services/ConditionalLogStore.java`), and of two that replace the same rows the later one reads and writes again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from math import ceil, inf
from typing import Any, NamedTuple

import pyarrow as pa
import tenacity
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError, TableNotFoundError

from lakehouse.errors import UsageError
from lakehouse.s3 import delta_options, s3_client
from lakehouse.settings import Settings
from lakehouse.table import LOG_HOURS, Table

ATTEMPTS = 10
FRESH_SECONDS = 60.0
"""A table that was written to so recently is written to again without a look: of what others wrote meanwhile the
commit tells. Far below LOG_HOURS: of a version whose log was cleaned up no commit can be made."""
COMPACTED_BYTES = 128 * 2**20
"""A larger file would hold hours: nothing of it could be passed over by a lookup, and each merging of the running day's
new files would write the day anew."""
PROBE = "_shoplake/conditional-put"
_AFTERWARDS = PostCommitHookProperties(cleanup_expired_logs=False)
"""Not with every commit, which lists the whole log for it: stream/log_cleanup.py does that now and then."""
_MADE_BEFORE = "Concurrent transaction"
"""So delta-rs says it."""
Change = Callable[[pa.Table], pa.Table]
_PROPERTIES = {
    # A checkpoint costs a second of a core; what it saves is the reading of some small files with each commit.
    "delta.checkpointInterval": "50",
}


class Compacted(NamedTuple):
    """How many files became how many."""

    files: int
    into: int


def require_conditional_put(settings: Settings) -> None:
    """Raise UsageError when the S3 server writes over an object that must not be there: commits would be lost."""
    from botocore.exceptions import ClientError

    client = s3_client(settings)
    try:
        for _ in range(2):
            client.put_object(Bucket=settings.bucket, Key=PROBE, Body=b"", IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
            return
        raise
    raise UsageError(
        f"The S3 server at {settings.endpoint} knows no conditional PUT (If-None-Match), by which writers keep out of"
        " each other's way: use AWS, or a server that has it."
    )


class SmallTables:
    """The tables of one bucket as delta-rs writes them; may be shared by threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._options = settings, delta_options(settings)
        self._tables: dict[str, DeltaTable] = {}
        self._written: dict[str, float] = {}
        """When this process wrote to a table that it did not look at since."""
        self._replaced: dict[str, tuple[int, list[date], pa.Table]] = {}
        """The version that the last replacement of days made, which days, and their rows in it."""
        self._turns: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()

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

    def read(self, table: Table, days: Iterable[date | str] | None = None) -> pa.Table:
        """The newest version, columns as declared; of `days` only, in a table that is partitioned by day."""
        with self._turn(table):
            return self._rows(self._newest(table), table, days)

    def append(
        self,
        table: Table,
        rows: pa.Table,
        mark: str = "",
        *,
        before: Callable[[], None] = lambda: None,
        transaction: tuple[str, int] | None = None,
    ) -> None:
        """Add `rows`; `mark` is what the history says of it, `before` is called before each try. Of two with the name
        and version of a `transaction` the later one fails with CommitFailedError."""
        # Spark takes rows that are added without a look at others for no conflict, when their commit says so.
        named = [Transaction(*transaction)] if transaction else []
        options = {"commit_properties": _marked(mark, named, isBlindAppend=True)}

        def attempt(opened: DeltaTable) -> None:
            before()
            if transaction:
                _require_newer(opened, *transaction)
            _put(opened, rows, "append", None, **options)

        self._settled(table, attempt, looks=transaction is not None)

    def overwrite(self, table: Table, rows: pa.Table, mark: str = "") -> None:
        """Replace all rows."""
        options = {"commit_properties": _marked(mark)}
        self._settled(table, lambda opened: _put(opened, rows, "overwrite", None, **options), looks=False)

    def change(self, table: Table, change: Callable[[pa.Table], pa.Table | None], mark: str = "") -> None:
        """Make all rows what `change` makes of them, nothing when that is None; what others append meanwhile stays."""

        def attempt(opened: DeltaTable) -> None:
            if (rows := change(self._rows(opened, table, None))) is not None:
                _put(opened, rows, "overwrite", None, commit_properties=_marked(mark))

        self._settled(table, attempt)

    def replace_days(self, table: Table, days: Iterable[date], change: Change, mark: str = "") -> None:
        """Make the rows of some days what `change` makes of them; again, when others wrote meanwhile."""
        column, wanted = table.partition_by[0], sorted(days)
        listed = ", ".join(f"'{day}'" for day in wanted)

        def attempt(opened: DeltaTable) -> None:
            version, replaced, known = self._replaced.get(table.full_name, (None, [], None))
            is_known = known is not None and (version, replaced) == (opened.version(), wanted)
            rows = change(known if is_known else self._rows(opened, table, wanted))
            _put(opened, rows, "overwrite", f"{column} IN ({listed})", commit_properties=_marked(mark))
            made = as_declared(rows, pa.schema(opened.schema().to_arrow()), table)
            self._replaced[table.full_name] = opened.version(), wanted, made

        if wanted:
            self._settled(table, attempt, looks=False)

    def replace(self, table: Table, rows: pa.Table, predicate: str, mark: str = "") -> None:
        """Replace the rows of whole partitions, which the SQL `predicate` names."""
        options = {"commit_properties": _marked(mark)}
        self._settled(table, lambda opened: _put(opened, rows, "overwrite", predicate, **options))

    def add_columns(self, table: Table, names: Iterable[str]) -> None:
        """Add declared columns to a table that is there; its old rows have NULL in them."""
        declared = {field.name: field for field in Schema.from_json(table.schema.json()).fields}
        self._settled(table, lambda opened: opened.alter.add_columns([declared[name] for name in names]))

    def set_properties(self, table: Table, properties: dict[str, str] | None = None) -> None:
        """Bring the table to these properties, the declared ones by default; nothing is written when it has them."""
        wanted = properties_of(table) if properties is None else properties

        def attempt(opened: DeltaTable) -> None:
            changed = dict(wanted.items() - opened.metadata().configuration.items())
            if changed:
                opened.alter.set_table_properties(changed, raise_if_not_exists=False)

        self._settled(table, attempt)

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
        with self._turn(table):
            self._newest(table).vacuum(
                ceil(table.keep_hours), dry_run=False, enforce_retention_duration=False, full=orphans
            )

    def checkpoint(self, table: Table) -> None:
        """Write a checkpoint of the newest version, which makes the log before it unneeded. That is no commit: large
        tables may have it from here, too."""
        with self._turn(table):
            self._newest(table).create_checkpoint()

    def history(self, table: Table, most: int) -> list[dict[str, Any]]:
        """The newest commits, the newest first, as the log tells of them."""
        with self._turn(table):
            return list(self._newest(table).history(most))

    def _settled(self, table: Table, work: Callable[[DeltaTable], None], *, looks: bool = True) -> None:
        """Do `work` on the newest version, again when others changed what it read. Without a look at first, that is
        the one which this process has just written."""
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random(0.01, 0.2),
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        ):
            with attempt, self._turn(table):
                is_known = not looks and attempt.retry_state.attempt_number == 1 and self._is_fresh(table)
                work(self._tables[table.full_name] if is_known else self._newest(table))
                if not looks:
                    self._written[table.full_name] = time.monotonic()

    def _turn(self, table: Table) -> threading.RLock:
        with self._guard:
            return self._turns.setdefault(table.full_name, threading.RLock())

    def _is_fresh(self, table: Table) -> bool:
        return time.monotonic() - self._written.get(table.full_name, -inf) < FRESH_SECONDS

    def _newest(self, table: Table) -> DeltaTable:
        self._written.pop(table.full_name, None)
        if known := self._tables.get(table.full_name):
            try:
                known.update_incremental()
                return known
            except (DeltaError, TableNotFoundError):
                pass  # its log was cleaned up to a version after the known one: it is opened anew
        opened = DeltaTable(self._address(table), storage_options=self._options)
        self._tables[table.full_name] = opened
        return opened

    def _address(self, table: Table) -> str:
        return f"s3://{self._settings.bucket}/{table.layer}/{table.name}"

    def _rows(self, opened: DeltaTable, table: Table, days: Iterable[date | str] | None) -> pa.Table:
        wanted = None if days is None else [day if isinstance(day, date) else date.fromisoformat(day) for day in days]
        chosen = None if wanted is None else [(table.partition_by[0], "in", wanted)]
        rows = opened.to_pyarrow_table(filters=chosen)
        return as_declared(rows, pa.schema(opened.schema().to_arrow()), table)


def _may_pass(error: BaseException) -> bool:
    """Whether another try can succeed, also after a column came; of two with one transaction the later one must not."""
    return isinstance(error, (CommitFailedError, SchemaMismatchError)) and _MADE_BEFORE not in str(error)


def _require_newer(opened: DeltaTable, name: str, version: int) -> None:
    known = opened.transaction_version(name)
    if known is not None and known >= version:
        raise CommitFailedError(f"{_MADE_BEFORE}: {name} {version}, the table has {known}")


def _put(opened: DeltaTable, rows: pa.Table, mode: Any, predicate: str | None, **options: Any) -> None:
    schema = pa.schema(opened.schema().to_arrow())
    shaped = _shaped(rows, schema, schema.names)
    write_deltalake(opened, shaped, mode=mode, predicate=predicate, post_commithook_properties=_AFTERWARDS, **options)


def as_declared(rows: pa.Table, schema: pa.Schema, table: Table) -> pa.Table:
    """`rows` with the declared columns that the table has, in the types of its `schema`; NULL in one that they lack."""
    return _shaped(rows, schema, [name for name in table.columns if name in schema.names])


def _shaped(rows: pa.Table, schema: pa.Schema, names: list[str]) -> pa.Table:
    fields = [schema.field(name) for name in names]
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in fields
    ]
    return pa.table(columns, schema=pa.schema(fields))


def _marked(mark: str, transactions: Sequence[Transaction] = (), **noted: bool) -> CommitProperties:
    metadata = ({"userMetadata": mark} if mark else {}) | noted
    return CommitProperties(custom_metadata=metadata or None, app_transactions=list(transactions))


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
