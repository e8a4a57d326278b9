"""Whether the figures can be trusted, as the serving file and the registry tell it: the gate, the checks, the ledger.

All of it is read on this machine, in milliseconds: neither S3 nor Kafka is asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import duckdb
import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lakehouse.errors import ShoplakeError
from lakehouse.jobs import reconcile
from lakehouse.monitoring.figures import is_unbalanced
from lakehouse.reports import read_report
from lakehouse.runs.models import RunRow
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.serving.file import PUBLISHED, names_in, open_serving, rows_of
from lakehouse.settings import Settings
from quality.results import NEWEST

_BY_RESULT = f"""{NEWEST}
SELECT table_name, severity, success, count(*) AS expectations, epoch(max(checked_at)) AS checked_at
FROM newest GROUP BY ALL
"""  # noqa: S608 - the text is declared in this project
_UNACCOUNTED = "SELECT coalesce(sum(unaccounted), 0)::BIGINT AS records FROM ops.recent_batches"


_RUNS_LOOKED_AT = 20
"""A run that failed for another reason, such as an unreachable Kafka, tells nothing of the books."""


class TrustCollector(Collector):
    """The gate, the newest quality results, what is not accounted for, and the newest `reconcile`."""

    def __init__(self, settings: Settings, runs: RunRegistry) -> None:
        """Nothing is read before the first scrape."""
        self._settings, self._runs = settings, runs

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are known without reading anything."""
        return []

    def collect(self) -> Iterable[Metric]:
        """What can be told now; what nobody could tell is left out."""
        with contextlib.suppress(duckdb.Error), open_serving(self._settings.serving_file) as serving:
            yield from _gate(rows_of(serving, f"FROM {PUBLISHED} ORDER BY table_name"))
            yield from _checks(rows_of(serving, _BY_RESULT))
            (unaccounted,) = rows_of(serving, _UNACCOUNTED)
            text = "Records of the last two days in neither silver, duplicates nor quarantine: must be 0."
            yield GaugeMetricFamily("shoplake_ledger_unaccounted_records", text, unaccounted["records"])
        seconds = read_report(self._settings.run_dir / "publisher.json").get("audit_seconds")
        if seconds is not None:
            yield GaugeMetricFamily(
                "shoplake_publish_audit_seconds", "What the gate took in the last publish.", seconds
            )
        with contextlib.suppress(ShoplakeError):
            yield from self._ledger()

    def _ledger(self) -> Iterable[Metric]:
        query = (
            sa.select(RunRow)
            .where(RunRow.job == reconcile.NAME, RunRow.state.in_((State.succeeded, State.failed)))
            .order_by(RunRow.finished_at.desc())
            .limit(_RUNS_LOOKED_AT)
        )
        with self._runs.database.reading() as session:
            told = [run for run in session.scalars(query) if run.state == State.succeeded or is_unbalanced(run)]
        if told and told[0].finished_at is not None:
            balanced = "Whether the newest run of reconcile that could tell found that the books balance."
            yield GaugeMetricFamily("shoplake_ledger_balanced", balanced, int(told[0].state == State.succeeded))
            at = told[0].finished_at.timestamp()
            yield GaugeMetricFamily("shoplake_ledger_timestamp_seconds", "When that run ended.", at)


def _gate(rows: list[dict[str, Any]]) -> Iterable[Metric]:
    blocked = GaugeMetricFamily(
        "shoplake_gate_blocked", "1 for a table that keeps its last good version.", labels=("table", "expectation")
    )
    passed = GaugeMetricFamily(
        "shoplake_gate_let_through", "1 for a table published by an override.", labels=("table", "expectation")
    )
    held = GaugeMetricFamily(
        "shoplake_gate_held_rows", "Rows that fail a check and are not published.", labels=("table",)
    )
    for row in rows:
        if row.get("held_rows"):
            held.add_metric((row["table_name"],), row["held_rows"])
        for metric, names in ((blocked, row["blocked_by"]), (passed, row.get("let_through"))):
            for name in names_in(names):
                metric.add_metric((row["table_name"], name), 1)
    return [blocked, passed, held]


def _checks(rows: list[dict[str, Any]]) -> Iterable[Metric]:
    checks = GaugeMetricFamily(
        "shoplake_quality_expectations",
        "Expectations by their newest result.",
        labels=("table", "severity", "result"),
    )
    for row in rows:
        result = "passed" if row["success"] else "failed"
        checks.add_metric((row["table_name"], row["severity"], result), row["expectations"])
    at = [row["checked_at"] for row in rows]
    newest = GaugeMetricFamily("shoplake_quality_timestamp_seconds", "When the newest result was found.")
    if at:
        newest.add_metric((), max(at))
    return [checks, newest]
