"""SQL over tables that Spark wrote: nothing is lost behind partition filters and checkpoints."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, LongType, StringType, StructType

from lakehouse.lake import Lake
from lakehouse.session import connect as connect_spark
from lakehouse.sql import SqlReader, connect
from lakehouse.table import Table, column
from tests.support.shop import Shop

pytestmark = pytest.mark.e2e

DAYS = 3
COMMITS = 7
CHECKPOINT_EVERY = 3
TABLE = Table(
    layer="ops",
    name="sql_oracle",
    grain="one test row",
    schema=StructType(
        [
            column("number", LongType(), "Rises by one"),
            column("text", StringType(), "Something"),
            column("day", DateType(), "Partition"),
        ]
    ),
    keys=("number",),
    partition_by=("day",),
    properties={"delta.checkpointInterval": str(CHECKPOINT_EVERY)},
)


def day_of(number: int) -> date:
    return date(2026, 9, 1) + timedelta(days=number % DAYS)


@pytest.fixture(scope="module")
def spark_lake(shop: Shop) -> Iterator[Lake]:
    spark = connect_spark(shop.settings)
    yield Lake(spark, shop.settings)
    spark.stop()


@pytest.fixture(scope="module")
def written(spark_lake: Lake) -> list[int]:
    """Rows of 7 commits with at least 2 checkpoints, over 3 partitions."""
    spark_lake.create_tables([TABLE])
    spark_lake.small.overwrite(TABLE, _rows(spark_lake, 0, 0).toArrow())
    for commit in range(COMMITS):
        spark_lake.append(TABLE, _rows(spark_lake, commit * 100, commit * 100 + 100))
    log = f"{spark_lake.path(TABLE)}/_delta_log/*.checkpoint*.parquet"
    assert len(spark_lake.spark.read.format("binaryFile").load(log).select("path").collect()) >= 2
    return list(range(COMMITS * 100))


def _rows(lake: Lake, start: int, end: int):
    numbers = lake.spark.range(start, end, numPartitions=1).withColumnRenamed("id", "number")
    day = F.date_add(F.lit(date(2026, 9, 1)), (F.col("number") % DAYS).cast("int"))
    return numbers.select("number", F.concat(F.lit("row "), F.col("number")).alias("text"), day.alias("day"))


@pytest.fixture(scope="module")
def reader(spark_lake: Lake, written: list[int]):
    with connect(spark_lake.settings) as opened:
        yield opened


def counted(reader: SqlReader, where: str) -> tuple[int, int]:
    (row,) = reader.query(f"SELECT count(*) AS n, coalesce(sum(number), 0) AS total FROM ops.sql_oracle WHERE {where}")
    return row["n"], row["total"]


def test_partition_filters_lose_no_rows(reader: SqlReader, written: list[int]) -> None:
    expected = Counter(map(day_of, written))
    rows = reader.query("SELECT day, count(*) AS n, sum(number) AS total FROM ops.sql_oracle GROUP BY day ORDER BY day")
    assert {row["day"]: row["n"] for row in rows} == expected
    for row in rows:
        day = row["day"]
        plain = (row["n"], row["total"])
        assert counted(reader, f"day = DATE '{day}'") == plain
        assert counted(reader, f"CAST(day AS VARCHAR) = '{day}'") == plain
        assert counted(reader, f"day >= DATE '{day}' AND day < DATE '{day}' + 1") == plain
        assert counted(reader, f"day IN (DATE '{day}')") == plain
        assert counted(reader, f"day = DATE '{day}' AND number >= 0 AND text LIKE 'row %'") == plain
    assert counted(reader, "day > DATE '2026-09-02'") == (
        sum(count for day, count in expected.items() if day > date(2026, 9, 2)),
        sum(number for number in written if day_of(number) > date(2026, 9, 2)),
    )


def test_the_newest_commit_is_seen_and_an_emptied_partition_is_empty(
    reader: SqlReader, spark_lake: Lake, written: list[int]
) -> None:
    numbers = [*written, *range(100_000, 100_010)]
    spark_lake.append(TABLE, _rows(spark_lake, 100_000, 100_010))
    assert counted(reader, "true") == (len(numbers), sum(numbers))
    spark_lake.replace(TABLE, _rows(spark_lake, 0, 0), "day = DATE '2026-09-01'")
    assert counted(reader, "day = DATE '2026-09-01'") == (0, 0)
    left = [number for number in numbers if day_of(number) != date(2026, 9, 1)]
    assert counted(reader, "true") == (len(left), sum(left))
