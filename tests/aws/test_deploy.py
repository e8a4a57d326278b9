"""The templates, linted and deployed into an emulated AWS; what the command does when AWS says no."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from cfnlint.api import lint_file

from deploy.aws import release
from deploy.aws.installation import TEMPLATES, Installation
from deploy.aws.stacks import NESTED, Stacks
from lakehouse.errors import ShoplakeError, UsageError
from tests.support import pages
from tests.support.aws import settings_of

REGION = "eu-central-1"


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(path):
    assert [str(match) for match in lint_file(path)] == []


def certificate(session) -> str:
    return str(session.client("acm").request_certificate(DomainName="lake.example")["CertificateArn"])


def install(session, size, **parameters):
    installation, events = Installation("lake", session, poll_seconds=0), []
    installation.stacks.execute(installation.plan_data({"Size": size}), events.append)
    installation.protect_data()
    installation.stacks.execute(installation.plan("0.1.0-a", {"Size": size, **parameters}), events.append)
    return installation, events


def all_user_data(session) -> list[str]:
    import base64

    ec2, found = session.client("ec2"), []
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        of_it = {"LaunchTemplateId": template["LaunchTemplateId"], "Versions": ["$Latest"]}
        data = ec2.describe_launch_template_versions(**of_it)["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        found.append(base64.b64decode(data["UserData"]).decode())
    return found


def user_data(session) -> str:
    (data,) = all_user_data(session)
    return data


def facts_in(data: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in data.splitlines() if line.startswith("SHOPLAKE_"))


@pytest.mark.parametrize(("size", "msk", "database"), [("demo", 0, 0), ("team", 1, 0), ("production", 1, 1)])
def test_a_size_brings_what_it_says(aws, size, msk, database):
    installation, _ = install(aws, size, CertificateArn=certificate(aws))
    data = installation.stacks.outputs("lake-data")
    facts = facts_in(user_data(aws))
    assert facts["SHOPLAKE_BUCKET"] == data["LakeBucket"] and facts["SHOPLAKE_DATA_DISK"] == data["DataDisk"]
    assert facts["SHOPLAKE_S3_ENDPOINT"] == "" and facts["SHOPLAKE_S3_REGION"] == REGION
    assert bool(facts["SHOPLAKE_MSK_CLUSTER"]) == bool(msk) and bool(facts["SHOPLAKE_DATABASE_HOST"]) == bool(database)
    assert len(aws.client("rds").describe_db_instances()["DBInstances"]) == database
    assert installation.outputs["ApiUrl"].startswith("https://") and installation.release == "0.1.0-a"
    listeners = aws.client("elbv2")
    balancer = listeners.describe_load_balancers()["LoadBalancers"][0]
    assert balancer["Scheme"] == "internal"
    found = listeners.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert {(one["Port"], one["Protocol"]) for one in found} == {(443, "HTTPS"), (8443, "HTTPS")}


def test_the_facts_of_the_instance_are_settings_that_work(aws, tmp_path):
    install(aws, "demo")
    settings = settings_of(facts_in(user_data(aws)))
    assert not settings.s3_is_embedded and settings.endpoint == "" and settings.kafka_is_embedded
    assert settings.api_host == "127.0.0.1", "without a certificate nothing listens to others"
    assert settings.data_dir == Path("/var/lib/shoplake/lake")


def open_doors(session) -> list[dict]:
    """The rules that let something in, but for those of AWS's own default group."""
    groups = session.client("ec2").describe_security_groups()["SecurityGroups"]
    return [one for group in groups if group["GroupName"] != "default" for one in group["IpPermissions"]]


