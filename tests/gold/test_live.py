"""The rows that DuckDB tells while events come equal those that Spark tells of all of them, in every live table."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import pairwise
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold import kpis, top_products
from lakehouse import hours as clock
from lakehouse.settings import Settings
from lakehouse.stream.fold import Fold, frontier_at
from lakehouse.stream.gold_refresh import HOURLY
from lakehouse.stream.live_gold import LIVE
from lakehouse.table import Table
from tests.gold.conftest import NOON, Events, exact
from tests.support.folding import Row, empty_fold, facts, in_order, record, rows_of
from tests.support.rolling import last_hour

pytestmark = pytest.mark.spark
NOW = NOON + timedelta(hours=2, minutes=30)
"""The window begins at noon, and the hour from 15:00 lies ahead."""
CLOSED = clock.number_of(NOON)
TOP_N = 4
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
AS_OF = [
    NOON + timedelta(minutes=60),
    NOON + timedelta(minutes=61, seconds=1),
    NOW - SECOND,
    NOW,
    NOW + SECOND,
    NOW + timedelta(minutes=59, seconds=59),
    NOW + timedelta(hours=9),
]
TYPES = ["page_view", "product_view", "click", "add_to_cart", "purchase", "search", "other"]
CENTS = [None, 0.0, 0.1, 0.2, 19.99, 1e-4, 5e-5, 4.9e-5, 2.5e-4, 1.00005, 3e-9]
AMOUNTS = [*CENTS, 1e12, 999999999999.123, 1e-9]
CURRENCIES = {
    12: ["EUR", "eur", " EUR ", "EUR\u00a0"],
    13: ["EUR", "JPY", None],
    14: [None, "", " ", "\t"],
    15: ["e", "EURO", "ÄÖÜ", "EUR"],
}
"""By hour."""


def odd_rows(chance: random.Random, count: int = 1200) -> list[Row]:
    """Few products and users, names and fields left out, ties in every hour, whatever is awkward to compare."""
    rows = []
    for number in range(count):
        moment = NOON + timedelta(microseconds=chance.choice([1, 1_000_000]) * chance.randrange(4 * 3600))
        moment += timedelta(hours=chance.choice([0, 0, 1, 2, 3])) * chance.choice([0, 1])
        moment = min(moment, NOON + timedelta(hours=4) - MICROSECOND)
        rows.append(
            {
                "event_id": f"{chance.choice(['a', 'Z', 'é', '~', '💡', '￮'])}{number}",
                "event_time": moment,
                "event_type": chance.choice(
                    ["page_view", "product_view", "click", "add_to_cart", "purchase", "search", "other"]
                ),
                "user_id": chance.choice(["u1", "u2", "ü", "u3", "u3 "]),
                "product_id": chance.choice([None, "", "p", "P", "pé", "p💡", "p￮", "p1", "p10", "p2", " p"]),
                "product_name": chance.choice([None, None, "", " ", "red", "Rot"]),
                "amount": chance.choice(AMOUNTS),
                "currency": chance.choice(CURRENCIES[moment.hour]),
                "order_id": chance.choice([None, "o1", "o2", "O1", "ö", f"o{number}"]),
                "payment_status": chance.choice([None, "approved", "declined", "pending"]),
                "country": chance.choice([None, "", "DE", "de", "XX", "DE,FR", "US"]),
                "device_id": chance.choice([None, "d"]),
                "ip": chance.choice([None, "i"]),
                "card_fingerprint": chance.choice([None, "c"]),
            }
        )
    return rows


def edge_rows() -> list[Row]:
    """A product of its own for each edge of each rolling hour, and of the window."""
    edges = [*AS_OF[:-1], *(moment - timedelta(hours=1) for moment in AS_OF[:-1]), NOON, NOON + timedelta(hours=1)]
    moments = [edge + step for edge in edges for step in (-MICROSECOND, 0 * SECOND, MICROSECOND)]
    return [
        {"event_id": f"edge{number}", "event_time": moment, "event_type": "product_view", "product_id": f"edge{number}"}
        for number, moment in enumerate(moments)
    ]


@pytest.fixture(scope="module")
def rows(random_rows: list[Row]) -> list[Row]:
    return [*random_rows, *odd_rows(random.Random(20261129)), *edge_rows()]


@pytest.fixture(scope="module")
def history(events: Events, rows: list[Row]) -> DataFrame:
    return events(rows).cache()


def one_batch(rows: list[Row]) -> list[list[Row]]:
    return [rows]


def some_batches(rows: list[Row]) -> list[list[Row]]:
    chance = random.Random(7)
    mixed = chance.sample(rows, len(rows))
    cuts = sorted(chance.sample(range(len(rows)), 8))
    return [mixed[begin:end] for begin, end in pairwise([0, *cuts, len(rows)])]


def by_time_and_back(rows: list[Row]) -> list[list[Row]]:
    """Ten small batches, then the newest first."""
    ordered = sorted(rows, key=lambda row: row["event_time"])
    return [*([row] for row in ordered[:10]), *(ordered[10:][::-1][start::4] for start in range(4))]


@pytest.fixture(scope="module", params=[one_batch, some_batches, by_time_and_back])
def fold(request: pytest.FixtureRequest, rows: list[Row]) -> Fold:
    cut: Callable[[list[Row]], list[list[Row]]] = request.param
    made, offset = empty_fold(NOW), 0
    for batch in cut(rows):
        taken = made.take(
            facts(record(offset=offset + at, **{k: exact(v) for k, v in row.items()}) for at, row in enumerate(batch)),
            None,
            NOW,
        )
        assert taken.duplicates.num_rows == 0
        made.commit("taken", NOW)
        offset += len(batch)
    return made


def told(frame: DataFrame, table: Table) -> list[Row]:
    found = [{name: in_utc(value) for name, value in row.asDict().items()} for row in frame.collect()]
    return sorted(found, key=lambda row: [row[key] for key in table.keys])


def in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def in_window(history: DataFrame) -> DataFrame:
    return history.where(F.col("event_time") >= F.lit(frontier_at(NOW)))


@pytest.fixture(scope="module")
def by_spark(history: DataFrame) -> dict[str, list[Row]]:
    """What Spark says of every live table."""
    settings, found = Settings(top_n=TOP_N, currency=None), {}
    for table in HOURLY:
        assert table.hourly
        found[table.name] = told(table.hourly(in_window(history).select(*table.reads), settings), table)
    last_hours = [last_hour(history, as_of, 30) for as_of in AS_OF]
    rolling = reduce(DataFrame.unionByName, last_hours)
    return {**found, top_products.LAST_HOUR.name: told(rolling, top_products.LAST_HOUR)}


def test_every_live_table_is_compared(by_spark: dict[str, list[Row]]) -> None:
    assert by_spark.keys() == {table.name for table in LIVE}


@pytest.mark.parametrize("table", HOURLY, ids=lambda table: table.name)
def test_hours_equal_those_of_spark(fold: Fold, by_spark: dict[str, list[Row]], table: Table) -> None:
    found = rows_of(fold, table, NOW, TOP_N)
    assert found == by_spark[table.name]
    assert {row["hour_start"] for row in found} == {NOON + timedelta(hours=number) for number in range(4)}


def test_one_hour_is_told_alone(fold: Fold, by_spark: dict[str, list[Row]]) -> None:
    for table in HOURLY:
        wanted = [row for row in by_spark[table.name] if row["hour_start"] == NOON]
        assert fold.rows(table.live, [CLOSED], NOW, TOP_N).num_rows == len(wanted)
        assert fold.rows(table.live, [], NOW, TOP_N).num_rows == 0


def test_the_rolling_hour_equals_that_of_spark(fold: Fold, by_spark: dict[str, list[Row]]) -> None:
    """Asked within a second, it is as of the second."""
    table = top_products.LAST_HOUR
    for asked in [*AS_OF, AS_OF[1] + SECOND - MICROSECOND]:
        as_of = asked.replace(microsecond=0)
        expected = [row for row in by_spark[table.name] if row["as_of"] == as_of]
        assert rows_of(fold, table, asked, top_n=30) == expected
        assert expected or as_of == AS_OF[-1]


@pytest.mark.parametrize("currency", ["EUR", "JPY", "USD"])
def test_the_shops_currency_is_told_as_by_spark(fold: Fold, history: DataFrame, currency: str) -> None:
    hours = range(CLOSED, CLOSED + 4)
    found = in_order(fold.rows(kpis.LIVE, hours, NOW, TOP_N, currency), kpis.TABLE)
    assert found == told(kpis.hourly(in_window(history), currency), kpis.TABLE)
    assert {row["currency"] for row in found} == {currency}
