"""What keeps Superset from starting is one sentence that says what to do; nothing else is kept from starting."""

import runpy
import socket
from pathlib import Path
from typing import Any

import pytest

from lakehouse.cli.platform import StartReporter
from lakehouse.services import superset
from lakehouse.services.child import FIRST_START_ATTEMPTS, Child
from lakehouse.services.state import Snapshot
from tests.support.platform import free_settings


def refused(folder: Path, **overrides: object) -> Child:
    """Superset after it was tried as often as a part that is needed would be."""
    settings = free_settings(folder, **overrides)
    child = Child(superset.service(settings), settings)
    for _ in range(FIRST_START_ATTEMPTS + 1):
        child.tick(True)
        child._not_before = 0.0
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


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("proxies", ["", "*"])
def test_a_public_address_without_a_proxy_that_has_tls(tmp_path: Path, proxies: str) -> None:
    said = refused(tmp_path, superset_host="0.0.0.0", api_trusted_proxies=proxies).message  # noqa: S104
    assert "SHOPLAKE_API_TRUSTED_PROXIES" in said


def configuration(folder: Path, monkeypatch: pytest.MonkeyPatch, proxies: str = "") -> dict[str, Any]:
    """Superset's configuration as the platform sets it."""
    (folder / "secret.key").write_text("k")
    monkeypatch.setenv("SUPERSET_HOME", str(folder))
    monkeypatch.setenv("SHOPLAKE_API_TRUSTED_PROXIES", proxies)
    return runpy.run_path(str(superset.FOLDER / "superset_config.py"))


def test_guessing_passwords_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = configuration(tmp_path, monkeypatch)
    assert found["RATELIMIT_ENABLED"] and found["AUTH_RATE_LIMITED"] and found["AUTH_RATE_LIMIT"] == "10 per minute"


@pytest.mark.parametrize(
    ("sender", "host", "proxies", "seen"),
    [
        ("127.0.0.1", "localhost:8088", "", ("200", None)),
        ("127.0.0.1", "[::1]", "", ("200", None)),
        ("127.0.0.1", "rebound.example", "", ("421", None)),
        ("10.0.0.9", "lake.example", "10.0.0.0/24", ("200", "1.2.3.4")),
        ("10.0.1.9", "lake.example", "10.0.0.0/24", ("200", None)),
    ],
)
def test_only_proxies_are_believed_and_only_own_names_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sender: str, host: str, proxies: str, seen: tuple[str, str | None]
) -> None:
    found = configuration(tmp_path, monkeypatch, proxies)
    assert found["ENABLE_PROXY_FIX"] is found["SESSION_COOKIE_SECURE"] is bool(proxies)
    told: list[str | None] = []

    def app(environ: dict[str, str], start_response: Any) -> list[bytes]:
        told.append(environ.get("HTTP_X_FORWARDED_FOR"))
        start_response("200 OK", [])
        return []

    statuses: list[str] = []
    environ = {"REMOTE_ADDR": sender, "HTTP_HOST": host, "HTTP_X_FORWARDED_FOR": "1.2.3.4"}
    (guard,) = found["ADDITIONAL_MIDDLEWARE"]
    guard(app)(environ, lambda status, _headers: statuses.append(status[:3]))
    assert (statuses, told) == ([seen[0]], [seen[1]] if seen[0] == "200" else [])
