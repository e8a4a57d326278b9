"""The lake on an S3 server with TLS and an authority of our own: boto3, Spark and SQL all go there."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, SSLError

from lakehouse.lake_secret import s3_keys
from lakehouse.s3 import java_options, write_java_store
from lakehouse.services import s3
from lakehouse.services.jars import class_path, fetch_jars
from lakehouse.services.service import java, properties
from lakehouse.services.spark import s3a_conf, spark_home
from lakehouse.settings import Settings
from lakehouse.sql import connect
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support import pages
from tests.support.authority import PASSWORD, authority, key_store
from tests.support.folder_s3 import FolderTable
from tests.support.platform import free_settings, platform
from tests.support.shop import DAY_MS, Shop, assert_books_balance, assert_gold_is_right, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of clients of such a server."""
    folder = tmp_path_factory.mktemp("tls")
    fetch_jars(("s3proxy", "spark"))
    ca, pem = authority(folder / "ca", "our authority")
    own = free_settings(folder)
    endpoint = f"https://127.0.0.1:{own.s3_port}"
    service = s3.service(own)
    service.prepare()
    values = s3.s3proxy_properties(own)
    del values["s3proxy.endpoint"]
    values |= {
        "s3proxy.secure-endpoint": endpoint,
        "s3proxy.keystore-path": key_store(pem),
        "s3proxy.keystore-password": PASSWORD,
    }
    (own.data_dir / "s3proxy" / "s3proxy.properties").write_text(properties(values))
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(service.command, env={**os.environ, **service.env}, stdout=log, stderr=log)
    keys = pytest.MonkeyPatch()
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3_keys(own), strict=True):
        keys.setenv(name, value)
    client = free_settings(folder / "client", s3_endpoint=endpoint, s3_ca_file=ca)

    def answers() -> bool:
        assert process.poll() is None, (folder / "s3.log").read_text()
        with suppress(EndpointConnectionError):
            return bool(s3.s3_client(client).list_buckets())
        return False

    try:
        eventually(answers, 60, "the server speaks TLS")
        yield client
    finally:
        keys.undo()
        os.environ.pop("SSL_CERT_FILE", None)  # what the Delta reader was told
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")
def test_java_believes_the_authority(server: Settings) -> None:
    """What Spark's driver and executors go by, without them."""
    s3.ensure_bucket(server)
    write_java_store(server)
    options = {**s3a_conf(server), "fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem", "lake": "s3a://shoplake/"}
    libraries = f"{class_path('spark')}:{spark_home() / 'jars' / '*'}"
    program = ["-cp", libraries, str(pages.ROOT / "tests" / "aws" / "Commit.java")]
    trust, arguments = shlex.split(java_options(server)), [f"{name}={value}" for name, value in options.items()]
    command = [java(), *trust, *program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "is there" in done.stdout, done.stderr


def test_sql_believes_the_authority(server: Settings) -> None:
    s3.ensure_bucket(server)
    table = FolderTable(server.data_dir.parents[1] / "lake" / "s3" / "shoplake" / "gold" / "kpis_hourly", {"n": "long"})
    table.create()
    table.commit("SELECT 7 AS n")
    with connect(server) as reader:
        assert reader.query("FROM gold.kpis_hourly") == [{"n": 7}]
    shutil.rmtree(server.data_dir.parents[1] / "lake" / "s3" / "shoplake")


def test_a_server_of_another_authority_is_not_believed(server: Settings, tmp_path: Path) -> None:
    other, _ = authority(tmp_path / "other", "somebody else")
    s3.ensure_bucket(server)
    for stranger in (other, None):
        with pytest.raises(SSLError):
            s3.s3_client(server.model_copy(update={"s3_ca_file": stranger})).list_buckets()


def test_the_whole_way_over_tls(server: Settings, tmp_path: Path) -> None:
    with platform(tmp_path, stream=True, s3_endpoint=server.endpoint, s3_ca_file=server.s3_ca_file) as settings:
        shop = Shop(settings, tmp_path)
        history = SimulationOptions(
            now_ms=int(time.time() * 1000), seed=41, history_ms=DAY_MS, history_events=2_000, malformed=0.02
        )
        shop.send(list(simulate(history)))
        shop.wait_until_read(900)
        assert_books_balance(shop)
        assert_gold_is_right(shop)
