"""The `shoplake` command. Each area is a module beside this one; heavy imports stay inside its functions."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console

from lakehouse.errors import ShoplakeError
from lakehouse.terminal import shown

app = typer.Typer(
    name="shoplake",
    help="A real-time e-commerce lakehouse: Kafka → bronze → silver → gold.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the command line; an error a person can act on becomes one sentence and its exit code."""
    from lakehouse.cli import areas
    from lakehouse.settings import misspelt

    os.umask(0o077)  # backups, too, are events of people
    areas.register(app)
    console = Console(stderr=True, soft_wrap=True)
    for sentence in misspelt():
        console.print(f"[yellow]shoplake:[/] {shown(sentence)}", highlight=False)
    try:
        app()
    except ShoplakeError as error:
        console.print(f"[bold red]shoplake:[/] {shown(error)}", highlight=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
