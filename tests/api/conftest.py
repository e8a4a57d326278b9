from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sample_serving
from tests.support.served_api import ServedApi, served


@pytest.fixture(scope="session")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published file with some rows in every table."""
    path = tmp_path_factory.mktemp("sample") / "serving.duckdb"
    sample_serving.publish(path)
    return path


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, sample_file: Path) -> Iterator[ServedApi]:
    """One API for the tests of a module."""
    with served(tmp_path_factory.mktemp("api"), api_slow_seconds=3) as made:
        made.publish(sample_file)
        yield made
