"""An empty registry."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings
from tests.support.command_line import FORKS
from tests.support.registry_calls import registry_at, settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings without limits in the way."""
    return settings_for(tmp_path)


@pytest.fixture
def registry(settings: Settings) -> Iterator[RunRegistry]:
    """An empty registry."""
    made = registry_at(settings)
    yield made
    made.close()


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Three other processes."""
    with ProcessPoolExecutor(3, mp_context=FORKS) as pool:
        yield pool
