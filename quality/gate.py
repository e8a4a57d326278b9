"""The gate: which tables must not be published, and the expectations that say so."""

from __future__ import annotations

from lakehouse.sql import SqlReader

_FAILING = """
WITH newest AS (
    SELECT table_name, expectation, arg_max(success, checked_at) AS success, arg_max(severity, checked_at) AS severity,
        max(checked_at) AS checked_at, arg_max(detail, checked_at) AS detail, arg_max(observed, checked_at) AS observed
    FROM ops.quality_results GROUP BY ALL)
SELECT table_name, expectation, severity, checked_at, detail, observed,
    (SELECT max(expires_at) FROM ops.quality_overrides AS given
     WHERE given.expectation = newest.expectation AND expires_at > now()) AS overridden_until
FROM newest WHERE NOT success ORDER BY severity, table_name, expectation
"""


def blocked(reader: SqlReader) -> dict[str, list[str]]:
    """Full table name → ids of `block` expectations whose newest result is a failure and that nobody overrides now.

    A table that is not in it may be published. Raises ShoplakeError when the lake cannot be read.
    """
    found: dict[str, list[str]] = {}
    for row in failing(reader):
        if row["severity"] == "block" and row["overridden_until"] is None:
            found.setdefault(str(row["table_name"]), []).append(str(row["expectation"]))
    return found


def failing(reader: SqlReader) -> list[dict[str, object]]:
    """Every expectation whose newest result is a failure, with until when it is overridden (null: not)."""
    return reader.query(_FAILING)
