"""The configuration of the embedded parts, as pure functions of the settings."""

from lakehouse.embedded.kafka import kafka_properties
from lakehouse.embedded.s3 import s3proxy_properties
from lakehouse.embedded.service import child_environment, properties
from lakehouse.embedded.services import services
from lakehouse.embedded.spark import s3a_conf, spark_conf
from lakehouse.embedded.testing import free_settings
from lakehouse.settings import Settings


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


def test_s3a_never_trades_safety_of_commits_for_speed(tmp_path):
    for endpoint in (None, "", "https://minio.example:9000"):
        assert not any("performance.flags" in name for name in s3a_conf(free_settings(tmp_path, s3_endpoint=endpoint)))


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
    settings = free_settings(tmp_path, spark_memory_mb=Settings.model_fields["spark_memory_mb"].default)
    assert sum(service.memory_limit_mb for service in services(settings, with_superset=False)) <= 8192
