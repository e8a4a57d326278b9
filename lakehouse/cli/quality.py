"""`shoplake quality check|status|override`: what the checks say, and what somebody decides about it."""

from __future__ import annotations

import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.cli.formats import Format, HowToPrint
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.settings import load_settings
from lakehouse.terminal import shown

_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_LONGEST = timedelta(days=7)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    desk = typer.Typer(help="Check the tables, see what fails, decide about it.", no_args_is_help=True)
    desk.command("check")(check)
    desk.command("status")(status)
    desk.command("override")(override)
    app.add_typer(desk, name="quality")


def check(
    scope: Annotated[str, typer.Option(help="full, incremental, or due.")] = "incremental",
    tables: Annotated[str | None, typer.Option(help="Only these tables, separated by commas.")] = None,
    format: HowToPrint = Format.table,
) -> None:
    """Judge the tables now (the job `quality`) and print what fails.

    Example: [bold]shoplake quality check --scope full[/]
    """
    from lakehouse.cli import jobs

    pairs = [f"scope={scope}", *([f"tables={tables}"] if tables else [])]
    jobs.run("quality", param=pairs, as_of=None, wait=True, format=format)


def status(format: HowToPrint = Format.table) -> None:
    """List the expectations that fail now: by the job `quality`, and by the audit of each publish, which holds tables
    back at once. The exit code is 1 when a table, or some of its rows, is held back.

    Example: [bold]shoplake quality status[/]
    """

    from lakehouse.sql import connect
    from quality.gate import blocked_by, failing

    with connect(load_settings()) as reader:
        found = failing(reader)
    tables = blocked_by(found)
    held, passed, rows = _at_publish()
    if format is Format.json:
        told = {"blocked": tables, "failing": found, "held_back": held, "let_through": passed, "rows_held_back": rows}
        typer.echo(json.dumps(told, default=str))
    elif not found and not held and not passed and not rows:
        typer.echo("Every expectation holds.")
    else:
        grid = Grid("expectation", "severity", "means", "checked (UTC)", "overridden until")
        for row in found:
            grid.add_row(
                shown(row["expectation"]),
                str(row["severity"]),
                shown(row["detail"]),
                f"{row['checked_at']:%Y-%m-%d %H:%M}",
                f"{row['overridden_until']:%Y-%m-%d %H:%M}" if row["overridden_until"] else "",
            )
        if found:
            Console().print(grid)
        for table, names in held.items():
            typer.echo(f"{table} is held back: dashboards keep its last good version. {', '.join(names)}")
        for table, said in rows.items():
            typer.echo(f"Of {table} rows are held back, the rest is published. {said}")
        for table, names in passed.items():
            typer.echo(f"{table} is published because of an override. {', '.join(names)}")
    if tables or held or rows:
        raise typer.Exit(1)


def _at_publish() -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
    """Which tables the publisher holds back, and which it lets through, with the failing expectations; and what it says
    of those of which it holds back some rows."""
    from lakehouse.serving.file import names_in, published
    from lakehouse.serving.held import how_held

    try:
        rows = published(load_settings())
    except ShoplakeError:
        return {}, {}, {}
    told = [
        {row["table_name"]: names_in(row[key]) for row in rows if row.get(key)} for key in ("blocked_by", "let_through")
    ]
    of_rows = {row["table_name"]: how_held(row) for row in rows if row["held_rows"] and not row["blocked_by"]}
    return told[0], told[1], of_rows


def override(
    expectation: Annotated[str, typer.Argument(help="Id of the expectation, as `shoplake quality status` shows it.")],
    duration: Annotated[str, typer.Option("--for", help="How long, as 30m, 2h or 1d; a week at most.")],
    reason: Annotated[str, typer.Option(help="Why; kept with who and when in ops.quality_overrides.")],
) -> None:
    """Let a table be published although this expectation fails, for a while.

    Example: [bold]shoplake quality override gold.kpis_hourly.each_hour_once --for 2h --reason "known, being fixed"[/]
    """
    from lakehouse.lake import Lake
    from lakehouse.session import connect
    from quality import results
    from quality.suites import SUITES

    known = [suite.id_of(each) for suite in SUITES for each in suite.expectations]
    if expectation not in known:
        raise UsageError(f"There is no expectation {expectation!r}; `shoplake quality status` shows what fails.")
    if not reason.strip():
        raise UsageError("--reason must say why.")
    now = datetime.now(UTC)
    until = now + _length(duration)
    settings = load_settings()
    spark = connect(settings)
    try:
        lake = Lake(spark, settings)
        lake.create_tables([results.OVERRIDES])
        row = (expectation, reason.strip(), getpass.getuser(), now, until)
        lake.append_rows(results.OVERRIDES, [row])
    finally:
        spark.stop()
    typer.echo(f"{expectation} blocks nothing until {until:%Y-%m-%d %H:%M} UTC.")


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,4})([mhd])", text)
    length = timedelta(seconds=int(found[1]) * _SECONDS[found[2]]) if found else timedelta()
    if not timedelta() < length <= _LONGEST:
        raise UsageError(f"--for is a time such as 30m, 2h or 1d, a week at most, not {text!r}.")
    return length
