"""`shoplake forget`: take a person out of the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.formats import Format, HowToPrint


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget")(forget)


def forget(
    user: Annotated[str, typer.Argument(help="The user_id; - reads it from standard input: no history has it then.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    wait_seconds: Annotated[int | None, typer.Option(help="How long old files stay, less than the default.")] = None,
    format: HowToPrint = Format.table,
) -> None:
    """Take a person out of the lake for ever, bronze and old files included (the job `forget`), and print the receipt.

    Old files stay for a quarter of an hour, for who reads them now.

    Example: [bold]shoplake forget u5678[/]
    """
    from lakehouse.cli import jobs

    named = typer.get_text_stream("stdin").readline().rstrip("\r\n") if user == "-" else user
    if not yes:
        typer.confirm("Nothing brings the person's records back. Forget?", abort=True, err=True)
    given = [f"user={named}", *([] if wait_seconds is None else [f"wait_seconds={wait_seconds}"])]
    jobs.run("forget", param=given, as_of=None, wait=True, format=format)
