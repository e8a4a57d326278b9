"""The `shoplake` command: a module per area. Heavy imports stay inside functions, so that `--help` comes at once."""

import errno
import os
import sys

import typer
from rich.console import Console

from lakehouse.cli import api, backup, demo, platform, produce, quality, quarantine, runs, sql, superset, trace
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.settings import misspelt
from lakehouse.terminal import shown

app = typer.Typer(
    name="shoplake",
    help="A real-time e-commerce lakehouse: Kafka → bronze → silver → gold.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for area in (platform, produce, runs, api, sql, superset, quarantine, quality, trace, backup, demo):
    app.add_typer(area.app)


def main() -> None:
    """Run the command line; an error a person can act on becomes one sentence and its exit code."""
    os.umask(0o077)  # backups, too, are events of people
    console = Console(stderr=True, soft_wrap=True)
    for sentence in misspelt():
        console.print(f"[yellow]shoplake:[/] {shown(sentence)}", highlight=False)
    try:
        app()
    except ShoplakeError as error:
        console.print(f"[bold red]shoplake:[/] {shown(error)}", highlight=False)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        place = f"{error.filename} cannot be used" if error.filename else "A file cannot be written"
        console.print(f"[bold red]shoplake:[/] {shown(f'{place}: {error.strerror}.')}", highlight=False)
        sys.exit(UsageError.exit_code)
