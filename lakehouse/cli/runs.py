"""`shoplake runs list|show|cancel|logs`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lakehouse.cli.formats import Format, HowToPrint
from lakehouse.settings import load_settings
from lakehouse.terminal import visible

RunId = Annotated[str, typer.Argument(help="Id of the run; `shoplake runs list` shows them.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    runs = typer.Typer(help="See and cancel runs of jobs.", no_args_is_help=True)
    runs.command("list")(list_runs)
    runs.command("show")(show)
    runs.command("cancel")(cancel)
    runs.command("logs")(logs)
    app.add_typer(runs, name="runs")


def list_runs(
    job: Annotated[str | None, typer.Option(help="Only runs of this job.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only runs in this state; may be given again.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most runs.")] = 20,
    format: HowToPrint = Format.table,
) -> None:
    """List runs, the newest first.

    Example: [bold]shoplake runs list --job cohort_retention --state failed[/]
    """
    from lakehouse.api_client import ApiClient
    from lakehouse.cli.run_view import print_runs

    with ApiClient(load_settings()) as client:
        found = client.runs(job=job, state=state, limit=limit)
    if format is Format.json:
        typer.echo(json.dumps(found))
    else:
        print_runs(found)


def show(run_id: RunId, format: HowToPrint = Format.table) -> None:
    """Show a run: its state, progress, and result or error.

    Example: [bold]shoplake runs show 019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11[/]
    """
    from lakehouse.api_client import ApiClient
    from lakehouse.cli.run_view import print_run

    with ApiClient(load_settings()) as client:
        found = client.run(run_id)
    if format is Format.json:
        typer.echo(json.dumps(found))
    else:
        print_run(found)


def cancel(run_id: RunId) -> None:
    """Cancel a run: a waiting one at once, a running one within seconds, with its Spark work.

    Example: [bold]shoplake runs cancel 019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11[/]
    """
    from lakehouse.api_client import ApiClient

    with ApiClient(load_settings()) as client:
        after = client.cancel(run_id)
    typer.echo(f"The run is {after['state']}.")


def logs(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more until the run ends.")] = False,
    format: HowToPrint = Format.table,
) -> None:
    """Print a run's log.

    Example: [bold]shoplake runs logs 019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11 --follow[/]
    """
    from lakehouse.api_client import ApiClient

    with ApiClient(load_settings()) as client:
        for line in client.log_lines(run_id, follow=follow):
            if format is Format.json:
                typer.echo(json.dumps(line))
                continue
            fields = " ".join(f"{name}={value}" for name, value in (line["fields"] or {}).items())
            typer.echo(visible(f"{line['at'][:19]} {line['level']:<7} {line['message']} {fields}".rstrip(), keep="\n"))
