"""What an expectation is: a declaration that the job, the gate, the documents and the tests read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

Severity = Literal["block", "warn"]


@dataclass(frozen=True)
class Expectation:
    """Limits, both included, between which a measured column must be; None is no limit.

    `block` keeps the table from being published while it fails, `warn` only reports.
    """

    name: str
    severity: Severity
    means: str
    column: str
    low: float | None = 0
    high: float | None = 0
    fails: str = ""
    """SQL that is true for a row of `Suite.rows` that is not as expected; none where no row can be named."""

    def holds(self, values: Iterable[Any]) -> bool:
        """What Great Expectations would say about these values; a test compares the two."""
        present = [value for value in values if value is not None and value == value]
        return all(
            (self.low is None or value >= self.low) and (self.high is None or value <= self.high) for value in present
        )


@dataclass(frozen=True)
class Suite:
    """Expectations of one table, and the query that measures it: few rows, however large the table is.

    `sql` is one statement for the lake's reader. `{days}` in it stands for the condition that picks the days that
    changed, over `day_column`; a suite without one is always measured whole.

    With a `unit`, an SQL expression over columns of the table, faults can be told apart by it: only the table's rows of
    the units in which `rows`, one SELECT, has a row that fails are held back, and the rest is published.
    """

    table: str
    sql: str
    expectations: tuple[Expectation, ...]
    day_column: str = ""
    part: str = ""
    unit: str = ""
    rows: str = ""

    @property
    def name(self) -> str:
        """Unique among the suites."""
        return f"{self.table}.{self.part}" if self.part else self.table

    def id_of(self, expectation: Expectation) -> str:
        """Stable id of one of its expectations."""
        return f"{self.table}.{expectation.name}"

    def query(self, days: Sequence[date] | None) -> str:
        """The statement, over these days or (None) over everything."""
        return self.where(self.on(days))

    def on(self, days: Sequence[date] | None) -> str:
        """The condition that picks these days; none for everything (None)."""
        if days is None or not self.day_column:
            return ""
        listed = ", ".join(f"DATE '{day}'" for day in days) or "NULL"
        return f"{self.day_column} IN ({listed})"

    def where(self, condition: str) -> str:
        """The statement, over the rows where an SQL condition on `day_column` holds; none is everything."""
        return self.sql.replace("{days}", condition or "true")

    @property
    def unit_text(self) -> str:
        """The name of a row's unit, as SQL; the same in the lake and in the serving file."""
        return f"coalesce(({self.unit})::VARCHAR, '')"

    def names_units(self, expectation: Expectation) -> bool:
        """Whether the rows that fail can be told from the rest."""
        return bool(self.unit and expectation.fails)

    def failing_units(self, expectation: Expectation, condition: str = "") -> str:
        """A statement that names the units that fail, over the rows where `condition` holds, as `where`."""
        rows = self.rows.replace("{days}", condition or "true")
        return f"SELECT DISTINCT {self.unit_text} AS unit FROM ({rows}) WHERE {expectation.fails}"  # noqa: S608 - the names are declared in this project


def of_rows(
    table: str, unit: str, rows: str, expectations: tuple[Expectation, ...], *, day_column: str = "", part: str = ""
) -> Suite:
    """A suite that counts the rows that fail, each expectation of which is made by `no_row`."""
    counted = ", ".join(f"count(*) FILTER ({each.fails}) AS {each.column}" for each in expectations)
    sql = f"SELECT {counted} FROM ({rows})"  # noqa: S608 - the names are declared in this project
    return Suite(table, sql, expectations, day_column, part, unit, rows)


def no_row(name: str, fails: str, means: str, severity: Severity = "block") -> Expectation:
    """No row for which the SQL condition `fails` is true."""
    return replace(none(name, name, means, severity), fails=fails)


def none(name: str, column: str, means: str, severity: Severity = "block") -> Expectation:
    """A count that must be 0."""
    return Expectation(name, severity, means, column)


def between(
    name: str, column: str, low: float | None, high: float | None, means: str, severity: Severity = "warn"
) -> Expectation:
    """A figure within limits."""
    return Expectation(name, severity, means, column, low, high)
