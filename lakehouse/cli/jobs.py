"""`shoplake run` and `shoplake jobs`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.cli.formats import Format, HowToPrint
from lakehouse.errors import UsageError
from lakehouse.settings import load_settings
from lakehouse.terminal import shown

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
    """Start a job through the API. With --wait the exit code is 0 when it succeeded, 1 when it did not; it ends when
    readers see what the job wrote, or says until when they do not.

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
            ended = _wait(client, accepted["id"], format)
            if client.is_own:
                _wait_for_readers(job, ended)
        elif format is Format.json:
            typer.echo(json.dumps(accepted))
        else:
            typer.echo(accepted["id"])
            typer.echo(f"Follow it with: shoplake runs logs {accepted['id']} --follow", err=True)


def _wait(client: ApiClient, run_id: str, format: Format) -> dict[str, Any]:
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
    return ended


def _wait_for_readers(job: str, ended: Mapping[str, Any]) -> None:
    from lakehouse.jobs import find
    from lakehouse.serving.publishing import wait_until_seen

    console = Console(stderr=True, soft_wrap=True)
    if served := [table.served_as for table in find(job).writes if table.served_as]:
        with console.status("Waiting until readers see it …"):
            unseen = wait_until_seen(load_settings(), served, datetime.fromisoformat(ended["finished_at"]))
        console.print(shown(unseen) if unseen else "Readers see it.", highlight=False)


def jobs(job: Annotated[str | None, typer.Argument(help="Tell the parameters of this job.")] = None) -> None:
    """List the jobs, or the parameters of one.

    Example: [bold]shoplake jobs backfill[/]
    """

    from lakehouse.jobs import JOBS, find

    grid = Grid(box=None, pad_edge=False, show_header=False)
    if job is None:
        for one in JOBS.values():
            grid.add_row(one.name, one.summary)
        Console().print(grid, "\n`shoplake jobs NAME` tells the parameters of one.", highlight=False)
        return
    found = find(job)
    for name, field in found.parameters.model_fields.items():
        grid.add_row(f"  {name}", field.description)
    writes = f"Writes {', '.join(table.full_name for table in found.writes) or 'no table'}."
    Console().print(f"{found.summary} Parameters:", grid, writes, highlight=False)


def _pairs(given: list[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param takes name=value, not {text!r}.")
        pairs[name] = value
    return pairs
