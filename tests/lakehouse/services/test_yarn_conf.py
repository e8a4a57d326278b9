"""Executors of YARN: what Spark is told, and what is in the bucket for them. The real one is in tests/e2e."""

import socket
import tarfile
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.services import s3, yarn
from lakehouse.services.services import services
from lakehouse.services.spark import spark_conf
from tests.support.moto_lake import moto_lake
from tests.support.platform import free_settings


@pytest.fixture
def manager():
    """Where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def settings(tmp_path, monkeypatch, manager):
    monkeypatch.setattr(yarn, "jar_set", lambda _name: [])
    on_yarn = {"spark_master": f"yarn://{manager}", "spark_driver_host": "10.0.1.10"}
    with moto_lake(tmp_path, monkeypatch, **on_yarn) as made:
        yield made


@pytest.fixture
def jars(tmp_path):
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "a.jar").write_bytes(b"a")
    return folder


def keys() -> list[str]:
    found = boto3.client("s3", region_name="us-east-1").list_objects_v2(Bucket="lake")
    return [each["Key"] for each in found.get("Contents", ())]


def test_the_archive_has_every_jar_and_is_brought_once(settings, jars, monkeypatch):
    yarn.prepare(settings, jars)
    (key,) = keys()
    assert spark_conf(settings)["spark.yarn.archive"].startswith("s3a://lake/_shoplake/spark/jars-")
    boto3.client("s3", region_name="us-east-1").download_file("lake", key, str(jars / "back.tar"))
    with tarfile.open(jars / "back.tar") as archive:
        assert archive.getnames() == ["a.jar"]
    monkeypatch.setattr(yarn, "_upload_archive", None)  # would fail if it were called
    yarn.prepare(settings, jars)
    assert not list(settings.data_dir.rglob("*.tar"))


def test_other_jars_replace_the_archive_and_leftovers_go(settings, jars):
    yarn.prepare(settings, jars)
    (before,) = keys()
    client = s3.s3_client(settings)
    client.put_object(Bucket="lake", Key="_shoplake/spark/root/application_1/conf.zip", Body=b"")
    client.put_object(Bucket="lake", Key="silver/events/part.parquet", Body=b"")
    (jars / "b.jar").write_bytes(b"b")
    yarn.prepare(settings, jars)
    assert len(keys()) == 2 and before not in keys() and "silver/events/part.parquet" in keys()


def test_a_refusing_bucket_is_said_in_one_sentence(settings, jars, monkeypatch):
    def refuse(*_):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")

    monkeypatch.setattr(yarn, "_upload_archive", refuse)
    with pytest.raises(ShoplakeError, match=r"s3://lake/_shoplake/spark/: .*AccessDenied"):
        yarn.prepare(settings, jars)


def test_an_absent_yarn_is_said_in_one_sentence(settings, jars):
    absent = settings.model_copy(update={"spark_master": "yarn://127.0.0.1:9"})
    with pytest.raises(ShoplakeError, match=r"YARN's resource manager .* 127.0.0.1:9, which SHOPLAKE_SPARK_MASTER"):
        yarn.prepare(absent, jars)


def test_hadoop_is_told_where_yarn_is_and_spark_finds_that(settings, jars, manager):
    yarn.prepare(settings, jars)
    (server,) = (part for part in services(settings) if part.name == "spark")
    said = (Path(server.env["HADOOP_CONF_DIR"]) / "yarn-site.xml").read_text()
    assert f"<name>yarn.resourcemanager.address</name><value>{manager}</value>" in said
    assert "<name>yarn.resourcemanager.hostname</name><value>127.0.0.1</value>" in said and "s3" in server.depends_on


def test_executors_are_asked_for_and_know_a_secret(settings):
    conf = spark_conf(settings)
    assert (conf["spark.master"], conf["spark.driver.host"]) == ("yarn", "10.0.1.10")
    assert conf["spark.executor.instances"] == "2"
    assert conf["spark.authenticate"] == conf["spark.network.crypto.enabled"] == "true"
    assert "spark.authenticate.secret" not in conf and "spark.jars" not in conf


@pytest.mark.parametrize("master", ["yarn", "yarn://", "k8s://https://host", "yarn://host:port"])
def test_other_spellings_are_refused(tmp_path, master):
    with pytest.raises(UsageError, match="SHOPLAKE_SPARK_MASTER"):
        free_settings(tmp_path, spark_master=master)


def test_workers_of_ones_own_beside_yarn_are_refused(tmp_path):
    with pytest.raises(UsageError, match="set one of them"):
        free_settings(tmp_path, spark_workers=1, spark_master="yarn://10.0.1.30")
