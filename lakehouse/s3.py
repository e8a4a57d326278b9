"""The lake's S3 as each of its four clients wants to be told of it: boto3, delta-rs, DuckDB, and Spark through Hadoop.

The rules are the same for all: an empty endpoint is AWS, any other is asked by path; the embedded server wants the
lake's own keys, others those of the AWS chain; SHOPLAKE_S3_CA_FILE says who signs the server's certificate.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lake_secret import s3_keys
from lakehouse.reports import replace_text
from lakehouse.settings import Settings
from lakehouse.sql_text import quoted_text

_PASSWORD = "authorities"  # noqa: S105 - Java wants one; a list of certificates is no secret
_DELTA_READER = "SSL_CERT_FILE"
_MOST_KEYS = 1000
"""So many objects S3 deletes with one request."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def address(settings: Settings) -> str:
    """Where S3 is."""
    return settings.endpoint or f"https://s3.{settings.s3_region}.amazonaws.com"


def s3_client(settings: Settings) -> Any:
    """A client of boto3."""
    import boto3
    from botocore.config import Config

    config = Config(
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
        # Servers other than AWS do not all know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"max_attempts": 4, "mode": "standard"},
        connect_timeout=5,
        read_timeout=30,
    )
    options: dict[str, str] = {}
    if settings.s3_is_embedded:
        options["aws_access_key_id"], options["aws_secret_access_key"] = s3_keys(settings)
    if settings.s3_ca_file is not None:
        options["verify"] = str(settings.s3_ca_file)
    endpoint = settings.endpoint or None
    return boto3.client("s3", endpoint_url=endpoint, region_name=settings.s3_region, config=config, **options)


def inside(key: str, whose: str) -> str:
    """The key, if it names a place below where it is used: a Delta log or a manifest may have been written by somebody
    else. Raises ShoplakeError, which tells `whose` key it is."""
    parts = key.split("/")
    if not key.isprintable() or "\\" in key or _SCHEME.match(key) or any(part in ("", ".", "..") for part in parts):
        raise ShoplakeError(f"{whose} has a file outside its own folder ({key[:200]!a}).")
    return key


def listed(client: Any, bucket: str, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
    """The objects whose keys begin with `prefix`, as S3 lists them."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **more):
        yield from page.get("Contents", ())


def delete_objects(client: Any, bucket: str, objects: Sequence[dict[str, str]]) -> None:
    """Delete objects, each as `Key` (and `VersionId`), in their order. Raises ClientError when S3 refuses one, which it
    says in an answer that is no error."""
    from botocore.exceptions import ClientError

    for start in range(0, len(objects), _MOST_KEYS):
        some = list(objects[start : start + _MOST_KEYS])
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
        for refused in answer.get("Errors", ()):
            raise ClientError({"Error": refused, "ResponseMetadata": {"HTTPStatusCode": 403}}, "DeleteObjects")


def delta_options(settings: Settings) -> dict[str, str]:
    """The storage options of delta-rs."""
    duckdb_statements(settings)  # delta-rs goes by the same environment as DuckDB's Delta reader
    options = {"AWS_REGION": settings.s3_region, "aws_conditional_put": "etag"}
    if settings.endpoint:
        options |= {"AWS_ENDPOINT_URL": settings.endpoint, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false"}
        options["AWS_ALLOW_HTTP"] = str(settings.endpoint.startswith("http://")).lower()
    if settings.s3_is_embedded:
        options["AWS_ACCESS_KEY_ID"], options["AWS_SECRET_ACCESS_KEY"] = s3_keys(settings)
    return options


def hadoop_options(settings: Settings) -> dict[str, str]:
    """What Hadoop's S3A needs to get there."""
    options = {"fs.s3a.endpoint.region": settings.s3_region}
    if settings.endpoint:
        options["fs.s3a.endpoint"] = settings.endpoint
        options["fs.s3a.path.style.access"] = "true"
        options["fs.s3a.connection.ssl.enabled"] = str(settings.endpoint.startswith("https")).lower()
    provider = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
    if settings.s3_is_embedded:
        options["fs.s3a.access.key"], options["fs.s3a.secret.key"] = s3_keys(settings)
        provider = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
    return {**options, "fs.s3a.aws.credentials.provider": provider}


def duckdb_secret(settings: Settings, keys: tuple[str, str, str]) -> str:
    """The statement that makes DuckDB's secret, with what `keys_now` says."""
    key, password, token = keys
    options = {"KEY_ID": key, "SECRET": password, "REGION": settings.s3_region, "SCOPE": f"s3://{settings.bucket}"}
    if token:
        options["SESSION_TOKEN"] = token
    if settings.endpoint:
        options |= {"ENDPOINT": urlsplit(settings.endpoint).netloc, "URL_STYLE": "path"}
    pairs = [f"{name} {quoted_text(value)}" for name, value in options.items()]
    if settings.endpoint.startswith("http://"):
        pairs.append("USE_SSL false")
    return f"CREATE OR REPLACE SECRET lake (TYPE s3, {', '.join(pairs)})"


def keys_now(settings: Settings) -> tuple[str, str, str]:
    """Access key, secret key and session token as they are valid now: those of a role on AWS change. Raises
    ShoplakeError when the AWS chain has none."""
    if settings.s3_is_embedded:
        return (*s3_keys(settings), "")
    import boto3

    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise ShoplakeError("There are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret.")
    frozen = credentials.get_frozen_credentials()
    return (frozen.access_key, frozen.secret_key, frozen.token or "")


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
        replace_text(both, text)
        os.environ[_DELTA_READER] = str(both)
    return [
        f"SET GLOBAL ca_cert_file = {quoted_text(str(settings.s3_ca_file))}",
        "SET GLOBAL enable_server_cert_verification = true",
    ]


def _java_store(settings: Settings) -> Path:
    return settings.data_dir / "spark" / "s3-authorities.p12"
