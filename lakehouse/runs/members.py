"""The worker processes of a worker service: each started, looked at, and for certain dead when it is given up."""

from __future__ import annotations

import contextlib
import multiprocessing
import secrets
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import psutil

from lakehouse.settings import Settings

Prepare = Callable[[], None]
"""A function of a module, which a worker calls before anything else."""

# What a worker needs is imported once, in a process that does nothing else, and every worker is a fork of it: a new
# one is there at once, and they share that memory.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["lakehouse.runs.worker"])


class Member:
    """One worker process. Its name is new at each start, so that a name stands for one process for ever."""

    def __init__(self, settings: Settings, prepare: Prepare | None) -> None:
        """Starts it."""
        self.name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.started = time.monotonic()
        self.is_warm = False
        self._ready, theirs = _FORKS.Pipe(duplex=False)
        self.process = _FORKS.Process(target=_be_worker, args=(settings, self.name, theirs, prepare), name=self.name)
        self.process.start()
        theirs.close()
        self.pid = self.process.pid or 0
        self._itself = _process(self.pid)

    def look(self) -> int | None:
        """Its exit code, None while it runs; notes when it has become warm."""
        if not self.is_warm and self._ready.poll():
            with contextlib.suppress(EOFError):  # it died first, and its exit code says so
                self.is_warm = bool(self._ready.recv_bytes())
        return self.process.exitcode

    def kill(self) -> None:
        """Make sure that it is dead: when the process that forked it was killed, only its exit code is lost."""
        if self._itself is not None:
            with contextlib.suppress(psutil.Error):
                self._itself.kill()

    def close(self) -> None:
        """Forget a dead one."""
        self.kill()
        self._ready.close()
        self.process.close()


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:  # it is dead already
        return None


def _be_worker(settings: Settings, name: str, ready: Connection, prepare: Prepare | None) -> None:
    """What a fork does. It imports this module to find it, which is why so little is imported above."""
    from lakehouse.runs.worker import Worker

    if prepare is not None:
        prepare()
    worker = Worker(settings, name)
    ready.send_bytes(b"1")
    ready.close()
    worker.work()
