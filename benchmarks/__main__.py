"""`make bench`: bulk speed, memory, and how soon the job API accepts and starts runs.

Every figure is measured on a platform of its own, started on free ports in a temporary folder. Machines differ and are
noisy: read them beside each other, not as absolutes. How fresh gold is tells `benchmarks.live`.
"""

import statistics
import time
from typing import Annotated

import typer

from benchmarks import job_api, traffic
from benchmarks.figures import Figure, report
from benchmarks.traffic import batch_seconds, last_batch, stop_stream, wait_until_read
from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream import control as stream_control

WARM_UP_RATE = 500.0
MOST_WARM_UP_ROUNDS = 10
"""Half a minute of live traffic each, until batches get no quicker: what a JVM does in its first minutes, while it
still compiles what it runs, says little about the hours after."""
SETTLED = 0.95
GOLD_SECONDS = 300.0
GOLD_HAS_ALL = """
select (select sum(page_views + clicks + carts + purchases + searches) from gold.kpis_hourly)
    = (select count(*) from silver.events
       where event_type in ('page_view', 'click', 'add_to_cart', 'purchase', 'search')) as has_all
"""


def main(
    bulk_events: Annotated[int, typer.Option(help="Events of the bulk run.")] = 300_000,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/bulk.json."""
    with traffic.started() as (settings, say), connect(settings) as reader:
        memory: list[float] = []

        def look() -> None:
            memory.append(traffic.memory_gb(settings))

        say("Warming up")
        _warm_up(settings)
        say(f"Bulk: {bulk_events:,} events from Kafka to gold")
        stop_stream(settings)
        before, last = _read(reader), last_batch(settings)
        traffic.send(settings, traffic.history(bulk_events, days=60, seed=11))
        stream_control.want(settings, "running")
        wait_until_read(settings, look)
        ended = _gold_has_all(reader)
        speed = (_read(reader) - before) / (ended - traffic.began(settings, last))
        say("The job API: accepting and starting runs")
        runs = job_api.figures(settings)
        look()
    figures = [
        Figure("bulk, Kafka → bronze → gold", speed, "events/s", "20,000"),
        *runs,
        Figure("peak memory, all parts", max(memory), "GB", "8"),
    ]
    report("bulk", f"python -m benchmarks --bulk-events {bulk_events}", figures)


def _warm_up(settings: Settings) -> None:
    """Rounds until the last two bettered the best before them by less than a twentieth."""
    took: list[float] = []
    while len(took) < 5 or (len(took) < MOST_WARM_UP_ROUNDS and min(took[-2:]) <= SETTLED * min(took[:-2])):
        last = last_batch(settings)
        traffic.send(settings, traffic.live(WARM_UP_RATE, 30, seed=12 + last))
        wait_until_read(settings)
        took.append(statistics.median(batch_seconds(settings, last)))


def _gold_has_all(reader: SqlReader) -> float:
    """When gold counts all events of silver."""
    end = time.monotonic() + GOLD_SECONDS
    while not reader.query(GOLD_HAS_ALL)[0]["has_all"]:
        if time.monotonic() > end:
            raise ShoplakeError(f"Gold does not count all events {GOLD_SECONDS:.0f} s after they were read.")
        time.sleep(0.2)
    return time.time()


def _read(reader: SqlReader) -> int:
    return int(reader.query("select coalesce(sum(bronze_rows), 0) as n from ops.batches")[0]["n"])


if __name__ == "__main__":
    typer.run(main)
