"""One supervisor and one stream per data directory: locks that the system releases when their holder dies."""

import fcntl
import os
from pathlib import Path
from typing import IO

from lakehouse.errors import UsageError
from lakehouse.lake_secret import keep_private
from lakehouse.settings import Settings


class Lock:
    """A file that carries its holder's process id and vanishes with a clean end."""

    def __init__(self, settings: Settings, path: Path, refusal: str) -> None:
        """Not taken yet; `refusal` is what the next one hears while somebody holds it."""
        self._settings, self._path, self._refusal = settings, path, refusal
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock, and let nobody else into the lake's folder; raises UsageError when another process holds it,
        and for a folder of another user."""
        keep_private(self._settings)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = self._path.open("a+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                raise UsageError(self._refusal) from None
            if _is_same_file(file, self._path):
                break
            file.close()
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    @property
    def is_held(self) -> bool:
        """Whether it was taken, and its file is still the one in the folder."""
        return self._file is not None and _is_same_file(self._file, self._path)

    def release(self) -> None:
        """Give the lock back and remove its file, unless that is another's by now."""
        if self.is_held:
            self._path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()
            self._file = None


def lake_lock(settings: Settings) -> Lock:
    """Held from `up` to `down`."""
    up = f"The lake in {settings.data_dir} is already up: `shoplake status` shows it, `shoplake down` ends it."
    return Lock(settings, lock_path(settings), up)


def stream_lock(settings: Settings) -> Lock:
    """Held by the stream's client, under a supervisor or in the foreground."""
    runs = f"The stream of the lake in {settings.data_dir} runs already: `shoplake status` shows it."
    return Lock(settings, settings.run_dir / "stream.lock", runs)


def lock_path(settings: Settings) -> Path:
    """Where the lock of this lake lies."""
    return settings.run_dir / "lock"


def lock_holder(settings: Settings) -> int | None:
    """The process id of the living supervisor, None when nobody holds the lock."""
    return holder_of(lock_path(settings))


def holder_of(path: Path) -> int | None:
    """The process id of the living holder of a lock, None when it has none."""
    try:
        file = path.open("r+")
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
