"""What an expectation is: a declaration that the job, the gate, the documents and the tests read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

Severity = Literal["block", "warn"]
Ask = Callable[[str], list[dict[str, Any]]]
"""Answers one reading statement with rows."""


@dataclass(frozen=True)
class Expectation:
    """Limits, both included, between which `measure` must be, SQL over the rows of a suite; None is no limit.

    `block` keeps the table from being published while it fails, `warn` only reports.
    """

    name: str
    severity: Severity
    means: str
    measure: str
    low: float | None = 0
    high: float | None = 0
    fails: str = ""
    """SQL that is true for a row that is not as expected."""

    def holds(self, values: Iterable[Any]) -> bool:
        """What Great Expectations would say about these values; a test compares the two."""
        present = [value for value in values if value is not None and value == value]
        return all(
            (self.low is None or value >= self.low) and (self.high is None or value <= self.high) for value in present
        )


@dataclass(frozen=True)
class Suite:
    """Expectations of one table, and the SELECT of the rows that they measure, for the lake's reader.

    `{days}` in it stands for the condition that picks the days that changed, over `day_column`; a suite without one is
    always measured whole.

    With a `unit`, an SQL expression over columns of the table, faults can be told apart by it: only the table's rows of
    the units in which `rows` has a row that fails are held back, and the rest is published. Each expectation says then
    which rows fail.
    """

    table: str
    rows: str
    expectations: tuple[Expectation, ...]
    day_column: str = ""
    unit: str = ""

    def id_of(self, expectation: Expectation) -> str:
        """Stable id of one of its expectations."""
        return f"{self.table}.{expectation.name}"

    def on(self, days: Sequence[date] | None) -> str:
        """The condition that picks these days; none for everything (None)."""
        if days is None or not self.day_column:
            return ""
        listed = ", ".join(f"DATE '{day}'" for day in days) or "NULL"
        return f"{self.day_column} IN ({listed})"

    def query(self, condition: str = "") -> str:
        """The statement, over the rows where an SQL condition on `day_column` holds; none is everything."""
        measured = ", ".join(f"{each.measure} AS {each.name}" for each in self.expectations)
        return f"SELECT {measured} FROM ({self._rows(condition)})"  # noqa: S608 - the names are declared in this project

    def _rows(self, condition: str) -> str:
        return self.rows.replace("{days}", condition or "true")

    @property
    def unit_text(self) -> str:
        """The name of a row's unit, as SQL; the same in the lake and in the serving file."""
        return f"coalesce(({self.unit})::VARCHAR, '')"

    def failing_units(self, expectation: Expectation, condition: str = "") -> str:
        """A statement that names the units that fail, over the rows where `condition` holds, as `query`."""
        rows = self._rows(condition)
        return f"SELECT DISTINCT {self.unit_text} AS unit FROM ({rows}) WHERE {expectation.fails}"  # noqa: S608 - the names are declared in this project


def suite(table: str, rows: str, *expectations: Expectation, day_column: str = "", unit: str = "") -> Suite:
    """A suite of these expectations."""
    return Suite(table, rows, expectations, day_column, unit)


def seen(table: str, key: str) -> str:
    """The rows of a table's days, with the column `seen`: how many rows have the same key."""
    return f"SELECT *, count(*) OVER (PARTITION BY {key}) AS seen FROM {table} WHERE {{days}}"  # noqa: S608 - the names are declared in this project


def no_row(name: str, fails: str, means: str, severity: Severity = "block") -> Expectation:
    """No row for which the SQL condition `fails` is true."""
    return Expectation(name, severity, means, f"count(*) FILTER ({fails})", fails=fails)


def none(name: str, measure: str, means: str, severity: Severity = "block") -> Expectation:
    """A count that must be 0."""
    return Expectation(name, severity, means, measure)


def between(
    name: str, measure: str, low: float | None, high: float | None, means: str, severity: Severity = "warn"
) -> Expectation:
    """A figure within limits."""
    return Expectation(name, severity, means, measure, low, high)
