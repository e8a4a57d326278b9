"""What the command does in an emulated AWS: deploy, diff, go back, destroy; and what it says when AWS refuses."""

import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from botocore.exceptions import EndpointConnectionError
from typer.testing import CliRunner, Result

from deploy.aws import __main__ as main
from deploy.aws import release
from deploy.aws.__main__ import _question, app
from deploy.aws.shelf import Shelf
from deploy.aws.stacks import NESTED, Change, Plan, Stacks
from deploy.aws.zones import offering
from lakehouse.errors import ShoplakeError, UsageError
from tests.support import pages
from tests.support.aws import REGION
from tests.support.installation import TEMPLATES, facts_in, install, resources, role_statements, templates, user_data
from tests.support.installation import plan as plan_of


def test_destroy_keeps_the_data_and_says_where_it_is(aws):
    install(aws, "demo")
    assert "LakeBucket: lake-data-lake-" in command("destroy", "--yes")
    assert Stacks(aws.client("cloudformation"), 0).find("lake") is None
    assert len(aws.client("s3").list_buckets()["Buckets"]) == 2


def test_a_new_release_changes_a_parameter_and_no_machine(aws):
    installation, _ = install(aws, "demo")
    assert "0.1.0-a" not in user_data(aws), "a machine would be replaced with each release"
    plan = plan_of(installation, "0.1.0-b")
    described = aws.client("cloudformation").describe_change_set(ChangeSetName=plan.change_set)
    values = {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}
    assert values["Release"] == "0.1.0-b" and values["Size"] == "demo", "what nobody names stays"
    installation.stacks.discard(plan)


def invoke(*arguments: str) -> Result:
    """How `python -m deploy.aws` ends."""
    return CliRunner().invoke(app, [arguments[0], "--name", "lake", "--region", REGION, *arguments[1:]])


def command(*arguments: str) -> str:
    """What `python -m deploy.aws` says; it must work."""
    done = invoke(*arguments)
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return done.output


def refused(*arguments: str, error: type[ShoplakeError] = UsageError) -> str:
    """What `python -m deploy.aws` says when it refuses, or fails."""
    done = invoke(*arguments)
    assert isinstance(done.exception, error), f"{done.output} {done.exception!r}"
    return str(done.exception)


