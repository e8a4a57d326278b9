"""The demo's live traffic: what it sends, how soon gold shows it, and a thief whose flag is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import psutil

from lakehouse.processes import lake_processes
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from lakehouse.sql_text import utc_text
from producer.contract import TOPIC_OF_TYPE
from producer.publish import publish
from producer.record import Record
from producer.sender import Counts
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions

TARGET = (2.0, 5.0)
"""Seconds from produced until gold and the book have it: half of the records, and 99 of 100."""
CARDS = 6
CARD_SECONDS = 1.5
THIEF_AFTER = 3.0
LOOK_SECONDS = 5.0
FRESHNESS = """
SELECT quantile_cont(seconds, 0.5) AS p50, quantile_cont(seconds, 0.99) AS p99, count(*) AS samples
FROM (SELECT epoch(committed_at - kafka_timestamp) AS seconds
    FROM silver.events
    JOIN (SELECT DISTINCT started_at, committed_at FROM ops.batches) ON started_at = processed_at
    WHERE event_date >= current_date - 1 AND processed_at >= TIMESTAMPTZ '{since}'
        AND kafka_timestamp >= TIMESTAMPTZ '{since}')
"""
"""Gold is written before the book: a batch that is in the book can be seen in gold."""
MEASURED_SECONDS = 120
"""So long back freshness is measured."""


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


@dataclass(frozen=True)
class Freshness:
    """Seconds from produced until gold and the book have it; None when nothing could be measured."""

    p50: float | None = None
    p99: float | None = None
    samples: int = 0


class Traffic:
    """Sends, beside whatever the block does, until the block ends or the duration of `options` is over."""

    def __init__(self, settings: Settings, options: SimulationOptions) -> None:
        self._settings, self._options = settings, options
        self._began = options.now_ms / 1000
        self._end = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="traffic")
        self._cpu = (0.0, 0.0, 0.0)
        self._next_look = 0.0
        self.thief: Thief | None = None
        self.caught: Thief | None = None
        """The last one whose flag was seen."""
        self.freshness = Freshness()
        """Of what was sent of late, as `measure` saw it last."""
        self.why = ""
        """What kept freshness from its target."""

    def __enter__(self) -> Traffic:
        """Begin."""
        self._cpu = _cpu_seconds(self._settings)
        self._sending = self._pool.submit(publish, self._all(), self._settings, live_from=self._began, stop=self._end)
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more."""
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
            self.thief = Thief(f"thief-{now * 1e6:.0f}", now)

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
            self.measure(reader)

    def measure(self, reader: SqlReader) -> None:
        """Look at freshness, and at what kept it from its target."""
        since = utc_text(datetime.fromtimestamp(max(self._began, time.time() - MEASURED_SECONDS), UTC))
        self.freshness = Freshness(**reader.query(FRESHNESS.format(since=since))[0])
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

    def _all(self) -> Iterator[Record]:
        with closing(simulate(self._options)) as records:
            next_card = self._began + THIEF_AFTER
            for record in records:
                if record.due >= self._began + THIEF_AFTER and self.thief is None:
                    self.try_cards()
                if self.thief is not None and self.thief.tried < CARDS and record.due >= next_card:
                    next_card = record.due + CARD_SECONDS
                    yield self.thief.card(record.due)
                yield record


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
