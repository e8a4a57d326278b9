"""The demo's live traffic: what it sends, how soon gold shows it, and a thief whose flag is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psutil

from lakehouse.monitoring.freshness import Freshness, FreshnessProbe
from lakehouse.processes import lake_processes
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from producer.contract import TOPIC_OF_TYPE
from producer.publish import publish
from producer.record import Record
from producer.sender import Counts
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions

TARGET = (2.0, 5.0)
"""Seconds from produced to visible in gold: half of the records, and 99 of 100."""
CARDS = 6
CARD_SECONDS = 1.5
THIEF_AFTER = 3.0
LOOK_SECONDS = 5.0
MEASURED_SECONDS = 120
"""Of open-ended traffic the first seconds are measured, the slowest there are."""


@dataclass
class Thief:
    """Somebody who tries stolen cards, within seconds: the simulator's fraud takes minutes."""

    user_id: str
    began: float
    tried: int = 0
    seconds: float | None = None
    """From the decisive payment until a reader saw the flag."""

    def card(self, at: float) -> Record:
        """The next card, tried at a moment (epoch seconds)."""
        self.tried += 1
        event_id = f"{self.user_id}-{self.tried}"
        paid = {"order_id": event_id, "total_amount": 1, "currency": "EUR", "payment_status": "declined"}
        event = {
            "event_id": event_id,
            "event_type": "purchase",
            "user_id": self.user_id,
            "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
            "data": {**paid, "card_fingerprint": f"{self.user_id}-card-{self.tried}"},
        }
        return Record(TOPIC_OF_TYPE["purchase"], self.user_id.encode(), orjson.dumps(event), at, event_id)


class Traffic:
    """Sends, beside whatever the block does, until the block ends or the duration of `options` is over."""

    def __init__(self, settings: Settings, options: SimulationOptions, ledger: Path) -> None:
        self._settings, self._options, self._ledger = settings, options, ledger
        self._began = options.now_ms / 1000
        self._records: list[Record] = []
        self._end = threading.Event()
        self._probe = FreshnessProbe(settings)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="traffic")
        self._cpu = (0.0, 0.0, 0.0)
        self._next_look = 0.0
        self.thief: Thief | None = None
        self.caught: Thief | None = None
        """The last one whose flag was seen."""
        self.freshness = Freshness(None, None, 0)
        """Of what was sent so far, as `look` saw it last."""
        self.why = ""
        """What kept freshness from its target."""

    def __enter__(self) -> Traffic:
        """Begin: first the look at gold that all others are compared with."""
        self._cpu = _cpu_seconds(self._settings)
        self._probe.start()
        self._sending = self._pool.submit(self._send)
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more; freshness is measured until `measured`."""
        self._end.set()
        self._pool.shutdown()

    @property
    def is_sent(self) -> bool:
        """Whether all is sent, or nothing more can be."""
        return self._sending.done()

    def wait(self) -> Counts:
        """What was sent, when all of it is."""
        return self._sending.result()

    def try_cards(self) -> None:
        """Let a thief begin, where none is at it."""
        if self.thief is None or self.thief.tried >= CARDS:
            now = time.time()
            self.thief = Thief(f"thief-{now * 1000:.0f}", now)

    def look_for_flag(self, reader: SqlReader) -> bool:
        """Whether the thief's flag can be read; the first time, how long it took is noted."""
        thief = self.thief
        if thief is None or thief.seconds is not None:
            return thief is not None
        found = reader.query(
            "SELECT epoch(event_time) AS at FROM gold.fraud_flags"  # noqa: S608 - the id is made here
            f" WHERE user_id = '{thief.user_id}' AND rule_id = 'card_testing' ORDER BY event_time LIMIT 1"
        )
        if found:
            thief.seconds, self.caught = time.time() - found[0]["at"], thief
        return bool(found)

    def look(self, reader: SqlReader) -> None:
        """Look for the flag, and now and then at freshness."""
        self.look_for_flag(reader)
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            with suppress(OSError, ValueError):  # the ledger is just being written
                self._judge()

    def measured(self) -> None:
        """Everything that was sent is read: look at freshness for the last time."""
        self._probe.stop()
        self._judge()

    def _judge(self) -> None:
        self.freshness = self._probe.result(list(self._records), self._ledger)
        self.why = self._why_slow()

    def _why_slow(self) -> str:
        """What kept this machine busy since the beginning, where freshness misses its target; else nothing."""
        if (self.freshness.p50 or 0) <= TARGET[0] and (self.freshness.p99 or 0) <= TARGET[1]:
            return ""
        total, busy, own = (now - then for now, then in zip(_cpu_seconds(self._settings), self._cpu, strict=True))
        others = max(0.0, busy - own) / max(total, 1e-9)
        if others > 0.2:
            return f"other programs took {others:.0%} of this machine's processors meanwhile"
        if busy > 0.75 * total:
            return "the lake had all processors busy; it is slowest in its first minutes"
        return f"the processors had time: look for slow micro-batches in {self._settings.logs / 'stream.log'}"

    def _send(self) -> Counts:
        return publish(self._all(), self._settings, ledger=self._ledger, live_from=self._began, stop=self._end)

    def _all(self) -> Iterator[Record]:
        with closing(simulate(self._options)) as records:
            next_card = self._began + THIEF_AFTER
            for record in records:
                if record.due >= self._began + THIEF_AFTER and self.thief is None:
                    self.try_cards()
                if self.thief is not None and self.thief.tried < CARDS and record.due >= next_card:
                    next_card = record.due + CARD_SECONDS
                    yield self._noted(self.thief.card(record.due))
                yield self._noted(record)

    def _noted(self, record: Record) -> Record:
        if record.due < self._began + MEASURED_SECONDS:
            self._records.append(record)
        return record


def _cpu_seconds(settings: Settings) -> tuple[float, float, float]:
    """Of all processors since they started: all seconds, the busy ones, and those of this lake."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    own = 0.0
    for process in (psutil.Process(), *lake_processes(settings)):
        try:
            used = process.cpu_times()
        except psutil.Error:
            continue
        own += used.user + used.system
    return sum(times[:8]), sum(times[:8]) - idle, own
