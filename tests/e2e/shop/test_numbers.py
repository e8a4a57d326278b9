"""Every number in the lake equals an independent recompute from what was sent."""

from __future__ import annotations

import pytest

from producer.simulator.defects import DEFECTS
from tests.support import fraud_oracle, oracle
from tests.support.shop import (
    TOP_N,
    Shop,
    assert_books_balance,
    assert_gold_is_right,
    eventually,
    shoplake,
    tuples,
)

pytestmark = pytest.mark.e2e


def test_books_balance(shop: Shop) -> None:
    assert_books_balance(shop)


def test_bronze_is_byte_exact(shop: Shop) -> None:
    database = shop.oracle.open()
    expected = database.execute(
        'select topic, "partition", "offset", sha256(value) from records where reason is null order by all'
    ).fetchall()
    found = shop.ask('select topic, "partition", "offset", sha256(value) as digest from bronze.events order by all')
    digests = {tuple(row.values())[:3]: row["digest"] for row in found}
    assert all(digests[row[:3]] == row[3] for row in expected)


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


@pytest.mark.parametrize("days", [3, pytest.param(30, marks=pytest.mark.nightly)])
def test_backfill_equals_what_the_stream_wrote(shop: Shop, days: int) -> None:
    """The newest days, and all of them: what is compared is always everything."""
    assert_gold_is_right(shop)
    assert_flags_are_right(shop)
    columns = "* exclude (processed_at)"
    gold = {
        "silver.events": columns,
        "silver.quarantine": "* exclude (quarantined_at)",
        "gold.top_products_hourly": "* exclude (updated_at, status)",
        "gold.kpis_hourly": "* exclude (updated_at)",
        "gold.fraud_flags": "* exclude (detected_at)",
    }
    before = {table: sorted(map(str, shop.ask(f"select {what} from {table}"))) for table, what in gold.items()}
    first = f"greatest(min(event_date), max(event_date) - {days - 1})"
    (span,) = shop.ask(f"select {first}::varchar as first, max(event_date)::varchar as last from silver.events")
    shoplake(
        shop, "run", "backfill", "-p", f"from_date={span['first']}", "-p", f"to_date={span['last']}", "--wait"
    ).check_returncode()
    after = {table: sorted(map(str, shop.ask(f"select {what} from {table}"))) for table, what in gold.items()}
    for table in gold:
        assert after[table] == before[table], table
