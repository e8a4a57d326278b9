"""`shoplake run` and `shoplake jobs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.cli.formats import Format, HowToPrint
from lakehouse.errors import UsageError
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    from lakehouse.api_client import ApiClient


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("jobs")(jobs)


def run(
    job: Annotated[str, typer.Argument(help="Name of the job; `shoplake jobs` lists them.")],
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A parameter as name=value.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Short for --param as_of=DATE.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the run and print its result.")] = False,
    format: HowToPrint = Format.table,
) -> None:
    """Start a job through the API. With --wait the exit code is 0 when it succeeded, 1 when it did not.

    Example: [bold]shoplake run cohort_retention --param timezone=Europe/Berlin --wait[/]
    """
    from lakehouse.api_client import ApiClient
    from lakehouse.jobs import find

    given = _pairs(param or [])
    if as_of is not None:
        given["as_of"] = as_of
    find(job).parse(given)
    with ApiClient(load_settings()) as client:
        accepted = client.start(job, given)
        if wait:
            _wait(client, accepted["id"], format)
        elif format is Format.json:
            typer.echo(json.dumps(accepted))
        else:
            typer.echo(accepted["id"])
            typer.echo(f"Follow it with: shoplake runs logs {accepted['id']} --follow", err=True)


def _wait(client: ApiClient, run_id: str, format: Format) -> None:
    from lakehouse.cli.run_view import follow, print_outcome

    try:
        ended = follow(client, run_id, quiet=format is Format.json)
    except KeyboardInterrupt:
        typer.echo(f"The run goes on; `shoplake runs cancel {run_id}` ends it.", err=True)
        raise typer.Exit(1) from None
    if format is Format.json and ended["state"] == "succeeded":
        typer.echo(json.dumps(ended["result"]))
    else:
        print_outcome(ended)
    if ended["state"] != "succeeded":
        raise typer.Exit(1)


def jobs() -> None:
    """List the jobs and their parameters.

    Example: [bold]shoplake jobs[/]
    """

    from lakehouse.jobs import JOBS

    grid = Grid("job", "what it does", "parameters", "writes")
    for job in JOBS.values():
        fields = job.parameters.model_fields
        listed = "\n".join(f"{name}: {field.description}" for name, field in fields.items())
        writes = "\n".join(table.full_name for table in job.writes[:4]) + ("\n…" if len(job.writes) > 4 else "")
        grid.add_row(job.name, job.summary, listed, writes)
    Console().print(grid)


def _pairs(given: list[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param takes name=value, not {text!r}.")
        pairs[name] = value
    return pairs
