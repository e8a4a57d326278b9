"""Columns that a declaration has gained come to the table in the lake: once, whoever else does the same or writes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, LongType, StringType, StructType

from lakehouse.errors import ShoplakeError
from lakehouse.lake import Lake
from lakehouse.ops import schema_changes
from lakehouse.session import connect
from lakehouse.small_tables import SmallTables
from lakehouse.table import Table, column
from tests.support.shop import Shop

pytestmark = pytest.mark.e2e

FIRST = Table(
    layer="ops",
    name="growing",
    grain="one test row",
    schema=StructType([column("number", LongType(), "Rises by one")]),
    keys=("number",),
)
APPENDS = 6


def with_more(table: Table, **types: object) -> Table:
    more = [column(name, kind, "It came later") for name, kind in types.items()]  # type: ignore[arg-type]
    return replace(table, schema=StructType([*table.schema.fields, *more]))


SECOND = with_more(FIRST, coupon=StringType())
THIRD = with_more(SECOND, parcels=LongType(), weight=IntegerType())


@pytest.fixture(scope="module")
def lake(shop: Shop) -> Iterator[Lake]:
    spark = connect(shop.settings)
    lake = Lake(spark, shop.settings)
    lake.create_tables([FIRST, schema_changes.TABLE])
    yield lake
    spark.stop()


def rows(lake: Lake, first: int, table: Table = FIRST):
    numbers = lake.spark.range(first, first + 10, numPartitions=1).withColumnRenamed("id", "number")
    more = [F.lit("1").cast(field.dataType).alias(field.name) for field in table.schema.fields[1:]]
    return numbers.select("number", *more)


def logged(lake: Lake) -> list[str]:
    mine = lake.read(schema_changes.TABLE).where(F.col("table_name") == FIRST.full_name)
    return sorted(row["change"] for row in mine.collect())


def version(lake: Lake) -> int:
    return int(lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.path(FIRST)}` LIMIT 1").collect()[0]["version"])


def test_a_declared_column_is_added_once_and_written_down(lake: Lake) -> None:
    lake.append(FIRST, rows(lake, 0))
    assert schema_changes.apply(lake, [FIRST]) == [], "there is nothing to change"
    assert schema_changes.apply(lake, [SECOND]) == ["ops.growing: add column coupon string"]
    before = version(lake)
    assert schema_changes.apply(lake, [SECOND]) == []
    assert (version(lake), logged(lake)) == (before, ["add column coupon string"])
    lake.append(SECOND, rows(lake, 10, SECOND))
    lake.append(FIRST, rows(lake, 20))
    found = lake.read(SECOND).groupBy("coupon").count().collect()
    assert {row["coupon"]: row["count"] for row in found} == {None: 20, "1": 10}, "old rows and old code have NULL"


def test_several_at_once_beside_writers_change_it_once_and_lose_nothing(lake: Lake, shop: Shop) -> None:
    others = [Lake(connect(shop.settings), shop.settings) for _ in range(3)]

    def append(number: int) -> None:
        lake.append(FIRST, rows(lake, 1000 * (number + 1)))

    with ThreadPoolExecutor(8) as pool:
        appended = [pool.submit(append, number) for number in range(APPENDS)]
        changed = [pool.submit(schema_changes.apply, other, [THIRD]) for other in others]
        for each in (*appended, *changed):
            each.result()
    for other in others:
        other.spark.stop()
    assert lake.read(THIRD).where("number >= 1000").count() == 10 * APPENDS
    assert {"parcels", "weight"} <= set(lake.read(THIRD).columns)
    assert logged(lake) == ["add column coupon string", "add column parcels bigint", "add column weight int"]


def test_who_dies_before_the_change_is_made_up_for(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fourth = with_more(THIRD, gift=StringType())

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SmallTables, "add_columns", dies)
        schema_changes.apply(lake, [fourth])
    assert "gift" not in lake.read(fourth).columns
    assert schema_changes.apply(lake, [fourth]) == ["ops.growing: add column gift string"]
    assert "gift" in lake.read(fourth).columns
    assert logged(lake).count("add column gift string") == 1


def test_another_type_is_refused_with_its_name(lake: Lake) -> None:
    other = with_more(FIRST, coupon=LongType())
    with pytest.raises(ShoplakeError, match=r"ops\.growing\.coupon is string in the lake and bigint"):
        schema_changes.apply(lake, [other])
