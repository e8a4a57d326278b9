"""One attempt at a run: the job in one thread, its heartbeat and its end from outside in another."""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import Any, cast

import structlog
import tenacity
from pyspark.sql import SparkSession

from lakehouse.catalog import TABLES
from lakehouse.jobs import Job
from lakehouse.lake import Lake
from lakehouse.ops import schema_changes
from lakehouse.runs.claims import Claims, LostRun
from lakehouse.runs.database import RegistryAway
from lakehouse.runs.failures import Failure, explain
from lakehouse.runs.models import Run
from lakehouse.runs.news import News
from lakehouse.runs.states import State
from lakehouse.session import commit_mark, connect, end_session, mark_commits
from lakehouse.settings import Settings

BEAT_SECONDS = 0.5
PATIENCE_SECONDS = 8.0
log = structlog.get_logger()
insist = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(RegistryAway),
    wait=tenacity.wait_fixed(BEAT_SECONDS),
    before_sleep=lambda call: log.warning("registry away", reason=str(call.outcome and call.outcome.exception())),
)
"""Calls what writes to the registry until the database answers, however long it is away."""


class Stop(StrEnum):
    """Why an attempt has to end before its job is done."""

    cancel = "cancel"
    timeout = "timeout"
    shutdown = "shutdown"
    lost = "lost"


class Stopped(Exception):
    """Raised within the job when it has to end."""


