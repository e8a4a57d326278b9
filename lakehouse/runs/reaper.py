"""Runs whose worker has gone: kill what is left of them in Spark, and only then let them run again or end."""

from __future__ import annotations

import structlog

from lakehouse.runs.claims import Claims
from lakehouse.runs.models import Run
from lakehouse.session import end_session
from lakehouse.settings import Settings

SILENT_SECONDS = 5.0
"""A worker that has not shown for so long that it lives is taken for dead; it shows itself twice a second."""
log = structlog.get_logger()


def reap_silent(settings: Settings, claims: Claims) -> list[Run]:
    """Reconcile every run whose worker is silent; those that this call reconciled. Several processes may do so."""
    return [run for run in claims.silent(SILENT_SECONDS) if _reap(settings, claims, run, "its worker is silent")]


def reap_worker(settings: Settings, claims: Claims, worker: str) -> list[Run]:
    """Reconcile at once what a worker held that is known to be dead."""
    return [run for run in claims.held_by(worker) if _reap(settings, claims, run, "its worker has died")]


def _reap(settings: Settings, claims: Claims, run: Run, cause: str) -> bool:
    interrupted = end_session(settings, run.session_id) if run.session_id else []
    state = claims.reconcile(run, cause)
    log.warning("reaped", run=run.id, attempt=run.attempt, worker=run.worker, interrupted=interrupted, state=state)
    return state is not None
