"""How runs look on a terminal: live progress, the outcome, one run, many runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lakehouse.api_client import ApiClient
from lakehouse.terminal import shown

_COLOURS = {
    "queued": "yellow",
    "running": "cyan",
    "cancelling": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
    "lost": "red",
}


def run_to_end(client: ApiClient, job: str, parameters: Mapping[str, Any], *, quiet: bool = False) -> dict[str, Any]:
    """Start a run and show its progress; the run as it ended."""
    return follow(client, client.start(job, parameters)["id"], quiet=quiet)


def follow(client: ApiClient, run_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Show a run's progress on standard error until it ends; the run as it ended."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task, furthest = bar.add_task("queued", total=None), 0.0
        for run in client.looks_at(run_id):
            progress = run["progress"] or {}
            done, total = progress_of(progress)
            furthest = max(furthest, done)
            doing = str(progress.get("doing") or run["state"])[:80] if run["state"] == "running" else run["state"]
            bar.update(task, description=shown(doing), completed=furthest, total=total)
    return run


def progress_of(progress: Mapping[str, Any]) -> tuple[float, float | None]:
    """How much of how much is done: steps of the job, and within the step the tasks of Spark's stages. A run that goes
    on is never done: tasks of the last step may still come."""
    step, steps = progress.get("step") or 0, progress.get("steps")
    done, tasks = progress.get("tasks_done") or 0, progress.get("tasks") or 0
    if not isinstance(step, int) or not steps:
        return 0, None
    return min(max(0, step - 1) + (done / tasks if tasks else 0), 0.99 * steps), steps


def print_outcome(run: Mapping[str, Any]) -> None:
    """How a run ended: its result on standard output, or on standard error why not."""
    if run["state"] == "succeeded":
        console, result = Console(soft_wrap=True), run["result"] or {}
        listed = {name: value for name, value in result.items() if is_rows(value)}
        told = {
            name: value
            for name, value in result.items()
            if value is not None and not isinstance(value, Mapping) and name not in listed
        }
        facts = " · ".join(f"{name} [bold]{shown(value)}[/]" for name, value in told.items())
        console.print(f"[green]✓[/] {run['job']}: {facts}", highlight=False)
        for rows in listed.values():
            console.print(_grid(rows))
        for table, what in (result.get("tables") or {}).items():
            console.print(f"  {table}: {shown(_short(what))}", highlight=False)
        return
    why = (run["error"] or {}).get("message") or ""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[red]✗[/] {run['job']} {run['state']}{': ' if why else ''}{shown(why)}", highlight=False)
    console.print(f"Its log: shoplake runs logs {run['id']}", highlight=False)


def print_runs(runs: Iterable[Mapping[str, Any]]) -> None:
    """A table of runs; their ids whole, because other commands want them."""
    console = Console()
    names = ["run", "job", "state", "created", "took", "caller"][: 6 if console.width >= 100 else 4]
    grid = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    grid.columns[0].no_wrap = True
    for run in runs:
        colour = _COLOURS.get(run["state"], "default")
        created = datetime.fromisoformat(run["created_at"]).strftime("%m-%d %H:%MZ")
        facts = [run["id"], run["job"], f"[{colour}]{run['state']}[/]", created, _took(run), shown(run["caller"])]
        grid.add_row(*facts[: len(names)])
    console.print(grid)


def print_run(run: Mapping[str, Any]) -> None:
    """Everything about a run, a line per fact."""
    grid = Table.grid(padding=(0, 2))
    for name, value in run.items():
        if value is not None and name != "links":
            grid.add_row(f"[dim]{name}[/]", shown(_short(value)))
    Console().print(grid)


def is_rows(value: object) -> bool:
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


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(one)}" for name, one in value.items())
    return str(value)
