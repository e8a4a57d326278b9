"""`shoplake sql`: one read-only query over the lake."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lakehouse.sql import Result


class OutputFormat(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sql")(sql)


def sql(
    query: Annotated[
        str | None, typer.Argument(help="One reading statement, or - to read it from standard input.")
    ] = None,
    output: Annotated[OutputFormat, typer.Option("--format", "-f", help="table, csv or json.")] = OutputFormat.table,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Most rows to print; 0 prints all. Unset: 200 in a table, else all.")
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables and what one row of each is.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Ask the Delta tables, not the published file.")] = False,
) -> None:
    """Ask the lake: one read-only query over bronze, silver, gold and ops.

    Gold is answered from what was published last, a few seconds ago; --live asks the lake itself.

    Example: shoplake sql "SELECT * FROM gold.top_products_hourly ORDER BY hour_start DESC, rank LIMIT 10"
    """
    from lakehouse.errors import UsageError

    if tables == (query is not None):
        raise UsageError("Give a query, or --tables to list the tables; `shoplake sql --help` shows an example.")
    statement = "SHOW TABLES" if query is None else sys.stdin.read() if query == "-" else query
    with _answer(statement, live=live) as result:
        try:
            _print(result, output, limit)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the pipe has seen enough; keep Python from complaining when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _answer(statement: str, *, live: bool) -> Iterator[Result]:
    """The answer from the published file where it has the tables that are asked for, else from the lake."""
    from lakehouse.serving_reader import reader_for
    from lakehouse.settings import load_settings

    settings = load_settings()
    if not live and (published := reader_for(settings, statement)):
        yield published.stream(statement)
        return
    from lakehouse.sql import connect

    if not live and "gold." in statement.lower() and not settings.serving_file.is_file():
        print("Nothing is published yet: asking the lake itself.", file=sys.stderr)
    with connect(settings) as reader:
        yield reader.stream(statement)


def _print(result: Result, output: OutputFormat, limit: int | None) -> None:
    from lakehouse import sql_output

    if output is OutputFormat.json:
        sql_output.write_json(result, sys.stdout, limit or 0)
    elif output is OutputFormat.csv:
        sql_output.write_csv(result, sys.stdout, limit or 0)
    else:
        from rich.console import Console

        sql_output.print_table(result, Console(), sql_output.TABLE_ROWS if limit is None else limit)
