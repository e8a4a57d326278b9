"""A row or two in every table of a published file, so that each dashboard has something to show."""

from pathlib import Path

import duckdb

ROWS = """
INSERT INTO gold.kpis_hourly BY NAME SELECT date_trunc('hour', utc) AS hour_start, 30 AS page_views,
    20 AS product_views,
    5 AS clicks, 4 AS carts, 2 AS purchases, 3 AS searches, 55.5 AS revenue, 10 AS unique_users, 0.2 AS conversion_rate,
    utc AS updated_at, utc::DATE AS hour_date FROM clock;
INSERT INTO gold.top_products_last_hour BY NAME SELECT utc AS as_of, utc - INTERVAL 1 HOUR AS window_start, 1 AS rank,
    'p1' AS product_id, 'A lamp' AS product_name, 9 AS views, 8 AS unique_viewers FROM clock;
INSERT INTO gold.fraud_flags BY NAME SELECT 'f1' AS flag_id, 'u1' AS user_id, 'card_testing' AS rule_id,
    1 AS rule_version, 0.9 AS score, 'high' AS severity, 'five cards' AS reason, 'user' AS entity_type, 'u1' AS entity,
    utc AS window_start, utc AS window_end, ['e1', 'e2'] AS evidence, utc - INTERVAL 1 DAY AS event_time,
    utc AS detected_at, utc::DATE AS event_date FROM clock;
INSERT INTO gold.cohort_retention BY NAME SELECT 'week' AS granularity, DATE '2026-09-07' AS cohort_start,
    10 AS cohort_size, range AS period_index, 'n_day' AS definition, 'any' AS activity, 'UTC' AS timezone,
    10 - range AS retained_users, 1 - range / 10 AS retention_rate, range < 3 AS is_complete, utc AS computed_at
    FROM clock, range(4);
INSERT INTO ops.recent_batches BY NAME SELECT 1 AS batch_id, 'shop.clicks' AS topic, 0 AS partition, 0 AS from_offset,
    12 AS to_offset, 12 AS bronze_rows, 10 AS silver_rows, 1 AS duplicate_rows, 1 AS quarantined_rows,
    utc - INTERVAL 2 SECOND AS started_at, utc AS committed_at FROM clock;
INSERT INTO ops.quarantine_hourly BY NAME SELECT utc::DATE AS ingest_date, date_trunc('hour', utc) AS hour_start,
    'shop.clicks' AS topic, 'not_json' AS reason_code, 'open' AS status, 1 AS records, 'x' AS example,
    utc AS newest_at FROM clock;
INSERT INTO ops.quality_results BY NAME SELECT 'r1' AS run_id, utc AS checked_at, 'gold.kpis_hourly' AS table_name,
    'counts_are_not_negative' AS expectation, 'block' AS severity, true AS success, '{}' AS observed,
    'Counts are 0 or more' AS detail FROM clock;
UPDATE _published SET newest_data_at = published_at;
"""


def fill(path: Path) -> None:
    """Add the rows to the published file at `path`; nobody else may have it open."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TEMP TABLE clock AS SELECT now()::TIMESTAMP - INTERVAL 5 MINUTE AS utc")
        connection.execute(ROWS)
