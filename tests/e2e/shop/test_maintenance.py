"""A table that is tidied: lookups read fewer files, its log is short, and nobody who reads or writes it notices."""

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, LongType, StringType, StructType

from lakehouse import small_tables
from lakehouse.jobs.maintenance import tidy
from lakehouse.lake import Lake
from lakehouse.ops import marks
from lakehouse.s3 import s3_client
from lakehouse.services.s3 import ensure_bucket
from lakehouse.session import connect as connect_spark
from lakehouse.sql import SqlReader, connect
from lakehouse.stream import log_cleanup
from lakehouse.table import LOG_HOURS, Table, column
from tests.support.shop import Shop, eventually

pytestmark = pytest.mark.e2e

TODAY = datetime.now(UTC).date()
DAY = TODAY - timedelta(days=1)
ROWS, FILES = 5_000, 48
CHECKPOINT_EVERY = 3
TABLE = Table(
    layer="ops",
    name="tidied",
    grain="one test row",
    schema=StructType(
        [
            column("number", LongType(), "Rises by one"),
            column("second", LongType(), "Of the day: rises with number, but for one row in a hundred that came late"),
            column("who", StringType(), "One of a thousand, anywhere"),
            column("text", StringType(), "Something that does not compress"),
            column("day", DateType(), "Partition"),
        ]
    ),
    keys=("number",),
    partition_by=("day",),
    statistics=("second", "who"),
    cluster_by=("second", "who"),
    properties={"delta.checkpointInterval": str(CHECKPOINT_EVERY)},
)
LOGGED = replace(TABLE, name="logged", cluster_by=())


