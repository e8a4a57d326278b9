"""Looks at the rules now and then, and tells what has changed: threads of the worker service."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from lakehouse.errors import UsageError
from lakehouse.lock import Lock
from lakehouse.monitoring.book import Book
from lakehouse.monitoring.figures import Figures
from lakehouse.monitoring.sinks import Message, NotSent, Sink, sinks
from lakehouse.runs.database import Database, RegistryAway
from lakehouse.runs.models import now
from lakehouse.settings import Settings

TELL_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
log = structlog.get_logger()


class Watch:
    """One thread looks at the rules, and one per sink tells it: a sink that hangs holds up nobody else.

    Of several worker services of a lake one looks and tells; another takes over when it has gone.
    """

    def __init__(
        self, settings: Settings, database: Database, figures: Figures | None = None, told: Sequence[Sink] | None = None
    ) -> None:
        self._seconds = settings.alert_seconds
        self._book = Book(settings, database)
        self._figures = figures or Figures(settings, database)
        self._sinks = list(sinks(settings) if told is None else told)
        self._lock = Lock(settings, settings.run_dir / "alerts.lock", "Another worker service watches.")
        self._is_ours = False
        self._ending = threading.Event()

    def start(self) -> None:
        """Begin; the first look comes after the time between two."""
        works: list[tuple[str, float, Callable[[float], float]]] = [("alerts", self._seconds, self.look)]
        works += [(f"alerts-{sink.name}", TELL_SECONDS, partial(self.tell, sink)) for sink in self._sinks]
        for name, pause, work in works:
            threading.Thread(target=self._again, args=(pause, work), name=name, daemon=True).start()

    def stop(self) -> None:
        """Begin nothing new. What is being sent may be sent once more by the next process, with the same id."""
        self._ending.set()
        self._lock.release()

    def look(self, pause: float) -> float:
        """Look at every rule once, unless another process does; the pause until the next look."""
        if not self._is_ours:
            try:
                self._lock.acquire()
            except UsageError:
                return pause
            self._is_ours = True
        self._book.note(self._figures.gather(), [sink.name for sink in self._sinks], now())
        return pause

    def tell(self, sink: Sink, pause: float) -> float:
        """Tell a sink what it has not taken yet; the pause until the next time, longer while it takes nothing."""
        told = [self._has_told(sink, one) for one in self._book.untold(sink.name)] if self._is_ours else []
        return TELL_SECONDS if all(told) else min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _has_told(self, sink: Sink, message: Message) -> bool:
        try:
            sink.send(message)
        except Exception as error:  # whatever a sink meets, it is tried again
            reason = str(error) if isinstance(error, NotSent) else f"{type(error).__name__}: {error}"
            log.warning("alert not sent", sink=sink.name, alert=message["alert"], reason=reason)
            return False
        self._book.taken(sink.name, message)
        return True

    def _again(self, pause: float, work: Callable[[float], float]) -> None:
        while not self._ending.wait(pause):
            try:
                pause = work(pause)
            except RegistryAway as error:
                log.warning("registry away", reason=str(error))
            except Exception:  # alerts have to go on, whatever one round of them met
                log.error("alerts failed", exc_info=True)
