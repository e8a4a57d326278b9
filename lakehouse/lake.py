"""Reading and writing the tables: the only place that knows paths and Delta options."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField

from lakehouse.embedded.s3 import s3_client
from lakehouse.settings import Settings
from lakehouse.table import Table

_MAY_PASS = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED")
_PROPERTIES = {
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 1 day",
}


ATTEMPTS = 5


def settled(
    work: Callable[..., None],
    *args: object,
    attempts: int = ATTEMPTS,
    pause: Callable[[int], float] = lambda attempt: 1 + attempt,
) -> None:
    """Do `work`, again when another writer (a job beside the stream) changed the same rows meanwhile or added a column:
    it reads what is there and replaces it, so that doing it again is right.
    `pause` tells the seconds after each attempt."""
    for attempt in range(attempts):
        try:
            return work(*args)
        except PySparkException as error:
            if attempt == attempts - 1 or not any(name in str(error) for name in _MAY_PASS):
                raise
            time.sleep(pause(attempt))
    return None


@dataclass(frozen=True)
class Transaction:
    """Names a write for ever: Delta skips a write whose application has committed this version or a later one."""

    application: str
    version: int


class Compacted(NamedTuple):
    """How many files became how many."""

    files: int
    into: int


class Lake:
    """The Delta tables of one bucket, through one Spark session."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        """Keep `spark` and the bucket of `settings`; nothing is started."""
        self.spark = spark
        self.settings = settings

    def path(self, table: Table) -> str:
        """Address of a table as Spark spells it."""
        return f"s3a://{self.settings.bucket}/{table.layer}/{table.name}"

    def create_tables(self, tables: Iterable[Table]) -> None:
        """Create the tables that do not exist yet; asking S3 first costs far less than asking Spark."""
        client = s3_client(self.settings)
        missing = [table for table in tables if not self._exists(client, table)]
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(self._create, missing))

    def _exists(self, client: Any, table: Table) -> bool:
        prefix = f"{table.layer}/{table.name}/_delta_log/"
        found = client.list_objects_v2(Bucket=self.settings.bucket, Prefix=prefix, MaxKeys=1)
        return bool(found.get("KeyCount"))

    def _create(self, table: Table) -> None:
        columns = _ddl(table.schema.fields)
        partitions = f"PARTITIONED BY ({', '.join(table.partition_by)})" if table.partition_by else ""
        kept = {"delta.deletedFileRetentionDuration": f"interval {round(table.keep_hours * 60)} minutes"}
        properties = _PROPERTIES | kept | table.properties
        if table.statistics:
            properties["delta.dataSkippingStatsColumns"] = ",".join(table.statistics)
        listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS delta.`{self.path(table)}` ({columns}) USING delta {partitions}"
            f" TBLPROPERTIES ({listed})"
        ).collect()

    def add_columns(self, table: Table, columns: Iterable[StructField]) -> None:
        """Add columns to a table that is there; its old rows have NULL in them."""
        self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` ADD COLUMNS ({_ddl(columns)})").collect()

    def read(self, table: Table) -> DataFrame:
        """The newest version of a table."""
        return self.spark.read.format("delta").load(self.path(table))

    def append(self, table: Table, rows: DataFrame, transaction: Transaction | None = None) -> None:
        """Add `rows`, once per transaction."""
        settled(self._write, table, rows, "append", transaction)

    def overwrite(self, table: Table, rows: DataFrame) -> None:
        """Replace the whole table."""
        self._write(table, rows, "overwrite", None)

    def overwrite_partitions(self, table: Table, rows: DataFrame) -> None:
        """Replace the partitions that occur in `rows`; others stay untouched."""
        self._write(table, rows, "overwrite", None, partitionOverwriteMode="dynamic")

    def replace(self, table: Table, rows: DataFrame, condition: str) -> None:
        """Replace the rows where the SQL `condition` over the table's columns holds by `rows`."""
        self._write(table, rows, "overwrite", None, replaceWhere=condition)

    def compact(self, table: Table, condition: str | None = None) -> Compacted:
        """Merge small files, in the partitions where `condition` holds."""
        where = f" WHERE {condition}" if condition else ""
        metrics = self.spark.sql(f"OPTIMIZE delta.`{self.path(table)}`{where}").collect()[0]["metrics"]
        return Compacted(int(metrics["numFilesRemoved"]), int(metrics["numFilesAdded"]))

    def vacuum(self, table: Table) -> None:
        """Delete files that no version of the table's last `keep_hours` needs."""
        # Hours as an argument (RETAIN) are ignored by Delta: the property, set at creation, decides.
        self.spark.sql(f"VACUUM delta.`{self.path(table)}`").collect()

    def _write(self, table: Table, rows: DataFrame, mode: str, transaction: Transaction | None, **options: str) -> None:
        writer = rows.select(*table.columns).write.format("delta").mode(mode).options(**options)
        if transaction is not None:
            writer = writer.option("txnAppId", transaction.application).option("txnVersion", str(transaction.version))
        writer.save(self.path(table))


def _ddl(columns: Iterable[StructField]) -> str:
    return ", ".join(
        f"`{field.name}` {field.dataType.simpleString()} COMMENT '{field.metadata['comment'].replace(chr(39), '’')}'"
        for field in columns
    )
