"""ops.batch_minutes in the serving file: a view of what the stream's batches did, a minute a row."""

NAME = "ops.batch_minutes"
VIEW = """
CREATE OR REPLACE VIEW ops.batch_minutes AS
SELECT date_trunc('minute', committed_at) AS minute_start, count(*) AS batches, sum(bronze_rows) AS bronze,
    sum(silver_rows) AS silver, sum(duplicate_rows) AS duplicates, sum(quarantined_rows) AS quarantined,
    sum(unaccounted) AS unaccounted, sum(offsets - bronze_rows) AS offsets_without_record,
    median(date_diff('millisecond', started_at, committed_at)) / 1000 AS median_seconds,
    max(date_diff('millisecond', started_at, committed_at)) / 1000 AS slowest_seconds
FROM ops.recent_batches GROUP BY ALL
"""
