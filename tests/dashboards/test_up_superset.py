"""`shoplake up --superset`, from a busy port to nothing left; the lake has no gold yet."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from lakehouse.lock import lock_path
from lakehouse.processes import lake_processes
from lakehouse.services.detached import stop
from lakehouse.services.ports import is_free
from lakehouse.services.service import child_environment
from lakehouse.services.state import status
from lakehouse.settings import Settings
from tests.support.browser import SLUGS, browser_page, empty_charts, log_in
from tests.support.platform import free_settings
from tests.support.shop import eventually

pytestmark = [pytest.mark.superset, pytest.mark.e2e]


def shoplake(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lakehouse.cli", *arguments]
    environment = child_environment(settings)
    return subprocess.run(
        command, env=environment, cwd=settings.data_dir, capture_output=True, text=True, timeout=400, check=False
    )


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A lake that Superset was added to while another program held its port; the port is free again."""
    settings = free_settings(tmp_path_factory.mktemp("up"))
    settings.data_dir.mkdir()
    try:
        with socket.create_server(("127.0.0.1", settings.superset_port)):
            assert shoplake(settings, "up", "--detach").returncode == 0
            assert status(settings)["superset"]["state"] == "down"
            done = shoplake(settings, "up", "--superset")
            assert done.returncode == 0, done.stderr
            assert f"Port {settings.superset_port} is held by" in done.stderr
            assert "Superset is tried again and again." in done.stderr and "Traceback" not in done.stderr
            found = status(settings)
            assert found.pop("superset")["state"] == "failed"
            assert {name: part["state"] for name, part in found.items()} == dict.fromkeys(found, "up")
        yield settings
    finally:
        stop(settings)


@pytest.fixture(scope="module")
def superset(lake: Settings) -> str:
    """Superset's address, once it has come up by itself."""
    eventually(lambda: status(lake)["superset"]["state"] == "up", 300, "Superset is up")
    told = json.loads(shoplake(lake, "status", "--format", "json").stdout)["superset"]
    assert told["state"] == "up" and told["message"] == "" and 0 < told["memory_mb"] < 1024
    again = shoplake(lake, "up", "--superset")
    assert again.returncode == 0 and "Superset is up: `shoplake superset login`." in again.stderr
    return str(told["url"])


@pytest.fixture(scope="module")
def passwords(lake: Settings, superset: str) -> dict[str, str]:
    """What `shoplake superset login` says, the first time."""
    said = shoplake(lake, "superset", "login").stdout
    assert superset in said
    return dict(re.findall(r"^(viewer|admin) +(\S+)  \(", said, re.MULTILINE))


def test_the_passwords_that_login_shows_are_right(superset: str, passwords: dict[str, str]) -> None:
    for name in ("viewer", "admin"):
        given = {"username": name, "password": passwords[name], "provider": "db", "refresh": False}
        answer = requests.post(f"{superset}/api/v1/security/login", json=given, timeout=30)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        listed = requests.get(f"{superset}/api/v1/dashboard/", headers=headers, timeout=30).json()
        assert {one["slug"] for one in listed["result"]} == set(SLUGS)


def test_the_administrators_password_is_shown_once(lake: Settings, passwords: dict[str, str]) -> None:
    again = shoplake(lake, "superset", "login").stdout
    assert passwords["viewer"] in again and passwords["admin"] not in again and "--reset" in again


def test_without_gold_every_dashboard_says_so(superset: str, passwords: dict[str, str]) -> None:
    with browser_page() as page:
        log_in(page, superset, passwords["viewer"])
        for slug in SLUGS:
            assert empty_charts(page, superset, slug)


def test_down_leaves_nothing(lake: Settings, superset: str) -> None:
    assert shoplake(lake, "down").returncode == 0
    assert lake_processes(lake) == [] and not lock_path(lake).exists() and is_free(lake.superset_port)
