"""`shoplake reconcile`: do the books balance?"""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.formats import Format, HowToPrint


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reconcile")(reconcile)


def reconcile(
    full: Annotated[bool, typer.Option("--full", help="Begin at the beginning, not at the last balance.")] = False,
    format: HowToPrint = Format.table,
) -> None:
    """Prove that no record is lost or doubled between Kafka and the serving file (the job `reconcile`).

    Exit code 1 names the first topic, partition and hour that does not balance.

    Example: [bold]shoplake reconcile --full[/]
    """
    from lakehouse.cli import jobs

    jobs.run("reconcile", param=[f"full={str(full).lower()}"], as_of=None, wait=True, format=format)
