"""The gate: which tables must not be published, and the expectations that say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lakehouse.sql import SqlReader
from lakehouse.sql_guard import check_reading, named_tables
from quality.declaration import Suite
from quality.suites import SUITES

Ask = Callable[[str], list[dict[str, Any]]]
"""Answers one reading statement with rows."""


@dataclass(frozen=True)
class Ruling:
    """Ids of `block` expectations that fail: those that hold the table back, and those that somebody lets pass."""

    blocked_by: tuple[str, ...] = ()
    let_through: tuple[str, ...] = ()


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


def blocked_by(failures: Iterable[Mapping[str, object]]) -> dict[str, list[str]]:
    """Full table name → ids of `block` expectations that `failing` has found and that nobody overrides now."""
    found: dict[str, list[str]] = {}
    for row in failures:
        if row["severity"] == "block" and row["overridden_until"] is None:
            found.setdefault(str(row["table_name"]), []).append(str(row["expectation"]))
    return found


def rule(ask: Ask, table: str, changed: str = "") -> Ruling:
    """What keeps a table from being published, out of a database that holds it as it would be published.

    An expectation that needs nothing but the table itself is judged here and now, over the rows where the SQL condition
    `changed` holds, or all; what the job `quality` said about it before counts no more. For the others, the newest
    result counts. All rows are judged while a result says that some are wrong: those that changed need not be they.
    """
    declared = {suite.id_of(each) for suite in SUITES for each in suite.expectations}
    found = [row for row in ask(_FAILING) if row["table_name"] == table and row["severity"] == "block"]
    recorded = declared & {str(row["expectation"]) for row in found}
    suites = _alone(table)
    judged = {suite.id_of(each) for suite in suites for each in suite.expectations}
    wrong = {name for suite in suites for name in _wrong(ask, suite, "" if recorded else changed)}
    failing_now = sorted(wrong | (recorded - judged))
    if not failing_now:
        return Ruling()
    allowed = {str(row["expectation"]) for row in ask(_ALLOWED)}
    return Ruling(
        tuple(name for name in failing_now if name not in allowed),
        tuple(name for name in failing_now if name in allowed),
    )


def _wrong(ask: Ask, suite: Suite, changed: str) -> list[str]:
    """The `block` expectations of a suite that fail."""
    blocking = [each for each in suite.expectations if each.severity == "block"]
    rows = ask(suite.where(changed)) if blocking else []
    return [suite.id_of(each) for each in blocking if not each.holds([row[each.column] for row in rows])]


@cache
def _alone(table: str) -> tuple[Suite, ...]:
    """The suites of a table whose query reads no other table."""
    return tuple(
        suite
        for suite in SUITES
        if suite.table == table and set(named_tables(check_reading(suite.query(None)))) == {table}
    )


def failing(reader: SqlReader) -> list[dict[str, object]]:
    """Every expectation whose newest result is a failure, with until when it is overridden (null: not)."""
    return reader.query(_FAILING)
