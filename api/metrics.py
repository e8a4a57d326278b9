"""/metrics in Prometheus form: runs, the queue, this API's latency, alerts, how far the stream is, and whether its
figures can be trusted."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lakehouse.errors import ShoplakeError
from lakehouse.monitoring.book import Book
from lakehouse.monitoring.figures import BOOK, newest_runs
from lakehouse.monitoring.rules import RULES
from lakehouse.reports import read_report
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.serving.file import PUBLISHED, names_in, open_serving, rows_of
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.progress import lag, stream_state, unread_seconds
from quality.ledger import BOOKED
from quality.results import NEWEST

_LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
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


class Metrics(Collector):
    """The metrics of one API process. A scrape never waits for Kafka or S3: what is asked of them is gathered in the
    background."""

    def __init__(self, settings: Settings, runs: RunRegistry) -> None:
        self._registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.latency = Histogram(
            "shoplake_api_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("method", "route", "status"),
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._settings, self._runs, self._book = settings, runs, Book(settings, runs.database)
        self._stream: list[Metric] = []
        self._gathered_at = 0.0
        self._is_gathering, self._has_first = threading.Lock(), threading.Event()
        self._reader: SqlReader | None = None
        self._gathers = (self._of_runs, self._of_alerts, self._of_stream, self._of_gate)
        self._registry.register(self)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All figures of now; what nobody can tell is left out."""
        for gather in self._gathers:
            with contextlib.suppress(ShoplakeError, duckdb.Error):
                yield from (metric for metric in gather() if metric.samples)

    def _of_runs(self) -> Iterator[Metric]:
        queued = sa.select(sa.func.count(), sa.func.min(Run.created_at)).where(Run.state == State.queued)
        text = "Whether the registry's database answers."
        try:
            counts, newest = self._runs.counts(), newest_runs(self._runs.database)
            with self._runs.database.reading() as session:
                waiting, since = session.execute(queued).one()
        except ShoplakeError:
            yield gauge("database_up", text, 0)
            return
        yield gauge("database_up", text, 1)
        yield gauge("runs", "Runs in the registry.", counts, ("job", "state"))
        took = {
            (run.job, run.state): (run.finished_at - run.started_at).total_seconds()
            for run in newest
            if run.started_at and run.finished_at
        }
        yield gauge("run_seconds", "How long the newest run of a job took that has ended.", took, ("job", "state"))
        yield gauge("queue_runs", "Runs that wait.", waiting)
        age = (datetime.now(UTC) - since).total_seconds() if since else 0
        yield gauge("queue_oldest_seconds", "How long the oldest waiting run has waited.", age)

    def _of_alerts(self) -> Iterator[Metric]:
        alerts, messages = self._book.alerts(), self._book.waiting()
        firing = {(one.name, one.severity): alerts[one.name].is_firing for one in RULES if one.name in alerts}
        yield gauge("alert_firing", "Whether a rule fires.", firing, ("alert", "severity"))
        looked = max((alert.looked_at.timestamp() for alert in alerts.values()), default=None)
        yield gauge("alerts_looked_timestamp_seconds", "When the rules were looked at last.", looked)
        waiting = {(sink,): count for sink, count in messages.items()}
        yield gauge("alert_messages_waiting", "Messages to be sent.", waiting, ("sink",))

    def _of_stream(self) -> list[Metric]:
        """The stream's newest figures; only the first call waits for them, and not for long."""
        if time.time() - self._gathered_at > KEPT_SECONDS and self._is_gathering.acquire(blocking=False):
            threading.Thread(target=self._gather, name="stream-figures", daemon=True).start()
        self._has_first.wait(FIRST_WAIT_SECONDS)
        return self._stream

    def _gather(self) -> None:
        try:
            self._stream = list(self._figures_of_stream())
        finally:
            self._gathered_at = time.time()
            self._has_first.set()
            self._is_gathering.release()

    def _figures_of_stream(self) -> Iterator[Metric]:
        """By its own report, by Kafka, and by the tables."""
        told = stream_state(self._settings)
        state, batch = str(told.get("state", "down")), told.get("batch") or {}
        took = batch.get("duration_ms")
        yield gauge("stream_up", "Whether the stream runs.", {(state,): state == "running"}, ("state",))
        yield gauge("stream_batch_seconds", "Duration of the newest batch.", took and took / 1000)
        yield gauge("stream_batch_rows", "Rows of the newest batch.", batch.get("rows"))
        yield gauge("stream_figures_timestamp_seconds", "When these figures were gathered.", time.time())
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

    def _of_gate(self) -> Iterator[Metric]:
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
