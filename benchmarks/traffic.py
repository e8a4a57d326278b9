"""What the benchmarks share: a platform of their own, a shop's traffic, and what the platform makes of it."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from lakehouse.services.state import status
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream import control as stream_control
from lakehouse.stream.progress import behind, stream_state
from producer.publish import publish
from producer.simulator import SimulationOptions, simulate
from tests.support.platform import platform

DAY_MS = 86_400_000


@contextmanager
def started(*, stream: bool = True, **given: object) -> Iterator[tuple[Settings, Callable[[str], None]]]:
    """The settings of a platform that runs in a temporary folder, and what shows to a person what is under way."""
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="shoplake-bench-") as folder,
        console.status("Starting the platform") as now,
        platform(Path(folder), stream=stream, **given) as settings,
    ):
        yield settings, now.update if console.is_terminal else console.print


def history(events: int, *, days: float, seed: int, **shares: float) -> SimulationOptions:
    """About so many events, back-dated over some days that end now."""
    return _options(seed, history_ms=int(days * DAY_MS), history_events=events, **shares)


def live(rate: float, seconds: float, *, seed: int, **shares: float) -> SimulationOptions:
    """So many events a second, from now on."""
    return _options(seed, live=True, rate=rate, duration_s=seconds, **shares)


def _options(seed: int, **given: Any) -> SimulationOptions:
    return SimulationOptions(now_ms=int(time.time() * 1000), seed=seed, **given)


def send(settings: Settings, options: SimulationOptions) -> None:
    """Publish the events: live ones in step with the clock, a history at full speed."""
    publish(simulate(options), settings, live_from=options.now_ms / 1000 if options.live else None)


def wait_until_read(settings: Settings, look: Callable[[], None] = lambda: None) -> None:
    """Return when the stream has read all that is on the broker; `look` is called meanwhile."""
    with connect(settings) as reader:
        while True:
            look()
            if not behind(settings, reader):
                return
            time.sleep(0.5)


def last_batch(settings: Settings) -> int:
    """The newest micro-batch that is done; -1 before any."""
    with connect(settings) as reader:
        return int(reader.query("select coalesce(max(batch_id), -1) as last from ops.batches")[0]["last"])


def began(settings: Settings, after: int) -> float:
    """When the first micro-batch after that one began."""
    with connect(settings) as reader:
        rows = reader.query("select batch_id, epoch(started_at) as began from ops.batches")
    return min(float(row["began"]) for row in rows if row["batch_id"] > after)


def batch_seconds(settings: Settings, after: int) -> list[float]:
    """How long each micro-batch after that one took."""
    with connect(settings) as reader:
        rows = reader.query("select distinct batch_id, epoch(committed_at - started_at) as seconds from ops.batches")
    return [float(row["seconds"]) for row in rows if row["batch_id"] > after]


def stop_stream(settings: Settings) -> None:
    """Have no query run, so that records wait on the broker; returns when it has ended."""
    stream_control.want(settings, "stopped")
    while stream_state(settings).get("state") != "stopped":
        time.sleep(0.2)


def processor(settings: Settings) -> dict[str, float]:
    """Seconds of a processor that each part, with its children, has taken."""
    return {name: sum(_each(found, _processor)) for name, found in _parts(settings).items()}


def memory_gb(settings: Settings) -> float:
    """Resident memory of all parts and their children."""
    return sum(memory(settings).values())


def memory(settings: Settings) -> dict[str, float]:
    """Resident memory of each part with its children, in GB."""
    return {name: sum(_each(found, _memory)) / 2**30 for name, found in _parts(settings).items()}


def spent(process: psutil.Process) -> tuple[float, float]:
    """Seconds of a processor and GB that a process of the benchmark and its children have taken."""
    family = [process, *process.children(recursive=True)]
    return sum(_each(family, _processor)), sum(_each(family, _memory)) / 2**30


def _parts(settings: Settings) -> dict[str, list[psutil.Process]]:
    found = {}
    for name, part in status(settings).items():
        with contextlib.suppress(psutil.NoSuchProcess):
            if part.get("pid"):
                process = psutil.Process(part["pid"])
                found[name] = [process, *process.children(recursive=True)]
    return found


def _processor(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _memory(process: psutil.Process) -> float:
    return float(process.memory_info().rss)


def _each(processes: list[psutil.Process], figure: Callable[[psutil.Process], float]) -> Iterator[float]:
    """A figure of each process that is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield figure(process)
