"""`make bench`: bulk speed, freshness, memory, and the cost of a batch with more history.

Every figure is measured on a platform of its own, started on free ports in a temporary folder. Machines differ and are
noisy: read them beside each other, not as absolutes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import job_api, traffic
from benchmarks.figures import RESULTS, Figure, write_figures
from benchmarks.traffic import batch_seconds, last_batch, stop_stream, wait_until_read
from lakehouse.errors import ShoplakeError
from lakehouse.monitoring.freshness import FreshnessProbe
from lakehouse.services.state import status
from lakehouse.services.testing import platform
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream import control as stream_control
from producer.publish import publish
from producer.simulator import simulate

FILE = RESULTS / "bulk.json"
BULK_SEED, LIVE_SEED = 11, 12
GOLD_SECONDS = 300.0
GOLD_HAS_ALL = """
select (select sum(page_views + clicks + carts + purchases + searches) from gold.kpis_hourly)
    = (select count(*) from silver.events
       where event_type in ('page_view', 'click', 'add_to_cart', 'purchase', 'search')) as has_all
"""
MOST_WARM_UP_ROUNDS = 10
"""Half a minute of live traffic each, until batches get no quicker: what a JVM does in its first minutes, while it
still compiles what it runs, says little about the hours after."""
SETTLED = 0.95


def main(
    bulk_events: Annotated[int, typer.Option(help="Events of the bulk run.")] = 300_000,
    rate: Annotated[float, typer.Option(help="Events per second of the freshness run.")] = 2000.0,
    seconds: Annotated[int, typer.Option(help="Length of the freshness run.")] = 60,
    history_factor: Annotated[int, typer.Option(help="How much more history the second cost has.")] = 20,
) -> None:
    """Measure, print a table, and write the figures into benchmarks/results/bulk.json."""
    console = Console()
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(prefix="shoplake-bench-") as folder,
        console.status("Starting the platform") as now,
        platform(Path(folder), stream=True) as settings,
        connect(settings) as reader,
    ):
        memory = _Memory(settings)
        now.update("Warming up, then batches with little history")
        traffic.send(settings, traffic.history(bulk_events // history_factor, days=3, seed=1))
        wait_until_read(settings, memory.look)
        _warm_up(settings, rate / 4, memory)
        small = _batch_seconds(settings, rate / 4, memory)
        now.update(f"Bulk: {bulk_events:,} events from Kafka to gold")
        figures.append(_bulk(settings, reader, bulk_events, memory))
        now.update(f"Batches with {history_factor} times the history")
        large = _batch_seconds(settings, rate / 4, memory)
        figures.append(Figure(f"batch cost at {history_factor} x history", large / small, "x", "1.5"))
        now.update(f"Freshness at {rate:,.0f} events/s for {seconds} s")
        figures += _freshness(settings, rate, seconds, Path(folder), memory)
        now.update("The job API: accepting and starting runs")
        figures += _job_api(settings)
        figures.append(Figure("peak memory, all parts", memory.peak_mb / 1024, "GB", "8"))
    _show(console, figures)


class _Memory:
    """Largest resident memory of all parts and their children, in MB."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.peak_mb = 0.0

    def look(self) -> None:
        total = 0
        for part in status(self._settings).values():
            if part.get("pid"):
                try:
                    process = psutil.Process(part["pid"])
                    total += sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
                except psutil.NoSuchProcess:
                    continue
        self.peak_mb = max(self.peak_mb, total / 2**20)


def _warm_up(settings: Settings, rate: float, memory: _Memory) -> None:
    """Rounds until the last two bettered the best before them by less than a twentieth."""
    took: list[float] = []
    while len(took) < MOST_WARM_UP_ROUNDS:
        took.append(_batch_seconds(settings, rate, memory))
        if len(took) > 4 and min(took[-2:]) > SETTLED * min(took[:-2]):
            return


def _bulk(settings: Settings, reader: SqlReader, events: int, memory: _Memory) -> Figure:
    """Records that wait on the broker when the stream starts: from the beginning of its first micro-batch until gold
    counts all of them."""
    stop_stream(settings)
    read_before, last = _read(reader), last_batch(settings)
    traffic.send(settings, traffic.history(events, days=60, seed=BULK_SEED))
    stream_control.want(settings, "running")
    wait_until_read(settings, memory.look)
    end = time.monotonic() + GOLD_SECONDS
    while not reader.query(GOLD_HAS_ALL)[0]["has_all"]:
        if time.monotonic() > end:
            raise ShoplakeError(f"Gold does not count all events {GOLD_SECONDS:.0f} s after they were read.")
        time.sleep(0.2)
    ended = time.time()
    rows = reader.query("select batch_id, epoch(started_at) as began from ops.batches")
    began = min(float(row["began"]) for row in rows if row["batch_id"] > last)
    speed = (_read(reader) - read_before) / (ended - began)
    return Figure("bulk, Kafka → bronze → gold", speed, "events/s", "20,000")


def _batch_seconds(settings: Settings, rate: float, memory: _Memory) -> float:
    """Median seconds of a micro-batch with current events."""
    first = last_batch(settings) + 1
    traffic.send(settings, traffic.live(rate, 30, seed=LIVE_SEED + first))
    wait_until_read(settings, memory.look)
    return statistics.median(batch_seconds(settings, first))


def _freshness(settings: Settings, rate: float, seconds: int, folder: Path, memory: _Memory) -> list[Figure]:
    options = traffic.live(rate, seconds, seed=LIVE_SEED, late=0.0)
    records = list(simulate(options))
    probe, ledger = FreshnessProbe(settings), folder / "ledger.jsonl"
    probe.start()
    publish(records, settings, ledger=ledger, live_from=options.now_ms / 1000)
    wait_until_read(settings, memory.look)
    time.sleep(1)
    probe.stop()
    found = probe.result(records, ledger)
    return [
        Figure(f"freshness p50 at {rate:,.0f}/s", found.p50 or float("nan"), "s", "3"),
        Figure(f"freshness p99 at {rate:,.0f}/s", found.p99 or float("nan"), "s", "6"),
    ]


def _job_api(settings: Settings) -> list[Figure]:
    cold, warm_p50, warm_p99 = job_api.trigger_to_running(settings)
    accept_p50, accept_p99, rate = job_api.accept_milliseconds(settings)
    callers = f"{job_api.CALLERS} callers"
    return [
        Figure("trigger → running, first", cold, "s"),
        Figure("trigger → running, warm p50", warm_p50, "s", "2"),
        Figure("trigger → running, warm p99", warm_p99, "s"),
        Figure(f"accept p50 at {callers}", accept_p50, "ms"),
        Figure(f"accept p99 at {callers}", accept_p99, "ms"),
        Figure(f"requests at {callers}", rate, "1/s"),
    ]


def _read(reader: SqlReader) -> int:
    return int(reader.query("select coalesce(sum(bronze_rows), 0) as n from ops.batches")[0]["n"])


def _show(console: Console, figures: list[Figure]) -> None:
    table = Table("figure", "value", "unit", "first target", title="Shoplake benchmark")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit, figure.target)
    console.print(table)
    write_figures(FILE, "make bench", figures)
    console.print(f"Written to {FILE}")


if __name__ == "__main__":
    typer.run(main)
