"""`make cost`: the deployment for a rate, its monthly bill by service, and what both rest on."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.capacity import pages
from deploy.capacity.bill import Kind, Line, alternatives, assumptions, bill, deploy_command, for_kind
from deploy.capacity.measured import measured
from deploy.capacity.prices import load_prices
from deploy.capacity.sizing import Sizing, size
from lakehouse.errors import UsageError


def main(
    rate: Annotated[float, typer.Option(min=0.1, max=2_000_000, help="Events per second on average.")] = 1_000,
    retention: Annotated[int, typer.Option(min=1, max=3_650, help="Days that S3 keeps all tables.")] = 30,
    kind: Annotated[Kind, typer.Option("--size", help="Size of the deployment on AWS.")] = Kind.production,
    interval: Annotated[
        int | None, typer.Option(min=1, max=600, help="Seconds between micro-batches; unset: what the rule says.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Renew the tables in docs/scaling.md instead.")] = False,
) -> None:
    """Print the deployment for a rate of events and its monthly bill.

    Example: python -m deploy.capacity --rate 10000 --retention 90
    """
    try:
        if write:
            pages.write()
            return
        found, prices = measured(), load_prices()
    except UsageError as error:
        print(f"cost: {error}", file=sys.stderr)
        raise typer.Exit(UsageError.exit_code) from None
    try:
        sizing, console = for_kind(size(rate, retention, found, prices, interval), kind), Console()
    except ValueError as error:
        print(f"cost: {error}", file=sys.stderr)
        raise typer.Exit(UsageError.exit_code) from None
    _show_sizing(console, sizing, kind)
    _show_bill(console, bill(sizing, prices, kind), alternatives(sizing, prices))
    for sentence in assumptions(sizing, found, prices):
        console.print(f"· {sentence}", highlight=False, markup=False)
    console.print("\nIt is made by:")
    print(deploy_command(sizing, kind))


def _show_sizing(console: Console, sizing: Sizing, kind: Kind) -> None:
    table = Table(
        "what", "size", title=f"{sizing.rate:,.0f} events/s, {sizing.retention_days} days", title_justify="left"
    )
    for name, value in pages.described(sizing).items():
        if name != "brokers" or kind is Kind.production:
            table.add_row(name, value)
    console.print(table)


def _show_bill(console: Console, lines: list[Line], others: list[Line]) -> None:
    table = Table("service", "what", title="USD a month", title_justify="left")
    table.add_column("USD", justify="right")
    for line in lines:
        table.add_row(line.service, line.what, f"{line.usd:,.2f}")
    table.add_section()
    table.add_row("together", "", f"{sum(line.usd for line in lines):,.2f}")
    table.add_section()
    for line in others:
        table.add_row(f"or {line.service}", line.what, f"+{line.usd:,.2f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
