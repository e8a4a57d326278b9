"""The gate: which tables must not be published, and the expectations that say so."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lakehouse.sql_guard import check_reading
from lakehouse.sql_text import quoted_text
from quality.declaration import Ask, Suite
from quality.results import NEWEST
from quality.suites import SUITES


@dataclass(frozen=True)
class Ruling:
    """Ids of `block` expectations that fail: those that hold the table back, those that somebody lets pass, and with an
    SQL condition on the table's rows, those that hold back only some of them."""

    blocked_by: tuple[str, ...] = ()
    let_through: tuple[str, ...] = ()
    of_rows: tuple[tuple[str, str], ...] = ()


_FAILING = f"""{NEWEST}
SELECT table_name, expectation, severity, checked_at, detail, observed,
    (SELECT max(expires_at) FROM ops.quality_overrides AS given
     WHERE given.expectation = newest.expectation AND expires_at > now()) AS overridden_until
FROM newest WHERE NOT success ORDER BY severity, table_name, expectation
"""  # noqa: S608 - the text is declared in this project
_DECLARED = {suite.id_of(each): suite for suite in SUITES for each in suite.expectations}
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
    found = {
        str(row["expectation"]): row
        for row in ask(_FAILING)
        if row["table_name"] == table and row["severity"] == "block" and str(row["expectation"]) in _DECLARED
    }
    suites = _alone(table)
    judged = {suite.id_of(each) for suite in suites for each in suite.expectations}
    over = "" if found else changed
    failing_now = {name: rows for suite in suites for name, rows in _wrong(ask, suite, over)}
    failing_now |= {name: _recorded_rows(name, row) for name, row in found.items() if name not in judged}
    if not failing_now:
        return Ruling()
    allowed = {str(row["expectation"]) for row in ask(_ALLOWED)}
    held = sorted((name, rows) for name, rows in failing_now.items() if name not in allowed)
    return Ruling(
        tuple(name for name, rows in held if not rows),
        tuple(sorted(failing_now.keys() & allowed)),
        tuple((name, rows) for name, rows in held if rows),
    )


def _wrong(ask: Ask, suite: Suite, changed: str) -> Iterator[tuple[str, str]]:
    """The `block` expectations of a suite that fail, with a condition that picks the rows; none for all of them."""
    blocking = [each for each in suite.expectations if each.severity == "block"]
    rows = ask(suite.query(changed)) if blocking else []
    for each in blocking:
        if not each.holds([row[each.name] for row in rows]):
            units = suite.failing_units(each, changed) if suite.unit else ""
            yield suite.id_of(each), f"{suite.unit_text} IN ({units})" if units else ""


def _recorded_rows(name: str, row: Mapping[str, Any]) -> str:
    """The condition that picks the rows of which a result of the job says that they fail; none for all of them."""
    suite = _DECLARED[name]
    units = json.loads(row["observed"] or "{}").get("failing")
    if not units or not suite.unit:
        return ""
    return f"{suite.unit_text} IN ({', '.join(quoted_text(str(unit)) for unit in units)})"


@cache
def _alone(table: str) -> tuple[Suite, ...]:
    """The suites of a table whose query reads no other table."""
    return tuple(
        suite for suite in SUITES if suite.table == table and set(check_reading(suite.query()).tables) == {table}
    )


def failing(ask: Ask) -> list[dict[str, object]]:
    """Every expectation whose newest result is a failure, with until when it is overridden (null: not)."""
    return ask(_FAILING)
