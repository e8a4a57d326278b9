"""The stream's figures for /metrics, gathered in the background so that a scrape never waits for Kafka or S3."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lakehouse.errors import ShoplakeError
from lakehouse.monitoring.figures import BOOK
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.progress import lag, stream_state, unread_seconds
from quality.ledger import KINDS

KEPT_SECONDS = 15.0
FIRST_WAIT_SECONDS = 2.0
_REASONS = "SELECT reason_code, status, count(*) AS rows FROM silver.quarantine GROUP BY ALL"


@dataclass(frozen=True)
class StreamFigures:
    """What is known; what nobody could tell is None or empty. Times are seconds since 1970."""

    at: float
    state: str = "unknown"
    lag: int | None = None
    batch_seconds: float | None = None
    batch_rows: int | None = None
    state_bytes: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    committed_at: float | None = None
    quarantine: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def freshness(self) -> float | None:
        """See `unread_seconds`."""
        return unread_seconds(self.lag, self.committed_at)


class StreamWatch:
    """Gathers anew when asked for figures that are too old; hands out the last ones meanwhile."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is gathered before the first question."""
        self._settings = settings
        self._latest = StreamFigures(0.0)
        self._is_gathering = threading.Lock()
        self._has_first = threading.Event()
        self._reader: SqlReader | None = None

    def latest(self) -> StreamFigures:
        """The newest figures; only the first call waits for them, and not for long."""
        if time.time() - self._latest.at > KEPT_SECONDS and self._is_gathering.acquire(blocking=False):
            threading.Thread(target=self._gather, name="stream-figures", daemon=True).start()
        self._has_first.wait(FIRST_WAIT_SECONDS)
        return self._latest

    def _gather(self) -> None:
        try:
            told = stream_state(self._settings)
            batch = told.get("batch") or {}
            milliseconds = batch.get("duration_ms")
            self._latest = StreamFigures(
                at=time.time(),
                state=str(told.get("state", "down")),
                lag=lag(self._settings),
                batch_seconds=None if milliseconds is None else milliseconds / 1000,
                batch_rows=batch.get("rows"),
                state_bytes=self._state_bytes(),
                **self._from_tables(),
            )
        finally:
            self._has_first.set()
            self._is_gathering.release()

    def _from_tables(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with contextlib.suppress(ShoplakeError):
            self._reader = self._reader or connect(self._settings, self._settings.sql_memory_mb)
            book = self._reader.query(BOOK)[0]
            found["committed_at"] = book["committed_at"]
            found["rows"] = {layer: int(book[layer] or 0) for layer in KINDS}
        if self._reader is None:
            return found
        with contextlib.suppress(ShoplakeError):
            reasons = self._reader.query(_REASONS)
            found["quarantine"] = {(row["reason_code"], row["status"]): row["rows"] for row in reasons}
        return found

    def _state_bytes(self) -> int:
        """Size of the stream's checkpoint: offsets and, for stateful parts, their state."""
        total = 0
        for path in self._settings.checkpoints.rglob("*"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total


def age(moment: datetime) -> float:
    """Seconds since a moment."""
    return (datetime.now(UTC) - moment).total_seconds()
