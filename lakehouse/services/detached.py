"""`up --detach` and `down`: the supervisor in the background, started, waited for and ended from here."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import psutil

from lakehouse import processes
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lock import holder_of, lake_lock, lock_holder
from lakehouse.services import superset
from lakehouse.services.child import spawn
from lakehouse.services.service import child_environment
from lakehouse.services.state import Snapshot, read_state, write_state
from lakehouse.services.supervisor import prepare_start
from lakehouse.settings import Settings

POLL_SECONDS = 0.2
STOP_SECONDS = 180
KILL_SECONDS = 10
"""How long a killed supervisor is waited for."""


def start_detached(
    settings: Settings,
    report: Callable[[Snapshot], None],
    *,
    with_stream: bool = True,
    with_superset: bool = False,
) -> None:
    """Start the platform in the background and return when every part is up.

    Raises UsageError when a start cannot work, ShoplakeError when a part does not come up.
    """
    lock = lake_lock(settings)
    lock.acquire()
    try:
        prepare_start(settings)
        write_state(settings, None)
    finally:
        lock.release()
    process = _spawn(settings, with_stream, with_superset)
    try:
        _wait_until_up(settings, process, report)
    except KeyboardInterrupt:
        stop(settings)
        raise


def add_superset(settings: Settings, report: Callable[[Snapshot], None]) -> None:
    """Have the running platform start Superset, too, and return when it is up or says why not. `report` hears of it
    alone.

    Raises ShoplakeError when the platform ends meanwhile.
    """
    wanted = superset.wanted_file(settings)
    wanted.touch()
    while lock_holder(settings) is not None:
        snapshot = None if wanted.exists() else read_state(settings)
        if snapshot is not None:
            added = snapshot.services[superset.NAME]
            report(replace(snapshot, services={superset.NAME: added}))
            if added.state in ("up", "failed"):
                return
        time.sleep(POLL_SECONDS)
    raise ShoplakeError("The platform has ended before Superset was up.")


def stop(settings: Settings, report: Callable[[Snapshot], None] = lambda _snapshot: None) -> bool:
    """End the platform, also what a killed supervisor left behind, or one whose folder was deleted; whether there was
    anything to end."""
    supervisor = lock_holder(settings)
    if supervisor is not None:
        _end_supervisor(settings, supervisor, report)
    left = processes.end_lake_processes(settings)
    write_state(settings, None)
    for lock in settings.run_dir.glob("*lock"):
        if holder_of(lock) is None:  # that of a stream in the foreground stays
            lock.unlink(missing_ok=True)
    return supervisor is not None or left > 0


def _spawn(settings: Settings, with_stream: bool, with_superset: bool) -> subprocess.Popen[bytes]:
    options = [*([] if with_stream else ["--no-stream"]), *(["--superset"] if with_superset else [])]
    command = [sys.executable, "-m", "lakehouse.services.supervisor", *options]
    log = settings.logs / "supervisor.log"
    log.unlink(missing_ok=True)
    return spawn(settings, command, {**child_environment(settings), **processes.lake_mark(settings)}, log)


def _wait_until_up(settings: Settings, process: subprocess.Popen[bytes], report: Callable[[Snapshot], None]) -> None:
    """Returns when all is up; a supervisor that gives up says why in the last line of its log."""
    while True:
        ended = process.poll() is not None
        snapshot = _tell(settings, process.pid, report)
        if snapshot is not None and snapshot.is_up:
            return
        if ended:
            error = UsageError if process.returncode == UsageError.exit_code else ShoplakeError
            lines = (settings.logs / "supervisor.log").read_text().strip().splitlines()
            raise error(lines[-1] if lines else "The supervisor ended without a word.")
        time.sleep(POLL_SECONDS)


def _tell(settings: Settings, supervisor: int, report: Callable[[Snapshot], None]) -> Snapshot | None:
    """What this supervisor has written down, if anything; `report` hears it, too."""
    snapshot = read_state(settings)
    if snapshot is None or snapshot.supervisor != supervisor:
        return None
    report(snapshot)
    return snapshot


def _end_supervisor(settings: Settings, pid: int, report: Callable[[Snapshot], None]) -> None:
    """It has ended when its lock is free. One that does not end in time is killed, and waited for a little longer."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process, end = psutil.Process(pid), time.monotonic() + STOP_SECONDS
        process.terminate()
        while lock_holder(settings) == pid:
            if time.monotonic() > end + KILL_SECONDS:
                return
            if time.monotonic() > end:
                process.kill()
            _tell(settings, pid, report)
            time.sleep(POLL_SECONDS)
