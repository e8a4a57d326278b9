"""Which of the parts that the lake needs answer now, for /readyz and for refusing a run that could not start."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

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
T = TypeVar("T")
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
        }
        self._kept: dict[str, tuple[float, Any]] = {}
        self._locks = {name: threading.Lock() for name in (*self._probes, "gate")}

    def all(self) -> dict[str, str | None]:
        """What is wrong with each part, None when nothing is. Takes at most a few seconds."""
        with ThreadPoolExecutor(len(self._probes)) as pool:
            return dict(zip(self._probes, pool.map(self.check, self._probes), strict=True))

    def check(self, part: str) -> str | None:
        """What is wrong with a part, as of a second ago at most; None when nothing is."""
        return self._asked(part, self._probes[part])

    def held_back(self) -> dict[str, str]:
        """What the gate holds back, and why, by table; nothing before a publish."""
        return self._asked("gate", self._gate)

    def _asked(self, part: str, ask: Callable[[], T]) -> T:
        with self._locks[part]:
            at, answer = self._kept.get(part, (0.0, None))
            if time.monotonic() - at > KEPT_SECONDS or not at:
                answer = ask()
                self._kept[part] = (time.monotonic(), answer)
            return cast("T", answer)

    def _gate(self) -> dict[str, str]:
        try:
            return held_back(self._settings)
        except ShoplakeError:
            return {}

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
        if math.isinf(seconds):
            return "says nothing about itself"
        return f"was last heard of {seconds:.0f} s ago" if seconds > STALE_SECONDS else None
