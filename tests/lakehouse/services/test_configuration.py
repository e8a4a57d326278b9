"""The configuration of the embedded parts, as pure functions of the settings."""

import shlex
import subprocess
from pathlib import Path

import pytest

from lakehouse.errors import UsageError
from lakehouse.s3 import java_options, write_java_store
from lakehouse.services import spark
from lakehouse.services.cluster import cluster_conf, join
from lakehouse.services.kafka import kafka_properties
from lakehouse.services.s3 import s3proxy_properties
from lakehouse.services.service import child_environment, java, properties
from lakehouse.services.services import services
from lakehouse.services.spark import s3a_conf, spark_conf
from tests.support.authority import authority
from tests.support.platform import free_settings


def test_spark_speaks_delta_in_utc_and_listens_here_only(tmp_path):
    settings = free_settings(tmp_path, spark_shuffle_partitions=3)
    conf = spark_conf(settings)
    assert conf["spark.sql.extensions"] == "io.delta.sql.DeltaSparkSessionExtension"
    assert conf["spark.sql.session.timeZone"] == "UTC"
    assert "-Duser.timezone=UTC" in conf["spark.driver.extraJavaOptions"]
    assert conf["spark.connect.grpc.binding.address"] == "127.0.0.1"
    assert conf["spark.connect.grpc.binding.port"] == str(settings.spark_port)
    assert conf["spark.master.rest.enabled"] == "false" and conf["spark.ui.enabled"] == "false"
    assert conf["spark.sql.shuffle.partitions"] == "3"
    assert str(settings.data_dir) in conf["spark.local.dir"]


@pytest.mark.parametrize("jit", ["full", "quick"])
def test_spark_compiles_as_little_as_is_asked_for_and_its_servers_little_always(tmp_path, jit):
    settings = free_settings(tmp_path, java_jit=jit)
    servers = [each.command for each in services(settings) if each.name in ("kafka", "s3")]
    spark = shlex.split(spark_conf(settings)["spark.driver.extraJavaOptions"])
    assert [("-XX:TieredStopAtLevel=1" in options) for options in servers] == [True, True]
    assert ("-XX:TieredStopAtLevel=1" in spark) == (jit == "quick")


def test_what_a_killed_spark_has_left_goes_at_the_next_start(tmp_path):
    """Shuffled rows are records of people, and gigabytes."""
    settings = free_settings(tmp_path)
    left = [settings.data_dir / "spark" / name for name in ("local/blockmgr-1/0c/shuffle_0.data", "s3a/s3ablock-1.tmp")]
    for file in left:
        file.parent.mkdir(parents=True)
        file.write_text("u4711")
    spark.service(settings).prepare()
    assert not any(file.exists() for file in left) and left[1].parent.is_dir()


def test_s3a_never_trades_safety_of_commits_for_speed(tmp_path):
    for endpoint in (None, "", "https://minio.example:9000"):
        conf = s3a_conf(free_settings(tmp_path, s3_endpoint=endpoint))
        assert "create" not in conf["fs.s3a.performance.flags"] and "fs.s3a.create.performance" not in conf


def test_s3a_uses_the_standard_chain_outside(tmp_path):
    aws = s3a_conf(free_settings(tmp_path, s3_endpoint=""))
    assert "fs.s3a.endpoint" not in aws and "fs.s3a.secret.key" not in aws
    assert aws["fs.s3a.aws.credentials.provider"].endswith("DefaultCredentialsProvider")
    other = s3a_conf(free_settings(tmp_path, s3_endpoint="https://minio.example:9000"))
    assert other["fs.s3a.endpoint"] == "https://minio.example:9000"
    assert (other["fs.s3a.path.style.access"], other["fs.s3a.connection.ssl.enabled"]) == ("true", "true")
    assert "fs.s3a.secret.key" not in other


def test_a_cluster_gets_the_jars_sent(tmp_path):
    local = spark_conf(free_settings(tmp_path))
    cluster = spark_conf(free_settings(tmp_path, spark_master="spark://master:7077"))
    assert "spark.jars" not in local and "delta-spark" in local["spark.driver.extraClassPath"]
    assert "spark.driver.extraClassPath" not in cluster and "," in cluster["spark.jars"]


def test_a_cluster_that_starts_here_has_one_secret_and_only_its_owner_reads_it(tmp_path):
    settings = free_settings(tmp_path, spark_workers=2)
    names = [service.name for service in services(settings)]
    assert names.index("spark-master") < names.index("spark-worker-2") < names.index("spark")
    server, workers = spark_conf(settings), cluster_conf(settings)
    assert server["spark.master"] == f"spark://127.0.0.1:{settings.spark_master_port}"
    assert server["spark.authenticate.secret"] == workers["spark.authenticate.secret"] != ""
    assert server["spark.authenticate"] == server["spark.network.crypto.enabled"] == "true"
    for part in services(settings):
        if part.name.startswith("spark"):
            part.prepare()
            assert workers["spark.authenticate.secret"] not in " ".join(part.command)
    secrets = [file for file in settings.data_dir.rglob("*") if file.name in ("cluster.secret", "spark-defaults.conf")]
    assert len(secrets) == 3 and {file.stat().st_mode & 0o777 for file in secrets} == {0o600}


