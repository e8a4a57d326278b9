"""Both clients against a real broker that speaks TLS with a certificate of our own authority, and takes signed tokens
as MSK does. Two minutes, so at night."""

import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from lakehouse import broker
from lakehouse.errors import ShoplakeError
from lakehouse.services.jars import class_path, fetch_jars
from lakehouse.services.kafka import kafka_properties
from lakehouse.services.service import java, properties
from lakehouse.services.spark import spark_conf
from producer.sender import open_producer
from producer.topics import TOPICS, apply_topics, spread_topics
from tests.support.authority import authority
from tests.support.platform import free_settings

pytestmark = [pytest.mark.nightly, pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK")]
SOURCE = Path(__file__).with_name("BrokerSide.java")


@pytest.fixture(scope="module")
def msk_like(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    fetch_jars(("kafka", "spark"))
    ca, store = authority(folder / "ca", "our authority")
    subprocess.run(["javac", "-cp", class_path("kafka"), "-d", str(folder), str(SOURCE)], check=True)
    own = free_settings(folder)
    login = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
    values = {
        **kafka_properties(own),
        "listeners": f"SASL_SSL://127.0.0.1:{own.kafka_port},CONTROLLER://127.0.0.1:{own.kafka_controller_port},"
        f"INTERNAL://127.0.0.1:{own.s3_port}",
        "advertised.listeners": f"SASL_SSL://127.0.0.1:{own.kafka_port},INTERNAL://127.0.0.1:{own.s3_port}",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "sasl.enabled.mechanisms": "OAUTHBEARER",
        "alter.config.policy.class.name": "BrokerSide$Topics",
        "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": f'{login} unsecuredLoginStringClaim_sub="broker";',
        "listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class": "BrokerSide",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": store,
    }
    configuration = folder / "server.properties"
    configuration.write_text(properties(values))
    environment = {"CLASSPATH": f"{folder}:{class_path('kafka')}"}
    identity = "5L6g3nShT-eMCtK--X86sw"
    tool = [java(), "kafka.tools.StorageTool", "format", "-t", identity, "-c", str(configuration)]
    subprocess.run(tool, env=environment, check=True, capture_output=True)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            [java(), "-Xmx512m", "kafka.Kafka", str(configuration)], env=environment, stdout=log, stderr=log
        )
    try:
        _wait_for_tls(own.kafka_port, ca, process, folder / "broker.log")
        yield free_settings(
            folder / "client",
            kafka_bootstrap=f"127.0.0.1:{own.kafka_port}",
            kafka_security="msk-iam",
            kafka_ca_file=ca,
            s3_region="eu-central-1",
        )
    finally:
        process.terminate()
        process.wait(30)


def _wait_for_tls(port: int, ca: Path, process, log: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca))
    end = time.monotonic() + 90
    while True:
        try:
            with socket_to(port) as raw, context.wrap_socket(raw, server_hostname="127.0.0.1"):
                return
        except OSError as error:
            assert process.poll() is None and time.monotonic() < end, (error, log.read_text()[-2000:])
            time.sleep(0.5)


def socket_to(port: int):
    import socket

    return socket.create_connection(("127.0.0.1", port), 5)


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-seen")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


def test_python_makes_topics_sends_and_looks(msk_like):
    apply_topics(msk_like)
    producer = open_producer(msk_like)
    for number in range(10):
        producer.send(TOPICS[0], str(number).encode(), b"u1")
    producer.flush()
    producer.close()
    assert broker.lag(msk_like, TOPICS, {}) >= 10


def test_another_retention_is_all_that_is_sent(msk_like):
    apply_topics(msk_like)
    apply_topics(msk_like.model_copy(update={"topic_retention_hours": msk_like.topic_retention_hours + 1}))


def test_partitions_may_be_placed_anew(msk_like):
    apply_topics(msk_like)
    assert spread_topics(msk_like) == len(TOPICS) * msk_like.topic_partitions


def test_spark_reads_with_the_same_way_in(msk_like):
    from pyspark.sql import SparkSession

    apply_topics(msk_like)
    producer = open_producer(msk_like)
    producer.send(TOPICS[1], b"hello", b"u1")
    producer.flush()
    producer.close()
    conf = spark_conf(msk_like)
    building = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = building.config("spark.driver.extraClassPath", conf["spark.driver.extraClassPath"]).getOrCreate()
    try:
        options = {"kafka.bootstrap.servers": msk_like.bootstrap, **broker.spark_options(msk_like)}
        found = spark.read.format("kafka").options(**options).option("subscribe", TOPICS[1]).load()
        assert [bytes(row.value) for row in found.select("value").collect()] == [b"hello"]
    finally:
        spark.stop()


def test_another_authority_is_not_believed(msk_like, tmp_path):
    other, _ = authority(tmp_path / "other", "somebody else")
    with pytest.raises(ShoplakeError):
        apply_topics(msk_like.model_copy(update={"kafka_ca_file": other}))


def test_another_key_is_refused(msk_like, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSTRANGER")
    with pytest.raises(ShoplakeError):
        apply_topics(msk_like)