@pytest.fixture(scope="module")
def lake(shop: Shop) -> Iterator[Lake]:
    """A lake of its own: the shop's Spark and S3 server, and another bucket."""
    settings = shop.settings.model_copy(update={"bucket": "tidied"})
    ensure_bucket(settings)
    spark = connect_spark(settings)
    # As large as an append of these tests, so that days have several files.
    spark.conf.set("spark.databricks.delta.optimize.maxFileSize", "700000")
    spark.conf.set("spark.databricks.delta.optimize.minFileSize", "300000")
    made = Lake(spark, settings)
    made.create_tables([marks.TABLE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_tables, "COMPACTED_BYTES", 700_000)
        yield made
    spark.stop()


@pytest.fixture(scope="module")
def client(lake: Lake) -> Any:
    return s3_client(lake.settings)


@pytest.fixture(scope="module")
def reader(lake: Lake) -> Iterator[SqlReader]:
    with connect(lake.settings) as opened:
        yield opened


def rows(lake: Lake, start: int, count: int, day: date = DAY) -> DataFrame:
    numbers = lake.spark.range(start, start + count, numPartitions=1).withColumnRenamed("id", "number")
    second = F.floor(F.col("number") * 86_400 / (FILES * ROWS))
    is_late = F.pmod(F.hash("number"), F.lit(100)) == 0
    return numbers.select(
        "number",
        F.when(is_late, F.floor(second * F.pmod(F.hash("number", F.lit(1)), F.lit(100)) / 100))
        .otherwise(second)
        .alias("second"),
        F.format_string("who-%03d", F.pmod(F.hash("number"), F.lit(1000))).alias("who"),
        F.sha2(F.col("number").cast("string"), 512).alias("text"),
        F.lit(day).alias("day"),
    )


def scan(reader: SqlReader, table: Table, version: int | None = None) -> str:
    at = "" if version is None else f", version => {version}"
    return f"delta_scan('{reader.address(table.full_name)}'{at})"


def sum_of(reader: SqlReader, table: Table, version: int | None = None) -> tuple[int, int]:
    (row,) = reader.arrow(f"SELECT count(*) AS n, sum(number) AS total FROM {scan(reader, table, version)}").to_pylist()
    return row["n"], row["total"]


def files_read(reader: SqlReader, where: str) -> int:
    plan = reader.arrow(f"EXPLAIN ANALYZE SELECT text FROM {scan(reader, TABLE)} WHERE {where}").to_pylist()
    (found,) = re.findall(r"Total Files Read: (\d+)", str(plan))
    return int(found)


def version_of(lake: Lake, table: Table) -> int:
    return int(lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.path(table)}` LIMIT 1").collect()[0]["version"])


@pytest.mark.nightly
def test_a_past_day_is_clustered_once_and_lookups_read_less(lake: Lake, client: Any, reader: SqlReader) -> None:
    lake.create_tables([TABLE])
    many = rows(lake, 0, FILES * ROWS).repartitionByRange(FILES, "number")
    many.write.format("delta").mode("append").save(lake.path(TABLE))
    for turn in range(2):  # large enough that they are not merged
        lake.append(TABLE, rows(lake, 10**6 + turn * ROWS, ROWS, TODAY))
    before, told = version_of(lake, TABLE), sum_of(reader, TABLE)
    hours = [f"second >= {hour * 3600} AND second < {(hour + 1) * 3600}" for hour in (3, 9, 15, 21)]
    lookups = [f"day = '{DAY}' AND {which}" for which in (*hours, "who = 'who-100'", "who = 'who-700'")]
    reads = [files_read(reader, where) for where in lookups]
    assert reads[-2:] == [FILES, FILES], "everybody is in every file"

    row = tidy(lake, client, TABLE, TODAY)
    assert (row["clustered_days"], row["compacted_files"]) == (1, 0)
    after = [files_read(reader, where) for where in lookups]
    assert max(after[-2:]) <= FILES / 2 and sum(after[:4]) < sum(reads[:4]), f"{reads} files were read, now {after}"
    assert sum_of(reader, TABLE) == told
    assert sum_of(reader, TABLE, before) == told, "who has opened the version before reads on"
    count = files_read(reader, f"day = '{DAY}'")
    print(
        f"\nOf {FILES} files, lookups of four hours and of two people read {reads}; of {count} clustered ones {after}."
    )

    tidied = version_of(lake, TABLE)
    assert tidy(lake, client, TABLE, TODAY)["clustered_days"] == 0 and version_of(lake, TABLE) == tidied
    lake.append(TABLE, rows(lake, 2 * 10**6, 10))
    assert tidy(lake, client, TABLE, TODAY)["clustered_days"] == 0, "a few late rows are not worth it"
    lake.append(TABLE, rows(lake, 3 * 10**6, FILES * ROWS // 10))
    assert tidy(lake, client, TABLE, TODAY)["clustered_days"] == 1


def test_who_appends_while_a_day_is_clustered_loses_nothing(lake: Lake, client: Any, reader: SqlReader) -> None:
    table = replace(TABLE, name="tidied_beside")
    lake.create_tables([table])
    lake.append(table, rows(lake, 0, ROWS))
    lake.append(table, rows(lake, ROWS, ROWS))
    done, turns = threading.Event(), []

    def write() -> None:
        while not done.is_set():
            lake.append(table, rows(lake, (2 + len(turns)) * ROWS, ROWS))
            turns.append(len(turns))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert tidy(lake, client, table, TODAY)["clustered_days"] == 1
    finally:
        done.set()
        writer.join()
    count = (2 + len(turns)) * ROWS
    assert turns and sum_of(reader, table) == (count, count * (count - 1) // 2)


def test_a_long_log_has_a_checkpoint_and_loses_what_is_expired(lake: Lake, client: Any, reader: SqlReader) -> None:
    lake.create_tables([LOGGED])
    for turn in range(10):
        lake.append(LOGGED, rows(lake, turn, 1))
    assert log_cleanup.clean(client, lake.settings.bucket, LOGGED) == 0, "nothing is old enough"
    log = Path(lake.settings.data_dir) / "s3" / lake.settings.bucket / "ops" / LOGGED.name / "_delta_log"
    eventually((log / f"{8:020}.checkpoint.parquet").exists, 60, "the checkpoint is written beside the appends")
    long_ago = (datetime.now(UTC) - timedelta(hours=LOG_HOURS + 1)).timestamp()
    for file in log.iterdir():
        if file.name[:20].isdigit() and int(file.name[:20]) <= 8:
            os.utime(file, (long_ago, long_ago))
    row = tidy(lake, client, LOGGED, TODAY)
    kept = sorted(int(file.name[:20]) for file in log.glob("*.json"))
    assert kept[0] == 8, "the newest checkpoint that is old enough"
    assert row["log_files_after"] < row["log_files_before"] and row["log_commits_to_read"] < CHECKPOINT_EVERY
    assert sum_of(reader, LOGGED) == (10, 45)
    assert sum_of(reader, LOGGED, 8) == (8, 28), "the newest version of that moment can still be opened"
    lake.append(LOGGED, rows(lake, 10, 1))
    assert sum_of(reader, LOGGED) == (11, 55) and lake.read(LOGGED).count() == 11
    assert log_cleanup.clean(client, lake.settings.bucket, LOGGED) == 0


def test_a_table_that_is_there_gets_the_properties_that_are_declared(lake: Lake, client: Any) -> None:
    old = replace(TABLE, name="declared_before", statistics=("second",), cluster_by=())
    new = replace(TABLE, name="declared_before")
    lake.create_tables([old])
    for turn in range(2):
        lake.append(old, rows(lake, turn * ROWS, ROWS))
    assert tidy(lake, client, new, TODAY)["clustered_days"] == 1, "Delta refuses columns without statistics"
    version = version_of(lake, new)
    lake.small.set_properties(new)
    assert version_of(lake, new) == version
