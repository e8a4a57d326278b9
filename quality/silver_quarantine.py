"""silver.quarantine: every refused record has a known reason, once, and its status is told."""

from producer.contract import REASONS
from quality.declaration import between, none, suite

TABLE = "silver.quarantine"
_KNOWN = ", ".join(map(repr, REASONS))

SUITES = (
    suite(
        TABLE,
        f"""
        SELECT count(*) - count(DISTINCT (topic, "partition", "offset")) AS repeated,
            count(*) FILTER (topic IS NULL OR "partition" IS NULL OR "offset" IS NULL OR reason_code IS NULL
                OR quarantined_at IS NULL) AS incomplete,
            count(*) FILTER (status NOT IN ('open', 'resolved') OR status IS NULL
                OR (status = 'resolved') <> (resolved_by IS NOT NULL)) AS untold,
            count(*) FILTER (reason_code NOT IN ({_KNOWN})) AS unknown
        FROM silver.quarantine WHERE {{days}}
        """,  # noqa: S608 - the names are declared in this project
        none("each_record_once", "repeated", "No record is refused twice."),
        none("is_complete", "incomplete", "Coordinates, reason and time are there."),
        none("status_is_told", "untold", "Open, or resolved by somebody."),
        none("reason_is_known", "unknown", "The reason is in the catalogue."),
        day_column="ingest_date",
    ),
    suite(
        TABLE,
        """
        SELECT sum(quarantined_rows) / sum(bronze_rows) AS share FROM ops.batches
        WHERE committed_at >= now() - INTERVAL 24 HOUR HAVING sum(bronze_rows) >= 100
        """,
        between("few_are_refused", "share", 0, 0.2, "At most a fifth of a day's records is refused."),
    ),
)
