"""Completion while SQL is typed: tables, the columns of tables that the statement names, and keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from lakehouse import sql_guard

if TYPE_CHECKING:
    from pyspark.sql.types import StructField

KEYWORDS = """
    ALL AND ANY AS ASC BETWEEN BY CASE CAST CROSS DATE DESC DESCRIBE DISTINCT ELSE END EXCEPT EXISTS EXPLAIN FALSE
    FILTER FROM FULL GROUP HAVING IN INNER INTERSECT INTERVAL IS JOIN LAST LEFT LIKE LIMIT NOT NULL NULLS OFFSET ON OR
    ORDER OVER PARTITION PIVOT QUALIFY RIGHT SELECT SHOW SUMMARIZE TABLES THEN TIMESTAMP TRUE UNION USING VALUES WHEN
    WHERE WINDOW WITH avg coalesce count date_trunc max median min round sum
"""
_WORD = re.compile(r"[\w.]*\Z")


@dataclass(frozen=True)
class Column:
    """A column as completion shows it."""

    name: str
    type: str
    meaning: str = ""


class Names:
    """Every table and view that can be asked for, with its columns. Found out once, when first needed: it takes a
    second, since the declarations are Spark's."""

    @cached_property
    def columns(self) -> Mapping[str, tuple[Column, ...]]:
        """Columns by full table name, in the order of the data's way."""
        from lakehouse.catalog import TABLES
        from lakehouse.serving import sources
        from silver.views import VIEWS

        found = {table.full_name: tuple(map(_column, table.schema)) for table in TABLES}
        events = {column.name: column for column in found["silver.events"]}
        found |= {view.full_name: tuple(events[name] for name in view.columns) for view in VIEWS.values()}
        for source in sources():
            found[source.name] = tuple(Column(name, kind.lower(), what) for name, kind, what in source.columns)
        return found


def _column(field: StructField) -> Column:
    return Column(field.name, field.dataType.simpleString(), field.metadata["comment"])


class SqlCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, names: Names) -> None:
        """`names` are looked up at the first completion."""
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word can become: columns first, then tables, then keywords."""
        before = document.text_before_cursor
        word = _WORD.search(before)
        typed = word.group() if word else ""
        if is_in_text(before) or (not typed and not complete_event.completion_requested):
            return
        seen = set()
        for text, what in self._candidates(typed.lower(), document.text):
            if text not in seen:
                seen.add(text)
                yield Completion(text, start_position=-len(typed), display_meta=what)

    def _candidates(self, typed: str, statement: str) -> Iterator[tuple[str, str]]:
        qualifier, dot, rest = typed.rpartition(".")
        named = sql_guard.named_tables(sql_guard.tokens(statement))
        is_layer = qualifier in sql_guard.LAYERS
        if not is_layer:
            for table in named:
                for column in self._names.columns.get(table, ()):
                    if column.name.startswith(rest):
                        yield qualifier + dot + column.name, f"{column.type} of {table}"
        if dot and not is_layer:
            return
        for table in self._names.columns:
            if table.startswith(typed) or (typed and table.partition(".")[2].startswith(typed)):
                yield table, "table"
        if not dot:
            yield from ((word, "") for word in KEYWORDS.split() if typed and word.lower().startswith(typed))


def is_in_text(before: str) -> bool:
    """Whether the cursor is inside a text or a comment that has not ended."""
    pieces = sql_guard.tokens(before)
    is_open_text = any(piece.kind == "other" and piece.value in ("'", '"') for piece in pieces)
    return is_open_text or "--" in before.rpartition("\n")[2]
