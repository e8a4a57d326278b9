"""Finds and ends the processes of one lake, and only those: each carries the lake's mark in its environment."""

import contextlib
import os
from collections.abc import Callable, Iterable

import psutil

from lakehouse.settings import Settings

MARK = "_SHOPLAKE_LAKE"


def lake_mark(settings: Settings) -> dict[str, str]:
    """The environment variable that every child gets and hands on to its own children (Spark's Python workers)."""
    return {MARK: str(settings.data_dir.resolve())}


def lake_processes(settings: Settings) -> list[psutil.Process]:
    """All processes that descend from a supervisor of this lake, whoever is their parent now."""
    return [one for one in psutil.process_iter() if one.pid != os.getpid() and _belongs_to(one, settings)]


def is_alive(settings: Settings, pid: int) -> bool:
    """Whether this process id still is a process of this lake."""
    try:
        return _belongs_to(psutil.Process(pid), settings)
    except psutil.Error:
        return False


def _belongs_to(process: psutil.Process, settings: Settings) -> bool:
    """Whether a process carries the lake's mark. A zombie has no environment any more, and so no mark."""
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == lake_mark(settings)[MARK]
    return False


def end_processes(processes: Iterable[psutil.Process], patience: float) -> None:
    """Ask them to end, and make them end after `patience` seconds. psutil never hits a reused process id."""
    waiting = list(processes)
    for process in waiting:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, waiting = psutil.wait_procs(waiting, timeout=patience)
    for process in waiting:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(waiting, timeout=10)


def end_lake_processes(settings: Settings, patience: float = 15) -> int:
    """End everything that still runs for this lake; how many there were."""
    found = lake_processes(settings)
    end_processes(found, patience)
    return len(found)


def memory_mb(pid: int) -> int:
    """Memory of a process and of what it started, in MB; 0 when it is gone.

    Pages that several processes share (libraries, what a fork has not changed) count once in all, where the system
    tells (Linux); elsewhere once per process.
    """
    return _total_mb(pid, _shared_once)


def memory_over_mb(pid: int, limit: int) -> int:
    """What `memory_mb` says when that is more than `limit`, else 0.

    Cheap far below the limit: to tell who shares a page, the system has to walk through all of them.
    """
    if _total_mb(pid, lambda process: process.memory_info().rss) <= limit:
        return 0
    used = memory_mb(pid)
    return used if used > limit else 0


def _total_mb(pid: int, size: Callable[[psutil.Process], int]) -> int:
    """The sizes of a process and of what it started, in MB; who is gone has none."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in family:
        with contextlib.suppress(psutil.Error):
            total += size(member)
    return total // 2**20


def _shared_once(process: psutil.Process) -> int:
    used = process.memory_full_info()
    return int(getattr(used, "pss", used.rss))
