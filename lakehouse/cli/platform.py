"""`shoplake up`, `down`, `status` and `doctor`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from lakehouse.cli.formats import Format, HowToPrint
from lakehouse.settings import load_settings
from lakehouse.terminal import shown

if TYPE_CHECKING:
    from lakehouse.services.state import Snapshot


def register(app: typer.Typer) -> None:
    """Add the commands of this area."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(doctor)
    app.command()(credentials)
    app.command()(spread)


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is up.")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Do not start the stream.")] = False,
    superset: Annotated[bool, typer.Option("--superset", help="Start Superset with the dashboards too.")] = False,
) -> None:
    """Start the platform and supervise it until Ctrl-C. With --superset where it runs already: add Superset to it.

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
    reporter = StartReporter()
    if detach:
        start_detached(settings, reporter, with_stream=not no_stream, with_superset=superset)
        what = f"All but {reporter.failed} is up" if reporter.failed else "Everything is up"
        reporter.say(f"{what}. `shoplake status` shows it, `shoplake down` ends it.")
        return
    Supervisor(settings, reporter, with_stream=not no_stream, with_superset=superset).run()
    reporter.say("Everything is down.")


def down() -> None:
    """End the platform; also what a crashed supervisor left. Data stays.

    Example: `shoplake down`
    """

    from lakehouse.services.detached import stop

    console = Console(stderr=True)
    with console.status("Ending the platform …"):
        ended = stop(load_settings())
    console.print("Everything is down." if ended else "Nothing was running.", highlight=False)


def status(
    format: HowToPrint = Format.table,
) -> None:
    """Show state, address, process, memory and lag of each part.

    Example: `shoplake status --format json`
    """
    from lakehouse.lake_secret import local_remote
    from lakehouse.services.state import UNSUPERVISED
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
    if any(part["message"] == UNSUPERVISED for part in report.values()):
        print("The supervisor is gone: `shoplake up` starts anew, `shoplake down` ends what it left.", file=sys.stderr)


def doctor() -> None:
    """Check that this machine can run the platform; says per failure what to do.

    Example: `shoplake doctor`
    """

    from lakehouse.services.doctor import examine

    checks = examine(load_settings())
    table = Table("check", "", "finding", show_lines=False)
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]note[/]", "failure": "[red]fails[/]"}
    for check in checks:
        table.add_row(check.name, marks[check.result], check.message)
    Console().print(table)
    if any(check.result == "failure" for check in checks):
        raise typer.Exit(2)


def spread() -> None:
    """Give brokers that were added to Kafka their share of the topics' partitions. The stream goes on meanwhile.

    Example: `shoplake spread`
    """
    from producer.topics import spread_topics

    print(f"{spread_topics(load_settings())} partitions have their places; Kafka moves the records now.")


def credentials() -> None:
    """Print what other programs show to the lake's own S3 and Spark servers, as lines for a shell.

    Example: `eval "$(shoplake credentials)"`
    """
    from lakehouse.lake_secret import credentials_of

    print(credentials_of(load_settings()))


class StartReporter:
    """Says once per change how far the start is: a spinner on a terminal, plain lines without one."""

    def __init__(self) -> None:
        """The clock starts now."""

        self._console = Console(stderr=True, soft_wrap=True)
        self._spinner = self._console.status("Starting …") if self._console.is_terminal else None
        self._begin = time.monotonic()
        self._said: dict[str, str] = {}
        self.failed = ""
        """The parts that do not run, as the last snapshot says."""
        if self._spinner:
            self._spinner.start()

    def __call__(self, snapshot: Snapshot) -> None:
        """Take note of the state of the platform."""
        self.failed = ", ".join(name for name, part in snapshot.services.items() if part.state == "failed")
        for name, part in snapshot.services.items():
            line = part.message if part.state == "failed" else part.state
            if self._said.get(name) == line:
                continue
            self._said[name] = line
            if part.is_ready:
                seconds = time.monotonic() - self._begin
                self._console.print(f"  {name:<8} {part.state} after {seconds:.1f} s  {part.address}", highlight=False)
            elif part.state == "failed":
                self._console.print(f"  {shown(part.message)}", highlight=False)
        if self._spinner:
            waiting = [name for name, part in snapshot.services.items() if not part.is_ready]
            if waiting:
                self._spinner.update(f"Starting {', '.join(waiting)} …")
            else:
                self._spinner.stop()

    def say(self, sentence: str) -> None:
        """The last word."""
        if self._spinner:
            self._spinner.stop()
        self._console.print(sentence, highlight=False)
