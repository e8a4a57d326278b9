"""An emulated AWS."""

import os

import boto3
import pytest
from moto import mock_aws

from tests.support.aws import REGION, complete_moto


@pytest.fixture
def aws(monkeypatch):
    """A session with an AWS of its own, whatever the environment says of a real one."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    complete_moto()
    with mock_aws():
        yield boto3.Session(region_name=REGION)
