"""`shoplake run`, `jobs`, `runs …`, and `forget` and `reconcile`, which are jobs with a command of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lakehouse.cli.common import Format, HowToPrint, in_words, print_facts, print_json
from lakehouse.errors import UsageError
from lakehouse.settings import load_settings
from lakehouse.terminal import shown, visible

if TYPE_CHECKING:
    from lakehouse.api_client import ApiClient

_COLOURS = {
    "queued": "yellow",
    "running": "cyan",
    "cancelling": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
    "lost": "red",
}

RunId = Annotated[str, typer.Argument(help="Id of the run; `shoplake runs list` shows them.")]
app = typer.Typer()
runs = typer.Typer(help="List, follow and cancel runs of jobs.", no_args_is_help=True)
app.add_typer(runs, name="runs")


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="Name of the job; `shoplake jobs` lists them.")],
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A parameter as name=value.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the run and print its result.")] = False,
    format: HowToPrint = Format.table,
) -> None:
    """Start a job through the API.

    --wait follows it until readers see what it wrote, or says why they do not yet. The exit code is 1 if the run did
    not succeed.

    Example: [bold]shoplake run cohort_retention --param timezone=Europe/Berlin --wait[/]
    """
    from lakehouse.jobs import find

    given = _pairs(param or [])
    if wait:
        run_and_wait(job, given, format)
        return
    find(job).parse(given)
    with _client() as client:
        accepted = client.start(job, given)
    if format is Format.json:
        print_json(accepted)
    else:
        typer.echo(accepted["id"])
        typer.echo(f"Follow it with: shoplake runs logs {accepted['id']} --follow", err=True)


@app.command()
def jobs(job: Annotated[str | None, typer.Argument(help="Show this job's parameters.")] = None) -> None:
    """List the jobs, or the parameters of one.

    Example: [bold]shoplake jobs backfill[/]
    """

    from lakehouse.jobs import JOBS, find

    grid = Table(box=None, pad_edge=False, show_header=False)
    if job is None:
        for one in JOBS.values():
            grid.add_row(one.name, one.summary)
        Console().print(grid, "\n`shoplake jobs NAME` shows its parameters.", highlight=False)
        return
    found = find(job)
    for name, field in found.parameters.model_fields.items():
        grid.add_row(f"  {name}", field.description)
    writes = f"Writes {', '.join(table.full_name for table in found.writes) or 'no table'}."
    Console().print(f"{found.summary} Parameters:", grid, writes, highlight=False)


@app.command()
def forget(
    user: Annotated[str, typer.Argument(help="The user_id; - reads it from standard input, unseen by the shell.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    wait_seconds: Annotated[int | None, typer.Option(help="Seconds that old files stay; by default 900.")] = None,
    format: HowToPrint = Format.table,
) -> None:
    """Erase a person from the lake for good, bronze and old files included (the job `forget`), and print the receipt.

    Old files stay for a quarter of an hour, since queries may be reading them.

    Example: [bold]shoplake forget u5678[/]
    """
    named = typer.get_text_stream("stdin").readline().rstrip("\r\n") if user == "-" else user
    if not yes:
        typer.confirm("Nothing brings the person's records back. Forget?", abort=True, err=True)
    run_and_wait("forget", {"user": named, "wait_seconds": wait_seconds}, format)


@app.command()
def reconcile(
    full: Annotated[bool, typer.Option("--full", help="Begin at the beginning, not at the last balance.")] = False,
    format: HowToPrint = Format.table,
) -> None:
    """Prove that no record is lost or doubled between Kafka and the serving file (the job `reconcile`).

    Exit code 1 names the first topic, partition and hour that does not balance.

    Example: [bold]shoplake reconcile --full[/]
    """
    run_and_wait("reconcile", {"full": full}, format)


@runs.command("list")
def list_runs(
    job: Annotated[str | None, typer.Option(help="Only runs of this job.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only runs in this state; may be given again.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most runs.")] = 20,
    format: HowToPrint = Format.table,
) -> None:
    """List runs, the newest first.

    Example: [bold]shoplake runs list --job cohort_retention --state failed[/]
    """
    with _client() as client:
        found = client.runs(job=job, state=state, limit=limit)
    if format is Format.json:
        print_json(found)
    else:
        print_runs(found)


@runs.command()
def show(run_id: RunId, format: HowToPrint = Format.table) -> None:
    """Show a run: its state, progress, and result or error.

    Example: [bold]shoplake runs show 019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11[/]
    """
    with _client() as client:
        found = client.run(run_id)
    if format is Format.json:
        print_json(found)
    else:
        print_facts((name, value) for name, value in found.items() if name != "links")


@runs.command()
def cancel(run_id: RunId) -> None:
    """Cancel a run: a waiting one at once, a running one within seconds, with its Spark work.

    Example: [bold]shoplake runs cancel 019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11[/]
    """
    with _client() as client:
        after = client.cancel(run_id)
    typer.echo(f"The run is {after['state']}.")


@runs.command()
def logs(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more until the run ends.")] = False,
    format: HowToPrint = Format.table,
) -> None:
    """Print a run's log.

    Example: [bold]shoplake runs logs 019a5d2c-7a60-7cc3-9d5a-3f0c2b9e4d11 --follow[/]
    """
    with _client() as client:
        for line in client.log_lines(run_id, follow=follow):
            if format is Format.json:
                print_json(line)
                continue
            fields = " ".join(f"{name}={value}" for name, value in (line["fields"] or {}).items())
            typer.echo(visible(f"{line['at'][:19]} {line['level']:<7} {line['message']} {fields}".rstrip(), keep="\n"))


def run_and_wait(job: str, parameters: Mapping[str, Any], format: Format) -> None:
    """Run a job with the parameters that are not None, and print its result. Raises Exit(1) when it does not succeed.
    Ends when readers see what it wrote, or says until when they do not."""
    from lakehouse.jobs import find

    given = {name: value for name, value in parameters.items() if value is not None}
    find(job).parse(given)
    with _client() as client:
        run_id = client.start(job, given)["id"]
        try:
            ended = follow(client, run_id, quiet=format is Format.json)
        except KeyboardInterrupt:
            typer.echo(f"The run goes on; `shoplake runs cancel {run_id}` ends it.", err=True)
            raise typer.Exit(1) from None
    if format is Format.json and ended["state"] == "succeeded":
        print_json(ended["result"])
    else:
        print_outcome(ended)
    if ended["state"] != "succeeded":
        raise typer.Exit(1)
    if client.is_own and not (ended["result"] or {}).get("dry_run"):
        _wait_for_readers(job, ended)


def _client() -> ApiClient:
    from lakehouse.api_client import ApiClient  # commands that ask nothing need no HTTP client

    return ApiClient(load_settings())


def _wait_for_readers(job: str, ended: Mapping[str, Any]) -> None:
    from lakehouse.jobs import find
    from lakehouse.serving.publishing import wait_until_seen

    console = Console(stderr=True, soft_wrap=True)
    if served := [table.served_as for table in find(job).writes if table.served_as]:
        with console.status("Waiting until readers see it …"):
            unseen = wait_until_seen(load_settings(), served, datetime.fromisoformat(ended["finished_at"]))
        console.print(shown(unseen) if unseen else "Readers see it.", highlight=False)


def _pairs(given: list[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param takes name=value, not {text!r}.")
        pairs[name] = value
    return pairs


def follow(client: ApiClient, run_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Show a run's progress on standard error until it ends; the run as it ended."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task, furthest = bar.add_task("queued", total=None), 0.0
        for run in client.looks_at(run_id):
            progress = run["progress"] or {}
            done, total = _progress_of(progress)
            furthest = max(furthest, done)
            doing = str(progress.get("doing") or run["state"])[:80] if run["state"] == "running" else run["state"]
            bar.update(task, description=shown(doing), completed=furthest, total=total)
    return run


def _progress_of(progress: Mapping[str, Any]) -> tuple[float, float | None]:
    """How much of how much is done: steps of the job, and within the step the tasks of Spark's stages. A run that goes
    on is never done: tasks of the last step may still come."""
    step, steps = progress.get("step") or 0, progress.get("steps")
    done, tasks = progress.get("tasks_done") or 0, progress.get("tasks") or 0
    if not isinstance(step, int) or not steps:
        return 0, None
    return min(max(0, step - 1) + (done / tasks if tasks else 0), 0.99 * steps), steps


def print_outcome(run: Mapping[str, Any]) -> None:
    """How a run ended: its result on standard output, or on standard error why not."""
    if run["state"] != "succeeded":
        why = (run["error"] or {}).get("message") or ""
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"[red]✗[/] {run['job']} {run['state']}{': ' if why else ''}{shown(why)}", highlight=False)
        console.print(f"Its log: shoplake runs logs {run['id']}", highlight=False)
        return
    console, result = Console(soft_wrap=True), run["result"] or {}
    listed = [value for value in result.values() if _is_rows(value)]
    told = {
        name: value
        for name, value in result.items()
        if value not in (None, []) and not isinstance(value, Mapping) and not _is_rows(value)
    }
    facts = " · ".join(f"{name} [bold]{shown(value)}[/]" for name, value in told.items())
    console.print(f"[green]✓[/] {run['job']}: {facts}", highlight=False)
    for rows in listed:
        console.print(_grid(rows))
    for part in ("tables", "still_refused_by_reason"):
        for name, what in (result.get(part) or {}).items():
            console.print(f"  {name}: {shown(in_words(what))}", highlight=False)


def print_runs(found: Iterable[Mapping[str, Any]]) -> None:
    """A table of runs; their ids whole, because other commands want them."""
    console = Console()
    names = ["run", "job", "state", "created", "took", "caller"][: 6 if console.width >= 100 else 4]
    grid = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    grid.columns[0].no_wrap = True
    for run in found:
        colour = _COLOURS.get(run["state"], "default")
        created = datetime.fromisoformat(run["created_at"]).strftime("%m-%d %H:%MZ")
        facts = [run["id"], run["job"], f"[{colour}]{run['state']}[/]", created, _took(run), shown(run["caller"])]
        grid.add_row(*facts[: len(names)])
    console.print(grid)


def _is_rows(value: object) -> bool:
    """Whether a value of a result is a table: a list of records."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _grid(rows: list[Mapping[str, Any]]) -> Table:
    """Records as a table: numbers to the right, a column's name over several lines where it is long."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, value in rows[0].items():
        grid.add_column(name.replace("_", "\n", 1), justify="right" if isinstance(value, int) else "left")
    for row in rows:
        grid.add_row(*(_cell(name, value) for name, value in row.items()))
    return grid


def _cell(name: str, value: object) -> str:
    if not isinstance(value, int):
        return shown(value)
    return decimal(value) if "bytes" in name else f"{value:,}"


def _took(run: Mapping[str, Any]) -> str:
    if not run["started_at"] or not run["finished_at"]:
        return ""
    seconds = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
    return f"{seconds.total_seconds():.1f} s"
