"""What keeps Superset from starting is one sentence that says what to do; nothing else is kept from starting."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lakehouse.cli.platform import StartReporter
from lakehouse.services import superset
from lakehouse.services.child import FIRST_START_ATTEMPTS, Child
from lakehouse.services.state import Snapshot
from lakehouse.services.testing import free_settings


def refused(folder: Path, **overrides: object) -> Child:
    """Superset after it was tried as often as a part that is needed would be."""
    settings = free_settings(folder, **overrides)
    child = Child(superset.service(settings), settings)
    for _ in range(FIRST_START_ATTEMPTS + 1):
        child.tick(True)
        child._restart.not_before = 0.0
    assert child.state == "failed" and child.pid is None
    assert not child.has_given_up and Snapshot.of(1, [child]).is_up
    return child


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Superset's environment seems to be there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".installed").touch()
    monkeypatch.setattr(superset, "PYTHON", tmp_path / "bin" / "python")


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(superset, "PYTHON", tmp_path / "bin" / "python")
    child = refused(tmp_path)
    assert child.message == "superset is not installed: run `make superset`"
    reporter = StartReporter()
    for _ in range(3):
        reporter(Snapshot.of(1, [child]))
    assert capsys.readouterr().err.split("\n") == [f"  {child.message}", ""] and reporter.failed == "superset"


@pytest.mark.usefixtures("installed")
def test_too_little_memory(tmp_path: Path) -> None:
    said = refused(tmp_path, superset_memory_mb=10**8).message
    assert said.startswith("superset needs 100000000 MB of memory, and ") and said.endswith(": end other programs")


@pytest.mark.usefixtures("installed")
def test_busy_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(tmp_path, superset_port=port).message
    assert said.startswith(f"superset cannot start. Port {port} is held by ") and "SHOPLAKE_SUPERSET_PORT" in said
