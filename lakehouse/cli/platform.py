"""`shoplake up`, `down`, `status`, `doctor`, and what else concerns the parts of the platform."""

from __future__ import annotations

import atexit
import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from lakehouse.cli.common import Format, HowToPrint
from lakehouse.settings import load_settings
from lakehouse.terminal import shown

if TYPE_CHECKING:
    from lakehouse.services.state import ServiceState, Snapshot

app = typer.Typer()


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is up.")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Do not start the stream.")] = False,
    superset: Annotated[bool, typer.Option("--superset", help="Start Superset with the dashboards too.")] = False,
) -> None:
    """Start the platform and supervise it until Ctrl-C.

    Where it runs already, --superset adds Superset to it.

    Example: `shoplake up --detach`
    """
    from lakehouse.lock import lock_holder
    from lakehouse.services.detached import add_superset, start_detached
    from lakehouse.services.doctor import require_startable
    from lakehouse.services.supervisor import Supervisor

    settings = load_settings()
    if superset and lock_holder(settings) is not None:
        reporter = StartReporter()
        add_superset(settings, reporter)
        told = "is tried again and again" if "superset" in reporter.failed else "is up: `shoplake superset login`"
        reporter.say(f"Superset {told}.")
        return
    require_startable(settings)
    parts = {"with_stream": not no_stream, "with_superset": superset}
    if detach:
        reporter = StartReporter("Starting", "`shoplake status` shows it, `shoplake down` ends it.")
        start_detached(settings, reporter, **parts)
        return
    reporter = StartReporter("Starting", "Ctrl-C ends it; `shoplake up --detach` leaves it in the background.")
    Supervisor(settings, reporter, **parts).run()
    reporter.say("Everything is down.")


@app.command()
def down() -> None:
    """End the platform; the data stays.

    Also ends what a crashed supervisor left, and parts whose folder was deleted.

    Example: `shoplake down`
    """

    from lakehouse.services.detached import stop

    reporter = StartReporter("Ending")
    ended = stop(load_settings(), reporter)
    reporter.say("Everything is down." if ended else "Nothing was running.")


@app.command()
def status(
    format: HowToPrint = Format.table,
) -> None:
    """Show state, address, process, memory and lag of each part.

    Example: `shoplake status --format json`
    """
    from lakehouse.lake_secret import local_remote
    from lakehouse.processes import lake_processes
    from lakehouse.services.state import UNSUPERVISED, read_state
    from lakehouse.services.state import status as platform_status

    settings = load_settings()
    report = platform_status(settings)
    if format is Format.json:
        # For programs: an address that works as it is, with the token in it.
        report["spark"]["remote"] = local_remote(settings)
        print(json.dumps(report))
        return

    from lakehouse.monitoring.book import firing

    table = Table("part", "state", "address", "process", "memory", "lag", "note")
    colours = {"up": "green", "external": "green", "starting": "yellow", "failed": "red"}
    for name, part in report.items():
        address = next((part[key] for key in ("bootstrap", "endpoint", "remote", "url") if key in part), "")
        state = f"[{colours.get(part['state'], 'dim')}]{part['state']}[/]"
        memory = f"{part['memory_mb']} MB" if part["memory_mb"] else ""
        lag = part.get("lag")
        table.add_row(
            name,
            state,
            address,
            str(part["pid"] or ""),
            memory,
            "" if lag is None else f"{lag:,}",
            shown(part["message"]),
        )
    Console().print(table)
    for alert in firing(settings):
        print(f"Alert {alert.rule} since {alert.since:%Y-%m-%d %H:%M} UTC; `shoplake alerts list` says what to do.")
    if read_state(settings) is None and lake_processes(settings):
        print("Parts of this lake run without their files: `shoplake down` ends them.", file=sys.stderr)
    if any(part["message"] == UNSUPERVISED for part in report.values()):
        print("The supervisor is gone: `shoplake up` starts anew, `shoplake down` ends what it left.", file=sys.stderr)


@app.command()
def doctor() -> None:
    """Check that this machine can run the platform, with a remedy per failure.

    Example: `shoplake doctor`
    """

    from lakehouse.services.doctor import examine

    checks = examine(load_settings())
    table = Table("check", "", "finding", show_lines=False)
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]note[/]", "failure": "[red]fails[/]"}
    for check in checks:
        table.add_row(check.name, marks[check.result], shown(check.message))
    Console().print(table)
    if any(check.result == "failure" for check in checks):
        raise typer.Exit(2)


@app.command()
def stream() -> None:
    """Run the stream in the foreground until Ctrl-C (`shoplake up` does this for you).

    Example: [bold]shoplake up --no-stream --detach && shoplake stream[/]
    """
    from lakehouse.stream.query import run

    console = Console(soft_wrap=True)
    run(load_settings(), lambda text: console.print(shown(text), highlight=False))


@app.command()
def spread() -> None:
    """Give brokers that were added to Kafka their share of the topics' partitions. The stream keeps running.

    Example: `shoplake spread`
    """
    from producer.topics import spread_topics

    print(f"{spread_topics(load_settings())} partitions have their places; Kafka moves the records now.")


@app.command()
def credentials() -> None:
    """Print the credentials of the lake's own S3 and Spark servers, as shell lines for other programs.

    Example: `eval "$(shoplake credentials)"`
    """
    from lakehouse.lake_secret import credentials_of

    print(credentials_of(load_settings()))


class StartReporter:
    """Says once per change how far a start or an end is; on a terminal also what is waited for, and for how long."""

    def __init__(self, doing: str = "Starting", when_up: str = "") -> None:
        """The clock starts now. `when_up`: what to say after the news that everything is up, which is said once."""
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, soft_wrap=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task(f"{doing} …")
        self._doing, self._when_up, self._is_end = doing, when_up, doing == "Ending"
        self._begin = time.monotonic()
        self._said: dict[str, str] = {}
        self.failed = ""
        """The parts that do not run, as the last snapshot says."""
        self._bar.start()
        atexit.register(self._bar.stop)  # whatever ends the command, the terminal has its cursor again

    def __call__(self, snapshot: Snapshot) -> None:
        """Take note of the state of the platform."""
        parts = snapshot.services
        self.failed = ", ".join(name for name, part in parts.items() if part.state == "failed")
        for name, part in parts.items():
            self._say_news(name, part)
        done = ("down", "external") if self._is_end else ("up", "external")
        waiting = [name for name, part in parts.items() if part.state not in done]
        self._bar.update(self._task, description=f"{self._doing} {', '.join(waiting)} …")
        if not waiting:
            self._bar.stop()
        if self._when_up and snapshot.is_up:
            self.say(f"{f'All but {self.failed}' if self.failed else 'Everything'} is up. {self._when_up}")
            self._when_up = ""

    def _say_news(self, name: str, part: ServiceState) -> None:
        line = part.message if part.state == "failed" else part.state
        before, self._said[name] = self._said.get(name), line
        if before == line:
            return
        if part.state == "failed":
            self._console.print(f"  {shown(part.message)}", highlight=False)
        elif part.is_ready and not self._is_end:
            seconds = time.monotonic() - self._begin
            self._console.print(f"  {name:<9} {part.state} after {seconds:.1f} s  {part.address}", highlight=False)
        elif (part.state == "down" and before) or (part.state == "starting" and self._bar.disable):
            self._console.print(f"  {name:<9} {part.state}", highlight=False)

    def say(self, sentence: str) -> None:
        """The last word."""
        self._bar.stop()
        self._console.print(sentence, highlight=False)
