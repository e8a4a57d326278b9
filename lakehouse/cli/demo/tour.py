"""The demo: a whole lakehouse on this machine, with two months of history, live traffic and its numbers shown."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rich.console import Console, RenderableType

from lakehouse import broker
from lakehouse.api_client import ApiClient, patient
from lakehouse.cli.demo import page, view
from lakehouse.cli.demo.steps import Step, Steps, what_it_takes
from lakehouse.cli.demo.traffic import CARDS, Traffic
from lakehouse.cli.demo.view import Trust
from lakehouse.cli.runs import follow
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lake_secret import keep_private
from lakehouse.lock import lock_holder
from lakehouse.monitoring.figures import held_back
from lakehouse.services import superset
from lakehouse.services.detached import start_detached, stop
from lakehouse.services.doctor import require_startable
from lakehouse.services.jars import fetch_jars
from lakehouse.services.state import Snapshot, read_state
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.progress import booked
from producer.publish import publish
from producer.sender import Counts
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from producer.topics import TOPICS

DAY_MS = 86_400_000
START, READ, COHORTS = "Starting", "Kafka → bronze → silver → gold", "Cohorts"
FRAUD, CHECKS = "Looking for fraud", "Gate, desk and ledger"
STEPS = {START: 60.0, READ: 30.0, COHORTS: 25.0, FRAUD: 10.0, CHECKS: 35.0}
"""The steps until live traffic, and about how many seconds each takes on two free cores."""

DASHBOARDS = "make superset, then shoplake up --superset"
BESIDE = "In another terminal (shoplake is .venv/bin/shoplake)"
AFTER = "What to do next: the data stays (shoplake is .venv/bin/shoplake)"
FIX = "cast data.price=number; route; rekey"
"""Mends what can be mended of the simulator's defects: prices as text, the wrong topic, another's key."""
patiently = patient(180, 1)
"""Asks again while a part of the platform is away: the supervisor brings it back within a minute or two."""


@dataclass(frozen=True)
class Plan:
    """How large the demo is. Live traffic is little more than the history's hours have: charts go on in their scale."""

    history_days: int = 60
    history_events: int = 150_000
    rate: float = 2.0
    live_seconds: int = 30
    seed: int = 42


def run(settings: Settings, plan: Plan, console: Console) -> bool:
    """Run the demo; whether what it shows is right. On a terminal it stays up until Ctrl-C, then tells everything."""
    began = datetime.now(UTC)
    keep_private(settings)
    console.print(what_it_takes(settings, sum(STEPS.values())))
    steps = Steps(console, STEPS)
    with _platform_with_history(settings, plan, steps, console), connect(settings) as reader:
        with steps.step(READ) as step:
            step.done = f"{_wait_until_read(settings, reader, step):,} records read into the lake"
        trust = _look_at_trust(settings, reader, began, steps)
        with _traffic(settings, plan, console.is_terminal) as traffic:
            if console.is_terminal:
                _show_until_interrupted(settings, console, traffic, trust)
            else:
                console.print(f"Live traffic for {plan.live_seconds} s at {plan.rate:g} events/s …")
                while not traffic.is_sent:
                    patiently(lambda: traffic.look_for_flag(reader))
                    time.sleep(0.25)
        console.print(f"[green]✓[/] {traffic.wait().acked:,} live events published")
        _wait_for_the_last(settings, reader, traffic)
        after = [("Start it again, to stay", "make up"), ("Dashboards", DASHBOARDS), *_questions()]
        told = [
            view.thief(traffic.caught or traffic.thief),
            *_told(traffic, trust),
            view.next_steps(AFTER, after),
        ]
        answers = patiently(lambda: [panel.ask(reader) for panel in view.REPORT])
        panels = (panel.draw(*rows) for panel, rows in zip(view.REPORT, answers, strict=True))
        console.print(view.page([*panels, *told]))
        return _is_right([rows for rows, *_ in answers], traffic, trust, console)


