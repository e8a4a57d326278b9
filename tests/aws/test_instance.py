"""What the instance asks AWS for at its start, and what it tells CloudWatch each minute."""

import json
import re
from types import SimpleNamespace

import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber

from deploy.aws import metrics, start
from deploy.aws.start import environment
from lakehouse.errors import ShoplakeError
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.settings import misspelt
from tests.support.aws import settings_of
from tests.support.platform import free_settings


def secret(session, value: str) -> str:
    return str(session.client("secretsmanager").create_secret(Name="s", SecretString=value)["ARN"])


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(start.os, "cpu_count", lambda: 4)


PLANNED = {
    "SHOPLAKE_SPARK_SHUFFLE_PARTITIONS": "4",
    "SHOPLAKE_TOPIC_PARTITIONS": "4",
    "SHOPLAKE_MAX_OFFSETS_PER_BATCH": "400000",
}


def test_nothing_is_asked_for_where_there_is_nothing(aws):
    assert environment({"SHOPLAKE_MSK_CLUSTER": ""}, aws) == PLANNED


def test_secret_settings_go_into_the_environment(aws):
    arn = secret(aws, json.dumps({"SHOPLAKE_API_MAX_FOLLOWERS": 5}))
    assert environment({"SHOPLAKE_SECRET_SETTINGS": arn}, aws) == {**PLANNED, "SHOPLAKE_API_MAX_FOLLOWERS": "5"}


def test_secret_settings_hold_before_all_others(aws):
    facts = {"SHOPLAKE_SECRET_SETTINGS": secret(aws, '{"SHOPLAKE_TOP_N": 7}'), "SHOPLAKE_TOP_N": "20"}
    assert environment(facts, aws)["SHOPLAKE_TOP_N"] == "7"


def test_what_a_person_set_holds(aws, monkeypatch):
    became = {}
    monkeypatch.setattr(start.os, "execve", lambda _program, _command, environment: became.update(environment))
    monkeypatch.setattr(start.sys, "argv", ["start", "status"])
    monkeypatch.setenv("SHOPLAKE_TOPIC_PARTITIONS", "12")
    start.main()
    assert (became["SHOPLAKE_TOPIC_PARTITIONS"], became["SHOPLAKE_SPARK_SHUFFLE_PARTITIONS"]) == ("12", "4")


def test_no_fact_about_the_machine_is_called_a_misspelt_setting(aws, monkeypatch, tmp_path):
    became = {}
    monkeypatch.setattr(start.os, "execve", lambda _program, _command, environment: became.update(environment))
    monkeypatch.setattr(start.sys, "argv", ["start", "status"])
    monkeypatch.chdir(tmp_path)
    for template in ("compute", "executors"):
        text = (PROJECT_ROOT / "deploy" / "aws" / "templates" / f"{template}.yaml").read_text()
        for name in re.findall(r"^ +(SHOPLAKE_\w+)=", text, re.MULTILINE):
            monkeypatch.setenv(name, "")
    assert len(misspelt()) == len(start.FACTS)
    start.main()
    for name in start.FACTS:
        monkeypatch.delenv(name)
    assert misspelt() == [] and not start.FACTS & set(became)


@pytest.mark.parametrize("text", ["not json", "[]", '{"PATH": "/tmp"}'])
def test_other_secrets_are_refused(aws, text):
    arn = secret(aws, text)
    with pytest.raises(ShoplakeError, match=r"JSON object|begins with SHOPLAKE_"):
        environment({"SHOPLAKE_SECRET_SETTINGS": arn}, aws)


def test_the_brokers_of_msk_are_asked_for(aws):
    client = aws.client("kafka")
    stub = Stubber(client)
    stub.add_response(
        "get_bootstrap_brokers", {"BootstrapBrokerStringSaslIam": "b-1:9098,b-2:9098"}, {"ClusterArn": "arn"}
    )

    class Session:
        def client(self, name):
            assert name == "kafka"
            return client

    with stub:
        found = environment({"SHOPLAKE_MSK_CLUSTER": "arn"}, Session())
    msk = {"SHOPLAKE_KAFKA_BOOTSTRAP": "b-1:9098,b-2:9098", "SHOPLAKE_KAFKA_SECURITY": "msk-iam"}
    assert found == {**PLANNED, **msk}


DRIVER = "/shoplake/lake/driver"


def facts_of_a_cluster(session) -> dict[str, str]:
    return {
        "SHOPLAKE_CLUSTER_SECRET": secret(session, '{"secret": "abc"}'),
        "SHOPLAKE_DRIVER_ADDRESS": DRIVER,
        "SHOPLAKE_EXECUTORS": "3",
        "SHOPLAKE_SPARK_EXECUTOR_CORES": "15",
        "SHOPLAKE_SPARK_EXECUTOR_MEMORY_MB": "49152",
    }


@pytest.fixture
def secret_file(tmp_path, monkeypatch):
    """In memory on a machine of AWS."""
    monkeypatch.setattr(start, "CLUSTER_SECRET_FILE", tmp_path / "cluster.secret")
    return tmp_path / "cluster.secret"


def test_without_executors_the_instance_does_it_all(aws, secret_file):
    facts = {"SHOPLAKE_CLUSTER_SECRET": "", "SHOPLAKE_EXECUTORS": "0"}
    start.tell_executors(facts, aws)
    assert environment(facts, aws) == PLANNED and not secret_file.exists()


