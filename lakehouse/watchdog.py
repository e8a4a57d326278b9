"""What keeps a question from taking its process down: a limit of time for each, a limit of memory for the process, and
a folder of its own for what does not fit."""

import math
import os
import resource
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lakehouse.errors import ShoplakeError

SECONDS = 600.0
"""How long DuckDB may work on a question of a person."""
SPARE_MB = 1024
"""What a process may take beyond DuckDB's own limit: Python, the stacks of threads, values under construction."""


def limit_memory(duckdb_mb: int) -> None:
    """Let this process, and what it becomes, have no more than DuckDB may use and a part to spare.

    DuckDB's own limit does not count a text while a function makes it: `lpad('', 2000000000, 'x')`. Beyond this limit
    it is told that there is no memory, the question fails, and nothing else does.
    """
    wanted = (duckdb_mb + SPARE_MB) * 2**20
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [wanted, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))


def spill_folder(serving_file: Path, name: str = "") -> Path:
    """Where a database of this process puts what its memory does not hold; without a name another one each time. Two
    databases with one folder write into each other's files: their processes crash, or answer wrongly. What processes
    left there that were killed, and that has records of people, is deleted.
    """
    for left in serving_file.parent.glob("spilled-*"):
        if not _lives(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)
    return serving_file.with_name(f"spilled-{os.getpid()}-{name or uuid.uuid4().hex}")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


class Watchdog:
    """Ends a question on one connection when DuckDB has worked on it for too long; the time between calls is free."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seconds: float = SECONDS) -> None:
        self._connection, self._seconds, self._left = connection, seconds, seconds
        self._has_barked = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around each call of DuckDB. Raises ShoplakeError for a call that it has ended, or that needs too much memory,
        and KeyboardInterrupt."""
        done = threading.Event()
        dog = threading.Thread(target=self._end, args=(done,), daemon=True)
        if not math.isinf(self._left):  # else of the lake's own processes, for which a thread a call would be too much
            dog.start()
        began = time.monotonic()
        try:
            yield
        except duckdb.InterruptException:
            if self._has_barked:
                raise ShoplakeError(f"The query was ended: it took more than {self._seconds:g} seconds.") from None
            raise
        except MemoryError:
            raise ShoplakeError("The query fails: it needs more memory than it may have.") from None
        except RuntimeError as error:
            # DuckDB's word for Ctrl-C. It works on, and whatever came next, closing it too, would wait for it.
            if isinstance(error.__cause__, KeyboardInterrupt):
                self._connection.interrupt()
                raise KeyboardInterrupt from None
            raise
        finally:
            done.set()
            if self._has_barked:
                dog.join()  # so that its last interrupt does not meet the next statement of the connection
            self._left -= time.monotonic() - began

    def _end(self, done: threading.Event) -> None:
        if done.wait(max(self._left, 0)):
            return
        self._has_barked = True
        # DuckDB forgets an interrupt that comes just before a statement begins; so it is repeated.
        while not done.is_set():
            self._connection.interrupt()
            done.wait(0.05)
