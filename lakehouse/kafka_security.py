"""How clients prove to Kafka who they are, for both of our clients: kafka-python and Spark.

MSK knows its clients by their AWS credentials, which the standard chain finds (an instance's role, a profile, the
environment): there is no password. Both clients send a signed request as an OAUTHBEARER token, made anew for each
login, so that credentials may expire.
"""

from __future__ import annotations

from typing import Any

from kafka.net.sasl.oauth import AbstractTokenProvider

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings

_LOGIN_HANDLER = "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler"


class MskToken(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """Makes the token of one login with the AWS credentials of this process."""

    def __init__(self, region: str) -> None:
        """`region` is the cluster's."""
        super().__init__()
        self._region = region

    def token(self) -> str:
        """A token that is valid for 15 minutes. Raises ShoplakeError without credentials."""
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
        from botocore.session import Session

        if Session().get_credentials() is None:
            raise ShoplakeError("There are no AWS credentials; set AWS_PROFILE, or give the instance its role.")
        token, _expires_ms = MSKAuthTokenProvider.generate_auth_token(self._region)
        return str(token)


def client_options(settings: Settings) -> dict[str, Any]:
    """What every kafka-python client gets besides its address."""
    if settings.kafka_security == "plaintext":
        return {}
    options: dict[str, Any] = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": MskToken(settings.s3_region),
    }
    if settings.kafka_ca_file is not None:
        options["ssl_cafile"] = str(settings.kafka_ca_file)
    return options


def spark_options(settings: Settings) -> dict[str, str]:
    """What Spark's Kafka source gets besides its address; the JVM's own store of authorities is used without a file."""
    if settings.kafka_security == "plaintext":
        return {}
    options = {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "OAUTHBEARER",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
        "kafka.sasl.login.callback.handler.class": _LOGIN_HANDLER,
        "kafka.sasl.client.callback.handler.class": _LOGIN_HANDLER,
    }
    if settings.kafka_ca_file is not None:
        options |= {
            "kafka.ssl.truststore.type": "PEM",
            "kafka.ssl.truststore.location": str(settings.kafka_ca_file),
        }
    return options
