"""Rows of gold that are held back while the rest of their table is published.

They stand in the serving file, in `held_back.<table>` with the expectation that they fail, so that anybody can look at
what is wrong; and each publish judges them anew.
"""

from collections.abc import Iterable
from typing import Any

import duckdb

SCHEMA = "held_back"


def give_back(target: duckdb.DuckDBPyConnection, name: str) -> None:
    """Put the rows of a table that are held back among the others again."""
    if _is_there(target, name):
        target.execute(f"INSERT INTO {name} SELECT * EXCLUDE (held_by) FROM {_held(name)}; DROP TABLE {_held(name)}")  # noqa: S608 - the names are declared in this project


def hold_back(target: duckdb.DuckDBPyConnection, name: str, rulings: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Take the rows that fail out of a table; how many, by expectation. `rulings` has ids, and SQL that picks rows."""
    held: dict[str, int] = {}
    for expectation, condition in rulings:
        target.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        target.execute(f"CREATE TABLE IF NOT EXISTS {_held(name)} AS SELECT *, '' AS held_by FROM {name} LIMIT 0")  # noqa: S608 - the names are declared in this project
        target.execute(f"INSERT INTO {_held(name)} SELECT *, ? FROM {name} WHERE {condition}", [expectation])  # noqa: S608 - the names are declared in this project
        rows = target.execute(f"DELETE FROM {name} WHERE {condition}").fetchall()[0][0]  # noqa: S608 - the names are declared in this project
        held |= {expectation: rows} if rows else {}
    return held


def with_held(serving: duckdb.DuckDBPyConnection, name: str) -> str:
    """A table's rows together with those that are held back, as SQL to select from."""
    held = f" UNION ALL SELECT * EXCLUDE (held_by) FROM {_held(name)}" if _is_there(serving, name) else ""  # noqa: S608 - the names are declared in this project
    return f"(FROM {name}{held})"


def how_held(row: dict[str, Any]) -> str:
    """What a row of `_published` says about what is held back: expectations, and of how many rows; else nothing."""
    if row["blocked_by"]:
        return str(row["blocked_by"])
    rows = row["held_rows"] or 0
    return f"{rows:,} {'row' if rows == 1 else 'rows'}: {row['held_by']}" if rows else ""


def _held(name: str) -> str:
    return f"{SCHEMA}.{name.partition('.')[2]}"


def _is_there(target: duckdb.DuckDBPyConnection, name: str) -> bool:
    is_named = "SELECT 1 FROM duckdb_tables() WHERE schema_name || '.' || table_name = ?"
    return bool(target.execute(is_named, [_held(name)]).fetchall())
