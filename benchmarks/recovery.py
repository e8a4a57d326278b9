"""How long each part is gone after kill -9: `python -m benchmarks.recovery`.

Per part: from the kill until every record sent before and after it is in the book (stream, Spark, S3, Kafka), or until
the part answers again (worker, publisher, API). That nothing is lost or doubled is what tests/e2e/shop/test_crashes.py
checks; here only the clock counts. `docs/explanation/fault-tolerance.md` quotes the result.
"""

import os
import signal
import time
from typing import Annotated

import tenacity
import typer

from benchmarks.figures import Figure, report
from benchmarks.traffic import live, send, started, wait_until_read
from lakehouse.errors import ShoplakeError
from lakehouse.services.state import status
from lakehouse.settings import Settings

ON_THE_WAY = ("stream", "spark", "s3", "kafka")
BESIDE_IT = ("worker", "publisher", "api")
RATE, SECONDS_BEFORE, SECONDS_AFTER = 50.0, 20, 3
patiently = tenacity.Retrying(wait=tenacity.wait_fixed(0.2), retry=tenacity.retry_if_exception_type(ShoplakeError))
"""Kafka or S3 is away, which is the point."""


def main(
    kills: Annotated[int, typer.Option(help="How often each part is killed.")] = 2,
) -> None:
    """Kill each part, print how long it was gone, and write it into benchmarks/results/recovery.json."""
    figures = []
    with started() as (settings, say):
        _send(settings, 30)
        for part in (*ON_THE_WAY, *BESIDE_IT):
            say(f"kill -9 of {part}")
            took = [_seconds(settings, part) for _ in range(kills)]
            figures.append(Figure(f"kill -9 of {part}", max(took), "s"))
    report("recovery", "python -m benchmarks.recovery", figures)


def _seconds(settings: Settings, part: str) -> float:
    """Seconds from the kill until the part does its work again."""
    _send(settings, SECONDS_BEFORE)
    pid = status(settings)[part]["pid"]
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    if part in ON_THE_WAY:
        _send(settings, SECONDS_AFTER)
        return time.monotonic() - began
    while (now := status(settings)[part])["state"] != "up" or now["pid"] in (None, pid):
        time.sleep(0.1)
    return time.monotonic() - began


def _send(settings: Settings, seconds: int) -> None:
    """Live traffic for some seconds, sent again while the broker is away, and read to its end."""
    options = live(RATE, seconds, seed=int(time.time()))
    patiently(lambda: send(settings, options))
    patiently(lambda: wait_until_read(settings))


if __name__ == "__main__":
    typer.run(main)
