"""Every expectation holds on sound data, and fails when what it is about is wrong: a check that cannot fail is none."""

import json
from datetime import date

import duckdb
import pytest

from lakehouse.catalog import TABLES
from lakehouse.sql_guard import check_reading
from quality import gate, ledger
from quality.declaration import Suite
from quality.judge import Judge, Verdict
from quality.suites import SUITES
from tests.support.declared_tables import Reader

SOUND = """
INSERT INTO silver.events BY NAME
    SELECT 'e' || n AS event_id, ['page_view', 'product_view', 'purchase'][n % 3 + 1] AS event_type,
        CASE n % 3 WHEN 2 THEN 'shop.purchases' ELSE 'shop.page_views' END AS topic, 0 AS "partition", n AS "offset",
        at_ AS event_time, at_::DATE AS event_date, at_ AS kafka_timestamp, at_ AS processed_at,
        'u' || (n % 7) AS user_id,
        CASE WHEN n % 3 = 1 THEN 'p1' END AS product_id, CASE WHEN n % 3 = 1 THEN 5.0 END AS price, 1 AS quantity,
        CASE WHEN n % 3 = 2 THEN 'o' || n END AS order_id, CASE WHEN n % 3 = 2 THEN 10.0 END AS amount,
        CASE WHEN n % 6 = 2 THEN 'declined' END AS payment_status
    FROM (SELECT n, now() - INTERVAL (n) SECONDS * 30 AS at_ FROM range(12000) AS numbers(n));
INSERT INTO silver.quarantine BY NAME
    SELECT 'shop.clicks' AS topic, 0 AS "partition", n AS "offset", 'not_json' AS reason_code, now() AS quarantined_at,
        current_date AS ingest_date, CASE n WHEN 0 THEN 'resolved' ELSE 'open' END AS status,
        CASE n WHEN 0 THEN 'run-1' END AS resolved_by FROM range(3) AS numbers(n);
INSERT INTO ops.batches BY NAME
    SELECT n AS batch_id, 'shop.clicks' AS topic, 0 AS "partition", n * 100 AS from_offset, (n + 1) * 100 AS to_offset,
        100 AS bronze_rows, 90 AS silver_rows, 7 AS duplicate_rows, 3 AS quarantined_rows, now() AS committed_at
    FROM range(3) AS numbers(n);
INSERT INTO gold.kpis_hourly BY NAME
    SELECT date_trunc('hour', event_time) AS hour_start, event_date AS hour_date,
        count(*) FILTER (event_type = 'page_view') AS page_views,
        count(*) FILTER (event_type = 'product_view') AS product_views, 0 AS clicks, 0 AS carts, 0 AS searches,
        count(*) FILTER (event_type = 'purchase') AS purchases, count(DISTINCT user_id) AS unique_users,
        coalesce(sum(amount) FILTER (payment_status IS NULL), 0) AS revenue, 'unknown' AS currency,
        0.5 AS conversion_rate
    FROM silver.events GROUP BY ALL;
INSERT INTO gold.revenue_hourly BY NAME
    SELECT date_trunc('hour', event_time) AS hour_start, event_date AS hour_date, 'unknown' AS currency,
        count(*) AS purchases, count(DISTINCT order_id) AS orders, sum(amount) AS revenue
    FROM silver.events WHERE event_type = 'purchase' AND payment_status IS NULL GROUP BY ALL;
INSERT INTO gold.top_products_hourly BY NAME
    SELECT hour_start, hour_date, unnest([1, 2]) AS "rank", unnest(['p1', 'p2']) AS product_id,
        unnest([2, 1]) AS views, 1 AS unique_viewers, 'final' AS status FROM gold.kpis_hourly WHERE product_views >= 3;
INSERT INTO gold.top_products_last_hour BY NAME
    SELECT now() AS as_of, now() - INTERVAL 60 MINUTES AS window_start, unnest([1, 2]) AS "rank",
        unnest(['p1', 'p2']) AS product_id, unnest([3, 1]) AS views, 1 AS unique_viewers;
INSERT INTO gold.fraud_flags BY NAME
    SELECT 'f' || n AS flag_id, 'u1' AS user_id, 'u1' AS entity, 'card_testing' AS rule_id, 0.9 AS score,
        'high' AS severity, 'why' AS reason, ['e1', 'e2'] AS evidence, now() - INTERVAL 2 HOUR AS window_start,
        now() AS window_end, now() - INTERVAL 1 HOUR AS event_time, now() AS detected_at, current_date AS event_date
    FROM range(2) AS numbers(n);
INSERT INTO gold.fraud_coverage BY NAME
    SELECT hour_start, hour_date, 'card_testing' AS rule_id, 5 AS events_considered, 4 AS events_evaluable
    FROM gold.kpis_hourly;
INSERT INTO gold.cohort_retention BY NAME
    SELECT 'day' AS granularity, current_date - 2 AS cohort_start, 10 AS cohort_size, n AS period_index,
        unnest(['n_day', 'unbounded']) AS definition, 'any' AS activity, 'UTC' AS timezone,
        CASE WHEN n < 2 THEN 10 - 5 * n END AS retained_users, CASE WHEN n < 2 THEN 1 - 0.5 * n END AS retention_rate,
        n < 2 AS is_complete FROM range(3) AS numbers(n);
INSERT INTO gold.user_days BY NAME
    SELECT 'UTC' AS timezone, current_date AS activity_date, 'u' || n AS user_id, false AS purchased
    FROM range(3) AS numbers(n);
"""
AGAIN = "INSERT INTO {0} SELECT * FROM {0} LIMIT 1"
PLANTED = {
    "silver.events.each_event_once": 'INSERT INTO silver.events SELECT * REPLACE (9 AS "offset") FROM silver.events'
    " WHERE event_id = 'e2'",
    "silver.events.each_record_once": 'UPDATE silver.events SET "offset" = 1 WHERE "offset" = 4',
    "silver.events.is_complete": "UPDATE silver.events SET user_id = NULL WHERE event_id = 'e5'",
    "silver.events.has_its_data": "UPDATE silver.events SET order_id = NULL WHERE event_id = 'e2'",
    "silver.events.is_on_its_topic": "UPDATE silver.events SET topic = 'shop.clicks' WHERE event_id = 'e2'",
    "silver.events.amounts_are_possible": "UPDATE silver.events SET amount = 1000000000001 WHERE event_id = 'e2'",
    "silver.events.counts_are_possible": "UPDATE silver.events SET quantity = 0 WHERE event_id = 'e2'",
    "silver.events.is_in_its_partition": "UPDATE silver.events SET event_date = event_date - 1 WHERE event_id = 'e2'",
    "silver.events.is_not_from_the_future": "UPDATE silver.events"
    " SET kafka_timestamp = kafka_timestamp - INTERVAL 2 HOUR",
    "silver.events.volume_is_usual": "DELETE FROM silver.events WHERE event_time > now() - INTERVAL 23 HOUR"
    " AND date_part('hour', event_time) = date_part('hour', now() - INTERVAL 5 HOUR) AND hash(event_id) % 20 > 0",
    "silver.events.is_fresh": "UPDATE ops.batches SET committed_at = committed_at - INTERVAL 3 DAY",
    "silver.events.types_do_not_drift": "INSERT INTO silver.events BY NAME SELECT 'click' AS event_type, event_id,"
    " event_date FROM silver.events; UPDATE silver.events SET event_date = current_date WHERE event_type = 'click';"
    " UPDATE silver.events SET event_date = current_date - 1 WHERE event_type <> 'click'",
    "silver.events.payment_status_is_known": "UPDATE silver.events SET payment_status = 'lost' WHERE event_id = 'e2'",
    "silver.quarantine.each_record_once": AGAIN.format("silver.quarantine"),
    "silver.quarantine.is_complete": "UPDATE silver.quarantine SET reason_code = NULL",
    "silver.quarantine.status_is_told": "UPDATE silver.quarantine SET resolved_by = NULL",
    "silver.quarantine.reason_is_known": "UPDATE silver.quarantine SET reason_code = 'bad mood'",
    "silver.quarantine.few_are_refused": "UPDATE ops.batches SET quarantined_rows = 60, silver_rows = 33",
    "gold.top_products_hourly.each_rank_once": 'UPDATE gold.top_products_hourly SET "rank" = 1',
    "gold.top_products_hourly.each_product_once": "UPDATE gold.top_products_hourly SET product_id = 'p1'",
    "gold.top_products_hourly.is_complete": "UPDATE gold.top_products_hourly SET product_id = NULL",
    "gold.top_products_hourly.ranks_follow_views": "UPDATE gold.top_products_hourly"
    " SET views = 7 WHERE product_id = 'p2'",
    "gold.top_products_hourly.viewers_are_possible": "UPDATE gold.top_products_hourly SET unique_viewers = 99",
    "gold.top_products_hourly.status_is_known": "UPDATE gold.top_products_hourly SET status = 'perhaps'",
    "gold.top_products_hourly.views_are_in_the_figures": "UPDATE gold.top_products_hourly SET views = views * 1000",
    "gold.top_products_last_hour.each_rank_once": AGAIN.format("gold.top_products_last_hour"),
    "gold.top_products_last_hour.each_product_once": "UPDATE gold.top_products_last_hour SET product_id = 'p1'",
    "gold.top_products_last_hour.is_complete": "UPDATE gold.top_products_last_hour SET product_id = NULL",
    "gold.top_products_last_hour.ranks_follow_views": 'UPDATE gold.top_products_last_hour SET "rank" = "rank" + 1',
    "gold.top_products_last_hour.viewers_are_possible": "UPDATE gold.top_products_last_hour SET unique_viewers = 0",
    "gold.top_products_last_hour.is_one_window": "UPDATE gold.top_products_last_hour SET as_of = now()"
    ' + INTERVAL 1 HOUR WHERE "rank" = 2',
    "gold.top_products_last_hour.is_an_hour": "UPDATE gold.top_products_last_hour SET window_start = now()",
    "gold.top_products_last_hour.is_fresh": "UPDATE gold.top_products_last_hour"
    " SET as_of = as_of - INTERVAL 11 MINUTES",
    "gold.kpis_hourly.each_hour_once": AGAIN.format("gold.kpis_hourly"),
    "gold.kpis_hourly.counts_are_possible": "UPDATE gold.kpis_hourly SET clicks = -1",
    "gold.kpis_hourly.revenue_is_possible": "UPDATE gold.kpis_hourly SET revenue = -1",
    "gold.kpis_hourly.revenue_has_one_currency": "UPDATE gold.kpis_hourly SET revenue = NULL",
    "gold.kpis_hourly.revenue_has_purchases": "UPDATE gold.kpis_hourly SET purchases = 0",
    "gold.kpis_hourly.hours_have_users": "UPDATE gold.kpis_hourly SET unique_users = 0",
    "gold.kpis_hourly.hours_are_hours": "UPDATE gold.kpis_hourly SET hour_start = hour_start + INTERVAL 1 MINUTE",
    "gold.kpis_hourly.no_hour_is_to_come": "UPDATE gold.kpis_hourly SET hour_start = hour_start + INTERVAL 9 DAY",
    "gold.kpis_hourly.conversion_is_a_rate": "UPDATE gold.kpis_hourly SET conversion_rate = 50",
    "gold.kpis_hourly.counts_are_silvers": "UPDATE gold.kpis_hourly SET page_views = page_views + 1",
    "gold.kpis_hourly.revenue_is_silvers": "UPDATE gold.kpis_hourly SET revenue = revenue + 0.000000001",
    "gold.revenue_hourly.each_currency_once": AGAIN.format("gold.revenue_hourly"),
    "gold.revenue_hourly.figures_are_possible": "UPDATE gold.revenue_hourly SET orders = purchases + 1",
    "gold.revenue_hourly.hours_are_hours": "UPDATE gold.revenue_hourly SET hour_start = hour_start + INTERVAL 1 MINUTE",
    "gold.revenue_hourly.is_silvers": "UPDATE gold.revenue_hourly SET revenue = revenue + 0.000000001",
    "gold.fraud_flags.each_flag_once": AGAIN.format("gold.fraud_flags"),
    "gold.fraud_flags.is_complete": "UPDATE gold.fraud_flags SET entity = NULL",
    "gold.fraud_flags.scores_are_possible": "UPDATE gold.fraud_flags SET score = 90",
    "gold.fraud_flags.has_evidence": "UPDATE gold.fraud_flags SET evidence = []",
    "gold.fraud_flags.windows_are_in_order": "UPDATE gold.fraud_flags SET window_end = window_start",
    "gold.fraud_flags.is_not_foreseen": "UPDATE gold.fraud_flags SET detected_at = now() - INTERVAL 1 DAY",
    "gold.fraud_flags.evidence_is_in_silver": "UPDATE gold.fraud_flags SET evidence = ['e1', 'invented']",
    "gold.fraud_flags.rule_is_known": "UPDATE gold.fraud_flags SET rule_id = 'hunch'",
    "gold.fraud_flags.severity_is_known": "UPDATE gold.fraud_flags SET severity = 'huge'",
    "gold.fraud_coverage.each_rule_once": AGAIN.format("gold.fraud_coverage"),
    "gold.fraud_coverage.no_more_evaluable_than_considered": "UPDATE gold.fraud_coverage SET events_evaluable = 6",
    "gold.fraud_coverage.rule_is_known": "UPDATE gold.fraud_coverage SET rule_id = 'hunch'",
    "gold.cohort_retention.each_cell_once": AGAIN.format("gold.cohort_retention"),
    "gold.cohort_retention.rates_are_rates": "UPDATE gold.cohort_retention SET retention_rate = 1.1 WHERE is_complete",
    "gold.cohort_retention.rates_are_shares": "UPDATE gold.cohort_retention SET retention_rate = 0.4 WHERE is_complete",
    "gold.cohort_retention.counts_are_possible": "UPDATE gold.cohort_retention SET retained_users = 11",
    "gold.cohort_retention.cell_0_is_the_cohort": "UPDATE gold.cohort_retention SET retained_users = 9",
    "gold.cohort_retention.no_period_is_before": "UPDATE gold.cohort_retention SET period_index = -1",
    "gold.cohort_retention.future_is_unknown": "UPDATE gold.cohort_retention"
    " SET retention_rate = 0 WHERE NOT is_complete",
    "gold.cohort_retention.sizes_are_constant": "UPDATE gold.cohort_retention"
    " SET cohort_size = 12 WHERE period_index = 1",
    "gold.cohort_retention.unbounded_is_more": "UPDATE gold.cohort_retention SET retained_users = 4"
    " WHERE definition = 'unbounded' AND period_index = 1",
    "gold.user_days.each_user_once_a_day": AGAIN.format("gold.user_days"),
    "gold.user_days.is_complete": "UPDATE gold.user_days SET purchased = NULL",
    "ops.batches.identity_holds": "UPDATE ops.batches SET silver_rows = 89 WHERE batch_id = 1",
    "ops.batches.offsets_are_read_once": "UPDATE ops.batches SET from_offset = 99 WHERE batch_id = 1",
    "ops.batches.rows_have_offsets": "UPDATE ops.batches SET bronze_rows = 101 WHERE batch_id = 1",
}


