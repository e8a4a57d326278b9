"""`shoplake demo`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from lakehouse.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    history_events: Annotated[int, typer.Option(min=1000, help="About how many back-dated events.")] = 30_000,
    rate: Annotated[float, typer.Option(min=1, help="Live events per second.")] = 100.0,
    seconds: Annotated[int, typer.Option(min=5, help="Live seconds when there is no terminal.")] = 20,
) -> None:
    """Start everything, load 60 days, send live traffic, and show the numbers; Ctrl-C ends it.

    Without a terminal it checks what it shows and ends with exit code 0 or 1.

    Example: [bold]shoplake demo --rate 200[/]
    """

    from lakehouse.cli.demo_tour import Plan, run

    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=120)
    plan = Plan(history_events=history_events, rate=rate, live_seconds=seconds)
    settings = load_settings()
    if not console.is_terminal and "java_jit" not in settings.model_fields_set:  # it ends as soon as it has shown all
        settings = settings.model_copy(update={"java_jit": "quick"})
    if not run(settings, plan, console):
        raise typer.Exit(1)
