"""What a statement is, and which tables and functions it names, before it runs: DuckDB's own parser tells. Nothing here
reads the lake.

`shoplake sql`, its readers and Superset all ask `check_reading`.
"""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.sql_text import quoted_text

LAYERS = ("bronze", "silver", "gold", "ops")
BEGINS = (
    "select", "with", "from", "values", "table", "describe", "desc", "show", "summarize", "explain", "pivot", "unpivot",
)  # fmt: skip
"""What somebody may have meant who wrote another word."""
ALLOWED = frozenset(Path(__file__).with_name("allowed_functions.txt").read_text(encoding="utf-8").lower().split())
"""Functions and operators that compute and nothing else. What DuckDB or an extension brings tomorrow is not in it, nor
what goes through JSON by recursion: events may have some that is deep, and the process would end."""
_TABLE_NAME = re.compile(r"(?!pg_settings$)[\w $-]*", re.IGNORECASE)
"""What looks like a path or an address is one: DuckDB would read the file of that name."""
_FUNCTION_LIKE = ("duckdb_", "pragma_")
ONE_QUERY = "This is read-only: give one SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_EXPLAIN = re.compile(
    r"(?:[\s;]|--[^\r\n]*+)*+explain\b\s*(?:analyze\b\s*)?(?:\(\s*(?:analyze|format)\b[\w\s,]*\))?(.*)",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
"""Whoever lets more stand before the query that is explained, such as comments that nest, may be shown another one than
runs. Possessive, so that no EXPLAIN within a comment is taken for the statement's own."""
_ALL_TABLES = ('"tables"', "__show_tables_expanded")
"""So DuckDB's parser says it."""
_CATALOG, _CATALOG_SCHEMAS = ("duckdb_", "pg_"), ("information_schema", "pg_catalog")


@dataclass(frozen=True)
class Reading:
    """A statement that only reads: every `layer.name` that it names, in order, once; whether it asks about the tables
    themselves, so that all of them must be visible; and for `SHOW [ALL] TABLES [FROM layer]` and a bare `DESCRIBE` the
    layer, or "" for all."""

    tables: tuple[str, ...]
    asks_catalog: bool
    listed: str | None = None


def statements(sql: str) -> list[str]:
    """The statements that semicolons separate, without empty ones; all as one where DuckDB makes several of one, as of
    a PIVOT that has to look for its columns first."""
    found = [one.query for one in _parsed(sql)]
    return found if all(found) else [sql]


def check_reading(sql: str) -> Reading:
    """What is read, if it is one statement that only reads; else UsageError with one sentence."""
    statements = _parsed(sql)
    if not statements:
        raise UsageError(f"There is no query. {ONE_QUERY}.")
    if len(statements) != 1:
        raise UsageError(f"{ONE_QUERY}, not {len(statements)} statements.")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        explained = _EXPLAIN.fullmatch(sql)
        if explained is None:
            raise UsageError(f"{ONE_QUERY}; write EXPLAIN and its options without /* comments */.")
        return replace(check_reading(explained[1]), listed=None)
    if kind != duckdb.StatementType.SELECT:
        raise UsageError(f"{ONE_QUERY}, not {kind.name}.")
    return _named(sql)


def _parsed(sql: str) -> list[duckdb.Statement]:
    if _NO_TEXT.search(sql):
        raise UsageError("The statement has bytes that are no text.")
    try:
        # To take IMPORT DATABASE and some PRAGMAs apart, the parser itself would read files and ask the network.
        return _parser().cursor().extract_statements(sql)
    except duckdb.Error as error:
        word = next(iter(re.findall(r"\w+", sql)), "")
        if word.lower() in BEGINS:
            raise ShoplakeError(one_sentence(error)) from None
    if meant := difflib.get_close_matches(word.lower(), BEGINS, n=1, cutoff=0.75):
        raise UsageError(f"{word.upper()[:30]} begins no statement; did you mean {meant[0].upper()}?")
    raise UsageError(f"{ONE_QUERY}, not {word.upper()[:30]}." if word else f"{ONE_QUERY}.")


def _named(sql: str) -> Reading:
    """What a statement names. UsageError for a function or a table beyond the lake's own."""
    # As a literal: for a bound value DuckDB would import pandas, which takes a second.
    try:
        parsed = _parser().cursor().execute(f"SELECT json_serialize_sql({quoted_text(sql)})").fetchall()[0][0]
        tree = json.loads(parsed)
    except (duckdb.Error, MemoryError):
        raise ShoplakeError("There is not enough memory to look at the statement.") from None
    except RecursionError:
        raise UsageError("The statement is nested too deeply.") from None
    if tree["error"]:
        raise UsageError(f"{ONE_QUERY}; this one is of another kind.")
    tables: dict[str, int] = {}
    asks_catalog = False
    for node in _nodes(tree):
        if node.get("id") == "VARIANT":
            raise UsageError("The type VARIANT is not allowed here: DuckDB makes it of no JSON that is deep.")
        for name in (node.get("function_name"), *(node.get("function_names") or ())):
            if name is not None and name.lower() not in ALLOWED:
                raise UsageError(f"The function {name[:60]} is not allowed here: queries read the lake's tables only.")
            asks_catalog |= name is not None and name.lower().startswith(_CATALOG)
        if node.get("type") in ("BASE_TABLE", "SHOW_REF"):
            # Of "s3://bucket/a"."csv", too, DuckDB reads the file of that name.
            names = [str(node.get(part, "")).strip('"') for part in ("catalog_name", "schema_name", "table_name")]
            for name in names:
                _check_table(name)
            _, schema, table = map(str.lower, names)
            asks_catalog |= schema in _CATALOG_SCHEMAS or table.startswith(_CATALOG)
            if schema in LAYERS and table:
                tables.setdefault(f"{schema}.{table}", node.get("query_location", 0))
    return Reading(tuple(sorted(tables, key=lambda name: tables[name])), asks_catalog, _listed(tree["statements"][0]))


def _listed(statement: dict[str, Any]) -> str | None:
    shown = statement["node"].get("from_table") or {}
    if shown.get("show_type") == "SHOW_FROM":
        return str(shown["schema_name"]).lower()
    return "" if shown.get("type") == "SHOW_REF" and shown["table_name"] in _ALL_TABLES else None


def _check_table(name: str) -> None:
    is_function = name.lower().startswith(_FUNCTION_LIKE) and name.lower() not in ALLOWED
    if is_function or not _TABLE_NAME.fullmatch(name):
        shown = "".join(char if char.isprintable() else "?" for char in name[:60])
        raise UsageError(f"{shown} is no table: queries read the lake's tables only.")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a parsed statement. Not by recursion: a person's text decides how deep it is."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """A database of nothing, to parse with, that opens no file."""
    config: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "enable_external_access": "false"}
    return duckdb.connect(config=config)


def one_sentence(error: BaseException) -> str:
    """DuckDB's message without its class, its pointer into the text and its line breaks."""
    message = re.split(r"\n+LINE \d+:", str(error))[0]
    kind, colon, rest = message.partition(" Error: ")
    message = rest if colon and len(kind) < 40 else message
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    sentence = lines[0] if lines else "unknown error"
    for line in lines[1:]:
        sentence += (" " if sentence[-1] in ".!?:;," else "; ") + line
    return f"The query fails: {sentence.rstrip('.! ')}."
