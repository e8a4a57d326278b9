from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.served_api import ServedApi, served


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    """One API for the tests of a module."""
    with served(tmp_path_factory.mktemp("api"), api_slow_seconds=3) as made:
        yield made
