"""Some rows in every table of a published file, so that each dashboard and each question has something to show."""

import shutil
import tempfile
from pathlib import Path

import duckdb

from lakehouse.serving.file import BATCH_MINUTES_VIEW
from tests.support.serving_lake import Lake

ROWS = """
INSERT INTO gold.kpis_hourly BY NAME SELECT date_trunc('hour', utc) - to_hours(range) AS hour_start,
    30 + range % 7 AS page_views, 20 AS product_views, 5 AS clicks, 4 AS carts, 2 AS purchases, 3 AS searches,
    55.5 AS revenue, 'EUR' AS currency, 10 AS unique_users, 0.2 AS conversion_rate,
    utc AS updated_at, (date_trunc('hour', utc) - to_hours(range))::DATE AS hour_date FROM clock, range(24 * 15);
INSERT INTO gold.revenue_hourly BY NAME SELECT date_trunc('hour', utc) - to_hours(hours.range) AS hour_start,
    ['EUR', 'JPY'][shops.range] AS currency, 2 AS purchases, 1 AS orders, 55.5 * shops.range AS revenue,
    utc AS updated_at, (date_trunc('hour', utc) - to_hours(hours.range))::DATE AS hour_date
    FROM clock, range(24 * 15) hours, range(1, 3) shops;
INSERT INTO gold.top_products_hourly BY NAME
    SELECT date_trunc('hour', utc) - to_hours(hours.range) AS hour_start, ranks.range + 1 AS rank,
    'p' || ((hours.range + ranks.range) % 3 + 1) AS product_id, 'A lamp' AS product_name, 9 - ranks.range AS views,
    8 - ranks.range AS unique_viewers, if(hours.range < 2, 'provisional', 'final') AS status, utc AS updated_at,
    (date_trunc('hour', utc) - to_hours(hours.range))::DATE AS hour_date FROM clock, range(48) hours, range(3) ranks;
INSERT INTO gold.fraud_coverage BY NAME SELECT date_trunc('hour', utc) AS hour_start, 'card_testing' AS rule_id,
    10 AS events_considered, 8 AS events_evaluable, 'partly evaluable' AS status, utc AS updated_at,
    utc::DATE AS hour_date FROM clock;
INSERT INTO gold.top_products_last_hour BY NAME SELECT utc AS as_of, utc - INTERVAL 1 HOUR AS window_start, 1 AS rank,
    'p1' AS product_id, 'A lamp' AS product_name, 9 AS views, 8 AS unique_viewers FROM clock;
INSERT INTO gold.fraud_flags BY NAME SELECT 'f' || range AS flag_id, ['u1', 'u1', 'u2'][range] AS user_id,
    ['card_testing', 'account_ring', 'bot_browsing'][range] AS rule_id, 1 AS rule_version, 1 - range / 10 AS score,
    ['high', 'high', 'low'][range] AS severity, 'five cards' AS reason, 'user' AS entity_type, user_id AS entity,
    utc AS window_start, utc AS window_end, ['e1', 'e2'] AS evidence, utc - to_days(range) AS event_time,
    utc AS detected_at, utc::DATE AS event_date FROM clock, range(1, 4);
INSERT INTO gold.cohort_retention BY NAME SELECT 'week' AS granularity, DATE '2026-09-07' AS cohort_start,
    20 AS cohort_size, range AS period_index, 'n_day' AS definition, 'any' AS activity, 'UTC' AS timezone,
    20 - range AS retained_users, 1 - range / 20 AS retention_rate, range < 3 AS is_complete, utc AS computed_at
    FROM clock, range(4);
INSERT INTO ops.recent_batches BY NAME SELECT 1 AS batch_id, 12 AS offsets, 12 AS bronze_rows, 10 AS silver_rows,
    1 AS duplicate_rows, 1 AS quarantined_rows, 0 AS unaccounted,
    utc - INTERVAL 2 SECOND AS started_at, utc AS committed_at FROM clock;
INSERT INTO ops.quarantine_hourly BY NAME SELECT utc::DATE AS ingest_date, date_trunc('hour', utc) AS hour_start,
    'shop.clicks' AS topic, 'not_json' AS reason_code, 'open' AS status, 1 AS records, 'x' AS example,
    utc AS newest_at FROM clock;
INSERT INTO ops.quality_results BY NAME SELECT 'r1' AS run_id, utc AS checked_at, 'gold.kpis_hourly' AS table_name,
    'counts_are_not_negative' AS expectation, 'block' AS severity, true AS success, '{}' AS observed,
    'Counts are 0 or more' AS detail FROM clock;
INSERT INTO ops.ledger_results BY NAME SELECT 'r2' AS run_id, utc AS checked_at, 'incremental' AS scope,
    true AS is_balanced, 0 AS faults, 12 AS bronze_rows, 10 AS silver_rows, 1 AS duplicate_rows, 1 AS quarantined_rows,
    3 AS gold_hours, 3 AS served_hours FROM clock;
INSERT INTO ops.kafka_lag SELECT 'shop.clicks', range, 90, 100, 10, utc FROM clock, range(2);
INSERT INTO gold.flag_events BY NAME SELECT 'f1' AS flag_id, 'card_testing' AS rule_id, 'high' AS severity,
    range = 1 AS is_evidence, 'e' || range AS event_id, utc - to_minutes(range) AS event_time,
    'purchase' AS event_type, 'u1' AS user_id, 9.5 AS amount, 'EUR' AS currency, 'declined' AS payment_status,
    'DE' AS country FROM clock, range(1, 3);
UPDATE _published SET newest_data_at = published_at;
"""


def fill(path: Path) -> None:
    """Add the rows to the published file at `path`; nobody else may have it open."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TEMP TABLE clock AS SELECT now()::TIMESTAMP - INTERVAL 5 MINUTE AS utc")
        connection.execute(ROWS)
        connection.execute(BATCH_MINUTES_VIEW)


def publish(path: Path) -> None:
    """Make a published file with the rows."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lake.publisher.publish()
        fill(lake.settings.serving_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lake.settings.serving_file, path)
        lake.close()
