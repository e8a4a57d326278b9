"""How a backlog is caught up by clusters of one and of two workers: `python -m benchmarks.cluster`.

Weak scaling: each worker has one core, and two workers get twice the records. Ideal is the same time. The workers of
this benchmark share one machine with the driver, the broker and the S3 server, so that a machine of few cores shows
what a cluster costs, not what it gains; on a machine with cores to spare it shows both.
"""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.figures import DAY_MS, RESULTS, Figure, write_figures
from lakehouse.services.testing import platform
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream import control as stream_control
from lakehouse.stream.progress import behind, stream_state
from producer.publish import publish
from producer.simulator import SimulationOptions, simulate

FILE = RESULTS / "cluster.json"
WARM_UP_SHARE = 4
CURVE_POINTS = (0.75, 0.5, 0.25, 0.0)
"""Shares of the backlog that are left, when the curve is read off."""


def main(
    events: Annotated[int, typer.Option(help="Records that wait, per worker.")] = 20_000,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/cluster.json."""
    console, figures = Console(), []
    for name, workers in (("no cluster", 0), ("1 worker", 1), ("2 workers", 2)):
        with (
            tempfile.TemporaryDirectory(prefix="shoplake-cluster-") as folder,
            console.status(f"Starting the platform: {name}"),
            platform(Path(folder), stream=True, spark_workers=workers, **_sizes(workers)) as settings,
        ):
            _catch_up(settings, events // WARM_UP_SHARE, seed=1)
            waiting = events * max(workers, 1)
            found = _read_off(_catch_up(settings, waiting, seed=2))
            for share, seconds in found.items():
                figures.append(Figure(f"{name}: {waiting:,} waiting, {share:.0%} left after", seconds, "s"))
            figures.append(Figure(f"{name}: speed", waiting / found[0.0], "events/s"))
        for figure in figures[-len(CURVE_POINTS) - 1 :]:
            console.print(f"{figure.name:<48} {figure.value:>10,.1f} {figure.unit}", highlight=False)
    speed = {figure.name: figure.value for figure in figures}
    efficiency = speed["2 workers: speed"] / (2 * speed["1 worker: speed"])
    figures.append(Figure("weak scaling, 2 workers", efficiency * 100, "% of ideal"))
    console.print(f"{figures[-1].name:<48} {figures[-1].value:>10,.1f} {figures[-1].unit}", highlight=False)
    write_figures(FILE, "python -m benchmarks.cluster", figures)


def _sizes(workers: int) -> dict[str, int]:
    parallel = max(workers, 1)
    return {
        "spark_executor_cores": 1,
        "spark_executor_memory_mb": 1536,
        "spark_memory_mb": 2048,
        "spark_shuffle_partitions": parallel,
        "topic_partitions": 2,
    }


def stop_stream(settings: Settings) -> None:
    """Have no query run, so that records wait on the broker; returns when it has ended."""
    stream_control.want(settings, "stopped")
    while stream_state(settings).get("state") != "stopped":
        time.sleep(0.2)


def _catch_up(settings: Settings, events: int, seed: int) -> list[tuple[float, int]]:
    """Let records wait, then let the stream have them: seconds since then, and how many still waited."""
    stop_stream(settings)
    options = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=seed, history_ms=DAY_MS // 24, history_events=events
    )
    publish(simulate(options), settings)
    with connect(settings) as reader:
        curve = [(0.0, behind(settings, reader))]
        stream_control.want(settings, "running")
        began = time.monotonic()
        while curve[-1][1]:
            time.sleep(0.5)
            curve.append((time.monotonic() - began, behind(settings, reader)))
    return curve


def _read_off(curve: list[tuple[float, int]]) -> dict[float, float]:
    """When so much of the backlog was left, in seconds; between two looks by their line."""
    waiting = curve[0][1]
    found = {}
    for share in CURVE_POINTS:
        left = share * waiting
        (t0, n0), (t1, n1) = next((a, b) for a, b in pairwise(curve) if b[1] <= left)
        found[share] = t1 if n0 == n1 else t0 + (t1 - t0) * (n0 - left) / (n0 - n1)
    return found


if __name__ == "__main__":
    typer.run(main)
