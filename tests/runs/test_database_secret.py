"""RDS changes the database's password every week, in a secret: connections that are refused ask for the newest."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws
from sqlalchemy import make_url, text

from lakehouse.runs.database import Database, RegistryAway
from tests.support.postgres import new_database


@pytest.fixture
def address(postgres: str) -> str:
    """A database as the address has it that was read at the start: nobody is let in by that any more."""
    url = make_url(new_database(postgres)).set(username="gone", drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("secretsmanager", region_name="eu-central-1")
        login = json.dumps({"username": "shoplake", "password": "newest"})
        yield str(client.create_secret(Name="rds", SecretString=login)["ARN"])


def test_a_refused_login_is_tried_again_with_what_the_secret_says(address: str, secret: str) -> None:
    database = Database(address, secret)
    for _ in range(2):
        with database.reading() as session:
            assert session.execute(text("select current_user")).scalar_one() == "shoplake"
        database.engine.dispose()  # the next one connects anew
    database.close()


def test_without_a_secret_that_can_be_read_the_database_is_away(address: str, secret: str) -> None:
    for unreadable in (None, secret.replace("rds", "other")):
        database = Database(address, unreadable)
        with pytest.raises(RegistryAway), database.reading() as session:
            session.execute(text("select 1"))
        database.close()