def role_statements(session, policy: str = "shoplake") -> dict[str, dict]:
    """What the role with this policy (the instance's) may do, by the statements' names."""
    iam = session.client("iam")
    roles = [one["RoleName"] for one in iam.list_roles()["Roles"]]
    (role,) = [one for one in roles if policy in iam.list_role_policies(RoleName=one)["PolicyNames"]]
    document = yaml.safe_load(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
    return {one["Sid"]: one for one in document["Statement"]}


def test_backups_may_go_to_the_named_bucket_and_none_may_be_deleted(aws):
    install(aws, "demo", BackupBucket="elsewhere")
    found = role_statements(aws)
    assert found["Backups"]["Resource"] == "arn:aws:s3:::elsewhere/*"
    assert "s3:DeleteObject" not in found["Backups"]["Action"]
    assert found["BackupListing"]["Resource"] == "arn:aws:s3:::elsewhere"


def test_alerts_of_the_platform_go_where_alarms_go_and_the_role_may_send_them(aws):
    install(aws, "demo")
    (topic,) = aws.client("sns").list_topics()["Topics"]
    facts = facts_in(user_data(aws))
    assert facts["SHOPLAKE_ALERT_SNS_TOPIC"] == topic["TopicArn"]
    allowed = {sid: one["Resource"] for sid, one in role_statements(aws).items()}
    assert "Backups" not in allowed
    assert allowed["Alerts"] == topic["TopicArn"]
    assert [sid for sid, resource in allowed.items() if resource == "*"] == ["Metrics"], "and that has a condition"


def test_producers_get_in_by_address_and_role_and_may_only_send(aws):
    def doors() -> list[tuple[int, str]]:
        return [(one["FromPort"], name["CidrIp"]) for one in open_doors(aws) for name in one["IpRanges"]]

    installation, _ = install(aws, "team", ProducerCidr="10.9.0.0/16")
    assert doors() == [(9098, "10.9.0.0/16")]
    iam, arn = aws.client("iam"), installation.outputs["ProducerPolicy"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    actions = {action for one in document["Statement"] for action in one["Action"]}
    assert "kafka-cluster:WriteData" in actions and "kafka-cluster:ReadData" not in actions
    assert document["Statement"][0]["Resource"] == installation.outputs["KafkaCluster"]
    assert document["Statement"][1]["Resource"].endswith("/shop.*")


@pytest.mark.parametrize(("given", "usd"), [({}, "1500"), ({"MonthlyBudgetUsd": "700"}, "700")])
def test_the_budget_is_what_is_usual_for_the_size_or_what_was_said(aws, given, usd):
    install(aws, "team", **given)
    stacks = aws.client("cloudformation").describe_stacks()["Stacks"]
    parameters = [one for stack in stacks for one in stack.get("Parameters", ())]
    asked = {one["ParameterValue"] for one in parameters if one["ParameterKey"] == "MonthlyBudgetUsd"}
    assert usd in asked and asked <= {usd, "0"}


def between_machines(session) -> list[dict]:
    """The rule that lets a Spark cluster's machines reach one another."""
    return [rule for rule in open_doors(session) if rule["FromPort"] == 1024]


def test_executors_join_the_instance_and_may_do_less(aws):
    installation, _ = install(aws, "team", Executors="2")
    groups = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert sorted((one["MinSize"], one["MaxSize"]) for one in groups) == [(1, 1), (2, 2)]
    assert installation.outputs["ExecutorGroup"] in [one["AutoScalingGroupName"] for one in groups]
    driver, executor = sorted(all_user_data(aws), key=lambda text: "SHOPLAKE_ROLE=executor" in text)
    theirs, its = facts_in(executor), facts_in(driver)
    shared = ("CLUSTER_SECRET", "DRIVER_ADDRESS", "SPARK_EXECUTOR_CORES", "SPARK_EXECUTOR_MEMORY_MB", "BUCKET")
    assert all(theirs[f"SHOPLAKE_{name}"] == its[f"SHOPLAKE_{name}"] != "" for name in shared)
    assert its["SHOPLAKE_EXECUTORS"] == "2" and "SHOPLAKE_ROLE" not in its
    assert aws.client("ssm").get_parameter(Name=its["SHOPLAKE_DRIVER_ADDRESS"])["Parameter"]["Value"] == "none yet"
    assert len(between_machines(aws)) == 1
    allowed = role_statements(aws, "shoplake-executor")
    assert "s3:DeleteObject" not in allowed["Lake"]["Action"] and "kafka-cluster:WriteData" not in str(allowed)
    assert [sid for sid, one in allowed.items() if one["Resource"] == "*"] == []


def test_without_executors_no_machine_reaches_another(aws):
    installation, _ = install(aws, "team")
    assert "ExecutorGroup" not in installation.outputs
    (data,) = all_user_data(aws)
    assert facts_in(data)["SHOPLAKE_CLUSTER_SECRET"] == "" and facts_in(data)["SHOPLAKE_EXECUTORS"] == "0"
    assert between_machines(aws) == []


def test_without_a_certificate_there_is_no_way_in(aws):
    installation, _ = install(aws, "demo")
    assert aws.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert open_doors(aws) == [] and "SSM" in installation.outputs["ApiUrl"]


def test_the_lake_is_private_versioned_and_encrypted(aws):
    installation, _ = install(aws, "demo")
    bucket, s3 = installation.stacks.outputs("lake-data")["LakeBucket"], aws.client("s3")
    template = (TEMPLATES / "data.yaml").read_text()
    assert template.count("RestrictPublicBuckets: true") == template.count("Type: AWS::S3::Bucket\n") == 2
    assert template.count("VersioningConfiguration: {Status: Enabled}") == 2
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    # The emulation forgets how a volume is encrypted: what the template says has to do.
    assert template.count("Type: AWS::EC2::Volume\n") == template.count("Encrypted: true") == 1
    assert aws.client("ec2").describe_volumes(VolumeIds=[installation.stacks.outputs("lake-data")["DataDisk"]])


def test_destroy_keeps_the_data_and_says_where_it_is(aws):
    from typer.testing import CliRunner

    from deploy.aws.__main__ import app

    install(aws, "demo")
    done = CliRunner().invoke(app, ["destroy", "--name", "lake", "--region", REGION, "--yes"])
    assert done.exit_code == 0, done.output
    assert "LakeBucket: lake-data-lake-" in done.output
    assert Stacks(aws.client("cloudformation"), 0).find("lake") is None
    assert len(aws.client("s3").list_buckets()["Buckets"]) == 2


def test_a_new_release_changes_a_parameter_and_no_machine(aws):
    installation, _ = install(aws, "demo")
    assert "0.1.0-a" not in user_data(aws), "a machine would be replaced with each release"
    plan = installation.plan("0.1.0-b", {})
    described = aws.client("cloudformation").describe_change_set(ChangeSetName=plan.change_set)
    values = {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}
    assert values["Release"] == "0.1.0-b" and values["Size"] == "demo", "what nobody names stays"
    installation.stacks.discard(plan)


def command(*arguments: str) -> str:
    """What `python -m deploy.aws` says; it must work."""
    from typer.testing import CliRunner

    from deploy.aws.__main__ import app

    done = CliRunner().invoke(app, [arguments[0], "--name", "lake", "--region", REGION, *arguments[1:]])
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return done.output


@pytest.fixture
def next_release(monkeypatch, tmp_path):
    """Something else is committed than what is deployed."""
    archive = tmp_path / release.archive_name("0.1.0-b")
    archive.write_bytes(b"the release")
    monkeypatch.setattr(release, "build", lambda _folder: archive)
    monkeypatch.setattr(release, "version", lambda: "0.1.0-b")
    return archive


def test_deploying_again_changes_what_is_there_and_goes_back(aws, next_release):
    installation, _ = install(aws, "demo")
    machine, data = installation.instance(), installation.stacks.outputs("lake-data")
    said = command("deploy", "-p", "AlarmEmail=you@example.com", "--yes")
    assert "lake runs 0.1.0-b" in said and "Changing lake" in said and "resources are made" not in said
    now = installation.stacks.parameters("lake")
    assert (now["Release"], now["Size"], now["AlarmEmail"]) == ("0.1.0-b", "demo", "you@example.com")
    assert installation.stacks.outputs("lake-data") == data and installation.instance() == machine
    stored = aws.client("s3").get_object(Bucket=data["ReleasesBucket"], Key=f"releases/{next_release.name}")
    assert stored["Body"].read() == b"the release"
    (sent,) = aws.client("ssm").list_commands()["Commands"]
    assert sent["InstanceIds"] == [machine] and next_release.name in sent["Parameters"]["commands"][0]
    command("rollback", "0.1.0-a")
    assert installation.release == "0.1.0-a" and installation.instance() == machine
    assert len(aws.client("ssm").list_commands()["Commands"]) == 2


def test_a_diff_changes_nothing_and_leaves_nothing(aws, next_release):
    installation, _ = install(aws, "demo")

    def change_sets():
        return aws.client("cloudformation").list_change_sets(StackName="lake")["Summaries"]

    before = change_sets()
    command("diff", "-p", "AlarmEmail=you@example.com")
    now = installation.stacks.parameters("lake")
    assert (now["Release"], now["AlarmEmail"]) == ("0.1.0-a", "")
    assert change_sets() == before


def refused(*arguments: str) -> str:
    """What `python -m deploy.aws` says when it refuses."""
    from typer.testing import CliRunner

    from deploy.aws.__main__ import app

    done = CliRunner().invoke(app, [arguments[0], "--name", "lake", "--region", REGION, *arguments[1:]])
    assert isinstance(done.exception, UsageError), f"{done.output} {done.exception!r}"
    return str(done.exception)


def test_a_size_with_other_brokers_is_refused(aws, next_release):
    install(aws, "demo")
    assert "demo, and team has brokers of another kind" in refused("deploy", "--size", "team", "--yes")
    assert "another NAME" in refused("diff", "--size", "production")


def test_the_size_is_no_parameter(aws, next_release):
    install(aws, "demo")
    assert "--size" in refused("deploy", "-p", "Size=team", "--yes")


class Unplanned:
    """CloudFormation that cannot look into nested stacks, as when one gets what is not known yet from another."""

    def __init__(self, client):
        self._client, self.asked = client, []

    def __getattr__(self, name):
        return getattr(self._client, name)

    def create_change_set(self, **wanted):
        self.asked.append(wanted.get("IncludeNestedStacks", False))
        return self._client.create_change_set(**wanted)

    def describe_change_set(self, **named):
        if self.asked[-1]:
            return {"Status": "FAILED", "StatusReason": "Fn::Select cannot select nonexistent value at index 2"}
        return self._client.describe_change_set(**named)


def test_what_cannot_be_planned_with_nested_stacks_is_planned_without(aws):
    installation, _ = install(aws, "demo")
    client = Unplanned(aws.client("cloudformation"))
    installation.stacks = Stacks(client, 0)
    plan = installation.plan("0.1.0-b", {})
    assert client.asked == [True, False] and plan is not None
    installation.stacks.discard(plan)


def test_new_brokers_before_a_lake_that_others_filled_are_refused(aws, next_release):
    installation, _ = install(aws, "team")
    data = installation.stacks.outputs("lake-data")
    said = command("destroy", "--yes")
    assert "another NAME" in said and "SIZE=demo" not in said
    assert "lake runs 0.1.0-b" in command("deploy", "--size", "team", "--yes"), "nothing was read yet"
    command("destroy", "--yes")
    aws.client("s3").put_object(Bucket=data["LakeBucket"], Key="bronze/events/ingest_date=2026-11-28/part", Body=b"")
    assert "brokers that are gone" in refused("deploy", "--size", "team", "--yes")


def test_what_a_failed_deploy_left_goes_with_the_next_one_and_not_with_a_diff(aws, next_release, monkeypatch):
    installation, _ = install(aws, "demo")
    monkeypatch.setattr(Stacks, "is_left_over", lambda _self, name: name == "lake" and not deleted)
    deleted: list[str] = []
    really = Stacks.delete
    monkeypatch.setattr(Stacks, "delete", lambda self, name, report: (really(self, name, report), deleted.append(name)))
    assert "There is no installation lake" in command("diff") and deleted == []
    said = command("deploy", "--size", "demo", "--yes")
    assert deleted == ["lake"] and "left by a deploy that failed" in said and "lake runs 0.1.0-b" in said
    assert installation.release == "0.1.0-b"


def test_a_failed_deploy_shows_what_the_machine_said_last(aws, next_release, monkeypatch):
    installation, _ = install(aws, "demo")
    bucket = installation.stacks.outputs("lake-data")["ReleasesBucket"]
    facts, data = facts_in(user_data(aws)), user_data(aws)
    assert f'"s3://{bucket}/failures/{facts["SHOPLAKE_NAME"]}/$(date' in data
    assert role_statements(aws)["LastWords"]["Resource"] == f"arn:aws:s3:::{bucket}/failures/*"

    def fails(self, plan, report):
        log = "\n".join([*map(str, range(100)), "bootstrap: 0.1.0-b does not come up within 420 s"])
        aws.client("s3").put_object(Bucket=bucket, Key="failures/lake/20261128T000000Z-i-1.log", Body=log.encode())
        raise ShoplakeError("lake: Compute/Machine failed first: Received 1 FAILURE signal(s).")

    monkeypatch.setattr(Stacks, "execute", fails)
    from typer.testing import CliRunner

    from deploy.aws.__main__ import app

    done = CliRunner().invoke(app, ["deploy", "--name", "lake", "--region", REGION, "--yes"])
    said = str(done.exception).splitlines()
    assert said[0].endswith("Received 1 FAILURE signal(s).") and said[1].endswith("i-1.log ends with:")
    assert said[-1].endswith("within 420 s") and len(said) == 17


def test_settings_and_machine_of_a_person_reach_the_instance(aws):
    given = "SHOPLAKE_TOPIC_RETENTION_HOURS=24 SHOPLAKE_TOP_N=20"
    install(aws, "demo", InstanceType="m7i.2xlarge", TriggerSeconds="5", Settings=given, LagRecords="7")
    data = user_data(aws)
    facts = facts_in(data)
    assert (facts["SHOPLAKE_TRIGGER_SECONDS"], facts["SHOPLAKE_SPARK_MEMORY_MB"]) == ("5", "14336")
    assert facts["SHOPLAKE_ALERT_LAG_RECORDS"] == "7"
    (line,) = (line for line in data.splitlines() if line.startswith("tr "))
    done = subprocess.run(["bash", "-c", line.partition(" >>")[0]], capture_output=True, check=True)
    settings = settings_of({**facts, **facts_in(done.stdout.decode())})
    assert (settings.topic_retention_hours, settings.top_n, settings.trigger_seconds) == (24, 20, 5)


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ("", True),
        ("SHOPLAKE_TOP_N=20", True),
        ("SHOPLAKE_TOP_N=20 SHOPLAKE_BUCKET=a-b.c", True),
        ("PATH=/tmp", False),
        ("SHOPLAKE_TOP_N=$(id)", False),
        ("SHOPLAKE_TOP_N=1;id", False),
        ("SHOPLAKE_TOP_N", False),
        ("SHOPLAKE_TOP_N=1  SHOPLAKE_BUCKET=b", False),
    ],
)
def test_settings_are_pairs_without_anything_that_a_shell_would_run(text, is_allowed):
    pattern = re.search(r'AllowedPattern: "(\^\(SHOPLAKE_.+)"', (TEMPLATES / "main.yaml").read_text())[1]
    assert bool(re.fullmatch(pattern, text)) == is_allowed


