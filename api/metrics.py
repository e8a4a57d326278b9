"""/metrics in Prometheus form: runs, the queue, this API's latency, the stream, the gate and the ledger."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.stream_figures import StreamFigures, StreamWatch, age
from api.trust_figures import TrustCollector
from lakehouse.errors import ShoplakeError
from lakehouse.monitoring.book import Book
from lakehouse.monitoring.rules import RULES
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.settings import Settings

_LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RUN_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_OVERLAP = timedelta(seconds=10)
"""Runs that ended shortly before the last look are looked at again: their transaction may have been under way."""
_REMEMBERED = 10_000


class Metrics:
    """The metrics of one API process. Run durations are counted from the process's start on."""

    def __init__(self, settings: Settings, runs: RunRegistry) -> None:
        """Nothing is read before the first scrape."""
        self._registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.latency = Histogram(
            "shoplake_api_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("method", "route", "status"),
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_RunsCollector(runs))
        self._registry.register(_AlertsCollector(settings, runs))
        self._registry.register(_StreamCollector(StreamWatch(settings)))
        self._registry.register(TrustCollector(settings, runs))
        self._durations = _Durations(runs, self._registry)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        self._durations.update()
        return generate_latest(self._registry)


class _Durations:
    """Feeds the histogram of run durations with runs that ended since the last look, each once."""

    def __init__(self, runs: RunRegistry, registry: CollectorRegistry) -> None:
        self._runs = runs
        self._since = datetime.now(UTC)
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()
        self._histogram = Histogram(
            "shoplake_run_duration_seconds",
            "Time from start to end of the runs that ended while this process ran.",
            ("job", "state"),
            buckets=_RUN_BUCKETS,
            registry=registry,
        )

    def update(self) -> None:
        """Look once. A database that is away changes nothing."""
        with self._lock:
            try:
                ended = self._ended()
            except ShoplakeError:
                return
            for run_id, job, state, started_at, finished_at in ended:
                if run_id not in self._seen and started_at is not None:
                    self._histogram.labels(job, state).observe((finished_at - started_at).total_seconds())
                    self._seen.append(run_id)
                self._since = max(self._since, finished_at)

    def _ended(self) -> list[tuple[str, str, str, datetime | None, datetime]]:
        query = (
            sa.select(Run.id, Run.job, Run.state, Run.started_at, Run.finished_at)
            .where(Run.finished_at > self._since - _OVERLAP)
            .order_by(Run.finished_at)
            .limit(_REMEMBERED // 2)
        )
        with self._runs.database.reading() as session:
            return [(*row,) for row in session.execute(query)]  # type: ignore[misc]  # the condition sees to finished_at


class _RunsCollector(Collector):
    def __init__(self, runs: RunRegistry) -> None:
        self._runs = runs

    def collect(self) -> Iterable[Metric]:
        runs = GaugeMetricFamily("shoplake_runs", "Runs in the registry.", labels=("job", "state"))
        queued = GaugeMetricFamily("shoplake_queue_runs", "Runs that wait.")
        oldest = GaugeMetricFamily("shoplake_queue_oldest_seconds", "How long the oldest waiting run has waited.")
        database = GaugeMetricFamily("shoplake_database_up", "Whether the registry's database answers.")
        try:
            counts, since = self._runs.counts(), self._oldest()
        except ShoplakeError:
            database.add_metric((), 0)
            return [database]
        database.add_metric((), 1)
        for (job, state), count in counts.items():
            runs.add_metric((job, str(state)), count)
        queued.add_metric((), sum(count for (_, state), count in counts.items() if state == State.queued))
        oldest.add_metric((), age(since) if since else 0)
        return [database, runs, queued, oldest]

    def _oldest(self) -> datetime | None:
        query = sa.select(sa.func.min(Run.created_at)).where(Run.state == State.queued)
        with self._runs.database.reading() as session:
            return session.scalar(query)


class _AlertsCollector(Collector):
    def __init__(self, settings: Settings, runs: RunRegistry) -> None:
        self._book = Book(settings, runs.database)

    def collect(self) -> Iterable[Metric]:
        firing = GaugeMetricFamily("shoplake_alert_firing", "Whether a rule fires.", labels=("alert", "severity"))
        looked = GaugeMetricFamily("shoplake_alerts_looked_timestamp_seconds", "When the rules were looked at last.")
        waiting = GaugeMetricFamily("shoplake_alert_messages_waiting", "Messages to be sent.", labels=("sink",))
        try:
            alerts, messages = self._book.alerts(), self._book.waiting()
        except ShoplakeError:
            return []
        for rule in RULES:
            if rule.name in alerts:
                firing.add_metric((rule.name, rule.severity), int(alerts[rule.name].is_firing))
        if alerts:
            looked.add_metric((), max(alert.looked_at.timestamp() for alert in alerts.values()))
        for sink, count in messages.items():
            waiting.add_metric((sink,), count)
        return [firing, looked, waiting]


class _StreamCollector(Collector):
    def __init__(self, watch: StreamWatch) -> None:
        self._watch = watch

    def describe(self) -> Iterable[Metric]:
        return []  # the names are known without gathering figures

    def collect(self) -> Iterable[Metric]:
        figures = self._watch.latest()
        state = GaugeMetricFamily("shoplake_stream_up", "Whether the stream runs.", labels=("state",))
        state.add_metric((figures.state,), int(figures.state == "running"))
        rows = GaugeMetricFamily("shoplake_rows", "Rows per layer by the stream's book.", labels=("layer",))
        for layer, count in figures.rows.items():
            rows.add_metric((layer,), count)
        reasons = GaugeMetricFamily("shoplake_quarantine_rows", "Refused records.", labels=("reason", "status"))
        for labels, count in figures.quarantine.items():
            reasons.add_metric(labels, count)
        return [state, rows, reasons, *_single(figures)]


def _single(figures: StreamFigures) -> Iterable[Metric]:
    known = {
        "shoplake_stream_lag_records": ("Records on the broker that the stream has not read.", figures.lag),
        "shoplake_stream_freshness_seconds": (
            "Records older than this are in the tables; 0 when none waits.",
            figures.freshness,
        ),
        "shoplake_stream_committed_timestamp_seconds": ("When the newest batch was done.", figures.committed_at),
        "shoplake_stream_batch_seconds": ("Duration of the newest batch.", figures.batch_seconds),
        "shoplake_stream_batch_rows": ("Rows of the newest batch.", figures.batch_rows),
        "shoplake_stream_state_bytes": ("Size of the stream's checkpoint and state.", figures.state_bytes),
        "shoplake_stream_figures_timestamp_seconds": ("When these figures were gathered.", figures.at),
    }
    for name, (text, value) in known.items():
        if value is not None:
            yield GaugeMetricFamily(name, text, value)