def _look_at_trust(settings: Settings, reader: SqlReader, began: datetime, steps: Steps) -> Trust:
    """Cohorts, flags, the gate, the desk and the ledger, before live traffic needs the machine: one job at a time, each
    takes some hundred MB. What others refused before the demo is theirs to mend."""
    with steps.step(COHORTS) as step:
        run = _ended(settings, "cohort_retention", {})
        if run["state"] != "succeeded":
            raise ShoplakeError(f"cohort_retention {run['state']}: {(run['error'] or {}).get('message', '')}")
        step.done = "cohorts computed"
    with steps.step(FRAUD) as step:
        step.done = f"{_wait_for_flags(reader)} fraud flags found"
    with steps.step(CHECKS) as step:
        gate = _ended(settings, "quality", {"scope": "full"})
        replay = _ended(settings, "replay_quarantine", {"from_time": began.isoformat(), "fix": FIX})
        # Gold follows what comes home, and the ledger waits for it.
        ledger = _ended(settings, "reconcile", {"full": "true"})
        step.done = "gate, desk and ledger asked"
    return Trust(replay, ledger, gate, held_back(settings))


def _ended(settings: Settings, job: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A run of a job, as it ended."""
    with ApiClient(settings) as client:
        return patiently(lambda: follow(client, client.start(job, parameters)["id"], quiet=True))


@contextmanager
def _platform_with_history(settings: Settings, plan: Plan, steps: Steps, console: Console) -> Iterator[None]:
    """The platform, started when it does not run yet; what was started here is ended here."""
    was_running = lock_holder(settings) is not None
    if not was_running:
        require_startable(settings)
        fetch_jars()  # with its own bar, which the bar of a step would tear
    has_started = False
    try:
        with steps.step(START) as step, _history_beside(settings, plan, step) as may_begin:
            if was_running:
                may_begin.set()
            else:
                start_detached(settings, _telling(may_begin, step))
                has_started = True
        yield
    finally:
        if has_started:
            with console.status("Ending the platform …"):
                stop(settings)


@contextmanager
def _history_beside(settings: Settings, plan: Plan, step: Step) -> Iterator[threading.Event]:
    """Publish the history while the platform starts, from when the event that it yields is set."""
    may_begin, ending = threading.Event(), threading.Event()

    def publish_it() -> Counts:
        may_begin.wait()
        return _publish_history(settings, plan, ending)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="history") as pool:
        publishing = pool.submit(publish_it)
        try:
            yield may_begin
            may_begin.set()
            counts = publishing.result()
        except BaseException:
            ending.set()
            may_begin.set()
            raise
    step.done = f"everything is up, {counts.acked:,} events of {plan.history_days} days published"


def _telling(may_begin: threading.Event, step: Step) -> Callable[[Snapshot], None]:
    """Says what is waited for, and that history can be sent: Kafka is up long before Spark, and the stream's first
    micro-batch finds all of it. It must be this lake's Kafka, and an external one has to wait for a start that works.
    """

    def tell(snapshot: Snapshot) -> None:
        waiting = [name for name, part in snapshot.services.items() if not part.is_ready]
        more = f" and {len(waiting) - 1} more" if waiting[1:] else ""
        step.what = f"Starting {waiting[0]}{more}" if waiting else "Publishing the history"
        kafka, spark = snapshot.services["kafka"], snapshot.services["spark"]
        if kafka.state == "up" or (kafka.is_ready and spark.is_ready):
            may_begin.set()

    return tell


def _publish_history(settings: Settings, plan: Plan, ending: threading.Event) -> Counts:
    return publish(simulate(_options(plan)), settings, stop=ending)


def _options(plan: Plan, **more: Any) -> SimulationOptions:
    """The shop's history; live traffic has the same people."""
    return SimulationOptions(
        now_ms=int(time.time() * 1000),
        seed=plan.seed,
        history_ms=plan.history_days * DAY_MS,
        history_events=plan.history_events,
        **more,
    )


def _traffic(settings: Settings, plan: Plan, is_open_ended: bool) -> Traffic:
    """Live traffic that goes on from the history."""
    live = _options(
        plan,
        history_is_sent=True,
        live=True,
        rate=plan.rate,
        duration_s=None if is_open_ended else plan.live_seconds,
        malformed=0.01,
        duplicates=0.02,
        fraud=0.0,  # an episode is up to 400 events, minutes of this rate; the thief comes besides
    )
    return Traffic(settings, live)


def _wait_until_read(settings: Settings, reader: SqlReader, step: Step | None = None, seconds: float = 600) -> int:
    """Until the stream has worked off what is on the broker; how many records it has read."""
    end = time.monotonic() + seconds
    while True:
        read_to = patiently(lambda: booked(reader))
        read = sum(offset for each in read_to.values() for offset in each.values())
        behind = patiently(partial(broker.lag, settings, TOPICS, read_to))
        if not behind:
            return read
        if step:
            step.at(read / (read + behind))
        if time.monotonic() > end:
            raise ShoplakeError(f"The stream is still {behind:,} records behind; see {settings.logs / 'stream.log'}.")
        time.sleep(0.5)


def _wait_for_flags(reader: SqlReader, seconds: float = 120) -> int:
    """Flags and older hours follow the counts by some seconds: wait until a look finds some, and no more coming."""
    end = time.monotonic() + seconds
    before, found = -1, 0
    while time.monotonic() < end and (not found or found != before):
        time.sleep(4)
        rows = patiently(lambda: reader.query("select count(*) as flags from gold.fraud_flags"))
        before, found = found, int(rows[0]["flags"])
    return found


def _wait_for_the_last(settings: Settings, reader: SqlReader, traffic: Traffic, seconds: float = 30) -> None:
    """What was sent last, and the thief's flag. Raises ShoplakeError when it is not raised."""
    _wait_until_read(settings, reader)
    end = time.monotonic() + seconds
    while traffic.thief is not None and traffic.thief.tried >= CARDS:
        if patiently(lambda: traffic.look_for_flag(reader)):
            break
        if time.monotonic() > end:
            raise ShoplakeError(f"Trying {CARDS} cards has raised no flag; see {settings.logs / 'stream.log'}.")
        time.sleep(0.5)
    patiently(lambda: traffic.measure(reader))


def _show_until_interrupted(settings: Settings, console: Console, traffic: Traffic, trust: Trust) -> None:
    """The live page until Ctrl-C."""
    dashboards = "press d: two minutes, and 1 GB of memory"

    def start_superset() -> bool:
        nonlocal dashboards
        dashboards = _start_superset(settings)
        return True

    def extras() -> Sequence[RenderableType]:
        steps = view.next_steps(BESIDE, [("Dashboards", dashboards), *_questions(), *_addresses(settings)])
        return [*_told(traffic, trust), steps]

    figures = page.Figures(settings, view.PANELS, traffic.look)
    keys = {"f": ("new thief", traffic.try_cards), "d": ("dashboards", start_superset)}
    try:
        page.show(console, view.PANELS, figures, lambda: view.thief(traffic.thief), extras, keys)
    except KeyboardInterrupt:
        console.print("Stopping the traffic …")


def _told(traffic: Traffic, trust: Trust) -> list[RenderableType]:
    """What was measured, and what the lake says of itself."""
    seen = traffic.freshness
    measured = view.freshness(seen.p50, seen.p99, seen.samples, traffic.why)
    return [measured, view.trust(trust)]


def _start_superset(settings: Settings) -> str:
    """Have Superset started beside the traffic where it can be; how to see the dashboards, or what is in the way."""
    snapshot = read_state(settings)
    if snapshot is None or superset.NAME not in snapshot.services:
        try:
            superset.check(settings)
        except UsageError as error:
            return f"Superset {error}"
        superset.wanted_file(settings).touch()
    return f"{settings.superset_url} (first start: two minutes, 1 GB of memory); passwords: shoplake superset login"


def _questions() -> list[tuple[str, str]]:
    return [
        ("Ask your own question", 'shoplake sql "SELECT * FROM gold.kpis_hourly ORDER BY hour_start DESC LIMIT 5"'),
        ("All tables and what a row is", "shoplake sql --tables"),
        ("See what stays refused, and why", "shoplake quarantine list --summary"),
        ("Prove that nothing is lost", "shoplake reconcile --full"),
        ("Send more traffic", "shoplake produce --live --rate 200 --duration 1m"),
    ]


def _addresses(settings: Settings) -> list[tuple[str, str]]:
    return [
        ("Kafka", settings.bootstrap),
        ("S3", f"{settings.endpoint}/{settings.bucket}"),
        ("Spark Connect", settings.remote),
        ("Logs", str(settings.logs)),
    ]


def _is_right(answers: Sequence[view.Rows], traffic: Traffic, trust: Trust, console: Console) -> bool:
    """Whether everything shown has rows and the books balance; says what is wrong."""
    wrong = [f"{panel.shows} is empty" for panel, rows in zip(view.REPORT, answers, strict=True) if not rows]
    if not traffic.freshness.samples:
        wrong.append("freshness was not measured")
    if not view.is_balanced(answers[0]):
        wrong.append("bronze is not silver + duplicates + quarantined")
    if not trust.is_right:
        wrong.append("the desk, the ledger or the gate found what is said above")
    for what in wrong:
        console.print(f"[red]✗[/] {what}")
    if not wrong:
        console.print("[green]✓[/] everything has rows, and bronze = silver + duplicates + quarantined")
    return not wrong
