"""Which of the parts that the lake needs answer now, for /readyz and for refusing a run that could not start."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from lakehouse import probes
from lakehouse.errors import ShoplakeError
from lakehouse.monitoring.figures import held_back
from lakehouse.reports import age, read_report
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings

KEPT_SECONDS = 1.0
STALE_SECONDS = 60.0
AWAY = "does not answer"
Probe = Callable[[], str | None]
"""Says what is wrong, or None when nothing is."""


class Readiness:
    """Asks the parts, all at once, and keeps the answers for a second: many may ask, each part is asked rarely."""

    def __init__(self, settings: Settings, registry: RunRegistry) -> None:
        self._settings, self._registry = settings, registry
        self._probes: dict[str, Probe] = {
            "database": self._database,
            "kafka": lambda: None if probes.kafka_answers(settings) else AWAY,
            "s3": lambda: None if probes.s3_answers(settings) else AWAY,
            "spark": lambda: None if probes.spark_answers(settings) else AWAY,
            "stream": lambda: self._reported("stream"),
            "worker": lambda: self._reported("worker"),
            "gate": self._gate,
        }
        self._kept: dict[str, tuple[float, str | None]] = {}
        self._locks = {name: threading.Lock() for name in self._probes}

    def all(self) -> dict[str, str | None]:
        """What is wrong with each part, None when nothing is. Takes at most a few seconds."""
        with ThreadPoolExecutor(len(self._probes)) as pool:
            return dict(zip(self._probes, pool.map(self.check, self._probes), strict=True))

    def check(self, part: str) -> str | None:
        """What is wrong with a part, as of a second ago at most; None when nothing is."""
        with self._locks[part]:
            at, wrong = self._kept.get(part, (-math.inf, None))
            if time.monotonic() - at > KEPT_SECONDS:
                wrong = self._probes[part]()
                self._kept[part] = (time.monotonic(), wrong)
            return wrong

    def _gate(self) -> str | None:
        """What it holds back, and why, by table; nothing before a publish."""
        try:
            return "; ".join(f"{table}: {why}" for table, why in held_back(self._settings).items()) or None
        except ShoplakeError:
            return None

    def _database(self) -> str | None:
        try:
            with self._registry.database.reading() as session:
                session.execute(sa.text("SELECT 1"))
        except ShoplakeError:
            return AWAY
        return None

    def _reported(self, name: str) -> str | None:
        """What is wrong with a process that says of itself how it is."""
        report = read_report(self._settings.run_dir / f"{name}.json")
        if not report:
            return "has not started"
        if report.get("state") not in ("running", "stopped"):
            return f"is {report.get('state')}"
        seconds = age(report)
        return f"was last heard of {seconds:.0f} s ago" if seconds > STALE_SECONDS else None
