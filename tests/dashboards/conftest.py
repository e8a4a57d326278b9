"""One Superset for the tests of this folder."""

from collections.abc import Iterator

import pytest

from lakehouse.services import superset
from lakehouse.services.child import Child, alone
from lakehouse.settings import Settings
from tests.support import sample_serving
from tests.support.platform import free_settings


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Child]]:
    """Superset as the supervisor runs it, over a file with a row or two per table."""
    settings = free_settings(tmp_path_factory.mktemp("superset"))
    sample_serving.publish(settings.serving_file)
    with alone(superset.service(settings), settings) as child:
        yield settings, child


@pytest.fixture(scope="package")
def settings(running: tuple[Settings, Child]) -> Settings:
    return running[0]