@pytest.fixture(scope="module")
def lake(empty_lake: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Every declared table with sound rows; a test's changes are rolled back."""
    empty_lake.execute(SOUND)
    return empty_lake


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def verdicts(
    judge: Judge, lake: duckdb.DuckDBPyConnection, suites: tuple[Suite, ...] = SUITES, days: list[date] | None = None
) -> dict[str, Verdict]:
    return {verdict.expectation: verdict for verdict in judge.judge(suites, Reader(lake).query, days)}


def test_sound_data_is_as_expected(judge: Judge, lake: duckdb.DuckDBPyConnection) -> None:
    found = verdicts(judge, lake)
    assert {name: verdict.observed for name, verdict in found.items() if not verdict.success} == {}
    assert set(found) == set(PLANTED), "every expectation has planted data of its own"


def test_an_empty_lake_is_as_expected(judge: Judge, lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("BEGIN")
    try:
        for table in TABLES:
            lake.execute(f"DELETE FROM {table.full_name}")
        assert [name for name, verdict in verdicts(judge, lake).items() if not verdict.success] == []
    finally:
        lake.execute("ROLLBACK")


@pytest.mark.parametrize("name", PLANTED)
def test_the_expectation_fails_on_planted_data(judge: Judge, lake: duckdb.DuckDBPyConnection, name: str) -> None:
    assert_it_fails(judge, lake, name, PLANTED[name])


def assert_it_fails(judge: Judge, lake: duckdb.DuckDBPyConnection, name: str, planted: str) -> None:
    """Also by what the gate asks, which has to say the same as Great Expectations."""
    suites = tuple(suite for suite in SUITES if name in {suite.id_of(each) for each in suite.expectations})
    lake.execute("BEGIN")
    try:
        lake.execute(planted)
        found = verdicts(judge, lake, suites)
        assert not found[name].success
        (suite,) = suites
        rows = Reader(lake).query(suite.query())
        holds = {suite.id_of(each): each.holds([row[each.name] for row in rows]) for each in suite.expectations}
        assert holds == {id_: verdict.success for id_, verdict in found.items()}
        for each in suite.expectations:
            units = Reader(lake).query(suite.failing_units(each)) if suite.unit else []
            assert bool(units) == bool(suite.unit and not holds[suite.id_of(each)])
    finally:
        lake.execute("ROLLBACK")


def test_what_holds_gold_back_names_rows_wherever_the_grain_allows_it() -> None:
    whole = {suite.table for suite in SUITES for each in suite.expectations if not (suite.unit and each.fails)}
    assert {name for name in whole if name.startswith("gold.")} == {"gold.top_products_last_hour", "gold.user_days"}


def test_a_verdict_names_the_hours_that_fail(judge: Judge, lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("BEGIN")
    try:
        lake.execute(
            "UPDATE gold.kpis_hourly SET page_views = -1 WHERE hour_start = date_trunc('hour', now()) - INTERVAL 3 HOUR"
        )
        (hour,) = (
            lake.execute("SELECT (date_trunc('hour', now()) - INTERVAL 3 HOUR)::TIMESTAMP::VARCHAR").fetchone() or ()
        )
        found = verdicts(judge, lake)
        for name in ("counts_are_possible", "counts_are_silvers"):
            assert json.loads(found[f"gold.kpis_hourly.{name}"].observed)["failing"] == [hour]
    finally:
        lake.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("name", "outage"),
    [
        (
            "silver.events.volume_is_usual",
            "DELETE FROM silver.events"
            " WHERE date_trunc('hour', event_time) = date_trunc('hour', now() - INTERVAL 5 HOUR)",
        ),
        ("silver.events.volume_is_usual", "DELETE FROM silver.events WHERE event_time > now() - INTERVAL 1 DAY"),
        ("gold.top_products_last_hour.is_fresh", "DELETE FROM gold.top_products_last_hour"),
    ],
)
def test_nothing_at_all_is_noticed_too(judge: Judge, lake: duckdb.DuckDBPyConnection, name: str, outage: str) -> None:
    assert_it_fails(judge, lake, name, outage)


def test_only_the_days_that_changed_are_measured(judge: Judge, lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("BEGIN")
    try:
        lake.execute("UPDATE gold.kpis_hourly SET clicks = -1 WHERE hour_date < current_date")
        name = "gold.kpis_hourly.counts_are_possible"
        (today,) = lake.execute("SELECT current_date").fetchone() or ()
        assert verdicts(judge, lake, days=[today])[name].success
        assert verdicts(judge, lake, days=[])[name].success
        assert not verdicts(judge, lake)[name].success
    finally:
        lake.execute("ROLLBACK")


def test_every_table_of_silver_and_gold_has_a_suite() -> None:
    tables = {table.full_name for table in TABLES if table.layer in ("silver", "gold")}
    assert tables == {suite.table for suite in SUITES} & tables


def test_every_statement_names_tables_of_the_lake() -> None:
    known = {table.full_name for table in TABLES}
    for suite in SUITES:
        assert set(check_reading(suite.query()).tables) <= known, suite.table
    ledgers = (ledger._RANGES, ledger._BATCHES, ledger._FATES, ledger._DAYS, ledger._GOLD)
    for sql in (*ledgers, gate._FAILING):
        statement = sql.replace("{ranges}", "('t', 0, 0, 1)").replace("{since}", "2026-01-01")
        statement = (
            statement.replace("{on_days}", "true").replace("{on_event_days}", "true").replace("{day}", "2026-01-01")
        )
        assert set(check_reading(statement).tables) <= known, sql


def test_expectations_have_names_of_their_own() -> None:
    names = [suite.id_of(each) for suite in SUITES for each in suite.expectations]
    assert len(names) == len(set(names))
