"""The bucket of a lake in an emulated S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from moto import mock_aws

from lakehouse.services import s3
from lakehouse.settings import Settings
from tests.support.platform import free_settings


@contextmanager
def moto_lake(folder: Path, monkeypatch: pytest.MonkeyPatch, **overrides: object) -> Iterator[Settings]:
    """Settings of a lake whose bucket is there, and empty, while the block lasts."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        made = free_settings(folder, s3_endpoint="", bucket="lake", **overrides)
        s3.ensure_bucket(made)
        yield made
