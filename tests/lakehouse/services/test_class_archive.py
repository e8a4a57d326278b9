"""Which archive of classes a Spark server is told to use, and what becomes of those that ended servers wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.services.class_archive import java_options


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    (tmp_path / "jars").mkdir()
    made = [tmp_path / "jars" / name for name in ("a.jar", "b.jar")]
    for jar in made:
        jar.write_bytes(b"classes")
    java_that_exits(tmp_path, 0)
    return made


def java_that_exits(home: Path, code: int) -> None:
    """A Java in `home` that says with its exit code whether it takes an archive."""
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin" / "java").write_text(f"#!/bin/sh\nexit {code}\n")
    (home / "bin" / "java").chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "environment").mkdir()
    return tmp_path / "environment"


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def written_by(pid: int, options: str, content: bytes) -> Path:
    """What a server that got `options` from a supervisor with that process id leaves."""
    before = ' "-XX:ArchiveClassesAtExit='
    assert options.startswith(before) and options.endswith('"')
    part = Path(options.removeprefix(before).removesuffix('"'))
    file = part.with_suffix(f".{pid}")
    file.write_bytes(content)
    return file


def test_the_first_server_writes_and_the_next_ones_read(tmp_path: Path, folder: Path, jars: list[Path]) -> None:
    first = java_options(tmp_path, jars, folder)
    assert first.endswith(f'.jsa.{os.getpid()}"')
    part = written_by(ended_process(), first, b"\xf0\x0b\xa9\xd0 classes")
    assert java_options(tmp_path, jars, folder) == f' "-XX:SharedArchiveFile={part.with_suffix("")}"'
    assert [file.name for file in folder.iterdir()] == [part.with_suffix("").name]


def test_an_archive_that_was_cut_off_is_written_again(tmp_path: Path, folder: Path, jars: list[Path]) -> None:
    first = java_options(tmp_path, jars, folder)
    written_by(ended_process(), first, bytes(4) + b"classes")
    assert java_options(tmp_path, jars, folder) == first
    assert not list(folder.iterdir())


def test_an_archive_that_java_does_not_start_with_is_written_again(
    tmp_path: Path, folder: Path, jars: list[Path]
) -> None:
    first = java_options(tmp_path, jars, folder)
    written_by(ended_process(), first, b"\xf0\x0b\xa9\xd0 cut off")
    java_that_exits(tmp_path, 134)
    assert java_options(tmp_path, jars, folder) == first
    assert not list(folder.iterdir())


def test_a_server_that_is_started_again_uses_what_the_one_before_wrote(
    tmp_path: Path, folder: Path, jars: list[Path]
) -> None:
    written_by(os.getpid(), java_options(tmp_path, jars, folder), b"\xf0\x0b\xa9\xd0 classes")
    assert "SharedArchiveFile" in java_options(tmp_path, jars, folder)


def test_what_a_living_lake_is_writing_stays(tmp_path: Path, folder: Path, jars: list[Path]) -> None:
    part = written_by(os.getppid(), java_options(tmp_path, jars, folder), b"\xf0\x0b\xa9\xd0 classes")
    java_options(tmp_path, jars, folder)
    assert part.exists()


@pytest.mark.parametrize("change", ["another jar", "a newer jar", "another Java"])
def test_an_archive_of_other_classes_is_dropped(tmp_path: Path, folder: Path, jars: list[Path], change: str) -> None:
    part = written_by(ended_process(), java_options(tmp_path, jars, folder), b"\xf0\x0b\xa9\xd0 classes")
    java_options(tmp_path, jars, folder)
    if change == "another jar":
        jars[0].write_bytes(b"more classes")
    elif change == "a newer jar":
        os.utime(jars[0], (1, 1))
    else:
        (tmp_path / "release").write_text('JAVA_VERSION="21"')
    assert "ArchiveClassesAtExit" in java_options(tmp_path, jars, folder)
    assert not part.with_suffix("").exists()


def test_an_environment_that_is_not_ours_to_write_has_none(tmp_path: Path, jars: list[Path]) -> None:
    assert java_options(tmp_path, jars, tmp_path / "nowhere") == ""