class Attempt:
    """Works on a run that this worker has taken, until it has ended, was given back or was lost."""

    def __init__(self, run: Run, job: Job, settings: Settings, claims: Claims, is_closing: Callable[[], bool]) -> None:
        """`is_closing` says whether the worker has to end."""
        self._run, self._job, self._settings, self._claims = run, job, settings, claims
        self._is_closing = is_closing
        self._news = News(job.steps + job.needs_spark)
        self._spark: SparkSession | None = None
        self._began = time.monotonic()
        self._stop: Stop | None = None
        self._stop_since = 0.0
        self._is_over = threading.Event()
        self._concluding = threading.Lock()

    def work(self) -> None:
        """Do the work and write down how it ended."""
        with structlog.contextvars.bound_contextvars(run=self._run.id, news=self._news):
            log.info("attempt begins", job=self._job.name, attempt=self._run.attempt)
            watching = _thread(self._watch)
            try:
                self._work()
            finally:
                self._is_over.set()
                watching.join()

    def _work(self) -> None:
        result: dict[str, Any] | None = None
        failure: Failure | None = None
        try:
            result = self._do()
        except Stopped:
            pass
        except Exception as error:  # whatever a job raises becomes the run's error
            failure = explain(error)
            log.error("attempt failed", code=failure.code, exc_info=self._stop is None)
        self._close()  # before anybody else may take the run: nothing of it goes on in Spark
        with self._concluding:
            if not self._is_over.is_set():
                self._is_over.set()
                self._conclude(result, failure)

    def _do(self) -> dict[str, Any]:
        parameters = self._job.parse(self._run.parameters)
        if not self._job.needs_spark:
            return self._job.run(Lake(cast(SparkSession, None), self._settings), parameters, self._say)
        self._say("Connecting to Spark")
        self._spark = connect(self._settings, self._run.session_id)
        mark_commits(self._spark, self._run.id)
        self._spark.registerProgressHandler(self._news.spark_progress)  # type: ignore[arg-type]  # a function will do
        lake = Lake(self._spark, self._settings)
        lake.create_tables([*TABLES, *(table for table in self._job.writes if table not in TABLES)])
        schema_changes.apply(lake, self._job.writes)
        result = self._job.run(lake, parameters, self._say)
        tables = self._written(lake)
        return {
            "rows_read": None,
            **result,
            "rows_written": sum(table["rows"] for table in tables.values()),
            "bytes_read": self._news.bytes_read_so_far(),
            "tables": tables,
        }

    def _written(self, lake: Lake) -> dict[str, dict[str, Any]]:
        """Per table that this attempt has committed to: its Delta versions, oldest first, and rows written."""
        found, mark = {}, commit_mark(self._run.id)
        for table in self._job.writes:
            history = lake.history(table, self._run.started_at or self._run.created_at)
            if commits := [commit for commit in history if commit.mark == mark]:
                versions = sorted(commit.version for commit in commits)
                found[table.full_name] = {"versions": versions, "rows": sum(commit.rows for commit in commits)}
        return found

    def _say(self, doing: str) -> None:
        if self._stop is not None:
            raise Stopped
        if self._news.step(doing):
            log.info(doing)

    # How it ends

    def _conclude(self, result: dict[str, Any] | None, failure: Failure | None) -> None:
        """Write down how the attempt ended, unless the run is another's by now."""
        lines = self._news.take()[1]
        with contextlib.suppress(LostRun):
            for end in self._ends(result, failure):
                if insist(end, lines=lines):
                    return

    def _ends(self, result: dict[str, Any] | None, failure: Failure | None) -> Iterator[Callable[..., bool]]:
        """The ends that the attempt may come to: the first one counts that the run's state allows."""
        end, again = partial(self._claims.end, self._run), partial(self._claims.again, self._run)
        if result is not None:
            # Work that was done counts as done, whatever was asked for meanwhile.
            seconds = round(time.monotonic() - self._began, 3)
            yield partial(end, State.succeeded, "the job is done", result={**result, "duration_seconds": seconds})
        elif self._stop == Stop.lost:
            log.warning("run lost", run=self._run.id)
            return
        elif self._stop == Stop.shutdown:
            yield partial(again, "the worker ends", counts=False)
        elif self._stop is None and failure is not None and failure.is_worth_retrying:
            yield partial(again, failure.message)
        if self._stop == Stop.timeout:
            failure = Failure("timeout", f"The run took longer than its {self._run.timeout_seconds} s.")
        if failure is not None and self._stop != Stop.cancel:
            yield partial(end, State.failed, failure.message, error=failure.error)
        yield partial(end, State.cancelled, "its work was stopped")

    def _close(self) -> None:
        if self._spark is None:
            return
        with contextlib.suppress(Exception):  # a server that is gone needs no goodbye
            end_session(self._settings, self._run.session_id or "")
        with contextlib.suppress(Exception):
            self._spark.client.close()
        # Asks the server no more, as the client is closed; without it pyspark would take this session for the current
        # one of the next run in this process.
        self._spark.stop()

    # The other thread

    def _watch(self) -> None:
        """Beat, look for reasons to stop, and stop the work."""
        interrupting: threading.Thread | None = None
        while not self._is_over.wait(BEAT_SECONDS):
            self._beat()
            if self._stop is None:
                continue
            if interrupting is None or not interrupting.is_alive():
                # Spark may take long to answer, and the heart has to go on beating.
                interrupting = _thread(self._interrupt)

    def _beat(self) -> None:
        progress, lines = self._news.take()
        try:
            state = self._claims.beat(self._run, progress, lines)
        except RegistryAway:
            self._news.put_back(lines)
            return
        except LostRun:
            # The end may have been written while this beat was on its way.
            if not self._is_over.is_set():
                self._ask_to_stop(Stop.lost)
            return
        if state == State.cancelling:
            self._ask_to_stop(Stop.cancel)
        elif time.monotonic() - self._began > self._run.timeout_seconds:
            self._ask_to_stop(Stop.timeout)
        elif self._is_closing():
            self._ask_to_stop(Stop.shutdown)

    def _ask_to_stop(self, why: Stop) -> None:
        if self._stop is None:
            self._stop, self._stop_since = why, time.monotonic()
            log.warning("stopping", why=why)
        elif why == Stop.lost:
            self._stop = why

    def _interrupt(self) -> None:
        if self._spark is not None:
            with contextlib.suppress(Exception):  # it is tried again at the next beat
                if operations := self._spark.interruptAll():
                    log.warning("interrupted in Spark", operations=" ".join(operations))

    # What its service asks

    @property
    def is_deaf(self) -> bool:
        """Whether the job goes on though it was told to stop long ago."""
        return self._stop is not None and time.monotonic() - self._stop_since > PATIENCE_SECONDS

    def abandon(self) -> None:
        """Kill the work in Spark for good and write down its end; the process has to end next, and the job with it."""
        with self._concluding:
            if not self._is_over.is_set():
                log.error("the job does not stop", run=self._run.id, why=self._stop)
                self._is_over.set()
                if self._job.needs_spark and self._run.session_id:
                    with contextlib.suppress(Exception):
                        end_session(self._settings, self._run.session_id)
                self._conclude(None, None)


def _thread(target: Callable[[], None]) -> threading.Thread:
    """A running thread whose log lines belong to the run of this one."""
    thread = threading.Thread(target=contextvars.copy_context().run, args=(target,), daemon=True)
    thread.start()
    return thread
