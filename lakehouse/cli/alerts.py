"""`shoplake alerts list|test`: what the rules say now, and whether messages arrive."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Table

from lakehouse.cli.formats import Format, HowToPrint
from lakehouse.errors import ShoplakeError
from lakehouse.settings import load_settings
from lakehouse.terminal import shown


def register(app: typer.Typer) -> None:
    """Add the commands."""
    alerts = typer.Typer(help="See what the alerts say, try whether they arrive.", no_args_is_help=True)
    alerts.command("list")(list_alerts)
    alerts.command("test")(test)
    app.add_typer(alerts, name="alerts")


def list_alerts(format: HowToPrint = Format.table) -> None:
    """List the rules, whether they fire, and what to do then.

    Example: [bold]shoplake alerts list[/]
    """

    from lakehouse.monitoring.book import Book
    from lakehouse.monitoring.rules import RULES
    from lakehouse.runs.registry import RunRegistry

    settings = load_settings()
    known = Book(settings, RunRegistry.open(settings).database).alerts()
    rows = []
    for rule in RULES:
        alert = known.get(rule.name)
        state = "unknown" if alert is None else "firing" if alert.is_firing else "quiet"
        rows.append(
            {
                "alert": rule.name,
                "severity": rule.severity,
                "state": state,
                "since": alert and alert.since.isoformat(timespec="seconds"),
                "value": alert and alert.value,
                "limit": rule.limit_in(settings),
                "detail": alert.detail if alert else "",
                "means": rule.means,
                "what_to_do": rule.what_to_do,
            }
        )
    if format is Format.json:
        typer.echo(json.dumps(rows))
        return
    grid = Table("alert", "severity", "state", "since (UTC)", "figure", "limit", "detail")
    colours = {"firing": "red", "quiet": "green", "unknown": "dim"}
    for row in rows:
        figure = "" if row["value"] is None else f"{row['value']:,.6g}"
        state = f"[{colours[str(row['state'])]}]{row['state']}[/]"
        since = str(row["since"] or "").removesuffix("+00:00").replace("T", " ")
        texts = str(row["alert"]), str(row["severity"]), state, since, figure, f"{row['limit']:,.6g}"
        grid.add_row(*texts, shown(row["detail"]))
    console = Console()
    console.print(grid)
    for row in rows:
        if row["state"] == "firing":
            console.print(f"{row['alert']}: {row['means']} {row['what_to_do']}", highlight=False, markup=False)


def test() -> None:
    """Send a test message through every sink. The exit code is 1 when one does not take it.

    Example: [bold]SHOPLAKE_ALERT_WEBHOOK_URL=http://127.0.0.1:9009/ shoplake alerts test[/]
    """
    from lakehouse.monitoring.book import message
    from lakehouse.monitoring.rules import RULES
    from lakehouse.monitoring.sinks import NotSent, sinks
    from lakehouse.runs.records import now

    settings = load_settings()
    rule, failed = RULES[0], []
    told = message(rule, "test", settings, now(), "this is a test, nothing is wrong", None)
    for sink in sinks(settings):
        try:
            sink.send(told)
            typer.echo(f"{sink.name}: sent")
        except NotSent as error:
            typer.echo(f"{sink.name}: {error}")
            failed.append(sink.name)
    if failed:
        raise ShoplakeError(f"The test message did not get through to {', '.join(failed)}.")
