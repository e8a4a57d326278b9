"""What is secret in the environment is in no log and in no message."""

import pytest

from api.app import access_log
from lakehouse.errors import UsageError
from lakehouse.secret_words import hide, secret_words
from lakehouse.settings import load_settings

WEBHOOK = "https://hooks.example/services/T0/B1/s3cr3t?key=p4ss"  # pragma: allowlist secret
DATABASE = "postgresql://superset:pa%2Fss%40word@db.example:5432/records"  # pragma: allowlist secret
REMOTE = "sc://spark.example:15002/;use_ssl=true;token=t0ken"  # pragma: allowlist secret


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPLAKE_ALERT_WEBHOOK_URL", WEBHOOK)
    monkeypatch.setenv("SHOPLAKE_SUPERSET_DATABASE_URL", DATABASE)
    monkeypatch.setenv("SHOPLAKE_SPARK_REMOTE", REMOTE)


@pytest.mark.parametrize(
    "text",
    [WEBHOOK, DATABASE, REMOTE, "POST /services/T0/B1/s3cr3t", "pa%2Fss%40word", "pa/ss@word", "?key=p4ss"],
)
def test_addresses_and_their_parts_are_hidden(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    access_log().info("request", path=f"a {text} b", status=200)
    told = capsys.readouterr().out + hide(text, secret_words())
    assert "***" in told and not any(word in told for word in ("s3cr3t", "p4ss", "ss@word", "ss%40word", "t0ken"))


def test_what_is_short_or_unset_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPLAKE_SUPERSET_DATABASE_URL", "sqlite:///a")
    monkeypatch.delenv("SHOPLAKE_ALERT_WEBHOOK_URL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a")
    assert hide("a /a sqlite", secret_words()) == "a /a sqlite"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHOPLAKE_SUPERSET_DATABASE_URL", "postgresql://superset:pa55word@db:port/x"),  # pragma: allowlist secret
        ("SHOPLAKE_SUPERSET_DATABASE_URL", "pa55word"),
        ("SHOPLAKE_ALERT_WEBHOOK_URL", "hooks.example/pa55word"),
    ],
)
def test_a_wrong_address_is_not_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=rf"^The setting {name} is wrong") as told:
        load_settings()
    assert "pa55word" not in str(told.value)


def test_right_addresses_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (DATABASE, "sqlite:////a/b.db", "postgresql+psycopg2://u@[::1]:5432/x", "postgresql://db/x?a=b"):
        monkeypatch.setenv("SHOPLAKE_SUPERSET_DATABASE_URL", address)
        assert load_settings().superset_database_url == address
