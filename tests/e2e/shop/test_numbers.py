"""Every number in the lake equals an independent recompute from what was sent."""

import hashlib
from datetime import UTC, datetime

import pytest

from gold import fraud, kpis, top_products
from lakehouse import hours as clock
from lakehouse.lake import Lake, settled
from lakehouse.session import connect
from lakehouse.stream import rebuilt
from producer.simulator.defects import DEFECTS
from silver import events as silver_events
from silver import quarantine
from tests.support import fraud_oracle, oracle
from tests.support.shop import (
    TOP_N,
    Shop,
    assert_books_balance,
    assert_gold_is_right,
    eventually,
    live_load,
    shoplake,
    tuples,
)

pytestmark = pytest.mark.e2e


def test_books_balance(shop: Shop) -> None:
    assert_books_balance(shop)


def test_bronze_is_byte_exact(shop: Shop) -> None:
    """Value and key of every record: empty ones, binary ones and the largest too."""
    place = 'topic, "partition", "offset"'
    database = shop.oracle.open()
    expected = database.execute(f"select {place}, digest from records order by {place}").fetchall()
    found = shop.ask(f"select {place}, sha256(value) as v, sha256(key) as k from bronze.events order by {place}")
    assert len(found) == len(expected)
    values = [tuple(row.values())[:4] for row in found]
    assert [pair for pair in zip(values, expected, strict=True) if pair[0] != pair[1]][:3] == []
    assert {(row["v"], row["k"]) for row in found} <= shop.oracle.keys
    empty = hashlib.sha256(b"").hexdigest()
    assert {None, empty} <= {row["v"] for row in found}, "there are records without a value, and with an empty one"


def test_silver_has_each_event_once(shop: Shop) -> None:
    database = shop.oracle.open()
    expected = database.execute('select event_id, topic, "partition", "offset" from accepted order by all').fetchall()
    assert tuples(shop.ask('select event_id, topic, "partition", "offset" from silver.events order by all')) == expected


def test_every_kind_of_defect_is_refused_with_its_reason(shop: Shop) -> None:
    database = shop.oracle.open()
    expected = database.execute(
        'select topic, "partition", "offset", reason from records where reason is not null order by all'
    ).fetchall()
    found = 'select topic, "partition", "offset", reason_code from silver.quarantine order by all'
    assert tuples(shop.ask(found)) == expected
    assert len(DEFECTS) >= 30


def test_hourly_gold_equals_the_recompute(shop: Shop) -> None:
    assert_gold_is_right(shop)


def test_rolling_hour_equals_the_recompute(shop: Shop) -> None:
    rows = shop.ask("select * from gold.top_products_last_hour order by rank")
    assert rows, "live traffic has been sent within the hour"
    expected = oracle.last_hour_products(shop.oracle.open(), rows[0]["window_start"], rows[0]["as_of"], TOP_N)
    assert [(r["rank"], r["product_id"], r["views"], r["unique_viewers"]) for r in rows] == expected


def test_retention_equals_the_recompute(shop: Shop) -> None:
    shoplake(shop, "run", "cohort_retention", "--wait").check_returncode()
    for activity in ("any", "purchase"):
        rows = shop.ask(
            "select cohort_start, period_index, cohort_size, retained_users from gold.cohort_retention"
            f" where timezone = 'UTC' and granularity = 'day' and definition = 'n_day' and activity = '{activity}'"
            " and retained_users > 0 order by 1, 2"
        )
        assert tuples(rows) == oracle.day_retention(shop.oracle.open(), activity)


def assert_flags_are_right(shop: Shop) -> list[fraud_oracle.Flag]:
    """Flags follow the counts by some seconds; what they must be."""
    expected = fraud_oracle.flags(fraud_oracle.accepted(shop.oracle.open()))

    def are_right() -> bool:
        return fraud_oracle.found(shop.ask("select * from gold.fraud_flags")) == expected

    eventually(are_right, 240, "the flags equal the recompute", pause=2)
    return expected


def test_fraud_flags_equal_the_recompute(shop: Shop) -> None:
    expected = assert_flags_are_right(shop)
    # Which rules fire depends on the time of day of the traffic; the fast tests have all six for the same oracle.
    assert len({flag[0] for flag in expected}) >= 2, "several rules have their say"


COMPARED = {
    "silver.events": "* exclude (processed_at)",
    "silver.quarantine": "* exclude (quarantined_at)",
    "gold.top_products_hourly": "* exclude (updated_at, status)",
    "gold.kpis_hourly": "* exclude (updated_at)",
    "gold.fraud_flags": "* exclude (detected_at)",
}


def contents(shop: Shop) -> dict[str, list[str]]:
    return {table: sorted(map(str, shop.ask(f"select {what} from {table}"))) for table, what in COMPARED.items()}


def spoil(shop: Shop, first: str) -> None:
    """Damage every table that a backfill makes anew, in days from `first` on."""
    lake = Lake(connect(shop.settings), shop.settings)
    damage = (
        (silver_events.TABLE, f"DELETE FROM {{}} WHERE event_date >= '{first}' AND pmod(hash(event_id), 3) = 0"),
        (quarantine.TABLE, f"DELETE FROM {{}} WHERE ingest_date >= '{first}' AND pmod(offset, 2) = 0"),
        (top_products.HOURLY, f"DELETE FROM {{}} WHERE hour_date >= '{first}' AND rank = 1"),
        (kpis.TABLE, f"UPDATE {{}} SET revenue = revenue + 1 WHERE hour_date >= '{first}'"),
        (fraud.TABLE, f"DELETE FROM {{}} WHERE event_date >= '{first}'"),
    )
    for table, statement in damage:
        settled(lambda text: lake.spark.sql(text).collect(), statement.format(f"delta.`{lake.path(table)}`"))
    lake.spark.stop()


def let_the_stream_take_it_for_right(shop: Shop) -> None:
    """As if it had begun after the damage: what it has in memory is damaged, too."""
    told = datetime.now(UTC)
    rebuilt.tell(shop.settings, {clock.number_of(told)})
    is_newer = f"select max(updated_at) > timestamptz '{told.isoformat()}' as is_newer from gold.kpis_hourly"
    eventually(lambda: shop.ask(is_newer)[0]["is_newer"], 120, "the stream has written gold anew")


@pytest.mark.parametrize("days", [3, pytest.param(30, marks=pytest.mark.nightly)])
def test_backfill_brings_back_what_the_stream_wrote(shop: Shop, days: int) -> None:
    """The newest days, and all of them, after they were damaged: what is compared is always everything."""
    assert_gold_is_right(shop)
    assert_flags_are_right(shop)
    before = contents(shop)
    first = f"greatest(min(event_date), max(event_date) - {days - 1})"
    (span,) = shop.ask(f"select {first}::varchar as first, max(event_date)::varchar as last from silver.events")
    spoil(shop, str(span["first"]))
    spoilt = contents(shop)
    unharmed = [table for table in COMPARED if spoilt[table] == before[table]]
    assert unharmed in ([], ["gold.fraud_flags"]), "the newest days may have no flag"
    let_the_stream_take_it_for_right(shop)
    shoplake(
        shop, "run", "backfill", "-p", f"from_date={span['first']}", "-p", f"to_date={span['last']}", "--wait"
    ).check_returncode()
    after = contents(shop)
    for table in COMPARED:
        assert after[table] == before[table], table
    # The stream writes the newest hours from memory, and tells duplicates by it.
    live_load(shop, seed=40 + days, seconds=5).join()
    shop.wait_until_read()
    assert_books_balance(shop)
    assert_gold_is_right(shop)
