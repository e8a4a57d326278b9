"""`shoplake sql`: one read-only query over the lake."""

from __future__ import annotations

import os
import sys
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
) -> None:
    """Ask the lake: one read-only query over bronze, silver, gold and ops.

    Example: shoplake sql "SELECT * FROM gold.top_products_hourly ORDER BY hour_start DESC, rank LIMIT 10"
    """
    from lakehouse.errors import UsageError
    from lakehouse.settings import load_settings

    if tables == (query is not None):
        raise UsageError("Give a query, or --tables to list the tables; `shoplake sql --help` shows an example.")
    statement = "SHOW TABLES" if query is None else sys.stdin.read() if query == "-" else query
    from lakehouse.sql import connect

    with connect(load_settings()) as reader:
        result = reader.stream(statement)
        try:
            _print(result, output, limit)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the pipe has seen enough; keep Python from complaining when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(result: Result, output: OutputFormat, limit: int | None) -> None:
    from lakehouse import sql_output

    if output is OutputFormat.json:
        sql_output.write_json(result, sys.stdout, limit or 0)
    elif output is OutputFormat.csv:
        sql_output.write_csv(result, sys.stdout, limit or 0)
    else:
        from rich.console import Console

        sql_output.print_table(result, Console(), sql_output.TABLE_ROWS if limit is None else limit)
