"""Executors from a YARN cluster, as EMR on EC2 is one: `SHOPLAKE_SPARK_MASTER=yarn://host:8032`.

The Spark Connect server stays on its machine, and stays the lake's only Delta writer: it is the driver, and YARN gives
it executors. Nothing of ours has to be on the cluster's machines: they get Spark and the lake's JVM libraries as one
archive from the lake's bucket (docs/how-to/cluster.md).
"""

import hashlib
import socket
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from lakehouse.errors import ShoplakeError
from lakehouse.reports import replace_text
from lakehouse.s3 import listed, s3_client
from lakehouse.services.jars import jar_set
from lakehouse.settings import Settings

PREFIX = "_shoplake/spark/"
"""Where in the bucket the archive is, and what Spark gives to the cluster's machines at each start."""
DEFAULT_PORT = 8032
MANAGER_PATIENCE_MS = 120_000
ANSWER_SECONDS = 5.0


def conf(settings: Settings, spark_jars: Path) -> dict[str, str]:
    """What Spark's configuration says more than on a standalone cluster. `spark_jars` is the folder of Spark's own."""
    here = f"s3a://{settings.bucket}/{PREFIX}"
    return {
        "spark.master": "yarn",
        "spark.yarn.archive": f"{here}{_archive_name(spark_jars)}",
        "spark.yarn.stagingDir": here.rstrip("/"),
        # YARN tells the secret, which is made anew for each application.
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.executor.instances": str(settings.spark_executors),
        # A server runs for months: executors that were lost in spring must not end it in autumn.
        "spark.executor.failuresValidityInterval": "1h",
    }


def hadoop_conf(settings: Settings) -> Path:
    """The folder that HADOOP_CONF_DIR names."""
    return settings.data_dir / "spark" / "hadoop"


def prepare(settings: Settings, spark_jars: Path) -> None:
    """Before each start of the server: where YARN is, and the archive in the bucket.

    Raises ShoplakeError when YARN does not answer, and when S3 refuses.
    """
    _write_hadoop_conf(settings)
    _bring_archive(settings, spark_jars)


def _write_hadoop_conf(settings: Settings) -> None:
    """Where YARN is, and nothing of another system's configuration."""
    folder, (host, port) = hadoop_conf(settings), _manager(settings)
    yarn = {
        "yarn.resourcemanager.hostname": host,
        "yarn.resourcemanager.address": f"{host}:{port}",
        # The default is a quarter of an hour, in which a server without YARN would neither work nor end.
        "yarn.resourcemanager.connect.max-wait.ms": str(MANAGER_PATIENCE_MS),
    }
    replace_text(folder / "yarn-site.xml", hadoop_xml(yarn))
    replace_text(folder / "core-site.xml", hadoop_xml({"fs.defaultFS": f"s3a://{settings.bucket}"}))


def _manager(settings: Settings) -> tuple[str, int]:
    """The address of YARN's resource manager, which listens there."""
    manager = urlsplit(settings.spark_master)
    host, port = manager.hostname or "", manager.port or DEFAULT_PORT
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except OSError as error:
        where = f"{host}:{port}, which SHOPLAKE_SPARK_MASTER names"
        raise ShoplakeError(f"YARN's resource manager does not answer at {where} ({error}).") from None
    return host, port


def _bring_archive(settings: Settings, spark_jars: Path) -> None:
    """Put the archive into the bucket unless it is there, and take away what earlier servers left."""
    from botocore.exceptions import BotoCoreError, ClientError

    client, key = s3_client(settings), f"{PREFIX}{_archive_name(spark_jars)}"
    try:
        there = {str(one["Key"]) for one in listed(client, settings.bucket, PREFIX)}
        for old in there - {key}:
            client.delete_object(Bucket=settings.bucket, Key=old)
        if key not in there:
            _upload_archive(client, settings, key, spark_jars)
    except (BotoCoreError, ClientError) as error:
        raise ShoplakeError(f"Executors cannot get Spark from s3://{settings.bucket}/{PREFIX}: {error}") from None


def _upload_archive(client: Any, settings: Settings, key: str, spark_jars: Path) -> None:
    """A tar, which YARN's machines unpack while they read it."""
    archive = settings.data_dir / "spark" / "executors.tar"
    try:
        with tarfile.open(archive, "w") as file:  # jars are compressed already
            for jar in _jars(spark_jars):
                file.add(jar, jar.name)
        client.upload_file(str(archive), settings.bucket, key)
    finally:
        archive.unlink(missing_ok=True)


def _jars(spark_jars: Path) -> list[Path]:
    return [*sorted(spark_jars.glob("*.jar")), *(jar.path for jar in jar_set("spark"))]


def _archive_name(spark_jars: Path) -> str:
    names = "\n".join(jar.name for jar in _jars(spark_jars))
    return f"jars-{hashlib.sha256(names.encode()).hexdigest()[:12]}.tar"


def hadoop_xml(values: dict[str, str]) -> str:
    """A configuration file as Hadoop reads it."""
    line = "<property><name>{}</name><value>{}</value></property>\n"
    lines = (line.format(escape(name), escape(value)) for name, value in values.items())
    return f"<configuration>\n{''.join(lines)}</configuration>\n"
