"""`shoplake sql`: read-only queries over the lake."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from lakehouse.sql import Result

app = typer.Typer()


class OutputFormat(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command()
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
    """Ask the lake: read-only queries over bronze, silver, gold and ops.

    Without a query: on a terminal DuckDB's own prompt over what was published last, else the statements on standard
    input, each ended by a semicolon.

    Gold is answered from what was published last, a few seconds ago; --live asks the lake itself.

    Example: shoplake sql "SELECT * FROM gold.top_products_hourly ORDER BY hour_start DESC, rank LIMIT 10"
    """
    from lakehouse.serving.reader import Answers
    from lakehouse.sql import MEMORY_MB
    from lakehouse.watchdog import limit_memory

    if tables and query is not None:
        raise UsageError("Give a query, or --tables to list the tables; `shoplake sql --help` shows an example.")
    settings = load_settings()
    limit_memory(MEMORY_MB)
    if query is None and not tables and sys.stdin.isatty() and sys.stdout.isatty():
        if live:
            raise UsageError("The prompt shows what was published last; give --live a query.")
        _prompt(settings, output)
    answers = Answers(settings, live=live)
    for statement in ["SHOW TABLES"] if tables else _statements(query):
        print_result(answers.stream(statement), output, limit)


def _statements(query: str | None) -> list[str]:
    """What is to be run: the query as it is, or what standard input has."""
    from lakehouse import sql_guard

    if query is not None and query != "-":
        return [query]
    found = [] if query is None and sys.stdin.isatty() else sql_guard.statements(sys.stdin.read())
    if not found:
        raise UsageError("Give a query, or --tables to list the tables; `shoplake sql --help` shows an example.")
    return found


def _prompt(settings: Settings, output: OutputFormat) -> NoReturn:
    """Become DuckDB's command line over the serving file: read-only, and without a way to files, shell or network."""
    import duckdb_cli

    from lakehouse.sql_text import quoted_text
    from lakehouse.watchdog import spill_folder

    if not settings.serving_file.is_file():
        raise ShoplakeError("Nothing is published yet; `shoplake up` publishes gold.")
    program = str(Path(duckdb_cli.__file__).with_name("duckdb"))
    options = ["-readonly", "-no-init", *([] if output is OutputFormat.table else [f"-{output}"])]
    spilled = f"SET temp_directory = {quoted_text(str(spill_folder(settings.serving_file)))}"
    locked = ["-cmd", f"SET TimeZone = 'UTC'; SET memory_limit = '512MB'; {spilled}", "-cmd", ".safe_mode"]
    os.execv(program, [program, *options, *locked, str(settings.serving_file)])  # noqa: S606 - no shell is wanted


def print_result(result: Result, output: OutputFormat, limit: int | None) -> None:
    """Print rows as they arrive, `limit` of them: 0 is all, None as many as suit a person."""
    from lakehouse.serving import sql_output

    try:
        if output is OutputFormat.json:
            sql_output.write_json(result, sys.stdout, limit or 0)
        elif output is OutputFormat.csv:
            sql_output.write_csv(result, sys.stdout, limit or 0)
        else:
            sql_output.print_table(result, Console(), sql_output.TABLE_ROWS if limit is None else limit)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the pipe has seen enough; keep Python from complaining when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
