"""The names of the lake in SQL: its tables and views, and what somebody may have meant who wrote another name."""

import difflib
import re
from collections.abc import Sequence

import duckdb

from gold import products
from lakehouse import sql_guard
from producer.contract import FIELDS
from silver import purchase_lines, views

VIEWS = {**views.VIEWS, purchase_lines.VIEW.full_name: purchase_lines.VIEW, products.VIEW.full_name: products.VIEW}
"""Every view, by full name; each reads silver.events."""
_LISTED = 4
_TABLE = re.compile(r"Table with name (\S+) does not")
_COLUMN = re.compile(r'(?:Referenced column|column named) "([^"]+)"')


def grains() -> dict[str, str]:
    """Grain of every table and view, by full name, in the order of the data's way."""
    from lakehouse.catalog import TABLES

    found = {table.full_name: table.grain for table in TABLES} | {name: view.grain for name, view in VIEWS.items()}
    return dict(sorted(found.items(), key=lambda item: sql_guard.LAYERS.index(item[0].partition(".")[0])))


def unknown_table(name: str) -> str:
    """One sentence for a table that does not exist, with the names most like it, gold before silver before bronze."""
    names = list(reversed(grains()))
    ends = {known.split(".", 1)[1]: known for known in reversed(names)}
    last = name.rsplit(".", 1)[-1].lower()
    same = [known for known in names if known.split(".", 1)[1] == last]
    close = difflib.get_close_matches(name.lower(), names, cutoff=0.7)
    near = [ends[end] for end in difflib.get_close_matches(last, list(ends), cutoff=0.5)]
    similar = (same or list(dict.fromkeys([*close, *near])))[:3]
    hint = f"did you mean {' or '.join(similar)}?" if similar else "`shoplake sql --tables` lists all."
    return f"There is no table {name}; {hint}"


def explained(error: duckdb.Error, missing: Sequence[str] = ()) -> str:
    """What DuckDB says, as one sentence; for a table or a column that is not there, with where it may be. `missing`
    are the tables that were looked for in vain."""
    message = str(error)
    if isinstance(error, duckdb.CatalogException) and (table := _TABLE.search(message)):
        return unknown_table(missing[0] if missing else table.group(1).strip('"'))
    sentence = sql_guard.one_sentence(error)
    if isinstance(error, duckdb.BinderException) and (column := _COLUMN.search(message)):
        return sentence + _elsewhere(column.group(1).lower())
    return sentence


def _elsewhere(column: str) -> str:
    """Where a column is that somebody looked for in another place, or what the field of an event has become."""
    from lakehouse.catalog import TABLES

    silver_name = next((one.silver_column for one in FIELDS if one.name == column != one.silver_column), None)
    if silver_name is not None:
        return f" In silver.events, {column} is called {silver_name}."
    have = [table.full_name for table in reversed(TABLES) if column in table.columns]
    have += [name for name, view in VIEWS.items() if column in view.columns]
    shown = sorted(have, key=lambda name: ("gold", "silver", "bronze", "ops").index(name.partition(".")[0]))[:_LISTED]
    return f" There is a column {column} in {', '.join(shown)}." if shown else ""
