"""Freshness as a reader sees it: the time from an event being produced until gold, read anew, counts it.

The current hour's figures in `gold.kpis_hourly` are polled; the n-th counted event became visible at the first poll
that shows at least n. When it was produced is in the producer's ledger. Between polls only the table's log is looked
at, which is one small request: who measures should not take what he measures away.
"""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from deltalake.exceptions import DeltaError

from gold import kpis
from lakehouse.delta_log import DeltaLog
from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables
from producer.record import Record

POLL_SECONDS = 0.1
_COUNTED = {
    "page_view": "page_views",
    "click": "clicks",
    "add_to_cart": "carts",
    "purchase": "purchases",
    "search": "searches",
}
"""Columns of gold.kpis_hourly by the type of event that they count."""


@dataclass(frozen=True)
class Freshness:
    """Seconds from produced to visible; None when nothing could be measured."""

    p50: float | None
    p99: float | None
    samples: int
    p95: float | None = None
    first: float | None = None
    """p50 of the sixth of the events that was produced first, and of the `last`: they differ where something grows."""
    last: float | None = None


class FreshnessProbe:
    """Polls gold in a thread between `start` and `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._seen: list[tuple[float, dict[int, int]]] = []

    def start(self) -> None:
        """Begin; returns after the first look, which is the base of counting."""
        self._thread.start()
        while not self._seen and self._thread.is_alive():
            time.sleep(0.05)

    def stop(self) -> None:
        """End polling."""
        self._end.set()
        self._thread.join(timeout=30)

    def result(self, records: Iterable[Record], ledger: Path) -> Freshness:
        """Percentiles over all events of `records` (sent after `start`, with this ledger) that gold counts."""
        produced = _produced(records, ledger)
        waits: list[float] = []
        for hour, times in sorted(produced.items()):
            base = self._seen[0][1].get(hour, 0) if self._seen else 0
            waits += self._waits(hour, base, times)
        if not waits:
            return Freshness(None, None, 0)
        sixth = max(len(waits) // 6, 1)
        first, last = (sorted(some)[len(some) // 2] for some in (waits[:sixth], waits[-sixth:]))
        waits.sort()
        p50, p95, p99 = (waits[int(len(waits) * share)] for share in (0.5, 0.95, 0.99))
        return Freshness(p50, p99, len(waits), p95, first, last)

    def _waits(self, hour: int, base: int, times: list[float]) -> list[float]:
        waits: list[float] = []
        for polled_at, counts in self._seen:
            visible = min(counts.get(hour, 0) - base, len(times))
            while len(waits) < visible:
                waits.append(max(0.0, polled_at - times[len(waits)]))
        return waits

    def _poll(self) -> None:
        log, gold, seen = DeltaLog(self._settings), SmallTables(self._settings), -1
        while not self._end.wait(POLL_SECONDS):
            try:
                version = log.version(kpis.TABLE)
                if version is None or version == seen:
                    continue
                today = datetime.now(UTC).date()
                rows = gold.read(kpis.TABLE, [today - timedelta(days=1), today]).to_pylist()
            except (ShoplakeError, BotoCoreError, ClientError, DeltaError):
                continue
            seen = version
            counts = {int(row["hour_start"].timestamp()): sum(row[name] for name in _COUNTED.values()) for row in rows}
            self._seen.append((time.time(), counts))


def _produced(records: Iterable[Record], ledger: Path) -> dict[int, list[float]]:
    """When the events that gold counts were produced, by clock hour (epoch seconds) of the event, ascending."""
    hour_of: dict[str, int] = {}
    for record in records:
        if record.reason is None and record.value is not None and record.event_id is not None:
            event = json.loads(record.value)
            if event["event_type"] in _COUNTED:
                moment = datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).astimezone(UTC)
                hour_of.setdefault(record.event_id, int(moment.timestamp()) // 3600 * 3600)
    produced: dict[int, list[float]] = {}
    for line in ledger.read_text().splitlines():
        entry = json.loads(line)
        hour = hour_of.pop(entry["event_id"] or "", None)
        if hour is not None and not entry.get("reason"):
            produced.setdefault(hour, []).append(entry["produced_at"] / 1000)
    return {hour: sorted(times) for hour, times in produced.items()}
