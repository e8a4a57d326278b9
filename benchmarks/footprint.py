"""What an event leaves behind, and what a micro-batch asks of S3: `python -m benchmarks.footprint`.

Bytes per event in Kafka and in each layer, after compaction, and S3 requests per micro-batch by kind, on a platform of
its own whose S3 server writes every request down. docs/explanation/scaling.md rests on the result.
"""

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.figures import Figure, report
from benchmarks.traffic import batch_seconds, history, last_batch, live, processor, send, started, wait_until_read
from lakehouse.catalog import TABLES
from lakehouse.lake import Lake
from lakehouse.lake_secret import s3_keys
from lakehouse.services import s3
from lakehouse.services.jars import fetch_jars
from lakehouse.session import connect as connect_spark
from lakehouse.settings import Settings
from lakehouse.sql import connect
from producer.publish import publish
from producer.record import Record
from producer.simulator import simulate
from tests.support.platform import free_settings

REQUEST = re.compile(r"\{(GET|HEAD|PUT|POST|DELETE)@\w+ (\S+)")
LOG_REQUESTS = '<logger name="org.gaul.s3proxy.S3ProxyHandler" level="DEBUG"/>\n  <root'
WARM_UP_SECONDS = 120


def main(
    events: Annotated[int, typer.Option(help="Events of the history whose bytes are measured.")] = 60_000,
    rate: Annotated[float, typer.Option(help="Events per second while requests are counted.")] = 200.0,
    seconds: Annotated[int, typer.Option(help="How long requests are counted.")] = 120,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/footprint.json."""
    with (
        tempfile.TemporaryDirectory(prefix="shoplake-footprint-") as folder,
        _logging_s3(Path(folder)) as (endpoint, log),
        started(s3_endpoint=endpoint) as (settings, _),
    ):
        records = list(simulate(history(events, days=3, seed=21)))
        publish(records, settings)
        wait_until_read(settings)
        _send_live(settings, rate, WARM_UP_SECONDS)
        begin = log.stat().st_size
        batches, small = _live_batches(settings, rate, seconds)
        requests = _requests(log, begin)
        figures = [
            *_bytes(settings, records),
            *(Figure(f"S3 {kind}", count / len(batches), "requests/batch") for kind, count in sorted(requests.items())),
            Figure("small batch", statistics.median(batches), "s"),
            Figure("small batch, processor", small, "core-s"),
        ]
    report("footprint", f"python -m benchmarks.footprint --seconds {seconds}", figures)


def _send_live(settings: Settings, rate: float, seconds: int) -> None:
    send(settings, live(rate, seconds, seed=22))
    wait_until_read(settings)


def _live_batches(settings: Settings, rate: float, seconds: int) -> tuple[list[float], float]:
    """How long each micro-batch of so many seconds of live traffic took, and core-seconds of Spark per batch, with what
    it does beside them."""
    last, before = last_batch(settings), processor(settings)["spark"]
    _send_live(settings, rate, seconds)
    spent = processor(settings)["spark"] - before
    took = batch_seconds(settings, last)
    return took, spent / len(took)


def _requests(log: Path, begin: int) -> Counter[str]:
    """Requests by what AWS charges for them, since the log had `begin` bytes."""
    with log.open(errors="replace") as file:
        file.seek(begin)
        return Counter(_kind(found[1], found[2]) for line in file if (found := REQUEST.search(line)))


def _kind(method: str, url: str) -> str:
    if method == "DELETE" or "?delete" in url:
        return "DELETE"
    is_list = method == "GET" and ("list-type=" in url or "prefix=" in url)
    return "PUT, LIST" if method in ("PUT", "POST") or is_list else "GET, HEAD"


def _bytes(settings: Settings, records: list[Record]) -> list[Figure]:
    """Bytes per event: as sent, in Kafka as the producer compresses it, and in the compacted tables."""
    sizes: Counter[str] = Counter()
    lake = Lake(connect_spark(settings), settings)
    for table in TABLES:
        lake.small.compact(table)
        detail = lake.spark.sql(f"DESCRIBE DETAIL delta.`{lake.path(table)}`").collect()[0]
        is_whole = table.full_name in ("bronze.events", "silver.events")
        sizes[table.full_name if is_whole else "all other tables"] += int(detail["sizeInBytes"])
    with connect(settings) as reader:
        count = int(reader.query("select sum(bronze_rows) as n from ops.batches")[0]["n"])
    lake.spark.stop()
    sent = sum(len(record.key or b"") + len(record.value or b"") for record in records) / len(records)
    kept = sum(file.stat().st_size for file in (settings.data_dir / "kafka" / "data").glob("shop.*/*.log"))
    return [
        Figure("event as sent", sent, "bytes/event"),
        Figure("event on a broker's disk", kept / count, "bytes/event"),
        *(Figure(name, size / count, "bytes/event") for name, size in sorted(sizes.items())),
    ]


@contextmanager
def _logging_s3(folder: Path) -> Iterator[tuple[str, Path]]:
    """An S3 server beside the platform that writes every request into a log; its address and the log."""
    fetch_jars(("s3proxy",))
    settings = free_settings(folder / "s3")
    server, log = s3.service(settings), folder / "s3-requests.log"
    server.prepare()
    logback = settings.data_dir / "s3proxy" / "logback.xml"
    logback.write_text(s3.LOGBACK.replace("<root", LOG_REQUESTS))
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = s3_keys(settings)
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command, env={**os.environ, **server.env}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        while not server.is_healthy(process.pid):
            time.sleep(0.2)
        yield settings.endpoint, log
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    typer.run(main)
