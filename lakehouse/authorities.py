"""Who signs the S3 server's certificate: SHOPLAKE_S3_CA_FILE as Java, DuckDB and its Delta reader want to be told.

boto3 takes the file as it is. Without the setting nothing here does anything, and public authorities are believed.
"""

from __future__ import annotations

import os
from pathlib import Path

from lakehouse.errors import UsageError
from lakehouse.settings import Settings

_PASSWORD = "authorities"  # noqa: S105 - Java wants one; a list of certificates is no secret
_DELTA_READER = "SSL_CERT_FILE"


def java_options(settings: Settings) -> str:
    """Options of a JVM that believes them, each behind a space and quoted where it may have spaces; empty without the
    setting."""
    if settings.s3_ca_file is None:
        return ""
    store = f'"-Djavax.net.ssl.trustStore={_java_store(settings)}" -Djavax.net.ssl.trustStoreType=PKCS12'
    return f" {store} -Djavax.net.ssl.trustStorePassword={_PASSWORD}"


def write_java_store(settings: Settings) -> None:
    """Write what those options name. Raises UsageError when the setting's file has no certificates."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
    from cryptography.x509 import load_pem_x509_certificates

    if settings.s3_ca_file is None:
        return
    try:
        found = load_pem_x509_certificates(settings.s3_ca_file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"SHOPLAKE_S3_CA_FILE has no certificates in PEM that can be read: {error}.") from None
    entries = [pkcs12.PKCS12Certificate(one, f"s3-{number}".encode()) for number, one in enumerate(found)]
    _java_store(settings).parent.mkdir(parents=True, exist_ok=True)
    store = pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(_PASSWORD.encode()))
    _java_store(settings).write_bytes(store)


def duckdb_statements(settings: Settings) -> list[str]:
    """What DuckDB is told before its configuration is locked.

    Its Delta reader goes by the environment of this process, where others (webhooks) look too: that gets the public
    authorities as well. Raises UsageError when the setting's file cannot be read.
    """
    if settings.s3_ca_file is None:
        return []
    both = settings.run_dir / "authorities.pem"
    if os.environ.get(_DELTA_READER) != str(both):
        import certifi

        public = Path(os.environ.get(_DELTA_READER) or certifi.where())
        try:
            text = f"{public.read_text()}\n{settings.s3_ca_file.read_text()}"
        except OSError as error:
            raise UsageError(f"Authorities cannot be read ({error}): see SHOPLAKE_S3_CA_FILE.") from None
        both.parent.mkdir(parents=True, exist_ok=True)
        aside = both.with_name(f"authorities-{os.getpid()}.pem")  # several parts may start at once
        aside.write_text(text)
        aside.replace(both)
        os.environ[_DELTA_READER] = str(both)
    quoted = str(settings.s3_ca_file).replace("'", "''")
    return [f"SET GLOBAL ca_cert_file = '{quoted}'", "SET GLOBAL enable_server_cert_verification = true"]


def _java_store(settings: Settings) -> Path:
    return settings.data_dir / "spark" / "s3-authorities.p12"