def test_a_master_may_start_alone_for_workers_of_other_machines(tmp_path):
    settings = free_settings(tmp_path, spark_master="here", spark_driver_host="10.0.1.10")
    assert [part.name for part in services(settings) if "spark" in part.name] == ["spark-master", "spark"]
    server = spark_conf(settings)
    assert server["spark.master"] == f"spark://10.0.1.10:{settings.spark_master_port}"
    assert server["spark.authenticate.secret"] == cluster_conf(settings)["spark.authenticate.secret"] != ""
    external = free_settings(tmp_path, spark_master="here", spark_remote="sc://elsewhere:15002")
    assert "spark-master" not in [part.name for part in services(external)]


def test_a_machine_that_joins_must_be_told_which_cluster_and_its_secret(tmp_path):
    with pytest.raises(UsageError, match="SHOPLAKE_SPARK_MASTER"):
        join(free_settings(tmp_path))
    away = {"spark_master": "spark://10.0.1.10:7077", "spark_secret_file": tmp_path / "missing"}
    with pytest.raises(UsageError, match="SHOPLAKE_SPARK_SECRET_FILE"):
        join(free_settings(tmp_path, **away))
    with pytest.raises(UsageError, match="set one of them"):
        free_settings(tmp_path, spark_workers=1, **away)


def test_an_authority_of_ones_own_is_believed_by_java_too(tmp_path):
    ca, _ = authority(tmp_path / "ca", "our authority")
    settings = free_settings(tmp_path / "a lake", s3_endpoint="https://127.0.0.1:9000", s3_ca_file=ca)
    assert "trustStore" not in spark_conf(free_settings(tmp_path))["spark.driver.extraJavaOptions"]
    write_java_store(settings)
    options = dict(word.removeprefix("-D").split("=") for word in shlex.split(java_options(settings)))
    with pytest.raises(UsageError, match="SHOPLAKE_S3_CA_FILE"):
        write_java_store(settings.model_copy(update={"s3_ca_file": tmp_path / "missing"}))
    listing = [
        str(Path(java()).resolve().with_name("keytool")),
        "-list",
        "-keystore",
        options["javax.net.ssl.trustStore"],
        "-storepass",
    ]
    listing.append(options["javax.net.ssl.trustStorePassword"])
    assert "trustedCertEntry" in subprocess.run(listing, capture_output=True, text=True, check=True).stdout


def test_kafka_makes_no_topics_by_itself_and_listens_here_only(tmp_path):
    conf = kafka_properties(free_settings(tmp_path, topic_retention_hours=5))
    assert conf["auto.create.topics.enable"] == "false"
    assert conf["message.max.bytes"] == 2 * 1024 * 1024
    assert conf["log.retention.hours"] == 5
    assert all("//127.0.0.1:" in listener for listener in str(conf["listeners"]).split(","))


def test_s3proxy_listens_here_only(tmp_path):
    settings = free_settings(tmp_path)
    conf = s3proxy_properties(settings)
    assert conf["s3proxy.endpoint"] == f"http://127.0.0.1:{settings.s3_port}"
    assert conf["jclouds.filesystem.basedir"] == settings.data_dir / "s3"


def test_properties_are_lines():
    assert properties({"a.b": 1, "c": "d"}) == "a.b=1\nc=d\n"


def test_children_see_the_settings_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOPLAKE_KAFKA_BOOTSTRAP", "elsewhere:9092")
    environment = child_environment(free_settings(tmp_path, top_n=7))
    assert "SHOPLAKE_KAFKA_BOOTSTRAP" not in environment
    assert environment["SHOPLAKE_TOP_N"] == "7"
    assert environment["SHOPLAKE_DATA_DIR"] == str(tmp_path / "lake")


def test_external_parts_are_not_started(tmp_path):
    settings = free_settings(tmp_path, kafka_bootstrap="broker:9092", s3_endpoint="")
    embedded = {service.name: service.is_embedded for service in services(settings)}
    assert {name for name, here in embedded.items() if not here} >= {"kafka", "s3"}
    assert all(embedded[name] for name in ("spark", "stream", "worker", "api"))


def test_memory_limits_stay_under_eight_gigabytes(tmp_path):
    settings = free_settings(tmp_path)
    assert sum(service.memory_limit_mb for service in services(settings, with_superset=False)) <= 8192


def test_spark_may_take_its_heap_the_streams_state_and_what_a_backlog_needs_beside_them(tmp_path):
    settings = free_settings(tmp_path, spark_memory_mb=1024, fold_memory_mb=512)
    spark = next(service for service in services(settings) if service.name == "spark")
    assert spark.memory_limit_mb >= 1024 + 512 + 1280
