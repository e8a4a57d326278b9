"""The worker service, `python -m lakehouse.services.worker`: does runs in threads, reconciles what dead services left,
triggers what is due, and watches the alerts. All heavy work is in Spark and DuckDB, so that threads are enough."""

import os
import secrets
import signal
import socket
import sys
import threading
import time
import uuid
from functools import partial
from types import FrameType

import structlog
from pyspark.sql.connect import dataframe, functions, session  # noqa: F401  (loaded here so that no run waits for it)

from lakehouse.errors import exit_code
from lakehouse.monitoring.watch import Watch
from lakehouse.probes import spark_answers
from lakehouse.processes import memory_mb
from lakehouse.reports import write_report
from lakehouse.runs.attempt import Attempt
from lakehouse.runs.claims import Claims
from lakehouse.runs.database import RegistryAway
from lakehouse.runs.failures import Failure
from lakehouse.runs.models import Run
from lakehouse.runs.news import log_as_json
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.schedule import trigger_due
from lakehouse.runs.states import State
from lakehouse.session import end_session
from lakehouse.settings import Settings, load_settings

POLL_SECONDS = 0.2
STATE_SECONDS = CARE_SECONDS = 1.0
TIDY_SECONDS = 3600.0
STOP_SECONDS = 12.0
SILENT_SECONDS = 5.0
"""A service that has not shown for so long that it lives is taken for dead; it shows itself twice a second."""
KEEP_MB = 320
"""Beside the memory of one SQL reader: a process that holds more after a run begins anew, since libraries that only
one job needs stay loaded."""
log = structlog.get_logger()


class WorkerService:
    """Runs until SIGTERM or SIGINT. Several of one machine may share a registry."""

    def __init__(self, settings: Settings) -> None:
        """Brings the registry's tables up to date."""
        log_as_json()
        self._settings = settings
        self._registry = RunRegistry.open(settings)
        self._claims = Claims(self._registry)
        self._watch = Watch(settings, self._registry.database)
        self._name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._attempts: set[Attempt] = set()
        self._closing, self._begins_anew = threading.Event(), threading.Event()
        self._is_told = self._has_worked = False
        self._last_care = time.monotonic()

    def run(self) -> None:
        """Work until told to end; then runs that are under way are given back.

        The process begins anew when it has grown, and when a job does not stop: nothing else ends a thread.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for target in (self._care, *[self._work] * self._settings.max_parallel_runs):
            threading.Thread(target=target, daemon=True).start()
        self._watch.start()
        report = self._settings.run_dir / "worker.json"
        try:
            while not self._has_to_end():
                cared = round(time.monotonic() - self._last_care, 1)
                write_report(report, state="running", cared_seconds_ago=cared)
                self._closing.wait(STATE_SECONDS)
        finally:
            self._closing.set()
            self._watch.stop()
            self._end()
        if self._is_told:
            report.unlink(missing_ok=True)
        else:
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - as this process was started

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told = True
        self._closing.set()

    def _has_to_end(self) -> bool:
        if self._has_worked and not self._attempts:
            self._has_worked = False
            if (used := memory_mb(os.getpid())) > KEEP_MB + self._settings.sql_memory_mb:
                log.info("begins anew", memory_mb=used)
                self._begins_anew.set()
        is_free = self._begins_anew.is_set() and not self._attempts
        return self._closing.is_set() or is_free or any(attempt.is_deaf for attempt in list(self._attempts))

    def _end(self) -> None:
        """Each gives back what it is doing; what does not stop is ended in Spark and in the registry."""
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end and not all(attempt.is_deaf for attempt in list(self._attempts)):
            time.sleep(POLL_SECONDS)
        for attempt in list(self._attempts):
            attempt.abandon()

    # A worker's thread

    def _work(self) -> None:
        take, with_spark = self._claims.take, partial(spark_answers, self._settings)
        while not self._closing.is_set():
            try:
                run = None if self._begins_anew.is_set() else take(self._name, str(uuid.uuid4()), with_spark)
                if run is None:
                    self._closing.wait(POLL_SECONDS)
                else:
                    self._do(run)
            except RegistryAway as error:
                log.warning("registry away", reason=str(error))
                self._closing.wait(POLL_SECONDS)
            except BaseException:  # the next runs are done, whatever this one met
                log.error("worker failed", exc_info=True)

    def _do(self, run: Run) -> None:
        job = self._registry.jobs.get(run.job)
        if job is None:
            error = Failure("unknown_job", f"There is no job {run.job!r} any more.").error
            self._claims.end(run, State.failed, error["message"], error=error)
            return
        attempt = Attempt(run, job, self._settings, self._claims, self._closing.is_set)
        self._attempts.add(attempt)
        try:
            attempt.work()
        finally:
            self._attempts.discard(attempt)
            self._has_worked = True

    # The thread that takes care

    def _care(self) -> None:
        next_tidy = 0.0
        while not self._closing.wait(CARE_SECONDS):
            try:
                for run in self._claims.silent(SILENT_SECONDS):
                    self._reap(run)
                for run in trigger_due(self._registry):
                    log.info("due", job=run.job, run=run.id)
                if time.monotonic() >= next_tidy:
                    self._claims.tidy()
                    next_tidy = time.monotonic() + TIDY_SECONDS
            except RegistryAway as error:
                log.warning("registry away", reason=str(error))
            except Exception:  # care has to go on, whatever one round of it met
                log.error("care failed", exc_info=True)
            self._last_care = time.monotonic()

    def _reap(self, run: Run) -> None:
        """Kill what is left of a run in Spark, and only then let it run again or end. Several services may do so."""
        interrupted = end_session(self._settings, run.session_id) if run.session_id else []
        state = self._claims.reconcile(run, "its worker is silent")
        log.warning("reaped", run=run.id, attempt=run.attempt, worker=run.worker, interrupted=interrupted, state=state)


def main() -> int:
    """Run until told to stop."""
    return exit_code(WorkerService(load_settings()).run)


if __name__ == "__main__":
    sys.exit(main())
