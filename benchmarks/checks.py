"""What it costs to be sure: `python -m benchmarks.checks`.

The contract's checks per event, the audit of each publish against the stream's own time, what the job `quality` takes,
and replays per second, on a platform of its own.
"""

import json
import statistics
import threading
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pyspark.sql import DataFrame

from benchmarks.figures import Figure, report
from benchmarks.traffic import history, live, send, started, wait_until_read
from bronze import events as bronze_events
from lakehouse.jobs import find
from lakehouse.lake import Lake
from lakehouse.reports import read_report
from lakehouse.session import connect as connect_spark
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream.progress import behind
from producer.publish import publish
from producer.record import Record
from producer.simulator import simulate
from silver import checks

VIEWS = "shop.page_views"
SCHEDULED_SECONDS = 900
ROUNDS = 3


def main(
    events: Annotated[int, typer.Option(help="Events that are judged.")] = 100_000,
    rate: Annotated[float, typer.Option(help="Events per second while the audit is watched.")] = 200.0,
    seconds: Annotated[int, typer.Option(help="How long it is watched.")] = 60,
    refused: Annotated[int, typer.Option(help="Records that are replayed.")] = 2_000,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/checks.json."""
    figures: list[Figure] = []
    with started() as (settings, say):
        lake = Lake(connect_spark(settings), settings)
        say(f"Reading {events:,} events")
        send(settings, history(events, days=3, seed=31, malformed=0.01))
        wait_until_read(settings)
        say("The contract's checks")
        figures += _contract(lake)
        say(f"The audit beside {rate:,.0f} events/s for {seconds} s")
        figures += _audit(settings, rate, seconds)
        say("The checks of what changed")
        figures += _incremental(lake, settings)
        say(f"Replaying {refused:,} records")
        figures += _replay(lake, refused)
        lake.spark.stop()
    report("checks", "python -m benchmarks.checks", figures)


def _contract(lake: Lake) -> list[Figure]:
    """Seconds of judging all of bronze, less those of only reading it, per event; the best of some rounds."""
    records = lake.read(bronze_events.TABLE)
    count = records.count()
    read = min(_seconds(lambda: _consume(records)) for _ in range(ROUNDS))
    judged = min(_seconds(lambda: _consume(checks.judge(records))) for _ in range(ROUNDS))
    return [
        Figure("reading a record of bronze", read / count * 1e6, "µs/event"),
        Figure("judging it by the contract", (judged - read) / count * 1e6, "µs/event"),
    ]


def _consume(frame: DataFrame) -> None:
    frame.write.format("noop").mode("overwrite").save()


def _audit(settings: Settings, rate: float, seconds: int) -> list[Figure]:
    """What the audits of the publishes took, against what the micro-batches of the same time took."""
    began, audits = datetime.now(UTC), dict[str, float]()
    sending = threading.Thread(target=send, args=(settings, live(rate, seconds, seed=32)), daemon=True)
    sending.start()
    with connect(settings) as reader:
        while sending.is_alive() or behind(settings, reader):
            report = read_report(settings.run_dir / "publisher.json")
            audits[str(report["updated_at"])] = float(report["audit_seconds"])
            time.sleep(0.2)
        rows = reader.query("select distinct batch_id, started_at, committed_at from ops.batches")
    stream = sum((row["committed_at"] - row["started_at"]).total_seconds() for row in rows if row["started_at"] > began)
    return [
        Figure("audit of a publish, median", statistics.median(audits.values()) * 1000, "ms"),
        Figure("audits, share of the stream's time", sum(audits.values()) / stream * 100, "%", "10"),
    ]


def _incremental(lake: Lake, settings: Settings) -> list[Figure]:
    """The job `quality`: everything once, then only the days that some live events have changed since."""
    job = find("quality")
    whole = _seconds(lambda: job.run(lake, job.parse({"scope": "full"}), _say))
    publish(simulate(live(200, 10, seed=33)), settings)
    wait_until_read(settings)
    changed = _seconds(lambda: job.run(lake, job.parse({"scope": "incremental"}), _say))
    return [
        Figure("quality, all tables in full", whole, "s"),
        Figure("quality, what changed", changed, "s"),
        Figure("quality every 15 minutes, share of the time", changed / SCHEDULED_SECONDS * 100, "%", "10"),
    ]


def _replay(lake: Lake, refused: int) -> list[Figure]:
    """Refused for a price as text, brought home with a fix, until they are in silver and marked."""
    publish([_priced(number) for number in range(refused)], lake.settings)
    wait_until_read(lake.settings)
    job = find("replay_quarantine")
    given = job.parse({"reason": "wrong_type", "topic": VIEWS, "fix": "cast data.price=number"})
    result: dict[str, Any] = {}
    seconds = _seconds(lambda: result.update(job.run(lake, given, _say)))
    return [Figure("replay, refused → silver and resolved", result["resolved"] / seconds, "records/s")]


def _priced(number: int) -> Record:
    event = {
        "event_id": f"priced-{number}",
        "event_type": "product_view",
        "user_id": f"u{number}",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": {"product_id": "p1", "price": "19.90"},
    }
    return Record(VIEWS, f"u{number}".encode(), json.dumps(event).encode(), time.time())


def _seconds(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _say(_doing: str) -> None:
    """Nobody listens."""


if __name__ == "__main__":
    typer.run(main)
