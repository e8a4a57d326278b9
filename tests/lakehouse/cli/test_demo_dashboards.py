"""The demo has Superset started where that can be, and says what is in the way where it cannot."""

from pathlib import Path

import pytest

from lakehouse.cli.demo import tour as demo
from lakehouse.errors import UsageError
from lakehouse.services import superset
from lakehouse.services.state import ServiceState, Snapshot, write_state
from lakehouse.settings import Settings
from tests.support.platform import free_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = free_settings(tmp_path)
    made.run_dir.mkdir(parents=True)
    return made


def test_superset_is_asked_for_once_it_can_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(superset, "check", lambda _settings: None)
    assert settings.superset_url in demo._start_superset(settings)
    assert superset.wanted_file(settings).exists()


def test_what_keeps_it_from_starting_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_settings: Settings) -> None:
        raise UsageError("is not installed: run `make superset`")

    monkeypatch.setattr(superset, "check", refuse)
    assert demo._start_superset(settings) == "Superset is not installed: run `make superset`"
    assert not superset.wanted_file(settings).exists()


def test_a_superset_that_runs_is_left_alone(settings: Settings) -> None:
    up = ServiceState("up", settings.superset_url, 1, "")
    write_state(settings, Snapshot(1, {superset.NAME: up}))
    assert settings.superset_url in demo._start_superset(settings)
    assert not superset.wanted_file(settings).exists()