def test_the_driver_tells_its_address_and_plans_for_its_executors(aws, secret_file, monkeypatch):
    monkeypatch.setattr(start, "own_address", lambda: "10.40.1.5")
    facts = facts_of_a_cluster(aws)
    start.tell_executors(facts, aws)
    settings = settings_of(facts | environment(facts, aws))
    assert settings.starts_spark_master and settings.master == "spark://10.40.1.5:7077"
    assert (settings.spark_shuffle_partitions, settings.topic_partitions) == (45, 64)
    assert settings.max_offsets_per_batch == 4_500_000 and settings.spark_secret_file == secret_file
    assert secret_file.read_text() == "abc" and secret_file.stat().st_mode & 0o777 == 0o600
    assert aws.client("ssm").get_parameter(Name=DRIVER)["Parameter"]["Value"] == "10.40.1.5"


def test_with_executors_from_yarn_the_instance_is_the_driver_and_starts_no_cluster(aws, monkeypatch):
    monkeypatch.setattr(start, "own_address", lambda: "10.40.1.5")
    facts = {
        "SHOPLAKE_EXECUTORS": "8",
        "SHOPLAKE_YARN_MANAGER": "ip-10-40-1-30.ec2.internal",
        "SHOPLAKE_SPARK_EXECUTOR_CORES": "4",
    }
    settings = settings_of(facts | environment(facts, aws))
    assert settings.spark_is_on_yarn and not settings.starts_spark_master
    assert (settings.spark_driver_host, settings.spark_shuffle_partitions) == ("10.40.1.5", 32)
    assert settings.spark_executors == 8


def test_an_executor_waits_for_the_drivers_address_and_joins_it(aws, secret_file, monkeypatch):
    client = aws.client("ssm")
    client.put_parameter(Name=DRIVER, Value="none yet", Type="String")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        """First the address of an instance that is gone, then that of the one that is there."""
        waited.append(seconds)
        client.put_parameter(Name=DRIVER, Value=f"10.40.1.{3 + len(waited)}", Type="String", Overwrite=True)

    monkeypatch.setattr(start, "_listens", lambda address: address == "10.40.1.5")
    monkeypatch.setattr(start, "own_address", lambda: "10.40.1.9")
    # Its own `time`: the sleep of other threads of this process is not to count.
    monkeypatch.setattr(start, "time", SimpleNamespace(sleep=sleep))
    facts = {**facts_of_a_cluster(aws), "SHOPLAKE_ROLE": "executor"}
    settings = settings_of(facts | start.joining(facts, aws))
    assert len(waited) == 2 and settings.spark_master == "spark://10.40.1.5:7077"
    assert (settings.spark_driver_host, settings.spark_executor_cores) == ("10.40.1.9", 15)
    assert settings.spark_secret_file == secret_file and secret_file.read_text() == "abc"


def test_the_figures_reach_cloudwatch(aws, tmp_path, monkeypatch):
    monkeypatch.delenv("SHOPLAKE_WITH_SUPERSET", raising=False)
    settings = free_settings(tmp_path)
    settings.data_dir.mkdir(parents=True)
    status = {
        "kafka": {"state": "external"},
        "stream": {"state": "up", "lag": 7},
        "api": {"state": "failed"},
        "superset": {"state": "down"},
    }
    values = metrics.figures(settings, status, "# HELP x\nshoplake_stream_freshness_seconds 1.5\n")
    assert values["PartsDown"] == (1, "Count"), "Superset is not expected here"
    assert values["StreamLag"] == (7.0, "Count") and values["Freshness"] == (1.5, "Seconds")
    client = aws.client("cloudwatch")
    metrics.send(client, "lake", values)
    found = client.list_metrics(Namespace="Shoplake")["Metrics"]
    assert {one["MetricName"] for one in found} == set(values)
    assert all(one["Dimensions"] == [{"Name": "Installation", "Value": "lake"}] for one in found)
    assert "Freshness" not in metrics.figures(settings, status, "")


def test_a_role_that_may_only_look_at_the_bucket_is_enough(aws, monkeypatch, tmp_path):
    """The bucket of the templates is as it should be: a start changes nothing, on AWS's address, with moto's S3."""
    from lakehouse.services import s3

    settings = free_settings(tmp_path, s3_endpoint="", s3_region="eu-central-1", bucket="lake", bucket_versioning=True)
    s3.ensure_bucket(settings)
    client = aws.client("s3")
    assert all(client.get_public_access_block(Bucket="lake")["PublicAccessBlockConfiguration"].values())
    written, call = [], BaseClient._make_api_call

    def recorded(self, name, arguments):
        written.append(name)
        return call(self, name, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    s3.ensure_bucket(settings)
    assert written and not [name for name in written if name.startswith(("Put", "Create"))]


def test_the_token_that_spark_writes_into_its_log_stays_on_the_machine():
    agent = json.loads((PROJECT_ROOT / "deploy/aws/cloudwatch-agent.json").read_text())
    logs, _ = agent["logs"]["logs_collected"]["files"]["collect_list"]
    left_out = [re.compile(one["expression"]) for one in logs["filters"] if one["type"] == "exclude"]
    said = "Streaming ForeachBatch worker is starting with url sc://localhost:15002/;user_id=shoplake;token=2dfd and …"
    assert any(one.search(said) for one in left_out)
