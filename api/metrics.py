"""/metrics in Prometheus form: runs, the queue, this API's latency, alerts, the stream, the gate and the ledger."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import duckdb
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from api.lake_metrics import LakeMetrics, gauge
from lakehouse.errors import ShoplakeError
from lakehouse.jobs import reconcile
from lakehouse.monitoring.book import Book
from lakehouse.monitoring.figures import is_unbalanced
from lakehouse.monitoring.rules import RULES
from lakehouse.runs.models import Run, RunEvent
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import TERMINAL, State
from lakehouse.settings import Settings

_LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RUN_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_RUNS_LOOKED_AT = 20
"""A run that failed for another reason, such as an unreachable Kafka, tells nothing of the books."""
Gather = Callable[[], Iterable[Metric]]


class Metrics:
    """The metrics of one API process. Run durations are counted from its first scrape on."""

    def __init__(self, settings: Settings, runs: RunRegistry) -> None:
        """`runs` are read at each scrape, the stream's figures in the background."""
        self._registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.latency = self._histogram(
            "shoplake_api_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("method", "route", "status"),
            _LATENCY_BUCKETS,
        )
        self._durations = self._histogram(
            "shoplake_run_duration_seconds",
            "Time from start to end of the runs that ended while this process ran.",
            ("job", "state"),
            _RUN_BUCKETS,
        )
        self._runs, self._book, lake = runs, Book(settings, runs.database), LakeMetrics(settings)
        self._seen: int | None = None
        self._lock = threading.Lock()
        for gather in (self._of_runs, self._of_alerts, self._of_ledger, lake.of_stream, lake.of_gate):
            self._registry.register(_Collector(gather))

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        with self._lock, contextlib.suppress(ShoplakeError):
            self._count_durations()
        return generate_latest(self._registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def _count_durations(self) -> None:
        """Of the runs that ended since the last look, each once: events are numbered in the order of their commits."""
        newest = sa.select(sa.func.max(RunEvent.seq))
        ended = (
            sa.select(Run, RunEvent.seq)
            .join(RunEvent, RunEvent.run_id == Run.id)
            .where(RunEvent.kind == "state", RunEvent.state.in_(sorted(TERMINAL)), RunEvent.seq > (self._seen or 0))
            .order_by(RunEvent.seq)
        )
        with self._runs.database.reading() as session:
            if self._seen is None:
                self._seen = session.scalar(newest) or 0
                return
            for run, self._seen in session.execute(ended):
                if run.started_at and run.finished_at:
                    seconds = (run.finished_at - run.started_at).total_seconds()
                    self._durations.labels(run.job, run.state).observe(seconds)

    def _of_runs(self) -> Iterator[Metric]:
        queued = sa.select(sa.func.count(), sa.func.min(Run.created_at)).where(Run.state == State.queued)
        text = "Whether the registry's database answers."
        try:
            counts = self._runs.counts()
            with self._runs.database.reading() as session:
                waiting, since = session.execute(queued).one()
        except ShoplakeError:
            yield gauge("database_up", text, 0)
            return
        yield gauge("database_up", text, 1)
        yield gauge("runs", "Runs in the registry.", counts, ("job", "state"))
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

    def _of_ledger(self) -> Iterator[Metric]:
        query = (
            sa.select(Run)
            .where(Run.job == reconcile.NAME, Run.state.in_((State.succeeded, State.failed)))
            .order_by(Run.finished_at.desc())
            .limit(_RUNS_LOOKED_AT)
        )
        with self._runs.database.reading() as session:
            told = [run for run in session.scalars(query) if run.state == State.succeeded or is_unbalanced(run)]
        if told and told[0].finished_at is not None:
            balanced = "Whether the newest run of reconcile that could tell found that the books balance."
            yield gauge("ledger_balanced", balanced, told[0].state == State.succeeded)
            yield gauge("ledger_timestamp_seconds", "When that run ended.", told[0].finished_at.timestamp())


class _Collector(Collector):
    """What `gather` can tell now; what nobody can tell is left out."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather

    def describe(self) -> Iterable[Metric]:
        return []  # the names are known without gathering figures

    def collect(self) -> Iterator[Metric]:
        with contextlib.suppress(ShoplakeError, duckdb.Error):
            yield from (metric for metric in self._gather() if metric.samples)
