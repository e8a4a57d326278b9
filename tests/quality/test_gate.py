"""The gate blocks by the newest result, and lets through what is overridden, while it is."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from quality.gate import Ruling, blocked_by, failing, rule
from tests.support.declared_tables import Reader

ONE, TWO = "gold.a.one", "gold.a.two"


class Tables:
    """The two tables in DuckDB, asked with the reader's words."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def query(self, sql: str) -> list[dict[str, Any]]:
        return (
            self.connection.execute(sql).df().astype(object).where(lambda frame: frame.notna(), None).to_dict("records")
        )

    def result(self, expectation: str, success: bool, minutes_ago: int, severity: str = "block") -> None:
        self.connection.execute(
            "INSERT INTO ops.quality_results BY NAME SELECT 'gold.a' AS table_name, ? AS expectation, ? AS success,"
            " ? AS severity, now() - to_minutes(?) AS checked_at, 'means' AS detail, '{}' AS observed",
            [expectation, success, severity, minutes_ago],
        )

    def override(self, expectation: str, minutes: int) -> None:
        self.connection.execute(
            "INSERT INTO ops.quality_overrides BY NAME SELECT ? AS expectation, now() + to_minutes(?) AS expires_at",
            [expectation, minutes],
        )


@pytest.fixture
def tables() -> Iterator[Tables]:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE SCHEMA ops; CREATE TABLE ops.quality_results (table_name VARCHAR, expectation VARCHAR,"
            " severity VARCHAR, success BOOLEAN, checked_at TIMESTAMPTZ, detail VARCHAR, observed VARCHAR);"
            " CREATE TABLE ops.quality_overrides (expectation VARCHAR, expires_at TIMESTAMPTZ)"
        )
        yield Tables(connection)


def test_nothing_is_blocked_before_anything_is_checked(tables: Tables) -> None:
    assert blocked_by(failing(tables.query)) == {}


def test_the_newest_result_counts(tables: Tables) -> None:
    tables.result(ONE, True, 30)
    tables.result(ONE, False, 20)
    tables.result(TWO, False, 20)
    assert blocked_by(failing(tables.query)) == {"gold.a": [ONE, TWO]}
    tables.result(ONE, True, 10)
    assert blocked_by(failing(tables.query)) == {"gold.a": [TWO]}
    tables.result(TWO, True, 10)
    assert blocked_by(failing(tables.query)) == {}


def test_a_warning_only_reports(tables: Tables) -> None:
    tables.result(ONE, False, 1, severity="warn")
    assert blocked_by(failing(tables.query)) == {}
    assert [row["expectation"] for row in failing(tables.query)] == [ONE]


def test_an_override_holds_until_it_expires(tables: Tables) -> None:
    tables.result(ONE, False, 1)
    tables.result(TWO, False, 1)
    tables.override(ONE, 60)
    tables.override(TWO, -1)
    assert blocked_by(failing(tables.query)) == {"gold.a": [TWO]}
    assert len(failing(tables.query)) == 2


def test_a_ruling_sees_what_is_wrong_before_anything_was_checked(empty_lake: duckdb.DuckDBPyConnection) -> None:
    ask = Reader(empty_lake).query
    name, table = "gold.kpis_hourly.conversion_is_a_rate", "gold.kpis_hourly"
    empty_lake.execute("INSERT INTO gold.kpis_hourly BY NAME SELECT 50 AS conversion_rate, current_date AS hour_date")
    assert name in dict(rule(ask, table).of_rows)
    assert rule(ask, "gold.user_days") == Ruling()
    empty_lake.execute(
        "INSERT INTO ops.quality_overrides BY NAME"
        f" SELECT '{name}' AS expectation, now() + INTERVAL 1 HOUR AS expires_at"
    )
    ruling = rule(ask, table)
    assert name not in dict(ruling.of_rows)
    assert ruling.let_through == (name,)
    assert rule(ask, table, "hour_date = current_date - 5") == Ruling()