@pytest.mark.parametrize(("zone", "letter"), [("first", "a"), ("second", "b")])
def test_an_installation_can_be_in_either_zone(aws, zone, letter):
    """The instance goes where its disk is, whatever was said this time."""
    installation = Installation("lake", aws, poll_seconds=0)
    installation.stacks.execute(installation.plan_data({"Size": "demo", "Zone": zone}), lambda _event: None)
    installation.stacks.execute(installation.plan("0.1.0-a", {"Size": "demo"}), lambda _event: None)
    (group,) = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    (subnet,) = aws.client("ec2").describe_subnets(SubnetIds=[group["VPCZoneIdentifier"]])["Subnets"]
    assert subnet["AvailabilityZone"].endswith(letter)
    # The emulation looks for a volume's zone in another region, and forgets it.
    chosen = '!If [IsFirst, !Select [0, !GetAZs ""], !Select [1, !GetAZs ""]]'
    assert f"AvailabilityZone: {chosen}" in (TEMPLATES / "data.yaml").read_text()


def test_a_machine_is_not_replaced_without_a_question():
    from deploy.aws.__main__ import _question
    from deploy.aws.stacks import Change, Plan

    template = Change("Modify", "Compute/Template", "AWS::EC2::LaunchTemplate", "False")
    executors = Change("Modify", "ExecutorMachines/Template", "AWS::EC2::LaunchTemplate", "False")
    flat = Change("Modify", "Compute", NESTED, "False")
    alarm = Change("Modify", "Monitoring/PartDown", "AWS::CloudWatch::Alarm", "False")
    assert "ten minutes" in _question(Plan("lake", "set", False, (template,)))
    assert "1 are replaced" in _question(
        Plan("lake", "set", False, (template, Change("Remove", "x", "AWS::S3::Bucket", "")))
    )
    assert "may be replaced" in _question(Plan("lake", "set", False, (flat,)))
    assert (
        _question(Plan("lake", "set", False, (alarm, executors)))
        == _question(Plan("lake", "set", True, (template,)))
        == ""
    )


