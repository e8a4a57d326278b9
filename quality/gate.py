"""The gate: which tables must not be published, and the expectations that say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from lakehouse.sql import SqlReader
from lakehouse.sql_guard import check_reading, named_tables
from quality.declaration import Suite
from quality.suites import SUITES

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
_ALLOWED = "SELECT expectation FROM ops.quality_overrides WHERE expires_at > now()"


def blocked(reader: SqlReader) -> dict[str, list[str]]:
    """Full table name → ids of `block` expectations whose newest result is a failure and that nobody overrides now.

    A table that is not in it may be published. Raises ShoplakeError when the lake cannot be read.
    """
    return blocked_by(failing(reader))


def blocked_by(failures: Iterable[Mapping[str, object]]) -> dict[str, list[str]]:
    """The same, from what `failing` has found."""
    found: dict[str, list[str]] = {}
    for row in failures:
        if row["severity"] == "block" and row["overridden_until"] is None:
            found.setdefault(str(row["table_name"]), []).append(str(row["expectation"]))
    return found


def audit(reader: SqlReader, tables: Iterable[str]) -> dict[str, list[str]]:
    """`blocked`, and what is wrong with the newest two days of `tables` right now: to be asked before publishing.

    Only expectations that need nothing but the table itself are judged, without Great Expectations, which takes
    seconds to import: some hundredths of a second per table.
    """
    found = blocked(reader)
    allowed = {str(row["expectation"]) for row in reader.query(_ALLOWED)}
    today = datetime.now(UTC).date()
    for suite in _alone(set(tables)):
        rows = reader.query(suite.query([today - timedelta(days=1), today]))
        for each in suite.expectations:
            name = suite.id_of(each)
            is_wrong = each.severity == "block" and not each.holds([row[each.column] for row in rows])
            if is_wrong and name not in allowed and name not in found.get(suite.table, []):
                found.setdefault(suite.table, []).append(name)
    return found


def _alone(tables: set[str]) -> list[Suite]:
    """The suites of these tables whose query reads no other table."""
    return [
        suite
        for suite in SUITES
        if suite.table in tables and set(named_tables(check_reading(suite.query(None)))) == {suite.table}
    ]


def failing(reader: SqlReader) -> list[dict[str, object]]:
    """Every expectation whose newest result is a failure, with until when it is overridden (null: not)."""
    return reader.query(_FAILING)
