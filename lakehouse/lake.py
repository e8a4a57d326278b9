"""Reading and writing the tables: the only place that knows paths and Delta options. Spark reads, and replaces rows of
large tables; all else is delta-rs's (`lakehouse.small_tables`). A commit is S3's conditional PUT, whoever makes it."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import tenacity
from deltalake import Schema
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from tenacity.wait import wait_base

from lakehouse.s3 import s3_client
from lakehouse.session import commit_mark, marked_run
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables
from lakehouse.table import Table

_PAGE, _LARGEST_PAGE = 20, 2_000
_MAY_PASS = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED")
_Done = TypeVar("_Done")


ATTEMPTS = 5
WAIT = tenacity.wait_incrementing(start=1, increment=1)


def settled(work: Callable[..., _Done], *args: object, attempts: int = ATTEMPTS, wait: wait_base = WAIT) -> _Done:
    """Do `work`, again when another writer (a job beside the stream) changed the same rows meanwhile or added a column:
    it reads what is there and replaces it, so that doing it again is right."""
    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=wait,
        retry=tenacity.retry_if_exception(_may_pass),
        reraise=True,
    )
    return again(work, *args)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, PySparkException) and any(name in str(error) for name in _MAY_PASS)


def materialized(frame: DataFrame) -> DataFrame:
    """The rows of `frame` as they are now, computed once and kept by Spark while somebody has a name for them.

    Not `persist`: with every write to a table Spark plans anew, and forgets, what is persisted of it, which the writer
    waits for.
    """
    # pyspark gives the result to the thread's active session, which in a new thread is the process's newest one.
    active = getattr(type(frame.sparkSession), "_active_session", None)
    if active is not None:
        active.session = frame.sparkSession
    return frame.localCheckpoint(eager=True)


class Commit(NamedTuple):
    """A version of a table: its number, what its writer said of it, and the rows that it wrote."""

    version: int
    mark: str
    rows: int


class Lake:
    """The Delta tables of one bucket, through one Spark session."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.spark = spark
        self.settings = settings
        self.small = SmallTables(settings)

    def path(self, table: Table) -> str:
        """Address of a table as Spark spells it."""
        return f"s3a://{self.settings.bucket}/{table.layer}/{table.name}"

    def create_tables(self, tables: Iterable[Table]) -> None:
        """Create the tables that do not exist yet; to ask S3 for a name first costs less than to open each of them."""
        client = s3_client(self.settings)
        missing = [table for table in tables if not self._exists(client, table)]
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(self.small.create, missing))

    def _exists(self, client: Any, table: Table) -> bool:
        prefix = f"{table.layer}/{table.name}/_delta_log/"
        found = client.list_objects_v2(Bucket=self.settings.bucket, Prefix=prefix, MaxKeys=1)
        return bool(found.get("KeyCount"))

    def fence(self, tables: Iterable[Table], token: str) -> None:
        """Let every commit to the tables that is under way fail: Delta refuses one that began before a change of the
        properties. What is in a table afterwards was there before, or began later."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda table: self.small.set_properties(table, {"shoplake.writer": token}), tables))

    def read(self, table: Table) -> DataFrame:
        """The newest version of a table."""
        return self.spark.read.format("delta").load(self.path(table))

    def append(self, table: Table, rows: DataFrame) -> None:
        """Add `rows`."""
        self.small.append(table, rows.select(*table.columns).toArrow(), self.mark)

    def append_rows(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        """Add a few rows to a small table, whose values stand in the declared order of the columns."""
        self.small.append(table, arrow_rows(table, rows), self.mark)

    def replace(self, table: Table, rows: DataFrame, condition: str) -> None:
        """Replace the rows where the SQL `condition` over the table's columns holds by `rows`; in a small table it
        names whole partitions."""
        if table.is_small:
            self.small.replace(table, rows.select(*table.columns).toArrow(), condition, self.mark)
            return
        written = rows.select(*table.columns).write.format("delta").mode("overwrite")
        written.option("replaceWhere", condition).save(self.path(table))

    @cached_property
    def mark(self) -> str:
        """What histories say of commits through this lake: the run whose session it has."""
        run = marked_run(self.spark)
        return commit_mark(run) if run else ""

    def history(self, table: Table, since: datetime) -> list[Commit]:
        """The newest commits, at least as many as reach back to `since`: the stream may have made many meanwhile."""
        page = _PAGE
        while True:
            rows = self.small.history(table, page)
            reaches_back = len(rows) < page or rows[-1]["timestamp"] / 1000 < since.timestamp()
            if reaches_back or page >= _LARGEST_PAGE:
                return [_commit(row) for row in rows]
            page *= 10

    def cluster(self, table: Table, day: date) -> None:
        """Write a day anew, so that rows with like values of `cluster_by` share files. Changes no row: who appends
        meanwhile is not disturbed."""
        where = f"{table.partition_by[0]} = DATE '{day}'"
        optimize = f"OPTIMIZE delta.`{self.path(table)}` WHERE {where} ZORDER BY ({', '.join(table.cluster_by)})"
        settled(lambda: self.spark.sql(optimize).collect())


def _commit(row: dict[str, Any]) -> Commit:
    """delta-rs and Spark give the number of rows different names."""
    metrics = row.get("operationMetrics", {})
    return Commit(
        row["version"], row.get("userMetadata", ""), int(metrics.get("num_added_rows", metrics.get("numOutputRows", 0)))
    )


def arrow_rows(table: Table, rows: list[tuple[Any, ...]]) -> pa.Table:
    """Rows, whose values stand in the declared order of the columns, as Arrow."""
    return pa.Table.from_pylist([dict(zip(table.columns, row, strict=True)) for row in rows], arrow_schema(table))


def arrow_schema(table: Table) -> pa.Schema:
    """The declared columns as Arrow has them; timestamps are UTC."""
    return pa.schema(Schema.from_json(table.schema.json()).to_arrow())
