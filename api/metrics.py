"""/metrics in Prometheus form: runs, the queue, this API's latency, alerts, the stream, the gate and the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from api.lake_metrics import LakeMetrics, gauge
from lakehouse.errors import ShoplakeError
from lakehouse.monitoring.book import Book
from lakehouse.monitoring.figures import newest_runs
from lakehouse.monitoring.rules import RULES
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.settings import Settings

_LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics(Collector):
    """The metrics of one API process."""

    def __init__(self, settings: Settings, runs: RunRegistry) -> None:
        """`runs` are read at each scrape, the stream's figures in the background."""
        self._registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.latency = Histogram(
            "shoplake_api_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("method", "route", "status"),
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._runs, self._book, lake = runs, Book(settings, runs.database), LakeMetrics(settings)
        self._gathers = (self._of_runs, self._of_alerts, lake.of_stream, lake.of_gate)
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
