"""One supervisor per data directory: a lock that the system releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from lakehouse.errors import UsageError
from lakehouse.settings import Settings


class LakeLock:
    """Held from `up` to `down`. The file carries the holder's process id and vanishes with a clean end."""

    def __init__(self, settings: Settings) -> None:
        """The lock of this lake, not taken yet."""
        self._path = lock_path(settings)
        self._data_dir = settings.data_dir
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; raises UsageError when another supervisor holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = self._path.open("a+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                raise UsageError(
                    f"The lake in {self._data_dir} is already up: `shoplake status` shows it, `shoplake down` ends it."
                ) from None
            if _is_same_file(file, self._path):
                break
            file.close()
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def lock_path(settings: Settings) -> Path:
    """Where the lock of this lake lies."""
    return settings.run_dir / "lock"


def lock_holder(settings: Settings) -> int | None:
    """The process id of the living supervisor, None when nobody holds the lock."""
    try:
        file = lock_path(settings).open("r+")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return int(file.read().strip() or 0) or None
    return None


def _is_same_file(file: IO[str], path: Path) -> bool:
    """Whether the locked file is still the one in the folder: its last holder may just have removed it."""
    try:
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except OSError:
        return False