@pytest.mark.parametrize(
    ("given", "environment", "region"),
    [
        ((), {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, "eu-west-1"),
        ((), {"AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
        (("--region", "eu-north-1"), {"AWS_REGION": "eu-west-1"}, "eu-north-1"),
    ],
)
def test_the_region_is_that_of_the_aws_command_and_is_shown(aws, monkeypatch, given, environment, region):
    """boto3 by itself does not read AWS_REGION."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["diff", "--name", "lake", *given])
    assert done.exit_code == 0 and f"Account 123456789012, region {region}." in done.output
    dry = subprocess.run(
        ["make", "-n", "diff", "REGION=eu-north-1"], cwd=release.ROOT, capture_output=True, text=True, check=True
    )
    assert "--name shoplake --region eu-north-1" in dry.stdout


def test_without_a_region_it_says_how_to_name_one(aws, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    done = CliRunner().invoke(app, ["diff", "--name", "lake"])
    assert isinstance(done.exception, UsageError) and "make deploy REGION=" in str(done.exception)


@pytest.fixture
def next_release(monkeypatch, tmp_path):
    """Something else is committed than what is deployed."""
    archive = tmp_path / release.archive_name("0.1.0-b")
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(TEMPLATES, "shoplake-0.1.0-b/deploy/aws/templates")
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
    assert stored["Body"].read() == next_release.read_bytes()
    (sent,) = aws.client("ssm").list_commands()["Commands"]
    assert sent["InstanceIds"] == [machine] and next_release.name in sent["Parameters"]["commands"][0]
    command("rollback", "0.1.0-a", "--yes")
    assert installation.release == "0.1.0-a" and installation.instance() == machine
    assert len(aws.client("ssm").list_commands()["Commands"]) == 2


def test_the_way_back_takes_the_templates_and_the_image_that_were(aws, next_release, monkeypatch):
    """Whatever lies in the working tree, and whatever Amazon has published meanwhile."""
    installation, _ = install(aws, "demo")
    before = installation.stacks.parameters("lake")
    monkeypatch.setattr(Shelf, "newest_image", lambda _self: "ami-0abcdef1234567890")
    changed = {name: text + b"# changed" for name, text in templates().items()}
    monkeypatch.setattr(release, "templates", lambda _archive: changed)
    command("deploy", "--yes")
    now = installation.stacks.parameters("lake")
    assert now["Image"] == "ami-0abcdef1234567890" and now["TemplatesUrl"] != before["TemplatesUrl"]
    # The emulation does not look into nested stacks: that the machine would be replaced.
    monkeypatch.setattr(main, "_question", lambda plan: "Go on?" if plan.stack == "lake" else "")
    done = invoke("rollback", "0.1.0-a")
    assert done.exit_code == 1 and "Go on?" in done.output, "it asks before it replaces the machine"
    assert installation.stacks.parameters("lake") == now
    command("rollback", "0.1.0-a", "--yes")
    assert installation.stacks.parameters("lake") == before


def test_a_release_keeps_its_image_until_it_is_told_otherwise(aws, next_release, monkeypatch):
    installation, _ = install(aws, "demo")
    command("deploy", "--yes")
    had = installation.stacks.parameters("lake")["Image"]
    monkeypatch.setattr(Shelf, "newest_image", lambda _self: "ami-0abcdef1234567890")
    command("deploy", "-p", "AlarmEmail=you@example.com", "--yes")
    assert installation.stacks.parameters("lake")["Image"] == had
    command("deploy", "--new-image", "--yes")
    assert installation.stacks.parameters("lake")["Image"] == "ami-0abcdef1234567890"


def test_a_release_that_was_never_deployed_is_no_way_back(aws):
    install(aws, "demo")
    assert "never deployed as lake; these were, the latest first: 0.1.0-a" in refused("rollback", "0.1.0-c")
    assert "Say which one" in (said := refused("rollback")) and "the latest first: 0.1.0-a" in said


def test_logs_expire_and_what_a_way_back_needs_does_not():
    """The emulation forgets the lifecycle of a bucket."""
    (bucket,) = [one for one in resources("data.yaml", "AWS::S3::Bucket") if "releases" in one["BucketName"]]
    rules = bucket["LifecycleConfiguration"]["Rules"]
    expiring = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert {"failures/", "emr/", "balancer/", "athena/"} == set(expiring)
    assert all(days <= 90 for days in expiring.values())


def test_a_deploy_that_broke_off_before_the_machine_took_the_release_is_finished_by_the_next(aws, next_release):
    installation, _ = install(aws, "demo")
    installation.stacks.execute(plan_of(installation, "0.1.0-b"), lambda _event: None)
    command("deploy", "--yes")
    assert len(aws.client("ssm").list_commands()["Commands"]) == 1
    command("deploy", "--yes")
    assert len(aws.client("ssm").list_commands()["Commands"]) == 1


def test_zones_are_chosen_once(aws, next_release):
    installation, _ = install(aws, "demo", Zones="eu-central-1c,eu-central-1b,eu-central-1a")
    subnets = aws.client("ec2").describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.40.2.0/24"]}])[
        "Subnets"
    ]
    assert [one["AvailabilityZone"] for one in subnets] == ["eu-central-1c"]
    command("deploy", "--yes")
    assert installation.stacks.parameters("lake")["Zones"] == "eu-central-1c,eu-central-1b,eu-central-1a"
    said = refused("deploy", "-p", "Zones=eu-central-1a,eu-central-1b,eu-central-1c", "--yes")
    assert "lake is in the zones eu-central-1c" in said


def test_zones_without_the_machines_are_not_taken():
    class Ec2:
        """A zone that is new, and one that only has a part of the machines."""

        region_name = "xx-1"

        def client(self, _name):
            return self

        def describe_availability_zones(self, **_):
            return {"AvailabilityZones": [{"ZoneName": f"xx-1{letter}"} for letter in "abcde"]}

        def describe_instance_type_offerings(self, Filters, **_):
            has = "abcde" if Filters[0]["Values"] != ["m7i.4xlarge"] else self.large
            return {"InstanceTypeOfferings": [{"Location": f"xx-1{letter}"} for letter in has]}

    ec2 = Ec2()
    ec2.large = "bcde"
    assert offering(ec2) == ["xx-1b", "xx-1c", "xx-1d"]
    ec2.large = "be"
    with pytest.raises(UsageError, match="xx-1 has xx-1b, xx-1e"):
        offering(ec2)


def test_a_diff_changes_nothing_and_leaves_nothing(aws, next_release):
    installation, _ = install(aws, "demo")

    def change_sets():
        return aws.client("cloudformation").list_change_sets(StackName="lake")["Summaries"]

    before = change_sets()
    command("diff", "-p", "AlarmEmail=you@example.com")
    now = installation.stacks.parameters("lake")
    assert (now["Release"], now["AlarmEmail"]) == ("0.1.0-a", "")
    assert change_sets() == before


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
    plan = plan_of(installation, "0.1.0-b")
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
    lines = refused("deploy", "--yes", error=ShoplakeError).splitlines()
    assert lines[0].endswith("Received 1 FAILURE signal(s).") and lines[1].endswith("i-1.log ends with:")
    assert lines[-1].endswith("within 420 s") and len(lines) == 17


def test_a_machine_is_not_replaced_without_a_question():
    template = Change("Modify", "Compute/Template", "AWS::EC2::LaunchTemplate", "False")
    executors = Change("Modify", "ExecutorMachines/Template", "AWS::EC2::LaunchTemplate", "False")
    flat = Change("Modify", "Compute", NESTED, "False")
    alarm = Change("Modify", "Monitoring/PartDown", "AWS::CloudWatch::Alarm", "False")
    assert "is replaced" in _question(Plan("lake", "set", False, (template,)))
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
        self.stack = StackName
        return self

    def search(self, _):
        now = datetime.now(UTC)
        return [
            {
                "EventId": f"{name}{second}",
                "StackId": self.stack,
                "LogicalResourceId": name,
                "PhysicalResourceId": own,
                "ResourceType": kind,
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
                "Timestamp": now.replace(microsecond=second),
            }
            for name, kind, status, reason, second, own in self.EVENTS[self.stack]
        ]


def test_the_first_failed_resource_is_named_with_its_reason():
    with pytest.raises(ShoplakeError) as caught:
        Stacks(FailedStack(), 0).execute(Plan("outer", "set", True, ()), lambda _event: None)
    assert str(caught.value) == (
        "outer: Compute/Balancer (AWS::ElasticLoadBalancingV2::LoadBalancer) failed first: You have reached a limit."
        " Everything else was taken back."
    )


def test_a_network_that_is_away_is_not_a_matter_of_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    done = invoke("diff")
    assert isinstance(done.exception, EndpointConnectionError)


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
