"""A warm worker process: everything is imported, and the next run is a moment away."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from types import FrameType

import structlog
from pyspark.sql.connect import dataframe, functions, session  # noqa: F401  (loaded here so that no run waits for it)

from lakehouse.probes import spark_answers
from lakehouse.processes import memory_mb
from lakehouse.runs.attempt import Attempt, insist
from lakehouse.runs.claims import Claims, LostRun
from lakehouse.runs.database import RegistryAway
from lakehouse.runs.failures import Failure
from lakehouse.runs.models import Run
from lakehouse.runs.news import RunLog
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.settings import Settings

POLL_SECONDS = 0.2
KEEP_MB = 256
"""A worker that holds more than this after a run makes room for a new one: libraries that only one job needs stay."""
log = structlog.get_logger()


class Worker:
    """Takes runs one after the other, until it is told to end or the process that started it has gone."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Connects to the registry on first use."""
        self._settings, self._name = settings, name
        self._registry = RunRegistry(settings)
        self._claims = Claims(self._registry)
        self._log = RunLog()
        self._parent = os.getppid()
        self._closing = threading.Event()

    def work(self) -> None:
        """Take and do runs, until one leaves too much memory behind.

        SIGTERM gives back the run under way; without a parent the run is done, then it ends.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which tells us
        signal.signal(signal.SIGTERM, self._on_signal)
        while not self._closing.is_set() and os.getppid() == self._parent:
            try:
                run = self._next()
            except RegistryAway as error:
                log.warning("registry away", reason=str(error))
                run = None
            if run is None:
                self._closing.wait(POLL_SECONDS)
                continue
            self._do(run)
            if (used := memory_mb(os.getpid())) > KEEP_MB:
                log.info("makes room", memory_mb=used)
                return

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._closing.set()

    def _next(self) -> Run | None:
        if not self._claims.is_any_waiting():
            return None
        with_spark = spark_answers(self._settings)
        return self._claims.take(self._name, str(uuid.uuid4()), with_spark=with_spark)

    def _do(self, run: Run) -> None:
        job = self._registry.jobs.get(run.job)
        if job is None:
            error = Failure("unknown_job", f"There is no job {run.job!r} any more.").error
            try:
                insist(lambda: self._claims.end(run, State.failed, error["message"], error=error))
            except LostRun:
                log.warning("run lost", run=run.id)
            return
        Attempt(run, job, self._settings, self._claims, self._log, self._closing.is_set).work()
