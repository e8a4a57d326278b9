"""How fresh gold is while the window of three hours is full: `python -m benchmarks.live`.

Per rate: the fold gets three hours of that rate's events, back-dated, and then live traffic is sent and measured. The
events of the window are made in DuckDB and handed to the fold, as a restart hands it those of silver: to send 21
million records first would take an hour.
"""

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import duckdb
import pyarrow as pa
import typer

from benchmarks import traffic
from benchmarks.figures import Figure, report, show
from benchmarks.freshness import FreshnessProbe
from benchmarks.traffic import send, stop_stream, wait_until_read
from lakehouse.settings import Settings
from lakehouse.sql import lasting
from lakehouse.stream import control as stream_control
from lakehouse.stream.fold import Fold
from lakehouse.stream.live_gold import LIVE
from producer.publish import publish
from producer.simulator import SimulationOptions, simulate

WINDOW = timedelta(hours=3)
USERS, PRODUCTS = 90_000, 1_000
FILLED = """
SELECT uuid()::VARCHAR AS event_id, 'u' || (hash(i) % {users}) AS user_id, 'd' || (hash(i) % {users}) AS device_id,
    'i' || (hash(i) % {users}) AS ip, 'DE' AS country,
    CASE WHEN i % 100 < 40 THEN 'product_view' WHEN i % 100 < 60 THEN 'page_view' WHEN i % 100 < 95 THEN 'click'
        ELSE 'purchase' END AS event_type,
    CASE WHEN i % 100 < 40 THEN 'p' || (pow(hash(i * 7) % 10000 / 10000, 3) * {products})::INT END AS product_id,
    CASE WHEN i % 100 < 40 THEN 'A product' END AS product_name,
    CASE WHEN i % 100 >= 95 THEN 19.99::DECIMAL(28, 9) END AS amount,
    CASE WHEN i % 100 >= 95 THEN 'o' || i END AS order_id, CASE WHEN i % 100 >= 95 THEN 'EUR' END AS currency,
    CASE WHEN i % 100 >= 95 THEN 'approved' END AS payment_status,
    CASE WHEN i % 100 >= 95 THEN 'c' || (hash(i) % {users}) END AS card_fingerprint,
    make_timestamptz({start} + (i * {step})::BIGINT) AS event_time, event_time AS processed_at
FROM range({events}) made(i)
"""


def main(
    rates: Annotated[str, typer.Option(help="Events per second, separated by commas.")] = "200,2000,5000",
    seconds: Annotated[int, typer.Option(help="How long each rate is measured.")] = 600,
    warm_up: Annotated[int, typer.Option(help="Seconds of traffic before a rate is measured.")] = 120,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/live.json."""
    figures: list[Figure] = []
    with traffic.started() as (settings, say):
        send(settings, _options(100, 10))
        wait_until_read(settings)
        for rate in map(float, rates.split(",")):
            say(f"{rate:,.0f} events/s")
            fill_window(settings, rate)
            send(settings, _options(rate, warm_up))
            wait_until_read(settings)
            found = _measured(settings, rate, seconds)
            show(found)
            figures += found
    report("live", f"python -m benchmarks.live --rates {rates} --seconds {seconds} --warm-up {warm_up}", figures)


def fill_window(settings: Settings, rate: float) -> None:
    """Make the fold one whose window is full of this rate's events; the stream goes on with it."""
    stop_stream(settings)
    now, events = datetime.now(UTC), int(rate * WINDOW.total_seconds())
    fold = _opened(settings)
    tag = fold.tag()
    if tag is None:
        raise SystemExit("The stream has left no fold: has it run?")
    fold.load(made(now - WINDOW, events), tag, now)
    fold.close()
    stream_control.want(settings, "running")


def _opened(settings: Settings) -> Fold:
    """The fold, once the process of the query that was stopped has let go of it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            duckdb.connect(str(settings.fold_file)).close()
            break
        except duckdb.IOException:
            time.sleep(0.5)
    return Fold(settings.fold_file, LIVE, timedelta(hours=settings.dedupe_hours), settings.fold_memory_mb)


def made(start: datetime, events: int) -> pa.RecordBatchReader:
    """So many events, evenly over the WINDOW from `start` on, as they are read from silver."""
    step = WINDOW.total_seconds() * 1e6 / events
    begin = int(start.timestamp() * 1e6)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    sql = FILLED.format(users=USERS, products=PRODUCTS, start=begin, step=step, events=events)
    return lasting(connection, connection.execute(sql).to_arrow_reader(100_000))


def _options(rate: float, seconds: int) -> SimulationOptions:
    return traffic.live(rate, seconds, seed=int(rate), late=0.0)


def _measured(settings: Settings, rate: float, seconds: int) -> list[Figure]:
    options, ledger = _options(rate, seconds), settings.data_dir / f"ledger-{rate:.0f}.jsonl"
    records, probe, first = list(simulate(options)), FreshnessProbe(settings), traffic.last_batch(settings) + 1
    probe.start()
    before = traffic.processor(settings)
    publish(records, settings, ledger=ledger, live_from=options.now_ms / 1000)
    spent = {name: taken - before.get(name, 0) for name, taken in traffic.processor(settings).items()}
    memory = traffic.memory_gb(settings)
    wait_until_read(settings)
    time.sleep(1)
    probe.stop()
    found, took = probe.result(records, ledger), traffic.batch_seconds(settings, first)
    nothing = float("nan")
    at = f"at {rate:,.0f}/s, window full"
    return [
        Figure(f"freshness p50 {at}", found.p50 or nothing, "s", "1"),
        Figure(f"freshness p95 {at}", found.p95 or nothing, "s"),
        Figure(f"freshness p99 {at}", found.p99 or nothing, "s", "3"),
        Figure(f"freshness p50 of the first sixth {at}", found.first or nothing, "s"),
        Figure(f"freshness p50 of the last sixth {at}", found.last or nothing, "s"),
        Figure(f"micro-batch, median {at}", statistics.median(took), "s", "1"),
        Figure(f"Spark and the fold per batch {at}", spent["spark"] / len(took), "core-s", "1"),
        Figure(f"all parts {at}", sum(spent.values()) / seconds, "cores"),
        Figure(f"Spark and the fold per million events {at}", spent["spark"] / len(records) * 1e6, "core-s"),
        Figure(f"memory, all parts {at}", memory, "GB", "8"),
    ]


if __name__ == "__main__":
    typer.run(main)
