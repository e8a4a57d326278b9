"""The Spark server's classes, parsed and verified once per environment: Java's class data sharing (JEP 350).

The first server that is ended in peace writes down the classes it has loaded, some twenty thousand; every later one
maps them into memory. The archive fits one Java and one set of jars (Java checks that, and does without when it does
not fit), so its name is made of them, and it lives in the environment that holds Spark.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

_COMPLETE = 4
"""Bytes at an archive's beginning that Java writes last."""
_NAME = "spark-classes"


def java_options(java_home: Path, jars: Iterable[Path], folder: Path | None = None) -> str:
    """Options that let a server use the archive, or write it at its end where there is none: quoted, behind a space.

    Nothing where there is none and `folder` (by default the environment's own) cannot be written to.
    """
    folder = folder or Path(sys.prefix)
    archive = folder / f"{_NAME}-{_key(java_home, jars)}.jsa"
    is_ours_to_write = os.access(folder, os.W_OK)
    if is_ours_to_write:
        _tidy(archive, java_home)
    if archive.exists():
        return f' "-XX:SharedArchiveFile={archive}"'
    return f' "-XX:ArchiveClassesAtExit={archive}.{os.getpid()}"' if is_ours_to_write else ""


def _key(java_home: Path, jars: Iterable[Path]) -> str:
    """What Java compares: its own build, and path, size and time of every jar."""
    release = java_home / "release"
    parts = [str(java_home), release.read_text() if release.is_file() else ""]
    for jar in jars:
        found = jar.stat()
        parts.append(f"{jar} {found.st_size} {found.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _tidy(archive: Path, java_home: Path) -> None:
    """Take over what an ended server has written, and drop what fits no longer."""
    for file in archive.parent.glob(f"{_NAME}-*.jsa*"):
        writer = file.suffix[1:]
        if file == archive or _is_being_written(writer):
            continue
        with contextlib.suppress(FileNotFoundError):  # another lake that starts now may tidy up too
            is_ours = writer.isdigit() and file.stem == archive.name and not archive.exists()
            if is_ours and _is_complete(file) and _is_taken(file, java_home):
                file.replace(archive)
            else:
                file.unlink()


def _is_being_written(writer: str) -> bool:
    """Whether the supervisor that wanted it lives; this process asks when its own server has ended."""
    return writer.isdigit() and int(writer) != os.getpid() and psutil.pid_exists(int(writer))


def _is_complete(file: Path) -> bool:
    with file.open("rb") as opened:
        return any(opened.read(_COMPLETE))


def _is_taken(file: Path, java_home: Path) -> bool:
    """Whether Java starts with it: one whose end is missing would abort every server."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
    command = [str(java_home / "bin" / "java"), f"-XX:SharedArchiveFile={file}", "-version"]
    return subprocess.run(command, capture_output=True).returncode == 0
