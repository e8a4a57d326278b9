"""How a backlog is caught up by clusters of one and of two workers: `python -m benchmarks.cluster`.

Weak scaling: each worker has one core, and two workers get twice the records. Ideal is the same time. The workers of
this benchmark share one machine with the driver, the broker and the S3 server, so that a machine of few cores shows
what a cluster costs, not what it gains; on a machine with cores to spare it shows both.
"""

import time
from typing import Annotated, Any

import typer

from benchmarks.figures import Figure, report
from benchmarks.traffic import history, send, started, stop_stream, wait_until_read
from lakehouse.settings import Settings
from lakehouse.stream import control as stream_control

WARM_UP_SHARE = 4


def main(
    events: Annotated[int, typer.Option(help="Records that wait, per worker.")] = 20_000,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/cluster.json."""
    figures, speed = [], {}
    for name, workers in (("no cluster", 0), ("1 worker", 1), ("2 workers", 2)):
        with started(spark_workers=workers, **_sizes(workers)) as (settings, say):
            say(name)
            _catch_up(settings, events // WARM_UP_SHARE, seed=1)
            waiting = events * max(workers, 1)
            seconds = _catch_up(settings, waiting, seed=2)
        speed[workers] = waiting / seconds
        figures.append(Figure(f"{name}: {waiting:,} waiting, all read after", seconds, "s"))
        figures.append(Figure(f"{name}: speed", speed[workers], "events/s"))
    figures.append(Figure("weak scaling, 2 workers", speed[2] / (2 * speed[1]) * 100, "% of ideal"))
    report("cluster", "python -m benchmarks.cluster", figures)


def _sizes(workers: int) -> dict[str, Any]:
    parallel = max(workers, 1)
    return {
        "spark_executor_cores": 1,
        "spark_executor_memory_mb": 1536,
        "spark_memory_mb": 2048,
        "spark_shuffle_partitions": parallel,
        "topic_partitions": 2,
    }


def _catch_up(settings: Settings, events: int, seed: int) -> float:
    """Let records wait, then let the stream have them: the seconds until it has read all of them."""
    stop_stream(settings)
    send(settings, history(events, days=1 / 24, seed=seed))
    stream_control.want(settings, "running")
    began = time.monotonic()
    wait_until_read(settings)
    return time.monotonic() - began


if __name__ == "__main__":
    typer.run(main)