def test_destroy_with_its_data_leaves_nothing(aws):
    installation, _ = install(aws, "demo")
    data, s3 = installation.stacks.outputs("lake-data"), aws.client("s3")
    for _ in range(2):
        s3.put_object(Bucket=data["LakeBucket"], Key="silver/events/part", Body=b"of two versions")
    said = command("destroy", "--delete-data", "--yes")
    assert "Everything is deleted" in said
    assert s3.list_buckets()["Buckets"] == [] and aws.client("ec2").describe_volumes()["Volumes"] == []
    assert aws.client("secretsmanager").list_secrets()["SecretList"] == []
    stacks = Stacks(aws.client("cloudformation"), 0)
    assert stacks.find("lake") is None and stacks.find("lake-data") is None


def test_a_deletion_that_broke_off_is_taken_up_by_the_next(aws, monkeypatch):
    installation, _ = install(aws, "demo")
    aws.client("s3").delete_bucket(Bucket=installation.stacks.outputs("lake-data")["LakeBucket"])
    assert "Everything is deleted" in command("destroy", "--delete-data", "--yes")
    assert aws.client("s3").list_buckets()["Buckets"] == []


class FailedStack:
    """What CloudFormation answers about a stack whose inner stack failed."""

    EVENTS: ClassVar = {
        "outer": [
            ("Compute", NESTED, "CREATE_FAILED", "Embedded stack inner was not successfully created", 9, "inner")
        ],
        "inner": [
            ("Logs", "AWS::Logs::LogGroup", "CREATE_FAILED", "Resource creation cancelled", 6, "l"),
            ("Machine", "AWS::AutoScaling::AutoScalingGroup", "CREATE_FAILED", "Received 1 FAILURE signal(s)", 7, "m"),
            (
                "Balancer",
                "AWS::ElasticLoadBalancingV2::LoadBalancer",
                "CREATE_FAILED",
                "You have reached a limit",
                5,
                "b",
            ),
        ],
    }

    def execute_change_set(self, **_):
        pass

    def describe_stacks(self, **_):
        return {"Stacks": [{"StackStatus": "ROLLBACK_COMPLETE"}]}

    def get_paginator(self, _):
        return self

    def paginate(self, StackName):
        now = datetime.now(UTC)
        return [
            {
                "StackEvents": [
                    {
                        "EventId": f"{name}{second}",
                        "StackId": StackName,
                        "LogicalResourceId": name,
                        "PhysicalResourceId": own,
                        "ResourceType": kind,
                        "ResourceStatus": status,
                        "ResourceStatusReason": reason,
                        "Timestamp": now.replace(microsecond=second),
                    }
                    for name, kind, status, reason, second, own in self.EVENTS[StackName]
                ]
            }
        ]


