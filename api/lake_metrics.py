"""What /metrics tells of the lake: how far the stream is, and whether its figures can be trusted."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from lakehouse.errors import ShoplakeError
from lakehouse.monitoring.figures import BOOK
from lakehouse.reports import read_report
from lakehouse.serving.file import PUBLISHED, names_in, open_serving, rows_of
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.progress import lag, stream_state, unread_seconds
from quality.ledger import BOOKED
from quality.results import NEWEST

KEPT_SECONDS = 15.0
FIRST_WAIT_SECONDS = 2.0
_REASONS = "SELECT reason_code, status, count(*) AS rows FROM silver.quarantine GROUP BY ALL"
_BY_RESULT = f"""{NEWEST}
SELECT table_name, severity, success, count(*) AS expectations, epoch(max(checked_at)) AS checked_at
FROM newest GROUP BY ALL
"""  # noqa: S608 - the text is declared in this project
_UNACCOUNTED = "SELECT coalesce(sum(unaccounted), 0)::BIGINT AS records FROM ops.recent_batches"
_LEDGER = """
SELECT is_balanced, epoch(checked_at) AS checked_at FROM ops.ledger_results ORDER BY checked_at DESC LIMIT 1
"""


def gauge(name: str, text: str, value: float | Mapping[Any, float] | None, labels: tuple[str, ...] = ()) -> Metric:
    """A figure, or one per tuple of labels; without any sample when it is None."""
    values = value if isinstance(value, Mapping) else {(): value}
    found = GaugeMetricFamily(f"shoplake_{name}", text, labels=labels)
    for names, one in values.items():
        if one is not None:
            found.add_metric(names, one)
    return found


class LakeMetrics:
    """The figures of one lake. A scrape never waits for Kafka or S3: the stream's are gathered in the background."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stream: list[Metric] = []
        self._gathered_at = 0.0
        self._is_gathering, self._has_first = threading.Lock(), threading.Event()
        self._reader: SqlReader | None = None

    def of_stream(self) -> list[Metric]:
        """The stream's newest figures; only the first call waits for them, and not for long."""
        if time.time() - self._gathered_at > KEPT_SECONDS and self._is_gathering.acquire(blocking=False):
            threading.Thread(target=self._gather, name="stream-figures", daemon=True).start()
        self._has_first.wait(FIRST_WAIT_SECONDS)
        return self._stream

    def _gather(self) -> None:
        try:
            self._stream = [*self._from_reports(), *self._from_tables()]
        finally:
            self._gathered_at = time.time()
            self._has_first.set()
            self._is_gathering.release()

    def _from_reports(self) -> Iterator[Metric]:
        told = stream_state(self._settings)
        state, batch = str(told.get("state", "down")), told.get("batch") or {}
        took = batch.get("duration_ms")
        yield gauge("stream_up", "Whether the stream runs.", {(state,): state == "running"}, ("state",))
        yield gauge("stream_batch_seconds", "Duration of the newest batch.", took and took / 1000)
        yield gauge("stream_batch_rows", "Rows of the newest batch.", batch.get("rows"))
        yield gauge("stream_figures_timestamp_seconds", "When these figures were gathered.", time.time())

    def _from_tables(self) -> Iterator[Metric]:
        records, committed_at = lag(self._settings), None
        yield gauge("stream_lag_records", "Records on the broker that the stream has not read.", records)
        with contextlib.suppress(ShoplakeError):
            self._reader = self._reader or connect(self._settings, self._settings.sql_memory_mb)
            book = self._reader.query(BOOK)[0]
            committed_at = book["committed_at"]
            rows = {(layer,): int(book[layer] or 0) for layer in BOOKED}
            yield gauge("rows", "Rows per layer by the stream's book.", rows, ("layer",))
            refused = {(row["reason_code"], row["status"]): row["rows"] for row in self._reader.query(_REASONS)}
            yield gauge("quarantine_rows", "Refused records.", refused, ("reason", "status"))
        yield gauge("stream_committed_timestamp_seconds", "When the newest batch was done.", committed_at)
        fresh = "Records older than this are in the tables; 0 when none waits."
        yield gauge("stream_freshness_seconds", fresh, unread_seconds(records, committed_at))

    def of_gate(self) -> Iterator[Metric]:
        """The gate, the newest results of quality and reconcile, and what is not accounted for: the serving file's."""
        took = read_report(self._settings.run_dir / "publisher.json").get("audit_seconds")
        yield gauge("publish_audit_seconds", "What the gate took in the last publish.", took)
        with open_serving(self._settings.serving_file) as serving:
            tables = rows_of(serving, f"FROM {PUBLISHED} ORDER BY table_name")
            results = rows_of(serving, _BY_RESULT)
            (unaccounted,) = rows_of(serving, _UNACCOUNTED)
            ledger = rows_of(serving, _LEDGER)
        for name, column, text in (
            ("gate_blocked", "blocked_by", "1 for a table that keeps its last good version."),
            ("gate_let_through", "let_through", "1 for a table published by an override."),
        ):
            by_name = {(row["table_name"], why): 1 for row in tables for why in names_in(row.get(column))}
            yield gauge(name, text, by_name, ("table", "expectation"))
        held = {(row["table_name"],): row["held_rows"] for row in tables if row.get("held_rows")}
        yield gauge("gate_held_rows", "Rows that fail a check and are not published.", held, ("table",))
        checks = {
            (row["table_name"], row["severity"], "passed" if row["success"] else "failed"): row["expectations"]
            for row in results
        }
        text = "Expectations by their newest result."
        yield gauge("quality_expectations", text, checks, ("table", "severity", "result"))
        newest = max((row["checked_at"] for row in results), default=None)
        yield gauge("quality_timestamp_seconds", "When the newest result was found.", newest)
        text = "Records of the last two days in neither silver, duplicates nor quarantine: must be 0."
        yield gauge("ledger_unaccounted_records", text, unaccounted["records"])
        for row in ledger:
            text = "Whether the newest run of reconcile that could tell found that the books balance."
            yield gauge("ledger_balanced", text, row["is_balanced"])
            yield gauge("ledger_timestamp_seconds", "When that run looked.", row["checked_at"])
