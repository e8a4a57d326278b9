"""What the demo takes, and how far it is: before it starts, and then one line per step with the time left."""

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lakehouse.services.doctor import memory_needed_mb
from lakehouse.services.jars import missing_jars
from lakehouse.settings import Settings

DISK_GB = 1
OWN_MB = 512
"""The demo's own process, and what loading the history takes for a while."""
FULLEST = 0.98
"""How far a bar goes while its step still runs."""


def what_it_takes(settings: Settings, seconds: float) -> str:
    """Minutes, memory and disk, and how much of them this machine has."""
    free = shutil.disk_usage(settings.data_dir).free / 2**30
    needed = (memory_needed_mb(settings) + OWN_MB) / 1024
    memory = f"{needed:.1f} GB of memory ({psutil.virtual_memory().available / 2**30:.1f} GB are free)"
    fetched = sum(jar.size for jar in missing_jars()) // 10**6
    first = f" The first start fetches {fetched} MB before that." if fetched else ""
    return (
        f"The demo takes about {max(1, round(seconds / 60))} minutes until its figures are there, {memory} and "
        f"{DISK_GB} GB of disk ({free:.0f} GB are free).{first} Ctrl-C ends it at any time."
    )


class Step:
    """One step under way. Its line never runs backwards, and is not full before the step has ended."""

    def __init__(self, what: str, seconds: float) -> None:
        """`seconds` is how long it takes where nothing else tells how far it is."""
        self.what = what
        self.done = what
        """What is said when it has ended."""
        self._expected = max(seconds, 1.0)
        self._began = time.monotonic()
        self._measured = 0.0
        self._share = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def at(self, share: float) -> None:
        """So much of it is done, from 0 to 1."""
        self._measured = share

    def share(self) -> float:
        """How far the bar is: as measured, or by the time that such a step takes."""
        by_time = 1 - math.exp(-1.5 * self.elapsed / self._expected)
        self._share = max(self._share, min(max(self._measured, by_time), FULLEST))
        return self._share

    def left(self) -> str:
        """How long it will still take."""
        if self._measured > 0.1:
            seconds = self.elapsed * (1 - min(self._measured, FULLEST)) / self._measured
        else:
            seconds = self._expected - self.elapsed
        return f"about {seconds:.0f} s left" if seconds >= 1 else "longer than usual"

    def line(self, number: int, of: int) -> RenderableType:
        """The step as one line of a terminal."""
        line = Table.grid(padding=(0, 1))
        said = Text(f"{number}/{of} {self.what}", no_wrap=True, overflow="ellipsis")
        line.add_row(said, ProgressBar(1.0, self.share(), width=20), f"{self.elapsed:.0f} s, {self.left()}")
        return line


class Steps:
    """The steps of the demo, each with the seconds that it takes on two free cores."""

    def __init__(self, console: Console, expected: Mapping[str, float]) -> None:
        self._console = console
        self._expected = expected
        self._slower = 1.0

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Show how far the step is while the block runs, and how long it took when it has ended.

        A machine that took twice as long for one step is expected to for the next.
        """
        number = list(self._expected).index(what) + 1
        step = Step(what, self._expected[what] * self._slower)

        def line() -> RenderableType:
            return step.line(number, len(self._expected))

        if self._console.is_terminal:
            with Live(console=self._console, get_renderable=line, transient=True, refresh_per_second=4):
                yield step
        else:
            yield step
        self._slower = max(1.0, step.elapsed / self._expected[what])
        self._console.print(f"[green]✓[/] {step.done} in {step.elapsed:.0f} s")
