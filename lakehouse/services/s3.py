"""The embedded S3 server (S3Proxy over a folder), and the bucket of the lake wherever it lives."""

from typing import Any

from lakehouse.errors import ShoplakeError
from lakehouse.lake_secret import PRIVATE_FILE, s3_keys
from lakehouse.probes import replies
from lakehouse.reports import replace_text
from lakehouse.s3 import s3_client
from lakehouse.services.jars import class_path
from lakehouse.services.service import Service, java, jvm_options, properties
from lakehouse.settings import Settings

NOTHING_PUBLIC = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
LOGBACK = """\
<configuration>
  <appender name="console" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %logger{0}: %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="console"/></root>
</configuration>
"""


def s3proxy_properties(settings: Settings) -> dict[str, object]:
    """The server's configuration: on this machine only, and only for who signs with the lake's keys."""
    key, secret = s3_keys(settings)
    return {
        "s3proxy.endpoint": f"http://127.0.0.1:{settings.s3_port}",
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": key,
        "s3proxy.credential": secret,
        # A body that is signed as a whole is held in memory until its signature was checked.
        "s3proxy.v4-max-non-chunked-request-size": 64 * 2**20,
        "s3proxy.jetty.max-threads": 128,
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": settings.data_dir / "s3",
        "jclouds.identity": "folder",
        "jclouds.credential": "folder",
    }


def service(settings: Settings) -> Service:
    """The S3 server as the supervisor sees it."""
    home = settings.data_dir / "s3proxy"
    return Service(
        name="s3",
        address_name="endpoint",
        address=settings.endpoint,
        is_embedded=settings.s3_is_embedded,
        command=(
            java(),
            *jvm_options(settings.s3_memory_mb),
            "-XX:+UseG1GC",
            "-XX:MaxDirectMemorySize=256m",
            f"-Dlogback.configurationFile={home / 'logback.xml'}",
            "org.gaul.s3proxy.Main",
            "--properties",
            str(home / "s3proxy.properties"),
        ),
        env={"CLASSPATH": class_path("s3proxy")},
        ports={"SHOPLAKE_S3_PORT": settings.s3_port},
        is_healthy=lambda _pid: replies(settings.s3_port, b"GET / HTTP/1.0\r\n\r\n"),
        prepare=lambda: _prepare(settings),
        on_up=lambda: ensure_bucket(settings),
        memory_limit_mb=settings.s3_memory_mb + 256,
        memory_mb=settings.s3_memory_mb // 2 + 8,
    )


def ensure_bucket(settings: Settings) -> None:
    """Make the lake's bucket when it is not there; block public access and set versioning where S3 can."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(settings)
    try:
        _create_bucket(client, settings)
        if not settings.s3_is_embedded:
            _protect_bucket(client, settings)
    except (BotoCoreError, ClientError) as error:
        where = settings.endpoint or "AWS"
        raise ShoplakeError(f"The bucket {settings.bucket} cannot be made ready at {where}: {error}") from None


def _create_bucket(client: Any, settings: Settings) -> None:
    try:
        client.head_bucket(Bucket=settings.bucket)
        return
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    location: dict[str, Any] = {}
    if not settings.endpoint and settings.s3_region != "us-east-1":
        location = {"CreateBucketConfiguration": {"LocationConstraint": settings.s3_region}}
    client.create_bucket(Bucket=settings.bucket, **location)


def _protect_bucket(client: Any, settings: Settings) -> None:
    try:
        # A role on AWS may look at this, and not change it: written only where it differs.
        if _public_access(client, settings) != NOTHING_PUBLIC:
            client.put_public_access_block(Bucket=settings.bucket, PublicAccessBlockConfiguration=NOTHING_PUBLIC)
    except client.exceptions.ClientError as error:
        # Servers other than AWS may not know public access, and so cannot block it.
        if not settings.endpoint or error.response["Error"]["Code"] != "NotImplemented":
            raise
    known = client.get_bucket_versioning(Bucket=settings.bucket).get("Status")
    wanted = "Enabled" if settings.bucket_versioning else "Suspended"
    if known != wanted and (known or settings.bucket_versioning):
        client.put_bucket_versioning(Bucket=settings.bucket, VersioningConfiguration={"Status": wanted})


def _public_access(client: Any, settings: Settings) -> dict[str, bool] | None:
    try:
        return dict(client.get_public_access_block(Bucket=settings.bucket)["PublicAccessBlockConfiguration"])
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchPublicAccessBlockConfiguration":
            return None
        raise


def _prepare(settings: Settings) -> None:
    home = settings.data_dir / "s3proxy"
    (settings.data_dir / "s3").mkdir(parents=True, exist_ok=True)
    replace_text(home / "logback.xml", LOGBACK)
    replace_text(home / "s3proxy.properties", properties(s3proxy_properties(settings)), PRIVATE_FILE)
