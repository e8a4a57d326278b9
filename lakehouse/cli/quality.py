"""`shoplake quality check|status|override`, `alerts list|test`: what does not hold, and what somebody decides."""

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from lakehouse.cli.common import Format, HowToPrint, length, minute, print_json
from lakehouse.cli.runs import run_and_wait
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.settings import load_settings
from lakehouse.terminal import shown, visible

_LONGEST = timedelta(days=7)
_COLOURS = {"firing": "red", "quiet": "green", "unknown": "dim"}

app = typer.Typer()
quality = typer.Typer(help="Check the tables, see what fails, let it pass for a while.", no_args_is_help=True)
alerts = typer.Typer(help="Show the alerts, and test whether their messages arrive.", no_args_is_help=True)
app.add_typer(quality, name="quality")
app.add_typer(alerts, name="alerts")


@quality.command()
def check(
    scope: Annotated[str, typer.Option(help="full, incremental, or due.")] = "incremental",
    tables: Annotated[str | None, typer.Option(help="Only these tables, separated by commas.")] = None,
    format: HowToPrint = Format.table,
) -> None:
    """Judge the tables now (the job `quality`) and print what fails.

    Example: [bold]shoplake quality check --scope full[/]
    """
    run_and_wait("quality", {"scope": scope, "tables": tables or None}, format)


@quality.command()
def status(format: HowToPrint = Format.table) -> None:
    """List the expectations that fail now, and what each publish holds back.

    The exit code is 1 if a table, or some of its rows, is held back.

    Example: [bold]shoplake quality status[/]
    """
    from lakehouse.sql import connect
    from quality.gate import blocked_by, failing

    with connect(load_settings()) as reader:
        found = failing(reader.query)
    tables = blocked_by(found)
    held, passed, rows = _at_publish()
    if format is Format.json:
        print_json(
            {"blocked": tables, "failing": found, "held_back": held, "let_through": passed, "rows_held_back": rows}
        )
    elif not (found or held or passed or rows):
        typer.echo("Every expectation holds.")
    else:
        for row in found:
            until = f"; overridden until {minute(row['overridden_until'])}" if row["overridden_until"] else ""
            typer.echo(visible(f"{row['expectation']} ({row['severity']}) does not hold: {row['detail']}"))
            typer.echo(f"  Checked {minute(row['checked_at'])}{until} (UTC).")
        for table, names in held.items():
            typer.echo(f"{table} is held back: dashboards keep its last good version. {', '.join(names)}")
        for table, said in rows.items():
            typer.echo(f"Of {table} rows are held back, the rest is published. {said}")
        for table, names in passed.items():
            typer.echo(f"{table} is published because of an override. {', '.join(names)}")
    if tables or held or rows:
        raise typer.Exit(1)


def _at_publish() -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
    """Which tables the publisher holds back, and which it lets through, with the failing expectations; and what it says
    of those of which it holds back some rows."""
    from lakehouse.serving.file import names_in, published
    from lakehouse.serving.held import how_held

    try:
        rows = published(load_settings())
    except ShoplakeError:
        return {}, {}, {}
    held, passed = (
        {row["table_name"]: names_in(row[key]) for row in rows if row.get(key)} for key in ("blocked_by", "let_through")
    )
    of_rows = {row["table_name"]: how_held(row) for row in rows if row["held_rows"] and not row["blocked_by"]}
    return held, passed, of_rows


@quality.command()
def override(
    expectation: Annotated[str, typer.Argument(help="Id of the expectation, as `shoplake quality status` shows it.")],
    duration: Annotated[str, typer.Option("--for", help="How long, as 30m, 2h or 1d; a week at most.")],
    reason: Annotated[str, typer.Option(help="Why; kept with who and when in ops.quality_overrides.")],
) -> None:
    """Let a table be published although this expectation fails, for a while.

    Example: [bold]shoplake quality override gold.kpis_hourly.each_hour_once --for 2h --reason "known, being fixed"[/]
    """
    from lakehouse import probes
    from lakehouse.lake import arrow_rows
    from lakehouse.small_tables import SmallTables
    from quality import results
    from quality.suites import SUITES

    known = [suite.id_of(each) for suite in SUITES for each in suite.expectations]
    if expectation not in known:
        raise UsageError(f"There is no expectation {expectation!r}; `shoplake quality status` shows what fails.")
    if not reason.strip():
        raise UsageError("--reason must say why.")
    now = datetime.now(UTC)
    if (lasts := length(duration, "--for")) > _LONGEST:
        raise UsageError(f"--for is a week at most, not {duration!r}.")
    until = now + lasts
    settings = load_settings()
    if not probes.s3_answers(settings):
        raise ShoplakeError("S3 does not answer; `shoplake status` tells whether the platform runs.")
    tables, row = SmallTables(settings), (expectation, reason.strip(), getpass.getuser(), now, until)
    tables.create(results.OVERRIDES)
    tables.append(results.OVERRIDES, arrow_rows(results.OVERRIDES, [row]))
    typer.echo(f"{expectation} blocks nothing until {until:%Y-%m-%d %H:%M} UTC.")


@alerts.command("list")
def list_alerts(format: HowToPrint = Format.table) -> None:
    """List the rules, whether they are firing, and what to do then.

    Example: [bold]shoplake alerts list[/]
    """
    from lakehouse.monitoring.book import Book
    from lakehouse.monitoring.rules import RULES
    from lakehouse.runs.registry import RunRegistry

    settings = load_settings()
    known = Book(settings, RunRegistry.open(settings).database).alerts()
    rows: list[dict[str, Any]] = [
        {
            "alert": rule.name,
            "severity": rule.severity,
            "state": "unknown" if alert is None else "firing" if alert.is_firing else "quiet",
            "since": alert and alert.since.isoformat(timespec="seconds"),
            "value": alert and alert.value,
            "limit": rule.limit_in(settings),
            "detail": alert.detail if alert else "",
            "means": rule.means,
            "what_to_do": rule.what_to_do,
        }
        for rule in RULES
        for alert in [known.get(rule.name)]
    ]
    if format is Format.json:
        print_json(rows)
        return
    console = Console()
    names = ["alert", "severity", "state", "since (UTC)", "detail", "figure", "limit"]
    names = names[: 7 if console.width >= 120 else 5]
    grid = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in grid.columns[:4]:
        column.no_wrap = True
    for row in rows:
        figures = ("" if row[name] is None else f"{row[name]:,.6g}" for name in ("value", "limit"))
        state = f"[{_COLOURS[row['state']]}]{row['state']}[/]"
        facts = [row["alert"], row["severity"], state, minute(row["since"]), shown(row["detail"]), *figures]
        grid.add_row(*facts[: len(names)])
    console.print(grid)
    for row in rows:
        if row["state"] == "firing":
            console.print(f"{row['alert']}: {row['means']} {row['what_to_do']}", highlight=False, markup=False)


@alerts.command()
def test() -> None:
    """Send a test message through every sink.

    The exit code is 1 if one does not accept it.

    Example: [bold]SHOPLAKE_ALERT_WEBHOOK_URL=http://127.0.0.1:9009/ shoplake alerts test[/]
    """
    from lakehouse.monitoring.book import message
    from lakehouse.monitoring.rules import RULES
    from lakehouse.monitoring.sinks import NotSent, sinks
    from lakehouse.runs.models import now

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
