"""An empty registry on SQLite, and the same on a real PostgreSQL server when its programs are installed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings
from tests.support.postgres import new_database, postgres_server
from tests.support.registry_calls import registry_at, settings_for


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL server of our own, gone afterwards."""
    with postgres_server() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Settings:
    """Settings with the database, and no limits in the way."""
    return settings_for(tmp_path, url)


@pytest.fixture
def registry(settings: Settings) -> Iterator[RunRegistry]:
    """An empty registry."""
    made = registry_at(settings)
    yield made
    made.close()


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Three other processes."""
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool
