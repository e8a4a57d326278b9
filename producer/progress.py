"""What a person sees while records are published, and the signals that end it."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from producer.publish import Observer
from producer.sender import Counts


def summary(counts: Counts) -> str:
    """The one line that says what happened."""
    text = (
        f"{counts.sent:,} records sent, {counts.acked:,} acknowledged in {counts.seconds:.1f} s ({counts.rate:,.0f}/s)"
    )
    if counts.failed:
        text += f", {counts.failed:,} refused"
    if counts.unacknowledged:
        text += f", {counts.unacknowledged:,} not acknowledged"
    return text + "."


@contextmanager
def progress(address: str, total: int | None) -> Iterator[Observer]:
    """An observer for `publish`: a bar on a terminal, and a message whenever Kafka goes away or comes back."""
    console = Console(stderr=True)
    said = TextColumn("{task.description}")
    bar = Progress(
        SpinnerColumn(), said, BarColumn(), TimeElapsedColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip
    task, before = bar.add_task("Publishing", total=total), Counts()

    def observe(counts: Counts) -> None:
        nonlocal before
        if counts.waiting != before.waiting:
            text = (
                "does not answer; is the platform running? Waiting for it (Ctrl-C ends)."
                if counts.waiting
                else "answers."
            )
            console.print(f"Kafka at {address} {text}", highlight=False)
        passed = counts.seconds - before.seconds
        rate = (counts.acked - before.acked) / passed if passed > 0 else 0.0
        told = f"{counts.sent:,} sent · {counts.acked:,} acknowledged · {rate:,.0f}/s"
        bar.update(task, completed=counts.acked, description=told)
        before = counts

    with bar:
        yield observe


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; the second Ctrl-C ends at once."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        sys.stderr.write("\nEnding; what is under way is still flushed.\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
