"""`shoplake demo`."""

from typing import Annotated

import typer
from rich.console import Console

from lakehouse.settings import load_settings

SMALL = {"java_jit": "quick", "spark_memory_mb": 1536, "kafka_memory_mb": 256, "max_parallel_runs": 1}
"""What the demo sets where nobody else has: it goes on for minutes, with little traffic, and shall fit 4 GB."""

app = typer.Typer()


@app.command()
def demo(
    history_events: Annotated[int, typer.Option(min=1000, help="About how many back-dated events.")] = 150_000,
    rate: Annotated[float, typer.Option(min=1, help="Live events per second.")] = 2.0,
    seconds: Annotated[int, typer.Option(min=5, help="Live seconds when there is no terminal.")] = 30,
) -> None:
    """Start everything, load 60 days, send live traffic, and show the numbers; Ctrl-C ends it.

    Without a terminal it checks what it shows and ends with exit code 0 or 1.

    Example: [bold]shoplake demo --rate 200[/]
    """

    from lakehouse.cli.demo.tour import Plan, run

    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=120)
    plan = Plan(history_events=history_events, rate=rate, live_seconds=seconds)
    settings = load_settings()
    update = {name: value for name, value in SMALL.items() if name not in settings.model_fields_set}
    if not run(settings.model_copy(update=update), plan, console):
        raise typer.Exit(1)
