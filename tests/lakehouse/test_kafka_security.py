"""How both Kafka clients sign in at MSK, and that no secret is in any option."""

import base64
import os
from urllib.parse import parse_qs, urlsplit

import pytest

from lakehouse import broker
from lakehouse.errors import ShoplakeError, UsageError
from tests.support.platform import free_settings


@pytest.fixture
def credentials(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-seen")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")


def msk(tmp_path, **more):
    return free_settings(
        tmp_path, kafka_bootstrap="b-1.example:9098", kafka_security="msk-iam", s3_region="eu-central-1", **more
    )


def test_plaintext_adds_nothing(tmp_path):
    settings = free_settings(tmp_path)
    assert broker.client_options(settings) == {} and broker.spark_options(settings) == {}


def test_a_token_is_a_request_signed_with_the_credentials_at_hand(tmp_path, credentials):
    from kafka.net.sasl.oauth import AbstractTokenProvider

    options = broker.client_options(msk(tmp_path))
    assert isinstance(options["sasl_oauth_token_provider"], AbstractTokenProvider)
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_SSL", "OAUTHBEARER")
    token = options["sasl_oauth_token_provider"].token()
    address = urlsplit(base64.urlsafe_b64decode(token + "==").decode())
    signed = parse_qs(address.query)
    assert address.hostname == "kafka.eu-central-1.amazonaws.com"
    assert signed["Action"] == ["kafka-cluster:Connect"] and signed["X-Amz-Security-Token"] == ["session"]
    assert signed["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert signed["X-Amz-Credential"][0].endswith("/eu-central-1/kafka-cluster/aws4_request")
    assert "never-seen" not in address.geturl()


def test_without_credentials_it_says_so(tmp_path, credentials, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ShoplakeError, match="no AWS credentials"):
        broker.MskToken("eu-central-1").token()


def test_spark_signs_in_with_the_library_that_is_locked(tmp_path):
    import zipfile

    from lakehouse.services.jars import jar_set

    options = broker.spark_options(msk(tmp_path, kafka_ca_file=tmp_path / "ca.pem"))
    assert options["kafka.security.protocol"] == "SASL_SSL" and options["kafka.sasl.mechanism"] == "OAUTHBEARER"
    assert options["kafka.ssl.truststore.location"] == str(tmp_path / "ca.pem")
    handler = options["kafka.sasl.login.callback.handler.class"].replace(".", "/") + ".class"
    jar = next(jar for jar in jar_set("spark") if jar.artifact == "aws-msk-iam-auth")
    if not jar.is_present:
        pytest.skip("the JVM parts are not fetched")
    assert handler in zipfile.ZipFile(jar.path).namelist()


def test_a_cluster_needs_an_address(tmp_path):
    with pytest.raises(UsageError, match="set SHOPLAKE_KAFKA_BOOTSTRAP"):
        free_settings(tmp_path, kafka_security="msk-iam")
