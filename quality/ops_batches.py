"""ops.batches: the accounting identity, and offsets without gaps or overlaps."""

from quality.declaration import none, suite

TABLE = "ops.batches"

SUITES = (
    suite(
        TABLE,
        """
        WITH rows_ AS (
            SELECT *, lag(to_offset) OVER (PARTITION BY topic, "partition" ORDER BY from_offset) AS before
            FROM ops.batches)
        SELECT count(*) FILTER (bronze_rows <> silver_rows + duplicate_rows + quarantined_rows) AS unbalanced,
            count(*) FILTER (from_offset < before) AS overlapping,
            count(*) FILTER (bronze_rows > to_offset - from_offset) AS too_many
        FROM rows_
        """,
        none("identity_holds", "unbalanced", "bronze = silver + duplicates + quarantined in every batch."),
        none("offsets_are_read_once", "overlapping", "No batch begins before the end of the one before."),
        none("rows_have_offsets", "too_many", "No batch has more rows than offsets."),
    ),
)
