"""One supervised child: started, watched, restarted with back-off."""

import contextlib
import logging
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lakehouse import processes
from lakehouse.errors import ShoplakeError
from lakehouse.services.service import Service, child_environment
from lakehouse.settings import Settings

HEALTH_CHECK_SECONDS = 5.0
LOOKS_OVER_LIMIT = 3
FAILED_CHECKS = 6
LONGEST_PAUSE_SECONDS = 60.0
STABLE_SECONDS = 120.0
FIRST_START_ATTEMPTS = 2
MAX_LOG_BYTES = 20 * 1024 * 1024
KEPT_LOGS = 3


class Child:
    """A service's process and its state: `down`, `starting`, `up`, `failed` or `external`."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.service = service
        self.state = "down" if service.is_embedded else "external"
        self.message = ""
        self.was_up = False
        self.log = settings.logs / f"{service.name}.log"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._healthy_since: float | None = None
        self._next_check = 0.0
        self._failed_checks = self._looks_over_limit = 0
        self._failures, self._not_before = 0, 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def is_ready(self) -> bool:
        """Whether what depends on it may start."""
        return self.state in ("up", "external")

    @property
    def has_given_up(self) -> bool:
        """Whether it failed without ever having been up: a start that will not get better by trying on."""
        return (
            self.state == "failed"
            and not self.was_up
            and not self.service.is_optional
            and self._failures >= FIRST_START_ATTEMPTS
        )

    def tick(self, dependencies_ready: bool) -> None:
        """Look after the child once. Called all the time, never blocks for long."""
        now = time.monotonic()
        if self.state == "external":
            self._welcome()
        elif self._process is None:
            if dependencies_ready and now >= self._not_before:
                self._start(now)
        elif (code := self._process.poll()) is not None:
            self._process = None
            self._fail(now, f"ended with exit code {code}")
        elif now >= self._next_check:
            self._check(now, self._process.pid)

    def stop(self) -> None:
        """End the child and what it started."""
        if self._process is not None:
            _end_family(self._process.pid, self.service.stop_seconds)
        self._process = None
        self.state = "down" if self.service.is_embedded else "external"

    def _start(self, now: float) -> None:
        try:
            self.service.prepare()
        except (ShoplakeError, OSError) as error:
            self._fail(now, str(error), has_run=False)
            return
        environment = {
            **child_environment(self._settings, self.service.secrets),
            **self.service.env,
            **processes.lake_mark(self._settings),
        }
        self._process = spawn(self._settings, self.service.command, environment, self.log)
        self.state, self.message = "starting", ""
        self._started, self._healthy_since = now, None
        self._failed_checks = self._looks_over_limit = 0

    def _check(self, now: float, pid: int) -> None:
        rotate(self.log)
        if self._takes_too_much(now, pid):
            return
        if self.service.is_healthy(pid):
            self._failed_checks = 0
            self._next_check = now + HEALTH_CHECK_SECONDS
            if self.state != "up":
                self._healthy_since = now
                self._welcome()
        elif self.state == "starting":
            self._next_check = now + 0.2
            if now - self._started > self.service.start_seconds:
                self._kill(now, f"did not answer within {self.service.start_seconds:.0f} s")
        else:
            self._failed_checks += 1
            self._next_check = now + HEALTH_CHECK_SECONDS
            if self._failed_checks >= FAILED_CHECKS:
                self._kill(now, "does not answer any more")

    def _takes_too_much(self, now: float, pid: int) -> bool:
        """Whether it is over its limit; ended when it stays there. A single look may meet it just when it starts a
        process, which for that moment is a copy of itself and counts its memory twice."""
        used = processes.memory_over_mb(pid, self.service.memory_limit_mb)
        if not used:
            self._looks_over_limit = 0
            return False
        self._looks_over_limit += 1
        self._next_check = now + 0.5
        if self._looks_over_limit >= LOOKS_OVER_LIMIT:
            self._kill(now, f"took {used} MB, more than its {self.service.memory_limit_mb} MB")
        return True

    def _welcome(self) -> None:
        """The service answers: do once what has to be done with it, then let others use it."""
        if not self.was_up:
            try:
                self.service.on_up()
            except ShoplakeError as error:
                self.state, self.message = "failed", str(error)
                self._failures = FIRST_START_ATTEMPTS
                return
            self.was_up = True
        self.message = ""
        if self.service.is_embedded:
            self.state = "up"

    def _kill(self, now: float, why: str) -> None:
        if self._process is not None:
            _end_family(self._process.pid, patience=5)
        self._process = None
        self._fail(now, why)

    def _fail(self, now: float, why: str, *, has_run: bool = True) -> None:
        """Note one more failure, and when to try again: later each time, unless it had stayed healthy for a while."""
        if self._healthy_since is not None and now - self._healthy_since >= STABLE_SECONDS:
            self._failures = 0
        pause = min(LONGEST_PAUSE_SECONDS, 2.0**self._failures)
        self._failures, self._not_before, self._healthy_since = self._failures + 1, now + pause, None
        self.state = "failed"
        self.message = f"{self.service.name} {why}"
        if has_run:  # else its log tells nothing, and what kept it from starting says what to do
            self.message += f"; see {self.log}"
            self.message += "" if self.has_given_up else f"; next start in {pause:.0f} s"
        logging.getLogger(__name__).warning("%s %s", datetime.now(UTC).isoformat(timespec="seconds"), self.message)


@contextmanager
def alone(service: Service, settings: Settings) -> Iterator[Child]:
    """One part alone. Raises ShoplakeError when it does not start."""
    child = Child(service, settings)
    try:
        while not child.is_ready:
            child.tick(True)
            if child.state == "failed":
                raise ShoplakeError(f"{service.name} alone did not start: {child.message}")
            time.sleep(0.1)
        yield child
    finally:
        child.stop()


def rotate(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move a large log aside. The child goes on writing to the same, now empty, file."""
    try:
        if path.stat().st_size < max_bytes:
            return
    except OSError:
        return
    for number in range(KEPT_LOGS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+b") as file:
        file.truncate(0)


def spawn(
    settings: Settings, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a process that goes on by itself, with what it says in a log, which is moved aside when it is large."""
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log, MAX_LOG_BYTES // 4)
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=settings.data_dir,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )


def _end_family(pid: int, patience: float) -> None:
    """End a child, and then its own children, which would otherwise live on as orphans."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = process.children(recursive=True)
        processes.end_processes([process], patience)
        processes.end_processes(family, patience=2)
