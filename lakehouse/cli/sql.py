"""`shoplake sql`: read-only queries over the lake."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lakehouse.sql import Result
    from lakehouse.sql_answers import Answers


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
        str | None, typer.Argument(help="One reading statement, or - for those on standard input.")
    ] = None,
    output: Annotated[OutputFormat, typer.Option("--format", "-f", help="table, csv or json.")] = OutputFormat.table,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Most rows to print; 0 prints all. Unset: 200 in a table, else all.")
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables and what one row of each is.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Ask the Delta tables, not the published file.")] = False,
) -> None:
    """Ask the lake: read-only queries over bronze, silver, gold and ops. Without a query: on a terminal a session
    with completion and history, else the statements on standard input, each ended by a semicolon.

    Gold is answered from what was published last, a few seconds ago; --live asks the lake itself.

    Example: shoplake sql "SELECT * FROM gold.top_products_hourly ORDER BY hour_start DESC, rank LIMIT 10"
    """
    from lakehouse.errors import UsageError
    from lakehouse.settings import load_settings
    from lakehouse.sql_answers import Answers

    if tables and query is not None:
        raise UsageError("Give a query, or --tables to list the tables; `shoplake sql --help` shows an example.")
    with Answers(load_settings(), live=live) as answers:
        if query is None and not tables and sys.stdin.isatty() and sys.stdout.isatty():
            _converse(answers, output, limit)
            return
        for statement in ["SHOW TABLES"] if tables else _statements(query):
            _print(answers.stream(statement), output, limit)


def _statements(query: str | None) -> list[str]:
    """What is to be run: the query as it is, or what standard input has."""
    from lakehouse import sql_guard
    from lakehouse.errors import UsageError

    if query is not None and query != "-":
        return [query]
    found = [] if query is None and sys.stdin.isatty() else sql_guard.statements(sys.stdin.read())
    if not found:
        raise UsageError("Give a query, or --tables to list the tables; `shoplake sql --help` shows an example.")
    return found


def _converse(answers: Answers, output: OutputFormat, limit: int | None) -> None:
    from rich.console import Console

    from lakehouse import sql_shell

    console = Console()
    is_table = output is OutputFormat.table
    rows = sql_shell.ROWS if limit is None else limit
    show = sql_shell.table_shower(console, rows) if is_table else lambda result: _print(result, output, limit)
    sql_shell.run(answers, console, show)


def _print(result: Result, output: OutputFormat, limit: int | None) -> None:
    try:
        _write(result, output, limit)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the pipe has seen enough; keep Python from complaining when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(result: Result, output: OutputFormat, limit: int | None) -> None:
    from lakehouse import sql_output

    if output is OutputFormat.json:
        sql_output.write_json(result, sys.stdout, limit or 0)
    elif output is OutputFormat.csv:
        sql_output.write_csv(result, sys.stdout, limit or 0)
    else:
        from rich.console import Console

        sql_output.print_table(result, Console(), sql_output.TABLE_ROWS if limit is None else limit)
