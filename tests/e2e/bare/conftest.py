"""A running platform without a stream, for tests that start one themselves or treat the parts badly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lakehouse.embedded.testing import platform
from lakehouse.settings import Settings


@pytest.fixture(scope="package")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Kafka, S3, Spark and the rest, but nothing in them; the last test that uses it takes it down."""
    with platform(tmp_path_factory.mktemp("bare")) as settings:
        yield settings
