"""What a statement is, which tables and functions it names, before it runs. Nothing here reads the lake.

`shoplake sql`, its readers and Superset all ask `check_reading`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.sql_text import quoted_text

LAYERS = ("bronze", "silver", "gold", "ops")
READING = frozenset(
    (
        "select",
        "with",
        "from",
        "values",
        "table",
        "describe",
        "desc",
        "show",
        "summarize",
        "explain",
        "pivot",
        "unpivot",
    )
)
ALLOWED = frozenset(Path(__file__).with_name("allowed_functions.txt").read_text(encoding="utf-8").lower().split())
"""Functions and operators that compute and nothing else. What DuckDB or an extension brings tomorrow is not in it."""
_TABLE_NAME = re.compile(r"(?!pg_settings$)[\w $-]*", re.IGNORECASE)
"""What looks like a path or an address is one: DuckDB would read the file of that name."""
_FUNCTION_LIKE = ("duckdb_", "pragma_")
ONE_QUERY = "This is read-only: give one SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_SPACE = re.compile("[\u00a0\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff]")
"""What DuckDB takes for a space, and its tokenizer for a letter."""
_PIECE = re.compile(rb'"(?:[^"]|"")*"|[\w\x80-\xff]+|.', re.DOTALL)
_WORDS = (duckdb.token_type.identifier, duckdb.token_type.keyword)


@dataclass(frozen=True)
class Token:
    """One piece of a statement: `kind` is text, quoted, word or other; names are folded to lower case. `start` counts
    bytes."""

    kind: str
    value: str
    start: int

    @property
    def is_name(self) -> bool:
        """Whether it can be (a part of) a table's name."""
        return self.kind in ("word", "quoted")


def tokens(sql: str) -> list[Token]:
    """The statement's pieces without space and comments, as DuckDB cuts them: a comment that ends elsewhere there would
    hide what runs."""
    if _NO_TEXT.search(sql):
        raise UsageError("The statement has bytes that are no text.")
    plain = _SPACE.sub(lambda space: " " * len(space[0].encode()), sql)
    text, found = plain.encode(), []
    for start, token_type in duckdb.tokenize(plain):
        value = next(_PIECE.finditer(text, start))[0].decode().lower()
        kind = "word" if token_type in _WORDS else "text" if token_type == duckdb.token_type.string_const else "other"
        if value[0] == '"':
            kind, value = "quoted", value[1:-1].replace('""', '"')
        found.append(Token(kind, value, start))
    return found


def statements(sql: str) -> list[str]:
    """The statements that semicolons separate, without empty ones."""
    ends = [piece.start for piece in tokens(sql) if piece.kind == "other" and piece.value == ";"]
    text = sql.encode()
    cut = [text[start:end].decode() for start, end in zip([0, *(end + 1 for end in ends)], [*ends, None], strict=True)]
    return [statement for statement in cut if tokens(statement)]


def named_tables(pieces: list[Token]) -> list[str]:
    """Every `layer.name` that the statement mentions, in order, once. A few may turn out to be columns."""
    names = {
        f"{first.value}.{last.value}": None
        for first, dot, last in zip(pieces, pieces[1:], pieces[2:], strict=False)
        if first.is_name and first.value in LAYERS and dot.value == "." and last.is_name
    }
    return list(names)


def mentions_catalog(pieces: list[Token]) -> bool:
    """Whether the statement asks about the tables themselves, so that all of them must be visible."""
    return any(
        piece.is_name and (piece.value == "information_schema" or piece.value.startswith(("duckdb_", "pg_")))
        for piece in pieces
    )


def listed_layer(pieces: list[Token]) -> str | None:
    """For `SHOW [ALL] TABLES [FROM layer]` and a bare `DESCRIBE`: the layer, or "" for all; else None."""
    words = [piece.value for piece in pieces if piece.value != ";"]
    if words in (["describe"], ["desc"]):
        return ""
    if words[:1] != ["show"]:
        return None
    rest = words[2:] if words[1:2] == ["all"] else words[1:]
    if rest == ["tables"]:
        return ""
    return rest[2] if len(rest) == 3 and rest[:2] == ["tables", "from"] else None


def check_reading(sql: str) -> list[Token]:
    """The statement's pieces, if it is one statement that only reads; else UsageError with one sentence."""
    pieces = tokens(sql)
    first = next((piece for piece in pieces if piece.value not in ("(", ";")), None)
    if first is None:
        raise UsageError(f"There is no query. {ONE_QUERY}.")
    if first.kind != "word" or first.value not in READING:
        if meant := difflib.get_close_matches(first.value, sorted(READING), n=1, cutoff=0.75):
            raise UsageError(f"{first.value.upper()[:30]} begins no statement; did you mean {meant[0].upper()}?")
        raise UsageError(f"{ONE_QUERY}, not {first.value.upper()[:30]}.")
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise ShoplakeError(one_sentence(error)) from None
    if len(statements) != 1:
        raise UsageError(f"{ONE_QUERY}, not {len(statements)} statements.")
    kind = statements[0].type
    explains = first.value == "explain"
    if kind != (duckdb.StatementType.EXPLAIN if explains else duckdb.StatementType.SELECT):
        raise UsageError(f"{ONE_QUERY}, not {kind.name}.")
    if explains:
        check_reading(_explained(sql, pieces))
    else:
        _check_names(sql)
    return pieces


def _check_names(sql: str) -> None:
    """UsageError for a function or a table beyond the lake's own. DuckDB's parser finds them."""
    # As a literal: for a bound value DuckDB would import pandas, which takes a second.
    parsed = _parser().cursor().execute(f"SELECT json_serialize_sql({quoted_text(sql)})").fetchall()[0][0]
    try:
        tree = json.loads(parsed)
    except RecursionError:
        raise UsageError("The statement is nested too deeply.") from None
    if tree["error"]:
        raise UsageError(f"{ONE_QUERY}; this one is of another kind.")
    for node in _nodes(tree):
        for name in (node.get("function_name"), *(node.get("function_names") or ())):
            if name is not None and name.lower() not in ALLOWED:
                raise UsageError(f"The function {name[:60]} is not allowed here: queries read the lake's tables only.")
        if node.get("type") in ("BASE_TABLE", "SHOW_REF"):
            # Of "s3://bucket/a"."csv", too, DuckDB reads the file of that name.
            for part in ("catalog_name", "schema_name", "table_name"):
                _check_table(str(node.get(part, "")).strip('"'))


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
    """A database of nothing, to parse with."""
    config: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "enable_external_access": "false"}
    return duckdb.connect(config=config)


def _explained(sql: str, pieces: list[Token]) -> str:
    """The statement inside `EXPLAIN [ANALYZE] [(options)] …`, which DuckDB has parsed."""
    values = [piece.value for piece in pieces]
    position = values.index("explain") + 1
    while values[position] in ("analyze", "verbose"):
        position += 1
    if values[position] == "(" and values[position + 1] in ("analyze", "format"):
        position = values.index(")", position) + 1
    return sql.encode()[pieces[position].start :].decode()


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
