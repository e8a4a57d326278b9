"""`shoplake stream`: the streaming query's client."""

from __future__ import annotations

import typer
from rich.console import Console

from lakehouse.settings import load_settings
from lakehouse.terminal import shown


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stream")(stream)


def stream() -> None:
    """Run the stream in the foreground until Ctrl-C (`shoplake up` does this for you).

    Example: [bold]shoplake up --no-stream --detach && shoplake stream[/]
    """
    from lakehouse.stream.query import run

    console = Console(soft_wrap=True)
    run(load_settings(), lambda text: console.print(shown(text), highlight=False))
