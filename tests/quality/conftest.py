"""Every declared table in DuckDB, empty, so that what runs over the lake can be tested in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from lakehouse.sql_guard import check_reading
from tests.support.declared_tables import create_tables


class Reader:
    """The declared tables, asked as the lake is: only reading statements, rows as dictionaries."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def query(self, sql: str) -> list[dict[str, Any]]:
        check_reading(sql)
        found = self.connection.execute(sql)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.fixture(scope="module")
def empty_lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        create_tables(connection)
        yield connection
