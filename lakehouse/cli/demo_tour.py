"""The demo: a whole lakehouse on this machine, with two months of history, live traffic and its numbers shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import tenacity
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lakehouse import broker
from lakehouse.api_client import ApiClient
from lakehouse.cli import demo_trust, demo_view
from lakehouse.cli.platform import StartReporter
from lakehouse.cli.run_view import run_to_end
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lock import lock_holder
from lakehouse.monitoring.freshness import Freshness, FreshnessProbe
from lakehouse.services import superset
from lakehouse.services.detached import start_detached, stop
from lakehouse.services.doctor import require_startable
from lakehouse.services.state import Snapshot, read_state
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.progress import booked
from producer.contract import TOPIC_OF_TYPE
from producer.publish import publish
from producer.record import Record
from producer.sender import Counts
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from producer.topics import TOPICS

DAY_MS = 86_400_000
REFRESH_SECONDS = 2.0
CARDS = 6
patiently = tenacity.Retrying(
    stop=tenacity.stop_after_delay(180),
    wait=tenacity.wait_fixed(1),
    retry=tenacity.retry_if_exception_type(ShoplakeError) & tenacity.retry_if_not_exception_type(UsageError),
    reraise=True,
)
"""Asks again while a part of the platform is away: the supervisor brings it back within a minute or two."""


@dataclass(frozen=True)
class Plan:
    """How large the demo is."""

    history_days: int = 60
    history_events: int = 30_000
    rate: float = 100.0
    live_seconds: int = 20
    seed: int = 42


def run(settings: Settings, plan: Plan, console: Console) -> bool:
    """Run the demo; whether what it shows is right. On a terminal it stays up until Ctrl-C."""
    folder, began = settings.data_dir / "truth", datetime.now(UTC)
    with _platform_with_history(settings, plan, folder, console):
        _wait_until_read(settings, console)
        _compute_cohorts(settings, console)
        with demo_trust.running_beside(settings, began) as running:
            _wait_for_flags(settings, console)
        freshness = _live_for_a_while(settings, plan, folder, console)
        trust = _look_at_trust(settings, running, console)
        dashboards = _start_superset(settings) if console.is_terminal else "make superset, then shoplake up --superset"
        with connect(settings) as reader:
            console.print(patiently(lambda: _page(reader, settings, freshness, trust, dashboards)))
            is_right = patiently(lambda: _is_right(reader, freshness, trust, console))
        if console.is_terminal:
            _stay_up(settings, plan, folder, console)
        return is_right


def _look_at_trust(settings: Settings, runs: demo_trust.Runs, console: Console) -> demo_trust.Trust:
    began = time.monotonic()
    with connect(settings) as reader, console.status("Asking the desk, the ledger and the gate"):
        trust = patiently(lambda: demo_trust.gather(settings, reader, runs))
    console.print(f"[green]✓[/] desk, ledger and gate asked in {time.monotonic() - began:.1f} s")
    return trust


def _compute_cohorts(settings: Settings, console: Console) -> None:
    with ApiClient(settings) as client:
        run = patiently(lambda: run_to_end(client, "cohort_retention", {}))
    if run["state"] != "succeeded":
        raise ShoplakeError(f"cohort_retention {run['state']}: {(run['error'] or {}).get('message', '')}")
    console.print(f"[green]✓[/] cohorts computed in {run['result']['duration_seconds']:.1f} s")


@contextmanager
def _platform_with_history(settings: Settings, plan: Plan, folder: Path, console: Console) -> Iterator[None]:
    """The platform, started when it does not run yet; what was started here is ended here."""
    was_running = lock_holder(settings) is not None
    if not was_running:
        require_startable(settings)
    folder.mkdir(parents=True, exist_ok=True)
    has_started = False
    try:
        with _history_beside(settings, plan, folder, console) as may_begin:
            if was_running:
                may_begin.set()
            else:
                start_detached(settings, _telling(may_begin, StartReporter()))
                has_started = True
        yield
    finally:
        if has_started:
            console.print("Ending the platform …")
            stop(settings)


@contextmanager
def _history_beside(settings: Settings, plan: Plan, folder: Path, console: Console) -> Iterator[threading.Event]:
    """Publish the history while the platform starts, from when the event that it yields is set."""
    may_begin, ending = threading.Event(), threading.Event()

    def publish_it() -> Counts:
        may_begin.wait()
        return _publish_history(settings, plan, folder, ending)

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
    console.print(f"[green]✓[/] {counts.acked:,} events of {plan.history_days} days published")


def _telling(may_begin: threading.Event, report: Callable[[Snapshot], None]) -> Callable[[Snapshot], None]:
    """`report`, which also says that history can be sent: Kafka is up long before Spark, and the stream's first
    micro-batch finds all of it. It must be this lake's Kafka, and an external one has to wait for a start that works.
    """

    def tell(snapshot: Snapshot) -> None:
        report(snapshot)
        kafka, spark = snapshot.services["kafka"], snapshot.services["spark"]
        if kafka.state == "up" or (kafka.is_ready and spark.is_ready):
            may_begin.set()

    return tell


def _publish_history(settings: Settings, plan: Plan, folder: Path, ending: threading.Event) -> Counts:
    options = SimulationOptions(
        now_ms=int(time.time() * 1000),
        seed=plan.seed,
        history_ms=plan.history_days * DAY_MS,
        history_events=plan.history_events,
        truth=folder / "history.jsonl",
    )
    return publish(simulate(options), settings, stop=ending)


def _wait_until_read(settings: Settings, console: Console, seconds: float = 600) -> None:
    """Show how the stream works off what is on the broker, until nothing is left."""
    end = time.monotonic() + seconds
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} read"),
        TimeElapsedColumn(),
    )
    with connect(settings) as reader, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Kafka → bronze → silver → gold", total=None)
        while True:
            read_to = patiently(lambda: booked(reader))
            read = sum(offset for each in read_to.values() for offset in each.values())
            behind = patiently(partial(broker.lag, settings, TOPICS, read_to))
            progress.update(task, total=read + behind, completed=read)
            if not behind:
                break
            if time.monotonic() > end:
                raise ShoplakeError(
                    f"The stream is still {behind:,} records behind; see {settings.logs / 'stream.log'}."
                )
            time.sleep(0.5)
    console.print(f"[green]✓[/] {read:,} records read into the lake")


def _wait_for_flags(settings: Settings, console: Console, seconds: float = 120) -> None:
    """Flags and older hours follow the counts by some seconds: wait until a look finds some, and no more coming."""
    query = "select count(*) as flags from gold.fraud_flags"
    end = time.monotonic() + seconds
    with connect(settings) as reader, console.status("Looking for fraud"):
        before, found = -1, 0
        while time.monotonic() < end and (not found or found != before):
            time.sleep(4)
            before, found = found, int(patiently(lambda: reader.query(query))[0]["flags"])
    console.print(f"[green]✓[/] {found} fraud flags so far")


def _live_for_a_while(settings: Settings, plan: Plan, folder: Path, console: Console) -> Freshness:
    """Live traffic for some seconds, with its freshness measured."""
    options = _live_options(plan, folder, plan.live_seconds)
    thief = f"demo-thief-{options.now_ms}"
    records = sorted([*simulate(options), *_tried_cards(thief, options.now_ms)], key=lambda record: record.due)
    ledger = folder / "live-ledger.jsonl"
    probe = FreshnessProbe(settings)
    probe.start()
    console.print(f"Live traffic for {plan.live_seconds} s at {plan.rate:.0f} events/s …")
    counts = publish(records, settings, ledger=ledger, live_from=options.now_ms / 1000)
    console.print(f"[green]✓[/] {counts.acked:,} live events published")
    _wait_until_read(settings, console)
    time.sleep(1)
    probe.stop()
    _show_flag(settings, thief, console)
    return probe.result(records, ledger)


def _tried_cards(user_id: str, now_ms: int) -> Iterator[Record]:
    """Somebody tries stolen cards within the demo's few seconds; the simulator's fraud takes minutes."""
    for number in range(CARDS):
        at_ms = now_ms + 3000 + number * 1500
        moment = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
        event_id = f"{user_id}-{number}"
        paid = {"order_id": event_id, "total_amount": 1, "currency": "EUR", "payment_status": "declined"}
        event = {
            "event_id": event_id,
            "event_type": "purchase",
            "user_id": user_id,
            "timestamp": moment,
            "data": {**paid, "card_fingerprint": f"{user_id}-card-{number}"},
        }
        yield Record(TOPIC_OF_TYPE["purchase"], user_id.encode(), orjson.dumps(event), at_ms / 1000, event_id)


def _show_flag(settings: Settings, user_id: str, console: Console, seconds: float = 30) -> None:
    """Wait for the flag of the stolen cards. Raises ShoplakeError when it is not raised."""
    query = (
        "select epoch(detected_at) - epoch(event_time) as seconds, reason from gold.fraud_flags"  # noqa: S608 - ours
        f" where user_id = '{user_id}' and rule_id = 'card_testing'"
    )
    end = time.monotonic() + seconds
    with connect(settings) as reader:
        while not (flags := patiently(lambda: reader.query(query))):
            if time.monotonic() > end:
                raise ShoplakeError(f"Trying {CARDS} cards has raised no flag; see {settings.logs / 'stream.log'}.")
            time.sleep(0.5)
    console.print(f"[green]✓[/] flagged {flags[0]['seconds']:.1f} s after it was seen: {flags[0]['reason']}")


def _live_options(plan: Plan, folder: Path, seconds: float | None) -> SimulationOptions:
    return SimulationOptions(
        now_ms=int(time.time() * 1000),
        seed=plan.seed,
        live=True,
        rate=plan.rate,
        duration_s=seconds,
        malformed=0.01,
        duplicates=0.02,
        fraud=0.1,
        truth=folder / "live.jsonl",
    )


def _stay_up(settings: Settings, plan: Plan, folder: Path, console: Console) -> None:
    """Live traffic and what moves with it, until Ctrl-C: as many panels as the terminal is high."""
    options = _live_options(plan, folder, None)
    end = threading.Event()
    sender = threading.Thread(
        target=publish, args=(simulate(options), settings), kwargs={"live_from": options.now_ms / 1000, "stop": end}
    )
    sender.start()
    try:
        with connect(settings) as reader:
            console.print(f"\n[bold]Live traffic at {plan.rate:.0f} events/s. Ctrl-C ends it.[/]\n")
            with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    page = patiently(lambda: demo_view.page(_moving(reader)))
                    live.update(page, refresh=True)
                    time.sleep(REFRESH_SECONDS)
    except KeyboardInterrupt:
        console.print("Stopping the traffic …")
    finally:
        end.set()
        sender.join()


def _start_superset(settings: Settings) -> str:
    """Have Superset started beside the traffic where it can be; how to see the dashboards, or what is in the way."""
    snapshot = read_state(settings)
    if snapshot is None or superset.NAME not in snapshot.services:
        try:
            superset.check(settings)
        except UsageError as error:
            return f"Superset {error}"
        superset.wanted_file(settings).touch()
    return f"{settings.superset_url} (first start: two minutes); passwords: shoplake superset login"


def _moving(reader: SqlReader) -> Iterator[RenderableType]:
    """The panels that change with live traffic, the quickest first; the end of them may not fit on the terminal."""
    yield from _panels_of_now(reader, demo_view.BOOK)
    yield demo_view.flags(reader.query(demo_view.FLAGS), reader.query(demo_view.FLAG_COUNTS))
    yield demo_view.hourly_figures(reader.query(demo_view.HOURLY_FIGURES))
    yield demo_view.quarantine(reader.query(demo_view.QUARANTINE))
    yield demo_view.hourly_products(reader.query(demo_view.HOURLY_PRODUCTS))


def _page(
    reader: SqlReader, settings: Settings, freshness: Freshness, trust: demo_trust.Trust, dashboards: str
) -> RenderableType:
    """Everything that the demo shows."""
    measured = demo_view.freshness(freshness.p50, freshness.p99, freshness.samples)
    rest = _panels(reader, settings, trust, dashboards)
    return demo_view.page([*_panels_of_now(reader, demo_view.LAYERS), measured, *rest])


def _panels_of_now(reader: SqlReader, records: str) -> Iterator[RenderableType]:
    yield demo_view.layers(reader.query(records))
    yield demo_view.top_products(reader.query(demo_view.LAST_HOUR))


def _panels(
    reader: SqlReader, settings: Settings, trust: demo_trust.Trust, dashboards: str
) -> Iterator[RenderableType]:
    ask = reader.query
    yield demo_view.hourly_products(ask(demo_view.HOURLY_PRODUCTS))
    yield demo_view.hourly_figures(ask(demo_view.HOURLY_FIGURES))
    yield demo_view.flags(ask(demo_view.FLAGS), ask(demo_view.FLAG_COUNTS))
    yield demo_view.quarantine(ask(demo_view.QUARANTINE))
    yield demo_view.trust(trust)
    yield demo_view.retention(ask(demo_view.RETENTION))
    yield demo_view.next_steps([("Dashboards", dashboards), *_next_steps(settings)])


def _next_steps(settings: Settings) -> list[tuple[str, str]]:
    return [
        ("Leave everything running", "make up"),
        ("Ask your own question", 'shoplake sql "SELECT * FROM gold.kpis_hourly ORDER BY hour_start DESC LIMIT 5"'),
        ("All tables and what a row is", "shoplake sql --tables"),
        ("See what stays refused, and why", "shoplake quarantine list --summary"),
        ("Prove that nothing is lost", "shoplake reconcile --full"),
        ("Send more traffic", "shoplake produce --live --rate 200 --duration 1m"),
        ("Kafka", settings.bootstrap),
        ("S3", f"{settings.endpoint}/{settings.bucket}"),
        ("Spark Connect", settings.remote),
        ("Logs", str(settings.logs)),
    ]


def _is_right(reader: SqlReader, freshness: Freshness, trust: demo_trust.Trust, console: Console) -> bool:
    """Whether everything shown has rows and the books balance; says what is wrong."""
    wanted = {
        "gold.top_products_last_hour": demo_view.LAST_HOUR,
        "gold.top_products_hourly": demo_view.HOURLY_PRODUCTS,
        "gold.kpis_hourly": demo_view.HOURLY_FIGURES,
        "gold.fraud_flags": demo_view.FLAGS,
        "silver.quarantine": demo_view.QUARANTINE,
        "gold.cohort_retention": demo_view.RETENTION,
    }
    answers: dict[str, list[dict[str, Any]]] = {name: reader.query(sql) for name, sql in wanted.items()}
    empty = [name for name, rows in answers.items() if not rows]
    empty += ["freshness"] if not freshness.samples else []
    balanced = demo_view.is_balanced(reader.query(demo_view.LAYERS))
    for name in empty:
        console.print(f"[red]✗[/] {name} is empty")
    if not balanced:
        console.print("[red]✗[/] bronze is not silver + duplicates + quarantined")
    if not trust.is_right:
        console.print(demo_view.trust(trust))
    if not empty and balanced and trust.is_right:
        console.print("[green]✓[/] everything has rows, and bronze = silver + duplicates + quarantined")
    return not empty and balanced and trust.is_right
