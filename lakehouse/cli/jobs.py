"""`shoplake run` and `shoplake jobs`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("jobs")(jobs)


def run(
    job: Annotated[str, typer.Argument(help="Name of the job; `shoplake jobs` lists them.")],
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A parameter as name=value.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Short for --param as_of=DATE.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result (always done so far).")] = True,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print the result.")] = Format.table,
) -> None:
    """Run a batch job now and print its result.

    Example: [bold]shoplake run cohort_retention --param timezone=Europe/Berlin --wait[/]
    """
    from lakehouse.job_run import run_job
    from lakehouse.jobs import find

    found = find(job)
    given = _pairs(param or [])
    if as_of is not None:
        given["as_of"] = as_of
    parameters = found.parse(given)
    result = run_job(found, parameters, quiet=format is Format.json)
    if format is Format.json:
        import json

        typer.echo(json.dumps(result))
        return
    from rich.console import Console

    text = " · ".join(f"{name} [bold]{value}[/]" for name, value in result.items())
    Console().print(f"[green]✓[/] {job}: {text}", highlight=False)


def jobs() -> None:
    """List the jobs and their parameters.

    Example: [bold]shoplake jobs[/]
    """
    from rich.console import Console
    from rich.table import Table as Grid

    from lakehouse.jobs import JOBS

    grid = Grid("job", "what it does", "parameters", "writes")
    for job in JOBS.values():
        fields = job.parameters.model_fields
        listed = "\n".join(f"{name}: {field.description}" for name, field in fields.items())
        writes = "\n".join(table.full_name for table in job.writes[:4]) + ("\n…" if len(job.writes) > 4 else "")
        grid.add_row(job.name, job.summary, listed, writes)
    Console().print(grid)


def _pairs(given: list[str]) -> dict[str, str]:
    from lakehouse.errors import UsageError

    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param takes name=value, not {text!r}.")
        pairs[name] = value
    return pairs
