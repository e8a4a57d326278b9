"""Looks at the rules now and then, and sends what is to be sent: threads of the worker service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from lakehouse.monitoring.book import Book
from lakehouse.monitoring.figures import Figures
from lakehouse.monitoring.sinks import NotSent, Sink, sinks
from lakehouse.runs.database import Database, RegistryAway
from lakehouse.runs.records import now
from lakehouse.settings import Settings

DELIVER_SECONDS = 1.0
log = structlog.get_logger()


class Watch:
    """One thread looks at the rules, and one per sink sends: a sink that hangs holds up nobody else."""

    def __init__(
        self, settings: Settings, database: Database, figures: Figures | None = None, told: Sequence[Sink] | None = None
    ) -> None:
        """Nothing starts yet."""
        self._seconds = settings.alert_seconds
        self._book = Book(settings, database)
        self._figures = figures or Figures(settings, database)
        self._sinks = list(sinks(settings) if told is None else told)
        self._ending = threading.Event()

    def start(self) -> None:
        """Begin; the first look comes after the time between two."""
        works: list[tuple[str, float, Callable[[], object]]] = [("alerts", self._seconds, self.look)]
        works += [(f"alerts-{sink.name}", DELIVER_SECONDS, partial(self.deliver, sink)) for sink in self._sinks]
        for name, pause, work in works:
            threading.Thread(target=self._again, args=(pause, work), name=name, daemon=True).start()

    def stop(self) -> None:
        """Begin nothing new. What is being sent may be sent once more by the next process, with the same id."""
        self._ending.set()

    def look(self) -> None:
        """Look at every rule once."""
        figures = self._figures.gather()
        self._book.note(figures, [sink.name for sink in self._sinks], now())

    def deliver(self, sink: Sink) -> None:
        """Send what is due to a sink."""
        while not self._ending.is_set() and (notice := self._book.take(sink.name, now())) is not None:
            try:
                sink.send(notice.message)
            except Exception as error:  # whatever a sink meets, the message is kept and tried again
                reason = str(error) if isinstance(error, NotSent) else f"{type(error).__name__}: {error}"
                again = self._book.not_sent(notice, reason, now())
                told = {"sink": sink.name, "alert": notice.message["alert"], "reason": reason}
                log.warning("alert not sent", **told, attempt=notice.attempts, again=again and again.isoformat())
            else:
                self._book.sent(notice, now())

    def _again(self, pause: float, work: Callable[[], object]) -> None:
        while not self._ending.wait(pause):
            try:
                work()
            except RegistryAway as error:
                log.warning("registry away", reason=str(error))
            except Exception:  # alerts have to go on, whatever one round of them met
                log.error("alerts failed", exc_info=True)
