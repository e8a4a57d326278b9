"""Looks at rules and deliveries that run in processes of their own."""

from __future__ import annotations

from datetime import datetime

from lakehouse.monitoring.book import Book
from lakehouse.monitoring.figures import Figure
from lakehouse.monitoring.rules import RULES
from lakehouse.monitoring.sinks import WebhookSink
from lakehouse.monitoring.watch import Watch
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings


def seen(**values: float | None) -> dict[str, Figure]:
    """Figures in which nothing is wrong, but for the given ones."""
    quiet = {rule.figure: Figure(0) for rule in RULES}
    return quiet | {name: Figure(value, f"{name} is {value}") for name, value in values.items()}


def note_and_deliver(settings: Settings, url: str, moments: list[datetime], values: dict[str, float]) -> int:
    """How many changes this process made, looking at each moment and sending after each."""
    database = RunRegistry(settings).database
    sink = WebhookSink(url)
    watch = Watch(settings, database, told=[sink])
    changes = 0
    for moment in moments:
        changes += len(Book(settings, database).note(seen(**values), [sink.name], moment))
        watch.deliver(sink)
    return changes
