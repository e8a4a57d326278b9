"""The worker service: keeps warm workers, reconciles what dead ones left, triggers what is due, watches the alerts."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import structlog

from lakehouse.reports import write_report
from lakehouse.runs.claims import Claims
from lakehouse.runs.database import Database, RegistryAway
from lakehouse.runs.members import Member, Prepare
from lakehouse.runs.news import RunLog
from lakehouse.runs.reaper import reap_silent, reap_worker
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.schedule import trigger_due
from lakehouse.settings import Settings

TICK_SECONDS = 0.2
CARE_SECONDS = 1.0
TIDY_SECONDS = 3600.0
STOP_SECONDS = 12.0
QUICK_DEATH_SECONDS = 10.0
log = structlog.get_logger()
Beside = Callable[[Settings, Database], Any]
"""Makes what has `start` and `stop`, and goes on in threads of its own."""


class Supervisor:
    """Runs until SIGTERM or SIGINT. Several of one machine may share a registry."""

    def __init__(self, settings: Settings, watch: Beside, prepare: Prepare | None = None) -> None:
        """Brings the registry's tables up to date. Each worker calls `prepare` first; `watch` is started beside them,
        with the registry's database."""
        RunLog()
        self._settings, self._prepare = settings, prepare
        self._registry = RunRegistry.open(settings)
        self._claims = Claims(self._registry)
        self._watch = watch(settings, self._registry.database)
        self._members: list[Member] = []
        self._dead: list[str] = []
        self._closing = threading.Event()
        self._file = settings.run_dir / "worker.json"
        self._not_before = 0.0
        self._was_warm = False
        self._last_care = time.monotonic()

    def run(self) -> None:
        """Keep everything going."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        caring = threading.Thread(target=self._care, daemon=True)
        caring.start()
        self._watch.start()
        try:
            while not self._closing.is_set():
                self._keep_members()
                self._write_state()
                self._closing.wait(TICK_SECONDS)
        finally:
            self._watch.stop()
            self._stop_members()
            self._file.unlink(missing_ok=True)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._closing.set()

    def _keep_members(self) -> None:
        """Replace who has died: at once, but not in a hurry when they die young."""
        now = time.monotonic()
        for member in self._members[:]:
            code = member.look()
            if code is None:
                continue
            log.log(logging.WARNING if code else logging.INFO, "worker ended", worker=member.name, exit_code=code)
            self._members.remove(member)
            self._dead.append(member.name)
            member.close()
            if code and now - member.started < QUICK_DEATH_SECONDS:
                self._not_before = now + QUICK_DEATH_SECONDS / 4
        while len(self._members) < self._settings.max_parallel_runs and now >= self._not_before:
            self._members.append(Member(self._settings, self._prepare))

    def _care(self) -> None:
        """What may take its time, in a thread of its own."""
        next_tidy = 0.0
        while not self._closing.wait(CARE_SECONDS if not self._dead else TICK_SECONDS):
            try:
                for name in self._dead[:]:
                    reap_worker(self._settings, self._claims, name)
                    self._dead.remove(name)
                for run in reap_silent(self._settings, self._claims):
                    self._kill(run.worker)
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

    def _kill(self, name: str | None) -> None:
        """A worker of ours that was silent for so long hangs."""
        for member in self._members[:]:
            if member.name == name:
                member.kill()

    def _write_state(self) -> None:
        # Once all were warm the service is up: that one makes room for another is part of it.
        self._was_warm = self._was_warm or (bool(self._members) and all(member.is_warm for member in self._members))
        write_report(
            self._file,
            state="running" if self._was_warm else "starting",
            workers={member.name: member.pid for member in self._members},
            cared_seconds_ago=round(time.monotonic() - self._last_care, 1),
        )

    def _stop_members(self) -> None:
        """Each gives back what it is doing; who does not end in time is killed, and reaped at the next start."""
        for member in self._members:
            member.process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for member in self._members:
            member.process.join(max(0.1, end - time.monotonic()))
            member.kill()
            member.process.join()
