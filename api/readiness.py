"""Which of the parts that the lake needs answer now, for /readyz and for refusing a run that could not start."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from lakehouse.errors import ShoplakeError
from lakehouse.reports import age, read_report
from lakehouse.runs.registry import RunRegistry
from lakehouse.services import kafka
from lakehouse.services.service import PROBE_SECONDS, answers
from lakehouse.services.spark import HTTP2_PREFACE
from lakehouse.services.stream import stream_state
from lakehouse.settings import Settings

KEPT_SECONDS = 1.0
STALE_SECONDS = 60.0
AWAY = "does not answer"
Probe = Callable[[], str | None]
"""Says what is wrong, or None when nothing is."""


class Readiness:
    """Asks the parts, all at once, and keeps the answers for a second: many may ask, each part is asked rarely."""

    def __init__(self, settings: Settings, registry: RunRegistry) -> None:
        """Nothing is asked yet."""
        self._settings, self._registry = settings, registry
        self._probes: dict[str, Probe] = {
            "database": self._database,
            "kafka": lambda: None if kafka.is_reachable(settings) else AWAY,
            "s3": self._s3,
            "spark": self._spark,
            "stream": self._stream,
            "worker": self._worker,
        }
        self._kept: dict[str, tuple[float, str | None]] = {}
        self._locks = {name: threading.Lock() for name in self._probes}

    def missing(self) -> dict[str, str]:
        """The parts that are missing, with what is wrong. Takes at most a few seconds."""
        with ThreadPoolExecutor(len(self._probes)) as pool:
            found = dict(zip(self._probes, pool.map(self.check, self._probes), strict=True))
        return {name: wrong for name, wrong in found.items() if wrong}

    @property
    def parts(self) -> list[str]:
        """The names of all parts."""
        return list(self._probes)

    def check(self, part: str) -> str | None:
        """What is wrong with a part, as of a second ago at most; None when nothing is."""
        with self._locks[part]:
            at, wrong = self._kept.get(part, (0.0, None))
            if time.monotonic() - at > KEPT_SECONDS or not at:
                wrong = self._probes[part]()
                self._kept[part] = (time.monotonic(), wrong)
            return wrong

    def _database(self) -> str | None:
        try:
            with self._registry.database.reading() as session:
                session.execute(sa.text("SELECT 1"))
        except ShoplakeError:
            return AWAY
        return None

    def _s3(self) -> str | None:
        address = urlsplit(self._settings.endpoint or f"https://s3.{self._settings.s3_region}.amazonaws.com")
        return _connects(address.hostname or "", address.port or (443 if address.scheme == "https" else 80))

    def _spark(self) -> str | None:
        if self._settings.spark_is_embedded:
            return None if answers(self._settings.spark_port, HTTP2_PREFACE) else AWAY
        address = urlsplit(self._settings.remote.partition(";")[0])
        return _connects(address.hostname or "", address.port or 15002)

    def _stream(self) -> str | None:
        state = stream_state(self._settings)
        if not state:
            return "has not started"
        is_known = state.get("state") in ("running", "stopped")
        return _stale(state) if is_known else f"is {state.get('state')}"

    def _worker(self) -> str | None:
        state = read_report(self._settings.run_dir / "worker.json")
        if not state:
            return "has not started"
        return _stale(state) if state.get("state") == "running" else f"is {state.get('state')}"


def _connects(host: str, port: int) -> str | None:
    with contextlib.suppress(OSError), socket.create_connection((host, port), PROBE_SECONDS):
        return None
    return AWAY


def _stale(report: dict[str, Any]) -> str | None:
    seconds = age(report)
    if math.isinf(seconds):
        return "says nothing about itself"
    return f"was last heard of {seconds:.0f} s ago" if seconds > STALE_SECONDS else None
