"""Log files of the children: one each, kept small."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import IO

MAX_BYTES = 20 * 1024 * 1024
KEPT = 3


def open_log(path: Path) -> IO[bytes]:
    """Open a child's log for appending, after rotation when it has grown large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rotate(path, MAX_BYTES // 4)
    return path.open("ab")


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Move a large log aside. The child goes on writing to the same, now empty, file."""
    try:
        if path.stat().st_size < max_bytes:
            return
    except OSError:
        return
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+b") as file:
        file.truncate(0)
