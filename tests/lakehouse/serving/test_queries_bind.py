"""The queries of the demo and of docs/how-to/sql.md fit the declared tables: DuckDB can bind every one."""

import re
from pathlib import Path

import duckdb
import pytest

from lakehouse.cli.demo import view
from lakehouse.serving.publisher import CREATE_PUBLISHED
from lakehouse.sql_names import VIEWS

DOCS = Path(__file__).parents[3] / "docs" / "how-to" / "sql.md"
QUERIES = [
    value for name, value in vars(view).items() if name.isupper() and isinstance(value, str) and "SELECT" in value
]
QUERIES += re.findall(r"^```sql\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def declared(empty_lake: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    empty_lake.execute(CREATE_PUBLISHED)
    for each in VIEWS.values():
        empty_lake.execute(f"CREATE VIEW {each.full_name} AS {each.sql}")
    return empty_lake


@pytest.mark.parametrize("query", QUERIES)
def test_query_binds(declared: duckdb.DuckDBPyConnection, query: str) -> None:
    assert declared.execute(query).fetchall() is not None
