"""Every declared table in DuckDB, empty, so that what runs over the lake can be tested in milliseconds."""

from typing import Any

import duckdb
from pyspark.sql.types import ArrayType, DataType, StructType

from lakehouse.catalog import TABLES
from lakehouse.sql_guard import LAYERS, check_reading

SIMPLE = {"string": "VARCHAR", "int": "INTEGER", "timestamp": "TIMESTAMPTZ", "binary": "BLOB"}


class Reader:
    """The declared tables, asked as the lake is: only reading statements, rows as dictionaries."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def query(self, sql: str) -> list[dict[str, Any]]:
        check_reading(sql)
        found = self.connection.execute(sql)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make a schema per layer and a table per declaration."""
    for layer in LAYERS:
        connection.execute(f"CREATE SCHEMA {layer}")
    for table in TABLES:
        columns = ", ".join(f'"{field.name}" {_type(field.dataType)}' for field in table.schema.fields)
        connection.execute(f"CREATE TABLE {table.full_name} ({columns})")


def _type(kind: DataType) -> str:
    if isinstance(kind, ArrayType):
        return _type(kind.elementType) + "[]"
    if isinstance(kind, StructType):
        return f"STRUCT({', '.join(f'{field.name} {_type(field.dataType)}' for field in kind.fields)})"
    return SIMPLE.get(kind.simpleString(), kind.simpleString())
