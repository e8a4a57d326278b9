"""Watches over the alerts, in this process and in others."""

import time
from functools import partial
from typing import Any

from lakehouse.monitoring import watch as watch_module
from lakehouse.monitoring.book import Book
from lakehouse.monitoring.figures import Figure
from lakehouse.monitoring.rules import RULES
from lakehouse.monitoring.sinks import Sink, to_webhook
from lakehouse.monitoring.watch import Watch
from lakehouse.runs.database import Database
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings


def seen(**values: float | None) -> dict[str, Figure]:
    """Figures in which nothing is wrong, but for the given ones."""
    quiet = {rule.figure: Figure(0) for rule in RULES}
    return quiet | {name: Figure(value, f"{name} is {value}") for name, value in values.items()}


class Seen:
    """Figures that are what somebody says."""

    def __init__(self, figures: dict[str, Figure]) -> None:
        self.figures, self.looks = figures, 0

    def gather(self) -> dict[str, Figure]:
        self.looks += 1
        return self.figures


def watch_over(settings: Settings, database: Database, figures: Seen, told: list[Any]) -> Watch:
    """A watch that looks at these figures twenty times a second."""
    return Watch(settings.model_copy(update={"alert_seconds": 0.05}), database, figures, told)  # type: ignore[arg-type]


def note_and_tell(settings: Settings, url: str, values: dict[str, float]) -> int:
    """Watch, beside others, until what is seen was told; how often this process has looked."""
    watch_module.TELL_SECONDS = 0.05
    figures, database = Seen(seen(**values)), RunRegistry(settings).database
    watch, book = (
        watch_over(settings, database, figures, [Sink("webhook", partial(to_webhook, url))]),
        Book(settings, database),
    )
    watch.start()
    end = time.monotonic() + 120
    while time.monotonic() < end:
        alert = book.alerts().get("run_failed")
        if alert is not None and alert.is_firing == bool(values) and not book.waiting():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    watch.stop()
    return figures.looks