def test_the_first_failed_resource_is_named_with_its_reason():
    from deploy.aws.stacks import Plan

    with pytest.raises(ShoplakeError) as caught:
        Stacks(FailedStack(), 0).execute(Plan("outer", "set", True, ()), lambda _event: None)
    assert str(caught.value) == (
        "outer: Compute/Balancer (AWS::ElasticLoadBalancingV2::LoadBalancer) failed first: You have reached a limit."
        " Everything else was taken back."
    )


@pytest.mark.parametrize("arguments", [["deploy", "--size", "demo"], ["diff"], ["destroy"], ["rollback", "0.1.0-a"]])
def test_without_credentials_it_says_one_sentence(tmp_path, arguments):
    if arguments[0] == "deploy" and subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False).returncode:
        pytest.skip("a release is made of commits, and this tree has changes")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": REGION}
    command = [sys.executable, "-m", "deploy.aws", *arguments]
    done = subprocess.run(command, env=environment, cwd=release.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == (
        "deploy: There are no valid AWS credentials: set AWS_PROFILE, or sign in with `aws sso login`."
    )


def test_two_builds_of_a_commit_are_equal(tmp_path):
    import tarfile

    root = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(release.ROOT), str(root)], check=True)
    first, second = release.build(tmp_path / "a", root), release.build(tmp_path / "b", root)
    assert first.read_bytes() == second.read_bytes()
    (documented,) = pages.marked(__file__)
    pages.run(documented.text, pages.programs(tmp_path / "bin", root), root)
    assert (root / "build" / "dist" / first.name).read_bytes() == first.read_bytes()
    top = first.name.removesuffix(".tar.gz")
    with tarfile.open(first) as archive:
        names = archive.getnames()
    assert f"{top}/lakehouse/settings.py" in names and f"{top}/requirements/runtime.txt" in names
    assert not any(name.startswith(f"{top}/tests") for name in names)
    (root / "README.md").write_text("changed")
    with pytest.raises(ShoplakeError, match="not committed"):
        release.build(tmp_path / "c", root)


def test_the_dashboard_is_json():
    text = (TEMPLATES / "monitoring.yaml").read_text().split("DashboardBody: !Sub |\n")[1].split("\n\n")[0]
    assert json.loads(text)["widgets"]


def test_every_alarm_stands_in_the_runbook():
    alarms = re.findall(r'AlarmName: !Sub "\$\{Name\} (.+)"', (TEMPLATES / "monitoring.yaml").read_text())
    told = (TEMPLATES.parents[2] / "docs" / "aws.md").read_text()
    assert len(alarms) >= 6
    assert [name for name in alarms if f"*{name}*" not in told] == []
