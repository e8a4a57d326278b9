"""What an expectation is: a declaration that the job, the gate, the documents and the tests read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

Severity = Literal["block", "warn"]


@dataclass(frozen=True)
class Expectation:
    """Something that must hold for a measured column.

    `rule` is the name of a Great Expectations class, `options` are its arguments beside the column. `block` keeps the
    table from being published while it fails, `warn` only reports.
    """

    name: str
    severity: Severity
    means: str
    column: str
    rule: str = "ExpectColumnValuesToBeBetween"
    options: tuple[tuple[str, Any], ...] = ()

    def holds(self, values: Iterable[Any]) -> bool:
        """What Great Expectations would say about these values; a test compares the two."""
        given = dict(self.options)
        present = [value for value in values if value is not None and value == value]
        if self.rule == "ExpectColumnValuesToBeInSet":
            return all(value in given["value_set"] for value in present)
        low, high = given.get("min_value"), given.get("max_value")
        return all((low is None or value >= low) and (high is None or value <= high) for value in present)


@dataclass(frozen=True)
class Suite:
    """Expectations of one table, and the query that measures it: few rows, however large the table is.

    `sql` is one statement for the lake's reader. `{days}` in it stands for the condition that picks the days that
    changed, over `day_column`; a suite without one is always measured whole.
    """

    table: str
    sql: str
    expectations: tuple[Expectation, ...]
    day_column: str = ""
    part: str = ""

    @property
    def name(self) -> str:
        """Unique among the suites."""
        return f"{self.table}.{self.part}" if self.part else self.table

    def id_of(self, expectation: Expectation) -> str:
        """Stable id of one of its expectations."""
        return f"{self.table}.{expectation.name}"

    def query(self, days: Sequence[date] | None) -> str:
        """The statement, over these days or (None) over everything."""
        if days is None or not self.day_column:
            return self.where("")
        listed = ", ".join(f"DATE '{day}'" for day in days) or "NULL"
        return self.where(f"{self.day_column} IN ({listed})")

    def where(self, condition: str) -> str:
        """The statement, over the rows where an SQL condition on `day_column` holds; none is everything."""
        return self.sql.replace("{days}", condition or "true")


def none(name: str, column: str, means: str, severity: Severity = "block") -> Expectation:
    """A count that must be 0."""
    return Expectation(name, severity, means, column, options=(("min_value", 0), ("max_value", 0)))


def between(
    name: str, column: str, low: float | None, high: float | None, means: str, severity: Severity = "warn"
) -> Expectation:
    """A figure within limits, both included; None is no limit."""
    return Expectation(name, severity, means, column, options=(("min_value", low), ("max_value", high)))


def one_of(name: str, column: str, values: Sequence[str], means: str, severity: Severity = "block") -> Expectation:
    """A text out of a list."""
    return Expectation(name, severity, means, column, "ExpectColumnValuesToBeInSet", (("value_set", tuple(values)),))
