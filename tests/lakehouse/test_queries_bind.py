"""The queries of the demo and of docs/sql.md fit the declared tables: DuckDB can bind every one."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from pyspark.sql.types import ArrayType, DataType, StructType

from lakehouse import demo_view
from lakehouse.catalog import TABLES
from lakehouse.sql_guard import LAYERS
from silver.views import VIEWS

DOCS = Path(__file__).parents[2] / "docs" / "sql.md"
SIMPLE = {"string": "VARCHAR", "int": "INTEGER", "timestamp": "TIMESTAMPTZ", "binary": "BLOB"}
QUERIES = [value for name, value in vars(demo_view).items() if name.isupper() and "SELECT" in str(value)]
QUERIES += re.findall(r"^```sql\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def duckdb_type(kind: DataType) -> str:
    if isinstance(kind, ArrayType):
        return duckdb_type(kind.elementType) + "[]"
    if isinstance(kind, StructType):
        return f"STRUCT({', '.join(f'{field.name} {duckdb_type(field.dataType)}' for field in kind.fields)})"
    return SIMPLE.get(kind.simpleString(), kind.simpleString())


@pytest.fixture(scope="module")
def declared() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for layer in LAYERS:
            connection.execute(f"CREATE SCHEMA {layer}")
        for table in TABLES:
            columns = ", ".join(f'"{field.name}" {duckdb_type(field.dataType)}' for field in table.schema.fields)
            connection.execute(f"CREATE TABLE {table.full_name} ({columns})")
        for view in VIEWS.values():
            connection.execute(f"CREATE VIEW {view.full_name} AS {view.sql}")
        yield connection


@pytest.mark.parametrize("query", QUERIES)
def test_query_binds(declared: duckdb.DuckDBPyConnection, query: str) -> None:
    assert declared.execute(query).fetchall() is not None
