"""Every declared table in DuckDB, empty, so that what runs over the lake can be tested in milliseconds."""

from __future__ import annotations

import duckdb
from pyspark.sql.types import ArrayType, DataType, StructType

from lakehouse.catalog import TABLES
from lakehouse.sql_guard import LAYERS

SIMPLE = {"string": "VARCHAR", "int": "INTEGER", "timestamp": "TIMESTAMPTZ", "binary": "BLOB"}


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
